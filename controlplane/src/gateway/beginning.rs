//! How a session begins: with `ready`, or, after a cut, with what its client missed, which any
//! replica reads from the guilds' events. Sessions follow their guilds before those are read, so that
//! nothing falls between the two.

use std::collections::BTreeMap;
use std::sync::Arc;

use hype_protocol::gateway::{Event, Guild};
use hype_protocol::id::{ChannelId, GuildId, UserId};

use super::access;
use super::session::{About, Body, Session};
use crate::app::App;
use crate::domain;
use crate::error::Error;
use crate::event::{Audience, Published};

/// The most events of one guild that are told after a cut: over more a client reloads.
const MAX_REPLAYED: u32 = 1000;
/// The most bytes of all of them.
const MAX_REPLAYED_BYTES: usize = 4 << 20;

/// The first events of a session, and which guilds it then shows as of which event.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    pub(super) bodies: Vec<Body>,
    pub(super) shown: Vec<(GuildId, u64)>,
}

/// A session hears of a guild from now on; false when there is no such guild.
async fn follow(app: &App, session: &Arc<Session>, guild: GuildId) -> Result<bool, Error> {
    if app.gateway.registry().follow(session, guild, None) {
        return Ok(true);
    }
    let Some(copy) = app.store.guild(guild).await? else { return Ok(false) };
    Ok(app.gateway.registry().follow(session, guild, Some(&copy)))
}

