//! The receiving half: one batch at a time, from the sockets in turn, so that a busy one does not
//! starve the others. The AF_XDP back end uses it for whatever comes by the kernel.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use super::receive::ReceiveBatch;
use crate::io::{BATCH, Datagram, IoCounters, listen};

/// Sockets and the batch that was received last.
#[derive(Debug)]
pub struct Inbound {
    sockets: Arc<Vec<UdpSocket>>,
    batch: ReceiveBatch,
    /// What of the batch has been delivered.
    position: usize,
    /// Sockets that may have more, as far as we know.
    readable: Vec<bool>,
    /// Where the next batch is looked for first.
    next: usize,
    counters: IoCounters,
}

impl Inbound {
    pub fn new(sockets: Arc<Vec<UdpSocket>>) -> Self {
        Self {
            batch: ReceiveBatch::new(),
            position: 0,
            readable: vec![false; sockets.len()],
            next: 0,
            counters: IoCounters::default(),
            sockets,
        }
    }

    /// True when `deliver` may find something without a poll.
    pub fn work_left(&self) -> bool {
        self.position < self.batch.filled() || self.readable.contains(&true)
    }

    /// Takes what poll(2) said of the sockets, in their order.
    ///
    /// # Errors
    /// When one of them is no open socket.
    pub fn polled(&mut self, entries: &[libc::pollfd]) -> io::Result<()> {
        for (readable, entry) in self.readable.iter_mut().zip(entries) {
            if entry.revents & libc::POLLNVAL != 0 {
                return Err(io::Error::from_raw_os_error(libc::EBADF));
            }
            *readable |= entry.revents != 0;
        }
        Ok(())
    }

    /// Delivers up to `most` datagrams of one batch, and returns how many.
    pub fn deliver(&mut self, most: usize, mut deliver: impl FnMut(Datagram<'_>)) -> usize {
        if self.position == self.batch.filled() && !self.fill() {
            return 0;
        }
        let local = self.batch.local;
        let mut delivered = 0;
        while delivered < most && self.position < self.batch.filled() {
            match self.batch.datagram(self.position) {
                Some((source, payload)) => {
                    self.counters.received += 1;
                    self.counters.received_bytes += payload.len() as u64;
                    deliver(Datagram { local, source, payload });
                    delivered += 1;
                }
                None => self.counters.truncated += 1,
            }
            self.position += 1;
        }
        delivered
    }

    /// What was counted, what the kernel dropped in front of the sockets included.
    pub fn counters(&self) -> IoCounters {
        IoCounters {
            receive_overflow: self.sockets.iter().map(listen::receive_overflow).sum(),
            ..self.counters
        }
    }

    /// Receives a batch from the next socket that may have one; false when none has.
    fn fill(&mut self) -> bool {
        let count = self.sockets.len();
        for step in 0..count {
            let index = (self.next + step) % count;
            if !self.readable[index] {
                continue;
            }
            self.position = 0;
            match self.batch.fill(&self.sockets[index]) {
                Ok(filled) => {
                    self.readable[index] = filled == BATCH;
                    if filled > 0 {
                        self.batch.local = u8::try_from(index).expect("at most MAX_SOCKETS");
                        self.next = (index + 1) % count;
                        return true;
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.readable[index] = false,
                    io::ErrorKind::Interrupted => {}
                    // A pending error of the socket: reading it has cleared it.
                    _ => self.counters.receive_errors += 1,
                },
            }
        }
        false
    }
}
