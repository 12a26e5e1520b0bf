//! The transmit queue: a datagram is made in its UMEM frame. The batch gets its headers when it is
//! sent, into the rings of the interfaces that it leaves by: until then the ways of all of them are
//! on their way from memory. What cannot go past the kernel is copied to the queue of the kernel's
//! sockets.

use std::net::SocketAddr;

use super::paths::{Paths, Place};
use super::socket::Sender;
use super::umem::{Frames, HEADROOM, headers_at};
use crate::io::socket::Queue as KernelQueue;
use crate::io::{BATCH, IoCounters, MAX_DATAGRAM, TransmitQueue};

/// The queue.
#[derive(Debug)]
pub struct Queue {
    frames: Frames,
    /// Frames that are ours, by the kernel's addresses; the one used last on top.
    free: Vec<u64>,
    reserved: Option<u64>,
    /// At most [`BATCH`].
    batch: Vec<Committed>,
    senders: Vec<Sender>,
    pub(super) paths: Paths,
    kernel: KernelQueue,
    sockets: usize,
    counters: IoCounters,
}

/// A datagram of the batch that is sent next.
#[derive(Debug, Clone, Copy)]
struct Committed {
    frame: u64,
    len: u16,
    local: u8,
    place: Place,
    remote: SocketAddr,
}

impl Queue {
    /// A queue whose frames are all free.
    pub fn new(
        frames: Frames,
        senders: Vec<Sender>,
        paths: Paths,
        kernel: KernelQueue,
        sockets: usize,
    ) -> Self {
        Self {
            free: frames.addresses().collect(),
            frames,
            reserved: None,
            batch: Vec::with_capacity(BATCH),
            senders,
            paths,
            kernel,
            sockets,
            counters: IoCounters::default(),
        }
    }

    /// What was sent, past the kernel and by its sockets.
    pub fn counters(&self) -> IoCounters {
        self.counters.plus(&self.kernel.counters)
    }

    /// Takes back the frames that the kernel has sent.
    fn complete(&mut self) {
        let Self { senders, free, .. } = self;
        for sender in senders {
            sender.complete(|frame| free.push(frame));
        }
    }

    /// Writes the headers of the batch and hands it to the kernel, each datagram by its way.
    fn send(&mut self) {
        for place in 0..self.batch.len() {
            let committed = self.batch[place];
            if !self.push(&committed) {
                self.free.push(committed.frame);
            }
        }
        self.batch.clear();
        for sender in &mut self.senders {
            sender.flush();
        }
    }

    /// Queues one datagram; true when the kernel has its frame now.
    #[inline]
    fn push(&mut self, committed: &Committed) -> bool {
        let Committed { frame, len, local, place, remote } = *committed;
        let len = usize::from(len);
        let start = headers_at(frame);
        // SAFETY: a frame of the batch is in no ring.
        let bytes = unsafe { self.frames.bytes(start, HEADROOM + len) };
        let bytes = bytes.expect("only our own frames are committed");
        let senders = &mut self.senders;
        let way = self.paths.find(place, local, remote, len);
        let Some(way) = way.filter(|way| !senders[way.sender].is_down()) else {
            if let Some(room) = self.kernel.reserve() {
                room[..len].copy_from_slice(&bytes[HEADROOM..]);
                self.kernel.commit(len, local, remote);
            }
            return false;
        };
        let first = way.template.write(bytes, &way.next_hop);
        let pushed = senders[way.sender].push(start + first as u64, bytes.len() - first);
        if pushed {
            self.counters.sent += 1;
            self.counters.sends += 1;
            self.counters.sent_past_kernel += 1;
            self.counters.sent_bytes += len as u64;
        } else {
            self.counters.send_would_block += 1;
        }
        pushed
    }
}

impl TransmitQueue for Queue {
    #[inline]
    fn reserve(&mut self) -> Option<&mut [u8]> {
        if self.reserved.is_none() {
            if self.free.is_empty() {
                self.flush();
            }
            self.reserved = self.free.pop();
        }
        let Some(frame) = self.reserved else {
            self.counters.transmit_exhausted += 1;
            return None;
        };
        let payload = headers_at(frame) + HEADROOM as u64;
        // SAFETY: a reserved frame is in no ring.
        let room = unsafe { self.frames.bytes(payload, MAX_DATAGRAM) };
        Some(room.expect("only our own frames are free"))
    }

    #[inline]
    fn commit(&mut self, len: usize, local: u8, remote: SocketAddr) {
        let fits = len <= MAX_DATAGRAM && usize::from(local) < self.sockets;
        let Some(frame) = self.reserved.take_if(|_| fits) else {
            self.counters.send_failed += 1;
            return;
        };
        let len = len as u16;
        let place = self.paths.place(local, &remote);
        self.batch.push(Committed { frame, len, local, place, remote });
        if self.batch.len() == BATCH {
            self.send();
        }
    }

    fn flush(&mut self) {
        self.send();
        self.kernel.flush();
        self.complete();
    }
}
