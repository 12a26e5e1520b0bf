//! Messages, keyed by channel and id; pages before or after an id.

use std::collections::BTreeSet;

use hype_protocol::gateway::{Message, User};
use hype_protocol::id::{ChannelId, GuildId, MessageId, UserId};
use sqlx::Row;
use sqlx::any::AnyRow;

use super::database::Dialect;
use super::guild_write::GuildWrite;
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

/// A message whose author's name is not known yet.
fn from_row(row: &AnyRow) -> Result<Message> {
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
            "SELECT id, channel_id, guild_id, author_id, content, created_at_ms, edited_at_ms \
             FROM messages ",
            $rest
        )
    };
}

impl GuildWrite {
    /// Adds a message, with the words by which it is found (`domain/search.rs`). False when the
    /// channel is not there any more.
    ///
    /// # Errors
    /// [`super::Error::Conflict`] when the id is used.
    pub async fn add_message(&mut self, message: &Message, words: &str) -> Result<bool> {
        let dialect = self.dialect();
        let sql = match dialect {
            Dialect::Postgres => {
                "INSERT INTO messages \
                 (id, channel_id, guild_id, author_id, content, created_at_ms, words) \
                 SELECT $1, id, $3, $4, $5, $6, array_to_tsvector(string_to_array($7, ' ')) \
                 FROM channels WHERE id = $2"
            }
            Dialect::Sqlite => {
                "INSERT INTO messages \
                 (id, channel_id, guild_id, author_id, content, created_at_ms) \
                 SELECT $1, id, $3, $4, $5, $6 FROM channels WHERE id = $2"
            }
        };
        let query = sqlx::query(sql)
            .bind(stored(message.id.0)?)
            .bind(stored(message.channel_id.0)?)
            .bind(stored(message.guild_id.0)?)
            .bind(stored(message.author.id.0)?)
            .bind(&message.content)
            .bind(stored(message.created_at_ms)?);
        let query = match dialect {
            Dialect::Postgres => query.bind(words),
            Dialect::Sqlite => query,
        };
        if query.execute(self.connection()).await?.rows_affected() == 0 {
            return Ok(false);
        }
        if dialect == Dialect::Sqlite {
            sqlx::query("INSERT INTO message_words (rowid, words) VALUES ($1, $2)")
                .bind(stored(message.id.0)?)
                .bind(words)
                .execute(self.connection())
                .await?;
        }
        Ok(true)
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
        let Some(home) = self.home(guild).await? else { return Ok(Vec::new()) };
        let (query, bound) = match page {
            Page::Newest => (
                select_messages!("WHERE channel_id = $1 AND id <= $2 ORDER BY id DESC LIMIT $3"),
                i64::MAX,
            ),
            Page::Before(id) => (
                select_messages!("WHERE channel_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"),
                i64::try_from(id.0).unwrap_or(i64::MAX),
            ),
            Page::After(id) => (
                select_messages!("WHERE channel_id = $1 AND id > $2 ORDER BY id ASC LIMIT $3"),
                i64::try_from(id.0).unwrap_or(i64::MAX),
            ),
        };
        let rows = sqlx::query(query)
            .bind(key(channel.0))
            .bind(bound)
            .bind(i64::from(limit))
            .fetch_all(home.readers())
            .await?;
        let mut found = rows.iter().map(from_row).collect::<Result<Vec<_>>>()?;
        if let Page::After(_) = page {
            found.reverse();
        }
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
