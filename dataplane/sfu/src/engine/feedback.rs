//! SRTCP in: what publishers report of their streams, and what receivers ask of ours. RTCP ends
//! here; nothing of it is passed on.

use std::time::Duration;

use crate::drop_reason::DropReason;
use crate::room::remote::Publisher;
use crate::time::Timestamp;
use crate::transmit::{Destination, Transmit};
use crate::wire::rtcp::{Compound, Nack, Packet, ReportBlock, SenderReport};

use super::Engine;

/// The most packets that one NACK makes us send again.
const MAX_RESENT: usize = 64;
/// A longer round trip is a mistake.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(10);
/// From 1900, where NTP begins, to 1970.
const NTP_TO_UNIX_S: u64 = 2_208_988_800;

/// An NTP time: seconds since 1900 and their 2^-32 parts (RFC 5905 §6).
pub(super) fn ntp_time(unix_at_zero: Duration, now: Timestamp) -> u64 {
    let unix = unix_at_zero + Duration::from_nanos(now.as_nanos());
    let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
    unix.as_secs().wrapping_add(NTP_TO_UNIX_S) << 32 | fraction
}

/// The middle 32 bits of an NTP time (RFC 3550 §6.4.1, LSR).
pub(super) fn middle(ntp: u64) -> u32 {
    (ntp >> 16 & 0xffff_ffff) as u32
}

impl Engine {
    pub(super) fn handle_rtcp<T: Transmit>(
        &mut self,
        now: Timestamp,
        from: &Destination,
        datagram: &mut [u8],
        out: &mut T,
    ) -> Result<(), DropReason> {
        let key = self.addresses.get(from).ok_or(DropReason::UnknownAddress)?;
        let session = &mut self.sessions[key];
        let inbound = session.inbound.as_ref().ok_or(DropReason::SrtpNoKeys)?;
        let len = inbound
            .unprotect_rtcp(&mut session.inbound_rtcp, datagram)
            .map_err(|reject| reject.rtcp_drop_reason())?;
        session.heard_at = Some(now);
        session.quality.bytes_in += datagram.len() as u64;
        let compound = Compound::parse(&datagram[..len]).map_err(|_| DropReason::RtcpMalformed)?;
        for packet in compound.packets() {
            match packet {
                Packet::SenderReport(report) => {
                    self.note_sender_report(now, key, &report);
                    report.blocks().for_each(|block| self.note_block(now, key, &block));
                }
                Packet::ReceiverReport(report) => {
                    report.blocks().for_each(|block| self.note_block(now, key, &block));
                }
                Packet::Nack(nack) => self.answer_nack(now, key, &nack, out),
                Packet::PictureLoss(loss) => self.want_key_frame(key, loss.media_ssrc, now),
                Packet::FullIntraRequest(request) => {
                    for (ssrc, _) in request.entries().take(8) {
                        self.want_key_frame(key, ssrc, now);
                    }
                }
                Packet::ReceiverEstimate(_) => self.counters.receiver_estimates += 1,
                Packet::TransportFeedback(_) => self.counters.transport_feedback_received += 1,
                Packet::SourceDescription(_) | Packet::Goodbye(_) | Packet::Other => {}
            }
        }
        Ok(())
    }

    /// Keeps what binds a publisher's streams to its wall clock, and that clock to ours.
    fn note_sender_report(&mut self, now: Timestamp, key: usize, report: &SenderReport<'_>) {
        let ours = ntp_time(self.config.unix_at_zero, now);
        let session = &mut self.sessions[key];
        let Some(place) = session.stream_of(report.ssrc) else { return };
        session.streams[place].sender_report = Some((report.ntp_time, report.rtp_timestamp, now));
        let offset = ours.wrapping_sub(report.ntp_time).cast_signed();
        // The least transit is nearest to the truth; slowly forgotten, since clocks drift.
        session.clock_offset = Some(match session.clock_offset {
            Some(known) if known < offset => known + (offset.saturating_sub(known) >> 6),
            Some(_) | None => offset,
        });
    }

