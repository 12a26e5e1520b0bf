//! What a channel allows or denies beyond the roles: set by who has MANAGE_CHANNELS there, about
//! roles and members below him, and with no permission that he lacks there.

use hype_protocol::gateway::{Channel, Event, Overwrite, OverwriteKind};
use hype_protocol::id::{ChannelId, RoleId, TargetId, UserId};
use hype_protocol::permission::Permissions;
use serde::Serialize;

use crate::app::App;
use crate::domain::audit::{self, Act};
use crate::domain::member::{self, InChannel};
use crate::domain::permission;
use crate::error::Error;
use crate::store::guild_write::GuildWrite;

/// Refuses targets that are not there or not below the caller.
async fn check_target(
    write: &mut GuildWrite,
    found: &InChannel,
    kind: OverwriteKind,
    target: TargetId,
) -> Result<(), Error> {
    match kind {
        OverwriteKind::Role => {
            let roles = write.roles().await?;
            let role = roles.iter().find(|role| role.id == RoleId(target.0));
            let role = role.ok_or(Error::NotFound)?;
            if member::rules(&found.access, role.position) {
                return Ok(());
            }
            Err(Error::Outranked)
        }
        OverwriteKind::Member => {
            let target = write.access(UserId(target.0)).await?.ok_or(Error::NotFound)?;
            member::outranks(&found.access, &target)
        }
    }
}

/// An overwrite as the audit log tells of it.
#[derive(Serialize)]
struct InAudit<'a> {
    channel_id: ChannelId,
    #[serde(flatten)]
    overwrite: &'a Overwrite,
}

async fn tell(
    app: &App,
    write: &mut GuildWrite,
    act: Act<'_>,
    channel: &Channel,
    before: Option<&Overwrite>,
) -> Result<(), Error> {
    let channel = write.channel(channel.id).await?.ok_or(Error::NotFound)?;
    let target = before.map(|before| before.target_id);
    let after = channel.overwrites.iter().find(|one| Some(one.target_id) == target);
    write.tell(&member::audience(&channel), &Event::ChannelUpdated(channel.clone())).await?;
    let told = |one| InAudit { channel_id: channel.id, overwrite: one };
    audit::record(app, write, act, before.map(told), after.map(told)).await
}

/// Sets an overwrite.
///
/// # Errors
/// [`Error::NotFound`] when the channel or the target is not there, [`Error::MissingPermission`],
/// [`Error::Outranked`], [`Error::InvalidRequest`], or [`Error::LimitReached`] when the channel has
/// too many.
pub async fn set(
    app: &App,
    user: UserId,
    channel: ChannelId,
    overwrite: Overwrite,
) -> Result<(), Error> {
    let both = overwrite.allow | overwrite.deny;
    if !permission::overwritable().contains(both) {
        return Err(Error::invalid("a channel can allow and deny only what is about channels"));
    }
    if overwrite.allow & overwrite.deny != Permissions::NONE {
        return Err(Error::invalid("the same permission cannot be allowed and denied"));
    }
    let (mut write, found) =
        member::change_channel(app, channel, user, Permissions::MANAGE_CHANNELS).await?;
    check_target(&mut write, &found, overwrite.kind, overwrite.target_id).await?;
    let same = |one: &&Overwrite| one.target_id == overwrite.target_id;
    let before = found.channel.overwrites.iter().find(same);
    let (allow, deny) =
        before.map_or((Permissions::NONE, Permissions::NONE), |before| (before.allow, before.deny));
    check_changed(&found, (allow, deny), (overwrite.allow, overwrite.deny))?;
    let quota = app.config.quotas.overwrites_per_channel;
    if !write.set_overwrite(channel, &overwrite, quota).await? {
        return Err(Error::LimitReached("this channel has as many overwrites as it can have"));
    }
    let target = overwrite.target_id;
    let blank = Overwrite { allow: Permissions::NONE, deny: Permissions::NONE, ..overwrite };
    let before = before.unwrap_or(&blank);
    let act = Act { actor: user, action: "overwrite.set", target: target.0, reason: "" };
    tell(app, &mut write, act, &found.channel, Some(before)).await?;
    Ok(write.commit().await?)
}

/// Refuses to give or take what the caller does not have in the channel.
fn check_changed(
    found: &InChannel,
    before: (Permissions, Permissions),
    after: (Permissions, Permissions),
) -> Result<(), Error> {
    let differ = |one: Permissions, two: Permissions| (one & !two) | (two & !one);
    let changed = differ(before.0, after.0) | differ(before.1, after.1);
    member::check(found.permissions, changed)
}

/// Removes an overwrite.
///
/// # Errors
/// As [`set`]; [`Error::NotFound`] also when there is no such overwrite.
pub async fn remove(
    app: &App,
    user: UserId,
    channel: ChannelId,
    target: TargetId,
) -> Result<(), Error> {
    let (mut write, found) =
        member::change_channel(app, channel, user, Permissions::MANAGE_CHANNELS).await?;
    let before = found.channel.overwrites.iter().find(|one| one.target_id == target);
    let before = before.ok_or(Error::NotFound)?;
    match check_target(&mut write, &found, before.kind, target).await {
        // Of somebody who is gone: nobody stands above him any more.
        Ok(()) | Err(Error::NotFound) => {}
        Err(error) => return Err(error),
    }
    let nothing = (Permissions::NONE, Permissions::NONE);
    check_changed(&found, (before.allow, before.deny), nothing)?;
    write.delete_overwrite(channel, target).await?;
    let act = Act { actor: user, action: "overwrite.delete", target: target.0, reason: "" };
    tell(app, &mut write, act, &found.channel, Some(before)).await?;
    Ok(write.commit().await?)
}
