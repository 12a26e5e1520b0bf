//! Links between the workers of one node: a bounded ring in each direction between each two, of
//! buffers that go to and fro. A full ring refuses, and the engine drops and counts; nobody waits.
//! Buffers are made as they are needed and then kept, so that idle links cost a few KiB.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_queue::ArrayQueue;
use hype_protocol::link::MAX_FRAME;
use hype_sfu::{LinkId, LinkUse};

use crate::io::EventFd;

/// Frames under way from one worker to another.
const CAPACITY: usize = 512;
/// The last places, which pictures leave to voice.
const KEPT_FOR_VOICE: usize = 128;

/// One frame, in a buffer that belongs to its ring.
pub(super) struct Frame {
    bytes: Box<[u8; MAX_FRAME]>,
    len: usize,
}

impl Frame {
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

/// From one worker to one other.
struct Ring {
    sent: ArrayQueue<Frame>,
    free: ArrayQueue<Box<[u8; MAX_FRAME]>>,
}

/// Wakes a worker, but only when it sleeps.
#[derive(Debug)]
pub(super) struct Doorbell {
    wake: Arc<EventFd>,
    asleep: AtomicBool,
}

impl Doorbell {
    pub(super) fn new(wake: Arc<EventFd>) -> Arc<Self> {
        Arc::new(Self { wake, asleep: AtomicBool::new(false) })
    }

    /// There is something for it. Whatever was sent before is seen by it now or when it wakes.
    fn ring(&self) {
        // Pairs with the fence in `Links::may_sleep`: either this sees that it sleeps, or it sees
        // what was sent.
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::Relaxed) {
            self.wake.signal();
        }
    }
}

/// The sending end of a ring.
struct Sender {
    ring: Arc<Ring>,
    bell: Arc<Doorbell>,
    /// Buffers that were made so far; never more than fit into the ring.
    made: usize,
    reserved: Option<Box<[u8; MAX_FRAME]>>,
    /// Something was sent since the bell was rung last.
    fresh: bool,
}

/// One worker's ends of all of its links, by the other worker's number. Its own place is empty.
pub(super) struct Links {
    senders: Vec<Option<Sender>>,
    receivers: Vec<Option<Arc<Ring>>>,
    bell: Arc<Doorbell>,
}

/// Joins workers, each with each. Their ends are in the order of `bells`.
pub(super) fn join(bells: &[Arc<Doorbell>]) -> Vec<Links> {
    let count = bells.len();
    let ring = || {
        let (sent, free) = (ArrayQueue::new(CAPACITY), ArrayQueue::new(CAPACITY));
        Arc::new(Ring { sent, free })
    };
    // Row: from whom. Column: to whom.
    let rings: Vec<Vec<Option<Arc<Ring>>>> =
        (0..count).map(|from| (0..count).map(|to| (from != to).then(ring)).collect()).collect();
    (0..count)
        .map(|own| Links {
            senders: rings[own]
                .iter()
                .zip(bells)
                .map(|(ring, bell)| {
                    let (ring, bell) = (Arc::clone(ring.as_ref()?), Arc::clone(bell));
                    Some(Sender { ring, bell, made: 0, reserved: None, fresh: false })
                })
                .collect(),
            receivers: rings.iter().map(|row| row[own].clone()).collect(),
            bell: Arc::clone(&bells[own]),
        })
        .collect()
}

impl Links {
    /// Room for a frame to that worker; without `commit` the same room comes again.
    pub(super) fn reserve(&mut self, to: LinkId, usage: LinkUse) -> Option<&mut [u8]> {
        let sender = self.senders.get_mut(usize::from(to.0))?.as_mut()?;
        let limit = match usage {
            LinkUse::Voice => CAPACITY,
            LinkUse::Picture => CAPACITY - KEPT_FOR_VOICE,
        };
        if sender.ring.sent.len() >= limit {
            return None;
        }
        if sender.reserved.is_none() {
            sender.reserved = sender.ring.free.pop();
        }
        if sender.reserved.is_none() && sender.made < CAPACITY {
            sender.made += 1;
            sender.reserved = Some(Box::new([0; MAX_FRAME]));
        }
        sender.reserved.as_mut().map(|buffer| &mut buffer[..])
    }

    /// Sends the first `len` bytes of the reserved room; the other worker is told by `announce`.
    pub(super) fn commit(&mut self, to: LinkId, len: usize) {
        let sender = self.senders.get_mut(usize::from(to.0)).and_then(Option::as_mut);
        let Some(sender) = sender else { return };
        let Some(bytes) = sender.reserved.take() else { return };
        debug_assert!(len <= MAX_FRAME, "the room is that long");
        // There are not more buffers than places.
        let sent = sender.ring.sent.push(Frame { bytes, len: len.min(MAX_FRAME) }).is_ok();
        debug_assert!(sent, "the room was there");
        sender.fresh = true;
    }

    /// Wakes the workers that were sent something: once a turn.
    pub(super) fn announce(&mut self) {
        for sender in self.senders.iter_mut().flatten() {
            if std::mem::take(&mut sender.fresh) {
                sender.bell.ring();
            }
        }
    }

    /// How many workers there are: frames come by links below this.
    pub(super) fn count(&self) -> u16 {
        u16::try_from(self.receivers.len()).unwrap_or(u16::MAX)
    }

