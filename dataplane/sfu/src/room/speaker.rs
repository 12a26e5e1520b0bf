//! Which of a room's people are heard: as many speakers as there are slots, chosen by the RFC 6464 audio
//! level with hysteresis. A first packet claims a free slot at once; a silent holder gives way to
//! a voice; a talking one only to somebody clearly louder for a while.
//! People of other parts of the room take part as talkers, under keys of their own.
//! It holds no packets and no clock, and does not allocate once room for all is reserved.

use std::time::Duration;

pub(crate) use hype_protocol::link::Activity;

use crate::time::Timestamp;

/// Loudness is 127 minus the level of RFC 6464, so louder is greater: 77 is −50 dBov.
const VOICE_LOUDNESS: f32 = 77.0;
/// Where the sender's own detector says voice, this is enough: −60 dBov.
const DETECTED_VOICE_LOUDNESS: f32 = 67.0;
/// What a packet without a level counts as: −30 dBov.
const UNMEASURED_LOUDNESS: f32 = 97.0;
/// A holder keeps its slot for this long after its last voice.
const KEEP: Duration = Duration::from_millis(1500);
/// By how many dB a newcomer must be louder than the quietest talking holder …
const CLEARLY_LOUDER: f32 = 6.0;
/// … and for how long.
const CHALLENGE: Duration = Duration::from_millis(120);
/// How long somebody counts as speaking after the last voice.
const HANGOVER: Duration = Duration::from_millis(300);

/// The byte by which receivers are told (RFC 6464 §3).
pub(crate) fn level_byte(activity: Activity) -> u8 {
    match activity {
        Activity::Level(level, voice) => u8::from(voice) << 7 | level.min(127),
        Activity::Unmeasured => 0x80 | 30,
        Activity::Silence => 127,
    }
}

/// Who may be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// A peer of this part, by the room's key.
    Peer(usize),
    /// Somebody in another part, by his place among the room's talkers.
    Talker(usize),
}

#[derive(Debug, Clone, Copy)]
struct Speaker {
    /// Smoothed over about 200 ms, rising faster than it falls.
    loudness: f32,
    last_voice: Option<Timestamp>,
    louder_since: Option<Timestamp>,
    slot: Option<u8>,
    listed: bool,
}

const QUIET: Speaker =
    Speaker { loudness: 0.0, last_voice: None, louder_since: None, slot: None, listed: false };

/// The speakers of one room.
#[derive(Debug)]
pub(crate) struct Speakers {
    peers: Vec<Speaker>,
    talkers: Vec<Speaker>,
    /// Of each voice slot.
    owners: Vec<Option<Candidate>>,
    /// Whose last voice is not long ago.
    speaking: Vec<Candidate>,
    changed: bool,
}

