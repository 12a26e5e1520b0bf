//! One part of a room: its peers, and how one peer's streams reach the others.
//! Producers (streams coming in) live with their sessions, consumers (streams going out) with
//! their peers. Of a room with several parts, part 0 (the core) chooses the speakers: the others
//! send up their loudest and fan out what comes down. Nothing here reads a socket or a clock.

pub(crate) mod consumer;
mod fan_out;
mod forward;
pub(crate) mod header;
pub(crate) mod keyframe;
pub(crate) mod layer_selector;
pub(crate) mod part;
pub(crate) mod peer;
pub(crate) mod picture;
pub(crate) mod picture_copy;
pub(crate) mod producer;
pub(crate) mod remote;
pub(crate) mod retransmission;
pub(crate) mod rewriter;
pub(crate) mod speaker;
pub(crate) mod viewer;

use std::time::Duration;

use hype_protocol::id::{Generation, PartId, RoomId, SourceId};
use hype_protocol::link::{Heard, Message, Spoken};
use slab::Slab;

use crate::command::Neighbour;
use crate::drop_reason::DropReason;
use crate::engine::counters::Counters;
use crate::engine::random::Random;
use crate::time::Timestamp;
use crate::transmit::Transmit;

use consumer::VoiceConsumer;
use header::AudioFields;
use part::{CORE, Shared};
use peer::Peer;
use rewriter::Rewriter;
use speaker::{Activity, Candidate, Speakers, level_byte};

/// Between two lists of speakers of one room.
const SPEAKERS_INTERVAL: Duration = Duration::from_millis(100);
/// A frame of Opus: no voice slot's timestamp advances by less over a switch of speakers.
pub(crate) const AUDIO_FRAME: u32 = 960;

/// One part of a room.
pub(crate) struct Room {
    pub(crate) id: RoomId,
    pub(crate) generation: Generation,
    pub(crate) max_peers: u32,
    pub(crate) peers: Slab<Peer>,
    pub(crate) speakers: Speakers,
    /// The common stream of each voice slot.
    pub(crate) voice: Vec<Rewriter>,
    speakers_sent: Option<Timestamp>,
    /// None: this part is the whole room.
    pub(crate) shared: Option<Box<Shared>>,
}

/// A microphone's packet, decrypted.
pub(crate) struct VoicePacket<'a> {
    /// The number of the stream it belongs to; another one starts another run.
    pub(crate) run: u32,
    pub(crate) index: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) activity: Activity,
    pub(crate) payload: &'a [u8],
}

impl Room {
    /// An empty room.
    pub(crate) fn new(
        id: RoomId,
        generation: Generation,
        max_peers: u32,
        voice_slots: usize,
        random: &mut Random,
    ) -> Self {
        let mut slot =
            || Rewriter::new(48_000, AUDIO_FRAME, random.first_index(), random.next_u32());
        Self {
            id,
            generation,
            max_peers,
            peers: Slab::new(),
            speakers: Speakers::new(voice_slots),
            voice: (0..voice_slots).map(|_| slot()).collect(),
            speakers_sent: None,
            shared: None,
        }
    }

    /// Whose source that is.
    pub(crate) fn peer_of(&self, source: SourceId) -> Option<usize> {
        self.peers.iter().find(|(_, peer)| peer.source == source).map(|(key, _)| key)
    }

    /// Says which part this is, and where the others are.
    pub(crate) fn set_parts(
        &mut self,
        part: PartId,
        neighbours: Vec<Neighbour>,
        random: &mut Random,
    ) {
        match &mut self.shared {
            Some(shared) => {
                if shared.part != part {
                    // The slots are made elsewhere now, or here: no run and no epoch from before
                    // goes on.
                    shared.renumber(part, random.next_u32());
                    self.voice.iter_mut().for_each(Rewriter::end_run);
                }
                shared.set_neighbours(neighbours);
            }
            None if neighbours.is_empty() && part == CORE => return,
            None => {
                let epoch = random.next_u32();
                let slots = self.voice.len();
                let shared = Shared::new(self.id, part, neighbours, epoch, slots);
                self.shared = Some(Box::new(shared));
            }
        }
        let Some(shared) = &self.shared else { return };
        if shared.is_core() {
            self.speakers.reserve_talkers(shared.max_talkers());
        }
        for place in shared.lost_talkers() {
            self.remove(Candidate::Talker(place));
        }
    }

