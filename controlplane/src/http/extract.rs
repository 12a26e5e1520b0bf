//! What handlers take from a request: the caller, a JSON body, ids in the path, a query.
//! Whatever is wrong with one is answered in the one error shape of the API.

use std::str::FromStr;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use hype_protocol::id::UserId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use tokio::time::timeout;

use crate::app::Shared;
use crate::domain::auth;
use crate::domain::auth::token::Bearer;
use crate::error::Error;

/// The largest body of a request, in bytes.
pub const MAX_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(15);

/// The person whose access token came with the request.
#[derive(Debug, Clone, Copy)]
pub struct Caller(pub UserId);

/// RFC 6750 §2.1; the scheme's name is compared without case (RFC 9110 §11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Error> {
        // Found and counted already, by what looked at the request before its handler.
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(*caller);
        }
        let token = bearer(&parts.headers).ok_or(Error::Unauthenticated)?;
        let caller = Self(auth::authenticate(app, token).await?.user);
        app.limits.user(caller.0)?;
        parts.extensions.insert(caller);
        Ok(caller)
    }
}

/// That person's sign-in, where it matters by which one is asked.
#[derive(Debug, Clone)]
pub struct CallerSignIn(pub Bearer);

impl FromRequestParts<Shared> for CallerSignIn {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Error> {
        Caller::from_request_parts(parts, app).await?;
        let token = bearer(&parts.headers).ok_or(Error::Unauthenticated)?;
        Ok(Self(auth::authenticate(app, token).await?))
    }
}

/// The bytes of a body.
///
/// # Errors
/// [`Error::BodyTooLarge`], or [`Error::InvalidRequest`] when it does not arrive.
pub(super) async fn whole_body(request: Request, app: &Shared) -> Result<Bytes, Error> {
    timeout(BODY_TIMEOUT, Bytes::from_request(request, app))
        .await
        .map_err(|_| Error::invalid("the body took too long to arrive"))?
        .map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Error::BodyTooLarge(MAX_BODY),
            _ => Error::invalid("the body did not arrive whole"),
        })
}

/// The JSON text of a body that begins with `first`; none when there is no body at all.
async fn json(request: Request, app: &Shared, first: u8) -> Result<Option<Bytes>, Error> {
    // A browser asks before it sends this type to another origin, so no foreign page can post.
    let kind = request.headers().get(header::CONTENT_TYPE).cloned();
    let is_json = kind
        .as_ref()
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"));
    if kind.is_some() && !is_json {
        return Err(Error::UnsupportedMediaType);
    }
    let bytes = whole_body(request, app).await?;
    if !is_json {
        return if bytes.is_empty() { Ok(None) } else { Err(Error::UnsupportedMediaType) };
    }
    // Else the fields could also come as a list, which no document tells.
    if bytes.trim_ascii_start().first() != Some(&first) {
        let shape = if first == b'{' { "object" } else { "array" };
        return Err(Error::invalid(format!("the body must be a JSON {shape}")));
    }
    Ok(Some(bytes))
}

fn read<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::invalid(format!("the body is not what this path takes: {error}")))
}

/// A JSON body: an object.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Shared> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Error> {
        let bytes = json(request, app, b'{').await?.ok_or(Error::UnsupportedMediaType)?;
        read(&bytes).map(Self)
    }
}

/// A JSON body that may be left out: an object, all of whose fields may be.
#[derive(Debug)]
pub struct OptionalBody<T>(pub T);

impl<T: DeserializeOwned + Default> FromRequest<Shared> for OptionalBody<T> {
    type Rejection = Error;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Error> {
        let bytes = json(request, app, b'{').await?;
        bytes.as_ref().map_or_else(|| Ok(T::default()), read).map(Self)
    }
}

/// A JSON body: an array.
#[derive(Debug)]
pub struct List<T>(pub Vec<T>);

impl<T: DeserializeOwned> FromRequest<Shared> for List<T> {
    type Rejection = Error;

    async fn from_request(request: Request, app: &Shared) -> Result<Self, Error> {
        let bytes = json(request, app, b'[').await?.ok_or(Error::UnsupportedMediaType)?;
        read(&bytes).map(Self)
    }
}

/// For a field that may be left out, null, or a value: left out is none.
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// Items on a page when the client names no limit, and the most that it can name.
const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 100;

/// How many items of a list a page shall have.
///
/// # Errors
/// [`Error::InvalidRequest`] when it is none, or more than 100.
pub(super) fn page_limit(limit: Option<u32>) -> Result<u32, Error> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if (1..=MAX_LIMIT).contains(&limit) {
        return Ok(limit);
    }
    Err(Error::invalid(format!("limit must be 1 to {MAX_LIMIT}")))
}

/// One id (or code) in the path. A text that is no id names nothing, so it is not found.
#[derive(Debug, Clone, Copy)]
pub struct Id<T>(pub T);

fn id<T: FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::NotFound)
}

impl<T: FromStr> FromRequestParts<Shared> for Id<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Error> {
        let Path(text) =
            Path::<String>::from_request_parts(parts, app).await.map_err(|_| Error::NotFound)?;
        id(&text).map(Self)
    }
}

/// Two ids in the path.
#[derive(Debug, Clone, Copy)]
pub struct Ids<T, U>(pub T, pub U);

impl<T: FromStr, U: FromStr> FromRequestParts<Shared> for Ids<T, U> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Error> {
        let Path((one, two)) = Path::<(String, String)>::from_request_parts(parts, app)
            .await
            .map_err(|_| Error::NotFound)?;
        Ok(Self(id(&one)?, id(&two)?))
    }
}

/// The query of the URL.
#[derive(Debug)]
pub struct Search<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Search<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &Shared) -> Result<Self, Error> {
        let Query(query) = Query::<T>::from_request_parts(parts, app)
            .await
            .map_err(|error| Error::invalid(format!("the query is wrong: {error}")))?;
        Ok(Self(query))
    }
}
