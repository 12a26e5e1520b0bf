//! io_uring back end: SINGLE_ISSUER and DEFER_TASKRUN, one multishot RECVMSG a socket and turn into a
//! ring of provided buffers (with UDP GRO), SEND with address, or SENDMSG with UDP GSO for several packets
//! of one size and destination; one io_uring_enter(2) a turn, and one more for each further
//! [`SUBMISSIONS`] sends. The ring is made on the thread that uses it and never leaves it.

mod receive_buffers;
mod train;
mod transmit;
mod user_data;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue, types};

use super::{
    BATCH, Datagram, DatagramIo, EventFd, IoCounters, MAX_DATAGRAM, TransmitQueue, listen,
};
use receive_buffers::{Filled, ReceiveBuffers};
use transmit::TransmitBuffers;
use user_data::Request;

/// Submissions of one enter: more take more of them. The queue goes round, so a longer one would
/// find its entries cold each time, which costs a lone packet's copies a tenth.
const SUBMISSIONS: u32 = 128;
/// Completions: more than there are buffers of both kinds, so that the queue cannot overflow even if
/// every send fails.
const COMPLETIONS: u32 = 4096;
const _: () = assert!(COMPLETIONS > (transmit::COUNT + receive_buffers::COUNT) as u32);

/// The back end.
#[derive(Debug)]
pub struct Uring {
    queue: Queue,
    buffers: ReceiveBuffers,
}

/// The submission queue is full.
struct SubmissionsFull;

/// A filled receive buffer that has not been delivered yet.
#[derive(Debug, Clone, Copy)]
struct Arrived {
    local: u8,
    buffer: u16,
    len: u32,
}

/// The ring with its transmit side: what `deliver` may use while a receive buffer is borrowed.
pub struct Queue {
    ring: IoUring,
    transmit: TransmitBuffers,
    /// Trains of this turn that are in the submission queue, or further.
    submitted: usize,
    /// Trains that must be sent again as single packets.
    refused: Vec<u16>,
    /// What is committed belongs to a turn of one datagram: it meets no company any more.
    lone: bool,
    arrived: VecDeque<Arrived>,
    /// Which sockets have a multishot receive in the kernel.
    armed: Vec<bool>,
    wake_armed: bool,
    /// What every multishot RECVMSG points to; boxed, so that it stays where it is.
    message_header: Box<libc::msghdr>,
    sockets: Arc<Vec<UdpSocket>>,
    wake: Arc<EventFd>,
    counters: IoCounters,
    /// Why the ring is beyond use; returned by the next `wait`.
    broken: Option<io::Error>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("sockets", &self.sockets)
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl Uring {
    /// Makes a ring on this thread and arms its receives.
    ///
    /// # Errors
    /// When the kernel forbids io_uring or is older than 6.1.
    pub fn new(sockets: Arc<Vec<UdpSocket>>, wake: Arc<EventFd>) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let descriptors: Vec<_> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        ring.submitter().register_files(&descriptors)?;
        let buffers = ReceiveBuffers::new(&ring.submitter())?;
        let queue = Queue {
            ring,
            transmit: TransmitBuffers::new()?,
            submitted: 0,
            refused: Vec::new(),
            lone: false,
            arrived: VecDeque::with_capacity(usize::from(receive_buffers::COUNT)),
            armed: vec![false; sockets.len()],
            wake_armed: false,
            message_header: Box::new(ReceiveBuffers::message_header()),
            sockets,
            wake,
            counters: IoCounters::default(),
            broken: None,
        };
        let mut uring = Self { queue, buffers };
        // What forbids an operation says so now, while there is another back end to take; a kernel
        // that made this ring has all of them.
        uring.queue.arm();
        uring.queue.enter(0, None)?;
        uring.queue.reap();
        match uring.queue.broken.take() {
            Some(error) => Err(error),
            None => {
                // Last, because the other back end wants no merged datagrams. A kernel that
                // refuses just merges none.
                for socket in uring.queue.sockets.iter() {
                    let _ = listen::set_int(socket, libc::SOL_UDP, libc::UDP_GRO, 1);
                }
                Ok(uring)
            }
        }
    }
}

