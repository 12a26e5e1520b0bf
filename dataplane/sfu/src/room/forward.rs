//! Sending pictures and their sound to one peer: place the packet in the slot's stream, and have it
//! written and sealed into the transmit buffer. Retransmissions go by RTX (RFC 4588) under an SSRC
//! and index of their own.

use std::time::Duration;

use crate::drop_reason::DropReason;
use crate::engine::counters::Counters;
use crate::time::Timestamp;
use crate::transmit::Transmit;
use crate::wire::rtp;

use super::header::AudioFields;
use super::peer::{Peer, payload_type};
use super::picture::Picture;
use super::picture_copy::{PictureCopy, Plaintext};
use super::retransmission::{PacketCache, Record};
use super::viewer::{Extra, SoundPacket, VideoPacket};

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
        plaintext: &mut Plaintext,
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
        let flow = consumer.flow.as_mut().ok_or(DropReason::NotWatched)?;
        let place = flow
            .rewriter
            .place(packet.run, packet.index, packet.timestamp, now)
            .ok_or(DropReason::BehindSwitch)?;
        consumer.current = Some(packet.layer);
        if let Some(records) = &flow.records {
            records.prefetch(place.index);
        }
        let offsets = flow.pictures.place(&packet.picture, place.first, packet.newest);
        let buffer = out.reserve().ok_or(DropReason::TransmitFull)?;
        let payload_len = plaintext.payload_len();
        let copy = PictureCopy {
            fields: rtp::Outgoing {
                payload_type,
                marker: packet.marker,
                sequence_number: (place.index & 0xffff) as u16,
                timestamp: place.timestamp,
                ssrc: consumer.ssrc,
                csrc: Some(packet.csrc),
            },
            ids: &self.extensions,
            mid: &consumer.mid,
            extra: &packet.extra,
            plaintext,
            picture: &packet.picture,
            offsets: &offsets,
        };
        let number = &mut self.transport_sequence;
        let len = copy.seal(outbound, &mut flow.stream, place.index, number, buffer)?;
        out.commit(len, destination);
        flow.sent.note(payload_len);
        self.bytes_out += len as u64;
        counters.sent(len);
        counters.forwarded += 1;
        if let Some(records) = &mut flow.records {
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
        let records = self.video.get_mut(slot)?.flow.as_mut()?.records.as_mut()?;
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
        // The positions are read anew: the cache keeps payloads as they came.
        let extra = Extra::decode(extra);
        let picture = if payload.is_empty() {
            Picture::default()
        } else {
            Picture::read(record.codec, payload, extra.dependency_descriptor)
                .map_err(|_| DropReason::PayloadMalformed)?
        };
        let payload_type = rtx.ok_or(DropReason::RtxUnknown)?;
        let original = (record.place.index & 0xffff) as u16;
        let mut plaintext = Plaintext::new(Some(original), payload)?;
        let flow = consumer.flow.as_mut().ok_or(DropReason::NotWatched)?;
        let index = flow.rtx_next;
        flow.rtx_next += 1;
        let buffer = out.reserve().ok_or(DropReason::TransmitFull)?;
        let copy = PictureCopy {
            fields: rtp::Outgoing {
                payload_type,
                marker: record.marker,
                sequence_number: (index & 0xffff) as u16,
                timestamp: record.place.timestamp,
                ssrc,
                csrc: Some(csrc),
            },
            ids: &self.extensions,
            mid: &consumer.mid,
            extra: &extra,
            plaintext: &mut plaintext,
            picture: &picture,
            offsets: &record.offsets,
        };
        let number = &mut self.transport_sequence;
        let len = copy.seal(outbound, &mut flow.rtx_stream, index, number, buffer)?;
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
        let flow = consumer.flow.as_mut().ok_or(DropReason::NotWatched)?;
        let sound = flow.sound.as_mut().ok_or(DropReason::NotWatched)?;
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
        sound.header.patch(&fields, &mut self.transport_sequence);
        let header = sound.header.copy_to(buffer).ok_or(DropReason::Oversize)?;
        let len = outbound
            .protect_beside(&mut sound.stream, place.index, header, packet.payload, buffer)
            .map_err(|error| error.drop_reason())?;
        out.commit(len, destination);
        sound.sent.note(packet.payload.len());
        self.bytes_out += len as u64;
        counters.sent(len);
        counters.forwarded += 1;
        Ok(())
    }
}
