//! Settings of the `control` role (and of the control plane inside `hype up`).
//! Every one has a default that works and a range that [`Config::validate`] checks at start.
//! The binary's file, environment and flags fill it in; nothing here reads any of them.

mod range;
pub mod roles;
pub mod secret;
pub mod store;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use hype_protocol::id::ControlId;

pub use roles::Roles;
pub use secret::{SealingKey, Secret};
pub use store::{Bus, Dsn, MAX_SHARDS, Store};

/// How people reach us.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Tls {
    /// Plain HTTP: for localhost, or behind a proxy that speaks TLS.
    #[default]
    Off,
    /// A certificate made at the first start, kept in the data directory.
    SelfSigned,
    /// Certificate chain and private key, PEM files.
    Files {
        /// The chain, the server's own certificate first.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
}

impl FromStr for Tls {
    type Err = Invalid;

    /// `off`, `self-signed`, or `CERT,KEY`.
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "off" => Ok(Self::Off),
            "self-signed" => Ok(Self::SelfSigned),
            _ => match text.split_once(',') {
                Some((certificate, key)) if !certificate.is_empty() && !key.is_empty() => {
                    Ok(Self::Files { certificate: certificate.into(), key: key.into() })
                }
                _ => Err(Invalid {
                    setting: "tls",
                    reason: format!("`{text}` is neither `off`, `self-signed` nor `CERT,KEY`"),
                }),
            },
        }
    }
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::SelfSigned => f.write_str("self-signed"),
            Self::Files { certificate, key } => {
                write!(f, "{},{}", certificate.display(), key.display())
            }
        }
    }
}

/// How a voice channel's media flows, as its channel says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VoiceMode {
    /// Between the peers while they are few, else through nodes.
    #[default]
    Auto,
    /// Between the peers.
    P2p,
    /// Through nodes.
    Sfu,
}

impl FromStr for VoiceMode {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text {
            "auto" => Ok(Self::Auto),
            "p2p" => Ok(Self::P2p),
            "sfu" => Ok(Self::Sfu),
            _ => Err(Invalid {
                setting: "voice.mode",
                reason: format!("`{text}` is neither `auto`, `p2p` nor `sfu`"),
            }),
        }
    }
}

impl fmt::Display for VoiceMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::P2p => "p2p",
            Self::Sfu => "sfu",
        })
    }
}

/// A token bucket: `burst` requests at once, then `per_minute` of them spread evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Sustained requests a minute; 1–10,000,000.
    pub per_minute: u32,
    /// How many may come at once; 1–10,000,000.
    pub burst: u32,
}

impl Rate {
    /// `burst` at once, `per_minute` sustained.
    pub const fn new(per_minute: u32, burst: u32) -> Self {
        Self { per_minute, burst }
    }
}

/// Who may ask how often. An IPv6 address counts as its /64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateLimits {
    /// Register, log in and enroll, by address: each costs a password hash.
    pub credentials: Rate,
    /// Log in, by account name: whoever guesses one password from many addresses is slowed down.
    pub account: Rate,
    /// Everything under `/api/v1`, by address.
    pub address: Rate,
    /// Everything that needs a token, by user.
    pub user: Rate,
    /// Messages sent, by user.
    pub message: Rate,
    /// Guilds, channels and invites made, by user.
    pub create: Rate,
    /// What is multiplied for loopback addresses in the by-address limits, 1–10,000: development
    /// and load tests come from there. Set it to 1 behind a proxy on the same machine.
    pub loopback_factor: u32,
    /// The most addresses, names and users remembered in each table, 64–10,000,000 (about 100 bytes
    /// each). When a table is full of busy entries, all newcomers share one bucket.
    pub table_size: usize,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            credentials: Rate::new(10, 10),
            account: Rate::new(10, 20),
            address: Rate::new(3000, 600),
            user: Rate::new(1200, 200),
            message: Rate::new(60, 10),
            create: Rate::new(30, 30),
            loopback_factor: 100,
            table_size: 50_000,
        }
    }
}

/// The cost of a password hash (argon2id, RFC 9106).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Argon2Cost {
    /// Memory in KiB; 8–1,048,576.
    pub memory_kib: u32,
    /// Passes over it; 1–100.
    pub passes: u32,
    /// Lanes; 1–16.
    pub lanes: u32,
    /// Hashes computed at the same time, 1–1,024; 0 takes the number of cores.
    pub parallel: usize,
    /// Requests that may wait for a turn; more get `overloaded`. 1–100,000.
    pub queue: usize,
}

