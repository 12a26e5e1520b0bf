//! RTCP out. To publishers: transport-cc feedback, NACK and key frame requests as soon as they are
//! due (reduced size, RFC 5506). Once a second: sender reports on the node's clock for lines that
//! sent, receiver reports for streams that came, and our canonical name; to who gets voice alone, every
//! five seconds.

use std::time::Duration;

use hype_protocol::media::SourceKind;
use slab::Slab;

use crate::congestion::arrival::SPAN;
use crate::drop_reason::DropReason;
use crate::room::Room;
use crate::room::peer::Peer;
use crate::room::remote::Publisher;
use crate::room::rewriter::Rewriter;
use crate::time::Timestamp;
use crate::transmit::{MAX_DATAGRAM, Transmit};
use crate::transport::srtp::MAX_RTCP_OVERHEAD;
use crate::wire::rtcp::ReportBlock;
use crate::wire::rtcp::transport_cc::Base;
use crate::wire::rtcp::writer::{MAX_BLOCKS, SenderInfo, Writer};

use super::counters::Counters;
use super::feedback::{middle, ntp_time};
use super::session::Session;
use super::{Engine, session};

/// A round: between two compound reports of one session (RFC 3550 §6.2 would allow more often).
const INTERVAL: Duration = Duration::from_secs(1);
/// In one of so many rounds a session is told that neither publishes nor watches: the interval of
/// RFC 3550 §6.2, and of browsers for sound. A picture's and its sound's reports keep them together,
/// and a publisher is to hear of losses while they last.
const VOICE_ROUNDS: u8 = 5;
/// Sessions that are told in one turn, or more in a large worker's: one that wakes for each of them
/// costs more than they do.
const TOGETHER: usize = 16;
/// The most turns of a round.
const TURNS: u32 = 20;

/// When one of so many sessions, which is told now, is to be told again.
pub(super) fn next_at(now: Timestamp, sessions: usize) -> Timestamp {
    let turns = u32::try_from(sessions / TOGETHER).unwrap_or(TURNS).clamp(1, TURNS);
    (now + INTERVAL).aligned(INTERVAL / turns)
}

/// The most sequence numbers asked for at once in one layer.
const MAX_NACKS: usize = 64;
/// Sender reports of one compound; more lines than these take another one.
const MAX_SENDERS: usize = 16;
/// Room for one RTCP datagram before it is encrypted: within the least path MTU of IPv6.
const MAX_COMPOUND: usize = 1200;
const _: () = assert!(MAX_COMPOUND + MAX_RTCP_OVERHEAD <= MAX_DATAGRAM);

impl Peer {
    /// Builds, encrypts and sends one RTCP datagram; nothing when nothing was written.
    fn send_rtcp<T: Transmit>(
        &mut self,
        counters: &mut Counters,
        out: &mut T,
        build: impl FnOnce(&mut Writer<'_>),
    ) {
        let (Some(outbound), Some(destination)) = (&self.outbound, &self.destination) else {
            return;
        };
        let Some(buffer) = out.reserve() else {
            counters.drops.count(DropReason::TransmitFull);
            return;
        };
        let room = buffer.len().min(MAX_COMPOUND);
        let mut writer = Writer::new(&mut buffer[..room]);
        build(&mut writer);
        let len = writer.len();
        if len == 0 {
            return;
        }
        match outbound.protect_rtcp(&mut self.outbound_rtcp, buffer, len) {
            Ok(len) => {
                out.commit(len, destination);
                self.bytes_out += len as u64;
                counters.sent(len);
            }
            Err(error) => counters.drops.count(error.drop_reason()),
        }
    }
}

impl Engine {
    /// Tells a publisher what arrived, if that is due by `soon`.
    pub(super) fn send_transport_feedback<T: Transmit>(
        &mut self,
        key: usize,
        soon: Timestamp,
        out: &mut T,
    ) {
        let session = &mut self.sessions[key];
        let peer = &mut self.rooms[session.room].peers[session.peer];
        if !peer.is_reachable() {
            return;
        }
        let sender_ssrc = peer.rtcp_ssrc;
        if let Some(arrivals) = session.arrivals.as_mut().filter(|it| it.due_at() <= soon) {
            let mut times = [Timestamp::NEVER; SPAN];
            if let Some((first, count)) = arrivals.take(&mut times) {
                let media_ssrc = session.streams.first().map_or(0, |stream| stream.ssrc);
                let mut told = 0;
                // Arrivals more than 8 s apart do not fit one message.
                while told < count {
                    let base = Base {
                        sender_ssrc,
                        media_ssrc,
                        sequence_number: first.wrapping_add((told & 0xffff) as u16),
                        feedback_count: session.feedback_count,
                    };
                    let mut here = 0;
                    peer.send_rtcp(&mut self.counters, out, |writer| {
                        here = writer.transport_feedback(&base, &times[told..count]).unwrap_or(0);
                    });
                    if here == 0 {
                        break;
                    }
                    session.feedback_count = session.feedback_count.wrapping_add(1);
                    self.counters.transport_feedback_sent += 1;
                    told += here;
                }
            }
        }
    }

