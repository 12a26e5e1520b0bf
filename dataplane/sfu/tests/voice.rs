//! Scenarios of sessions and voice, over real STUN and SRTP.

mod world;

use hype_protocol::observation::FlagsChange;
use hype_sfu::{Command, DropReason, Event};
use world::{ROOM, Send, World};

const VOICE: u8 = 0x80 | 30;
const LOUD: u8 = 0x80 | 10;

/// Indexes of a slot go on by one from packet to packet.
fn assert_gapless(packets: &[&world::Received]) {
    for pair in packets.windows(2) {
        assert_eq!(pair[1].index, pair[0].index + 1, "no gap, no reuse");
    }
}

#[test]
fn everybody_hears_the_speaker_but_himself() {
    let mut world = World::new();
    for _ in 0..4 {
        world.join();
    }
    for _ in 0..50 {
        world.speak(0, VOICE);
        world.speak(1, VOICE);
        world.advance(20);
    }
    for listener in 0..4 {
        let client = &world.clients[listener];
        assert_eq!(client.unreadable, 0);
        for speaker in 0..2 {
            let packets = client.of(client.voice_ssrc(speaker));
            assert_eq!(packets.len(), if speaker == listener { 0 } else { 50 });
            assert_gapless(&packets);
            for packet in &packets {
                assert_eq!(packet.csrc, Some(world.clients[speaker].source().0));
                assert_eq!(packet.header.payload_type, client.media.receive_codecs[0].payload_type);
                assert_eq!(packet.mid.as_deref(), Some((10 + speaker).to_string().as_str()));
                assert_eq!(packet.level, Some(VOICE));
                assert_eq!(packet.payload, [VOICE; 40]);
            }
            for pair in packets.windows(2) {
                let step = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
                assert_eq!(step, 960);
            }
        }
        let mut numbers = client.rtp.iter().filter_map(|packet| packet.transport);
        let first = numbers.next().expect("the client wants transport-wide numbers");
        assert!(numbers.zip(1..).all(|(number, step)| number == first.wrapping_add(step)));
    }
    let drops = &world.engine.counters().drops;
    assert_eq!(drops.total(), 0, "{drops:?}");
}

#[test]
fn mute_and_deafen_act_at_once_and_leave_no_false_loss() {
    let mut world = World::new();
    for _ in 0..3 {
        world.join();
    }
    let flags = |world: &mut World, client: usize, change| {
        let session = world.clients[client].id;
        world.command(Command::Flags { session, change });
    };
    let talk = |world: &mut World| {
        for _ in 0..10 {
            world.speak(0, VOICE);
            world.advance(20);
        }
    };
    talk(&mut world);
    let server_mute = |mute| FlagsChange { server_mute: Some(mute), ..FlagsChange::default() };
    let self_deaf = |deaf| FlagsChange { self_deaf: Some(deaf), ..FlagsChange::default() };
    flags(&mut world, 0, server_mute(true));
    talk(&mut world);
    assert_eq!(world.clients[1].rtp.len(), 10);
    assert_eq!(world.engine.counters().drops[DropReason::Muted], 10);
    flags(&mut world, 0, server_mute(false));
    flags(&mut world, 2, self_deaf(true));
    talk(&mut world);
    assert_eq!(world.clients[2].rtp.len(), 10);
    flags(&mut world, 2, self_deaf(false));
    talk(&mut world);
    for (listener, count) in [(1, 30), (2, 20)] {
        let client = &world.clients[listener];
        let packets: Vec<_> = client.rtp.iter().collect();
        assert_eq!(packets.len(), count);
        assert_gapless(&packets);
        // The timestamps tell the silence, within a packet's time.
        let span = packets[count - 1].header.timestamp.wrapping_sub(packets[0].header.timestamp);
        let expected = 48 * packets[count - 1].at.since(packets[0].at).as_millis() as u32;
        assert!(span.abs_diff(expected) <= 960, "{span} {expected}");
    }
}

#[test]
fn a_switch_of_speakers_goes_on_without_a_gap_also_for_the_speakers_themselves() {
    let mut world = World::new();
    for _ in 0..12 {
        world.join();
    }
    // Ten people talk in turns of different sets of three: slots change hands.
    for turn in 0..60_usize {
        let speakers: Vec<usize> = (0..3).map(|offset| (turn / 4 + offset * 3) % 10).collect();
        for _ in 0..25 {
            for speaker in &speakers {
                world.speak(*speaker, VOICE);
            }
            world.advance(20);
        }
        if turn % 10 == 0 {
            world.keep_alive();
        }
    }
    let mut switches = 0;
    for client in &world.clients {
        assert_eq!(client.unreadable, 0);
        for slot in 0..8 {
            let packets = client.of(client.voice_ssrc(slot));
            assert_gapless(&packets);
            for pair in packets.windows(2) {
                switches += usize::from(pair[0].csrc != pair[1].csrc);
                let step = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
                let elapsed = pair[1].at.since(pair[0].at).as_millis() as u32 * 48;
                assert!(step.abs_diff(elapsed) <= 960, "{step} {elapsed}");
            }
            assert!(packets.iter().all(|packet| packet.csrc != Some(client.source().0)));
        }
    }
    assert!(switches > 20, "slots changed hands {switches} times");
    assert_eq!(world.engine.counters().drops[DropReason::IndexReused], 0);
}

