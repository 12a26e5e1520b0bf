//! One m-line (or the part before the first) while it is being read: its attributes, each by the
//! RFC that defines it. What we do not use is passed over; what we use must be well-formed.

use hype_protocol::media::{Mid, Rid};

use super::Error;
use super::extension::Extension;
use super::offer::{Direction, MediaKind, MediaLine, OfferedExtension, PayloadType};

/// The most simulcast streams of a line: what the engine forwards.
const MAX_RIDS: usize = 3;

/// Attributes that may stand on the session or on a line; a line's own win.
#[derive(Debug, Clone, Default)]
pub(super) struct Transport {
    pub(super) ufrag: Option<String>,
    pub(super) fingerprint: Option<[u8; 32]>,
    pub(super) setup: Option<String>,
}

/// A line while it is being read.
#[derive(Debug, Default)]
pub(super) struct Draft {
    media: String,
    protocol: String,
    formats: Vec<String>,
    pub(super) mid: Option<Mid>,
    direction: Option<Direction>,
    payload_types: Vec<PayloadType>,
    extensions: Vec<OfferedExtension>,
    sent_rids: Vec<Rid>,
    simulcast: Option<Vec<Rid>>,
    rtcp_mux: bool,
    rtcp_rsize: bool,
    pub(super) allow_mixed: bool,
    pub(super) transport: Transport,
}

pub(super) type Outcome<T> = Result<T, &'static str>;

impl Draft {
    /// Takes one `a=`.
    pub(super) fn attribute(&mut self, attribute: &str) -> Outcome<()> {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        match name {
            "mid" => self.mid = Some(mid(value)?),
            "rtpmap" => self.rtpmap(value)?,
            "fmtp" => self.fmtp(value)?,
            "rtcp-fb" => self.feedback(value)?,
            "extmap" => self.extmap(value)?,
            "extmap-allow-mixed" => self.allow_mixed = true,
            "rtcp-mux" => self.rtcp_mux = true,
            "rtcp-rsize" => self.rtcp_rsize = true,
            "rid" => self.rid(value)?,
            "simulcast" => self.simulcast(value)?,
            "ice-ufrag" => self.transport.ufrag = Some(ufrag(value)?),
            "fingerprint" => self.fingerprint(value)?,
            "setup" => self.transport.setup = Some(value.to_owned()),
            _ => self.direction = Direction::from_name(name).or(self.direction),
        }
        Ok(())
    }

    /// The payload type that an attribute speaks of; none when the m-line does not list it.
    fn payload_type(&mut self, text: &str) -> Outcome<Option<&mut PayloadType>> {
        let number = payload_type(text)?;
        Ok(self.payload_types.iter_mut().find(|known| known.number == number))
    }

    fn rtpmap(&mut self, value: &str) -> Outcome<()> {
        let (number, encoding) = value.split_once(' ').ok_or("rtpmap names an encoding")?;
        let mut parts = encoding.split('/');
        let (name, clock) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let channels = parts.next().map_or(Ok(1), str::parse);
        let (Ok(clock_rate), Ok(channels)) = (clock.parse(), channels) else {
            return Err("rtpmap has the form PT name/clock[/channels]");
        };
        if let Some(known) = self.payload_type(number)? {
            known.name = name.to_ascii_lowercase();
            known.clock_rate = clock_rate;
            known.channels = channels;
        }
        Ok(())
    }

    fn fmtp(&mut self, value: &str) -> Outcome<()> {
        let (number, parameters) = value.split_once(' ').ok_or("fmtp has parameters")?;
        if let Some(known) = self.payload_type(number)? {
            let parameters = parameters.split(';').filter_map(|parameter| {
                // Lists such as telephone-event's `0-15` are no parameters with names.
                let (name, value) = parameter.split_once('=')?;
                Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            });
            known.parameters.extend(parameters);
        }
        Ok(())
    }

    fn feedback(&mut self, value: &str) -> Outcome<()> {
        let (number, kind) = value.split_once(' ').ok_or("rtcp-fb names a kind")?;
        if number == "*" {
            for known in &mut self.payload_types {
                known.feedback.push(kind.to_owned());
            }
        } else if let Some(known) = self.payload_type(number)? {
            known.feedback.push(kind.to_owned());
        }
        Ok(())
    }

    /// RFC 8285 §5: `a=extmap:ID[/direction] URI [attributes]`.
    fn extmap(&mut self, value: &str) -> Outcome<()> {
        let mut words = value.split(' ');
        let (Some(id), Some(uri)) = (words.next(), words.next()) else {
            return Err("extmap has the form ID URI");
        };
        let (id, direction) = match id.split_once('/') {
            None => (id, Direction::SendRecv),
            Some((id, name)) => (id, Direction::from_name(name).ok_or("unknown direction")?),
        };
        let id: u16 = id.parse().map_err(|_| "an extmap id is a number")?;
        let Some(extension) = Extension::from_uri(uri) else { return Ok(()) };
        // 4096 and above are offers to be renumbered (§7); only real local ids are of use.
        let Some(id) = u8::try_from(id).ok().filter(|id| !matches!(id, 0 | 15)) else {
            return Ok(());
        };
        if self.extensions.iter().any(|known| known.id == id || known.extension == extension) {
            return Err("an extmap id or URI stands twice");
        }
        self.extensions.push(OfferedExtension { id, extension, direction });
        Ok(())
    }