    /// Asks a publisher for what is due: missing packets, key frames.
    pub(super) fn send_requests<T: Transmit>(&mut self, key: usize, now: Timestamp, out: &mut T) {
        let session = &mut self.sessions[key];
        let peer = &mut self.rooms[session.room].peers[session.peer];
        if !peer.is_reachable() {
            return;
        }
        let (sender_ssrc, round_trip) = (peer.rtcp_ssrc, session.round_trip());
        for producer in session.producers.iter_mut().flatten() {
            for layer in &mut producer.layers {
                let mut numbers = [0; MAX_NACKS];
                let (mut wanted, mut gave_up) = (0, false);
                if layer.missing.due_at() <= now {
                    (wanted, gave_up) = layer.missing.take_due(now, round_trip, &mut numbers);
                }
                // Nobody needs the packets of a layer that nobody watches.
                if !layer.watched {
                    continue;
                }
                if gave_up {
                    layer.key_frame.want();
                }
                let picture_loss = layer.key_frame.take_due(now);
                if wanted == 0 && !picture_loss {
                    continue;
                }
                self.counters.nacks_sent += wanted as u64;
                self.counters.key_frames_requested += u64::from(picture_loss);
                peer.send_rtcp(&mut self.counters, out, |writer| {
                    // What does not fit is asked for again later.
                    let _ = writer.nack(sender_ssrc, layer.ssrc, &numbers[..wanted]);
                    if picture_loss {
                        let _ = writer.picture_loss(sender_ssrc, layer.ssrc);
                    }
                });
            }
        }
    }

    /// Sends the round's compound report, if there is anything to report.
    pub(super) fn send_reports<T: Transmit>(&mut self, key: usize, now: Timestamp, out: &mut T) {
        let mut blocks = [ReportBlock::default(); MAX_BLOCKS];
        let session = &mut self.sessions[key];
        let count = collect_blocks(session, now, &mut blocks);
        let peer = &self.rooms[session.room].peers[session.peer];
        let watches = peer.video.iter().any(|slot| slot.flow.is_some());
        session.rounds_untold = session.rounds_untold.saturating_add(1);
        if count == 0 && !watches && session.rounds_untold < VOICE_ROUNDS {
            return;
        }
        let ntp = ntp_time(self.config.unix_at_zero, now);
        let mut senders = [None;
            2 * hype_protocol::media::MAX_VIDEO_SLOTS + hype_protocol::media::MAX_VOICE_SLOTS];
        self.collect_sender_reports(key, now, ntp, &mut senders);
        if count == 0 && senders.iter().all(Option::is_none) {
            return;
        }
        let session = &mut self.sessions[key];
        session.rounds_untold = 0;
        let peer = &mut self.rooms[session.room].peers[session.peer];
        let (ssrc, name) = (peer.rtcp_ssrc, self.config.cname.as_bytes());
        let mut blocks = &blocks[..count];
        for infos in senders.chunks(MAX_SENDERS) {
            let infos = infos.iter().flatten();
            if infos.clone().next().is_none() && blocks.is_empty() {
                break;
            }
            peer.send_rtcp(&mut self.counters, out, |writer| {
                for info in infos.clone() {
                    // All of them and the blocks fit; were it otherwise, the rest would be left out.
                    let _ = writer.sender_report(info, &[]);
                }
                let _ = writer.receiver_report(ssrc, blocks);
                // RFC 3550 §6.1: each compound carries a canonical name.
                let _ = writer.canonical_name(ssrc, name);
                for info in infos {
                    let _ = writer.canonical_name(info.ssrc, name);
                }
            });
            blocks = &[];
        }
    }

