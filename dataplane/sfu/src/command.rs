//! What the node's agent asks of an engine. Control rate: these may allocate.

use hype_protocol::id::{Generation, PartId, RoomId, SessionId};
use hype_protocol::observation::{CloseReason, FlagsChange, OpenSession, View};
use hype_protocol::secret::SrtpKeying;

use crate::transmit::LinkId;

/// Another part of a room, and the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// Its number in the room.
    pub part: PartId,
    /// Where its frames go.
    pub link: LinkId,
}

/// One command. Unknown sessions and rooms are ignored: their end crossed the command's way.
#[derive(Debug)]
pub enum Command {
    /// Serve a part of a room here. The same room with a newer generation just takes it over.
    OpenRoom {
        /// Which.
        room: RoomId,
        /// Its placement: since when this part lives here. Sessions of an older one are refused.
        generation: Generation,
        /// The most peers in this part; one more is refused.
        max_peers: u32,
        /// Which part it is. Part 0 chooses the speakers of the whole room.
        part: PartId,
        /// Where the other parts are; none when this is the whole room.
        neighbours: Vec<Neighbour>,
    },
    /// Stop serving it; its sessions end with [`CloseReason::RoomClosed`].
    CloseRoom {
        /// Which.
        room: RoomId,
    },
    /// Open a session in a room that is open here. Checked against generation and limits; the
    /// outcome is an [`crate::Event::Session`] or [`crate::Event::Refused`]. The agent has
    /// checked the boot id already, and has waited for the room.
    Open(Box<OpenSession>),
    /// The session's DTLS handshake is done: SRTP may flow.
    InstallKeys {
        /// Which.
        session: SessionId,
        /// Keys of both directions.
        keying: SrtpKeying,
    },
    /// Send a DTLS record to the address that the session's ICE selected.
    SendDtls {
        /// Whose.
        session: SessionId,
        /// A whole datagram, at most [`crate::transmit::MAX_DATAGRAM`] bytes.
        datagram: Vec<u8>,
    },
    /// End a session.
    Close {
        /// Which.
        session: SessionId,
        /// Why; returned in [`crate::Event::Closed`].
        reason: CloseReason,
    },
    /// Change some of a session's mute and deafen flags.
    Flags {
        /// Which.
        session: SessionId,
        /// Those that change.
        change: FlagsChange,
    },
    /// Choose what a video slot shows.
    View {
        /// Whose slot.
        session: SessionId,
        /// Its index.
        slot: u8,
        /// What it shows; none frees it.
        view: Option<View>,
    },
}
