//! RTCP both ways: transport-cc feedback, receiver and sender reports, round trip, statistics.

mod world;

use hype_protocol::media::{Codec, SourceKind};
use hype_protocol::observation::{FlagsChange, SessionStats, View};
use hype_sfu::wire::rtcp::ReportBlock;
use hype_sfu::wire::rtcp::writer::SenderInfo;
use hype_sfu::{Command, Event};
use world::parts::Parts;
use world::{Send, Told, World};

const VOICE: u8 = 0x80 | 30;

fn sender_reports(world: &World, client: usize) -> Vec<(u64, u32, u64, u32, u32, u32)> {
    let told = world.clients[client].rtcp.iter();
    told.filter_map(|(at, told)| match told {
        Told::SenderReport { ssrc, ntp, timestamp, packets, octets } => {
            Some((at.as_millis(), *ssrc, *ntp, *timestamp, *packets, *octets))
        }
        _ => None,
    })
    .collect()
}

#[test]
fn publishers_get_transport_feedback_for_every_number() {
    let mut world = World::new();
    world.join();
    let mut sent = Vec::new();
    for step in 0..200_u32 {
        let lost = step % 7 == 3;
        let client = &mut world.clients[0];
        let packet = client.seal_next(&Send {
            ssrc: 5,
            payload_type: client.payload_type(Codec::Opus),
            timestamp: step * 960,
            mid: Some("s0"),
            transport: true,
            payload: &[1; 50],
            ..Send::default()
        });
        if !lost {
            sent.push((step as u16, world.now.as_micros()));
            world.datagram(0, packet);
        }
        world.advance(10);
    }
    world.advance(100);
    let mut arrived = Vec::new();
    let mut messages = 0;
    for (_, told) in &world.clients[0].rtcp {
        if let Told::Arrivals(arrivals) = told {
            messages += 1;
            arrived.extend(arrivals.iter().filter_map(|(number, at)| at.map(|at| (*number, at))));
        }
    }
    assert_eq!(arrived.len(), sent.len());
    assert!(arrived.iter().map(|it| it.0).eq(sent.iter().map(|it| it.0)));
    assert!((20..=40).contains(&messages), "{messages} in 2 s: one each 60 to 70 ms");
    assert_eq!(world.engine.counters().transport_feedback_sent, messages);
}

#[test]
fn publishers_get_receiver_reports_with_loss_and_our_name() {
    let mut world = World::new();
    world.join();
    for step in 0..100 {
        if step % 10 == 5 {
            world.clients[0].skip(World::voice_ssrc(0));
        } else {
            world.speak(0, VOICE);
        }
        world.advance(20);
    }
    let ssrc = World::voice_ssrc(0);
    let blocks: Vec<_> = world.clients[0]
        .rtcp
        .iter()
        .filter_map(|(_, told)| match told {
            Told::Block { ssrc: of, fraction, lost, highest, .. } if *of == ssrc => {
                Some((*fraction, *lost, *highest))
            }
            _ => None,
        })
        .collect();
    assert_eq!(blocks.len(), 2, "one a second");
    let (fraction, lost, highest) = blocks[1];
    assert!((20..=30).contains(&fraction), "a tenth of 256, not {fraction}");
    assert!((9..=10).contains(&lost), "{lost}");
    assert!((1090..=1100).contains(&highest), "{highest}");
    let names = world.clients[0].rtcp.iter();
    let named =
        names.filter(|(_, told)| matches!(told, Told::Name(_, name) if name == "hype-test"));
    assert_eq!(named.count(), 2);
}

