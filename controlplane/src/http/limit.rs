//! Rate limits: token buckets by address, account name and user, in tables of a fixed size.
//! When a table is full of busy buckets, all newcomers share one: memory never grows, and those
//! already known are not affected.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hype_protocol::id::UserId;

use super::standing::{self, Standing};
use crate::config::{Rate, RateLimits};
use crate::error::Error;

/// How often a full table is searched for buckets that have filled up again.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// A bucket as the moment at which it will be full again (the generic cell rate algorithm).
#[derive(Debug, Clone, Copy)]
struct Bucket {
    full_at: Instant,
}

/// What became of the try to take a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Taken {
    /// How many tokens a full bucket has.
    limit: u32,
    /// How many are left.
    remaining: u32,
    /// When it will be full again.
    full_in: Duration,
    /// When there was none: how long until there is one.
    wait: Option<Duration>,
}

impl Bucket {
    fn take(&mut self, rate: Rate, factor: u32, now: Instant) -> Taken {
        let period = Duration::from_secs(60) / rate.per_minute.saturating_mul(factor);
        let limit = rate.burst.saturating_mul(factor);
        let burst = period.saturating_mul(limit);
        let full_at = self.full_at.max(now) + period;
        let wait = full_at.duration_since(now).checked_sub(burst).filter(|wait| !wait.is_zero());
        if wait.is_none() {
            self.full_at = full_at;
        }
        let full_in = self.full_at.saturating_duration_since(now);
        let left = burst.saturating_sub(full_in).as_nanos() / period.as_nanos().max(1);
        let remaining = u32::try_from(left).unwrap_or(u32::MAX).min(limit);
        Taken { limit, remaining, full_in, wait }
    }
}

struct Inner<K> {
    buckets: HashMap<K, Bucket>,
    shared: Bucket,
    swept_at: Instant,
}

/// A table of buckets of one rate.
struct Table<K> {
    rate: Rate,
    size: usize,
    inner: Mutex<Inner<K>>,
}

impl<K: Hash + Eq> Table<K> {
    fn new(rate: Rate, size: usize) -> Self {
        let now = Instant::now();
        Self {
            rate,
            size,
            inner: Mutex::new(Inner {
                buckets: HashMap::new(),
                shared: Bucket { full_at: now },
                swept_at: now,
            }),
        }
    }

    fn take<Q>(&self, key: &Q, factor: u32, now: Instant) -> Taken
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        // Whole after every statement, also when a holder panicked.
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        if let Some(bucket) = inner.buckets.get_mut(key) {
            return bucket.take(self.rate, factor, now);
        }
        if inner.buckets.len() >= self.size && now >= inner.swept_at + SWEEP_PERIOD {
            inner.swept_at = now;
            // A full bucket says nothing that a new one would not.
            inner.buckets.retain(|_, bucket| bucket.full_at > now);
        }
        if inner.buckets.len() >= self.size {
            return inner.shared.take(self.rate, factor, now);
        }
        let mut bucket = Bucket { full_at: now };
        let outcome = bucket.take(self.rate, factor, now);
        inner.buckets.insert(key.to_owned(), bucket);
        outcome
    }
}

/// An address as it is counted: IPv6 by its /64, since one customer has at least that many.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// All limits.
pub struct Limits {
    credentials: Table<IpAddr>,
    account: Table<String>,
    address: Table<IpAddr>,
    user: Table<UserId>,
    message: Table<UserId>,
    create: Table<UserId>,
    loopback_factor: u32,
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

fn answer(bucket: &'static str, taken: Taken) -> Result<(), Error> {
    let Taken { limit, remaining, full_in, wait } = taken;
    standing::note(Standing { bucket, limit, remaining, full_in });
    let Some(wait) = wait else {
        return Ok(());
    };
    metrics::counter!("hype_control_rate_limited_total", "limit" => bucket).increment(1);
    Err(Error::RateLimited(wait))
}

impl Limits {
    /// Limits as configured.
    pub fn new(config: &RateLimits) -> Self {
        let size = config.table_size;
        Self {
            credentials: Table::new(config.credentials, size),
            account: Table::new(config.account, size),
            address: Table::new(config.address, size),
            user: Table::new(config.user, size),
            message: Table::new(config.message, size),
            create: Table::new(config.create, size),
            loopback_factor: config.loopback_factor,
        }
    }

