//! The slots by which clients receive, with SSRCs that are the same in every session, and the
//! fixed media of native clients, which need no SDP.

use hype_protocol::media::{
    Codec, CodecMapping, HeaderExtensions, MAX_VIDEO_SLOTS, Mid, ReceiveLine, SendLine,
    SessionMedia, SourceKind, VOICE_SLOTS, VideoSlot,
};

/// What the client receives on a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Voice,
    Video,
    /// A picture's.
    Sound,
}

/// The SSRC of the `index`-th slot of a sort, fixed for all sessions: SRTP keys are a session's
/// own, so equal numbers in two sessions never meet.
fn slot_ssrc(slot: Slot, index: usize) -> u32 {
    let index = u32::try_from(index).expect("slots are counted in single digits");
    match slot {
        Slot::Voice => 1000 + index,
        // The odd number after it is its retransmissions'.
        Slot::Video => 2000 + 2 * index,
        Slot::Sound => 3000 + index,
    }
}

/// The line of a slot.
pub(super) fn receive_line(mid: &Mid, slot: Slot, index: usize, rtx: bool) -> ReceiveLine {
    let ssrc = slot_ssrc(slot, index);
    ReceiveLine { mid: mid.clone(), ssrc, rtx_ssrc: rtx.then_some(ssrc + 1) }
}

/// The fixed media of a native client: lines, payload types and extension ids as every native
/// client knows them, so that it needs no SDP.
pub fn native_media() -> SessionMedia {
    let mid = |text: String| Mid::try_from(text).expect("a few digits or letters are a mid");
    let opus = CodecMapping { codec: Codec::Opus, payload_type: 111, rtx_payload_type: None };
    let vp8 = CodecMapping { codec: Codec::Vp8, payload_type: 96, rtx_payload_type: Some(97) };
    let kinds =
        [SourceKind::Microphone, SourceKind::Camera, SourceKind::Screen, SourceKind::ScreenAudio];
    let sends = kinds.into_iter().enumerate().map(|(index, kind)| SendLine {
        mid: mid(index.to_string()),
        kind,
        rids: Vec::new(),
    });
    let voice = |index: usize| receive_line(&mid(format!("v{index}")), Slot::Voice, index, false);
    let video = |index: usize| VideoSlot {
        video: receive_line(&mid(format!("p{index}")), Slot::Video, index, true),
        sound: Some(receive_line(&mid(format!("s{index}")), Slot::Sound, index, false)),
    };
    SessionMedia {
        extensions: HeaderExtensions {
            audio_level: Some(1),
            transport_cc: Some(3),
            mid: Some(4),
            ..HeaderExtensions::default()
        },
        send_codecs: vec![opus, vp8],
        receive_codecs: vec![opus, vp8],
        sends: sends.collect(),
        voice_slots: (0..VOICE_SLOTS).map(voice).collect(),
        video_slots: (0..MAX_VIDEO_SLOTS).map(video).collect(),
    }
}
