//! Scenarios of cameras and screens: views, layers, key frames, retransmission, sound.

mod world;

use hype_protocol::media::{Codec, SourceKind};
use hype_protocol::observation::{FlagsChange, ViewState};
use hype_sfu::{Command, DropReason, Event};
use world::pictures::{
    CAMERA, SCREEN, SCREEN_RTX, SOUND, assert_gapless, camera, picture_losses, picture_of, screen,
    send_screen, view, vp8,
};
use world::{H264, H264_RTX, OPUS, Received, Send, Told, VP8, VP8_RTX, World, browser};

fn states(world: &mut World, viewer: usize) -> Vec<ViewState> {
    let id = world.clients[viewer].id;
    let events = world.events.drain(..);
    let of_view = events.filter_map(|event| match event {
        Event::View { session, state, .. } if session == id => Some(state),
        _ => None,
    });
    of_view.collect()
}

#[test]
fn a_view_waits_for_a_key_frame_and_asks_for_it_until_it_comes() {
    let mut world = World::new();
    let (publisher, viewer) = (world.join(), world.join());
    for picture in 0..10 {
        screen(&mut world, publisher, picture, picture == 0);
        world.advance(33);
    }
    assert_eq!(picture_losses(&world, publisher, SCREEN), 0, "nobody watches");
    world.events.clear();
    view(&mut world, viewer, 1, publisher, SourceKind::Screen, None);
    for picture in 10..30 {
        screen(&mut world, publisher, picture, false);
        world.advance(33);
    }
    // 660 ms: at once, after 300 ms and after 600 ms.
    assert_eq!(picture_losses(&world, publisher, SCREEN), 3);
    assert!(world.clients[viewer].rtp.is_empty());
    assert_eq!(states(&mut world, viewer), [ViewState::Waiting]);
    for picture in 30..60 {
        screen(&mut world, publisher, picture, picture == 30);
        world.advance(33);
    }
    assert_eq!(picture_losses(&world, publisher, SCREEN), 3, "it came");
    assert_eq!(states(&mut world, viewer), [ViewState::Live]);
    let client = &world.clients[viewer];
    let packets = client.of(client.video_ssrc(1));
    assert_eq!((packets.len(), client.rtp.len()), (30, 30));
    assert_gapless(&packets);
    let first = packets[0];
    assert_eq!(first.csrc, Some(world.clients[publisher].source().0));
    assert_eq!(first.header.payload_type, client.payload_type(Codec::Vp8));
    assert_eq!(first.mid.as_deref(), Some("21"));
    assert!(packets.iter().all(|packet| packet.header.marker && packet.payload.len() == 206));
}

#[test]
fn a_slot_switches_between_publishers_without_a_gap() {
    let mut world = World::new();
    let (a, b, viewer) = (world.join(), world.join(), world.join());
    let run = |world: &mut World, shown: usize, pictures: std::ops::Range<u16>| {
        view(world, viewer, 0, shown, SourceKind::Screen, None);
        let first = pictures.start;
        for picture in pictures {
            screen(world, a, picture + 1000, picture == first);
            screen(world, b, picture + 9000, picture == first + 3);
            world.advance(33);
        }
    };
    run(&mut world, a, 0..20);
    run(&mut world, b, 20..40);
    run(&mut world, a, 40..60);
    let client = &world.clients[viewer];
    let packets = client.of(client.video_ssrc(0));
    assert_eq!(packets.len(), 20 + 17 + 20);
    assert_gapless(&packets);
    for pair in packets.windows(2) {
        assert_eq!(picture_of(pair[1]), picture_of(pair[0]) + 1);
        assert_eq!(pair[1].payload[4], pair[0].payload[4].wrapping_add(1), "TL0PICIDX");
        let step = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
        let elapsed = pair[1].at.since(pair[0].at).as_millis() as u32 * 90;
        assert_eq!(step, elapsed);
    }
    let sources: Vec<_> = packets.iter().filter_map(|packet| packet.csrc).collect();
    assert_eq!(sources[0], world.clients[a].source().0);
    assert_eq!(sources[20], world.clients[b].source().0);
    assert_eq!(sources[37], world.clients[a].source().0);
    let session = world.clients[viewer].id;
    world.command(Command::View { session, slot: 0, view: None });
    screen(&mut world, a, 5000, true);
    assert_eq!(world.clients[viewer].rtp.len(), 57);
}

