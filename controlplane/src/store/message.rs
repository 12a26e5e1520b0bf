//! Messages, keyed by channel and id; pages before, after or around an id.

use std::collections::BTreeSet;

use hype_protocol::gateway::{Message, User};
use hype_protocol::id::{ChannelId, GuildId, MessageId, UserId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::database::{Database, Dialect};
use super::guild_write::GuildWrite;
use super::idempotency::KEPT_MS;
use super::{Result, Store, key, loaded, snowflake, stored};

/// Which messages of a channel to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The newest.
    Newest,
    /// Those right before this one.
    Before(MessageId),
    /// Those right after this one.
    After(MessageId),
    /// This one, and as many newer as older ones, or one fewer.
    Around(MessageId),
}

/// A message whose author's name is not known yet.
pub(super) fn from_row(row: &AnyRow) -> Result<Message> {
    let edited_at_ms = loaded(row.try_get("edited_at_ms")?)?;
    Ok(Message {
        id: MessageId(loaded(row.try_get("id")?)?),
        channel_id: ChannelId(loaded(row.try_get("channel_id")?)?),
        guild_id: GuildId(loaded(row.try_get("guild_id")?)?),
        author: User { id: UserId(loaded(row.try_get("author_id")?)?), name: String::new() },
        content: row.try_get("content")?,
        created_at_ms: loaded(row.try_get("created_at_ms")?)?,
        edited_at_ms: (edited_at_ms != 0).then_some(edited_at_ms),
    })
}

/// Columns as [`from_row`] wants them.
macro_rules! select_messages {
    ($rest:literal) => {
        concat!(
            "SELECT messages.id, channel_id, guild_id, author_id, content, created_at_ms, \
             edited_at_ms FROM messages ",
            $rest
        )
    };
}
pub(super) use select_messages;

/// Of a channel, up to an id, the newest first.
pub const UP_TO: &str = select_messages!(
    "WHERE channel_id = $1 AND messages.id <= $2 \
     ORDER BY messages.id DESC LIMIT $3"
);
/// Of a channel, above an id, the oldest first.
pub const ABOVE: &str = select_messages!(
    "WHERE channel_id = $1 AND messages.id > $2 \
     ORDER BY messages.id LIMIT $3"
);
const ONE: &str = select_messages!("WHERE messages.id = $1 AND channel_id = $2");

/// Of a channel, above an id, by its author and the key that it was sent under.
pub const SENT_UNDER: &str = select_messages!(
    "WHERE channel_id = $1 AND messages.id >= $2 AND author_id = $3 AND sent_under = $4"
);

/// Notes the words by which a message is found, in place of others.
pub(super) async fn put_words(
    connection: &mut AnyConnection,
    dialect: Dialect,
    message: MessageId,
    words: &str,
) -> Result<()> {
    let id = stored(message.0)?;
    match dialect {
        Dialect::Postgres => {
            sqlx::query(
                "UPDATE messages SET words = array_to_tsvector(string_to_array($1, ' ')) \
                 WHERE id = $2",
            )
            .bind(words)
            .bind(id)
            .execute(connection)
            .await?;
        }
        Dialect::Sqlite => {
            forget_words(connection, dialect, message).await?;
            sqlx::query("INSERT INTO message_words (rowid, words) VALUES ($1, $2)")
                .bind(id)
                .bind(words)
                .execute(connection)
                .await?;
        }
    }
    Ok(())
}

/// Forgets them, before or after the message itself.
pub(super) async fn forget_words(
    connection: &mut AnyConnection,
    dialect: Dialect,
    message: MessageId,
) -> Result<()> {
    // PostgreSQL has them in the message's row.
    if dialect == Dialect::Sqlite {
        let query = sqlx::query("DELETE FROM message_words WHERE rowid = $1");
        query.bind(key(message.0)).execute(connection).await?;
    }
    Ok(())
}

impl GuildWrite {
    /// Adds a message, with the words by which it is found (`domain/search.rs`) and the idempotency
    /// key that it is sent under, if any. False when the channel is not there any more.
    ///
    /// # Errors
    /// [`super::Error::Conflict`] when the id is used.
    pub async fn add_message(
        &mut self,
        message: &Message,
        words: &str,
        sent_under: &str,
    ) -> Result<bool> {
        let query =
            sqlx::query("UPDATE channels SET last_message_id = $1 WHERE id = $2 AND guild_id = $3")
                .bind(stored(message.id.0)?)
                .bind(key(message.channel_id.0))
                .bind(key(message.guild_id.0));
        if query.execute(self.connection()).await?.rows_affected() == 0 {
            return Ok(false);
        }
        let dialect = self.dialect();
        let sql = match dialect {
            Dialect::Postgres => {
                "INSERT INTO messages \
                 (id, channel_id, guild_id, author_id, content, created_at_ms, sent_under, words) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, array_to_tsvector(string_to_array($8, ' ')))"
            }
            Dialect::Sqlite => {
                "INSERT INTO messages \
                 (id, channel_id, guild_id, author_id, content, created_at_ms, sent_under) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7)"
            }
        };
        let query = sqlx::query(sql)
            .bind(stored(message.id.0)?)
            .bind(stored(message.channel_id.0)?)
            .bind(stored(message.guild_id.0)?)
            .bind(stored(message.author.id.0)?)
            .bind(&message.content)
            .bind(stored(message.created_at_ms)?)
            .bind(sent_under);
        let query = match dialect {
            Dialect::Postgres => query.bind(words),
            Dialect::Sqlite => query,
        };
        query.execute(self.connection()).await?;
        if dialect == Dialect::Sqlite {
            put_words(self.connection(), dialect, message.id, words).await?;
        }
        Ok(true)
    }

