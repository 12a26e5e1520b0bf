//! For operators and nodes: `/healthz`, `/metrics`, and the enrollment of nodes.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::document::Refused;
use super::extract::Body;
use crate::app::Shared;
use crate::error::{Error, code};

/// Whether people can join
///
/// 200 once the database answers and a node lives; else 503 with the reason. A replica that takes no
/// nodes' links is well without a node.
#[utoipa::path(
    get, path = "/healthz", tag = "operations", security(()),
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 503, body = String, content_type = "text/plain")
    )
)]
pub(super) async fn health(State(app): State<Shared>) -> impl IntoResponse {
    let (status, text) = if *app.stopping.borrow() {
        (StatusCode::SERVICE_UNAVAILABLE, "this replica stops")
    } else if let Err(cause) = app.store.ping().await {
        tracing::warn!(%cause, "the database does not answer");
        (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer")
    } else if app.config.roles.knows_sessions() && !app.voice.ready() {
        (StatusCode::SERVICE_UNAVAILABLE, "no media node is connected")
    } else {
        (StatusCode::OK, "ok")
    };
    (status, [(header::CACHE_CONTROL, "no-store")], text)
}

/// All metrics of this process, for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "operations", security(()),
    responses((status = 200, body = String, content_type = "text/plain"))
)]
pub(super) async fn metrics(State(app): State<Shared>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.render())
}

/// What a new node shows.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Enrollment {
    /// An enrollment token, from an operator.
    token: String,
    /// A certificate signing request, PEM.
    csr: String,
}

/// What a new node gets.
#[derive(Serialize, ToSchema)]
pub(super) struct Enrolled {
    /// The node's certificate, PEM.
    certificate: String,
    /// The authority's certificate, PEM.
    authority: String,
}

/// Give a node its certificate
#[utoipa::path(
    post, path = "/api/v1/nodes/enroll", tag = "operations", security(()),
    request_body = Enrollment,
    responses((status = 200, body = Enrolled), Refused::<code::EnrollmentRefused>)
)]
pub(super) async fn enroll(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Body(body): Body<Enrollment>,
) -> Result<Json<Enrolled>, Error> {
    app.limits.credentials(peer.ip())?;
    let authority = app.authority.as_ref().ok_or_else(|| {
        Error::EnrollmentRefused("this control plane does not enroll nodes".to_owned())
    })?;
    let issued = authority
        .enroll(&body.token, &body.csr)
        .map_err(|error| Error::EnrollmentRefused(error.to_string()))?;
    Ok(Json(Enrolled { certificate: issued.certificate, authority: issued.authority }))
}