    /// A client tells how a stream of ours arrives.
    fn note_block(&mut self, now: Timestamp, key: usize, block: &ReportBlock) {
        let ours = middle(ntp_time(self.config.unix_at_zero, now));
        let session = &mut self.sessions[key];
        session.quality.lost_down += u64::from(block.fraction_lost);
        session.quality.blocks += 1;
        if block.last_sender_report == 0 {
            return;
        }
        // RFC 3550 §6.4.1: now − LSR − DLSR, in 1/65536 s.
        let units = ours
            .wrapping_sub(block.last_sender_report)
            .wrapping_sub(block.delay_since_last_sender_report);
        let sample = Duration::from_micros((u64::from(units) * 1_000_000) >> 16);
        if sample < MAX_ROUND_TRIP {
            session.round_trip =
                Some(session.round_trip.map_or(sample, |known| (known * 7 + sample) / 8));
        }
    }

    /// Sends again what a viewer lost, if it is still in the layer's cache.
    fn answer_nack<T: Transmit>(
        &mut self,
        now: Timestamp,
        key: usize,
        nack: &Nack<'_>,
        out: &mut T,
    ) {
        let session = &self.sessions[key];
        let round_trip = session.round_trip();
        let room = &mut self.rooms[session.room];
        let peer = &room.peers[session.peer];
        let slot = peer.video.iter().position(|consumer| consumer.ssrc == nack.media_ssrc);
        let Some(slot) = slot else { return };
        let Some(view) = peer.video[slot].view else { return };
        // Of a publisher in another part, his mirror here keeps what was sent.
        let producer = match peer.video[slot].publisher {
            None => return,
            Some(Publisher::Here(publisher)) => {
                let Some(source) = room.peers.get(publisher) else { return };
                self.sessions[source.session].producer(view.kind)
            }
            Some(Publisher::There(key)) => {
                let remotes = room.shared.as_ref().map(|shared| &shared.remotes);
                let mirror = remotes.and_then(|remotes| remotes.get(key)?.mirror(view.kind));
                mirror.map(|mirror| &mirror.producer)
            }
        };
        let Some(producer) = producer else { return };
        let csrc = view.source.0;
        let peer = &mut room.peers[session.peer];
        for number in nack.sequence_numbers().take(MAX_RESENT) {
            self.counters.nacks_received += 1;
            let Some(record) = peer.take_record(slot, number, now, round_trip) else { continue };
            let layer = producer
                .layers
                .get(usize::from(record.layer))
                .filter(|layer| layer.stream == record.stream && producer.run == record.producer);
            let Some(cache) = layer.and_then(|layer| layer.cache.as_ref()) else { continue };
            let sent = peer.resend_video(slot, &record, cache, csrc, &mut self.counters, out);
            if let Err(reason) = sent {
                self.counters.drops.count(reason);
            }
        }
    }

    /// A viewer cannot decode: its layer's publisher is asked for a key frame, at the layer's pace.
    fn want_key_frame(&mut self, key: usize, ssrc: u32, now: Timestamp) {
        let room = self.sessions[key].room;
        let consumers = &self.rooms[room].peers[self.sessions[key].peer].video;
        let Some(consumer) = consumers.iter().find(|consumer| consumer.ssrc == ssrc) else {
            return;
        };
        let (Some(view), Some(publisher)) = (consumer.view, consumer.publisher) else { return };
        let Some(layer) = consumer.current.or(consumer.target) else { return };
        let Some(producer) = self.producer_of_mut(room, publisher, view.kind) else { return };
        if let Some(layer) = producer.layers.get_mut(usize::from(layer)) {
            layer.key_frame.want();
            self.feedback_due(room, publisher, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_begins_in_1900() {
        // 1 January 1970 00:00:00.5 is 2,208,988,800.5 s after 1900.
        let ntp = ntp_time(Duration::ZERO, Timestamp::from_millis(500));
        assert_eq!(ntp, 2_208_988_800 << 32 | 1 << 31);
        assert_eq!(middle(0x1122_3344_5566_7788), 0x3344_5566);
    }
}
