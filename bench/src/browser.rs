//! A peer that does what a browser does to be connected, and then is silent: ICE checks, a real
//! DTLS handshake as the client, one SRTCP report, and checks from then on. Its DTLS state is
//! dropped once keys are there: the memory that counts is the node's.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use dimpl::{Dtls, DtlsCertificate, Output};
use hype_protocol::media::{
    Codec, CodecMapping, HeaderExtensions, MAX_VIDEO_SLOTS, Mid, ReceiveLine, Rid, SendLine,
    SessionMedia, SourceKind, VOICE_SLOTS, VideoSlot,
};
use hype_protocol::secret::{SrtpKeying, SrtpProfile};
use tokio::net::UdpSocket;

use crate::ice::Credentials;
use crate::srtp;

/// From the first check to the keys.
const PATIENCE: Duration = Duration::from_secs(10);
/// Until a check is answered, and how often afterwards: as Chrome does on a good path.
const FIRST_CHECKS: Duration = Duration::from_millis(100);
const CHECKS: Duration = Duration::from_millis(2500);

/// A certificate for all clients of a run: making one takes longer than a handshake.
#[derive(Clone)]
pub struct Certificate {
    dtls: DtlsCertificate,
    config: Arc<dimpl::Config>,
    /// SHA-256, as the client's offer tells it.
    pub fingerprint: [u8; 32],
}

