//! The stable codes of errors, each with its one HTTP status and what it means. Clients decide by
//! the code, so one that was released never changes. Each is a value, and a type of the same
//! name for the documentation of routes.

use axum::http::StatusCode;

/// The codes that a type stands for: one, or a tuple of several.
pub trait Codes {
    /// Them.
    fn codes() -> Vec<Code>;
}

macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $name:ident $status:ident $text:literal)*) => {
        /// A stable, machine-readable code.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $meaning])+ $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As clients see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// What it means, for people.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($meaning),+).trim_ascii(),)* }
            }
        }

        $(
            $(#[doc = $meaning])+
            #[derive(Debug)]
            pub struct $name;

            impl Codes for $name {
                fn codes() -> Vec<Code> {
                    vec![Code::$name]
                }
            }
        )*
    };
}

codes! {
    /// The thing does not exist, or you may not know that it does.
    NotFound NOT_FOUND "not_found"
    /// The voice session has ended.
    NoSession NOT_FOUND "no_session"
    /// The path exists, but not with this method.
    MethodNotAllowed METHOD_NOT_ALLOWED "method_not_allowed"
    /// You are known but may not do this.
    Forbidden FORBIDDEN "forbidden"
    /// You lack a permission; the message names it.
    MissingPermission FORBIDDEN "missing_permission"
    /// The role or member is not below your own highest role.
    Outranked FORBIDDEN "outranked"
    /// You are banned from the guild.
    Banned FORBIDDEN "banned"
    /// The owner cannot leave a guild.
    OwnerStays CONFLICT "owner_stays"
    /// The access token is missing, invalid or expired.
    Unauthenticated UNAUTHORIZED "unauthenticated"
    /// Name or password is wrong.
    WrongCredentials UNAUTHORIZED "wrong_credentials"
    /// The refresh token is unknown, expired, or was used before.
    InvalidRefreshToken UNAUTHORIZED "invalid_refresh_token"
    /// Another account has the name.
    NameTaken CONFLICT "name_taken"
    /// Body, query or header break a rule; the message says which.
    InvalidRequest BAD_REQUEST "invalid_request"
    /// The body is not sent as `application/json`.
    UnsupportedMediaType UNSUPPORTED_MEDIA_TYPE "unsupported_media_type"
    /// The body is longer than is accepted.
    BodyTooLarge PAYLOAD_TOO_LARGE "body_too_large"
    /// Too many requests: wait as long as `Retry-After` says.
    RateLimited TOO_MANY_REQUESTS "rate_limited"
    /// A queue is full: wait as long as `Retry-After` says.
    Overloaded SERVICE_UNAVAILABLE "overloaded"
    /// A guild or person has as many of these as it can have.
    LimitReached CONFLICT "limit_reached"
    /// A request with this `Idempotency-Key` still runs: ask again after `Retry-After`.
    IdempotencyConflict CONFLICT "idempotency_conflict"
    /// Another request was done under this `Idempotency-Key`.
    IdempotencyKeyReused UNPROCESSABLE_ENTITY "idempotency_key_reused"
    /// A voice channel is needed.
    NotAVoiceChannel BAD_REQUEST "not_a_voice_channel"
    /// A text channel is needed.
    NotATextChannel BAD_REQUEST "not_a_text_channel"
    /// The voice channel has its limit of people.
    ChannelFull CONFLICT "channel_full"
    /// No media server can take the channel now.
    NoNode SERVICE_UNAVAILABLE "no_node"
    /// The coordination store does not answer and the channel is not open yet.
    CoordinationUnavailable SERVICE_UNAVAILABLE "coordination_unavailable"
    /// The SDP offer could not be read.
    SdpInvalid BAD_REQUEST "sdp_invalid"
    /// The SDP offer lacks something without which nobody can connect.
    SdpUnsupported UNPROCESSABLE_ENTITY "sdp_unsupported"
    /// The enrollment token or certificate request is no good.
    EnrollmentRefused FORBIDDEN "enrollment_refused"
    /// The database does not answer: try again.
    StoreUnavailable SERVICE_UNAVAILABLE "store_unavailable"
    /// Something broke on the server's side.
    Internal INTERNAL_SERVER_ERROR "internal"
}

macro_rules! several {
    ($($($one:ident)+;)*) => {$(
        impl<$($one: Codes),+> Codes for ($($one,)+) {
            fn codes() -> Vec<Code> {
                [$($one::codes()),+].concat()
            }
        }
    )*};
}

several! {
    A B;
    A B C;
    A B C D;
    A B C D E;
}
