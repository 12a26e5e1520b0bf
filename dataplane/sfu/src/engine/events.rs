//! The queue of events to the agent. It has a limit; when it is reached, speakers and statistics
//! go first (newer ones follow soon), DTLS datagrams are refused (their sender repeats them), and
//! what tells of a session's life is never lost: of those there are only as many as commands were
//! given and sessions are open.

use std::collections::VecDeque;

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
            Event::Session(status) => {
                // Only the latest state matters; while it waits, it is brought up to date.
                let session = status.session;
                let latest = self.events.iter_mut().rev().take(64).find(|event| match event {
                    Event::Session(waiting) => waiting.session == session,
                    Event::Closed { session: closed, .. } => *closed == session,
                    _ => false,
                });
                if let Some(Event::Session(waiting)) = latest {
                    waiting.clone_from(status);
                    return true;
                }
            }
            Event::Closed { .. }
            | Event::Refused { .. }
            | Event::View { .. }
            | Event::MediaStarted { .. } => {}
        }
        self.events.push_back(event);
        true
    }

    /// Takes the oldest event.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if matches!(event, Event::Dtls { .. }) {
            self.dtls -= 1;
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use hype_protocol::id::{RoomId, SessionId};
    use hype_protocol::observation::CloseReason;

    use super::*;

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
