//! A video slot of one peer: which picture it shows, and the rewriting that makes one gapless
//! stream of whatever it shows. It switches sources and layers only at a key frame.

use std::time::Duration;

use hype_protocol::media::{Codec, HeaderExtensions, VideoSlot};
use hype_protocol::observation::{View, ViewState};

use crate::drop_reason::DropReason;
use crate::engine::counters::Counters;
use crate::engine::random::Random;
use crate::time::Timestamp;
use crate::transmit::Transmit;
use crate::transport::srtp::OutboundStream;
use crate::wire::header_extension::Element;
use crate::wire::rtp;

use super::AUDIO_FRAME;
use super::consumer::SentCount;
use super::header::{AudioFields, AudioHeader};
use super::peer::{Peer, payload_type};
use super::picture::{Offsets, Picture, PictureNumbers};
use super::retransmission::{PacketCache, Record, SentRecords};
use super::rewriter::Rewriter;

/// Two pictures are never less than a millisecond apart.
const LEAST_VIDEO_ADVANCE: u32 = 90;

/// One video slot with its sound.
pub(crate) struct VideoConsumer {
    mid: Box<[u8]>,
    pub(crate) ssrc: u32,
    rtx_ssrc: Option<u32>,
    stream: OutboundStream,
    rtx_stream: OutboundStream,
    rtx_next: u64,
    pub(crate) rewriter: Rewriter,
    pub(crate) sent: SentCount,
    pictures: PictureNumbers,
    records: Option<SentRecords>,
    /// What the client asked for.
    pub(crate) view: Option<View>,
    /// The publisher's key in the room, while its producer runs and can be decoded here.
    pub(crate) publisher: Option<usize>,
    pub(crate) state: Option<ViewState>,
    /// The layer that is shown.
    pub(crate) current: Option<u8>,
    /// The layer that shall be shown from its next key frame on.
    pub(crate) target: Option<u8>,
    pub(crate) sound: Option<SoundConsumer>,
}

/// The sound line of a video slot.
pub(crate) struct SoundConsumer {
    pub(crate) ssrc: u32,
    header: AudioHeader,
    stream: OutboundStream,
    pub(crate) rewriter: Rewriter,
    pub(crate) sent: SentCount,
}

/// A producer's video packet, decrypted.
pub(crate) struct VideoPacket<'a> {
    /// The producer's number.
    pub(crate) producer: u32,
    /// The number of the stream within its session.
    pub(crate) stream: u32,
    /// Both: another one starts another run.
    pub(crate) run: u64,
    pub(crate) layer: u8,
    pub(crate) codec: Codec,
    pub(crate) index: u64,
    /// No packet with a higher index came before.
    pub(crate) newest: bool,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) csrc: u32,
    pub(crate) picture: Picture,
    pub(crate) extra: Extra<'a>,
}

/// Header extensions that are copied along.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extra<'a> {
    pub(crate) orientation: Option<u8>,
    pub(crate) playout_delay: Option<[u8; 3]>,
    pub(crate) dependency_descriptor: Option<&'a [u8]>,
}

/// A producer's sound packet, decrypted.
pub(crate) struct SoundPacket<'a> {
    pub(crate) run: u64,
    pub(crate) index: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) csrc: u32,
    pub(crate) payload: &'a [u8],
}

impl VideoConsumer {
    /// A slot that shows nothing yet; none when its tags cannot be used.
    pub(crate) fn new(
        slot: &VideoSlot,
        opus: Option<u8>,
        ids: &HeaderExtensions,
        random: &mut Random,
    ) -> Option<Self> {
        let sound = match &slot.sound {
            Some(line) => {
                let header =
                    AudioHeader::new(line.ssrc, opus?, line.mid.as_str().as_bytes(), ids, false)?;
                let (index, timestamp) = (random.first_index(), random.next_u32());
                Some(SoundConsumer {
                    ssrc: line.ssrc,
                    header,
                    stream: OutboundStream::default(),
                    rewriter: Rewriter::new(48_000, AUDIO_FRAME, index, timestamp),
                    sent: SentCount::default(),
                })
            }
            None => None,
        };
        let (index, timestamp) = (random.first_index(), random.next_u32());
        Some(Self {
            mid: slot.video.mid.as_str().as_bytes().into(),
            ssrc: slot.video.ssrc,
            rtx_ssrc: slot.video.rtx_ssrc,
            stream: OutboundStream::default(),
            rtx_stream: OutboundStream::default(),
            rtx_next: random.first_index(),
            rewriter: Rewriter::new(90_000, LEAST_VIDEO_ADVANCE, index, timestamp),
            sent: SentCount::default(),
            pictures: PictureNumbers::default(),
            records: None,
            view: None,
            publisher: None,
            state: None,
            current: None,
            target: None,
            sound,
        })
    }

