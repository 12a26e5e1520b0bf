//! Channels of a guild: made, changed, ordered and deleted by who has MANAGE_CHANNELS.

use hype_protocol::gateway::{Channel, ChannelKind, Event, VoiceMode};
use hype_protocol::id::{ChannelId, GuildId, UserId};
use hype_protocol::permission::Permissions;
use serde_json::Value;

use crate::app::App;
use crate::domain::audit::{self, Act};
use crate::domain::{guild, member, permission, text};
use crate::error::Error;
use crate::store::guild_write::GuildWrite;
use crate::store::snowflake::unix_ms;

/// The highest `user_limit`.
pub const MAX_USER_LIMIT: u32 = 1000;
/// The least and the highest bitrate of a voice, in bits a second.
pub const BITRATES: std::ops::RangeInclusive<u32> = 8_000..=510_000;
/// The highest place among siblings.
pub const MAX_POSITION: u32 = 1_000_000;

/// What a channel shall be; none leaves a thing as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Its name, 1–64 characters.
    pub name: Option<String>,
    /// The category that it stands in, or none.
    pub parent_id: Option<Option<ChannelId>>,
    /// What it is about, at most 1,024 characters.
    pub topic: Option<String>,
    /// Its place among its siblings, 0–1,000,000.
    pub position: Option<u32>,
    /// The most people in a voice channel, 0–1,000; 0 for no limit of its own.
    pub user_limit: Option<u32>,
    /// Of a voice, in bits a second, 8,000–510,000; 0 for the default.
    pub bitrate: Option<u32>,
    /// How people of a voice channel are connected.
    pub voice_mode: Option<VoiceMode>,
}

impl Change {
    /// The channel after this change; `siblings` are all channels of its guild.
    fn apply(&self, channel: &Channel, siblings: &[Channel]) -> Result<Channel, Error> {
        let mut changed = channel.clone();
        if let Some(name) = &self.name {
            changed.name = text::title(name)?;
        }
        if let Some(topic) = &self.topic {
            changed.topic = text::topic(topic)?;
        }
        changed.user_limit = self.user_limit.unwrap_or(channel.user_limit);
        changed.bitrate = self.bitrate.unwrap_or(channel.bitrate);
        changed.voice_mode = self.voice_mode.unwrap_or(channel.voice_mode);
        changed.position = self.position.unwrap_or(channel.position);
        changed.parent_id = self.parent_id.unwrap_or(channel.parent_id);
        check_shape(&changed)?;
        if changed.parent_id != channel.parent_id
            && let Some(parent) = changed.parent_id
        {
            let is_category = |one: &Channel| one.id == parent && one.kind == ChannelKind::Category;
            if !siblings.iter().any(is_category) {
                return Err(Error::invalid("parent_id must be a category of this guild"));
            }
        }
        Ok(changed)
    }
}

/// Refuses what a channel of its kind cannot be.
fn check_shape(channel: &Channel) -> Result<(), Error> {
    let voice = channel.kind == ChannelKind::Voice;
    let category = channel.kind == ChannelKind::Category;
    let broken = if channel.user_limit > MAX_USER_LIMIT {
        format!("user_limit must be 0 to {MAX_USER_LIMIT}")
    } else if channel.bitrate != 0 && !BITRATES.contains(&channel.bitrate) {
        let (least, most) = (BITRATES.start(), BITRATES.end());
        format!("bitrate must be 0 or {least} to {most}")
    } else if channel.position > MAX_POSITION {
        format!("position must be 0 to {MAX_POSITION}")
    } else if !voice && (channel.user_limit != 0 || channel.bitrate != 0) {
        "user_limit and bitrate are only for voice channels".to_owned()
    } else if !voice && channel.voice_mode != VoiceMode::Auto {
        "voice_mode is only for voice channels".to_owned()
    } else if category && channel.parent_id.is_some() {
        "a category stands in no other one".to_owned()
    } else if category && !channel.topic.is_empty() {
        "a category has no topic".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::invalid(broken))
}

/// Makes a channel, behind the others unless it says where. In a category it begins with the
/// category's overwrites, so that nobody sees in it what he may not see around it.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::MissingPermission`], [`Error::InvalidRequest`],
/// or [`Error::LimitReached`] when the guild has too many.
pub async fn create(
    app: &App,
    user: UserId,
    guild: GuildId,
    kind: ChannelKind,
    change: Change,
) -> Result<Channel, Error> {
    member::require(app, guild, user, Permissions::MANAGE_CHANNELS).await?;
    let id = ChannelId(app.ids.next().await?);
    // What needs no look at the guild is refused before the directory knows of the channel.
    let blank = guild::new_channel(id, guild, String::new(), kind);
    Change { parent_id: None, ..change.clone() }.apply(&blank, &[])?;
    app.store.announce_channel(guild, id).await?;
    let made = add(app, user, blank, change).await;
    match &made {
        // It may have happened; a row too many leads to nothing.
        Ok(_) | Err(Error::StoreUnavailable(_) | Error::Internal(_)) => {}
        Err(_) => app.store.undirect_channel(id).await?,
    }
    made
}