impl DatagramIo for Uring {
    type Transmit = Queue;

    fn transmit(&mut self) -> &mut Queue {
        &mut self.queue
    }

    fn receive<F>(&mut self, mut deliver: F) -> usize
    where
        F: FnMut(Datagram<'_>, &mut Queue),
    {
        self.queue.reap();
        let mut delivered = 0;
        let mut given = false;
        while delivered < BATCH {
            let Some(arrived) = self.queue.arrived.pop_front() else { break };
            let header = &*self.queue.message_header;
            match self.buffers.filled(arrived.buffer, arrived.len as usize, header) {
                Some(filled) if filled.segment > MAX_DATAGRAM => {
                    let count = filled.payload.len().div_ceil(filled.segment);
                    self.queue.counters.truncated += count as u64;
                }
                Some(filled) if filled.payload.is_empty() => {
                    let Filled { source, payload, .. } = filled;
                    self.queue.counters.received += 1;
                    self.queue.lone = false;
                    deliver(Datagram { local: arrived.local, source, payload }, &mut self.queue);
                    delivered += 1;
                }
                Some(Filled { source, payload, segment }) => {
                    self.queue.lone = payload.len() <= segment
                        && self.queue.arrived.is_empty()
                        && self.queue.transmit.trains.len() == 0;
                    for payload in payload.chunks_mut(segment) {
                        self.queue.counters.received += 1;
                        self.queue.counters.received_bytes += payload.len() as u64;
                        let datagram = Datagram { local: arrived.local, source, payload };
                        deliver(datagram, &mut self.queue);
                        delivered += 1;
                    }
                }
                None => self.queue.counters.truncated += 1,
            }
            self.buffers.give(arrived.buffer);
            given = true;
        }
        self.queue.lone = false;
        if given {
            self.buffers.publish();
        }
        delivered
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let queue = &mut self.queue;
        queue.reap();
        queue.submit_trains();
        queue.arm();
        let work_left = !queue.arrived.is_empty() || timeout == Some(Duration::ZERO);
        queue.enter(if work_left { 0 } else { 1 }, timeout)?;
        queue.settle();
        match queue.broken.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn counters(&self) -> IoCounters {
        let mut counters = self.queue.counters;
        counters.receive_overflow = self.queue.sockets.iter().map(listen::receive_overflow).sum();
        counters
    }
}

impl TransmitQueue for Queue {
    #[inline]
    fn reserve(&mut self) -> Option<&mut [u8]> {
        if !self.transmit.available() {
            self.flush();
            if !self.transmit.available() {
                self.counters.transmit_exhausted += 1;
                return None;
            }
        }
        self.transmit.reserve()
    }

    #[inline]
    fn commit(&mut self, len: usize, local: u8, remote: SocketAddr) {
        let known = usize::from(local) < self.sockets.len();
        if !known || !self.transmit.commit(len, local, remote, self.lone) {
            self.counters.send_failed += 1;
        }
        if self.lone && self.transmit.trains.len() >= BATCH {
            // The first of a large room need not wait for the last.
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.transmit.trains.len() == 0 {
            return;
        }
        self.submit_trains();
        if let Err(error) = self.enter(0, None) {
            self.broken = Some(error);
        }
        self.settle();
    }
}

impl Queue {
    /// Moves all trains that wait into the submission queue, which is entered each time it is full.
    fn submit_trains(&mut self) {
        while self.submitted < self.transmit.trains.len() {
            let mut submissions = self.ring.submission();
            for place in self.submitted..self.transmit.trains.len() {
                let entry = self.transmit.send(u16::try_from(place).expect("at most two a buffer"));
                // SAFETY: the entry points into a transmit buffer, which is not used again before
                // `settle` has seen that the kernel is done with it.
                if unsafe { submissions.push(&entry) }.is_err() {
                    break;
                }
                // Told otherwise by a completion.
                let train = self.transmit.trains.get(place);
                self.counters.sent += u64::from(train.packets);
                self.counters.sent_bytes += self.transmit.trains.bytes(&train);
                self.counters.sends += 1;
                self.submitted += 1;
            }
            drop(submissions);
            if self.submitted == self.transmit.trains.len() {
                return;
            }
            if let Err(error) = self.enter(0, None) {
                self.broken = Some(error);
                return;
            }
            if self.ring.submission().is_full() {
                // The kernel is short of memory: the rest is tried again by who comes next.
                return;
            }
        }
    }

    /// After a call that took submissions: reads what completed, sends the packets of refused trains
    /// one by one, and frees the buffers once the kernel is done with them.
    fn settle(&mut self) {
        self.reap();
        loop {
            while let Some(train) = self.refused.pop() {
                self.transmit.trains.split(usize::from(train));
            }
            let before = self.submitted;
            if before == self.transmit.trains.len() {
                break;
            }
            self.submit_trains();
            if let Err(error) = self.enter(0, None) {
                self.broken = Some(error);
            }
            self.reap();
            if self.submitted == before {
                // The kernel is short of memory: the rest is tried again by who comes next.
                return;
            }
        }
        if self.ring.submission().is_empty() {
            self.transmit.free_all();
            self.submitted = 0;
        }
    }

    /// Puts a request into the submission queue; what is in a full one is submitted first. It fails
    /// only when the kernel refuses that.
    fn push(&mut self, entry: &squeue::Entry) -> Result<(), SubmissionsFull> {
        for _ in 0..2 {
            // SAFETY: what the entry points to (the boxed message header, nothing for a poll) outlives
            // the request: `Uring::drop` cancels before it frees.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            if let Err(error) = self.enter(0, None) {
                self.broken = Some(error);
            }
        }
        Err(SubmissionsFull)
    }

    /// The same for two of which the second waits for the first: the kernel must get them together.
    fn push_both(
        &mut self,
        first: &squeue::Entry,
        second: &squeue::Entry,
    ) -> Result<(), SubmissionsFull> {
        for _ in 0..2 {
            // SAFETY: as in `push`.
            let pushed =
                unsafe { self.ring.submission().push_multiple(&[first.clone(), second.clone()]) };
            if pushed.is_ok() {
                return Ok(());
            }
            if let Err(error) = self.enter(0, None) {
                self.broken = Some(error);
            }
        }
        Err(SubmissionsFull)
    }

    /// Arms every receive and the wake poll that is not in the kernel. A receive waits until its
    /// socket has something, takes all of it, and ends; it is armed again behind the turn's sends: as
    /// long as somebody waits at a socket, every packet that it has sent wakes him in vain.
    fn arm(&mut self) {
        for local in 0..self.armed.len() {
            if self.armed[local] {
                continue;
            }
            let local = u8::try_from(local).expect("at most MAX_SOCKETS");
            let header: *const libc::msghdr = &raw const *self.message_header;
            let socket = types::Fixed(u32::from(local));
            let ready = opcode::PollAdd::new(socket, libc::POLLIN as u32)
                .build()
                .flags(squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS)
                .user_data(user_data::receive(local));
            let entry = opcode::RecvMsgMulti::new(socket, header, receive_buffers::GROUP)
                .flags(libc::MSG_DONTWAIT as u32)
                .build()
                .user_data(user_data::receive(local));
            self.armed[usize::from(local)] = self.push_both(&ready, &entry).is_ok();
        }
        if !self.wake_armed {
            let entry = opcode::PollAdd::new(types::Fd(self.wake.as_raw_fd()), libc::POLLIN as u32)
                .multi(true)
                .build()
                .user_data(user_data::wake());
            self.wake_armed = self.push(&entry).is_ok();
        }
    }

    /// One io_uring_enter(2): submits all, runs the kernel's deferred work, and waits for `want`
    /// completions at most `timeout` long.
    fn enter(&mut self, want: usize, timeout: Option<Duration>) -> io::Result<()> {
        let result = match timeout {
            Some(timeout) if want > 0 => {
                let timeout = Timespec::from(timeout);
                let arguments = SubmitArgs::new().timespec(&timeout);
                self.ring.submitter().submit_with_args(want, &arguments)
            }
            _ => {
                let submissions = u32::try_from(self.ring.submission().len()).unwrap_or(u32::MAX);
                let want = u32::try_from(want).unwrap_or(1);
                // SAFETY: no argument is passed; each queued request is sound by `push`. GETEVENTS
                // even without waiting: deferred work runs only by it.
                unsafe {
                    self.ring.submitter().enter::<libc::sigset_t>(
                        submissions,
                        want,
                        EnterFlags::GETEVENTS.bits(),
                        None,
                    )
                }
            }
        };
        match result {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // The time is over; a signal came; or the kernel is short of memory or wants its
                // completions read first, and the next turn tries again.
                Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Reads all completions: notes failed sends, remembers filled receive buffers.
    fn reap(&mut self) {
        loop {
            let Some(completion) = self.ring.completion().next() else { return };
            let result = completion.result();
            match user_data::decode(completion.user_data()) {
                Some(Request::Send { train }) => self.failed(train, result),
                Some(Request::Receive { local }) => self.received(local, &completion),
                Some(Request::Wake) => {
                    self.wake.clear();
                    self.wake_armed = cqueue::more(completion.flags());
                }
                None => {}
            }
        }
    }

    /// A send failed with a negative errno.
    fn failed(&mut self, place: u16, result: i32) {
        let errno = result.saturating_neg();
        if errno <= 0 {
            return;
        }
        let train = self.transmit.trains.get(usize::from(place));
        self.counters.sent -= u64::from(train.packets);
        self.counters.sent_bytes -= self.transmit.trains.bytes(&train);
        self.counters.sends -= 1;
        if train.packets > 1 && refuses_trains(errno) {
            // An interface without checksum offload, a smaller MTU: each by itself tells.
            if errno == libc::EIO {
                self.transmit.trains.rest();
            }
            self.refused.push(place);
        } else {
            (0..train.packets).for_each(|_| self.counters.count_send_error(errno));
        }
    }

    fn received(&mut self, local: u8, completion: &cqueue::Entry) {
        let flags = completion.flags();
        if !cqueue::more(flags) {
            self.armed[usize::from(local)] = false;
        }
        let result = completion.result();
        if let Some(buffer) = cqueue::buffer_select(flags) {
            // Never more than there are buffers, which is the queue's capacity.
            let len = u32::try_from(result).unwrap_or(0);
            self.arrived.push_back(Arrived { local, buffer, len });
            return;
        }
        match -result {
            // It has taken all that was there, or had waited for a socket that failed.
            ..=0 | libc::EAGAIN | libc::ECANCELED => {}
            libc::ENOBUFS => self.counters.receive_buffers_exhausted += 1,
            errno @ (libc::EINVAL | libc::EBADF | libc::ENOTSOCK | libc::EOPNOTSUPP) => {
                self.broken = Some(io::Error::from_raw_os_error(errno));
            }
            _ => self.counters.receive_errors += 1,
        }
    }
}

/// Errors of a train that its packets may not have by themselves (udp_send_skb of the kernel).
fn refuses_trains(errno: i32) -> bool {
    matches!(errno, libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::EOPNOTSUPP)
}

impl Drop for Uring {
    fn drop(&mut self) {
        // The kernel must let go of buffers and message header before they are freed.
        let submitter = self.queue.ring.submitter();
        let _ = submitter.register_sync_cancel(None, CancelBuilder::any());
        let _ = submitter.unregister_buf_ring(receive_buffers::GROUP);
    }
}
