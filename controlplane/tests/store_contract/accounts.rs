//! Accounts, sign-ins and idempotency keys.

use hype_control::store::Error;
use hype_control::store::idempotency::{Answer, Attempt, Begun};
use hype_control::store::sign_in::{Refresh, Refreshed, SignIn};
use hype_protocol::id::UserId;

use crate::place::{Place, account, contract, with_users};

contract! {
    users
    many_users_are_found_at_once
    sign_ins_rotate_and_end_when_an_old_secret_is_shown
    sign_ins_expire_end_and_are_limited
    a_request_under_a_key_is_begun_once
}

async fn users(place: Place) {
    let store = place.open().await;
    store.create_user(&account(1, "Ada"), "ada", 1000).await.expect("created");
    for (id, key) in [(2, "ada"), (1, "other")] {
        let outcome = store.create_user(&account(id, "x"), key, 1000).await;
        assert!(matches!(outcome, Err(Error::Conflict)), "{key}: {outcome:?}");
    }
    assert_eq!(store.account("ada").await.expect("read"), Some(account(1, "Ada")));
    assert_eq!(store.account("Ada").await.expect("read"), None);
    store.create_user(&account(7, "Bob"), "bob", 1000).await.expect("created");
    let ada = |exact| Some((account(1, "Ada"), exact));
    let bob = |exact| Some((account(7, "Bob"), exact));
    for (name, expected) in [
        ("ac", ada(false)),
        ("ada", ada(true)),
        ("adam", bob(false)),
        ("bob", bob(true)),
        ("bobby", None),
    ] {
        assert_eq!(store.account_or_next(name).await.expect("read"), expected, "{name}");
    }
    assert_eq!(
        store.user(UserId(1)).await.expect("read").map(|user| user.name),
        Some("Ada".into())
    );
    for absent in [2, u64::MAX] {
        assert_eq!(store.user(UserId(absent)).await.expect("read"), None);
    }
    store.replace_password_hash(UserId(1), "stale", "new").await.expect("written");
    assert_eq!(store.account("ada").await.expect("read"), Some(account(1, "Ada")));
    store.replace_password_hash(UserId(1), "hash of Ada", "new").await.expect("written");
    let hash = store.account("ada").await.expect("read").map(|account| account.password_hash);
    assert_eq!(hash.as_deref(), Some("new"));
}

