//! A change of one guild: a transaction under the lock of the guild's row, which numbers its events
//! and mints its ids. So a guild's events have an order that all agree on, and its ids grow in it.

use hype_protocol::gateway::{Event, Position};
use hype_protocol::id::GuildId;
use sqlx::{AnyConnection, Row};

use super::database::Dialect;
use super::snowflake::{Snowflakes, unix_ms};
use super::write::Write;
use super::{Result, Store, event, key, loaded, stored};
use crate::event::Audience;

/// How often a change follows a guild that moves meanwhile.
pub(super) const MOVES: usize = 4;

/// The change. Dropped without [`Self::commit`] it never was.
#[derive(Debug)]
pub struct GuildWrite {
    store: Store,
    write: Write,
    guild: GuildId,
    /// The last number that was given to an event.
    sequence: u64,
    last_id: u64,
    dirty: bool,
}

impl Store {
    /// Begins a change of a guild: from now on it waits for nobody, and all others for it. None
    /// when there is no such guild.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn write_guild(&self, guild: GuildId) -> Result<Option<GuildWrite>> {
        for _ in 0..MOVES {
            let Some(home) = self.home(guild).await? else { return Ok(None) };
            let mut write = home.write().await?;
            // Nothing changes yet, but the row is locked.
            let row = sqlx::query(
                "UPDATE guilds SET sequence = sequence WHERE id = $1 \
                 RETURNING sequence, last_id, moved_to",
            )
            .bind(key(guild.0))
            .fetch_optional(write.connection())
            .await?;
            let Some(row) = row else {
                // Moved and cleared away, or deleted: the directory knows.
                drop(write);
                self.forget_home(guild);
                if self.home(guild).await?.is_none() {
                    return Ok(None);
                }
                continue;
            };
            let moved_to: i64 = row.try_get("moved_to")?;
            if moved_to >= 0 {
                self.moved(guild, moved_to)?;
                continue;
            }
            return Ok(Some(GuildWrite {
                store: self.clone(),
                write,
                guild,
                sequence: loaded(row.try_get("sequence")?)?,
                last_id: loaded(row.try_get("last_id")?)?,
                dirty: false,
            }));
        }
        Ok(None)
    }
}

impl GuildWrite {
    /// Which guild.
    pub fn guild(&self) -> GuildId {
        self.guild
    }

    /// Which SQL its database speaks.
    pub fn dialect(&self) -> Dialect {
        match self.write {
            Write::Postgres(_) => Dialect::Postgres,
            Write::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// What statements of this change run on.
    pub fn connection(&mut self) -> &mut AnyConnection {
        self.write.connection()
    }

    /// A new id that is above all that this guild has: waits for a clock that is a little behind
    /// another replica's.
    ///
    /// # Errors
    /// When no ids can be made now.
    pub async fn id(&mut self, ids: &Snowflakes) -> Result<u64> {
        let id = ids.next_after(self.last_id).await;
        self.last_id = id?;
        self.dirty = true;
        Ok(self.last_id)
    }

    /// Adds an event that tells of this change.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn tell(&mut self, audience: &Audience, event: &Event) -> Result<()> {
        self.sequence += 1;
        self.dirty = true;
        let position = Position { guild_id: self.guild, sequence: self.sequence };
        event::insert(self.write.connection(), position, audience, event, unix_ms()).await
    }

    /// Makes the change last, with its events.
    ///
    /// # Errors
    /// When the database fails: it may or may not have happened.
    pub async fn commit(mut self) -> Result<()> {
        if self.dirty {
            sqlx::query("UPDATE guilds SET sequence = $1, last_id = $2 WHERE id = $3")
                .bind(stored(self.sequence)?)
                .bind(stored(self.last_id)?)
                .bind(key(self.guild.0))
                .execute(self.write.connection())
                .await?;
        }
        self.write.commit().await?;
        self.store.announce_written();
        Ok(())
    }
}