impl Speakers {
    /// Nobody, with this many voice slots.
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            peers: Vec::new(),
            talkers: Vec::new(),
            owners: vec![None; slots],
            speaking: Vec::new(),
            changed: false,
        }
    }

    /// Makes room for peers with keys below `peers`.
    pub(crate) fn reserve(&mut self, peers: usize) {
        if peers > self.peers.len() {
            self.peers.resize(peers, QUIET);
            self.reserve_list();
        }
    }

    /// Makes room for talkers with places below `talkers`.
    pub(crate) fn reserve_talkers(&mut self, talkers: usize) {
        if talkers > self.talkers.len() {
            self.talkers.resize(talkers, QUIET);
            self.reserve_list();
        }
    }

    fn reserve_list(&mut self) {
        let all = self.peers.len() + self.talkers.len();
        self.speaking.reserve(all - self.speaking.len());
    }

    fn get_mut(&mut self, who: Candidate) -> Option<&mut Speaker> {
        match who {
            Candidate::Peer(key) => self.peers.get_mut(key),
            Candidate::Talker(key) => self.talkers.get_mut(key),
        }
    }

    /// A microphone packet came; returns the slot by which it is heard, if any.
    pub(crate) fn observe(
        &mut self,
        who: Candidate,
        activity: Activity,
        now: Timestamp,
    ) -> Option<u8> {
        let speaker = self.get_mut(who)?;
        let voice = speaker.note(activity, now);
        let held = speaker.slot;
        if voice && !speaker.listed {
            speaker.listed = true;
            self.speaking.push(who);
            self.changed = true;
        }
        if held.is_some() {
            return held;
        }
        let slot = self.claim(who, voice, now)?;
        if let Some(previous) = self.owners[slot].replace(who)
            && let Some(previous) = self.get_mut(previous)
        {
            previous.slot = None;
        }
        let speaker = self.get_mut(who)?;
        speaker.slot = Some(slot as u8);
        speaker.louder_since = None;
        speaker.slot
    }

    fn claim(&mut self, who: Candidate, voice: bool, now: Timestamp) -> Option<usize> {
        if let Some(free) = self.owners.iter().position(Option::is_none) {
            return Some(free);
        }
        if !voice {
            return None;
        }
        // Those silent for long give way first, the longest silent of them; one who never spoke
        // has been silent for ever.
        let holders = || {
            let owners = self.owners.iter().enumerate();
            owners.filter_map(|(slot, owner)| owner.map(|owner| (slot, *self.at(owner))))
        };
        let stale = holders()
            .filter(|(_, holder)| holder.last_voice.is_none_or(|last| now.since(last) >= KEEP))
            .min_by_key(|(_, holder)| holder.last_voice.unwrap_or(Timestamp::ZERO));
        if let Some((slot, _)) = stale {
            return Some(slot);
        }
        let (slot, quietest) =
            holders().min_by(|(_, a), (_, b)| a.loudness.total_cmp(&b.loudness))?;
        let challenger = self.get_mut(who)?;
        if challenger.loudness < quietest.loudness + CLEARLY_LOUDER {
            challenger.louder_since = None;
            return None;
        }
        let since = *challenger.louder_since.get_or_insert(now);
        (now.since(since) >= CHALLENGE).then_some(slot)
    }

    /// Whose key was given before.
    fn at(&self, who: Candidate) -> &Speaker {
        at(&self.peers, &self.talkers, who)
    }

    /// Whether somebody holds a slot.
    pub(crate) fn holds_slot(&self, who: Candidate) -> bool {
        self.owners.contains(&Some(who))
    }

    /// Somebody left or was muted; returns the slot that this freed.
    pub(crate) fn remove(&mut self, who: Candidate) -> Option<u8> {
        let speaker = std::mem::replace(self.get_mut(who)?, QUIET);
        if let Some(slot) = speaker.slot {
            self.owners[usize::from(slot)] = None;
        }
        if speaker.listed {
            self.speaking.retain(|other| *other != who);
            self.changed = true;
        }
        speaker.slot
    }

    /// Drops those who fell silent from the list; true when the list has changed since the last
    /// call that returned true.
    pub(crate) fn refresh(&mut self, now: Timestamp) -> bool {
        let (peers, talkers) = (&mut self.peers, &mut self.talkers);
        let before = self.speaking.len();
        self.speaking.retain(|who| {
            let speaker = match *who {
                Candidate::Peer(key) => &mut peers[key],
                Candidate::Talker(key) => &mut talkers[key],
            };
            speaker.listed = speaker.last_voice.is_some_and(|last| now.since(last) < HANGOVER);
            speaker.listed
        });
        self.changed |= self.speaking.len() != before;
        std::mem::take(&mut self.changed)
    }

    /// True while somebody speaks or the list has changed: [`Self::refresh`] is needed again.
    pub(crate) fn is_active(&self) -> bool {
        self.changed || !self.speaking.is_empty()
    }

    /// All who speak, loudest first.
    pub(crate) fn speaking(&mut self) -> &[Candidate] {
        let (peers, talkers) = (&self.peers, &self.talkers);
        let loudness = |who: &Candidate| at(peers, talkers, *who).loudness;
        self.speaking.sort_by(|a, b| loudness(b).total_cmp(&loudness(a)));
        &self.speaking
    }
}

fn at<'a>(peers: &'a [Speaker], talkers: &'a [Speaker], who: Candidate) -> &'a Speaker {
    match who {
        Candidate::Peer(key) => &peers[key],
        Candidate::Talker(key) => &talkers[key],
    }
}

impl Speaker {
    /// Returns whether the packet holds voice.
    fn note(&mut self, activity: Activity, now: Timestamp) -> bool {
        let (loudness, voice) = match activity {
            Activity::Level(level, detected) => {
                let loudness = 127.0 - f32::from(level.min(127));
                let least = if detected { DETECTED_VOICE_LOUDNESS } else { VOICE_LOUDNESS };
                (loudness, loudness >= least)
            }
            Activity::Unmeasured => (UNMEASURED_LOUDNESS, true),
            Activity::Silence => (0.0, false),
        };
        // At 50 packets a second these reach two thirds after 40 ms up and 180 ms down.
        let share = if loudness > self.loudness { 0.4 } else { 0.1 };
        self.loudness += (loudness - self.loudness) * share;
        if voice {
            self.last_voice = Some(now);
        }
        voice
    }
}

#[cfg(test)]
mod tests {
    use super::Candidate::{Peer, Talker};
    use super::*;

    const SLOTS: usize = hype_protocol::media::VOICE_SLOTS;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    const LOUD: Activity = Activity::Level(20, true);
    const NORMAL: Activity = Activity::Level(35, true);
    const NOISE: Activity = Activity::Level(80, false);

    fn room(peers: usize) -> Speakers {
        let mut speakers = Speakers::new(SLOTS);
        speakers.reserve(peers);
        speakers
    }

