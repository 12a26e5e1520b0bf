//! The engine with one room of native sessions, connected by real ICE checks: what a worker has in
//! memory, without its sockets. Packets of the speakers are sealed beforehand, outside the timing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hype_protocol::id::{BootId, Generation, NodeId, PartId, RoomId, SessionId, UserId, WorkerId};
use hype_protocol::media::{
    Codec, CodecMapping, HeaderExtensions, Mid, ReceiveLine, SendLine, SessionMedia, SourceKind,
    VOICE_SLOTS,
};
use hype_protocol::observation::{Keying, OpenSession, VoiceFlags};
use hype_protocol::secret::{BootKeys, BootSecret, SrtpKeying, SrtpProfile};
use hype_sfu::transmit::MAX_DATAGRAM;
use hype_sfu::transport::srtp::{Outbound, OutboundStream, Role};
use hype_sfu::wire::header_extension::Element;
use hype_sfu::wire::rtp;
use hype_sfu::wire::stun::{Class, Writer, integrity_key};
use hype_sfu::{Command, Config, Engine, Timestamp};
use webrtc_srtp::context::Context as Srtp;
use webrtc_srtp::protection_profile::ProtectionProfile;

use super::ring::Ring;

/// Datagrams that a worker takes in one turn.
pub const BATCH: usize = 64;

const OPUS: u8 = 111;
const ROOM: RoomId = RoomId(1);
const GENERATION: Generation = Generation(1);
const WORKER: WorkerId = WorkerId(0);
/// RFC 6464: speech at −20 dBov.
const SPEECH: u8 = 0x80 | 20;
/// The browser's ids are such that one-byte headers do; native clients use the same.
const EXTENSIONS: HeaderExtensions = HeaderExtensions {
    mid: Some(4),
    rid: None,
    repaired_rid: None,
    audio_level: Some(1),
    transport_cc: Some(3),
    abs_send_time: None,
    dependency_descriptor: None,
    video_orientation: None,
    playout_delay: None,
};

/// One person: what his client needs.
struct Client {
    address: SocketAddr,
    keying: SrtpKeying,
    check: Vec<u8>,
}

struct Speaker {
    client: usize,
    ssrc: u32,
    outbound: Outbound,
    stream: OutboundStream,
    next: u64,
}

/// An engine under load.
pub struct Stage {
    engine: Engine,
    ring: Ring,
    clients: Vec<Client>,
    speakers: Vec<Speaker>,
    /// Sealed packets of the next turn, and who sends them.
    batch: Vec<([u8; MAX_DATAGRAM], usize, SocketAddr)>,
    payload: Vec<u8>,
    turn: usize,
    began: Instant,
    kept_alive: Instant,
}

