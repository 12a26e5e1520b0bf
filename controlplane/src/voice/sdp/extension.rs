//! The header extensions (RFC 8285) that we take from an offer, by their URIs.
//! Their ids are the offerer's; one id means one extension throughout the bundle.

use hype_protocol::media::HeaderExtensions;

/// A header extension that the engine reads, writes or passes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extension {
    Mid,
    Rid,
    RepairedRid,
    AudioLevel,
    TransportCc,
    AbsSendTime,
    DependencyDescriptor,
    VideoOrientation,
    PlayoutDelay,
}

impl Extension {
    pub(super) const ALL: [Self; 9] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::AudioLevel,
        Self::TransportCc,
        Self::AbsSendTime,
        Self::DependencyDescriptor,
        Self::VideoOrientation,
        Self::PlayoutDelay,
    ];

    pub(super) fn uri(self) -> &'static str {
        match self {
            Self::Mid => "urn:ietf:params:rtp-hdrext:sdes:mid",
            Self::Rid => "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
            Self::RepairedRid => "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
            Self::AudioLevel => "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
            Self::TransportCc => {
                "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
            }
            Self::AbsSendTime => "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
            Self::DependencyDescriptor => {
                "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
            }
            Self::VideoOrientation => "urn:3gpp:video-orientation",
            Self::PlayoutDelay => "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
        }
    }

    pub(super) fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|extension| extension.uri() == uri)
    }

    /// Where its id is kept.
    pub(super) fn id_in(self, ids: &mut HeaderExtensions) -> &mut Option<u8> {
        match self {
            Self::Mid => &mut ids.mid,
            Self::Rid => &mut ids.rid,
            Self::RepairedRid => &mut ids.repaired_rid,
            Self::AudioLevel => &mut ids.audio_level,
            Self::TransportCc => &mut ids.transport_cc,
            Self::AbsSendTime => &mut ids.abs_send_time,
            Self::DependencyDescriptor => &mut ids.dependency_descriptor,
            Self::VideoOrientation => &mut ids.video_orientation,
            Self::PlayoutDelay => &mut ids.playout_delay,
        }
    }
}
