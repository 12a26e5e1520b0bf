//! What every store back end must do, entity by entity. One suite; today it runs over SQLite.

use std::path::PathBuf;

use hype_control::store::idempotency::{Answer, Attempt, Begun};
use hype_control::store::member::{Added, VoiceDecision};
use hype_control::store::message::Page;
use hype_control::store::sign_in::{Refresh, Refreshed, SignIn};
use hype_control::store::user::Account;
use hype_control::store::{Error, Store};
use hype_protocol::gateway::{Channel, ChannelKind, Guild, Message, User};
use hype_protocol::id::{ChannelId, GuildId, MessageId, UserId};

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!(
            "hype-store-{}-{:x}",
            std::process::id(),
            rand::random::<u64>()
        ));
        std::fs::create_dir(&path).expect("a fresh folder");
        Self(path)
    }

    async fn open(&self) -> Store {
        Store::open_sqlite(&self.0.join("test.sqlite"), 4).await.expect("opens")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn account(id: u64, name: &str) -> Account {
    Account {
        user: User { id: UserId(id), name: name.to_owned() },
        password_hash: format!("hash of {name}"),
    }
}

fn channel(id: u64, guild: u64, name: &str, kind: ChannelKind, user_limit: u32) -> Channel {
    Channel { id: ChannelId(id), guild_id: GuildId(guild), name: name.to_owned(), kind, user_limit }
}

fn guild(id: u64, owner: u64) -> Guild {
    Guild {
        id: GuildId(id),
        name: format!("guild {id}"),
        owner_id: UserId(owner),
        channels: vec![
            channel(id * 10, id, "general", ChannelKind::Text, 0),
            channel(id * 10 + 1, id, "Lounge", ChannelKind::Voice, 0),
        ],
        members: Vec::new(),
        voice_states: Vec::new(),
    }
}

async fn with_users(store: &Store, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        let name = format!("user {id}");
        store.create_user(&account(id, &name), &name, 1000).await.expect("created");
    }
}

fn message(id: u64, channel: u64, author: u64) -> Message {
    Message {
        id: MessageId(id),
        channel_id: ChannelId(channel),
        guild_id: GuildId(1),
        author: User { id: UserId(author), name: format!("user {author}") },
        content: format!("number {id}\nüñî"),
        created_at_ms: 5000 + id,
    }
}

