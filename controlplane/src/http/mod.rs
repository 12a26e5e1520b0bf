//! REST under `/api/v1`, `/healthz`, `/metrics`, the gateway's upgrade and the web client.
//! Handlers are thin: they read the request, call the domain, and shape the answer.

mod accounts;
mod channels;
mod connection;
mod docs;
mod document;
mod extract;
mod files;
mod guilds;
mod idempotency;
pub mod limit;
mod observe;
mod operations;
pub mod serve;
mod standing;
pub mod tls;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::get;
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Shared;
use crate::error::Error;
use crate::gateway;

pub(crate) use idempotency::KEPT_MS as IDEMPOTENCY_KEPT_MS;

async fn method_not_allowed() -> Error {
    Error::MethodNotAllowed
}

/// The routes of the API; methods of one path stand on one line.
fn api() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(accounts::register))
        .routes(routes!(accounts::log_in))
        .routes(routes!(accounts::refresh))
        .routes(routes!(accounts::log_out))
        .routes(routes!(accounts::me))
        .routes(routes!(guilds::list, guilds::create))
        .routes(routes!(guilds::get))
        .routes(routes!(guilds::create_channel))
        .routes(routes!(guilds::create_invite))
        .routes(routes!(guilds::change_voice))
        .routes(routes!(guilds::preview_invite))
        .routes(routes!(guilds::accept_invite))
        .routes(routes!(channels::messages, channels::send))
        .routes(routes!(channels::voice))
        .routes(routes!(operations::enroll))
}

/// For those who run the server: not limited, so that a busy one still answers.
fn unlimited() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(operations::health)).routes(routes!(operations::metrics))
}

/// All routes. Needs the peer's address as connection info.
pub fn router(app: Shared) -> Router {
    let (limited, documented) = api().split_for_parts();
    let (unlimited, others) = unlimited().split_for_parts();
    let document = document::Document::new(documented, others);
    let idempotent = (app.clone(), document.idempotent());
    let limited = limited
        .route_layer(middleware::from_fn_with_state(idempotent, idempotency::once))
        .route("/gateway", get(gateway::upgrade))
        .merge(document.routes())
        .route_layer(middleware::from_fn_with_state(app.clone(), standing::limited));
    limited
        .merge(unlimited)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(files::serve)
        .layer(DefaultBodyLimit::max(extract::MAX_BODY))
        .layer(CompressionLayer::new())
        .layer(middleware::from_fn(observe::observe))
        .with_state(app)
}
