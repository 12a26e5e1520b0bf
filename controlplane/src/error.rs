//! The one error of the control plane's requests: each maps to one status and one stable code.
//! REST and the gateway show the same body. What broke inside is logged, never shown.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hype_protocol::gateway::ErrorBody;
use serde::Serialize;

use crate::store;

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
        match self {
            Self::NotFound | Self::NoRoute | Self::NoSession => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Forbidden | Self::EnrollmentRefused(_) => StatusCode::FORBIDDEN,
            Self::Unauthenticated | Self::WrongCredentials | Self::InvalidRefreshToken => {
                StatusCode::UNAUTHORIZED
            }
            Self::NameTaken | Self::ChannelFull | Self::LimitReached(_) => StatusCode::CONFLICT,
            Self::InvalidRequest(_)
            | Self::NotAVoiceChannel
            | Self::NotATextChannel
            | Self::SdpInvalid(_) => StatusCode::BAD_REQUEST,
            Self::SdpUnsupported(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RateLimited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Overloaded(_)
            | Self::NoNode(_)
            | Self::CoordinationUnavailable(_)
            | Self::StoreUnavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The stable, machine-readable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound | Self::NoRoute => "not_found",
            Self::NoSession => "no_session",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Forbidden => "forbidden",
            Self::Unauthenticated => "unauthenticated",
            Self::WrongCredentials => "wrong_credentials",
            Self::InvalidRefreshToken => "invalid_refresh_token",
            Self::NameTaken => "name_taken",
            Self::InvalidRequest(_) => "invalid_request",
            Self::BodyTooLarge(_) => "body_too_large",
            Self::RateLimited(_) => "rate_limited",
            Self::Overloaded(_) => "overloaded",
            Self::LimitReached(_) => "limit_reached",
            Self::NotAVoiceChannel => "not_a_voice_channel",
            Self::NotATextChannel => "not_a_text_channel",
            Self::ChannelFull => "channel_full",
            Self::NoNode(_) => "no_node",
            Self::CoordinationUnavailable(_) => "coordination_unavailable",
            Self::SdpInvalid(_) => "sdp_invalid",
            Self::SdpUnsupported(_) => "sdp_unsupported",
            Self::EnrollmentRefused(_) => "enrollment_refused",
            Self::StoreUnavailable(_) => "store_unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// When trying again makes sense; none when it does not.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited(wait)
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

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Unavailable(_) | store::Error::NoIds(_) => Self::StoreUnavailable(error),
            store::Error::Conflict | store::Error::Broken(_) => Self::internal(error),
        }
    }
}

#[derive(Serialize)]
struct Wrapped {
    error: ErrorBody,
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = (self.status(), Json(Wrapped { error: self.body() })).into_response();
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
