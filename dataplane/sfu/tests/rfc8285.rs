//! RFC 8285: the two examples of §4.2 and §4.3, and the rules on ids 0 and 15, padding and the
//! choice between the forms.

use hype_sfu::wire::NoRoom;
use hype_sfu::wire::header_extension::{Element, Elements, write};
use hype_sfu::wire::rtp::{self, Header};

/// A packet with the given block: profile word, length in words, data.
fn packet(block: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3];
    packet.extend(block);
    packet.extend(b"payload");
    packet
}

fn elements(packet: &[u8]) -> Vec<Element<'_>> {
    let header = Header::parse(packet).expect("a well-formed header");
    assert_eq!(header.payload(packet), Ok(&b"payload"[..]));
    header.elements(packet).collect()
}

/// §4.2: ids 1, 2 and 3 of one, two and four bytes, with padding between the last two.
#[test]
fn one_byte_example() {
    let packet = packet(&[0xbe, 0xde, 0, 3, 0x10, 7, 0x21, 8, 9, 0, 0, 0x33, 1, 2, 3, 4]);
    assert_eq!(
        elements(&packet),
        [
            Element { id: 1, data: &[7] },
            Element { id: 2, data: &[8, 9] },
            Element { id: 3, data: &[1, 2, 3, 4] },
        ]
    );
}

/// §4.3: ids 1, 2 and 3 of no, one and four bytes; the low bits of the profile are free.
#[test]
fn two_byte_example() {
    for appbits in 0..16 {
        let packet = packet(&[0x10, appbits, 0, 3, 1, 0, 2, 1, 9, 0, 3, 4, 1, 2, 3, 4]);
        assert_eq!(
            elements(&packet),
            [
                Element { id: 1, data: &[] },
                Element { id: 2, data: &[9] },
                Element { id: 3, data: &[1, 2, 3, 4] },
            ]
        );
    }
}

/// §4.2: id 15 and id 0 with a length end a one-byte block; what stood before counts.
#[test]
fn reserved_ids_end_a_one_byte_block() {
    for reserved in [0xf0, 0xf3, 0x01, 0x0f] {
        let packet = packet(&[0xbe, 0xde, 0, 2, 0x10, 7, reserved, 1, 0x20, 9, 0, 0]);
        assert_eq!(elements(&packet), [Element { id: 1, data: &[7] }], "{reserved:#x}");
    }
    let two_byte = packet(&[0x10, 0, 0, 1, 15, 1, 7, 0]);
    assert_eq!(elements(&two_byte), [Element { id: 15, data: &[7] }]);
}

/// §4.1.2: the two-byte form is taken only when an element needs it.
#[test]
fn the_form_follows_from_the_elements() {
    let long = [5; 17];
    let rows: [(&[Element<'_>], u16); 6] = [
        (&[Element { id: 14, data: &[1] }], 0xbede),
        (&[Element { id: 1, data: &long[..16] }], 0xbede),
        (&[Element { id: 1, data: &long }], 0x1000),
        (&[Element { id: 1, data: &[1] }, Element { id: 15, data: &[1] }], 0x1000),
        (&[Element { id: 255, data: &[1] }], 0x1000),
        (&[Element { id: 1, data: &[] }], 0x1000),
    ];
    for (elements, profile) in rows {
        let mut block = [0xee; 64];
        let len = write(&mut block, elements).expect("64 bytes suffice");
        assert_eq!(len % 4, 0);
        assert_eq!(u16::from_be_bytes([block[0], block[1]]), profile);
        assert_eq!(usize::from(u16::from_be_bytes([block[2], block[3]])) * 4 + 4, len);
        let read: Vec<_> = Elements::new(profile, &block[4..len]).collect();
        assert_eq!(read, elements);
        assert_eq!(write(&mut block[..len - 1], elements), Err(NoRoom));
    }
    assert_eq!(write(&mut [0; 64], &[Element { id: 0, data: &[1] }]), Err(NoRoom));
    assert_eq!(write(&mut [0; 512], &[Element { id: 1, data: &[0; 256] }]), Err(NoRoom));
}

#[test]
fn a_packet_without_elements_has_no_block() {
    let fields = rtp::Outgoing {
        payload_type: 0,
        marker: false,
        sequence_number: 0,
        timestamp: 0,
        ssrc: 0,
        csrc: None,
    };
    let mut out = [0; 12];
    assert_eq!(rtp::write(&mut out, &fields, &[]), Ok(12));
    assert_eq!(out[0], 0x80);
}
