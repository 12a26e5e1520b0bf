//! Who leads, over the in-process store and over a real etcd: one at a time, and whoever was deposed
//! changes nothing, whether he knows it or not.

#[path = "../../../../protocol/tests/etcd_process/mod.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod etcd_process;

use std::time::{Duration, Instant};

use hype_protocol::coordination::{self, Transaction};
use hype_protocol::key;
use tokio::time::timeout;

use super::super::leader::{Leader, campaign, elected};
use super::super::rooms::sweep;
use super::{Node, ROOM, Replica, memory, stored_room};
use etcd_process::EtcdProcess;

/// Longer than a lease and the others' next look together, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// Two replicas that are connected to the same node.
struct Fleet {
    store: coordination::Store,
    one: Replica,
    two: Replica,
    _node: [Node; 2],
}

impl Fleet {
    /// Each replica by its own connection, as a process has.
    async fn start(store: impl Fn() -> coordination::Store) -> Self {
        let one = Replica::start(store()).await;
        let two = Replica::start(store()).await;
        let node = Node::start(&store(), &one, "node-1", 1).await;
        let other_end = Node::connect(&two, &node.id, 1).await;
        for replica in [&one, &two] {
            let connected = |voice: &super::Voice| voice.state().fleet.connected() == 1;
            replica.until("it is connected", connected).await;
        }
        Self { store: store(), one, two, _node: [node, other_end] }
    }

    /// Both know a room in which nobody is.
    async fn place(&self) {
        for replica in [&self.one, &self.two] {
            replica.voice.place(ROOM).await.expect("there is a node");
        }
        let stored = stored_room(&self.store).await;
        for replica in [&self.one, &self.two] {
            let knows = |voice: &super::Voice| voice.state().places.record(ROOM) == Some(&stored);
            replica.until("it knows the room as it is", knows).await;
        }
    }

    /// The old leader cannot close the room, and the new one can: by the same room record.
    async fn only_the_new_one_acts(&self, old: (&Replica, &Leader), new: (&Replica, &Leader)) {
        let before = stored_room(&self.store).await;
        sweep::close(&old.0.voice, old.1, ROOM).await;
        assert_eq!(stored_room(&self.store).await, before, "the old leader changes nothing");
        sweep::close(&new.0.voice, new.1, ROOM).await;
        let fetched = self.store.get(&key::room(ROOM)).await.expect("it is there");
        assert_eq!(fetched.entry, None, "the new leader closes it");
    }

    async fn stop(self) {
        self.one.voice.stop().await;
        self.two.voice.stop().await;
    }
}

/// The store lets the lease go before its holder knows.
async fn a_leader_that_does_not_know_is_deposed(fleet: &Fleet) -> Leader {
    fleet.place().await;
    let old = timeout(PATIENCE, elected(&fleet.one.voice)).await.expect("nobody else does");
    let second = campaign(&fleet.two.voice).await.expect("it is there");
    assert!(second.is_none(), "one leads at a time");
    let delete = Transaction::new().delete(key::LEADER);
    fleet.store.transact(delete).await.expect("it is there");
    let new = campaign(&fleet.two.voice).await.expect("it is there").expect("nobody leads");
    fleet.only_the_new_one_acts((&fleet.one, &old), (&fleet.two, &new)).await;
    new
}

#[tokio::test]
async fn over_memory() {
    let (_, store) = memory();
    let fleet = Fleet::start(|| store.clone()).await;
    a_leader_that_does_not_know_is_deposed(&fleet).await;
    fleet.stop().await;
}

#[tokio::test]
async fn over_etcd_which_dies_for_longer_than_a_lease() {
    let mut etcd = EtcdProcess::start(0);
    etcd.store().await;
    let fleet = Fleet::start(|| etcd.store_with(&[])).await;
    let old = a_leader_that_does_not_know_is_deposed(&fleet).await;

    fleet.place().await;
    let voice = fleet.one.voice.clone();
    let waiting = tokio::spawn(async move { elected(&voice).await });
    etcd.kill();
    let died = Instant::now();
    timeout(PATIENCE, old.lost()).await.expect("it notices by its own clock");
    let noticed = died.elapsed();
    assert!(!waiting.is_finished(), "nobody can be elected without the store");
    etcd.restart();
    etcd.store().await;
    let came_back = Instant::now();
    let new = timeout(PATIENCE, waiting).await.expect("another one leads").expect("no panic");
    println!(
        "deposed {noticed:.1?} after etcd died, replaced {:.1?} after it came back",
        came_back.elapsed()
    );
    fleet.only_the_new_one_acts((&fleet.two, &old), (&fleet.one, &new)).await;
    fleet.stop().await;
}
