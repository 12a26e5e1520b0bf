//! Copies a guild's rows from one database to another while people change them. Tables but that of
//! messages are compared whole, again and again: what changed since the last look is written, what
//! is gone is removed. Messages are many, so new ones are found by their ids and changed ones by the
//! guild's events.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use hype_protocol::gateway::{Event, Message};
use hype_protocol::id::{ChannelId, GuildId, MessageId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};

use super::database::{Database, Dialect};
use super::message::{ABOVE, forget_words, from_row, put_words};
use super::shard_claim::Claim;
use super::write::Write;
use super::{Result, event, key, stored};

/// Rows of one statement.
const BATCH: usize = 200;

/// A table with rows of guilds: its columns, those of the key first, texts apart.
struct Table {
    name: &'static str,
    /// How many of `numbers`, or of `texts` when the key is a text, are the key.
    keys: usize,
    text_key: bool,
    numbers: &'static [&'static str],
    texts: &'static [&'static str],
}

macro_rules! table {
    ($name:literal, $keys:literal of [$($number:literal),*], [$($text:literal),*]) => {
        Table {
            name: $name,
            keys: $keys,
            text_key: false,
            numbers: &[$($number),*],
            texts: &[$($text),*],
        }
    };
}

/// All tables with `guild_id`, but `messages`. A test compares this with the schema.
const TABLES: &[Table] = &[
    table!("members", 2 of ["guild_id", "user_id", "joined_at_ms", "server_mute", "server_deaf"], []),
    table!(
        "channels", 1 of ["id", "guild_id", "parent_id", "position", "user_limit", "bitrate",
            "created_at_ms", "last_message_id"],
        ["name", "kind", "topic", "voice_mode"]
    ),
    Table {
        name: "invites",
        keys: 1,
        text_key: true,
        numbers: &["guild_id", "creator_id", "created_at_ms", "max_uses", "uses", "expires_at_ms"],
        texts: &["code"],
    },
    table!("roles", 1 of ["id", "guild_id", "color", "position", "permissions"], ["name"]),
    table!("member_roles", 3 of ["guild_id", "user_id", "role_id"], []),
    table!(
        "overwrites", 2 of ["channel_id", "target_id", "guild_id", "allow", "deny"],
        ["target_kind"]
    ),
    table!("bans", 2 of ["guild_id", "user_id", "moderator_id", "created_at_ms"], ["reason"]),
    table!(
        "audit_log", 1 of ["id", "guild_id", "actor_id", "target_id", "created_at_ms"],
        ["action", "detail"]
    ),
    table!("doomed", 2 of ["guild_id", "channel_id"], []),
    table!("read_marks", 2 of ["user_id", "channel_id", "guild_id", "message_id"], []),
    table!(
        "events", 2 of ["guild_id", "sequence", "created_at_ms", "sent"], ["audience", "body"]
    ),
    table!(
        "voice_stays", 1 of ["session_id", "guild_id", "channel_id", "user_id", "joined_at_ms",
            "left_at_ms"],
        []
    ),
    table!(
        "active_days", 3 of ["guild_id", "day", "user_id", "messages", "voice_joins", "voice_ms"],
        []
    ),
    Table {
        name: "consumed",
        keys: 1,
        text_key: true,
        numbers: &["guild_id", "sequence"],
        texts: &["consumer"],
    },
];

/// The names of the tables that are copied, beside `guilds`.
pub fn tables() -> Vec<&'static str> {
    TABLES.iter().map(|table| table.name).chain(["messages"]).collect()
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Values {
    numbers: Vec<i64>,
    texts: Vec<String>,
}

impl Table {
    fn columns(&self) -> String {
        [self.numbers, self.texts].concat().join(", ")
    }

    fn read(&self, row: &AnyRow) -> Result<Values> {
        let number = |name: &&str| Ok(row.try_get::<i64, _>(*name)?);
        let text = |name: &&str| Ok(row.try_get::<String, _>(*name)?);
        Ok(Values {
            numbers: self.numbers.iter().map(number).collect::<Result<_>>()?,
            texts: self.texts.iter().map(text).collect::<Result<_>>()?,
        })
    }

    fn key_of(&self, values: &Values) -> Values {
        if self.text_key {
            Values { numbers: Vec::new(), texts: values.texts[..self.keys].to_vec() }
        } else {
            Values { numbers: values.numbers[..self.keys].to_vec(), texts: Vec::new() }
        }
    }

