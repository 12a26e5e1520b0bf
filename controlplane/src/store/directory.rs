//! What is where: in which shard a guild lives, to which guild a channel or an invite belongs, and of
//! which guilds somebody is a member. It stands beside the accounts and follows the shards: a row is
//! written before what it tells of and removed after it, so a crash between two databases leaves a
//! row too many, never one too few. Whoever follows such a row finds nothing and removes it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use hype_protocol::id::{ChannelId, GuildId, UserId};
use sqlx::Row;

use super::database::Database;
use super::{Error, Result, Store, key, loaded, stored};

/// For how long a process goes by what it read of where a guild lives. Who moves one waits for
/// longer than this before it moves, and has all processes look at each use until it is there.
pub(super) const REMEMBERED: Duration = Duration::from_secs(3);
/// Where a guild lives.
pub const HOME: &str = "SELECT shard, moving FROM guild_directory WHERE guild_id = $1";
/// Of which guild a channel is.
pub const GUILD_OF_CHANNEL: &str = "SELECT guild_id FROM channel_directory WHERE channel_id = $1";
/// Of which guilds somebody is a member.
pub const GUILDS_OF: &str = "SELECT guild_id FROM memberships WHERE user_id = $1 ORDER BY guild_id";
/// Entries of one cache; a full one starts anew.
const CACHED: usize = 200_000;

/// What this process remembers of the directory: nothing in it ever changes but a guild's shard.
#[derive(Debug, Default)]
pub(super) struct Directory {
    guilds: Cache<GuildId, (usize, Instant)>,
    channels: Cache<ChannelId, GuildId>,
}

#[derive(Debug)]
struct Cache<K, V>(RwLock<HashMap<K, V>>);

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Eq + Hash, V: Copy> Cache<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    fn put(&self, key: K, value: V) {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= CACHED {
            map.clear();
        }
        map.insert(key, value);
    }

    fn forget(&self, key: &K) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

impl Store {
    /// The shard in which a guild lives; none when there is no such guild.
    ///
    /// # Errors
    /// When the database fails, or the configuration lacks the shard.
    pub(super) async fn home(&self, guild: GuildId) -> Result<Option<&Database>> {
        Ok(self.shard_number(guild).await?.map(|number| &self.shards[number]))
    }

    /// The number of that shard.
    ///
    /// # Errors
    /// As [`Self::home`].
    pub async fn shard_number(&self, guild: GuildId) -> Result<Option<usize>> {
        if let Some((number, read)) = self.directory.guilds.get(&guild)
            && read.elapsed() < REMEMBERED
        {
            return Ok(Some(number));
        }
        let read = Instant::now();
        let Some((number, moving)) = self.directed(guild).await? else { return Ok(None) };
        if !moving {
            self.directory.guilds.put(guild, (number, read));
            return Ok(Some(number));
        }
        // It may have moved already: the directory follows, and not at all when the mover has died.
        let moved_to: Option<i64> = sqlx::query_scalar("SELECT moved_to FROM guilds WHERE id = $1")
            .bind(key(guild.0))
            .fetch_optional(self.shards[number].readers())
            .await?;
        match moved_to {
            Some(shard) if shard >= 0 => Ok(Some(self.known_shard(shard)?)),
            Some(_) | None => Ok(Some(number)),
        }
    }

    /// What the directory itself says of where a guild lives, and whether somebody moves it.
    pub(super) async fn directed(&self, guild: GuildId) -> Result<Option<(usize, bool)>> {
        let row =
            sqlx::query(HOME).bind(key(guild.0)).fetch_optional(self.accounts.readers()).await?;
        let Some(row) = row else { return Ok(None) };
        let number = self.known_shard(row.try_get("shard")?)?;
        Ok(Some((number, row.try_get::<i64, _>("moving")? != 0)))
    }

    fn known_shard(&self, stored: i64) -> Result<usize> {
        usize::try_from(stored).ok().filter(|number| *number < self.shards.len()).ok_or_else(|| {
            let text = format!("shard {stored} is not in the configuration: list all of them");
            Error::Broken(text.into())
        })
    }

    /// The guild told that it lives elsewhere: remembers it.
    pub(super) fn moved(&self, guild: GuildId, shard: i64) -> Result<()> {
        let number = self.known_shard(shard)?;
        self.directory.guilds.put(guild, (number, Instant::now()));
        Ok(())
    }

    /// Forgets where a guild lives: the next look-up asks the directory.
    pub fn forget_home(&self, guild: GuildId) {
        self.directory.guilds.forget(&guild);
    }

