//! The set of benches that make a report: which shapes, on which back ends and sinks, and what
//! each of them needs of the machine.

use super::result::Group;

/// One run to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// Stable name.
    pub id: String,
    /// What it measures.
    pub group: Group,
    /// Words after `hype bench`.
    pub arguments: Vec<String>,
    /// Namespaces and devices are made by it, or a socket that only root opens.
    pub needs_root: bool,
    /// It loads a whole server, whose address is added as `--url`.
    pub needs_server: bool,
    /// How long it may take before it is stopped, seconds.
    pub patience_s: u64,
}

/// How much to run.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Seconds of each window of a measurement.
    pub seconds: u64,
    /// Windows of each subject; a result is the median over them.
    pub pairs: u64,
    /// Few shapes and small ones, to see that everything works.
    pub quick: bool,
    /// Cores of this machine.
    pub cores: usize,
}

/// A room's shape.
#[derive(Clone, Copy)]
struct Shape {
    speakers: u32,
    /// Who receives, besides the speakers.
    listeners: u32,
    rooms: u32,
}

/// The runs, in the order in which they are made.
pub fn set(extent: Extent) -> Vec<Planned> {
    let mut set = Set { extent, planned: Vec::new() };
    set.engine();
    set.rates();
    set.room_sizes();
    set.workers();
    set.vbr();
    set.sweeps();
    set.video();
    set.whole();
    set.planned
}

struct Set {
    extent: Extent,
    planned: Vec<Planned>,
}

impl Set {
    fn add(&mut self, id: String, group: Group, arguments: &str) -> &mut Planned {
        let mut arguments: Vec<String> = arguments.split_whitespace().map(String::from).collect();
        arguments.push("--json".into());
        let Extent { seconds, pairs, .. } = self.extent;
        // Up to three subjects take turns; a slow machine takes its time to connect them.
        let patience_s = 120 + seconds * pairs * 6;
        self.planned.push(Planned {
            id,
            group,
            arguments,
            needs_root: false,
            needs_server: false,
            patience_s,
        });
        self.planned.last_mut().expect("one was pushed just now")
    }

    fn relay(&mut self, id: &str, group: Group, io: &str, sink: &str, shape: Shape, more: &str) {
        let Shape { speakers, listeners, rooms } = shape;
        let Extent { seconds, pairs, .. } = self.extent;
        let arguments = format!(
            "relay --io {io} --sink {sink} --speakers {speakers} --listeners {listeners} \
             --rooms {rooms} --seconds {seconds} --pairs {pairs} {more}"
        );
        self.add(id.into(), group, &arguments).needs_root = sink != "loopback" || io == "xdp";
    }

    fn engine(&mut self) {
        let mut shapes = vec![(50, 160, "gcm")];
        if !self.extent.quick {
            shapes.extend([(50, 1100, "gcm"), (300, 160, "gcm"), (50, 160, "cm")]);
        }
        for (listeners, payload, suite) in shapes {
            let seconds = self.extent.seconds;
            self.add(
                format!("engine-{listeners}-{payload}-{suite}"),
                Group::Engine,
                &format!(
                    "engine --listeners {listeners} --speakers 1 --payload {payload} \
                     --suite {suite} --seconds {seconds}"
                ),
            );
        }
    }

    fn rates(&mut self) {
        let all: &[u32] = if self.extent.quick { &[1, 10] } else { &[1, 3, 10, 30] };
        for &speakers in all {
            let shape = Shape { speakers, listeners: 50, rooms: 1 };
            let slots = format!("--payload 160 --slots {speakers}");
            let name = |io: &str| format!("rate-{io}-{speakers}x50");
            let against = format!("{slots} --against floor");
            self.relay(&name("uring"), Group::Rate, "uring", "loopback", shape, &against);
            self.relay(&name("socket"), Group::Rate, "socket", "loopback", shape, &slots);
            let against = format!("{slots} --against uring");
            self.relay(&name("xdp-veth"), Group::Rate, "xdp", "veth", shape, &against);
            if speakers >= 10 {
                self.relay(&name("xdp-ifb"), Group::Rate, "xdp", "ifb", shape, &against);
            }
        }
    }

    fn room_sizes(&mut self) {
        // Small rooms come many at once, as they do in life.
        let all: &[(u32, u32)] = if self.extent.quick {
            &[(3, 10), (50, 1)]
        } else {
            &[(1, 60), (3, 40), (9, 20), (50, 4), (150, 2), (300, 1)]
        };
        for &(listeners, rooms) in all {
            let shape = Shape { speakers: 2, listeners, rooms };
            let id = format!("room-uring-2x{listeners}");
            let more = "--payload 160 --against floor";
            self.relay(&id, Group::RoomSize, "uring", "loopback", shape, more);
        }
    }

    fn workers(&mut self) {
        let cores = u32::try_from(self.extent.cores).unwrap_or(1);
        let most = if self.extent.quick { 1 } else { 16 };
        let mut workers = 1;
        while workers <= cores.min(most) {
            let shape = Shape { speakers: 5, listeners: 50, rooms: 8 };
            let more = format!("--payload 160 --workers {workers}");
            let id = format!("workers-uring-{workers}");
            self.relay(&id, Group::Workers, "uring", "loopback", shape, &more);
            workers *= 2;
        }
    }

    fn vbr(&mut self) {
        let all: &[(u32, u32)] =
            if self.extent.quick { &[(1, 50)] } else { &[(1, 50), (30, 50), (2, 300)] };
        for &(speakers, listeners) in all {
            let shape = Shape { speakers, listeners, rooms: 1 };
            let more = format!("--payload vbr --slots {speakers} --against floor");
            let id = format!("vbr-uring-{speakers}x{listeners}");
            self.relay(&id, Group::Vbr, "uring", "loopback", shape, &more);
        }
    }

    fn sweeps(&mut self) {
        if self.extent.quick {
            return;
        }
        // All of them at once are more than a core can forward; the bench lets more and more speak.
        let shape = Shape { speakers: 30, listeners: 50, rooms: 14 };
        for io in ["uring", "socket"] {
            let more = "--payload 160 --slots 30 --sweep";
            let id = format!("sweep-{io}");
            self.relay(&id, Group::Sweep, io, "loopback", shape, more);
            if let Some(planned) = self.planned.last_mut() {
                planned.patience_s += self.extent.seconds * 30;
            }
        }
    }

    fn video(&mut self) {
        let all: &[u32] = if self.extent.quick { &[10] } else { &[3, 10, 50] };
        for &viewers in all {
            let Extent { seconds, pairs, .. } = self.extent;
            // 30 frames a second of 10 packets of 1,100 bytes: 2.6 Mbit/s.
            let shape = "--frames 30 --packets 10 --bytes 1100";
            let arguments = format!(
                "video --io uring --listeners {viewers} {shape} --seconds {seconds} \
                 --pairs {pairs} --against floor"
            );
            self.add(format!("video-uring-{viewers}"), Group::Video, &arguments);
        }
    }

    fn whole(&mut self) {
        let (people, rooms) = if self.extent.quick { (100, 5) } else { (5000, 100) };
        let idle = format!("idle --people {people} --rooms {rooms}");
        self.add(format!("idle-{people}"), Group::Idle, &idle).patience_s = 540;
        let people = if self.extent.quick { 10 } else { 100 };
        let join =
            self.add(format!("join-{people}"), Group::Join, &format!("join --people {people}"));
        join.needs_server = true;
        join.patience_s = 540;
    }
}
