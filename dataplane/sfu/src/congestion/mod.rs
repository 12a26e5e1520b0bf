//! What a receiver owes a congestion-controlled sender: when each packet came, how many came, and
//! which are missing. Pure bookkeeping over indexes and times; the engine writes the RTCP.
//! Nothing here estimates bandwidth.

pub(crate) mod arrival;
pub(crate) mod missing;
pub(crate) mod reception;

/// Widens a 16-bit number to an index near `highest` (RFC 3711 §3.3.1 without the cipher): the
/// nearest one, so that reordering and wraps by less than 2^15 are told apart.
pub(crate) fn unwrap_u16(highest: u64, number: u16) -> u64 {
    let ahead = number.wrapping_sub((highest & 0xffff) as u16);
    if ahead < 0x8000 {
        highest + u64::from(ahead)
    } else {
        let behind = u64::from(0u16.wrapping_sub(ahead));
        // Before the first wrap nothing lies below zero: it must be ahead.
        highest.checked_sub(behind).unwrap_or(highest + u64::from(ahead))
    }
}

#[cfg(test)]
mod tests {
    use super::unwrap_u16;

    #[test]
    fn the_nearest_index_is_taken() {
        for (highest, number, index) in [
            (0, 1, 1),
            (0, 0xffff, 0xffff),
            (0x1_0000, 0xffff, 0xffff),
            (0xffff, 0, 0x1_0000),
            (0x2_0005, 0xfffe, 0x1_fffe),
            (0x1_8000, 0, 0x1_0000),
            (0x1_8001, 0, 0x2_0000),
        ] {
            assert_eq!(unwrap_u16(highest, number), index, "{highest:x} {number:x}");
        }
    }
}
