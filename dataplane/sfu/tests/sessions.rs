//! Scenarios of sessions: who may open one, what ends it, which addresses it has, its keys, and
//! what hostile clients and strangers can do (nothing).

mod world;

use hype_protocol::id::{Generation, PartId, RoomId, SessionId};
use hype_protocol::observation::{CloseReason, Keying, OpenSession, RefuseReason};
use hype_protocol::secret::SrtpProfile;
use hype_sfu::{Command, DropReason, Event};
use world::{ROOM, Send, World, browser};

const VOICE: u8 = 0x80 | 30;

#[test]
fn forged_packets_leave_no_trace() {
    let mut world = World::new();
    world.join();
    world.join();
    world.speak(0, VOICE);
    let events = world.events.len();
    for ssrc in 0..5000_u32 {
        let mut forged = world.clients[0].seal(
            ssrc.into(),
            &Send {
                ssrc: 0x1000_0000 + ssrc,
                payload_type: world::OPUS,
                mid: Some("s0"),
                payload: &[1; 30],
                ..Send::default()
            },
        );
        let last = forged.len() - 1;
        forged[last] ^= 1;
        world.datagram(0, forged);
    }
    assert_eq!(world.engine.counters().drops[DropReason::SrtpAuthentication], 5000);
    assert_eq!(world.events.len(), events);
    assert_eq!(world.clients[1].rtp.len(), 1);
    // Authentic ones of unknown lines are refused too, and there is an end to SSRCs.
    for ssrc in 0..100_u32 {
        let packet = world.clients[0].seal(
            1,
            &Send {
                ssrc: 0x2000_0000 + ssrc,
                payload_type: world::OPUS,
                mid: Some(if ssrc < 50 { "none" } else { "s0" }),
                payload: &[1; 30],
                ..Send::default()
            },
        );
        world.datagram(0, packet);
    }
    assert_eq!(world.engine.counters().drops[DropReason::UnknownMid], 50);
    assert_eq!(world.engine.counters().drops[DropReason::TooManySsrcs], 50 - 23);
}

#[test]
fn sessions_are_refused_for_the_reasons_that_they_should_be() {
    let mut world = World::new();
    world.join();
    let refused = |world: &mut World, change: &dyn Fn(&mut OpenSession)| {
        let mut open = World::open_command(50, browser(50));
        change(&mut open);
        world.events.clear();
        world.command(Command::Open(Box::new(open)));
        match &world.events[0] {
            Event::Refused { reason, .. } => Some(*reason),
            Event::Session(status) => {
                let session = status.session;
                world.command(Command::Close { session, reason: CloseReason::Left });
                None
            }
            other => panic!("unexpected {other:?}"),
        }
    };
    use RefuseReason::*;
    assert_eq!(refused(&mut world, &|open| open.room = RoomId(1)), Some(UnknownRoom));
    assert_eq!(refused(&mut world, &|open| open.generation = Generation(4)), Some(StaleGeneration));
    assert_eq!(refused(&mut world, &|open| open.session = World::session_id(0)), Some(Duplicate));
    let same_source = |open: &mut OpenSession| {
        open.session = SessionId(World::session_id(0).0 ^ 1 << 63);
    };
    assert_eq!(refused(&mut world, &same_source), Some(Duplicate));
    assert_eq!(
        refused(&mut world, &|open| open.media.voice_slots[1].ssrc =
            open.media.voice_slots[0].ssrc),
        Some(Invalid)
    );
    assert_eq!(refused(&mut world, &|open| open.media.extensions.mid = Some(15)), Some(Invalid));
    assert_eq!(
        refused(&mut world, &|open| open.media.send_codecs[1].payload_type = 200),
        Some(Invalid)
    );
    assert_eq!(refused(&mut world, &|open| open.worker.0 = 1), Some(Invalid));
    assert_eq!(refused(&mut world, &|_| {}), None);
    // Its keys were used: never again in this boot (DESIGN rule 5).
    assert_eq!(refused(&mut world, &|_| {}), Some(Duplicate));
    world.command(Command::OpenRoom {
        room: ROOM,
        generation: Generation(6),
        max_peers: 1,
        part: PartId(0),
        neighbours: Vec::new(),
    });
    assert_eq!(refused(&mut world, &|open| open.session = SessionId(9)), Some(StaleGeneration));
    assert_eq!(
        refused(&mut world, &|open| {
            open.session = SessionId(9);
            open.generation = Generation(6);
        }),
        Some(Full)
    );
}