    /// What somebody sent in a channel under an idempotency key that still counts, without its
    /// author's name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message_sent_under(
        &mut self,
        channel: ChannelId,
        author: UserId,
        sent_under: &str,
    ) -> Result<Option<Message>> {
        // Rarely asked for: the messages of a day are looked through, without an index of keys.
        let oldest = snowflake::first_at_ms(snowflake::unix_ms().saturating_sub(KEPT_MS));
        let row = sqlx::query(SENT_UNDER)
            .bind(key(channel.0))
            .bind(key(oldest))
            .bind(key(author.0))
            .bind(sent_under)
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// A message of a channel as it is now, without its author's name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn message(
        &mut self,
        channel: ChannelId,
        message: MessageId,
    ) -> Result<Option<Message>> {
        let row = sqlx::query(ONE)
            .bind(key(message.0))
            .bind(key(channel.0))
            .fetch_optional(self.connection())
            .await?;
        row.as_ref().map(from_row).transpose()
    }

    /// Writes a message's content and the time of its edit, with the words by which it is found.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn edit_message(&mut self, message: &Message, words: &str) -> Result<()> {
        sqlx::query("UPDATE messages SET content = $1, edited_at_ms = $2 WHERE id = $3")
            .bind(&message.content)
            .bind(stored(message.edited_at_ms.unwrap_or(0))?)
            .bind(key(message.id.0))
            .execute(self.connection())
            .await?;
        let dialect = self.dialect();
        put_words(self.connection(), dialect, message.id, words).await
    }

    /// Deletes a message.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_message(&mut self, message: MessageId) -> Result<()> {
        let dialect = self.dialect();
        forget_words(self.connection(), dialect, message).await?;
        let channel: Option<i64> =
            sqlx::query_scalar("DELETE FROM messages WHERE id = $1 RETURNING channel_id")
                .bind(key(message.0))
                .fetch_optional(self.connection())
                .await?;
        // The one before it is the newest now.
        sqlx::query(
            "UPDATE channels SET last_message_id = \
               COALESCE((SELECT MAX(id) FROM messages WHERE channel_id = $1), 0) \
             WHERE id = $1 AND last_message_id = $2",
        )
        .bind(channel.unwrap_or(0))
        .bind(key(message.0))
        .execute(self.connection())
        .await?;
        Ok(())
    }
}

/// Rows of one direction from an id on, in the order of the statement.
struct Side {
    channel: ChannelId,
    sql: &'static str,
    id: i64,
    limit: u32,
}

impl Side {
    async fn load(&self, home: &Database) -> Result<Vec<Message>> {
        if self.limit == 0 {
            return Ok(Vec::new());
        }
        let rows = sqlx::query(self.sql)
            .bind(key(self.channel.0))
            .bind(self.id)
            .bind(i64::from(self.limit))
            .fetch_all(home.readers())
            .await?;
        rows.iter().map(from_row).collect()
    }
}

impl Store {
    /// At most `limit` messages of a channel, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn messages(
        &self,
        channel: ChannelId,
        page: Page,
        limit: u32,
    ) -> Result<Vec<Message>> {
        let Some(guild) = self.guild_of_channel(channel).await? else { return Ok(Vec::new()) };
        let number = |id: MessageId| i64::try_from(id.0).unwrap_or(i64::MAX);
        let side = |sql, id, limit| Side { channel, sql, id, limit };
        let newer = |id, limit| side(ABOVE, number(id), limit);
        let none = side(ABOVE, 0, 0);
        let (newer, older) = match page {
            Page::Newest => (none, side(UP_TO, i64::MAX, limit)),
            Page::Before(id) => (none, side(UP_TO, number(id) - 1, limit)),
            Page::After(id) => (newer(id, limit), side(UP_TO, 0, 0)),
            Page::Around(id) => (newer(id, limit / 2), side(UP_TO, number(id), limit - limit / 2)),
        };
        let Some(home) = self.home(guild).await? else { return Ok(Vec::new()) };
        let mut found = newer.load(home).await?;
        found.reverse();
        found.extend(older.load(home).await?);
        self.name_authors(&mut found).await?;
        Ok(found)
    }

    /// Authors live with the accounts, which may be another database: so they are looked up, not
    /// joined.
    pub(super) async fn name_authors(&self, messages: &mut [Message]) -> Result<()> {
        let authors: BTreeSet<UserId> = messages.iter().map(|message| message.author.id).collect();
        let authors: Vec<UserId> = authors.into_iter().collect();
        let names = self.names(&authors).await?;
        for message in messages {
            if let Some(name) = names.get(&message.author.id) {
                message.author.name.clone_from(name);
            }
        }
        Ok(())
    }
}
