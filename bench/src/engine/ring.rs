//! A transmit queue that is memory only: as many buffers as a real back end has, used in turn, so
//! that writing a packet costs what it costs there. Nothing is ever sent.

use hype_sfu::transmit::MAX_DATAGRAM;
use hype_sfu::{Destination, Transmit};

/// How many buffers: what a turn of a few packets for a room uses again and again in a real back end.
const BUFFERS: usize = 256;

/// One buffer with what a back end keeps beside it.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub struct Slot {
    bytes: [u8; MAX_DATAGRAM],
    len: usize,
    to: Option<Destination>,
}

/// The queue.
#[derive(Debug)]
pub struct Ring {
    slots: Box<[Slot]>,
    next: usize,
}

impl Ring {
    /// Empty buffers.
    pub fn new() -> Self {
        let slot = Slot { bytes: [0; MAX_DATAGRAM], len: 0, to: None };
        Self { slots: vec![slot; BUFFERS].into(), next: 0 }
    }

    /// The buffer whose turn it is.
    #[inline]
    pub fn buffer(&mut self) -> &mut [u8] {
        &mut self.slots[self.next].bytes
    }

    /// Goes on to the next buffer.
    #[inline]
    pub fn advance(&mut self) {
        self.next = (self.next + 1) % BUFFERS;
    }

    /// The last `count` packets that were committed, newest first.
    pub fn newest(&self, count: usize) -> impl Iterator<Item = (Destination, &[u8])> {
        (1..=count.min(BUFFERS)).filter_map(move |back| {
            let slot = &self.slots[(self.next + BUFFERS - back) % BUFFERS];
            Some((slot.to?, &slot.bytes[..slot.len]))
        })
    }
}

impl Transmit for Ring {
    #[inline]
    fn reserve(&mut self) -> Option<&mut [u8]> {
        Some(self.buffer())
    }

    #[inline]
    fn commit(&mut self, len: usize, to: &Destination) {
        let slot = &mut self.slots[self.next];
        slot.len = len;
        slot.to = Some(*to);
        self.advance();
    }
}
