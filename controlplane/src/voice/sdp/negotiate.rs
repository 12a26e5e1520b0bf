//! The decision: from an offer and the purposes of its lines to what the session sends and
//! receives, and what each line of the answer says. Pure.
//! RFC 8843 §9 and §10: payload types and extension ids mean one thing throughout the bundle.

use hype_protocol::gateway::OfferLines;
use hype_protocol::media::{
    CodecMapping, HeaderExtensions, MAX_VIDEO_SLOTS, Mid, ReceiveLine, Rid, SendLine, SessionMedia,
    SourceKind, VOICE_SLOTS, VideoSlot,
};

use super::Error;
use super::codec::{self, Accepted};
use super::extension::Extension;
use super::offer::{Direction, MediaKind, MediaLine, Offer, OfferedExtension, PayloadType};
use super::slot::{Slot, receive_line};

/// What a line of the answer is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The client sends.
    Send { kind: SourceKind, rids: Vec<Rid> },
    /// The client receives, as this track of this stream.
    Receive { line: ReceiveLine, stream: String, track: String },
}

/// A line that the answer accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AcceptedLine {
    pub(super) mid: Mid,
    pub(super) purpose: Purpose,
    pub(super) codecs: Vec<Accepted>,
    pub(super) extensions: Vec<OfferedExtension>,
}

/// The outcome. Lines of the offer that are not in it are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreement {
    /// What the node must know.
    pub media: SessionMedia,
    pub(super) lines: Vec<AcceptedLine>,
}

/// Decides what of an offer is accepted.
///
/// # Errors
/// [`Error`] when the offer, or the purposes named for its lines, cannot be served.
pub fn negotiate(offer: &Offer, lines: &OfferLines) -> Result<Agreement, Error> {
    check_purposes(lines)?;
    let mut ids = HeaderExtensions::default();
    collect_extensions(offer, lines, &mut ids)?;
    check_payload_types(offer, lines)?;
    let media = SessionMedia { extensions: ids, ..SessionMedia::default() };
    let mut builder = Builder { offer, agreement: Agreement { media, lines: Vec::new() } };
    for send in &lines.sends {
        builder.send(&send.mid, send.kind)?;
    }
    for (index, mid) in lines.voices.iter().enumerate() {
        builder.voice(mid, index)?;
    }
    for (index, slot) in lines.videos.iter().enumerate() {
        builder.video(&slot.video, slot.sound.as_ref(), index)?;
    }
    if builder.agreement.lines.is_empty() {
        return Err(Error::Inconsistent("none of its lines is used"));
    }
    Ok(builder.agreement)
}

/// All mids that have a purpose.
fn named(lines: &OfferLines) -> impl Iterator<Item = &Mid> {
    let sends = lines.sends.iter().map(|send| &send.mid);
    let videos = lines.videos.iter().flat_map(|slot| [Some(&slot.video), slot.sound.as_ref()]);
    sends.chain(&lines.voices).chain(videos.flatten())
}

fn check_purposes(lines: &OfferLines) -> Result<(), Error> {
    if lines.voices.len() > VOICE_SLOTS {
        return Err(Error::Inconsistent("there are more than 8 voice lines"));
    }
    if lines.videos.len() > MAX_VIDEO_SLOTS {
        return Err(Error::Inconsistent("there are more than 4 video slots"));
    }
    for (index, send) in lines.sends.iter().enumerate() {
        if lines.sends[..index].iter().any(|other| other.kind == send.kind) {
            return Err(Error::Inconsistent("two lines send the same kind"));
        }
    }
    let mut seen: Vec<&Mid> = Vec::new();
    for mid in named(lines) {
        if seen.contains(&mid) {
            return Err(Error::Inconsistent("a mid has two purposes"));
        }
        seen.push(mid);
    }
    Ok(())
}

fn used_line<'a>(offer: &'a Offer, mid: &Mid) -> Result<&'a MediaLine, Error> {
    offer.line(mid).ok_or(Error::Inconsistent("a purpose names a mid that no line has"))
}

/// The first id of each extension is the session's; a line with another one does without it.
fn collect_extensions(
    offer: &Offer,
    lines: &OfferLines,
    ids: &mut HeaderExtensions,
) -> Result<(), Error> {
    let mut meanings: [Option<Extension>; 256] = [None; 256];
    for mid in named(lines) {
        for offered in &used_line(offer, mid)?.extensions {
            let meaning = meanings[usize::from(offered.id)].get_or_insert(offered.extension);
            if *meaning != offered.extension {
                return Err(Error::Unsupported("an extmap id means two things in the bundle"));
            }
            offered.extension.id_in(ids).get_or_insert(offered.id);
        }
    }
    Ok(())
}

/// What a payload type is, as far as it must be the same throughout a bundle.
fn identity(payload_type: &PayloadType) -> (&str, u32, u8, Option<&str>) {
    let profile = ["apt", "profile-id", "profile-level-id", "profile"];
    let profile = profile.iter().find_map(|name| payload_type.parameter(name));
    (&payload_type.name, payload_type.clock_rate, payload_type.channels, profile)
}

fn check_payload_types(offer: &Offer, lines: &OfferLines) -> Result<(), Error> {
    let mut meanings: [Option<&PayloadType>; 128] = [None; 128];
    for mid in named(lines) {
        let named_types =
            used_line(offer, mid)?.payload_types.iter().filter(|known| !known.name.is_empty());
        for payload_type in named_types {
            let meaning = meanings[usize::from(payload_type.number)].get_or_insert(payload_type);
            if identity(meaning) != identity(payload_type) {
                return Err(Error::Unsupported("a payload type means two codecs in the bundle"));
            }
        }
    }
    Ok(())
}

