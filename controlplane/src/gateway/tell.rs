//! Which session gets what of an event of a guild: who does not see the channel that it is about gets
//! nothing, and whose view of the guild changes by it gets the channels that come and go.

use std::collections::HashMap;
use std::sync::Arc;

use hype_protocol::gateway::Event;
use hype_protocol::id::{ChannelId, GuildId, UserId};

use super::access::{Reach, channel_of};
use super::registry::Followed;
use super::session::{About, Body, Session};
use crate::event::Audience;

/// What goes to whom, in order.
pub(super) type Deliveries = Vec<(Arc<Session>, Body)>;

impl Followed {
    /// Takes the next durable event of the guild.
    pub(super) fn take(
        &mut self,
        guild: GuildId,
        sequence: u64,
        audience: &Audience,
        event: &Event,
        out: &mut Deliveries,
    ) {
        self.sequence = sequence;
        let reach = self.access.reach(event);
        if let Reach::Channel(channel) = reach {
            self.take_channel(guild, sequence, channel, event, out);
            return;
        }
        let before = self.views(reach);
        self.access.apply(event);
        match event {
            // For consumers of the bus; people hear of voice by what their own replica sees.
            Event::UserJoinedVoice { .. } | Event::UserLeftVoice { .. } => {}
            Event::GuildRemoved { .. } => self.tell(audience, event, About::Removed(guild), out),
            Event::MemberRemoved { user_id, .. } => {
                let removed = Event::GuildRemoved { guild_id: guild };
                self.tell(&Audience::User(*user_id), &removed, About::Removed(guild), out);
                self.tell(audience, event, About::Guild(guild, Some(sequence)), out);
            }
            event => self.tell(audience, event, About::Guild(guild, Some(sequence)), out),
        }
        self.tell_differences(guild, &before, out);
    }

    /// Tells those sessions of the audience that see the channel that the event is about.
    pub(super) fn tell(
        &self,
        audience: &Audience,
        event: &Event,
        about: About,
        out: &mut Deliveries,
    ) {
        let channel = match audience {
            Audience::Channel(_, channel) => Some(*channel),
            _ => channel_of(event),
        };
        // Encoded once, for the first who gets it.
        let mut body = None;
        let mut seen: HashMap<UserId, bool> = HashMap::new();
        for session in self.sessions.values() {
            let meant = match audience {
                Audience::Guild(_) | Audience::Channel(..) => true,
                Audience::User(user) => session.user == *user,
                Audience::Users(users) => users.contains(&session.user),
                // Rooms are told beside guilds.
                Audience::Room(_) => false,
            };
            let mut sees = || match channel {
                None => true,
                Some(channel) => {
                    let sees = || self.access.sees(session.user, channel);
                    *seen.entry(session.user).or_insert_with(sees)
                }
            };
            // Who is just removed is no member any more and is told so.
            let member = matches!(about, About::Removed(_)) || self.access.is_member(session.user);
            if meant && member && sees() {
                let body = body.get_or_insert_with(|| Body::new(event, about)).clone();
                out.push((session.clone(), body));
            }
        }
    }

    /// A channel came, changed or went: for whom depends on who saw it and who sees it now.
    fn take_channel(
        &mut self,
        guild: GuildId,
        sequence: u64,
        channel: ChannelId,
        event: &Event,
        out: &mut Deliveries,
    ) {
        let saw: HashMap<UserId, bool> =
            self.users().map(|user| (user, self.access.sees(user, channel))).collect();
        self.access.apply(event);
        let about = About::Guild(guild, Some(sequence));
        let as_it_is = Body::new(event, about);
        let created = self
            .access
            .channel(channel)
            .map(|it| Body::new(&Event::ChannelCreated(it.clone()), about));
        let gone = Event::ChannelDeleted { guild_id: guild, channel_id: channel };
        let deleted = Body::new(&gone, about);
        for session in self.sessions.values() {
            let before = saw.get(&session.user).copied().unwrap_or(false);
            let body = match (before, self.access.sees(session.user, channel)) {
                (true, true) => Some(as_it_is.clone()),
                (false, true) => created.clone(),
                (true, false) => Some(deleted.clone()),
                (false, false) => None,
            };
            out.extend(body.map(|body| (session.clone(), body)));
        }
    }

    fn users(&self) -> impl Iterator<Item = UserId> {
        self.sessions.values().map(|session| session.user)
    }

    /// What the people see whose view an event may change.
    fn views(&self, reach: Reach) -> HashMap<UserId, Vec<ChannelId>> {
        let concerned = |user: &UserId| match reach {
            Reach::Nobody | Reach::Channel(_) => false,
            Reach::People(people) => people.contains(user),
            Reach::All => true,
        };
        let mut views = HashMap::new();
        for user in self.users().filter(concerned) {
            views.entry(user).or_insert_with(|| self.access.visible(user));
        }
        views
    }

    fn tell_differences(
        &self,
        guild: GuildId,
        before: &HashMap<UserId, Vec<ChannelId>>,
        out: &mut Deliveries,
    ) {
        for (user, before) in before {
            let now = self.access.visible(*user);
            let come = now.iter().filter(|channel| !before.contains(channel));
            let come = come.filter_map(|channel| self.access.channel(*channel));
            let come = come.map(|channel| Event::ChannelCreated(channel.clone()));
            let gone = before.iter().filter(|channel| !now.contains(channel));
            let gone =
                gone.map(|channel| Event::ChannelDeleted { guild_id: guild, channel_id: *channel });
            for event in come.chain(gone) {
                let body = Body::new(&event, About::Guild(guild, None));
                let sessions = self.sessions.values().filter(|session| session.user == *user);
                out.extend(sessions.map(|session| (session.clone(), body.clone())));
            }
        }
    }
}