#[test]
fn layers_follow_the_height_and_what_flows() {
    let mut world = World::new();
    let (publisher, small, large) = (world.join(), world.join(), world.join());
    view(&mut world, small, 0, publisher, SourceKind::Camera, Some(180));
    view(&mut world, large, 0, publisher, SourceKind::Camera, None);
    let mut picture = 0;
    // Each layer answers a PLI by a key frame, as encoders do.
    let mut frames = |world: &mut World, layers: &[usize], count: usize| {
        for _ in 0..count {
            picture += 1;
            for &layer in layers {
                let asked = picture_losses(world, publisher, CAMERA[layer]);
                let told = &mut world.clients[publisher].rtcp;
                told.retain(|(_, told)| *told != Told::PictureLoss(CAMERA[layer]));
                let key = picture == 1 || asked > 0;
                camera(world, publisher, layer, picture + 1000 * layer as u16, key);
            }
            world.advance(33);
        }
    };
    frames(&mut world, &[0, 1, 2], 30);
    let sizes = |world: &World, client: usize| {
        let client = &world.clients[client];
        let packets = client.of(client.video_ssrc(0));
        assert_gapless(&packets);
        for pair in packets.windows(2) {
            assert_eq!(picture_of(pair[1]), picture_of(pair[0]) + 1);
        }
        packets.len()
    };
    // The layers begin one after the other, each with a key frame: the viewer of the best one
    // climbs at once, by two frames more.
    assert_eq!(sizes(&world, small), 30);
    assert_eq!(sizes(&world, large), 32);
    // A larger picture: the layer changes at a key frame, and the stream goes on.
    view(&mut world, small, 0, publisher, SourceKind::Camera, Some(400));
    frames(&mut world, &[0, 1, 2], 30);
    // Nothing is missing, and the frame at which it switched came in both sizes.
    assert_eq!(sizes(&world, small), 61);
    // The best layer stops: its viewer falls back to the one below.
    let before = sizes(&world, large);
    frames(&mut world, &[0, 1], 60);
    let after = sizes(&world, large);
    assert!((30..45).contains(&(after - before)), "{before} {after}");
    // It comes back: the viewer goes up again. (Frames of each layer are told apart by time.)
    frames(&mut world, &[0, 1, 2], 60);
    assert!(sizes(&world, large) > after + 55);
    assert_eq!(world.engine.counters().drops[DropReason::IndexReused], 0);
}

#[test]
fn lost_packets_are_sent_again_by_rtx_under_their_own_index() {
    let mut world = World::new();
    let (publisher, viewer) = (world.join(), world.join());
    view(&mut world, viewer, 0, publisher, SourceKind::Screen, None);
    for picture in 0..50 {
        screen(&mut world, publisher, picture, picture == 0);
        world.advance(20);
    }
    let ssrc = world.clients[viewer].video_ssrc(0);
    let lost: Vec<Received> =
        world.clients[viewer].of(ssrc)[20..24].iter().map(|it| (*it).clone()).collect();
    let numbers: Vec<u16> = lost.iter().map(|it| it.header.sequence_number).collect();
    let ask = |world: &mut World| {
        let nack = world.clients[viewer].seal_rtcp(|writer| {
            writer.nack(1, ssrc, &numbers).expect("room");
        });
        world.datagram(viewer, nack);
    };
    ask(&mut world);
    ask(&mut world);
    let rtx_ssrc = world.clients[viewer].media.video_slots[0].video.rtx_ssrc.expect("offered");
    let again = world.clients[viewer].of(rtx_ssrc);
    assert_eq!(again.len(), 4, "the second request came within a round trip");
    assert_gapless(&again);
    for (packet, lost) in again.iter().zip(&lost) {
        assert_eq!(packet.payload[..2], lost.header.sequence_number.to_be_bytes());
        assert_eq!(packet.payload[2..], lost.payload);
        assert_eq!(packet.header.timestamp, lost.header.timestamp);
        let rtx = world.clients[viewer].media.receive_codecs[1].rtx_payload_type;
        assert_eq!(Some(packet.header.payload_type), rtx);
        assert_eq!(packet.csrc, lost.csrc);
    }
    assert_eq!(world.engine.counters().retransmitted, 4);
    world.advance(200);
    ask(&mut world);
    assert_eq!(world.clients[viewer].of(rtx_ssrc).len(), 8);
    // Asking for what was never sent, or in a foreign slot, changes nothing.
    let wrong = world.clients[viewer].seal_rtcp(|writer| {
        writer.nack(1, ssrc, &[numbers[0].wrapping_add(20_000)]).expect("room");
        writer.nack(1, 12345, &numbers).expect("room");
    });
    world.datagram(viewer, wrong);
    assert_eq!(world.clients[viewer].of(rtx_ssrc).len(), 8);
}

