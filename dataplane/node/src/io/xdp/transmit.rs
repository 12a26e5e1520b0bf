//! The transmit queue: a datagram is made in its UMEM frame, gets its headers when it is committed,
//! and goes into the ring of the interface that it leaves by. What cannot go past the kernel is
//! copied to the queue of the kernel's sockets.

use std::net::SocketAddr;

use super::paths::Paths;
use super::socket::Sender;
use super::umem::{Frames, HEADROOM};
use crate::io::socket::Queue as KernelQueue;
use crate::io::{IoCounters, MAX_DATAGRAM, TransmitQueue};

/// The queue.
#[derive(Debug)]
pub struct Queue {
    pub(super) frames: Frames,
    /// Frames that are ours, by the kernel's addresses; the one used last on top.
    pub(super) free: Vec<u64>,
    pub(super) reserved: Option<u64>,
    pub(super) senders: Vec<Sender>,
    pub(super) paths: Paths,
    pub(super) kernel: KernelQueue,
    pub(super) sockets: usize,
    pub(super) counters: IoCounters,
}

impl Queue {
    /// Takes back the frames that the kernel has sent.
    fn complete(&mut self) {
        let Self { senders, free, .. } = self;
        for sender in senders {
            sender.complete(|frame| free.push(frame));
        }
    }

    /// The payload's room in a frame that is ours.
    fn room(&mut self, frame: u64) -> &mut [u8] {
        // SAFETY: frames in `free` or reserved are not in any ring, so the kernel does not use them.
        let bytes = unsafe { self.frames.bytes(frame, HEADROOM + MAX_DATAGRAM) };
        &mut bytes.expect("only our own frames are in the list")[HEADROOM..]
    }
}

impl TransmitQueue for Queue {
    #[inline]
    fn reserve(&mut self) -> Option<&mut [u8]> {
        let frame = match self.reserved {
            Some(frame) => frame,
            None => {
                if self.free.is_empty() {
                    self.flush();
                }
                let Some(frame) = self.free.pop() else {
                    self.counters.transmit_exhausted += 1;
                    return None;
                };
                self.reserved = Some(frame);
                frame
            }
        };
        Some(self.room(frame))
    }

    #[inline]
    fn commit(&mut self, len: usize, local: u8, remote: SocketAddr) {
        if len > MAX_DATAGRAM || usize::from(local) >= self.sockets {
            self.counters.send_failed += 1;
            return;
        }
        let Some(frame) = self.reserved.take() else {
            self.counters.send_failed += 1;
            return;
        };
        // SAFETY: the frame was reserved just now, so it is in no ring.
        let bytes = unsafe { self.frames.bytes(frame, HEADROOM + len) };
        let bytes = bytes.expect("only our own frames are reserved");
        let senders = &mut self.senders;
        let way = self.paths.find(local, remote, len).filter(|way| !senders[way.sender].is_down());
        let Some(way) = way else {
            if let Some(room) = self.kernel.reserve() {
                room[..len].copy_from_slice(&bytes[HEADROOM..]);
                self.kernel.commit(len, local, remote);
            }
            self.reserved = Some(frame);
            return;
        };
        let start = way.template.write(bytes, &way.next_hop);
        let sender = &mut senders[way.sender];
        if sender.push(frame + start as u64, bytes.len() - start) {
            self.counters.sent += 1;
            self.counters.sends += 1;
            self.counters.sent_past_kernel += 1;
            self.counters.sent_bytes += len as u64;
        } else {
            self.counters.send_would_block += 1;
            self.reserved = Some(frame);
        }
    }

    fn flush(&mut self) {
        self.kernel.flush();
        for sender in &mut self.senders {
            sender.flush();
        }
        self.complete();
    }
}
