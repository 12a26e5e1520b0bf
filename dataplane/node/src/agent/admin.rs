//! Pages for operators and probes, on a port of their own that is not for clients: `/metrics`,
//! `/healthz`, and `/rooms`, a dump of everything that is served.

use std::net::TcpListener;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use hype_protocol::id::{Generation, RoomId};
use hype_protocol::observation::SessionStatus;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot, watch};

use super::Input;
use super::hub::Hub;
use super::rooms::Rooms;

/// What the pages are made from.
#[derive(Clone)]
pub(super) struct Pages {
    pub metrics: Option<PrometheusHandle>,
    pub inbox: mpsc::Sender<Input>,
    pub ready: watch::Receiver<bool>,
}

/// Answer of `/rooms`.
#[derive(Debug, Serialize)]
pub(crate) struct Dump {
    rooms: Vec<RoomDump>,
}

#[derive(Debug, Serialize)]
struct RoomDump {
    room: RoomId,
    generation: Generation,
    worker: u16,
    /// Of each of its parts here, the core first where it is here.
    workers: Vec<u16>,
    max_peers: u32,
    sessions: Vec<SessionStatus>,
}

/// Serves until the task is aborted.
pub(super) async fn serve(listener: TcpListener, pages: Pages) {
    let served = async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let routes = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(health))
            .route("/rooms", get(rooms))
            .with_state(pages);
        axum::serve(listener, routes).await
    };
    if let Err(error) = served.await {
        tracing::error!(%error, "the admin pages ended");
    }
}

async fn metrics(State(pages): State<Pages>) -> Result<String, StatusCode> {
    pages.metrics.map(|metrics| metrics.render()).ok_or(StatusCode::NOT_FOUND)
}

async fn health(State(pages): State<Pages>) -> (StatusCode, &'static str) {
    if *pages.ready.borrow() {
        (StatusCode::OK, "ok\n")
    } else {
        let text = "not registered with the coordination store, or fenced; media goes on\n";
        (StatusCode::SERVICE_UNAVAILABLE, text)
    }
}

async fn rooms(State(pages): State<Pages>) -> Result<Json<Dump>, StatusCode> {
    let (answer, dump) = oneshot::channel();
    // Never waits behind a flood: an operator can ask again.
    pages.inbox.try_send(Input::Dump(answer)).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    dump.await.map(Json).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
}

/// All rooms by number, with their sessions.
pub(super) fn dump(rooms: &Rooms, hub: &Hub) -> Dump {
    let mut dump: Vec<RoomDump> = rooms
        .served()
        .map(|(room, held)| RoomDump {
            room,
            generation: held.generation,
            worker: held.parts.first().map_or(0, |part| part.worker.0),
            workers: held.parts.iter().map(|part| part.worker.0).collect(),
            max_peers: held.max_peers,
            sessions: Vec::new(),
        })
        .collect();
    dump.sort_by_key(|entry| entry.room);
    for status in hub.sessions().values() {
        if let Ok(index) = dump.binary_search_by_key(&status.room, |entry| entry.room) {
            dump[index].sessions.push(status.clone());
        }
    }
    Dump { rooms: dump }
}
