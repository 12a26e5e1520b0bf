//! Rights act at once on people who are connected: whoever may no longer be in a channel leaves it,
//! whoever may no longer speak or stream there is not forwarded by the engine, and is again as soon
//! as he may. One task hears on the bus what changes rights and looks at the sessions concerned.
//! Every replica does it for all nodes, so it does not matter which one dies: the orders are the
//! same, and a node does each once.

use std::collections::HashSet;
use std::time::Duration;

use hype_protocol::gateway::Event;
use hype_protocol::id::{ChannelId, GuildId, RoomId, UserId};
use hype_protocol::observation::{CloseReason, FlagsChange, SessionStatus, VoiceFlags};
use hype_protocol::permission::Permissions;
use tokio::time::{Instant, sleep, timeout_at};

use crate::app::{App, Shared};
use crate::domain::member::{self, InChannel};
use crate::error::Error;
use crate::event::{ReceiveError, Subscription};

/// For how long further changes are collected before people are looked at: one command of a
/// moderator may change many roles.
const COLLECT: Duration = Duration::from_millis(20);
/// When to look again after the database or a node did not answer.
const RETRY: Duration = Duration::from_millis(250);
/// Changes that are told apart; more of them at once concern everybody.
const MAX_SCOPES: usize = 1000;

/// Whose sessions a change concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Scope {
    Member(GuildId, UserId),
    Room(RoomId),
    Guild(GuildId),
    Everybody,
}

fn scope(event: &Event) -> Option<Scope> {
    match event {
        Event::MemberUpdated { guild_id, member } => Some(Scope::Member(*guild_id, member.user.id)),
        Event::MemberRemoved { guild_id, user_id } => Some(Scope::Member(*guild_id, *user_id)),
        Event::ChannelUpdated(channel) => Some(Scope::Room(channel.id.into())),
        Event::ChannelDeleted { channel_id, .. } => Some(Scope::Room((*channel_id).into())),
        Event::RoleUpdated(role) => Some(Scope::Guild(role.guild_id)),
        Event::RoleDeleted { guild_id, .. } | Event::GuildUpdated { guild_id, .. } => {
            Some(Scope::Guild(*guild_id))
        }
        // All others change nobody's rights.
        _ => None,
    }
}

/// What others than the person change, from the flags that hold to those that are decided.
pub fn change(held: VoiceFlags, decided: VoiceFlags) -> FlagsChange {
    let differs = |held: bool, decided: bool| (held != decided).then_some(decided);
    FlagsChange {
        self_mute: None,
        self_deaf: None,
        server_mute: differs(held.server_mute, decided.server_mute),
        server_deaf: differs(held.server_deaf, decided.server_deaf),
        suppressed: differs(held.suppressed, decided.suppressed),
        no_stream: differs(held.no_stream, decided.no_stream),
    }
}

fn flags_of(found: &InChannel, own: VoiceFlags) -> VoiceFlags {
    VoiceFlags {
        server_mute: found.access.mute,
        server_deaf: found.access.deaf,
        suppressed: !found.permissions.contains(Permissions::SPEAK),
        no_stream: !found.permissions.contains(Permissions::STREAM),
        ..own
    }
}

/// `own` flags with what roles, overwrites and moderators decide about the person in a channel.
///
/// # Errors
/// [`Error::NotFound`], or [`Error::MissingPermission`], when he may not be there.
pub async fn decided(
    app: &App,
    channel: ChannelId,
    user: UserId,
    own: VoiceFlags,
) -> Result<VoiceFlags, Error> {
    let found = member::in_channel(app, channel, user).await?;
    member::check(found.permissions, Permissions::CONNECT)?;
    Ok(flags_of(&found, own))
}

/// Runs until this replica stops.
pub async fn run(app: Shared, mut changes: Subscription) {
    let mut due: HashSet<Scope> = HashSet::new();
    loop {
        if due.is_empty() {
            let Some(scope) = next(&mut changes).await else { return };
            due.extend(scope);
        }
        let until = Instant::now() + COLLECT;
        while let Ok(received) = timeout_at(until, next(&mut changes)).await {
            let Some(scope) = received else { return };
            due.extend(scope);
        }
        if due.len() > MAX_SCOPES || due.contains(&Scope::Everybody) {
            due = HashSet::from([Scope::Everybody]);
        }
        let mut again = HashSet::new();
        for scope in due {
            if let Err(error) = enforce(&app, scope).await {
                metrics::counter!("hype_control_enforce_errors_total").increment(1);
                tracing::warn!(%error, ?scope, "rights could not be enforced; trying again");
                again.insert(scope);
            }
        }
        due = again;
        if !due.is_empty() {
            sleep(RETRY).await;
        }
    }
}

/// Whom the next event concerns, if anybody; none at the end of the bus.
async fn next(changes: &mut Subscription) -> Option<Option<Scope>> {
    match changes.receive().await {
        Ok(published) => Some(scope(&published.event)),
        Err(ReceiveError::Lagged(_)) => Some(Some(Scope::Everybody)),
        Err(ReceiveError::Closed) => None,
    }
}

async fn enforce(app: &App, scope: Scope) -> Result<(), Error> {
    let mut outcome = Ok(());
    for session in concerned(app, scope).await? {
        // One whose node is away keeps nobody else from being looked at.
        if let Err(error) = look_at(app, &session).await {
            outcome = Err(error);
        }
    }
    outcome
}

async fn concerned(app: &App, scope: Scope) -> Result<Vec<SessionStatus>, Error> {
    let (rooms, wanted) = match scope {
        Scope::Room(room) => return Ok(app.voice.sessions_in(room)),
        Scope::Member(guild, user) => {
            let mut found = Vec::new();
            for session in app.voice.sessions_of(user) {
                if app
                    .store
                    .guild_of_channel(session.room.into())
                    .await?
                    .is_none_or(|it| it == guild)
                {
                    found.push(session);
                }
            }
            return Ok(found);
        }
        Scope::Guild(guild) => (app.voice.rooms(), Some(guild)),
        Scope::Everybody => (app.voice.rooms(), None),
    };
    let mut found = Vec::new();
    for room in rooms {
        let guild = app.store.guild_of_channel(room.into()).await?;
        // A channel of no guild is gone, and nobody stays in it.
        if wanted.is_none() || guild.is_none() || guild == wanted {
            found.extend(app.voice.sessions_in(room));
        }
    }
    Ok(found)
}

async fn look_at(app: &App, session: &SessionStatus) -> Result<(), Error> {
    let decided = decided(app, session.room.into(), session.user, session.flags).await;
    let outcome = match decided {
        Ok(flags) if flags == session.flags => Ok(()),
        Ok(flags) => app.voice.flags(session.session, change(session.flags, flags)),
        Err(Error::NotFound | Error::MissingPermission(_)) => {
            app.voice.close(session.session, CloseReason::Removed)
        }
        Err(error) => Err(error),
    };
    match outcome {
        // It ended meanwhile.
        Err(Error::NoSession) => Ok(()),
        other => other,
    }
}
