//! The little state that SRTP keeps for each stream: which packet indices came in, and which went
//! out. An index is ROC · 2^16 + sequence number, 48 bits (RFC 3711 §3.3.1).

use super::{ProtectError, Reject};

/// Indices are below this.
pub const INDEX_LIMIT: u64 = 1 << 48;

/// A sliding window over indices: 128 wide, as RFC 3711 §3.3.2 asks for at least 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReplayWindow {
    /// One above the highest index seen; 0 before the first.
    next: u64,
    /// Bit n stands for index `next - 1 - n`.
    seen: u128,
}

impl ReplayWindow {
    /// The highest index that was committed.
    #[inline]
    pub fn highest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// Tells whether a packet of this index may be new.
    ///
    /// # Errors
    /// [`Reject::Replay`] or [`Reject::TooOld`].
    #[inline]
    pub fn check(&self, index: u64) -> Result<(), Reject> {
        let Some(age) = self.next.checked_sub(index + 1) else {
            return Ok(());
        };
        if age >= 128 {
            Err(Reject::TooOld)
        } else if self.seen >> age & 1 != 0 {
            Err(Reject::Replay)
        } else {
            Ok(())
        }
    }

    /// Remembers an index whose packet was authentic.
    #[inline]
    pub fn commit(&mut self, index: u64) {
        match self.next.checked_sub(index + 1) {
            Some(age) => self.seen |= 1u128.checked_shl(age.min(128) as u32).unwrap_or(0),
            None => {
                let ahead = index + 1 - self.next;
                self.seen = self.seen.checked_shl(ahead.min(128) as u32).unwrap_or(0) | 1;
                self.next = index + 1;
            }
        }
    }
}

/// One incoming SSRC. A fresh one may be used for a packet of an SSRC that is not known yet: only
/// after it was accepted need it be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InboundStream {
    window: ReplayWindow,
}

impl InboundStream {
    /// The highest index that was authentic: its sequence number, extended by the ROC.
    #[inline]
    pub fn highest(&self) -> Option<u64> {
        self.window.highest()
    }

    /// The index that a sequence number most likely means (RFC 3711 §3.3.1). Before the first
    /// packet the ROC is 0.
    ///
    /// # Errors
    /// [`Reject::TooOld`] when it would lie before the stream's beginning or beyond its end.
    #[inline]
    pub fn estimate(&self, sequence_number: u16) -> Result<u64, Reject> {
        let Some(highest) = self.window.highest() else {
            return Ok(u64::from(sequence_number));
        };
        // The wrapping difference, taken as signed, is the way to the nearest such number. Between
        // two as near the RFC stays in the present ROC.
        let low = (highest & 0xffff) as u16;
        let ahead = match sequence_number.wrapping_sub(low).cast_signed() {
            i16::MIN if low < 0x8000 => 0x8000,
            ahead => i64::from(ahead),
        };
        highest.checked_add_signed(ahead).filter(|index| *index < INDEX_LIMIT).ok_or(Reject::TooOld)
    }

    #[inline]
    pub(super) fn check(&self, index: u64) -> Result<(), Reject> {
        self.window.check(index)
    }

    #[inline]
    pub(super) fn commit(&mut self, index: u64) {
        self.window.commit(index);
    }
}

/// What remembers which indices of one outgoing SSRC were used.
pub trait UsedIndices {
    /// Takes an index for one packet.
    ///
    /// # Errors
    /// [`ProtectError::IndexReused`] when it was taken before, lies too far behind the highest to
    /// tell, or is not below 2^48.
    fn take(&mut self, index: u64) -> Result<(), ProtectError>;
}

/// One outgoing SSRC: makes sure that no index is used twice under a key (RFC 3711 §9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboundStream {
    /// One above the highest index used; 0 before the first.
    next: u64,
    /// Bit n stands for index `next - 1 - n`.
    used: u64,
}

impl OutboundStream {
    /// The highest index that was used.
    #[inline]
    pub fn highest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }
}

impl UsedIndices for OutboundStream {
    /// What lies 64 or more behind the highest is refused.
    #[inline]
    fn take(&mut self, index: u64) -> Result<(), ProtectError> {
        if index >= INDEX_LIMIT {
            return Err(ProtectError::IndexReused);
        }
        match self.next.checked_sub(index + 1) {
            Some(age) => {
                if age >= 64 || self.used >> age & 1 != 0 {
                    return Err(ProtectError::IndexReused);
                }
                self.used |= 1 << age;
            }
            None => {
                let ahead = index + 1 - self.next;
                self.used = self.used.checked_shl(ahead.min(64) as u32).unwrap_or(0) | 1;
                self.next = index + 1;
            }
        }
        Ok(())
    }
}

