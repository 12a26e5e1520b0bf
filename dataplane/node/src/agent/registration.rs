//! `node/{id}/live`: tells the fleet that this node runs, under a lease. When the lease is lost or
//! the store comes back it registers again; media does not care either way.

use std::time::Duration;

use hype_protocol::coordination::{Error, Outcome, Store, Transaction};
use hype_protocol::record::NodeLive;
use hype_protocol::{key, record};
use tokio::sync::watch;
use tokio::time::sleep;

use super::backoff::Backoff;

/// How long the record outlives a node that stopped without a word.
const LEASE: Duration = Duration::from_secs(6);
/// How often the record is looked at: somebody may have deleted or overwritten it.
const CHECK: Duration = Duration::from_secs(10);
/// A clean stop waits no longer for the store.
const REVOKE: Duration = Duration::from_millis(500);

/// Keeps the record until `stop` turns true, then takes it away. `registered` follows.
pub async fn register(
    store: Store,
    live: NodeLive,
    registered: watch::Sender<bool>,
    mut stop: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::new();
    loop {
        let outcome = register_once(&store, &live, &registered, &mut stop).await;
        registered.send_replace(false);
        match outcome {
            Ok(Ended::Stopped) => return,
            Ok(Ended::Lost) => {
                backoff.reset();
                tracing::warn!(node = %live.node, "registration lost: registering again");
            }
            Err(error) => {
                tracing::warn!(%error, "cannot register with the coordination store");
                tokio::select! {
                    () = sleep(backoff.wait()) => {}
                    () = told(&mut stop) => return,
                }
            }
        }
    }
}

/// Waits until `stop` turns true or nobody can turn it any more.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

enum Ended {
    Stopped,
    Lost,
}

async fn register_once(
    store: &Store,
    live: &NodeLive,
    registered: &watch::Sender<bool>,
    stop: &mut watch::Receiver<bool>,
) -> Result<Ended, Error> {
    let name = key::node_live(&live.node);
    let put = async {
        let lease = store.lease(LEASE).await?;
        // Unconditionally: what stands there is our own earlier run, which is dead.
        let put = Transaction::new().put_leased(&name, live, lease.id());
        match store.transact(put).await? {
            Outcome::Committed { revision } => {
                tracing::info!(node = %live.node, boot = %live.boot, revision, "registered");
                Ok(lease)
            }
            Outcome::Conflict => Err(Error::Invalid("a put without comparisons".into())),
        }
    };
    let lease = tokio::select! {
        lease = put => lease?,
        // A record that was written all the same ends with its lease.
        () = told(stop) => return Ok(Ended::Stopped),
    };
    registered.send_replace(true);
    loop {
        tokio::select! {
            () = lease.lost() => return Ok(Ended::Lost),
            () = told(stop) => break,
            () = sleep(CHECK) => {
                if !still_ours(store, &name, live).await {
                    return Ok(Ended::Lost);
                }
            }
        }
    }
    // The lease ends by itself a little later when the store does not answer.
    let _ = tokio::time::timeout(REVOKE, lease.revoke()).await;
    Ok(Ended::Stopped)
}

async fn still_ours(store: &Store, name: &str, live: &NodeLive) -> bool {
    match store.get(name).await {
        Ok(fetched) => match fetched.entry.map(|entry| record::decode::<NodeLive>(&entry.value)) {
            Some(Ok(found)) if found.boot != live.boot => {
                tracing::error!(
                    node = %live.node,
                    "another process runs under this node's name: give each node its own"
                );
                true
            }
            Some(Ok(_)) => true,
            Some(Err(_)) | None => false,
        },
        // The lease tells when this has lasted too long.
        Err(_) => true,
    }
}
