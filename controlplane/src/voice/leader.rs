//! One replica's controllers act for the fleet: who holds the leader's key, under a lease. A lease
//! that ran out is noticed by its holder and by the store at different moments, so every write of a
//! controller also compares the key ([`Leader::guard`]): who was deposed can change nothing any more.
//! Placing a room for somebody who joins is no controller's work: any replica does it.

use std::time::Duration;

use hype_protocol::coordination::{Error, Lease, Outcome, Transaction};
use hype_protocol::{key, record};
use tokio::time::sleep;

use super::{Voice, rooms, unseen};
use crate::store::Store;

/// How long a leader that vanished is waited for.
const TIME_TO_LIVE: Duration = Duration::from_secs(6);
/// How soon the others look again.
const RETRY: Duration = Duration::from_secs(2);

/// The right to act, as far as the store still has it.
#[derive(Debug)]
pub(in crate::voice) struct Leader {
    lease: Lease,
    /// Of the key, when it was taken.
    revision: u64,
}

impl Leader {
    /// The transaction, but only while this replica leads.
    pub fn guard(&self, transaction: Transaction) -> Transaction {
        transaction.unchanged(key::LEADER, self.revision)
    }

    /// Waits until it is clear that another one may lead.
    pub async fn lost(&self) {
        self.lease.lost().await;
    }
}

/// Does what controllers do while this replica leads. Runs until aborted.
pub(in crate::voice) async fn run(voice: Voice, store: Store) {
    loop {
        let leader = elected(&voice).await;
        tokio::select! {
            () = leader.lost() => tracing::info!("this replica does not lead any more"),
            () = rooms::sweep::run(&voice, &leader) => {}
            () = unseen::run(&voice, &store) => {}
        }
    }
}

/// Waits until this replica leads.
pub(in crate::voice) async fn elected(voice: &Voice) -> Leader {
    loop {
        match campaign(voice).await {
            Ok(Some(leader)) => {
                tracing::info!(control = %voice.control(), "this replica leads");
                return leader;
            }
            Ok(None) => {}
            Err(error) => tracing::debug!(%error, "no leader can be elected now"),
        }
        sleep(RETRY).await;
    }
}

/// Takes the key if nobody has it.
pub(in crate::voice) async fn campaign(voice: &Voice) -> Result<Option<Leader>, Error> {
    let store = voice.coordination();
    if store.get(key::LEADER).await?.entry.is_some() {
        return Ok(None);
    }
    let lease = store.lease(TIME_TO_LIVE).await?;
    let leader = record::Leader { control: voice.control().clone() };
    let take = Transaction::new().absent(key::LEADER).put_leased(key::LEADER, &leader, lease.id());
    match store.transact(take).await? {
        Outcome::Committed { revision } => Ok(Some(Leader { lease, revision })),
        Outcome::Conflict => Ok(None),
    }
}
