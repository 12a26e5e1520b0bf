//! The range of every setting of the control plane. [`Config::faults`] finds all that is wrong at
//! once, by the names that the settings have in the file.

use std::fmt::Display;

use super::store::MAX_SHARDS;
use super::{Config, Invalid, Rate, SealingKey};

/// The most origins of other pages.
const MAX_ORIGINS: usize = 100;
/// The most servers of the bus.
const MAX_SERVERS: usize = 16;

/// What was found so far.
#[derive(Default)]
struct Faults(Vec<Invalid>);

impl Faults {
    fn add(&mut self, setting: &'static str, reason: impl Into<String>) {
        self.0.push(Invalid { setting, reason: reason.into() });
    }

    fn range<T: PartialOrd + Display + Copy>(
        &mut self,
        setting: &'static str,
        value: T,
        least: T,
        most: T,
    ) {
        if !(least..=most).contains(&value) {
            self.add(setting, format!("{value} is not within {least} to {most}"));
        }
    }

    fn rate(&mut self, per_minute: &'static str, burst: &'static str, rate: Rate) {
        self.range(per_minute, rate.per_minute, 1, 10_000_000);
        self.range(burst, rate.burst, 1, 10_000_000);
    }
}

impl Config {
    /// Checks every range.
    ///
    /// # Errors
    /// The first setting out of its range.
    pub fn validate(&self) -> Result<(), Invalid> {
        match self.faults().into_iter().next() {
            Some(first) => Err(first),
            None => Ok(()),
        }
    }

    /// Everything that is out of its range.
    pub fn faults(&self) -> Vec<Invalid> {
        let mut faults = Faults::default();
        faults.range("id_worker", self.id_worker, 0, 1023);
        self.check_web(&mut faults);
        self.check_limits(&mut faults);
        self.check_stores(&mut faults);
        let cost = &self.argon2;
        faults.range("argon2.passes", cost.passes, 1, 100);
        faults.range("argon2.lanes", cost.lanes, 1, 16);
        // RFC 9106 §3.1: at least 8 KiB a lane.
        faults.range("argon2.memory_kib", cost.memory_kib, 8 * cost.lanes.min(16), 1 << 20);
        faults.range("argon2.parallel", cost.parallel, 0, 1024);
        faults.range("argon2.queue", cost.queue, 1, 100_000);
        let tokens = &self.tokens;
        faults.range("tokens.access_s", tokens.access.as_secs(), 10, 86_400);
        faults.range("tokens.refresh_s", tokens.refresh.as_secs(), 60, 365 * 86_400);
        faults.range("tokens.refresh_grace_s", tokens.refresh_grace.as_secs(), 0, 60);
        if tokens.refresh <= tokens.access {
            faults.add("tokens.refresh_s", "must be longer than tokens.access_s");
        }
        faults.0
    }

    fn check_web(&self, faults: &mut Faults) {
        if self.cors_origins.len() > MAX_ORIGINS {
            faults.add("cors.origins", format!("at most {MAX_ORIGINS}"));
        }
        for origin in &self.cors_origins {
            if !is_origin(origin) {
                let reason = format!(
                    "`{origin}` is no origin: write it as browsers do, such as \
                     https://chat.example or http://localhost:3000, in lower case and without a path"
                );
                faults.add("cors.origins", reason);
            }
        }
    }

    fn check_limits(&self, faults: &mut Faults) {
        let limits = &self.limits;
        for (per_minute, burst, rate) in [
            ("limits.credentials.per_minute", "limits.credentials.burst", limits.credentials),
            ("limits.account.per_minute", "limits.account.burst", limits.account),
            ("limits.address.per_minute", "limits.address.burst", limits.address),
            ("limits.user.per_minute", "limits.user.burst", limits.user),
            ("limits.message.per_minute", "limits.message.burst", limits.message),
            ("limits.create.per_minute", "limits.create.burst", limits.create),
        ] {
            faults.rate(per_minute, burst, rate);
        }
        faults.range("limits.loopback_factor", limits.loopback_factor, 1, 10_000);
        faults.range("limits.table_size", limits.table_size, 64, 10_000_000);
        let quotas = &self.quotas;
        for (setting, value) in [
            ("quotas.guilds_per_user", quotas.guilds_per_user),
            ("quotas.channels_per_guild", quotas.channels_per_guild),
            ("quotas.members_per_guild", quotas.members_per_guild),
            ("quotas.invites_per_guild", quotas.invites_per_guild),
            ("quotas.roles_per_guild", quotas.roles_per_guild),
            ("quotas.overwrites_per_channel", quotas.overwrites_per_channel),
            ("quotas.bans_per_guild", quotas.bans_per_guild),
            ("quotas.sign_ins_per_user", quotas.sign_ins_per_user),
        ] {
            faults.range(setting, value, 1, 1_000_000);
        }
    }

    fn check_stores(&self, faults: &mut Faults) {
        let store = &self.store;
        faults.range("store.readers", store.readers, 1, 64);
        faults.range("store.connections", store.connections, 1, 1000);
        if store.shards.len() > MAX_SHARDS {
            faults.add("store.shards", format!("at most {MAX_SHARDS}"));
        }
        for (index, dsn) in store.shards.iter().enumerate() {
            if store.shards[..index].contains(dsn) {
                faults.add("store.shards", format!("{dsn} is given twice"));
            }
        }
        if let Some(key) = &self.sealing_key
            && let Err(why) = key.reveal().parse::<SealingKey>()
        {
            faults.add("secrets.sealing_key", why);
        }
        self.check_bus(faults);
    }