#[test]
fn a_closed_room_ends_its_sessions_and_its_addresses_are_forgotten() {
    let mut world = World::new();
    world.join();
    world.join();
    world.speak(0, VOICE);
    world.events.clear();
    world.command(Command::CloseRoom { room: ROOM });
    let closed = world.events.iter().filter(|event| {
        matches!(event, Event::Closed { reason: CloseReason::RoomClosed, room: ROOM, .. })
    });
    assert_eq!(closed.count(), 2);
    world.speak(0, VOICE);
    assert_eq!(world.engine.counters().drops[DropReason::UnknownAddress], 1);
    assert_eq!((world.engine.load().sessions, world.engine.load().rooms), (0, 0));
    world.advance(60_000);
    assert_eq!(world.engine.poll_timeout(), hype_sfu::Timestamp::NEVER);
}

#[test]
fn silence_ends_a_session_and_anything_authentic_keeps_it() {
    let mut world = World::new();
    let (silent, speaker, checker, reporter) =
        (world.join(), world.join(), world.join(), world.join());
    let never = world.open(browser(4));
    let start = world.now;
    let mut closed = Vec::new();
    for _ in 0..40 {
        world.speak(speaker, VOICE);
        let check = world.clients[checker].check(false);
        world.datagram(checker, check);
        let report = world.clients[reporter].seal_rtcp(|writer| {
            writer.receiver_report(1, &[]).expect("room");
        });
        world.datagram(reporter, report);
        world.advance(500);
        for event in world.events.drain(..) {
            if let Event::Closed { session, reason: CloseReason::Timeout, .. } = event {
                closed.push((session, world.now.since(start).as_millis()));
            }
        }
    }
    let id = |client: usize| world.clients[client].id;
    assert_eq!(closed.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [id(silent), id(never)]);
    assert!((8000..=8500).contains(&closed[0].1), "{closed:?}");
    assert!((15_000..=15_500).contains(&closed[1].1), "{closed:?}");
}

#[test]
fn the_send_address_changes_only_by_an_authenticated_nomination() {
    let mut world = World::new();
    world.join();
    world.join();
    let old = world.clients[1].address;
    let new = "198.51.100.7:9999".parse().expect("an address");
    // A check without a nomination makes the address known, but does not select it.
    let plain = world.clients[1].check(false);
    world.datagram_from(0, new, plain);
    world.speak(0, VOICE);
    assert_eq!(world.clients[1].rtp.len(), 1);
    // Forged: the same with another password.
    let honest = std::mem::replace(&mut world.clients[1].password, "wrong".to_owned());
    let forged = world.clients[1].check(true);
    world.clients[1].password = honest;
    world.datagram_from(0, "203.0.113.1:1".parse().expect("an address"), forged);
    assert_eq!(world.engine.counters().drops[DropReason::StunIntegrity], 1);
    world.speak(0, VOICE);
    assert_eq!(world.clients[1].rtp.len(), 2);
    let nominated = world.clients[1].check(true);
    world.clients[1].address = new;
    world.datagram_from(0, new, nominated);
    world.speak(0, VOICE);
    assert_eq!(world.clients[1].rtp.len(), 3);
    // Media from the old address is still taken: it was checked.
    world.clients[1].address = old;
    world.speak(1, VOICE);
    assert_eq!(world.engine.counters().drops[DropReason::UnknownAddress], 0);
    // One who moves on and on keeps at most eight addresses.
    for port in 1..100 {
        let check = world.clients[1].check(true);
        world.datagram_from(0, ([198, 51, 100, 7], port).into(), check);
    }
    world.speak(1, VOICE);
    assert_eq!(world.engine.counters().drops[DropReason::UnknownAddress], 1);
}

