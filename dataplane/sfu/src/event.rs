//! What an engine tells the node's agent. Control rate: these may allocate.

use hype_protocol::id::{RoomId, SessionId, SourceId};
use hype_protocol::observation::{
    CloseReason, RefuseReason, SessionStats, SessionStatus, ViewState,
};

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A DTLS datagram came from an address that passed an ICE check of this session.
    Dtls {
        /// Whose.
        session: SessionId,
        /// The datagram.
        datagram: Vec<u8>,
    },
    /// A session is new or changed.
    Session(Box<SessionStatus>),
    /// A session ended; the agent frees its DTLS state.
    Closed {
        /// Which.
        session: SessionId,
        /// Where it was.
        room: RoomId,
        /// Why.
        reason: CloseReason,
    },
    /// An `Open` was not done.
    Refused {
        /// Which.
        session: SessionId,
        /// Where it would have been.
        room: RoomId,
        /// Why.
        reason: RefuseReason,
    },
    /// Who speaks in a room changed; at most every 100 ms a room.
    Speakers {
        /// Where.
        room: RoomId,
        /// All who speak now, loudest first.
        speakers: Vec<SourceId>,
    },
    /// A video slot's state changed.
    View {
        /// Whose slot.
        session: SessionId,
        /// Its index.
        slot: u8,
        /// How it stands.
        state: ViewState,
    },
    /// Quality of sessions over the last 2 s; at most 500 a message.
    Stats(Vec<SessionStats>),
}
