//! A small world for scenario tests: one engine, a clock that only the test moves, and clients
//! that speak real STUN, SRTP and SRTCP with it. Datagrams arrive at once unless a test drops them.
#![allow(dead_code, reason = "each test file uses its own part of the world")]

pub mod parts;
pub mod pictures;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use hype_protocol::id::{
    BootId, Generation, NodeId, PartId, RoomId, SessionId, SourceId, UserId, WorkerId,
};
use hype_protocol::media::{
    Codec, CodecMapping, HeaderExtensions, Mid, ReceiveLine, Rid, SendLine, SessionMedia,
    SourceKind, VideoSlot,
};
use hype_protocol::observation::{Keying, OpenSession, VoiceFlags};
use hype_protocol::secret::{BootKeys, BootSecret, SrtpProfile};
use hype_sfu::transmit::Collected;
use hype_sfu::transport::srtp::{
    Inbound, InboundRtcp, InboundStream, Outbound, OutboundRtcp, OutboundStream, Role,
};
use hype_sfu::wire::header_extension::{Element, Extensions};
use hype_sfu::wire::rtcp::{Compound, Packet, Writer as RtcpWriter};
use hype_sfu::wire::stun::{Class, Writer, integrity_key};
use hype_sfu::wire::{demux, rtp};
use hype_sfu::{Command, Config, Destination, Engine, Event, Neighbour, Timestamp};

pub const OPUS: u8 = 111;
pub const VP8: u8 = 96;
pub const VP8_RTX: u8 = 97;
pub const H264: u8 = 102;
pub const H264_RTX: u8 = 103;
pub const ROOM: RoomId = RoomId(77);
pub const UNIX_AT_ZERO: Duration = Duration::from_secs(1_800_000_000);

/// Extension ids; clients differ, so that rewriting shows.
pub fn extensions(client: u8) -> HeaderExtensions {
    let shift = client % 3;
    HeaderExtensions {
        mid: Some(1 + shift),
        rid: Some(4 + shift),
        repaired_rid: Some(7 + shift),
        audio_level: Some(10 + shift),
        transport_cc: Some(20 + shift),
        abs_send_time: None,
        dependency_descriptor: Some(30 + shift),
        video_orientation: Some(40 + shift),
        playout_delay: None,
    }
}

fn mid(text: String) -> Mid {
    Mid::try_from(text).expect("a short mid")
}

/// What a browser's offer comes to: all four lines, 8 voice and 4 video slots.
pub fn browser(client: u8) -> SessionMedia {
    let base = (u32::from(client) + 1) * 1000;
    let line = |index: u32, rtx: bool| ReceiveLine {
        mid: mid(index.to_string()),
        ssrc: base + index,
        rtx_ssrc: rtx.then_some(base + 500 + index),
    };
    let codecs = [(Codec::Opus, OPUS, None), (Codec::Vp8, VP8, Some(VP8_RTX))].map(
        |(codec, payload_type, rtx_payload_type)| CodecMapping {
            codec,
            payload_type: payload_type + client % 2 * 10,
            rtx_payload_type: rtx_payload_type.map(|kind| kind + client % 2 * 10),
        },
    );
    let kinds = [
        (SourceKind::Microphone, vec![]),
        (SourceKind::Camera, vec!["lo", "mi", "hi"]),
        (SourceKind::Screen, vec![]),
        (SourceKind::ScreenAudio, vec![]),
    ];
    SessionMedia {
        extensions: extensions(client),
        send_codecs: codecs.to_vec(),
        receive_codecs: codecs.to_vec(),
        sends: (0..)
            .zip(kinds)
            .map(|(index, (kind, rids))| SendLine {
                mid: mid(format!("s{index}")),
                kind,
                rids: rids
                    .iter()
                    .map(|rid| Rid::try_from((*rid).to_owned()).expect("a short rid"))
                    .collect(),
            })
            .collect(),
        voice_slots: (0..8).map(|index| line(10 + index, false)).collect(),
        video_slots: (0..4)
            .map(|index| VideoSlot {
                video: line(20 + index, true),
                sound: Some(line(30 + index, false)),
            })
            .collect(),
    }
}

