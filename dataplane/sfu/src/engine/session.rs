//! The receiving side of one session: its ICE credentials and addresses, its keys, the SSRCs that
//! were latched, and its producers. The sending side is [`crate::room::peer::Peer`].

use std::time::Duration;

use hype_protocol::id::{RoomId, SessionId, UserId};
use hype_protocol::media::{Codec, CodecMapping, HeaderExtensions, SendLine, SourceKind};
use hype_protocol::observation::{OpenSession, VoiceFlags};

use crate::congestion::arrival::Arrivals;
use crate::congestion::reception::Reception;
use crate::drop_reason::DropReason;
use crate::room::producer::Producer;
use crate::time::Timestamp;
use crate::transmit::Destination;
use crate::transport::srtp::{Inbound, InboundRtcp, InboundStream};
use crate::wire::header_extension::Extensions;
use crate::wire::rtp;

use super::address::MAX_ADDRESSES;

/// The most SSRCs that one session sends with; the oldest idle one gives way.
pub(crate) const MAX_STREAMS: usize = 24;
/// An SSRC that sent nothing for this long may be forgotten for another.
const STREAM_IDLE: Duration = Duration::from_secs(10);
/// Without anything authentic for this long a session ends.
pub(crate) const SILENCE: Duration = Duration::from_secs(8);
/// A session whose keys do not come for this long ends.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The round trip that is assumed until one is known.
const ASSUMED_ROUND_TRIP: Duration = Duration::from_millis(100);

/// The receiving side of one session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) user: UserId,
    pub(crate) room: usize,
    pub(crate) room_id: RoomId,
    /// Its key in the room.
    pub(crate) peer: usize,
    pub(crate) remote_ufrag: Box<str>,
    pub(crate) password: Box<str>,
    /// Keys were derived, and there is no DTLS.
    pub(crate) native: bool,
    pub(crate) flags: VoiceFlags,
    pub(crate) extensions: HeaderExtensions,
    sends: Vec<SendLine>,
    send_codecs: Vec<CodecMapping>,
    pub(crate) decodes: Vec<Codec>,
    pub(crate) opened_at: Timestamp,
    pub(crate) opened_at_ms: u64,
    /// When something authentic was heard last.
    pub(crate) heard_at: Option<Timestamp>,
    pub(crate) connected: bool,
    /// Checked addresses, the one checked longest ago first.
    pub(crate) addresses: Vec<Destination>,
    pub(crate) inbound: Option<Inbound>,
    pub(crate) inbound_rtcp: InboundRtcp,
    pub(crate) streams: Vec<Stream>,
    next_stream: u32,
    pub(crate) producers: [Option<Box<Producer>>; 4],
    pub(crate) arrivals: Option<Arrivals>,
    pub(crate) feedback_count: u8,
    pub(crate) reports_at: Timestamp,
    /// Rounds of reports since one was sent to it.
    pub(crate) rounds_untold: u8,
    pub(crate) flow_at: Timestamp,
    pub(crate) round_trip: Option<Duration>,
    /// How far our wall clock is ahead of the client's, transit included, in 2^-32 s.
    pub(crate) clock_offset: Option<i64>,
    pub(crate) quality: Quality,
}

/// Sums of one statistics interval.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quality {
    pub(crate) bytes_in: u64,
    /// Sum and count of the fractions (of 256) that the client's report blocks told.
    pub(crate) lost_down: u64,
    pub(crate) blocks: u64,
    /// Expected and received at the start of the interval.
    pub(crate) expected: u64,
    pub(crate) received: u64,
    pub(crate) since: Timestamp,
}

/// What an SSRC carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) kind: SourceKind,
    pub(crate) layer: u8,
    pub(crate) retransmission: bool,
}

