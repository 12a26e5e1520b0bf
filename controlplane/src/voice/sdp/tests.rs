//! Offers as Chromium 156 and Firefox ESR 153 write them, and what must come of them and of
//! offers that are changed, cut short or contradictory.

use std::net::SocketAddr;

use hype_protocol::gateway::{OfferLines, OfferSend, OfferVideo};
use hype_protocol::media::{Codec, CodecMapping, Mid, SessionMedia, SourceKind};

use super::{Endpoint, Error, Offer, answer, native_media, negotiate};

const CHROMIUM: &str = include_str!("fixtures/chromium.sdp");
const FIREFOX: &str = include_str!("fixtures/firefox.sdp");
const FINGERPRINT: &str = "18:62:A0:EA:A5:D9:6E:B9:27:73:F7:72:FD:46:C2:89:91:70:90:94:BF:22:07:10:CA:25:D9:C6:76:8F:61:C1";

fn mid(text: &str) -> Mid {
    Mid::try_from(text.to_owned()).expect("a valid mid")
}

/// The lines of both fixtures: four that send, eight voices, four pictures with sound.
fn lines() -> OfferLines {
    let kinds =
        [SourceKind::Microphone, SourceKind::Camera, SourceKind::Screen, SourceKind::ScreenAudio];
    let sends = kinds.into_iter().enumerate();
    OfferLines {
        sends: sends.map(|(i, kind)| OfferSend { mid: mid(&i.to_string()), kind }).collect(),
        voices: (4..12).map(|i| mid(&i.to_string())).collect(),
        videos: (0..4)
            .map(|i| OfferVideo {
                video: mid(&(12 + 2 * i).to_string()),
                sound: Some(mid(&(13 + 2 * i).to_string())),
            })
            .collect(),
    }
}

fn endpoint() -> Endpoint {
    let addresses: [SocketAddr; 2] =
        ["192.0.2.1:40000".parse().expect("v4"), "[2001:db8::1]:40000".parse().expect("v6")];
    Endpoint {
        ufrag: "AAECAwQFBgcICQoLDA0ODxAR".into(),
        password: "ERAPDg0MCwoJCAcGBQQDAgEA".into(),
        fingerprint: FINGERPRINT.into(),
        addresses: addresses.into(),
        origin: 7,
    }
}

fn answered(sdp: &str, lines: &OfferLines) -> Result<(SessionMedia, String), Error> {
    let offer = Offer::parse(sdp)?;
    let agreement = negotiate(&offer, lines)?;
    let text = answer(&offer, &agreement, &endpoint());
    Ok((agreement.media, text))
}

/// The lines of the answer's m-section with this mid, from its m-line on.
fn section<'a>(answer: &'a str, mid: &str) -> Vec<&'a str> {
    let tag = format!("a=mid:{mid}");
    let sections = answer.split("\r\nm=").skip(1).map(|text| text.split("\r\n").collect());
    sections
        .into_iter()
        .find(|lines: &Vec<&str>| lines.contains(&tag.as_str()))
        .expect("the answer has a section with this mid")
}

/// Checks that a section of the answer has and lacks some lines.
fn check(answer: &str, mid: &str, has: &[&str], lacks: &[&str]) {
    let section = section(answer, mid);
    for line in has {
        assert!(section.contains(line), "mid {mid} lacks {line}: {section:#?}");
    }
    for start in lacks {
        let found = section.iter().find(|line| line.starts_with(start));
        assert_eq!(found, None, "mid {mid} has what it must not");
    }
}

fn mapping(codec: Codec, payload_type: u8, rtx: Option<u8>) -> CodecMapping {
    CodecMapping { codec, payload_type, rtx_payload_type: rtx }
}

