//! Writes the answer (RFC 8829 §5.3): ICE lite and passive, one bundle with rtcp-mux, fixed SSRCs
//! on the lines by which the client receives, all other lines refused.
//! It never repeats text of the offer that was not checked to be visible ASCII without spaces.

use std::fmt::Write as _;
use std::net::SocketAddr;

use hype_protocol::media::{Codec, Rid, SourceKind};

use super::Endpoint;
use super::codec::Accepted;
use super::negotiate::{AcceptedLine, Agreement, Purpose};
use super::offer::{Direction, MediaLine, Offer, OfferedExtension};

/// What a shared screen may send, kbit/s, all simulcast streams together (`b=AS`).
const SCREEN_KBPS: u32 = 8000;
/// Where Chromium's bandwidth estimate begins for video, kbit/s. Its own 300 would take longer to
/// reach a readable screen than people wait.
const START_KBPS: u32 = 2500;
/// The canonical name of all that a node sends: one clock for every stream (RFC 3550 §6.5.1).
const CNAME: &str = "hype";

/// Opus in a microphone's line: these are our wishes, so they rule what the browser sends
/// (RFC 7587 §6.1). 64 kbit/s is where speech and music stop sounding compressed.
const VOICE: &str = "minptime=10;useinbandfec=1;usedtx=1;maxaveragebitrate=64000";
/// Opus in a screen's sound: stereo, and never paused by DTX, which music does not survive.
const SOUND: &str = "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1;maxaveragebitrate=128000";
/// Opus where we send; we would take what we ask of others.
const RECEIVED_VOICE: &str = "minptime=10;useinbandfec=1";

/// The answer's text: CRLF lines, and an m-line for each of the offer's.
pub fn write(offer: &Offer, agreement: &Agreement, endpoint: &Endpoint) -> String {
    let mut text = Text(String::with_capacity(12 * 1024));
    text.line(format_args!("v=0"));
    text.line(format_args!("o=- {} 1 IN IP4 0.0.0.0", endpoint.origin));
    text.line(format_args!("s=-"));
    text.line(format_args!("t=0 0"));
    let accepted = |line: &MediaLine| agreement.lines.iter().find(|known| known.mid == line.mid);
    let mut bundle = String::from("a=group:BUNDLE");
    for line in offer.media.iter().filter(|line| accepted(line).is_some()) {
        // Writing to a string cannot fail.
        let _ = write!(bundle, " {}", line.mid);
    }
    text.line(format_args!("{bundle}"));
    text.line(format_args!("a=ice-lite"));
    if offer.allow_mixed {
        text.line(format_args!("a=extmap-allow-mixed"));
    }
    text.line(format_args!("a=msid-semantic: WMS *"));
    let mut first = true;
    for line in &offer.media {
        match accepted(line) {
            None => text.refused(line),
            Some(accepted) => {
                text.accepted(line, accepted, endpoint);
                if std::mem::take(&mut first) {
                    text.candidates(&endpoint.addresses);
                }
            }
        }
    }
    text.0
}

struct Text(String);