/// One RTP packet as a client got it.
#[derive(Debug, Clone)]
pub struct Received {
    pub at: Timestamp,
    pub header: rtp::Header,
    /// Sequence number extended by the receiver's own count of wraps.
    pub index: u64,
    pub csrc: Option<u32>,
    pub mid: Option<String>,
    pub level: Option<u8>,
    pub transport: Option<u16>,
    pub descriptor: Option<Vec<u8>>,
    pub payload: Vec<u8>,
    /// Bytes of the whole datagram.
    pub len: usize,
}

/// One RTCP packet as a client got it.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    SenderReport { ssrc: u32, ntp: u64, timestamp: u32, packets: u32, octets: u32 },
    Block { ssrc: u32, fraction: u8, lost: i32, highest: u32, last_report: u32 },
    Name(u32, String),
    Nack(u32, Vec<u16>),
    PictureLoss(u32),
    Arrivals(Vec<(u16, Option<i64>)>),
}

pub struct Client {
    pub id: SessionId,
    pub number: u8,
    pub media: SessionMedia,
    pub local: u8,
    pub address: SocketAddr,
    pub password: String,
    pub local_ufrag: String,
    outbound: Outbound,
    inbound: Inbound,
    out_streams: HashMap<u32, OutboundStream>,
    in_streams: HashMap<u32, InboundStream>,
    out_rtcp: OutboundRtcp,
    in_rtcp: InboundRtcp,
    next_index: HashMap<u32, u64>,
    next_transport: u16,
    pub rtp: Vec<Received>,
    pub rtcp: Vec<(Timestamp, Told)>,
    pub stun: Vec<Vec<u8>>,
    pub unreadable: usize,
}

/// What a test sends.
#[derive(Debug, Clone, Default)]
pub struct Send<'a> {
    pub ssrc: u32,
    pub payload_type: u8,
    pub timestamp: u32,
    pub marker: bool,
    pub mid: Option<&'a str>,
    pub rid: Option<&'a str>,
    pub repaired_rid: Option<&'a str>,
    pub level: Option<u8>,
    pub transport: bool,
    pub descriptor: Option<&'a [u8]>,
    pub payload: &'a [u8],
}

impl Client {
    /// An SRTP packet with this index.
    pub fn seal(&mut self, index: u64, send: &Send<'_>) -> Vec<u8> {
        let ids = self.media.extensions;
        let transport = self.next_transport.to_be_bytes();
        let level = send.level.map(|level| [level]);
        let mut elements = Vec::new();
        let mut push = |id: Option<u8>, data: Option<&[u8]>| {
            if let (Some(id), Some(data)) = (id, data) {
                elements.push((id, data.to_vec()));
            }
        };
        push(ids.mid, send.mid.map(str::as_bytes));
        push(ids.rid, send.rid.map(str::as_bytes));
        push(ids.repaired_rid, send.repaired_rid.map(str::as_bytes));
        push(ids.audio_level, level.as_ref().map(|level| &level[..]));
        push(ids.transport_cc, send.transport.then_some(&transport[..]));
        push(ids.dependency_descriptor, send.descriptor);
        if send.transport {
            self.next_transport = self.next_transport.wrapping_add(1);
        }
        let elements: Vec<Element<'_>> =
            elements.iter().map(|(id, data)| Element { id: *id, data }).collect();
        let fields = rtp::Outgoing {
            payload_type: send.payload_type,
            marker: send.marker,
            sequence_number: (index & 0xffff) as u16,
            timestamp: send.timestamp,
            ssrc: send.ssrc,
            csrc: None,
        };
        let mut out = vec![0; 1500];
        let header = rtp::write(&mut out, &fields, &elements).expect("a short header");
        let stream = self.out_streams.entry(send.ssrc).or_default();
        let len = self
            .outbound
            .protect_rtp(stream, index, send.payload, &mut out, header)
            .expect("tests use each index once");
        out.truncate(len);
        out
    }

    /// The next SRTP packet of an SSRC.
    pub fn seal_next(&mut self, send: &Send<'_>) -> Vec<u8> {
        let index = self.next_index.entry(send.ssrc).or_insert(1000);
        *index += 1;
        let index = *index;
        self.seal(index, send)
    }