    /// Fills `infos` with the lines of a peer that sent something since the last report.
    fn collect_sender_reports(
        &mut self,
        key: usize,
        now: Timestamp,
        ntp: u64,
        infos: &mut [Option<SenderInfo>],
    ) {
        let session = &self.sessions[key];
        let room = &mut self.rooms[session.room];
        let mut infos = infos.iter_mut();
        let mut push = |ssrc, rtp_timestamp, sent: &crate::room::consumer::SentCount| {
            if let Some(place) = infos.next() {
                *place = Some(SenderInfo {
                    ssrc,
                    ntp_time: ntp,
                    rtp_timestamp,
                    packet_count: sent.packets,
                    octet_count: sent.octets,
                });
            }
        };
        for (consumer, slot) in room.peers[session.peer].voice.iter_mut().zip(&room.voice) {
            if consumer.sent.take_activity() {
                push(consumer.ssrc, slot.timestamp_at(now), &consumer.sent);
            }
        }
        for slot in 0..room.peers[session.peer].video.len() {
            let consumer = &room.peers[session.peer].video[slot];
            let Some(flow) = &consumer.flow else { continue };
            let clock = |kind, layer| {
                let publisher = consumer.publisher?;
                clock_of(&self.sessions, room, publisher, kind, layer)
            };
            let video = consumer.view.zip(consumer.current).and_then(|(view, layer)| {
                timestamp_by_publisher(clock(view.kind, layer)?, &flow.rewriter, 90_000, ntp)
            });
            let sound = flow.sound.as_ref().and_then(|sound| {
                let clock = clock(SourceKind::ScreenAudio, 0)?;
                timestamp_by_publisher(clock, &sound.rewriter, 48_000, ntp)
            });
            let consumer = &mut room.peers[session.peer].video[slot];
            let Some(flow) = &mut consumer.flow else { continue };
            if flow.sent.take_activity() {
                let timestamp = video.unwrap_or_else(|| flow.rewriter.timestamp_at(now));
                push(consumer.ssrc, timestamp, &flow.sent);
            }
            if let Some(line) = &mut flow.sound
                && line.sent.take_activity()
            {
                let timestamp = sound.unwrap_or_else(|| line.rewriter.timestamp_at(now));
                push(line.ssrc, timestamp, &line.sent);
            }
        }
    }
}

/// What binds the timestamps of a publisher's layer to our clock: a moment of his last sender
/// report, here or as his part of the room told it.
fn clock_of(
    sessions: &Slab<Session>,
    room: &Room,
    publisher: Publisher,
    kind: SourceKind,
    layer: u8,
) -> Option<(u64, u32)> {
    match publisher {
        Publisher::Here(peer) => sessions.get(room.peers.get(peer)?.session)?.clock(kind, layer),
        Publisher::There(key) => {
            let mirror = room.shared.as_ref()?.remotes.get(key)?.mirror(kind)?;
            *mirror.clocks.get(usize::from(layer))?
        }
    }
}

impl Session {
    /// The moment of a layer's last sender report by our clock, and its RTP timestamp.
    pub(super) fn clock(&self, kind: SourceKind, layer: u8) -> Option<(u64, u32)> {
        let number = self.producer(kind)?.layers.get(usize::from(layer))?.stream;
        let stream = self.streams.iter().find(|stream| stream.number == number)?;
        let (reported, timestamp, _) = stream.sender_report?;
        Some((reported.wrapping_add_signed(self.clock_offset?), timestamp))
    }
}

/// The outgoing timestamp at our time `ntp`, by the publisher's own sender report, so that a
/// picture and its sound stay together (RFC 3550 §6.4.1).
fn timestamp_by_publisher(
    (reported, reported_timestamp): (u64, u32),
    rewriter: &Rewriter,
    clock_rate: u32,
    ntp: u64,
) -> Option<u32> {
    let mapped = rewriter.map_timestamp(reported_timestamp)?;
    let elapsed = i128::from(ntp.wrapping_sub(reported).cast_signed());
    let ticks = (elapsed * i128::from(clock_rate)) >> 32;
    // A timestamp wraps, and so does the way to it.
    Some(mapped.wrapping_add((ticks & i128::from(u32::MAX)) as u32))
}

/// Fills `blocks` with the streams that sent something lately, and returns how many there are.
fn collect_blocks(
    session: &mut Session,
    now: Timestamp,
    blocks: &mut [ReportBlock; MAX_BLOCKS],
) -> usize {
    let active = session.streams.iter_mut().filter(|stream| {
        !stream.role.retransmission
            && stream.reception.started()
            && now.since(stream.last_at) < session::SILENCE
    });
    let mut count = 0;
    for (block, stream) in blocks.iter_mut().zip(active) {
        let interval = stream.reception.report();
        let (last, delay) = stream.sender_report.map_or((0, 0), |(ntp, _, arrival)| {
            let delay = now.since(arrival).as_micros() * 65_536 / 1_000_000;
            (middle(ntp), u32::try_from(delay).unwrap_or(u32::MAX))
        });
        *block = ReportBlock {
            ssrc: stream.ssrc,
            fraction_lost: interval.fraction_lost,
            cumulative_lost: interval.cumulative_lost,
            highest_sequence_number: interval.highest,
            jitter: interval.jitter,
            last_sender_report: last,
            delay_since_last_sender_report: delay,
        };
        count += 1;
    }
    count
}
