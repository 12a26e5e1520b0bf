//! Who watches what: views come and go, producers start and end, layers are chosen. All of this
//! happens at control rate; packets only follow the lists that are kept here. A publisher may be
//! in another part of the room: then its mirror here has the viewers.

use hype_protocol::id::{SessionId, SourceId};
use hype_protocol::media::SourceKind;
use hype_protocol::observation::{View, ViewState};

use crate::event::Event;
use crate::room::Room;
use crate::room::layer_selector;
use crate::room::peer::payload_type;
use crate::room::producer::{Producer, Viewer};
use crate::room::remote::Publisher;
use crate::time::Timestamp;

use super::Engine;

impl Room {
    /// Where the publisher with that source is: here, or in another part that was asked for it.
    pub(super) fn publisher_of(&self, source: SourceId) -> Option<Publisher> {
        let there = || self.shared.as_ref()?.remote_of(source).map(Publisher::There);
        self.peer_of(source).map(Publisher::Here).or_else(there)
    }
}

impl Engine {
    /// A publisher's producer of a kind.
    pub(super) fn producer_of(
        &self,
        room: usize,
        publisher: Publisher,
        kind: SourceKind,
    ) -> Option<&Producer> {
        let room = self.rooms.get(room)?;
        match publisher {
            Publisher::Here(peer) => {
                self.sessions.get(room.peers.get(peer)?.session)?.producer(kind)
            }
            Publisher::There(key) => {
                let remote = room.shared.as_ref()?.remotes.get(key)?;
                remote.mirror(kind).map(|mirror| &mirror.producer)
            }
        }
    }

    /// A publisher's producer of a kind.
    pub(super) fn producer_of_mut(
        &mut self,
        room: usize,
        publisher: Publisher,
        kind: SourceKind,
    ) -> Option<&mut Producer> {
        let room = self.rooms.get_mut(room)?;
        match publisher {
            Publisher::Here(peer) => {
                self.sessions.get_mut(room.peers.get(peer)?.session)?.producer_mut(kind)
            }
            Publisher::There(key) => {
                let remote = room.shared.as_mut()?.remotes.get_mut(key)?;
                remote.mirror_mut(kind).map(|mirror| &mut mirror.producer)
            }
        }
    }

    /// A publisher's feedback may be due: his session's timer, or the room's for one elsewhere.
    pub(super) fn feedback_due(&mut self, room: usize, publisher: Publisher, now: Timestamp) {
        match publisher {
            Publisher::Here(peer) => {
                let Some(peer) = self.rooms[room].peers.get(peer) else { return };
                let due = self.sessions[peer.session].due_at();
                self.session_deadlines.set_earlier(peer.session, due.max(now));
            }
            Publisher::There(key) => {
                let Some(shared) = &mut self.rooms[room].shared else { return };
                let Some(remote) = shared.remotes.get(key) else { return };
                let due = remote.due_at();
                shared.tell_at(due);
                self.room_deadlines.set_earlier(room, due.max(now));
            }
        }
    }

    pub(super) fn set_view(&mut self, id: SessionId, slot: u8, view: Option<View>, now: Timestamp) {
        let Some(&key) = self.by_id.get(&id) else { return };
        let (room, peer) = (self.sessions[key].room, self.sessions[key].peer);
        let Some(consumer) = self.rooms[room].peers[peer].video.get_mut(usize::from(slot)) else {
            return;
        };
        // Sound is never viewed on its own.
        let view = view.filter(|view| !view.kind.is_audio());
        let same = |old: View, new: View| old.source == new.source && old.kind == new.kind;
        if let (Some(old), Some(new)) = (consumer.view, view)
            && same(old, new)
        {
            // Only the size changed: the picture goes on.
            consumer.view = view;
            if let Some(publisher) = consumer.publisher {
                self.select_layers(room, publisher, new.kind, now);
            }
            return;
        }
        self.leave_view(key, slot, now);
        self.rooms[room].peers[peer].set_view(usize::from(slot), view, &mut self.random);
        let Some(view) = view else { return };
        let viewer = Viewer { peer, slot };
        self.set_state(room, viewer, ViewState::Waiting);
        self.seek(room, viewer, view.source, now);
        for kind in [view.kind, SourceKind::ScreenAudio] {
            self.join_view(room, viewer, kind, now);
        }
    }