    /// Leaves out a sequence number, as if its packet was lost.
    pub fn skip(&mut self, ssrc: u32) {
        *self.next_index.entry(ssrc).or_insert(1000) += 1;
    }

    pub fn last_index(&self, ssrc: u32) -> u64 {
        self.next_index[&ssrc]
    }

    pub fn seal_rtcp(&mut self, build: impl FnOnce(&mut RtcpWriter<'_>)) -> Vec<u8> {
        let mut out = vec![0; 1500];
        let mut writer = RtcpWriter::new(&mut out);
        build(&mut writer);
        let len = writer.len();
        let len =
            self.outbound.protect_rtcp(&mut self.out_rtcp, &mut out, len).expect("room for it");
        out.truncate(len);
        out
    }

    pub fn check(&self, nominate: bool) -> Vec<u8> {
        let mut out = [0; 256];
        let mut id = [3; 12];
        id[0] = self.number;
        let mut writer = Writer::new(&mut out, Class::Request, id).expect("room");
        writer.username(self.local_ufrag.as_bytes(), b"remote").expect("room");
        writer.priority(1).expect("room");
        writer.controlling(1).expect("room");
        if nominate {
            writer.use_candidate().expect("room");
        }
        writer.integrity(&integrity_key(self.password.as_bytes())).expect("room");
        let len = writer.finish().expect("room");
        out[..len].to_vec()
    }

    fn receive(&mut self, now: Timestamp, datagram: &[u8]) {
        let mut packet = datagram.to_vec();
        match demux::classify(datagram) {
            demux::Kind::Stun => self.stun.push(packet),
            demux::Kind::Rtp => {
                let header = rtp::Header::parse(&packet).expect("the engine writes valid RTP");
                let stream = self.in_streams.entry(header.ssrc).or_default();
                // A browser's window is 1024 wide, ours 128: what is later gets one of its own (in
                // ROC 0), and the test sees to it that nothing comes twice.
                let mut late = InboundStream::default();
                let estimate = stream.estimate(header.sequence_number);
                let stream = match (estimate, stream.highest()) {
                    (Ok(index), Some(highest)) if index + 128 <= highest => &mut late,
                    _ => stream,
                };
                let Ok(len) = self.inbound.unprotect_rtp(stream, &mut packet, &header) else {
                    self.unreadable += 1;
                    return;
                };
                let index = stream.estimate(header.sequence_number).expect("just received");
                let packet = &packet[..len];
                let read = Extensions::read(header.elements(packet), &self.media.extensions);
                let text = |tag: &[u8]| String::from_utf8_lossy(tag).into_owned();
                self.rtp.push(Received {
                    at: now,
                    header,
                    index,
                    csrc: header.csrcs(packet).next(),
                    mid: read.mid.map(text),
                    level: read.audio_level.map(|level| level.to_byte()),
                    transport: read.transport_sequence_number,
                    descriptor: read.dependency_descriptor.map(<[u8]>::to_vec),
                    payload: header.payload(packet).expect("valid padding").to_vec(),
                    len: datagram.len(),
                });
            }
            demux::Kind::Rtcp => {
                let Ok(len) = self.inbound.unprotect_rtcp(&mut self.in_rtcp, &mut packet) else {
                    self.unreadable += 1;
                    return;
                };
                let compound = Compound::parse(&packet[..len]).expect("the engine's own RTCP");
                for packet in compound.packets() {
                    self.note_rtcp(now, packet);
                }
            }
            other => panic!("the engine sent {other:?}"),
        }
    }

    fn note_rtcp(&mut self, now: Timestamp, packet: Packet<'_>) {
        let mut tell = |told| self.rtcp.push((now, told));
        match packet {
            Packet::SenderReport(report) => tell(Told::SenderReport {
                ssrc: report.ssrc,
                ntp: report.ntp_time,
                timestamp: report.rtp_timestamp,
                packets: report.packet_count,
                octets: report.octet_count,
            }),
            Packet::ReceiverReport(report) => {
                for block in report.blocks() {
                    tell(Told::Block {
                        ssrc: block.ssrc,
                        fraction: block.fraction_lost,
                        lost: block.cumulative_lost,
                        highest: block.highest_sequence_number,
                        last_report: block.last_sender_report,
                    });
                }
            }
            Packet::SourceDescription(names) => {
                for (ssrc, name) in names.names() {
                    let name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
                    tell(Told::Name(ssrc, name));
                }
            }
            Packet::Nack(nack) => {
                tell(Told::Nack(nack.media_ssrc, nack.sequence_numbers().collect()));
            }
            Packet::PictureLoss(loss) => tell(Told::PictureLoss(loss.media_ssrc)),
            Packet::TransportFeedback(feedback) => {
                tell(Told::Arrivals(feedback.arrivals().collect()));
            }
            other => panic!("the engine never sends {other:?}"),
        }
    }

    /// Received packets of one SSRC.
    pub fn of(&self, ssrc: u32) -> Vec<&Received> {
        self.rtp.iter().filter(|packet| packet.header.ssrc == ssrc).collect()
    }

    /// The receive SSRC of a voice slot.
    pub fn voice_ssrc(&self, slot: usize) -> u32 {
        self.media.voice_slots[slot].ssrc
    }

    pub fn video_ssrc(&self, slot: usize) -> u32 {
        self.media.video_slots[slot].video.ssrc
    }

    pub fn payload_type(&self, codec: Codec) -> u8 {
        let known = self.media.send_codecs.iter().find(|mapping| mapping.codec == codec);
        known.expect("the client has the codec").payload_type
    }

    pub fn source(&self) -> SourceId {
        self.id.source()
    }
}

pub struct World {
    pub engine: Engine,
    pub worker: WorkerId,
    /// The number of its first client.
    pub first: u8,
    pub keys: BootKeys,
    pub now: Timestamp,
    pub out: Collected,
    pub clients: Vec<Client>,
    pub events: Vec<Event>,
}

pub fn config(max_sessions: u32) -> Config {
    let node: NodeId = "test".parse().expect("a valid name");
    Config {
        boot_keys: BootKeys::new(&node, &BootSecret([7; 32])),
        node,
        worker: WorkerId(0),
        max_sessions,
        seed: 42,
        unix_at_zero: UNIX_AT_ZERO,
        voice_slots: 8,
        cname: "hype-test".to_owned(),
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    pub fn new() -> Self {
        let mut world = Self::without_room(WorkerId(0), 0);
        world.open_room(PartId(0), Vec::new());
        world
    }

    /// The engine of one of several workers, whose clients are counted from `first`.
    pub fn without_room(worker: WorkerId, first: u8) -> Self {
        let seed = 42 + u64::from(worker.0);
        let config = Config { worker, seed, ..config(1000) };
        let keys = config.boot_keys.clone();
        Self {
            engine: Engine::new(config),
            worker,
            first,
            keys,
            now: Timestamp::from_millis(1000),
            out: Collected::default(),
            clients: Vec::new(),
            events: Vec::new(),
        }
    }

    pub fn open_room(&mut self, part: PartId, neighbours: Vec<Neighbour>) {
        let (room, generation, max_peers) = (ROOM, Generation(5), 200);
        self.command(Command::OpenRoom { room, generation, max_peers, part, neighbours });
    }

    pub fn command(&mut self, command: Command) {
        self.engine.handle_command(self.now, command, &mut self.out);
        self.settle();
    }

    pub fn session_id(number: u8) -> SessionId {
        SessionId(0xabcd_0000_0001 + u64::from(number))
    }

    pub fn open_command(number: u8, media: SessionMedia) -> OpenSession {
        OpenSession {
            boot: BootId(1),
            room: ROOM,
            generation: Generation(5),
            worker: WorkerId(0),
            session: Self::session_id(number),
            user: UserId(u64::from(number)),
            remote_ufrag: "remote".to_owned(),
            keying: Keying::Native { profile: SrtpProfile::AeadAes128Gcm },
            flags: VoiceFlags::default(),
            media,
        }
    }

    /// Opens a native session with this media, without any check yet; returns its index.
    pub fn open(&mut self, media: SessionMedia) -> usize {
        self.open_with(media, Keying::Native { profile: SrtpProfile::AeadAes128Gcm })
    }

    /// The same by any keying; the client holds the keys of a native one in each case.
    pub fn open_with(&mut self, media: SessionMedia, keying: Keying) -> usize {
        let number = self.next_number();
        let worker = self.worker;
        let open = OpenSession { keying, worker, ..Self::open_command(number, media.clone()) };
        let id = open.session;
        let keying = self.keys.native_keying(worker, id, SrtpProfile::AeadAes128Gcm);
        self.command(Command::Open(Box::new(open)));
        self.clients.push(Client {
            id,
            number,
            media,
            local: 0,
            address: SocketAddr::from(([192, 0, 2, number], 4000)),
            password: self.keys.ice_password(id),
            local_ufrag: self.keys.ufrag(worker, id),
            outbound: Outbound::new(&keying, Role::Client).expect("valid keying"),
            inbound: Inbound::new(&keying, Role::Client).expect("valid keying"),
            out_streams: HashMap::new(),
            in_streams: HashMap::new(),
            out_rtcp: OutboundRtcp::default(),
            in_rtcp: InboundRtcp::default(),
            next_index: HashMap::new(),
            next_transport: 0,
            rtp: Vec::new(),
            rtcp: Vec::new(),
            stun: Vec::new(),
            unreadable: 0,
        });
        self.clients.len() - 1
    }

    /// Opens a session and connects it.
    pub fn join_with(&mut self, media: SessionMedia) -> usize {
        let client = self.open(media);
        self.check(client);
        client
    }

    fn next_number(&self) -> u8 {
        self.first + u8::try_from(self.clients.len()).expect("few clients")
    }

    /// A browser that joins.
    pub fn join(&mut self) -> usize {
        let number = self.next_number();
        self.join_with(browser(number))
    }

    /// Lets a client send its check with USE-CANDIDATE.
    pub fn check(&mut self, client: usize) {
        let check = self.clients[client].check(true);
        self.datagram(client, check);
        assert!(!self.clients[client].stun.is_empty(), "the check is answered");
    }

    /// A datagram from a client's address.
    pub fn datagram(&mut self, client: usize, datagram: Vec<u8>) {
        let (local, address) = (self.clients[client].local, self.clients[client].address);
        self.datagram_from(local, address, datagram);
    }

    pub fn datagram_from(&mut self, local: u8, address: SocketAddr, mut datagram: Vec<u8>) {
        self.engine.handle_datagram(self.now, local, address, &mut datagram, &mut self.out);
        self.settle();
    }

    /// Delivers what the engine sent, and collects its events.
    pub fn settle(&mut self) {
        for (to, datagram) in self.out.sent.drain(..) {
            let client = self
                .clients
                .iter_mut()
                .find(|client| Destination { local: client.local, remote: client.address } == to);
            if let Some(client) = client {
                client.receive(self.now, &datagram);
            }
        }
        while let Some(event) = self.engine.poll_event() {
            self.events.push(event);
        }
    }

    /// Lets time pass, with every timer at its moment.
    pub fn advance(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        for _ in 0..1_000_000 {
            let due = self.engine.poll_timeout();
            if due > end {
                break;
            }
            self.now = self.now.max(due);
            self.engine.handle_timeout(self.now, &mut self.out);
            self.settle();
        }
        assert!(self.engine.poll_timeout() > end, "timers come to rest");
        self.now = end;
    }

    pub fn voice_ssrc(client: usize) -> u32 {
        900_000 + u32::try_from(client).expect("few clients")
    }

    /// One 20 ms packet of a client's microphone at this level (RFC 6464 byte).
    pub fn speak(&mut self, client: usize, level: u8) {
        let ssrc = Self::voice_ssrc(client);
        let ticks = self.now.as_millis() * 48 + 7777 * client as u64;
        let payload = [level; 40];
        let sender = &mut self.clients[client];
        let payload_type = sender.payload_type(Codec::Opus);
        let packet = sender.seal_next(&Send {
            ssrc,
            payload_type,
            timestamp: (ticks & 0xffff_ffff) as u32,
            mid: Some("s0"),
            level: Some(level),
            payload: &payload,
            ..Send::default()
        });
        self.datagram(client, packet);
    }

    /// Everybody keeps the session alive by a check, and time passes.
    pub fn keep_alive(&mut self) {
        for client in 0..self.clients.len() {
            let check = self.clients[client].check(true);
            self.datagram(client, check);
        }
    }
}
