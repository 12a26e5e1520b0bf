//! Forwarding a voice packet allocates nothing: one speaker, 50 listeners, real SRTP on both sides, counted by the allocator itself.

mod world;

use std::alloc::System;
use std::time::Duration;

use hype_allocations::{Counting, so_far as allocations};
use hype_sfu::transmit::MAX_DATAGRAM;
use hype_sfu::{Destination, Transmit};
use world::{Send, World};

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting(System);

/// Counts what is sent, and keeps nothing.
struct Sink {
    buffer: [u8; MAX_DATAGRAM],
    packets: u64,
}

impl Transmit for Sink {
    fn reserve(&mut self) -> Option<&mut [u8]> {
        Some(&mut self.buffer)
    }

    fn commit(&mut self, _len: usize, _to: &Destination) {
        self.packets += 1;
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
    let mut sink = Sink { buffer: [0; MAX_DATAGRAM], packets: 0 };
    let payload_type = world::OPUS;
    let packets: Vec<Vec<u8>> = (0..500_u32)
        .map(|step| {
            let client = &mut world.clients[0];
            client.seal_next(&Send {
                ssrc: World::voice_ssrc(0),
                payload_type,
                timestamp: 960 * step,
                level: Some(0x80 | 20),
                transport: true,
                payload: &[9; 160],
                ..Send::default()
            })
        })
        .collect();
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
