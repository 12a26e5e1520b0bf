//! SRTP in: decrypt, find the stream, keep its statistics, and hand the packet to whoever gets it.
//! This is the path of every packet: nothing here allocates once a stream is known.

use hype_protocol::media::{Codec, SourceKind};

use crate::congestion::arrival::Arrivals;
use crate::congestion::unwrap_u16;
use crate::drop_reason::DropReason;
use crate::room::VoicePacket;
use crate::room::producer::{Producer, SILENCE};
use crate::room::remote::Publisher;
use crate::room::speaker::Activity;
use crate::room::viewer::{Extra, SoundPacket};
use crate::time::Timestamp;
use crate::transmit::{Destination, Transmit};
use crate::transport::srtp::InboundStream;
use crate::wire::header_extension::Extensions;
use crate::wire::rtp::Header;

use super::Engine;
use super::deliver::Incoming;
use super::session::Role;

/// Opus sends nothing longer than this to say that there is nothing to hear (RFC 6716 §3.1: a
/// frame of one byte or none).
const DTX_PAYLOAD: usize = 2;

impl Engine {
    #[inline]
    pub(super) fn handle_rtp<T: Transmit>(
        &mut self,
        now: Timestamp,
        from: &Destination,
        datagram: &mut [u8],
        out: &mut T,
    ) -> Result<(), DropReason> {
        let key = self.addresses.get(from).ok_or(DropReason::UnknownAddress)?;
        let header = Header::parse(datagram).map_err(|_| DropReason::RtpMalformed)?;
        let session = &mut self.sessions[key];
        let inbound = session.inbound.as_ref().ok_or(DropReason::SrtpNoKeys)?;
        // An unknown SSRC is tried with a fresh window; it is kept only once it is authentic and
        // belongs to a line, so forged ones leave no trace.
        let known = session.stream_of(header.ssrc);
        let mut fresh = InboundStream::default();
        let window = match known {
            Some(place) => &mut session.streams[place].window,
            None => &mut fresh,
        };
        let len = inbound
            .unprotect_rtp(window, datagram, &header)
            .map_err(|reject| reject.rtp_drop_reason())?;
        session.heard_at = Some(now);
        session.quality.bytes_in += datagram.len() as u64;
        let packet = &mut datagram[..len];
        let payload_len = header.payload(packet).map_err(|_| DropReason::RtpMalformed)?.len();
        let (head, payload) = packet.split_at_mut(header.header_len());
        let payload = &mut payload[..payload_len];
        let extensions = Extensions::read(header.elements(head), &session.extensions);
        if let Some(number) = extensions.transport_sequence_number {
            let arrivals = session.arrivals.get_or_insert_with(Arrivals::new);
            arrivals.note(number, now);
            self.report_deadlines.set_earlier(key, arrivals.due_at());
        }
        let place = match known {
            Some(place) => place,
            None => session.latch(&header, &extensions, fresh, now)?,
        };
        let (codec, retransmission) =
            session.codec_of(header.payload_type).ok_or(DropReason::UnknownPayloadType)?;
        let no_stream = session.flags.no_stream;
        let stream = &mut session.streams[place];
        let role = stream.role;
        if retransmission != role.retransmission || codec.is_audio() != role.kind.is_audio() {
            return Err(DropReason::UnknownPayloadType);
        }
        // The packet's own index: the window has just committed it.
        let index = stream
            .window
            .estimate(header.sequence_number)
            .map_err(|reject| reject.rtp_drop_reason())?;
        stream.last_at = now;
        stream.reception.note(index, header.timestamp, codec.clock_rate(), now);
        let number = stream.number;
        if no_stream && role.kind != SourceKind::Microphone {
            return Err(DropReason::Muted);
        }
        match role.kind {
            SourceKind::Microphone => {
                if session.producer(SourceKind::Microphone).is_none() {
                    self.start_producer(key, SourceKind::Microphone, codec, now);
                }
                let session = &self.sessions[key];
                if session.flags.muted() {
                    return Err(DropReason::Muted);
                }
                let activity = match extensions.audio_level {
                    Some(level) => Activity::Level(level.level, level.voice),
                    None if payload.len() <= DTX_PAYLOAD => Activity::Silence,
                    None => Activity::Unmeasured,
                };
                let packet = VoicePacket {
                    run: number,
                    index,
                    timestamp: header.timestamp,
                    marker: header.marker,
                    activity,
                    payload,
                };
                let (room, peer) = (session.room, session.peer);
                let room_state = &mut self.rooms[room];
                let outcome = room_state.forward_voice(peer, &packet, now, &mut self.counters, out);
                let due = room_state.speakers_due(now);
                if due != Timestamp::NEVER {
                    self.speaker_deadlines.set_earlier(room, due);
                }
                outcome
            }
            SourceKind::ScreenAudio => {
                self.note_stream(key, role, header.ssrc, number, codec, now)?;
                let session = &self.sessions[key];
                let producer = session.producer(role.kind).ok_or(DropReason::NotWatched)?;
                let packet = SoundPacket {
                    run: producer.run_of(0),
                    index,
                    timestamp: header.timestamp,
                    marker: header.marker,
                    csrc: session.id.source().0,
                    payload,
                };
                self.forward_sound(now, key, &packet, out)
            }
            SourceKind::Camera | SourceKind::Screen => {
                let extra = Extra {
                    orientation: extensions.video_orientation,
                    playout_delay: extensions.playout_delay,
                    dependency_descriptor: extensions.dependency_descriptor,
                };
                let (timestamp, marker) = (header.timestamp, header.marker);
                if !retransmission {
                    self.note_stream(key, role, header.ssrc, number, codec, now)?;
                    let packet = Incoming { role, codec, index, timestamp, marker, extra };
                    return self.forward_video(now, key, &packet, payload, out);
                }
                // RFC 4588 §4: the original sequence number, then the original payload. Without
                // either it is padding that probes the path.
                let Some((original, payload)) =
                    payload.split_first_chunk_mut().filter(|(_, rest)| !rest.is_empty())
                else {
                    return Ok(());
                };
                self.counters.rtx_received += 1;
                let highest = self.sessions[key]
                    .producer(role.kind)
                    .and_then(|producer| producer.layers.get(usize::from(role.layer)))
                    .and_then(|layer| layer.missing.highest())
                    .ok_or(DropReason::RtxUnknown)?;
                let index = unwrap_u16(highest, u16::from_be_bytes(*original));
                if index > highest {
                    // It repairs what was never seen to be missing: padding by old packets too.
                    return Err(DropReason::RtxUnknown);
                }
                let packet = Incoming { role, codec, index, timestamp, marker, extra };
                self.forward_video(now, key, &packet, payload, out)
            }
        }
    }

