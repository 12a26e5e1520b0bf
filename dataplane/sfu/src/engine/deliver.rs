//! A watched stream's packets on their way to who watches: to viewers here, and once to each other
//! part of the room that wants that layer. A packet that came from another part goes the same way
//! from its mirror on. Nothing here allocates.

use hype_protocol::link::{Media, Message};
use hype_protocol::media::{Codec, SourceKind};
use hype_protocol::observation::ViewState;
use slab::Slab;

use crate::congestion::missing::Arrival;
use crate::drop_reason::DropReason;
use crate::event::Event;
use crate::room::peer::Peer;
use crate::room::picture::Picture;
use crate::room::picture_copy::Plaintext;
use crate::room::producer::Viewer;
use crate::room::remote::Publisher;
use crate::room::viewer::{Extra, SoundPacket, VideoPacket};
use crate::time::Timestamp;
use crate::transmit::Transmit;

use super::counters::Counters;
use super::events::EventQueue;
use super::session::Role;
use super::{Engine, emit};

/// A video packet on its way from its stream to its viewers.
pub(super) struct Incoming<'a> {
    pub(super) role: Role,
    pub(super) codec: Codec,
    /// The number of the stream it belongs to (of the repaired one, for a retransmission).
    pub(super) index: u64,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
    pub(super) extra: Extra<'a>,
}

impl Engine {
    pub(super) fn forward_sound<T: Transmit>(
        &mut self,
        now: Timestamp,
        key: usize,
        packet: &SoundPacket<'_>,
        out: &mut T,
    ) -> Result<(), DropReason> {
        let kind = SourceKind::ScreenAudio;
        let session = &self.sessions[key];
        let producer = session.producer(kind).ok_or(DropReason::NotWatched)?;
        if producer.viewers.is_empty() && producer.far.is_empty() {
            return Err(DropReason::NotWatched);
        }
        if !producer.far.is_empty() {
            let media = Media {
                source: session.id.source(),
                kind,
                layer: 0,
                run: producer.run,
                stream: producer.layers[0].stream,
                codec: producer.codec,
                index: packet.index,
                timestamp: packet.timestamp,
                marker: packet.marker,
                newest: true,
                leapt: false,
                extra: 0,
            };
            self.send_afar(key, &media, [&[], packet.payload], out);
        }
        let session = &self.sessions[key];
        let producer = session.producer(kind).ok_or(DropReason::NotWatched)?;
        let peers = &mut self.rooms[session.room].peers;
        deliver_sound(&producer.viewers, peers, packet, now, &mut self.counters, out);
        Ok(())
    }

    pub(super) fn forward_video<T: Transmit>(
        &mut self,
        now: Timestamp,
        key: usize,
        packet: &Incoming<'_>,
        payload: &mut [u8],
        out: &mut T,
    ) -> Result<(), DropReason> {
        let Incoming { role, codec, index, .. } = *packet;
        let session = &mut self.sessions[key];
        let (room, peer, source) = (session.room, session.peer, session.id.source());
        let producer = session.producer_mut(role.kind).ok_or(DropReason::NotWatched)?;
        let run = producer.run_of(usize::from(role.layer));
        let layer =
            producer.layers.get_mut(usize::from(role.layer)).ok_or(DropReason::UnknownRid)?;
        if layer.missing.leaps(index) && !layer.restarts.is_ready(now) {
            return Err(DropReason::RestartTooSoon);
        }
        let arrival = layer.missing.note(index, now);
        match arrival {
            Arrival::Newest | Arrival::Recovered => {}
            Arrival::Duplicate => return Err(DropReason::Duplicate),
            Arrival::TooMuchLost => {
                layer.restarts.note(now);
                // Nothing that refers to the lost pictures can be shown.
                let publisher = Publisher::Here(peer);
                self.restart_viewers(room, publisher, role.kind, Some(role.layer));
                self.select_layers(room, publisher, role.kind, now);
            }
        }
        let producer = self.sessions[key].producer_mut(role.kind).ok_or(DropReason::NotWatched)?;
        let layer = &mut producer.layers[usize::from(role.layer)];
        let newest = arrival != Arrival::Recovered;
        let stream = layer.stream;
        let picture = read_picture(codec, payload, &packet.extra)?;
        if picture.key_frame_start && newest {
            layer.key_frame.settle();
        }
        let mut extra = [0; 255];
        let extra = packet.extra.encode(&mut extra);
        if let Some(cache) = &mut layer.cache {
            cache.insert(index, extra, payload);
        }
        let due = producer.feedback_due_at();
        if due != Timestamp::NEVER {
            self.session_deadlines.set_earlier(key, due);
        }
        if producer.viewers.is_empty() && producer.far.is_empty() {
            return Err(DropReason::NotWatched);
        }
        if producer.is_far_watched(role.layer) {
            let media = Media {
                source,
                kind: role.kind,
                layer: role.layer,
                run: producer.run,
                stream,
                codec,
                index,
                timestamp: packet.timestamp,
                marker: packet.marker,
                newest,
                leapt: arrival == Arrival::TooMuchLost,
                extra: (extra.len() & 0xff) as u8,
            };
            self.send_afar(key, &media, [extra, payload], out);
        }
        let producer = self.sessions[key].producer(role.kind).ok_or(DropReason::NotWatched)?;
        let packet = VideoPacket {
            producer: producer.run,
            stream,
            run,
            layer: role.layer,
            codec,
            index,
            newest,
            timestamp: packet.timestamp,
            marker: packet.marker,
            csrc: source.0,
            picture,
            extra: packet.extra,
        };
        let peers = &mut self.rooms[room].peers;
        let told = (&mut self.events, &mut self.counters);
        deliver_video(&producer.viewers, peers, &packet, payload, now, told, out);
        Ok(())
    }

