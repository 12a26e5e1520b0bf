//! Password hashes (argon2id, RFC 9106) on blocking threads, a bounded number at a time and with a
//! bounded queue before them: a storm of logins is answered by `overloaded`, not by a frozen server.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argon2::password_hash::{self, Output, ParamsString, PasswordHash, Salt, SaltString};
use argon2::{Algorithm, Argon2, Block, Params, Version};
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
    memory: Memory,
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

/// What hashes are computed in, kept from one to the next: allocated for each, it would stay with the
/// allocator once for every thread that ever computed one. At most one for each turn, the last used
/// first, as large as the dearest hash it was for.
#[derive(Default)]
struct Memory(Mutex<Vec<Vec<Block>>>);

impl Memory {
    fn with<T>(&self, blocks: usize, work: impl FnOnce(&mut [Block]) -> T) -> T {
        let kept = || self.0.lock().expect("no holder of this lock panics");
        let mut memory = kept().pop().unwrap_or_default();
        if memory.len() < blocks {
            // What was in it means nothing, so it need not be copied.
            memory = vec![Block::default(); blocks];
        }
        let done = work(&mut memory[..blocks]);
        kept().push(memory);
        done
    }
}

/// The output of one computation, as long as the parameters say.
fn compute(
    memory: &Memory,
    argon2: &Argon2<'_>,
    password: &str,
    salt: Salt<'_>,
) -> Result<Output, password_hash::Error> {
    let mut decoded = [0; Salt::MAX_LENGTH];
    let salt = salt.decode_b64(&mut decoded)?;
    let length = argon2.params().output_len().unwrap_or(Params::DEFAULT_OUTPUT_LEN);
    memory.with(argon2.params().block_count(), |blocks| {
        Output::init_with(length, |out| {
            Ok(argon2.hash_password_into_with_memory(password.as_bytes(), salt, out, blocks)?)
        })
    })
}

/// The PHC string of a password, with a random salt.
fn hash(
    memory: &Memory,
    argon2: &Argon2<'_>,
    password: &str,
) -> Result<String, password_hash::Error> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>())?;
    let hash = PasswordHash {
        algorithm: Algorithm::Argon2id.ident(),
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(argon2.params())?,
        salt: Some(salt.as_salt()),
        hash: Some(compute(memory, argon2, password, salt.as_salt())?),
    };
    Ok(hash.to_string())
}

/// Whether it is the password of this hash, at the cost that the hash was made at.
fn matches(
    memory: &Memory,
    password: &str,
    hash: &PasswordHash<'_>,
) -> Result<bool, password_hash::Error> {
    let version = hash.version.map(Version::try_from).transpose()?.unwrap_or_default();
    let algorithm = Algorithm::try_from(hash.algorithm)?;
    let argon2 = Argon2::new(algorithm, version, Params::try_from(hash)?);
    let (Some(salt), Some(output)) = (hash.salt, hash.hash) else { return Ok(false) };
    // Compared in constant time by `Output`.
    Ok(compute(memory, &argon2, password, salt)? == output)
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
        // Its memory is given back: many processes never compute another one.
        let decoy = hash(&Memory::default(), &argon2, "nobody's password")
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
                memory: Memory::default(),
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
    async fn in_turn<T: Send + 'static>(
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
        self.in_turn(move |inner| hash(&inner.memory, &inner.argon2, &password))
            .await?
            .map_err(|error| Error::internal(error.to_string()))
    }

    /// Checks a password against a PHC string; without one (no such account) the same work is
    /// done and nothing matches.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is full, or when the stored hash cannot be read.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<Verdict, Error> {
        self.in_turn(move |inner| {
            let known = stored.is_some();
            let stored = stored.as_deref().unwrap_or(&inner.decoy);
            let stored = PasswordHash::new(stored).map_err(|error| error.to_string())?;
            let matches = matches(&inner.memory, &password, &stored).unwrap_or(false);
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

    /// Of `correct horse`, by the reference implementation.
    const REFERENCE: [&str; 4] = [
        "$argon2id$v=19$m=32,t=2,p=1$c29tZXNhbHQwMTIz$Ft2aApDAaZVh4vSiX3NFsuNmzusBmIHTgIQi2yxoblw",
        "$argon2id$v=16$m=64,t=2,p=2$c29tZXNhbHQwMTIz$ZQuMXkbqdIwbF4JPCLv+hIGVhU156In1gm77GDSp3sY",
        "$argon2i$v=19$m=16,t=3,p=1$c29tZXNhbHQwMTIz$3VOXKXyJKa5xP9nSNoA0kgtUIFfv9zHJfIAPfd5oHSg",
        "$argon2d$v=19$m=32,t=2,p=1$c29tZXNhbHQwMTIz$d4PrKpHSNRXapYOr7LqZ7LkkJzBZ2JsGD8RX94BfVvg",
    ];

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
    async fn hashes_of_other_programs_verify() {
        let passwords = cheap(1, 8);
        for stored in REFERENCE {
            let verdict = passwords.verify("correct horse".into(), Some(stored.into())).await;
            let verdict = verdict.expect("verified");
            assert_eq!(verdict, Verdict { matches: true, outdated: true }, "{stored}");
            let other = passwords.verify("correct house".into(), Some(stored.into())).await;
            assert!(!other.expect("verified").matches, "{stored}");
        }
    }

    #[tokio::test]
    async fn memory_is_kept_once_for_each_turn_and_never_changes_a_hash() {
        let passwords = cheap(2, 64);
        let dear = Argon2Cost { memory_kib: 64, passes: 3, lanes: 2, parallel: 2, queue: 64 };
        let dear = Passwords::new(&dear).expect("a cost within range");
        let mut hashes = Vec::new();
        for maker in [&passwords, &dear] {
            hashes.push(maker.hash("correct horse".into()).await.expect("hashed"));
        }
        // Larger and smaller ones take turns in the same memory, some of them at once.
        let checks = (0..32).map(|number| {
            let (passwords, hash) = (passwords.clone(), hashes[number % 2].clone());
            tokio::spawn(async move { passwords.verify("correct horse".into(), Some(hash)).await })
        });
        for check in checks.collect::<Vec<_>>() {
            assert!(check.await.expect("no panic").expect("verified").matches);
        }
        let kept = passwords.inner.memory.0.lock().expect("nobody panicked");
        assert!((1..=2).contains(&kept.len()), "{}", kept.len());
        assert!(kept.iter().all(|memory| memory.len() <= 64), "no larger than one hash");
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
