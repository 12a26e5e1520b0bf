//! One deadline for each small integer key, the earliest first: an indexed binary heap.
//! Moving a deadline replaces it, so the heap never holds more entries than keys and, once its
//! room is reserved, never allocates. 5,000 idle sessions cost one comparison a turn.

use crate::time::Timestamp;

const ABSENT: u32 = u32::MAX;

/// Deadlines by key.
#[derive(Debug, Default)]
pub(crate) struct DeadlineQueue {
    /// Keys, ordered as a binary heap by their deadline.
    heap: Vec<u32>,
    /// Where each key stands in `heap`.
    place: Vec<u32>,
    at: Vec<Timestamp>,
}

impl DeadlineQueue {
    /// Makes room for keys below `keys`, so that `set` for them does not allocate.
    pub(crate) fn reserve(&mut self, keys: usize) {
        if keys > self.place.len() {
            self.place.resize(keys, ABSENT);
            self.at.resize(keys, Timestamp::NEVER);
            self.heap.reserve(keys - self.heap.len());
        }
    }

    /// The earliest deadline; [`Timestamp::NEVER`] when there is none.
    pub(crate) fn earliest(&self) -> Timestamp {
        self.heap.first().map_or(Timestamp::NEVER, |key| self.at[*key as usize])
    }

    /// Replaces a key's deadline; [`Timestamp::NEVER`] removes it.
    pub(crate) fn set(&mut self, key: usize, at: Timestamp) {
        self.reserve(key + 1);
        let place = self.place[key];
        if at == Timestamp::NEVER {
            if place != ABSENT {
                self.remove_at(place as usize);
            }
            return;
        }
        self.at[key] = at;
        if place == ABSENT {
            let name = u32::try_from(key).expect("sessions are counted in 32 bits");
            self.heap.push(name);
            let last = self.heap.len() - 1;
            self.note(last);
            self.rise(last);
        } else {
            let place = self.rise(place as usize);
            self.sink(place);
        }
    }

    /// Brings a key's deadline forward to `at`; leaves it when it is earlier already.
    pub(crate) fn set_earlier(&mut self, key: usize, at: Timestamp) {
        self.reserve(key + 1);
        if self.place[key] == ABSENT || at < self.at[key] {
            self.set(key, at);
        }
    }

    /// Takes out a key whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<usize> {
        let key = *self.heap.first()?;
        if self.at[key as usize] > now {
            return None;
        }
        self.remove_at(0);
        Some(key as usize)
    }

    fn remove_at(&mut self, place: usize) {
        let key = self.heap.swap_remove(place);
        self.place[key as usize] = ABSENT;
        self.at[key as usize] = Timestamp::NEVER;
        if place < self.heap.len() {
            self.note(place);
            let place = self.rise(place);
            self.sink(place);
        }
    }

    fn note(&mut self, place: usize) {
        self.place[self.heap[place] as usize] = u32::try_from(place).expect("as many as keys");
    }

    fn deadline(&self, place: usize) -> Timestamp {
        self.at[self.heap[place] as usize]
    }

    fn rise(&mut self, mut place: usize) -> usize {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.deadline(parent) <= self.deadline(place) {
                break;
            }
            self.heap.swap(parent, place);
            self.note(place);
            place = parent;
        }
        self.note(place);
        place
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let mut least = place;
            for child in [2 * place + 1, 2 * place + 2] {
                if child < self.heap.len() && self.deadline(child) < self.deadline(least) {
                    least = child;
                }
            }
            if least == place {
                break;
            }
            self.heap.swap(least, place);
            self.note(place);
            place = least;
        }
        self.note(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_sorted_list_under_random_changes() {
        let mut queue = DeadlineQueue::default();
        let mut model = std::collections::BTreeMap::new();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let key = (random % 50) as usize;
            let at = Timestamp::from_millis(random >> 32 & 0xfff);
            match random >> 60 {
                0..=7 => {
                    queue.set(key, at);
                    model.insert(key, at);
                }
                8..=9 => {
                    queue.set(key, Timestamp::NEVER);
                    model.remove(&key);
                }
                10..=12 => {
                    queue.set_earlier(key, at);
                    let entry = model.entry(key).or_insert(at);
                    *entry = at.min(*entry);
                }
                _ => {
                    if let Some(key) = queue.pop_due(at) {
                        let due = model.remove(&key).expect("only what was set comes out");
                        assert!(due <= at && model.values().all(|other| *other >= due));
                    }
                }
            }
            let earliest = model.values().min().copied().unwrap_or(Timestamp::NEVER);
            assert_eq!(queue.earliest(), earliest);
        }
    }
}
