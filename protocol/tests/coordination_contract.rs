//! One contract for every back end of the coordination store: the in-process one, and a real etcd
//! that the test starts on a loopback address of its own and kills afterwards.
#![cfg(feature = "runtime")]

mod etcd_process;

use std::time::{Duration, Instant};

use etcd_process::EtcdProcess;
use hype_protocol::coordination::etcd::{Etcd, Settings};
use hype_protocol::coordination::{
    Change, Error, Lease, LeaseId, MAX_OPERATIONS, Outcome, Store, Transaction, Watch, memory,
};
use tokio::time::{sleep, timeout};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// A time to live that outlasts a machine that stands still.
const LIVES: Duration = Duration::from_secs(6);

async fn put(store: &Store, key: &str, value: &str) -> u64 {
    let transaction = Transaction::new().put_bytes(key, value, None);
    match store.transact(transaction).await.expect("the store is there") {
        Outcome::Committed { revision } => revision,
        Outcome::Conflict => panic!("nothing was compared"),
    }
}

async fn next(watch: &mut Watch) -> Vec<Change> {
    timeout(PATIENCE, watch.next()).await.expect("a change comes").expect("the watch goes on")
}

fn seen(changes: &[Change]) -> Vec<(String, Option<String>, u64)> {
    changes
        .iter()
        .map(|change| match change {
            Change::Put(entry) => {
                let value = String::from_utf8_lossy(&entry.value).into_owned();
                (entry.key.clone(), Some(value), entry.mod_revision)
            }
            Change::Delete { key, revision } => (key.clone(), None, *revision),
        })
        .collect()
}

fn row(key: &str, value: Option<&str>, revision: u64) -> (String, Option<String>, u64) {
    (key.to_owned(), value.map(str::to_owned), revision)
}

async fn reads_what_was_written(store: &Store) {
    let before = store.get("read/a").await.expect("the store is there");
    assert_eq!(before.entry, None);
    let first = put(store, "read/a", "1").await;
    assert!(first > before.revision);
    let second = put(store, "read/a", "2").await;
    put(store, "read/b", "3").await;
    put(store, "reae", "beside the prefix").await;
    let fetched = store.get("read/a").await.expect("the store is there");
    let entry = fetched.entry.expect("it was written");
    assert_eq!((entry.create_revision, entry.mod_revision), (first, second));
    assert_eq!(entry.value, b"2");
    assert!(fetched.revision >= second);

    let listing = store.list("read/").await.expect("the store is there");
    let keys: Vec<_> = listing.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["read/a", "read/b"]);
}

async fn lists_more_than_a_page(store: &Store) {
    for batch in 0..25 {
        let mut transaction = Transaction::new();
        for index in 0..MAX_OPERATIONS {
            transaction = transaction.put_bytes(format!("many/{batch:02}{index:02}"), "x", None);
        }
        store.transact(transaction).await.expect("the limit itself is allowed");
    }
    let listing = store.list("many/").await.expect("the store is there");
    assert_eq!(listing.entries.len(), 2_500);
    assert!(listing.entries.is_sorted_by(|a, b| a.key < b.key), "each once, in order");
}

async fn watches_a_prefix_from_a_revision(store: &Store) {
    put(store, "watch/old", "before").await;
    let listing = store.list("watch/").await.expect("the store is there");
    let one = put(store, "watch/a", "1").await;
    put(store, "watched-not", "0").await;
    let mut watch = store.watch("watch/", listing.revision + 1).await.expect("it is there");
    // What happened before the watch began comes too, if asked for by its revision.
    assert_eq!(seen(&next(&mut watch).await), [row("watch/a", Some("1"), one)]);

    let both = Transaction::new().put_bytes("watch/b", "2", None).delete("watch/a");
    let Ok(Outcome::Committed { revision }) = store.transact(both).await else {
        panic!("nothing was compared");
    };
    let mut changes = seen(&next(&mut watch).await);
    changes.sort();
    let expected = [row("watch/a", None, revision), row("watch/b", Some("2"), revision)];
    assert_eq!(changes, expected, "one revision's changes come together");
    let silent = timeout(Duration::from_millis(200), watch.next()).await;
    assert!(silent.is_err(), "nothing else happened: {silent:?}");
    let three = put(store, "watch/c", "3").await;
    let after_cancel = seen(&next(&mut watch).await);
    assert_eq!(after_cancel, [row("watch/c", Some("3"), three)], "cancelling loses nothing");
}

