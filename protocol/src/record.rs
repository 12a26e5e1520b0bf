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

/// `assign/{node}/{room}`: one part of a room that one node must serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The room.
    pub room: RoomId,
    /// Which placement this is.
    pub generation: Generation,
    /// The part.
    pub part: PartId,
    /// The worker that serves it.
    pub worker: WorkerId,
    /// The most peers in this part.
    pub max_peers: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

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
