//! One AF_XDP socket: bound to one queue of one interface, with four rings, on the UMEM of its
//! worker. Its two halves go to the receiving and to the sending side of the back end.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::ring::{Consumer, Producer};
use super::umem::{FRAME, Frames};
use crate::io::BATCH;

/// Entries of the transmit ring and of the completion ring; a power of two, and as many as a worker
/// has transmit frames, so that neither can overflow.
pub const TRANSMIT_RING: u32 = 2048;
/// The queue that a socket had which was just closed stays taken for a moment.
const BUSY_PATIENCE: Duration = Duration::from_secs(1);
/// XDP_MAX_TX_SKB_BUDGET of linux/if_xdp.h (6.17): frames that one system call sends in copy mode,
/// 32 otherwise.
const MAX_TX_SKB_BUDGET: libc::c_int = 9;
/// Send buffer in bytes, which limits what copy mode has under way.
const SEND_BUFFER: libc::c_int = 4 << 20;

/// Where a socket is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index of the interface.
    pub interface: u32,
    /// Its queue.
    pub queue: u32,
}

/// The receiving half.
#[derive(Debug)]
pub struct Receiver {
    pub socket: Arc<OwnedFd>,
    pub place: Place,
    pub arrived: Consumer<libc::xdp_desc>,
    pub fill: Producer<u64>,
}

/// The sending half.
#[derive(Debug)]
pub struct Sender {
    pub socket: Arc<OwnedFd>,
    pub place: Place,
    transmit: Producer<libc::xdp_desc>,
    completion: Consumer<u64>,
    /// Pushed since the last kick.
    unsent: bool,
    /// The last kick left some of it in the ring.
    stuck: bool,
    /// The interface is down or gone, as the last kick said.
    down: bool,
}

/// Binds a socket to its place, with `frames` (all for receiving, or the part of this socket) as
/// its fill ring's first contents. `first` is the socket that owns the UMEM; none makes this one
/// register it. `copy` forbids zero-copy mode.
///
/// # Errors
/// What the kernel says: no privilege, no such queue, no memory, the queue is taken.
pub fn open(
    place: Place,
    umem: &Frames,
    frames: &[u64],
    first: Option<BorrowedFd<'_>>,
    copy: bool,
) -> io::Result<(Receiver, Sender)> {
    // SAFETY: no memory is passed; the result is checked before it is used.
    let socket = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave this descriptor, and nobody else knows it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let receive_ring = u32::try_from(frames.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    if first.is_none() {
        let (addr, len) = umem.whole();
        let umem = libc::xdp_umem_reg {
            addr,
            len,
            chunk_size: FRAME as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        };
        set(&socket, libc::SOL_XDP, libc::XDP_UMEM_REG, &umem)?;
    }
    set(&socket, libc::SOL_XDP, libc::XDP_UMEM_FILL_RING, &receive_ring)?;
    set(&socket, libc::SOL_XDP, libc::XDP_UMEM_COMPLETION_RING, &TRANSMIT_RING)?;
    set(&socket, libc::SOL_XDP, libc::XDP_RX_RING, &receive_ring)?;
    set(&socket, libc::SOL_XDP, libc::XDP_TX_RING, &TRANSMIT_RING)?;
    // Both are improvements only: older kernels, and processes without privilege, go on without.
    let _ = set(&socket, libc::SOL_XDP, MAX_TX_SKB_BUDGET, &(BATCH as u32));
    let _ = set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &SEND_BUFFER);

    let offsets: libc::xdp_mmap_offsets = get(&socket, libc::XDP_MMAP_OFFSETS)?;
    let fd = socket.as_fd();
    let fill_page = libc::XDP_UMEM_PGOFF_FILL_RING.cast_signed();
    let completion_page = libc::XDP_UMEM_PGOFF_COMPLETION_RING.cast_signed();
    // SAFETY: these are the entry types of these rings, and each ring of this new socket is mapped
    // once.
    let (mut fill, arrived, transmit, completion) = unsafe {
        (
            Producer::<u64>::map(fd, fill_page, offsets.fr, receive_ring)?,
            Consumer::map(fd, libc::XDP_PGOFF_RX_RING, offsets.rx, receive_ring)?,
            Producer::map(fd, libc::XDP_PGOFF_TX_RING, offsets.tx, TRANSMIT_RING)?,
            Consumer::<u64>::map(fd, completion_page, offsets.cr, TRANSMIT_RING)?,
        )
    };
    for frame in frames {
        fill.push(*frame);
    }
    fill.publish();
    bind(&socket, place, first, copy)?;
    let socket = Arc::new(socket);
    let receiver = Receiver { socket: Arc::clone(&socket), place, arrived, fill };
    let sender =
        Sender { socket, place, transmit, completion, unsent: false, stuck: false, down: false };
    Ok((receiver, sender))
}

