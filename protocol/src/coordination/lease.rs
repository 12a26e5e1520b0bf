//! A lease that is kept alive in the background. Whether it is lost is judged by our own clock
//! too: without an answer for its whole time to live it counts as lost, since the store may have
//! deleted its keys.

use std::fmt;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use super::{Error, Store};

/// Names a lease in [`super::Operation::Put`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LeaseId({:x})", self.0)
    }
}

/// A lease being kept alive. Dropping it only stops that: its keys vanish when its time is over.
#[derive(Debug)]
pub struct Lease {
    id: LeaseId,
    store: Store,
    lost: watch::Receiver<bool>,
    keeper: AbortHandle,
}

impl Lease {
    pub(super) fn keep(store: Store, id: LeaseId, granted: Duration, asked: Instant) -> Self {
        let (tell, lost) = watch::channel(false);
        let keeper = keep_alive(store.clone(), id, granted, asked, tell);
        Self { id, store, lost, keeper: tokio::spawn(keeper).abort_handle() }
    }

    /// For use in [`super::Transaction::put_leased`].
    pub fn id(&self) -> LeaseId {
        self.id
    }

    /// Waits until the lease is lost: ended by somebody else, or not renewed in time. Whoever
    /// holds keys under it then takes a new lease and writes them again. Safe to cancel.
    pub async fn lost(&self) {
        let mut lost = self.lost.clone();
        // An error means that the keeper ended, which it only does once the lease is lost.
        let _ = lost.wait_for(|lost| *lost).await;
    }

    /// True once [`Self::lost`] would return.
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Ends it at once; its keys are deleted.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; it then ends by itself when its time is over.
    pub async fn revoke(self) -> Result<(), Error> {
        self.keeper.abort();
        match self.store.revoke(self.id).await {
            Err(Error::LeaseGone) => Ok(()),
            outcome => outcome,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

async fn keep_alive(
    store: Store,
    id: LeaseId,
    granted: Duration,
    asked: Instant,
    lost: watch::Sender<bool>,
) {
    let mut ends = asked + granted;
    let mut next = asked + granted / 3;
    loop {
        sleep_until(next.min(ends)).await;
        let asked = Instant::now();
        if asked >= ends {
            break;
        }
        // The renewal must not outlast the lease: a store that hangs must not hide the loss.
        match tokio::time::timeout_at(ends, store.renew(id)).await {
            Ok(Ok(())) => {
                ends = asked + granted;
                next = asked + granted / 3;
            }
            Ok(Err(Error::LeaseGone)) => break,
            Ok(Err(error)) => {
                tracing::debug!(%error, ?id, "lease not renewed");
                next = Instant::now() + (granted / 12).min(Duration::from_millis(500));
            }
            Err(_) => break,
        }
    }
    lost.send_replace(true);
}