async fn many_users_are_found_at_once(place: Place) {
    let store = place.open().await;
    with_users(&store, 1..=3).await;
    // More than fit one query.
    let ids: Vec<UserId> = (1..=1200).map(UserId).collect();
    let mut found = store.users(&ids).await.expect("read");
    found.sort_by_key(|user| user.id);
    assert_eq!(found.iter().map(|user| user.id.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(store.users(&[]).await.expect("read"), []);
}

async fn sign_ins_rotate_and_end_when_an_old_secret_is_shown(place: Place) {
    let store = place.open().await;
    with_users(&store, [1]).await;
    let sign_in = SignIn { family: "f".into(), user: UserId(1), secret_hash: "s1".into() };
    store.create_sign_in(&sign_in, 10, 1000, 9000).await.expect("created");
    let refresh = async |shown: &str, next: &str, now_ms: u64| {
        let refresh = Refresh {
            family: "f",
            shown_hash: shown,
            next_hash: next,
            now_ms,
            expires_at_ms: now_ms + 8000,
            grace_ms: 100,
        };
        store.refresh_sign_in(refresh).await.expect("answered")
    };
    assert_eq!(refresh("s1", "s2", 2000).await, Refreshed::Rotated(UserId(1)));
    assert_eq!(refresh("s1", "s2", 2099).await, Refreshed::Rotated(UserId(1)), "within the grace");
    assert_eq!(refresh("s2", "s3", 3000).await, Refreshed::Rotated(UserId(1)));
    assert_eq!(refresh("s2", "s3", 3100).await, Refreshed::Reused(UserId(1)), "after the grace");
    assert_eq!(refresh("s3", "s4", 3101).await, Refreshed::Unknown, "the whole sign-in has ended");
}

async fn sign_ins_expire_end_and_are_limited(place: Place) {
    let store = place.open().await;
    with_users(&store, [1, 2]).await;
    let shown = async |family: &str, now_ms: u64| {
        let refresh = Refresh {
            family,
            shown_hash: "s",
            next_hash: "s",
            now_ms,
            expires_at_ms: 9000,
            grace_ms: 0,
        };
        store.refresh_sign_in(refresh).await.expect("answered")
    };
    let create = async |family: &str, user: u64, now_ms: u64| {
        let sign_in = SignIn { family: family.into(), user: UserId(user), secret_hash: "s".into() };
        store.create_sign_in(&sign_in, 2, now_ms, 9000).await.expect("created");
    };
    create("a", 1, 1000).await;
    create("b", 1, 1001).await;
    create("other", 2, 1000).await;
    // Using one makes the other the idlest, which the third one's creation ends.
    assert_eq!(shown("a", 1500).await, Refreshed::Rotated(UserId(1)));
    create("c", 1, 2000).await;
    assert_eq!(shown("b", 2001).await, Refreshed::Unknown);
    assert_eq!(shown("a", 2001).await, Refreshed::Rotated(UserId(1)));
    assert_eq!(shown("other", 2001).await, Refreshed::Rotated(UserId(2)));
    store.end_sign_in("a").await.expect("ended");
    store.end_sign_in("never was").await.expect("no error");
    assert_eq!(shown("a", 2002).await, Refreshed::Unknown);
    assert_eq!(shown("c", 9000).await, Refreshed::Unknown, "expired");
    assert_eq!(store.forget_expired_sign_ins(8999).await.expect("done"), 0);
    assert_eq!(store.forget_expired_sign_ins(9000).await.expect("done"), 2);
}

async fn a_request_under_a_key_is_begun_once(place: Place) {
    let store = place.open().await;
    let begin = async |user: u64, key: &str, request_hash: &str, now_ms: u64| {
        let attempt = Attempt {
            user: UserId(user),
            key,
            request_hash,
            now_ms,
            expired_before_ms: now_ms.saturating_sub(1000),
            abandoned_before_ms: now_ms.saturating_sub(100),
        };
        store.begin_idempotent(attempt).await.expect("begun")
    };
    let answer = |body: &str| Answer { status: 201, body: body.to_owned() };
    let finish = async |user: u64, key: &str, begun_at_ms: u64, body: &str| {
        let answer = answer(body);
        store.finish_idempotent(UserId(user), key, begun_at_ms, &answer).await.expect("kept");
    };
    assert_eq!(begin(1, "a", "one", 5000).await, Begun::New);
    assert_eq!(begin(1, "a", "one", 5001).await, Begun::Running);
    assert_eq!(begin(1, "a", "two", 5001).await, Begun::Other);
    assert_eq!(begin(2, "a", "two", 5001).await, Begun::New, "keys are a person's own");
    assert_eq!(begin(1, "A", "two", 5001).await, Begun::New, "case matters");
    finish(1, "a", 5000, "made").await;
    assert_eq!(begin(1, "a", "one", 5999).await, Begun::Answered(answer("made")));
    assert_eq!(begin(1, "a", "two", 5999).await, Begun::Other);

    // What made nothing frees its key; what was answered stays.
    store.abandon_idempotent(UserId(2), "a", 5001).await.expect("freed");
    assert_eq!(begin(2, "a", "three", 5002).await, Begun::New);
    store.abandon_idempotent(UserId(1), "a", 5000).await.expect("nothing to free");
    assert_eq!(begin(1, "a", "one", 5999).await, Begun::Answered(answer("made")));

    // A request whose replica died gives way, and if it lives after all, changes nothing.
    assert_eq!(begin(2, "a", "four", 5103).await, Begun::Other, "it may have been made");
    assert_eq!(begin(2, "a", "three", 5103).await, Begun::Again);
    finish(2, "a", 5002, "too late").await;
    store.abandon_idempotent(UserId(2), "a", 5002).await.expect("nothing to free");
    assert_eq!(begin(2, "a", "three", 5104).await, Begun::Running);
    finish(2, "a", 5103, "made too").await;
    assert_eq!(begin(2, "a", "three", 5105).await, Begun::Answered(answer("made too")));

    // What is too old is forgotten, and for its person it is so before the cleaning.
    assert_eq!(begin(1, "a", "two", 6001).await, Begun::New);
    finish(1, "a", 6001, "anew").await;
    assert_eq!(store.forget_idempotency_keys(6001).await.expect("forgotten"), 2);
    assert_eq!(begin(1, "a", "two", 6002).await, Begun::Answered(answer("anew")));

    let tries = (0..8).map(|_| begin(3, "b", "one", 7000));
    let begun = futures_util::future::join_all(tries).await;
    assert_eq!(begun.iter().filter(|begun| **begun == Begun::New).count(), 1, "{begun:?}");
    let tries = (0..8).map(|_| begin(3, "b", "one", 7500));
    let begun = futures_util::future::join_all(tries).await;
    assert_eq!(begun.iter().filter(|begun| **begun == Begun::Again).count(), 1, "{begun:?}");
    assert!(!begun.contains(&Begun::New), "{begun:?}");
}
