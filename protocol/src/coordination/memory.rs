//! The coordination store of `hype up`: in this process, with etcd's semantics.
//! Watches read a shared bounded history by revision, so a slow watcher costs nothing and learns
//! by [`Error::Compacted`] that it fell behind. Nothing here survives the process.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::{
    Change, Compare, Entry, Error, Fetched, LeaseId, Listing, Operation, Outcome, Transaction,
};

/// Revisions kept for watches that catch up.
const HISTORY: usize = 10_000;
/// The most keys.
const MAX_KEYS: usize = 1_000_000;
/// The most leases.
const MAX_LEASES: usize = 100_000;

/// The in-process store. Clones share it.
#[derive(Debug, Clone)]
pub struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Woken at each revision and each change of availability.
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct State {
    entries: BTreeMap<String, Stored>,
    /// As in etcd, an empty store is at revision 1.
    revision: u64,
    /// The changes of the last revisions, the newest last: one element a revision.
    history: VecDeque<Vec<Change>>,
    leases: HashMap<LeaseId, Granted>,
    last_lease: i64,
    available: bool,
}

#[derive(Debug)]
struct Stored {
    value: Vec<u8>,
    create_revision: u64,
    mod_revision: u64,
    lease: Option<LeaseId>,
}

#[derive(Debug)]
struct Granted {
    time_to_live: Duration,
    ends: Instant,
    keys: BTreeSet<String>,
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl Memory {
    /// An empty store.
    pub fn new() -> Self {
        let state = State {
            entries: BTreeMap::new(),
            revision: 1,
            history: VecDeque::new(),
            leases: HashMap::new(),
            last_lease: 0,
            available: true,
        };
        Self(Arc::new(Shared { state: Mutex::new(state), changed: watch::Sender::new(()) }))
    }

    /// Makes every call and watch fail as if the store were away (false), or work again: for
    /// drills and tests. Leases run out meanwhile.
    pub fn set_available(&self, available: bool) {
        self.lock().available = available;
        self.0.changed.send_replace(());
    }

    /// Forgets the history up to and including `revision`, as etcd's compaction does.
    pub fn compact(&self, revision: u64) {
        let mut state = self.lock();
        while state.first_revision() <= revision && state.history.pop_front().is_some() {}
        drop(state);
        self.0.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of this lock panics")
    }

    fn available(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.lock();
        if state.available { Ok(state) } else { Err(away()) }
    }

    pub(super) fn get(&self, key: &str) -> Result<Fetched, Error> {
        let state = self.available()?;
        let entry = state.entries.get(key).map(|stored| stored.entry(key));
        Ok(Fetched { entry, revision: state.revision })
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Listing, Error> {
        let state = self.available()?;
        let entries = state
            .entries
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, stored)| stored.entry(key))
            .collect();
        Ok(Listing { entries, revision: state.revision })
    }

    pub(super) fn watch(&self, prefix: &str, from_revision: u64) -> Result<Watch, Error> {
        drop(self.available()?);
        let changed = self.0.changed.subscribe();
        // Revision 1 is the empty store: nothing of it can be lost.
        let next = from_revision.max(2);
        Ok(Watch { store: self.clone(), prefix: prefix.to_owned(), next, changed })
    }

    pub(super) fn transact(&self, transaction: Transaction) -> Result<Outcome, Error> {
        let mut state = self.available()?;
        if !transaction.compare.iter().all(|compare| state.holds(compare)) {
            return Ok(Outcome::Conflict);
        }
        if state.entries.len() + transaction.then.len() > MAX_KEYS {
            return Err(Error::TooLarge);
        }
        for operation in &transaction.then {
            if let Operation::Put { lease: Some(lease), .. } = operation
                && !state.leases.contains_key(lease)
            {
                return Err(Error::LeaseGone);
            }
        }
        state.apply(transaction.then);
        let revision = state.revision;
        drop(state);
        self.0.changed.send_replace(());
        Ok(Outcome::Committed { revision })
    }

    pub(super) fn grant(&self, time_to_live: Duration) -> Result<(LeaseId, Duration), Error> {
        let mut state = self.available()?;
        if state.leases.len() >= MAX_LEASES {
            return Err(Error::TooLarge);
        }
        state.last_lease += 1;
        let id = LeaseId(state.last_lease);
        let ends = Instant::now() + time_to_live;
        state.leases.insert(id, Granted { time_to_live, ends, keys: BTreeSet::new() });
        drop(state);
        tokio::spawn(self.clone().expire(id));
        Ok((id, time_to_live))
    }