    #[test]
    fn the_first_packet_of_each_of_eight_claims_a_slot_and_keeps_it() {
        let mut speakers = room(8);
        for round in 0..10 {
            for peer in 0..8 {
                let slot = speakers.observe(Peer(peer), NORMAL, at(round * 20));
                assert_eq!(slot, Some(peer as u8));
            }
        }
    }

    #[test]
    fn a_voice_takes_a_silent_slot_at_once_and_noise_never_does() {
        let mut speakers = room(10);
        for ms in (0..3000).step_by(20) {
            for peer in 0..8 {
                let activity = if peer == 3 && ms > 200 { NOISE } else { NORMAL };
                speakers.observe(Peer(peer), activity, at(ms));
            }
        }
        assert_eq!(speakers.observe(Peer(9), NOISE, at(3000)), None);
        assert_eq!(speakers.observe(Peer(8), NORMAL, at(3000)), Some(3));
        assert_eq!(speakers.observe(Peer(3), NOISE, at(3010)), None);
    }

    #[test]
    fn a_talking_holder_gives_way_only_to_somebody_clearly_louder_for_a_while() {
        let mut speakers = room(9);
        let talk = |speakers: &mut Speakers, ms| {
            for peer in 0..8 {
                speakers.observe(Peer(peer), NORMAL, at(ms));
            }
        };
        for ms in (0..1000).step_by(20) {
            talk(&mut speakers, ms);
        }
        for ms in (1000..2000).step_by(20) {
            talk(&mut speakers, ms);
            assert_eq!(speakers.observe(Peer(8), NORMAL, at(ms)), None, "equally loud");
        }
        let mut taken = None;
        for ms in (2000..3000).step_by(20) {
            talk(&mut speakers, ms);
            if taken.is_none() && speakers.observe(Peer(8), LOUD, at(ms)).is_some() {
                taken = Some(ms);
            }
        }
        let taken = taken.expect("somebody 15 dB louder gets in");
        assert!((2120..2300).contains(&taken), "{taken}");
    }

    #[test]
    fn who_is_removed_frees_the_slot() {
        let mut speakers = room(9);
        for peer in 0..8 {
            speakers.observe(Peer(peer), NORMAL, at(0));
        }
        assert_eq!(speakers.observe(Peer(8), NORMAL, at(1)), None);
        speakers.remove(Peer(5));
        assert_eq!(speakers.observe(Peer(8), NORMAL, at(2)), Some(5));
    }

    #[test]
    fn the_list_of_speakers_has_a_hangover_and_reports_changes_once() {
        let mut speakers = room(3);
        assert!(!speakers.refresh(at(0)));
        for ms in (0..200).step_by(20) {
            speakers.observe(Peer(0), NORMAL, at(ms));
            speakers.observe(Peer(1), LOUD, at(ms));
            speakers.observe(Peer(2), NOISE, at(ms));
        }
        assert!(speakers.refresh(at(200)));
        assert_eq!(speakers.speaking(), [Peer(1), Peer(0)]);
        assert!(!speakers.refresh(at(300)));
        speakers.observe(Peer(0), NORMAL, at(400));
        assert!(speakers.refresh(at(490)));
        assert_eq!(speakers.speaking(), [Peer(0)]);
        assert!(speakers.refresh(at(700)) && !speakers.is_active());
    }

    #[test]
    fn packets_without_a_level_count_as_speech_and_dtx_does_not() {
        let mut speakers = room(2);
        speakers.observe(Peer(0), Activity::Unmeasured, at(0));
        speakers.observe(Peer(1), Activity::Silence, at(0));
        assert!(speakers.refresh(at(10)));
        assert_eq!(speakers.speaking(), [Peer(0)]);
    }

    #[test]
    fn talkers_compete_with_peers_under_keys_of_their_own() {
        let mut speakers = room(4);
        speakers.reserve_talkers(6);
        for key in 0..4 {
            assert_eq!(speakers.observe(Peer(key), NORMAL, at(0)), Some(2 * key as u8));
            let slot = speakers.observe(Talker(key), NORMAL, at(0));
            assert_eq!(slot, Some(2 * key as u8 + 1));
        }
        assert_eq!(speakers.observe(Talker(4), NORMAL, at(1)), None);
        assert_eq!(speakers.observe(Talker(9), NORMAL, at(1)), None, "no such place");
        assert_eq!(speakers.remove(Peer(2)), Some(4));
        assert_eq!(speakers.observe(Talker(4), NORMAL, at(2)), Some(4));
        assert!(speakers.holds_slot(Talker(4)) && !speakers.holds_slot(Peer(2)));
        assert_eq!(speakers.remove(Talker(1)), Some(3));
        assert!(speakers.refresh(at(3)));
        assert_eq!(speakers.speaking().len(), 7);
    }
}