    /// The next frame of that worker. It is to be given back.
    pub(super) fn take(&mut self, from: LinkId) -> Option<Frame> {
        self.receivers.get(usize::from(from.0))?.as_ref()?.sent.pop()
    }

    /// The frame was read: its buffer goes back to who sent it.
    pub(super) fn give_back(&mut self, from: LinkId, frame: Frame) {
        if let Some(Some(ring)) = self.receivers.get(usize::from(from.0)) {
            // There are not more buffers than places.
            let kept = ring.free.push(frame.bytes).is_ok();
            debug_assert!(kept, "it came from that ring");
        }
    }

    /// Whether nothing has come that was not taken. If so, whoever sends something from now on
    /// wakes this worker, until [`Self::awake`].
    pub(super) fn may_sleep(&self) -> bool {
        if self.receivers.len() < 2 {
            return true;
        }
        self.bell.asleep.store(true, Ordering::Relaxed);
        // Pairs with the fence in `Doorbell::ring`.
        fence(Ordering::SeqCst);
        let quiet = self.receivers.iter().flatten().all(|ring| ring.sent.is_empty());
        if !quiet {
            self.awake();
        }
        quiet
    }

    /// This worker looks by itself.
    pub(super) fn awake(&self) {
        self.bell.asleep.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: [LinkId; 2] = [LinkId(0), LinkId(1)];

    fn two() -> (Links, Links, [Arc<EventFd>; 2]) {
        let wakes = [(); 2].map(|()| Arc::new(EventFd::new().expect("a descriptor is free")));
        let bells = wakes.each_ref().map(|wake| Doorbell::new(Arc::clone(wake)));
        let mut links = join(&bells).into_iter();
        let (one, two) = (links.next().expect("two"), links.next().expect("two"));
        (one, two, wakes)
    }

    fn send(links: &mut Links, to: LinkId, usage: LinkUse, byte: u8) -> bool {
        let Some(room) = links.reserve(to, usage) else { return false };
        room[..3].fill(byte);
        links.commit(to, 3);
        true
    }

    #[test]
    fn frames_arrive_in_order_and_wake_only_who_sleeps() {
        let (mut one, mut two, wakes) = two();
        assert!(two.may_sleep());
        for byte in 0..3 {
            assert!(send(&mut one, TO[1], LinkUse::Voice, byte));
        }
        assert!(!wakes[1].clear(), "not before it is announced");
        one.announce();
        assert!(wakes[1].clear() && !wakes[0].clear());
        assert!(!two.may_sleep(), "something is there");
        for byte in 0..3 {
            let mut frame = two.take(TO[0]).expect("three were sent");
            assert_eq!(frame.bytes(), [byte; 3]);
            two.give_back(TO[0], frame);
        }
        assert!(two.take(TO[0]).is_none() && two.take(TO[1]).is_none());
        assert!(send(&mut one, TO[1], LinkUse::Voice, 9));
        one.announce();
        assert!(!wakes[1].clear(), "it is awake");
        assert!(!send(&mut one, TO[0], LinkUse::Voice, 9), "no link leads to oneself");
        assert!(!send(&mut one, LinkId(2), LinkUse::Voice, 9));
    }

    #[test]
    fn a_full_link_refuses_pictures_before_voice_and_takes_both_again() {
        let (mut one, mut two, _) = two();
        let fill =
            |one: &mut Links, usage| (0..).take_while(|_| send(one, TO[1], usage, 0)).count();
        assert_eq!(fill(&mut one, LinkUse::Picture), CAPACITY - KEPT_FOR_VOICE);
        assert_eq!(fill(&mut one, LinkUse::Voice), KEPT_FOR_VOICE);
        for _ in 0..CAPACITY {
            let frame = two.take(TO[0]).expect("it is full");
            two.give_back(TO[0], frame);
        }
        assert_eq!(fill(&mut one, LinkUse::Voice), CAPACITY, "with the same buffers");
    }

    #[test]
    fn nothing_is_lost_between_threads_that_sleep() {
        const COUNT: u32 = 20_000;
        let (mut one, mut two, wakes) = two();
        let reader = std::thread::spawn(move || {
            let mut next = 0;
            while next < COUNT {
                while let Some(mut frame) = two.take(TO[0]) {
                    let number =
                        frame.bytes().first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
                    assert_eq!(number, Some(next));
                    next += 1;
                    two.give_back(TO[0], frame);
                }
                let began = std::time::Instant::now();
                if next < COUNT && two.may_sleep() {
                    while !wakes[1].clear() {
                        assert!(began.elapsed().as_secs() < 60, "woken for what was sent");
                        std::thread::yield_now();
                    }
                    two.awake();
                }
            }
        });
        for number in 0..COUNT {
            while one.reserve(TO[1], LinkUse::Voice).is_none() {
                one.announce();
                std::thread::yield_now();
            }
            let room = one.reserve(TO[1], LinkUse::Voice).expect("it was there");
            room[..4].copy_from_slice(&number.to_be_bytes());
            one.commit(TO[1], 4);
            if number % 5 == 0 || number + 1 == COUNT {
                one.announce();
            }
        }
        reader.join().expect("it only reads");
    }
}