/// A guild as one of its members sees it now; none when he is no member.
async fn read(app: &App, user: UserId, guild: GuildId) -> Result<Option<Guild>, Error> {
    match domain::guild::get(app, user, guild).await {
        Ok(guild) => Ok(Some(complete(app, guild))),
        Err(Error::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Adds who is there to a guild as one of its members sees it.
fn complete(app: &App, mut guild: Guild) -> Guild {
    let members = guild.members.iter().map(|member| member.user.id);
    guild.presences = app.gateway.presences().of(members);
    // What was committed until now may still be on its way here.
    app.gateway.registry().expect_events(guild.id, guild.sequence);
    guild
}

/// `ready`.
///
/// # Errors
/// When the store fails, or the account is gone.
pub(super) async fn ready(app: &App, session: &Arc<Session>) -> Result<Beginning, Error> {
    let user = session.user;
    let ids = app.store.guilds_of(user).await?;
    for guild in &ids {
        follow(app, session, *guild).await?;
    }
    let guilds = domain::guild::list(app, user).await?;
    let guilds: Vec<_> = guilds.into_iter().map(|guild| complete(app, guild)).collect();
    let shown: Vec<_> = guilds.iter().map(|guild| (guild.id, guild.sequence)).collect();
    let ready = Event::Ready {
        session_id: session.key.clone(),
        user: domain::auth::me(app, user).await?,
        read_marks: domain::message::read_marks(app, user, &guilds).await?,
        guilds,
    };
    Ok(Beginning { bodies: vec![Body::new(&ready, About::Nobody)], shown })
}

/// `guild.added`, for sessions of a new member, which hear of the guild from now on. None when he is
/// no member.
///
/// # Errors
/// When the store fails.
pub(super) async fn added(
    app: &App,
    guild: GuildId,
    user: UserId,
    sessions: &[Arc<Session>],
) -> Result<Option<Body>, Error> {
    for session in sessions {
        follow(app, session, guild).await?;
    }
    let Some(guild) = read(app, user, guild).await? else { return Ok(None) };
    let about = About::Added(guild.id, guild.sequence);
    Ok(Some(Body::new(&Event::GuildAdded(guild), about)))
}

/// What a client missed that has each guild as of the given event; none when that is too much or
/// forgotten, and it must reload.
///
/// # Errors
/// When the store fails.
pub(super) async fn missed(
    app: &App,
    session: &Arc<Session>,
    had: &BTreeMap<GuildId, u64>,
) -> Result<Option<Beginning>, Error> {
    let user = session.user;
    let ids = app.store.guilds_of(user).await?;
    let mut beginning = Beginning::default();
    let mut bytes = 0;
    for guild in &ids {
        if !follow(app, session, *guild).await? {
            continue;
        }
        match had.get(guild) {
            Some(sequence) => {
                let told = replay(app, user, *guild, *sequence, &mut bytes, &mut beginning);
                if !told.await? {
                    return Ok(None);
                }
            }
            None => {
                if let Some(guild) = read(app, user, *guild).await? {
                    beginning.add(guild);
                }
            }
        }
    }
    for guild_id in had.keys().copied() {
        if !beginning.shown.iter().any(|(shown, _)| *shown == guild_id) {
            let event = Event::GuildRemoved { guild_id };
            beginning.bodies.push(Body::new(&event, About::Nobody));
        }
    }
    let shown: Vec<GuildId> = beginning.shown.iter().map(|(guild, _)| *guild).collect();
    for guild in shown {
        if let Some(state) = state(app, user, guild) {
            beginning.bodies.push(Body::new(&state, About::Nobody));
        }
    }
    beginning.bodies.push(Body::new(&Event::Resumed {}, About::Nobody));
    Ok(Some(beginning))
}

impl Beginning {
    /// Shows a whole guild.
    fn add(&mut self, guild: Guild) {
        self.shown.push((guild.id, guild.sequence));
        self.bodies.push(Body::new(&Event::GuildAdded(guild), About::Nobody));
    }
}

/// Adds what one guild's member missed after `sequence`; false when that cannot be told.
async fn replay(
    app: &App,
    user: UserId,
    guild: GuildId,
    sequence: u64,
    bytes: &mut usize,
    into: &mut Beginning,
) -> Result<bool, Error> {
    // What comes after the copy that is followed here is told by the dispatcher.
    let mut end = {
        let mut registry = app.gateway.registry();
        let Some(followed) = registry.followed(guild) else { return Ok(true) };
        if !followed.access.is_member(user) {
            return Ok(true);
        }
        followed.sequence
    };
    let mut events = app.store.events_after(guild, sequence, MAX_REPLAYED).await?;
    let mut fresh = None;
    if events.iter().any(|event| may_change_view(&event.event, user)) {
        let Some(now) = read(app, user, guild).await? else { return Ok(true) };
        end = now.sequence;
        fresh = Some(now);
        events = app.store.events_after(guild, sequence, MAX_REPLAYED).await?;
    }
    let place = |event: &Published| event.position.map_or(0, |position| position.sequence);
    let mut last = sequence;
    let mut deliveries = Vec::new();
    for event in &events {
        let next = place(event);
        if next > end {
            break;
        }
        if next != last + 1 {
            return Ok(false);
        }
        last = next;
        deliveries.push(event);
    }
    if last < end {
        // Forgotten, or more than are told.
        return Ok(false);
    }
    let own = fresh.as_ref().map(visible_of);
    for published in deliveries {
        if !concerns(app, user, guild, published, own.as_deref()) {
            continue;
        }
        let body = Body::new(&published.event, About::Guild(guild, Some(place(published))));
        *bytes += body.len();
        if *bytes > MAX_REPLAYED_BYTES {
            return Ok(false);
        }
        into.bodies.push(body);
    }
    match fresh {
        // Channels may have come and gone for the member: the whole guild tells which.
        Some(fresh) => into.add(fresh),
        None => into.shown.push((guild, last.max(sequence))),
    }
    Ok(true)
}

/// True for what may show channels to somebody, or hide them.
fn may_change_view(event: &Event, user: UserId) -> bool {
    match event {
        Event::MemberUpdated { member, .. } => member.user.id == user,
        Event::GuildUpdated { .. }
        | Event::RoleUpdated(_)
        | Event::RoleDeleted { .. }
        | Event::ChannelCreated(_)
        | Event::ChannelUpdated(_)
        | Event::ChannelDeleted { .. } => true,
        _ => false,
    }
}

fn visible_of(guild: &Guild) -> Vec<ChannelId> {
    guild.channels.iter().map(|channel| channel.id).collect()
}

/// True for an event that is for this member, by what he sees now.
fn concerns(
    app: &App,
    user: UserId,
    guild: GuildId,
    published: &Published,
    visible: Option<&[ChannelId]>,
) -> bool {
    let channel = match &published.audience {
        Audience::Guild(_) => access::channel_of(&published.event),
        Audience::Channel(_, channel) => Some(*channel),
        Audience::User(other) if *other == user => None,
        Audience::Users(users) if users.contains(&user) => None,
        Audience::User(_) | Audience::Users(_) | Audience::Room(_) => return false,
    };
    match &published.event {
        Event::UserJoinedVoice { .. } | Event::UserLeftVoice { .. } => return false,
        // The whole guild follows.
        Event::ChannelDeleted { .. } => return visible.is_none(),
        _ => {}
    }
    match (channel, visible) {
        (None, _) => true,
        (Some(channel), Some(visible)) => visible.contains(&channel),
        (Some(channel), None) => {
            let mut registry = app.gateway.registry();
            registry.followed(guild).is_some_and(|it| it.access.sees(user, channel))
        }
    }
}

/// What stands outside a guild's events, as one member may see it.
pub(super) fn state(app: &App, user: UserId, guild: GuildId) -> Option<Event> {
    let (channels, members) = {
        let mut registry = app.gateway.registry();
        let access = &registry.followed(guild)?.access;
        let channels: Vec<_> =
            access.voice_channels().into_iter().filter(|it| access.sees(user, *it)).collect();
        (channels, access.members().collect::<Vec<_>>())
    };
    let states = channels.iter().flat_map(|it| domain::guild::voice_states(app, guild, *it));
    let voice_states = states.collect();
    let presences = app.gateway.presences().of(members);
    Some(Event::GuildState { guild_id: guild, voice_states, presences })
}
