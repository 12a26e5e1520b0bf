//! Commands from the agent: rooms and sessions come and go, keys arrive, flags change.
//! They come at control rate and may allocate.

use hype_protocol::id::{Generation, PartId, RoomId, SessionId};
use hype_protocol::media::SourceKind;
use hype_protocol::observation::{CloseReason, FlagsChange, Keying, OpenSession, RefuseReason};
use hype_protocol::secret::SrtpKeying;

use crate::command::Neighbour;
use crate::drop_reason::DropReason;
use crate::event::Event;
use crate::room::Room;
use crate::room::peer::Peer;
use crate::time::Timestamp;
use crate::transmit::{MAX_DATAGRAM, Transmit};
use crate::transport::srtp::{Inbound, InvalidKeying, Outbound, Role};

use super::session::Session;
use super::{Engine, limits};

/// Native session ids that one boot serves: 16 MiB of them. After that it takes no more.
const MAX_NATIVE: usize = 1 << 20;
/// Rooms that an engine serves; those without people cost little.
const MAX_ROOMS: usize = 1 << 17;

impl Engine {
    /// Serves a part of a room, or takes over a newer placement of it.
    pub(super) fn open_room(
        &mut self,
        id: RoomId,
        (generation, max_peers): (Generation, u32),
        part: PartId,
        neighbours: Vec<Neighbour>,
        now: Timestamp,
    ) {
        let key = if let Some(&key) = self.by_room.get(&id) {
            let room = &mut self.rooms[key];
            if generation < room.generation {
                return;
            }
            room.generation = generation;
            room.max_peers = max_peers;
            key
        } else if self.rooms.len() < MAX_ROOMS {
            // Beyond the limit the room stays unknown, and sessions for it are refused as such.
            let slots = usize::from(self.config.voice_slots);
            let room = Room::new(id, generation, max_peers, slots, &mut self.random);
            let key = self.rooms.insert(room);
            self.by_room.insert(id, key);
            self.room_deadlines.reserve(key + 1);
            self.speaker_deadlines.reserve(key + 1);
            key
        } else {
            // Beyond the limit the room stays unknown, and sessions for it are refused as such.
            return;
        };
        self.rooms[key].set_parts(part, neighbours, &mut self.random);
        self.room_deadlines.set_earlier(key, now);
        self.seek_all(key, now);
    }

    pub(super) fn close_room(&mut self, id: RoomId, now: Timestamp) {
        let Some(key) = self.by_room.remove(&id) else { return };
        let sessions: Vec<usize> =
            self.rooms[key].peers.iter().map(|(_, peer)| peer.session).collect();
        for session in sessions {
            self.close(session, CloseReason::RoomClosed, now);
        }
        self.room_deadlines.set(key, Timestamp::NEVER);
        self.speaker_deadlines.set(key, Timestamp::NEVER);
        self.rooms.remove(key);
    }

    pub(super) fn open(&mut self, now: Timestamp, open: OpenSession) {
        let (session, room) = (open.session, open.room);
        if let Err(reason) = self.try_open(now, open) {
            self.emit(Event::Refused { session, room, reason });
        }
    }

    fn try_open(&mut self, now: Timestamp, open: OpenSession) -> Result<(), RefuseReason> {
        let &room_key = self.by_room.get(&open.room).ok_or(RefuseReason::UnknownRoom)?;
        let room = &mut self.rooms[room_key];
        if open.generation < room.generation {
            return Err(RefuseReason::StaleGeneration);
        }
        if open.worker != self.config.worker || !limits::is_valid(&open) {
            return Err(RefuseReason::Invalid);
        }
        if self.by_id.contains_key(&open.session)
            || self.used_native.contains(&open.session)
            || room.peer_of(open.session.source()).is_some()
        {
            return Err(RefuseReason::Duplicate);
        }
        if self.sessions.len() >= self.config.max_sessions as usize
            || room.peers.len() >= room.max_peers as usize
        {
            return Err(RefuseReason::Full);
        }
        let keys = match open.keying {
            Keying::Dtls { .. } => None,
            Keying::Native { profile } => {
                if self.used_native.len() >= MAX_NATIVE {
                    return Err(RefuseReason::Full);
                }
                let keying =
                    self.config.boot_keys.native_keying(self.config.worker, open.session, profile);
                Some(both_directions(&keying).map_err(|_| RefuseReason::Invalid)?)
            }
        };
        let id = open.session;
        let mut rtcp_ssrc = self.random.next_u32().max(1);
        let receives = &open.media;
        let taken = |ssrc: u32| {
            receives.voice_slots.iter().any(|line| line.ssrc == ssrc)
                || receives.video_slots.iter().any(|slot| slot.video.ssrc == ssrc)
        };
        while taken(rtcp_ssrc) {
            rtcp_ssrc = self.random.next_u32().max(1);
        }
        let key = self.sessions.vacant_key();
        let mut peer = Peer::new(key, id, open.flags, &open.media, rtcp_ssrc, &mut self.random)
            .ok_or(RefuseReason::Invalid)?;
        let password = self.config.boot_keys.ice_password(id);
        let unix = self.config.unix_at_zero.as_millis();
        let unix_ms = u64::try_from(unix).unwrap_or(u64::MAX).saturating_add(now.as_millis());
        let native = keys.is_some();
        let place = (room_key, room.peers.vacant_key());
        let mut session = Session::new(open, native, place, password, now, unix_ms);
        if let Some((inbound, outbound)) = keys {
            self.used_native.insert(id);
            session.inbound = Some(inbound);
            peer.outbound = Some(outbound);
        }
        room.speakers.reserve(session.peer + 1);
        room.peers.insert(peer);
        self.sessions.insert(session);
        self.by_id.insert(id, key);
        self.statistics.start(now);
        self.reschedule(key);
        self.emit_status(key);
        Ok(())
    }