    /// Puts a viewer on the list of the producer it asked for, if that runs.
    pub(super) fn join_view(
        &mut self,
        room: usize,
        viewer: Viewer,
        kind: SourceKind,
        now: Timestamp,
    ) {
        let peers = &self.rooms[room].peers;
        let consumer =
            peers.get(viewer.peer).and_then(|peer| peer.video.get(usize::from(viewer.slot)));
        let Some(view) = consumer.and_then(|consumer| consumer.view) else { return };
        let wanted =
            kind == view.kind || kind == SourceKind::ScreenAudio && view.kind == SourceKind::Screen;
        // Nobody sees or hears himself.
        let publisher = self.rooms[room]
            .publisher_of(view.source)
            .filter(|publisher| *publisher != Publisher::Here(viewer.peer));
        let (true, Some(publisher)) = (wanted, publisher) else { return };
        let Some(producer) = self.producer_of_mut(room, publisher, kind) else { return };
        if !producer.viewers.contains(&viewer) {
            producer.viewers.push(viewer);
        }
        if !kind.is_audio() {
            let peer = &mut self.rooms[room].peers[viewer.peer];
            peer.video[usize::from(viewer.slot)].publisher = Some(publisher);
            self.select_layers(room, publisher, kind, now);
        }
        self.feedback_due(room, publisher, now);
    }

    /// Takes one slot of a session off the lists of what it watches.
    fn leave_view(&mut self, key: usize, slot: u8, now: Timestamp) {
        let (room, peer) = (self.sessions[key].room, self.sessions[key].peer);
        let viewer = Viewer { peer, slot };
        let Some(view) = self.rooms[room].peers[peer].video[usize::from(slot)].view else { return };
        if let Some(publisher) = self.rooms[room].publisher_of(view.source) {
            for kind in [view.kind, SourceKind::ScreenAudio] {
                if let Some(producer) = self.producer_of_mut(room, publisher, kind) {
                    producer.viewers.retain(|other| *other != viewer);
                }
            }
            self.select_layers(room, publisher, view.kind, now);
        }
        self.seek_no_more(room, viewer, view.source);
    }

    /// Takes a session that ends off the lists of all that it watches.
    pub(super) fn leave_views(&mut self, key: usize, now: Timestamp) {
        let (room, peer) = (self.sessions[key].room, self.sessions[key].peer);
        for slot in 0..self.rooms[room].peers[peer].video.len() {
            self.leave_view(key, (slot & 0xff) as u8, now);
            self.rooms[room].peers[peer].video[slot].end_view();
        }
    }

    /// A producer of somebody here started: whoever asked for it before is shown it now.
    pub(super) fn show_producer(&mut self, key: usize, kind: SourceKind, now: Timestamp) {
        let (room, source) = (self.sessions[key].room, self.sessions[key].id.source());
        let mut viewers = Vec::new();
        for (peer, state) in &self.rooms[room].peers {
            for (slot, consumer) in (0..).zip(&state.video) {
                if consumer.view.is_some_and(|view| view.source == source) {
                    viewers.push(Viewer { peer, slot });
                }
            }
        }
        for viewer in viewers {
            self.join_view(room, viewer, kind, now);
        }
        self.show_afar(key, kind, now);
    }

    /// A producer of somebody here ended: its viewers wait for the next one.
    pub(super) fn end_producer(&mut self, key: usize, kind: SourceKind) {
        let session = &mut self.sessions[key];
        let Some(producer) = session.producers[kind as usize].take() else { return };
        let (room, source) = (session.room, session.id.source());
        self.release_viewers(room, kind, &producer.viewers);
        self.tell_watchers(room, source);
    }