    /// Shows something else from now on; what was shown ends at once.
    pub(crate) fn set_view(&mut self, view: Option<View>) {
        self.view = view;
        self.stop();
        if view.is_some() && self.rtx_ssrc.is_some() && self.records.is_none() {
            self.records = Some(SentRecords::new());
        }
        self.pause_sound();
    }

    /// The picture ends: the next one starts at a key frame.
    pub(crate) fn stop(&mut self) {
        self.publisher = None;
        self.current = None;
        self.target = None;
        self.rewriter.end_run();
    }

    /// The sound ends; it goes on without a gap.
    pub(crate) fn pause_sound(&mut self) {
        if let Some(sound) = &mut self.sound {
            sound.rewriter.end_run();
        }
    }

    /// Sets the state; true when it changed.
    pub(crate) fn set_state(&mut self, state: Option<ViewState>) -> bool {
        let changed = self.state != state;
        self.state = state;
        changed
    }
}

impl Peer {
    /// Sends one packet of a picture to a slot that watches its producer. Ok(true): the slot has
    /// just switched to this layer.
    ///
    /// # Errors
    /// Why it was not sent.
    pub(crate) fn send_video<T: Transmit>(
        &mut self,
        slot: u8,
        packet: &VideoPacket<'_>,
        payload: &mut [u8],
        now: Timestamp,
        counters: &mut Counters,
        out: &mut T,
    ) -> Result<bool, DropReason> {
        let consumer = self.video.get_mut(usize::from(slot)).ok_or(DropReason::NotWatched)?;
        let switches = consumer.target == Some(packet.layer)
            && consumer.current != Some(packet.layer)
            && packet.picture.key_frame_start
            && packet.newest;
        if !switches && consumer.current != Some(packet.layer) {
            let waits = consumer.target == Some(packet.layer);
            return Err(if waits { DropReason::AwaitingKeyFrame } else { DropReason::NotWatched });
        }
        let (Some(outbound), Some(destination)) = (&self.outbound, &self.destination) else {
            return Err(DropReason::NoDestination);
        };
        let (payload_type, _) =
            payload_type(&self.receives, packet.codec).ok_or(DropReason::UnknownPayloadType)?;
        let place = consumer
            .rewriter
            .place(packet.run, packet.index, packet.timestamp, now)
            .ok_or(DropReason::BehindSwitch)?;
        consumer.current = Some(packet.layer);
        let offsets = consumer.pictures.place(&packet.picture, place.first, packet.newest);
        packet.picture.write(payload, &offsets);
        let buffer = out.reserve().ok_or(DropReason::TransmitFull)?;
        let fields = rtp::Outgoing {
            payload_type,
            marker: packet.marker,
            sequence_number: (place.index & 0xffff) as u16,
            timestamp: place.timestamp,
            ssrc: consumer.ssrc,
            csrc: Some(packet.csrc),
        };
        let header = write_header(
            buffer,
            &fields,
            &self.extensions,
            &consumer.mid,
            &mut self.transport_sequence,
            &packet.extra,
            &offsets,
        )
        .ok_or(DropReason::Oversize)?;
        let len = outbound
            .protect_rtp(&mut consumer.stream, place.index, payload, buffer, header)
            .map_err(|error| error.drop_reason())?;
        out.commit(len, destination);
        consumer.sent.note(payload.len());
        self.bytes_out += len as u64;
        counters.sent(len);
        counters.forwarded += 1;
        if let Some(records) = &mut consumer.records {
            records.insert(Record::new(
                place,
                (packet.producer, packet.stream),
                packet.layer,
                packet.marker,
                packet.codec,
                packet.index,
                offsets,
                now,
            ));
        }
        Ok(switches)
    }

