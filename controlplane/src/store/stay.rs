//! Stays in voice channels, and what is counted of a guild by day. A stay begins and ends once,
//! however many replicas see it; events are counted once, up to the number in `consumed`.

use std::collections::BTreeMap;

use hype_protocol::gateway::Event;
use hype_protocol::id::{ChannelId, GuildId, SessionId, UserId};
use sqlx::Row;

use super::guild_write::GuildWrite;
use super::{Result, Store, event, key, loaded, stored};
use crate::event::consumers::Stay;

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;
/// Which consumer counts here.
const CONSUMER: &str = "analytics";
/// What the leader looks at, of `watched`.
const VOICE: &str = "voice";
/// Stays that last and began before a moment.
pub const OPEN: &str = "SELECT session_id, guild_id, channel_id, user_id, joined_at_ms \
     FROM voice_stays WHERE left_at_ms = 0 AND joined_at_ms < $1";
/// Events that are counted in one transaction.
const BATCH: i64 = 500;
/// The most stays that peaks are computed from.
const MAX_STAYS: i64 = 200_000;

/// What happened on one day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Day {
    /// Days since 1970-01-01, UTC.
    pub day: u64,
    /// People who wrote or were in voice.
    pub active: u64,
    /// Messages written.
    pub messages: u64,
    /// Times that somebody joined a voice channel.
    pub voice_joins: u64,
    /// Time that all people together were in voice, counted when each leaves.
    pub voice_ms: u64,
    /// The most people in voice at once.
    pub voice_peak: u64,
}

/// What one person did on one day.
#[derive(Debug, Default)]
struct Activity {
    messages: u64,
    voice_joins: u64,
    voice_ms: u64,
}

/// A session's number as a key: all 64 bits are used.
fn session_key(session: SessionId) -> i64 {
    session.0.cast_signed()
}

