//! Node ⇄ control plane, over the mutually authenticated QUIC connection that every node dials to
//! every live control replica, or over an in-process channel in `hype up`.
//! What belongs to one connection goes here, never through the store. Each message is one JSON
//! frame on one bidirectional stream: a 4-byte big-endian length, then that many bytes.

use serde::{Deserialize, Serialize};

use crate::id::{BootId, Generation, NodeId, RoomId, SessionId, SourceId, UserId, WorkerId};
use crate::media::{Codec, SessionMedia, SourceKind};
use crate::secret::{BootSecret, SrtpProfile};
use crate::unit::Bitrate;

/// The largest frame in bytes; a longer one closes the connection.
pub const MAX_FRAME: usize = 1 << 20;

/// How a session's SRTP keys come about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keying {
    /// By a DTLS handshake in which the client is active.
    Dtls {
        /// SHA-256 of the client's certificate, from its offer.
        fingerprint: [u8; 32],
    },
    /// Derived from the boot secret: native clients and load generators.
    Native {
        /// The profile asked for.
        profile: SrtpProfile,
    },
}

/// What the person chose, and what moderators decided. Effective mute is either of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VoiceFlags {
    /// The person muted the microphone.
    pub self_mute: bool,
    /// The person stopped listening.
    pub self_deaf: bool,
    /// A moderator muted the person: the engine drops the microphone's packets.
    pub server_mute: bool,
    /// A moderator deafened the person: the engine sends no sound there.
    pub server_deaf: bool,
    /// The person lacks SPEAK in this channel: the engine drops the microphone's packets. Roles
    /// and overwrites decide it, so that they and moderators never undo each other.
    #[serde(default)]
    pub suppressed: bool,
    /// The person lacks STREAM in this channel: the engine drops the camera's and the screen's.
    #[serde(default)]
    pub no_stream: bool,
}

impl VoiceFlags {
    /// True when the microphone must not be heard.
    pub fn muted(self) -> bool {
        self.self_mute || self.server_mute || self.suppressed
    }

    /// True when no sound must be sent to the person.
    pub fn deafened(self) -> bool {
        self.self_deaf || self.server_deaf
    }
}

/// A change of some flags; the others stay. Only the node applies it, so that a person and a
/// moderator who act at the same moment never undo each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FlagsChange {
    /// See [`VoiceFlags::self_mute`].
    pub self_mute: Option<bool>,
    /// See [`VoiceFlags::self_deaf`].
    pub self_deaf: Option<bool>,
    /// See [`VoiceFlags::server_mute`].
    pub server_mute: Option<bool>,
    /// See [`VoiceFlags::server_deaf`].
    pub server_deaf: Option<bool>,
    /// See [`VoiceFlags::suppressed`].
    #[serde(default)]
    pub suppressed: Option<bool>,
    /// See [`VoiceFlags::no_stream`].
    #[serde(default)]
    pub no_stream: Option<bool>,
}

impl FlagsChange {
    /// The flags after this change.
    #[must_use]
    pub fn apply(self, flags: VoiceFlags) -> VoiceFlags {
        VoiceFlags {
            self_mute: self.self_mute.unwrap_or(flags.self_mute),
            self_deaf: self.self_deaf.unwrap_or(flags.self_deaf),
            server_mute: self.server_mute.unwrap_or(flags.server_mute),
            server_deaf: self.server_deaf.unwrap_or(flags.server_deaf),
            suppressed: self.suppressed.unwrap_or(flags.suppressed),
            no_stream: self.no_stream.unwrap_or(flags.no_stream),
        }
    }
}

/// Opens a session on the node. The answer has gone to the client already, or goes at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenSession {
    /// The run of the node that the answer was made for; another run refuses.
    pub boot: BootId,
    /// The room.
    pub room: RoomId,
    /// The room's generation that the control plane knows. A node refuses an older one than its
    /// own, and waits briefly for one that its watch has not shown yet.
    pub generation: Generation,
    /// The worker whose address the answer carries.
    pub worker: WorkerId,
    /// The session.
    pub session: SessionId,
    /// Who it is.
    pub user: UserId,
    /// The client's ICE ufrag, which follows ours in each check's USERNAME.
    pub remote_ufrag: String,
    /// Where the SRTP keys come from.
    pub keying: Keying,
    /// Flags at the start.
    pub flags: VoiceFlags,
    /// What the client sends and receives.
    pub media: SessionMedia,
}

/// What a video slot shall show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Whose picture.
    pub source: SourceId,
    /// Camera or screen; screen brings its sound along.
    pub kind: SourceKind,
    /// About how many pixels high it is shown; picks the simulcast layer (none: the best).
    pub height: Option<u16>,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CloseReason {
    /// The client left.
    Left,
    /// A moderator disconnected it, or it lost the right to be there.
    Removed,
    /// A moderator moved it: the client joins that room by itself.
    Moved {
        /// Where to.
        to: RoomId,
    },
    /// The same person joined again elsewhere.
    Replaced,
    /// Nothing authentic was heard for 8 s, or it never connected.
    Timeout,
    /// The client closed DTLS (`close_notify`), as browsers do when a page goes away.
    ClosedByPeer,
    /// The DTLS handshake failed or showed another certificate than the offer named.
    Handshake,
    /// The room left this node.
    RoomClosed,
    /// The node stops.
    NodeStopping,
}