    /// What they were shown has ended.
    pub(super) fn release_viewers(&mut self, room: usize, kind: SourceKind, viewers: &[Viewer]) {
        for viewer in viewers {
            let Some(peer) = self.rooms[room].peers.get_mut(viewer.peer) else { continue };
            let Some(consumer) = peer.video.get_mut(usize::from(viewer.slot)) else { continue };
            if kind.is_audio() {
                consumer.pause_sound();
            } else {
                consumer.stop();
                self.set_state(room, *viewer, ViewState::Waiting);
            }
        }
    }

    /// A layer's stream (none: every layer's) does not go on: its viewers wait for a key frame.
    pub(super) fn restart_viewers(
        &mut self,
        room: usize,
        publisher: Publisher,
        kind: SourceKind,
        layer: Option<u8>,
    ) {
        let Some(producer) = self.producer_of(room, publisher, kind) else { return };
        let viewers = producer.viewers.clone();
        for viewer in viewers {
            let Some(peer) = self.rooms[room].peers.get_mut(viewer.peer) else { continue };
            let Some(consumer) = peer.video.get_mut(usize::from(viewer.slot)) else { continue };
            if kind.is_audio() {
                consumer.pause_sound();
            } else if layer.is_none() || consumer.current == layer {
                consumer.current = None;
                if let Some(flow) = &mut consumer.flow {
                    flow.rewriter.end_run();
                }
            }
        }
    }

    /// Chooses each viewer's layer among those that flow, and asks for the key frames at which
    /// viewers can switch.
    pub(super) fn select_layers(
        &mut self,
        room: usize,
        publisher: Publisher,
        kind: SourceKind,
        now: Timestamp,
    ) {
        if kind.is_audio() {
            return;
        }
        let Some(producer) = self.producer_of(room, publisher, kind) else { return };
        let (codec, flowing) = (producer.codec, producer.flowing());
        let flowing = &flowing[..producer.layers.len().min(flowing.len())];
        let viewers = producer.viewers.clone();
        let mut watched: [bool; layer_selector::MAX_LAYERS] =
            std::array::from_fn(|layer| producer.is_far_watched((layer & 0xff) as u8));
        let mut needs_key_frame = [false; layer_selector::MAX_LAYERS];
        for viewer in viewers {
            let Some(peer) = self.rooms[room].peers.get_mut(viewer.peer) else { continue };
            let decodes = payload_type(&peer.receives, codec).is_some();
            let Some(consumer) = peer.video.get_mut(usize::from(viewer.slot)) else { continue };
            if !decodes {
                consumer.current = None;
                consumer.target = None;
                self.set_state(room, viewer, ViewState::CodecUnsupported);
                continue;
            }
            let height = consumer.view.and_then(|view| view.height);
            let wanted = layer_selector::wanted(kind, flowing.len(), height);
            if let Some(layer) = layer_selector::choose(wanted, flowing) {
                consumer.target = Some((layer & 0xff) as u8);
                needs_key_frame[layer] |= consumer.current != consumer.target;
            }
            for layer in [consumer.current, consumer.target].into_iter().flatten() {
                watched[usize::from(layer)] = true;
            }
            if consumer.current.is_none() {
                self.set_state(room, viewer, ViewState::Waiting);
            }
        }
        let Some(producer) = self.producer_of_mut(room, publisher, kind) else { return };
        let changed = producer.set_watched(watched);
        for (layer, needs) in producer.layers.iter_mut().zip(needs_key_frame) {
            if needs {
                layer.key_frame.want();
            }
        }
        if changed && let Publisher::There(remote) = publisher {
            self.ask_now(room, remote);
        }
        self.feedback_due(room, publisher, now);
    }

    /// Sets a slot's state and tells the agent when it changed.
    fn set_state(&mut self, room: usize, viewer: Viewer, state: ViewState) {
        let Some(peer) = self.rooms[room].peers.get_mut(viewer.peer) else { return };
        let Some(consumer) = peer.video.get_mut(usize::from(viewer.slot)) else { return };
        if consumer.set_state(Some(state)) {
            let session = peer.id;
            self.emit(Event::View { session, slot: viewer.slot, state });
        }
    }
}