async fn commits_only_what_still_holds(store: &Store) {
    let create = || Transaction::new().absent("cas/a").put_bytes("cas/a", "mine", None);
    let Ok(Outcome::Committed { revision }) = store.transact(create()).await else {
        panic!("the key was absent");
    };
    assert_eq!(store.transact(create()).await, Ok(Outcome::Conflict));
    let stale = Transaction::new()
        .unchanged("cas/a", revision - 1)
        .put_bytes("cas/b", "never", None)
        .delete("cas/a");
    assert_eq!(store.transact(stale).await, Ok(Outcome::Conflict));
    let listing = store.list("cas/").await.expect("the store is there");
    assert_eq!(listing.entries.len(), 1, "a conflict changes nothing");
    let good = Transaction::new()
        .unchanged("cas/a", revision)
        .present("cas/a")
        .absent("cas/b")
        .put_bytes("cas/a", "next", None);
    assert!(matches!(store.transact(good).await, Ok(Outcome::Committed { .. })));
    let never = Transaction::new().unchanged("cas/none", 0).put_bytes("cas/c", "", None);
    assert_eq!(store.transact(never).await, Ok(Outcome::Conflict), "what is absent has not stayed");
}

async fn exactly_one_of_many_wins(store: &Store) {
    let mut racers = tokio::task::JoinSet::new();
    for racer in 0..16 {
        let store = store.clone();
        let transaction =
            Transaction::new().absent("race").put_bytes("race", racer.to_string(), None);
        racers.spawn(async move { (racer, store.transact(transaction).await) });
    }
    let mut winners = Vec::new();
    while let Some(joined) = racers.join_next().await {
        let (racer, outcome) = joined.expect("no racer panics");
        if matches!(outcome.expect("the store is there"), Outcome::Committed { .. }) {
            winners.push(racer.to_string().into_bytes());
        }
    }
    let stored = store.get("race").await.expect("the store is there").entry;
    assert_eq!(winners, [stored.expect("somebody won").value]);
}

async fn refuses_what_is_too_large_or_wrong(store: &Store) {
    let mut many = Transaction::new();
    for index in 0..=MAX_OPERATIONS {
        many = many.put_bytes(format!("large/{index}"), "", None);
    }
    assert_eq!(store.transact(many).await, Err(Error::TooLarge));
    let big = Transaction::new().put_bytes("large/a", vec![0; 1 << 20], None);
    assert_eq!(store.transact(big).await, Err(Error::TooLarge));
    let twice = Transaction::new().put_bytes("large/a", "1", None).delete("large/a");
    assert!(matches!(store.transact(twice).await, Err(Error::Invalid(_))));
    let nameless = Transaction::new().put_bytes("", "1", None);
    assert!(matches!(store.transact(nameless).await, Err(Error::Invalid(_))));
    let orphan = Transaction::new().put_bytes("large/a", "1", Some(LeaseId(0x7777_7777)));
    assert_eq!(store.transact(orphan).await, Err(Error::LeaseGone));
    let listing = store.list("large/").await.expect("the store is there");
    assert_eq!(listing.entries, []);
}

async fn leased(store: &Store, key: &str, lives: Duration) -> (Lease, Watch) {
    let lease = store.lease(lives).await.expect("the store is there");
    let put = Transaction::new().put_bytes(key, "here", Some(lease.id()));
    let Ok(Outcome::Committed { revision }) = store.transact(put).await else {
        panic!("the lease lives");
    };
    let watch = store.watch(key, revision + 1).await.expect("the store is there");
    (lease, watch)
}

async fn leases_delete_their_keys(store: &Store) {
    // Kept alive far beyond its time to live.
    let (held, mut unharmed) = leased(store, "lease/held", LIVES).await;
    let (dropped, mut watch) = leased(store, "lease/dropped", LIVES).await;
    drop(dropped);
    let gone = next(&mut watch).await;
    assert!(matches!(&gone[..], [Change::Delete { key, .. }] if key == "lease/dropped"));
    sleep(LIVES / 2).await;
    assert!(!held.is_lost());
    assert!(timeout(Duration::from_millis(50), unharmed.next()).await.is_err());

    let (revoked, mut watch) = leased(store, "lease/revoked", 10 * LIVES).await;
    revoked.revoke().await.expect("the store is there");
    let gone = next(&mut watch).await;
    assert!(matches!(&gone[..], [Change::Delete { .. }]));

    // Ended by somebody else: its holder learns of it.
    store.revoke(held.id()).await.expect("it lives");
    timeout(PATIENCE, held.lost()).await.expect("the loss is noticed");
    let gone = next(&mut unharmed).await;
    assert!(matches!(&gone[..], [Change::Delete { .. }]));
    assert_eq!(store.revoke(held.id()).await, Err(Error::LeaseGone));

    // A key put again under another lease, or under none, outlives the first.
    let (first, mut watch) = leased(store, "lease/moved", 10 * LIVES).await;
    put(store, "lease/moved", "for good").await;
    assert_eq!(next(&mut watch).await.len(), 1);
    first.revoke().await.expect("the store is there");
    assert!(timeout(Duration::from_millis(300), watch.next()).await.is_err());
}

