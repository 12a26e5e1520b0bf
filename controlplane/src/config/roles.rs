//! What a replica of the control plane does. `hype up` has all roles; in a fleet each replica has
//! any set of them, and they share nothing but the stores.
//!
//! | role | runs |
//! |---|---|
//! | `api` | REST under `/api/v1`, the page, and the deletion of expired sign-ins |
//! | `gateway` | `/gateway` |
//! | `voice` | the sweep of empty rooms, and the end of stays that nobody saw end |
//! | `events` | the relay of events to the bus, and what is counted of them for insights |
//!
//! `/healthz` and `/metrics` are everywhere. A replica with `api`, `gateway` or `voice` takes the
//! nodes' links, since all three must know who is in voice; `events` alone takes none.

use std::fmt;
use std::str::FromStr;

/// One thing that a replica can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// REST and the page.
    Api,
    /// WebSockets.
    Gateway,
    /// Background work of rooms.
    Voice,
    /// Background work of events.
    Events,
}

impl Role {
    /// All, in the order in which they are written.
    pub const ALL: [Self; 4] = [Self::Api, Self::Gateway, Self::Voice, Self::Events];

    fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Gateway => "gateway",
            Self::Voice => "voice",
            Self::Events => "events",
        }
    }
}

/// A set of roles, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles(u8);

impl Roles {
    /// Every role: what `hype up` has.
    pub const ALL: Self = Self(0b1111);

    /// True when the set has this role.
    pub fn has(self, role: Role) -> bool {
        self.0 & (1 << role as u8) != 0
    }

    /// True when this replica must know who is in voice, and so takes the nodes' links.
    pub fn knows_sessions(self) -> bool {
        [Role::Api, Role::Gateway, Role::Voice].into_iter().any(|role| self.has(role))
    }
}

impl Default for Roles {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromStr for Roles {
    type Err = String;

    /// Names joined by commas, each at most once.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut set = 0;
        for name in text.split(',').map(str::trim) {
            let role = Role::ALL.into_iter().find(|role| role.name() == name).ok_or_else(|| {
                format!("`{name}` is no role: choose some of api, gateway, voice, events")
            })?;
            let bit = 1 << role as u8;
            if set & bit != 0 {
                return Err(format!("`{name}` is given twice"));
            }
            set |= bit;
        }
        Ok(Self(set))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            Role::ALL.into_iter().filter(|role| self.has(*role)).map(Role::name).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_written() {
        for (text, knows_sessions) in
            [("api", true), ("gateway,events", true), ("voice", true), ("events", false)]
        {
            let roles: Roles = text.parse().expect("roles");
            assert_eq!(roles.to_string(), text);
            assert_eq!(roles.knows_sessions(), knows_sessions, "{text}");
        }
        assert_eq!(Roles::ALL.to_string(), "api,gateway,voice,events");
        assert_eq!("events, voice,gateway,api".parse(), Ok(Roles::ALL));
        for wrong in ["", "api,", "api,api", "API", "node"] {
            assert!(wrong.parse::<Roles>().is_err(), "{wrong}");
        }
    }
}