    /// RFC 8851 §4: `a=rid:ID send|recv [restrictions]`.
    fn rid(&mut self, value: &str) -> Outcome<()> {
        let mut words = value.split(' ');
        let (Some(id), Some(direction)) = (words.next(), words.next()) else {
            return Err("rid has the form ID send|recv");
        };
        if direction == "send" {
            let id = rid(id)?;
            if self.sent_rids.contains(&id) || self.sent_rids.len() == MAX_RIDS {
                return Err("a rid stands twice, or there are more than 3");
            }
            self.sent_rids.push(id);
        }
        Ok(())
    }

    /// RFC 8853 §5.1: streams by `;`, alternatives of one by `,`, a paused one by `~`.
    fn simulcast(&mut self, value: &str) -> Outcome<()> {
        if self.simulcast.is_some() {
            return Err("simulcast stands twice");
        }
        let mut words = value.split(' ');
        while let (Some(direction), Some(streams)) = (words.next(), words.next()) {
            if direction != "send" {
                continue;
            }
            let first = |stream: &str| {
                let first = stream.split(',').next().unwrap_or("");
                rid(first.strip_prefix('~').unwrap_or(first))
            };
            self.simulcast = Some(streams.split(';').map(first).collect::<Outcome<_>>()?);
        }
        Ok(())
    }

    /// RFC 8122 §5. Other hash functions are passed over: one of the lines must be SHA-256.
    fn fingerprint(&mut self, value: &str) -> Outcome<()> {
        let (hash, hex) = value.split_once(' ').ok_or("fingerprint names a hash and its value")?;
        if !hash.eq_ignore_ascii_case("sha-256") {
            return Ok(());
        }
        let mut digest = [0; 32];
        let mut bytes = hex.split(':');
        for slot in &mut digest {
            let byte =
                bytes.next().filter(|b| b.len() == 2 && b.bytes().all(|c| c.is_ascii_hexdigit()));
            *slot = byte
                .and_then(|byte| u8::from_str_radix(byte, 16).ok())
                .ok_or("a sha-256 fingerprint is 32 bytes in hex")?;
        }
        if bytes.next().is_some() {
            return Err("a sha-256 fingerprint is 32 bytes in hex");
        }
        self.transport.fingerprint = Some(digest);
        Ok(())
    }

    /// The finished line; `session` is what stood before the first m-line.
    pub(super) fn finish(self, session: &Self, bundle: &[Mid]) -> Result<MediaLine, Error> {
        let mid = self.mid.ok_or(Error::Inconsistent("an m-line has no mid"))?;
        let rids = self.simulcast.unwrap_or_default();
        let declared = |rid: &Rid| self.sent_rids.contains(rid);
        let twice = rids.iter().enumerate().any(|(index, rid)| rids[..index].contains(rid));
        if twice || rids.len() > MAX_RIDS || !rids.iter().all(declared) {
            return Err(Error::Inconsistent("simulcast names a stream twice or without a=rid"));
        }
        Ok(MediaLine {
            bundled: bundle.contains(&mid),
            mid,
            kind: match self.media.as_str() {
                "audio" => MediaKind::Audio,
                "video" => MediaKind::Video,
                _ => MediaKind::Other,
            },
            media: self.media,
            protocol: self.protocol,
            formats: self.formats,
            direction: self.direction.or(session.direction).unwrap_or(Direction::SendRecv),
            payload_types: self.payload_types,
            extensions: self.extensions,
            rids,
            rtcp_mux: self.rtcp_mux,
            rtcp_rsize: self.rtcp_rsize,
            allow_mixed: self.allow_mixed,
        })
    }
}

/// RFC 8839 §5.4: 4 to 256 ice-chars.
fn ufrag(text: &str) -> Outcome<String> {
    let valid = (4..=256).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    if valid { Ok(text.to_owned()) } else { Err("an ICE ufrag has 4 to 256 ice-chars") }
}

/// Begins a line by its `m=`.
pub(super) fn media_line(value: &str) -> Outcome<Draft> {
    let mut words = value.split(' ');
    let mut word = || words.next().filter(|word| is_token(word));
    let (Some(media), Some(port), Some(protocol)) = (word(), word(), word()) else {
        return Err("an m-line names media, port and protocol");
    };
    port.parse::<u16>().map_err(|_| "its port is not a number below 65536")?;
    let formats: Vec<String> = words.map(str::to_owned).collect();
    if formats.is_empty() || !formats.iter().all(|format| is_token(format)) {
        return Err("an m-line names its formats");
    }
    let mut draft =
        Draft { media: media.into(), protocol: protocol.into(), formats, ..Draft::default() };
    if matches!(media, "audio" | "video") {
        for format in &draft.formats {
            let number = payload_type(format)?;
            if draft.payload_types.iter().any(|known| known.number == number) {
                return Err("a payload type stands twice on the m-line");
            }
            draft.payload_types.push(PayloadType { number, ..PayloadType::default() });
        }
    }
    Ok(draft)
}

/// Visible ASCII, so that what an answer repeats can never break out of its line.
fn is_token(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_graphic())
}

fn payload_type(text: &str) -> Outcome<u8> {
    text.parse().ok().filter(|number| *number < 128).ok_or("a payload type is a number below 128")
}

fn mid(text: &str) -> Outcome<Mid> {
    Mid::try_from(text.to_owned()).map_err(|_| "a mid has 1 to 16 visible characters")
}

fn rid(text: &str) -> Outcome<Rid> {
    Rid::try_from(text.to_owned()).map_err(|_| "a rid has 1 to 16 letters and digits")
}

/// The mids of `group:BUNDLE`.
pub(super) fn group(value: &str) -> Outcome<Vec<Mid>> {
    value.split(' ').skip(1).map(mid).collect()
}