/// Why a node did not open a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefuseReason {
    /// The answer was made for an earlier run of this node.
    StaleBoot,
    /// This node knows a newer generation of the room.
    StaleGeneration,
    /// The room did not appear within the wait.
    UnknownRoom,
    /// The node has its `max_sessions`, or the part its `max_peers`.
    Full,
    /// The session id, or its source in this room, was used before.
    Duplicate,
    /// The media description breaks a limit.
    Invalid,
}

/// Control plane → node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToNode {
    /// Open a session.
    Open(Box<OpenSession>),
    /// End a session.
    Close {
        /// Which.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// Change some of a session's flags.
    Flags {
        /// Which.
        session: SessionId,
        /// Those that change.
        change: FlagsChange,
    },
    /// Choose what a video slot shows.
    View {
        /// Whose slot.
        session: SessionId,
        /// The slot's index in [`SessionMedia::video_slots`].
        slot: u8,
        /// What it shows; none frees it.
        view: Option<View>,
    },
}

/// One running stream of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ProducerStatus {
    /// What it carries.
    pub kind: SourceKind,
    /// How it is encoded now.
    pub codec: Codec,
}

/// A session as its node knows it. The node is where sessions live: this is the truth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Which.
    pub session: SessionId,
    /// In which room.
    pub room: RoomId,
    /// The worker that serves it, and with it the part of the room that it is in.
    #[serde(default)]
    pub worker: WorkerId,
    /// Whose.
    pub user: UserId,
    /// True once keys are there and media can flow.
    pub connected: bool,
    /// Mute and deafen.
    pub flags: VoiceFlags,
    /// Streams that run now: one starts with its first packet and ends after 2 s without any
    /// (a microphone, which pauses by DTX, only with its session).
    pub producers: Vec<ProducerStatus>,
    /// Video codecs that the client can decode.
    pub decodes: Vec<Codec>,
    /// Since when, in Unix milliseconds.
    pub opened_at_ms: u64,
}

/// How a video slot stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ViewState {
    /// The stream is not there, or its key frame has not come yet.
    Waiting,
    /// Packets flow.
    Live,
    /// The viewer cannot decode what the publisher sends.
    CodecUnsupported,
}

/// Quality of one session over the last interval, from RTCP and the engine's own counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionStats {
    /// Which.
    pub session: SessionId,
    /// Round trip, ms; none before the first receiver report.
    pub round_trip_ms: Option<f32>,
    /// Loss from the client to the node, 0–1.
    pub loss_up: f32,
    /// Loss from the node to the client as it reports it, 0–1.
    pub loss_down: f32,
    /// Interarrival jitter of the client's microphone (RFC 3550 §6.4.1), ms.
    pub jitter_ms: f32,
    /// From the client.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub bitrate_up: Bitrate,
    /// To the client.
    #[cfg_attr(feature = "openapi", schema(value_type = u64))]
    pub bitrate_down: Bitrate,
}

/// A node's load, for placement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeLoad {
    /// Sessions open.
    pub sessions: u32,
    /// Share of its workers' time in use, 0–1, the busiest worker's.
    pub cpu: f32,
    /// Packets sent a second.
    pub packets_per_second: u64,
    /// Send operations a second: fewer than packets where several leave by one (UDP GSO).
    #[serde(default)]
    pub sends_per_second: u64,
    /// Bits sent a second.
    pub egress: Bitrate,
}

/// Node → control plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FromNode {
    /// The first message. All sessions follow in `Session` messages, then `SnapshotEnd`.
    Hello {
        /// Who speaks; over QUIC it must be the name in its certificate.
        node: NodeId,
        /// Which run.
        boot: BootId,
        /// From which its ICE passwords and native keys derive.
        secret: BootSecret,
    },
    /// The snapshot is complete: sessions of this node not named in it are gone.
    SnapshotEnd,
    /// A session is new or changed.
    Session(Box<SessionStatus>),
    /// A session ended.
    Closed {
        /// Which.
        session: SessionId,
        /// Where it was.
        room: RoomId,
        /// Why.
        reason: CloseReason,
    },
    /// An `Open` was not done.
    Refused {
        /// Which.
        session: SessionId,
        /// Where it would have been.
        room: RoomId,
        /// Why.
        reason: RefuseReason,
    },
    /// Who speaks in a room changed; at most every 100 ms a room.
    Speakers {
        /// Where.
        room: RoomId,
        /// All who speak now, loudest first.
        speakers: Vec<SourceId>,
    },
    /// A video slot's state changed.
    View {
        /// Whose slot.
        session: SessionId,
        /// Its index.
        slot: u8,
        /// How it stands.
        state: ViewState,
    },
    /// Every 2 s.
    Stats {
        /// The node.
        load: NodeLoad,
        /// Its sessions, in slices of at most 500 a message.
        sessions: Vec<SessionStats>,
    },
}