impl Certificate {
    /// A fresh key (ECDSA P-256) and a self-signed certificate.
    pub fn generate() -> anyhow::Result<Self> {
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::default().self_signed(&key)?.der().to_vec();
        let fingerprint = sha256(&certificate);
        let dtls = DtlsCertificate { certificate, private_key: key.serialize_der() };
        Ok(Self { dtls, config: Arc::new(dimpl::Config::builder().build()?), fingerprint })
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// A connected peer; what keeps it so is [`Browser::stay`].
pub struct Browser {
    socket: UdpSocket,
    credentials: Credentials,
    /// What the handshake agreed on.
    pub profile: SrtpProfile,
}

impl Browser {
    /// Connects from an address of this machine: ICE, DTLS, then one SRTCP receiver report.
    /// `node` is the fingerprint of the node's certificate, as in SDP.
    ///
    /// # Errors
    /// When that does not end within 10 s, or the node shows another certificate.
    pub async fn connect(
        from: IpAddr,
        to: SocketAddr,
        credentials: Credentials,
        certificate: &Certificate,
        node: &str,
    ) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind((from, 0)).await?;
        socket.connect(to).await?;
        let connected = async {
            check(&socket, &credentials).await?;
            handshake(&socket, certificate, node).await
        };
        let keying = tokio::time::timeout(PATIENCE, connected)
            .await
            .with_context(|| format!("not connected within {PATIENCE:?}"))??;
        let [mut outbound, ..] = srtp::contexts(keying.profile, &keying.material)?;
        // RFC 3550 §6.4.2: a receiver report without blocks, as of somebody who heard nothing yet.
        let report = outbound.encrypt_rtcp(&[0x80, 201, 0, 1, 0, 0, 0, 1])?;
        socket.send(&report).await?;
        Ok(Self { socket, credentials, profile: keying.profile })
    }

    /// Sends checks and takes whatever comes, for ever.
    pub async fn stay(self) {
        let mut buffer = [0; 2048];
        let start = tokio::time::Instant::now() + CHECKS.mul_f64(rand::random());
        let mut clock = tokio::time::interval_at(start, CHECKS);
        loop {
            tokio::select! {
                _ = clock.tick() => {
                    if let Some(check) = self.credentials.check(&mut buffer) {
                        // A full socket loses one check; the next one follows.
                        let _ = self.socket.send(check).await;
                    }
                }
                // An ICMP error surfaces here once and is no reason to stop.
                _ = self.socket.recv(&mut buffer) => {}
            }
        }
    }
}

async fn check(socket: &UdpSocket, credentials: &Credentials) -> anyhow::Result<()> {
    let mut buffer = [0; 2048];
    loop {
        let check = credentials.check(&mut buffer).context("the buffer is large")?;
        socket.send(check).await?;
        if let Ok(Ok(len)) = tokio::time::timeout(FIRST_CHECKS, socket.recv(&mut buffer)).await
            && credentials.is_answer(&buffer[..len])
        {
            return Ok(());
        }
    }
}

async fn handshake(
    socket: &UdpSocket,
    certificate: &Certificate,
    node: &str,
) -> anyhow::Result<SrtpKeying> {
    let config = Arc::clone(&certificate.config);
    // Both versions, as browsers offer.
    let mut dtls = Dtls::new_auto(config, certificate.dtls.clone(), Instant::now());
    dtls.set_active(true);
    let mut datagram = [0; 2048];
    loop {
        dtls.handle_timeout(Instant::now())?;
        let step = poll(&mut dtls)?;
        for packet in step.packets {
            socket.send(&packet).await?;
        }
        if let Some(shown) = step.certificate {
            ensure!(shown == node, "the node shows another certificate: {shown}");
        }
        if let Some(keying) = step.keying {
            return Ok(keying);
        }
        let wait = tokio::time::Instant::from_std(step.timeout);
        if let Ok(received) = tokio::time::timeout_at(wait, socket.recv(&mut datagram)).await {
            let packet = &datagram[..received?];
            // RFC 7983 §7: what else comes are answers to checks.
            if matches!(packet.first(), Some(20..=63)) {
                dtls.handle_packet(packet)?;
            }
        }
    }
}

/// What one step brought out.
struct Step {
    packets: Vec<Vec<u8>>,
    /// Fingerprint of the certificate that the node showed, as in SDP.
    certificate: Option<String>,
    keying: Option<SrtpKeying>,
    timeout: Instant,
}

fn poll(dtls: &mut Dtls) -> anyhow::Result<Step> {
    let (mut packets, mut certificate, mut keying) = (Vec::new(), None, None);
    let mut buffer = vec![0; 4096];
    loop {
        match dtls.poll_output(&mut buffer) {
            Output::Packet(packet) => packets.push(packet.to_vec()),
            Output::Timeout(timeout) => return Ok(Step { packets, certificate, keying, timeout }),
            Output::PeerCert(der) => {
                certificate = Some(sha256(der).map(|octet| format!("{octet:02X}")).join(":"));
            }
            Output::KeyingMaterial(material, profile) => {
                let profile = match profile {
                    dimpl::SrtpProfile::AEAD_AES_256_GCM => SrtpProfile::AeadAes256Gcm,
                    dimpl::SrtpProfile::AEAD_AES_128_GCM => SrtpProfile::AeadAes128Gcm,
                    dimpl::SrtpProfile::AES128_CM_SHA1_80 => SrtpProfile::Aes128CmSha1_80,
                    other => bail!("no SRTP profile of ours: {other:?}"),
                };
                keying = Some(SrtpKeying { profile, material: material.to_vec() });
            }
            Output::CloseNotify => bail!("the node closed DTLS"),
            Output::BufferTooSmall { needed } => buffer.resize(needed, 0),
            _ => {}
        }
    }
}

/// The outcome of a browser's offer: four lines to send by, eight voice slots, four video slots.
pub fn media() -> SessionMedia {
    let mid = |number: usize| Mid::try_from(number.to_string()).expect("a number is a mid");
    let rid = |text: &str| Rid::try_from(text.to_owned()).expect("letters are a rid");
    let video = |codec, payload_type: u8| CodecMapping {
        codec,
        payload_type,
        rtx_payload_type: Some(payload_type + 1),
    };
    let codecs = vec![
        CodecMapping { codec: Codec::Opus, payload_type: 111, rtx_payload_type: None },
        video(Codec::Vp8, 96),
        video(Codec::Vp9, 98),
        video(Codec::H264, 102),
        video(Codec::Av1, 45),
    ];
    let send = |number, kind, rids: &[&str]| SendLine {
        mid: mid(number),
        kind,
        rids: rids.iter().map(|text| rid(text)).collect(),
    };
    let layers = ["q", "h", "f"];
    let receive = |number: usize, ssrc: usize, rtx: bool| {
        let ssrc = u32::try_from(ssrc).expect("a small number");
        ReceiveLine { mid: mid(number), ssrc, rtx_ssrc: rtx.then_some(ssrc + 1) }
    };
    let video_slots = (0..MAX_VIDEO_SLOTS).map(|slot| VideoSlot {
        video: receive(12 + 2 * slot, 2000 + 2 * slot, true),
        sound: Some(receive(13 + 2 * slot, 3000 + slot, false)),
    });
    SessionMedia {
        extensions: HeaderExtensions {
            mid: Some(4),
            rid: Some(10),
            repaired_rid: Some(11),
            audio_level: Some(1),
            transport_cc: Some(3),
            abs_send_time: Some(2),
            dependency_descriptor: Some(12),
            video_orientation: Some(13),
            playout_delay: Some(5),
        },
        send_codecs: codecs.clone(),
        receive_codecs: codecs,
        sends: vec![
            send(0, SourceKind::Microphone, &[]),
            send(1, SourceKind::Camera, &layers),
            send(2, SourceKind::Screen, &layers),
            send(3, SourceKind::ScreenAudio, &[]),
        ],
        voice_slots: (0..VOICE_SLOTS).map(|s| receive(4 + s, 1000 + s, false)).collect(),
        video_slots: video_slots.collect(),
    }
}
