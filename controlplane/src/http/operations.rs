//! For operators and nodes: `/healthz`, `/metrics`, and the enrollment of nodes.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};

use super::extract::Body;
use crate::app::Shared;
use crate::error::Error;

/// 200 once people can join: the database answers and a node lives; else 503 with the reason.
/// A replica that takes no nodes' links is well without a node.
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

/// All metrics of this process in Prometheus' text format.
pub(super) async fn metrics(State(app): State<Shared>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.render())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Enrollment {
    token: String,
    csr: String,
}

#[derive(Serialize)]
pub(super) struct Enrolled {
    certificate: String,
    authority: String,
}

/// Gives a node its certificate for an enrollment token and a certificate signing request.
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
