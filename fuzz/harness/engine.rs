//! A whole engine under a script of datagrams: three keyed clients of one room, two of which are
//! hostile. Their bytes arrive raw, or sealed with their true keys, so that what lies behind the
//! tag check is reached too. The third client opens all that it gets: nothing may be sealed twice.
//! Shared by the fuzz target and by the replay of its corpus in the ordinary test run.

#![allow(dead_code, reason = "each target uses a part of it")]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use hype_protocol::id::{
    BootId, Generation, NodeId, PartId, RoomId, SessionId, SourceId, UserId, WorkerId,
};
use hype_protocol::link;
use hype_protocol::media::{
    Codec, CodecMapping, HeaderExtensions, Mid, ReceiveLine, Rid, SendLine, SessionMedia,
    SourceKind, VideoSlot,
};
use hype_protocol::observation::{FlagsChange, Keying, OpenSession, View, VoiceFlags};
use hype_protocol::secret::{BootKeys, BootSecret, SrtpProfile};
use hype_sfu::transmit::{Collected, Destination};
use hype_sfu::transport::srtp::{
    Inbound, InboundRtcp, InboundStream, Outbound, OutboundRtcp, OutboundStream, Role,
};
use hype_sfu::wire::stun::{Class, Writer, integrity_key};
use hype_sfu::wire::{demux, rtcp, rtp};
use hype_sfu::{Command, Config, Engine, LinkId, Neighbour, Timestamp};

const ROOM: RoomId = RoomId(7);
/// Somebody in another part of the room.
const ELSEWHERE: SourceId = SourceId(77);
const REMOTE_UFRAG: &str = "them";

fn line(mid: String, ssrc: u32, video: bool) -> ReceiveLine {
    let mid = Mid::try_from(mid).expect("a short tag");
    ReceiveLine { mid, ssrc, rtx_ssrc: video.then_some(ssrc + 1_000) }
}

fn media() -> SessionMedia {
    let codecs = [
        (Codec::Opus, 111, None),
        (Codec::Vp8, 96, Some(97)),
        (Codec::Vp9, 98, Some(99)),
        (Codec::H264, 102, Some(103)),
        (Codec::Av1, 45, Some(46)),
    ];
    let codecs: Vec<_> = codecs
        .into_iter()
        .map(|(codec, payload_type, rtx_payload_type)| CodecMapping {
            codec,
            payload_type,
            rtx_payload_type,
        })
        .collect();
    let kinds =
        [SourceKind::Microphone, SourceKind::Camera, SourceKind::Screen, SourceKind::ScreenAudio];
    let rid = |text: &str| Rid::try_from(text.to_owned()).expect("a short tag");
    let sends = kinds.into_iter().zip(0..).map(|(kind, mid)| SendLine {
        mid: Mid::try_from(format!("{mid}")).expect("a short tag"),
        kind,
        rids: if kind == SourceKind::Camera { vec![rid("a"), rid("b")] } else { Vec::new() },
    });
    SessionMedia {
        extensions: HeaderExtensions {
            mid: Some(1),
            rid: Some(2),
            repaired_rid: Some(3),
            audio_level: Some(4),
            transport_cc: Some(5),
            abs_send_time: Some(6),
            dependency_descriptor: Some(7),
            video_orientation: Some(8),
            playout_delay: Some(9),
        },
        send_codecs: codecs.clone(),
        receive_codecs: codecs,
        sends: sends.collect(),
        voice_slots: (0..2).map(|n| line(format!("v{n}"), 10 + n, false)).collect(),
        video_slots: (0..2)
            .map(|n| VideoSlot {
                video: line(format!("p{n}"), 20 + n, true),
                sound: Some(line(format!("s{n}"), 30 + n, false)),
            })
            .collect(),
    }
}

struct Client {
    session: SessionId,
    address: SocketAddr,
    outbound: Outbound,
    inbound: Inbound,
    rtcp: OutboundRtcp,
    /// The last index of each SSRC, so that the ROC follows the sequence numbers.
    sent: HashMap<u32, u64>,
    received: HashMap<u32, InboundStream>,
    received_rtcp: InboundRtcp,
}

struct Fuzzed {
    engine: Engine,
    now: Timestamp,
    out: Collected,
    clients: Vec<Client>,
    forwarded: usize,
}

