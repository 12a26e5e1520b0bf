//! Pictures between the parts of a room. A part whose people want to see somebody asks for him,
//! first all other parts, then his own; that one answers how his streams stand, and sends what is
//! wanted. All of it is told again every half second while it holds, so a lost frame mends itself,
//! and a part that is gone is soon forgotten.

use hype_protocol::id::{PartId, SourceId};
use hype_protocol::link::{
    LayerState, MAX_LAYERS, Message, ProducerState, Producers, WATCHED, Want, Watch,
};
use hype_protocol::media::SourceKind;

use crate::room::part::{WATCH_LIFETIME, Watched};
use crate::room::producer::{Producer, Viewer};
use crate::room::remote::{ANSWER_PATIENCE, ASK_INTERVAL, Mirror, Publisher, Remote};
use crate::time::Timestamp;
use crate::transmit::Transmit;

use super::Engine;
use super::session::Session;

/// A publisher whom no part has answered for is asked for this many times less often.
const UNKNOWN: u32 = 2;

impl Engine {
    /// A slot wants to show somebody: unless he is here, other parts are asked for him.
    pub(super) fn seek(&mut self, room: usize, viewer: Viewer, source: SourceId, now: Timestamp) {
        let room_state = &mut self.rooms[room];
        if room_state.peer_of(source).is_some() {
            return;
        }
        let Some(shared) = &mut room_state.shared else { return };
        let key = shared
            .remote_of(source)
            .unwrap_or_else(|| shared.remotes.insert(Remote::new(source, now)));
        let remote = &mut shared.remotes[key];
        if !remote.slots.contains(&viewer) {
            remote.slots.push(viewer);
        }
        self.ask_now(room, key);
    }

    /// The room has other parts now: they are asked for those whom nobody here is.
    pub(super) fn seek_all(&mut self, room: usize, now: Timestamp) {
        if self.rooms[room].shared.is_none() {
            return;
        }
        let mut wanted = Vec::new();
        for (peer, state) in &self.rooms[room].peers {
            for (slot, consumer) in (0..).zip(&state.video) {
                wanted.extend(consumer.view.map(|view| (Viewer { peer, slot }, view.source)));
            }
        }
        for (viewer, source) in wanted {
            self.seek(room, viewer, source, now);
        }
    }

    /// A slot does not show him any more.
    pub(super) fn seek_no_more(&mut self, room: usize, viewer: Viewer, source: SourceId) {
        let Some(shared) = &mut self.rooms[room].shared else { return };
        let Some(key) = shared.remote_of(source) else { return };
        shared.remotes[key].slots.retain(|slot| *slot != viewer);
        self.ask_now(room, key);
    }

    /// His part is to be told at once what is wanted.
    pub(super) fn ask_now(&mut self, room: usize, remote: usize) {
        let Some(shared) = &mut self.rooms[room].shared else { return };
        let Some(remote) = shared.remotes.get_mut(remote) else { return };
        remote.ask_at = Timestamp::ZERO;
        shared.tell_at(Timestamp::ZERO);
        self.room_deadlines.set_earlier(room, Timestamp::ZERO);
    }

    /// Somebody's streams changed: the parts that watch are to be told.
    pub(super) fn tell_watchers(&mut self, room: usize, source: SourceId) {
        let Some(shared) = &mut self.rooms[room].shared else { return };
        let mut told = false;
        for watch in shared.watches.iter_mut().filter(|watch| watch.source == source) {
            watch.untold = true;
            told = true;
        }
        if told {
            shared.tell_at(Timestamp::ZERO);
            self.room_deadlines.set_earlier(room, Timestamp::ZERO);
        }
    }

    /// Tells what is due to other parts.
    pub(super) fn tell_parts<T: Transmit>(&mut self, room: usize, now: Timestamp, out: &mut T) {
        let Some(shared) = &mut self.rooms[room].shared else { return };
        shared.due_at = Timestamp::NEVER;
        while let Some(source) = shared.silenced.pop() {
            let message = Message::Silent(source);
            let core = crate::room::part::CORE;
            // A full link: its packets end all the same, and the slot is free a little later.
            if let Err(reason) = shared.send(core, &message, [&[]; 2], &mut self.counters, out) {
                self.counters.drops.count(reason);
            }
        }
        self.tell_wants(room, now, out);
        self.tell_all_producers(room, now, out);
    }