    /// Starts a producer, and shows it to those who asked for it.
    fn start_producer(&mut self, key: usize, kind: SourceKind, codec: Codec, now: Timestamp) {
        let session = &mut self.sessions[key];
        let layers = session.layers_of(kind);
        let producer = Producer::new(self.next_producer, kind, codec, layers, now);
        // A producer's number tells its runs apart; it wraps after four billion of them.
        self.next_producer = self.next_producer.wrapping_add(1);
        session.producers[kind as usize] = Some(Box::new(producer));
        if kind != SourceKind::Microphone {
            session.flow_at = session.flow_at.min(now + SILENCE / 8);
            let flow_at = session.flow_at;
            self.session_deadlines.set_earlier(key, flow_at);
        }
        self.emit_status(key);
        if kind != SourceKind::Microphone {
            self.show_producer(key, kind, now);
        }
    }

    /// Notes a packet of a layer: its producer starts, its codec or SSRC changes, it flows again.
    ///
    /// # Errors
    /// [`DropReason::RestartTooSoon`] when such a change follows another one too soon.
    fn note_stream(
        &mut self,
        key: usize,
        role: Role,
        ssrc: u32,
        number: u32,
        codec: Codec,
        now: Timestamp,
    ) -> Result<(), DropReason> {
        let kind = role.kind;
        if self.sessions[key].producer(kind).is_none() {
            self.start_producer(key, kind, codec, now);
        }
        let producer = self.sessions[key].producer_mut(kind).ok_or(DropReason::NotWatched)?;
        let layer =
            producer.layers.get_mut(usize::from(role.layer)).ok_or(DropReason::UnknownRid)?;
        let other_codec = producer.codec != codec;
        let restarted = layer.stream != number;
        let other_ssrc = restarted && layer.stream != 0;
        // Refused before anything changes: what flowed before goes on.
        if other_codec && !producer.codec_changes.is_ready(now)
            || other_ssrc && !layer.restarts.is_ready(now)
        {
            return Err(DropReason::RestartTooSoon);
        }
        if other_codec {
            producer.codec_changes.note(now);
        }
        if other_ssrc {
            layer.restarts.note(now);
        }
        producer.last_at = now;
        producer.codec = codec;
        layer.last_at = now;
        if restarted {
            // Another SSRC: neither its numbers nor its pictures go on.
            layer.ssrc = ssrc;
            layer.stream = number;
            layer.missing.clear();
            if let Some(cache) = &mut layer.cache {
                cache.clear();
            }
        }
        let began = !layer.flowing;
        layer.flowing = true;
        if !(other_codec || restarted || began) {
            return Ok(());
        }
        producer.untold = true;
        let session = &self.sessions[key];
        let (room, source) = (session.room, session.id.source());
        let publisher = Publisher::Here(session.peer);
        if other_codec || restarted {
            self.restart_viewers(room, publisher, kind, (!other_codec).then_some(role.layer));
            if other_codec {
                self.emit_status(key);
            }
        }
        self.tell_watchers(room, source);
        self.select_layers(room, publisher, kind, now);
        Ok(())
    }
}
