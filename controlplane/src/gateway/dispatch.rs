//! Routes what the bus carries to the sessions that it is for, in the bus's order.
//! A snapshot that belongs to an event is taken here, after the subscription that follows it up,
//! so that nothing falls between the two.

use std::sync::Arc;
use std::time::Duration;

use hype_protocol::gateway::{CloseCode, Event};
use hype_protocol::id::{GuildId, RoomId, UserId};
use tokio::time::{Instant, MissedTickBehavior};

use super::session::{Body, Session};
use crate::app::Shared;
use crate::domain;
use crate::event::{Audience, Published, ReceiveError, Subscription};

/// How often sessions that nobody resumed are removed.
const SWEEP_PERIOD: Duration = Duration::from_secs(5);
/// How long a fresh look at a guild may hold up the others' events.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn run(app: Shared, mut subscription: Subscription) {
    let mut sweep = tokio::time::interval(SWEEP_PERIOD);
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut targets = Vec::new();
    loop {
        tokio::select! {
            received = subscription.receive() => match received {
                Ok(published) => {
                    route(&app, &published, &mut targets).await;
                    targets.clear();
                }
                Err(ReceiveError::Lagged(missed)) => {
                    tracing::warn!(missed, "gateway fell behind; all clients reload");
                    app.gateway.registry().clear(CloseCode::InvalidSequence);
                }
                Err(ReceiveError::Closed) => return,
            },
            _ = sweep.tick() => app.gateway.registry().sweep(Instant::now()),
            () = app.stopped() => {
                app.gateway.registry().clear(CloseCode::GoingAway);
                return;
            }
        }
    }
}

async fn route(app: &Shared, published: &Published, targets: &mut Vec<Arc<Session>>) {
    note_rooms(app, &published.event);
    select(app, &published.audience, targets);
    if targets.is_empty() {
        return;
    }
    let body = match &published.event {
        Event::GuildAdded(guild) => {
            {
                let mut registry = app.gateway.registry();
                for session in &*targets {
                    registry.follow(session, guild.id);
                }
            }
            match fresh_guild(app, targets[0].user, guild.id).await {
                Some(fresh) => Body::new(&fresh),
                None => Body::new(&published.event),
            }
        }
        event => Body::at(event, published.position),
    };
    let delivered = u64::try_from(targets.len()).unwrap_or(u64::MAX);
    metrics::counter!("hype_control_gateway_events_total").increment(delivered);
    for session in &*targets {
        session.deliver(body.clone());
    }
    if let Event::GuildRemoved { guild_id } = &published.event {
        let mut registry = app.gateway.registry();
        for session in &*targets {
            registry.unfollow(session, *guild_id);
        }
    }
}

fn select(app: &Shared, audience: &Audience, targets: &mut Vec<Arc<Session>>) {
    let registry = app.gateway.registry();
    match audience {
        Audience::Guild(guild) | Audience::Channel(guild, _) => registry.of_guild(*guild, targets),
        Audience::User(user) => registry.of_user(*user, targets),
        Audience::Users(users) => {
            for user in users.iter() {
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

/// The guild as it is now: what happened in it since the event was published reached the sessions
/// of its new member by no other way.
async fn fresh_guild(app: &Shared, user: UserId, guild: GuildId) -> Option<Event> {
    let fresh = tokio::time::timeout(SNAPSHOT_TIMEOUT, domain::guild::get(app, user, guild)).await;
    match fresh {
        Ok(Ok(guild)) => Some(Event::GuildAdded(guild)),
        Ok(Err(error)) => {
            tracing::warn!(%error, %guild, "a new guild is shown as it was when it was added");
            None
        }
        Err(_) => None,
    }
}