    /// Asks for what is watched here.
    fn tell_wants<T: Transmit>(&mut self, room: usize, now: Timestamp, out: &mut T) {
        let state = &mut self.rooms[room];
        let Some(shared) = &mut state.shared else { return };
        let keys: Vec<usize> = shared.remotes.iter().map(|(key, _)| key).collect();
        let mut lost = Vec::new();
        for key in keys {
            let remote = &mut shared.remotes[key];
            if remote.due_at() > now {
                let due = remote.due_at();
                shared.tell_at(due);
                continue;
            }
            if remote.part.is_some() && now.since(remote.answered_at) >= ANSWER_PATIENCE {
                lost.push(key);
                remote.part = None;
            }
            let wants = remote.take_wants(&state.peers, now);
            let unused = remote.slots.is_empty();
            let interval =
                if remote.part.is_some() { ASK_INTERVAL } else { ASK_INTERVAL * UNKNOWN };
            remote.ask_at = now + interval;
            let (due, part) = (remote.due_at(), remote.part);
            let message = Message::Watch(Watch { source: remote.source, wants });
            match part {
                Some(part) => {
                    let sent = shared.send(part, &message, [&[]; 2], &mut self.counters, out);
                    if let Err(reason) = sent {
                        self.counters.drops.count(reason);
                    }
                }
                None => shared.send_all(&message, [&[]; 2], &mut self.counters, out),
            }
            if unused {
                shared.remotes.remove(key);
            } else {
                shared.tell_at(due);
            }
        }
        for key in lost {
            self.end_mirrors(room, key);
        }
    }

    /// Tells how streams stand where that is due, and forgets who watches no more.
    fn tell_all_producers<T: Transmit>(&mut self, room: usize, now: Timestamp, out: &mut T) {
        let Some(shared) = &mut self.rooms[room].shared else { return };
        let mut sources: Vec<SourceId> = Vec::new();
        let mut expired = Vec::new();
        for watch in &shared.watches {
            if watch.expires_at <= now {
                expired.push((watch.part, watch.source));
            } else if watch.untold && !sources.contains(&watch.source) {
                sources.push(watch.source);
            }
        }
        for (part, source) in expired {
            self.unwatch(room, part, source, now);
        }
        for source in sources {
            self.tell_producers(room, source, out);
        }
        let state = &mut self.rooms[room];
        let Some(shared) = &mut state.shared else { return };
        // Who has left was told as such just now.
        let peers = &state.peers;
        shared
            .watches
            .retain(|watch| watch.untold || peers.iter().any(|(_, it)| it.source == watch.source));
        let due = shared
            .watches
            .iter()
            .map(|watch| if watch.untold { Timestamp::ZERO } else { watch.expires_at });
        if let Some(due) = due.min() {
            shared.tell_at(due);
        }
    }

    /// Tells the parts that watch somebody here how his streams stand.
    pub(super) fn tell_producers<T: Transmit>(
        &mut self,
        room: usize,
        source: SourceId,
        out: &mut T,
    ) {
        let state = &mut self.rooms[room];
        let session = state.peer_of(source).map(|peer| state.peers[peer].session);
        let session = session.and_then(|session| self.sessions.get(session));
        let all = Producers {
            source,
            present: session.is_some(),
            producers: WATCHED.map(|kind| session.and_then(|it| it.producer_state(kind))),
        };
        let Some(shared) = &mut state.shared else { return };
        for at in 0..shared.watches.len() {
            let Watched { part, source: watched, untold, .. } = shared.watches[at];
            if watched != source || !untold {
                continue;
            }
            let message = Message::Producers(all);
            match shared.send(part, &message, [&[]; 2], &mut self.counters, out) {
                Ok(()) => shared.watches[at].untold = false,
                // It stays untold, and is told in a moment.
                Err(reason) => self.counters.drops.count(reason),
            }
        }
    }

    /// Another part says what it wants of somebody here.
    pub(super) fn handle_watch(
        &mut self,
        room: usize,
        part: PartId,
        watch: &Watch,
        now: Timestamp,
    ) {
        let source = watch.source;
        let Some(peer) = self.rooms[room].peer_of(source) else { return };
        if !watch.wants.iter().any(|want| want.wanted) {
            self.unwatch(room, part, source, now);
            return;
        }
        let Some(shared) = &mut self.rooms[room].shared else { return };
        let wants = watch.wants;
        let watched =
            Watched { part, source, wants, expires_at: now + WATCH_LIFETIME, untold: true };
        match shared.watches.iter_mut().find(|it| it.part == part && it.source == source) {
            Some(known) => *known = watched,
            None => shared.watches.push(watched),
        }
        shared.tell_at(Timestamp::ZERO);
        self.room_deadlines.set_earlier(room, Timestamp::ZERO);
        for (kind, want) in WATCHED.into_iter().zip(wants) {
            self.apply_want(room, Publisher::Here(peer), part, kind, want, now);
        }
    }

    fn unwatch(&mut self, room: usize, part: PartId, source: SourceId, now: Timestamp) {
        let state = &mut self.rooms[room];
        let Some(shared) = &mut state.shared else { return };
        shared.watches.retain(|watch| watch.part != part || watch.source != source);
        let Some(peer) = state.peer_of(source) else { return };
        for kind in WATCHED {
            self.apply_want(room, Publisher::Here(peer), part, kind, Want::default(), now);
        }
    }

