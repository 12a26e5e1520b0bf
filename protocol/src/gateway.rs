//! Client ⇄ control plane over the WebSocket at `/gateway`. JSON text frames with Discord's
//! semantics: hello, identify, sequence numbers on events, heartbeats, resume, close codes.
//! A request carries a `nonce`; exactly one `reply` or `error` with that nonce answers it.
//!
//! | limit | value | beyond it |
//! |---|---|---|
//! | time to `identify` or `resume` | 10 s | closed, 4009 |
//! | between two heartbeats | 1.5 intervals (22.5 s) | closed, 4009 |
//! | frames of a client | 120 at once, 120 a minute | closed, 4008 |
//! | a frame of a client | 128 KiB | closed, 4002 |
//! | requests waiting behind a running one | 16 | `rate_limited` |
//! | `typing.start` | once in 2 s | `rate_limited` |
//! | sessions of a person at a replica | 32 | the one unheld for longest ends, else closed, 4008 |
//! | events that a client has not read | 256, or 4 MiB | closed, 4010; resume |
//! | a resume at the same replica | within 60 s; the last 512 events or 4 MiB | as at another replica |
//! | a resume by `guilds` at any replica | events of the last hour; 1,000 a guild, 4 MiB in all | `invalid_session`; identify |
//!
//! After a resume by `guilds` come the missed events of each guild, in its order, then `guild.added` or
//! `guild.removed` for those that came or went, then `guild.state` of each, then `resumed`. An event
//! with a [`Position`] that a client has already is dropped by it. What a member may not see does not
//! reach him: positions of one guild grow, but not always by one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{ChannelId, GuildId, MessageId, RoleId, RoomId, SessionId, SourceId, UserId};
use crate::media::{Codec, Mid, SourceKind};
use crate::observation::{SessionStats, ViewState};
use crate::secret::SrtpProfile;

pub use crate::guild::{
    Channel, ChannelKind, Guild, Member, Message, Overwrite, OverwriteKind, Presence,
    PresenceStatus, ReadMark, Role, User, VoiceMode, VoiceState,
};

/// The largest text frame that the server reads, in bytes.
pub const MAX_FRAME: usize = 128 * 1024;

/// Why the server closed the socket (WebSocket close codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum CloseCode {
    /// Something went wrong here; resume.
    Unknown = 4000,
    /// The frame was not JSON of a known shape; reconnect.
    Malformed = 4002,
    /// A request came before `identify`; reconnect and identify.
    NotAuthenticated = 4003,
    /// The access token is invalid or expired; refresh it, then identify.
    AuthenticationFailed = 4004,
    /// `identify` or `resume` came twice; reconnect.
    AlreadyAuthenticated = 4005,
    /// The events after that sequence number are gone; identify anew.
    InvalidSequence = 4007,
    /// Too many frames in too short a time; wait, then resume.
    RateLimited = 4008,
    /// No heartbeat within 1.5 intervals, or no `identify` within 10 s; resume.
    TimedOut = 4009,
    /// The client reads too slowly; resume.
    TooSlow = 4010,
    /// This replica stops; resume elsewhere.
    GoingAway = 4011,
}

/// Client → server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", content = "d", rename_all = "snake_case")]
pub enum FromClient {
    /// Begin a session.
    Identify {
        /// An access token.
        token: String,
    },
    /// Continue a session after a cut.
    Resume {
        /// An access token of the same person.
        token: String,
        /// From [`Event::Ready`].
        session_id: String,
        /// The last sequence number seen.
        seq: u64,
        /// The last sequence of each guild: by these any replica goes on where another one ended.
        #[serde(default)]
        guilds: BTreeMap<GuildId, u64>,
    },
    /// Every `heartbeat_interval_ms`; answered by `heartbeat_ack`.
    Heartbeat {
        /// The last sequence number seen.
        seq: u64,
    },
    /// Something that wants an answer.
    Request {
        /// Chosen by the client, at most 64 characters.
        nonce: String,
        /// What is wanted.
        #[serde(flatten)]
        request: Request,
    },
}