impl GuildWrite {
    /// Notes that a stay began; false when somebody did already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_stay(
        &mut self,
        session: SessionId,
        channel: ChannelId,
        user: UserId,
        at_ms: u64,
    ) -> Result<bool> {
        let guild = self.guild();
        let done = sqlx::query(
            "INSERT INTO voice_stays (session_id, guild_id, channel_id, user_id, joined_at_ms) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(session_key(session))
        .bind(stored(guild.0)?)
        .bind(stored(channel.0)?)
        .bind(stored(user.0)?)
        .bind(stored(at_ms)?)
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Notes that a stay ended; false when somebody did already, or nobody noted its begin.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end_stay(&mut self, session: SessionId, at_ms: u64) -> Result<bool> {
        let done = sqlx::query(
            "UPDATE voice_stays SET left_at_ms = $1 WHERE session_id = $2 AND left_at_ms = 0",
        )
        .bind(stored(at_ms)?)
        .bind(session_key(session))
        .execute(self.connection())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    async fn joined_at_ms(&mut self, session: SessionId) -> Result<Option<u64>> {
        let row: Option<i64> =
            sqlx::query_scalar("SELECT joined_at_ms FROM voice_stays WHERE session_id = $1")
                .bind(session_key(session))
                .fetch_optional(self.connection())
                .await?;
        row.map(loaded).transpose()
    }

    /// Counts the next events that were not counted yet; true when there may be more.
    ///
    /// # Errors
    /// When the database fails: then none was counted.
    pub async fn count_events(&mut self) -> Result<bool> {
        let guild = self.guild();
        let counted: Option<i64> = sqlx::query_scalar(
            "SELECT sequence FROM consumed WHERE guild_id = $1 AND consumer = $2",
        )
        .bind(key(guild.0))
        .bind(CONSUMER)
        .fetch_optional(self.connection())
        .await?;
        let rows = sqlx::query(
            "SELECT guild_id, sequence, audience, body FROM events \
             WHERE guild_id = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
        )
        .bind(key(guild.0))
        .bind(counted.unwrap_or(0))
        .bind(BATCH)
        .fetch_all(self.connection())
        .await?;
        let Some(last) = rows.last() else { return Ok(false) };
        let last: i64 = last.try_get("sequence")?;
        let mut days: BTreeMap<(u64, UserId), Activity> = BTreeMap::new();
        for row in &rows {
            match event::from_row(row)?.event {
                Event::MessageCreated(message) => {
                    let day = (message.created_at_ms / DAY_MS, message.author.id);
                    days.entry(day).or_default().messages += 1;
                }
                Event::UserJoinedVoice { user_id, at_ms, .. } => {
                    days.entry((at_ms / DAY_MS, user_id)).or_default().voice_joins += 1;
                }
                Event::UserLeftVoice { user_id, session_id, at_ms, .. } => {
                    let began_ms = self.joined_at_ms(session_id).await?.unwrap_or(at_ms);
                    for (day, ms) in by_day(began_ms, at_ms) {
                        days.entry((day, user_id)).or_default().voice_ms += ms;
                    }
                }
                _ => {}
            }
        }
        for ((day, user), activity) in days {
            self.add_activity(day, user, &activity).await?;
        }
        sqlx::query(
            "INSERT INTO consumed (guild_id, consumer, sequence) VALUES ($1, $2, $3) \
             ON CONFLICT (guild_id, consumer) DO UPDATE SET sequence = excluded.sequence",
        )
        .bind(stored(guild.0)?)
        .bind(CONSUMER)
        .bind(last)
        .execute(self.connection())
        .await?;
        Ok(i64::try_from(rows.len()).unwrap_or(i64::MAX) == BATCH)
    }

    async fn add_activity(&mut self, day: u64, user: UserId, activity: &Activity) -> Result<()> {
        let guild = self.guild();
        sqlx::query(
            "INSERT INTO active_days (guild_id, day, user_id, messages, voice_joins, voice_ms) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (guild_id, day, user_id) DO UPDATE SET \
             messages = active_days.messages + excluded.messages, \
             voice_joins = active_days.voice_joins + excluded.voice_joins, \
             voice_ms = active_days.voice_ms + excluded.voice_ms",
        )
        .bind(stored(guild.0)?)
        .bind(stored(day)?)
        .bind(stored(user.0)?)
        .bind(stored(activity.messages)?)
        .bind(stored(activity.voice_joins)?)
        .bind(stored(activity.voice_ms)?)
        .execute(self.connection())
        .await?;
        Ok(())
    }
}

impl Store {
    /// True when a stay was noted, and whether it has ended; none when it was not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stay_ended(&self, guild: GuildId, session: SessionId) -> Result<Option<bool>> {
        let Some(home) = self.home(guild).await? else { return Ok(None) };
        let left: Option<i64> =
            sqlx::query_scalar("SELECT left_at_ms FROM voice_stays WHERE session_id = $1")
                .bind(session_key(session))
                .fetch_optional(home.readers())
                .await?;
        Ok(left.map(|left_at_ms| left_at_ms > 0))
    }

    /// Stays that began before a moment and are not noted to have ended, as they began.
    ///
    /// # Errors
    /// When a database fails.
    pub async fn open_stays(&self, before_ms: u64) -> Result<Vec<Stay>> {
        let mut open = Vec::new();
        for shard in self.shards() {
            let query = sqlx::query(OPEN).bind(key(before_ms));
            for row in query.fetch_all(shard.readers()).await? {
                open.push(Stay {
                    guild: GuildId(loaded(row.try_get("guild_id")?)?),
                    channel: ChannelId(loaded(row.try_get("channel_id")?)?),
                    user: UserId(loaded(row.try_get("user_id")?)?),
                    session: SessionId(row.try_get::<i64, _>("session_id")?.cast_unsigned()),
                    at_ms: loaded(row.try_get("joined_at_ms")?)?,
                    over: false,
                });
            }
        }
        Ok(open)
    }

    /// Until when voice was looked at, in Unix milliseconds: 0 for never.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn voice_watched(&self) -> Result<u64> {
        let until_ms: Option<i64> =
            sqlx::query_scalar("SELECT until_ms FROM watched WHERE what = $1")
                .bind(VOICE)
                .fetch_optional(self.accounts().readers())
                .await?;
        loaded(until_ms.unwrap_or(0))
    }

    /// Notes that voice is looked at now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn watch_voice(&self, now_ms: u64) -> Result<()> {
        let query = sqlx::query(
            "INSERT INTO watched (what, until_ms) VALUES ($1, $2) \
             ON CONFLICT (what) DO UPDATE SET until_ms = excluded.until_ms",
        );
        self.accounts().execute(query.bind(VOICE).bind(stored(now_ms)?)).await?;
        Ok(())
    }

    /// True when all events of a guild up to `sequence` are counted.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_counted(&self, guild: GuildId, sequence: u64) -> Result<bool> {
        let Some(home) = self.home(guild).await? else { return Ok(true) };
        let counted: Option<i64> = sqlx::query_scalar(
            "SELECT sequence FROM consumed WHERE guild_id = $1 AND consumer = $2",
        )
        .bind(key(guild.0))
        .bind(CONSUMER)
        .fetch_optional(home.readers())
        .await?;
        Ok(counted.is_some_and(|counted| counted >= key(sequence)))
    }

    /// What happened in a guild from the day `first` to the day `last`; one entry a day.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn days(&self, guild: GuildId, first: u64, last: u64) -> Result<Vec<Day>> {
        let mut days: Vec<Day> = (first..=last).map(|day| Day { day, ..Day::default() }).collect();
        let Some(home) = self.home(guild).await? else { return Ok(days) };
        // SUM of BIGINT is NUMERIC on PostgreSQL.
        let rows = sqlx::query(
            "SELECT day, COUNT(*) AS active, CAST(SUM(messages) AS BIGINT) AS messages, \
             CAST(SUM(voice_joins) AS BIGINT) AS voice_joins, \
             CAST(SUM(voice_ms) AS BIGINT) AS voice_ms FROM active_days \
             WHERE guild_id = $1 AND day >= $2 AND day <= $3 GROUP BY day",
        )
        .bind(key(guild.0))
        .bind(key(first))
        .bind(key(last))
        .fetch_all(home.readers())
        .await?;
        let place = |day: u64| day.checked_sub(first).and_then(|it| usize::try_from(it).ok());
        for row in &rows {
            let day = loaded(row.try_get("day")?)?;
            if let Some(found) = place(day).and_then(|index| days.get_mut(index)) {
                found.active = loaded(row.try_get("active")?)?;
                found.messages = loaded(row.try_get("messages")?)?;
                found.voice_joins = loaded(row.try_get("voice_joins")?)?;
                found.voice_ms = loaded(row.try_get("voice_ms")?)?;
            }
        }
        let rows = sqlx::query(
            "SELECT joined_at_ms, left_at_ms FROM voice_stays \
             WHERE guild_id = $1 AND joined_at_ms >= $2 AND joined_at_ms < $3 \
             ORDER BY joined_at_ms LIMIT $4",
        )
        .bind(key(guild.0))
        // Who came the day before may still be there.
        .bind(key(first.saturating_sub(1) * DAY_MS))
        .bind(key((last + 1) * DAY_MS))
        .bind(MAX_STAYS)
        .fetch_all(home.readers())
        .await?;
        let mut stays = Vec::with_capacity(rows.len());
        for row in &rows {
            let left_ms = loaded(row.try_get("left_at_ms")?)?;
            let left_ms = if left_ms == 0 { u64::MAX } else { left_ms };
            stays.push((loaded(row.try_get("joined_at_ms")?)?, left_ms));
        }
        for day in &mut days {
            day.voice_peak = peak(&stays, day.day * DAY_MS);
        }
        Ok(days)
    }
}