    pub(super) fn install_keys(&mut self, now: Timestamp, id: SessionId, keying: &SrtpKeying) {
        let Some(&key) = self.by_id.get(&id) else { return };
        let session = &mut self.sessions[key];
        // Keys are never replaced: the same ones again would start their indexes anew.
        if session.inbound.is_some() {
            return;
        }
        let Ok((inbound, outbound)) = both_directions(keying) else { return };
        session.inbound = Some(inbound);
        self.rooms[session.room].peers[session.peer].outbound = Some(outbound);
        self.connect(key, now);
    }

    /// Media can flow from now on.
    pub(super) fn connect(&mut self, key: usize, now: Timestamp) {
        let sessions = self.sessions.len();
        let session = &mut self.sessions[key];
        session.connected = true;
        session.reports_at = super::report::next_at(now, sessions);
        self.reschedule(key);
        self.emit_status(key);
    }

    pub(super) fn send_dtls<T: Transmit>(&mut self, id: SessionId, datagram: &[u8], out: &mut T) {
        let Some(&key) = self.by_id.get(&id) else { return };
        let session = &self.sessions[key];
        let peer = &mut self.rooms[session.room].peers[session.peer];
        let outcome = match (&peer.destination, out.reserve()) {
            (None, _) => Err(DropReason::NoDestination),
            (Some(_), None) => Err(DropReason::TransmitFull),
            (Some(_), Some(_)) if datagram.len() > MAX_DATAGRAM => Err(DropReason::Oversize),
            (Some(destination), Some(buffer)) => {
                buffer[..datagram.len()].copy_from_slice(datagram);
                out.commit(datagram.len(), destination);
                peer.bytes_out += datagram.len() as u64;
                Ok(())
            }
        };
        match outcome {
            Ok(()) => self.counters.sent(datagram.len()),
            Err(reason) => self.counters.drops.count(reason),
        }
    }

    pub(super) fn set_flags(&mut self, id: SessionId, change: FlagsChange) {
        let Some(&key) = self.by_id.get(&id) else { return };
        let session = &mut self.sessions[key];
        let flags = change.apply(session.flags);
        if session.flags == flags {
            return;
        }
        session.flags = flags;
        let kinds: Vec<_> = match flags.no_stream {
            true => session.producers.iter().flatten().map(|producer| producer.kind).collect(),
            false => Vec::new(),
        };
        for kind in kinds.into_iter().filter(|kind| *kind != SourceKind::Microphone) {
            self.end_producer(key, kind);
        }
        let session = &self.sessions[key];
        let room = &mut self.rooms[session.room];
        room.peers[session.peer].set_flags(flags);
        if flags.muted() {
            room.silence(session.peer);
            // Who was on the list of speakers leaves it at the next look.
            self.room_deadlines.set_earlier(session.room, Timestamp::ZERO);
        }
        self.emit_status(key);
    }

    /// Ends a session and everything that refers to it.
    pub(super) fn close(&mut self, key: usize, reason: CloseReason, now: Timestamp) {
        self.leave_views(key, now);
        let kinds: Vec<_> =
            self.sessions[key].producers.iter().flatten().map(|producer| producer.kind).collect();
        for kind in kinds {
            self.end_producer(key, kind);
        }
        let session = self.sessions.remove(key);
        self.tell_watchers(session.room, session.id.source());
        for address in &session.addresses {
            self.addresses.remove(address, key);
        }
        let room = &mut self.rooms[session.room];
        room.silence(session.peer);
        room.peers.remove(session.peer);
        self.room_deadlines.set_earlier(session.room, now);
        self.session_deadlines.set(key, Timestamp::NEVER);
        self.report_deadlines.set(key, Timestamp::NEVER);
        self.by_id.remove(&session.id);
        if self.sessions.is_empty() {
            self.statistics.stop();
        }
        self.emit(Event::Closed { session: session.id, room: session.room_id, reason });
    }
}

fn both_directions(keying: &SrtpKeying) -> Result<(Inbound, Outbound), InvalidKeying> {
    Ok((Inbound::new(keying, Role::Server)?, Outbound::new(keying, Role::Server)?))
}