/// What a client can ask for on the gateway. Everything else is REST.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", content = "params")]
pub enum Request {
    /// Join a voice channel by an SDP offer; answered by [`Joined`]. Leaves any other one.
    #[serde(rename = "voice.join")]
    VoiceJoin(VoiceJoin),
    /// Join as a native client, by derived keys instead of DTLS; answered by [`JoinedNative`].
    #[serde(rename = "voice.join_native")]
    VoiceJoinNative {
        /// Where.
        channel_id: ChannelId,
        /// Flags at the start (the server's flags are not the client's to set).
        self_mute: bool,
        /// See [`VoiceFlags::self_deaf`].
        self_deaf: bool,
        /// Which profile to derive keys for.
        profile: SrtpProfile,
        /// The client's ICE ufrag, 4–32 characters.
        ufrag: String,
    },
    /// Show that one writes in a text channel, for 10 s; answered by an empty object. Wants
    /// SEND_MESSAGES there, and is refused (`rate_limited`) within 2 s of the last one.
    #[serde(rename = "typing.start")]
    TypingStart {
        /// Where.
        channel_id: ChannelId,
    },
    /// Choose what others see of one while this session is connected: any but `offline`; answered
    /// by an empty object. Of several sessions `do_not_disturb` wins, then `online`.
    #[serde(rename = "presence.set")]
    PresenceSet {
        /// What they see.
        status: PresenceStatus,
    },
    /// Leave the voice channel; answered by an empty object.
    #[serde(rename = "voice.leave")]
    VoiceLeave {
        /// The session to end.
        session_id: SessionId,
    },
    /// Mute or deafen oneself; answered by an empty object.
    #[serde(rename = "voice.flags")]
    VoiceFlags {
        /// The session.
        session_id: SessionId,
        /// See [`VoiceFlags::self_mute`].
        self_mute: bool,
        /// See [`VoiceFlags::self_deaf`].
        self_deaf: bool,
    },
    /// Choose what a video slot shows; answered by an empty object, then by `voice.view` events.
    #[serde(rename = "voice.view")]
    VoiceView {
        /// The session.
        session_id: SessionId,
        /// Index of the video slot.
        slot: u8,
        /// What it shall show; none frees it.
        view: Option<ClientView>,
    },
}

/// What a video slot shall show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientView {
    /// Whose picture: the peer's session.
    pub session_id: SessionId,
    /// `camera` or `screen`.
    pub kind: SourceKind,
    /// About how many pixels high it is shown; picks the simulcast layer.
    pub height: Option<u16>,
}

/// `voice.join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoiceJoin {
    /// Where.
    pub channel_id: ChannelId,
    /// The client's one SDP offer.
    pub sdp: String,
    /// What each m-line of the offer is for; unnamed ones are refused in the answer.
    pub lines: OfferLines,
    /// See [`VoiceFlags::self_mute`].
    #[serde(default)]
    pub self_mute: bool,
    /// See [`VoiceFlags::self_deaf`].
    #[serde(default)]
    pub self_deaf: bool,
}

/// The purpose of an offer's m-lines, by mid.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OfferLines {
    /// Sending lines; at most one of each kind.
    #[serde(default)]
    pub sends: Vec<OfferSend>,
    /// Receiving audio lines for voices, in order.
    #[serde(default)]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub voices: Vec<Mid>,
    /// Receiving video lines, each with its sound, in order.
    #[serde(default)]
    pub videos: Vec<OfferVideo>,
}

/// One sending line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OfferSend {
    /// Its tag.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub mid: Mid,
    /// What it will carry.
    pub kind: SourceKind,
}

/// One video slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OfferVideo {
    /// The picture's line.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub video: Mid,
    /// The sound's line.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub sound: Option<Mid>,
}

/// Answer to `voice.join`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Joined {
    /// The new session.
    pub session_id: SessionId,
    /// The SDP answer.
    pub sdp: String,
    /// Everybody in the channel, oneself included.
    pub voice_states: Vec<VoiceState>,
}

/// Answer to `voice.join_native`: what a client needs to speak ICE and SRTP with the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JoinedNative {
    /// The new session.
    pub session_id: SessionId,
    /// Where to send, in order of preference.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub addresses: Vec<std::net::SocketAddr>,
    /// The node's ICE ufrag.
    pub ufrag: String,
    /// The node's ICE password.
    pub password: String,
    /// Which profile the keys are for.
    pub profile: SrtpProfile,
    /// Base64 of client key, server key, client salt, server salt (RFC 5764 §4.2's order).
    pub keying: String,
    /// Payload types, extension ids and slot SSRCs that the session uses.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub media: crate::media::SessionMedia,
    /// Everybody in the channel, oneself included.
    pub voice_states: Vec<VoiceState>,
}

