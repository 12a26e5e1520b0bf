//! The AV1 aggregation header (RTP Payload Format For AV1 §4.4).

/// True when the packet begins a new coded video sequence: the N bit, with no fragment continued
/// from before.
pub fn begins_key_frame(payload: &[u8]) -> bool {
    // One byte at least must follow the header.
    matches!(*payload, [header, _, ..] if header & 0x88 == 0x08)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_n_bit_tells() {
        assert!(begins_key_frame(&[0x08, 0x0a]));
        assert!(begins_key_frame(&[0x58, 0x0a]));
        assert!(!begins_key_frame(&[0x88, 0x0a]));
        assert!(!begins_key_frame(&[0x50, 0x0a]));
        assert!(!begins_key_frame(&[0x08]));
        assert!(!begins_key_frame(&[]));
    }
}
