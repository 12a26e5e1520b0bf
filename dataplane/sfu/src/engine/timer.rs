//! What is due for one session or room: the end of silent ones, feedback to publishers, key frame
//! requests, reports, and looking after producers that stopped.

use std::time::Duration;

use hype_protocol::media::SourceKind;
use hype_protocol::observation::CloseReason;

use crate::event::Event;
use crate::room::producer::SILENCE;
use crate::room::remote::Publisher;
use crate::time::Timestamp;
use crate::transmit::Transmit;

use super::{EARLY, Engine};

/// Between two looks at which layers flow.
const FLOW_INTERVAL: Duration = Duration::from_millis(250);
/// The least time between two turns of one session's timers.
const RETRY: Duration = Duration::from_millis(1);

impl Engine {
    pub(super) fn session_timeout<T: Transmit>(&mut self, key: usize, now: Timestamp, out: &mut T) {
        let Some(session) = self.sessions.get(key) else { return };
        if session.expires_at() <= now {
            self.close(key, CloseReason::Timeout, now);
            return;
        }
        if session.flow_at <= now {
            self.look_after_producers(key, now);
        }
        self.send_requests(key, now, out);
        // Whatever could not be done now is tried again a little later, never in this turn.
        let due = self.sessions[key].due_at().max(now + RETRY);
        self.session_deadlines.set(key, due);
    }

    /// Tells a session what is told regularly.
    pub(super) fn session_reports<T: Transmit>(&mut self, key: usize, now: Timestamp, out: &mut T) {
        let (soon, sessions) = (now + EARLY, self.sessions.len());
        let Some(session) = self.sessions.get_mut(key) else { return };
        let reports = session.reports_at <= soon;
        if reports {
            session.reports_at = super::report::next_at(soon, sessions);
        }
        self.send_transport_feedback(key, soon, out);
        if reports {
            self.send_reports(key, now, out);
        }
        let due = self.sessions[key].reports_due_at().max(soon + RETRY);
        self.report_deadlines.set(key, due);
    }

    /// Ends producers that fell silent, and moves viewers to layers that flow.
    fn look_after_producers(&mut self, key: usize, now: Timestamp) {
        let mut running = false;
        let mut ended = false;
        for kind in [SourceKind::Camera, SourceKind::Screen, SourceKind::ScreenAudio] {
            let Some(producer) = self.sessions[key].producer_mut(kind) else { continue };
            if now.since(producer.last_at) >= SILENCE {
                self.end_producer(key, kind);
                ended = true;
                continue;
            }
            running = true;
            let changed = producer.refresh_flow(now);
            producer.untold |= changed;
            let session = &self.sessions[key];
            let (room, peer, source) = (session.room, session.peer, session.id.source());
            if changed {
                self.tell_watchers(room, source);
            }
            // Also without a change: a viewer that has switched needs its old layer no more.
            self.select_layers(room, Publisher::Here(peer), kind, now);
        }
        self.sessions[key].flow_at = if running { now + FLOW_INTERVAL } else { Timestamp::NEVER };
        if ended {
            self.emit_status(key);
        }
    }

    pub(super) fn room_timeout<T: Transmit>(&mut self, key: usize, now: Timestamp, out: &mut T) {
        let Some(room) = self.rooms.get(key) else { return };
        if room.shared.as_ref().is_some_and(|shared| shared.due_at <= now) {
            self.tell_parts(key, now, out);
        }
        let room = &self.rooms[key];
        let told = room.shared.as_ref().map_or(Timestamp::NEVER, |shared| shared.due_at);
        self.room_deadlines.set(key, told.max(now + RETRY));
        self.speaker_deadlines.set_earlier(key, room.speakers_due(now));
    }

    /// Tells who speaks in a room, if that has changed.
    pub(super) fn room_speakers(&mut self, key: usize, now: Timestamp) {
        let soon = now + EARLY;
        let Some(room) = self.rooms.get_mut(key) else { return };
        let id = room.id;
        if room.speakers_due(now) <= soon
            && let Some(speakers) = room.take_speakers(now)
        {
            self.emit(Event::Speakers { room: id, speakers });
        }
        let due = self.rooms[key].speakers_due(now).max(soon + RETRY);
        self.speaker_deadlines.set(key, due);
    }
}
