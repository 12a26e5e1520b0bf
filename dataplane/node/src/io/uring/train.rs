//! Groups what one turn sends: packets of one size for one destination form a train, which leaves
//! by one call (UDP generic segmentation offload, Linux' UDP_SEGMENT). Only the last packet of a
//! train may be shorter. Packets for one destination always keep their order. Nothing here waits:
//! a packet without company is a train of one.

use std::net::SocketAddr;

use super::transmit::COUNT;

/// The most packets of one train; at 8 most of what there is to gain is gained.
pub const MAX_PACKETS: usize = 16;
/// Turns without trains after the kernel refused one for its interface: each try costs a call, and the
/// way to one destination may be another one soon.
const REST: u32 = 4096;
/// Slots of the table that finds a destination's train; a power of two.
const SLOTS: usize = 1024;

/// Packets that leave by one call, as a list of buffers.
#[derive(Debug, Clone, Copy)]
pub struct Train {
    /// Index of the socket.
    pub local: u8,
    /// Packets in it.
    pub packets: u8,
    /// Size of each packet but the last.
    pub segment: u16,
    /// The first buffer; the others follow by [`Trains::after`].
    pub first: u16,
    last: u16,
    /// The last packet was shorter, or there is no room: nothing can follow.
    closed: bool,
    /// Where to.
    pub remote: SocketAddr,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// The turn in which this slot was written; an older one is empty.
    turn: u32,
    train: u16,
}

/// The trains of one turn, in the order of their first packets.
#[derive(Debug)]
pub struct Trains {
    queued: Vec<Train>,
    /// Of each buffer: the next one of its train.
    next: Box<[u16]>,
    lens: Box<[u16]>,
    slots: Box<[Slot]>,
    turn: u32,
    /// So many turns every packet is sent by itself.
    resting: u32,
}

impl Trains {
    /// No trains; takes all memory that it will ever need.
    pub fn new() -> Self {
        let count = usize::from(COUNT);
        Self {
            // A train that was refused comes again as its packets.
            queued: Vec::with_capacity(2 * count),
            next: vec![0; count].into_boxed_slice(),
            lens: vec![0; count].into_boxed_slice(),
            slots: vec![Slot::default(); SLOTS].into_boxed_slice(),
            turn: 1,
            resting: 0,
        }
    }

    /// Adds the packet in `buffer` to its destination's train, or starts one.
    #[inline]
    pub fn add(&mut self, buffer: u16, len: u16, local: u8, remote: SocketAddr) {
        self.lens[usize::from(buffer)] = len;
        let slot = &mut self.slots[hash(local, &remote)];
        if slot.turn == self.turn && self.resting == 0 {
            let train = &mut self.queued[usize::from(slot.train)];
            let fits = !train.closed && len <= train.segment && len > 0;
            if fits && train.remote == remote && train.local == local {
                self.next[usize::from(train.last)] = buffer;
                train.last = buffer;
                train.packets += 1;
                train.closed = len < train.segment || usize::from(train.packets) == MAX_PACKETS;
                return;
            }
        }
        // Another destination that met the same slot only loses later company for the one before.
        let number = u16::try_from(self.queued.len()).expect("never more trains than buffers");
        *slot = Slot { turn: self.turn, train: number };
        let (first, last) = (buffer, buffer);
        let train = Train { local, packets: 1, segment: len, first, last, closed: false, remote };
        self.queued.push(train);
    }

    /// Adds the packet in `buffer` as a train of its own: the only one of this turn for its
    /// destination.
    #[inline]
    pub fn add_alone(&mut self, buffer: u16, len: u16, local: u8, remote: SocketAddr) {
        self.lens[usize::from(buffer)] = len;
        self.queued.push(Train {
            local,
            packets: 1,
            segment: len,
            first: buffer,
            last: buffer,
            closed: true,
            remote,
        });
    }

    /// Adds each packet of the train at `place` as a train of its own.
    pub fn split(&mut self, place: usize) {
        let train = self.queued[place];
        let mut buffer = train.first;
        for _ in 0..train.packets {
            self.add_alone(buffer, self.len_of(buffer), train.local, train.remote);
            buffer = self.after(buffer);
        }
    }

    /// Bytes of all packets of a train.
    pub fn bytes(&self, train: &Train) -> u64 {
        let segment = u64::from(train.segment);
        // All but the last are of one size.
        u64::from(train.packets - 1) * segment + u64::from(self.len_of(train.last))
    }

    /// How many trains there are.
    pub fn len(&self) -> usize {
        self.queued.len()
    }

    /// The train at this place of the queue.
    pub fn get(&self, place: usize) -> Train {
        self.queued[place]
    }

    /// Makes no trains for a while: an interface cannot send them.
    pub fn rest(&mut self) {
        self.resting = REST;
    }