impl Default for Argon2Cost {
    fn default() -> Self {
        Self { memory_kib: 19 * 1024, passes: 2, lanes: 1, parallel: 0, queue: 256 }
    }
}

/// How long tokens live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLifetimes {
    /// Access tokens: 10 s – 24 h.
    pub access: Duration,
    /// Refresh tokens, from their last use: 1 min – 365 days, longer than access tokens.
    pub refresh: Duration,
    /// For how long after its use a refresh token is answered again with the same successor,
    /// for lost answers and second tabs; 0–60 s. After it, a second use ends the sign-in.
    pub refresh_grace: Duration,
}

impl Default for TokenLifetimes {
    fn default() -> Self {
        Self {
            access: Duration::from_secs(600),
            refresh: Duration::from_secs(30 * 86_400),
            refresh_grace: Duration::from_secs(10),
        }
    }
}

/// The most that one guild, one person or one channel may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quotas {
    /// Guilds one person can be a member of.
    pub guilds_per_user: u32,
    /// Channels of a guild.
    pub channels_per_guild: u32,
    /// Members of a guild.
    pub members_per_guild: u32,
    /// Invites of a guild.
    pub invites_per_guild: u32,
    /// Roles of a guild, without that of everybody.
    pub roles_per_guild: u32,
    /// Overwrites of a channel.
    pub overwrites_per_channel: u32,
    /// Bans of a guild.
    pub bans_per_guild: u32,
    /// Sign-ins of one person that can be refreshed; one more ends the oldest.
    pub sign_ins_per_user: u32,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            guilds_per_user: 100,
            channels_per_guild: 500,
            members_per_guild: 10_000,
            invites_per_guild: 1000,
            roles_per_guild: 250,
            overwrites_per_channel: 100,
            bans_per_guild: 10_000,
            sign_ins_per_user: 50,
        }
    }
}

/// All settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This replica's name.
    pub control: ControlId,
    /// What it does.
    pub roles: Roles,
    /// Where HTTP and the gateway listen; port 0 takes a free one.
    pub http: SocketAddr,
    /// Where the database, keys and certificates are kept; made when it is missing.
    pub data_dir: PathBuf,
    /// Plain HTTP, or TLS.
    pub tls: Tls,
    /// People come through a proxy that speaks TLS with them and names their address last in
    /// `x-forwarded-for`. Without such a proxy anybody could choose the address he is limited by.
    pub behind_proxy: bool,
    /// Origins of other pages that may use the API, as browsers write them
    /// (`https://chat.example`); at most 100.
    pub cors_origins: Vec<String>,
    /// The worker number in this replica's ids, 0–1,023: different for each replica.
    pub id_worker: u16,
    /// Rate limits.
    pub limits: RateLimits,
    /// Cost of passwords.
    pub argon2: Argon2Cost,
    /// Lifetimes of tokens.
    pub tokens: TokenLifetimes,
    /// Sizes.
    pub quotas: Quotas,
    /// Databases.
    pub store: Store,
    /// How replicas tell each other what happened.
    pub bus: Bus,
    /// Seals signing keys in the accounts database; see [`SealingKey::open`].
    pub sealing_key: Option<Secret>,
    /// The mode of new voice channels.
    pub voice_mode: VoiceMode,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            control: ControlId::from_str("control-1").expect("a valid name"),
            roles: Roles::ALL,
            http: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            data_dir: PathBuf::from("hype-data"),
            tls: Tls::default(),
            behind_proxy: false,
            cors_origins: Vec::new(),
            id_worker: 0,
            limits: RateLimits::default(),
            argon2: Argon2Cost::default(),
            tokens: TokenLifetimes::default(),
            quotas: Quotas::default(),
            store: Store::default(),
            bus: Bus::default(),
            sealing_key: None,
            voice_mode: VoiceMode::default(),
        }
    }
}

/// A setting is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("setting `{setting}`: {reason}")]
pub struct Invalid {
    /// Which.
    pub setting: &'static str,
    /// What is wrong and what is accepted.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_read_from_text() {
        assert_eq!("off".parse(), Ok(Tls::Off));
        assert_eq!("self-signed".parse(), Ok(Tls::SelfSigned));
        let files = Tls::Files { certificate: "a.pem".into(), key: "b.pem".into() };
        assert_eq!("a.pem,b.pem".parse(), Ok(files));
        for wrong in ["", "a.pem", "a.pem,", ",b.pem", "selfsigned"] {
            assert!(wrong.parse::<Tls>().is_err(), "{wrong}");
        }
    }
}
