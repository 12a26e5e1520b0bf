//! AF_XDP back end: datagrams go between a network card's queues and our memory past the kernel's
//! network stack. An XDP program hands over what is for our ports; headers are written here.
//! The worker's UDP sockets stay bound and served for all else (fragments, IP options, other
//! interfaces), and send what has no plain way past the kernel.
//! It does not pass the host's packet filters: what is redirected and sent here, they never see.

mod bpf;
mod frame;
mod netlink;
mod paths;
mod program;
mod ring;
mod share;
mod socket;
mod steer;
mod transmit;
mod umem;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use super::socket::{Inbound, Queue as KernelQueue};
use super::{BATCH, Datagram, DatagramIo, EventFd, IoCounters, TransmitQueue, listen, poll};
use frame::Fault;
use paths::Paths;
pub use share::{Share, take};
use socket::Receiver;
pub use transmit::Queue;
use umem::Frames;

/// Turns with work in the rings after which the kernel is asked for the rest all the same.
const TURNS_WITHOUT_POLL: u32 = 16;

/// The back end.
#[derive(Debug)]
pub struct Xdp {
    receivers: Vec<Receiver>,
    queue: Queue,
    frames: Frames,
    inbound: Inbound,
    wake: Arc<EventFd>,
    /// The AF_XDP sockets, the kernel's sockets, netlink, the wake.
    poll: Vec<libc::pollfd>,
    /// By socket, none for those that only the kernel serves.
    locals: Vec<Option<SocketAddr>>,
    /// Which receiver is looked at first.
    next: usize,
    kernel_first: bool,
    turns: u32,
    counters: IoCounters,
    _attached: Arc<share::Interfaces>,
}

impl Xdp {
    /// On the thread that will use it.
    ///
    /// # Errors
    /// When there is no netlink.
    pub fn new(share: Share, sockets: Arc<Vec<UdpSocket>>, wake: Arc<EventFd>) -> io::Result<Self> {
        let Share { receivers, senders, receive_frames, transmit_frames, _attached } = share;
        for socket in sockets.iter() {
            // In generic mode the program would see what the kernel has already joined.
            listen::forbid_joining(socket);
        }
        let locals = share::locals(&sockets);
        let interfaces: Vec<u32> = senders.iter().map(|sender| sender.place.interface).collect();
        let paths = Paths::new(locals.clone(), &interfaces)?;
        let descriptors = receivers
            .iter()
            .map(|receiver| receiver.socket.as_raw_fd())
            .chain(sockets.iter().map(AsRawFd::as_raw_fd))
            .chain([paths.descriptor(), wake.as_raw_fd()]);
        let poll = descriptors.map(poll::readable).collect();
        let kernel = KernelQueue::new(Arc::clone(&sockets));
        let queue = Queue::new(transmit_frames, senders, paths, kernel, sockets.len());
        Ok(Self {
            receivers,
            queue,
            frames: receive_frames,
            inbound: Inbound::new(sockets),
            wake,
            poll,
            locals,
            next: 0,
            kernel_first: false,
            turns: 0,
            counters: IoCounters::default(),
            _attached,
        })
    }

