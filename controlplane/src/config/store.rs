//! Which databases and which bus the control plane uses. A DSN may hold a password: what is shown
//! of it has none.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Secret;

/// The most shards.
pub const MAX_SHARDS: usize = 16;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dsn {
    /// A SQLite file; a relative path starts at the data directory.
    Sqlite(PathBuf),
    /// A PostgreSQL database, as `postgres://USER:PASSWORD@HOST:PORT/NAME`.
    Postgres(Secret),
}

impl Dsn {
    /// The password in it, if there is one.
    pub fn password(&self) -> Option<Secret> {
        let Self::Postgres(dsn) = self else { return None };
        let (_, rest) = dsn.reveal().split_once("://")?;
        // The last `@`: a password that was not percent-encoded may hold any of `/?@`.
        let (user, _) = rest.rsplit_once('@').unwrap_or_default();
        let in_authority = user.split_once(':').map(|(_, password)| password);
        let query = rest.split_once('?').map_or("", |(_, query)| query);
        let in_query = || query.split('&').find_map(|pair| pair.strip_prefix("password="));
        // An empty one is as good as none.
        in_authority.or_else(in_query).and_then(|password| password.parse().ok())
    }
}

impl FromStr for Dsn {
    type Err = String;

    /// `sqlite:FILE`, `postgres://…`, or `file:PATH` with either in it.
    fn from_str(given: &str) -> Result<Self, String> {
        let secret: Secret = given.parse()?;
        let text = secret.reveal();
        match text.split_once(':') {
            Some(("sqlite", file)) if !file.is_empty() => {
                Ok(Self::Sqlite(file.trim_start_matches("//").into()))
            }
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(Self::Postgres(secret))
            }
            _ => {
                Err("is neither `sqlite:FILE` nor `postgres://USER:PASSWORD@HOST/NAME`".to_owned())
            }
        }
    }
}

impl fmt::Display for Dsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(dsn) => {
                let shown = dsn.to_string();
                if shown.starts_with("file:") {
                    return f.write_str(&shown);
                }
                match self.password() {
                    Some(password) => {
                        f.write_str(&dsn.reveal().replace(password.reveal(), "********"))
                    }
                    None => f.write_str(dsn.reveal()),
                }
            }
        }
    }
}

/// The databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Accounts and the directory; none is `hype.sqlite` in the data directory.
    pub accounts: Option<Dsn>,
    /// Guilds, at most [`MAX_SHARDS`]; none keeps them with the accounts. The order is part of the
    /// data: append, never reorder.
    pub shards: Vec<Dsn>,
    /// Connections to each SQLite file for reading, 1–64.
    pub readers: u32,
    /// Connections to each PostgreSQL database, 1–1,000.
    pub connections: u32,
}

impl Default for Store {
    fn default() -> Self {
        Self { accounts: None, shards: Vec::new(), readers: 4, connections: 16 }
    }
}

impl Store {
    /// Where the accounts are.
    pub fn accounts(&self, data_dir: &Path) -> Dsn {
        match &self.accounts {
            None => Dsn::Sqlite(data_dir.join("hype.sqlite")),
            Some(Dsn::Sqlite(path)) => Dsn::Sqlite(data_dir.join(path)),
            Some(postgres) => postgres.clone(),
        }
    }

    /// Where each shard is, at least one; equal to [`Store::accounts`] where both share a database.
    pub fn shards(&self, data_dir: &Path) -> Vec<Dsn> {
        if self.shards.is_empty() {
            return vec![self.accounts(data_dir)];
        }
        let absolute = |dsn: &Dsn| match dsn {
            Dsn::Sqlite(path) => Dsn::Sqlite(data_dir.join(path)),
            Dsn::Postgres(_) => dsn.clone(),
        };
        self.shards.iter().map(absolute).collect()
    }
}

/// How replicas tell each other what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bus {
    /// NATS servers with JetStream, as `nats://` or `tls://` URLs; none stays in this process.
    pub nats: Vec<String>,
    /// On how many servers the stream of events is kept, 1–5; a cluster has at least as many.
    pub copies: u16,
    /// User; needs the password.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A token, instead of a user.
    pub token: Option<Secret>,
    /// A credentials file (JWT and seed), instead of a user.
    pub credentials: Option<PathBuf>,
    /// PEM file of the authority that signed the servers' certificates.
    pub ca: Option<PathBuf>,
}

impl Default for Bus {
    fn default() -> Self {
        Self {
            nats: Vec::new(),
            copies: 1,
            user: None,
            password: None,
            token: None,
            credentials: None,
            ca: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_dsn_has_no_password() {
        for (text, shown) in [
            ("sqlite:hype.sqlite", "sqlite:hype.sqlite"),
            ("sqlite:///var/hype.sqlite", "sqlite:/var/hype.sqlite"),
            ("postgres://hype@db/hype", "postgres://hype@db/hype"),
            ("postgres://hype:k9x@db:5432/hype", "postgres://hype:********@db:5432/hype"),
            ("postgres://hype:k/9x?@db/hype", "postgres://hype:********@db/hype"),
            (
                "postgres://db/hype?user=a&password=k9x",
                "postgres://db/hype?user=a&password=********",
            ),
        ] {
            let dsn: Dsn = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(dsn.to_string(), shown);
            assert!(!format!("{dsn:?}").contains("k9x"), "{dsn:?}");
        }
        for wrong in ["", "hype.sqlite", "sqlite:", "mysql://db/hype", "postgres:hype"] {
            assert!(wrong.parse::<Dsn>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_is_in_one_file_unless_said_otherwise() {
        let home = Path::new("/data");
        let mut store = Store::default();
        let file = |path: &str| Dsn::Sqlite(path.into());
        assert_eq!(store.accounts(home), file("/data/hype.sqlite"));
        assert_eq!(store.shards(home), [file("/data/hype.sqlite")]);
        store.accounts = Some(file("accounts.sqlite"));
        assert_eq!(store.shards(home), [file("/data/accounts.sqlite")]);
        store.shards = vec![file("one.sqlite"), file("/two.sqlite")];
        assert_eq!(store.shards(home), [file("/data/one.sqlite"), file("/two.sqlite")]);
    }
}
