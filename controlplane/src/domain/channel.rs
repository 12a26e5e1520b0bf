//! Channels of a guild: made by its owner.

use hype_protocol::gateway::{Channel, ChannelKind, Event};
use hype_protocol::id::{ChannelId, GuildId, UserId};

use crate::app::App;
use crate::domain::{guild, member, text};
use crate::error::Error;
use crate::event::Audience;
use crate::store::snowflake::unix_ms;

/// The highest `user_limit`.
pub const MAX_USER_LIMIT: u32 = 1000;

/// What a new channel shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewChannel {
    /// Its name.
    pub name: String,
    /// Text or voice.
    pub kind: ChannelKind,
    /// The most people in a voice channel, 0–1,000; 0 for no limit of its own.
    pub user_limit: u32,
}

/// Makes a channel.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::Forbidden`] for members, [`Error::InvalidRequest`],
/// or [`Error::LimitReached`] when the guild has too many.
pub async fn create(
    app: &App,
    user: UserId,
    guild: GuildId,
    new: NewChannel,
) -> Result<Channel, Error> {
    member::require_owner(app, guild, user).await?;
    let name = text::title(&new.name)?;
    if new.user_limit > MAX_USER_LIMIT {
        return Err(Error::invalid(format!("user_limit must be 0 to {MAX_USER_LIMIT}")));
    }
    if new.kind != ChannelKind::Voice && new.user_limit != 0 {
        return Err(Error::invalid("user_limit is only for voice channels"));
    }
    let id = ChannelId(app.ids.next().await.map_err(Error::internal)?);
    let channel =
        Channel { user_limit: new.user_limit, ..guild::new_channel(id, guild, name, new.kind) };
    app.store.announce_channel(guild, id).await?;
    let mut write = app.store.write_guild(guild).await?.ok_or(Error::NotFound)?;
    if !write.add_channel(&channel, app.config.quotas.channels_per_guild, unix_ms()).await? {
        return Err(Error::LimitReached("this guild has as many channels as it can have"));
    }
    write.tell(&Audience::Guild(guild), &Event::ChannelCreated(channel.clone())).await?;
    write.commit().await?;
    Ok(channel)
}