async fn compaction_is_told(store: &Store, compact: impl AsyncFn(u64)) {
    let first = put(store, "compact/a", "1").await;
    let last = put(store, "compact/a", "2").await;
    compact(last).await;
    let mut stale = store.watch("compact/", first).await.expect("the store is there");
    let told = timeout(PATIENCE, stale.next()).await.expect("it is told");
    assert_eq!(told, Err(Error::Compacted));
    // What a caller then does: list anew, and watch from there.
    let listing = store.list("compact/").await.expect("the store is there");
    let mut watch = store.watch("compact/", listing.revision + 1).await.expect("it is there");
    let three = put(store, "compact/a", "3").await;
    assert_eq!(seen(&next(&mut watch).await), [row("compact/a", Some("3"), three)]);
}

async fn contract(store: &Store, compact: impl AsyncFn(u64)) {
    reads_what_was_written(store).await;
    watches_a_prefix_from_a_revision(store).await;
    commits_only_what_still_holds(store).await;
    exactly_one_of_many_wins(store).await;
    refuses_what_is_too_large_or_wrong(store).await;
    lists_more_than_a_page(store).await;
    leases_delete_their_keys(store).await;
    compaction_is_told(store, compact).await;
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    let memory = memory::Memory::new();
    contract(&Store::Memory(memory.clone()), async |revision| memory.compact(revision)).await;
}

#[tokio::test]
async fn memory_forgets_old_history_by_itself() {
    let store = Store::Memory(memory::Memory::new());
    let first = put(&store, "a", "1").await;
    for _ in 0..10_001 {
        put(&store, "a", "2").await;
    }
    let mut watch = store.watch("a", first).await.expect("the store is there");
    assert_eq!(watch.next().await, Err(Error::Compacted));
}

