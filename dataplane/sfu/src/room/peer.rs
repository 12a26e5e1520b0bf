//! The sending side of one peer of a room: keys, address, and its lines with their own SSRCs,
//! MIDs, payload types and extension ids. It lies in its room, next to its neighbours, because
//! each packet of a speaker walks over all of them.

use hype_protocol::id::{SessionId, SourceId};
use hype_protocol::media::{Codec, CodecMapping, HeaderExtensions, SessionMedia};
use hype_protocol::observation::{View, VoiceFlags};

use crate::drop_reason::DropReason;
use crate::engine::counters::Counters;
use crate::engine::random::Random;
use crate::transmit::{Destination, Transmit};
use crate::transport::srtp::{Outbound, OutboundRtcp};

use super::consumer::VoiceConsumer;
use super::header::{AudioFields, AudioHeader};
use super::viewer::VideoConsumer;

/// The sending side of one peer.
pub(crate) struct Peer {
    /// Its session's key in the engine.
    pub(crate) session: usize,
    pub(crate) id: SessionId,
    /// The CSRC by which others know it.
    pub(crate) source: SourceId,
    pub(crate) flags: VoiceFlags,
    /// Where datagrams go: the address that ICE selected.
    pub(crate) destination: Option<Destination>,
    pub(crate) outbound: Option<Outbound>,
    pub(crate) outbound_rtcp: OutboundRtcp,
    /// Our SSRC as a sender of RTCP.
    pub(crate) rtcp_ssrc: u32,
    /// The next transport-wide sequence number.
    pub(crate) transport_sequence: u16,
    pub(crate) extensions: HeaderExtensions,
    pub(crate) receives: Vec<CodecMapping>,
    pub(crate) voice: Vec<VoiceConsumer>,
    pub(crate) video: Vec<VideoConsumer>,
    /// UDP payload sent since the last statistics.
    pub(crate) bytes_out: u64,
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

    /// Sends one packet of a voice slot. `fields.index` is the room's; it becomes the peer's own.
    #[inline]
    pub(crate) fn send_voice<T: Transmit>(
        &mut self,
        slot: u8,
        fields: &AudioFields,
        payload: &[u8],
        counters: &mut Counters,
        out: &mut T,
    ) {
        let Some(consumer) = self.voice.get_mut(usize::from(slot)) else {
            return;
        };
        let (Some(outbound), Some(destination)) = (&self.outbound, &self.destination) else {
            return;
        };
        let Some(index) = consumer.map(fields.index) else {
            counters.drops.count(DropReason::BehindSwitch);
            return;
        };
        let Some(buffer) = out.reserve() else {
            counters.drops.count(DropReason::TransmitFull);
            return;
        };
        let fields = AudioFields { index, ..*fields };
        let Some(header) = consumer.header.write(buffer, &fields, &mut self.transport_sequence)
        else {
            counters.drops.count(DropReason::Oversize);
            return;
        };
        match outbound.protect_rtp(&mut consumer.stream, index, payload, buffer, header) {
            Ok(len) => {
                out.commit(len, destination);
                consumer.sent.note(payload.len());
                self.bytes_out += len as u64;
                counters.sent(len);
                counters.forwarded += 1;
            }
            Err(error) => counters.drops.count(error.drop_reason()),
        }
    }
}

/// A codec's payload type and that of its retransmissions, as one side calls them.
pub(crate) fn payload_type(mappings: &[CodecMapping], codec: Codec) -> Option<(u8, Option<u8>)> {
    let mapping = mappings.iter().find(|mapping| mapping.codec == codec)?;
    Some((mapping.payload_type, mapping.rtx_payload_type))
}