/// How far behind the highest index a [`WideOutboundStream`] still takes one.
const WIDE: u64 = 1024;

/// One outgoing SSRC of a picture: packets that were lost on their way in come 1 s late at most,
/// hundreds of indices behind. Receivers' windows are as wide (libwebrtc's has 1024).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WideOutboundStream {
    /// One above the highest index used; 0 before the first.
    next: u64,
    /// A ring: bit `index % 1024` stands for each of the 1024 indices below `next`.
    used: [u64; (WIDE / 64) as usize],
}

impl WideOutboundStream {
    /// The word and the bit that stand for an index.
    fn bit(index: u64) -> (usize, u64) {
        ((index % WIDE / 64) as usize, 1 << (index % 64))
    }
}

impl UsedIndices for WideOutboundStream {
    /// What lies 1024 or more behind the highest is refused.
    #[inline]
    fn take(&mut self, index: u64) -> Result<(), ProtectError> {
        if index >= INDEX_LIMIT {
            return Err(ProtectError::IndexReused);
        }
        let (word, bit) = Self::bit(index);
        if let Some(age) = self.next.checked_sub(index + 1) {
            if age >= WIDE || self.used[word] & bit != 0 {
                return Err(ProtectError::IndexReused);
            }
        } else {
            // Bits that stood for indices which now leave the window stand for new ones.
            if index - self.next >= WIDE {
                self.used = Default::default();
            } else {
                for skipped in self.next..=index {
                    let (word, bit) = Self::bit(skipped);
                    self.used[word] &= !bit;
                }
            }
            self.next = index + 1;
        }
        self.used[word] |= bit;
        Ok(())
    }
}

/// The most RTCP senders of one peer that are remembered: more than a client has lines.
pub const MAX_RTCP_SOURCES: usize = 64;

/// The replay windows of one peer's incoming SRTCP, one for each sender SSRC.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InboundRtcp {
    sources: Vec<(u32, ReplayWindow)>,
}

impl InboundRtcp {
    /// Where the SSRC stands, and whether the index may be new.
    pub(super) fn check(&self, ssrc: u32, index: u32) -> Result<(), Reject> {
        match self.sources.iter().find(|(known, _)| *known == ssrc) {
            Some((_, window)) => window.check(u64::from(index)),
            None if self.sources.len() < MAX_RTCP_SOURCES => Ok(()),
            None => Err(Reject::TooManySources),
        }
    }

    /// Remembers an authentic packet; a new SSRC takes a place.
    pub(super) fn commit(&mut self, ssrc: u32, index: u32) {
        let index = u64::from(index);
        if let Some((_, window)) = self.sources.iter_mut().find(|(known, _)| *known == ssrc) {
            window.commit(index);
        } else if self.sources.len() < MAX_RTCP_SOURCES {
            let mut window = ReplayWindow::default();
            window.commit(index);
            self.sources.push((ssrc, window));
        }
    }
}

/// The index of one peer's outgoing SRTCP: one counter for all SSRCs, so that none comes twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboundRtcp {
    next: u32,
}

