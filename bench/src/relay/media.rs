//! What is said and what is heard: the speakers' and publishers' packets, sealed by webrtc-srtp
//! (not our own), and the check of a sample of what comes back. Payloads begin with a number and
//! the time of sending, so that a sample tells the latency.

use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use hype_protocol::id::SessionId;
use hype_protocol::media::{
    Codec, CodecMapping, HeaderExtensions, Mid, ReceiveLine, SendLine, SessionMedia, SourceKind,
    VideoSlot,
};
use hype_protocol::secret::SrtpKeying;
use webrtc_srtp::context::Context as Srtp;
use webrtc_util::marshal::{Marshal, Unmarshal};

use crate::{ice, srtp};

/// The SSRC of the first voice slot; the others follow.
pub const FIRST_SLOT: u32 = 1000;
const VIDEO_SLOT: u32 = 2000;
const VOICE_TYPE: u8 = 111;
const VIDEO_TYPE: u8 = 96;
const LEVEL: u8 = 1;
const TRANSPORT: u8 = 3;
const MID: u8 = 4;
/// RFC 6464: speech at −20 dBov.
const SPEECH: u8 = 0x80 | 20;
/// Number and time.
const STAMP: usize = 12;

/// Bytes of a voice packet's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    /// Always this many.
    Bytes(usize),
    /// 60–200, another number each time, as Opus with a variable bit rate.
    Vbr,
}

impl FromStr for Payload {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "vbr" => Ok(Self::Vbr),
            _ => match text.parse() {
                Ok(bytes @ 20..=1200) => Ok(Self::Bytes(bytes)),
                _ => Err("expected vbr, or 20 to 1200 bytes".into()),
            },
        }
    }
}

/// What those who speak send.
#[derive(Debug, Clone, Copy)]
pub enum Traffic {
    /// A packet every 20 ms.
    Voice(Payload),
    /// Frames, each a burst of packets whose sizes differ by at most one byte, as browsers make
    /// them.
    Video {
        /// Frames a second.
        frames: u32,
        /// Packets of each.
        packets: u32,
        /// Payload of each, about.
        bytes: usize,
    },
}

impl Traffic {
    /// Time between two bursts.
    pub fn interval(self) -> Duration {
        match self {
            Self::Voice(_) => Duration::from_millis(20),
            Self::Video { frames, .. } => Duration::from_secs(1) / frames,
        }
    }

    /// What a session must have settled to take part.
    pub fn session_media(self, slots: usize) -> SessionMedia {
        let mid = |text: String| Mid::try_from(text).expect("a character is a mid");
        let line = |kind, name: &str| SendLine { mid: mid(name.into()), kind, rids: Vec::new() };
        let codec =
            |codec, payload_type, rtx| CodecMapping { codec, payload_type, rtx_payload_type: rtx };
        let codecs = vec![
            codec(Codec::Opus, VOICE_TYPE, None),
            codec(Codec::Vp8, VIDEO_TYPE, Some(VIDEO_TYPE + 1)),
        ];
        // One visible character each, so that all slots' packets are of one length.
        let name = |index: usize| mid(char::from(b'!' + (index & 0x3f) as u8).to_string());
        let voice = |index: usize| ReceiveLine {
            mid: name(index),
            ssrc: FIRST_SLOT + u32::try_from(index).unwrap_or(0),
            rtx_ssrc: None,
        };
        let video =
            ReceiveLine { mid: mid("w".into()), ssrc: VIDEO_SLOT, rtx_ssrc: Some(VIDEO_SLOT + 1) };
        let (voices, pictures) = match self {
            Self::Voice(_) => (slots, 0),
            Self::Video { .. } => (0, 1),
        };
        SessionMedia {
            extensions: HeaderExtensions {
                audio_level: Some(LEVEL),
                transport_cc: Some(TRANSPORT),
                mid: Some(MID),
                ..HeaderExtensions::default()
            },
            send_codecs: codecs.clone(),
            receive_codecs: codecs,
            sends: vec![line(SourceKind::Microphone, "x"), line(SourceKind::Screen, "y")],
            voice_slots: (0..voices).map(voice).collect(),
            video_slots: (0..pictures)
                .map(|_| VideoSlot { video: video.clone(), sound: None })
                .collect(),
        }
    }
}

/// A session of the benchmark as its client knows it.
#[derive(Debug, Clone)]
pub struct Person {
    /// Which.
    pub session: SessionId,
    /// Its address; the port is the generator's.
    pub ip: Ipv4Addr,
    /// For its ICE checks.
    pub credentials: ice::Credentials,
    /// None against the floor, which has no crypto.
    pub keying: Option<SrtpKeying>,
}

/// To seal what it sends, and to open what it gets.
fn contexts(person: &Person) -> anyhow::Result<Option<[Srtp; 3]>> {
    let keying = person.keying.as_ref();
    keying.map(|keying| srtp::contexts(keying.profile, &keying.material)).transpose()
}

/// Somebody who sends.
pub struct Source {
    traffic: Traffic,
    outbound: Option<Srtp>,
    packet: rtp::packet::Packet,
    number: u32,
    bursts: u32,
    random: u32,
}

