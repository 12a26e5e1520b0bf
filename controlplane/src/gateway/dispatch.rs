//! Routes what the bus carries to the sessions that it is for. Of each guild that somebody here is
//! in, every durable event is told once and in order, whatever the bus does: what it brings twice is
//! dropped, and what it left out is read from the database.

use std::sync::Arc;
use std::time::Duration;

use hype_protocol::gateway::{CloseCode, Event, Position};
use hype_protocol::id::{GuildId, RoomId, UserId};
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::session::{About, Body, Session};
use super::{beginning, tell};
use crate::app::Shared;
use crate::event::{Audience, Published, ReceiveError, Subscription};

/// How often sessions that nobody resumed are removed.
const SWEEP_PERIOD: Duration = Duration::from_secs(5);
/// How often it is looked for guilds of which events are missing.
const CATCH_UP_PERIOD: Duration = Duration::from_millis(250);
/// How long a look at the database may hold up everybody's events.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// Events of one read.
const READ: u32 = 500;
/// Over more missing events than this, a guild's people reload.
const MAX_MISSING: u64 = 5000;

pub(super) async fn run(app: Shared, mut subscription: Subscription) {
    let mut sweep = tokio::time::interval(SWEEP_PERIOD);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut look = tokio::time::interval(CATCH_UP_PERIOD);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            received = subscription.receive() => match received {
                Ok(published) => match published.position {
                    Some(position) => durable(&app, &published, position).await,
                    None => transient(&app, &published).await,
                },
                Err(ReceiveError::Lagged(missed)) => {
                    tracing::warn!(missed, "gateway fell behind; all clients reload");
                    app.gateway.registry().clear(CloseCode::InvalidSequence);
                }
                Err(ReceiveError::Closed) => return,
            },
            _ = look.tick() => {
                let behind = app.gateway.registry().take_behind();
                for guild in behind {
                    catch_up(&app, guild).await;
                }
            }
            _ = sweep.tick() => app.gateway.registry().sweep(Instant::now()),
            () = app.stopped() => {
                app.gateway.registry().clear(CloseCode::GoingAway);
                return;
            }
        }
    }
}

/// A durable event came: the next one, one that was told already, or one after a gap.
async fn durable(app: &Shared, published: &Published, position: Position) {
    let Position { guild_id, sequence } = position;
    let told = app.gateway.registry().followed(guild_id).map(|followed| followed.sequence);
    match told {
        Some(told) if sequence <= told => {}
        Some(told) if sequence > told + 1 => {
            metrics::counter!("hype_control_gateway_gaps_total").increment(1);
            catch_up(app, guild_id).await;
        }
        Some(_) => next(app, published, position).await,
        None => newcomer(app, &published.event).await,
    }
}

/// Reads what is missing of a guild and tells it.
async fn catch_up(app: &Shared, guild: GuildId) {
    let mut missing = 0;
    loop {
        let told = app.gateway.registry().followed(guild).map(|followed| followed.sequence);
        let Some(told) = told else { return };
        let read = timeout(READ_TIMEOUT, app.store.events_after(guild, told, READ)).await;
        let events = match read {
            Ok(Ok(events)) => events,
            Ok(Err(cause)) => {
                tracing::warn!(%cause, %guild, "missing events wait for the database");
                app.gateway.registry().put_behind(guild);
                return;
            }
            Err(_) => {
                app.gateway.registry().put_behind(guild);
                return;
            }
        };
        let Some(first) = events.first().and_then(|event| event.position) else { return };
        missing += events.len() as u64;
        if first.sequence != told + 1 || missing > MAX_MISSING {
            tracing::warn!(%guild, told, "too many events were missed; the guild's people reload");
            app.gateway.registry().clear_guild(guild, CloseCode::InvalidSequence);
            return;
        }
        for published in &events {
            if let Some(position) = published.position {
                next(app, published, position).await;
            }
        }
        if events.len() < READ as usize {
            return;
        }
    }
}

/// Tells the next event of a guild.
async fn next(app: &Shared, published: &Published, position: Position) {
    let Position { guild_id, sequence } = position;
    let Published { audience, event, .. } = published;
    let mut deliveries = Vec::new();
    {
        let mut registry = app.gateway.registry();
        if let Some(followed) = registry.followed(guild_id) {
            followed.take(guild_id, sequence, audience, event, &mut deliveries);
        }
    }
    deliver(app, deliveries);
    newcomer(app, event).await;
}

fn deliver(app: &Shared, deliveries: tell::Deliveries) {
    let delivered = u64::try_from(deliveries.len()).unwrap_or(u64::MAX);
    metrics::counter!("hype_control_gateway_events_total").increment(delivered);
    for (session, body) in deliveries {
        let removed = body.removes();
        session.deliver(body);
        if let Some(guild) = removed {
            app.gateway.registry().unfollow(&session, guild);
        }
    }
}