    fn apply_want(
        &mut self,
        room: usize,
        publisher: Publisher,
        part: PartId,
        kind: SourceKind,
        want: Want,
        now: Timestamp,
    ) {
        let Some(producer) = self.producer_of_mut(room, publisher, kind) else { return };
        if producer.set_far(part, if want.wanted { want.layers } else { 0 }) {
            self.select_layers(room, publisher, kind, now);
        }
        let Some(producer) = self.producer_of_mut(room, publisher, kind) else { return };
        for (bit, layer) in producer.layers.iter_mut().enumerate() {
            if layer.watched && want.key_frames >> bit & 1 != 0 {
                layer.key_frame.want();
            }
        }
        self.feedback_due(room, publisher, now);
    }

    /// A producer of somebody here started: parts that asked for it get it from now on.
    pub(super) fn show_afar(&mut self, key: usize, kind: SourceKind, now: Timestamp) {
        let session = &self.sessions[key];
        let (room, peer, source) = (session.room, session.peer, session.id.source());
        let Some(shared) = &self.rooms[room].shared else { return };
        let Some(place) = WATCHED.iter().position(|watched| *watched == kind) else { return };
        let of_his = shared.watches.iter().filter(|watch| watch.source == source);
        let wants: Vec<_> = of_his.map(|watch| (watch.part, watch.wants[place])).collect();
        for (part, want) in wants {
            self.apply_want(room, Publisher::Here(peer), part, kind, want, now);
        }
        self.tell_watchers(room, source);
    }

    /// Another part says how somebody's streams stand there.
    pub(super) fn handle_producers(
        &mut self,
        room: usize,
        part: PartId,
        all: &Producers,
        now: Timestamp,
    ) {
        let Some(shared) = &mut self.rooms[room].shared else { return };
        // Nobody here wants to see him any more: that was told, or he is forgotten there soon.
        let Some(key) = shared.remote_of(all.source) else { return };
        let remote = &mut shared.remotes[key];
        if !all.present {
            if remote.part == Some(part) {
                remote.part = None;
                self.end_mirrors(room, key);
            }
            return;
        }
        remote.part = Some(part);
        remote.answered_at = now;
        for (kind, state) in WATCHED.into_iter().zip(&all.producers) {
            let known = self.rooms[room]
                .shared
                .as_mut()
                .and_then(|shared| shared.remotes.get_mut(key)?.mirror_mut(kind));
            match (known, state) {
                (None, None) => {}
                (Some(mirror), Some(state)) if mirror.run == state.run => {
                    let (restarted, other_codec) = mirror.update(state);
                    let publisher = Publisher::There(key);
                    if other_codec {
                        self.restart_viewers(room, publisher, kind, None);
                    }
                    for (layer, _) in (0..).zip(restarted).filter(|(_, restarted)| *restarted) {
                        self.restart_viewers(room, publisher, kind, Some(layer));
                    }
                    self.select_layers(room, publisher, kind, now);
                }
                (known, state) => {
                    if known.is_some() {
                        self.end_mirror(room, key, kind);
                    }
                    if let Some(state) = state {
                        self.start_mirror(room, key, kind, state, now);
                    }
                }
            }
        }
    }

    fn start_mirror(
        &mut self,
        room: usize,
        remote: usize,
        kind: SourceKind,
        state: &ProducerState,
        now: Timestamp,
    ) {
        let number = self.next_producer;
        self.next_producer = self.next_producer.wrapping_add(1);
        let count = usize::from(state.count);
        let producer = Producer::new(number, kind, state.codec, count, now);
        let mut mirror = Mirror { run: state.run, producer, clocks: [None; MAX_LAYERS] };
        mirror.update(state);
        let Some(shared) = &mut self.rooms[room].shared else { return };
        let Some(there) = shared.remotes.get_mut(remote) else { return };
        there.producers[kind as usize] = Some(Box::new(mirror));
        let slots = there.slots.clone();
        for viewer in slots {
            self.join_view(room, viewer, kind, now);
        }
        // From here on only what is watched is wanted.
        self.ask_now(room, remote);
    }

    fn end_mirror(&mut self, room: usize, remote: usize, kind: SourceKind) {
        let Some(shared) = &mut self.rooms[room].shared else { return };
        let Some(there) = shared.remotes.get_mut(remote) else { return };
        let Some(mirror) = there.producers[kind as usize].take() else { return };
        self.release_viewers(room, kind, &mirror.producer.viewers);
        self.ask_now(room, remote);
    }

    fn end_mirrors(&mut self, room: usize, remote: usize) {
        for kind in WATCHED {
            self.end_mirror(room, remote, kind);
        }
    }
}

impl Session {
    /// How a producer stands, for other parts.
    fn producer_state(&self, kind: SourceKind) -> Option<ProducerState> {
        let producer = self.producer(kind)?;
        let mut layers = [LayerState::default(); MAX_LAYERS];
        for (number, (told, layer)) in (0..).zip(layers.iter_mut().zip(&producer.layers)) {
            let clock = self.clock(kind, number);
            *told = LayerState { flowing: layer.flowing, stream: layer.stream, clock };
        }
        let count = producer.layers.len().min(MAX_LAYERS);
        Some(ProducerState {
            run: producer.run,
            codec: producer.codec,
            count: (count & 0xff) as u8,
            layers,
        })
    }
}