impl Source {
    /// For a person of its own.
    ///
    /// # Errors
    /// When the keys do not fit their profile.
    pub fn new(traffic: Traffic, person: &Person) -> anyhow::Result<Self> {
        let mut packet = rtp::packet::Packet::default();
        packet.header.version = 2;
        packet.header.ssrc = 0x5eed_0000 | (person.session.0 as u32 & 0xffff);
        let outbound = contexts(person)?.map(|[outbound, ..]| outbound);
        let random = person.session.0 as u32 | 1;
        Ok(Self { traffic, outbound, packet, number: 0, bursts: 0, random })
    }

    /// Nothing is sent for a while: pictures go on with a key frame.
    pub fn rest(&mut self) {
        self.bursts = 0;
    }

    /// Gives each packet of the next burst to `send`.
    pub fn burst(&mut self, now: Duration, mut send: impl FnMut(&[u8])) {
        let interval = self.traffic.interval();
        match self.traffic {
            Traffic::Voice(payload) => {
                self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let len = match payload {
                    Payload::Bytes(bytes) => bytes,
                    Payload::Vbr => 60 + (self.random >> 16) as usize % 141,
                };
                self.packet.header.payload_type = VOICE_TYPE;
                let ticks = interval.as_micros() * 48 / 1000;
                self.advance(u32::try_from(ticks).unwrap_or(0));
                self.one(b"x", vec![0; len], 0, now, &mut send);
            }
            Traffic::Video { packets, bytes, .. } => {
                self.packet.header.payload_type = VIDEO_TYPE;
                let ticks = interval.as_micros() * 9 / 100;
                self.advance(u32::try_from(ticks).unwrap_or(0));
                // A frame is split evenly; what does not go up makes the last ones longer by one.
                let longer = self.bursts % packets;
                for number in 0..packets {
                    let mut payload = vec![0; bytes + usize::from(number >= packets - longer)];
                    // RFC 7741 §4.2: the first packet of a partition, and a key frame (§4.3) at
                    // times, so that whoever watches can begin.
                    payload[0] = if number == 0 { 0x10 } else { 0 };
                    payload[1] = u8::from(!self.bursts.is_multiple_of(15));
                    self.packet.header.marker = number + 1 == packets;
                    self.one(b"y", payload, 2, now, &mut send);
                }
            }
        }
        self.bursts = self.bursts.wrapping_add(1);
    }

    fn advance(&mut self, ticks: u32) {
        self.packet.header.timestamp = self.packet.header.timestamp.wrapping_add(ticks);
    }

    fn one(
        &mut self,
        mid: &'static [u8],
        mut payload: Vec<u8>,
        stamp_at: usize,
        now: Duration,
        send: &mut impl FnMut(&[u8]),
    ) {
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        payload[stamp_at..stamp_at + 4].copy_from_slice(&self.number.to_be_bytes());
        payload[stamp_at + 4..stamp_at + STAMP].copy_from_slice(&nanos.to_be_bytes());
        self.number = self.number.wrapping_add(1);
        let header = &mut self.packet.header;
        header.sequence_number = header.sequence_number.wrapping_add(1);
        let counter = header.sequence_number.to_be_bytes().to_vec();
        let level = vec![SPEECH];
        for (id, value) in [(MID, mid.to_vec()), (LEVEL, level), (TRANSPORT, counter)] {
            if header.set_extension(id, value.into()).is_err() {
                return;
            }
        }
        self.packet.payload = payload.into();
        let Ok(plain) = self.packet.marshal() else { return };
        match &mut self.outbound {
            Some(outbound) => {
                if let Ok(sealed) = outbound.encrypt_rtp(&plain) {
                    send(&sealed);
                }
            }
            None => {
                // As long as a sealed one.
                let mut padded = plain.to_vec();
                padded.extend_from_slice(&[0; 16]);
                send(&padded);
            }
        }
    }
}

/// Somebody who receives.
pub struct Ear {
    inbound: Option<Srtp>,
    stamp_at: usize,
}

impl Ear {
    /// For a person of its own.
    ///
    /// # Errors
    /// When the keys do not fit their profile.
    pub fn new(traffic: Traffic, person: &Person) -> anyhow::Result<Self> {
        let inbound = contexts(person)?.map(|[_, inbound, _]| inbound);
        let stamp_at = match traffic {
            Traffic::Voice(_) => 0,
            Traffic::Video { .. } => 2,
        };
        Ok(Self { inbound, stamp_at })
    }

    /// Whether what it gets is sealed.
    pub fn has_keys(&self) -> bool {
        self.inbound.is_some()
    }

    /// Authenticates a packet and tells when it was sent; none when it is not what was sent.
    pub fn check(&mut self, datagram: &[u8]) -> Option<Duration> {
        let opened;
        let mut plain = match &mut self.inbound {
            Some(inbound) => {
                opened = inbound.decrypt_rtp(datagram).ok()?;
                &opened[..]
            }
            None => datagram,
        };
        let packet = rtp::packet::Packet::unmarshal(&mut plain).ok()?;
        let nanos = packet.payload.get(self.stamp_at + 4..self.stamp_at + STAMP)?;
        Some(Duration::from_nanos(u64::from_be_bytes(nanos.try_into().ok()?)))
    }
}