/// The parts of a time by day.
fn by_day(began_ms: u64, ended_ms: u64) -> Vec<(u64, u64)> {
    let mut parts = Vec::new();
    let mut from = began_ms;
    while from < ended_ms {
        let day = from / DAY_MS;
        let to = ended_ms.min((day + 1) * DAY_MS);
        parts.push((day, to - from));
        from = to;
    }
    parts
}

/// The most of these stays at one moment of the day that begins at `begin_ms`.
fn peak(stays: &[(u64, u64)], begin_ms: u64) -> u64 {
    let end_ms = begin_ms + DAY_MS;
    let mut changes: Vec<(u64, i64)> = Vec::new();
    for (joined, left) in stays {
        if *joined < end_ms && *left > begin_ms {
            changes.push(((*joined).max(begin_ms), 1));
            changes.push((*left, -1));
        }
    }
    // Who leaves at the moment at which another comes is gone.
    changes.sort_unstable();
    let (mut now, mut most) = (0_i64, 0_i64);
    for (_, change) in changes {
        now += change;
        most = most.max(now);
    }
    u64::try_from(most).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_split_at_midnight() {
        assert!(by_day(5, 5).is_empty());
        assert_eq!(by_day(DAY_MS - 10, DAY_MS), [(0, 10)]);
        assert_eq!(by_day(DAY_MS - 10, 2 * DAY_MS + 1), [(0, 10), (1, DAY_MS), (2, 1)]);
    }

    #[test]
    fn peaks_count_who_is_there_together() {
        let stays = [(0, 10), (5, u64::MAX), (10, 20), (DAY_MS + 1, DAY_MS + 5)];
        assert_eq!(peak(&stays, 0), 2);
        assert_eq!(peak(&stays, DAY_MS), 2);
        assert_eq!(peak(&stays, 2 * DAY_MS), 1);
        assert_eq!(peak(&[], 0), 0);
    }
}