struct Builder<'a> {
    offer: &'a Offer,
    agreement: Agreement,
}

impl<'a> Builder<'a> {
    fn send(&mut self, mid: &Mid, kind: SourceKind) -> Result<(), Error> {
        let line = self.usable(mid, kind.is_audio())?;
        if !line.sends() {
            return Err(Error::Inconsistent("a line that shall send does not offer to"));
        }
        let rids = line.rids.clone();
        if kind.is_audio() && !rids.is_empty() {
            return Err(Error::Unsupported("simulcast is for video lines"));
        }
        // Without the stream ids on the packets nobody could tell the layers apart.
        let ids = &self.agreement.media.extensions;
        if !rids.is_empty() && (ids.mid.is_none() || ids.rid.is_none()) {
            return Err(Error::Unsupported("simulcast needs the mid and rid header extensions"));
        }
        let codecs = accept(line, &mut self.agreement.media.send_codecs)?;
        if codecs.is_empty() {
            return Ok(());
        }
        self.agreement.media.sends.push(SendLine { mid: mid.clone(), kind, rids: rids.clone() });
        self.push(line, Purpose::Send { kind, rids }, codecs);
        Ok(())
    }

    fn voice(&mut self, mid: &Mid, index: usize) -> Result<(), Error> {
        let line = self.receiving(mid, true)?;
        let codecs = accept(line, &mut self.agreement.media.receive_codecs)?;
        let receive = receive_line(mid, Slot::Voice, index, false);
        self.agreement.media.voice_slots.push(receive.clone());
        let name = format!("voice-{index}");
        let purpose = Purpose::Receive { line: receive, stream: name.clone(), track: name };
        self.push(line, purpose, codecs);
        Ok(())
    }

    fn video(&mut self, mid: &Mid, sound: Option<&Mid>, index: usize) -> Result<(), Error> {
        let line = self.receiving(mid, false)?;
        let sound_line = sound.map(|sound| self.receiving(sound, true)).transpose()?;
        let codecs = accept(line, &mut self.agreement.media.receive_codecs)?;
        if codecs.is_empty() {
            // A client that decodes no video of ours still talks; its slot is refused whole.
            return Ok(());
        }
        // Picture and sound are one stream, so that the browser plays them in step.
        let stream = format!("video-{index}");
        let rtx = codecs.iter().any(|accepted| accepted.rtx_payload_type.is_some());
        let video = receive_line(mid, Slot::Video, index, rtx);
        let purpose =
            Purpose::Receive { line: video.clone(), stream: stream.clone(), track: stream.clone() };
        self.push(line, purpose, codecs);
        let mut slot = VideoSlot { video, sound: None };
        if let Some(line) = sound_line {
            let codecs = accept(line, &mut self.agreement.media.receive_codecs)?;
            let sound = receive_line(&line.mid, Slot::Sound, index, false);
            slot.sound = Some(sound.clone());
            let track = format!("sound-{index}");
            self.push(line, Purpose::Receive { line: sound, stream, track }, codecs);
        }
        self.agreement.media.video_slots.push(slot);
        Ok(())
    }

    fn push(&mut self, line: &MediaLine, purpose: Purpose, codecs: Vec<Accepted>) {
        let mut ids = self.agreement.media.extensions;
        let towards_us = matches!(purpose, Purpose::Send { .. });
        let extensions = line.extensions.iter().copied().filter(|offered| {
            let usable = match offered.direction {
                Direction::SendRecv => true,
                Direction::SendOnly => towards_us,
                Direction::RecvOnly => !towards_us,
                Direction::Inactive => false,
            };
            usable && *offered.extension.id_in(&mut ids) == Some(offered.id)
        });
        let extensions = extensions.collect();
        let line = AcceptedLine { mid: line.mid.clone(), purpose, codecs, extensions };
        self.agreement.lines.push(line);
    }

    fn receiving(&self, mid: &Mid, audio: bool) -> Result<&'a MediaLine, Error> {
        let line = self.usable(mid, audio)?;
        if !line.receives() {
            return Err(Error::Inconsistent("a line that shall receive does not offer to"));
        }
        Ok(line)
    }

    /// A line that can be accepted at all.
    fn usable(&self, mid: &Mid, audio: bool) -> Result<&'a MediaLine, Error> {
        let line = used_line(self.offer, mid)?;
        let wanted = if audio { MediaKind::Audio } else { MediaKind::Video };
        if line.kind != wanted {
            return Err(Error::Inconsistent("a purpose does not fit its line's media"));
        }
        if line.protocol != "UDP/TLS/RTP/SAVPF" {
            return Err(Error::Unsupported("a line is not UDP/TLS/RTP/SAVPF"));
        }
        if !line.bundled {
            return Err(Error::Unsupported("a line is not in the bundle"));
        }
        if !line.rtcp_mux {
            return Err(Error::Unsupported("a line does without rtcp-mux"));
        }
        Ok(line)
    }
}

/// The line's codecs that we take, noted in `mappings`. A codec has one payload type a direction;
/// a line that calls it by another does without it.
fn accept(line: &MediaLine, mappings: &mut Vec<CodecMapping>) -> Result<Vec<Accepted>, Error> {
    let mut accepted = codec::accept(line);
    accepted.retain(|accepted| match mappings.iter().find(|known| known.codec == accepted.codec) {
        Some(known) => known.payload_type == accepted.payload_type,
        None => {
            mappings.push(CodecMapping {
                codec: accepted.codec,
                payload_type: accepted.payload_type,
                rtx_payload_type: accepted.rtx_payload_type,
            });
            true
        }
    });
    if accepted.is_empty() && line.kind == MediaKind::Audio {
        return Err(Error::Unsupported("an audio line does not offer Opus"));
    }
    Ok(accepted)
}
