//! Members who go: by themselves, put out, or put out for good.

use hype_protocol::gateway::Event;
use hype_protocol::id::{GuildId, UserId};
use hype_protocol::permission::Permissions;
use serde_json::{Value, json};

use crate::app::App;
use crate::domain::audit::{self, Act};
use crate::domain::{member, text};
use crate::error::Error;
use crate::event::Audience;
use crate::store::access::Access;
use crate::store::ban::Ban;
use crate::store::guild_write::GuildWrite;
use crate::store::snowflake::unix_ms;

/// Takes a member out of the guild. The gateway tells him that the guild is gone for him.
async fn take_out(write: &mut GuildWrite, user: UserId) -> Result<(), Error> {
    let guild = write.guild();
    write.remove_member(user).await?;
    let event = Event::MemberRemoved { guild_id: guild, user_id: user };
    Ok(write.tell(&Audience::Guild(guild), &event).await?)
}

/// Refuses to put out who does not stand below.
fn check_target(access: &Access, target: &Access) -> Result<(), Error> {
    if target.user == access.user && access.user == access.owner {
        return Err(Error::OwnerStays);
    }
    member::outranks(access, target)
}

/// Removes who has gone from the directory. Somebody may have come back meanwhile: then his row
/// stays, whichever of the two was first, because coming back writes it again as well.
async fn forget(app: &App, user: UserId, guild: GuildId) -> Result<(), Error> {
    app.store.forget_membership(user, guild).await?;
    if app.store.access(guild, user).await?.is_some() {
        app.store.announce_member(user, guild, u32::MAX).await?;
    }
    Ok(())
}

/// Leaves a guild.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::OwnerStays`].
pub async fn leave(app: &App, user: UserId, guild: GuildId) -> Result<(), Error> {
    let (mut write, access) = member::change(app, guild, user, Permissions::NONE).await?;
    if access.owner == user {
        return Err(Error::OwnerStays);
    }
    take_out(&mut write, user).await?;
    write.commit().await?;
    forget(app, user, guild).await
}

/// Puts a member out of a guild; he may come back.
///
/// # Errors
/// [`Error::NotFound`] for strangers, or when the person is no member;
/// [`Error::MissingPermission`], [`Error::Outranked`], [`Error::OwnerStays`].
pub async fn kick(
    app: &App,
    user: UserId,
    guild: GuildId,
    target: UserId,
    reason: &str,
) -> Result<(), Error> {
    let reason = text::reason(reason)?;
    let (mut write, access) = member::change(app, guild, user, Permissions::KICK_MEMBERS).await?;
    let standing = write.access(target).await?.ok_or(Error::NotFound)?;
    check_target(&access, &standing)?;
    take_out(&mut write, target).await?;
    let act = Act { actor: user, action: "member.kick", target: target.0, reason: &reason };
    audit::record(app, &mut write, act, Value::Null, Value::Null).await?;
    write.commit().await?;
    forget(app, target, guild).await
}

/// Puts somebody out of a guild for good, also who is no member yet. Again it changes nothing.
///
/// # Errors
/// As [`kick`], but [`Error::NotFound`] only when there is no such person; [`Error::LimitReached`]
/// when the guild has too many bans.
pub async fn ban(
    app: &App,
    user: UserId,
    guild: GuildId,
    target: UserId,
    reason: &str,
) -> Result<(), Error> {
    let reason = text::reason(reason)?;
    member::require(app, guild, user, Permissions::BAN_MEMBERS).await?;
    let person = app.store.user(target).await?.ok_or(Error::NotFound)?;
    let (mut write, access) = member::change(app, guild, user, Permissions::BAN_MEMBERS).await?;
    let standing = write.access(target).await?;
    if let Some(standing) = &standing {
        check_target(&access, standing)?;
    }
    if write.is_banned(target).await? {
        return Ok(());
    }
    let ban = Ban { user: person, moderator: user, reason, created_at_ms: unix_ms() };
    if !write.add_ban(&ban, app.config.quotas.bans_per_guild).await? {
        return Err(Error::LimitReached("this guild has as many bans as it can have"));
    }
    if standing.is_some() {
        take_out(&mut write, target).await?;
    }
    let act = Act { actor: user, action: "member.ban", target: target.0, reason: &ban.reason };
    audit::record(app, &mut write, act, Value::Null, json!({ "name": ban.user.name })).await?;
    write.commit().await?;
    forget(app, target, guild).await
}

/// Lets somebody come back.
///
/// # Errors
/// [`Error::NotFound`] for strangers, or when there is no such ban; [`Error::MissingPermission`].
pub async fn unban(app: &App, user: UserId, guild: GuildId, target: UserId) -> Result<(), Error> {
    let (mut write, _) = member::change(app, guild, user, Permissions::BAN_MEMBERS).await?;
    if !write.remove_ban(target).await? {
        return Err(Error::NotFound);
    }
    let act = Act { actor: user, action: "member.unban", target: target.0, reason: "" };
    audit::record(app, &mut write, act, Value::Null, Value::Null).await?;
    Ok(write.commit().await?)
}

/// The bans of a guild by the ids of the banned, after `after`; at most `limit`.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::MissingPermission`].
pub async fn list(
    app: &App,
    user: UserId,
    guild: GuildId,
    after: UserId,
    limit: u32,
) -> Result<Vec<Ban>, Error> {
    member::require(app, guild, user, Permissions::BAN_MEMBERS).await?;
    Ok(app.store.bans(guild, after, limit).await?)
}

/// Refuses who is banned.
///
/// # Errors
/// [`Error::Banned`].
pub async fn check(write: &mut GuildWrite, user: UserId) -> Result<(), Error> {
    if write.is_banned(user).await? { Err(Error::Banned) } else { Ok(()) }
}
