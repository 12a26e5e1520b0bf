//! Where the engine writes what shall be sent: straight into the caller's buffers, those of its
//! sockets and those of its links to other parts of a room.

use std::net::SocketAddr;

/// The largest datagram the engine sends or reads, in bytes of UDP payload.
pub const MAX_DATAGRAM: usize = 1500;

/// Where a datagram goes, and which of the worker's sockets it leaves from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Destination {
    /// Index of the worker's socket (one per local address), so that a reply leaves from the
    /// address that the peer checked.
    pub local: u8,
    /// The peer's address.
    pub remote: SocketAddr,
}

/// The way to another part of a room: inside a node, the number of the worker that serves it.
/// Only the caller knows what lies behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkId(pub u16);

/// What a link's frame is for: of a link that is nearly full, the last places are kept for voice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkUse {
    /// Voice, and what keeps the parts in step.
    Voice,
    /// Pictures and their sound.
    Picture,
}

/// A transmit queue, owned by the caller.
pub trait Transmit {
    /// Room for one datagram of up to [`MAX_DATAGRAM`] bytes. None when the queue is full and
    /// cannot be flushed: the engine then drops the packet and counts it.
    /// Calling it again without `commit` gives the same room again.
    fn reserve(&mut self) -> Option<&mut [u8]>;

    /// Sends the first `len` bytes of the room that `reserve` gave.
    fn commit(&mut self, len: usize, to: &Destination);

    /// Room for one frame of up to [`hype_protocol::link::MAX_FRAME`] bytes to another part of a
    /// room, which is handed to [`crate::Engine::handle_link`] there. None when the link is full,
    /// or there is none, as with a caller whose rooms have one part: the engine then drops the
    /// frame and counts it.
    fn reserve_link(&mut self, to: LinkId, usage: LinkUse) -> Option<&mut [u8]> {
        let _ = (to, usage);
        None
    }

    /// Sends the first `len` bytes of the room that `reserve_link` gave for that link.
    fn commit_link(&mut self, to: LinkId, len: usize) {
        let _ = (to, len);
    }
}

/// Keeps datagrams in memory: for tests and the simulator.
#[derive(Debug, Default)]
pub struct Collected {
    buffer: Vec<u8>,
    /// What was sent, in order.
    pub sent: Vec<(Destination, Vec<u8>)>,
    /// Frames to other parts, in order.
    pub frames: Vec<(LinkId, Vec<u8>)>,
}

impl Transmit for Collected {
    fn reserve(&mut self) -> Option<&mut [u8]> {
        self.buffer.resize(MAX_DATAGRAM, 0);
        Some(&mut self.buffer)
    }

    fn commit(&mut self, len: usize, to: &Destination) {
        self.sent.push((*to, self.buffer[..len].to_vec()));
    }

    fn reserve_link(&mut self, _to: LinkId, _usage: LinkUse) -> Option<&mut [u8]> {
        self.buffer.resize(hype_protocol::link::MAX_FRAME, 0);
        Some(&mut self.buffer)
    }

    fn commit_link(&mut self, to: LinkId, len: usize) {
        self.frames.push((to, self.buffer[..len].to_vec()));
    }
}