    /// What a viewer's NACK asks for, if it was sent and may be sent again now.
    pub(crate) fn take_record(
        &mut self,
        slot: usize,
        sequence_number: u16,
        now: Timestamp,
        round_trip: Duration,
    ) -> Option<Record> {
        let records = self.video.get_mut(slot)?.records.as_mut()?;
        records.take(sequence_number, now, round_trip)
    }

    /// Sends a packet again by RTX (RFC 4588 §4): its own SSRC and index, the old sequence number
    /// before the payload.
    ///
    /// # Errors
    /// Why it was not sent.
    pub(crate) fn resend_video<T: Transmit>(
        &mut self,
        slot: usize,
        record: &Record,
        cache: &PacketCache,
        csrc: u32,
        counters: &mut Counters,
        out: &mut T,
    ) -> Result<(), DropReason> {
        let consumer = self.video.get_mut(slot).ok_or(DropReason::NotWatched)?;
        let (Some(outbound), Some(destination)) = (&self.outbound, &self.destination) else {
            return Err(DropReason::NoDestination);
        };
        let ssrc = consumer.rtx_ssrc.ok_or(DropReason::RtxUnknown)?;
        let (_, rtx) = payload_type(&self.receives, record.codec).ok_or(DropReason::RtxUnknown)?;
        let (extra, payload) = cache.get(record.index).ok_or(DropReason::RtxUnknown)?;
        let mut plaintext = [0; crate::transmit::MAX_DATAGRAM];
        let plaintext = plaintext.get_mut(..payload.len() + 2).ok_or(DropReason::Oversize)?;
        let original = (record.place.index & 0xffff) as u16;
        plaintext[..2].copy_from_slice(&original.to_be_bytes());
        plaintext[2..].copy_from_slice(payload);
        // The positions are read anew: the cache keeps payloads as they came.
        let extra = Extra::decode(extra);
        let picture = Picture::read(record.codec, payload, extra.dependency_descriptor)
            .map_err(|_| DropReason::PayloadMalformed)?;
        picture.write(&mut plaintext[2..], &record.offsets);
        let index = consumer.rtx_next;
        consumer.rtx_next += 1;
        let buffer = out.reserve().ok_or(DropReason::TransmitFull)?;
        let fields = rtp::Outgoing {
            payload_type: rtx.ok_or(DropReason::RtxUnknown)?,
            marker: record.marker,
            sequence_number: (index & 0xffff) as u16,
            timestamp: record.place.timestamp,
            ssrc,
            csrc: Some(csrc),
        };
        let header = write_header(
            buffer,
            &fields,
            &self.extensions,
            &consumer.mid,
            &mut self.transport_sequence,
            &extra,
            &record.offsets,
        )
        .ok_or(DropReason::Oversize)?;
        let len = outbound
            .protect_rtp(&mut consumer.rtx_stream, index, plaintext, buffer, header)
            .map_err(|error| error.drop_reason())?;
        out.commit(len, destination);
        self.bytes_out += len as u64;
        counters.sent(len);
        counters.retransmitted += 1;
        Ok(())
    }

