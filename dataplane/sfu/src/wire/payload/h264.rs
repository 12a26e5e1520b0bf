//! H.264 payloads (RFC 6184 §5): which NAL units a packet carries, as far as finding key frames
//! needs it. Interleaved mode (packetization-mode 2) is not offered and not read.

const SLICE_IDR: u8 = 5;
const SEQUENCE_PARAMETER_SET: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// True when the packet begins a key frame: it carries a sequence parameter set (which encoders
/// for RTC send before each IDR picture) or the first piece of an IDR slice.
///
/// With separate packets for parameter sets and slice this is true for each of them: a consumer
/// that switches at the first has all of the frame.
pub fn begins_key_frame(payload: &[u8]) -> bool {
    let Some((&indicator, rest)) = payload.split_first() else {
        return false;
    };
    match indicator & 0x1f {
        SLICE_IDR => first_macroblock_is_zero(rest),
        SEQUENCE_PARAMETER_SET => true,
        STAP_A => aggregated(rest).any(|unit| {
            unit.split_first().is_some_and(|(&header, data)| match header & 0x1f {
                SLICE_IDR => first_macroblock_is_zero(data),
                kind => kind == SEQUENCE_PARAMETER_SET,
            })
        }),
        FU_A => match *rest {
            // The S bit: the unit's first fragment.
            [header, ref data @ ..] if header & 0x80 != 0 => match header & 0x1f {
                SLICE_IDR => first_macroblock_is_zero(data),
                kind => kind == SEQUENCE_PARAMETER_SET,
            },
            _ => false,
        },
        _ => false,
    }
}

/// A picture may have several slices; its first one has `first_mb_in_slice` 0, which Exp-Golomb
/// codes as a single 1 bit.
fn first_macroblock_is_zero(slice: &[u8]) -> bool {
    slice.first().is_some_and(|byte| byte & 0x80 != 0)
}

/// The NAL units of a STAP-A; ends at the first one that does not fit.
fn aggregated(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, after) = rest.split_first_chunk()?;
        let (unit, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        rest = after;
        Some(unit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_frames_by_packet_kind() {
        let rows: [(&[u8], bool); 12] = [
            (&[], false),
            (&[0x65, 0x88], true),
            (&[0x65, 0x08], false),
            (&[0x41, 0x9a], false),
            (&[0x67, 0x42], true),
            (&[0x68, 0xce], false),
            (&[0x78, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xce], true),
            (&[0x78, 0, 2, 0x06, 0x01, 0, 2, 0x65, 0x88], true),
            (&[0x78, 0, 9, 0x67, 0x42], false),
            (&[0x7c, 0x85, 0x88], true),
            (&[0x7c, 0x05, 0x88], false),
            (&[0x7c, 0x81, 0x9a], false),
        ];
        for (payload, key) in rows {
            assert_eq!(begins_key_frame(payload), key, "{payload:02x?}");
        }
    }
}
