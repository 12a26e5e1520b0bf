//! The records in the coordination store, as versioned JSON: `{"v":1, …}`.
//! They hold no secret. Unknown fields are ignored, so a newer replica may add some; a record of a
//! newer version is refused, so that an older replica never acts on what it does not understand.

use std::net::SocketAddr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::id::{BootId, ControlId, Generation, NodeId, PartId, Region, RoomId, WorkerId};

/// The version that this build writes and the newest that it reads.
pub const VERSION: u32 = 1;

/// A stored value could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It was written by a newer release.
    #[error("record version {0} is newer than this release understands; upgrade it")]
    Newer(u32),
    /// It is not JSON of the expected shape.
    #[error("malformed record: {0}")]
    Malformed(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    v: u32,
    #[serde(flatten)]
    record: &'a T,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// A record's bytes as stored.
pub fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(&Envelope { v: VERSION, record }).expect("records encode as JSON objects")
}

/// A record from its stored bytes.
///
/// # Errors
/// [`RecordError`] when the bytes are no such record or come from a newer release.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordError> {
    let Version { v } = serde_json::from_slice(bytes)?;
    if v > VERSION {
        return Err(RecordError::Newer(v));
    }
    Ok(serde_json::from_slice(bytes)?)
}

/// `control/{id}/live`: a replica of the control plane that nodes dial. Leased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlLive {
    /// Whose record this is.
    pub control: ControlId,
    /// Where its observation listener (QUIC) is reached.
    pub link: Vec<SocketAddr>,
    /// Release, for operators.
    pub version: String,
}

/// `leader`: the replica whose controllers act. Leased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leader {
    /// Which replica.
    pub control: ControlId,
}

/// `id/{number}/owner`: the replica that makes ids of this number. Leased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdWorker {
    /// Which replica.
    pub control: ControlId,
}

/// `id/{number}/mark`: ids of this number may have been made up to this time, written ahead by the
/// owner and never taken back. The next owner begins after it, so that clocks need not agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMark {
    /// Unix milliseconds.
    pub until_ms: u64,
}

/// `node/{id}/live`: a running node. Leased; its end alone never moves a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLive {
    /// Whose record this is.
    pub node: NodeId,
    /// Which run of its process.
    pub boot: BootId,
    /// Where it stands.
    pub region: Region,
    /// Release; placement only uses nodes that speak this plane's version.
    pub version: String,
    /// Announced media addresses of each worker, by worker number.
    pub workers: Vec<Vec<SocketAddr>>,
    /// SHA-256 of its DTLS certificate as in SDP: `AB:CD:…`.
    pub fingerprint: String,
    /// The most sessions that it accepts.
    pub max_sessions: u32,
}

/// What an operator or the controller wants of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Takes rooms.
    #[default]
    Active,
    /// Takes no new rooms; its rooms are being moved.
    Drain,
    /// Declared dead: must not serve until it is active again.
    Fenced,
}

/// `node/{id}/spec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// The wanted state.
    pub state: NodeState,
    /// Grows with each change.
    pub generation: Generation,
}

/// How a room's media flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoomMode {
    /// Through nodes.
    #[default]
    Sfu,
    /// Between the peers themselves.
    P2p,
}

/// All peers of a room on one worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its number in the room.
    pub part: PartId,
    /// The node that serves it.
    pub node: NodeId,
    /// The worker on that node.
    pub worker: WorkerId,
    /// The generation of the room in which it came to be there. What was promised to somebody
    /// since then holds, whatever became of other parts. 0 in records of releases before parts.
    #[serde(default)]
    pub since: Generation,
}

/// `room/{id}`: where a room lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Which placement this is.
    pub generation: Generation,
    /// How its media flows.
    pub mode: RoomMode,
    /// Its parts; the first is the core.
    pub parts: Vec<Part>,
}

/// A part of a room on the node whose record this is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedPart {
    /// Its number in the room; 0 is the core.
    pub part: PartId,
    /// The worker that serves it.
    pub worker: WorkerId,
    /// As in [`Part`].
    pub since: Generation,
}

