//! Who may see a guild and what is in it. To everybody else it does not exist: strangers get the
//! same answer for a foreign id as for one that nothing has.

use hype_protocol::gateway::{Channel, ChannelKind};
use hype_protocol::id::{ChannelId, GuildId, UserId};

use crate::app::App;
use crate::error::Error;

/// Checks that somebody is a member of a guild.
///
/// # Errors
/// [`Error::NotFound`] when not.
pub async fn require(app: &App, guild: GuildId, user: UserId) -> Result<(), Error> {
    if app.store.is_member(guild, user).await? { Ok(()) } else { Err(Error::NotFound) }
}

/// Checks that somebody owns a guild.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::Forbidden`] for other members.
pub async fn require_owner(app: &App, guild: GuildId, user: UserId) -> Result<(), Error> {
    require(app, guild, user).await?;
    match app.store.guild_owner(guild).await? {
        Some(owner) if owner == user => Ok(()),
        Some(_) => Err(Error::Forbidden),
        None => Err(Error::NotFound),
    }
}

/// A channel, if somebody is a member of its guild.
///
/// # Errors
/// [`Error::NotFound`] when it does not exist or its guild is not one of theirs.
pub async fn channel(app: &App, id: ChannelId, user: UserId) -> Result<Channel, Error> {
    let channel = app.store.channel(id).await?.ok_or(Error::NotFound)?;
    require(app, channel.guild_id, user).await?;
    Ok(channel)
}

/// A voice channel, if somebody is a member of its guild.
///
/// # Errors
/// As [`channel`], and [`Error::NotAVoiceChannel`].
pub async fn voice_channel(app: &App, id: ChannelId, user: UserId) -> Result<Channel, Error> {
    let channel = channel(app, id, user).await?;
    match channel.kind {
        ChannelKind::Voice => Ok(channel),
        ChannelKind::Text | ChannelKind::Category => Err(Error::NotAVoiceChannel),
    }
}
