//! One part of a room: its peers, and how one peer's streams reach the others.
//! Producers (streams coming in) live with their sessions, consumers (streams going out) with
//! their peers. Nothing here reads a socket, a clock, or another room.

pub(crate) mod consumer;
mod fan_out;
mod forward;
pub(crate) mod header;
pub(crate) mod keyframe;
pub(crate) mod layer_selector;
pub(crate) mod peer;
pub(crate) mod picture;
mod picture_copy;
pub(crate) mod producer;
pub(crate) mod retransmission;
pub(crate) mod rewriter;
pub(crate) mod speaker;
pub(crate) mod viewer;

use std::time::Duration;

use hype_protocol::id::{Generation, RoomId, SourceId};
use slab::Slab;

use crate::drop_reason::DropReason;
use crate::engine::counters::Counters;
use crate::engine::random::Random;
use crate::time::Timestamp;
use crate::transmit::Transmit;

use header::AudioFields;
use peer::Peer;
use rewriter::Rewriter;
use speaker::{Activity, Speakers};

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
}

/// A microphone's packet, decrypted.
pub(crate) struct VoicePacket<'a> {
    /// The stream it belongs to; another one starts another run.
    pub(crate) run: u64,
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
        }
    }

    /// Whose source that is.
    pub(crate) fn peer_of(&self, source: SourceId) -> Option<usize> {
        self.peers.iter().find(|(_, peer)| peer.source == source).map(|(key, _)| key)
    }

    /// Takes a peer's voice out of the room: it left or was muted.
    pub(crate) fn silence(&mut self, peer: usize) {
        if let Some(slot) = self.speakers.remove(peer) {
            // Whatever this peer sends later is another run: what it sent meanwhile is no loss.
            self.voice[usize::from(slot)].end_run();
        }
    }

    /// Sends one microphone packet of `from` to all others.
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
        let slot =
            self.speakers.observe(from, packet.activity, now).ok_or(DropReason::NotSelected)?;
        let place = self.voice[usize::from(slot)]
            .place(packet.run, packet.index, packet.timestamp, now)
            .ok_or(DropReason::BehindSwitch)?;
        let fields = AudioFields {
            marker: packet.marker || place.first,
            index: place.index,
            timestamp: place.timestamp,
            csrc: self.peers[from].source.0,
            level: packet.activity.to_byte(),
        };
        self.fan_out(slot, &fields, packet.payload, counters, out);
        Ok(())
    }

    /// When the list of speakers is to be looked at; [`Timestamp::NEVER`] while nobody speaks.
    pub(crate) fn speakers_due(&self, now: Timestamp) -> Timestamp {
        if !self.speakers.is_active() {
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
        let peers = &self.peers;
        let sources = self.speakers.speaking().iter();
        Some(sources.filter_map(|key| peers.get(*key as usize)).map(|peer| peer.source).collect())
    }
}