#[test]
fn chromium_is_understood() {
    let (media, _) = answered(CHROMIUM, &lines()).expect("answered");
    let codecs = [
        mapping(Codec::Opus, 111, None),
        mapping(Codec::Vp8, 96, Some(97)),
        mapping(Codec::Vp9, 98, Some(99)),
        mapping(Codec::H264, 108, Some(109)),
        mapping(Codec::Av1, 45, Some(46)),
    ];
    assert_eq!(media.send_codecs, codecs);
    assert_eq!(media.receive_codecs, codecs);
    let ids = media.extensions;
    assert_eq!((ids.mid, ids.rid, ids.repaired_rid), (Some(4), Some(10), Some(11)));
    assert_eq!((ids.audio_level, ids.transport_cc, ids.abs_send_time), (Some(1), Some(3), Some(2)));
    assert_eq!(ids.dependency_descriptor, Some(12));
    assert_eq!((ids.video_orientation, ids.playout_delay), (Some(13), Some(5)));
    let rids: Vec<usize> = media.sends.iter().map(|line| line.rids.len()).collect();
    assert_eq!(rids, [0, 3, 2, 0]);
    assert_eq!(media.sends[1].rids[0].as_str(), "q");
    let voices: Vec<u32> = media.voice_slots.iter().map(|line| line.ssrc).collect();
    assert_eq!(voices, (1000..1008).collect::<Vec<_>>());
    let last = &media.video_slots[3];
    assert_eq!((last.video.ssrc, last.video.rtx_ssrc), (2006, Some(2007)));
    let sound = last.sound.as_ref().expect("a sound line was offered");
    assert_eq!((sound.mid.as_str(), sound.ssrc, sound.rtx_ssrc), ("19", 3003, None));
    let offer = Offer::parse(CHROMIUM).expect("read");
    assert_eq!(offer.ufrag, "Ievk");
    assert_eq!(offer.fingerprint[..3], [0x18, 0x62, 0xa0]);
}

#[test]
fn firefox_is_understood() {
    let (media, _) = answered(FIREFOX, &lines()).expect("answered");
    let codecs = [
        mapping(Codec::Opus, 109, None),
        mapping(Codec::Vp8, 120, Some(124)),
        mapping(Codec::Vp9, 121, Some(125)),
        mapping(Codec::Av1, 99, Some(100)),
    ];
    assert_eq!(media.send_codecs, codecs);
    assert_eq!(media.receive_codecs, codecs);
    assert_eq!(media.extensions.mid, Some(3));
    assert_eq!(media.extensions.transport_cc, Some(7));
    assert_eq!(media.sends.len() + media.voice_slots.len() + media.video_slots.len(), 16);
    let offer = Offer::parse(FIREFOX).expect("read");
    // Firefox writes its fingerprint once, for the session.
    assert_eq!(offer.fingerprint[..3], [0xc9, 0xfc, 0x8c]);
}

#[test]
fn the_answer_has_one_transport() {
    for offer in [CHROMIUM, FIREFOX] {
        let (_, text) = answered(offer, &lines()).expect("answered");
        assert!(text.starts_with("v=0\r\no=- 7 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"));
        assert!(text.ends_with("\r\n"));
        let mids: Vec<String> = (0..20).map(|i| i.to_string()).collect();
        assert!(text.contains(&format!("\r\na=group:BUNDLE {}\r\n", mids.join(" "))));
        assert!(text.contains("\r\na=ice-lite\r\n"));
        for mid in &mids {
            let has = [
                "a=ice-ufrag:AAECAwQFBgcICQoLDA0ODxAR",
                "a=ice-pwd:ERAPDg0MCwoJCAcGBQQDAgEA",
                &format!("a=fingerprint:sha-256 {FINGERPRINT}"),
                "a=setup:passive",
                "a=rtcp-mux",
            ];
            check(&text, mid, &has, &["a=sendrecv", "a=inactive"]);
        }
        let candidates = [
            "a=candidate:1 1 udp 2130706431 192.0.2.1 40000 typ host",
            "a=candidate:2 1 udp 2130706175 2001:db8::1 40000 typ host",
            "a=end-of-candidates",
        ];
        check(&text, "0", &candidates, &[]);
        check(&text, "1", &[], &["a=candidate"]);
    }
}

