//! REST under `/api/v1`, `/healthz`, `/metrics`, the gateway's upgrade and the web client.
//! Handlers are thin: they read the request, call the domain, and shape the answer.

mod accounts;
mod channels;
mod connection;
mod cors;
mod docs;
mod document;
mod extract;
mod files;
mod guild_channels;
mod guilds;
mod idempotency;
mod insights;
mod invites;
pub mod limit;
mod members;
mod messages;
mod observe;
mod operations;
mod proxy;
mod roles;
pub mod serve;
mod standing;
pub mod tls;
mod voice;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::get;
use tower_http::compression::CompressionLayer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::Shared;
use crate::config::roles::Role;
use crate::error::Error;
use crate::gateway;

async fn method_not_allowed() -> Error {
    Error::MethodNotAllowed
}

async fn no_route() -> Error {
    Error::NoRoute
}

/// The routes of the API; methods of one path stand on one line.
fn api() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(accounts::register))
        .routes(routes!(accounts::log_in))
        .routes(routes!(accounts::refresh))
        .routes(routes!(accounts::log_out))
        .routes(routes!(accounts::log_out_everywhere))
        .routes(routes!(accounts::me))
        .routes(routes!(accounts::change_password))
        .routes(routes!(accounts::keys))
        .routes(routes!(guilds::list, guilds::create))
        .routes(routes!(guilds::get, guilds::change, guilds::delete))
        .routes(routes!(guilds::audit_log))
        .routes(routes!(insights::insights))
        .routes(routes!(members::list))
        .routes(routes!(members::leave))
        .routes(routes!(members::change, members::kick))
        .routes(routes!(members::change_voice))
        .routes(routes!(members::bans))
        .routes(routes!(members::ban, members::unban))
        .routes(routes!(roles::list, roles::create))
        .routes(routes!(roles::change, roles::delete))
        .routes(routes!(guild_channels::create, guild_channels::order))
        .routes(routes!(guild_channels::get, guild_channels::change, guild_channels::delete))
        .routes(routes!(guild_channels::set_overwrite, guild_channels::remove_overwrite))
        .routes(routes!(guild_channels::members))
        .routes(routes!(invites::list, invites::create))
        .routes(routes!(invites::revoke))
        .routes(routes!(invites::preview))
        .routes(routes!(invites::accept))
        .routes(routes!(messages::messages, messages::send))
        .routes(routes!(messages::edit, messages::delete))
        .routes(routes!(messages::mark_read))
        .routes(routes!(messages::search))
        .routes(routes!(channels::voice))
        .routes(routes!(voice::join))
        .routes(routes!(voice::leave))
        .routes(routes!(voice::sfu_node))
        .routes(routes!(operations::enroll))
}

/// For those who run the server: not limited, so that a busy one still answers.
fn unlimited() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(operations::health)).routes(routes!(operations::metrics))
}

/// The routes of this replica's roles. Needs the peer's address as connection info.
pub fn router(app: Shared) -> Router {
    let config = &app.config;
    let (api, documented) = api().split_for_parts();
    let (unlimited, others) = unlimited().split_for_parts();
    let document = document::Document::new(documented, others);
    let mut limited = Router::new();
    if config.roles.has(Role::Gateway) {
        limited = limited.route("/gateway", get(gateway::upgrade));
    }
    if config.roles.has(Role::Api) {
        let idempotent = (app.clone(), document.idempotent());
        let api = api.route_layer(middleware::from_fn_with_state(idempotent, idempotency::once));
        limited = limited.merge(api).merge(document.routes());
        limited = limited.route("/.well-known/jwks.json", get(accounts::keys));
    }
    if limited.has_routes() {
        let limit = middleware::from_fn_with_state(app.clone(), standing::limited);
        limited = limited.route_layer(limit);
    }
    let router = limited.merge(unlimited);
    let router = if config.roles.has(Role::Api) {
        router.fallback(files::serve)
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