    /// All were handed to the kernel: the next turn begins.
    pub fn clear(&mut self) {
        self.queued.clear();
        self.resting = self.resting.saturating_sub(1);
        self.turn = self.turn.wrapping_add(1);
        if self.turn == 0 {
            // After four billion turns old marks could be taken for new ones.
            self.slots.fill(Slot::default());
            self.turn = 1;
        }
    }

    /// The buffer behind this one in its train.
    pub fn after(&self, buffer: u16) -> u16 {
        self.next[usize::from(buffer)]
    }

    /// Bytes in a buffer.
    pub fn len_of(&self, buffer: u16) -> u16 {
        self.lens[usize::from(buffer)]
    }
}

#[inline]
fn hash(local: u8, remote: &SocketAddr) -> usize {
    let ip = match remote {
        SocketAddr::V4(v4) => u64::from(v4.ip().to_bits()),
        SocketAddr::V6(v6) => (v6.ip().to_bits() >> 64) as u64 ^ v6.ip().to_bits() as u64,
    };
    let mixed = (ip ^ u64::from(remote.port()) << 32 ^ u64::from(local) << 56)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 54) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `destination:length` in the order of sending; returns the trains as lists of buffers.
    fn check(packets: &str, expected: &str) {
        let mut trains = Trains::new();
        for (buffer, packet) in (0..).zip(packets.split_whitespace()) {
            let (port, len) = packet.split_once(':').expect("port:length");
            let remote = SocketAddr::from(([127, 0, 0, 1], port.parse().expect("a port")));
            trains.add(buffer, len.parse().expect("a length"), 0, remote);
        }
        let text = |place: usize| {
            let train = trains.get(place);
            let mut buffer = train.first;
            let mut list = vec![buffer.to_string()];
            for _ in 1..train.packets {
                buffer = trains.after(buffer);
                list.push(buffer.to_string());
            }
            format!("{}({})", list.join(","), train.segment)
        };
        let found: Vec<_> = (0..trains.len()).map(text).collect();
        assert_eq!(found.join(" "), expected, "{packets}");
    }

    #[test]
    fn packets_of_one_size_for_one_destination_go_together() {
        check("", "");
        check("1:100", "0(100)");
        check("1:100 2:100 1:100 2:100", "0,2(100) 1,3(100)");
        // A shorter one is the last; a longer one starts anew, behind what went before.
        check("1:100 1:99 1:99 1:100", "0,1(100) 2(99) 3(100)");
        check("1:99 1:100 1:100", "0(99) 1,2(100)");
        // An empty datagram would vanish inside a train.
        check("1:100 1:0 1:0", "0(100) 1(0) 2(0)");
    }

    #[test]
    fn a_train_has_a_limit_and_a_turn_an_end() {
        let mut trains = Trains::new();
        let remote = SocketAddr::from(([127, 0, 0, 1], 9));
        for buffer in 0..40 {
            trains.add(buffer, 50, 1, remote);
        }
        let packets: Vec<_> = (0..trains.len()).map(|place| trains.get(place).packets).collect();
        assert_eq!(packets, [16, 16, 8]);
        trains.clear();
        assert_eq!(trains.len(), 0);
        trains.add(0, 50, 1, remote);
        trains.add(1, 50, 0, remote);
        assert_eq!(trains.len(), 2, "another socket, and nothing is left of the turn before");
        trains.rest();
        for turn in 0..=REST {
            trains.clear();
            trains.add(0, 50, 1, remote);
            trains.add(1, 50, 1, remote);
            let alone = turn + 1 < REST;
            assert_eq!(trains.len(), if alone { 2 } else { 1 }, "turn {turn} of a rest");
        }
    }

    #[test]
    fn every_packet_is_in_one_train_and_in_order() {
        let mut trains = Trains::new();
        let mut state = 7_u64;
        for _ in 0..200 {
            let mut sent = Vec::new();
            for buffer in 0..COUNT {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let remote = SocketAddr::from(([10, 0, 0, 1], (state >> 60) as u16 + 1));
                let len = 100 + (state >> 40) as u16 % 3;
                trains.add(buffer, len, 0, remote);
                sent.push((remote, buffer));
            }
            let mut seen = Vec::new();
            for place in 0..trains.len() {
                let train = trains.get(place);
                let mut buffer = train.first;
                for packet in 1..=train.packets {
                    let (len, last) = (trains.len_of(buffer), packet == train.packets);
                    assert!(len == train.segment || last && len < train.segment);
                    seen.push((train.remote, buffer));
                    buffer = trains.after(buffer);
                }
            }
            // Stable: within a destination the order is that of sending.
            sent.sort_by_key(|(remote, _)| *remote);
            seen.sort_by_key(|(remote, _)| *remote);
            assert_eq!(sent, seen);
            trains.clear();
        }
    }
}
