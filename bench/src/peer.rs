//! One native client's media: ICE checks, SRTP by webrtc-srtp, a packet every 20 ms when it
//! speaks, and a tally of all that comes back. Payloads carry number and send time, so losses,
//! duplicates and latency are known exactly.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use base64::Engine as _;
use hype_protocol::gateway::JoinedNative;
use hype_protocol::id::SourceId;
use tokio::net::UdpSocket;
use webrtc_srtp::context::Context as Srtp;
use webrtc_util::marshal::{Marshal, Unmarshal};

use crate::ice::Credentials;
use crate::relay::endpoint::widen;
use crate::srtp;
use crate::tally::Tally;

/// Time between two voice packets (RFC 7587's default frame).
pub const PACKET_TIME: Duration = Duration::from_millis(20);
/// Opus runs at 48 kHz (RFC 7587 §4.1).
const TICKS_PER_PACKET: u32 = 960;
const CHECK_INTERVAL: Duration = Duration::from_millis(1000);
/// RFC 6464: speech at −20 dBov.
const SPEECH: u8 = 0x80 | 20;

/// A connected media peer. Its tasks end with it.
pub struct Peer {
    shared: Arc<Shared>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

struct Shared {
    socket: UdpSocket,
    joined: JoinedNative,
    credentials: Credentials,
    epoch: Instant,
    checked: AtomicBool,
    sent: AtomicU32,
    speaking: AtomicBool,
    tally: Mutex<Tally>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Peer {
    /// Connects to the node: returns once an ICE check was answered.
    /// `epoch` is the zero of send times, the same for all peers of a run.
    pub async fn connect(
        joined: JoinedNative,
        ufrag: &str,
        epoch: Instant,
    ) -> anyhow::Result<Self> {
        let remote = *joined.addresses.first().context("the node announced no address")?;
        let any: SocketAddr = match remote {
            SocketAddr::V4(v4) if v4.ip().is_loopback() => "127.0.0.1:0".parse()?,
            SocketAddr::V4(_) => "0.0.0.0:0".parse()?,
            SocketAddr::V6(_) => "[::]:0".parse()?,
        };
        let socket = UdpSocket::bind(any).await?;
        // What all peers of a run miss while they get no time would count as lost.
        widen(&socket, 4 << 20)?;
        socket.connect(remote).await?;
        let shared = Arc::new(Shared {
            socket,
            credentials: Credentials::new(&joined.ufrag, joined.password.clone(), ufrag),
            epoch,
            checked: AtomicBool::new(false),
            sent: AtomicU32::new(0),
            speaking: AtomicBool::new(false),
            tally: Mutex::default(),
            joined,
        });
        let [outbound, inbound, inbound_rtcp] = contexts(&shared.joined)?;
        let tasks = vec![
            tokio::spawn(check(shared.clone())),
            tokio::spawn(receive(shared.clone(), inbound, inbound_rtcp)),
            tokio::spawn(speak(shared.clone(), outbound)),
        ];
        let peer = Self { shared, tasks };
        for _ in 0..2000 {
            if peer.shared.checked.load(Ordering::Acquire) {
                return Ok(peer);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("the node at {remote} answered no ICE check within 20 s")
    }

    /// Starts or stops speaking.
    pub fn speak(&self, on: bool) {
        self.shared.speaking.store(on, Ordering::Release);
    }

    /// The number of the next packet to be sent.
    pub fn sent(&self) -> u32 {
        self.shared.sent.load(Ordering::Acquire)
    }

    /// By which source others hear it.
    pub fn source(&self) -> SourceId {
        self.shared.joined.session_id.source()
    }

    /// Reads what was received so far.
    pub fn tally<T>(&self, read: impl FnOnce(&mut Tally) -> T) -> T {
        read(&mut self.shared.tally.lock().expect("no holder of the tally panics"))
    }
}

fn contexts(joined: &JoinedNative) -> anyhow::Result<[Srtp; 3]> {
    let material = base64::engine::general_purpose::STANDARD.decode(&joined.keying)?;
    srtp::contexts(joined.profile, &material)
}

/// RFC 8445 §7: checks keep the path open; the first answer means that the node knows us.
async fn check(shared: Arc<Shared>) {
    let mut wait = Duration::from_millis(50);
    let mut buffer = [0; 256];
    loop {
        if let Some(check) = shared.credentials.check(&mut buffer) {
            // A full socket loses one check; the next one follows.
            let _ = shared.socket.send(check).await;
        }
        if shared.checked.load(Ordering::Acquire) {
            wait = CHECK_INTERVAL;
        }
        tokio::time::sleep(wait).await;
    }
}

async fn receive(shared: Arc<Shared>, mut inbound: Srtp, mut inbound_rtcp: Srtp) {
    let mut buffer = [0; 2048];
    loop {
        // An ICMP error surfaces here once and is no reason to stop.
        let Ok(len) = shared.socket.recv(&mut buffer).await else { continue };
        let datagram = &buffer[..len];
        match datagram.first() {
            Some(0..=3) => {
                if shared.credentials.is_answer(datagram) {
                    shared.checked.store(true, Ordering::Release);
                }
            }
            Some(128..=191) if datagram.get(1).is_some_and(|kind| (192..=223).contains(kind)) => {
                if inbound_rtcp.decrypt_rtcp(datagram).is_err() {
                    shared.tally.lock().expect("no holder of the tally panics").bad += 1;
                }
            }
            Some(128..=191) => {
                let now = shared.epoch.elapsed();
                let packet = inbound
                    .decrypt_rtp(datagram)
                    .ok()
                    .and_then(|plain| rtp::packet::Packet::unmarshal(&mut &plain[..]).ok());
                let mut tally = shared.tally.lock().expect("no holder of the tally panics");
                match packet.as_ref().and_then(stamp) {
                    Some((source, number, sent)) => tally.count(source, number, sent, now),
                    None => tally.bad += 1,
                }
            }
            _ => shared.tally.lock().expect("no holder of the tally panics").bad += 1,
        }
    }
}

/// What [`speak`] wrote into a payload: number, then nanoseconds since the epoch.
fn stamp(packet: &rtp::packet::Packet) -> Option<(SourceId, u32, Duration)> {
    let source = SourceId(*packet.header.csrc.first()?);
    let number = u32::from_be_bytes(packet.payload.get(..4)?.try_into().ok()?);
    let sent = u64::from_be_bytes(packet.payload.get(4..12)?.try_into().ok()?);
    Some((source, number, Duration::from_nanos(sent)))
}

/// Payload of 64 kbit/s Opus in 20 ms packets.
const PAYLOAD: usize = 160;

async fn speak(shared: Arc<Shared>, mut outbound: Srtp) {
    let media = &shared.joined.media;
    let opus = media.send_codecs.iter().find(|mapping| mapping.codec.is_audio());
    let (Some(opus), Some(line)) = (opus, media.sends.iter().find(|line| line.kind.is_audio()))
    else {
        return;
    };
    let mut packet = rtp::packet::Packet::default();
    packet.header.version = 2;
    packet.header.payload_type = opus.payload_type;
    packet.header.ssrc = 0x5eed_0000 | (shared.joined.session_id.0 as u32 & 0xffff);
    let mut payload = [0; PAYLOAD];
    // Speakers start at random phases, as people do.
    tokio::time::sleep(PACKET_TIME.mul_f64(rand::random())).await;
    let mut clock = tokio::time::interval(PACKET_TIME);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    loop {
        clock.tick().await;
        packet.header.timestamp = packet.header.timestamp.wrapping_add(TICKS_PER_PACKET);
        if !shared.speaking.load(Ordering::Acquire) {
            continue;
        }
        let number = shared.sent.load(Ordering::Relaxed);
        let elapsed = u64::try_from(shared.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX);
        payload[..4].copy_from_slice(&number.to_be_bytes());
        payload[4..12].copy_from_slice(&elapsed.to_be_bytes());
        packet.payload = payload.to_vec().into();
        let extensions = &media.extensions;
        let elements = [
            (extensions.mid, line.mid.as_str().as_bytes().to_vec()),
            (extensions.audio_level, vec![SPEECH]),
        ];
        for (id, value) in elements {
            let Some(id) = id else { continue };
            if packet.header.set_extension(id, value.into()).is_err() {
                return;
            }
        }
        let sealed = packet.marshal().ok().and_then(|plain| outbound.encrypt_rtp(&plain).ok());
        let Some(sealed) = sealed else { return };
        packet.header.sequence_number = packet.header.sequence_number.wrapping_add(1);
        shared.sent.store(number + 1, Ordering::Release);
        // A full socket shows up as a loss in the listeners' tallies.
        let _ = shared.socket.send(&sealed).await;
    }
}