impl OutboundRtcp {
    /// The next index, 31 bits.
    pub(super) fn take(&mut self) -> Result<u32, ProtectError> {
        if self.next >= 1 << 31 {
            return Err(ProtectError::IndexReused);
        }
        self.next += 1;
        Ok(self.next - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_takes_each_index_once() {
        let mut window = ReplayWindow::default();
        for index in [200, 202, 201, 75] {
            assert_eq!(window.check(index), Ok(()), "{index}");
            window.commit(index);
            assert_eq!(window.check(index), Err(Reject::Replay), "{index}");
        }
        assert_eq!(window.check(74), Err(Reject::TooOld));
        window.commit(202 + 127);
        assert_eq!(window.check(202), Err(Reject::Replay));
        assert_eq!(window.check(203), Ok(()));
        assert_eq!(window.check(201), Err(Reject::TooOld));
        window.commit(10_000);
        assert_eq!(window.check(9_999), Ok(()));
        assert_eq!(window.check(202 + 127), Err(Reject::TooOld));
    }

    #[test]
    fn an_index_is_the_nearest_one_of_its_sequence_number() {
        let mut stream = InboundStream::default();
        assert_eq!(stream.estimate(65_535), Ok(65_535));
        stream.commit(65_535);
        assert_eq!(stream.estimate(0), Ok(65_536));
        assert_eq!(stream.estimate(65_000), Ok(65_000));
        stream.commit(65_536 + 2);
        assert_eq!(stream.estimate(65_534), Ok(65_534));
        assert_eq!(stream.estimate(40_000), Ok(40_000));
        let mut young = InboundStream::default();
        young.commit(3);
        assert_eq!(young.estimate(65_530), Err(Reject::TooOld));
        let mut old = InboundStream::default();
        old.commit(INDEX_LIMIT - 1);
        assert_eq!(old.estimate(0), Err(Reject::TooOld));
    }

    #[test]
    fn an_outbound_index_is_given_once() {
        let mut stream = OutboundStream::default();
        for index in [100, 101, 103, 102, 163, 140] {
            assert_eq!(stream.take(index), Ok(()), "{index}");
            assert_eq!(stream.take(index), Err(ProtectError::IndexReused), "{index}");
        }
        assert_eq!(stream.take(99), Err(ProtectError::IndexReused));
        assert_eq!(stream.take(1 << 40), Ok(()));
        assert_eq!(stream.take((1 << 40) - 63), Ok(()));
        assert_eq!(stream.take((1 << 40) - 64), Err(ProtectError::IndexReused));
        assert_eq!(stream.take(INDEX_LIMIT), Err(ProtectError::IndexReused));
        assert_eq!(stream.take(u64::MAX), Err(ProtectError::IndexReused));
    }

    #[test]
    fn a_wide_stream_gives_each_index_once_and_takes_what_comes_late() {
        let mut stream = WideOutboundStream::default();
        for index in [5000, 5200, 5001, 5199, 6023, 5100, 5002, 6022, 5064, 5063] {
            assert_eq!(stream.take(index), Ok(()), "{index}");
            assert_eq!(stream.take(index), Err(ProtectError::IndexReused), "{index}");
        }
        // The window is 5000..=6023; below it nothing is known.
        assert_eq!(stream.take(4999), Err(ProtectError::IndexReused));
        assert_eq!(stream.take(5000 + 1024), Ok(()));
        assert_eq!(stream.take(5000), Err(ProtectError::IndexReused));
        assert_eq!(stream.take(7100), Ok(()));
        for index in [6022, 6023, 6024] {
            assert_eq!(stream.take(index), Err(ProtectError::IndexReused), "{index}");
            // The same bits, one turn of the ring on: these are new.
            assert_eq!(stream.take(index + 1024), Ok(()), "{index}");
        }
        assert_eq!(stream.take(1 << 40), Ok(()));
        assert_eq!(stream.take((1 << 40) - 1023), Ok(()));
        assert_eq!(stream.take((1 << 40) - 1024), Err(ProtectError::IndexReused));
        assert_eq!(stream.take(INDEX_LIMIT), Err(ProtectError::IndexReused));
        assert_eq!(stream.take(u64::MAX), Err(ProtectError::IndexReused));
    }

    #[test]
    fn a_wide_stream_agrees_with_a_list_of_what_was_used() {
        let mut stream = WideOutboundStream::default();
        let mut used = std::collections::HashSet::new();
        let (mut state, mut highest) = (1_u64, 0_u64);
        for step in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let random = state >> 33;
            let reach = if step % 1000 == 0 { 3000 } else { 40 };
            let index = match random % 3 {
                0 => highest + random / 3 % reach,
                _ => highest.saturating_sub(random / 3 % 1100),
            };
            let new = (index > highest || highest - index < 1024) && used.insert(index);
            assert_eq!(stream.take(index).is_ok(), new, "{step}: {index} {highest}");
            highest = highest.max(index);
        }
    }

    #[test]
    fn rtcp_sources_are_bounded() {
        let mut state = InboundRtcp::default();
        for ssrc in 0..64 {
            assert_eq!(state.check(ssrc, 5), Ok(()));
            state.commit(ssrc, 5);
        }
        assert_eq!(state.check(64, 5), Err(Reject::TooManySources));
        assert_eq!(state.check(63, 5), Err(Reject::Replay));
        assert_eq!(state.check(63, 6), Ok(()));
        let mut out = OutboundRtcp { next: (1 << 31) - 1 };
        assert_eq!(out.take(), Ok((1 << 31) - 1));
        assert_eq!(out.take(), Err(ProtectError::IndexReused));
    }
}
