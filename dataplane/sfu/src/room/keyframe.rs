//! When to ask a publisher for a key frame: wishes of many viewers are coalesced, requests are at
//! least [`SPACING`] apart, and one is repeated until the key frame comes (RFC 4585 §6.3.1 leaves
//! the pace to the implementation).

use std::time::Duration;

use crate::time::Timestamp;

/// The least time between two requests for one layer.
pub(crate) const SPACING: Duration = Duration::from_millis(300);
/// After this many fruitless requests the pace falls to [`SLOW_SPACING`].
const QUICK_REQUESTS: u32 = 5;
const SLOW_SPACING: Duration = Duration::from_secs(1);

/// One layer's pending request.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeyFrameRequest {
    wanted: bool,
    sent: u32,
    last_sent: Option<Timestamp>,
}

impl KeyFrameRequest {
    /// Somebody needs a key frame.
    pub(crate) fn want(&mut self) {
        if !self.wanted {
            self.wanted = true;
            self.sent = 0;
        }
    }

    /// A key frame came, or nobody waits any more.
    pub(crate) fn settle(&mut self) {
        self.wanted = false;
    }

    /// When the next request is due; [`Timestamp::NEVER`] when none is wanted.
    pub(crate) fn due_at(&self) -> Timestamp {
        if !self.wanted {
            return Timestamp::NEVER;
        }
        let spacing = if self.sent < QUICK_REQUESTS { SPACING } else { SLOW_SPACING };
        self.last_sent.map_or(Timestamp::ZERO, |last| last + spacing)
    }

    /// True when a request shall go out now; the caller sends it.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> bool {
        let due = self.due_at() <= now;
        if due {
            self.last_sent = Some(now);
            self.sent += 1;
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn wishes_are_coalesced_throttled_and_repeated_until_settled() {
        let mut request = KeyFrameRequest::default();
        assert!(!request.take_due(at(0)));
        request.want();
        request.want();
        assert!(request.take_due(at(1)));
        request.want();
        assert!(!request.take_due(at(300)));
        assert!(request.take_due(at(301)));
        request.settle();
        assert!(!request.take_due(at(10_000)));
        request.want();
        assert!(request.take_due(at(10_000)));
        request.settle();
        request.want();
        assert!(!request.take_due(at(10_299)), "the throttle outlives a settled request");
        let sent = (10_300..20_300).filter(|ms| request.take_due(at(*ms))).count();
        assert!((13..=15).contains(&sent), "{sent}: quick at first, then once a second");
    }
}
