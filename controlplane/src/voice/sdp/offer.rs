//! An offer (RFC 8866 with the attributes of RFC 8829 §5): ICE ufrag, fingerprint, and for each
//! m-line its codecs, header extensions and simulcast streams. This file goes through the lines;
//! `draft` reads their attributes. Bounded by [`super::MAX_OFFER`].

use hype_protocol::media::{Mid, Rid};

use super::draft::{Draft, Outcome, group, media_line};
use super::extension::Extension;
use super::{Error, MAX_MEDIA_LINES, MAX_OFFER};

/// What a client offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The client's ICE ufrag.
    pub ufrag: String,
    /// SHA-256 of the client's DTLS certificate.
    pub fingerprint: [u8; 32],
    /// `extmap-allow-mixed` for the whole session (RFC 8285 §6).
    pub(super) allow_mixed: bool,
    /// The m-lines in order; each one has a tag of its own.
    pub(super) media: Vec<MediaLine>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MediaKind {
    Audio,
    Video,
    /// Data channels and whatever else; always refused.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    pub(super) fn from_name(name: &str) -> Option<Self> {
        match name {
            "sendrecv" => Some(Self::SendRecv),
            "sendonly" => Some(Self::SendOnly),
            "recvonly" => Some(Self::RecvOnly),
            "inactive" => Some(Self::Inactive),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MediaLine {
    pub(super) mid: Mid,
    pub(super) kind: MediaKind,
    /// The m-line's first, third and further words, to refuse it as it was offered.
    pub(super) media: String,
    pub(super) protocol: String,
    pub(super) formats: Vec<String>,
    pub(super) direction: Direction,
    pub(super) payload_types: Vec<PayloadType>,
    pub(super) extensions: Vec<OfferedExtension>,
    /// Simulcast streams that it sends, in order.
    pub(super) rids: Vec<Rid>,
    pub(super) bundled: bool,
    pub(super) rtcp_mux: bool,
    pub(super) rtcp_rsize: bool,
    pub(super) allow_mixed: bool,
}

impl MediaLine {
    pub(super) fn sends(&self) -> bool {
        matches!(self.direction, Direction::SendRecv | Direction::SendOnly)
    }

    pub(super) fn receives(&self) -> bool {
        matches!(self.direction, Direction::SendRecv | Direction::RecvOnly)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OfferedExtension {
    pub(super) id: u8,
    pub(super) extension: Extension,
    pub(super) direction: Direction,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct PayloadType {
    pub(super) number: u8,
    /// Lower case; empty where no `rtpmap` names it (static types, which we never use).
    pub(super) name: String,
    pub(super) clock_rate: u32,
    pub(super) channels: u8,
    /// Lower-case names with their values, in order.
    pub(super) parameters: Vec<(String, String)>,
    pub(super) feedback: Vec<String>,
}

impl PayloadType {
    pub(super) fn is(&self, name: &str, clock_rate: u32) -> bool {
        self.name == name && self.clock_rate == clock_rate
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn has_feedback(&self, name: &str) -> bool {
        self.feedback.iter().any(|known| known == name)
    }
}

impl Offer {
    /// Reads an offer.
    ///
    /// # Errors
    /// [`Error`] when it is malformed, or lacks what every supported client offers.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_OFFER {
            return Err(Error::Inconsistent("it is longer than 64 KiB"));
        }
        if text.is_empty() {
            return Err(Error::Malformed { line: 1, what: "the offer is empty" });
        }
        let mut session = Draft::default();
        let mut bundle: Option<Vec<Mid>> = None;
        let mut drafts: Vec<Draft> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let malformed = |what| Error::Malformed { line: index + 1, what };
            let (field, value) = field(line).map_err(malformed)?;
            match field {
                'v' if index == 0 && value == "0" => {}
                _ if index == 0 => return Err(malformed("an offer begins with v=0")),
                'm' if drafts.len() == MAX_MEDIA_LINES => {
                    return Err(malformed("there are more than 64 m-lines"));
                }
                'm' => drafts.push(media_line(value).map_err(malformed)?),
                'a' if drafts.is_empty() && value.starts_with("group:BUNDLE") => {
                    bundle = Some(group(value).map_err(malformed)?);
                }
                'a' => {
                    let draft = drafts.last_mut().unwrap_or(&mut session);
                    draft.attribute(value).map_err(malformed)?;
                }
                _ => {}
            }
        }
        let Some(bundle) = bundle else {
            return Err(Error::Unsupported("it does not bundle its lines (a=group:BUNDLE)"));
        };
        finish(session, drafts, &bundle)
    }

    pub(super) fn line(&self, mid: &Mid) -> Option<&MediaLine> {
        self.media.iter().find(|line| line.mid == *mid)
    }
}

fn field(line: &str) -> Outcome<(char, &str)> {
    let mut chars = line.chars();
    match (chars.next(), chars.next()) {
        (Some(field), Some('=')) if field.is_ascii_lowercase() => Ok((field, chars.as_str())),
        _ => Err("it is not of the form x=…"),
    }
}

fn finish(session: Draft, drafts: Vec<Draft>, bundle: &[Mid]) -> Result<Offer, Error> {
    // RFC 8843 §7.1: the bundle's transport is that of its first line.
    let tagged =
        drafts.iter().find(|draft| draft.mid.is_some() && draft.mid.as_ref() == bundle.first());
    let Some(tagged) = tagged else {
        return Err(Error::Inconsistent("the bundle's first mid is no line of the offer"));
    };
    let own = tagged.transport.clone();
    let shared = session.transport.clone();
    match own.setup.or(shared.setup).as_deref() {
        Some("actpass" | "active") => {}
        Some("passive") => {
            return Err(Error::Unsupported("the client must open DTLS (a=setup:actpass)"));
        }
        _ => return Err(Error::Unsupported("it does not say who opens DTLS (a=setup)")),
    }
    let fingerprint = own
        .fingerprint
        .or(shared.fingerprint)
        .ok_or(Error::Unsupported("it has no SHA-256 fingerprint of the client's certificate"))?;
    let ufrag = own.ufrag.or(shared.ufrag).ok_or(Error::Unsupported("it has no ICE ufrag"))?;
    let mut media: Vec<MediaLine> = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let line = draft.finish(&session, bundle)?;
        if media.iter().any(|known| known.mid == line.mid) {
            return Err(Error::Inconsistent("a mid stands on two lines"));
        }
        media.push(line);
    }
    Ok(Offer { ufrag, fingerprint, allow_mixed: session.allow_mixed, media })
}
