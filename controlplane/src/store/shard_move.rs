//! Moves a guild to another shard while people write in it. The source holds the truth until the
//! guild's row there says where it went; that one commit is the move. Whatever dies before or after
//! it, the same command again finishes the work:
//!
//! | step | what is true after it |
//! |---|---|
//! | announced | no process remembers where the guild lives: each looks into the directory |
//! | copied | the target has nearly all; nobody reads it |
//! | caught up | under the guild's lock: the target has all |
//! | moved | the source's row names the target; whoever comes to the source follows it |
//! | directed | the directory names the target |
//! | cleared | the source has nothing of the guild; processes remember again |
//!
//! Of two moves of one guild the later one goes on (`store/shard_claim.rs`).

use hype_protocol::gateway::Message;
use hype_protocol::id::{ChannelId, GuildId};
use sqlx::Row;

use super::database::{Database, Dialect};
use super::directory::REMEMBERED;
use super::shard_claim::{Claim, Holder};
use super::shard_copy::Copy;
use super::write::Write;
use super::{Error, Result, Store, doomed, key, loaded, stored};

/// How far behind the copy may be when the guild's lock is taken, in rows.
const CLOSE: u64 = 200;
/// How often a database is waited for, beyond the first time.
const TRIES: usize = 15;
/// Looks without the lock, at most: in a guild that is written in all the time each finds something.
const LOOKS: usize = 10;

/// What a move has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All processes know that the guild moves.
    Announced,
    /// So many messages are in the target.
    Copied(u64),
    /// All rows are, while nobody can change any.
    CaughtUp,
    /// The guild lives in the target.
    Moved,
    /// The directory says so.
    Directed,
    /// The source has nothing of it any more.
    Cleared,
}

/// Why a guild was not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// The shard is not in the configuration.
    #[error("there is no shard {0}: the configuration has shards 0 to {1}")]
    NoShard(usize, usize),
    /// There is no such guild.
    #[error("there is no guild {0}")]
    NoGuild(GuildId),
    /// Both shards are one database.
    #[error("shard {0} and shard {1} are one database: there is nothing to move")]
    OneDatabase(usize, usize),
    /// It has moved, but to another shard, and that move was not finished.
    #[error("the guild is on its way to shard {0}: move it there first")]
    OnItsWay(usize),
    /// Another move of the guild has begun.
    #[error("another process moves the guild now; this one has stopped")]
    Overtaken,
    /// Events were forgotten before the copy could follow them.
    #[error("the guild changes faster than it is copied; try again when it is calmer")]
    LeftBehind,
    /// Whoever watches the move ended it.
    #[error("stopped; the same command goes on with it")]
    Stopped,
    /// A database failed. The guild is where it was, or moved; the same command again finishes it.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Where a guild stands between two shards.
struct Move<'a> {
    store: &'a Store,
    guild: GuildId,
    target: usize,
    claim: &'a Claim<'a>,
    watch: &'a mut (dyn FnMut(Step) -> bool + Send),
}

impl Store {
    /// Moves a guild to a shard, or finishes a move that was interrupted. `watch` hears of each step
    /// and ends the move by false. `words_of` makes the words by which messages are found.
    ///
    /// # Errors
    /// When the guild or the shard does not exist, or a database fails.
    pub async fn move_guild(
        &self,
        guild: GuildId,
        target: usize,
        words_of: fn(&Message) -> String,
        watch: &mut (dyn FnMut(Step) -> bool + Send),
    ) -> std::result::Result<(), MoveError> {
        let shards = self.shards().len();
        if target >= shards {
            return Err(MoveError::NoShard(target, shards - 1));
        }
        if self.directed(guild).await?.is_none() {
            return Err(MoveError::NoGuild(guild));
        }
        let claim = Claim::take(self, guild).await?;
        let mut moving = Move { store: self, guild, target, claim: &claim, watch };
        let Err(error) = moving.run(words_of).await else { return Ok(()) };
        match (error, claim.holder().await) {
            (MoveError::Store(Error::Conflict), Ok(Holder::Another)) => Err(MoveError::Overtaken),
            (MoveError::Store(Error::Conflict) | MoveError::NoGuild(_), Ok(Holder::NoGuild)) => {
                // It was deleted meanwhile, and whoever removed what it had knew of no copy.
                doomed::clear(&self.shards()[target], guild).await?;
                Err(MoveError::NoGuild(guild))
            }
            (error, _) => Err(error),
        }
    }
}

