//! Invites: made by who has CREATE_INVITE, for as many people and as long as they say. Anyone who has
//! one may see what it leads to and accept it, unless banned there.

use hype_protocol::gateway::{Event, Guild, Member, User};
use hype_protocol::id::{GuildId, UserId};
use hype_protocol::permission::Permissions;
use rand::Rng as _;
use rand::distr::Alphanumeric;
use serde_json::{Value, json};

use crate::app::App;
use crate::domain::audit::{self, Act};
use crate::domain::{auth, ban, guild, member, permission};
use crate::error::Error;
use crate::event::Audience;
use crate::store::invite::Invite;
use crate::store::member::Added;
use crate::store::snowflake::unix_ms;

/// Characters of a code: 71 bits, so that nobody finds one by trying.
const CODE_CHARS: usize = 12;
/// The most people that an invite counts.
pub const MAX_USES: u32 = 1000;
/// The longest time for which an invite holds, in seconds: 30 days.
pub const MAX_AGE_S: u64 = 30 * 86_400;

/// What a stranger sees of an invite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The invite.
    pub invite: Invite,
    /// The name of its guild.
    pub guild_name: String,
    /// How many members its guild has.
    pub member_count: u64,
}

/// Makes an invite for `max_uses` people (0–1,000; 0 for any number) and `expires_in_s` seconds (0–30
/// days; 0 for ever).
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::MissingPermission`], [`Error::InvalidRequest`].
pub async fn create(
    app: &App,
    user: UserId,
    guild: GuildId,
    max_uses: u32,
    expires_in_s: u64,
) -> Result<Invite, Error> {
    if max_uses > MAX_USES {
        return Err(Error::invalid(format!("max_uses must be 0 to {MAX_USES}")));
    }
    if expires_in_s > MAX_AGE_S {
        return Err(Error::invalid(format!("expires_in_s must be 0 to {MAX_AGE_S}")));
    }
    member::require(app, guild, user, Permissions::CREATE_INVITE).await?;
    let now_ms = unix_ms();
    let invite = Invite {
        code: rand::rng().sample_iter(Alphanumeric).take(CODE_CHARS).map(char::from).collect(),
        guild,
        creator: user,
        created_at_ms: now_ms,
        max_uses,
        uses: 0,
        expires_at_ms: if expires_in_s == 0 { 0 } else { now_ms + expires_in_s * 1000 },
    };
    app.store.announce_invite(guild, &invite.code).await?;
    let (mut write, _) = member::change(app, guild, user, Permissions::CREATE_INVITE).await?;
    let ended = write.add_invite(&invite, app.config.quotas.invites_per_guild).await?;
    let act = Act { actor: user, action: "invite.create", target: guild.0, reason: "" };
    audit::record(app, &mut write, act, Value::Null, told(&invite)).await?;
    write.commit().await?;
    app.store.forget_invites(&ended).await?;
    Ok(invite)
}

/// What the audit log tells of an invite.
fn told(invite: &Invite) -> Value {
    let Invite { code, max_uses, expires_at_ms, .. } = invite;
    json!({ "code": code, "max_uses": max_uses, "expires_at_ms": expires_at_ms })
}

async fn find(app: &App, code: &str) -> Result<(Invite, String), Error> {
    if code.len() != CODE_CHARS {
        return Err(Error::NotFound);
    }
    let found = app.store.invite(code).await?;
    found.filter(|(invite, _)| invite.holds(unix_ms())).ok_or(Error::NotFound)
}

/// What an invite leads to.
///
/// # Errors
/// [`Error::NotFound`] when there is no such invite, or it holds no more.
pub async fn preview(app: &App, code: &str) -> Result<Preview, Error> {
    let (invite, guild_name) = find(app, code).await?;
    let member_count = app.store.member_count(invite.guild).await?;
    Ok(Preview { invite, guild_name, member_count })
}

/// The invites of a guild by their codes, after `after`; at most `limit`.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::MissingPermission`].
pub async fn list(
    app: &App,
    user: UserId,
    guild: GuildId,
    after: &str,
    limit: u32,
) -> Result<Vec<Invite>, Error> {
    member::require(app, guild, user, Permissions::MANAGE_GUILD).await?;
    Ok(app.store.invites(guild, after, limit).await?)
}