#[tokio::test]
async fn memory_taken_away_loses_its_leases() {
    let memory = memory::Memory::new();
    let store = Store::Memory(memory.clone());
    let lease = store.lease(LIVES).await.expect("the store is there");
    let put = Transaction::new().put_bytes("a", "1", Some(lease.id()));
    store.transact(put).await.expect("the store is there");
    let mut watch = store.watch("", 1).await.expect("the store is there");
    assert_eq!(watch.next().await.map(|changes| changes.len()), Ok(1));
    memory.set_available(false);
    assert!(matches!(watch.next().await, Err(Error::Unavailable(_))));
    assert!(matches!(store.get("a").await, Err(Error::Unavailable(_))));
    timeout(PATIENCE, lease.lost()).await.expect("the loss is noticed");
    memory.set_available(true);
    assert_eq!(store.get("a").await.expect("it is back").entry, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_keeps_the_contract() {
    let etcd = EtcdProcess::start(1);
    let store = etcd.store().await;
    let compact = async |revision: u64| {
        let mut client =
            etcd_client::Client::connect([etcd.endpoint()], None).await.expect("etcd is there");
        let revision = i64::try_from(revision).expect("revisions are small");
        client.compact(revision, None).await.expect("etcd is there");
    };
    contract(&store, compact).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_killed_and_back() {
    let mut etcd = EtcdProcess::start(2);
    let store = etcd.store().await;
    let written = put(&store, "kept", "1").await;
    let mut watch = store.watch("kept", written + 1).await.expect("etcd is there");
    let lease = store.lease(Duration::from_secs(3)).await.expect("etcd is there");

    etcd.kill();
    let ended = timeout(PATIENCE, watch.next()).await.expect("the watch notices");
    assert!(matches!(ended, Err(Error::Unavailable(_))), "{ended:?}");
    let began = Instant::now();
    assert!(matches!(store.get("kept").await, Err(Error::Unavailable(_))));
    let transaction = Transaction::new().put_bytes("kept", "lost", None);
    assert!(matches!(store.transact(transaction).await, Err(Error::Unavailable(_))));
    assert!(matches!(store.watch("kept", 1).await, Err(Error::Unavailable(_))));
    println!("three calls to nobody took {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    timeout(PATIENCE, lease.lost()).await.expect("our own clock tells that the lease is lost");

    etcd.restart();
    let began = Instant::now();
    let listing = loop {
        match store.list("kept").await {
            Ok(listing) => break listing,
            Err(error) => assert!(began.elapsed() < PATIENCE, "still away: {error}"),
        }
        sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(listing.entries.len(), 1, "what was acknowledged is still there");
    let mut watch = store.watch("kept", listing.revision + 1).await.expect("etcd is back");
    let again = put(&store, "kept", "2").await;
    assert_eq!(seen(&next(&mut watch).await), [row("kept", Some("2"), again)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_that_hangs_does_not_hang_us() {
    let etcd = EtcdProcess::start(3);
    let patient = etcd.store().await;
    put(&patient, "a", "1").await;
    let lease = patient.lease(Duration::from_secs(3)).await.expect("etcd is there");
    let store = etcd.store_by(Settings { endpoints: vec![etcd.endpoint()], ..Settings::default() });
    until_there(&store).await;
    etcd.freeze();
    // Ten times what it should take.
    let limit = Duration::from_secs(20);
    let get = timeout(limit, store.get("a")).await.expect("calls are bounded");
    assert!(matches!(get, Err(Error::Unavailable(_))), "{get:?}");
    let watch = timeout(limit, store.watch("a", 1)).await.expect("calls are bounded");
    assert!(matches!(watch, Err(Error::Unavailable(_))));
    timeout(PATIENCE, lease.lost()).await.expect("our own clock tells");
    etcd.thaw();
    until_there(&store).await;
}

async fn until_there(store: &Store) {
    let began = Instant::now();
    while store.get("a").await.is_err() {
        assert!(began.elapsed() < PATIENCE, "still away");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_endpoint_of_two_is_survived() {
    let etcd = EtcdProcess::start(4);
    let live = etcd.store().await;
    put(&live, "a", "1").await;
    let store = etcd.store_with(&[etcd_process::dead_endpoint(5)]);
    for _ in 0..20 {
        assert!(store.get("a").await.expect("the other one answers").entry.is_some());
        put(&store, "a", "2").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_over_tls_asks_for_our_certificate() {
    let etcd = EtcdProcess::start_tls(6);
    let store = etcd.store().await;
    let revision = put(&store, "a", "1").await;
    let mut watch = store.watch("a", revision).await.expect("etcd is there");
    assert_eq!(seen(&next(&mut watch).await), [row("a", Some("1"), revision)]);
    let endpoints = vec![etcd.endpoint()];
    let anonymous =
        etcd.store_by(Settings { endpoints, tls: etcd.tls(false), ..Settings::default() });
    let refused = timeout(PATIENCE, anonymous.get("a")).await.expect("calls are bounded");
    assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_with_users_asks_for_a_password() {
    let etcd = EtcdProcess::start(7);
    etcd.store().await;
    let mut root = etcd_client::Client::connect([etcd.endpoint()], None).await.expect("it is up");
    root.user_add("root", "secret", None).await.expect("etcd is there");
    root.role_add("root").await.expect("etcd is there");
    root.user_grant_role("root", "root").await.expect("etcd is there");
    root.auth_enable().await.expect("etcd is there");
    let store = |password: &str| {
        let user = Some(("root".to_owned(), password.to_owned()));
        let endpoints = vec![etcd.endpoint()];
        etcd.store_by(Settings { endpoints, user, timeout: PATIENCE, ..Settings::default() })
    };
    let known = store("secret");
    let revision = put(&known, "a", "1").await;
    let mut watch = known.watch("a", revision).await.expect("etcd is there");
    assert_eq!(next(&mut watch).await.len(), 1);
    let refused = store("wrong").get("a").await;
    assert!(matches!(&refused, Err(Error::Unavailable(text)) if text.contains("authentication")));
}

#[test]
fn wrong_settings_are_refused() {
    for endpoints in [vec![], vec!["127.0.0.1:2379".to_owned()]] {
        let settings = Settings { endpoints, ..Settings::default() };
        assert!(matches!(Etcd::new(settings), Err(Error::Invalid(_))));
    }
}