    /// Sends a packet to the other parts that watch its layer.
    fn send_afar<T: Transmit>(&mut self, key: usize, media: &Media, body: [&[u8]; 2], out: &mut T) {
        let session = &mut self.sessions[key];
        let (room, source) = (session.room, session.id.source());
        let untold = session
            .producer_mut(media.kind)
            .is_some_and(|producer| std::mem::take(&mut producer.untold));
        if untold {
            // What the packet belongs to is known there before it comes.
            self.tell_producers(room, source, out);
        }
        let Some(producer) = self.sessions[key].producer(media.kind) else { return };
        let Some(shared) = &self.rooms[room].shared else { return };
        for far in producer.far.iter().filter(|far| far.layers >> media.layer & 1 != 0) {
            let message = Message::Media(*media);
            let sent = shared.send(far.part, &message, body, &mut self.counters, out);
            if let Err(reason) = sent {
                self.counters.drops.count(reason);
            }
        }
    }

    /// A packet of a publisher in another part came.
    ///
    /// # Errors
    /// Why nobody got it.
    pub(super) fn handle_media<T: Transmit>(
        &mut self,
        room: usize,
        media: &Media,
        body: &mut [u8],
        now: Timestamp,
        out: &mut T,
    ) -> Result<(), DropReason> {
        let (extra, payload) =
            body.split_at_mut_checked(usize::from(media.extra)).ok_or(DropReason::LinkMalformed)?;
        let unknown = DropReason::LinkUnknown;
        let shared = self.rooms[room].shared.as_ref().ok_or(unknown)?;
        let key = shared.remote_of(media.source).ok_or(unknown)?;
        let publisher = Publisher::There(key);
        if media.leapt {
            self.restart_viewers(room, publisher, media.kind, Some(media.layer));
            self.select_layers(room, publisher, media.kind, now);
        }
        let room_state = &mut self.rooms[room];
        let shared = room_state.shared.as_mut().ok_or(unknown)?;
        let mirror = shared.remotes[key].mirror_mut(media.kind).ok_or(unknown)?;
        let (known, producer) = (mirror.run, &mut mirror.producer);
        let layer = producer.layers.get_mut(usize::from(media.layer)).ok_or(unknown)?;
        // How that stream stands is not told yet, or it has ended.
        if known != media.run || layer.stream != media.stream || producer.codec != media.codec {
            return Err(unknown);
        }
        let peers = &mut room_state.peers;
        if media.kind.is_audio() {
            let packet = SoundPacket {
                run: producer.run_of(0),
                index: media.index,
                timestamp: media.timestamp,
                marker: media.marker,
                csrc: media.source.0,
                payload,
            };
            deliver_sound(&producer.viewers, peers, &packet, now, &mut self.counters, out);
            return Ok(());
        }
        let fields = Extra::decode(extra);
        let picture = read_picture(media.codec, payload, &fields)?;
        if picture.key_frame_start && media.newest {
            layer.key_frame.settle();
        }
        if let Some(cache) = &mut layer.cache {
            cache.insert(media.index, extra, payload);
        }
        let packet = VideoPacket {
            producer: producer.run,
            stream: media.stream,
            run: producer.run_of(usize::from(media.layer)),
            layer: media.layer,
            codec: media.codec,
            index: media.index,
            newest: media.newest,
            timestamp: media.timestamp,
            marker: media.marker,
            csrc: media.source.0,
            picture,
            extra: fields,
        };
        let told = (&mut self.events, &mut self.counters);
        deliver_video(&producer.viewers, peers, &packet, payload, now, told, out);
        Ok(())
    }
}

fn read_picture(codec: Codec, payload: &[u8], extra: &Extra<'_>) -> Result<Picture, DropReason> {
    if payload.is_empty() {
        // Padding takes a sequence number all the same, so viewers get it too.
        return Ok(Picture::default());
    }
    Picture::read(codec, payload, extra.dependency_descriptor)
        .map_err(|_| DropReason::PayloadMalformed)
}

fn deliver_sound<T: Transmit>(
    viewers: &[Viewer],
    peers: &mut Slab<Peer>,
    packet: &SoundPacket<'_>,
    now: Timestamp,
    counters: &mut Counters,
    out: &mut T,
) {
    for viewer in viewers {
        let Some(peer) = peers.get_mut(viewer.peer) else { continue };
        if peer.flags.deafened() {
            continue;
        }
        if let Err(reason) = peer.send_sound(viewer.slot, packet, now, counters, out) {
            counters.drops.count(reason);
        }
    }
}

fn deliver_video<T: Transmit>(
    viewers: &[Viewer],
    peers: &mut Slab<Peer>,
    packet: &VideoPacket<'_>,
    payload: &[u8],
    now: Timestamp,
    (events, counters): (&mut EventQueue, &mut Counters),
    out: &mut T,
) {
    if viewers.is_empty() {
        return;
    }
    let mut plaintext = match Plaintext::new(None, payload) {
        Ok(plaintext) => plaintext,
        Err(reason) => return counters.drops.count(reason),
    };
    for viewer in viewers {
        let Some(peer) = peers.get_mut(viewer.peer) else { continue };
        match peer.send_video(viewer.slot, packet, &mut plaintext, now, counters, out) {
            Ok(true) => {
                let slot = usize::from(viewer.slot);
                if peer.video[slot].set_state(Some(ViewState::Live)) {
                    let (session, slot) = (peer.id, viewer.slot);
                    let event = Event::View { session, slot, state: ViewState::Live };
                    emit(events, counters, event);
                }
            }
            // Of a simulcast producer each viewer gets one layer: that is no drop.
            Ok(false) | Err(DropReason::NotWatched) => {}
            Err(reason) => counters.drops.count(reason),
        }
    }
}