    fn key_columns(&self) -> &'static [&'static str] {
        if self.text_key { &self.texts[..self.keys] } else { &self.numbers[..self.keys] }
    }

    /// Removes one row. The guild is named too: a row of another guild is never touched.
    async fn remove(&self, to: &mut AnyConnection, guild: GuildId, key_of: &Values) -> Result<()> {
        let wanted = self.key_columns().iter().zip(2..);
        let wanted: Vec<String> =
            wanted.map(|(name, place)| format!("{name} = ${place}")).collect();
        let wanted = wanted.join(" AND ");
        let sql = format!("DELETE FROM {} WHERE guild_id = $1 AND {wanted}", self.name);
        let mut query = sqlx::query(AssertSqlSafe(sql)).bind(key(guild.0));
        for number in &key_of.numbers {
            query = query.bind(*number);
        }
        for text in &key_of.texts {
            query = query.bind(text.clone());
        }
        query.execute(to).await?;
        Ok(())
    }

    async fn insert(&self, to: &mut AnyConnection, rows: &[Values]) -> Result<()> {
        let width = self.numbers.len() + self.texts.len();
        let row = |row: usize| {
            let places = (1..=width).map(|place| format!("${}", row * width + place));
            format!("({})", places.collect::<Vec<_>>().join(", "))
        };
        let values: Vec<String> = (0..rows.len()).map(row).collect();
        let sql =
            format!("INSERT INTO {} ({}) VALUES {}", self.name, self.columns(), values.join(", "));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for row in rows {
            for number in &row.numbers {
                query = query.bind(*number);
            }
            for text in &row.texts {
                query = query.bind(text.clone());
            }
        }
        query.execute(to).await?;
        Ok(())
    }
}

fn hash(values: &Values) -> u64 {
    let mut hasher = DefaultHasher::new();
    values.hash(&mut hasher);
    hasher.finish()
}

/// A copy that is being made. What it reads comes by a connection that its caller chose: on SQLite
/// only the one that holds the lock sees what waits with it to be committed.
pub(super) struct Copy<'a> {
    guild: GuildId,
    to: &'a Database,
    claim: &'a Claim<'a>,
    words_of: fn(&Message) -> String,
    /// What was written of each table: key → hash of the row.
    written: Vec<HashMap<Values, u64>>,
    /// The newest message copied of each channel.
    newest: HashMap<ChannelId, MessageId>,
    /// The event up to which changes of messages were followed.
    sequence: u64,
    /// How many messages were copied.
    pub(super) messages: u64,
}

impl<'a> Copy<'a> {
    /// A copy from nothing, of a guild whose newest event is `sequence`: `to` has no rows of it.
    pub(super) fn new(
        guild: GuildId,
        to: &'a Database,
        claim: &'a Claim<'a>,
        sequence: u64,
        words_of: fn(&Message) -> String,
    ) -> Self {
        let written = TABLES.iter().map(|_| HashMap::new()).collect();
        let newest = HashMap::new();
        Self { guild, to, claim, words_of, written, newest, sequence, messages: 0 }
    }

    /// Begins to write into the target, unless another move has begun.
    async fn write(&self) -> Result<Write> {
        self.claim.check().await?;
        self.to.write().await
    }

    /// Writes what changed in all tables since the last look; returns how many rows.
    pub(super) async fn tables(&mut self, from: &mut AnyConnection) -> Result<u64> {
        let mut changed = 0;
        for (place, table) in TABLES.iter().enumerate() {
            changed += self.table(from, table, place).await?;
        }
        Ok(changed)
    }

    async fn table(
        &mut self,
        from: &mut AnyConnection,
        table: &Table,
        place: usize,
    ) -> Result<u64> {
        let sql = format!("SELECT {} FROM {} WHERE guild_id = $1", table.columns(), table.name);
        let query = sqlx::query(AssertSqlSafe(sql)).bind(key(self.guild.0));
        let rows = query.fetch_all(&mut *from).await?;
        let before = std::mem::take(&mut self.written[place]);
        let mut gone: HashMap<&Values, u64> =
            before.iter().map(|(key, hash)| (key, *hash)).collect();
        let (mut new, mut stale) = (Vec::new(), Vec::new());
        let mut now = HashMap::with_capacity(rows.len());
        for row in &rows {
            let values = table.read(row)?;
            let (key_of, hash) = (table.key_of(&values), hash(&values));
            match gone.remove(&key_of) {
                Some(known) if known == hash => {}
                known => {
                    stale.extend(known.map(|_| key_of.clone()));
                    new.push(values);
                }
            }
            now.insert(key_of, hash);
        }
        stale.extend(gone.into_keys().cloned());
        for some in stale.chunks(BATCH) {
            let mut write = self.write().await?;
            for key_of in some {
                table.remove(write.connection(), self.guild, key_of).await?;
            }
            write.commit().await?;
        }
        for some in new.chunks(BATCH) {
            let mut write = self.write().await?;
            table.insert(write.connection(), some).await?;
            write.commit().await?;
        }
        self.written[place] = now;
        Ok((stale.len() + new.len()) as u64)
    }

