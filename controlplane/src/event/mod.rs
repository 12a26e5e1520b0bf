//! The bus between whoever changes something and the gateways that tell people about it.
//! In this process a bounded broadcast: a subscriber that falls behind is told so and has to
//! reload, so nobody misses an event without knowing. Durable events of guilds come by the
//! [`relay`] from the database; the others (who speaks, who types) are published directly.

pub mod relay;

use std::sync::Arc;

use hype_protocol::gateway::{Event, Position};
use hype_protocol::id::{ChannelId, GuildId, RoomId, UserId};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// Events that may wait for the slowest subscriber.
pub const CAPACITY: usize = 16 * 1024;

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

/// The bus. Clones share it.
#[derive(Debug, Clone)]
pub struct Bus {
    sender: broadcast::Sender<Arc<Published>>,
}

impl Default for Bus {
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl Bus {
    /// A bus on which `capacity` events may wait for the slowest subscriber.
    pub fn new(capacity: usize) -> Self {
        Self { sender: broadcast::channel(capacity).0 }
    }

    /// Tells all subscribers of something that nobody keeps, in the same order. Never waits.
    pub fn publish(&self, audience: Audience, event: Event) {
        self.forward(Published { audience, event, position: None });
    }

    /// Tells all subscribers in this process.
    pub(crate) fn forward(&self, published: Published) {
        metrics::counter!("hype_control_events_published_total").increment(1);
        // Without a subscriber there is nobody to tell: whoever subscribes later loads the state.
        let _ = self.sender.send(Arc::new(published));
    }

    /// Receives all that is published from now on.
    pub fn subscribe(&self) -> Subscription {
        Subscription { receiver: self.sender.subscribe() }
    }
}

/// One subscriber's place on the bus.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Arc<Published>>,
}

impl Subscription {
    /// The next event.
    ///
    /// # Errors
    /// [`ReceiveError::Lagged`] when events were lost: the subscriber must reload all it derived
    /// from them, and may go on receiving. [`ReceiveError::Closed`] when there is no bus any more.
    pub async fn receive(&mut self) -> Result<Arc<Published>, ReceiveError> {
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