impl Fuzzed {
    fn new(part: PartId, neighbours: Vec<Neighbour>) -> Self {
        let node: NodeId = "fuzz".parse().expect("a valid name");
        let keys = BootKeys::new(&node, &BootSecret([3; 32]));
        let engine = Engine::new(Config {
            boot_keys: keys.clone(),
            node,
            worker: WorkerId(0),
            max_sessions: 8,
            seed: 1,
            unix_at_zero: Duration::from_secs(1_700_000_000),
            voice_slots: 8,
            cname: "fuzz".to_owned(),
        });
        let mut fuzzed = Self {
            engine,
            now: Timestamp::from_millis(1_000),
            out: Collected::default(),
            clients: Vec::new(),
            forwarded: 0,
        };
        let generation = Generation(1);
        fuzzed.command(Command::OpenRoom {
            room: ROOM,
            generation,
            max_peers: 8,
            part,
            neighbours,
        });
        let profiles =
            [SrtpProfile::AeadAes128Gcm, SrtpProfile::Aes128CmSha1_80, SrtpProfile::AeadAes256Gcm];
        for (profile, number) in profiles.into_iter().zip(1_u16..) {
            fuzzed.join(&keys, profile, number);
        }
        fuzzed
    }

    fn join(&mut self, keys: &BootKeys, profile: SrtpProfile, number: u16) {
        let session = SessionId(u64::from(number));
        self.command(Command::Open(Box::new(OpenSession {
            boot: BootId(1),
            room: ROOM,
            generation: Generation(1),
            worker: WorkerId(0),
            session,
            user: UserId(u64::from(number)),
            remote_ufrag: REMOTE_UFRAG.to_owned(),
            keying: Keying::Native { profile },
            flags: VoiceFlags::default(),
            media: media(),
        })));
        let keying = keys.native_keying(WorkerId(0), session, profile);
        let address = SocketAddr::from(([192, 0, 2, 1], 5_000 + number));
        self.clients.push(Client {
            session,
            address,
            outbound: Outbound::new(&keying, Role::Client).expect("derived for the profile"),
            inbound: Inbound::new(&keying, Role::Client).expect("derived for the profile"),
            rtcp: OutboundRtcp::default(),
            sent: HashMap::new(),
            received: HashMap::new(),
            received_rtcp: InboundRtcp::default(),
        });
        let mut check = [0; 256];
        let mut writer = Writer::new(&mut check, Class::Request, [9; 12]).expect("room");
        let ufrag = keys.ufrag(WorkerId(0), session);
        writer.username(ufrag.as_bytes(), REMOTE_UFRAG.as_bytes()).expect("room");
        writer.priority(1).expect("room");
        writer.controlling(1).expect("room");
        writer.use_candidate().expect("room");
        let password = keys.ice_password(session);
        writer.integrity(&integrity_key(password.as_bytes())).expect("room");
        let len = writer.finish().expect("room");
        self.datagram(address, &mut check[..len]);
    }

    fn command(&mut self, command: Command) {
        self.engine.handle_command(self.now, command, &mut self.out);
        self.settle();
    }

    fn datagram(&mut self, source: SocketAddr, datagram: &mut [u8]) {
        self.engine.handle_datagram(self.now, 0, source, datagram, &mut self.out);
        self.settle();
    }

    fn frame(&mut self, frame: &mut [u8]) {
        self.engine.handle_link(self.now, LinkId(3), frame, &mut self.out);
        self.settle();
    }

    /// Bytes that look like RTP, with the tag that makes them authentic.
    fn sealed_rtp(&mut self, client: usize, bytes: &[u8]) {
        let Ok(header) = rtp::Header::parse(bytes) else { return };
        let (head, payload) = bytes.split_at(header.header_len());
        let mut datagram = bytes.to_vec();
        datagram.truncate(head.len());
        datagram.resize(bytes.len() + 16, 0);
        // A hostile client may seal an index as often as it likes.
        let mut stream = OutboundStream::default();
        let first = u64::from(header.sequence_number);
        let Client { outbound: keys, sent, .. } = &mut self.clients[client];
        let last = sent.entry(header.ssrc).or_insert(first);
        let ahead = header.sequence_number.wrapping_sub((*last & 0xffff) as u16).cast_signed();
        *last = last.checked_add_signed(i64::from(ahead)).unwrap_or(first);
        let index = *last;
        let sealed = keys.protect_rtp(&mut stream, index, payload, &mut datagram, head.len());
        let len = sealed.expect("a fresh stream takes any index");
        self.datagram(self.clients[client].address, &mut datagram[..len]);
    }

    /// Bytes with the tag of an authentic RTCP packet.
    fn sealed_rtcp(&mut self, client: usize, bytes: &[u8]) {
        let mut datagram = bytes.to_vec();
        datagram.resize(bytes.len() + 20, 0);
        let Client { outbound, rtcp, address, .. } = &mut self.clients[client];
        let Ok(len) = outbound.protect_rtcp(rtcp, &mut datagram, bytes.len()) else { return };
        let address = *address;
        self.datagram(address, &mut datagram[..len]);
    }

    /// Reads everything that was sent and told.
    fn settle(&mut self) {
        while let Some(event) = self.engine.poll_event() {
            std::hint::black_box(event);
        }
        for (to, mut frame) in std::mem::take(&mut self.out.frames) {
            assert_eq!(to, LinkId(3));
            link::read(&mut frame).expect("the engine writes frames");
        }
        for (to, mut datagram) in std::mem::take(&mut self.out.sent) {
            self.receive(&to, &mut datagram);
        }
    }

