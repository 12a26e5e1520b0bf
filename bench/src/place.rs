//! How far a gateway client has come, by which any replica goes on after a cut.

use std::collections::BTreeMap;

use hype_protocol::gateway::{Event, FromClient, Position};
use hype_protocol::id::GuildId;

/// What a client keeps over its connections.
#[derive(Debug, Default)]
pub struct Place {
    session: Option<String>,
    /// The session's last event.
    pub seq: u64,
    /// Each guild's last event.
    guilds: BTreeMap<GuildId, u64>,
}

impl Place {
    /// What a client says first on a new connection.
    pub fn introduction(&self, token: String) -> FromClient {
        match &self.session {
            None => FromClient::Identify { token },
            Some(session) => FromClient::Resume {
                token,
                session_id: session.clone(),
                seq: self.seq,
                guilds: self.guilds.clone(),
            },
        }
    }

    /// True after the first `ready`.
    pub fn has_begun(&self) -> bool {
        self.session.is_some()
    }

    /// Takes an event; false for one that came before, as its position tells.
    pub fn take(&mut self, seq: u64, position: Option<Position>, event: &Event) -> bool {
        self.seq = seq;
        if let Some(Position { guild_id, sequence }) = position {
            let place = self.guilds.entry(guild_id).or_default();
            if sequence <= *place {
                return false;
            }
            *place = sequence;
        }
        match event {
            Event::Ready { session_id, guilds, .. } => {
                self.session = Some(session_id.clone());
                self.guilds = guilds.iter().map(|guild| (guild.id, guild.sequence)).collect();
            }
            Event::GuildAdded(guild) => {
                self.guilds.insert(guild.id, guild.sequence);
            }
            _ => {}
        }
        true
    }
}
