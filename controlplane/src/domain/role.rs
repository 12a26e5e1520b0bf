//! Roles: made, changed, ordered, deleted and given by who has MANAGE_ROLES, below his own highest
//! role and with no permission that he lacks. Positions are 1, 2, … without gaps; 0 is the role of
//! everybody, which has its guild's id, and of which only the permissions change.

use hype_protocol::gateway::{Event, Member, Role};
use hype_protocol::id::{GuildId, RoleId, UserId};
use hype_protocol::permission::Permissions;
use serde_json::{Value, json};

use crate::app::App;
use crate::domain::audit::{self, Act};
use crate::domain::{member, permission, text};
use crate::error::Error;
use crate::event::Audience;
use crate::store::access::Access;
use crate::store::guild_write::GuildWrite;

/// The highest colour.
pub const MAX_COLOR: u32 = 0xff_ffff;

/// What a role shall be; none leaves a thing as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Its name, 1–64 characters.
    pub name: Option<String>,
    /// 0xRRGGBB; 0 for none.
    pub color: Option<u32>,
    /// What it allows.
    pub permissions: Option<Permissions>,
    /// Its place from 1 on; beyond the highest is the highest.
    pub position: Option<u32>,
}

impl Change {
    fn apply(&self, role: &Role) -> Result<Role, Error> {
        let mut changed = role.clone();
        if let Some(name) = &self.name {
            changed.name = text::title(name)?;
        }
        if let Some(color) = self.color {
            if color > MAX_COLOR {
                return Err(Error::invalid(format!("color must be 0 to {MAX_COLOR}")));
            }
            changed.color = color;
        }
        if let Some(permissions) = self.permissions {
            changed.permissions = permissions;
        }
        Ok(changed)
    }
}

/// Roles of a guild, the highest first.
///
/// # Errors
/// [`Error::NotFound`] for strangers.
pub async fn list(app: &App, user: UserId, guild: GuildId) -> Result<Vec<Role>, Error> {
    member::require(app, guild, user, Permissions::NONE).await?;
    Ok(app.store.roles(guild).await?)
}

/// Refuses to give or take permissions that one does not have.
fn check_given(access: &Access, before: Permissions, after: Permissions) -> Result<(), Error> {
    let changed = (before & !after) | (after & !before);
    member::check(permission::in_guild(access), changed)
}

/// Puts a role of `roles` (lowest first, without that of everybody) at a position, and numbers all
/// anew; returns those whose number changed.
fn order(roles: &mut Vec<Role>, id: RoleId, position: u32) -> Vec<Role> {
    if let Some(from) = roles.iter().position(|role| role.id == id) {
        let role = roles.remove(from);
        let to = usize::try_from(position).unwrap_or(usize::MAX).saturating_sub(1);
        roles.insert(to.min(roles.len()), role);
    }
    let mut moved = Vec::new();
    for (role, position) in roles.iter_mut().zip(1..) {
        if role.position != position {
            role.position = position;
            moved.push(role.clone());
        }
    }
    moved
}

/// All roles but that of everybody, the lowest first.
async fn lowest_first(write: &mut GuildWrite) -> Result<Vec<Role>, Error> {
    let mut roles = write.roles().await?;
    let everybody = RoleId(write.guild().0);
    roles.retain(|role| role.id != everybody);
    roles.reverse();
    Ok(roles)
}

async fn find(write: &mut GuildWrite, id: RoleId) -> Result<Role, Error> {
    let roles = write.roles().await?;
    roles.into_iter().find(|role| role.id == id).ok_or(Error::NotFound)
}

async fn save(write: &mut GuildWrite, role: &Role) -> Result<(), Error> {
    write.update_role(role).await?;
    let audience = Audience::Guild(role.guild_id);
    Ok(write.tell(&audience, &Event::RoleUpdated(role.clone())).await?)
}

