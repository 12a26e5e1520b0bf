//! REST under `/api/v1`, `/healthz`, `/metrics`, the gateway's upgrade and the web client.
//! Handlers are thin: they read the request, call the domain, and shape the answer.

mod accounts;
mod channels;
mod connection;
mod cors;
mod extract;
mod files;
mod guilds;
pub mod limit;
mod observe;
mod operations;
mod proxy;
pub mod serve;
pub mod tls;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, patch, post};
use tower_http::compression::CompressionLayer;

use crate::app::Shared;
use crate::config::roles::Role;
use crate::error::Error;
use crate::gateway;

async fn limit_by_address(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    app.limits.address(peer.ip())?;
    Ok(next.run(request).await)
}

async fn method_not_allowed() -> Error {
    Error::MethodNotAllowed
}

async fn no_route() -> Error {
    Error::NoRoute
}

/// REST under `/api/v1`.
fn api() -> Router<Shared> {
    Router::new()
        .route("/api/v1/auth/register", post(accounts::register))
        .route("/api/v1/auth/login", post(accounts::log_in))
        .route("/api/v1/auth/refresh", post(accounts::refresh))
        .route("/api/v1/auth/logout", post(accounts::log_out))
        .route("/api/v1/auth/me", get(accounts::me))
        .route("/api/v1/guilds", get(guilds::list).post(guilds::create))
        .route("/api/v1/guilds/{guild}", get(guilds::get))
        .route("/api/v1/guilds/{guild}/channels", post(guilds::create_channel))
        .route("/api/v1/guilds/{guild}/invites", post(guilds::create_invite))
        .route("/api/v1/guilds/{guild}/members/{user}/voice", patch(guilds::change_voice))
        .route("/api/v1/invites/{code}", get(guilds::preview_invite))
        .route("/api/v1/invites/{code}/accept", post(guilds::accept_invite))
        .route("/api/v1/channels/{channel}/messages", get(channels::messages).post(channels::send))
        .route("/api/v1/channels/{channel}/voice", get(channels::voice))
        .route("/api/v1/nodes/enroll", post(operations::enroll))
}

/// The routes of this replica's roles. Needs the peer's address as connection info.
pub fn router(app: Shared) -> Router {
    let limit = middleware::from_fn_with_state(app.clone(), limit_by_address);
    let config = &app.config;
    let mut router = Router::new()
        .route("/healthz", get(operations::health))
        .route("/metrics", get(operations::metrics));
    if config.roles.has(Role::Gateway) {
        let gateway = Router::new().route("/gateway", get(gateway::upgrade));
        router = router.merge(gateway.route_layer(limit.clone()));
    }
    router = if config.roles.has(Role::Api) {
        router.merge(api().route_layer(limit)).fallback(files::serve)
    } else {
        router.fallback(no_route)
    };
    let mut router = router
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(extract::MAX_BODY))
        .layer(CompressionLayer::new());
    if let Some(layer) = cors::layer(&config.cors_origins) {
        router = router.layer(layer);
    }
    router = router.layer(middleware::from_fn(observe::observe));
    if config.behind_proxy {
        router = router.layer(middleware::from_fn(proxy::name_client));
    }
    router.with_state(app)
}
