//! Which node and worker a new room goes to. Pure: power of two choices, so that replicas that
//! decide at the same moment on the same old load do not all pick the same node.

use hype_protocol::id::{NodeId, WorkerId};
use hype_protocol::record::NodeState;
use rand::Rng;

/// What is known of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WorkerLoad {
    /// Rooms placed on it.
    pub rooms: usize,
    /// Sessions in them.
    pub sessions: usize,
}

/// A registered node.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// Which.
    pub node: NodeId,
    /// Its release.
    pub version: String,
    /// What is wanted of it.
    pub state: NodeState,
    /// It can be told to open sessions.
    pub connected: bool,
    /// Sessions known.
    pub sessions: u32,
    /// The most sessions that it takes.
    pub max_sessions: u32,
    /// Its busiest worker's share of time in use, 0–1, as reported last.
    pub cpu: f32,
    /// Sessions opened since that report.
    pub joins: u32,
    /// Its workers.
    pub workers: Vec<WorkerLoad>,
}

impl Candidate {
    fn usable(&self, version: &str) -> bool {
        self.state == NodeState::Active
            && self.connected
            && self.sessions < self.max_sessions
            && !self.workers.is_empty()
            && compatible(&self.version, version)
    }

    /// How full it is: the scarcest of time and room for people. Each join since the report also
    /// weighs on the time, as if people cost time evenly up to the limit.
    fn load(&self) -> f64 {
        let limit = f64::from(self.max_sessions.max(1));
        let time = f64::from(self.cpu) + f64::from(self.joins) / limit;
        time.max(f64::from(self.sessions) / limit)
    }

    /// Its least used worker.
    fn worker(&self) -> Option<WorkerId> {
        (0u16..)
            .zip(&self.workers)
            .min_by_key(|(_, load)| (load.sessions, load.rooms))
            .map(|(worker, _)| WorkerId(worker))
    }
}

/// Releases work together when they agree up to the minor number.
fn compatible(one: &str, other: &str) -> bool {
    let line = |version: &str| {
        let mut numbers = version.split('.').map(str::to_owned);
        (numbers.next(), numbers.next())
    };
    line(one) == line(other)
}

/// Chooses a node that can take a room, and its worker; none when no node can.
/// `version` is this release.
pub fn choose(
    candidates: &[Candidate],
    version: &str,
    rng: &mut impl Rng,
) -> Option<(NodeId, WorkerId)> {
    let usable: Vec<&Candidate> =
        candidates.iter().filter(|candidate| candidate.usable(version)).collect();
    let chosen = match usable.len() {
        0 => return None,
        1 => usable[0],
        count => {
            let first = rng.random_range(0..count);
            // A different one: the rest, counted from behind the first.
            let second = (first + rng.random_range(1..count)) % count;
            let (one, two) = (usable[first], usable[second]);
            if two.load() < one.load() { two } else { one }
        }
    };
    Some((chosen.node.clone(), chosen.worker()?))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn node(name: &str) -> Candidate {
        Candidate {
            node: name.parse().expect("a valid name"),
            version: "1.2.3".into(),
            state: NodeState::Active,
            connected: true,
            sessions: 0,
            max_sessions: 100,
            cpu: 0.0,
            joins: 0,
            workers: vec![WorkerLoad::default()],
        }
    }

    /// How often each candidate is chosen in 1,000 turns.
    fn count(candidates: &[Candidate]) -> Vec<usize> {
        let mut rng = StdRng::seed_from_u64(7);
        let mut counts = vec![0; candidates.len()];
        for _ in 0..1_000 {
            if let Some((node, _)) = choose(candidates, "1.2.9", &mut rng) {
                let index = candidates.iter().position(|candidate| candidate.node == node);
                counts[index.expect("it is one of them")] += 1;
            }
        }
        counts
    }

    #[test]
    fn only_usable_nodes_are_chosen() {
        type Change = fn(&mut Candidate);
        let unusable: [(&str, Change); 8] = [
            ("drained", |node| node.state = NodeState::Drain),
            ("fenced", |node| node.state = NodeState::Fenced),
            ("disconnected", |node| node.connected = false),
            ("full", |node| node.sessions = 100),
            ("without workers", |node| node.workers.clear()),
            ("another minor release", |node| node.version = "1.3.0".into()),
            ("another major release", |node| node.version = "2.2.3".into()),
            ("without version", |node| node.version.clear()),
        ];
        for (what, change) in unusable {
            let mut bad = node("bad");
            change(&mut bad);
            assert_eq!(count(&[bad.clone()]), [0], "{what}");
            assert_eq!(count(&[bad, node("good")]), [0, 1_000], "{what}");
        }
        assert_eq!(count(&[]), [0; 0]);
    }

    #[test]
    fn of_two_the_less_loaded_is_chosen() {
        type Change = fn(&mut Candidate);
        let burdens: [(&str, Change); 3] = [
            ("busy", |node| node.cpu = 0.5),
            ("crowded", |node| node.sessions = 50),
            ("just joined", |node| node.joins = 50),
        ];
        for (what, change) in burdens {
            let mut burdened = node("burdened");
            change(&mut burdened);
            assert_eq!(count(&[burdened, node("idle")]), [0, 1_000], "{what}");
        }
    }

    #[test]
    fn of_many_the_worst_is_never_and_the_others_are_all_chosen() {
        let mut nodes: Vec<_> = (0..4).map(|index| node(&format!("n{index}"))).collect();
        for (candidate, cpu) in nodes.iter_mut().zip([0.1, 0.2, 0.3, 0.4]) {
            candidate.cpu = cpu;
        }
        let counts = count(&nodes);
        assert_eq!(counts[3], 0, "it is the worse one of every pair");
        assert!(counts[0] > counts[1] && counts[1] > counts[2] && counts[2] > 50, "{counts:?}");
    }

    #[test]
    fn the_least_used_worker_is_chosen() {
        let mut candidate = node("n");
        candidate.workers = [(1, 9), (5, 2), (2, 2), (0, 3)]
            .map(|(rooms, sessions)| WorkerLoad { rooms, sessions })
            .to_vec();
        assert_eq!(candidate.worker(), Some(WorkerId(2)));
    }
}
