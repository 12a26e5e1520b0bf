//! What a session's media description must keep to. The control plane made it from a stranger's
//! offer, so each limit that memory or SRTP's safety rests on is checked again here.

use hype_protocol::media::{
    CodecMapping, HeaderExtensions, MAX_VIDEO_SLOTS, MAX_VOICE_SLOTS, ReceiveLine, SessionMedia,
};
use hype_protocol::observation::OpenSession;

use crate::room::layer_selector::MAX_LAYERS;

/// Codecs of one direction.
const MAX_CODECS: usize = 16;
/// A ufrag is at most 256 characters (RFC 8839 §5.4).
const MAX_UFRAG: usize = 256;

/// Whether a session may be opened as described.
pub(crate) fn is_valid(open: &OpenSession) -> bool {
    let media = &open.media;
    (1..=MAX_UFRAG).contains(&open.remote_ufrag.len())
        && media.voice_slots.len() <= MAX_VOICE_SLOTS
        && media.video_slots.len() <= MAX_VIDEO_SLOTS
        && extensions_are_valid(&media.extensions)
        && codecs_are_valid(&media.send_codecs)
        && codecs_are_valid(&media.receive_codecs)
        && sends_are_valid(media)
        && ssrcs_are_valid(media)
}

fn codecs_are_valid(codecs: &[CodecMapping]) -> bool {
    let mut types: Vec<u8> = codecs
        .iter()
        .flat_map(|mapping| [Some(mapping.payload_type), mapping.rtx_payload_type])
        .flatten()
        .collect();
    let count = types.len();
    types.sort_unstable();
    types.dedup();
    // RFC 8843 §9: a payload type means one thing throughout a bundle.
    codecs.len() <= MAX_CODECS && types.len() == count && types.iter().all(|kind| *kind < 128)
}

fn extensions_are_valid(ids: &HeaderExtensions) -> bool {
    let all = [
        ids.mid,
        ids.rid,
        ids.repaired_rid,
        ids.audio_level,
        ids.transport_cc,
        ids.abs_send_time,
        ids.dependency_descriptor,
        ids.video_orientation,
        ids.playout_delay,
    ];
    let mut ids: Vec<u8> = all.into_iter().flatten().collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    ids.len() == count && ids.iter().all(|id| *id != 0 && *id != 15)
}

fn sends_are_valid(media: &SessionMedia) -> bool {
    let unique = |index: usize| {
        let line = &media.sends[index];
        media.sends[..index].iter().all(|other| other.kind != line.kind && other.mid != line.mid)
    };
    (0..media.sends.len()).all(unique)
        && media.sends.iter().all(|line| line.rids.len() <= MAX_LAYERS)
}

/// Two lines with one SSRC would use one nonce twice (DESIGN rule 5).
fn ssrcs_are_valid(media: &SessionMedia) -> bool {
    let of = |line: &ReceiveLine| [Some(line.ssrc), line.rtx_ssrc];
    let video = media.video_slots.iter().flat_map(|slot| {
        of(&slot.video).into_iter().chain(slot.sound.as_ref().into_iter().flat_map(of))
    });
    let mut ssrcs: Vec<u32> =
        media.voice_slots.iter().flat_map(of).chain(video).flatten().collect();
    let count = ssrcs.len();
    ssrcs.sort_unstable();
    ssrcs.dedup();
    ssrcs.len() == count && !ssrcs.contains(&0)
}
