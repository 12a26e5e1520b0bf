//! Which of an offered line's payload types we take, and with what parameters.
//! Profiles are matched as RFC 6184 §8.2.2, RFC 9628 §7 and the AV1 RTP payload specification
//! say; H264 prefers constrained baseline, which every decoder of baseline plays.

use hype_protocol::media::Codec;

use super::offer::{MediaKind, MediaLine, PayloadType};

/// One codec of one line as we accept it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) codec: Codec,
    pub(super) payload_type: u8,
    pub(super) rtx_payload_type: Option<u8>,
    /// Parameters that the answer repeats; empty for none.
    pub(super) parameters: String,
    /// Feedback that the offer has and we use, as written after the payload type.
    pub(super) feedback: Vec<&'static str>,
}

/// Video codecs in the order of the answer. A browser sends with the first unless told otherwise:
/// VP8 has simulcast in every browser and costs the least to encode without hardware.
const VIDEO: [Codec; 4] = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];
const VIDEO_FEEDBACK: [&str; 4] = ["transport-cc", "ccm fir", "nack", "nack pli"];
const AUDIO_FEEDBACK: [&str; 1] = ["transport-cc"];

/// The codecs of a line that we take, best first; empty when there is none.
pub(super) fn accept(line: &MediaLine) -> Vec<Accepted> {
    match line.kind {
        MediaKind::Audio => accept_codec(line, Codec::Opus).into_iter().collect(),
        MediaKind::Video => {
            VIDEO.into_iter().filter_map(|codec| accept_codec(line, codec)).collect()
        }
        MediaKind::Other => Vec::new(),
    }
}

fn accept_codec(line: &MediaLine, codec: Codec) -> Option<Accepted> {
    let candidates = line.payload_types.iter().filter_map(|offered| {
        let (rank, parameters) = matches(offered, codec)?;
        Some((rank, offered, parameters))
    });
    // The first among the best ranked: the offerer lists by preference.
    let (_, offered, parameters) = candidates.min_by_key(|(rank, ..)| *rank)?;
    let rtx = line.payload_types.iter().find(|other| {
        other.is("rtx", codec.clock_rate())
            && other.parameter("apt").and_then(|apt| apt.parse().ok()) == Some(offered.number)
    });
    let known: &[&'static str] = if codec.is_audio() { &AUDIO_FEEDBACK } else { &VIDEO_FEEDBACK };
    Some(Accepted {
        codec,
        payload_type: offered.number,
        rtx_payload_type: rtx.map(|rtx| rtx.number),
        parameters,
        feedback: known.iter().filter(|name| offered.has_feedback(name)).copied().collect(),
    })
}

/// How well a payload type fits a codec (0 is best) and what the answer repeats of its parameters.
fn matches(offered: &PayloadType, codec: Codec) -> Option<(u8, String)> {
    let plain = Some((0, String::new()));
    match codec {
        Codec::Opus => plain.filter(|_| offered.is("opus", 48_000) && offered.channels == 2),
        Codec::Vp8 => plain.filter(|_| offered.is("vp8", 90_000)),
        Codec::Vp9 if offered.is("vp9", 90_000) => match offered.parameter("profile-id") {
            None => plain,
            Some("0") => Some((0, "profile-id=0".into())),
            Some(_) => None,
        },
        Codec::Av1 if offered.is("av1", 90_000) => av1(offered),
        Codec::H264 if offered.is("h264", 90_000) => h264(offered),
        Codec::Vp9 | Codec::Av1 | Codec::H264 => None,
    }
}

fn av1(offered: &PayloadType) -> Option<(u8, String)> {
    let number = |name, default: u8| match offered.parameter(name) {
        None => Some(default),
        Some(text) => text.parse().ok(),
    };
    // Left out, they mean main profile, level 3.1, main tier (specification, §7.2.3).
    let (profile, level, tier) =
        (number("profile", 0)?, number("level-idx", 5)?, number("tier", 0)?);
    let parameters = if offered.parameters.is_empty() {
        String::new()
    } else {
        format!("level-idx={level};profile={profile};tier={tier}")
    };
    (profile == 0).then_some((0, parameters))
}

fn h264(offered: &PayloadType) -> Option<(u8, String)> {
    if offered.parameter("packetization-mode") != Some("1") {
        return None;
    }
    let id = offered.parameter("profile-level-id")?;
    if id.len() != 6 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let id = u32::from_str_radix(id, 16).ok()?;
    let (profile, constraints) = (id >> 16, (id >> 8) & 0xff);
    // RFC 6184 §8.1, table 5: baseline with constraint_set1 is constrained baseline.
    let rank = match profile {
        0x42 if constraints & 0x40 != 0 => 0,
        0x42 => 1,
        _ => return None,
    };
    let parameters =
        format!("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id={id:06x}");
    Some((rank, parameters))
}
