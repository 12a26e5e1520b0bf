//! The bus between whoever changes something and the gateways that tell people about it.
//! In this process a bounded broadcast: a subscriber that falls behind is told so and has to
//! reload, so nobody misses an event without knowing. Durable events of guilds come by the
//! [`relay`] from the database; the others (who speaks, who types) are published directly. Between
//! replicas both travel by [`nats`].

pub mod consumers;
pub mod nats;
pub mod relay;

use std::sync::Arc;

use hype_protocol::gateway::{Event, Position, PresenceStatus};
use hype_protocol::id::{ChannelId, GuildId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// Events that may wait for the slowest subscriber.
pub const CAPACITY: usize = 16 * 1024;

/// Reports of other replicas that may wait.
const REPORTS: usize = 256;

/// Whom an event is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Audience {
    /// All members of a guild.
    Guild(GuildId),
    /// The members of a guild who may see a channel of it.
    Channel(GuildId, ChannelId),
    /// All connections of one person.
    User(UserId),
    /// Whoever has a voice session in a room.
    Room(RoomId),
    /// All connections of some people.
    Users(Vec<UserId>),
}

/// An event with its audience.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// For whom.
    pub audience: Audience,
    /// What happened.
    pub event: Event,
    /// Of a durable event: its place among its guild's.
    pub position: Option<Position>,
}

/// Who is connected to another replica, and who no longer is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresenceReport {
    /// Which one: a number that it drew at its start.
    pub replica: u64,
    /// Those of whom there is something new, and once in a while everybody.
    pub people: Vec<(UserId, PresenceStatus)>,
}

/// Why nothing can be received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// This many events are gone: reload everything.
    #[error("{0} events were missed")]
    Lagged(u64),
    /// The bus is gone.
    #[error("the bus has ended")]
    Closed,
}

/// Why durable events did not reach the bus: they have to be delivered again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Undelivered(String);

/// The bus. Clones share it.
#[derive(Debug, Clone)]
pub struct Bus {
    sender: broadcast::Sender<Arc<Published>>,
    presence: broadcast::Sender<Arc<PresenceReport>>,
    /// The way to other replicas; none when this is the only one.
    nats: Option<nats::Nats>,
}

impl Default for Bus {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl Bus {
    /// A bus within this process, on which `capacity` events may wait for the slowest subscriber.
    pub fn new(capacity: usize) -> Self {
        let presence = broadcast::channel(REPORTS).0;
        Self { sender: broadcast::channel(capacity).0, presence, nats: None }
    }

    /// The bus of the configuration: within this process, or with all replicas by NATS.
    ///
    /// # Errors
    /// When a setting is wrong. A server that is away is waited for.
    pub async fn open(settings: &crate::config::Bus) -> Result<Self, nats::Error> {
        let mut bus = Self::default();
        if !settings.nats.is_empty() {
            bus.nats =
                Some(nats::Nats::start(settings, bus.sender.clone(), bus.presence.clone()).await?);
        }
        Ok(bus)
    }

    /// Tells all subscribers of this process of something that nobody keeps, in the same order.
    /// Never waits.
    pub fn publish(&self, audience: Audience, event: Event) {
        send_here(&self.sender, Published { audience, event, position: None });
    }

    /// Tells also those of other replicas, as far as they are reached now. Never waits.
    pub fn publish_everywhere(&self, audience: Audience, event: Event) {
        if let Some(nats) = &self.nats {
            nats.tell(audience.clone(), event.clone());
        }
        self.publish(audience, event);
    }

    /// Tells all subscribers of all replicas of durable events, at least once.
    ///
    /// # Errors
    /// When it is not certain that they will hear of all: deliver them again.
    pub async fn deliver(&self, events: &[Published]) -> Result<(), Undelivered> {
        if let Some(nats) = &self.nats {
            return nats.deliver(events).await;
        }
        for published in events {
            send_here(&self.sender, published.clone());
        }
        Ok(())
    }

    /// Tells the other replicas who is connected here. Never waits.
    pub fn report_presence(&self, people: Vec<(UserId, PresenceStatus)>) {
        if let Some(nats) = &self.nats {
            nats.report(people);
        }
    }

    /// Receives all that is published from now on.
    pub fn subscribe(&self) -> Subscription {
        Subscription { receiver: self.sender.subscribe() }
    }

    /// Receives what other replicas report from now on.
    pub fn presence_reports(&self) -> Subscription<PresenceReport> {
        Subscription { receiver: self.presence.subscribe() }
    }
}

fn send_here(sender: &broadcast::Sender<Arc<Published>>, published: Published) {
    metrics::counter!("hype_control_events_published_total").increment(1);
    // Without a subscriber there is nobody to tell: whoever subscribes later loads the state.
    let _ = sender.send(Arc::new(published));
}

/// One subscriber's place on the bus.
#[derive(Debug)]
pub struct Subscription<T = Published> {
    receiver: broadcast::Receiver<Arc<T>>,
}

impl<T> Subscription<T> {
    /// The next event.
    ///
    /// # Errors
    /// [`ReceiveError::Lagged`] when events were lost: the subscriber must reload all it derived
    /// from them, and may go on receiving. [`ReceiveError::Closed`] when there is no bus any more.
    pub async fn receive(&mut self) -> Result<Arc<T>, ReceiveError> {
        self.receiver.recv().await.map_err(|error| match error {
            broadcast::error::RecvError::Lagged(missed) => {
                metrics::counter!("hype_control_events_lagged_total").increment(missed);
                ReceiveError::Lagged(missed)
            }
            broadcast::error::RecvError::Closed => ReceiveError::Closed,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resumed(bus: &Bus, user: u64) {
        bus.publish(Audience::User(UserId(user)), Event::Resumed {});
    }

    #[tokio::test]
    async fn all_subscribers_see_the_same_order() {
        let bus = Bus::new(8);
        let (mut one, mut two) = (bus.subscribe(), bus.subscribe());
        resumed(&bus, 1);
        resumed(&bus, 2);
        for subscriber in [&mut one, &mut two] {
            for user in [1, 2] {
                let published = subscriber.receive().await.expect("nothing was lost");
                assert_eq!(published.audience, Audience::User(UserId(user)));
            }
        }
    }

    #[tokio::test]
    async fn who_falls_behind_is_told_and_goes_on() {
        let bus = Bus::new(2);
        let mut slow = bus.subscribe();
        for user in 1..=5 {
            resumed(&bus, user);
        }
        assert_eq!(slow.receive().await.expect_err("3 are gone"), ReceiveError::Lagged(3));
        let published = slow.receive().await.expect("the last two are there");
        assert_eq!(published.audience, Audience::User(UserId(4)));
        drop(bus);
        slow.receive().await.expect("the last one");
        assert_eq!(slow.receive().await.expect_err("no bus"), ReceiveError::Closed);
    }
}