#[test]
fn receivers_get_sender_reports_that_agree_with_the_packets() {
    let mut world = World::new();
    world.join();
    world.join();
    for _ in 0..600 {
        world.speak(0, VOICE);
        world.advance(20);
    }
    let ssrc = world.clients[1].voice_ssrc(0);
    let reports = sender_reports(&world, 1);
    let seconds: Vec<_> = reports.iter().map(|report| report.0 / 1000).collect();
    assert_eq!(seconds, [2, 7], "voice alone is reported on every five seconds");
    for (at, of, ntp, timestamp, packets, octets) in reports {
        assert_eq!(of, ssrc);
        let unix_s = (ntp >> 32) - 2_208_988_800;
        let ms = ((ntp & 0xffff_ffff) * 1000) >> 32;
        let expected = world::UNIX_AT_ZERO.as_millis() as u64 + at;
        assert!((unix_s * 1000 + ms).abs_diff(expected) <= 1);
        let before: Vec<_> = world.clients[1]
            .of(ssrc)
            .into_iter()
            .filter(|packet| packet.at.as_millis() < at)
            .collect();
        assert_eq!(packets as usize, before.len());
        assert_eq!(octets as usize, before.len() * 40);
        let last = before.last().expect("there were some");
        let elapsed = (at - last.at.as_millis()) * 48;
        assert_eq!(timestamp, last.header.timestamp.wrapping_add(elapsed as u32));
    }
    // A line that carries nothing is not reported on.
    world.clients[1].rtcp.clear();
    world.keep_alive();
    world.advance(6000);
    assert!(sender_reports(&world, 1).len() <= 1);
    let _ = world.clients[1].source();
}

#[test]
fn statistics_tell_round_trip_loss_and_rates() {
    let mut world = World::new();
    world.join();
    world.join();
    let mut stats: Vec<SessionStats> = Vec::new();
    for step in 0..300_u32 {
        if step % 10 == 5 {
            world.clients[0].skip(World::voice_ssrc(0));
        } else {
            world.speak(0, VOICE);
        }
        world.advance(20);
        // Each second the listener reports 25 % loss, and a report that it held for 500 ms of
        // the 540 ms since it was sent: 40 ms on the way.
        if let Some((at, of, ntp, ..)) = sender_reports(&world, 1).last().copied()
            && world.now.as_millis() == at.next_multiple_of(20) + 540
        {
            let delay_ms = world.now.as_millis() - at - 40;
            let block = ReportBlock {
                ssrc: of,
                fraction_lost: 64,
                last_sender_report: (ntp >> 16) as u32,
                delay_since_last_sender_report: (delay_ms * 65_536 / 1000) as u32,
                ..ReportBlock::default()
            };
            let report = world.clients[1].seal_rtcp(|writer| {
                writer.receiver_report(1, &[block]).expect("room");
            });
            world.datagram(1, report);
        }
        for event in world.events.drain(..) {
            if let Event::Stats(slice) = event {
                assert!(!slice.is_empty());
                stats.extend(slice);
            }
        }
    }
    let of = |client: usize| {
        let id = world.clients[client].id;
        stats.iter().filter(move |it| it.session == id).cloned().collect::<Vec<_>>()
    };
    assert!((2..=3).contains(&of(0).len()), "one each 2 s");
    let (speaker, listener) = (of(0)[1].clone(), of(1)[1].clone());
    assert!((0.05..0.15).contains(&speaker.loss_up), "{speaker:?}");
    assert!((25_000..40_000).contains(&speaker.bitrate_up.0), "{speaker:?}");
    assert!(speaker.round_trip_ms.is_none());
    assert!(speaker.jitter_ms < 1.0);
    let round_trip = listener.round_trip_ms.expect("it reported");
    assert!((38.0..42.0).contains(&round_trip), "{round_trip}");
    assert!((0.24..0.26).contains(&listener.loss_down), "{listener:?}");
    assert!((25_000..40_000).contains(&listener.bitrate_down.0), "{listener:?}");
}