fn bind(
    socket: &OwnedFd,
    place: Place,
    first: Option<BorrowedFd<'_>>,
    copy: bool,
) -> io::Result<()> {
    // A sharing socket takes the other flags from the first one.
    let flags = match (first, copy) {
        (Some(_), _) => libc::XDP_SHARED_UMEM,
        (None, true) => libc::XDP_USE_NEED_WAKEUP | libc::XDP_COPY,
        (None, false) => libc::XDP_USE_NEED_WAKEUP,
    };
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: flags,
        sxdp_ifindex: place.interface,
        sxdp_queue_id: place.queue,
        sxdp_shared_umem_fd: first.map_or(0, |first| first.as_raw_fd().cast_unsigned()),
    };
    let deadline = Instant::now() + BUSY_PATIENCE;
    loop {
        // SAFETY: the address lives through the call, and the length given is its own.
        let result = unsafe {
            libc::bind(
                socket.as_raw_fd(),
                (&raw const address).cast(),
                size_of_val(&address) as libc::socklen_t,
            )
        };
        if result == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::EBUSY) || Instant::now() >= deadline {
            return Err(error);
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn set<T>(socket: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: `value` lives through the call, and the length given is its own; the kernel checks
    // that it is the option's.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option of SOL_XDP, whose values are plain numbers.
fn get<T>(socket: &OwnedFd, option: i32) -> io::Result<T> {
    let mut value = std::mem::MaybeUninit::<T>::zeroed();
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, which is the size of `value`.
    let result = unsafe {
        let place = value.as_mut_ptr().cast();
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_XDP, option, place, &raw mut len)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: only called for structures of numbers, for which zeros are valid, too, should a kernel
    // have written less.
    Ok(unsafe { value.assume_init() })
}

impl Receiver {
    /// Datagrams that the kernel dropped for want of a frame, or of room in the ring.
    pub fn overflow(&self) -> u64 {
        get::<libc::xdp_statistics>(&self.socket, libc::XDP_STATISTICS)
            .map_or(0, |statistics| statistics.rx_dropped + statistics.rx_ring_full)
    }
}

impl Sender {
    /// Queues a frame; false when the ring is full.
    #[inline]
    pub fn push(&mut self, address: u64, len: usize) -> bool {
        let len = u32::try_from(len).expect("a frame is short");
        if !self.transmit.push(libc::xdp_desc { addr: address, len, options: 0 }) {
            return false;
        }
        self.unsent = true;
        true
    }

    /// True while nothing can leave by this interface: another way is to be taken.
    pub fn is_down(&self) -> bool {
        self.down
    }

    /// Sends what was queued, as far as there is room below: never waits. What was stuck is tried
    /// again: when all frames are, nothing else would ever move them.
    pub fn flush(&mut self) {
        if self.unsent || self.stuck {
            self.kick();
        }
    }

    fn kick(&mut self) {
        self.unsent = false;
        (self.stuck, self.down) = (false, false);
        self.transmit.publish();
        if !self.transmit.needs_wakeup() {
            return;
        }
        let mut waiting = self.transmit.waiting();
        while waiting > 0 {
            // SAFETY: neither data nor an address is passed.
            let result = unsafe {
                let (data, address) = (std::ptr::null(), std::ptr::null());
                libc::sendto(self.socket.as_raw_fd(), data, 0, libc::MSG_DONTWAIT, address, 0)
            };
            let before = std::mem::replace(&mut waiting, self.transmit.waiting());
            if result >= 0 {
                return;
            }
            // EAGAIN also says that its budget is spent, EBUSY that one was dropped: then there may
            // be more. Everything else (no buffer, interface down or gone) is no better at once.
            let errno = io::Error::last_os_error().raw_os_error();
            self.down = matches!(errno, Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV));
            let again = matches!(errno, Some(libc::EAGAIN | libc::EINTR | libc::EBUSY));
            if !again || waiting == before {
                self.stuck = waiting > 0;
                return;
            }
        }
    }

    /// Gives each frame that the kernel is done with to `free`.
    #[inline]
    pub fn complete(&mut self, mut free: impl FnMut(u64)) {
        while let Some(address) = self.completion.pop() {
            free(Frames::base(address));
        }
        self.completion.release();
    }
}
