//! Messages, keyed by channel and id; pages before or after an id.

use std::collections::{BTreeSet, HashMap};

use hype_protocol::gateway::{Message, User};
use hype_protocol::id::{ChannelId, GuildId, MessageId, UserId};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Result, Store, key, loaded, stored};

/// Which messages of a channel to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The newest.
    Newest,
    /// Those right before this one.
    Before(MessageId),
    /// Those right after this one.
    After(MessageId),
}

struct Stored {
    id: MessageId,
    guild: GuildId,
    author: UserId,
    content: String,
    created_at_ms: u64,
}

fn from_row(row: &SqliteRow) -> Result<Stored> {
    Ok(Stored {
        id: MessageId(loaded(row.try_get("id")?)?),
        guild: GuildId(loaded(row.try_get("guild_id")?)?),
        author: UserId(loaded(row.try_get("author_id")?)?),
        content: row.try_get("content")?,
        created_at_ms: loaded(row.try_get("created_at_ms")?)?,
    })
}

impl Store {
    /// Adds a message.
    ///
    /// # Errors
    /// [`super::Error::Conflict`] when the id is used or the channel is not there.
    pub async fn create_message(&self, message: &Message) -> Result<()> {
        sqlx::query(
            "INSERT INTO messages (id, channel_id, guild_id, author_id, content, created_at_ms) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(stored(message.id.0)?)
        .bind(stored(message.channel_id.0)?)
        .bind(stored(message.guild_id.0)?)
        .bind(stored(message.author.id.0)?)
        .bind(&message.content)
        .bind(stored(message.created_at_ms)?)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

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
        let (query, bound) = match page {
            Page::Newest => (
                "SELECT id, guild_id, author_id, content, created_at_ms FROM messages \
                 WHERE channel_id = $1 AND id <= $2 ORDER BY id DESC LIMIT $3",
                i64::MAX,
            ),
            Page::Before(id) => (
                "SELECT id, guild_id, author_id, content, created_at_ms FROM messages \
                 WHERE channel_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3",
                i64::try_from(id.0).unwrap_or(i64::MAX),
            ),
            Page::After(id) => (
                "SELECT id, guild_id, author_id, content, created_at_ms FROM messages \
                 WHERE channel_id = $1 AND id > $2 ORDER BY id ASC LIMIT $3",
                i64::try_from(id.0).unwrap_or(i64::MAX),
            ),
        };
        let rows = sqlx::query(query)
            .bind(key(channel.0))
            .bind(bound)
            .bind(i64::from(limit))
            .fetch_all(&self.readers)
            .await?;
        let mut found = rows.iter().map(from_row).collect::<Result<Vec<_>>>()?;
        if let Page::After(_) = page {
            found.reverse();
        }
        // Authors live in the accounts database, which is another one than a shard's messages:
        // so they are looked up, not joined.
        let authors: BTreeSet<UserId> = found.iter().map(|message| message.author).collect();
        let authors: Vec<UserId> = authors.into_iter().collect();
        let names: HashMap<UserId, String> =
            self.users(&authors).await?.into_iter().map(|user| (user.id, user.name)).collect();
        Ok(found
            .into_iter()
            .map(|message| Message {
                id: message.id,
                channel_id: channel,
                guild_id: message.guild,
                author: User {
                    id: message.author,
                    name: names.get(&message.author).cloned().unwrap_or_default(),
                },
                content: message.content,
                created_at_ms: message.created_at_ms,
            })
            .collect())
    }
}
