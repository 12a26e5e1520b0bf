//! The floor that a node's cost is compared with: receives each datagram and sends the copies that
//! the engine would forward, by the same back end, with no engine and no crypto. Only benchmarks
//! run it; it checks nothing and never serves anybody. Connectivity checks come to it as to a node, and
//! go no further.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::io::{DatagramIo, EventFd, MAX_DATAGRAM, Opened, Settings, TransmitQueue, open, thread};

/// Who gets a copy of what comes from where.
pub type Routes = HashMap<SocketAddr, Vec<SocketAddr>>;

/// One worker of the floor. It stops when dropped.
#[derive(Debug)]
pub struct Worker {
    /// The name of its back end.
    pub back_end: &'static str,
    stop: Arc<AtomicBool>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a worker on `core`: each copy is `grow` bytes longer than what came, as a forwarded packet
/// is by what the engine adds to it.
///
/// # Errors
/// When the kernel refuses a thread, a descriptor or the back end. A back end that fails later ends the
/// process.
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
    let (report, reported) = mpsc::channel();
    let thread = std::thread::Builder::new().name("floor".into()).spawn(move || {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        if let Some(id) = cores.into_iter().find(|id| Some(id.id) == core) {
            core_affinity::set_for_current(id);
        }
        thread::tighten_timers();
        let opened = match open(settings, vec![socket], woken) {
            Ok(opened) => opened,
            Err(error) => {
                // Whoever started it waits for this.
                let _ = report.send(Err(error));
                return;
            }
        };
        let _ = report.send(Ok(opened.name()));
        let outcome = match opened {
            Opened::Uring(io) => relay(io, &routes, grow, &stopped),
            Opened::Socket(io) => relay(io, &routes, grow, &stopped),
            Opened::Xdp(io) => relay(*io, &routes, grow, &stopped),
        };
        if let Err(error) = outcome {
            tracing::error!(%error, "the floor's I/O failed");
            std::process::exit(1);
        }
    })?;
    let back_end = reported.recv().map_err(|_| io::ErrorKind::BrokenPipe)??;
    Ok(Worker { back_end, stop, wake, thread: Some(thread) })
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