#[test]
fn status_is_told_on_every_change() {
    let mut world = World::new();
    world.join();
    world.speak(0, VOICE);
    world.speak(0, VOICE);
    let statuses: Vec<_> = world
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Session(status) => Some((status.connected, status.producers.len())),
            _ => None,
        })
        .collect();
    assert_eq!(statuses, [(false, 0), (true, 0), (true, 1)]);
    let status = world.engine.statuses().next().expect("one session");
    assert_eq!(status.decodes, [Codec::Vp8]);
    let session = status.session;
    world.events.clear();
    let same = FlagsChange { self_mute: Some(status.flags.self_mute), ..FlagsChange::default() };
    for change in [same, FlagsChange::default()] {
        world.command(Command::Flags { session, change });
    }
    assert!(world.events.is_empty(), "nothing changed");
    // A person and a moderator never undo each other.
    let self_mute = FlagsChange { self_mute: Some(true), ..FlagsChange::default() };
    let server_mute = FlagsChange { server_mute: Some(true), ..FlagsChange::default() };
    let unmute = FlagsChange { self_mute: Some(false), ..FlagsChange::default() };
    let told = [self_mute, server_mute, unmute].map(|change| {
        world.command(Command::Flags { session, change });
        match world.events.pop() {
            Some(Event::Session(status)) => (status.flags.self_mute, status.flags.server_mute),
            other => panic!("the change is told, not {other:?}"),
        }
    });
    assert_eq!(told, [(true, false), (true, true), (false, true)]);
}

/// A picture and its sound stay together because their sender reports follow the publisher's
/// clock, not the moments at which packets happened to arrive.
#[test]
fn sender_reports_of_pictures_follow_the_publishers_clock() {
    check_picture_reports(0);
}

#[test]
fn sender_reports_of_pictures_follow_the_clock_of_a_publisher_in_another_part() {
    check_picture_reports(1);
}

/// The publisher is in part 0, the viewer in that one.
fn check_picture_reports(part: usize) {
    const SCREEN: u32 = 5;
    let mut room = Parts::new(2);
    let (publisher, viewer) = (room.join(0), room.join(part));
    let session = room.worlds[part].clients[viewer].id;
    let source = room.worlds[0].clients[publisher].source();
    let view = Some(View { source, kind: SourceKind::Screen, height: None });
    room.command(part, Command::View { session, slot: 0, view });
    room.advance(0);
    // The publisher's wall clock is a day behind. Reports take 10 ms, pictures 30 ms.
    let ntp = |ms: u64| {
        let unix_ms = world::UNIX_AT_ZERO.as_millis() as u64 - 86_400_000 + ms;
        let fraction = ((unix_ms % 1000) << 32) / 1000;
        (unix_ms / 1000 + 2_208_988_800) << 32 | fraction
    };
    for step in 0..150_u16 {
        let captured = room.now().as_millis() - 30;
        let client = &mut room.worlds[0].clients[publisher];
        let packet = client.seal_next(&Send {
            ssrc: SCREEN,
            payload_type: client.payload_type(Codec::Vp8),
            timestamp: (captured * 90) as u32,
            marker: true,
            mid: Some("s2"),
            payload: &[0x10, u8::from(step > 0), 1, 2],
            ..Send::default()
        });
        room.with(0, |world| world.datagram(publisher, packet));
        if step % 25 == 1 {
            let told = room.now().as_millis() - 10;
            let info = SenderInfo {
                ssrc: SCREEN,
                ntp_time: ntp(told),
                rtp_timestamp: (told * 90) as u32,
                packet_count: 1,
                octet_count: 1,
            };
            let report = room.worlds[0].clients[publisher]
                .seal_rtcp(|writer| writer.sender_report(&info, &[]).expect("room"));
            room.with(0, |world| world.datagram(publisher, report));
        }
        room.advance(20);
    }
    let world = &room.worlds[part];
    let reports = sender_reports(world, viewer);
    assert!(reports.len() >= 2, "{reports:?}");
    let packets = world.clients[viewer].of(world.clients[viewer].video_ssrc(0));
    let first = packets[0];
    for (at, _, _, timestamp, ..) in reports {
        // The first picture was captured 30 ms before it came; a report tells 10 ms of transit.
        let since_capture = at - 10 - (first.at.as_millis() - 30);
        let expected = first.header.timestamp.wrapping_add(since_capture as u32 * 90);
        assert!(timestamp.abs_diff(expected) <= 90, "{timestamp} {expected}");
    }
}
