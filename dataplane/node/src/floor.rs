//! The floor that a node's cost is compared with: receives each datagram and sends the copies that
//! the engine would forward, by the same back end, with no engine and no crypto. Only benchmarks
//! run it; it checks nothing and never serves anybody. Connectivity checks come to it as to a node, and
//! go no further.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::io::{DatagramIo, EventFd, MAX_DATAGRAM, Opened, Settings, TransmitQueue, open, thread};

/// Who gets a copy of what comes from where.
pub type Routes = HashMap<SocketAddr, Vec<SocketAddr>>;

/// One worker of the floor. It stops when dropped.
#[derive(Debug)]
pub struct Worker {
    stop: Arc<AtomicBool>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a worker on `core`: each copy is `grow` bytes longer than what came, as a forwarded packet
/// is by what the engine adds to it.
///
/// # Errors
/// When the kernel refuses a thread or a descriptor. A back end that does not open ends the process.
pub fn start(
    settings: Settings,
    socket: UdpSocket,
    core: Option<usize>,
    routes: Routes,
    grow: usize,
) -> io::Result<Worker> {
    let stop = Arc::new(AtomicBool::new(false));
    let wake = Arc::new(EventFd::new()?);
    let (stopped, woken) = (Arc::clone(&stop), Arc::clone(&wake));
    let thread = std::thread::Builder::new().name("floor".into()).spawn(move || {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        if let Some(id) = cores.into_iter().find(|id| Some(id.id) == core) {
            core_affinity::set_for_current(id);
        }
        thread::tighten_timers();
        let outcome = open(settings, vec![socket], woken).and_then(|opened| match opened {
            Opened::Uring(io) => relay(io, &routes, grow, &stopped),
            Opened::Socket(io) => relay(io, &routes, grow, &stopped),
            Opened::Xdp(io) => relay(*io, &routes, grow, &stopped),
        });
        if let Err(error) = outcome {
            tracing::error!(%error, "the floor's I/O failed");
            std::process::exit(1);
        }
    })?;
    Ok(Worker { stop, wake, thread: Some(thread) })
}

fn relay<I: DatagramIo>(
    mut io: I,
    routes: &Routes,
    grow: usize,
    stop: &AtomicBool,
) -> io::Result<()> {
    while !stop.load(Ordering::Acquire) {
        io.receive(|datagram, transmit| {
            // RFC 7983 §7: what is not media.
            if !matches!(datagram.payload, [128..=191, ..]) {
                return;
            }
            let Some(destinations) = routes.get(&datagram.source) else { return };
            let len = datagram.payload.len();
            let whole = (len + grow).min(MAX_DATAGRAM);
            for destination in destinations {
                let Some(buffer) = transmit.reserve() else { continue };
                buffer[..len].copy_from_slice(datagram.payload);
                transmit.commit(whole, datagram.local, *destination);
            }
        });
        io.wait(Some(Duration::from_secs(1)))?;
    }
    Ok(())
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.wake.signal();
        if let Some(thread) = self.thread.take() {
            // It ends the process when it fails, so there is nothing to hear from it.
            let _ = thread.join();
        }
    }
}