impl Stage {
    /// A room of so many, the first of whom speak; all connected, streams latched, slots taken,
    /// and what came out opened by another SRTP implementation.
    pub fn new(
        speakers: usize,
        listeners: usize,
        payload: usize,
        profile: SrtpProfile,
    ) -> anyhow::Result<Self> {
        let node: NodeId = "bench".parse().context("a node's name")?;
        let keys = BootKeys::new(&node, &BootSecret(rand::random()));
        let people = speakers + listeners;
        let max = u32::try_from(people)?;
        let mut engine = Engine::new(Config {
            node,
            worker: WORKER,
            boot_keys: keys.clone(),
            max_sessions: max,
            voice_slots: 8,
            seed: rand::random(),
            unix_at_zero: Duration::from_secs(1_800_000_000),
            cname: "bench".to_owned(),
        });
        let mut ring = Ring::new();
        let began = Instant::now();
        let now = Timestamp::from_millis(1000);
        let open = Command::OpenRoom {
            room: ROOM,
            generation: GENERATION,
            max_peers: max,
            part: PartId(0),
            neighbours: Vec::new(),
        };
        engine.handle_command(now, open, &mut ring);
        let mut clients = Vec::with_capacity(people);
        for number in 0..u32::try_from(people)? {
            let id = SessionId(u64::from(rand::random::<u32>()) << 32 | u64::from(number + 1));
            let command = Command::Open(Box::new(session(id, profile)?));
            engine.handle_command(now, command, &mut ring);
            let octets = (0x0a00_0001_u32 + number).to_be_bytes();
            clients.push(Client {
                address: SocketAddr::from((octets, 40_000)),
                keying: keys.native_keying(WORKER, id, profile),
                check: check(&keys, id).context("a check fits its buffer")?,
            });
        }
        let speakers = (0..speakers).map(|client| -> anyhow::Result<Speaker> {
            Ok(Speaker {
                client,
                ssrc: 1000 + u32::try_from(client)?,
                outbound: Outbound::new(&clients[client].keying, Role::Client)?,
                stream: OutboundStream::default(),
                next: 100,
            })
        });
        let speakers = speakers.collect::<anyhow::Result<Vec<_>>>()?;
        let mut stage = Self {
            engine,
            ring,
            clients,
            speakers,
            batch: Vec::with_capacity(BATCH),
            payload: (0..payload).map(|byte| (byte & 0xff) as u8).collect(),
            turn: 0,
            began,
            kept_alive: began,
        };
        stage.check_all();
        stage.verify(profile)?;
        Ok(stage)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1000) + self.began.elapsed()
    }

    /// How many get each packet.
    pub fn receivers(&self) -> usize {
        self.clients.len() - 1
    }

    /// Seals the next turn's packets; keeps everybody alive. Not part of what is measured.
    pub fn prepare(&mut self) -> anyhow::Result<()> {
        if self.kept_alive.elapsed() > Duration::from_secs(2) {
            self.check_all();
        }
        while self.engine.poll_event().is_some() {}
        self.batch.clear();
        for _ in 0..BATCH {
            self.seal_one()?;
        }
        Ok(())
    }

    fn seal_one(&mut self) -> anyhow::Result<()> {
        let speakers = self.speakers.len();
        let speaker = &mut self.speakers[self.turn % speakers];
        self.turn += 1;
        let index = speaker.next;
        speaker.next += 1;
        let sequence_number = (index & 0xffff) as u16;
        let fields = rtp::Outgoing {
            payload_type: OPUS,
            marker: false,
            sequence_number,
            timestamp: (index.wrapping_mul(960) & 0xffff_ffff) as u32,
            ssrc: speaker.ssrc,
            csrc: None,
        };
        let transport = sequence_number.to_be_bytes();
        // As browsers do: the MID until the receiver must have it, level and transport-wide number
        // in each packet.
        let elements = [
            Element { id: EXTENSIONS.audio_level.unwrap_or(0), data: &[SPEECH] },
            Element { id: EXTENSIONS.transport_cc.unwrap_or(0), data: &transport },
            Element { id: EXTENSIONS.mid.unwrap_or(0), data: b"0" },
        ];
        let elements = if index < 110 { &elements[..] } else { &elements[..2] };
        let mut bytes = [0; MAX_DATAGRAM];
        let header = rtp::write(&mut bytes, &fields, elements).ok().context("a short header")?;
        let len = speaker.outbound.protect_rtp(
            &mut speaker.stream,
            index,
            &self.payload,
            &mut bytes,
            header,
        )?;
        self.batch.push((bytes, len, self.clients[speaker.client].address));
        Ok(())
    }

    /// One turn of a worker: all datagrams of the batch, then the timers that are due. Returns how
    /// often the datagrams made it allocate; timers run at control rate and may.
    #[inline]
    pub fn turn(&mut self) -> u64 {
        let now = self.now();
        let before = hype_allocations::so_far();
        for (bytes, len, from) in &mut self.batch {
            self.engine.handle_datagram(now, 0, *from, &mut bytes[..*len], &mut self.ring);
        }
        let allocations = hype_allocations::so_far() - before;
        if self.engine.poll_timeout() <= now {
            self.engine.handle_timeout(now, &mut self.ring);
        }
        allocations
    }

    /// Copies of voice packets that were made so far.
    pub fn forwarded(&self) -> u64 {
        self.engine.counters().forwarded
    }

    /// What was dropped so far, for whatever reason.
    pub fn dropped(&self) -> u64 {
        self.engine.counters().drops.iter().map(|(_, count)| count).sum()
    }

    /// A packet's header as listeners get it: bare seals authenticate as many bytes.
    pub fn header_of_newest(&self) -> anyhow::Result<Vec<u8>> {
        let newest = self.ring.newest(1).next();
        let (_, packet) = newest.context("something was forwarded")?;
        let header = rtp::Header::parse(packet).ok().context("a valid header")?;
        Ok(packet[..header.header_len()].to_vec())
    }

    /// Everybody's check with USE-CANDIDATE.
    fn check_all(&mut self) {
        let now = self.now();
        for client in &self.clients {
            let mut check = client.check.clone();
            self.engine.handle_datagram(now, 0, client.address, &mut check, &mut self.ring);
        }
        self.kept_alive = Instant::now();
    }

    /// The first packets of each speaker, opened by another implementation at each listener.
    fn verify(&mut self, profile: SrtpProfile) -> anyhow::Result<()> {
        let profile = match profile {
            SrtpProfile::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            SrtpProfile::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
            SrtpProfile::Aes128CmSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
        };
        for _ in 0..self.speakers.len() {
            self.batch.clear();
            self.seal_one()?;
            self.turn();
            let receivers = self.receivers();
            let mut opened = 0;
            for (to, packet) in self.ring.newest(receivers) {
                let client = self.clients.iter().find(|client| client.address == to.remote);
                let material = &client.context("an address of ours")?.keying.material;
                let (keys, salts) = material.split_at(2 * profile.key_len());
                let (key, salt) = (&keys[profile.key_len()..], &salts[profile.salt_len()..]);
                let mut context = Srtp::new(key, salt, profile, None, None)?;
                let plain = context.decrypt_rtp(packet)?;
                ensure!(plain.ends_with(&self.payload), "a listener got another payload");
                opened += 1;
            }
            if opened != receivers.min(256) {
                bail!("{opened} of {receivers} listeners got the first packet");
            }
        }
        Ok(())
    }
}