#[test]
fn an_address_in_use_is_not_taken_over() {
    let mut world = World::new();
    world.join();
    world.join();
    world.join();
    let victim = world.clients[1].address;
    let check = world.clients[2].check(true);
    world.datagram_from(0, victim, check.clone());
    assert_eq!(world.engine.counters().drops[DropReason::StunAddressTaken], 1);
    world.speak(1, VOICE);
    assert_eq!(world.clients[0].rtp.len(), 1);
    // Its owner is gone: now it may be somebody else's.
    world.advance(3500);
    world.datagram_from(0, victim, check);
    assert_eq!(world.engine.counters().drops[DropReason::StunAddressTaken], 1);
}

#[test]
fn random_bytes_never_panic_and_never_grow_anything() {
    let mut world = World::new();
    for _ in 0..3 {
        world.join();
    }
    world.speak(0, VOICE);
    let mut samples: Vec<Vec<u8>> = vec![world.clients[0].check(true)];
    samples.push(world.clients[0].seal_rtcp(|writer| {
        writer.nack(1, 2, &[1, 2, 3]).expect("room");
    }));
    samples.push(world.clients[0].seal_next(&Send {
        ssrc: World::voice_ssrc(0),
        payload_type: world::OPUS,
        mid: Some("s0"),
        payload: &[1; 100],
        ..Send::default()
    }));
    let mut random = 0x1234_5678_9abc_def0_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let address = world.clients[0].address;
    world.events.clear();
    for _ in 0..200_000 {
        let choice = next();
        let mut datagram = if choice % 4 == 0 {
            let len = (next() % 200) as usize;
            (0..len).map(|_| (next() & 0xff) as u8).collect()
        } else {
            samples[(choice >> 8) as usize % samples.len()].clone()
        };
        for _ in 0..choice >> 16 & 3 {
            if !datagram.is_empty() {
                let at = next() as usize % datagram.len();
                datagram[at] = (next() & 0xff) as u8;
            }
        }
        datagram.truncate(if choice >> 20 & 7 == 0 { next() as usize % 100 } else { 2000 });
        let source = if choice >> 30 & 1 == 0 { address } else { ([10, 0, 0, 1], 5).into() };
        world.engine.handle_datagram(world.now, 0, source, &mut datagram, &mut world.out);
        world.out.sent.clear();
    }
    world.advance(10);
    let (load, events) = (world.engine.load(), world.events.len());
    assert_eq!(load.sessions, 3);
    assert!(events < 5000, "{events}");
    let counters = world.engine.counters();
    assert!(counters.drops.total() > 150_000, "{}", counters.drops.total());
}

#[test]
fn a_handshake_passes_through_and_its_keys_are_installed_once() {
    let mut world = World::new();
    world.join();
    let media = browser(1);
    let client = world.open_with(media.clone(), Keying::Dtls { fingerprint: [1; 32] });
    let (id, address) = (world.clients[client].id, world.clients[client].address);
    let hello = vec![22, 254, 253, 0, 1, 2];
    world.datagram(client, hello.clone());
    assert_eq!(world.engine.counters().drops[DropReason::UnknownAddress], 1);
    world.check(client);
    world.events.clear();
    world.datagram(client, hello.clone());
    assert_eq!(world.events, [Event::Dtls { session: id, datagram: hello.clone() }]);
    // The answer goes to the address that the check selected.
    world.engine.handle_command(
        world.now,
        Command::SendDtls { session: id, datagram: hello.clone() },
        &mut world.out,
    );
    let (to, datagram) = world.out.sent.pop().expect("it is sent");
    assert_eq!((to.remote, datagram), (address, hello.clone()));
    world.speak(client, VOICE);
    assert_eq!(world.engine.counters().drops[DropReason::SrtpNoKeys], 1);
    // The test's client derives its keys like a native one; here they come from the agent.
    let keying =
        world.keys.native_keying(hype_protocol::id::WorkerId(0), id, SrtpProfile::AeadAes128Gcm);
    world.command(Command::InstallKeys { session: id, keying: keying.clone() });
    assert!(
        matches!(&world.events[..], [Event::Dtls { .. }, Event::Session(status)] if status.connected)
    );
    for _ in 0..3 {
        world.speak(0, VOICE);
        world.speak(client, VOICE);
    }
    assert_eq!((world.clients[0].rtp.len(), world.clients[client].rtp.len()), (3, 3));
    // The same keys again would begin their indexes anew: they are ignored.
    world.command(Command::InstallKeys { session: id, keying });
    for _ in 0..3 {
        world.speak(0, VOICE);
    }
    let indexes: Vec<u64> = world.clients[client].rtp.iter().map(|it| it.index).collect();
    assert!(indexes.windows(2).all(|pair| pair[1] == pair[0] + 1), "{indexes:?}");
    // A native client has no handshake.
    world.datagram(0, hello);
    assert_eq!(world.engine.counters().drops[DropReason::DtlsUnexpected], 1);
}

