//! What moderators do to people in voice channels: mute, deafen, disconnect and move them. The
//! engine enforces it: a muted person's packets are dropped at the node, whatever the client does.
//! A decision is kept, so leaving and joining again undoes nothing.

use hype_protocol::gateway::{ChannelKind, Event};
use hype_protocol::id::{ChannelId, GuildId, UserId};
use hype_protocol::observation::{CloseReason, FlagsChange, SessionStatus};
use hype_protocol::permission::Permissions;
use serde_json::json;

use crate::app::App;
use crate::domain::audit::{self, Act};
use crate::domain::{member, permission};
use crate::error::Error;
use crate::event::Audience;

/// What shall change; none leaves a thing as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Nobody hears the person.
    pub server_mute: Option<bool>,
    /// The person hears nobody.
    pub server_deaf: Option<bool>,
    /// The person is put out of the voice channel (and may join again).
    pub disconnect: bool,
    /// The person is moved to this voice channel, when he is in another one of the guild.
    pub move_to: Option<ChannelId>,
}

impl Change {
    /// What the caller needs for it.
    fn wanted(&self) -> Permissions {
        let mut wanted = Permissions::NONE;
        if self.server_mute.is_some() {
            wanted = wanted | Permissions::MUTE_MEMBERS;
        }
        if self.server_deaf.is_some() {
            wanted = wanted | Permissions::DEAFEN_MEMBERS;
        }
        if self.disconnect || self.move_to.is_some() {
            wanted = wanted | Permissions::MOVE_MEMBERS;
        }
        wanted
    }
}

/// Changes what a member may do in the voice channels of a guild, now and at the next joins.
///
/// # Errors
/// [`Error::NotFound`] for strangers, when the person is no member of the guild, or when the caller
/// may not see the channel; [`Error::MissingPermission`], [`Error::Outranked`],
/// [`Error::NotAVoiceChannel`], [`Error::InvalidRequest`], and [`Error::NoSession`] when there is
/// nobody to move.
pub async fn change_voice(
    app: &App,
    caller: UserId,
    guild: GuildId,
    target: UserId,
    change: Change,
) -> Result<(), Error> {
    let access = member::require(app, guild, caller, Permissions::NONE).await?;
    let sessions = sessions_in_guild(app, guild, target).await?;
    // Where the person is, the channel's overwrites count as well.
    let held = match sessions.first() {
        Some(session) => match member::in_channel(app, session.room.into(), caller).await {
            Ok(found) => found.permissions,
            Err(Error::NotFound) => Permissions::NONE,
            Err(error) => return Err(error),
        },
        None => permission::in_guild(&access),
    };
    member::check(held, change.wanted())?;
    if let Some(to) = change.move_to {
        check_move(app, (caller, target), guild, to).await?;
    }
    let (mut write, access) = member::change(app, guild, caller, Permissions::NONE).await?;
    let standing = write.access(target).await?.ok_or(Error::NotFound)?;
    member::outranks(&access, &standing)?;
    if change.move_to.is_some() && sessions.is_empty() {
        return Err(Error::NoSession);
    }
    let decided = write.decide_voice(target, change.server_mute, change.server_deaf).await?;
    let decided = decided.ok_or(Error::NotFound)?;
    let before = json!({ "server_mute": standing.mute, "server_deaf": standing.deaf });
    let mut after = json!({ "server_mute": decided.mute, "server_deaf": decided.deaf });
    if before != after {
        let mut member = write.member(target).await?.ok_or(Error::NotFound)?;
        let name = app.store.user(target).await?.map(|user| user.name);
        member.user.name = name.unwrap_or_default();
        let event = Event::MemberUpdated { guild_id: guild, member };
        write.tell(&Audience::Guild(guild), &event).await?;
    }
    if change.disconnect {
        after["disconnect"] = true.into();
    }
    if let Some(to) = change.move_to {
        after["channel_id"] = to.to_string().into();
    }
    if before != after {
        let act = Act { actor: caller, action: "member.voice", target: target.0, reason: "" };
        audit::record(app, &mut write, act, before, after).await?;
    }
    write.commit().await?;
    for session in sessions {
        apply(app, &session, change)?;
    }
    Ok(())
}

/// The person's sessions in voice channels of a guild: one, but for a moment.
async fn sessions_in_guild(
    app: &App,
    guild: GuildId,
    user: UserId,
) -> Result<Vec<SessionStatus>, Error> {
    let mut found = Vec::new();
    for session in app.voice.sessions_of(user) {
        if app.store.guild_of_channel(session.room.into()).await? == Some(guild) {
            found.push(session);
        }
    }
    Ok(found)
}

/// Refuses to move somebody where the caller may not move people, or the person may not be.
async fn check_move(
    app: &App,
    (caller, target): (UserId, UserId),
    guild: GuildId,
    to: ChannelId,
) -> Result<(), Error> {
    let found = member::in_channel(app, to, caller).await?;
    if found.channel.guild_id != guild {
        return Err(Error::NotFound);
    }
    if found.channel.kind != ChannelKind::Voice {
        return Err(Error::NotAVoiceChannel);
    }
    member::check(found.permissions, Permissions::MOVE_MEMBERS)?;
    let there = match member::in_channel(app, to, target).await {
        Ok(found) => found.permissions,
        Err(Error::NotFound) => Permissions::NONE,
        Err(error) => return Err(error),
    };
    if there.contains(Permissions::CONNECT) {
        return Ok(());
    }
    Err(Error::invalid("this member may not connect to that channel"))
}

/// Tells the node of a session.
fn apply(app: &App, session: &SessionStatus, change: Change) -> Result<(), Error> {
    let outcome = match change.move_to {
        _ if change.disconnect => app.voice.close(session.session, CloseReason::Removed),
        // Already there.
        Some(to) if ChannelId::from(session.room) == to => Ok(()),
        Some(to) => app.voice.close(session.session, CloseReason::Moved { to: to.into() }),
        None => {
            let flags = FlagsChange {
                server_mute: change.server_mute,
                server_deaf: change.server_deaf,
                ..FlagsChange::default()
            };
            app.voice.flags(session.session, flags)
        }
    };
    match outcome {
        // It ended meanwhile: what was asked for holds at the next join.
        Ok(()) | Err(Error::NoSession) => Ok(()),
        Err(error) => Err(error),
    }
}
