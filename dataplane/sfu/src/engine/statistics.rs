//! What is told of sessions: their state, and their quality every 2 s. Many sessions are looked at
//! in several turns of that time, so that they make no pause.

use std::time::Duration;

use hype_protocol::id::WorkerId;
use hype_protocol::media::SourceKind;
use hype_protocol::observation::{ProducerStatus, SessionStats, SessionStatus};
use hype_protocol::unit::Bitrate;

use crate::event::Event;
use crate::time::Timestamp;

use super::session::{Quality, Session};
use super::{EARLY, Engine};

/// How often each session is looked at.
const ROUND: Duration = Duration::from_secs(2);
/// The most turns of a round; there are fewer when one turn of [`TOGETHER`] sessions is enough.
const TURNS: usize = 20;
/// Sessions that are looked at in one turn without a noticeable pause: about 10 us.
const TOGETHER: usize = 64;
/// The most sessions in one message.
const MAX_STATS: usize = 500;

/// Whose turn it is, and when.
#[derive(Debug)]
pub(super) struct Schedule {
    due_at: Timestamp,
    turn: usize,
    /// Of this round.
    turns: usize,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { due_at: Timestamp::NEVER, turn: 0, turns: 1 }
    }
}

impl Schedule {
    pub(super) fn due_at(&self) -> Timestamp {
        self.due_at
    }

    /// There is a session.
    pub(super) fn start(&mut self, now: Timestamp) {
        if self.due_at == Timestamp::NEVER {
            (self.due_at, self.turn) = (now + ROUND / 2, 0);
        }
    }

    /// There is none any more.
    pub(super) fn stop(&mut self) {
        self.due_at = Timestamp::NEVER;
    }
}

impl Engine {
    pub(super) fn collect_statistics(&mut self, now: Timestamp) {
        let keys = self.session_keys();
        let schedule = &mut self.statistics;
        if schedule.turn == 0 {
            schedule.turns = keys.div_ceil(TOGETHER).clamp(1, TURNS);
        }
        let (turn, turns) = (schedule.turn, schedule.turns);
        schedule.turn = (turn + 1) % turns;
        // It may have been called that much too early.
        schedule.due_at = now + EARLY + ROUND / u32::try_from(turns).unwrap_or(1);
        let mut all = Vec::new();
        for key in (turn..keys).step_by(turns) {
            let Some(session) = self.sessions.get_mut(key).filter(|it| it.connected) else {
                continue;
            };
            let peer = &mut self.rooms[session.room].peers[session.peer];
            let bytes_out = std::mem::take(&mut peer.bytes_out);
            all.push(session.take_stats(now, bytes_out));
        }
        while !all.is_empty() {
            let rest = all.split_off(all.len().min(MAX_STATS));
            self.emit(Event::Stats(all));
            all = rest;
        }
    }

    /// One above the highest key in use.
    fn session_keys(&self) -> usize {
        self.sessions.iter().next_back().map_or(0, |(key, _)| key + 1)
    }
}

impl Session {
    /// As the agent knows it.
    pub(super) fn status(&self, worker: WorkerId) -> SessionStatus {
        let producers = self.producers.iter().flatten();
        SessionStatus {
            session: self.id,
            room: self.room_id,
            worker,
            user: self.user,
            connected: self.connected,
            flags: self.flags,
            producers: producers
                .map(|producer| ProducerStatus { kind: producer.kind, codec: producer.codec })
                .collect(),
            decodes: self.decodes.clone(),
            opened_at_ms: self.opened_at_ms,
        }
    }

    /// Its quality since the last call.
    fn take_stats(&mut self, now: Timestamp, bytes_out: u64) -> SessionStats {
        let elapsed = now.since(self.quality.since).as_millis();
        let elapsed_ms = u64::try_from(elapsed).unwrap_or(u64::MAX);
        let (mut expected, mut received) = (0, 0);
        for stream in self.streams.iter().filter(|stream| !stream.role.retransmission) {
            let (stream_expected, stream_received) = stream.reception.totals();
            expected += stream_expected;
            received += stream_received;
        }
        // A forgotten stream takes its counts along: then the interval tells nothing.
        let new_expected = expected.saturating_sub(self.quality.expected);
        let new_received = received.saturating_sub(self.quality.received);
        let share = |part: u64, whole: u64| {
            if whole == 0 { 0.0 } else { (part as f32 / whole as f32).clamp(0.0, 1.0) }
        };
        let microphone = self.streams.iter().find(|stream| {
            stream.role.kind == SourceKind::Microphone && !stream.role.retransmission
        });
        let stats = SessionStats {
            session: self.id,
            round_trip_ms: self.round_trip.map(|span| span.as_secs_f32() * 1000.0),
            loss_up: share(new_expected.saturating_sub(new_received), new_expected),
            loss_down: share(self.quality.lost_down, self.quality.blocks * 256),
            // Opus counts 48 ticks a millisecond.
            jitter_ms: microphone.map_or(0.0, |stream| stream.reception.jitter() as f32 / 48.0),
            bitrate_up: Bitrate::from_bytes(self.quality.bytes_in, elapsed_ms),
            bitrate_down: Bitrate::from_bytes(bytes_out, elapsed_ms),
        };
        self.quality = Quality { expected, received, since: now, ..Quality::default() };
        stats
    }
}
