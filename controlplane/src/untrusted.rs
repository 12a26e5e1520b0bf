//! The readers of clients' text, one after the other, for the fuzz targets and for the replay of
//! their corpus: an offer with everything that is made of it, and a frame of the gateway.
//! They take any bytes, tell only whether an answer came of them, and panic only when an invariant
//! is broken.

use hype_protocol::gateway::{FromClient, MAX_FRAME, OfferLines, OfferSend, OfferVideo, Request};
use hype_protocol::media::{MAX_VIDEO_SLOTS, Mid, SourceKind, VOICE_SLOTS};

use crate::voice::sdp::{self, Endpoint, Offer};

/// The most simulcast streams of a line that the engine takes.
const MAX_LAYERS: usize = 3;

/// An SDP offer, up to the answer. Its lines have the purposes that the web client gives them: four
/// that send, eight voices, then pictures with their sounds.
///
/// # Panics
/// When an invariant is broken.
pub fn sdp_offer(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mids = text.lines().filter_map(|line| line.strip_prefix("a=mid:"));
    let mut mids = mids.filter_map(|mid| Mid::try_from(mid.to_owned()).ok());
    let kinds =
        [SourceKind::Microphone, SourceKind::Camera, SourceKind::Screen, SourceKind::ScreenAudio];
    let sends = kinds.into_iter().zip(&mut mids).map(|(kind, mid)| OfferSend { mid, kind });
    let sends = sends.collect();
    let voices = mids.by_ref().take(VOICE_SLOTS).collect();
    let mut videos = Vec::new();
    while let Some(video) = mids.next() {
        videos.push(OfferVideo { video, sound: mids.next() });
    }
    negotiate(text, &OfferLines { sends, voices, videos })
}

/// A text frame of the gateway; one that joins by an offer is taken up to the answer.
///
/// # Panics
/// When an invariant is broken.
pub fn gateway_frame(bytes: &[u8]) -> bool {
    if bytes.len() > MAX_FRAME {
        return false;
    }
    let Ok(frame) = serde_json::from_slice::<FromClient>(bytes) else { return false };
    let again = serde_json::to_vec(&frame).expect("frames encode as JSON objects");
    let again: FromClient = serde_json::from_slice(&again).expect("what we write can be read");
    assert_eq!(again, frame, "one text means one thing");
    match frame {
        FromClient::Request { request: Request::VoiceJoin(join), .. } => {
            negotiate(&join.sdp, &join.lines)
        }
        _ => false,
    }
}

fn negotiate(text: &str, lines: &OfferLines) -> bool {
    let Ok(offer) = Offer::parse(text) else { return false };
    let Ok(agreement) = sdp::negotiate(&offer, lines) else { return false };
    let media = &agreement.media;
    assert!(media.sends.len() <= 4 && media.sends.iter().all(|line| line.rids.len() <= MAX_LAYERS));
    assert!(media.voice_slots.len() <= VOICE_SLOTS);
    assert!(media.video_slots.len() <= MAX_VIDEO_SLOTS);
    let endpoint = Endpoint {
        ufrag: "AAECAwQFBgcICQoLDA0ODxAR".into(),
        password: "ERAPDg0MCwoJCAcGBQQDAgEA".into(),
        fingerprint: ["AB"; 32].join(":"),
        addresses: vec![([192, 0, 2, 1], 40_000).into()],
        origin: 7,
    };
    let answer = sdp::answer(&offer, &agreement, &endpoint);
    let lines = answer.strip_suffix("\r\n").expect("RFC 8866 §5: each line ends so");
    for line in lines.split("\r\n") {
        let mut bytes = line.bytes();
        let field = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
        let well_formed = field && bytes.next() == Some(b'=');
        assert!(well_formed && !line.contains(['\r', '\n', '\0']), "{line:?}");
    }
    // Each line of the offer is answered by one, in order (RFC 3264 §6).
    let count = |text: &str| text.lines().filter(|line| line.starts_with("m=")).count();
    assert_eq!(count(&answer), count(text));
    true
}
