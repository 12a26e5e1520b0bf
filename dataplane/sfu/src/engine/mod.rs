//! The engine itself: sessions, rooms, and the verbs by which a worker drives them.
//! `handle_datagram`, `handle_link`, `handle_command` and `handle_timeout` change state and write datagrams into
//! the caller's transmit queue; `poll_timeout` and `poll_event` tell what is to be done next.
//! Sessions and rooms lie in slabs and refer to each other by key. It never asks for the time.

mod address;
mod command;
pub(crate) mod counters;
mod datagram;
mod deadline;
mod deliver;
mod events;
mod feedback;
mod limits;
mod link;
mod media;
pub(crate) mod random;
mod report;
mod session;
mod statistics;
mod timer;
mod view;
mod watch;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use hype_protocol::id::{NodeId, RoomId, SessionId, WorkerId};
use hype_protocol::observation::SessionStatus;
use hype_protocol::secret::BootKeys;
use slab::Slab;

use crate::command::Command;
use crate::event::Event;
use crate::room::Room;
use crate::time::Timestamp;
use crate::transmit::{Destination, MAX_DATAGRAM, Transmit};
use crate::transport::ice_lite::PlainLimiter;
use crate::wire::demux;
use crate::{DropReason, engine::random::SeededState};

use address::AddressTable;
pub use counters::Counters;
use deadline::DeadlineQueue;
use events::EventQueue;
use random::Random;
use session::Session;

/// How an engine is set up. All limits are taken at the start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node.
    pub node: NodeId,
    /// Which of its workers this is: sessions opened for another one are refused.
    pub worker: WorkerId,
    /// From which ICE credentials and native keys derive.
    pub boot_keys: BootKeys,
    /// The most sessions at once; one more is refused as full.
    pub max_sessions: u32,
    /// How many people are heard at once in a room, at most
    /// [`MAX_VOICE_SLOTS`](hype_protocol::media::MAX_VOICE_SLOTS).
    pub voice_slots: u8,
    /// 64 secret random bits: the engine has no entropy of its own.
    pub seed: u64,
    /// The Unix time at [`Timestamp::ZERO`], for sender reports.
    pub unix_at_zero: Duration,
    /// The canonical name in our RTCP (RFC 3550 §6.5.1), 1–255 bytes; longer is cut.
    pub cname: String,
}

/// What is told regularly may be told this much before it is due, in a turn that takes place anyway:
/// a turn of its own costs more than what it tells. A voice packet comes every 20 ms.
const EARLY: Duration = Duration::from_millis(20);

/// How much an engine has to do; counts grow since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Sessions open now.
    pub sessions: u32,
    /// Rooms served now.
    pub rooms: u32,
    /// Datagrams sent.
    pub packets_out: u64,
    /// UDP payload sent, in bytes.
    pub bytes_out: u64,
}

/// The media engine of one worker.
pub struct Engine {
    config: Config,
    sessions: Slab<Session>,
    by_id: HashMap<SessionId, usize, SeededState>,
    rooms: Slab<Room>,
    by_room: HashMap<RoomId, usize, SeededState>,
    addresses: AddressTable,
    /// Native ids that this boot has served: their keys must never be used anew (DESIGN rule 5).
    used_native: HashSet<SessionId, SeededState>,
    plain_limiter: PlainLimiter,
    session_deadlines: DeadlineQueue,
    /// Of sessions: reports and transport feedback, which may come [`EARLY`].
    report_deadlines: DeadlineQueue,
    room_deadlines: DeadlineQueue,
    /// Of rooms: the list of speakers, which may come [`EARLY`], too.
    speaker_deadlines: DeadlineQueue,
    statistics: statistics::Schedule,
    events: EventQueue,
    counters: Counters,
    random: Random,
    next_producer: u32,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("worker", &self.config.worker)
            .field("sessions", &self.sessions.len())
            .field("rooms", &self.rooms.len())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine without rooms.
    pub fn new(mut config: Config) -> Self {
        let mut random = Random::new(config.seed);
        let hash = SeededState::new(random.next());
        let mut length = config.cname.len().min(255);
        while !config.cname.is_char_boundary(length) {
            length -= 1;
        }
        config.cname.truncate(length);
        let sessions = config.max_sessions as usize;
        let mut session_deadlines = DeadlineQueue::default();
        session_deadlines.reserve(sessions);
        let mut report_deadlines = DeadlineQueue::default();
        report_deadlines.reserve(sessions);
        Self {
            sessions: Slab::new(),
            by_id: HashMap::with_hasher(hash.clone()),
            rooms: Slab::new(),
            by_room: HashMap::with_hasher(hash.clone()),
            addresses: AddressTable::new(random.next()),
            used_native: HashSet::with_hasher(hash),
            plain_limiter: PlainLimiter::new(random.next()),
            session_deadlines,
            report_deadlines,
            room_deadlines: DeadlineQueue::default(),
            speaker_deadlines: DeadlineQueue::default(),
            statistics: statistics::Schedule::default(),
            events: EventQueue::default(),
            counters: Counters::default(),
            random,
            next_producer: 1,
            config,
        }
    }

