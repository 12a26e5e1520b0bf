//! Datagrams in and out, and nothing else: the only place with system calls and `unsafe`.
//! One trait, [`DatagramIo`], over back ends that pass one contract suite: `uring` (the default),
//! `socket` (where io_uring is forbidden, and the baseline of every benchmark) and `xdp` (past the
//! kernel, on interfaces that were given to it).
//! It never sees the engine; `worker` joins the two.

mod address;
mod counters;
mod event_fd;
mod listen;
mod poll;
mod region;
pub mod socket;
pub mod thread;
pub mod uring;
pub mod xdp;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

pub use counters::IoCounters;
pub use event_fd::{AsyncEventFd, EventFd};
pub use listen::bind;

/// About how many datagrams one `receive` delivers: what the kernel merged comes whole, so it may
/// be up to 63 more.
pub const BATCH: usize = 64;
/// The largest datagram that is received or sent, in bytes of UDP payload. A longer one that
/// arrives is dropped and counted as truncated.
pub const MAX_DATAGRAM: usize = 1500;
/// The most sockets of one back end: one per local address.
pub const MAX_SOCKETS: usize = 32;

/// One datagram that arrived. Its bytes may be changed in place: decryption needs no copy.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Index of the socket by which it came.
    pub local: u8,
    /// Who sent it.
    pub source: SocketAddr,
    /// UDP payload, at most [`MAX_DATAGRAM`] bytes.
    pub payload: &'a mut [u8],
}

/// Datagrams to be sent. They leave in the order of `commit` for each socket.
pub trait TransmitQueue {
    /// Room for one datagram of [`MAX_DATAGRAM`] bytes; without `commit` the same room comes
    /// again. None when every buffer is still in the kernel's hands: drop the packet.
    fn reserve(&mut self) -> Option<&mut [u8]>;

    /// Queues the first `len` bytes of the reserved room for `remote`, from the socket `local`;
    /// sends the batch when it is full. Without a reserved room, for more than
    /// [`MAX_DATAGRAM`] bytes or for a socket that is not there, it is counted as failed.
    fn commit(&mut self, len: usize, local: u8, remote: SocketAddr);

    /// Sends what is queued. What the kernel has no room for is dropped and counted, never
    /// waited for: a late voice packet is worth less than the next one.
    fn flush(&mut self);
}

/// A back end. It stays on the thread that made it.
pub trait DatagramIo {
    /// Its transmit queue.
    type Transmit: TransmitQueue;

    /// The queue, for datagrams that answer none.
    fn transmit(&mut self) -> &mut Self::Transmit;

    /// Delivers about [`BATCH`] datagrams that are there, without waiting, and returns how many.
    fn receive<F>(&mut self, deliver: F) -> usize
    where
        F: FnMut(Datagram<'_>, &mut Self::Transmit);

    /// Sends what is queued, then sleeps until a datagram is there, the wake eventfd was
    /// signalled, or the timeout (none: never) is over. It may return early for no reason.
    ///
    /// # Errors
    /// Only when the back end is beyond use. What concerns one datagram is counted instead.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// What happened since the start.
    fn counters(&self) -> IoCounters;
}

/// Which back end is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IoKind {
    /// AF_XDP on the interfaces that were given, if any; else io_uring where the kernel allows it,
    /// else `Socket`.
    #[default]
    Auto,
    /// io_uring, or an error.
    Uring,
    /// recvmmsg and sendmmsg.
    Socket,
    /// AF_XDP on the interfaces that were given; where that does not work, as `Auto`, with a
    /// warning.
    Xdp,
}

/// Not the name of a back end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown I/O back end: choose auto, uring, socket or xdp")]
pub struct UnknownIoKind;

impl FromStr for IoKind {
    type Err = UnknownIoKind;
    fn from_str(text: &str) -> Result<Self, UnknownIoKind> {
        match text {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "socket" => Ok(Self::Socket),
            "xdp" => Ok(Self::Xdp),
            _ => Err(UnknownIoKind),
        }
    }
}