/// Begins to write. A SQLite file that people write into all the time is rarely free, and whoever
/// waits for it from another process has no place in a queue: so tries for longer than they do.
async fn lock(database: &Database) -> Result<Write> {
    for _ in 0..TRIES {
        match database.write().await {
            Err(Error::Unavailable(_)) => {}
            outcome => return outcome,
        }
    }
    database.write().await
}

/// Does one statement about numbers, as patiently; returns how many rows it touched.
pub(super) async fn execute(
    database: &Database,
    sql: &'static str,
    numbers: &[i64],
) -> Result<u64> {
    let mut write = lock(database).await?;
    let query = numbers.iter().fold(sqlx::query(sql), |query, number| query.bind(*number));
    let done = query.execute(write.connection()).await?;
    write.commit().await?;
    Ok(done.rows_affected())
}

/// Takes the lock of a guild's row, with the shard to which the row sends whoever comes. None when
/// there is no row.
async fn lock_guild(shard: &Database, guild: GuildId) -> Result<Option<(Write, Option<usize>)>> {
    let mut lock = lock(shard).await?;
    let sql = match shard.dialect() {
        // Not only against changes: marks of what was read take a weaker lock of the row.
        Dialect::Postgres => "SELECT moved_to FROM guilds WHERE id = $1 FOR UPDATE",
        Dialect::Sqlite => "SELECT moved_to FROM guilds WHERE id = $1",
    };
    let row: Option<i64> =
        sqlx::query_scalar(sql).bind(key(guild.0)).fetch_optional(lock.connection()).await?;
    Ok(row.map(|moved_to| (lock, usize::try_from(moved_to).ok())))
}

/// Removes all that a shard has of a guild.
async fn clear(store: &Store, shard: &Database, guild: GuildId) -> Result<()> {
    // By the directory, too: a copy that was interrupted may have messages of a new channel without
    // the channel.
    let channels: Vec<i64> =
        sqlx::query_scalar("SELECT channel_id FROM channel_directory WHERE guild_id = $1")
            .bind(key(guild.0))
            .fetch_all(store.accounts().readers())
            .await?;
    for channel in channels {
        let channel = ChannelId(loaded(channel)?);
        while doomed::remove_messages(shard, channel).await? {}
    }
    doomed::clear(shard, guild).await?;
    for sql in ["DELETE FROM events WHERE guild_id = $1", "DELETE FROM doomed WHERE guild_id = $1"]
    {
        execute(shard, sql, &[key(guild.0)]).await?;
    }
    Ok(())
}

