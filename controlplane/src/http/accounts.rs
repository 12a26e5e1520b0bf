//! `/api/v1/auth/*`: register, log in, refresh, log out, me.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use hype_protocol::gateway::User;
use serde::{Deserialize, Serialize};

use super::extract::{Body, Caller};
use crate::app::Shared;
use crate::domain::{auth, text};
use crate::error::Error;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    name: String,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RefreshToken {
    refresh_token: String,
}

#[derive(Serialize)]
pub(super) struct Session {
    user: User,
    access_token: String,
    expires_in_s: u64,
    refresh_token: String,
}

impl From<auth::Session> for Session {
    fn from(session: auth::Session) -> Self {
        Self {
            user: session.user,
            access_token: session.access_token,
            expires_in_s: session.expires_in_s,
            refresh_token: session.refresh_token,
        }
    }
}

pub(super) async fn register(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Body(body): Body<Credentials>,
) -> Result<(StatusCode, Json<Session>), Error> {
    app.limits.credentials(peer.ip())?;
    let session = auth::register(&app, &body.name, &body.password).await?;
    Ok((StatusCode::CREATED, Json(session.into())))
}

pub(super) async fn log_in(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Body(body): Body<Credentials>,
) -> Result<Json<Session>, Error> {
    app.limits.credentials(peer.ip())?;
    app.limits.account(peer.ip(), &text::account_key(&body.name))?;
    Ok(Json(auth::log_in(&app, &body.name, &body.password).await?.into()))
}

pub(super) async fn refresh(
    State(app): State<Shared>,
    Body(body): Body<RefreshToken>,
) -> Result<Json<Session>, Error> {
    Ok(Json(auth::refresh(&app, &body.refresh_token).await?.into()))
}

pub(super) async fn log_out(
    State(app): State<Shared>,
    Body(body): Body<RefreshToken>,
) -> Result<StatusCode, Error> {
    auth::log_out(&app, &body.refresh_token).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn me(State(app): State<Shared>, caller: Caller) -> Result<Json<User>, Error> {
    Ok(Json(auth::me(&app, caller.0).await?))
}
