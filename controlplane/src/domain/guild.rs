//! Guilds as their members see them: channels, people, and who is in which voice channel.

use hype_protocol::gateway::{
    Channel, ChannelKind, Event, Guild, Member, Role, VoiceMode, VoiceState,
};
use hype_protocol::id::{ChannelId, GuildId, RoleId, UserId};
use hype_protocol::observation::SessionStatus;
use hype_protocol::permission::Permissions;
use serde_json::json;

use crate::app::App;
use crate::domain::audit::{self, Act};
use crate::domain::{auth, member, permission, text};
use crate::error::Error;
use crate::event::Audience;
use crate::store::snowflake::unix_ms;

/// A session as the members of its guild see it.
pub fn voice_state(guild: GuildId, session: SessionStatus) -> VoiceState {
    VoiceState {
        guild_id: guild,
        channel_id: session.room.into(),
        user_id: session.user,
        session_id: session.session,
        source: session.session.source(),
        flags: session.flags,
        producers: session.producers,
    }
}

/// Who is in a voice channel.
pub fn voice_states(app: &App, guild: GuildId, channel: ChannelId) -> Vec<VoiceState> {
    let sessions = app.voice.sessions_in(channel.into());
    sessions.into_iter().map(|session| voice_state(guild, session)).collect()
}

/// Adds what only the media plane knows to a guild from the store.
fn with_voice_states(app: &App, mut guild: Guild) -> Guild {
    guild.voice_states = guild
        .channels
        .iter()
        .filter(|channel| channel.kind == ChannelKind::Voice)
        .flat_map(|channel| voice_states(app, guild.id, channel.id))
        .collect();
    guild
}

/// A channel as it is at first.
pub fn new_channel(id: ChannelId, guild_id: GuildId, name: String, kind: ChannelKind) -> Channel {
    Channel {
        id,
        guild_id,
        name,
        kind,
        parent_id: None,
        topic: String::new(),
        position: 0,
        user_limit: 0,
        bitrate: 0,
        voice_mode: VoiceMode::Auto,
        overwrites: Vec::new(),
        last_message_id: None,
    }
}

/// Makes a guild with a text and a voice channel; its maker owns it.
///
/// # Errors
/// [`Error::InvalidRequest`], or [`Error::LimitReached`] when the person is in too many guilds.
pub async fn create(app: &App, owner: UserId, name: &str) -> Result<Guild, Error> {
    let name = text::title(name)?;
    let owner = auth::me(app, owner).await?;
    let id = GuildId(app.ids.next().await?);
    let mut channels = Vec::with_capacity(2);
    for (name, kind) in [("general", ChannelKind::Text), ("Lounge", ChannelKind::Voice)] {
        let channel = ChannelId(app.ids.next().await?);
        channels.push(new_channel(channel, id, name.to_owned(), kind));
    }
    let everybody = Role {
        id: RoleId(id.0),
        guild_id: id,
        name: "everyone".to_owned(),
        color: 0,
        position: 0,
        permissions: Permissions::DEFAULT,
    };
    let now_ms = unix_ms();
    let guild = Guild {
        id,
        name,
        owner_id: owner.id,
        sequence: 0,
        roles: vec![everybody],
        channels,
        members: vec![Member {
            user: owner,
            roles: Vec::new(),
            joined_at_ms: now_ms,
            server_mute: false,
            server_deaf: false,
        }],
        voice_states: Vec::new(),
        presences: Vec::new(),
    };
    if !app.store.create_guild(&guild, app.config.quotas.guilds_per_user, now_ms).await? {
        return Err(Error::LimitReached("you are in as many guilds as one can be in"));
    }
    app.bus.publish_everywhere(Audience::User(guild.owner_id), Event::GuildAdded(guild.clone()));
    Ok(guild)
}

/// What a member sees of a guild: channels that he may not see are not there for him.
fn as_seen_by(app: &App, mut guild: Guild, user: UserId) -> Option<Guild> {
    let access = permission::access_in(&guild, user)?;
    guild.channels.retain(|channel| {
        let held = permission::in_channel(&access, &channel.overwrites);
        held.contains(Permissions::VIEW_CHANNEL)
    });
    Some(with_voice_states(app, guild))
}

/// A guild as a member sees it.
///
/// # Errors
/// [`Error::NotFound`] to everybody else.
pub async fn get(app: &App, user: UserId, id: GuildId) -> Result<Guild, Error> {
    // First: it costs less than a whole guild, and follows one that has moved.
    member::require(app, id, user, Permissions::NONE).await?;
    let guild = app.store.guild(id).await?.ok_or(Error::NotFound)?;
    as_seen_by(app, guild, user).ok_or(Error::NotFound)
}

/// All guilds of a person.
///
/// # Errors
/// When the store fails.
pub async fn list(app: &App, user: UserId) -> Result<Vec<Guild>, Error> {
    let mut guilds = Vec::new();
    for id in app.store.guilds_of(user).await? {
        // None is left over by a crash between two databases, or the guild is just moving.
        let found = app.store.guild(id).await?;
        guilds.extend(found.and_then(|guild| as_seen_by(app, guild, user)));
    }
    Ok(guilds)
}

/// Renames a guild (MANAGE_GUILD) or gives it to another member (its owner).
///
/// # Errors
/// [`Error::NotFound`] for strangers, or when the new owner is no member;
/// [`Error::MissingPermission`], [`Error::Forbidden`], [`Error::InvalidRequest`].
pub async fn change(
    app: &App,
    user: UserId,
    id: GuildId,
    name: Option<&str>,
    owner: Option<UserId>,
) -> Result<Guild, Error> {
    let name = name.map(text::title).transpose()?;
    let wanted = if name.is_some() { Permissions::MANAGE_GUILD } else { Permissions::NONE };
    let (mut write, access) = member::change(app, id, user, wanted).await?;
    if owner.is_some() && access.owner != user {
        return Err(Error::Forbidden);
    }
    let before = write.name_and_owner().await?.ok_or(Error::NotFound)?;
    let after = (name.unwrap_or_else(|| before.0.clone()), owner.unwrap_or(before.1));
    write.access(after.1).await?.ok_or(Error::NotFound)?;
    if after != before {
        write.update_guild(&after.0, after.1).await?;
        let (name, owner_id) = after.clone();
        let event = Event::GuildUpdated { guild_id: id, name, owner_id };
        write.tell(&Audience::Guild(id), &event).await?;
        let act = Act { actor: user, action: "guild.update", target: id.0, reason: "" };
        let json = |(name, owner): (String, UserId)| json!({ "name": name, "owner_id": owner });
        audit::record(app, &mut write, act, json(before), json(after)).await?;
    }
    write.commit().await?;
    get(app, user, id).await
}

/// Deletes a guild with all that it has.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::Forbidden`] for who does not own it.
pub async fn delete(app: &App, user: UserId, id: GuildId) -> Result<(), Error> {
    let (mut write, access) = member::change(app, id, user, Permissions::NONE).await?;
    if access.owner != user {
        return Err(Error::Forbidden);
    }
    write.delete_guild().await?;
    write.tell(&Audience::Guild(id), &Event::GuildRemoved { guild_id: id }).await?;
    write.commit().await?;
    app.doomed.notify_one();
    Ok(())
}
