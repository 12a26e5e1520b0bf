//! What the writer writes, the views read back; and every cut or damaged length is refused.

use super::report::ReportBlock;
use super::transport_cc::{Base, DELTA_UNIT_US};
use super::writer::SenderInfo;
use super::{Compound, Packet, Writer};
use crate::time::Timestamp;
use crate::wire::{Malformed, NoRoom};

const BLOCK: ReportBlock = ReportBlock {
    ssrc: 0x0102_0304,
    fraction_lost: 25,
    cumulative_lost: -3,
    highest_sequence_number: 0x0001_fffe,
    jitter: 77,
    last_sender_report: 0xaabb_ccdd,
    delay_since_last_sender_report: 65_536,
};
const INFO: SenderInfo = SenderInfo {
    ssrc: 9,
    ntp_time: 0x0123_4567_89ab_cdef,
    rtp_timestamp: 48_000,
    packet_count: 50,
    octet_count: 6_000,
};

fn written(write: impl FnOnce(&mut Writer<'_>) -> Result<(), NoRoom>) -> Vec<u8> {
    let mut buffer = [0xee; 1_400];
    let mut writer = Writer::new(&mut buffer);
    write(&mut writer).expect("1,400 bytes suffice");
    let len = writer.len();
    buffer[..len].to_vec()
}

fn one(bytes: &[u8]) -> Packet<'_> {
    let mut packets = Compound::parse(bytes).expect("what we wrote").packets();
    let packet = packets.next().expect("one packet");
    assert!(packets.next().is_none());
    packet
}

#[test]
fn a_compound_of_reports_and_a_name_is_read_back() {
    let bytes = written(|writer| {
        writer.sender_report(&INFO, &[BLOCK])?;
        writer.receiver_report(8, &[BLOCK, BLOCK])?;
        writer.canonical_name(8, b"node@hype")?;
        writer.goodbye(9)
    });
    let compound = Compound::parse(&bytes).expect("what we wrote");
    let packets: Vec<_> = compound.packets().collect();
    let [
        Packet::SenderReport(sender),
        Packet::ReceiverReport(receiver),
        Packet::SourceDescription(names),
        Packet::Goodbye(goodbye),
    ] = packets[..]
    else {
        panic!("{packets:?}");
    };
    assert_eq!((sender.ssrc, sender.ntp_time), (INFO.ssrc, INFO.ntp_time));
    assert_eq!(sender.rtp_timestamp, INFO.rtp_timestamp);
    assert_eq!((sender.packet_count, sender.octet_count), (50, 6_000));
    assert_eq!(sender.blocks().collect::<Vec<_>>(), [BLOCK]);
    assert_eq!(receiver.ssrc, 8);
    assert_eq!(receiver.blocks().collect::<Vec<_>>(), [BLOCK, BLOCK]);
    assert_eq!(names.names().collect::<Vec<_>>(), [(8, Some(&b"node@hype"[..]))]);
    assert_eq!(goodbye.ssrcs().collect::<Vec<_>>(), [9]);
    // A cut is noticed anywhere but between two packets.
    let ends = [52, 108, 128, 136];
    assert_eq!(bytes.len(), 136);
    for len in 0..bytes.len() {
        assert_eq!(Compound::parse(&bytes[..len]).is_ok(), ends.contains(&len), "{len}");
    }
}

#[test]
fn lost_packets_are_clamped_to_24_bits() {
    for (lost, told) in [(i32::MAX, 0x7f_ffff), (i32::MIN, -0x80_0000), (-1, -1), (0, 0)] {
        let block = ReportBlock { cumulative_lost: lost, ..BLOCK };
        let bytes = written(|writer| writer.receiver_report(1, &[block]));
        let Packet::ReceiverReport(report) = one(&bytes) else { panic!("a report") };
        let read = report.blocks().next().expect("one block");
        assert_eq!((read.cumulative_lost, read.fraction_lost), (told, 25));
    }
}

