//! What a member of a guild may do: Discord's permission bits, as far as Hype has the thing that
//! they allow. How roles and overwrites add up is the control plane's (`domain/permission.rs`).

use std::fmt;
use std::ops::{BitAnd, BitOr, Not};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A set of permissions. It travels as a decimal string, like ids.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Permissions(u64);

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $bit:literal)*) => {
        impl Permissions {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            /// Every permission with its name, by bit.
            pub const ALL: &'static [(&'static str, Self)] = &[$((stringify!($name), Self::$name)),*];
        }
    };
}

permissions! {
    /// Make invites.
    CREATE_INVITE = 0
    /// Put members out of the guild.
    KICK_MEMBERS = 1
    /// Put members out of the guild for good.
    BAN_MEMBERS = 2
    /// Everything, past all overwrites.
    ADMINISTRATOR = 3
    /// Create, change and delete channels and their overwrites.
    MANAGE_CHANNELS = 4
    /// Change the guild, and see and revoke its invites.
    MANAGE_GUILD = 5
    /// Read the audit log.
    VIEW_AUDIT_LOG = 7
    /// Share a camera or screen.
    STREAM = 9
    /// See a channel and read what is new in it.
    VIEW_CHANNEL = 10
    /// Write in a text channel.
    SEND_MESSAGES = 11
    /// Delete others' messages.
    MANAGE_MESSAGES = 13
    /// Read and search what was written before.
    READ_MESSAGE_HISTORY = 16
    /// See the guild's statistics.
    VIEW_INSIGHTS = 19
    /// Join a voice channel.
    CONNECT = 20
    /// Be heard there.
    SPEAK = 21
    /// Mute others for everybody.
    MUTE_MEMBERS = 22
    /// Keep others from hearing.
    DEAFEN_MEMBERS = 23
    /// Move others to another voice channel, or disconnect them.
    MOVE_MEMBERS = 24
    /// Create, change, delete and give roles below one's own highest.
    MANAGE_ROLES = 28
}

impl Permissions {
    /// None at all.
    pub const NONE: Self = Self(0);

    /// What a new guild's role of everybody allows. Also a constant of the migrations.
    pub const DEFAULT: Self = Self(
        Self::CREATE_INVITE.0
            | Self::STREAM.0
            | Self::VIEW_CHANNEL.0
            | Self::SEND_MESSAGES.0
            | Self::READ_MESSAGE_HISTORY.0
            | Self::CONNECT.0
            | Self::SPEAK.0,
    );

    /// Every permission that there is.
    pub fn all() -> Self {
        Self::ALL.iter().fold(Self::NONE, |all, (_, one)| all | *one)
    }

    /// A set from its bits; bits without a meaning are dropped.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits) & Self::all()
    }

    /// The set as bits.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// True when all of `wanted` are in this set.
    pub fn contains(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }
}

impl BitOr for Permissions {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Permissions {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Permissions {
    type Output = Self;
    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Self::ALL.iter().filter(|(_, one)| self.contains(*one)).map(|(name, _)| name);
        f.debug_set().entries(names).finish()
    }
}

impl Serialize for Permissions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Permissions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bits = crate::id::decimal(deserializer)?;
        let set = Self::from_bits(bits);
        if set.0 == bits {
            return Ok(set);
        }
        Err(de::Error::custom(format!("permission bits without a meaning: {}", bits & !set.0)))
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Permissions {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        <crate::id::TargetId as utoipa::PartialSchema>::schema()
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Permissions {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_travel_as_strings_and_unknown_bits_are_refused() {
        let set = Permissions::CONNECT | Permissions::SPEAK;
        let json = serde_json::to_string(&set).expect("encodes");
        assert_eq!(json, "\"3145728\"");
        assert_eq!(serde_json::from_str::<Permissions>(&json).expect("what we wrote"), set);
        assert!(serde_json::from_str::<Permissions>("\"64\"").is_err());
        assert_eq!(Permissions::from_bits(64), Permissions::NONE);
        assert_eq!(format!("{set:?}"), "{\"CONNECT\", \"SPEAK\"}");
    }

    #[test]
    fn the_default_is_what_the_migrations_say() {
        assert_eq!(Permissions::DEFAULT.bits(), 3_214_849);
    }
}