/// Somebody joined a guild, perhaps at another replica: his sessions here show it from now on.
async fn newcomer(app: &Shared, event: &Event) {
    if let Event::MemberAdded { guild_id, member } = event {
        let user = member.user.id;
        // A session that began before this event came shows the guild already, as read from the
        // database, but has missed what nobody keeps: until now he was no member here.
        let mut early = Vec::new();
        app.gateway.registry().of_user(user, &mut early);
        early.retain(|session| session.shows(*guild_id) != Some(false));
        add_guild(app, *guild_id, user).await;
        if !early.is_empty()
            && let Some(state) = beginning::state(app, user, *guild_id)
        {
            let body = Body::new(&state, About::Guild(*guild_id, None));
            early.iter().for_each(|session| session.deliver(body.clone()));
        }
        // He may have been there before he was a member.
        for presence in app.gateway.presences().of([member.user.id]) {
            let event = Event::Presence { guild_id: *guild_id, presence };
            app.bus.publish(Audience::Guild(*guild_id), event);
        }
    }
}

async fn add_guild(app: &Shared, guild: GuildId, user: UserId) {
    let mut sessions = Vec::new();
    app.gateway.registry().of_user(user, &mut sessions);
    sessions.retain(|session| session.shows(guild) != Some(true));
    if sessions.is_empty() {
        return;
    }
    match timeout(READ_TIMEOUT, beginning::added(app, guild, user, &sessions)).await {
        Ok(Ok(Some(body))) => {
            for session in sessions {
                session.deliver(body.clone());
            }
        }
        // No member any more: his removal follows.
        Ok(Ok(None)) => {}
        Ok(Err(_)) | Err(_) => {
            tracing::warn!(%guild, "a new guild cannot be read; its new member resumes");
            let mut registry = app.gateway.registry();
            for session in sessions {
                registry.remove(&session.key, CloseCode::Unknown);
            }
        }
    }
}

/// Something that nobody keeps.
async fn transient(app: &Shared, published: &Published) {
    let Published { audience, event, .. } = published;
    note_rooms(app, event);
    match (event, audience) {
        (Event::GuildAdded(guild), Audience::User(user)) => {
            add_guild(app, guild.id, *user).await;
            return;
        }
        (Event::GuildRemoved { guild_id }, Audience::User(user)) => {
            let mut deliveries = Vec::new();
            let mut sessions = Vec::new();
            app.gateway.registry().of_user(*user, &mut sessions);
            let body = Body::new(event, About::Removed(*guild_id));
            deliveries.extend(sessions.into_iter().map(|session| (session, body.clone())));
            deliver(app, deliveries);
            return;
        }
        _ => {}
    }
    let mut deliveries = Vec::new();
    if let Audience::Guild(guild) | Audience::Channel(guild, _) = audience {
        if let Some(followed) = app.gateway.registry().followed(*guild) {
            followed.tell(audience, event, About::Guild(*guild, None), &mut deliveries);
        }
    } else {
        let mut targets = Vec::new();
        select(app, audience, &mut targets);
        if !targets.is_empty() {
            let body = Body::new(event, About::Nobody);
            deliveries.extend(targets.into_iter().map(|session| (session, body.clone())));
        }
    }
    deliver(app, deliveries);
}

fn select(app: &Shared, audience: &Audience, targets: &mut Vec<Arc<Session>>) {
    let registry = app.gateway.registry();
    match audience {
        // Told by who sees what.
        Audience::Guild(_) | Audience::Channel(..) => {}
        Audience::User(user) => registry.of_user(*user, targets),
        Audience::Users(users) => {
            for user in users {
                registry.of_user(*user, targets);
            }
        }
        Audience::Room(room) => {
            if !registry.of_room(*room, targets) {
                // Never the two locks at once: the media plane may be publishing.
                drop(registry);
                learn_room(app, *room);
                app.gateway.registry().of_room(*room, targets);
            }
        }
    }
}

fn learn_room(app: &Shared, room: RoomId) {
    let people = app.voice.sessions_in(room);
    let people: Vec<_> = people.into_iter().map(|status| (status.session, status.user)).collect();
    if !people.is_empty() {
        app.gateway.registry().learn_room(room, people);
    }
}

/// Keeps what is known of rooms. A room may be known better than the event says, or the event be
/// about somebody who is gone already: each is put right by the next event about him.
fn note_rooms(app: &Shared, event: &Event) {
    match event {
        Event::VoiceState(state) => {
            app.gateway.registry().entered(
                state.channel_id.into(),
                state.session_id,
                state.user_id,
            );
        }
        Event::VoiceLeft { channel_id, session_id, .. } => {
            app.gateway.registry().left((*channel_id).into(), *session_id);
        }
        // One that its node never opened was counted in the room, but nobody is told that it left.
        Event::VoiceEnded { channel_id, session_id, .. } => {
            app.gateway.registry().left(*channel_id, *session_id);
        }
        _ => {}
    }
}
