//! Who watches what: views come and go, producers start and end, layers are chosen. All of this
//! happens at control rate; packets only follow the lists that are kept here.

use hype_protocol::id::SessionId;
use hype_protocol::media::SourceKind;
use hype_protocol::observation::{View, ViewState};

use crate::event::Event;
use crate::room::layer_selector;
use crate::room::peer::payload_type;
use crate::room::producer::Viewer;
use crate::time::Timestamp;

use super::Engine;

impl Engine {
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
                let session = self.rooms[room].peers[publisher].session;
                self.select_layers(session, new.kind);
            }
            return;
        }
        self.leave_view(key, slot);
        self.rooms[room].peers[peer].set_view(usize::from(slot), view, &mut self.random);
        let Some(view) = view else { return };
        self.set_state(room, Viewer { peer, slot }, ViewState::Waiting);
        for kind in [view.kind, SourceKind::ScreenAudio] {
            self.join_view(room, Viewer { peer, slot }, kind, now);
        }
    }

    /// Puts a viewer on the list of the producer it asked for, if that runs.
    fn join_view(&mut self, room: usize, viewer: Viewer, kind: SourceKind, now: Timestamp) {
        let peers = &mut self.rooms[room].peers;
        let Some(view) = peers[viewer.peer].video[usize::from(viewer.slot)].view else { return };
        let wanted =
            kind == view.kind || kind == SourceKind::ScreenAudio && view.kind == SourceKind::Screen;
        // Nobody sees or hears himself.
        let publisher = peers
            .iter()
            .find(|(key, peer)| peer.source == view.source && *key != viewer.peer)
            .map(|(key, peer)| (key, peer.session));
        let (true, Some((publisher, session))) = (wanted, publisher) else { return };
        let Some(producer) = self.sessions[session].producer_mut(kind) else { return };
        if !producer.viewers.contains(&viewer) {
            producer.viewers.push(viewer);
        }
        if !kind.is_audio() {
            peers[viewer.peer].video[usize::from(viewer.slot)].publisher = Some(publisher);
            self.select_layers(session, kind);
            let due = self.sessions[session].due_at();
            self.session_deadlines.set_earlier(session, due.max(now));
        }
    }

    /// Takes one slot of a session off the lists of what it watches.
    fn leave_view(&mut self, key: usize, slot: u8) {
        let (room, peer) = (self.sessions[key].room, self.sessions[key].peer);
        let viewer = Viewer { peer, slot };
        let Some(view) = self.rooms[room].peers[peer].video[usize::from(slot)].view else { return };
        let Some(publisher) = self.rooms[room].peer_of(view.source) else { return };
        let session = self.rooms[room].peers[publisher].session;
        for kind in [view.kind, SourceKind::ScreenAudio] {
            if let Some(producer) = self.sessions[session].producer_mut(kind) {
                producer.viewers.retain(|other| *other != viewer);
            }
        }
        self.select_layers(session, view.kind);
    }

    /// Takes a session that ends off the lists of all that it watches.
    pub(super) fn leave_views(&mut self, key: usize, _now: Timestamp) {
        let (room, peer) = (self.sessions[key].room, self.sessions[key].peer);
        for slot in 0..self.rooms[room].peers[peer].video.len() {
            self.leave_view(key, (slot & 0xff) as u8);
            self.rooms[room].peers[peer].video[slot].end_view();
        }
    }

    /// A producer started: whoever asked for it before is shown it now.
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
    }

    /// A producer ended: its viewers wait for the next one.
    pub(super) fn end_producer(&mut self, key: usize, kind: SourceKind) {
        let session = &mut self.sessions[key];
        let Some(producer) = session.producers[kind as usize].take() else { return };
        let room = session.room;
        for viewer in producer.viewers {
            let Some(peer) = self.rooms[room].peers.get_mut(viewer.peer) else { continue };
            let Some(consumer) = peer.video.get_mut(usize::from(viewer.slot)) else { continue };
            if kind.is_audio() {
                consumer.pause_sound();
            } else {
                consumer.stop();
                self.set_state(room, viewer, ViewState::Waiting);
            }
        }
    }

    /// A layer's stream (none: every layer's) does not go on: its viewers wait for a key frame.
    pub(super) fn restart_viewers(&mut self, key: usize, kind: SourceKind, layer: Option<u8>) {
        let session = &self.sessions[key];
        let Some(producer) = session.producer(kind) else { return };
        let room = &mut self.rooms[session.room];
        for viewer in &producer.viewers {
            let Some(peer) = room.peers.get_mut(viewer.peer) else { continue };
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
    pub(super) fn select_layers(&mut self, key: usize, kind: SourceKind) {
        if kind.is_audio() {
            return;
        }
        let Some(producer) = self.sessions[key].producer(kind) else { return };
        let room = self.sessions[key].room;
        let (codec, flowing) = (producer.codec, producer.flowing());
        let flowing = &flowing[..producer.layers.len()];
        let viewers = producer.viewers.clone();
        let (mut watched, mut needs_key_frame) = ([false; 3], [false; 3]);
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
        let Some(producer) = self.sessions[key].producer_mut(kind) else { return };
        producer.set_watched(watched);
        for (layer, needs) in producer.layers.iter_mut().zip(needs_key_frame) {
            if needs {
                layer.key_frame.want();
            }
        }
        self.session_deadlines.set_earlier(key, self.sessions[key].due_at());
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
