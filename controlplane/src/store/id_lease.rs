//! The worker number in a replica's ids, leased through the coordination store. With each number goes
//! a mark that its owner writes ahead of its clock: ids are made only below it, and the next owner
//! begins above it. So two replicas never make the same id, whatever their clocks say, whoever
//! believes to hold the lease, and however long the store is away; without it ids end at the mark.

use std::time::Duration;

use hype_protocol::coordination::{Error, Lease, Outcome, Store, Transaction};
use hype_protocol::id::ControlId;
use hype_protocol::key;
use hype_protocol::record::{self, IdMark, IdWorker};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::snowflake::{MAX_WORKER, Snowflakes, unix_ms};

/// How far ahead the mark is written: so long ids are made without the store.
pub const AHEAD: Duration = Duration::from_secs(30);
/// How often it is written.
const PERIOD: Duration = Duration::from_secs(5);
/// How soon it is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How long a number stays taken when its owner is gone.
const TIME_TO_LIVE: Duration = Duration::from_secs(10);
/// How long the start waits for a number.
const START: Duration = Duration::from_secs(5);

/// A number that is held.
#[derive(Debug)]
struct Held {
    number: u16,
    lease: Lease,
    /// What the owner's record was written by: nobody else has written it since.
    revision: u64,
    mark: IdMark,
    mark_revision: u64,
    /// Ids begin after this.
    from_ms: u64,
}

/// Holds a number.
#[derive(Debug)]
pub struct IdLease {
    store: Store,
    control: ControlId,
    preferred: u16,
    held: Option<Held>,
}

impl IdLease {
    /// For a replica, which likes one number best.
    pub fn new(store: Store, control: ControlId, preferred: u16) -> Self {
        Self { store, control, preferred, held: None }
    }

    /// Keeps a number for `ids` until the replica stops. Waits a while for the first one; without
    /// it nothing is made until there is one.
    pub async fn keep(mut self, ids: Snowflakes, mut stopping: watch::Receiver<bool>) {
        let first = async {
            while let Err(error) = self.renew(&ids).await {
                tracing::warn!(%error, "no worker number for ids yet");
                sleep(RETRY).await;
            }
        };
        // Elapsed: it goes on in the background.
        let _ = timeout(START, first).await;
        tokio::spawn(async move {
            loop {
                let wait = match self.renew(&ids).await {
                    Ok(()) => PERIOD,
                    Err(error) => {
                        metrics::counter!("hype_control_id_lease_errors_total").increment(1);
                        tracing::warn!(%error, "the worker number of ids was not renewed");
                        RETRY
                    }
                };
                tokio::select! {
                    () = sleep(wait) => {}
                    // An error means that the replica is gone.
                    _ = stopping.wait_for(|stopping| *stopping) => break,
                }
            }
            if let Some(held) = self.held.take() {
                // If the store is away it ends by itself.
                let _ = held.lease.revoke().await;
            }
        });
    }

    /// Writes the mark ahead, or takes a number when none is held; then lets `ids` go on.
    ///
    /// # Errors
    /// When the store does not answer, or all numbers are taken.
    pub async fn renew(&mut self, ids: &Snowflakes) -> Result<(), Error> {
        if self.held.as_ref().is_some_and(|held| held.lease.is_lost()) {
            self.held = None;
        }
        let extended = match self.held.take() {
            Some(held) => self.extend(held).await?,
            None => None,
        };
        let held = match extended {
            Some(held) => held,
            None => self.take().await?,
        };
        ids.grant(held.number, held.from_ms, held.mark.until_ms);
        self.held = Some(held);
        Ok(())
    }

    /// None when the number is no longer ours.
    async fn extend(&mut self, mut held: Held) -> Result<Option<Held>, Error> {
        let until_ms = ahead(held.mark.until_ms);
        let transaction = Transaction::new()
            .unchanged(key::id_worker(held.number), held.revision)
            .unchanged(key::id_mark(held.number), held.mark_revision)
            .put(key::id_mark(held.number), &IdMark { until_ms });
        match self.store.transact(transaction).await {
            Ok(Outcome::Committed { revision }) => {
                held.mark = IdMark { until_ms };
                held.mark_revision = revision;
                Ok(Some(held))
            }
            // Stolen, lost, or an answer of before that was lost: take one anew, beyond its mark.
            Ok(Outcome::Conflict) => {
                tracing::warn!(number = held.number, "the worker number of ids was lost");
                Ok(None)
            }
            Err(error) => {
                self.held = Some(held);
                Err(error)
            }
        }
    }