    fn check_bus(&self, faults: &mut Faults) {
        let bus = &self.bus;
        if bus.nats.len() > MAX_SERVERS {
            faults.add("bus.nats", format!("at most {MAX_SERVERS}"));
        }
        faults.range("bus.copies", bus.copies, 1, 5);
        for url in &bus.nats {
            let host = url.strip_prefix("nats://").or_else(|| url.strip_prefix("tls://"));
            // Never shown: it may hold a password.
            if url.contains('@') {
                faults.add("bus.nats", "a URL holds a user: use bus.user and bus.password");
            } else if host.is_none_or(str::is_empty) {
                faults.add("bus.nats", format!("`{url}` is no URL such as nats://host:4222"));
            }
        }
        if bus.user.is_some() != bus.password.is_some() {
            faults.add("bus.user", "needs bus.password, and the other way round");
        }
        let ways = [bus.user.is_some(), bus.token.is_some(), bus.credentials.is_some()];
        if ways.into_iter().filter(|given| *given).count() > 1 {
            faults.add("bus.user", "choose one of bus.user, bus.token and bus.credentials");
        }
        if bus.nats.is_empty() && (ways.contains(&true) || bus.ca.is_some()) {
            faults.add("bus.nats", "is missing, but other settings of the bus are there");
        }
    }
}

/// `SCHEME://HOST[:PORT]` as RFC 6454 §6.2 serialises it.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    host.is_some_and(|host| {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_:[]".contains(&byte)
        };
        !host.is_empty() && host.bytes().all(allowed)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn check(change: impl FnOnce(&mut Config), refused: &[&str]) {
        let mut config = Config::default();
        change(&mut config);
        let found: Vec<_> = config.faults().into_iter().map(|invalid| invalid.setting).collect();
        assert_eq!(found, refused);
        let first = config.validate().err().map(|invalid| invalid.setting);
        assert_eq!(first, refused.first().copied());
    }

    #[test]
    fn ranges_are_checked() {
        check(|_| {}, &[]);
        check(|c| c.id_worker = 1023, &[]);
        check(|c| c.id_worker = 1024, &["id_worker"]);
        check(|c| c.bus.copies = 5, &[]);
        check(|c| c.bus.copies = 0, &["bus.copies"]);
        check(|c| c.bus.copies = 6, &["bus.copies"]);
        check(|c| c.limits.message.burst = 0, &["limits.message.burst"]);
        check(|c| c.limits.table_size = 1, &["limits.table_size"]);
        check(|c| c.argon2.lanes = 4, &[]);
        check(|c| c.argon2.memory_kib = 4, &["argon2.memory_kib"]);
        check(|c| c.tokens.access = Duration::from_secs(1), &["tokens.access_s"]);
        check(|c| c.tokens.refresh = c.tokens.access, &["tokens.refresh_s"]);
        check(|c| c.quotas.guilds_per_user = 0, &["quotas.guilds_per_user"]);
        check(|c| c.store.readers = 0, &["store.readers"]);
        check(|c| c.store.connections = 1001, &["store.connections"]);
    }

    #[test]
    fn all_faults_are_found_at_once() {
        let change = |config: &mut Config| {
            config.id_worker = 5000;
            config.argon2.lanes = 0;
            config.store.readers = 65;
        };
        check(change, &["id_worker", "store.readers", "argon2.lanes"]);
    }

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        let origins = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let right = ["https://chat.example", "http://localhost:3000", "http://[::1]:80"];
        check(|c| c.cors_origins = origins(&right), &[]);
        for wrong in ["*", "null", "chat.example", "https://", "https://A.example", "https://a/b"] {
            check(|c| c.cors_origins = origins(&[wrong]), &["cors.origins"]);
        }
    }

    #[test]
    fn stores_and_bus_are_checked() {
        let dsn = |text: &str| text.parse().expect("a DSN");
        let text = |text: &str| Some(text.to_owned());
        let secret = |text: &str| text.parse().ok();
        check(|c| c.store.shards = vec![dsn("sqlite:a"), dsn("sqlite:b")], &[]);
        check(|c| c.store.shards = vec![dsn("sqlite:a"); 2], &["store.shards"]);
        check(|c| c.sealing_key = secret("abc"), &["secrets.sealing_key"]);
        check(|c| c.sealing_key = secret(&"0f".repeat(32)), &[]);
        let nats = |config: &mut Config| config.bus.nats = vec!["nats://a:4222".to_owned()];
        check(nats, &[]);
        check(|c| c.bus.nats = vec!["http://a".to_owned()], &["bus.nats"]);
        check(|c| c.bus.token = secret("a7"), &["bus.nats"]);
        let user = |config: &mut Config| {
            nats(config);
            config.bus.user = text("hype");
        };
        check(user, &["bus.user"]);
        let both = |config: &mut Config| {
            user(config);
            config.bus.password = secret("k9");
            config.bus.token = secret("a7");
        };
        check(both, &["bus.user"]);
        let mut config = Config::default();
        config.bus.nats = vec!["nats://hype:k9x@a".to_owned()];
        let told = config.validate().expect_err("refused").to_string();
        assert!(!told.contains("k9x"), "{told}");
    }
}