/// RFC 3550 §5.1: browsers' packets of one picture differ by a byte, ours to one viewer do not.
#[test]
fn the_packets_of_a_picture_are_padded_to_one_size() {
    let mut world = World::new();
    let (publisher, viewer) = (world.join(), world.join());
    view(&mut world, viewer, 0, publisher, SourceKind::Screen, None);
    screen(&mut world, publisher, 0, true);
    world.advance(20);
    let mut sent = Vec::new();
    for extra in [0, 1, 1, 0, 1] {
        let mut payload = vp8(1, false);
        payload.resize(1100 + extra, 0x5b);
        send_screen(&mut world, publisher, &payload);
        sent.push(payload);
    }
    // Nothing but padding stays nothing, and what is nearly too large is left as it is.
    let mut large = vp8(2, false);
    large.resize(1390, 0x5c);
    for payload in [&[][..], &large] {
        send_screen(&mut world, publisher, payload);
        sent.push(payload.to_vec());
    }
    let ssrc = world.clients[viewer].video_ssrc(0);
    let got: Vec<Received> =
        world.clients[viewer].of(ssrc)[1..].iter().map(|it| (*it).clone()).collect();
    assert_eq!(got.len(), sent.len());
    for (got, sent) in got.iter().zip(&sent) {
        assert_eq!(got.payload.len(), sent.len());
        assert_eq!(got.payload.get(5..), sent.get(5..), "padding is not payload");
        let bare = got.header.header_len() + sent.len() + 16;
        assert_eq!(got.header.padding, got.len > bare);
    }
    assert!(
        got[..5].iter().all(|it| it.len == got[0].len && it.len.is_multiple_of(16)),
        "one size"
    );
    assert!(got[..5].iter().any(|it| it.header.padding));
    assert!(!got[5].header.padding);
    assert!(got[6].len <= 1440 + 15);
    // RFC 4588 §4: what was padded is padded when it is sent again, and two bytes longer.
    let numbers: Vec<u16> = got.iter().map(|it| it.header.sequence_number).collect();
    let nack = world.clients[viewer].seal_rtcp(|writer| {
        writer.nack(1, ssrc, &numbers).expect("room");
    });
    world.datagram(viewer, nack);
    let rtx_ssrc = world.clients[viewer].media.video_slots[0].video.rtx_ssrc.expect("offered");
    let again = world.clients[viewer].of(rtx_ssrc);
    assert_eq!(again.len(), got.len());
    for (again, got) in again.iter().zip(&got) {
        assert!(again.len == got.len + 2 || again.len % 16 == 0, "{} {}", again.len, got.len);
        assert_eq!(again.payload[2..], got.payload);
    }
    assert_eq!(world.clients[viewer].unreadable, 0);
}