#[test]
fn an_authentic_client_that_sends_nonsense_harms_nobody() {
    let mut world = World::new();
    let (hostile, honest, listener) = (world.join(), world.join(), world.join());
    for (viewer, slot) in [(honest, 0), (listener, 1)] {
        for (kind, offset) in [
            (hype_protocol::media::SourceKind::Screen, 0),
            (hype_protocol::media::SourceKind::Camera, 2),
        ] {
            let (session, source) = (world.clients[viewer].id, world.clients[hostile].source());
            let view = Some(hype_protocol::observation::View { source, kind, height: None });
            world.command(Command::View { session, slot: slot + offset, view });
        }
    }
    let mut random = 0x0bad_cafe_dead_beef_u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut indexes = [0_u64; 6];
    for step in 0..30_000_u64 {
        let choice = next();
        let stream = (choice % 6) as usize;
        // Leaps, gaps and honest steps.
        indexes[stream] += if choice >> 8 & 7 == 0 { next() % 32_000 } else { 1 };
        let mids = ["s0", "s1", "s1", "s2", "s2", "s3"];
        let rids = [None, Some("lo"), Some("hi"), None, None, None];
        let types = [world::OPUS, world::VP8, world::VP8, world::VP8, world::VP8_RTX, world::OPUS];
        let payload: Vec<u8> = (0..next() % 60).map(|_| (next() & 0xff) as u8).collect();
        let descriptor: Vec<u8> = (0..next() % 30).map(|_| (next() & 0xff) as u8).collect();
        let packet = world.clients[hostile].seal(
            indexes[stream],
            &Send {
                ssrc: 60 + stream as u32,
                payload_type: if choice >> 16 & 15 == 0 {
                    (next() & 127) as u8
                } else {
                    types[stream]
                },
                timestamp: next() as u32,
                marker: choice & 1 << 20 != 0,
                mid: Some(mids[stream]),
                rid: rids[stream],
                level: Some((choice >> 24) as u8),
                transport: choice & 1 << 32 != 0,
                descriptor: (choice >> 33 & 3 == 0).then_some(&descriptor),
                payload: &payload,
                ..Send::default()
            },
        );
        world.datagram(hostile, packet);
        if step % 5 == 0 {
            let report = world.clients[hostile].seal_rtcp(|writer| {
                let numbers = [next() as u16, next() as u16];
                let _ = writer.nack(next() as u32, 2020, &numbers);
                let _ = writer.picture_loss(1, next() as u32 % 3000);
                let _ = writer.goodbye(next() as u32);
            });
            world.datagram(hostile, report);
        }
        if step % 20 == 0 {
            world.speak(honest, VOICE);
            world.advance(20);
        }
        if step % 2000 == 0 {
            world.keep_alive();
        }
    }
    let client = &world.clients[listener];
    assert_eq!(client.unreadable, 0, "every stream stays decryptable");
    let honest = world.clients[honest].source().0;
    let heard = client.rtp.iter().filter(|packet| packet.csrc == Some(honest)).count();
    assert_eq!(heard, 1500);
    assert_eq!(world.engine.counters().drops[DropReason::IndexReused], 0);
}
