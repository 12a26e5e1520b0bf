//! What control replicas ask for sessions, and the checks before a worker hears of it (DESIGN §5):
//! the boot, the room's generation, limits. A session whose room the watch has not shown yet waits
//! a moment: the answer that the client got is faster than the store.

use std::time::Duration;

use hype_protocol::id::{RoomId, SessionId};
use hype_protocol::observation::{
    CloseReason, FromNode, Keying, OpenSession, RefuseReason, ToNode,
};
use hype_sfu::Command;
use tokio::time::Instant;

use super::held::Held;
use super::hub::LinkId;
use super::{Agent, Seat};

/// How long a session waits for its room.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most sessions that wait.
const MAX_WAITING: usize = 4096;

/// A session whose room is not here yet.
pub(super) struct Waiting {
    open: Box<OpenSession>,
    until: Instant,
    /// What it asked for meanwhile.
    held: Held,
}

impl Agent {
    pub(super) fn handle_control(&mut self, link: LinkId, message: ToNode) {
        match message {
            ToNode::Open(open) => {
                if self.seats.contains_key(&open.session)
                    || self.waiting.contains_key(&open.session)
                {
                    // Only to who asked: the others know the session that has this id.
                    let (session, room) = (open.session, open.room);
                    let reason = RefuseReason::Duplicate;
                    self.refused(reason);
                    self.hub.tell(link, FromNode::Refused { session, room, reason });
                } else {
                    let until = Instant::now() + PATIENCE;
                    self.admit(Waiting { open, until, held: Held::default() });
                }
            }
            ToNode::Close { session, reason } => match self.waiting.remove(&session) {
                Some(waiting) => {
                    let room = waiting.open.room;
                    self.hub.broadcast(&FromNode::Closed { session, room, reason });
                }
                None => self.close(session, reason),
            },
            ToNode::Flags { session, change } => {
                if let Some(waiting) = self.waiting.get_mut(&session) {
                    waiting.open.flags = change.apply(waiting.open.flags);
                } else {
                    self.ask(session, |held| held.change(change));
                }
            }
            ToNode::View { session, slot, view } => {
                if view.is_none() {
                    self.hub.forget_view(session, slot);
                }
                if let Some(waiting) = self.waiting.get_mut(&session) {
                    waiting.held.view(slot, view);
                } else {
                    self.ask(session, |held| held.view(slot, view));
                }
            }
        }
    }

    /// Opens the session, lets it wait, or refuses it.
    fn admit(&mut self, waiting: Waiting) {
        let open = &waiting.open;
        if open.boot != self.boot {
            return self.refuse(open, RefuseReason::StaleBoot);
        }
        if self.fenced() || self.stopping {
            return self.refuse(open, RefuseReason::UnknownRoom);
        }
        if self.seats.len() + self.waiting.len() >= self.max_sessions {
            return self.refuse(open, RefuseReason::Full);
        }
        let held = self.rooms.get(open.room);
        let known = held.as_ref().filter(|held| open.generation <= held.generation);
        // What was promised since the part came there holds, whatever became of other parts.
        match known.map(|held| (held, held.part_on(open.worker))) {
            Some((_, Some(part))) if open.generation >= part.since => {
                self.open(waiting.open, waiting.held);
            }
            // The answer carries that worker's address: nobody would be there.
            Some((held, None)) if open.generation == held.generation => {
                self.refuse(open, RefuseReason::Invalid);
            }
            Some((_, Some(_) | None)) => self.refuse(open, RefuseReason::StaleGeneration),
            None if self.waiting.len() >= MAX_WAITING => {
                self.refuse(open, RefuseReason::UnknownRoom);
            }
            None => {
                self.waiting.insert(open.session, waiting);
            }
        }
    }

    fn open(&mut self, open: Box<OpenSession>, held: Held) {
        let (session, room, worker) = (open.session, open.room, open.worker);
        // The DTLS thread knows of it first: the client's ClientHello may come at once.
        let fingerprint = match open.keying {
            Keying::Dtls { fingerprint } => Some(fingerprint),
            Keying::Native { .. } => None,
        };
        if let Some(fingerprint) = fingerprint {
            self.dtls.expect(session, worker, fingerprint);
        }
        match self.mailboxes.send(worker, Command::Open(open)) {
            Ok(()) => {
                let dtls = fingerprint.is_some();
                self.seats.insert(session, Seat { worker, room, dtls });
                self.ask(session, |asked| *asked = held);
            }
            Err(_) => {
                self.dtls.forget(session);
                let reason = RefuseReason::Full;
                self.refused(reason);
                self.hub.broadcast(&FromNode::Refused { session, room, reason });
            }
        }
    }

    fn refuse(&mut self, open: &OpenSession, reason: RefuseReason) {
        self.refused(reason);
        tracing::debug!(session = %open.session, room = %open.room, ?reason, "session refused");
        let (session, room) = (open.session, open.room);
        self.hub.broadcast(&FromNode::Refused { session, room, reason });
    }

    /// Ends a session, with a `close_notify` to who came by DTLS.
    pub(super) fn close(&mut self, session: SessionId, reason: CloseReason) {
        let Some(seat) = self.seats.get(&session) else { return };
        if seat.dtls {
            self.dtls.close(session, seat.worker, reason);
        } else {
            self.ask(session, |held| held.close(reason));
        }
    }

    /// Asks a session's worker for something. While its mailbox is full, the wish is held back and
    /// posted with the next tick: control and node would differ for ever otherwise. Wishes for
    /// sessions that are not here crossed their end.
    fn ask(&mut self, session: SessionId, wish: impl FnOnce(&mut Held)) {
        let Some(seat) = self.seats.get(&session) else { return };
        // What was held back before is told first.
        let mut held = self.held.remove(&session).unwrap_or_default();
        wish(&mut held);
        let post = |command| self.mailboxes.send(seat.worker, command).is_ok();
        if !held.post(session, post) {
            metrics::counter!("hype_commands_held_back_total").increment(1);
            tracing::warn!(%session, room = %seat.room, "a worker's mailbox is full");
            self.held.insert(session, held);
        }
    }

    /// Tries again to post what was held back.
    pub(super) fn post_held(&mut self) {
        let (seats, mailboxes) = (&self.seats, &self.mailboxes);
        self.held.retain(|session, held| {
            let Some(seat) = seats.get(session) else { return false };
            !held.post(*session, |command| mailboxes.send(seat.worker, command).is_ok())
        });
    }

    /// Rooms were opened: who waits for them is let in.
    pub(super) fn retry_waiting(&mut self, rooms: &[RoomId]) {
        let ids: Vec<SessionId> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| rooms.contains(&waiting.open.room))
            .map(|(session, _)| *session)
            .collect();
        for session in ids {
            if let Some(waiting) = self.waiting.remove(&session) {
                self.admit(waiting);
            }
        }
    }

    /// Refuses who waited long enough, or everybody when this node will not have the room.
    pub(super) fn expire_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let now = Instant::now();
        let everybody = self.fenced() || self.stopping;
        let over = |waiting: &Waiting| everybody || waiting.until <= now;
        let expired: Vec<SessionId> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| over(waiting))
            .map(|(session, _)| *session)
            .collect();
        for session in expired {
            if let Some(waiting) = self.waiting.remove(&session) {
                self.refuse(&waiting.open, RefuseReason::UnknownRoom);
            }
        }
    }
}