    /// How many guilds each shard has.
    ///
    /// # Errors
    /// When the database fails, or the configuration lacks a shard.
    pub async fn guilds_by_shard(&self) -> Result<Vec<u64>> {
        let rows =
            sqlx::query("SELECT shard, COUNT(*) AS guilds FROM guild_directory GROUP BY shard")
                .fetch_all(self.accounts.readers())
                .await?;
        let mut counts = vec![0; self.shards.len()];
        for row in &rows {
            counts[self.known_shard(row.try_get("shard")?)?] = loaded(row.try_get("guilds")?)?;
        }
        Ok(counts)
    }

    /// The shard for a new guild: by its id, evenly.
    pub(super) fn shard_for(&self, guild: GuildId) -> usize {
        // The low bits of an id are a counter that is mostly 0.
        let mixed = guild.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        usize::try_from(mixed).unwrap_or(0) % self.shards.len()
    }

    /// The guild of a channel; none when there is no such channel.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn guild_of_channel(&self, channel: ChannelId) -> Result<Option<GuildId>> {
        if let Some(guild) = self.directory.channels.get(&channel) {
            return Ok(Some(guild));
        }
        let row = sqlx::query_scalar::<_, i64>(GUILD_OF_CHANNEL)
            .bind(key(channel.0))
            .fetch_optional(self.accounts.readers())
            .await?;
        let Some(row) = row else { return Ok(None) };
        let guild = GuildId(loaded(row)?);
        self.directory.channels.put(channel, guild);
        Ok(Some(guild))
    }

    /// Adds channels to the directory, before they are added to their guild.
    ///
    /// # Errors
    /// [`Error::Conflict`] when an id is used.
    pub(super) async fn direct_channels(
        &self,
        guild: GuildId,
        channels: &[ChannelId],
    ) -> Result<()> {
        for channel in channels {
            let query =
                sqlx::query("INSERT INTO channel_directory (channel_id, guild_id) VALUES ($1, $2)");
            let query = query.bind(stored(channel.0)?).bind(stored(guild.0)?);
            self.accounts.execute(query).await?;
        }
        Ok(())
    }

    /// Removes a channel from the directory, after it is gone from its guild.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn undirect_channel(&self, channel: ChannelId) -> Result<()> {
        let query = sqlx::query("DELETE FROM channel_directory WHERE channel_id = $1");
        self.accounts.execute(query.bind(key(channel.0))).await?;
        self.directory.channels.forget(&channel);
        Ok(())
    }

    /// The guilds that somebody is a member of, the oldest first. A crash may have left one in
    /// which he is no member.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn guilds_of(&self, user: UserId) -> Result<Vec<GuildId>> {
        let rows =
            sqlx::query(GUILDS_OF).bind(key(user.0)).fetch_all(self.accounts.readers()).await?;
        rows.iter().map(|row| Ok(GuildId(loaded(row.try_get("guild_id")?)?))).collect()
    }

    /// Notes that somebody becomes a member, before the guild does; false when he is in `quota`
    /// guilds already.
    ///
    /// # Errors
    /// [`Error::Conflict`] when there is no such person.
    pub(super) async fn note_membership(
        &self,
        user: UserId,
        guild: GuildId,
        quota: u32,
    ) -> Result<bool> {
        let mut write = self.accounts.write().await?;
        // Nothing changes, but it locks: of two that join at once one sees the other.
        let locked = sqlx::query("UPDATE users SET created_at_ms = created_at_ms WHERE id = $1")
            .bind(key(user.0))
            .execute(write.connection())
            .await?;
        if locked.rows_affected() == 0 {
            return Err(Error::Conflict);
        }
        let count: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM memberships WHERE user_id = $1 AND guild_id <> $2",
        )
        .bind(key(user.0))
        .bind(key(guild.0))
        .fetch_one(write.connection())
        .await?;
        if count >= i64::from(quota) {
            return Ok(false);
        }
        sqlx::query(
            "INSERT INTO memberships (user_id, guild_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        )
        .bind(stored(user.0)?)
        .bind(stored(guild.0)?)
        .execute(write.connection())
        .await?;
        write.commit().await?;
        Ok(true)
    }

    /// Forgets a membership, after the guild did, or because it never was.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn forget_membership(&self, user: UserId, guild: GuildId) -> Result<()> {
        let query = sqlx::query("DELETE FROM memberships WHERE user_id = $1 AND guild_id = $2");
        self.accounts.execute(query.bind(key(user.0)).bind(key(guild.0))).await?;
        Ok(())
    }

    /// Notes where a new guild will live.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the id is used.
    pub(super) async fn direct_guild(&self, guild: GuildId, shard: usize) -> Result<()> {
        let query = sqlx::query("INSERT INTO guild_directory (guild_id, shard) VALUES ($1, $2)");
        let shard = i64::try_from(shard).map_err(|error| Error::Broken(error.into()))?;
        self.accounts.execute(query.bind(stored(guild.0)?).bind(shard)).await?;
        Ok(())
    }
}