    /// A datagram came in by the socket `local` from `source`. Its bytes are decrypted in place
    /// and hold nothing of use afterwards. What it leads to is written to `out`.
    #[inline]
    pub fn handle_datagram<T: Transmit>(
        &mut self,
        now: Timestamp,
        local: u8,
        source: SocketAddr,
        datagram: &mut [u8],
        out: &mut T,
    ) {
        self.counters.packets_in += 1;
        self.counters.bytes_in += datagram.len() as u64;
        let from = Destination { local, remote: source };
        let outcome = if datagram.len() > MAX_DATAGRAM {
            Err(DropReason::TooLong)
        } else {
            match demux::classify(datagram) {
                demux::Kind::Rtp => self.handle_rtp(now, &from, datagram, out),
                demux::Kind::Rtcp => self.handle_rtcp(now, &from, datagram, out),
                demux::Kind::Stun => self.handle_stun(now, &from, datagram, out),
                demux::Kind::Dtls => self.handle_dtls(&from, datagram),
                demux::Kind::Quic | demux::Kind::Other => Err(DropReason::UnknownProtocol),
            }
        };
        if let Err(reason) = outcome {
            self.counters.drops.count(reason);
        }
    }

    /// Obeys the agent.
    pub fn handle_command<T: Transmit>(&mut self, now: Timestamp, command: Command, out: &mut T) {
        match command {
            Command::OpenRoom { room, generation, max_peers, part, neighbours } => {
                self.open_room(room, (generation, max_peers), part, neighbours, now);
            }
            Command::CloseRoom { room } => self.close_room(room, now),
            Command::Open(open) => self.open(now, *open),
            Command::InstallKeys { session, keying } => self.install_keys(now, session, &keying),
            Command::SendDtls { session, datagram } => self.send_dtls(session, &datagram, out),
            Command::Close { session, reason } => {
                if let Some(&key) = self.by_id.get(&session) {
                    self.close(key, reason, now);
                }
            }
            Command::Flags { session, change } => self.set_flags(session, change),
            Command::View { session, slot, view } => self.set_view(session, slot, view, now),
        }
    }

    /// Does what is due: feedback, reports, retries, and the end of silent sessions.
    pub fn handle_timeout<T: Transmit>(&mut self, now: Timestamp, out: &mut T) {
        while let Some(session) = self.session_deadlines.pop_due(now) {
            self.session_timeout(session, now, out);
        }
        while let Some(room) = self.room_deadlines.pop_due(now) {
            self.room_timeout(room, now, out);
        }
        let soon = now + EARLY;
        while let Some(session) = self.report_deadlines.pop_due(soon) {
            self.session_reports(session, now, out);
        }
        while let Some(room) = self.speaker_deadlines.pop_due(soon) {
            self.room_speakers(room, now);
        }
        if self.statistics.due_at() <= soon {
            self.collect_statistics(now);
        }
    }

    /// When [`Self::handle_timeout`] is to be called; [`Timestamp::NEVER`] when nothing waits.
    pub fn poll_timeout(&self) -> Timestamp {
        self.exactly_due().min(self.early_due())
    }

    /// Whether [`Self::handle_timeout`] has something to do in a turn that takes place anyway: also
    /// what would soon make one of its own.
    #[inline]
    pub fn has_due(&self, now: Timestamp) -> bool {
        self.exactly_due() <= now || self.early_due() <= now + EARLY
    }

    fn exactly_due(&self) -> Timestamp {
        self.session_deadlines.earliest().min(self.room_deadlines.earliest())
    }

    fn early_due(&self) -> Timestamp {
        let lists = self.report_deadlines.earliest().min(self.speaker_deadlines.earliest());
        lists.min(self.statistics.due_at())
    }

    /// The next event for the agent.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// What was counted since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How much there is to do.
    pub fn load(&self) -> Load {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Load {
            sessions: count(self.sessions.len()),
            rooms: count(self.rooms.len()),
            packets_out: self.counters.packets_out,
            bytes_out: self.counters.bytes_out,
        }
    }

    /// All sessions as they stand, for a snapshot.
    pub fn statuses(&self) -> impl Iterator<Item = SessionStatus> {
        let worker = self.config.worker;
        self.sessions.iter().map(move |(_, session)| session.status(worker))
    }

    fn emit(&mut self, event: Event) {
        emit(&mut self.events, &mut self.counters, event);
    }

    /// Tells the agent how a session stands.
    fn emit_status(&mut self, key: usize) {
        let status = Box::new(self.sessions[key].status(self.config.worker));
        self.emit(Event::Session(status));
    }

    /// Brings a session's timer forward to its next deadline.
    fn reschedule(&mut self, key: usize) {
        self.session_deadlines.set(key, self.sessions[key].due_at());
        self.report_deadlines.set(key, self.sessions[key].reports_due_at());
    }
}

/// Adds an event where the engine is borrowed in part.
fn emit(events: &mut EventQueue, counters: &mut Counters, event: Event) {
    if !events.push(event) {
        counters.events_dropped += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room::peer::Peer;

    #[test]
    fn an_engine_can_move_to_its_worker_and_a_session_is_small() {
        fn is_send<T: Send>() {}
        is_send::<Engine>();
        // With its lists and keys, and without DTLS, a voice peer is to stay well below 16 KiB.
        let (session, peer) = (size_of::<Session>(), size_of::<Peer>());
        assert!(session + peer < 6 * 1024, "{session} + {peer}");
    }
}
