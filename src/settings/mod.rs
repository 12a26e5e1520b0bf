//! The settings of a process: one table of all of them (`table`), filled from defaults, the file,
//! the environment and flags, each over the one before, and checked before anything starts.
//! Only here and in `role` is anything read from the environment.

mod check;
mod file;
pub mod flags;
mod show;
mod table;
#[cfg(test)]
mod tests;
mod value;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use hype_control::config::Secret;
use hype_protocol::coordination::{self, etcd};

pub use flags::Flags;
pub use show::{example, print};
pub use table::{Setting, settings};

/// How strict the check at the start is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything works without a file.
    Development,
    /// What is unsafe on a network that others reach is refused.
    Production,
}

impl FromStr for Mode {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "development" => Ok(Self::Development),
            "production" => Ok(Self::Production),
            _ => Err(()),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Development => "development",
            Self::Production => "production",
        })
    }
}

/// For which process settings are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Process {
    /// `hype up`.
    Up,
    /// `hype control`.
    Control,
    /// `hype node`.
    Node,
    /// `hype bench-node`, which reads no file.
    #[value(skip)]
    BenchNode,
}

/// What a setting belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Every process that reads the file.
    Process,
    /// The control plane.
    Control,
    /// A replica of the control plane that is not alone.
    Replica,
    /// Reaching etcd.
    Etcd,
    /// Forwarding media.
    Media,
    /// A node that is a process of its own.
    Node,
}

impl Process {
    /// The command that starts it.
    pub fn command(self) -> &'static str {
        match self {
            Self::Up => "hype up",
            Self::Control => "hype control",
            Self::Node => "hype node",
            Self::BenchNode => "hype bench-node",
        }
    }

    /// Whether settings of this part mean anything here.
    pub fn has(self, part: Part) -> bool {
        let parts: &[Part] = match self {
            Self::Up => &[Part::Process, Part::Control, Part::Media],
            Self::Control => &[Part::Process, Part::Control, Part::Replica, Part::Etcd],
            Self::Node => &[Part::Process, Part::Media, Part::Etcd, Part::Node],
            Self::BenchNode => &[Part::Media],
        };
        parts.contains(&part)
    }
}

/// How to reach etcd.
#[derive(Debug, Clone)]
pub struct Etcd {
    /// URLs.
    pub endpoints: Vec<String>,
    /// PEM file of the authority that signed the servers' certificates.
    pub ca: Option<PathBuf>,
    /// PEM files of our certificate and key: `CERT,KEY`.
    pub cert: Option<String>,
    /// User; needs the password.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
}

impl Etcd {
    /// A connection that is made at the first use.
    ///
    /// # Errors
    /// When a file cannot be read or a URL is malformed.
    pub fn store(&self) -> anyhow::Result<coordination::Store> {
        let read = |path: &Path| {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let identity = match self.cert.as_deref().and_then(|files| files.split_once(',')) {
            None => None,
            Some((cert, key)) => Some((read(cert.as_ref())?, read(key.as_ref())?)),
        };
        let tls = match &self.ca {
            Some(path) => Some(etcd::Tls { authority: read(path)?, identity, server_name: None }),
            None => None,
        };
        let password = self.password.as_ref().map(|password| password.reveal().to_owned());
        let user = self.user.clone().zip(password);
        let endpoints = self.endpoints.clone();
        let settings = etcd::Settings { endpoints, tls, user, ..etcd::Settings::default() };
        Ok(coordination::Store::Etcd(etcd::Etcd::new(settings)?))
    }
}

/// How nodes reach a replica of the control plane.
#[derive(Debug, Clone)]
pub struct Link {
    /// Where it listens (UDP).
    pub address: SocketAddr,
    /// By which addresses nodes reach it; empty for this machine's own.
    pub announce: Vec<SocketAddr>,
    /// Directory of the fleet's certificates.
    pub pki_dir: PathBuf,
}

/// How a node that is a process of its own joins the fleet.
#[derive(Debug, Clone)]
pub struct Enrolling {
    /// Where its certificate and key are kept.
    pub data_dir: PathBuf,
    /// An enrollment token, for the first start.
    pub token: Option<Secret>,
    /// The control plane's URL, for enrolling.
    pub control: Option<String>,
    /// Where operators find `/metrics`, `/healthz` and `/rooms`.
    pub admin: SocketAddr,
}

/// All settings of all processes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How strict the check is.
    pub mode: Mode,
    /// The control plane.
    pub control: hype_control::Config,
    /// etcd.
    pub etcd: Etcd,
    /// The link for nodes.
    pub link: Link,
    /// Forwarding media; `workers` is in the field of that name.
    media: hype_node::Config,
    /// Workers; none for all cores but one.
    workers: Option<u16>,
    /// Joining the fleet.
    pub node: Enrolling,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Development,
            control: hype_control::Config::default(),
            etcd: Etcd {
                endpoints: vec!["http://127.0.0.1:2379".to_owned()],
                ca: None,
                cert: None,
                user: None,
                password: None,
            },
            link: Link {
                address: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7443)),
                announce: Vec::new(),
                pki_dir: "hype-pki".into(),
            },
            media: hype_node::Config::default(),
            workers: None,
            node: Enrolling {
                data_dir: "hype-node".into(),
                token: None,
                control: None,
                admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 9464)),
            },
        }
    }
}