impl Move<'_> {
    fn tell(&mut self, step: Step) -> std::result::Result<(), MoveError> {
        if (self.watch)(step) { Ok(()) } else { Err(MoveError::Stopped) }
    }

    async fn run(
        &mut self,
        words_of: fn(&Message) -> String,
    ) -> std::result::Result<(), MoveError> {
        self.announce().await?;
        let gone = MoveError::NoGuild(self.guild);
        let Some((source, _)) = self.store.directed(self.guild).await? else { return Err(gone) };
        let shards = self.store.shards();
        if source != self.target && shards[source].is(&shards[self.target]) {
            self.claim.let_go().await?;
            return Err(MoveError::OneDatabase(source, self.target));
        }
        // By its lock, which a move that was overtaken may be about to let go.
        let Some((lock, moved_to)) = lock_guild(&shards[source], self.guild).await? else {
            return Err(gone);
        };
        drop(lock);
        match moved_to {
            None if source == self.target => {}
            None => self.copy(source, words_of).await?,
            Some(number) if number == self.target => {}
            // What is in the source is outdated, and nothing else than that other shard has all.
            Some(number) => return Err(MoveError::OnItsWay(number)),
        }
        if source != self.target {
            self.claim.direct(self.target).await?;
            self.store.forget_home(self.guild);
            self.tell(Step::Directed)?;
        }
        self.clear().await
    }

    async fn announce(&mut self) -> std::result::Result<(), MoveError> {
        // Until then somebody may still go by what he read before, and a move that is overtaken now
        // may do what it looked for before.
        tokio::time::sleep(REMEMBERED + REMEMBERED / 4).await;
        self.tell(Step::Announced)
    }

    async fn copy(
        &mut self,
        source: usize,
        words_of: fn(&Message) -> String,
    ) -> std::result::Result<(), MoveError> {
        let (from, to) = (&self.store.shards()[source], &self.store.shards()[self.target]);
        // What an interrupted move left there is of no use: it was not followed since.
        clear(self.store, to, self.guild).await?;
        let sequence: Option<i64> = sqlx::query_scalar("SELECT sequence FROM guilds WHERE id = $1")
            .bind(key(self.guild.0))
            .fetch_optional(from.readers())
            .await
            .map_err(Error::from)?;
        let sequence = loaded(sequence.ok_or(MoveError::NoGuild(self.guild))?)?;
        let mut copy = Copy::new(self.guild, to, self.claim, sequence, words_of);
        let mut read = from.readers().acquire().await.map_err(Error::from)?;
        // Channels before what was written in them: by the channels it is found when it must go.
        copy.tables(&mut read).await?;
        for _ in 0..LOOKS {
            let mut stop = false;
            let watch = &mut *self.watch;
            let copied =
                copy.messages(&mut read, &mut |all| stop |= !watch(Step::Copied(all))).await?;
            if stop {
                return Err(MoveError::Stopped);
            }
            let changed = copy.changes(&mut read).await?.ok_or(MoveError::LeftBehind)?;
            if copied + changed + copy.tables(&mut read).await? <= CLOSE {
                break;
            }
        }
        drop(read);
        self.finish(from, to, copy).await
    }

    /// Takes the guild's lock, copies what came meanwhile, and moves.
    async fn finish(
        &mut self,
        from: &Database,
        to: &Database,
        mut copy: Copy<'_>,
    ) -> std::result::Result<(), MoveError> {
        let gone = MoveError::NoGuild(self.guild);
        let Some((mut lock, _)) = lock_guild(from, self.guild).await? else { return Err(gone) };
        // Whoever takes the claim after this look waits for the lock.
        self.claim.check().await?;
        let row = sqlx::query(
            "UPDATE guilds SET moved_to = $1 WHERE id = $2 AND moved_to < 0 \
             RETURNING name, owner_id, created_at_ms, sequence, last_id",
        )
        .bind(i64::try_from(self.target).unwrap_or(i64::MAX))
        .bind(key(self.guild.0))
        .fetch_optional(lock.connection())
        .await
        .map_err(Error::from)?
        .ok_or(MoveError::NoGuild(self.guild))?;
        let read = lock.connection();
        copy.messages(read, &mut |_| ()).await?;
        copy.changes(read).await?.ok_or(MoveError::LeftBehind)?;
        copy.tables(read).await?;
        let number = |name: &str| row.try_get::<i64, _>(name).map_err(Error::from);
        let query = sqlx::query(
            "INSERT INTO guilds (id, name, owner_id, created_at_ms, sequence, last_id) \
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(stored(self.guild.0)?)
        .bind(row.try_get::<String, _>("name").map_err(Error::from)?)
        .bind(number("owner_id")?)
        .bind(number("created_at_ms")?)
        .bind(number("sequence")?)
        .bind(number("last_id")?);
        to.execute(query).await?;
        self.tell(Step::CaughtUp)?;
        lock.commit().await?;
        self.tell(Step::Moved)
    }

    async fn clear(&mut self) -> std::result::Result<(), MoveError> {
        let target = &self.store.shards()[self.target];
        // Whoever read the directory before it changed is done by then.
        tokio::time::sleep(REMEMBERED).await;
        for shard in self.store.shards().iter().filter(|shard| !shard.is(target)) {
            self.claim.check().await?;
            clear(self.store, shard, self.guild).await?;
        }
        self.claim.let_go().await?;
        self.tell(Step::Cleared)
    }
}