async fn add(app: &App, user: UserId, blank: Channel, change: Change) -> Result<Channel, Error> {
    let guild = blank.guild_id;
    let (mut write, _) = member::change(app, guild, user, Permissions::MANAGE_CHANNELS).await?;
    let others = write.channels().await?;
    let last = others.iter().map(|other| other.position).max();
    let behind = last.map_or(0, |last| last.saturating_add(1).min(MAX_POSITION));
    let mut channel = change.apply(&Channel { position: behind, ..blank }, &others)?;
    let parent = others.iter().find(|other| Some(other.id) == channel.parent_id);
    channel.overwrites = parent.map(|parent| parent.overwrites.clone()).unwrap_or_default();
    if !write.add_channel(&channel, app.config.quotas.channels_per_guild, unix_ms()).await? {
        return Err(Error::LimitReached("this guild has as many channels as it can have"));
    }
    write.tell(&member::audience(&channel), &Event::ChannelCreated(channel.clone())).await?;
    let act = Act { actor: user, action: "channel.create", target: channel.id.0, reason: "" };
    audit::record(app, &mut write, act, Value::Null, &channel).await?;
    write.commit().await?;
    Ok(channel)
}

async fn save(write: &mut GuildWrite, channel: &Channel) -> Result<(), Error> {
    write.update_channel(channel).await?;
    let event = Event::ChannelUpdated(channel.clone());
    Ok(write.tell(&member::audience(channel), &event).await?)
}

/// Changes a channel.
///
/// # Errors
/// As [`create`]; [`Error::NotFound`] also when the channel is not there or not to be seen.
pub async fn change(
    app: &App,
    user: UserId,
    id: ChannelId,
    change: Change,
) -> Result<Channel, Error> {
    let (mut write, found) =
        member::change_channel(app, id, user, Permissions::MANAGE_CHANNELS).await?;
    let others = write.channels().await?;
    let channel = change.apply(&found.channel, &others)?;
    if channel == found.channel {
        return Ok(channel);
    }
    save(&mut write, &channel).await?;
    let act = Act { actor: user, action: "channel.update", target: id.0, reason: "" };
    audit::record(app, &mut write, act, &found.channel, &channel).await?;
    write.commit().await?;
    Ok(channel)
}

/// Deletes a channel with what was written in it. The channels of a deleted category stand in none.
///
/// # Errors
/// As [`change`].
pub async fn delete(app: &App, user: UserId, id: ChannelId) -> Result<(), Error> {
    let (mut write, found) =
        member::change_channel(app, id, user, Permissions::MANAGE_CHANNELS).await?;
    let channel = found.channel;
    if channel.kind == ChannelKind::Category {
        let others = write.channels().await?;
        for child in others.into_iter().filter(|other| other.parent_id == Some(id)) {
            save(&mut write, &Channel { parent_id: None, ..child }).await?;
        }
    }
    write.delete_channel(id).await?;
    let event = Event::ChannelDeleted { guild_id: channel.guild_id, channel_id: id };
    write.tell(&member::audience(&channel), &event).await?;
    let act = Act { actor: user, action: "channel.delete", target: id.0, reason: "" };
    audit::record(app, &mut write, act, &channel, Value::Null).await?;
    write.commit().await?;
    app.doomed.notify_one();
    Ok(())
}

/// One channel's new place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which channel.
    pub id: ChannelId,
    /// Its place among its siblings, 0–1,000,000.
    pub position: u32,
    /// The category that it shall stand in, or none; left out, it stays where it is.
    pub parent_id: Option<Option<ChannelId>>,
}

/// Puts channels in another order.
///
/// # Errors
/// [`Error::NotFound`] for strangers, or when a channel is not the guild's or not to be seen,
/// [`Error::MissingPermission`], [`Error::InvalidRequest`].
pub async fn order(app: &App, user: UserId, guild: GuildId, places: &[Place]) -> Result<(), Error> {
    let (mut write, access) =
        member::change(app, guild, user, Permissions::MANAGE_CHANNELS).await?;
    let channels = write.channels().await?;
    let may_see = |channel: &Channel| {
        let held = permission::in_channel(&access, &channel.overwrites);
        held.contains(Permissions::VIEW_CHANNEL)
    };
    for place in places {
        let found = channels.iter().find(|channel| channel.id == place.id);
        let before = found.filter(|channel| may_see(channel)).ok_or(Error::NotFound)?;
        let change = Change {
            position: Some(place.position),
            parent_id: place.parent_id,
            ..Change::default()
        };
        let after = change.apply(before, &channels)?;
        if after == *before {
            continue;
        }
        save(&mut write, &after).await?;
        let act = Act { actor: user, action: "channel.update", target: place.id.0, reason: "" };
        audit::record(app, &mut write, act, before, &after).await?;
    }
    Ok(write.commit().await?)
}