/// A back end that was opened.
#[derive(Debug)]
pub enum Opened {
    /// io_uring.
    Uring(uring::Uring),
    /// recvmmsg and sendmmsg.
    Socket(socket::Socket),
    /// AF_XDP.
    Xdp(Box<xdp::Xdp>),
}

impl Opened {
    /// Its name as in [`IoKind`].
    pub fn name(&self) -> &'static str {
        match self {
            Self::Uring(_) => "uring",
            Self::Socket(_) => "socket",
            Self::Xdp(_) => "xdp",
        }
    }
}

/// How one worker's datagrams come and go: made from an [`IoKind`], or by [`prepare`] where
/// interfaces are to be used.
#[derive(Debug)]
pub struct Settings {
    kind: IoKind,
    share: Option<xdp::Share>,
}

impl From<IoKind> for Settings {
    fn from(kind: IoKind) -> Self {
        Self { kind, share: None }
    }
}

/// Settings for each of `workers`, of which the sockets are given. Takes `interfaces` for AF_XDP if
/// the kind asks for it, once for all workers and before they start; an interface stays taken until
/// the last back end that was opened with these settings is dropped. The log says what was chosen,
/// and why not something better.
pub fn prepare(kind: IoKind, interfaces: &[String], workers: &[&[UdpSocket]]) -> Vec<Settings> {
    let wanted = match kind {
        IoKind::Xdp => true,
        IoKind::Auto => !interfaces.is_empty(),
        IoKind::Uring | IoKind::Socket => false,
    };
    if !wanted {
        return workers.iter().map(|_| kind.into()).collect();
    }
    let settings = |(worker, share): (usize, Option<xdp::Share>)| {
        if share.is_none() {
            tracing::warn!(worker, "no AF_XDP for this worker: going on with io_uring");
            return IoKind::Auto.into();
        }
        Settings { kind: IoKind::Xdp, share }
    };
    xdp::take(interfaces, workers).into_iter().enumerate().map(settings).collect()
}

/// Opens a back end over `sockets`, whose indexes become [`Datagram::local`], on the thread that
/// will use it. `wake` ends a `wait`. Settings that [`prepare`] made are for the sockets that it was
/// shown.
///
/// # Errors
/// No socket, more than [`MAX_SOCKETS`], [`IoKind::Xdp`] without `prepare`, or what the kernel says.
pub fn open(
    settings: impl Into<Settings>,
    sockets: Vec<UdpSocket>,
    wake: Arc<EventFd>,
) -> io::Result<Opened> {
    let invalid = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    if sockets.is_empty() || sockets.len() > MAX_SOCKETS {
        let count = sockets.len();
        return Err(invalid(format!("a worker needs 1 to {MAX_SOCKETS} sockets, not {count}")));
    }
    let sockets = Arc::new(sockets);
    let Settings { kind, share } = settings.into();
    match kind {
        IoKind::Uring => uring::Uring::new(sockets, wake).map(Opened::Uring),
        IoKind::Socket => socket::Socket::new(sockets, wake).map(Opened::Socket),
        IoKind::Auto => open_auto(sockets, wake),
        IoKind::Xdp => {
            let share = share.ok_or_else(|| invalid("AF_XDP needs interfaces".to_owned()))?;
            match xdp::Xdp::new(share, Arc::clone(&sockets), Arc::clone(&wake)) {
                Ok(xdp) => Ok(Opened::Xdp(Box::new(xdp))),
                Err(error) => {
                    tracing::warn!(%error, "AF_XDP cannot be used here: going on with io_uring");
                    open_auto(sockets, wake)
                }
            }
        }
    }
}

fn open_auto(sockets: Arc<Vec<UdpSocket>>, wake: Arc<EventFd>) -> io::Result<Opened> {
    match uring::Uring::new(Arc::clone(&sockets), Arc::clone(&wake)) {
        Ok(uring) => Ok(Opened::Uring(uring)),
        Err(error) => {
            tracing::warn!(
                %error,
                "io_uring cannot be used here (containers often forbid it): \
                 going on with recvmmsg and sendmmsg"
            );
            socket::Socket::new(sockets, wake).map(Opened::Socket)
        }
    }
}