impl Settings {
    /// Those of the media plane.
    pub fn media(&self) -> hype_node::Config {
        let mut media = self.media.clone();
        media.workers = self.workers.unwrap_or(media.workers);
        media
    }
}

/// Where a value came from; later ones go over earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File,
    /// A variable of this name.
    Environment(&'static str),
    /// A flag of this name, without the dashes.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File => f.write_str("file"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// Something that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which setting, as in the file.
    pub key: String,
    /// Where its value came from.
    pub origin: Origin,
    /// What is wrong and what to do.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.key, self.origin, self.reason)
    }
}

/// What a flag or variable says.
#[derive(Debug, Clone)]
pub struct Given {
    /// The flag's name.
    pub name: &'static str,
    /// The value.
    pub text: String,
    /// Whether it was the flag or the variable.
    pub origin: Origin,
}

/// Settings with the origin of each, in the order of the table.
#[derive(Debug)]
pub struct Loaded {
    /// For which process.
    pub process: Process,
    /// The values; where one could not be read, that of the layer below.
    pub settings: Settings,
    /// Where each came from.
    pub origins: Vec<Origin>,
    /// All that is wrong.
    pub problems: Vec<Problem>,
}

/// Fills the settings of a process and checks them.
pub fn load(process: Process, path: Option<&Path>, given: &[Given]) -> Loaded {
    let mut loaded = Loaded {
        process,
        settings: Settings::default(),
        origins: vec![Origin::Default; settings().len()],
        problems: Vec::new(),
    };
    if let Some(path) = path {
        let file::Read { values, problems } = file::read(path);
        loaded.problems.extend(problems);
        for (index, text) in values {
            loaded.set(index, &text, Origin::File);
        }
    }
    for given in given {
        for (index, setting) in settings().iter().enumerate() {
            if setting.name == given.name && process.has(setting.part) {
                loaded.set(index, &given.text, given.origin);
            }
        }
    }
    for (key, reason) in check::faults(&loaded.settings, process) {
        let index = settings().iter().position(|setting| setting.key == key);
        let origin = index.map_or(Origin::Default, |index| loaded.origins[index]);
        loaded.problems.push(Problem { key: key.to_owned(), origin, reason });
    }
    loaded
}

impl Loaded {
    fn set(&mut self, index: usize, text: &str, origin: Origin) {
        let setting = &settings()[index];
        match setting.apply(&mut self.settings, text) {
            Ok(()) => self.origins[index] = origin,
            Err(reason) => {
                self.problems.push(Problem { key: setting.key.to_owned(), origin, reason });
            }
        }
    }

    /// The settings, when nothing is wrong with them.
    ///
    /// # Errors
    /// Everything that is wrong, a line each.
    pub fn accepted(self) -> anyhow::Result<Settings> {
        if self.problems.is_empty() {
            return Ok(self.settings);
        }
        let lines: Vec<_> = self.problems.iter().map(|problem| format!("  {problem}")).collect();
        anyhow::bail!("the configuration is refused:\n{}", lines.join("\n"))
    }
}