#[test]
fn sending_lines_of_chromium() {
    let (_, text) = answered(CHROMIUM, &lines()).expect("answered");
    let voice = "a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1;maxaveragebitrate=64000";
    check(
        &text,
        "0",
        &["audio 9 UDP/TLS/RTP/SAVPF 111", "a=recvonly", "a=rtcp-fb:111 transport-cc", voice],
        &["a=ssrc", "a=msid", "b="],
    );
    let camera = [
        "video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 108 109 45 46",
        "a=recvonly",
        "a=rid:q recv",
        "a=rid:h recv",
        "a=rid:f recv",
        "a=simulcast:recv q;h;f",
        "a=rtcp-fb:96 nack pli",
        "a=rtcp-fb:96 ccm fir",
        "a=fmtp:96 x-google-start-bitrate=2500",
        "a=fmtp:97 apt=96",
        "a=fmtp:98 profile-id=0;x-google-start-bitrate=2500",
        "a=extmap:10 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    ];
    let unknown = ["a=rtcp-fb:96 goog-remb", "a=extmap:9", "a=extmap:14", "a=ssrc", "b="];
    check(&text, "1", &camera, &unknown);
    check(&text, "2", &["b=AS:8000", "a=simulcast:recv h;f"], &["a=rid:q"]);
    let sound =
        "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1;maxaveragebitrate=128000";
    check(&text, "3", &["a=recvonly", sound], &["a=ssrc"]);
}

#[test]
fn receiving_lines_have_fixed_tracks() {
    let (_, text) = answered(CHROMIUM, &lines()).expect("answered");
    check(
        &text,
        "5",
        &["a=sendonly", "a=msid:voice-1 voice-1", "a=ssrc:1001 cname:hype"],
        &["a=ssrc-group", "a=simulcast"],
    );
    let video = [
        "a=sendonly",
        "a=msid:video-1 video-1",
        "a=ssrc-group:FID 2002 2003",
        "a=ssrc:2002 cname:hype",
        "a=ssrc:2003 cname:hype",
        "a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
    ];
    check(&text, "14", &video, &["a=fmtp:96", "b="]);
    check(&text, "15", &["a=msid:video-1 sound-1", "a=ssrc:3001 cname:hype"], &["a=ssrc-group"]);
}

#[test]
fn extension_directions_are_mirrored() {
    let (_, text) = answered(FIREFOX, &lines()).expect("answered");
    let sent = "a=extmap:9/recvonly urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
    check(&text, "1", &[sent], &["a=extmap:6"]);
    // The browser receives there, and it only sends that extension.
    let delay = "a=extmap:6/sendonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
    check(&text, "12", &[delay], &["a=extmap:9"]);
}

#[test]
fn unnamed_lines_are_refused() {
    let only = OfferLines { voices: vec![mid("4")], ..OfferLines::default() };
    let (media, text) = answered(CHROMIUM, &only).expect("answered");
    assert!(media.sends.is_empty() && media.video_slots.is_empty());
    assert!(text.contains("\r\na=group:BUNDLE 4\r\n"));
    check(&text, "0", &["audio 0 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126", "a=inactive"], &[]);
    check(&text, "4", &["a=end-of-candidates"], &["a=inactive"]);
    assert_eq!(text.matches("\r\nm=").count(), 20);
    let data = format!(
        "{CHROMIUM}m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:data\r\na=sctp-port:5000\r\n"
    );
    let (_, text) = answered(&data, &lines()).expect("answered");
    check(&text, "data", &["application 0 UDP/DTLS/SCTP webrtc-datachannel"], &["a=setup"]);
}

#[test]
fn without_common_video_voice_still_works() {
    let sdp = CHROMIUM
        .replace("VP8/", "H265/")
        .replace("VP9/", "H265/")
        .replace("AV1/", "H265/")
        .replace("H264/", "H265/");
    let (media, text) = answered(&sdp, &lines()).expect("answered");
    let kinds: Vec<SourceKind> = media.sends.iter().map(|line| line.kind).collect();
    assert_eq!(kinds, [SourceKind::Microphone, SourceKind::ScreenAudio]);
    assert_eq!((media.voice_slots.len(), media.video_slots.len()), (8, 0));
    check(&text, "12", &["a=inactive"], &[]);
}

#[test]
fn h264_is_chosen_by_profile() {
    let check = |from: &str, to: &str, expected: Option<u8>| {
        let sdp = CHROMIUM.replace(from, to);
        let (media, _) = answered(&sdp, &lines()).expect("answered");
        let h264 = media.send_codecs.iter().find(|known| known.codec == Codec::H264);
        assert_eq!(h264.map(|known| known.payload_type), expected, "{from} → {to}");
    };
    check("", "", Some(108));
    // Without constrained baseline, plain baseline.
    check("profile-level-id=42e01f", "profile-level-id=64001f", Some(102));
    check("packetization-mode=1", "packetization-mode=0", None);
    check("profile-level-id=42", "profile-level-id=64", None);
    check("profile-level-id=42", "profile-level-id=z2", None);
}

#[test]
fn bad_offers_are_told_apart() {
    let check = |name: &str, sdp: &str, code: &str| {
        let error = answered(sdp, &lines()).map(|_| ()).expect_err(name);
        assert_eq!(error.code(), code, "{name}: {error}");
    };
    let with = |from: &str, to: &str| {
        let changed = CHROMIUM.replace(from, to);
        assert_ne!(changed, CHROMIUM, "{from} is in the fixture");
        changed
    };
    let fingerprint = format!("a=fingerprint:sha-256 {FINGERPRINT}\r\n");
    for (name, sdp) in [
        ("empty", String::new()),
        ("prose", "hello".into()),
        ("no version", CHROMIUM[5..].into()),
        ("too long", format!("{CHROMIUM}{}", "a=x\r\n".repeat(10_000))),
        ("a line without =", with("a=rtcp-mux\r\n", "artcp-mux\r\n")),
        ("short fingerprint", with(":61:C1", ":61")),
        ("long fingerprint", with(":61:C1", ":61:C1:00")),
        ("fingerprint of a word", with(":61:C1", ":61:+1")),
        ("ufrag with a space", with("a=ice-ufrag:Ievk", "a=ice-ufrag:Ie k")),
        ("short ufrag", with("a=ice-ufrag:Ievk", "a=ice-ufrag:Iev")),
        ("payload type 128", with("SAVPF 111 ", "SAVPF 128 ")),
        ("payload type twice", with("SAVPF 111 ", "SAVPF 63 ")),
        ("port", with("m=audio 9 ", "m=audio 99999 ")),
        ("no formats", with("SAVPF 111 63 9 0 8 13 110 126", "SAVPF")),
        ("no mid", with("a=mid:7\r\n", "")),
        ("mid twice", with("a=mid:7\r\n", "a=mid:8\r\n")),
        ("long mid", with("a=mid:7\r\n", "a=mid:12345678901234567\r\n")),
        ("another mid", with("a=mid:7\r\n", "a=mid:77\r\n")),
        ("rid that is not declared", with("a=rid:q send\r\n", "")),
        ("rid twice", with("send q;h;f", "send q;q;f")),
        ("four rids", with("a=rid:q send\r\n", "a=rid:q send\r\na=rid:x send\r\n")),
        ("rid of signs", with("a=rid:q send", "a=rid:q/ send")),
        ("extension id twice", with("a=extmap:14 ", "a=extmap:2 ").replace("toffset", "sdes:mid")),
        ("rtpmap", with("opus/48000/2", "opus")),
        ("bundle's first line", with("BUNDLE 0 1", "BUNDLE zero 1")),
        ("a sending line that receives", with("a=sendonly", "a=recvonly")),
        ("a receiving line that sends", with("a=recvonly", "a=sendonly")),
        ("64 lines", format!("{CHROMIUM}{}", "m=audio 0 X 0\r\na=mid:x\r\n".repeat(45))),
    ] {
        check(name, &sdp, "sdp_invalid");
    }
    for (name, sdp) in [
        ("no fingerprint", with(&fingerprint, "")),
        ("another hash", with("sha-256", "sha-1")),
        ("passive", with("a=setup:actpass", "a=setup:passive")),
        ("no setup", with("a=setup:actpass\r\n", "")),
        ("no bundle", with("a=group:BUNDLE", "a=group:LS")),
        ("a line outside the bundle", with(" 18 19\r\n", " 18\r\n")),
        ("no mux", with("a=rtcp-mux\r\n", "")),
        ("no Opus", with("opus/48000/2", "opux/48000/2")),
        ("mono Opus", with("opus/48000/2", "opus/48000")),
        ("plain RTP", with("UDP/TLS/RTP/SAVPF", "RTP/AVP")),
        ("simulcast without rid", with("sdes:rtp-stream-id", "sdes:other")),
    ] {
        check(name, &sdp, "sdp_unsupported");
    }
}

/// The offer with one line's text changed, only within the section of one mid.
fn within(mid: &str, from: &str, to: &str) -> String {
    let tag = format!("a=mid:{mid}\r\n");
    let sections = CHROMIUM.split_inclusive("\r\nm=").map(|section| {
        let changed = section.contains(&tag);
        if changed { section.replace(from, to) } else { section.to_owned() }
    });
    let text: String = sections.collect();
    assert_ne!(text, CHROMIUM, "{from} is in the section {mid}");
    text
}

#[test]
fn one_number_means_one_thing_in_the_bundle() {
    for (name, sdp) in [
        ("payload type", within("5", "a=rtpmap:63 red/48000/2", "a=rtpmap:63 opus/48000/2")),
        ("profile", within("14", "a=fmtp:98 profile-id=0", "a=fmtp:98 profile-id=1")),
        ("rtx", within("14", "a=fmtp:97 apt=96", "a=fmtp:97 apt=98")),
        ("extension", within("5", "ssrc-audio-level", "sdes:rtp-stream-id")),
    ] {
        let error = answered(&sdp, &lines()).map(|_| ()).expect_err(name);
        assert_eq!(error.code(), "sdp_unsupported", "{name}: {error}");
    }
    // The same codec by another number is no contradiction: that line does without it.
    let moved = within("2", "96 97 102", "35 36 102");
    let (media, text) = answered(&moved, &lines()).expect("answered");
    assert_eq!(media.send_codecs[1], mapping(Codec::Vp8, 96, Some(97)));
    check(&text, "2", &["video 9 UDP/TLS/RTP/SAVPF 98 99 108 109 45 46"], &["a=rtpmap:96"]);
}

#[test]
fn purposes_are_checked() {
    let check = |name: &str, change: &dyn Fn(&mut OfferLines)| {
        let mut lines = lines();
        change(&mut lines);
        let error = answered(CHROMIUM, &lines).map(|_| ()).expect_err(name);
        assert_eq!(error.code(), "sdp_invalid", "{name}: {error}");
    };
    check("nothing", &|lines| *lines = OfferLines::default());
    check("unknown mid", &|lines| lines.voices[0] = mid("99"));
    check("two purposes", &|lines| lines.voices[0] = mid("5"));
    check("two microphones", &|lines| lines.sends[3].kind = SourceKind::Microphone);
    check("a microphone on video", &|lines| {
        lines.sends.remove(1);
        lines.sends[0].mid = mid("1");
    });
    check("picture on audio", &|lines| lines.videos[0].video = mid("13"));
    check("nine voices", &|lines| {
        lines.voices.push(mid("13"));
        lines.videos[0].sound = None;
    });
    check("five pictures", &|lines| {
        lines.videos.push(OfferVideo { video: mid("1"), sound: None });
        lines.sends.remove(1);
    });
}

#[test]
fn nothing_cut_short_or_changed_panics() {
    for offer in [CHROMIUM, FIREFOX] {
        for end in (0..offer.len()).step_by(197) {
            let _ = answered(&offer[..end], &lines());
        }
        // A seeded xorshift: the same offers in every run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..150 {
            let mut bytes = offer.as_bytes().to_vec();
            for _ in 0..8 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let place = usize::try_from(state >> 33).expect("31 bits") % bytes.len();
                bytes[place] = b" :;=/\r\n09azAZ-~\0"[usize::try_from(state & 15).expect("4 bits")];
            }
            let text = String::from_utf8(bytes).expect("ASCII stays ASCII");
            if let Ok((_, answer)) = answered(&text, &lines()) {
                assert!(answer.split("\r\n").all(|line| !line.contains(['\r', '\n', '\0'])));
            }
        }
    }
}

#[test]
fn native_media_is_fixed() {
    let media = native_media();
    assert_eq!(media.send_codecs, media.receive_codecs);
    assert_eq!(media.send_codecs[0], mapping(Codec::Opus, 111, None));
    assert_eq!(media.send_codecs[1], mapping(Codec::Vp8, 96, Some(97)));
    let ids = media.extensions;
    assert_eq!((ids.audio_level, ids.transport_cc, ids.mid), (Some(1), Some(3), Some(4)));
    let mids: Vec<&str> = media.sends.iter().map(|line| line.mid.as_str()).collect();
    assert_eq!(mids, ["0", "1", "2", "3"]);
    assert_eq!((media.voice_slots.len(), media.video_slots.len()), (8, 4));
    let mut all: Vec<&Mid> = media.sends.iter().map(|line| &line.mid).collect();
    all.extend(media.voice_slots.iter().map(|line| &line.mid));
    all.extend(media.video_slots.iter().map(|slot| &slot.video.mid));
    all.extend(media.video_slots.iter().filter_map(|slot| Some(&slot.sound.as_ref()?.mid)));
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!((all.len(), count), (20, 20));
}