#[tokio::test]
async fn users() {
    let folder = Folder::new();
    let store = folder.open().await;
    store.create_user(&account(1, "Ada"), "ada", 1000).await.expect("created");
    for (id, key) in [(2, "ada"), (1, "other")] {
        let outcome = store.create_user(&account(id, "x"), key, 1000).await;
        assert!(matches!(outcome, Err(Error::Conflict)), "{key}: {outcome:?}");
    }
    assert_eq!(store.account("ada").await.expect("read"), Some(account(1, "Ada")));
    assert_eq!(store.account("Ada").await.expect("read"), None);
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

#[tokio::test]
async fn many_users_are_found_at_once() {
    let folder = Folder::new();
    let store = folder.open().await;
    with_users(&store, 1..=3).await;
    // More than fit one query.
    let ids: Vec<UserId> = (1..=1200).map(UserId).collect();
    let mut found = store.users(&ids).await.expect("read");
    found.sort_by_key(|user| user.id);
    assert_eq!(found.iter().map(|user| user.id.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(store.users(&[]).await.expect("read"), []);
}

#[tokio::test]
async fn sign_ins_rotate_and_end_when_an_old_secret_is_shown() {
    let folder = Folder::new();
    let store = folder.open().await;
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

#[tokio::test]
async fn sign_ins_expire_end_and_are_limited() {
    let folder = Folder::new();
    let store = folder.open().await;
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

#[tokio::test]
async fn guilds_and_channels() {
    let folder = Folder::new();
    let store = folder.open().await;
    with_users(&store, [1, 2]).await;
    assert!(store.create_guild(&guild(1, 1), 2, 1000).await.expect("created"));
    assert!(store.create_guild(&guild(2, 1), 2, 1001).await.expect("created"));
    assert!(!store.create_guild(&guild(3, 1), 2, 1002).await.expect("refused"), "two are enough");
    assert_eq!(store.guild(GuildId(3)).await.expect("read"), None);
    let orphan = store.create_guild(&guild(4, 99), 2, 1000).await;
    assert!(matches!(orphan, Err(Error::Conflict)), "{orphan:?}");

    let mut expected = guild(1, 1);
    expected.members = vec![account(1, "user 1").user];
    assert_eq!(store.guild(GuildId(1)).await.expect("read"), Some(expected.clone()));
    assert_eq!(store.guild_owner(GuildId(1)).await.expect("read"), Some(UserId(1)));
    assert_eq!(store.guild_owner(GuildId(9)).await.expect("read"), None);

    let new = channel(500, 1, "Big hall", ChannelKind::Voice, 1000);
    assert!(store.create_channel(&new, 3, 2000).await.expect("created"));
    let surplus = channel(501, 1, "one more", ChannelKind::Text, 0);
    assert!(!store.create_channel(&surplus, 3, 2000).await.expect("refused"));
    assert_eq!(store.channel(ChannelId(501)).await.expect("read"), None);
    let twice = store.create_channel(&new, 9, 2000).await;
    assert!(matches!(twice, Err(Error::Conflict)), "{twice:?}");
    assert_eq!(store.channel(ChannelId(500)).await.expect("read"), Some(new.clone()));
    assert_eq!(store.channel(ChannelId(u64::MAX)).await.expect("read"), None);
    expected.channels.push(new);
    assert_eq!(store.guild(GuildId(1)).await.expect("read"), Some(expected));
}

#[tokio::test]
async fn members() {
    let folder = Folder::new();
    let store = folder.open().await;
    with_users(&store, 1..=4).await;
    store.create_guild(&guild(1, 1), 9, 1000).await.expect("created");
    store.create_guild(&guild(2, 1), 9, 1000).await.expect("created");
    let add = async |guild: u64, user: u64, guild_quota: u32, user_quota: u32| {
        store
            .add_member(GuildId(guild), UserId(user), guild_quota, user_quota, 2000 + user)
            .await
            .expect("answered")
    };
    assert_eq!(add(1, 2, 3, 9).await, Added::New);
    assert_eq!(add(1, 2, 3, 9).await, Added::Already);
    assert_eq!(add(1, 3, 3, 9).await, Added::New);
    assert_eq!(add(1, 4, 3, 9).await, Added::GuildFull);
    assert_eq!(add(2, 2, 3, 1).await, Added::TooManyGuilds);
    assert_eq!(add(2, 2, 3, 2).await, Added::New);
    let absent = store.add_member(GuildId(77), UserId(1), 9, 9, 1).await;
    assert!(matches!(absent, Err(Error::Conflict)), "{absent:?}");
    for (guild, user, expected) in [(1, 1, true), (1, 2, true), (1, 4, false), (9, 1, false)] {
        let is_member = store.is_member(GuildId(guild), UserId(user)).await.expect("read");
        assert_eq!(is_member, expected, "{guild} {user}");
    }
    assert_eq!(store.guilds_of(UserId(2)).await.expect("read"), [GuildId(1), GuildId(2)]);
    assert_eq!(store.guilds_of(UserId(4)).await.expect("read"), []);
    assert_eq!(store.member_count(GuildId(1)).await.expect("read"), 3);
    let names = store.guild(GuildId(1)).await.expect("read").expect("there").members;
    let ids: Vec<u64> = names.iter().map(|member| member.id.0).collect();
    assert_eq!(ids, [1, 2, 3], "first come first");
}

#[tokio::test]
async fn decisions_about_voice_are_kept() {
    let folder = Folder::new();
    let store = folder.open().await;
    with_users(&store, [1, 2]).await;
    store.create_guild(&guild(1, 1), 9, 1000).await.expect("created");
    let decided = |mute, deaf| Some(VoiceDecision { mute, deaf });
    let read =
        async |user: u64| store.voice_decision(GuildId(1), UserId(user)).await.expect("read");
    assert_eq!(read(1).await, decided(false, false));
    for (mute, deaf, expected) in [
        (Some(true), None, decided(true, false)),
        (None, Some(true), decided(true, true)),
        (None, None, decided(true, true)),
        (Some(false), None, decided(false, true)),
    ] {
        let now = store.decide_voice(GuildId(1), UserId(1), mute, deaf).await.expect("written");
        assert_eq!(now, expected);
        assert_eq!(read(1).await, expected);
    }
    let stranger = store.decide_voice(GuildId(1), UserId(2), Some(true), None).await;
    assert_eq!(stranger.expect("no error"), None);
    assert_eq!(read(2).await, None);
}

#[tokio::test]
async fn two_who_join_at_once_never_exceed_the_quota() {
    let folder = Folder::new();
    let store = folder.open().await;
    with_users(&store, 1..=21).await;
    store.create_guild(&guild(1, 1), 9, 1000).await.expect("created");
    let tries = (2..=21).map(|user| {
        let store = store.clone();
        tokio::spawn(async move { store.add_member(GuildId(1), UserId(user), 5, 9, 2000).await })
    });
    let mut added = 0;
    for attempt in tries.collect::<Vec<_>>() {
        added += u32::from(attempt.await.expect("no panic").expect("answered") == Added::New);
    }
    assert_eq!(added, 4);
    assert_eq!(store.member_count(GuildId(1)).await.expect("read"), 5);
}

#[tokio::test]
async fn invites() {
    let folder = Folder::new();
    let store = folder.open().await;
    with_users(&store, [1]).await;
    store.create_guild(&guild(1, 1), 9, 1000).await.expect("created");
    for (number, code) in ["one", "two", "three"].into_iter().enumerate() {
        let now_ms = 1000 + number as u64;
        store.create_invite(code, GuildId(1), UserId(1), 2, now_ms).await.expect("created");
    }
    assert_eq!(store.invite("one").await.expect("read"), None, "the oldest made room");
    let invite = store.invite("three").await.expect("read").expect("there");
    assert_eq!((invite.guild, invite.guild_name.as_str()), (GuildId(1), "guild 1"));
    assert!(store.invite("THREE").await.expect("read").is_none(), "case matters");
    let twice = store.create_invite("three", GuildId(1), UserId(1), 9, 1).await;
    assert!(matches!(twice, Err(Error::Conflict)), "{twice:?}");
}

#[tokio::test]
async fn a_request_under_a_key_is_begun_once() {
    let folder = Folder::new();
    let store = folder.open().await;
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
    assert_eq!(begin(2, "a", "four", 5103).await, Begun::New);
    finish(2, "a", 5002, "too late").await;
    store.abandon_idempotent(UserId(2), "a", 5002).await.expect("nothing to free");
    assert_eq!(begin(2, "a", "four", 5104).await, Begun::Running);
    finish(2, "a", 5103, "made too").await;
    assert_eq!(begin(2, "a", "four", 5105).await, Begun::Answered(answer("made too")));

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
    assert_eq!(begun.iter().filter(|begun| **begun == Begun::New).count(), 1, "{begun:?}");
}

#[tokio::test]
async fn messages_come_in_pages() {
    let folder = Folder::new();
    let store = folder.open().await;
    with_users(&store, [1, 2]).await;
    store.create_guild(&guild(1, 1), 9, 1000).await.expect("created");
    for id in 1..=9 {
        store.create_message(&message(100 + id, 10, 1 + id % 2)).await.expect("created");
    }
    store.create_message(&message(200, 11, 1)).await.expect("created");
    let check = async |page: Page, limit: u32, expected: &[u64]| {
        let found = store.messages(ChannelId(10), page, limit).await.expect("read");
        let ids: Vec<u64> = found.iter().map(|message| message.id.0).collect();
        assert_eq!(ids, expected, "{page:?} {limit}");
        for found in found {
            assert_eq!(found, message(found.id.0, 10, 1 + found.id.0 % 100 % 2));
        }
    };
    check(Page::Newest, 3, &[109, 108, 107]).await;
    check(Page::Before(MessageId(107)), 3, &[106, 105, 104]).await;
    check(Page::Before(MessageId(102)), 3, &[101]).await;
    check(Page::Before(MessageId(101)), 3, &[]).await;
    check(Page::Before(MessageId(u64::MAX)), 1, &[109]).await;
    check(Page::After(MessageId(101)), 3, &[104, 103, 102]).await;
    check(Page::After(MessageId(107)), 100, &[109, 108]).await;
    check(Page::After(MessageId(109)), 3, &[]).await;
    check(Page::After(MessageId(u64::MAX)), 3, &[]).await;
    let orphan = store.create_message(&message(300, 999, 1)).await;
    assert!(matches!(orphan, Err(Error::Conflict)), "{orphan:?}");
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let folder = Folder::new();
    let store = folder.open().await;
    assert_eq!(store.newest_id().await.expect("read"), 0);
    with_users(&store, [1]).await;
    store.create_guild(&guild(1, 1), 9, 1000).await.expect("created");
    store.create_message(&message(777, 10, 1)).await.expect("created");
    store.close().await;
    assert!(matches!(store.ping().await, Err(Error::Unavailable(_))), "closed");
    let again = folder.open().await;
    again.ping().await.expect("answers");
    assert_eq!(again.newest_id().await.expect("read"), 777);
    assert_eq!(again.guilds_of(UserId(1)).await.expect("read"), [GuildId(1)]);
}

#[tokio::test]
async fn commits_are_durable_and_the_log_is_used() {
    let folder = Folder::new();
    let store = folder.open().await;
    with_users(&store, [1]).await;
    // A second connection sees the mode of the file itself; FULL is 2.
    let path = folder.0.join("test.sqlite");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("opens");
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&pool).await.expect("read");
    assert_eq!(mode, "wal");
    pool.close().await;
    assert_eq!(store.durability().await.expect("read"), 2);
}
