//! Where a store under test keeps its rows, and rows to put into it.

use std::path::PathBuf;
use std::time::Duration;

use hype_control::config::Dsn;
use hype_control::domain::search;
use hype_control::event::Audience;
use hype_control::store::database::Connections;
use hype_control::store::guild_write::GuildWrite;
use hype_control::store::member::Added;
use hype_control::store::user::Account;
use hype_control::store::{Error, Store};
use hype_protocol::gateway::{
    Channel, ChannelKind, Event, Guild, Member, Message, Role, User, VoiceMode,
};
use hype_protocol::id::{ChannelId, GuildId, MessageId, RoleId, UserId};
use hype_protocol::permission::Permissions;

use crate::postgres_process::Postgres;

/// A folder that goes away with the test.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new() -> Self {
        let name = format!("hype store % {}-{:x}", std::process::id(), rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a fresh folder");
        Self(path)
    }

    pub fn dsn(&self) -> Dsn {
        Dsn::Sqlite(self.0.join("test.sqlite"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A database of one test.
pub struct Place {
    pub dsn: Dsn,
    _folder: Option<Folder>,
}

impl Place {
    pub fn sqlite() -> Self {
        let folder = Folder::new();
        Self { dsn: folder.dsn(), _folder: Some(folder) }
    }

    pub async fn postgres() -> Self {
        let url = Postgres::shared().database().await;
        Self { dsn: url.parse().expect("a valid URL"), _folder: None }
    }

    /// Of SQLite's file.
    pub fn path(&self) -> PathBuf {
        match &self.dsn {
            Dsn::Sqlite(path) => path.clone(),
            Dsn::Postgres(_) => panic!("a server has no file"),
        }
    }

    pub async fn open(&self) -> Store {
        open(&self.dsn, std::slice::from_ref(&self.dsn)).await
    }
}

/// Waits longer than in production: a disk that is slow for once is no store that is away.
pub async fn open(accounts: &Dsn, shards: &[Dsn]) -> Store {
    open_waiting(accounts, shards, Duration::from_secs(30)).await
}

pub async fn open_waiting(accounts: &Dsn, shards: &[Dsn], wait: Duration) -> Store {
    let connections = Connections { sqlite_readers: 4, postgres: 8, wait };
    Store::open(accounts, shards, connections).await.expect("opens")
}

/// Makes each function a test over SQLite and over PostgreSQL.
macro_rules! contract {
    ($($name:ident)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::place::Place::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::place::Place::postgres().await).await;
            })*
        }
    };
}
pub(crate) use contract;

pub fn account(id: u64, name: &str) -> Account {
    Account {
        user: User { id: UserId(id), name: name.to_owned() },
        password_hash: format!("hash of {name}"),
    }
}

pub fn channel(id: u64, guild: u64, name: &str, kind: ChannelKind, user_limit: u32) -> Channel {
    Channel {
        id: ChannelId(id),
        guild_id: GuildId(guild),
        name: name.to_owned(),
        kind,
        parent_id: None,
        topic: String::new(),
        position: 0,
        user_limit,
        bitrate: 0,
        voice_mode: VoiceMode::Auto,
        overwrites: Vec::new(),
        last_message_id: None,
    }
}

pub fn member(user: u64, joined_at_ms: u64) -> Member {
    Member {
        user: account(user, &format!("user {user}")).user,
        roles: Vec::new(),
        joined_at_ms,
        server_mute: false,
        server_deaf: false,
    }
}

pub fn guild(id: u64, owner: u64) -> Guild {
    Guild {
        id: GuildId(id),
        name: format!("guild {id}"),
        owner_id: UserId(owner),
        sequence: 0,
        roles: vec![Role {
            id: RoleId(id),
            guild_id: GuildId(id),
            name: "everyone".into(),
            color: 0,
            position: 0,
            permissions: Permissions::DEFAULT,
        }],
        channels: vec![
            channel(id * 10, id, "general", ChannelKind::Text, 0),
            channel(id * 10 + 1, id, "Lounge", ChannelKind::Voice, 0),
        ],
        members: vec![member(owner, 1000)],
        voice_states: Vec::new(),
        presences: Vec::new(),
    }
}

pub async fn with_users(store: &Store, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        let name = format!("user {id}");
        store.create_user(&account(id, &name), &name, 1000).await.expect("created");
    }
}

/// A store with one user and one guild, both of id 1.
pub async fn with_guild(store: &Store) {
    with_users(store, [1]).await;
    assert!(store.create_guild(&guild(1, 1), 9, 1000).await.expect("created"));
}

pub fn message(id: u64, channel: u64, author: u64) -> Message {
    Message {
        id: MessageId(id),
        channel_id: ChannelId(channel),
        guild_id: GuildId(channel / 10),
        author: User { id: UserId(author), name: format!("user {author}") },
        content: format!("number {id}\nüñî"),
        created_at_ms: 5000 + id,
        edited_at_ms: None,
    }
}

pub async fn write(store: &Store, guild: u64) -> GuildWrite {
    store.write_guild(GuildId(guild)).await.expect("answered").expect("there")
}

/// Sends a message with its event, as the domain does; false when its channel is not there.
pub async fn send(store: &Store, message: &Message) -> Result<bool, Error> {
    let mut write = write(store, message.guild_id.0).await;
    if !write.add_message(message, &search::words_of(message), "").await? {
        return Ok(false);
    }
    let audience = Audience::Channel(message.guild_id, message.channel_id);
    write.tell(&audience, &Event::MessageCreated(message.clone())).await?;
    write.commit().await?;
    Ok(true)
}

/// Makes somebody a member, as the domain does.
pub async fn join(store: &Store, guild: u64, user: u64, quota: u32) -> Result<Added, Error> {
    let mut write = write(store, guild).await;
    let added = write.add_member(UserId(user), quota, 2000 + user).await?;
    write.commit().await?;
    Ok(added)
}
