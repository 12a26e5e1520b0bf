//! What a room keeps when it has other parts, on other workers: where they are, who talks there
//! (at the core, which chooses the speakers of all), and which of our pictures they watch.
//! It holds no packets. Whatever was told by another part is forgotten unless it is told again.

use std::time::Duration;

use hype_protocol::id::{PartId, RoomId, SourceId};
use hype_protocol::link::{self, Message, Route, WATCHED, Want};
use slab::Slab;

use crate::command::Neighbour;
use crate::drop_reason::DropReason;
use crate::engine::counters::Counters;
use crate::time::Timestamp;
use crate::transmit::{LinkUse, Transmit};

use super::remote::Remote;

/// The part that chooses the speakers of the whole room.
pub(crate) const CORE: PartId = PartId(0);
/// People of other parts that the core remembers at once, for each voice slot: as many parts send
/// one at a time by each. Beyond that, who spoke longest ago gives way.
const TALKERS_PER_SLOT: usize = 16;
/// What a part watches here is forgotten when it was not told again for this long.
pub(crate) const WATCH_LIFETIME: Duration = Duration::from_secs(2);

/// Somebody in another part who was among its loudest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Talker {
    pub(crate) source: SourceId,
    pub(crate) part: PartId,
    last_at: Timestamp,
}

/// What another part wants of one of our publishers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched {
    pub(crate) part: PartId,
    pub(crate) source: SourceId,
    pub(crate) wants: [Want; WATCHED.len()],
    pub(crate) expires_at: Timestamp,
    /// It must be told how his streams stand.
    pub(crate) untold: bool,
}

/// A room's other parts, and what they and this one tell each other.
#[derive(Debug)]
pub(crate) struct Shared {
    room: RoomId,
    pub(crate) part: PartId,
    /// The other parts.
    neighbours: Vec<Neighbour>,
    /// Of this core's life.
    pub(crate) epoch: u32,
    /// Of the core's whose slots are heard here.
    core_epoch: Option<u32>,
    talkers: Vec<Talker>,
    max_talkers: usize,
    /// Who is to be told to the core as silent.
    pub(crate) silenced: Vec<SourceId>,
    /// Publishers elsewhere whom somebody here watches or waits for.
    pub(crate) remotes: Slab<Remote>,
    pub(crate) watches: Vec<Watched>,
    /// When something is to be told.
    pub(crate) due_at: Timestamp,
}

impl Shared {
    /// For the part of that number, of a room with so many voice slots.
    pub(crate) fn new(
        room: RoomId,
        part: PartId,
        neighbours: Vec<Neighbour>,
        epoch: u32,
        voice_slots: usize,
    ) -> Self {
        let max_talkers = TALKERS_PER_SLOT * voice_slots;
        Self {
            room,
            part,
            neighbours,
            epoch,
            core_epoch: None,
            talkers: Vec::with_capacity(max_talkers),
            max_talkers,
            silenced: Vec::new(),
            remotes: Slab::new(),
            watches: Vec::new(),
            due_at: Timestamp::NEVER,
        }
    }

    /// Whether the speakers are chosen here.
    pub(crate) fn is_core(&self) -> bool {
        self.part == CORE
    }

    /// This is another part of the room from now on, with another epoch should it be the core.
    pub(crate) fn renumber(&mut self, part: PartId, epoch: u32) {
        self.part = part;
        self.epoch = epoch;
        self.core_epoch = None;
    }

    /// The others are these now. What parts that are gone watched, or had, is soon forgotten.
    pub(crate) fn set_neighbours(&mut self, neighbours: Vec<Neighbour>) {
        self.neighbours = neighbours;
    }

    /// Who talks in parts that are gone, by their places.
    pub(crate) fn lost_talkers(&self) -> Vec<usize> {
        let places = self.talkers.iter().enumerate();
        let lost = places.filter(|(_, talker)| self.neighbour(talker.part).is_none());
        lost.map(|(place, _)| place).collect()
    }

    /// The most talkers.
    pub(crate) fn max_talkers(&self) -> usize {
        self.max_talkers
    }

