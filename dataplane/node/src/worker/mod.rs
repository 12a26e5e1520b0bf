//! One worker: a pinned thread that owns its sockets, its back end and its engine, and runs
//! receive batch → engine → transmit batch → timers. Nobody else touches what it owns (DESIGN rule
//! 2): commands come by a mailbox, events leave by a queue, numbers by relaxed atomics; what the parts
//! of a room tell each other goes by rings between workers.

mod clock;
mod counters;
mod links;
mod mailbox;
mod transmit;
mod turn;

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use hype_protocol::id::WorkerId;
use hype_sfu::{Command, Event};

use crate::io::{self as datagrams, EventFd};
pub use counters::Counters;
pub use mailbox::{EventStream, Events, Full, Mailbox};
use turn::Worker;

/// Commands that wait for a worker; one more is refused.
pub const MAILBOX: usize = 4096;
/// Events that wait for the agent; when it is full they stay in the engine's own bounded queue.
pub const EVENTS: usize = 4096;

/// What a worker is made of.
#[derive(Debug)]
pub struct Settings {
    /// Its number on this node; also names its thread.
    pub id: WorkerId,
    /// The core to pin it to, counted as the system does; none leaves it to the scheduler.
    pub core: Option<usize>,
    /// Its sockets, one per local address, as [`crate::io::bind`] makes them. Their order gives the
    /// indexes that the engine sees.
    pub sockets: Vec<UdpSocket>,
    /// Which back end, as [`crate::io::prepare`] says for these sockets.
    pub io: datagrams::Settings,
    /// Its engine. `unix_at_zero` is set by the worker, whose clock it belongs to.
    pub engine: hype_sfu::Config,
}

/// Why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel refused a thread or a file descriptor.
    #[error("cannot start a worker thread: {0}")]
    Thread(#[source] io::Error),
    /// The back end did not open.
    #[error("cannot open the worker's I/O: {0}")]
    Io(#[source] io::Error),
    /// The thread ended before it said anything.
    #[error("the worker thread ended while it started")]
    Ended,
}

/// A running worker. Dropping it stops the worker.
#[derive(Debug)]
pub struct Handle {
    id: WorkerId,
    back_end: &'static str,
    commands: Mailbox<Command>,
    events: Option<Events<Event>>,
    counters: Arc<Counters>,
    stop: Arc<AtomicBool>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

/// Starts a worker that is linked to no other, and returns when it serves its sockets.
///
/// # Errors
/// When the thread or its back end cannot be made. A core that it cannot be pinned to is only
/// logged.
pub fn start(settings: Settings) -> Result<Handle, StartError> {
    let mut handles = start_joined(vec![settings])?;
    handles.pop().ok_or(StartError::Ended)
}

/// Starts the workers of a node, linked each with each, and returns when all serve their sockets.
/// A worker's place in the list is its [`hype_sfu::LinkId`].
///
/// # Errors
/// As [`start`]; those that have started are stopped then.
pub fn start_joined(settings: Vec<Settings>) -> Result<Vec<Handle>, StartError> {
    let wakes = settings.iter().map(|_| EventFd::new().map(Arc::new));
    let wakes = wakes.collect::<io::Result<Vec<_>>>().map_err(StartError::Thread)?;
    let bells: Vec<_> = wakes.iter().map(|wake| links::Doorbell::new(Arc::clone(wake))).collect();
    let ends = wakes.into_iter().zip(links::join(&bells));
    let workers = settings.into_iter().zip(ends);
    workers.map(|(settings, (wake, links))| start_one(settings, wake, links)).collect()
}

fn start_one(
    settings: Settings,
    wake: Arc<EventFd>,
    links: links::Links,
) -> Result<Handle, StartError> {
    let id = settings.id;
    let commands = Mailbox::new(MAILBOX, Arc::clone(&wake));
    let (outbox, events) = mailbox::events(EVENTS).map_err(StartError::Thread)?;
    let counters = Arc::new(Counters::default());
    let stop = Arc::new(AtomicBool::new(false));
    let (report, started) = mpsc::channel();
    let worker = Worker {
        settings,
        links,
        commands: commands.queue(),
        outbox,
        counters: Arc::clone(&counters),
        stop: Arc::clone(&stop),
        wake: Arc::clone(&wake),
    };
    let thread = thread::Builder::new()
        .name(format!("worker-{}", id.0))
        .spawn(move || worker.run(&report))
        .map_err(StartError::Thread)?;
    // The thread drops its end of the channel with its life, so this never waits for ever.
    let back_end = started
        .recv()
        .map_err(|_| StartError::Ended)
        .and_then(|result| result.map_err(StartError::Io))?;
    Ok(Handle {
        id,
        back_end,
        commands,
        events: Some(events),
        counters,
        stop,
        wake,
        thread: Some(thread),
    })
}

impl Handle {
    /// Its number.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// The back end that it uses: `uring`, `socket` or `xdp`.
    pub fn back_end(&self) -> &'static str {
        self.back_end
    }

    /// Where its commands go. Clones go to the same worker.
    pub fn commands(&self) -> &Mailbox<Command> {
        &self.commands
    }

    /// Its events, once: a second call gives none.
    pub fn take_events(&mut self) -> Option<Events<Event>> {
        self.events.take()
    }

    /// Its counters, renewed about ten times a second while it works and once a second in silence.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// False when its thread has ended by itself: its back end failed, and its log says why.
    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Stops it: what is in the mailbox is done first, and what that sends is sent. Returns when the
    /// thread has ended; its events can still be taken.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.stop.store(true, Ordering::Release);
        self.wake.signal();
        if thread.join().is_err() {
            tracing::error!(worker = self.id.0, "the worker's thread panicked");
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}