#[test]
fn a_nack_packs_what_lies_close_and_wraps() {
    let asked = [65_530, 65_535, 0, 10, 11, 100, 117];
    let bytes = written(|writer| writer.nack(1, 2, &asked));
    assert_eq!(bytes.len(), 12 + 4 * 4);
    let Packet::Nack(nack) = one(&bytes) else { panic!("a nack") };
    assert_eq!((nack.sender_ssrc, nack.media_ssrc), (1, 2));
    assert_eq!(nack.sequence_numbers().collect::<Vec<_>>(), asked);
    assert_eq!(Writer::new(&mut [0; 64]).nack(1, 2, &[]), Err(NoRoom));
}

#[test]
fn key_frame_requests_are_read_back() {
    let bytes = written(|writer| writer.picture_loss(1, 2));
    let Packet::PictureLoss(loss) = one(&bytes) else { panic!("a PLI") };
    assert_eq!((loss.sender_ssrc, loss.media_ssrc), (1, 2));
    let bytes = written(|writer| writer.full_intra_request(1, 2, 7));
    let Packet::FullIntraRequest(request) = one(&bytes) else { panic!("a FIR") };
    assert_eq!(request.sender_ssrc, 1);
    assert_eq!(request.entries().collect::<Vec<_>>(), [(2, 7)]);
}

#[test]
fn a_receiver_estimate_is_read() {
    let remb = [
        0x8f, 206, 0, 5, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 1, 0x07, 0xff, 0xff, 0, 0,
        0, 9,
    ];
    let Packet::ReceiverEstimate(estimate) = one(&remb) else { panic!("REMB") };
    assert_eq!(estimate.bits_per_second, 0x3_ffff << 1);
    assert_eq!(estimate.ssrcs().collect::<Vec<_>>(), [9]);
    let mut unlimited = remb;
    unlimited[17] = 0xff;
    let Packet::ReceiverEstimate(estimate) = one(&unlimited) else { panic!("REMB") };
    assert_eq!(estimate.bits_per_second, u64::MAX);
    let mut too_many = remb;
    too_many[16] = 2;
    assert_eq!(Compound::parse(&too_many).err(), Some(Malformed));
    let mut other = remb;
    other[12] = b'r';
    assert!(matches!(one(&other), Packet::Other));
}

/// Writes feedback on arrivals, reads it back, and returns each arrival in 250 µs units.
fn feedback(arrivals: &[Option<u64>]) -> (Vec<Option<u64>>, usize) {
    let times: Vec<_> = arrivals
        .iter()
        .map(|time| time.map_or(Timestamp::NEVER, |us| Timestamp::from_nanos(us * 1_000)))
        .collect();
    let base = Base { sender_ssrc: 1, media_ssrc: 2, sequence_number: 65_530, feedback_count: 3 };
    let mut told = 0;
    let bytes = written(|writer| {
        told = writer.transport_feedback(&base, &times)?;
        Ok(())
    });
    let Packet::TransportFeedback(read) = one(&bytes) else { panic!("feedback") };
    assert_eq!((read.sender_ssrc, read.media_ssrc, read.feedback_count), (1, 2, 3));
    assert_eq!(usize::from(read.status_count), told);
    let reference_us = i64::from(read.reference_time) * 64_000;
    let read: Vec<_> = read
        .arrivals()
        .zip(0_u16..)
        .map(|((number, arrival), index)| {
            assert_eq!(number, 65_530_u16.wrapping_add(index));
            arrival.map(|us| (us + reference_us).cast_unsigned() / DELTA_UNIT_US)
        })
        .collect();
    assert_eq!(read.len(), told);
    (read, bytes.len())
}

#[test]
fn transport_feedback_tells_every_arrival() {
    let steady: Vec<_> = (0..100).map(|n| Some(10_000_000 + n * 20_000)).collect();
    let gaps: Vec<_> = steady.iter().enumerate().map(|(n, it)| it.filter(|_| n % 7 != 3)).collect();
    let slow: Vec<_> = (0..60).map(|n| Some(64_000 * 5 + n * 100_000)).collect();
    let reordered: Vec<_> = (0..50)
        .map(|n| Some(7_000_000 + if n % 10 == 4 { n * 5_000 - 9_000 } else { n * 5_000 }))
        .collect();
    let sparse: Vec<_> = (0..300).map(|n| (n % 50 == 49).then_some(1_000_000 + n * 500)).collect();
    let mut state = 0x9e37_79b9_u64;
    let random: Vec<_> = (0..400)
        .map(|n| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 61 != 0).then_some(3_000_000 + n * 3_000 + (state >> 45) % 200_000)
        })
        .collect();
    for arrivals in [steady, gaps, slow, reordered, sparse, random] {
        let units: Vec<_> = arrivals.iter().map(|it| it.map(|us| us / DELTA_UNIT_US)).collect();
        let (read, _) = feedback(&arrivals);
        assert_eq!(read, units);
    }
}