    /// Takes a peer's voice out of the room: it left or was muted.
    pub(crate) fn silence(&mut self, peer: usize) {
        let held = self.remove(Candidate::Peer(peer));
        let source = self.peers[peer].source;
        if let Some(shared) = &mut self.shared
            && held
            && !shared.is_core()
        {
            shared.silenced.push(source);
            shared.tell_at(Timestamp::ZERO);
        }
    }

    /// Somebody in another part is silent from now on.
    pub(crate) fn silence_talker(&mut self, source: SourceId, part: PartId) {
        let place = self.shared.as_ref().and_then(|shared| shared.known_talker(source, part));
        if let Some(place) = place {
            self.remove(Candidate::Talker(place));
        }
    }

    /// True when that freed a slot.
    fn remove(&mut self, who: Candidate) -> bool {
        let slot = self.speakers.remove(who);
        if let Some(slot) = slot {
            // What is sent later is another run: what was sent meanwhile is no loss.
            self.voice[usize::from(slot)].end_run();
        }
        slot.is_some()
    }

    /// Sends one microphone packet of `from` to all others: in this part, and in others.
    ///
    /// # Errors
    /// Why nobody got it.
    pub(crate) fn forward_voice<T: Transmit>(
        &mut self,
        from: usize,
        packet: &VoicePacket<'_>,
        now: Timestamp,
        counters: &mut Counters,
        out: &mut T,
    ) -> Result<(), DropReason> {
        let who = Candidate::Peer(from);
        let slot =
            self.speakers.observe(who, packet.activity, now).ok_or(DropReason::NotSelected)?;
        let source = self.peers[from].source;
        match &self.shared {
            // This part's loudest go up; the core says whom of them everybody hears.
            Some(shared) if !shared.is_core() => {
                let VoicePacket { run, index, timestamp, marker, activity, payload } = *packet;
                let spoken = Spoken { source, run, index, timestamp, marker, activity };
                shared.send(CORE, &Message::Spoken(spoken), [payload, &[]], counters, out)
            }
            Some(_) | None => {
                // Runs of peers and of talkers never have the same number: see below.
                let run = u64::from(packet.run) << 32 | from as u64 & 0x7fff_ffff;
                self.send_voice(slot, source, run, packet, now, counters, out)
            }
        }
    }

    /// One of another part's loudest spoke: he takes part in the choice like everybody here.
    ///
    /// # Errors
    /// Why nobody got it.
    pub(crate) fn handle_spoken<T: Transmit>(
        &mut self,
        part: PartId,
        source: SourceId,
        packet: &VoicePacket<'_>,
        now: Timestamp,
        counters: &mut Counters,
        out: &mut T,
    ) -> Result<(), DropReason> {
        let speakers = &self.speakers;
        let shared = self.shared.as_mut().filter(|shared| shared.is_core());
        let shared = shared.ok_or(DropReason::LinkUnknown)?;
        let holds = |place| speakers.holds_slot(Candidate::Talker(place));
        let (place, replaced) =
            shared.talker(source, part, now, holds).ok_or(DropReason::NotSelected)?;
        let who = Candidate::Talker(place);
        if replaced {
            self.remove(who);
        }
        let slot =
            self.speakers.observe(who, packet.activity, now).ok_or(DropReason::NotSelected)?;
        let run = u64::from(packet.run) << 32 | 1 << 31 | place as u64;
        self.send_voice(slot, source, run, packet, now, counters, out)
    }