    /// Delivers up to `most` datagrams from the rings.
    fn deliver(
        &mut self,
        most: usize,
        deliver: &mut impl FnMut(Datagram<'_>, &mut Queue),
    ) -> usize {
        let mut delivered = 0;
        let count = self.receivers.len();
        for step in 0..count {
            if delivered == most {
                break;
            }
            let index = (self.next + step) % count;
            let receiver = &mut self.receivers[index];
            let mut taken = false;
            while delivered < most {
                let Some(arrived) = receiver.arrived.pop() else { break };
                taken = true;
                // SAFETY: the kernel gave this frame by the ring; it goes back only below.
                let bytes = unsafe { self.frames.bytes(arrived.addr, arrived.len as usize) };
                let bytes = bytes.unwrap_or_default();
                match datagram(bytes, receiver.place.interface, &self.locals) {
                    Ok(datagram) => {
                        self.counters.received += 1;
                        self.counters.received_past_kernel += 1;
                        self.counters.received_bytes += datagram.payload.len() as u64;
                        deliver(datagram, &mut self.queue);
                        delivered += 1;
                    }
                    Err(Fault::TooLong) => self.counters.truncated += 1,
                    Err(Fault::Malformed) => self.counters.receive_errors += 1,
                }
                // There is room: the ring has as many places as the socket has frames.
                receiver.fill.push(Frames::base(arrived.addr));
            }
            if taken {
                receiver.arrived.release();
                receiver.fill.publish();
                self.next = (index + 1) % count;
            }
        }
        delivered
    }

    /// True when a turn can go on without asking the kernel.
    fn has_work(&self) -> bool {
        self.receivers
            .iter()
            .any(|receiver| receiver.arrived.is_ready() && !receiver.fill.needs_wakeup())
    }

    /// Takes what poll(2) said.
    fn polled(&mut self) -> io::Result<()> {
        let (rings, others) = self.poll.split_at_mut(self.receivers.len());
        for (entry, receiver) in rings.iter_mut().zip(&self.receivers) {
            if entry.revents & (libc::POLLERR | libc::POLLHUP | libc::POLLNVAL) != 0 {
                // Once: the interface is gone, and what still comes comes by the kernel's sockets.
                entry.fd = -1;
                tracing::warn!(place = ?receiver.place, "an AF_XDP socket has lost its interface");
            }
        }
        let [sockets @ .., news, wake] = others else { return Ok(()) };
        self.inbound.polled(sockets)?;
        self.queue.paths.turn(news.revents != 0);
        if wake.revents != 0 {
            self.wake.clear();
        }
        Ok(())
    }
}

/// The datagram in a frame, if it is for one of our sockets.
#[inline]
fn datagram<'a>(
    frame: &'a mut [u8],
    interface: u32,
    locals: &[Option<SocketAddr>],
) -> Result<Datagram<'a>, Fault> {
    let received = frame::parse(frame, interface)?;
    let local = locals.iter().position(|local| *local == Some(received.destination));
    let local = local.and_then(|local| u8::try_from(local).ok()).ok_or(Fault::Malformed)?;
    Ok(Datagram { local, source: received.source, payload: received.payload })
}

impl DatagramIo for Xdp {
    type Transmit = Queue;

    fn transmit(&mut self) -> &mut Queue {
        &mut self.queue
    }

    fn receive<F>(&mut self, mut deliver: F) -> usize
    where
        F: FnMut(Datagram<'_>, &mut Queue),
    {
        // In turn, so that neither keeps the other out.
        self.kernel_first = !self.kernel_first;
        let mut delivered = 0;
        if self.kernel_first {
            let queue = &mut self.queue;
            delivered += self.inbound.deliver(BATCH, |datagram| deliver(datagram, queue));
        }
        delivered += self.deliver(BATCH - delivered, &mut deliver);
        if !self.kernel_first && delivered < BATCH {
            let queue = &mut self.queue;
            let most = BATCH - delivered;
            delivered += self.inbound.deliver(most, |datagram| deliver(datagram, queue));
        }
        delivered
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.queue.flush();
        let ready = self.has_work();
        if ready && self.turns < TURNS_WITHOUT_POLL {
            self.turns += 1;
            return Ok(());
        }
        self.turns = 0;
        let timeout = if ready || self.inbound.work_left() {
            Some(Duration::ZERO)
        } else {
            let patience = self.queue.paths.patience();
            timeout.into_iter().chain(patience).min()
        };
        if poll::wait(&mut self.poll, timeout)? { self.polled() } else { Ok(()) }
    }

    fn counters(&self) -> IoCounters {
        let dropped = IoCounters {
            receive_overflow: self.receivers.iter().map(Receiver::overflow).sum(),
            ..self.counters
        };
        dropped.plus(&self.inbound.counters()).plus(&self.queue.counters())
    }
}
