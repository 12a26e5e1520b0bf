//! The sending side of one peer of a room: keys, address, and its lines with their own SSRCs,
//! MIDs, payload types and extension ids. It lies in its room, next to its neighbours, because
//! each packet of a speaker walks over all of them.

use hype_protocol::id::{SessionId, SourceId};
use hype_protocol::media::{Codec, CodecMapping, HeaderExtensions, SessionMedia};
use hype_protocol::observation::{View, VoiceFlags};

use crate::engine::random::Random;
use crate::transmit::Destination;
use crate::transport::srtp::{Outbound, OutboundRtcp};

use super::consumer::VoiceConsumer;
use super::header::AudioHeader;
use super::viewer::VideoConsumer;

/// The sending side of one peer. What a forwarded voice packet touches comes first and fills two
/// cache lines; its consumer and its key are one step away.
#[repr(C, align(64))]
pub(crate) struct Peer {
    /// The CSRC by which others know it.
    pub(crate) source: SourceId,
    pub(crate) flags: VoiceFlags,
    /// The next transport-wide sequence number.
    pub(crate) transport_sequence: u16,
    pub(crate) voice: Vec<VoiceConsumer>,
    pub(crate) outbound: Option<Outbound>,
    /// Where datagrams go: the address that ICE selected.
    pub(crate) destination: Option<Destination>,
    /// UDP payload sent since the last statistics.
    pub(crate) bytes_out: u64,
    // From here on: for pictures, and at control rate.
    /// Its session's key in the engine.
    pub(crate) session: usize,
    pub(crate) id: SessionId,
    pub(crate) extensions: HeaderExtensions,
    pub(crate) receives: Vec<CodecMapping>,
    pub(crate) video: Vec<VideoConsumer>,
    /// Our SSRC as a sender of RTCP.
    pub(crate) rtcp_ssrc: u32,
    pub(crate) outbound_rtcp: OutboundRtcp,
}

impl Peer {
    /// From what offer and answer settled; none when a tag or codec cannot be used.
    pub(crate) fn new(
        session: usize,
        id: SessionId,
        flags: VoiceFlags,
        media: &SessionMedia,
        rtcp_ssrc: u32,
        random: &mut Random,
    ) -> Option<Self> {
        let opus = payload_type(&media.receive_codecs, Codec::Opus).map(|(media, _)| media);
        let ids = &media.extensions;
        let mut voice = Vec::with_capacity(media.voice_slots.len());
        for line in &media.voice_slots {
            let header =
                AudioHeader::new(line.ssrc, opus?, line.mid.as_str().as_bytes(), ids, true)?;
            voice.push(VoiceConsumer::new(line.ssrc, header, random.first_index()));
        }
        let mut video = Vec::with_capacity(media.video_slots.len());
        for slot in &media.video_slots {
            video.push(VideoConsumer::new(slot, opus, ids, random)?);
        }
        Some(Self {
            session,
            id,
            source: id.source(),
            flags,
            destination: None,
            outbound: None,
            outbound_rtcp: OutboundRtcp::default(),
            rtcp_ssrc,
            transport_sequence: 0,
            extensions: *ids,
            receives: media.receive_codecs.clone(),
            voice,
            video,
            bytes_out: 0,
        })
    }

    /// Whether media can be sent to it.
    pub(crate) fn is_reachable(&self) -> bool {
        self.destination.is_some() && self.outbound.is_some()
    }

    /// Brings near what a packet of a voice slot needs.
    #[inline]
    pub(crate) fn prefetch(&self, slot: u8) {
        if let Some(consumer) = self.voice.get(usize::from(slot)) {
            hype_gcm::prefetch(consumer);
        }
        hype_gcm::prefetch(&self.destination);
        if let Some(outbound) = &self.outbound {
            outbound.prefetch();
        }
    }

    /// Replaces the flags; a peer that hears nothing misses nothing.
    pub(crate) fn set_flags(&mut self, flags: VoiceFlags) {
        self.flags = flags;
        if flags.deafened() {
            self.voice.iter_mut().for_each(VoiceConsumer::pause);
            self.video.iter_mut().for_each(VideoConsumer::pause_sound);
        }
    }

    /// Shows something else on a video slot, or nothing; its state is to be told anew.
    pub(crate) fn set_view(&mut self, slot: usize, view: Option<View>, random: &mut Random) {
        let opus = payload_type(&self.receives, Codec::Opus).map(|(media, _)| media);
        let Some(consumer) = self.video.get_mut(slot) else { return };
        match view {
            Some(view) => consumer.set_view(view, opus, &self.extensions, random),
            None => consumer.end_view(),
        }
        consumer.set_state(None);
    }
}

/// A codec's payload type and that of its retransmissions, as one side calls them.
pub(crate) fn payload_type(mappings: &[CodecMapping], codec: Codec) -> Option<(u8, Option<u8>)> {
    let mapping = mappings.iter().find(|mapping| mapping.codec == codec)?;
    Some((mapping.payload_type, mapping.rtx_payload_type))
}
