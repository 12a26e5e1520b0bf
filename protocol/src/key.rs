//! The keys of the coordination store, all under `/hype/v1/`.

use crate::id::{ControlId, NodeId, RoomId};

/// Every key starts with this.
pub const ROOT: &str = "/hype/v1/";
/// All control replicas.
pub const CONTROLS: &str = "/hype/v1/control/";
/// All nodes: their live and spec records.
pub const NODES: &str = "/hype/v1/node/";
/// All rooms.
pub const ROOMS: &str = "/hype/v1/room/";
/// [`crate::record::Leader`]: the replica whose controllers act.
pub const LEADER: &str = "/hype/v1/leader";
/// All numbers by which ids are told apart.
pub const ID_WORKERS: &str = "/hype/v1/id/";

/// [`crate::record::IdWorker`]: whose number it is now.
pub fn id_worker(number: u16) -> String {
    format!("{ID_WORKERS}{number}/owner")
}

/// [`crate::record::IdMark`]: up to when ids of this number may have been made.
pub fn id_mark(number: u16) -> String {
    format!("{ID_WORKERS}{number}/mark")
}

/// [`crate::record::ControlLive`]
pub fn control_live(control: &ControlId) -> String {
    format!("{CONTROLS}{control}/live")
}

/// [`crate::record::NodeLive`]
pub fn node_live(node: &NodeId) -> String {
    format!("{NODES}{node}/live")
}

/// [`crate::record::NodeSpec`]
pub fn node_spec(node: &NodeId) -> String {
    format!("{NODES}{node}/spec")
}

/// [`crate::record::Room`]
pub fn room(room: RoomId) -> String {
    format!("{ROOMS}{room}")
}

/// The prefix of everything that one node must serve.
pub fn assignments(node: &NodeId) -> String {
    format!("{ROOT}assign/{node}/")
}

/// [`crate::record::Assignment`]
pub fn assignment(node: &NodeId, room: RoomId) -> String {
    format!("{ROOT}assign/{node}/{room}")
}
