//! Socket back end: recvmmsg, sendmmsg and ppoll. Used where io_uring is forbidden, and as the
//! honest baseline of every benchmark.

mod receive;
mod transmit;

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use super::{BATCH, Datagram, DatagramIo, EventFd, IoCounters, TransmitQueue, listen};
use receive::ReceiveBatch;
use transmit::Queue;

/// The back end.
#[derive(Debug)]
pub struct Socket {
    sockets: Arc<Vec<UdpSocket>>,
    wake: Arc<EventFd>,
    receive: ReceiveBatch,
    queue: Queue,
    /// Sockets that may have more, as far as we know.
    readable: Vec<bool>,
    /// Where the next `receive` starts, so that a busy socket does not starve the others.
    next: usize,
    poll: Vec<libc::pollfd>,
    counters: IoCounters,
}

impl Socket {
    /// Takes all memory that it will ever need.
    ///
    /// # Errors
    /// None at this time; like the other back ends' in form.
    pub fn new(sockets: Arc<Vec<UdpSocket>>, wake: Arc<EventFd>) -> io::Result<Self> {
        let descriptors = sockets.iter().map(AsRawFd::as_raw_fd).chain([wake.as_raw_fd()]);
        let poll =
            descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 }).collect();
        Ok(Self {
            receive: ReceiveBatch::new(),
            queue: Queue::new(Arc::clone(&sockets)),
            readable: vec![false; sockets.len()],
            next: 0,
            poll,
            counters: IoCounters::default(),
            sockets,
            wake,
        })
    }

    /// Receives a batch from the next socket that may have one; false when none has.
    fn fill(&mut self) -> bool {
        let count = self.sockets.len();
        for step in 0..count {
            let index = (self.next + step) % count;
            if !self.readable[index] {
                continue;
            }
            match self.receive.fill(&self.sockets[index]) {
                Ok(filled) => {
                    self.readable[index] = filled == BATCH;
                    if filled > 0 {
                        self.receive.local = u8::try_from(index).expect("at most MAX_SOCKETS");
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

impl DatagramIo for Socket {
    type Transmit = Queue;

    fn transmit(&mut self) -> &mut Queue {
        &mut self.queue
    }

    fn receive<F>(&mut self, mut deliver: F) -> usize
    where
        F: FnMut(Datagram<'_>, &mut Queue),
    {
        let mut delivered = 0;
        if !self.fill() {
            return delivered;
        }
        let local = self.receive.local;
        for index in 0..self.receive.filled() {
            match self.receive.datagram(index) {
                Some((source, payload)) => {
                    self.counters.received += 1;
                    self.counters.received_bytes += payload.len() as u64;
                    deliver(Datagram { local, source, payload }, &mut self.queue);
                    delivered += 1;
                }
                None => self.counters.truncated += 1,
            }
        }
        delivered
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.queue.flush();
        let work_left = self.readable.contains(&true);
        let timeout = if work_left { Some(Duration::ZERO) } else { timeout };
        let timeout = timeout.map(|timeout| libc::timespec {
            tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(timeout.subsec_nanos().cast_signed()),
        });
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: `poll` is an array of the given length, and the time (or null: wait for ever) lives
        // through the call.
        let ready = unsafe {
            libc::ppoll(
                self.poll.as_mut_ptr(),
                self.poll.len() as libc::nfds_t,
                timeout,
                std::ptr::null(),
            )
        };
        if ready < 0 {
            let error = io::Error::last_os_error();
            let passing = matches!(error.raw_os_error(), Some(libc::EINTR | libc::ENOMEM));
            return if passing { Ok(()) } else { Err(error) };
        }
        let (wake, sockets) = self.poll.split_last().expect("the wake is always there");
        for (readable, poll) in self.readable.iter_mut().zip(sockets) {
            if poll.revents & libc::POLLNVAL != 0 {
                return Err(io::Error::from_raw_os_error(libc::EBADF));
            }
            *readable |= poll.revents != 0;
        }
        if wake.revents != 0 {
            self.wake.clear();
        }
        Ok(())
    }

    fn counters(&self) -> IoCounters {
        IoCounters {
            receive_overflow: self.sockets.iter().map(listen::receive_overflow).sum(),
            sent: self.queue.counters.sent,
            sent_bytes: self.queue.counters.sent_bytes,
            sends: self.queue.counters.sent,
            send_would_block: self.queue.counters.send_would_block,
            send_unreachable: self.queue.counters.send_unreachable,
            send_too_long: self.queue.counters.send_too_long,
            send_failed: self.queue.counters.send_failed,
            ..self.counters
        }
    }
}