    /// Copies the messages that are new since the last look; returns how many. `progress` hears of
    /// each step.
    pub(super) async fn messages(
        &mut self,
        from: &mut AnyConnection,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<u64> {
        let channels: Vec<i64> =
            sqlx::query_scalar("SELECT id FROM channels WHERE guild_id = $1 ORDER BY id")
                .bind(key(self.guild.0))
                .fetch_all(&mut *from)
                .await?;
        let mut copied = 0;
        for channel in channels {
            let channel = ChannelId(super::loaded(channel)?);
            loop {
                let after = self.newest.get(&channel).map_or(0, |id| id.0);
                let rows = sqlx::query(ABOVE)
                    .bind(key(channel.0))
                    .bind(key(after))
                    .bind(i64::try_from(BATCH).unwrap_or(i64::MAX))
                    .fetch_all(&mut *from)
                    .await?;
                let Some(last) = rows.last() else { break };
                let last = from_row(last)?.id;
                let mut write = self.write().await?;
                for row in &rows {
                    let message = from_row(row)?;
                    self.put(write.connection(), &message).await?;
                }
                write.commit().await?;
                self.newest.insert(channel, last);
                copied += rows.len() as u64;
                self.messages += rows.len() as u64;
                progress(self.messages);
            }
        }
        Ok(copied)
    }

    async fn put(&self, to: &mut AnyConnection, message: &Message) -> Result<()> {
        let words = (self.words_of)(message);
        let sql = match self.to.dialect() {
            Dialect::Postgres => {
                "INSERT INTO messages (id, channel_id, guild_id, author_id, content, \
                 created_at_ms, edited_at_ms, words) VALUES ($1, $2, $3, $4, $5, $6, $7, \
                 array_to_tsvector(string_to_array($8, ' ')))"
            }
            Dialect::Sqlite => {
                "INSERT INTO messages (id, channel_id, guild_id, author_id, content, \
                 created_at_ms, edited_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)"
            }
        };
        let query = sqlx::query(sql)
            .bind(stored(message.id.0)?)
            .bind(stored(message.channel_id.0)?)
            .bind(stored(message.guild_id.0)?)
            .bind(stored(message.author.id.0)?)
            .bind(message.content.clone())
            .bind(stored(message.created_at_ms)?)
            .bind(stored(message.edited_at_ms.unwrap_or(0))?);
        match self.to.dialect() {
            Dialect::Postgres => {
                query.bind(words).execute(to).await?;
            }
            Dialect::Sqlite => {
                query.execute(&mut *to).await?;
                put_words(to, Dialect::Sqlite, message.id, &words).await?;
            }
        }
        Ok(())
    }

    async fn remove(&self, to: &mut AnyConnection, id: MessageId) -> Result<()> {
        forget_words(to, self.to.dialect(), id).await?;
        let query = sqlx::query("DELETE FROM messages WHERE id = $1 AND guild_id = $2");
        query.bind(key(id.0)).bind(key(self.guild.0)).execute(to).await?;
        Ok(())
    }

    /// Follows edits and deletions; returns how many, none when the events of some are forgotten.
    pub(super) async fn changes(&mut self, from: &mut AnyConnection) -> Result<Option<u64>> {
        let mut followed = 0;
        loop {
            let rows = sqlx::query(event::AFTER)
                .bind(key(self.guild.0))
                .bind(key(self.sequence))
                .bind(i64::try_from(BATCH).unwrap_or(i64::MAX))
                .fetch_all(&mut *from)
                .await?;
            if rows.is_empty() {
                return Ok(Some(followed));
            }
            let mut write = self.write().await?;
            for row in &rows {
                let published = event::from_row(row)?;
                let Some(position) = published.position else { continue };
                if position.sequence != self.sequence + 1 {
                    return Ok(None);
                }
                self.sequence = position.sequence;
                self.follow(write.connection(), published.event).await?;
                followed += 1;
            }
            write.commit().await?;
        }
    }

    async fn follow(&mut self, to: &mut AnyConnection, event: Event) -> Result<()> {
        match event {
            // One that is not copied yet comes as it is then.
            Event::MessageUpdated(message)
                if self
                    .newest
                    .get(&message.channel_id)
                    .is_some_and(|newest| message.id <= *newest) =>
            {
                self.remove(to, message.id).await?;
                self.put(to, &message).await
            }
            Event::MessageDeleted { message_id, .. } => self.remove(to, message_id).await,
            Event::ChannelDeleted { channel_id, .. } => {
                let ids: Vec<i64> =
                    sqlx::query_scalar("SELECT id FROM messages WHERE channel_id = $1")
                        .bind(key(channel_id.0))
                        .fetch_all(&mut *to)
                        .await?;
                for id in ids {
                    self.remove(to, MessageId(super::loaded(id)?)).await?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
