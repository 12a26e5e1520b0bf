//! Where the engine writes what shall be sent: straight into the caller's transmit buffers.

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

/// A transmit queue, owned by the caller.
pub trait Transmit {
    /// Room for one datagram of up to [`MAX_DATAGRAM`] bytes. None when the queue is full and
    /// cannot be flushed: the engine then drops the packet and counts it.
    /// Calling it again without `commit` gives the same room again.
    fn reserve(&mut self) -> Option<&mut [u8]>;

    /// Sends the first `len` bytes of the room that `reserve` gave.
    fn commit(&mut self, len: usize, to: &Destination);
}

/// Keeps datagrams in memory: for tests and the simulator.
#[derive(Debug, Default)]
pub struct Collected {
    buffer: Vec<u8>,
    /// What was sent, in order.
    pub sent: Vec<(Destination, Vec<u8>)>,
}

impl Transmit for Collected {
    fn reserve(&mut self) -> Option<&mut [u8]> {
        self.buffer.resize(MAX_DATAGRAM, 0);
        Some(&mut self.buffer)
    }

    fn commit(&mut self, len: usize, to: &Destination) {
        self.sent.push((*to, self.buffer[..len].to_vec()));
    }
}
