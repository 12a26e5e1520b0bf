//! What a deleted channel or guild left behind, removed bit by bit so that nobody waits for it. The
//! deletion itself writes a row here in its transaction; the row goes last, so whichever replica
//! dies meanwhile, another one goes on.

use hype_protocol::id::{ChannelId, GuildId};
use sqlx::Row;

use super::database::{Database, Dialect};
use super::guild_write::GuildWrite;
use super::{Result, Store, key, loaded};

/// Rows that one statement removes, and people or rows of the list that one look takes.
const BATCH: i64 = 500;

/// What is to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Doomed {
    guild: GuildId,
    /// The channel; none for the whole guild.
    channel: Option<ChannelId>,
}

/// Statements that each remove a batch of what a guild had, run until they remove nothing. `$1` is
/// the guild, `$2` the batch. Its events stay for those who still have to hear of its end.
const OF_GUILD: [&str; 13] = [
    "DELETE FROM read_marks WHERE guild_id = $1 AND user_id IN \
       (SELECT user_id FROM read_marks WHERE guild_id = $1 LIMIT $2)",
    "DELETE FROM member_roles WHERE guild_id = $1 AND user_id IN \
       (SELECT user_id FROM member_roles WHERE guild_id = $1 LIMIT $2)",
    "DELETE FROM members WHERE guild_id = $1 AND user_id IN \
       (SELECT user_id FROM members WHERE guild_id = $1 LIMIT $2)",
    "DELETE FROM overwrites WHERE guild_id = $1 AND channel_id IN \
       (SELECT channel_id FROM overwrites WHERE guild_id = $1 LIMIT $2)",
    "DELETE FROM channels WHERE id IN (SELECT id FROM channels WHERE guild_id = $1 LIMIT $2)",
    "DELETE FROM roles WHERE id IN (SELECT id FROM roles WHERE guild_id = $1 LIMIT $2)",
    "DELETE FROM invites WHERE code IN (SELECT code FROM invites WHERE guild_id = $1 LIMIT $2)",
    "DELETE FROM bans WHERE guild_id = $1 AND user_id IN \
       (SELECT user_id FROM bans WHERE guild_id = $1 LIMIT $2)",
    "DELETE FROM audit_log WHERE id IN \
       (SELECT id FROM audit_log WHERE guild_id = $1 ORDER BY id DESC LIMIT $2)",
    "DELETE FROM voice_stays WHERE session_id IN \
       (SELECT session_id FROM voice_stays WHERE guild_id = $1 LIMIT $2)",
    "DELETE FROM active_days WHERE guild_id = $1 AND day IN \
       (SELECT day FROM active_days WHERE guild_id = $1 LIMIT $2)",
    "DELETE FROM consumed WHERE guild_id = $1 AND consumer IN \
       (SELECT consumer FROM consumed WHERE guild_id = $1 LIMIT $2)",
    "DELETE FROM doomed WHERE guild_id = $1 AND channel_id IN \
       (SELECT channel_id FROM doomed WHERE guild_id = $1 AND channel_id > 0 LIMIT $2)",
];

/// The same of what the directory says about it.
const OF_DIRECTORY: [&str; 4] = [
    "DELETE FROM memberships WHERE guild_id = $1 AND user_id IN \
       (SELECT user_id FROM memberships WHERE guild_id = $1 LIMIT $2)",
    "DELETE FROM channel_directory WHERE channel_id IN \
       (SELECT channel_id FROM channel_directory WHERE guild_id = $1 LIMIT $2)",
    "DELETE FROM invite_directory WHERE code IN \
       (SELECT code FROM invite_directory WHERE guild_id = $1 LIMIT $2)",
    "DELETE FROM guild_directory WHERE guild_id IN \
       (SELECT guild_id FROM guild_directory WHERE guild_id = $1 LIMIT $2)",
];

/// What is to be removed here. What a deleted channel left of a guild that is being copied to this
/// shard, or has moved away from it, is for the shard where the guild lives, and the mover.
const LIST: &str = "SELECT guild_id, channel_id FROM doomed WHERE channel_id = 0 \
     OR EXISTS (SELECT 1 FROM guilds WHERE guilds.id = doomed.guild_id AND guilds.moved_to < 0) \
     ORDER BY channel_id DESC LIMIT $1";

impl GuildWrite {
    /// Deletes the guild: to everybody it is gone. What it had is removed later.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn delete_guild(&mut self) -> Result<()> {
        let guild = self.guild();
        for sql in [
            "DELETE FROM guilds WHERE id = $1",
            "INSERT INTO doomed (guild_id, channel_id) VALUES ($1, 0)",
        ] {
            sqlx::query(sql).bind(key(guild.0)).execute(self.connection()).await?;
        }
        Ok(())
    }
}

