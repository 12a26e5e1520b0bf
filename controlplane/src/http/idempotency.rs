//! `Idempotency-Key`: a request that makes something can be sent again without making it twice.
//! Applies to every operation whose documentation has [`IdempotencyKey`] among its parameters.
//! Only successes are kept: a refusal has made nothing, so its key stays free.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use axum::body::{self, Body};
use axum::extract::{FromRequestParts as _, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hype_protocol::id::UserId;
use tracing::Instrument as _;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::{ObjectBuilder, Required, Type};

use super::extract::{Caller, whole_body};
use super::standing::Tightest;
use crate::app::Shared;
use crate::error::Error;
use crate::store::idempotency::{Answer, Attempt, Begun, KEPT_MS, Once};
use crate::store::snowflake::unix_ms;

pub(super) const NAME: &str = "Idempotency-Key";
const KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MAX_KEY: usize = 64;
/// After this time, in milliseconds, a request that has not been answered never will be: its
/// replica has died. Longer than any handler takes.
const ABANDONED_MS: u64 = 60 * 1000;
/// When to ask again while the first request runs.
const RETRY: Duration = Duration::from_secs(1);
/// The largest answer that is kept, in bytes; no answer to a request that makes something is as
/// large.
const MAX_ANSWER: usize = 1024 * 1024;

/// The parameter that makes an operation idempotent.
pub(super) struct IdempotencyKey;

impl utoipa::IntoParams for IdempotencyKey {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(MAX_KEY))
            .pattern(Some("^[!-~]{1,64}$"));
        let key = ParameterBuilder::new()
            .name(NAME)
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .schema(Some(schema))
            .description(Some(
                "Chosen anew for each thing to make: the same request sent again under its key \
                 within 24 hours gets the first answer and makes nothing.",
            ));
        vec![key.build()]
    }
}

/// Which operations take a key, by method and path pattern.
pub(super) type Operations = Arc<HashSet<(Method, String)>>;

fn read_key(value: &HeaderValue) -> Result<String, Error> {
    let valid = |text: &str| {
        (1..=MAX_KEY).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match value.to_str() {
        Ok(text) if valid(text) => Ok(text.to_owned()),
        _ => Err(Error::invalid(format!(
            "{NAME} must be 1 to {MAX_KEY} visible ASCII characters without spaces"
        ))),
    }
}

fn request_hash(parts: &Parts, body: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    // Neither of the first two can hold a line break, so no two requests are written alike.
    hash.update(format!("{}\n{target}\n", parts.method).as_bytes());
    hash.update(body);
    hash.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Around all routes: does a request that has a key at most once.
pub(super) async fn once(
    State((app, operations)): State<(Shared, Operations)>,
    path: MatchedPath,
    request: Request,
    next: Next,
) -> Result<Response, Error> {
    let operation = (request.method().clone(), path.as_str().to_owned());
    let value = request.headers().get(&KEY).filter(|_| operations.contains(&operation));
    let Some(key) = value.map(read_key).transpose()? else {
        return Ok(next.run(request).await);
    };
    let (mut parts, body) = request.into_parts();
    let Caller(user) = Caller::from_request_parts(&mut parts, &app).await?;
    // With the extensions, among which is the limit of the body.
    let body = whole_body(Request::from_parts(parts.clone(), body), &app).await?;
    let request_hash = request_hash(&parts, &body);
    let request = Request::from_parts(parts, Body::from(body));
    // In a task of its own, the claim too: a client that goes away must neither stop what it will
    // ask for again, nor leave a claim behind that nobody works for.
    let work = claim_and_do(app, user, key, request_hash, request, next);
    let work = Tightest::of_this_task().scope(work.in_current_span());
    tokio::spawn(work).await.map_err(Error::internal)?
}

async fn claim_and_do(
    app: Shared,
    user: UserId,
    key: String,
    request_hash: String,
    mut request: Request,
    next: Next,
) -> Result<Response, Error> {
    let begun_at_ms = unix_ms();
    let begun = app
        .store
        .begin_idempotent(Attempt {
            user,
            key: &key,
            request_hash: &request_hash,
            now_ms: begun_at_ms,
            expired_before_ms: begun_at_ms.saturating_sub(KEPT_MS),
            abandoned_before_ms: begun_at_ms.saturating_sub(ABANDONED_MS),
        })
        .await?;
    match begun {
        Begun::New | Begun::Again => {
            // For handlers that can tell whether it was made by the try before.
            let again = begun == Begun::Again;
            request.extensions_mut().insert(Once { key: key.clone(), again });
            let response = next.run(request).await;
            keep(&app, Claim { user, key, begun_at_ms }, response).await
        }
        Begun::Running => Err(Error::IdempotencyConflict(RETRY)),
        Begun::Other => Err(Error::IdempotencyKeyReused),
        Begun::Answered(answer) => replay(answer),
    }
}

/// A key of somebody for a request that runs.
struct Claim {
    user: UserId,
    key: String,
    begun_at_ms: u64,
}

/// Keeps a success for the next time, and frees the key of anything else.
async fn keep(app: &Shared, claim: Claim, response: Response) -> Result<Response, Error> {
    let Claim { user, key, begun_at_ms } = claim;
    if !response.status().is_success() {
        if let Err(cause) = app.store.abandon_idempotent(user, &key, begun_at_ms).await {
            tracing::warn!(%cause, "an idempotency key could not be freed");
        }
        return Ok(response);
    }
    let (parts, body) = response.into_parts();
    let bytes = body::to_bytes(body, MAX_ANSWER).await.map_err(Error::internal)?;
    let text = String::from_utf8(bytes.to_vec()).map_err(Error::internal)?;
    let answer = Answer { status: parts.status.as_u16(), body: text };
    if let Err(cause) = app.store.finish_idempotent(user, &key, begun_at_ms, &answer).await {
        // The thing is made, and its maker shall know.
        tracing::warn!(%cause, "an answer could not be kept under its idempotency key");
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn replay(answer: Answer) -> Result<Response, Error> {
    let status = StatusCode::from_u16(answer.status).map_err(Error::internal)?;
    let mut response = if answer.body.is_empty() {
        status.into_response()
    } else {
        (status, [(header::CONTENT_TYPE, "application/json")], answer.body).into_response()
    };
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}