    /// Sends one packet of a screen's sound to the slot that shows the screen.
    ///
    /// # Errors
    /// Why it was not sent.
    pub(crate) fn send_sound<T: Transmit>(
        &mut self,
        slot: u8,
        packet: &SoundPacket<'_>,
        now: Timestamp,
        counters: &mut Counters,
        out: &mut T,
    ) -> Result<(), DropReason> {
        let consumer = self.video.get_mut(usize::from(slot)).ok_or(DropReason::NotWatched)?;
        let sound = consumer.sound.as_mut().ok_or(DropReason::NotWatched)?;
        let (Some(outbound), Some(destination)) = (&self.outbound, &self.destination) else {
            return Err(DropReason::NoDestination);
        };
        let place = sound
            .rewriter
            .place(packet.run, packet.index, packet.timestamp, now)
            .ok_or(DropReason::BehindSwitch)?;
        let buffer = out.reserve().ok_or(DropReason::TransmitFull)?;
        let fields = AudioFields {
            marker: packet.marker || place.first,
            index: place.index,
            timestamp: place.timestamp,
            csrc: packet.csrc,
            level: 127,
        };
        let header = sound
            .header
            .write(buffer, &fields, &mut self.transport_sequence)
            .ok_or(DropReason::Oversize)?;
        let len = outbound
            .protect_rtp(&mut sound.stream, place.index, packet.payload, buffer, header)
            .map_err(|error| error.drop_reason())?;
        out.commit(len, destination);
        sound.sent.note(packet.payload.len());
        self.bytes_out += len as u64;
        counters.sent(len);
        counters.forwarded += 1;
        Ok(())
    }
}

impl<'a> Extra<'a> {
    const FIXED: usize = 5;

    /// As bytes to be kept with the packet: flags, orientation, playout delay, descriptor.
    pub(crate) fn encode<'b>(&self, room: &'b mut [u8; 255]) -> &'b [u8] {
        let descriptor = self.dependency_descriptor.unwrap_or_default();
        // One that does not fit is left out; only AV1's key frames have long ones, of ~100 bytes.
        let descriptor = if Self::FIXED + descriptor.len() <= room.len() { descriptor } else { &[] };
        room[0] = u8::from(self.orientation.is_some())
            | u8::from(self.playout_delay.is_some()) << 1
            | u8::from(!descriptor.is_empty()) << 2;
        room[1] = self.orientation.unwrap_or(0);
        room[2..5].copy_from_slice(&self.playout_delay.unwrap_or_default());
        room[Self::FIXED..Self::FIXED + descriptor.len()].copy_from_slice(descriptor);
        &room[..Self::FIXED + descriptor.len()]
    }

    /// What `encode` wrote.
    fn decode(bytes: &'a [u8]) -> Self {
        let [flags, orientation, a, b, c, descriptor @ ..] = bytes else {
            return Self::default();
        };
        Self {
            orientation: (flags & 1 != 0).then_some(*orientation),
            playout_delay: (flags & 2 != 0).then_some([*a, *b, *c]),
            dependency_descriptor: (flags & 4 != 0).then_some(descriptor),
        }
    }
}

/// Writes a video packet's header with the receiver's own extension ids.
fn write_header(
    buffer: &mut [u8],
    fields: &rtp::Outgoing,
    ids: &HeaderExtensions,
    mid: &[u8],
    transport_sequence: &mut u16,
    extra: &Extra<'_>,
    offsets: &Offsets,
) -> Option<usize> {
    let number = transport_sequence.to_be_bytes();
    let orientation = extra.orientation.map(|byte| [byte]);
    let mut descriptor = [0; 255];
    let descriptor = extra.dependency_descriptor.and_then(|bytes| {
        let copy = descriptor.get_mut(..bytes.len())?;
        copy.copy_from_slice(bytes);
        offsets.write_frame_number(copy);
        Some(&*copy)
    });
    let candidates = [
        (ids.mid, Some(mid)),
        (ids.transport_cc, Some(&number[..])),
        (ids.video_orientation, orientation.as_ref().map(<[u8; 1]>::as_slice)),
        (ids.playout_delay, extra.playout_delay.as_ref().map(<[u8; 3]>::as_slice)),
        (ids.dependency_descriptor, descriptor),
    ];
    let mut elements = [Element { id: 0, data: &[] }; 5];
    let mut count = 0;
    for (id, data) in candidates {
        if let (Some(id), Some(data)) = (id, data) {
            elements[count] = Element { id, data };
            count += 1;
        }
    }
    let len = rtp::write(buffer, fields, &elements[..count]).ok()?;
    if ids.transport_cc.is_some() {
        *transport_sequence = transport_sequence.wrapping_add(1);
    }
    Some(len)
}