#[test]
fn what_a_publisher_lost_is_asked_for_and_its_rtx_is_taken() {
    let mut world = World::new();
    let (publisher, viewer) = (world.join(), world.join());
    view(&mut world, viewer, 0, publisher, SourceKind::Screen, None);
    for picture in 0..20 {
        if picture == 10 || picture == 11 {
            world.clients[publisher].skip(SCREEN);
        } else {
            screen(&mut world, publisher, picture, picture == 0);
        }
        world.advance(5);
    }
    world.advance(20);
    let nacks: Vec<_> = world.clients[publisher]
        .rtcp
        .iter()
        .filter_map(|(_, told)| match told {
            Told::Nack(SCREEN, numbers) => Some(numbers.clone()),
            _ => None,
        })
        .collect();
    let last = world.clients[publisher].last_index(SCREEN);
    let lost = [last - 9, last - 8].map(|index| index as u16);
    assert_eq!(nacks, [lost.to_vec()]);
    for (number, picture) in lost.into_iter().zip([10, 11]) {
        let mut payload = number.to_be_bytes().to_vec();
        payload.extend(vp8(picture, false));
        let timestamp = (world.now.as_millis() * 90) as u32;
        let client = &mut world.clients[publisher];
        let packet = client.seal_next(&Send {
            ssrc: SCREEN_RTX,
            payload_type: VP8_RTX,
            timestamp,
            mid: Some("s2"),
            payload: &payload,
            ..Send::default()
        });
        world.datagram(publisher, packet.clone());
        // Once more, by another RTX packet: a duplicate.
        let client = &mut world.clients[publisher];
        let packet = client.seal_next(&Send {
            ssrc: SCREEN_RTX,
            payload_type: VP8_RTX,
            timestamp,
            payload: &payload,
            ..Send::default()
        });
        world.datagram(publisher, packet);
    }
    let ssrc = world.clients[viewer].video_ssrc(0);
    let mut packets = world.clients[viewer].of(ssrc);
    assert_eq!(packets.len(), 20);
    packets.sort_by_key(|packet| packet.index);
    assert_gapless(&packets);
    for (packet, picture) in packets.iter().zip(0..) {
        assert_eq!(picture_of(packet), picture);
    }
    assert_eq!(world.engine.counters().drops[DropReason::Duplicate], 2);
    world.clients[publisher].rtcp.clear();
    world.advance(500);
    let asked = world.clients[publisher].rtcp.iter();
    assert!(!asked.into_iter().any(|(_, told)| matches!(told, Told::Nack(..))), "all is there");
}

/// The larger a picture's rate, the more packets pass before a lost one is there again.
#[test]
fn a_packet_recovered_200_later_reaches_the_viewer_once() {
    let mut world = World::new();
    let (publisher, viewer) = (world.join(), world.join());
    view(&mut world, viewer, 0, publisher, SourceKind::Screen, None);
    for picture in 0..210 {
        if picture == 5 {
            world.clients[publisher].skip(SCREEN);
        } else {
            screen(&mut world, publisher, picture, picture == 0);
        }
    }
    let lost = (world.clients[publisher].last_index(SCREEN) - 204) as u16;
    let mut payload = lost.to_be_bytes().to_vec();
    payload.extend(vp8(5, false));
    for _ in 0..2 {
        let client = &mut world.clients[publisher];
        let packet = client.seal_next(&Send {
            ssrc: SCREEN_RTX,
            payload_type: VP8_RTX,
            mid: Some("s2"),
            payload: &payload,
            ..Send::default()
        });
        world.datagram(publisher, packet);
    }
    let client = &world.clients[viewer];
    let ssrc = client.video_ssrc(0);
    let mut packets = client.of(ssrc);
    assert_eq!((packets.len(), client.unreadable), (210, 0));
    assert_eq!(picture_of(packets[209]), 5, "it came last");
    packets.sort_by_key(|packet| packet.index);
    assert_gapless(&packets);
    let late = packets[5].header.sequence_number;
    // The viewer may lose it in turn.
    let nack = world.clients[viewer].seal_rtcp(|writer| {
        writer.nack(1, ssrc, &[late]).expect("room");
    });
    world.datagram(viewer, nack);
    let client = &world.clients[viewer];
    let again = client.of(client.media.video_slots[0].video.rtx_ssrc.expect("offered"));
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].payload[..2], late.to_be_bytes());
    assert_eq!(world.engine.counters().drops[DropReason::IndexReused], 0);
}

