//! Socket back end: recvmmsg, sendmmsg and ppoll. Used where io_uring is forbidden, and as the
//! honest baseline of every benchmark.

mod inbound;
mod receive;
mod transmit;

use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use super::{BATCH, Datagram, DatagramIo, EventFd, IoCounters, TransmitQueue, poll};
pub(super) use inbound::Inbound;
pub use transmit::Queue;

/// The back end.
#[derive(Debug)]
pub struct Socket {
    inbound: Inbound,
    queue: Queue,
    wake: Arc<EventFd>,
    /// The sockets, then the wake.
    poll: Vec<libc::pollfd>,
}

impl Socket {
    /// Takes all memory that it will ever need.
    ///
    /// # Errors
    /// None at this time; like the other back ends' in form.
    pub fn new(sockets: Arc<Vec<UdpSocket>>, wake: Arc<EventFd>) -> io::Result<Self> {
        let descriptors = sockets.iter().map(AsRawFd::as_raw_fd).chain([wake.as_raw_fd()]);
        let poll = descriptors.map(poll::readable).collect();
        let queue = Queue::new(Arc::clone(&sockets));
        Ok(Self { inbound: Inbound::new(sockets), queue, wake, poll })
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
        let queue = &mut self.queue;
        self.inbound.deliver(BATCH, |datagram| deliver(datagram, queue))
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.queue.flush();
        let timeout = if self.inbound.work_left() { Some(Duration::ZERO) } else { timeout };
        if !poll::wait(&mut self.poll, timeout)? {
            return Ok(());
        }
        let (wake, sockets) = self.poll.split_last().expect("the wake is always there");
        self.inbound.polled(sockets)?;
        if wake.revents != 0 {
            self.wake.clear();
        }
        Ok(())
    }

    fn counters(&self) -> IoCounters {
        self.inbound.counters().plus(&self.queue.counters)
    }
}