/// Server → client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", content = "d", rename_all = "snake_case")]
pub enum ToClient {
    /// The first frame.
    Hello {
        /// How often the client sends a heartbeat.
        heartbeat_interval_ms: u64,
    },
    /// Answers a heartbeat.
    HeartbeatAck,
    /// The session cannot be resumed: identify anew.
    InvalidSession,
    /// Reconnect and resume soon: this replica is about to stop.
    Reconnect,
    /// A request succeeded.
    Reply {
        /// The request's.
        nonce: String,
        /// What it returned.
        result: serde_json::Value,
    },
    /// A request failed.
    Error {
        /// The request's.
        nonce: String,
        /// What went wrong.
        error: ErrorBody,
    },
    /// Something happened.
    Event {
        /// Grows by one with each event of a session.
        seq: u64,
        /// Of a durable event of a guild: its place there. Clients drop what they have seen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        position: Option<Position>,
        /// What.
        #[serde(flatten)]
        event: Event,
    },
}

/// Where a durable event stands among its guild's: numbers grow by one, without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Position {
    /// Which guild.
    pub guild_id: GuildId,
    /// Which of its events.
    pub sequence: u64,
}

/// An error as clients see it, on the gateway and in REST (`{"error":{…}}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// Stable and machine-readable, e.g. `channel_full`.
    pub code: String,
    /// What was wrong and what to do, for a person.
    pub message: String,
    /// When trying again makes sense.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "event", content = "data")]
