//! Identifiers as types, so that a room is never passed where a peer is meant.
//! Numbers travel in JSON as decimal strings: JavaScript loses precision above 2^53.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An identifier was not a decimal number (or, for names, not 1–32 of `a-z 0-9 -`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid identifier")]
pub struct InvalidId;

macro_rules! numeric_id {
    ($($(#[doc = $doc:literal])* $name:ident)*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.parse().map(Self).map_err(|_| InvalidId)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                decimal(deserializer).map(Self)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
                let description = concat!($($doc),*).trim_ascii();
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::Type::String)
                    .pattern(Some("^[0-9]{1,20}$"))
                    .description(Some(description))
                    .examples(["91736482918400001"])
                    .into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    )*};
}

/// Reads a decimal string (what we write) or a plain number (what people type).
pub(crate) fn decimal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Decimal;
    impl de::Visitor<'_> for Decimal {
        type Value = u64;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an identifier: a decimal number, as a string")
        }
        fn visit_u64<E: de::Error>(self, value: u64) -> Result<u64, E> {
            Ok(value)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<u64, E> {
            text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }
    deserializer.deserialize_any(Decimal)
}

numeric_id! {
    /// A person with an account.
    UserId
    /// A community: channels and members.
    GuildId
    /// A text or voice channel of a guild.
    ChannelId
    /// A message; ids grow with time.
    MessageId
    /// A role; that of everybody has its guild's number.
    RoleId
    /// Whom an overwrite is about: a role or a user.
    TargetId
    /// One entry of a guild's audit log; ids grow with time.
    AuditId
    /// The media plane's name for a voice channel: the same number as its [`ChannelId`].
    RoomId
    /// One connection of one person to one room: 64 random bits, never used twice.
    /// Its low half is the [`SourceId`].
    SessionId
    /// One run of a node's process. Keys are bound to it, so a restarted node serves no old session.
    BootId
    /// The number of a room's placement: the coordination store's revision when it was decided, so
    /// it only grows, also over deletion and re-creation.
    Generation
}

impl From<ChannelId> for RoomId {
    fn from(channel: ChannelId) -> Self {
        Self(channel.0)
    }
}

impl From<RoomId> for ChannelId {
    fn from(room: RoomId) -> Self {
        Self(room.0)
    }
}

/// The CSRC by which listeners tell who it is they hear; unique within a room, never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SourceId(pub u32);

impl SessionId {
    /// The source that this session's microphone, camera and screen are heard and seen as.
    pub fn source(self) -> SourceId {
        SourceId((self.0 & 0xffff_ffff) as u32)
    }
}

/// A worker of a node, counted from 0. It is also the index of its UDP port.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
pub struct WorkerId(pub u16);

/// A part of a room: all of its peers on one worker. The first part is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartId(pub u16);

macro_rules! named_id {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as it stands in keys and certificates.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                let valid = (1..=32).contains(&text.len())
                    && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
                if valid { Ok(Self(text)) } else { Err(InvalidId) }
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

named_id! {
    /// A media node: 1–32 of `a-z 0-9 -`. It stays the same over restarts.
    NodeId
    /// A replica of the control plane: 1–32 of `a-z 0-9 -`.
    ControlId
    /// A region such as `eu-central-1`.
    Region
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_travel_as_strings_and_come_back() {
        let id = MessageId(u64::MAX);
        let json = serde_json::to_string(&id).expect("a number encodes");
        assert_eq!(json, "\"18446744073709551615\"");
        assert_eq!(serde_json::from_str::<MessageId>(&json).expect("what we wrote"), id);
        assert_eq!(serde_json::from_str::<MessageId>("7").expect("a plain number"), MessageId(7));
        assert!(serde_json::from_str::<MessageId>("\"-1\"").is_err());
    }

    #[test]
    fn names_are_limited() {
        for (text, valid) in [
            ("node-1", true),
            ("", false),
            ("Node", false),
            ("a/b", false),
            (&"x".repeat(33), false),
        ] {
            assert_eq!(text.parse::<NodeId>().is_ok(), valid, "{text}");
        }
    }
}
