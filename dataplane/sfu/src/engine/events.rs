//! The queue of events to the agent. It has a limit; when it is reached, speakers and statistics
//! go first (newer ones follow soon), DTLS datagrams are refused (their sender repeats them), and
//! what tells of a session's life is never lost: of those there are only as many as commands were
//! given and sessions and slots are open. While a session's or a slot's state waits, it is brought
//! up to date, so what a client does to change it often never makes the queue grow.

use std::collections::{BTreeMap, VecDeque};

use hype_protocol::id::SessionId;

use crate::event::Event;

/// From here on, events that can be spared are.
const LIMIT: usize = 4096;
/// DTLS datagrams that wait at once.
const DTLS_LIMIT: usize = 512;

/// Events in the order in which they happened.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    events: VecDeque<Event>,
    dtls: usize,
    /// How many were taken since the start: the number of the oldest that waits.
    taken: u64,
    /// The number of the waiting state of each session (no slot) and of each of its slots.
    waiting: BTreeMap<(SessionId, Option<u8>), u64>,
}

/// What an event tells the state of; of those only the latest matters.
fn subject(event: &Event) -> Option<(SessionId, Option<u8>)> {
    match event {
        Event::Session(status) => Some((status.session, None)),
        Event::View { session, slot, .. } => Some((*session, Some(*slot))),
        Event::Closed { .. }
        | Event::Refused { .. }
        | Event::Dtls { .. }
        | Event::Speakers { .. }
        | Event::Stats(_) => None,
    }
}

impl EventQueue {
    /// Adds an event; false when it was dropped instead.
    pub(crate) fn push(&mut self, event: Event) -> bool {
        match &event {
            Event::Speakers { .. } | Event::Stats(_) => {
                if self.events.len() >= LIMIT {
                    return false;
                }
            }
            Event::Dtls { .. } => {
                if self.dtls >= DTLS_LIMIT || self.events.len() >= LIMIT {
                    return false;
                }
                self.dtls += 1;
            }
            Event::Closed { session, .. } => {
                // What is told of that id from now on is another session's.
                let slots = (*session, None)..=(*session, Some(u8::MAX));
                while let Some((&known, _)) = self.waiting.range(slots.clone()).next() {
                    self.waiting.remove(&known);
                }
            }
            Event::Session(_) | Event::View { .. } | Event::Refused { .. } => {}
        }
        if let Some(subject) = subject(&event) {
            let number = self.taken + self.events.len() as u64;
            let number = *self.waiting.entry(subject).or_insert(number);
            let place = usize::try_from(number - self.taken).ok();
            if let Some(older) = place.and_then(|place| self.events.get_mut(place)) {
                *older = event;
                return true;
            }
        }
        self.events.push_back(event);
        true
    }

    /// Takes the oldest event.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Some(subject) = subject(&event)
            && self.waiting.get(&subject) == Some(&self.taken)
        {
            self.waiting.remove(&subject);
        }
        self.taken += 1;
        if matches!(event, Event::Dtls { .. }) {
            self.dtls -= 1;
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use hype_protocol::id::RoomId;
    use hype_protocol::observation::{CloseReason, ViewState};

    use super::*;

    #[test]
    fn of_each_slots_state_only_the_latest_waits() {
        let mut queue = EventQueue::default();
        let view = |session, slot, state| Event::View { session: SessionId(session), slot, state };
        for step in 0..10_000 {
            let state = if step % 2 == 0 { ViewState::Waiting } else { ViewState::Live };
            for session in 0..100 {
                assert!(queue.push(view(session, (step / 2 % 4) as u8, state)));
            }
        }
        assert_eq!(queue.events.len(), 400);
        for slot in 0..4 {
            for session in 0..100 {
                assert_eq!(queue.pop(), Some(view(session, slot, ViewState::Live)));
            }
        }
        assert_eq!((queue.pop(), queue.waiting.len()), (None, 0));
        // What follows a session's end is not told before it.
        let closed =
            Event::Closed { session: SessionId(1), room: RoomId(1), reason: CloseReason::Left };
        let told = [view(1, 0, ViewState::Waiting), closed, view(1, 0, ViewState::Waiting)];
        told.iter().for_each(|event| assert!(queue.push(event.clone())));
        assert!(queue.push(view(1, 0, ViewState::Live)));
        assert_eq!(queue.pop().as_ref(), Some(&told[0]));
        assert_eq!(queue.pop().as_ref(), Some(&told[1]));
        assert_eq!(queue.pop(), Some(view(1, 0, ViewState::Live)));
        assert_eq!((queue.pop(), queue.waiting.len()), (None, 0));
    }

    #[test]
    fn a_full_queue_spares_what_tells_of_a_sessions_end() {
        let mut queue = EventQueue::default();
        let dtls = || Event::Dtls { session: SessionId(1), datagram: vec![0; 10] };
        let accepted = (0..2 * DTLS_LIMIT).filter(|_| queue.push(dtls())).count();
        assert_eq!(accepted, DTLS_LIMIT);
        let speakers = || Event::Speakers { room: RoomId(1), speakers: Vec::new() };
        let accepted = (0..2 * LIMIT).filter(|_| queue.push(speakers())).count();
        assert_eq!(accepted, LIMIT - DTLS_LIMIT);
        let closed =
            Event::Closed { session: SessionId(1), room: RoomId(1), reason: CloseReason::Left };
        assert!(queue.push(closed.clone()));
        let mut last = None;
        while let Some(event) = queue.pop() {
            last = Some(event);
        }
        assert_eq!(last, Some(closed));
        assert!(queue.push(dtls()), "there is room again");
    }
}