pub enum Event {
    /// After `identify`: everything that a client shows at first.
    #[serde(rename = "ready")]
    Ready {
        /// For `resume`.
        session_id: String,
        /// Oneself.
        user: User,
        /// One's guilds.
        guilds: Vec<Guild>,
        /// How far one has read which channel.
        #[serde(default)]
        read_marks: Vec<ReadMark>,
    },
    /// After `resume`: all missed events were sent.
    #[serde(rename = "resumed")]
    Resumed {},
    /// One is now in this guild (created or joined).
    #[serde(rename = "guild.added")]
    GuildAdded(Guild),
    /// One is no longer in this guild (left, kicked, banned, or it was deleted).
    #[serde(rename = "guild.removed")]
    GuildRemoved {
        /// Which guild.
        guild_id: GuildId,
    },
    /// A guild's name or owner changed.
    #[serde(rename = "guild.updated")]
    GuildUpdated {
        /// Which guild.
        guild_id: GuildId,
        /// Its name now.
        name: String,
        /// Its owner now.
        owner_id: UserId,
    },
    /// What stands outside a guild's sequence, as it is now: after a resume by another replica, and to
    /// a session that began before its replica heard that the person is a member.
    #[serde(rename = "guild.state")]
    GuildState {
        /// Which guild.
        guild_id: GuildId,
        /// Who is in which of its voice channels.
        voice_states: Vec<VoiceState>,
        /// Who of its members is there.
        presences: Vec<Presence>,
    },
    /// Somebody joined a guild.
    #[serde(rename = "member.added")]
    MemberAdded {
        /// Which guild.
        guild_id: GuildId,
        /// Who.
        member: Member,
    },
    /// A member's roles, or what moderators decided about the member, changed.
    #[serde(rename = "member.updated")]
    MemberUpdated {
        /// Which guild.
        guild_id: GuildId,
        /// The member now.
        member: Member,
    },
    /// Somebody is no longer a member.
    #[serde(rename = "member.removed")]
    MemberRemoved {
        /// Which guild.
        guild_id: GuildId,
        /// Who.
        user_id: UserId,
    },
    /// A role was created.
    #[serde(rename = "role.created")]
    RoleCreated(Role),
    /// A role changed.
    #[serde(rename = "role.updated")]
    RoleUpdated(Role),
    /// A role was deleted; nobody has it any more.
    #[serde(rename = "role.deleted")]
    RoleDeleted {
        /// Which guild.
        guild_id: GuildId,
        /// Which role.
        role_id: RoleId,
    },
    /// A channel was created, or became visible to one.
    #[serde(rename = "channel.created")]
    ChannelCreated(Channel),
    /// A channel changed.
    #[serde(rename = "channel.updated")]
    ChannelUpdated(Channel),
    /// A channel was deleted, or became invisible to one.
    #[serde(rename = "channel.deleted")]
    ChannelDeleted {
        /// Which guild.
        guild_id: GuildId,
        /// Which channel.
        channel_id: ChannelId,
    },
    /// A message was sent.
    #[serde(rename = "message.created")]
    MessageCreated(Message),
    /// A message was edited.
    #[serde(rename = "message.updated")]
    MessageUpdated(Message),
    /// A message was deleted.
    #[serde(rename = "message.deleted")]
    MessageDeleted {
        /// Which guild.
        guild_id: GuildId,
        /// Which channel.
        channel_id: ChannelId,
        /// Which message.
        message_id: MessageId,
    },
    /// One read a channel, by this or another client.
    #[serde(rename = "channel.read")]
    ChannelRead(ReadMark),
    /// Somebody is writing in a text channel; it holds for 10 s.
    #[serde(rename = "typing")]
    Typing {
        /// Which guild.
        guild_id: GuildId,
        /// Which channel.
        channel_id: ChannelId,
        /// Who.
        user_id: UserId,
    },
    /// A member's presence changed.
    #[serde(rename = "presence")]
    Presence {
        /// Which guild.
        guild_id: GuildId,
        /// Whose, and how it stands.
        presence: Presence,
    },
    /// Somebody joined a voice channel. For consumers of the bus: clients get `voice.state`.
    #[serde(rename = "user.joined_voice")]
    UserJoinedVoice {
        /// Which guild.
        guild_id: GuildId,
        /// Which channel.
        channel_id: ChannelId,
        /// Who.
        user_id: UserId,
        /// By which session.
        session_id: SessionId,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// Somebody left a voice channel. For consumers of the bus: clients get `voice.left`.
    #[serde(rename = "user.left_voice")]
    UserLeftVoice {
        /// Which guild.
        guild_id: GuildId,
        /// Which channel.
        channel_id: ChannelId,
        /// Who.
        user_id: UserId,
        /// By which session.
        session_id: SessionId,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// Somebody joined a voice channel or changed there.
    #[serde(rename = "voice.state")]
    VoiceState(VoiceState),
    /// Somebody's session in a voice channel ended.
    #[serde(rename = "voice.left")]
    VoiceLeft {
        /// In which guild.
        guild_id: GuildId,
        /// From which channel.
        channel_id: ChannelId,
        /// Who.
        user_id: UserId,
        /// Which session.
        session_id: SessionId,
    },
    /// Who speaks in the channel that one is in changed.
    #[serde(rename = "voice.speakers")]
    VoiceSpeakers {
        /// Which channel.
        channel_id: ChannelId,
        /// All who speak now, loudest first.
        speakers: Vec<SourceId>,
    },
    /// One of one's own video slots changed its state.
    #[serde(rename = "voice.view")]
    VoiceView {
        /// One's session.
        session_id: SessionId,
        /// Index of the slot.
        slot: u8,
        /// How it stands.
        state: ViewState,
    },
    /// Which video codecs all present in one's channel can decode, best first: publish with one.
    #[serde(rename = "voice.codecs")]
    VoiceCodecs {
        /// Which channel.
        channel_id: ChannelId,
        /// The codecs.
        codecs: Vec<Codec>,
    },
    /// Quality of one's own session as the node sees it.
    #[serde(rename = "voice.stats")]
    VoiceStats(SessionStats),
    /// One's session ended not by one's own wish. `rejoin` asks the client to join again by itself.
    #[serde(rename = "voice.ended")]
    VoiceEnded {
        /// From which channel.
        channel_id: RoomId,
        /// Which session.
        session_id: SessionId,
        /// Join again, after a random wait of up to 300 ms.
        rejoin: bool,
        /// Where to join, when a moderator moved the person to another channel.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        move_to: Option<ChannelId>,
        /// For a person.
        message: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_documented_shape() {
        let text = r#"{"op":"request","d":{"nonce":"1","method":"voice.leave","params":{"session_id":"5"}}}"#;
        let frame: FromClient = serde_json::from_str(text).expect("the documented shape");
        assert_eq!(
            frame,
            FromClient::Request {
                nonce: "1".into(),
                request: Request::VoiceLeave { session_id: SessionId(5) },
            }
        );
        let event = ToClient::Event {
            seq: 3,
            position: None,
            event: Event::VoiceSpeakers { channel_id: ChannelId(1), speakers: vec![SourceId(9)] },
        };
        assert_eq!(
            serde_json::to_string(&event).expect("encodes"),
            r#"{"op":"event","d":{"seq":3,"event":"voice.speakers","data":{"channel_id":"1","speakers":[9]}}}"#
        );
        let ack = serde_json::to_string(&ToClient::HeartbeatAck).expect("encodes");
        assert_eq!(ack, r#"{"op":"heartbeat_ack"}"#);
    }
}
