//! What runs beside the requests and follows events: stays in voice become durable events, once for
//! each session whichever replicas see it; and a guild's events are counted for its insights.

use std::collections::BTreeMap;
use std::time::Duration;

use hype_protocol::gateway::Event;
use hype_protocol::id::{ChannelId, GuildId, SessionId, UserId};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::{Audience, Bus, ReceiveError};
use crate::store::{Result, Store};

/// Stays that may wait for the database; further ones are not counted.
const WAITING: usize = 16 * 1024;
/// How often one is tried that the database did not take.
const ATTEMPTS: u32 = 60;
/// How soon it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often guilds with new events are counted.
const COUNT_PERIOD: Duration = Duration::from_secs(1);

/// Somebody came into a voice channel, or left it.
#[derive(Debug, Clone, Copy)]
pub struct Stay {
    /// In which guild.
    pub guild: GuildId,
    /// In which channel.
    pub channel: ChannelId,
    /// Who.
    pub user: UserId,
    /// By which session.
    pub session: SessionId,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// Left.
    pub over: bool,
}

/// Takes stays without waiting. Clones share it.
#[derive(Debug, Clone)]
pub struct Stays {
    sender: mpsc::Sender<Stay>,
}

impl Stays {
    /// A queue whose stays are written until all its clones are gone.
    pub fn start(store: Store) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        tokio::spawn(write_stays(store, receiver));
        Self { sender }
    }

    /// Notes one.
    pub fn note(&self, stay: Stay) {
        if self.sender.try_send(stay).is_err() {
            metrics::counter!("hype_control_stays_dropped_total").increment(1);
        }
    }
}

async fn write_stays(store: Store, mut stays: mpsc::Receiver<Stay>) {
    while let Some(stay) = stays.recv().await {
        for attempt in 1..=ATTEMPTS {
            match write_stay(&store, stay).await {
                Ok(()) => break,
                Err(cause) if attempt == ATTEMPTS => {
                    metrics::counter!("hype_control_stays_dropped_total").increment(1);
                    tracing::warn!(%cause, "a stay in voice was not noted");
                }
                Err(_) => sleep(RETRY).await,
            }
        }
    }
}

/// Notes one, and tells of it, unless somebody has.
pub(crate) async fn write_stay(store: &Store, stay: Stay) -> Result<()> {
    let Stay { guild, channel, user, session, at_ms, over } = stay;
    // Another replica was first, most of the time: that costs a look and no lock.
    let noted = store.stay_ended(guild, session).await?;
    if noted == Some(true) || (noted == Some(false) && !over) {
        return Ok(());
    }
    let Some(mut write) = store.write_guild(guild).await? else { return Ok(()) };
    let event = if over {
        if !write.end_stay(session, at_ms).await? {
            return Ok(());
        }
        Event::UserLeftVoice {
            guild_id: guild,
            channel_id: channel,
            user_id: user,
            session_id: session,
            at_ms,
        }
    } else {
        if !write.begin_stay(session, channel, user, at_ms).await? {
            return Ok(());
        }
        Event::UserJoinedVoice {
            guild_id: guild,
            channel_id: channel,
            user_id: user,
            session_id: session,
            at_ms,
        }
    };
    // Clients hear of voice by what their own replica sees.
    write.tell(&Audience::Users(Vec::new()), &event).await?;
    write.commit().await
}

/// Counts what happens in guilds, once, at whichever replica. Runs until it is aborted.
pub async fn count(store: Store, bus: Bus) {
    let mut events = bus.subscribe();
    let mut behind: BTreeMap<GuildId, u64> = BTreeMap::new();
    let mut period = interval(COUNT_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            received = events.receive() => match received {
                Ok(published) => {
                    if let Some(position) = published.position {
                        let newest = behind.entry(position.guild_id).or_default();
                        *newest = position.sequence.max(*newest);
                    }
                }
                // The next event of each guild counts those that were missed as well.
                Err(ReceiveError::Lagged(_)) => {}
                Err(ReceiveError::Closed) => return,
            },
            _ = period.tick() => {
                for (guild, sequence) in std::mem::take(&mut behind) {
                    if let Err(cause) = count_guild(&store, guild, sequence).await {
                        tracing::warn!(%cause, %guild, "events are not counted yet");
                        behind.insert(guild, sequence);
                    }
                }
            }
        }
    }
}

async fn count_guild(store: &Store, guild: GuildId, sequence: u64) -> Result<()> {
    if store.is_counted(guild, sequence).await? {
        return Ok(());
    }
    loop {
        let Some(mut write) = store.write_guild(guild).await? else { return Ok(()) };
        let more = write.count_events().await?;
        write.commit().await?;
        if !more {
            return Ok(());
        }
    }
}