    fn factor(&self, address: IpAddr) -> u32 {
        if address.to_canonical().is_loopback() { self.loopback_factor } else { 1 }
    }

    /// One request to register, log in or enroll.
    ///
    /// # Errors
    /// [`Error::RateLimited`], as all of these.
    pub fn credentials(&self, address: IpAddr) -> Result<(), Error> {
        let factor = self.factor(address);
        answer("credentials", self.credentials.take(&counted(address), factor, Instant::now()))
    }

    /// One try to log in to an account, from wherever; `name_key` is its name as compared.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub fn account(&self, address: IpAddr, name_key: &str) -> Result<(), Error> {
        // A name longer than any account's is no reason to remember it.
        let name_key: String = name_key.chars().take(64).collect();
        let factor = self.factor(address);
        answer("account", self.account.take(name_key.as_str(), factor, Instant::now()))
    }

    /// One request of any kind.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub fn address(&self, address: IpAddr) -> Result<(), Error> {
        let factor = self.factor(address);
        answer("address", self.address.take(&counted(address), factor, Instant::now()))
    }

    /// One request with a token.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub fn user(&self, user: UserId) -> Result<(), Error> {
        answer("user", self.user.take(&user, 1, Instant::now()))
    }

    /// One message sent.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub fn message(&self, user: UserId) -> Result<(), Error> {
        answer("message", self.message.take(&user, 1, Instant::now()))
    }

    /// One guild, channel or invite made.
    ///
    /// # Errors
    /// [`Error::RateLimited`].
    pub fn create(&self, user: UserId) -> Result<(), Error> {
        answer("create", self.create.take(&user, 1, Instant::now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::new(60, 3);

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let table = Table::<UserId>::new(RATE, 64);
        let start = Instant::now();
        let take = |after_ms: u64, remaining, full_in_ms, wait_ms: Option<u64>| {
            let taken = table.take(&UserId(1), 1, start + Duration::from_millis(after_ms));
            let (full_in, wait) =
                (Duration::from_millis(full_in_ms), wait_ms.map(Duration::from_millis));
            assert_eq!(taken, Taken { limit: 3, remaining, full_in, wait });
        };
        take(0, 2, 1000, None);
        take(0, 1, 2000, None);
        take(0, 0, 3000, None);
        take(0, 0, 3000, Some(1000));
        take(400, 0, 2600, Some(600));
        take(1000, 0, 3000, None);
        take(1000, 0, 3000, Some(1000));
        // A long pause fills the bucket, no further.
        take(60_000, 2, 1000, None);
        take(60_000, 1, 2000, None);
        take(60_000, 0, 3000, None);
        take(60_000, 0, 3000, Some(1000));
        let other = table.take(&UserId(2), 1, start);
        assert_eq!((other.wait, other.remaining), (None, 2), "others have their own bucket");
    }

    #[test]
    fn a_factor_multiplies_burst_and_rate() {
        let table = Table::<UserId>::new(RATE, 64);
        let now = Instant::now();
        assert_eq!((0..100).filter(|_| table.take(&UserId(1), 10, now).wait.is_none()).count(), 30);
    }

    #[test]
    fn a_full_table_does_not_grow_and_recovers() {
        let table = Table::<UserId>::new(RATE, 64);
        let start = Instant::now();
        let passed =
            (0..1000).filter(|id| table.take(&UserId(*id), 1, start).wait.is_none()).count();
        assert_eq!(passed, 64 + 3, "64 known ones, and the burst of the shared bucket");
        let len = || table.inner.lock().expect("not poisoned").buckets.len();
        assert_eq!(len(), 64);
        assert_eq!(table.take(&UserId(5), 1, start).wait, None, "the known ones are not affected");
        let later = start + Duration::from_secs(10);
        assert_eq!(table.take(&UserId(5000), 1, later).wait, None);
        assert_eq!(len(), 1, "buckets that filled up again were forgotten");
    }

    #[test]
    fn addresses_count_as_customers() {
        for (one, two, same) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("2001:db8:1:2:3::1", "2001:db8:1:2:4::2", true),
            ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        ] {
            let parse = |text: &str| counted(text.parse().expect("an address"));
            assert_eq!(parse(one) == parse(two), same, "{one} {two}");
        }
    }
}
