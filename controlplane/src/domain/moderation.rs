//! What the owner of a guild can do to people in its voice channels. The engine enforces it: a
//! muted person's packets are dropped at the node, whatever the client does.

use hype_protocol::id::{GuildId, UserId};
use hype_protocol::observation::CloseReason;

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

/// Changes a member's voice sessions in a guild.
///
/// # Errors
/// [`Error::NotFound`] for strangers, or when the person is in no voice channel of the guild;
/// [`Error::Forbidden`] for members who do not own the guild.
pub async fn change_voice(
    app: &App,
    caller: UserId,
    guild: GuildId,
    target: UserId,
    change: Change,
) -> Result<(), Error> {
    member::require_owner(app, guild, caller).await?;
    let mut found = false;
    for session in app.voice.sessions_of(target) {
        let channel = app.store.channel(session.room.into()).await?;
        if channel.is_none_or(|channel| channel.guild_id != guild) {
            continue;
        }
        found = true;
        if change.disconnect {
            app.voice.close(session.session, CloseReason::Removed)?;
            continue;
        }
        let mut flags = session.flags;
        flags.server_mute = change.server_mute.unwrap_or(flags.server_mute);
        flags.server_deaf = change.server_deaf.unwrap_or(flags.server_deaf);
        if flags != session.flags {
            app.voice.flags(session.session, flags)?;
        }
    }
    if found { Ok(()) } else { Err(Error::NotFound) }
}