/// Makes a role, above that of everybody and below all others unless it says where.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::MissingPermission`], [`Error::Outranked`],
/// [`Error::InvalidRequest`], or [`Error::LimitReached`] when the guild has too many.
pub async fn create(
    app: &App,
    user: UserId,
    guild: GuildId,
    change: Change,
) -> Result<Role, Error> {
    let (mut write, access) = member::change(app, guild, user, Permissions::MANAGE_ROLES).await?;
    let mut roles = lowest_first(&mut write).await?;
    if roles.len() >= usize::try_from(app.config.quotas.roles_per_guild).unwrap_or(usize::MAX) {
        return Err(Error::LimitReached("this guild has as many roles as it can have"));
    }
    let blank = Role {
        id: RoleId(write.id(&app.ids).await?),
        guild_id: guild,
        name: "new role".to_owned(),
        color: 0,
        position: 0,
        permissions: Permissions::NONE,
    };
    let mut role = change.apply(&blank)?;
    check_given(&access, Permissions::NONE, role.permissions)?;
    let position = change.position.unwrap_or(1).max(1);
    // At its own place all that were there move up, the caller's highest role as well.
    if position != 1 && !member::rules(&access, position) {
        return Err(Error::Outranked);
    }
    roles.push(role.clone());
    let moved = order(&mut roles, role.id, position);
    role.position = moved.iter().find(|one| one.id == role.id).map_or(1, |one| one.position);
    write.add_role(&role).await?;
    write.tell(&Audience::Guild(guild), &Event::RoleCreated(role.clone())).await?;
    for other in moved.iter().filter(|other| other.id != role.id) {
        save(&mut write, other).await?;
    }
    let act = Act { actor: user, action: "role.create", target: role.id.0, reason: "" };
    audit::record(app, &mut write, act, Value::Null, &role).await?;
    write.commit().await?;
    Ok(role)
}

/// Changes a role.
///
/// # Errors
/// As [`create`]; [`Error::NotFound`] also when the guild has no such role.
pub async fn change(
    app: &App,
    user: UserId,
    guild: GuildId,
    id: RoleId,
    change: Change,
) -> Result<Role, Error> {
    let (mut write, access) = member::change(app, guild, user, Permissions::MANAGE_ROLES).await?;
    let before = find(&mut write, id).await?;
    if !member::rules(&access, before.position) {
        return Err(Error::Outranked);
    }
    let everybody = id.0 == guild.0;
    if everybody && (change.name.is_some() || change.position.is_some()) {
        return Err(Error::invalid("the role of everybody keeps its name and its place"));
    }
    let mut role = change.apply(&before)?;
    check_given(&access, before.permissions, role.permissions)?;
    let mut moved = Vec::new();
    if let Some(position) = change.position {
        if position == 0 {
            return Err(Error::invalid("position 0 is that of everybody; take 1 or more"));
        }
        if !member::rules(&access, position) {
            return Err(Error::Outranked);
        }
        let mut roles = lowest_first(&mut write).await?;
        moved = order(&mut roles, id, position);
        let place = roles.iter().find(|one| one.id == id);
        role.position = place.map_or(role.position, |one| one.position);
    }
    if role != before {
        save(&mut write, &role).await?;
        let act = Act { actor: user, action: "role.update", target: id.0, reason: "" };
        audit::record(app, &mut write, act, &before, &role).await?;
    }
    for other in moved.iter().filter(|other| other.id != id) {
        save(&mut write, other).await?;
    }
    write.commit().await?;
    Ok(role)
}