/// `assign/{node}/{room}`: the parts of a room that one node must serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The room.
    pub room: RoomId,
    /// Which placement this is.
    pub generation: Generation,
    /// The first of them, for releases that know of one only.
    pub part: PartId,
    /// The worker that serves it.
    pub worker: WorkerId,
    /// The most peers in each part.
    pub max_peers: u32,
    /// All of them; none when the first is the only one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<AssignedPart>,
}

impl Room {
    /// What a node must serve of it, none when nothing.
    pub fn assignment(&self, room: RoomId, node: &NodeId, max_peers: u32) -> Option<Assignment> {
        let generation = self.generation;
        let here = self.parts.iter().filter(|part| part.node == *node);
        let mut parts: Vec<AssignedPart> = here
            .map(|Part { part, worker, since, .. }| AssignedPart {
                part: *part,
                worker: *worker,
                since: if since.0 == 0 { generation } else { *since },
            })
            .collect();
        let AssignedPart { part, worker, since } = *parts.first()?;
        if parts.len() == 1 && since == generation {
            parts.clear();
        }
        Some(Assignment { room, generation, part, worker, max_peers, parts })
    }

    /// The nodes that serve parts of it, each once.
    pub fn nodes(&self) -> Vec<NodeId> {
        let mut nodes: Vec<NodeId> = self.parts.iter().map(|part| part.node.clone()).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }
}

impl Assignment {
    /// All parts that the node must serve.
    pub fn all_parts(&self) -> Vec<AssignedPart> {
        if self.parts.is_empty() {
            let (part, worker, since) = (self.part, self.worker, self.generation);
            return vec![AssignedPart { part, worker, since }];
        }
        self.parts.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_lists_the_parts_of_its_node_and_old_ones_are_understood() {
        let part = |part, node: &str, worker, since| Part {
            part: PartId(part),
            node: node.parse().expect("a valid name"),
            worker: WorkerId(worker),
            since: Generation(since),
        };
        let here: NodeId = "a".parse().expect("a valid name");
        let (generation, mode) = (Generation(9), RoomMode::Sfu);
        let parts = vec![part(0, "a", 2, 5), part(1, "b", 0, 6), part(2, "a", 1, 9)];
        let room = Room { generation, mode, parts };
        let made = room.assignment(RoomId(1), &here, 7).expect("two parts are there");
        let made: Assignment = decode(&encode(&made)).expect("what we wrote");
        let told: Vec<_> =
            made.all_parts().iter().map(|it| (it.part.0, it.worker.0, it.since.0)).collect();
        assert_eq!((told, made.worker), (vec![(0, 2, 5), (2, 1, 9)], WorkerId(2)));
        assert_eq!(room.nodes().len(), 2);
        assert_eq!(room.assignment(RoomId(1), &"c".parse().expect("a valid name"), 7), None);
        let old = br#"{"v":1,"room":"1","generation":"4","part":0,"worker":3,"max_peers":5}"#;
        let old: Assignment = decode(old).expect("fields that came later are not needed");
        let all = old.all_parts();
        assert_eq!((all.len(), all[0].worker.0, all[0].since.0), (1, 3, 4));
        let old =
            br#"{"v":1,"generation":"4","mode":"sfu","parts":[{"part":0,"node":"a","worker":3}]}"#;
        let old: Room = decode(old).expect("fields that came later are not needed");
        let made = old.assignment(RoomId(1), &here, 5).expect("it is there");
        assert_eq!((made.parts, made.worker), (Vec::new(), WorkerId(3)));
    }

    #[test]
    fn a_newer_version_is_refused_and_unknown_fields_are_not() {
        let spec = NodeSpec { state: NodeState::Drain, generation: Generation(9) };
        assert_eq!(decode::<NodeSpec>(&encode(&spec)).expect("what we wrote"), spec);
        let grown = br#"{"v":1,"state":"drain","generation":"9","new_field":true}"#;
        assert_eq!(decode::<NodeSpec>(grown).expect("unknown fields are ignored"), spec);
        let newer = br#"{"v":2,"state":"drain","generation":"9"}"#;
        assert!(matches!(decode::<NodeSpec>(newer), Err(RecordError::Newer(2))));
        assert!(matches!(decode::<NodeSpec>(b"x"), Err(RecordError::Malformed(_))));
    }
}
