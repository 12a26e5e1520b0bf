//! A publisher that restarts its stream by every packet: it alternates SSRCs or codecs, or leaps.
//! Each restart costs its viewers and the agent something, so only a few are followed.

mod world;

use hype_protocol::media::{Codec, CodecMapping, SourceKind};
use hype_protocol::observation::{View, ViewState};
use hype_sfu::{Command, DropReason, Event};
use world::{H264, H264_RTX, Send, VP8, World, browser};

const SCREEN: u32 = 70_000;
const VIEWERS: usize = 10;
/// One packet each 5 ms.
const PACKETS: u64 = 400;
const SPAN_MS: u64 = PACKETS * 5;

/// A VP8 key frame in one packet.
const VP8_KEY: [u8; 6] = [0x10, 0x00, 0x9d, 0x01, 0x2a, 0x00];
const H264_KEY: [u8; 5] = [0x65, 0x88, 1, 2, 3];

/// Sends `PACKETS` key frames; `packet` gives SSRC, payload type and index of the n-th.
fn check(name: &str, packet: impl Fn(u64) -> (u32, u8, u64)) {
    let mut world = World::new();
    let h264 =
        CodecMapping { codec: Codec::H264, payload_type: H264, rtx_payload_type: Some(H264_RTX) };
    let mut media = browser(0);
    media.send_codecs.push(h264);
    let publisher = world.join_with(media);
    let source = world.clients[publisher].source();
    for number in 1..=VIEWERS {
        // Half of them decode only VP8.
        let mut media = browser(number as u8);
        if number % 2 == 0 {
            media.receive_codecs.push(h264);
        }
        let viewer = world.join_with(media);
        let session = world.clients[viewer].id;
        let view = Some(View { source, kind: SourceKind::Screen, height: None });
        world.command(Command::View { session, slot: 0, view });
    }
    world.events.clear();
    for number in 0..PACKETS {
        let (ssrc, payload_type, index) = packet(number);
        let payload = if payload_type == VP8 { &VP8_KEY[..] } else { &H264_KEY[..] };
        let packet = world.clients[publisher].seal(
            index,
            &Send {
                ssrc,
                payload_type,
                timestamp: (world.now.as_millis() * 90) as u32,
                marker: true,
                mid: Some("s2"),
                payload,
                ..Send::default()
            },
        );
        world.datagram(publisher, packet);
        world.advance(5);
    }
    // The start, and one restart in each half second.
    let most = 1 + SPAN_MS as usize / 500;
    let events = world.events.iter();
    let views = events.filter(|event| matches!(event, Event::View { .. })).count();
    assert!((VIEWERS..=2 * most * VIEWERS).contains(&views), "{name}: {views}");
    let of_publisher = world.events.iter().filter(|event| match event {
        Event::Session(status) => status.session == world.clients[publisher].id,
        _ => false,
    });
    assert!(of_publisher.count() <= most, "{name}");
    let drops = &world.engine.counters().drops;
    assert!(drops[DropReason::RestartTooSoon] >= PACKETS / 2 - 10, "{name}: {drops:?}");
    assert_eq!(drops[DropReason::IndexReused], 0, "{name}");
    // It is still served as well as it can be: once it behaves, all goes on.
    world.advance(500);
    world.events.clear();
    for number in 0..5 {
        let packet = world.clients[publisher].seal(
            20_000 + number,
            &Send {
                ssrc: SCREEN + 5,
                payload_type: VP8,
                mid: Some("s2"),
                payload: &VP8_KEY,
                ..Send::default()
            },
        );
        world.datagram(publisher, packet);
        world.advance(20);
    }
    for viewer in 1..=VIEWERS {
        let client = &world.clients[viewer];
        let session = client.id;
        let last = world.events.iter().rev().find_map(|event| match event {
            Event::View { session: of, state, .. } if *of == session => Some(*state),
            _ => None,
        });
        assert!(last.is_none_or(|state| state == ViewState::Live), "{name}: {last:?}");
        let packets = client.of(client.video_ssrc(0));
        let shown = packets.iter().filter(|packet| world.now.since(packet.at).as_millis() <= 100);
        assert_eq!(shown.count(), 5, "{name}");
    }
}

#[test]
fn a_publisher_that_alternates_ssrcs_is_followed_twice_a_second() {
    check("SSRC", |number| (SCREEN + (number % 2) as u32, VP8, 1000 + number));
}

#[test]
fn a_publisher_that_alternates_codecs_is_followed_twice_a_second() {
    let codec = |number| if number % 2 == 0 { VP8 } else { H264 };
    check("codec", |number| (SCREEN, codec(number), 1000 + number));
}

#[test]
fn a_publisher_that_leaps_is_followed_twice_a_second() {
    check("leap", |number| (SCREEN, VP8, 1000 + number * 200));
}
