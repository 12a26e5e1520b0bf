//! The WebSocket at `/gateway` (contract: `hype_protocol::gateway`): sessions with sequence numbers,
//! heartbeats and resume, buffered here or by the guilds' own sequences anywhere. A connection belongs to one socket, a session outlives it for a
//! minute; voice sessions live on nodes and outlive both.
//! Every queue is bounded: who reads too slowly is cut and resumes, and memory never grows.

mod access;
mod beginning;
mod connection;
mod dispatch;
mod presence;
mod registry;
mod request;
mod session;
mod tell;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::{IntoResponse, Response};
use hype_protocol::gateway::MAX_FRAME;

use crate::app::Shared;
use crate::error::Error;
use crate::event::Bus;
use presence::Presences;
use registry::Registry;

/// How often clients send a heartbeat.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(15);
/// How long a client may take to identify or resume.
pub const IDENTIFY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a session waits to be resumed.
pub const RESUME_WINDOW: Duration = Duration::from_secs(60);
/// How long somebody waits between two `typing.start`.
pub const TYPING_PAUSE: Duration = Duration::from_secs(2);
/// Frames that a client may send within a minute, at once if it likes.
pub const FRAMES_PER_MINUTE: u32 = 120;
/// Bytes of each of a socket's two buffers, which most sockets hardly use; longer frames grow them.
const SOCKET_BUFFER: usize = 2048;
/// The most sockets; one more gets 503.
pub const MAX_CONNECTIONS: usize = 100_000;

/// All gateway sessions of this replica. Clones share them.
#[derive(Debug, Clone)]
pub struct Gateway {
    bus: Bus,
    shared: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    registry: Mutex<Registry>,
    presences: Mutex<Presences>,
    connections: AtomicUsize,
    /// The first connection starts the routing of events: before it nobody could be told.
    dispatching: OnceLock<()>,
}

impl Gateway {
    /// A gateway without sessions, which tells of what is published on `bus`.
    pub fn start(bus: Bus) -> Self {
        Self { bus, shared: Arc::default() }
    }

    /// From its return on, nothing published is missed.
    fn dispatch(&self, app: &Shared) {
        self.shared.dispatching.get_or_init(|| {
            let subscription = self.bus.subscribe();
            tokio::spawn(dispatch::run(app.clone(), subscription));
            tokio::spawn(presence::run(app.clone()));
        });
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // The registry is whole after every statement, also when a holder panicked.
        self.shared.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never taken while the registry is held, nor the other way round.
    fn presences(&self) -> MutexGuard<'_, Presences> {
        self.shared.presences.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self) -> Result<Admission, Error> {
        let admission = Admission { gateway: self.clone() };
        // Counted before it is compared; the refused one is counted back by its drop.
        let before = self.shared.connections.fetch_add(1, Ordering::Relaxed);
        metrics::gauge!("hype_control_gateway_connections").increment(1);
        if before >= MAX_CONNECTIONS {
            return Err(Error::Overloaded(Duration::from_secs(5)));
        }
        Ok(admission)
    }
}

/// One socket's place among [`MAX_CONNECTIONS`].
#[derive(Debug)]
struct Admission {
    gateway: Gateway,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.gateway.shared.connections.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("hype_control_gateway_connections").decrement(1);
    }
}

/// `GET /gateway`.
pub async fn upgrade(State(app): State<Shared>, upgrade: WebSocketUpgrade) -> Response {
    let admission = match app.gateway.admit() {
        Ok(admission) => admission,
        Err(error) => return error.into_response(),
    };
    app.gateway.dispatch(&app);
    let upgrade = upgrade
        .max_message_size(MAX_FRAME)
        .max_frame_size(MAX_FRAME)
        .read_buffer_size(SOCKET_BUFFER)
        .write_buffer_size(SOCKET_BUFFER);
    upgrade.on_upgrade(|socket| async move {
        connection::serve(app, socket).await;
        drop(admission);
    })
}
