//! Password hashes (argon2id, RFC 9106) on blocking threads, a bounded number at a time and with a
//! bounded queue before them: a storm of logins is answered by `overloaded`, not by a frozen server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

use crate::config::Argon2Cost;
use crate::error::Error;

/// What became of a password's check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The password is the right one.
    pub matches: bool,
    /// The hash was made at another cost than the configured one.
    pub outdated: bool,
}

struct Inner {
    argon2: Argon2<'static>,
    /// What a password is compared with when there is no account: made at the same cost.
    decoy: String,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    queue: usize,
    computed: AtomicU64,
}

/// Hashes and verifies passwords. Clones share the queue.
#[derive(Clone)]
pub struct Passwords {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").field("computed", &self.computed()).finish_non_exhaustive()
    }
}

/// Leaves the queue, also when the caller gives up waiting.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn hash(argon2: &Argon2<'_>, password: &str) -> Result<String, argon2::password_hash::Error> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>())?;
    Ok(argon2.hash_password(password.as_bytes(), &salt)?.to_string())
}

impl Passwords {
    /// Passwords at a cost that [`crate::config::Config::validate`] has accepted.
    ///
    /// # Errors
    /// When argon2 refuses the cost.
    pub fn new(cost: &Argon2Cost) -> Result<Self, Error> {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None)
            .map_err(|error| Error::internal(error.to_string()))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash(&argon2, "nobody's password")
            .map_err(|error| Error::internal(error.to_string()))?;
        let parallel = match cost.parallel {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            parallel => parallel,
        };
        Ok(Self {
            inner: Arc::new(Inner {
                argon2,
                decoy,
                turns: Arc::new(Semaphore::new(parallel)),
                waiting: AtomicUsize::new(0),
                queue: cost.queue,
                computed: AtomicU64::new(0),
            }),
        })
    }

    /// How many hashes were computed since the start.
    pub fn computed(&self) -> u64 {
        self.inner.computed.load(Ordering::Relaxed)
    }

    /// Runs one hash computation in its turn.
    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let waiting = self.inner.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(&self.inner.waiting);
        if waiting >= self.inner.queue {
            metrics::counter!("hype_control_passwords_refused_total").increment(1);
            return Err(Error::Overloaded(Duration::from_secs(1)));
        }
        let turn = Arc::clone(&self.inner.turns).acquire_owned().await.map_err(Error::internal)?;
        drop(place);
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || {
            // The turn ends with the work, also when the caller has gone meanwhile.
            let _turn = turn;
            inner.computed.fetch_add(1, Ordering::Relaxed);
            work(&inner)
        })
        .await
        .map_err(Error::internal)
    }

    /// The PHC string of a new password, with a random salt.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is full.
    pub async fn hash(&self, password: String) -> Result<String, Error> {
        self.compute(move |inner| hash(&inner.argon2, &password))
            .await?
            .map_err(|error| Error::internal(error.to_string()))
    }

    /// Checks a password against a PHC string; without one (no such account) the same work is
    /// done and nothing matches.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is full, or when the stored hash cannot be read.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<Verdict, Error> {
        self.compute(move |inner| {
            let known = stored.is_some();
            let stored = stored.as_deref().unwrap_or(&inner.decoy);
            let stored = PasswordHash::new(stored).map_err(|error| error.to_string())?;
            let matches = inner.argon2.verify_password(password.as_bytes(), &stored).is_ok();
            let outdated = Params::try_from(&stored)
                .map(|params| {
                    let wanted = inner.argon2.params();
                    (params.m_cost(), params.t_cost(), params.p_cost())
                        != (wanted.m_cost(), wanted.t_cost(), wanted.p_cost())
                })
                .unwrap_or(true);
            Ok::<_, String>(Verdict { matches: known && matches, outdated })
        })
        .await?
        .map_err(Error::internal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap(parallel: usize, queue: usize) -> Passwords {
        let cost = Argon2Cost { memory_kib: 8, passes: 1, lanes: 1, parallel, queue };
        Passwords::new(&cost).expect("a cost within range")
    }

    #[tokio::test]
    async fn only_the_right_password_matches() {
        let passwords = cheap(2, 8);
        let hash = passwords.hash("correct horse".into()).await.expect("hashed");
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        let check = async |password: &str, stored: Option<&str>| {
            let verdict = passwords.verify(password.into(), stored.map(Into::into)).await;
            verdict.expect("verified")
        };
        let right = check("correct horse", Some(&hash)).await;
        assert_eq!(right, Verdict { matches: true, outdated: false });
        assert!(!check("wrong horse", Some(&hash)).await.matches);
        // Not even the decoy's own password opens an account that does not exist.
        assert!(!check("nobody's password", None).await.matches);
        let other = passwords.hash("correct horse".into()).await.expect("hashed");
        assert_ne!(hash, other, "each hash has its own salt");
    }

    #[tokio::test]
    async fn a_missing_account_costs_the_same_work() {
        let passwords = cheap(2, 8);
        let hash = passwords.hash("correct horse".into()).await.expect("hashed");
        for stored in [Some(hash), None] {
            let before = passwords.computed();
            passwords.verify("wrong horse".into(), stored).await.expect("verified");
            assert_eq!(passwords.computed(), before + 1);
        }
        let decoy = PasswordHash::new(&passwords.inner.decoy).expect("a PHC string");
        let params = Params::try_from(&decoy).expect("argon2 parameters");
        assert_eq!((params.m_cost(), params.t_cost(), params.p_cost()), (8, 1, 1));
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_outdated_but_good() {
        let hash = cheap(1, 8).hash("correct horse".into()).await.expect("hashed");
        let cost = Argon2Cost { memory_kib: 16, passes: 1, lanes: 1, parallel: 1, queue: 8 };
        let dearer = Passwords::new(&cost).expect("a cost within range");
        let verdict = dearer.verify("correct horse".into(), Some(hash)).await.expect("verified");
        assert_eq!(verdict, Verdict { matches: true, outdated: true });
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_recovers() {
        let passwords = cheap(1, 2);
        let turn = Arc::clone(&passwords.inner.turns).acquire_owned().await.expect("open");
        let waiting: Vec<_> = (0..2)
            .map(|_| {
                let passwords = passwords.clone();
                tokio::spawn(async move { passwords.hash("correct horse".into()).await })
            })
            .collect();
        while passwords.inner.waiting.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        let refused = passwords.hash("correct horse".into()).await.expect_err("the queue is full");
        assert_eq!(
            (refused.code(), refused.retry_after()),
            ("overloaded", Some(Duration::from_secs(1)))
        );
        drop(turn);
        for task in waiting {
            task.await.expect("no panic").expect("hashed in its turn");
        }
        assert_eq!(passwords.inner.waiting.load(Ordering::Relaxed), 0);
        passwords.hash("correct horse".into()).await.expect("there is room again");
    }
}