impl Store {
    /// Removes all that deleted channels and guilds left behind; returns how many there were.
    /// Several may do it at once.
    ///
    /// # Errors
    /// When a database fails: what is left is for the next time.
    pub async fn remove_doomed(&self) -> Result<u64> {
        let mut removed = 0;
        for shard in self.shards() {
            loop {
                let found = list(shard).await?;
                if found.is_empty() {
                    break;
                }
                for doomed in found {
                    self.remove(shard, doomed).await?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    async fn remove(&self, shard: &Database, doomed: Doomed) -> Result<()> {
        let Doomed { guild, channel } = doomed;
        match channel {
            Some(channel) => {
                while remove_messages(shard, channel).await? {}
                remove_read_marks(shard, guild, channel).await?;
                self.undirect_channel(channel).await?;
            }
            None => {
                // All shards: a move that was interrupted may have left a copy in another one.
                for each in self.shards() {
                    clear(each, guild).await?;
                }
                for sql in OF_DIRECTORY {
                    repeat(self.accounts(), sql, guild).await?;
                }
                self.forget_home(guild);
            }
        }
        let query = sqlx::query("DELETE FROM doomed WHERE guild_id = $1 AND channel_id = $2");
        let id = channel.map_or(0, |channel| channel.0);
        shard.execute(query.bind(key(guild.0)).bind(key(id))).await?;
        Ok(())
    }
}

/// Removes all that a shard has of a guild, but its events and that it is doomed itself.
pub(super) async fn clear(shard: &Database, guild: GuildId) -> Result<()> {
    while let Some(channel) = channel_with_messages(shard, guild).await? {
        while remove_messages(shard, channel).await? {}
    }
    for sql in OF_GUILD {
        repeat(shard, sql, guild).await?;
    }
    shard.execute(sqlx::query("DELETE FROM guilds WHERE id = $1").bind(key(guild.0))).await?;
    Ok(())
}

async fn list(shard: &Database) -> Result<Vec<Doomed>> {
    let rows = sqlx::query(LIST).bind(BATCH).fetch_all(shard.readers()).await?;
    rows.iter()
        .map(|row| {
            let channel = loaded(row.try_get("channel_id")?)?;
            Ok(Doomed {
                guild: GuildId(loaded(row.try_get("guild_id")?)?),
                channel: (channel != 0).then_some(ChannelId(channel)),
            })
        })
        .collect()
}

async fn repeat(database: &Database, sql: &'static str, guild: GuildId) -> Result<()> {
    while database.execute(sqlx::query(sql).bind(key(guild.0)).bind(BATCH)).await? > 0 {}
    Ok(())
}

/// A channel of a guild that has messages; it may be deleted itself.
async fn channel_with_messages(shard: &Database, guild: GuildId) -> Result<Option<ChannelId>> {
    let channel: Option<i64> = sqlx::query_scalar(
        "SELECT id FROM (SELECT channels.id FROM channels WHERE channels.guild_id = $1 \
           UNION ALL SELECT doomed.channel_id FROM doomed WHERE doomed.guild_id = $1) AS found \
         WHERE (SELECT COUNT(*) FROM (SELECT 1 FROM messages \
            WHERE messages.channel_id = found.id LIMIT 1) AS few) > 0 LIMIT 1",
    )
    .bind(key(guild.0))
    .fetch_optional(shard.readers())
    .await?;
    channel.map(|id| loaded(id).map(ChannelId)).transpose()
}

/// Removes some of a channel's messages, with their words; false when there are none.
pub(super) async fn remove_messages(shard: &Database, channel: ChannelId) -> Result<bool> {
    let mut write = shard.write().await?;
    if shard.dialect() == Dialect::Sqlite {
        let sql = "DELETE FROM message_words WHERE rowid IN \
             (SELECT id FROM messages WHERE channel_id = $1 ORDER BY id DESC LIMIT $2)";
        let query = sqlx::query(sql).bind(key(channel.0)).bind(BATCH);
        query.execute(write.connection()).await?;
    }
    let sql = "DELETE FROM messages WHERE id IN \
         (SELECT id FROM messages WHERE channel_id = $1 ORDER BY id DESC LIMIT $2)";
    let query = sqlx::query(sql).bind(key(channel.0)).bind(BATCH);
    let done = query.execute(write.connection()).await?;
    write.commit().await?;
    Ok(done.rows_affected() > 0)
}

/// Removes the read marks of a channel, member by member: they are kept by person.
async fn remove_read_marks(shard: &Database, guild: GuildId, channel: ChannelId) -> Result<()> {
    let mut after = 0;
    loop {
        let last: Option<i64> = sqlx::query_scalar(
            "SELECT MAX(user_id) FROM (SELECT user_id FROM members \
               WHERE guild_id = $1 AND user_id > $2 ORDER BY user_id LIMIT $3) AS few",
        )
        .bind(key(guild.0))
        .bind(after)
        .bind(BATCH)
        .fetch_one(shard.readers())
        .await?;
        let Some(last) = last else { return Ok(()) };
        let query = sqlx::query(
            "DELETE FROM read_marks WHERE channel_id = $1 AND user_id IN \
               (SELECT user_id FROM members \
                WHERE guild_id = $2 AND user_id > $3 AND user_id <= $4)",
        );
        let query = query.bind(key(channel.0)).bind(key(guild.0)).bind(after).bind(last);
        shard.execute(query).await?;
        after = last;
    }
}