#[test]
fn the_screens_sound_comes_with_the_picture_and_deafness_silences_it() {
    let mut world = World::new();
    let (publisher, viewer, other) = (world.join(), world.join(), world.join());
    view(&mut world, viewer, 2, publisher, SourceKind::Screen, None);
    view(&mut world, other, 0, publisher, SourceKind::Camera, None);
    let step = |world: &mut World, count: u16| {
        for picture in 0..count {
            screen(world, publisher, picture, true);
            let timestamp = (world.now.as_millis() * 48) as u32;
            let packet = world.clients[publisher].seal_next(&Send {
                ssrc: SOUND,
                payload_type: OPUS,
                timestamp,
                mid: Some("s3"),
                payload: &[8; 120],
                ..Send::default()
            });
            world.datagram(publisher, packet);
            world.advance(20);
        }
    };
    step(&mut world, 20);
    let session = world.clients[viewer].id;
    let deafen = |deaf| FlagsChange { self_deaf: Some(deaf), ..FlagsChange::default() };
    world.command(Command::Flags { session, change: deafen(true) });
    step(&mut world, 20);
    world.command(Command::Flags { session, change: deafen(false) });
    step(&mut world, 20);
    let client = &world.clients[viewer];
    let sound = client.media.video_slots[2].sound.as_ref().expect("offered").ssrc;
    let packets = client.of(sound);
    assert_eq!(packets.len(), 40);
    assert_gapless(&packets);
    assert_eq!(client.of(client.video_ssrc(2)).len(), 60, "a deaf person still sees");
    assert_eq!(packets[0].csrc, Some(world.clients[publisher].source().0));
    assert_eq!(packets[0].payload, [8; 120]);
    assert!(world.clients[other].rtp.is_empty(), "a camera's viewer gets no screen sound");
    // Sender reports bind both to one clock: see reports.rs for voice.
    let reports = client
        .rtcp
        .iter()
        .filter(|(_, told)| matches!(told, Told::SenderReport { ssrc, .. } if *ssrc == sound));
    assert_eq!(reports.count(), 1, "one in 1.2 s");
}

#[test]
fn a_codec_that_the_viewer_lacks_is_told_and_a_change_of_codec_is_followed() {
    let mut world = World::new();
    let mut media = browser(0);
    media.send_codecs.push(hype_protocol::media::CodecMapping {
        codec: Codec::H264,
        payload_type: H264,
        rtx_payload_type: Some(H264_RTX),
    });
    let publisher = world.join_with(media);
    let viewer = world.join();
    view(&mut world, viewer, 0, publisher, SourceKind::Screen, None);
    let h264 = |world: &mut World| {
        let packet = world.clients[publisher].seal_next(&Send {
            ssrc: SCREEN,
            payload_type: H264,
            timestamp: 1,
            mid: Some("s2"),
            payload: &[0x65, 0x88, 1, 2, 3],
            ..Send::default()
        });
        world.datagram(publisher, packet);
        world.advance(20);
    };
    (0..5).for_each(|_| h264(&mut world));
    assert_eq!(states(&mut world, viewer), [ViewState::Waiting, ViewState::CodecUnsupported]);
    assert!(world.clients[viewer].rtp.is_empty());
    for picture in 0..5 {
        screen(&mut world, publisher, picture, picture == 0);
        world.advance(20);
    }
    // Of two changes by one packet only the latter is told.
    assert_eq!(states(&mut world, viewer), [ViewState::Live]);
    assert_eq!(world.clients[viewer].rtp.len(), 5);
    h264(&mut world);
    assert_eq!(world.engine.counters().drops[DropReason::RestartTooSoon], 1);
    assert!(states(&mut world, viewer).is_empty(), "too soon after the change before");
    world.advance(500);
    h264(&mut world);
    assert_eq!(states(&mut world, viewer), [ViewState::CodecUnsupported]);
    assert_eq!(world.clients[viewer].rtp.len(), 5);
}

