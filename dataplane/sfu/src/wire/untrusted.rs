//! One entry for each parser of bytes from the network, so that fuzz targets and the replay of
//! their corpus drive the same code: each reads all that a parser shows, and keeps nothing.

use std::hint::black_box;

use hype_protocol::media::{Codec, HeaderExtensions};
use hype_protocol::secret::{SrtpKeying, SrtpProfile};

use super::payload::{self, dependency_descriptor, vp8, vp9};
use super::{demux, header_extension, rtcp, rtp};
use crate::transport::ice_lite;
use crate::transport::srtp::{Inbound, InboundRtcp, InboundStream, Role};

/// Ids 1–9 in the order of their fields.
const IDS: HeaderExtensions = HeaderExtensions {
    mid: Some(1),
    rid: Some(2),
    repaired_rid: Some(3),
    audio_level: Some(4),
    transport_cc: Some(5),
    abs_send_time: Some(6),
    dependency_descriptor: Some(7),
    video_orientation: Some(8),
    playout_delay: Some(9),
};

/// STUN: sorting, credentials and responses.
pub fn stun(datagram: &[u8]) {
    black_box(demux::classify(datagram));
    let mut out = [0; 104];
    let source = ([192, 0, 2, 1], 4_000).into();
    match ice_lite::read(datagram) {
        Ok(ice_lite::Incoming::Check(check)) => {
            black_box(check.local_ufrag());
            let remote = check.remote_ufrag();
            if let Ok(check) = check.verify(b"VOkJxbRl1RmTxUk/WvJxBt", remote) {
                black_box((check.nominates(), check.respond(source, &mut out).is_ok()));
            }
        }
        Ok(ice_lite::Incoming::Plain(request)) => {
            black_box(request.respond(source, &mut out).is_ok());
        }
        Err(reason) => {
            black_box(reason);
        }
    }
}

/// RTP headers and their extensions.
pub fn rtp(datagram: &[u8]) {
    let Ok(header) = rtp::Header::parse(datagram) else {
        return;
    };
    let elements = header.elements(datagram);
    black_box(header_extension::Extensions::read(elements.clone(), &IDS));
    black_box(header.csrcs(datagram).count());
    black_box(header.payload(datagram).is_ok());
    let mut out = [0; 2_048];
    let mut kept = [header_extension::Element { id: 1, data: &[] }; 16];
    let count = kept.iter_mut().zip(elements).map(|(place, element)| *place = element).count();
    if let Ok(len) = header_extension::write(&mut out, &kept[..count]) {
        let profile = u16::from_be_bytes([out[0], out[1]]);
        let again = header_extension::Elements::new(profile, &out[4..len]);
        assert!(again.eq(kept[..count].iter().copied()), "what is written is read back");
    }
}

/// Compound RTCP.
pub fn rtcp(datagram: &[u8]) {
    use rtcp::Packet;
    let Ok(compound) = rtcp::Compound::parse(datagram) else {
        return;
    };
    for packet in compound.packets() {
        match packet {
            Packet::SenderReport(report) => black_box(report.blocks().count()),
            Packet::ReceiverReport(report) => black_box(report.blocks().count()),
            Packet::SourceDescription(names) => black_box(names.names().count()),
            Packet::Goodbye(goodbye) => black_box(goodbye.ssrcs().count()),
            Packet::Nack(nack) => black_box(nack.sequence_numbers().count()),
            Packet::PictureLoss(_) | Packet::Other => 0,
            Packet::FullIntraRequest(request) => black_box(request.entries().count()),
            Packet::ReceiverEstimate(estimate) => black_box(estimate.ssrcs().count()),
            Packet::TransportFeedback(feedback) => {
                let told = feedback.arrivals().count();
                assert_eq!(told, usize::from(feedback.status_count), "every status is shown");
                told
            }
        };
    }
}

/// Payload descriptors of all codecs, and their rewriting.
pub fn payload(bytes: &[u8]) {
    for codec in [Codec::Opus, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1] {
        black_box(payload::begins_key_frame(codec, bytes));
    }
    let mut copy = [0; 2_048];
    let Some(copy) = copy.get_mut(..bytes.len()) else {
        return;
    };
    if let Ok(read) = vp8::Descriptor::parse(bytes) {
        copy.copy_from_slice(bytes);
        read.rewrite(copy, 0x2bcd, 0xef);
        let again = vp8::Descriptor::parse(copy).expect("rewriting keeps the form");
        assert_eq!((again.len, again.key_frame), (read.len, read.key_frame));
    }
    if let Ok(read) = vp9::Descriptor::parse(bytes) {
        copy.copy_from_slice(bytes);
        read.rewrite(copy, 0x2bcd, 0xef);
        let again = vp9::Descriptor::parse(copy).expect("rewriting keeps the form");
        assert_eq!((again.len, again.layers), (read.len, read.layers));
    }
}

/// The dependency descriptor.
pub fn dependency_descriptor(element: &[u8]) {
    if let Ok(Some(templates)) = dependency_descriptor::Templates::parse(element) {
        for id in 0..64 {
            black_box(templates.layers(id));
        }
    }
    black_box(dependency_descriptor::Descriptor::parse(element).is_ok());
}

/// SRTP and SRTCP under every profile. The keys are fixed, so that a corpus can hold packets that
/// are authentic.
pub fn srtp(datagram: &[u8]) {
    let mut copy = [0; 2_048];
    for profile in
        [SrtpProfile::AeadAes128Gcm, SrtpProfile::AeadAes256Gcm, SrtpProfile::Aes128CmSha1_80]
    {
        let material = (0..profile.keying_len()).map(|byte| byte as u8).collect();
        let Ok(keys) = Inbound::new(&SrtpKeying { profile, material }, Role::Server) else {
            return;
        };
        let Some(copy) = copy.get_mut(..datagram.len()) else {
            return;
        };
        copy.copy_from_slice(datagram);
        if let Ok(header) = rtp::Header::parse(copy) {
            let mut stream = InboundStream::default();
            if keys.unprotect_rtp(&mut stream, copy, &header).is_err() {
                assert_eq!(stream, InboundStream::default(), "no state before the tag is checked");
            }
        }
        copy.copy_from_slice(datagram);
        let mut state = InboundRtcp::default();
        if keys.unprotect_rtcp(&mut state, copy).is_err() {
            assert_eq!(state, InboundRtcp::default(), "no state before the tag is checked");
        }
    }
}