impl Text {
    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(line);
        self.0.push_str("\r\n");
    }

    fn refused(&mut self, line: &MediaLine) {
        let formats = line.formats.join(" ");
        self.line(format_args!("m={} 0 {} {formats}", line.media, line.protocol));
        self.line(format_args!("c=IN IP4 0.0.0.0"));
        self.line(format_args!("a=inactive"));
        self.line(format_args!("a=mid:{}", line.mid));
    }

    fn accepted(&mut self, line: &MediaLine, accepted: &AcceptedLine, endpoint: &Endpoint) {
        let mut types = String::new();
        for codec in &accepted.codecs {
            let _ = write!(types, " {}", codec.payload_type);
            if let Some(rtx) = codec.rtx_payload_type {
                let _ = write!(types, " {rtx}");
            }
        }
        self.line(format_args!("m={} 9 {}{types}", line.media, line.protocol));
        self.line(format_args!("c=IN IP4 0.0.0.0"));
        if let Purpose::Send { kind: SourceKind::Screen, .. } = accepted.purpose {
            self.line(format_args!("b=AS:{SCREEN_KBPS}"));
        }
        self.line(format_args!("a=mid:{}", line.mid));
        self.line(format_args!("a=ice-ufrag:{}", endpoint.ufrag));
        self.line(format_args!("a=ice-pwd:{}", endpoint.password));
        self.line(format_args!("a=fingerprint:sha-256 {}", endpoint.fingerprint));
        self.line(format_args!("a=setup:passive"));
        self.line(format_args!("a=rtcp-mux"));
        if line.rtcp_rsize {
            self.line(format_args!("a=rtcp-rsize"));
        }
        if line.allow_mixed {
            self.line(format_args!("a=extmap-allow-mixed"));
        }
        for extension in &accepted.extensions {
            self.extension(extension);
        }
        for codec in &accepted.codecs {
            self.codec(codec, &accepted.purpose);
        }
        self.purpose(&accepted.purpose);
    }

    /// RFC 8285 §5: a direction is answered by its mirror.
    fn extension(&mut self, offered: &OfferedExtension) {
        let direction = match offered.direction {
            Direction::SendRecv => "",
            Direction::SendOnly => "/recvonly",
            Direction::RecvOnly => "/sendonly",
            Direction::Inactive => "/inactive",
        };
        self.line(format_args!("a=extmap:{}{direction} {}", offered.id, offered.extension.uri()));
    }

    fn codec(&mut self, accepted: &Accepted, purpose: &Purpose) {
        let number = accepted.payload_type;
        let encoding = match accepted.codec {
            Codec::Opus => "opus/48000/2",
            Codec::Vp8 => "VP8/90000",
            Codec::H264 => "H264/90000",
            Codec::Vp9 => "VP9/90000",
            Codec::Av1 => "AV1/90000",
        };
        self.line(format_args!("a=rtpmap:{number} {encoding}"));
        for feedback in &accepted.feedback {
            self.line(format_args!("a=rtcp-fb:{number} {feedback}"));
        }
        let parameters = parameters(accepted, purpose);
        if !parameters.is_empty() {
            self.line(format_args!("a=fmtp:{number} {parameters}"));
        }
        if let Some(rtx) = accepted.rtx_payload_type {
            self.line(format_args!("a=rtpmap:{rtx} rtx/90000"));
            self.line(format_args!("a=fmtp:{rtx} apt={number}"));
        }
    }

    fn purpose(&mut self, purpose: &Purpose) {
        match purpose {
            Purpose::Send { rids, .. } => {
                self.line(format_args!("a=recvonly"));
                for rid in rids {
                    self.line(format_args!("a=rid:{rid} recv"));
                }
                if !rids.is_empty() {
                    let names: Vec<&str> = rids.iter().map(Rid::as_str).collect();
                    self.line(format_args!("a=simulcast:recv {}", names.join(";")));
                }
            }
            Purpose::Receive { line, stream, track } => {
                self.line(format_args!("a=sendonly"));
                self.line(format_args!("a=msid:{stream} {track}"));
                if let Some(rtx) = line.rtx_ssrc {
                    self.line(format_args!("a=ssrc-group:FID {} {rtx}", line.ssrc));
                }
                for ssrc in [Some(line.ssrc), line.rtx_ssrc].into_iter().flatten() {
                    self.line(format_args!("a=ssrc:{ssrc} cname:{CNAME}"));
                }
            }
        }
    }

    /// RFC 8839 §5.1, with RFC 8445 §5.1.2.1's priority of a host candidate.
    fn candidates(&mut self, addresses: &[SocketAddr]) {
        for (index, address) in (0u32..0xffff).zip(addresses) {
            let priority = (126 << 24) | ((0xffff - index) << 8) | 255;
            self.line(format_args!(
                "a=candidate:{} 1 udp {priority} {} {} typ host",
                index + 1,
                address.ip(),
                address.port()
            ));
        }
        self.line(format_args!("a=end-of-candidates"));
    }
}

fn parameters(accepted: &Accepted, purpose: &Purpose) -> String {
    match (accepted.codec, purpose) {
        (Codec::Opus, Purpose::Send { kind: SourceKind::ScreenAudio, .. }) => SOUND.into(),
        (Codec::Opus, Purpose::Send { .. }) => VOICE.into(),
        (Codec::Opus, Purpose::Receive { .. }) => RECEIVED_VOICE.into(),
        (_, Purpose::Receive { .. }) => accepted.parameters.clone(),
        (_, Purpose::Send { .. }) if accepted.parameters.is_empty() => {
            format!("x-google-start-bitrate={START_KBPS}")
        }
        (_, Purpose::Send { .. }) => {
            format!("{};x-google-start-bitrate={START_KBPS}", accepted.parameters)
        }
    }
}
