//! RFC 3550: the fixed header of §5.1 field by field, padding, and the validity checks of
//! appendix A.1 and A.2, by packets laid out by hand from the RFC's diagrams.

use hype_sfu::wire::Malformed;
use hype_sfu::wire::rtcp::{Compound, Packet};
use hype_sfu::wire::rtp::Header;

/// §5.1: V=2, P, X, CC=2, M, PT=96, then sequence number, timestamp, SSRC, two CSRCs, an
/// extension of one word, five bytes of payload and three of padding.
const RTP: [u8; 36] = [
    0b1011_0010,
    0b1110_0000,
    0x12,
    0x34,
    0x01,
    0x02,
    0x03,
    0x04,
    0xa0,
    0xb0,
    0xc0,
    0xd0, //
    0,
    0,
    0,
    1,
    0,
    0,
    0,
    2,
    0xab,
    0xcd,
    0,
    1,
    9,
    9,
    9,
    9,
    b'h',
    b'e',
    b'l',
    b'l',
    b'o',
    0,
    0,
    3,
];

#[test]
fn fixed_header() {
    let header = Header::parse(&RTP).expect("§5.1");
    assert!(header.padding && header.marker);
    assert_eq!((header.payload_type, header.csrc_count), (96, 2));
    assert_eq!((header.sequence_number, header.timestamp), (0x1234, 0x0102_0304));
    assert_eq!(header.ssrc, 0xa0b0_c0d0);
    assert_eq!(header.csrcs(&RTP).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(header.header_len(), 28);
    assert_eq!(header.payload(&RTP), Ok(&b"hello"[..]));
    // An extension of another profile has no elements, but is skipped.
    assert_eq!(header.elements(&RTP).count(), 0);
}

#[test]
fn validity_of_rtp() {
    let check = |at: usize, value: u8| {
        let mut packet = RTP;
        packet[at] = value;
        Header::parse(&packet).and_then(|header| header.payload(&packet).map(<[u8]>::len))
    };
    // Appendix A.1: the version, the length of the extension, the padding count.
    assert_eq!(check(0, 0b0111_0010), Err(Malformed));
    assert_eq!(check(0, 0b1111_0010), Err(Malformed));
    assert_eq!(check(23, 2), Ok(1));
    assert_eq!(check(23, 3), Err(Malformed));
    assert_eq!(check(23, 4), Err(Malformed));
    assert_eq!(check(35, 0), Err(Malformed));
    assert_eq!(check(35, 9), Err(Malformed));
    assert_eq!(check(35, 8), Ok(0));
    for len in 0..28 {
        assert_eq!(Header::parse(&RTP[..len]), Err(Malformed), "{len} bytes");
    }
}

/// §6.4.1: V=2, RC=1, PT=200, then sender information and a block that lost −1 packets.
const SENDER_REPORT: [u8; 52] = [
    0x81, 200, 0, 12, 0, 0, 0, 7, 0xe0, 0, 0, 1, 0x80, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 5, 0, 0, 2,
    0, 0, 0, 0, 8, 0x40, 0xff, 0xff, 0xff, 0, 1, 0, 2, 0, 0, 0, 6, 0, 1, 0x80, 0, 0, 0, 0x80, 0,
];

#[test]
fn sender_report() {
    let compound = Compound::parse(&SENDER_REPORT).expect("§6.4.1");
    let Some(Packet::SenderReport(report)) = compound.packets().next() else {
        panic!("a sender report");
    };
    assert_eq!(report.ssrc, 7);
    assert_eq!(report.ntp_time, 0xe000_0001_8000_0000);
    assert_eq!((report.rtp_timestamp, report.packet_count, report.octet_count), (0x1000, 5, 512));
    let block = report.blocks().next().expect("RC is 1");
    assert_eq!((block.ssrc, block.fraction_lost, block.cumulative_lost), (8, 0x40, -1));
    assert_eq!((block.highest_sequence_number, block.jitter), (0x0001_0002, 6));
    assert_eq!(block.last_sender_report, 0x0001_8000);
    assert_eq!(block.delay_since_last_sender_report, 0x8000);
}

#[test]
fn validity_of_rtcp() {
    // Appendix A.2: version, lengths that add up, padding in the last packet only.
    let goodbye = [0x81, 203, 0, 1, 0, 0, 0, 7];
    let padded = [0xa1, 203, 0, 2, 0, 0, 0, 7, 0, 0, 0, 4];
    let join =
        |packets: &[&[u8]]| Compound::parse(&packets.concat()).map(|it| it.packets().count());
    assert_eq!(join(&[&SENDER_REPORT[..], &goodbye]), Ok(2));
    assert_eq!(join(&[&SENDER_REPORT[..], &goodbye, &padded]), Ok(3));
    assert_eq!(join(&[&padded[..], &goodbye]), Err(Malformed));
    assert_eq!(join(&[&SENDER_REPORT[..], &goodbye[..4]]), Err(Malformed));
    assert_eq!(join(&[&[0x41, 203, 0, 1, 0, 0, 0, 7]]), Err(Malformed));
    // More sources, or blocks, than there are bytes for.
    assert_eq!(join(&[&[0x82, 203, 0, 1, 0, 0, 0, 7]]), Err(Malformed));
    assert_eq!(join(&[&[0x81, 201, 0, 1, 0, 0, 0, 7]]), Err(Malformed));
    // Padding of no multiple of four, of nothing, and beyond the packet.
    for count in [0, 1, 3, 12, 255] {
        let mut packet = padded;
        packet[11] = count;
        assert_eq!(join(&[&packet]), Err(Malformed), "{count}");
    }
    // RFC 5506: reduced size; and types that nobody knows are skipped.
    assert_eq!(join(&[&goodbye]), Ok(1));
    assert_eq!(join(&[&[0x80, 223, 0, 0][..], &goodbye]), Ok(2));
    assert_eq!(join(&[]), Err(Malformed));
}

/// §6.5: two chunks, each padded to a word by zero bytes.
#[test]
fn source_description() {
    let packet = [
        0x82, 202, 0, 6, 0, 0, 0, 1, 1, 3, b'a', b'@', b'b', 0, 0, 0, 0, 0, 0, 2, 2, 1, b'x', 1, 1,
        b'y', 0, 0,
    ];
    let compound = Compound::parse(&packet).expect("§6.5");
    let Some(Packet::SourceDescription(description)) = compound.packets().next() else {
        panic!("a source description");
    };
    let names: Vec<_> = description.names().collect();
    assert_eq!(names, [(1, Some(&b"a@b"[..])), (2, Some(&b"y"[..]))]);
    let mut endless = packet;
    endless[26..].copy_from_slice(&[8, 9]);
    assert_eq!(Compound::parse(&endless).err(), Some(Malformed));
}