fn mid(text: &str) -> anyhow::Result<Mid> {
    Ok(Mid::try_from(text.to_owned())?)
}

fn session(session: SessionId, profile: SrtpProfile) -> anyhow::Result<OpenSession> {
    let opus = CodecMapping { codec: Codec::Opus, payload_type: OPUS, rtx_payload_type: None };
    let voice_slots = (0..VOICE_SLOTS).map(|slot| -> anyhow::Result<ReceiveLine> {
        let ssrc = 10 + u32::try_from(slot)?;
        Ok(ReceiveLine { mid: mid(&format!("v{slot}"))?, ssrc, rtx_ssrc: None })
    });
    Ok(OpenSession {
        boot: BootId(1),
        room: ROOM,
        generation: GENERATION,
        worker: WORKER,
        session,
        user: UserId(session.0),
        remote_ufrag: "bench".to_owned(),
        keying: Keying::Native { profile },
        flags: VoiceFlags::default(),
        media: SessionMedia {
            extensions: EXTENSIONS,
            send_codecs: vec![opus],
            receive_codecs: vec![opus],
            sends: vec![SendLine { mid: mid("0")?, kind: SourceKind::Microphone, rids: vec![] }],
            voice_slots: voice_slots.collect::<anyhow::Result<_>>()?,
            video_slots: vec![],
        },
    })
}

fn check(keys: &BootKeys, session: SessionId) -> Option<Vec<u8>> {
    let mut out = [0; 256];
    let mut writer = Writer::new(&mut out, Class::Request, rand::random()).ok()?;
    writer.username(keys.ufrag(WORKER, session).as_bytes(), b"bench").ok()?;
    writer.priority(1).ok()?;
    writer.controlling(1).ok()?;
    writer.use_candidate().ok()?;
    writer.integrity(&integrity_key(keys.ice_password(session).as_bytes())).ok()?;
    let len = writer.finish().ok()?;
    Some(out[..len].to_vec())
}