#[test]
fn of_nine_speakers_eight_are_heard_and_a_clearly_louder_one_gets_in() {
    let mut world = World::new();
    for _ in 0..10 {
        world.join();
    }
    let heard = |world: &World, speaker: usize| {
        let source = world.clients[speaker].source().0;
        world.clients[9].rtp.iter().filter(|packet| packet.csrc == Some(source)).count()
    };
    for _ in 0..50 {
        for speaker in 0..9 {
            world.speak(speaker, VOICE);
        }
        world.advance(20);
    }
    assert!((0..8).all(|speaker| heard(&world, speaker) == 50));
    assert_eq!(heard(&world, 8), 0);
    assert_eq!(world.engine.counters().drops[DropReason::NotSelected], 50);
    for _ in 0..50 {
        for speaker in 0..9 {
            world.speak(speaker, if speaker == 8 { LOUD } else { VOICE });
        }
        world.advance(20);
    }
    assert!(heard(&world, 8) > 30, "{}", heard(&world, 8));
    let per_tick =
        world.clients[9].rtp.iter().filter(|packet| packet.at == world.clients[9].rtp[0].at);
    assert_eq!(per_tick.count(), 8);
}

#[test]
fn a_late_joiner_starts_at_once_and_decrypts_from_the_first_packet() {
    let mut world = World::new();
    world.join();
    world.join();
    // Long enough for the room's sequence numbers to wrap.
    for step in 0..70_000_u32 {
        world.speak(0, VOICE);
        if step % 50 == 0 {
            world.advance(1);
        }
        if step % 10_000 == 0 {
            world.clients[1].rtp.clear();
            world.keep_alive();
        }
    }
    let late = world.join();
    for _ in 0..5 {
        world.speak(0, VOICE);
        world.advance(20);
    }
    for listener in [1, late] {
        assert_eq!(world.clients[listener].unreadable, 0);
    }
    let packets: Vec<_> = world.clients[late].rtp.iter().collect();
    assert_eq!(packets.len(), 5);
    assert_gapless(&packets);
}

#[test]
fn reordered_packets_keep_their_place_and_replays_are_dropped() {
    let mut world = World::new();
    world.join();
    world.join();
    let sender = &mut world.clients[0];
    let packets: Vec<Vec<u8>> = (1..=4_u8)
        .map(|n| {
            sender.seal(
                100 + u64::from(n),
                &Send {
                    ssrc: 5,
                    payload_type: world::OPUS,
                    timestamp: 960 * u32::from(n),
                    mid: Some("s0"),
                    level: Some(VOICE),
                    payload: &[n; 20],
                    ..Send::default()
                },
            )
        })
        .collect();
    for order in [0, 2, 1, 2, 3, 0] {
        world.datagram(0, packets[order].clone());
    }
    let got: Vec<_> = world.clients[1].rtp.iter().map(|it| (it.payload[0], it.index)).collect();
    let first = got[0].1;
    assert_eq!(got, [(1, first), (3, first + 2), (2, first + 1), (4, first + 3)]);
    assert_eq!(world.engine.counters().drops[DropReason::SrtpReplay], 2);
}

#[test]
fn speakers_are_told_on_change_only_and_not_too_often() {
    let mut world = World::new();
    for _ in 0..3 {
        world.join();
    }
    world.events.clear();
    let mut lists = Vec::new();
    for tick in 0..100 {
        if tick < 50 {
            world.speak(0, VOICE);
        }
        if (20..40).contains(&tick) {
            world.speak(1, LOUD);
        }
        world.speak(2, 100);
        world.advance(20);
        let now = world.now.as_millis();
        for event in world.events.drain(..) {
            if let Event::Speakers { room: ROOM, speakers } = event {
                lists.push((now, speakers));
            }
        }
    }
    let (a, b) = (world.clients[0].source(), world.clients[1].source());
    let told: Vec<_> = lists.iter().map(|(_, list)| list.clone()).collect();
    assert_eq!(told, [vec![a], vec![b, a], vec![a], vec![]]);
    assert!(lists.windows(2).all(|pair| pair[1].0 - pair[0].0 >= 100));
    let quiet = lists[3].0;
    let last_voice = 1000 + 50 * 20;
    assert!((last_voice + 280..last_voice + 440).contains(&quiet), "{quiet}");
}