#[test]
fn transport_feedback_is_compact() {
    // 100 packets 20 ms apart: one run, a byte each: 4 + 16 + 2 + 100, padded.
    let steady: Vec<_> = (0..100).map(|n| Some(10_000_000 + n * 20_000)).collect();
    assert_eq!(feedback(&steady).1, 124);
}

#[test]
fn transport_feedback_stops_where_it_must() {
    // A pause of over 8.19 s cannot be told: the next message begins there.
    let (read, _) = feedback(&[Some(1_000), Some(2_000), Some(9_000_000), Some(9_001_000)]);
    assert_eq!(read.len(), 2);
    // 1,400 bytes do not hold 3,000 large deltas.
    let many: Vec<_> = (0..3_000).map(|n| Some(1_000_000 + n * 100_000)).collect();
    let (read, len) = feedback(&many);
    assert!((600..700).contains(&read.len()) && len <= 1_400, "{} in {len}", read.len());
    let base = Base { sender_ssrc: 1, media_ssrc: 2, sequence_number: 0, feedback_count: 0 };
    let mut buffer = [0; 64];
    let mut writer = Writer::new(&mut buffer);
    assert_eq!(writer.transport_feedback(&base, &[Timestamp::NEVER; 9]), Err(NoRoom));
    assert_eq!(writer.transport_feedback(&base, &[]), Err(NoRoom));
    assert!(writer.is_empty());
    for room in 0..24 {
        let mut writer = Writer::new(&mut buffer[..room]);
        assert_eq!(writer.transport_feedback(&base, &[Timestamp::ZERO]), Err(NoRoom), "{room}");
    }
    let told = Writer::new(&mut buffer[..24]).transport_feedback(&base, &[Timestamp::ZERO; 2]);
    assert_eq!(told, Ok(2));
}

#[test]
fn damaged_transport_feedback_is_malformed() {
    let arrivals = [Timestamp::from_millis(5), Timestamp::NEVER, Timestamp::from_millis(500)];
    let base = Base { sender_ssrc: 1, media_ssrc: 2, sequence_number: 0, feedback_count: 0 };
    let bytes = written(|writer| writer.transport_feedback(&base, &arrivals).map(|_| ()));
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        Compound::parse(&bytes).err()
    };
    assert_eq!(refused(&|_| ()), None);
    // More statuses than chunks, an empty run, the reserved status, a missing delta.
    assert_eq!(refused(&|bytes| bytes[14..16].fill(0xff)), Some(Malformed));
    assert_eq!(refused(&|bytes| bytes[20..22].copy_from_slice(&[0x20, 0])), Some(Malformed));
    assert_eq!(refused(&|bytes| bytes[20..22].copy_from_slice(&[0x60, 3])), Some(Malformed));
    let four_large = |bytes: &mut Vec<u8>| {
        bytes[15] = 4;
        bytes[20..22].copy_from_slice(&[0x40, 4]);
    };
    assert_eq!(refused(&four_large), Some(Malformed));
}

#[test]
fn what_does_not_fit_is_not_written() {
    let full = written(|writer| writer.sender_report(&INFO, &[BLOCK]));
    let mut buffer = [0; 128];
    for room in 0..full.len() {
        let mut writer = Writer::new(&mut buffer[..room]);
        assert_eq!(writer.sender_report(&INFO, &[BLOCK]), Err(NoRoom));
        assert_eq!(writer.len(), 0);
    }
    let mut writer = Writer::new(&mut buffer);
    assert_eq!(writer.receiver_report(1, &[BLOCK; 32]), Err(NoRoom));
    assert_eq!(writer.canonical_name(1, &[b'x'; 256]), Err(NoRoom));
}
