//! A SQLite file that an older release made opens and keeps everything; and the file's settings.

use std::path::Path;

use hype_control::domain::search;
use hype_control::store::message::Page;
use hype_control::store::{Error, Store};
use hype_protocol::gateway::ChannelKind;
use hype_protocol::id::{ChannelId, GuildId, MessageId, RoleId, UserId};
use hype_protocol::permission::Permissions;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, SqliteConnection};

use crate::place::{Folder, Place, with_users};

async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    options.connect().await.expect("the file opens")
}

/// A file as the release before shards, roles and events left it.
async fn old_file(path: &Path) {
    let mut connection = connect(path).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/sqlite");
    let mut migrator = Migrator::new(folder).await.expect("migrations are there");
    migrator.migrations = migrator.iter().filter(|step| step.version <= 2).cloned().collect();
    assert_eq!(migrator.iter().count(), 2);
    migrator.run(&mut connection).await.expect("applied");
    let mut sql = "PRAGMA foreign_keys = ON;
        INSERT INTO users VALUES (1, 'Ada', 'ada', 'h1', 10), (2, 'Bob', 'bob', 'h2', 11);
        INSERT INTO sign_ins VALUES ('f', 1, 's', '', 12, 99);
        INSERT INTO guilds VALUES (5, 'Home', 1, 20), (6, 'Empty', 2, 21);
        INSERT INTO members VALUES (5, 1, 20, 0, 0), (5, 2, 22, 1, 0), (6, 2, 21, 0, 0);
        INSERT INTO channels VALUES (50, 5, 'general', 'text', 0, 20);
        INSERT INTO channels VALUES (51, 5, 'Lounge', 'voice', 7, 20);
        INSERT INTO invites VALUES ('code', 5, 1, 23);"
        .to_owned();
    for id in 100..1300 {
        sql.push_str(&format!("INSERT INTO messages VALUES ({id}, 50, 5, 2, 'Crème {id}', 24);"));
    }
    connection.execute(AssertSqlSafe(sql)).await.expect("filled");
    connection.close().await.expect("closed");
}

async fn open_and_check(place: &Place) -> Store {
    let store = place.open().await;
    let guild = store.guild(GuildId(5)).await.expect("read").expect("kept");
    assert_eq!((guild.name.as_str(), guild.owner_id, guild.sequence), ("Home", UserId(1), 0));
    let channels: Vec<_> = guild
        .channels
        .iter()
        .map(|channel| (channel.id.0, channel.name.as_str(), channel.kind, channel.user_limit))
        .collect();
    assert_eq!(
        channels,
        [(50, "general", ChannelKind::Text, 0), (51, "Lounge", ChannelKind::Voice, 7)]
    );
    let members: Vec<_> = guild
        .members
        .iter()
        .map(|m| (m.user.name.as_str(), m.joined_at_ms, m.server_mute))
        .collect();
    assert_eq!(members, [("Ada", 20, false), ("Bob", 22, true)]);
    let roles: Vec<_> = guild.roles.iter().map(|role| (role.id, role.permissions)).collect();
    assert_eq!(roles, [(RoleId(5), Permissions::DEFAULT)]);
    assert_eq!(store.guilds_of(UserId(2)).await.expect("read"), [GuildId(5), GuildId(6)]);
    assert_eq!(store.invite("code").await.expect("read").expect("kept").0.guild, GuildId(5));
    let page = store.messages(ChannelId(50), Page::Newest, 100).await.expect("read");
    assert_eq!(page[0].content, "Crème 1299");
    assert_eq!((page.len(), page[0].author.name.as_str()), (100, "Bob"));
    assert_eq!(store.newest_id().await.expect("read"), 1299);
    store
}

#[tokio::test]
async fn a_file_of_an_older_release_keeps_everything() {
    let place = Place::sqlite();
    old_file(&place.path()).await;
    let store = open_and_check(&place).await;
    assert_eq!(store.index_messages(search::words_of).await.expect("done"), 1200);
    assert_eq!(store.index_messages(search::words_of).await.expect("done"), 0);
    let terms = search::terms(search::words("CREME 777"), None, &[ChannelId(50)]);
    let found = store.search(GuildId(5), &terms, None, None, 9).await.expect("read");
    let ids: Vec<_> = found.iter().map(|message| message.id).collect();
    assert_eq!(ids, [MessageId(777)]);
    store.close().await;
    open_and_check(&place).await;
}

#[tokio::test]
async fn a_newer_release_s_file_is_refused() {
    let place = Place::sqlite();
    place.open().await.close().await;
    let mut connection = connect(&place.path()).await;
    let sql = "INSERT INTO _sqlx_migrations VALUES (999, 'later', '2026-01-01', 1, x'00', 1)";
    connection.execute(sql).await.expect("noted");
    connection.close().await.expect("closed");
    let refused = Store::open_sqlite(&place.path(), 1).await;
    assert!(matches!(refused, Err(Error::Broken(_))), "{refused:?}");
}

#[tokio::test]
async fn commits_wait_for_the_disk_and_the_log_is_used() {
    let place = Place::sqlite();
    let store = place.open().await;
    with_users(&store, [1]).await;
    // The mode is the file's own, so any connection sees it.
    let mut connection = connect(&place.path()).await;
    let mode: String =
        sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.expect("read");
    assert_eq!(mode, "wal");
    let mut write = store.accounts().write().await.expect("a turn");
    let durability: i64 =
        sqlx::query_scalar("PRAGMA synchronous").fetch_one(write.connection()).await.expect("read");
    assert_eq!(durability, 2, "2 is FULL");
}

#[tokio::test]
async fn a_folder_s_name_may_have_any_characters() {
    // The folder's own has a space and a percent sign.
    let folder = Folder::new();
    let path = folder.0.join("a?b#c%20d.sqlite");
    let store = Store::open_sqlite(&path, 1).await.expect("opens");
    with_users(&store, [1]).await;
    store.close().await;
    assert!(path.exists());
}
