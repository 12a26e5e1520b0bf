//! The one error of the control plane's requests: each maps to one status and one stable code.
//! REST and the gateway show the same body. What broke inside is logged, never shown.

pub mod code;

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hype_protocol::gateway::ErrorBody;
use hype_protocol::permission::Permissions;
use serde::Serialize;

use crate::store;

pub use code::Code;

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The thing does not exist, or the caller may not know that it does.
    #[error("this does not exist, or you are not a member of its guild")]
    NotFound,
    /// No route has this path.
    #[error("there is nothing at this path; look at the API's documentation")]
    NoRoute,
    /// The route exists, but not with this method.
    #[error("this path does not know that method")]
    MethodNotAllowed,
    /// The caller is known but may not do this.
    #[error("only the owner of the guild may do this")]
    Forbidden,
    /// The caller lacks these permissions.
    #[error("this needs a permission that you do not have: {}", names(*.0))]
    MissingPermission(Permissions),
    /// The target does not stand below the caller.
    #[error("you can act only on roles and members below your own highest role")]
    Outranked,
    /// The person was banned from the guild.
    #[error("you are banned from this guild")]
    Banned,
    /// The owner wants to leave, or to be put out.
    #[error("the owner cannot leave a guild: give it to another member first, or delete it")]
    OwnerStays,
    /// No valid access token.
    #[error("sign in first: the access token is missing, invalid or expired")]
    Unauthenticated,
    /// Name or password is wrong.
    #[error("the name or the password is wrong")]
    WrongCredentials,
    /// The refresh token is unknown, expired, or was used before.
    #[error("this session has ended; sign in again")]
    InvalidRefreshToken,
    /// Another account has the name.
    #[error("this name is taken; choose another one")]
    NameTaken,
    /// The request breaks a rule that its sender can know; the text says which.
    #[error("{0}")]
    InvalidRequest(String),
    /// The body is longer than the limit.
    #[error("the body is too large; at most {0} bytes are accepted")]
    BodyTooLarge(usize),
    /// The body is of another type than JSON.
    #[error("send the body as application/json")]
    UnsupportedMediaType,
    /// A request with the same idempotency key still runs.
    #[error("a request with this idempotency key still runs; ask again in a moment")]
    IdempotencyConflict(Duration),
    /// Another request was done under the same idempotency key.
    #[error("another request was done under this idempotency key; use a new key for each")]
    IdempotencyKeyReused,
    /// Too many requests.
    #[error("too many requests; wait a moment and try again")]
    RateLimited(Duration),
    /// A bounded queue is full.
    #[error("the server is busy; try again in a moment")]
    Overloaded(Duration),
    /// A table with a limit is full (channels of a guild, guilds of a person, …).
    #[error("{0}")]
    LimitReached(&'static str),
    /// A text channel where a voice channel is needed.
    #[error("this is not a voice channel")]
    NotAVoiceChannel,
    /// A voice channel where a text channel is needed.
    #[error("messages can only be sent in text channels")]
    NotATextChannel,
    /// The voice channel has its limit of people.
    #[error("this voice channel is full; try again when somebody has left")]
    ChannelFull,
    /// No such voice session of the caller.
    #[error("this voice session has ended; join the channel again")]
    NoSession,
    /// No media node can take the channel now.
    #[error("no media server is available; trying again helps")]
    NoNode(Duration),
    /// The coordination store does not answer and the room's place is unknown.
    #[error("new voice channels cannot be opened at the moment; trying again helps")]
    CoordinationUnavailable(Duration),
    /// The SDP offer could not be read; the text says where.
    #[error("the connection offer could not be read: {0}")]
    SdpInvalid(String),
    /// The SDP offer lacks something without which nobody can connect; the text says what.
    #[error("the connection offer is not supported: {0}")]
    SdpUnsupported(String),
    /// The enrollment token or certificate request is no good; the text says why.
    #[error("enrollment refused: {0}")]
    EnrollmentRefused(String),
    /// The database does not answer.
    #[error("the database does not answer; try again in a moment")]
    StoreUnavailable(#[source] store::Error),
    /// A defect, or a broken machine.
    #[error("something went wrong on our side; try again, and tell the operator if it stays")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The names of some permissions.
fn names(missing: Permissions) -> String {
    let all = Permissions::ALL.iter().filter(|(_, one)| missing.contains(*one));
    all.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// A defect, with what is known of it for the log.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }

    /// A broken rule, told to the sender.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::InvalidRequest(message.into())
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.kind().status()
    }

    /// The stable, machine-readable code, as clients see it.
    pub fn code(&self) -> &'static str {
        self.kind().as_str()
    }

    /// The stable code.
    pub fn kind(&self) -> Code {
        match self {
            Self::NotFound | Self::NoRoute => Code::NotFound,
            Self::NoSession => Code::NoSession,
            Self::MethodNotAllowed => Code::MethodNotAllowed,
            Self::Forbidden => Code::Forbidden,
            Self::MissingPermission(_) => Code::MissingPermission,
            Self::Outranked => Code::Outranked,
            Self::Banned => Code::Banned,
            Self::OwnerStays => Code::OwnerStays,
            Self::Unauthenticated => Code::Unauthenticated,
            Self::WrongCredentials => Code::WrongCredentials,
            Self::InvalidRefreshToken => Code::InvalidRefreshToken,
            Self::NameTaken => Code::NameTaken,
            Self::InvalidRequest(_) => Code::InvalidRequest,
            Self::BodyTooLarge(_) => Code::BodyTooLarge,
            Self::UnsupportedMediaType => Code::UnsupportedMediaType,
            Self::IdempotencyConflict(_) => Code::IdempotencyConflict,
            Self::IdempotencyKeyReused => Code::IdempotencyKeyReused,
            Self::RateLimited(_) => Code::RateLimited,
            Self::Overloaded(_) => Code::Overloaded,
            Self::LimitReached(_) => Code::LimitReached,
            Self::NotAVoiceChannel => Code::NotAVoiceChannel,
            Self::NotATextChannel => Code::NotATextChannel,
            Self::ChannelFull => Code::ChannelFull,
            Self::NoNode(_) => Code::NoNode,
            Self::CoordinationUnavailable(_) => Code::CoordinationUnavailable,
            Self::SdpInvalid(_) => Code::SdpInvalid,
            Self::SdpUnsupported(_) => Code::SdpUnsupported,
            Self::EnrollmentRefused(_) => Code::EnrollmentRefused,
            Self::StoreUnavailable(_) => Code::StoreUnavailable,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// When trying again makes sense; none when it does not.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(wait)
            | Self::IdempotencyConflict(wait)
            | Self::Overloaded(wait)
            | Self::NoNode(wait)
            | Self::CoordinationUnavailable(wait) => Some(*wait),
            Self::StoreUnavailable(_) => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The body that clients see, on the gateway and in REST. Logs what broke inside.
    pub fn body(&self) -> ErrorBody {
        if let Self::Internal(cause) = self {
            tracing::error!(%cause, "request failed");
        }
        if let Self::StoreUnavailable(cause) = self {
            tracing::warn!(%cause, "the database does not answer");
        }
        ErrorBody {
            code: self.code().to_owned(),
            message: self.to_string(),
            retry_after_ms: self
                .retry_after()
                .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl From<store::snowflake::NoIds> for Error {
    fn from(error: store::snowflake::NoIds) -> Self {
        store::Error::from(error).into()
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable(_) | store::Error::NoIds(_) => Self::StoreUnavailable(error),
            store::Error::Conflict | store::Error::Broken(_) => Self::internal(error),
        }
    }
}

/// What every refused request is answered with.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Refusal {
    error: ErrorBody,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(Refusal { error: self.body() })).into_response();
        if let Some(wait) = self.retry_after() {
            // RFC 9110 §10.2.3 counts in whole seconds; rounding down would invite a second refusal.
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                response.headers_mut().insert(header::RETRY_AFTER, value);
            }
        }
        response
    }
}