/// Deletes a role: nobody has it any more.
///
/// # Errors
/// As [`change`].
pub async fn delete(app: &App, user: UserId, guild: GuildId, id: RoleId) -> Result<(), Error> {
    let (mut write, access) = member::change(app, guild, user, Permissions::MANAGE_ROLES).await?;
    let role = find(&mut write, id).await?;
    if !member::rules(&access, role.position) {
        return Err(Error::Outranked);
    }
    if id.0 == guild.0 {
        return Err(Error::invalid("the role of everybody stays"));
    }
    write.delete_role(id).await?;
    let event = Event::RoleDeleted { guild_id: guild, role_id: id };
    write.tell(&Audience::Guild(guild), &event).await?;
    let mut roles = lowest_first(&mut write).await?;
    for other in order(&mut roles, id, 0) {
        save(&mut write, &other).await?;
    }
    let act = Act { actor: user, action: "role.delete", target: id.0, reason: "" };
    audit::record(app, &mut write, act, &role, Value::Null).await?;
    Ok(write.commit().await?)
}

/// Gives a member exactly these roles (that of everybody is not among them).
///
/// # Errors
/// As [`change`]; [`Error::NotFound`] also when the person is no member or a role not the guild's.
pub async fn give(
    app: &App,
    user: UserId,
    guild: GuildId,
    target: UserId,
    mut wanted: Vec<RoleId>,
) -> Result<Member, Error> {
    wanted.sort_unstable();
    wanted.dedup();
    let (mut write, access) = member::change(app, guild, user, Permissions::MANAGE_ROLES).await?;
    let standing = write.access(target).await?.ok_or(Error::NotFound)?;
    member::outranks(&access, &standing)?;
    let roles = write.roles().await?;
    for id in &wanted {
        let role = roles.iter().find(|role| role.id == *id).ok_or(Error::NotFound)?;
        if id.0 == guild.0 {
            return Err(Error::invalid("the role of everybody is not given: all have it"));
        }
        if !standing.roles.contains(id) {
            member::check(permission::in_guild(&access), role.permissions)?;
        }
    }
    let changed = |role: &&Role| wanted.contains(&role.id) != standing.roles.contains(&role.id);
    if roles.iter().filter(changed).any(|role| !member::rules(&access, role.position)) {
        return Err(Error::Outranked);
    }
    let name = app.store.user(target).await?.map(|user| user.name).unwrap_or_default();
    write.set_roles(target, &wanted).await?;
    let mut member = write.member(target).await?.ok_or(Error::NotFound)?;
    member.user.name = name;
    if standing.roles != wanted {
        let event = Event::MemberUpdated { guild_id: guild, member: member.clone() };
        write.tell(&Audience::Guild(guild), &event).await?;
        let act = Act { actor: user, action: "member.roles", target: target.0, reason: "" };
        let (before, after) = (json!({ "roles": standing.roles }), json!({ "roles": wanted }));
        audit::record(app, &mut write, act, before, after).await?;
    }
    write.commit().await?;
    Ok(member)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ids: &[u64], id: u64, position: u32, expected: &[u64], moved: &[u64]) {
        let role = |(id, position): (&u64, u32)| Role {
            id: RoleId(*id),
            guild_id: GuildId(1),
            name: String::new(),
            color: 0,
            position,
            permissions: Permissions::NONE,
        };
        let mut roles: Vec<Role> = ids.iter().zip(1..).map(role).collect();
        let told = order(&mut roles, RoleId(id), position);
        let ids = |roles: &[Role]| roles.iter().map(|role| role.id.0).collect::<Vec<_>>();
        assert_eq!((ids(&roles), ids(&told)), (expected.to_vec(), moved.to_vec()));
        assert!(roles.iter().zip(1..).all(|(role, place)| role.position == place));
    }

    #[test]
    fn roles_move_and_stay_numbered() {
        check(&[2, 3, 4], 3, 2, &[2, 3, 4], &[]);
        check(&[2, 3, 4], 2, 3, &[3, 4, 2], &[3, 4, 2]);
        check(&[2, 3, 4], 4, 1, &[4, 2, 3], &[4, 2, 3]);
        check(&[2, 3, 4], 3, 99, &[2, 4, 3], &[4, 3]);
        check(&[2, 3, 4], 9, 1, &[2, 3, 4], &[]);
    }
}