    async fn take(&mut self) -> Result<Held, Error> {
        let listing = self.store.list(key::ID_WORKERS).await?;
        let entry = |key: &str| listing.entries.iter().find(|entry| entry.key == key);
        let now_ms = unix_ms();
        let mut free = Vec::new();
        for number in 0..=MAX_WORKER {
            if entry(&key::id_worker(number)).is_some() {
                continue;
            }
            let mark = entry(&key::id_mark(number));
            let until_ms = mark
                .and_then(|entry| record::decode::<IdMark>(&entry.value).ok())
                .map_or(0, |mark| mark.until_ms);
            let revision = mark.map(|entry| entry.mod_revision);
            // One whose mark is past can be used at once.
            let wait_ms = until_ms.saturating_sub(now_ms);
            free.push((wait_ms, number != self.preferred, number, until_ms, revision));
        }
        let best = free.into_iter().min();
        let Some((_, _, number, from_ms, mark_revision)) = best else {
            return Err(Error::Unavailable("all worker numbers are taken".to_owned()));
        };
        let lease = self.store.lease(TIME_TO_LIVE).await?;
        let mark = IdMark { until_ms: ahead(from_ms) };
        let owner = IdWorker { control: self.control.clone() };
        let (owner_key, mark_key) = (key::id_worker(number), key::id_mark(number));
        let transaction = Transaction::new().absent(&owner_key);
        let transaction = match mark_revision {
            Some(revision) => transaction.unchanged(&mark_key, revision),
            None => transaction.absent(&mark_key),
        };
        let transaction =
            transaction.put_leased(&owner_key, &owner, lease.id()).put(&mark_key, &mark);
        match self.store.transact(transaction).await? {
            Outcome::Committed { revision } => {
                tracing::info!(number, "worker number of ids taken");
                let mark_revision = revision;
                Ok(Held { number, lease, revision, mark, mark_revision, from_ms })
            }
            Outcome::Conflict => Err(Error::Unavailable("another replica was first".to_owned())),
        }
    }
}

/// A mark ahead of the clock and not before an earlier one.
fn ahead(earlier_ms: u64) -> u64 {
    let ahead_ms = u64::try_from(AHEAD.as_millis()).unwrap_or(u64::MAX);
    earlier_ms.max(unix_ms()).max(unix_ms().saturating_add(ahead_ms))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use hype_protocol::coordination::memory::Memory;

    use super::*;

    fn replica(store: &Store, name: &str) -> (IdLease, Snowflakes) {
        let control = name.parse().expect("a valid name");
        (IdLease::new(store.clone(), control, 7), Snowflakes::unleased(0))
    }

    fn number(id: u64) -> u64 {
        (id >> 11) & 1023
    }

    #[tokio::test]
    async fn two_replicas_have_two_numbers() {
        let store = Store::Memory(Memory::new());
        let (mut one, ids) = replica(&store, "one");
        let (mut two, others) = replica(&store, "two");
        ids.next().await.expect_err("nothing is granted yet");
        one.renew(&ids).await.expect("taken");
        two.renew(&others).await.expect("taken");
        let (first, second) = (ids.next().await.expect("made"), others.next().await.expect("made"));
        assert_eq!(number(first), 7);
        assert_ne!(number(second), 7);
        one.renew(&ids).await.expect("still its own");
        assert_eq!(number(ids.next().await.expect("made")), 7);
    }

    #[tokio::test]
    async fn a_stolen_number_is_used_beyond_its_mark_only() {
        let memory = Memory::new();
        let store = Store::Memory(memory);
        let (mut one, ids) = replica(&store, "one");
        one.renew(&ids).await.expect("taken");
        let held = one.held.as_ref().expect("it is held");
        let until_ms = held.mark.until_ms;
        // Its lease ends while it thinks nothing of it, and another takes exactly this number.
        store.revoke(held.lease.id()).await.expect("ended");
        for other in (0..=MAX_WORKER).filter(|other| *other != 7) {
            let control = "crowd".parse().expect("a valid name");
            let taken = Transaction::new().put(key::id_worker(other), &IdWorker { control });
            store.transact(taken).await.expect("put");
        }
        let (mut two, others) = replica(&store, "two");
        two.renew(&others).await.expect("taken");
        let thief = two.held.as_ref().expect("it is held");
        assert_eq!((thief.number, thief.from_ms), (7, until_ms));
        // Both believe in the number: the one makes ids below the mark, the other none before it.
        let mut made = HashSet::new();
        for _ in 0..100 {
            assert!(made.insert(ids.next().await.expect("below its mark")));
        }
        others.next().await.expect_err("its clock has not passed the mark");
        one.renew(&ids).await.expect_err("no number is left, and its own is gone");
        ids.next().await.expect("what was promised still holds");
    }

    #[tokio::test]
    async fn without_the_store_ids_end_at_the_mark() {
        let memory = Memory::new();
        let store = Store::Memory(memory.clone());
        let (mut one, ids) = replica(&store, "one");
        one.renew(&ids).await.expect("taken");
        memory.set_available(false);
        one.renew(&ids).await.expect_err("it is away");
        ids.next().await.expect("the mark is ahead");
        memory.set_available(true);
        one.renew(&ids).await.expect("its own again, or another one");
        ids.next().await.expect("made");
    }
}
