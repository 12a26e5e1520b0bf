//! `/api/v1/auth/*`: register, log in, refresh, log out, me.

use std::net::SocketAddr;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderName, StatusCode, header};
use hype_protocol::gateway::User;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::document::Refused;
use super::extract::{Body, Caller, CallerSignIn};
use crate::app::Shared;
use crate::domain::auth::keys::Jwk;
use crate::domain::{auth, text};
use crate::error::{Error, code};

/// Name and password of an account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    /// 2–32 letters, digits, single spaces and `_`, `-`, `.`; compared without case.
    #[schema(min_length = 2, max_length = 32)]
    name: String,
    /// 8–128 characters.
    #[schema(min_length = 8, max_length = 128)]
    password: String,
}

/// A refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RefreshToken {
    /// From the newest session.
    refresh_token: String,
}

/// Somebody who is signed in.
#[derive(Serialize, ToSchema)]
pub(super) struct Session {
    /// Who it is.
    user: User,
    /// The bearer token of the API and the gateway.
    access_token: String,
    /// For how long the access token is good, in seconds.
    expires_in_s: u64,
    /// Gets the next session, once.
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

/// Make an account
///
/// It is signed in at once.
#[utoipa::path(
    post, path = "/api/v1/auth/register", tag = "auth", security(()),
    request_body = Credentials,
    responses((status = 201, body = Session), Refused::<(code::NameTaken, code::Overloaded)>)
)]
pub(super) async fn register(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Body(body): Body<Credentials>,
) -> Result<(StatusCode, Json<Session>), Error> {
    app.limits.credentials(peer.ip())?;
    let session = auth::register(&app, &body.name, &body.password).await?;
    Ok((StatusCode::CREATED, Json(session.into())))
}

/// Sign in
///
/// The answer is the same whether the account does not exist or the password is wrong.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "auth", security(()),
    request_body = Credentials,
    responses((status = 200, body = Session), Refused::<(code::WrongCredentials, code::Overloaded)>)
)]
pub(super) async fn log_in(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Body(body): Body<Credentials>,
) -> Result<Json<Session>, Error> {
    app.limits.credentials(peer.ip())?;
    app.limits.account(peer.ip(), &text::account_key(&body.name))?;
    Ok(Json(auth::log_in(&app, &body.name, &body.password).await?.into()))
}

/// Get the next pair of tokens
///
/// A refresh token works once: showing an old one again ends the sign-in, but for the first
/// seconds, when the answer may have been lost.
#[utoipa::path(
    post, path = "/api/v1/auth/refresh", tag = "auth", security(()),
    request_body = RefreshToken,
    responses((status = 200, body = Session), Refused::<code::InvalidRefreshToken>)
)]
pub(super) async fn refresh(
    State(app): State<Shared>,
    Body(body): Body<RefreshToken>,
) -> Result<Json<Session>, Error> {
    Ok(Json(auth::refresh(&app, &body.refresh_token).await?.into()))
}

/// End a sign-in
///
/// Its access token stays good for the minutes that it has left. An unknown refresh token is no
/// error.
#[utoipa::path(
    post, path = "/api/v1/auth/logout", tag = "auth", security(()),
    request_body = RefreshToken,
    responses((status = 204))
)]
pub(super) async fn log_out(
    State(app): State<Shared>,
    Body(body): Body<RefreshToken>,
) -> Result<StatusCode, Error> {
    auth::log_out(&app, &body.refresh_token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who one is
#[utoipa::path(get, path = "/api/v1/auth/me", tag = "auth", responses((status = 200, body = User)))]
pub(super) async fn me(State(app): State<Shared>, caller: Caller) -> Result<Json<User>, Error> {
    Ok(Json(auth::me(&app, caller.0).await?))
}

/// End all sign-ins
///
/// Everywhere, this one too. Access tokens stay good for the minutes that they have left.
#[utoipa::path(post, path = "/api/v1/auth/logout-all", tag = "auth", responses((status = 204)))]
pub(super) async fn log_out_everywhere(
    State(app): State<Shared>,
    caller: Caller,
) -> Result<StatusCode, Error> {
    auth::log_out_everywhere(&app, caller.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A change of one's password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PasswordChange {
    /// The password until now.
    #[schema(min_length = 8, max_length = 128)]
    current: String,
    /// The password from now on: 8–128 characters.
    #[schema(min_length = 8, max_length = 128)]
    new: String,
}

/// Change one's password
///
/// Ends all other sign-ins.
#[utoipa::path(
    patch, path = "/api/v1/auth/me/password", tag = "auth",
    request_body = PasswordChange,
    responses((status = 204), Refused::<(code::WrongCredentials, code::Overloaded)>)
)]
pub(super) async fn change_password(
    State(app): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    CallerSignIn(bearer): CallerSignIn,
    Body(body): Body<PasswordChange>,
) -> Result<StatusCode, Error> {
    app.limits.credentials(peer.ip())?;
    // As many guesses as at the door: a stolen access token must not open a way around it.
    let user = auth::me(&app, bearer.user).await?;
    app.limits.account(peer.ip(), &text::account_key(&user.name))?;
    auth::change_password(&app, &bearer, &body.current, &body.new).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Keys of access tokens (RFC 7517).
#[derive(Serialize, ToSchema)]
pub(super) struct KeySet {
    /// Each verifies the tokens that name its `kid`.
    keys: Vec<Jwk>,
}

/// The keys that access tokens are signed by
///
/// Also at `/.well-known/jwks.json`. Read them again when a token names an unknown `kid`.
#[utoipa::path(
    get, path = "/api/v1/auth/jwks", tag = "auth", security(()),
    responses((status = 200, body = KeySet))
)]
pub(super) async fn keys(
    State(app): State<Shared>,
) -> ([(HeaderName, &'static str); 1], Json<KeySet>) {
    let keys = KeySet { keys: app.tokens.keys().public() };
    ([(header::CACHE_CONTROL, "public, max-age=60")], Json(keys))
}