    /// Where a part is.
    pub(crate) fn neighbour(&self, part: PartId) -> Option<&Neighbour> {
        self.neighbours.iter().find(|neighbour| neighbour.part == part)
    }

    /// The key of a publisher in another part whom somebody here watches.
    pub(crate) fn remote_of(&self, source: SourceId) -> Option<usize> {
        self.remotes.iter().find(|(_, remote)| remote.source == source).map(|(key, _)| key)
    }

    /// Something is to be told at `at`, or before.
    pub(crate) fn tell_at(&mut self, at: Timestamp) {
        self.due_at = self.due_at.min(at);
    }

    /// The place of somebody who speaks in another part, and the place of him who must give way
    /// for him. `keep` tells who must not. None: all must stay.
    pub(crate) fn talker(
        &mut self,
        source: SourceId,
        part: PartId,
        now: Timestamp,
        keep: impl Fn(usize) -> bool,
    ) -> Option<(usize, bool)> {
        let known = self.talkers.iter().position(|it| it.source == source && it.part == part);
        if let Some(place) = known {
            self.talkers[place].last_at = now;
            return Some((place, false));
        }
        let talker = Talker { source, part, last_at: now };
        if self.talkers.len() < self.max_talkers {
            self.talkers.push(talker);
            return Some((self.talkers.len() - 1, false));
        }
        let place = (0..self.talkers.len())
            .filter(|place| !keep(*place))
            .min_by_key(|place| self.talkers[*place].last_at)?;
        self.talkers[place] = talker;
        Some((place, true))
    }

    /// The place of a talker who is known.
    pub(crate) fn known_talker(&self, source: SourceId, part: PartId) -> Option<usize> {
        self.talkers.iter().position(|it| it.source == source && it.part == part)
    }

    /// Who has that place.
    pub(crate) fn talker_at(&self, place: usize) -> Option<SourceId> {
        self.talkers.get(place).map(|talker| talker.source)
    }

    /// Whether the core has begun another life since its last packet.
    pub(crate) fn note_core(&mut self, epoch: u32) -> bool {
        self.core_epoch.replace(epoch) != Some(epoch)
    }

    /// Sends a frame to one part.
    ///
    /// # Errors
    /// [`DropReason::LinkUnknown`] when there is no such part, [`DropReason::LinkFull`].
    pub(crate) fn send<T: Transmit>(
        &self,
        to: PartId,
        message: &Message,
        body: [&[u8]; 2],
        counters: &mut Counters,
        out: &mut T,
    ) -> Result<(), DropReason> {
        let neighbour = self.neighbour(to).ok_or(DropReason::LinkUnknown)?;
        self.send_to(neighbour, message, body, counters, out)
    }

    /// Sends a frame to all other parts; what finds no room is counted.
    pub(crate) fn send_all<T: Transmit>(
        &self,
        message: &Message,
        body: [&[u8]; 2],
        counters: &mut Counters,
        out: &mut T,
    ) {
        for neighbour in &self.neighbours {
            if let Err(reason) = self.send_to(neighbour, message, body, counters, out) {
                counters.drops.count(reason);
            }
        }
    }

    fn send_to<T: Transmit>(
        &self,
        to: &Neighbour,
        message: &Message,
        body: [&[u8]; 2],
        counters: &mut Counters,
        out: &mut T,
    ) -> Result<(), DropReason> {
        // What shows pictures gives way to voice, and to what keeps the parts in step.
        let usage = match message {
            Message::Media(_) => LinkUse::Picture,
            Message::Spoken(_)
            | Message::Silent(_)
            | Message::Heard(_)
            | Message::Watch(_)
            | Message::Producers(_) => LinkUse::Voice,
        };
        let buffer = out.reserve_link(to.link, usage).ok_or(DropReason::LinkFull)?;
        let route = Route { room: self.room, from: self.part, to: to.part };
        let len = link::write(buffer, &route, message, body).ok_or(DropReason::Oversize)?;
        out.commit_link(to.link, len);
        counters.link_frames_out += 1;
        Ok(())
    }
}