/// One latched SSRC.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) ssrc: u32,
    /// Its number among all that this session ever latched.
    pub(crate) number: u32,
    pub(crate) role: Role,
    pub(crate) window: InboundStream,
    pub(crate) reception: Reception,
    pub(crate) last_at: Timestamp,
    /// NTP time, RTP timestamp and arrival of its last sender report.
    pub(crate) sender_report: Option<(u64, u32, Timestamp)>,
}

impl Session {
    /// A session that nobody was heard of yet.
    pub(crate) fn new(
        open: OpenSession,
        native: bool,
        (room, peer): (usize, usize),
        password: String,
        now: Timestamp,
        unix_ms: u64,
    ) -> Self {
        let media = open.media;
        let receives = media.receive_codecs.iter().map(|mapping| mapping.codec);
        let mut decodes: Vec<Codec> = receives.filter(|codec| !codec.is_audio()).collect();
        decodes.dedup();
        Self {
            id: open.session,
            user: open.user,
            room,
            room_id: open.room,
            peer,
            remote_ufrag: open.remote_ufrag.into(),
            password: password.into(),
            native,
            flags: open.flags,
            extensions: media.extensions,
            sends: media.sends,
            send_codecs: media.send_codecs,
            decodes,
            opened_at: now,
            opened_at_ms: unix_ms,
            heard_at: None,
            connected: false,
            addresses: Vec::new(),
            inbound: None,
            inbound_rtcp: InboundRtcp::default(),
            streams: Vec::new(),
            next_stream: 1,
            producers: [const { None }; 4],
            arrivals: None,
            feedback_count: 0,
            reports_at: Timestamp::NEVER,
            rounds_untold: u8::MAX,
            flow_at: Timestamp::NEVER,
            round_trip: None,
            clock_offset: None,
            quality: Quality { since: now, ..Quality::default() },
        }
    }

    /// When it ends unless something is heard of it.
    pub(crate) fn expires_at(&self) -> Timestamp {
        let connect =
            if self.connected { Timestamp::NEVER } else { self.opened_at + CONNECT_TIMEOUT };
        self.heard_at.map_or(connect, |heard| connect.min(heard + SILENCE))
    }

    /// The round trip, or what is assumed until one is known.
    pub(crate) fn round_trip(&self) -> Duration {
        self.round_trip.unwrap_or(ASSUMED_ROUND_TRIP)
    }

    /// Notes an address that passed a check. Returns one that had to give way: the one checked
    /// longest ago, but never the `selected` one.
    pub(crate) fn note_address(
        &mut self,
        address: Destination,
        selected: Option<&Destination>,
    ) -> Option<Destination> {
        let known = self.addresses.iter().position(|known| *known == address);
        let evicted = match known {
            Some(place) => {
                self.addresses.remove(place);
                None
            }
            None if self.addresses.len() < MAX_ADDRESSES => None,
            None => {
                let oldest =
                    self.addresses.iter().position(|known| Some(known) != selected).unwrap_or(0);
                Some(self.addresses.remove(oldest))
            }
        };
        // Most clients ever have one.
        self.addresses.reserve_exact(1);
        self.addresses.push(address);
        evicted
    }

    /// The place of an SSRC in `streams`.
    #[inline]
    pub(crate) fn stream_of(&self, ssrc: u32) -> Option<usize> {
        self.streams.iter().position(|stream| stream.ssrc == ssrc)
    }

    /// Codec of a payload type, and whether it is the codec's retransmission.
    #[inline]
    pub(crate) fn codec_of(&self, payload_type: u8) -> Option<(Codec, bool)> {
        self.send_codecs.iter().find_map(|mapping| {
            if mapping.payload_type == payload_type {
                Some((mapping.codec, false))
            } else if mapping.rtx_payload_type == Some(payload_type) {
                Some((mapping.codec, true))
            } else {
                None
            }
        })
    }

    /// How many layers a producer of this kind has at most.
    pub(crate) fn layers_of(&self, kind: SourceKind) -> usize {
        let line = self.sends.iter().find(|line| line.kind == kind);
        line.map_or(1, |line| line.rids.len().max(1))
    }