/// Ends an invite: by who has MANAGE_GUILD, or made it.
///
/// # Errors
/// [`Error::NotFound`] for strangers, or when there is no such invite; [`Error::MissingPermission`].
pub async fn revoke(app: &App, user: UserId, guild: GuildId, code: &str) -> Result<(), Error> {
    let (mut write, access) = member::change(app, guild, user, Permissions::NONE).await?;
    let invite = write.invite(code).await?;
    if invite.as_ref().is_none_or(|invite| invite.creator != user) {
        // Also for a code that is none: whether it is one is not for everybody to know.
        let held = permission::in_guild(&access);
        member::check(held, Permissions::MANAGE_GUILD)?;
    }
    let invite = invite.ok_or(Error::NotFound)?;
    write.delete_invite(code).await?;
    let act = Act { actor: user, action: "invite.revoke", target: guild.0, reason: "" };
    audit::record(app, &mut write, act, told(&invite), Value::Null).await?;
    write.commit().await?;
    Ok(app.store.forget_invites(&[invite.code]).await?)
}

/// Makes somebody a member of the guild that an invite leads to. Accepting again changes nothing.
///
/// # Errors
/// [`Error::NotFound`] when there is no such invite or it holds no more, [`Error::Banned`],
/// [`Error::LimitReached`] when the guild has too many members or the person too many guilds.
pub async fn accept(app: &App, user: UserId, code: &str) -> Result<Guild, Error> {
    let (invite, _) = find(app, code).await?;
    let guild_id = invite.guild;
    let user = auth::me(app, user).await?;
    let quotas = &app.config.quotas;
    if app.store.access(guild_id, user.id).await?.is_some() {
        return guild::get(app, user.id, guild_id).await;
    }
    if !app.store.announce_member(user.id, guild_id, quotas.guilds_per_user).await? {
        return Err(Error::LimitReached("you are in as many guilds as one can be in"));
    }
    match enter(app, &user, &invite).await {
        // Again, for who has just left or was put out: that removes the row after the fact.
        Ok(()) => {
            app.store.announce_member(user.id, guild_id, u32::MAX).await?;
        }
        // It may have happened; a membership too many leads to nothing.
        Err(error @ (Error::StoreUnavailable(_) | Error::Internal(_))) => return Err(error),
        Err(error) => {
            app.store.forget_membership(user.id, guild_id).await?;
            return Err(error);
        }
    }
    let guild = guild::get(app, user.id, guild_id).await?;
    app.bus.publish_everywhere(Audience::User(user.id), Event::GuildAdded(guild.clone()));
    Ok(guild)
}

/// Adds the member and counts the use, unless the invite or the person's right ended meanwhile.
async fn enter(app: &App, user: &User, invite: &Invite) -> Result<(), Error> {
    let now_ms = unix_ms();
    let mut write = app.store.write_guild(invite.guild).await?.ok_or(Error::NotFound)?;
    let current = write.invite(&invite.code).await?;
    current.filter(|invite| invite.holds(now_ms)).ok_or(Error::NotFound)?;
    ban::check(&mut write, user.id).await?;
    let quota = app.config.quotas.members_per_guild;
    match write.add_member(user.id, quota, now_ms).await? {
        Added::New => {}
        // By another invite at the same moment.
        Added::Already => return Ok(()),
        Added::GuildFull => {
            return Err(Error::LimitReached("this guild has as many members as it can have"));
        }
    }
    write.use_invite(&invite.code).await?;
    let member = Member {
        user: user.clone(),
        roles: Vec::new(),
        joined_at_ms: now_ms,
        server_mute: false,
        server_deaf: false,
    };
    // The others learn of the new one before he hears what they say about it.
    let event = Event::MemberAdded { guild_id: invite.guild, member };
    write.tell(&Audience::Guild(invite.guild), &event).await?;
    Ok(write.commit().await?)
}