    /// Places a packet in its slot's stream, and sends it to everybody but who speaks.
    #[expect(clippy::too_many_arguments, reason = "one packet's way, shared by both origins")]
    fn send_voice<T: Transmit>(
        &mut self,
        slot: u8,
        source: SourceId,
        run: u64,
        packet: &VoicePacket<'_>,
        now: Timestamp,
        counters: &mut Counters,
        out: &mut T,
    ) -> Result<(), DropReason> {
        let place = self.voice[usize::from(slot)]
            .place(run, packet.index, packet.timestamp, now)
            .ok_or(DropReason::BehindSwitch)?;
        let fields = AudioFields {
            marker: packet.marker || place.first,
            index: place.index,
            timestamp: place.timestamp,
            csrc: source.0,
            level: level_byte(packet.activity),
        };
        if let Some(shared) = &self.shared {
            let AudioFields { marker, index, timestamp, level, .. } = fields;
            let epoch = shared.epoch;
            let heard = Heard { epoch, slot, index, timestamp, marker, source, level };
            shared.send_all(&Message::Heard(heard), [packet.payload, &[]], counters, out);
        }
        self.fan_out(slot, &fields, packet.payload, counters, out);
        Ok(())
    }

    /// The core sent a packet of a slot: everybody here hears it, but who speaks.
    ///
    /// # Errors
    /// [`DropReason::LinkUnknown`] when this is the core.
    pub(crate) fn handle_heard<T: Transmit>(
        &mut self,
        heard: &Heard,
        payload: &[u8],
        now: Timestamp,
        counters: &mut Counters,
        out: &mut T,
    ) -> Result<(), DropReason> {
        let shared = self.shared.as_mut().filter(|shared| !shared.is_core());
        let shared = shared.ok_or(DropReason::LinkUnknown)?;
        if shared.note_core(heard.epoch) {
            // Another core's indexes have nothing to do with those before.
            let all = self.peers.iter_mut().flat_map(|(_, peer)| &mut peer.voice);
            all.for_each(VoiceConsumer::pause);
            self.voice.iter_mut().for_each(Rewriter::forget);
        }
        let stream =
            self.voice.get_mut(usize::from(heard.slot)).ok_or(DropReason::LinkMalformed)?;
        if !stream.follow(heard.index, heard.timestamp, now) {
            let slot = usize::from(heard.slot);
            let all = self.peers.iter_mut().filter_map(|(_, peer)| peer.voice.get_mut(slot));
            all.for_each(VoiceConsumer::pause);
        }
        let Heard { slot, index, timestamp, marker, source, level, .. } = *heard;
        let fields = AudioFields { marker, index, timestamp, csrc: source.0, level };
        self.fan_out(slot, &fields, payload, counters, out);
        Ok(())
    }

    /// When the list of speakers is to be looked at; [`Timestamp::NEVER`] while nobody speaks.
    pub(crate) fn speakers_due(&self, now: Timestamp) -> Timestamp {
        let told_here = self.shared.as_ref().is_none_or(|shared| shared.is_core());
        if !told_here || !self.speakers.is_active() {
            return Timestamp::NEVER;
        }
        self.speakers_sent.map_or(now, |sent| sent + SPEAKERS_INTERVAL).max(now)
    }

    /// The new list of speakers, loudest first, when it has changed.
    pub(crate) fn take_speakers(&mut self, now: Timestamp) -> Option<Vec<SourceId>> {
        self.speakers_sent = Some(now);
        if !self.speakers.refresh(now) {
            return None;
        }
        let (peers, shared) = (&self.peers, &self.shared);
        let sources = self.speakers.speaking().iter().filter_map(|who| match *who {
            Candidate::Peer(key) => peers.get(key).map(|peer| peer.source),
            Candidate::Talker(place) => shared.as_ref()?.talker_at(place),
        });
        Some(sources.collect())
    }
}
