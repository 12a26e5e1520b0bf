//! Invites: any member may make one, anyone who has one may see what it leads to and accept it.

use hype_protocol::gateway::{Event, Guild, Member};
use hype_protocol::id::{GuildId, UserId};
use rand::Rng as _;
use rand::distr::Alphanumeric;

use crate::app::App;
use crate::domain::{auth, guild, member};
use crate::error::Error;
use crate::event::Audience;
use crate::store::invite::Invite;
use crate::store::member::Added;
use crate::store::snowflake::unix_ms;

/// Characters of a code: 71 bits, so that nobody finds one by trying.
const CODE_CHARS: usize = 12;

/// What a stranger sees of an invite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The invite.
    pub invite: Invite,
    /// How many members its guild has.
    pub member_count: u64,
}

/// Makes an invite; returns its code.
///
/// # Errors
/// [`Error::NotFound`] for strangers.
pub async fn create(app: &App, user: UserId, guild: GuildId) -> Result<String, Error> {
    member::require(app, guild, user).await?;
    let code: String =
        rand::rng().sample_iter(Alphanumeric).take(CODE_CHARS).map(char::from).collect();
    let quota = app.config.quotas.invites_per_guild;
    app.store.announce_invite(guild, &code).await?;
    let mut write = app.store.write_guild(guild).await?.ok_or(Error::NotFound)?;
    write.add_invite(&code, user, quota, unix_ms()).await?;
    write.commit().await?;
    Ok(code)
}

async fn find(app: &App, code: &str) -> Result<Invite, Error> {
    if code.len() != CODE_CHARS {
        return Err(Error::NotFound);
    }
    app.store.invite(code).await?.ok_or(Error::NotFound)
}

/// What an invite leads to.
///
/// # Errors
/// [`Error::NotFound`] when there is no such invite.
pub async fn preview(app: &App, code: &str) -> Result<Preview, Error> {
    let invite = find(app, code).await?;
    let member_count = app.store.member_count(invite.guild).await?;
    Ok(Preview { invite, member_count })
}

/// Makes somebody a member of the guild that an invite leads to. Accepting again changes nothing.
///
/// # Errors
/// [`Error::NotFound`] when there is no such invite, [`Error::LimitReached`] when the guild has
/// too many members or the person too many guilds.
pub async fn accept(app: &App, user: UserId, code: &str) -> Result<Guild, Error> {
    let invite = find(app, code).await?;
    let user = auth::me(app, user).await?;
    let quotas = &app.config.quotas;
    if !app.store.announce_member(user.id, invite.guild, quotas.guilds_per_user).await? {
        return Err(Error::LimitReached("you are in as many guilds as one can be in"));
    }
    let now_ms = unix_ms();
    let mut write = app.store.write_guild(invite.guild).await?.ok_or(Error::NotFound)?;
    let added = write.add_member(user.id, quotas.members_per_guild, now_ms).await?;
    match added {
        Added::New => {}
        Added::Already => {
            drop(write);
            return guild::get(app, user.id, invite.guild).await;
        }
        Added::GuildFull => {
            drop(write);
            app.store.forget_membership(user.id, invite.guild).await?;
            return Err(Error::LimitReached("this guild has as many members as it can have"));
        }
    }
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
    write.commit().await?;
    let guild = guild::get(app, user.id, invite.guild).await?;
    app.bus.publish_everywhere(Audience::User(user.id), Event::GuildAdded(guild.clone()));
    Ok(guild)
}