    /// Waits for a lease's end and deletes its keys, unless it is revoked before.
    async fn expire(self, id: LeaseId) {
        loop {
            let Some(ends) = self.lock().leases.get(&id).map(|lease| lease.ends) else { return };
            if ends <= Instant::now() {
                self.end(id);
                return;
            }
            tokio::time::sleep_until(ends).await;
        }
    }

    /// Removes a lease with its keys; false when there is none.
    fn end(&self, id: LeaseId) -> bool {
        let mut state = self.lock();
        let Some(lease) = state.leases.remove(&id) else { return false };
        state.apply(lease.keys.into_iter().map(Operation::Delete).collect());
        drop(state);
        self.0.changed.send_replace(());
        true
    }

    pub(super) fn renew(&self, id: LeaseId) -> Result<(), Error> {
        let mut state = self.available()?;
        let lease = state.leases.get_mut(&id).ok_or(Error::LeaseGone)?;
        lease.ends = Instant::now() + lease.time_to_live;
        Ok(())
    }

    pub(super) fn revoke(&self, id: LeaseId) -> Result<(), Error> {
        drop(self.available()?);
        if self.end(id) { Ok(()) } else { Err(Error::LeaseGone) }
    }
}

fn away() -> Error {
    Error::Unavailable("it was taken away".into())
}

impl Stored {
    fn entry(&self, key: &str) -> Entry {
        Entry {
            key: key.to_owned(),
            value: self.value.clone(),
            create_revision: self.create_revision,
            mod_revision: self.mod_revision,
        }
    }
}

impl State {
    /// The oldest revision whose changes are still known.
    fn first_revision(&self) -> u64 {
        self.revision + 1 - self.history.len() as u64
    }

    fn holds(&self, compare: &Compare) -> bool {
        match compare {
            Compare::Absent(key) => !self.entries.contains_key(key),
            Compare::Present(key) => self.entries.contains_key(key),
            Compare::Unchanged { key, mod_revision } => {
                self.entries.get(key).is_some_and(|stored| stored.mod_revision == *mod_revision)
            }
        }
    }

    /// Does operations at the next revision. Without any effect there is no new revision.
    fn apply(&mut self, operations: Vec<Operation>) {
        let revision = self.revision + 1;
        let mut changes = Vec::with_capacity(operations.len());
        for operation in operations {
            match operation {
                Operation::Put { key, value, lease } => {
                    changes.push(Change::Put(self.put(key, value, lease, revision)));
                }
                Operation::Delete(key) => {
                    if let Some(stored) = self.entries.remove(&key) {
                        self.detach(&key, stored.lease);
                        changes.push(Change::Delete { key, revision });
                    }
                }
            }
        }
        if !changes.is_empty() {
            self.revision = revision;
            self.history.push_back(changes);
            if self.history.len() > HISTORY {
                self.history.pop_front();
            }
        }
    }

    fn put(&mut self, key: String, value: Vec<u8>, lease: Option<LeaseId>, revision: u64) -> Entry {
        let before = self.entries.get(&key).map(|stored| (stored.create_revision, stored.lease));
        let (create_revision, old_lease) = before.unwrap_or((revision, None));
        self.detach(&key, old_lease);
        if let Some(granted) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
            granted.keys.insert(key.clone());
        }
        let stored = Stored { value, create_revision, mod_revision: revision, lease };
        let entry = stored.entry(&key);
        self.entries.insert(key, stored);
        entry
    }

    fn detach(&mut self, key: &str, lease: Option<LeaseId>) {
        if let Some(granted) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
            granted.keys.remove(key);
        }
    }
}

/// Reads the history of a [`Memory`].
#[derive(Debug)]
pub struct Watch {
    store: Memory,
    prefix: String,
    /// The next revision to look at.
    next: u64,
    changed: watch::Receiver<()>,
}

impl Watch {
    pub(super) async fn next(&mut self) -> Result<Vec<Change>, Error> {
        loop {
            // Seen before reading, so that a change after the read wakes us again.
            self.changed.mark_unchanged();
            let changes = self.read()?;
            if !changes.is_empty() {
                return Ok(changes);
            }
            // The sender lives in the store that we hold.
            self.changed.changed().await.map_err(|_| away())?;
        }
    }

    fn read(&mut self) -> Result<Vec<Change>, Error> {
        let state = self.store.available()?;
        let first = state.first_revision();
        if self.next < first {
            return Err(Error::Compacted);
        }
        let skip = usize::try_from(self.next - first).unwrap_or(usize::MAX);
        let changes = state
            .history
            .iter()
            .skip(skip)
            .flatten()
            .filter(|change| change.key().starts_with(&self.prefix))
            .cloned()
            .collect();
        self.next = self.next.max(state.revision + 1);
        Ok(changes)
    }
}
