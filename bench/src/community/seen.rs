//! What one member's client has shown of the text channel, and whether that was right: each message
//! once, in the order of the guild.

use std::collections::HashSet;

use hype_protocol::gateway::{Event, Position};
use hype_protocol::id::ChannelId;
use serde::Serialize;

use crate::place::Place;

/// What a client keeps over its connections, and counts.
#[derive(Debug, Default)]
pub struct Seen {
    /// For `resume`.
    pub place: Place,
    /// The messages of the watched channel, as they came.
    messages: Vec<u64>,
    known: HashSet<u64>,
    /// What was counted.
    pub counts: Counts,
}

/// What happened to one client, or to all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counts {
    /// Connections that ended.
    pub cuts: u64,
    /// Sessions that went on.
    pub resumed: u64,
    /// Sessions that could not, so that the client loaded what it had missed.
    pub reloaded: u64,
    /// Events that came again and were known by their position: allowed, and not shown.
    pub repeated: u64,
    /// Messages that were shown twice.
    pub doubled: u64,
    /// Messages that were shown after a later one.
    pub misordered: u64,
    /// Voice sessions that ended.
    pub voice_ended: u64,
}

impl Counts {
    /// Adds another client's.
    pub fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.resumed += other.resumed;
        self.reloaded += other.reloaded;
        self.repeated += other.repeated;
        self.doubled += other.doubled;
        self.misordered += other.misordered;
        self.voice_ended += other.voice_ended;
    }
}

impl Seen {
    /// Takes an event of the gateway; true for a `ready` that was not the first: load what was
    /// missed.
    pub fn take(
        &mut self,
        seq: u64,
        position: Option<Position>,
        event: &Event,
        channel: ChannelId,
    ) -> bool {
        let again = self.place.has_begun();
        if !self.place.take(seq, position, event) {
            self.counts.repeated += 1;
            return false;
        }
        match event {
            Event::Ready { .. } => {
                self.counts.reloaded += u64::from(again);
                return again;
            }
            Event::Resumed {} => self.counts.resumed += 1,
            Event::MessageCreated(message) if message.channel_id == channel => {
                self.show(message.id.0);
            }
            Event::VoiceEnded { .. } => self.counts.voice_ended += 1,
            _ => {}
        }
        false
    }

    fn show(&mut self, id: u64) {
        if !self.known.insert(id) {
            self.counts.doubled += 1;
            return;
        }
        if self.last() > id {
            self.counts.misordered += 1;
        }
        self.messages.push(id);
    }

    /// The newest message.
    pub fn last(&self) -> u64 {
        self.messages.last().copied().unwrap_or(0)
    }

    /// Adds messages that were loaded, the oldest first; those that came as events too are known.
    pub fn load(&mut self, ids: impl IntoIterator<Item = u64>) {
        for id in ids {
            if !self.known.contains(&id) {
                self.show(id);
            }
        }
    }

    /// How many of these messages it has not shown.
    pub fn missing(&self, ids: &[u64]) -> u64 {
        ids.iter().filter(|id| !self.known.contains(id)).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use hype_protocol::gateway::{Message, User};
    use hype_protocol::id::{GuildId, MessageId, UserId};

    use super::*;

    #[test]
    fn faults_are_counted_and_repetitions_are_not_shown() {
        let mut seen = Seen::default();
        let mut say = |sequence: u64, id: u64| {
            let message = Message {
                id: MessageId(id),
                channel_id: ChannelId(1),
                guild_id: GuildId(1),
                author: User { id: UserId(1), name: String::new() },
                content: String::new(),
                created_at_ms: 0,
                edited_at_ms: None,
            };
            let position = Some(Position { guild_id: GuildId(1), sequence });
            seen.take(sequence, position, &Event::MessageCreated(message), ChannelId(1));
        };
        say(1, 10);
        say(1, 10);
        say(2, 30);
        say(3, 20);
        say(4, 30);
        assert_eq!((seen.counts.repeated, seen.counts.doubled, seen.counts.misordered), (1, 1, 1));
        seen.load([20, 40]);
        assert_eq!(seen.missing(&[10, 20, 30, 40, 50]), 1);
        assert_eq!(seen.last(), 40);
    }
}