    fn receive(&mut self, to: &Destination, datagram: &mut [u8]) {
        let client = self.clients.iter_mut().find(|client| client.address == to.remote);
        let Some(client) = client else { return };
        match demux::classify(datagram) {
            demux::Kind::Rtp => {
                let header = rtp::Header::parse(datagram).expect("the engine writes RTP");
                let stream = client.received.entry(header.ssrc).or_default();
                client.inbound.unprotect_rtp(stream, datagram, &header).expect("sealed once");
                self.forwarded += 1;
            }
            demux::Kind::Rtcp => {
                let opened = client.inbound.unprotect_rtcp(&mut client.received_rtcp, datagram);
                let len = opened.expect("sealed once");
                rtcp::Compound::parse(&datagram[..len]).expect("the engine writes RTCP");
            }
            demux::Kind::Stun => {}
            other => panic!("the engine never sends {other:?}"),
        }
    }

    fn step(&mut self, kind: u8, bytes: &[u8]) {
        let stranger = SocketAddr::from(([198, 51, 100, 1], 9));
        match kind % 10 {
            0 => self.datagram(self.clients[0].address, &mut bytes.to_vec()),
            1 => self.datagram(stranger, &mut bytes.to_vec()),
            2 | 3 => self.sealed_rtp(0, bytes),
            4 => self.sealed_rtp(1, bytes),
            5 => self.sealed_rtcp(0, bytes),
            6 => self.sealed_rtcp(1, bytes),
            7 => {
                let waited = bytes.first().copied().unwrap_or(1);
                self.now = self.now + Duration::from_millis(u64::from(waited) * 4);
                self.engine.handle_timeout(self.now, &mut self.out);
                self.settle();
            }
            8 => {
                let [from, slot, kind, height, ..] = *bytes else { return };
                let kind = if kind & 1 == 0 { SourceKind::Camera } else { SourceKind::Screen };
                let source = match from & 0x40 {
                    0 => self.clients[usize::from(from % 3)].session.source(),
                    _ => ELSEWHERE,
                };
                let height = (height > 0).then_some(u16::from(height) * 8);
                let view = (from & 0x80 == 0).then_some(View { source, kind, height });
                let session = self.clients[usize::from(slot >> 6).min(2)].session;
                self.command(Command::View { session, slot: slot & 3, view });
            }
            _ => {
                let [client, flags, ..] = *bytes else { return };
                let session = self.clients[usize::from(client % 3)].session;
                // The low bits are the flags, the high ones leave the flag as it is.
                let flag = |bit: u8| (flags & (bit << 4) == 0).then_some(flags & bit != 0);
                let change = FlagsChange {
                    self_mute: flag(1),
                    self_deaf: flag(2),
                    server_mute: flag(4),
                    server_deaf: flag(8),
                    ..FlagsChange::default()
                };
                self.command(Command::Flags { session, change });
            }
        }
    }
}

/// Runs a script: each step is a kind, a length in two bytes, and that many bytes. Returns how many
/// RTP packets were forwarded.
pub fn engine(script: &[u8]) -> usize {
    let mut fuzzed = Fuzzed::new(PartId(0), Vec::new());
    run(script, |kind, bytes| fuzzed.step(kind, bytes));
    fuzzed.forwarded
}

/// Runs a script in a room with another part, whose frames are part of it. The first byte says
/// which part this is. Returns how many RTP packets were forwarded.
pub fn parts(script: &[u8]) -> usize {
    let Some((&first, script)) = script.split_first() else { return 0 };
    let (part, other) = if first & 1 == 0 { (0, 1) } else { (1, 0) };
    let neighbour = Neighbour { part: PartId(other), link: LinkId(3) };
    let mut fuzzed = Fuzzed::new(PartId(part), vec![neighbour]);
    run(script, |kind, bytes| match kind % 4 {
        0 => fuzzed.frame(&mut bytes.to_vec()),
        1 | 2 => {
            // A frame of the other part, of any kind and content.
            let Some((&kind, body)) = bytes.split_first() else { return };
            let mut frame = vec![1, kind % 8];
            frame.extend(other.to_be_bytes());
            frame.extend(part.to_be_bytes());
            frame.extend([0; 2]);
            frame.extend(ROOM.0.to_be_bytes());
            frame.extend(body);
            fuzzed.frame(&mut frame);
        }
        _ => fuzzed.step(kind >> 2, bytes),
    });
    fuzzed.forwarded
}

fn run(script: &[u8], mut step: impl FnMut(u8, &[u8])) {
    let mut rest = script;
    while let Some((&[kind, high, low], after)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(after.len()).min(1_400);
        let (bytes, after) = after.split_at(len);
        rest = after;
        step(kind, bytes);
    }
}
