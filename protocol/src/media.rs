//! What one client sends and receives: the outcome of its one offer and answer, without SDP.
//! The control plane makes it from the client's offer; the engine obeys it.
//! Payload types and extension ids are per session: RFC 8843 §10 and §9 require them to mean the
//! same thing throughout a bundle.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How many people are heard at once, unless a node is set up otherwise: what browsers offer and get.
pub const VOICE_SLOTS: usize = 8;
/// The most voice slots that a session may have.
pub const MAX_VOICE_SLOTS: usize = 64;
/// The most video slots (each with its sound) a client may offer.
pub const MAX_VIDEO_SLOTS: usize = 4;

/// What a producer carries. A peer has at most one producer of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Voice; takes part in speaker selection.
    Microphone,
    /// A person's face.
    Camera,
    /// A shared screen or window.
    Screen,
    /// The sound of a shared screen: stereo, outside speaker selection.
    ScreenAudio,
}

impl SourceKind {
    /// True for microphone and screen sound.
    pub fn is_audio(self) -> bool {
        matches!(self, Self::Microphone | Self::ScreenAudio)
    }
}

/// A codec that the engine can tell key frames and layers of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// RFC 7587, 48 kHz, in-band FEC and DTX.
    Opus,
    /// RFC 7741.
    Vp8,
    /// RFC 6184, packetization-mode 1, constrained baseline.
    H264,
    /// RFC 9628, profile 0.
    Vp9,
    /// AV1 RTP payload specification, profile 0.
    Av1,
}

impl Codec {
    /// RTP clock rate in Hz.
    pub fn clock_rate(self) -> u32 {
        match self {
            Self::Opus => 48_000,
            Self::Vp8 | Self::H264 | Self::Vp9 | Self::Av1 => 90_000,
        }
    }

    /// True for Opus.
    pub fn is_audio(self) -> bool {
        self == Self::Opus
    }
}

/// The payload types by which one session calls one codec (0–127 each).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodecMapping {
    /// The codec.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// The payload type of its retransmissions (RFC 4588), where offered.
    pub rtx_payload_type: Option<u8>,
}

/// RFC 8285 local identifiers, 1–255; 15 is never used, and above 14 needs two-byte headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeaderExtensions {
    /// `urn:ietf:params:rtp-hdrext:sdes:mid` (RFC 9143)
    pub mid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id` (RFC 8852)
    pub rid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id` (RFC 8852)
    pub repaired_rid: Option<u8>,
    /// `urn:ietf:params:rtp-hdrext:ssrc-audio-level` (RFC 6464)
    pub audio_level: Option<u8>,
    /// `http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01`
    pub transport_cc: Option<u8>,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time`
    pub abs_send_time: Option<u8>,
    /// `https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension`
    pub dependency_descriptor: Option<u8>,
    /// `urn:3gpp:video-orientation`
    pub video_orientation: Option<u8>,
    /// `http://www.webrtc.org/experiments/rtp-hdrext/playout-delay`
    pub playout_delay: Option<u8>,
}

/// An SDP media identification tag: 1–16 visible ASCII characters (RFC 9143 §8).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mid(String);

/// An RTP stream id: 1–16 letters and digits (RFC 8851 §10).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rid(String);

/// A mid or rid was empty, too long, or held a character that it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a mid or rid must be 1 to 16 characters of its alphabet")]
pub struct InvalidTag;

macro_rules! tag {
    ($name:ident, $allowed:expr) => {
        impl $name {
            /// The tag's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidTag;
            fn try_from(text: String) -> Result<Self, InvalidTag> {
                let allowed: fn(&u8) -> bool = $allowed;
                if (1..=16).contains(&text.len()) && text.bytes().all(|b| allowed(&b)) {
                    Ok(Self(text))
                } else {
                    Err(InvalidTag)
                }
            }
        }

        impl From<$name> for String {
            fn from(tag: $name) -> String {
                tag.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

tag!(Mid, u8::is_ascii_graphic);
tag!(Rid, u8::is_ascii_alphanumeric);

/// One m-line by which the client sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendLine {
    /// Its tag; the client's packets carry it until their SSRC is latched.
    pub mid: Mid,
    /// What is sent there.
    pub kind: SourceKind,
    /// Simulcast streams in the order of the offer, lowest first; empty without simulcast.
    pub rids: Vec<Rid>,
}

/// One m-line by which the client receives a stream with a fixed SSRC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiveLine {
    /// Its tag.
    pub mid: Mid,
    /// The SSRC announced for it in the answer.
    pub ssrc: u32,
    /// The SSRC of its retransmissions (RFC 4588), for video.
    pub rtx_ssrc: Option<u32>,
}

/// A place where a client shows a camera or a screen, with that screen's sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoSlot {
    /// The picture.
    pub video: ReceiveLine,
    /// The sound that belongs to it.
    pub sound: Option<ReceiveLine>,
}

/// Everything that a session's one offer and answer settled.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SessionMedia {
    /// Header extensions agreed on.
    pub extensions: HeaderExtensions,
    /// Codecs that the client may send with.
    pub send_codecs: Vec<CodecMapping>,
    /// Codecs that the client can decode.
    pub receive_codecs: Vec<CodecMapping>,
    /// What the client may send; at most one line of each kind.
    pub sends: Vec<SendLine>,
    /// Voice slots, at most [`MAX_VOICE_SLOTS`].
    pub voice_slots: Vec<ReceiveLine>,
    /// Video slots, at most [`MAX_VIDEO_SLOTS`].
    pub video_slots: Vec<VideoSlot>,
}