#[test]
fn a_screen_that_stops_is_waited_for_and_shown_again() {
    let mut world = World::new();
    let (publisher, viewer) = (world.join(), world.join());
    view(&mut world, viewer, 0, publisher, SourceKind::Screen, None);
    assert_eq!(states(&mut world, viewer), [ViewState::Waiting]);
    screen(&mut world, publisher, 1, true);
    screen(&mut world, publisher, 2, false);
    assert_eq!(states(&mut world, viewer), [ViewState::Live]);
    world.keep_alive();
    world.advance(2500);
    assert_eq!(states(&mut world, viewer), [ViewState::Waiting]);
    let status = world.engine.statuses().find(|it| it.session == world.clients[publisher].id);
    assert!(status.expect("it is there").producers.is_empty());
    screen(&mut world, publisher, 3, false);
    screen(&mut world, publisher, 4, true);
    assert_eq!(states(&mut world, viewer), [ViewState::Live]);
    assert_eq!(world.clients[viewer].rtp.len(), 3);
    // The publisher leaves: the view stays, and waits.
    let session = world.clients[publisher].id;
    let reason = hype_protocol::observation::CloseReason::Left;
    world.command(Command::Close { session, reason });
    assert_eq!(states(&mut world, viewer), [ViewState::Waiting]);
    world.advance(1000);
}

#[test]
fn viewers_requests_share_the_publishers_throttle() {
    let mut world = World::new();
    let publisher = world.join();
    let viewers: Vec<usize> = (0..10).map(|_| world.join()).collect();
    for viewer in &viewers {
        view(&mut world, *viewer, 0, publisher, SourceKind::Screen, None);
    }
    screen(&mut world, publisher, 0, true);
    world.advance(1000);
    world.clients[publisher].rtcp.clear();
    for _ in 0..5 {
        for viewer in &viewers {
            let ssrc = world.clients[*viewer].video_ssrc(0);
            let request = world.clients[*viewer].seal_rtcp(|writer| {
                writer.picture_loss(1, ssrc).expect("room");
                writer.full_intra_request(1, ssrc, 1).expect("room");
            });
            world.datagram(*viewer, request);
        }
        world.advance(10);
    }
    assert_eq!(picture_losses(&world, publisher, SCREEN), 1);
    assert_eq!(VP8, world.clients[publisher].payload_type(Codec::Vp8));
}

#[test]
fn without_the_right_to_stream_nobody_sees_a_picture() {
    let mut world = World::new();
    let (publisher, viewer) = (world.join(), world.join());
    view(&mut world, viewer, 0, publisher, SourceKind::Screen, None);
    let run = |world: &mut World, pictures: std::ops::Range<u16>| {
        let first = pictures.start;
        for picture in pictures {
            screen(world, publisher, picture, picture == first);
            world.advance(33);
        }
        world.clients[viewer].rtp.len()
    };
    assert_eq!(run(&mut world, 0..10), 10);
    world.events.clear();
    let session = world.clients[publisher].id;
    let may_not = |world: &mut World, no_stream| {
        let change = FlagsChange { no_stream: Some(no_stream), ..FlagsChange::default() };
        world.command(Command::Flags { session, change });
    };
    may_not(&mut world, true);
    assert!(world.events.iter().any(|event| matches!(
        event,
        Event::Session(status) if status.session == session && status.producers.is_empty()
    )));
    assert_eq!(run(&mut world, 10..20), 10, "nothing is forwarded");
    assert_eq!(states(&mut world, viewer), [ViewState::Waiting]);
    may_not(&mut world, false);
    assert_eq!(run(&mut world, 20..30), 20, "and all is again");
    assert_eq!(states(&mut world, viewer), [ViewState::Live]);
}