    /// Binds an SSRC whose first packet was authentic to a line and layer (RFC 8843 §9.2), and
    /// returns its place in `streams`.
    ///
    /// # Errors
    /// Why the packet belongs nowhere.
    pub(crate) fn latch(
        &mut self,
        header: &rtp::Header,
        extensions: &Extensions<'_>,
        window: InboundStream,
        now: Timestamp,
    ) -> Result<usize, DropReason> {
        let (codec, retransmission) =
            self.codec_of(header.payload_type).ok_or(DropReason::UnknownPayloadType)?;
        let line = self.line_of(extensions.mid, codec)?;
        if line.kind.is_audio() != codec.is_audio() {
            return Err(DropReason::UnknownPayloadType);
        }
        let rid = if retransmission { extensions.repaired_rid } else { extensions.rid };
        let layer = if line.rids.is_empty() {
            0
        } else {
            let rid = rid.ok_or(DropReason::UnknownRid)?;
            line.rids
                .iter()
                .position(|known| known.as_str().as_bytes() == rid)
                .ok_or(DropReason::UnknownRid)?
        };
        let role = Role { kind: line.kind, layer: (layer & 0xff) as u8, retransmission };
        let stream = Stream {
            ssrc: header.ssrc,
            number: self.next_stream,
            role,
            window,
            reception: Reception::default(),
            last_at: now,
            sender_report: None,
        };
        let place = if self.streams.len() < MAX_STREAMS {
            self.streams.push(stream);
            self.streams.len() - 1
        } else {
            let place = (0..self.streams.len())
                .min_by_key(|place| self.streams[*place].last_at)
                .filter(|place| now.since(self.streams[*place].last_at) >= STREAM_IDLE)
                .ok_or(DropReason::TooManySsrcs)?;
            self.streams[place] = stream;
            place
        };
        self.next_stream += 1;
        Ok(place)
    }

    /// The line that a MID names. A client that does not tag its packets must be unambiguous: one
    /// line of the medium, or its microphone.
    fn line_of(&self, mid: Option<&[u8]>, codec: Codec) -> Result<&SendLine, DropReason> {
        if let Some(mid) = mid {
            return self
                .sends
                .iter()
                .find(|line| line.mid.as_str().as_bytes() == mid)
                .ok_or(DropReason::UnknownMid);
        }
        if self.extensions.mid.is_some() {
            return Err(DropReason::UnknownMid);
        }
        let mut fitting = self.sends.iter().filter(|line| line.kind.is_audio() == codec.is_audio());
        let first = fitting.next().ok_or(DropReason::UnknownMid)?;
        match fitting.next() {
            None => Ok(first),
            Some(_) => self
                .sends
                .iter()
                .find(|line| line.kind == SourceKind::Microphone && codec.is_audio())
                .ok_or(DropReason::UnknownMid),
        }
    }

    /// Its producer of a kind.
    #[inline]
    pub(crate) fn producer(&self, kind: SourceKind) -> Option<&Producer> {
        self.producers[kind as usize].as_deref()
    }

    /// Its producer of a kind.
    #[inline]
    pub(crate) fn producer_mut(&mut self, kind: SourceKind) -> Option<&mut Producer> {
        self.producers[kind as usize].as_deref_mut()
    }

    /// When something is to be told to it that may also come a little earlier.
    pub(crate) fn reports_due_at(&self) -> Timestamp {
        let arrivals = self.arrivals.as_ref().map_or(Timestamp::NEVER, Arrivals::due_at);
        arrivals.min(self.reports_at)
    }

    /// When its next other timer is due.
    pub(crate) fn due_at(&self) -> Timestamp {
        let producers = self.producers.iter().flatten();
        let feedback = producers.map(|producer| producer.feedback_due_at()).min();
        self.expires_at().min(feedback.unwrap_or(Timestamp::NEVER)).min(self.flow_at)
    }
}
