//! What the owner of a guild can do to people in its voice channels. The engine enforces it: a
//! muted person's packets are dropped at the node, whatever the client does. A decision is kept,
//! so leaving and joining again undoes nothing.

use hype_protocol::id::{GuildId, UserId};
use hype_protocol::observation::{CloseReason, FlagsChange, VoiceFlags};

use crate::app::App;
use crate::domain::member;
use crate::error::Error;

/// What shall change; none leaves a thing as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Change {
    /// Nobody hears the person.
    pub server_mute: Option<bool>,
    /// The person hears nobody.
    pub server_deaf: Option<bool>,
    /// The person is put out of the voice channel (and may join again).
    pub disconnect: bool,
}

/// Changes what a member may do in the voice channels of a guild, now and at the next joins.
///
/// # Errors
/// [`Error::NotFound`] for strangers, or when the person is no member of the guild;
/// [`Error::Forbidden`] for members who do not own the guild.
pub async fn change_voice(
    app: &App,
    caller: UserId,
    guild: GuildId,
    target: UserId,
    change: Change,
) -> Result<(), Error> {
    member::require_owner(app, guild, caller).await?;
    let mut write = app.store.write_guild(guild).await?.ok_or(Error::NotFound)?;
    let decided = write.decide_voice(target, change.server_mute, change.server_deaf).await?;
    decided.ok_or(Error::NotFound)?;
    write.commit().await?;
    for session in app.voice.sessions_of(target) {
        let channel = app.store.channel(session.room.into()).await?;
        if channel.is_none_or(|channel| channel.guild_id != guild) {
            continue;
        }
        let outcome = if change.disconnect {
            app.voice.close(session.session, CloseReason::Removed)
        } else {
            let flags = FlagsChange {
                server_mute: change.server_mute,
                server_deaf: change.server_deaf,
                ..FlagsChange::default()
            };
            app.voice.flags(session.session, flags)
        };
        match outcome {
            // It ended meanwhile: what was asked for holds at the next join.
            Ok(()) | Err(Error::NoSession) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `flags` with what moderators decided about the person in this guild: for a session that opens.
///
/// # Errors
/// When the store fails.
pub async fn apply_decision(
    app: &App,
    guild: GuildId,
    user: UserId,
    flags: VoiceFlags,
) -> Result<VoiceFlags, Error> {
    let decision = app.store.voice_decision(guild, user).await?.unwrap_or_default();
    Ok(VoiceFlags { server_mute: decision.mute, server_deaf: decision.deaf, ..flags })
}
