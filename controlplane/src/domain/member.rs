//! Who may do what in a guild. To strangers it does not exist: they get the same answer for a
//! foreign id as for one that nothing has, and so do members for a channel that they may not see.
//! Everyone acts only on roles and members strictly below his own highest role.

use hype_protocol::gateway::{Channel, ChannelKind, Member};
use hype_protocol::id::{ChannelId, GuildId, UserId};
use hype_protocol::permission::Permissions;

use crate::app::App;
use crate::domain::permission;
use crate::error::Error;
use crate::event::Audience;
use crate::store::access::Access;
use crate::store::guild_write::GuildWrite;

/// Refuses who lacks one of the `wanted` permissions.
///
/// # Errors
/// [`Error::MissingPermission`].
pub fn check(held: Permissions, wanted: Permissions) -> Result<(), Error> {
    if held.contains(wanted) { Ok(()) } else { Err(Error::MissingPermission(wanted & !held)) }
}

/// Checks that somebody is a member of a guild who may do this.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::MissingPermission`].
pub async fn require(
    app: &App,
    guild: GuildId,
    user: UserId,
    wanted: Permissions,
) -> Result<Access, Error> {
    let access = app.store.access(guild, user).await?.ok_or(Error::NotFound)?;
    check(permission::in_guild(&access), wanted)?;
    Ok(access)
}

/// Begins a change of a guild by somebody who may make it; what he may holds until it is done.
///
/// # Errors
/// As [`require`].
pub async fn change(
    app: &App,
    guild: GuildId,
    user: UserId,
    wanted: Permissions,
) -> Result<(GuildWrite, Access), Error> {
    // First without the guild's lock, so that strangers do not hold it.
    require(app, guild, user, wanted).await?;
    let mut write = app.store.write_guild(guild).await?.ok_or(Error::NotFound)?;
    let access = write.access(user).await?.ok_or(Error::NotFound)?;
    check(permission::in_guild(&access), wanted)?;
    Ok((write, access))
}

/// Begins a change of a channel by somebody who may make it.
///
/// # Errors
/// As [`channel`].
pub async fn change_channel(
    app: &App,
    id: ChannelId,
    user: UserId,
    wanted: Permissions,
) -> Result<(GuildWrite, InChannel), Error> {
    let guild = channel(app, id, user, wanted).await?.guild_id;
    let mut write = app.store.write_guild(guild).await?.ok_or(Error::NotFound)?;
    let access = write.access(user).await?.ok_or(Error::NotFound)?;
    let channel = write.channel(id).await?.ok_or(Error::NotFound)?;
    Ok((write, admitted(access, channel, wanted)?))
}

/// A channel with what somebody may do in it.
#[derive(Debug, Clone)]
pub struct InChannel {
    /// The channel.
    pub channel: Channel,
    /// The member's standing.
    pub access: Access,
    /// What he may do there: VIEW_CHANNEL is always among it.
    pub permissions: Permissions,
}

fn admitted(access: Access, channel: Channel, wanted: Permissions) -> Result<InChannel, Error> {
    let permissions = permission::in_channel(&access, &channel.overwrites);
    if !permissions.contains(Permissions::VIEW_CHANNEL) {
        return Err(Error::NotFound);
    }
    check(permissions, wanted)?;
    Ok(InChannel { channel, access, permissions })
}

/// A channel that somebody may see, with what he may do there.
///
/// # Errors
/// [`Error::NotFound`] when it does not exist or he may not see it.
pub async fn in_channel(app: &App, id: ChannelId, user: UserId) -> Result<InChannel, Error> {
    let guild = app.store.guild_of_channel(id).await?.ok_or(Error::NotFound)?;
    // First: it follows a guild that has moved.
    let access = app.store.access(guild, user).await?.ok_or(Error::NotFound)?;
    let channel = app.store.channel(id).await?.ok_or(Error::NotFound)?;
    admitted(access, channel, Permissions::NONE)
}

/// A channel, if somebody may see it and do this there.
///
/// # Errors
/// [`Error::NotFound`] when it does not exist or he may not see it, [`Error::MissingPermission`].
pub async fn channel(
    app: &App,
    id: ChannelId,
    user: UserId,
    wanted: Permissions,
) -> Result<Channel, Error> {
    let found = in_channel(app, id, user).await?;
    check(found.permissions, wanted)?;
    Ok(found.channel)
}

/// A voice channel, as [`channel`].
///
/// # Errors
/// As [`channel`], and [`Error::NotAVoiceChannel`].
pub async fn voice_channel(
    app: &App,
    id: ChannelId,
    user: UserId,
    wanted: Permissions,
) -> Result<Channel, Error> {
    let channel = channel(app, id, user, wanted).await?;
    match channel.kind {
        ChannelKind::Voice => Ok(channel),
        ChannelKind::Text | ChannelKind::Category => Err(Error::NotAVoiceChannel),
    }
}

/// True when the member acts on roles of this position.
pub fn rules(access: &Access, position: u32) -> bool {
    access.user == access.owner || position < access.top
}

/// Refuses to act on somebody who does not stand below: nobody does on the owner, nor, but for
/// the owner, on himself.
///
/// # Errors
/// [`Error::Outranked`].
pub fn outranks(access: &Access, target: &Access) -> Result<(), Error> {
    if access.user == access.owner || (target.user != target.owner && target.top < access.top) {
        return Ok(());
    }
    Err(Error::Outranked)
}

/// Some members of a guild, by their ids, after `after`; at most `limit`.
///
/// # Errors
/// [`Error::NotFound`] for strangers.
pub async fn list(
    app: &App,
    user: UserId,
    guild: GuildId,
    after: UserId,
    limit: u32,
) -> Result<Vec<Member>, Error> {
    require(app, guild, user, Permissions::NONE).await?;
    Ok(app.store.members(guild, after, limit).await?)
}

/// Members that one look at the store takes.
const SLICE: u32 = 1000;

/// Some members of a guild who may see a channel, by their ids, after `after`; at most `limit`.
///
/// # Errors
/// As [`channel`].
pub async fn list_of_channel(
    app: &App,
    user: UserId,
    channel: ChannelId,
    mut after: UserId,
    limit: u32,
) -> Result<Vec<Member>, Error> {
    let found = in_channel(app, channel, user).await?;
    let guild = found.channel.guild_id;
    let roles = app.store.roles(guild).await?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut seeing = Vec::new();
    // As many turns as the guild has slices of members, which its quota limits.
    loop {
        let slice = app.store.members(guild, after, SLICE).await?;
        let Some(last) = slice.last() else { return Ok(seeing) };
        after = last.user.id;
        for member in slice {
            let access = permission::access_of(guild, found.access.owner, &roles, &member);
            let held = permission::in_channel(&access, &found.channel.overwrites);
            if held.contains(Permissions::VIEW_CHANNEL) {
                seeing.push(member);
                if seeing.len() == limit {
                    return Ok(seeing);
                }
            }
        }
    }
}

/// For whom the events about a channel are.
pub fn audience(channel: &Channel) -> Audience {
    Audience::Channel(channel.guild_id, channel.id)
}
