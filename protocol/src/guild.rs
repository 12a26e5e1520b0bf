//! What a guild is made of, as its members' clients see it: people, roles, channels, messages.

use serde::{Deserialize, Serialize};

use crate::id::{ChannelId, GuildId, MessageId, RoleId, SessionId, SourceId, UserId};
use crate::observation::{ProducerStatus, VoiceFlags};
use crate::permission::Permissions;

/// A person as others see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct User {
    /// Who.
    pub id: UserId,
    /// Shown name.
    pub name: String,
}

/// A person in a guild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Member {
    /// Who.
    #[serde(flatten)]
    pub user: User,
    /// The member's roles, without that of everybody.
    #[serde(default)]
    pub roles: Vec<RoleId>,
    /// Since when, in Unix milliseconds.
    #[serde(default)]
    pub joined_at_ms: u64,
    /// A moderator decided that nobody hears the member.
    #[serde(default)]
    pub server_mute: bool,
    /// A moderator decided that the member hears nobody.
    #[serde(default)]
    pub server_deaf: bool,
}

/// A named set of permissions. That of everybody has its guild's id and position 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Role {
    /// Which.
    pub id: RoleId,
    /// Of which guild.
    pub guild_id: GuildId,
    /// Shown name, 1–64 characters.
    pub name: String,
    /// 0xRRGGBB; 0 for none.
    pub color: u32,
    /// Higher ones rule over lower ones.
    pub position: u32,
    /// What it allows.
    pub permissions: Permissions,
}

/// Whom an overwrite is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OverwriteKind {
    /// All who have a role.
    Role,
    /// One member.
    Member,
}

/// What one channel allows or denies beyond the roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Overwrite {
    /// The role's or the member's id.
    pub target_id: TargetId,
    /// Which of the two.
    pub kind: OverwriteKind,
    /// Allowed here, whatever the roles say.
    pub allow: Permissions,
    /// Denied here.
    pub deny: Permissions,
}

pub use crate::id::TargetId;

/// What a channel is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ChannelKind {
    /// Messages.
    Text,
    /// Voice, cameras and screens.
    Voice,
    /// A heading over other channels.
    Category,
}

/// How the people of a voice channel are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum VoiceMode {
    /// As their number suggests.
    #[default]
    Auto,
    /// Each with each.
    P2p,
    /// By a media node.
    Sfu,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Channel {
    /// Which.
    pub id: ChannelId,
    /// Of which guild.
    pub guild_id: GuildId,
    /// Shown name.
    pub name: String,
    /// What it is for.
    pub kind: ChannelKind,
    /// The category that it stands in.
    #[serde(default)]
    pub parent_id: Option<ChannelId>,
    /// What it is about, 0–1,024 characters.
    #[serde(default)]
    pub topic: String,
    /// Its place among its siblings; equal ones stand by id.
    #[serde(default)]
    pub position: u32,
    /// The most people in a voice channel; 0 for no limit of its own.
    pub user_limit: u32,
    /// Of each voice, in bits a second, 8,000–510,000; 0 for the default.
    #[serde(default)]
    pub bitrate: u32,
    /// How people of a voice channel are connected.
    #[serde(default)]
    pub voice_mode: VoiceMode,
    /// What differs here from the roles.
    #[serde(default)]
    pub overwrites: Vec<Overwrite>,
    /// The newest message of a text channel, when the channel was read.
    #[serde(default)]
    pub last_message_id: Option<MessageId>,
}

/// A guild with all that a client shows of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Guild {
    /// Which.
    pub id: GuildId,
    /// Shown name.
    pub name: String,
    /// Who owns it.
    pub owner_id: UserId,
    /// The newest event that this copy includes.
    #[serde(default)]
    pub sequence: u64,
    /// Its roles, the highest first.
    #[serde(default)]
    pub roles: Vec<Role>,
    /// Its channels that the member may see, in order.
    pub channels: Vec<Channel>,
    /// Its members, who came first first.
    pub members: Vec<Member>,
    /// Who is in which of its voice channels.
    pub voice_states: Vec<VoiceState>,
    /// Who of its members is there; whoever is not listed is offline.
    #[serde(default)]
    pub presences: Vec<Presence>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Message {
    /// Which; grows with time.
    pub id: MessageId,
    /// Where.
    pub channel_id: ChannelId,
    /// In which guild.
    pub guild_id: GuildId,
    /// By whom.
    pub author: User,
    /// 1–4,000 characters.
    pub content: String,
    /// Unix milliseconds.
    pub created_at_ms: u64,
    /// When its author changed it last, in Unix milliseconds.
    #[serde(default)]
    pub edited_at_ms: Option<u64>,
}

/// How far one has read a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReadMark {
    /// Which channel.
    pub channel_id: ChannelId,
    /// The newest message that was read.
    pub message_id: MessageId,
}

/// Whether somebody is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PresenceStatus {
    /// Connected.
    Online,
    /// Connected, but away from the keyboard.
    Idle,
    /// Connected, and wants no notifications.
    DoNotDisturb,
    /// Not connected.
    Offline,
}

/// Somebody's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Presence {
    /// Whose.
    pub user_id: UserId,
    /// How it stands.
    pub status: PresenceStatus,
}

/// One person in one voice channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VoiceState {
    /// In which guild.
    pub guild_id: GuildId,
    /// In which channel; the room has the same number.
    pub channel_id: ChannelId,
    /// Who.
    pub user_id: UserId,
    /// By which session.
    pub session_id: SessionId,
    /// The CSRC of this person's voice.
    pub source: SourceId,
    /// Mute and deafen.
    pub flags: VoiceFlags,
    /// What the person sends now.
    pub producers: Vec<ProducerStatus>,
}
