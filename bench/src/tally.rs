//! What one listener received, by speaker, and how long packets took.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use hype_protocol::id::SourceId;

/// One speaker as one listener hears it.
#[derive(Debug, Default)]
pub struct Heard {
    /// Packets received.
    pub packets: u64,
    /// Packets whose number came before.
    pub duplicates: u64,
    /// Bit n: the speaker's packet n was received.
    seen: Vec<u64>,
    /// The first and last packet number.
    pub range: Option<(u32, u32)>,
    /// When the last one came.
    pub last: Option<Instant>,
    /// The longest time between two packets.
    pub longest_gap: Duration,
}

impl Heard {
    fn count(&mut self, number: u32, now: Instant) {
        let (word, bit) = (number as usize / 64, 1 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.duplicates += 1;
            return;
        }
        self.seen[word] |= bit;
        self.packets += 1;
        let (first, last) = self.range.unwrap_or((number, number));
        self.range = Some((first.min(number), last.max(number)));
        if let Some(before) = self.last.replace(now) {
            self.longest_gap = self.longest_gap.max(now - before);
        }
    }

    /// How many of the speaker's packets in `first..last` did not come.
    pub fn missing(&self, first: u32, last: u32) -> u64 {
        let absent = |number: &u32| {
            let word = self.seen.get(*number as usize / 64).copied().unwrap_or(0);
            word & (1 << (number % 64)) == 0
        };
        (first..last).filter(absent).count() as u64
    }
}

/// Everything that one listener received.
#[derive(Debug, Default)]
pub struct Tally {
    /// By speaker.
    pub heard: HashMap<SourceId, Heard>,
    /// Time through the server of each packet, in microseconds.
    pub latencies_us: Vec<u32>,
    /// When the first packet came.
    pub first_at: Option<Instant>,
    /// Packets that did not decrypt or parse, or did not hold what a speaker sent.
    pub bad: u64,
}

/// How many latencies one listener keeps: 10 minutes of 3 speakers.
const MAX_LATENCIES: usize = 90_000;

impl Tally {
    /// Counts the speaker's packet `number`, sent at `sent`.
    pub fn count(&mut self, source: SourceId, number: u32, sent: Duration, now: Duration) {
        let arrived = Instant::now();
        self.first_at.get_or_insert(arrived);
        self.heard.entry(source).or_default().count(number, arrived);
        if self.latencies_us.len() < MAX_LATENCIES {
            let micros = now.saturating_sub(sent).as_micros();
            self.latencies_us.push(u32::try_from(micros).unwrap_or(u32::MAX));
        }
    }
}

/// The value below which `share` (0–1) of the sorted values lie; 0 when there are none.
pub fn percentile(sorted: &[u32], share: f64) -> u32 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_packet_once_and_knows_what_is_missing() {
        let mut tally = Tally::default();
        let source = SourceId(7);
        for number in [3, 4, 6, 6] {
            tally.count(source, number, Duration::ZERO, Duration::from_micros(50));
        }
        let heard = &tally.heard[&source];
        assert_eq!((heard.packets, heard.duplicates, heard.range), (3, 1, Some((3, 6))));
        assert_eq!(heard.missing(3, 7), 1);
        assert_eq!(heard.missing(3, 200), 194);
    }

    #[test]
    fn percentiles_of_few_values() {
        assert_eq!(percentile(&[], 0.5), 0);
        assert_eq!(percentile(&[1, 2, 3, 4], 0.5), 3);
        assert_eq!(percentile(&[1, 2, 3, 4], 1.0), 4);
    }
}
