//! Forwarding a voice packet allocates nothing: one speaker, 50 listeners, real SRTP on both sides, counted
//! by the allocator itself; also when the room has two parts.

mod world;

use std::alloc::System;
use std::time::Duration;

use hype_allocations::{Counting, so_far as allocations};
use hype_protocol::link::MAX_FRAME;
use hype_sfu::transmit::MAX_DATAGRAM;
use hype_sfu::{Destination, LinkId, LinkUse, Transmit};
use world::parts::Parts;
use world::{Send, World};

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting(System);

/// Counts what is sent, and keeps nothing but the last frame to another part.
struct Sink {
    buffer: [u8; MAX_DATAGRAM],
    packets: u64,
    frame: [u8; MAX_FRAME],
    frame_len: usize,
}

impl Sink {
    fn new() -> Self {
        Self { buffer: [0; MAX_DATAGRAM], packets: 0, frame: [0; MAX_FRAME], frame_len: 0 }
    }
}

impl Transmit for Sink {
    fn reserve(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.buffer)
    }

    fn commit(&mut self, _len: usize, _to: &Destination) {
        self.packets += 1;
    }

    fn reserve_link(&mut self, _to: LinkId, _usage: LinkUse) -> Option<&mut [u8]> {
        Some(&mut self.frame)
    }

    fn commit_link(&mut self, _to: LinkId, len: usize) {
        self.frame_len = len;
    }
}

#[test]
fn forwarding_voice_to_fifty_peers_allocates_nothing() {
    let mut world = World::new();
    for _ in 0..51 {
        world.join();
    }
    // Streams are latched, the slot is taken, the list of speakers is out.
    for _ in 0..20 {
        world.speak(0, 0x80 | 20);
        world.advance(20);
    }
    let mut sink = Sink::new();
    let packets = voice(&mut world.clients[0]);
    let (address, mut now) = (world.clients[0].address, world.now);
    // The first one makes room for its transport-wide arrivals.
    let mut packets = packets.into_iter();
    let mut first = packets.next().expect("there are 500");
    world.engine.handle_datagram(now, 0, address, &mut first, &mut sink);
    sink.packets = 0;
    let before = allocations();
    for mut packet in packets {
        now = now + Duration::from_millis(1);
        world.engine.handle_datagram(now, 0, address, &mut packet, &mut sink);
    }
    assert_eq!(allocations() - before, 0);
    assert_eq!(sink.packets, 499 * 50);
    let boxed = Box::new(now);
    assert_eq!(allocations() - before, 1, "the count counts: {boxed:?}");
}

/// Ten seconds of a microphone, sealed.
fn voice(client: &mut world::Client) -> Vec<Vec<u8>> {
    let packet = |step| {
        client.seal_next(&Send {
            ssrc: World::voice_ssrc(0),
            payload_type: world::OPUS,
            timestamp: 960 * step,
            level: Some(0x80 | 20),
            transport: true,
            payload: &[9; 160],
            ..Send::default()
        })
    };
    (0..500_u32).map(packet).collect()
}

#[test]
fn forwarding_voice_between_two_parts_allocates_nothing() {
    let mut room = Parts::new(2);
    for part in 0..2 {
        for _ in 0..25 {
            room.join(part);
        }
    }
    // The one who speaks sits at the edge: his packets go up, and come down again.
    for _ in 0..20 {
        room.speak(1, 0, 0x80 | 20);
        room.advance(20);
    }
    let packets = voice(&mut room.worlds[1].clients[0]);
    let (address, mut now) = (room.worlds[1].clients[0].address, room.now());
    let [core, edge] = &mut room.worlds[..] else { panic!("two parts") };
    let (mut up, mut down) = (Sink::new(), Sink::new());
    let mut before = None;
    for mut packet in packets {
        now = now + Duration::from_millis(1);
        edge.engine.handle_datagram(now, 0, address, &mut packet, &mut up);
        let frame = &mut up.frame[..up.frame_len];
        core.engine.handle_link(now, LinkId(1), frame, &mut down);
        let frame = &mut down.frame[..down.frame_len];
        edge.engine.handle_link(now, LinkId(0), frame, &mut up);
        // The first one makes room for its transport-wide arrivals.
        before.get_or_insert_with(allocations);
    }
    assert_eq!(Some(allocations()), before);
    assert_eq!((down.packets, up.packets), (500 * 25, 500 * 24));
}
