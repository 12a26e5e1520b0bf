//! What the parts of one room tell each other, as datagrams: over a ring between two workers of a
//! node, and in the same form over QUIC between nodes. Each frame is whole in itself and may be
//! lost: voice and pictures as on any network, everything else is told again until it is true.
//! It holds plain numbers and the plain payload; keeping them secret is the carrier's business.

use crate::id::{PartId, RoomId, SourceId};
use crate::media::{Codec, SourceKind};

/// The longest frame, in bytes: a datagram's payload with everything that is told of it.
pub const MAX_FRAME: usize = 1_600;
/// The most layers of one producer.
pub const MAX_LAYERS: usize = 3;
/// The version that this build writes and reads.
const VERSION: u8 = 1;
/// Version, kind, both parts, two bytes that are 0, and the room.
const HEADER: usize = 16;

/// Not a frame of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a link frame")]
pub struct Malformed;

/// Which parts of which room a frame joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The room.
    pub room: RoomId,
    /// Who tells.
    pub from: PartId,
    /// Who is told.
    pub to: PartId,
}

/// What one microphone packet says about loudness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// The level of RFC 6464: −dBov from 0 (loudest) to 127, and the sender's voice detection.
    Level(u8, bool),
    /// Sound without a level.
    Unmeasured,
    /// Nothing but a mark of silence (Opus DTX).
    Silence,
}

/// A packet of one of an edge's loudest, on its way up to the core. The body is its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken {
    /// Who speaks.
    pub source: SourceId,
    /// The stream of his that it belongs to: another one does not go on where this one ended.
    pub run: u32,
    /// Its number in that stream.
    pub index: u64,
    /// Its RTP timestamp in that stream.
    pub timestamp: u32,
    /// RFC 3551 §4.1: the first packet after silence.
    pub marker: bool,
    /// How loud it is.
    pub activity: Activity,
}

/// A packet of a voice slot, on its way down from the core. The body is its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// A random number of the core's life: under another one, indexes begin anew.
    pub epoch: u32,
    /// The slot.
    pub slot: u8,
    /// The slot's packet index.
    pub index: u64,
    /// The slot's RTP timestamp.
    pub timestamp: u32,
    /// As in [`Spoken`].
    pub marker: bool,
    /// Who is heard.
    pub source: SourceId,
    /// The level byte of RFC 6464 §3.
    pub level: u8,
}

/// What a part wants of one stream of a publisher elsewhere. Bit `n` stands for layer `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Want {
    /// Somebody there watches it, or waits for it.
    pub wanted: bool,
    /// Packets of these layers shall be sent there.
    pub layers: u8,
    /// Somebody there needs a key frame of these layers.
    pub key_frames: u8,
}

/// What a part wants of one publisher elsewhere; told on change, and again while it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watch {
    /// Whose streams.
    pub source: SourceId,
    /// In the order of [`WATCHED`].
    pub wants: [Want; WATCHED.len()],
}

/// The kinds of streams that can be watched from another part.
pub const WATCHED: [SourceKind; 3] =
    [SourceKind::Camera, SourceKind::Screen, SourceKind::ScreenAudio];

/// One layer of a stream as it stands at its publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayerState {
    /// Packets come.
    pub flowing: bool,
    /// The number of its stream; another one does not go on where this one ended.
    pub stream: u32,
    /// What binds its RTP timestamps to the wall clock (RFC 3550 §6.4.1): an NTP time by our
    /// clock, and the RTP timestamp of that moment.
    pub clock: Option<(u64, u32)>,
}

/// One stream as it stands at its publisher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerState {
    /// Tells it from earlier ones of the same publisher and kind.
    pub run: u32,
    /// Its codec.
    pub codec: Codec,
    /// How many layers it has, 1 to [`MAX_LAYERS`].
    pub count: u8,
    /// Of each layer.
    pub layers: [LayerState; MAX_LAYERS],
}

/// All of a publisher's streams that can be watched; the answer to a [`Watch`], and told anew when
/// something changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Producers {
    /// Whose.
    pub source: SourceId,
    /// False when the publisher has left.
    pub present: bool,
    /// In the order of [`WATCHED`].
    pub producers: [Option<ProducerState>; WATCHED.len()],
}

/// A packet of a watched layer. The body is the header extensions that are copied along, then the
/// payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Media {
    /// Whose.
    pub source: SourceId,
    /// Camera, screen or screen sound.
    pub kind: SourceKind,
    /// Its layer.
    pub layer: u8,
    /// As in [`ProducerState`].
    pub run: u32,
    /// As in [`LayerState`].
    pub stream: u32,
    /// Its codec.
    pub codec: Codec,
    /// Its number in the stream.
    pub index: u64,
    /// Its RTP timestamp.
    pub timestamp: u32,
    /// The last packet of a picture.
    pub marker: bool,
    /// No packet with a higher index came before.
    pub newest: bool,
    /// So much was lost before it that no picture goes on.
    pub leapt: bool,
    /// How many bytes of the body are extensions.
    pub extra: u8,
}

/// What a frame tells.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack while one frame is handled")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Up to the core: one of an edge's loudest.
    Spoken(Spoken),
    /// Up to the core: who was heard is muted or has left.
    Silent(SourceId),
    /// Down from the core: what a voice slot carries.
    Heard(Heard),
    /// To a publisher's part: what is wanted of him.
    Watch(Watch),
    /// From a publisher's part: how his streams stand.
    Producers(Producers),
    /// From a publisher's part: what was wanted.
    Media(Media),
}

/// Writes a frame, and returns its length; none when `out` is too short.
pub fn write(out: &mut [u8], route: &Route, message: &Message, body: [&[u8]; 2]) -> Option<usize> {
    let mut out = Writer { out, len: 0 };
    let kind = match message {
        Message::Spoken(_) => 1,
        Message::Silent(_) => 2,
        Message::Heard(_) => 3,
        Message::Watch(_) => 4,
        Message::Producers(_) => 5,
        Message::Media(_) => 6,
    };
    out.put([VERSION, kind])?;
    out.put(route.from.0.to_be_bytes())?;
    out.put(route.to.0.to_be_bytes())?;
    out.put([0; 2])?;
    out.put(route.room.0.to_be_bytes())?;
    match message {
        Message::Spoken(spoken) => {
            let (activity, level) = match spoken.activity {
                Activity::Level(level, voice) => (0, level.min(127) | u8::from(voice) << 7),
                Activity::Unmeasured => (1, 0),
                Activity::Silence => (2, 0),
            };
            out.put(spoken.source.0.to_be_bytes())?;
            out.put(spoken.run.to_be_bytes())?;
            out.put(spoken.index.to_be_bytes())?;
            out.put(spoken.timestamp.to_be_bytes())?;
            out.put([u8::from(spoken.marker), activity, level])?;
        }
        Message::Silent(source) => out.put(source.0.to_be_bytes())?,
        Message::Heard(heard) => {
            out.put(heard.epoch.to_be_bytes())?;
            out.put(heard.index.to_be_bytes())?;
            out.put(heard.timestamp.to_be_bytes())?;
            out.put(heard.source.0.to_be_bytes())?;
            out.put([heard.slot, u8::from(heard.marker), heard.level])?;
        }
        Message::Watch(watch) => {
            out.put(watch.source.0.to_be_bytes())?;
            for want in &watch.wants {
                out.put([u8::from(want.wanted), want.layers, want.key_frames])?;
            }
        }
        Message::Producers(all) => {
            out.put(all.source.0.to_be_bytes())?;
            out.put([u8::from(all.present)])?;
            all.producers.iter().try_for_each(|producer| out.producer(producer.as_ref()))?;
        }
        Message::Media(media) => {
            let flags =
                u8::from(media.marker) | u8::from(media.newest) << 1 | u8::from(media.leapt) << 2;
            out.put(media.source.0.to_be_bytes())?;
            out.put(media.run.to_be_bytes())?;
            out.put(media.stream.to_be_bytes())?;
            out.put(media.index.to_be_bytes())?;
            out.put(media.timestamp.to_be_bytes())?;
            out.put([
                media.kind as u8,
                media.layer,
                codec_number(media.codec),
                flags,
                media.extra,
            ])?;
        }
    }
    body.iter().try_for_each(|bytes| out.put_slice(bytes))?;
    Some(out.len)
}

/// Reads a frame: where it goes, what it tells, and its body.
///
/// # Errors
/// [`Malformed`] for whatever [`write`] does not write.
pub fn read(frame: &mut [u8]) -> Result<(Route, Message, &mut [u8]), Malformed> {
    let mut reader = Reader { bytes: frame, at: 0 };
    let [version, kind] = reader.take()?;
    let from = PartId(u16::from_be_bytes(reader.take()?));
    let to = PartId(u16::from_be_bytes(reader.take()?));
    let zero: [u8; 2] = reader.take()?;
    let room = RoomId(u64::from_be_bytes(reader.take()?));
    debug_assert_eq!(reader.at, HEADER);
    if version != VERSION || zero != [0; 2] {
        return Err(Malformed);
    }
    let message = match kind {
        1 => Message::Spoken(reader.spoken()?),
        2 => Message::Silent(SourceId(reader.number()?)),
        3 => {
            let (epoch, index) = (reader.number()?, reader.index()?);
            let (timestamp, source) = (reader.number()?, SourceId(reader.number()?));
            let [slot, marker, level] = reader.take()?;
            let marker = flag(marker)?;
            Message::Heard(Heard { epoch, slot, index, timestamp, marker, source, level })
        }
        4 => {
            let source = SourceId(reader.number()?);
            let mut wants = [Want::default(); WATCHED.len()];
            for want in &mut wants {
                let [wanted, layers, key_frames] = reader.take()?;
                if (layers | key_frames) >> MAX_LAYERS != 0 {
                    return Err(Malformed);
                }
                *want = Want { wanted: flag(wanted)?, layers, key_frames };
            }
            Message::Watch(Watch { source, wants })
        }
        5 => {
            let source = SourceId(reader.number()?);
            let [present] = reader.take()?;
            let mut producers = [None; WATCHED.len()];
            for producer in &mut producers {
                *producer = reader.producer()?;
            }
            Message::Producers(Producers { source, present: flag(present)?, producers })
        }
        6 => Message::Media(reader.media()?),
        _ => return Err(Malformed),
    };
    let at = reader.at;
    let body = &mut frame[at..];
    let has_body = matches!(message, Message::Spoken(_) | Message::Heard(_) | Message::Media(_));
    let least = match message {
        Message::Media(media) => usize::from(media.extra),
        _ => 0,
    };
    if body.len() < least || !has_body && !body.is_empty() {
        return Err(Malformed);
    }
    Ok((Route { room, from, to }, message, body))
}

fn flag(byte: u8) -> Result<bool, Malformed> {
    match byte {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed),
    }
}

/// As on the wire: never changed within a version.
fn codec_number(codec: Codec) -> u8 {
    match codec {
        Codec::Opus => 0,
        Codec::Vp8 => 1,
        Codec::H264 => 2,
        Codec::Vp9 => 3,
        Codec::Av1 => 4,
    }
}

fn codec(number: u8) -> Result<Codec, Malformed> {
    Ok(match number {
        0 => Codec::Opus,
        1 => Codec::Vp8,
        2 => Codec::H264,
        3 => Codec::Vp9,
        4 => Codec::Av1,
        _ => return Err(Malformed),
    })
}

struct Writer<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn put<const LEN: usize>(&mut self, bytes: [u8; LEN]) -> Option<()> {
        self.put_slice(&bytes)
    }

    fn put_slice(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        self.out.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    fn producer(&mut self, producer: Option<&ProducerState>) -> Option<()> {
        let Some(producer) = producer else { return self.put([0]) };
        self.put([producer.count, codec_number(producer.codec)])?;
        self.put(producer.run.to_be_bytes())?;
        for layer in producer.layers.iter().take(usize::from(producer.count)) {
            self.put([u8::from(layer.flowing) | u8::from(layer.clock.is_some()) << 1])?;
            self.put(layer.stream.to_be_bytes())?;
            let (ntp, timestamp) = layer.clock.unwrap_or_default();
            self.put(ntp.to_be_bytes())?;
            self.put(timestamp.to_be_bytes())?;
        }
        Some(())
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const LEN: usize>(&mut self) -> Result<[u8; LEN], Malformed> {
        let bytes = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk).ok_or(Malformed)?;
        self.at += LEN;
        Ok(*bytes)
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_be_bytes(self.take()?))
    }

    fn long(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_be_bytes(self.take()?))
    }

    /// A packet index: 48 bits (RFC 3711 §3.3.1), with room to count on.
    fn index(&mut self) -> Result<u64, Malformed> {
        let index = self.long()?;
        if index >> 48 == 0 { Ok(index) } else { Err(Malformed) }
    }

    fn spoken(&mut self) -> Result<Spoken, Malformed> {
        let (source, run) = (SourceId(self.number()?), self.number()?);
        let (index, timestamp) = (self.index()?, self.number()?);
        let [marker, activity, level] = self.take()?;
        let activity = match (activity, level) {
            (0, level) => Activity::Level(level & 127, level & 128 != 0),
            (1, 0) => Activity::Unmeasured,
            (2, 0) => Activity::Silence,
            _ => return Err(Malformed),
        };
        Ok(Spoken { source, run, index, timestamp, marker: flag(marker)?, activity })
    }

    fn producer(&mut self) -> Result<Option<ProducerState>, Malformed> {
        let [count] = self.take()?;
        if count == 0 {
            return Ok(None);
        }
        if usize::from(count) > MAX_LAYERS {
            return Err(Malformed);
        }
        let [number] = self.take()?;
        let (codec, run) = (codec(number)?, self.number()?);
        let mut layers = [LayerState::default(); MAX_LAYERS];
        for layer in layers.iter_mut().take(usize::from(count)) {
            let [flags] = self.take()?;
            let stream = self.number()?;
            let clock = (self.long()?, self.number()?);
            let timed = flags & 2 != 0;
            if flags > 3 || !timed && clock != (0, 0) {
                return Err(Malformed);
            }
            *layer = LayerState { flowing: flags & 1 != 0, stream, clock: timed.then_some(clock) };
        }
        Ok(Some(ProducerState { run, codec, count, layers }))
    }

    fn media(&mut self) -> Result<Media, Malformed> {
        let (source, run) = (SourceId(self.number()?), self.number()?);
        let (stream, index) = (self.number()?, self.index()?);
        let timestamp = self.number()?;
        let [kind, layer, number, flags, extra] = self.take()?;
        let kind = WATCHED.into_iter().find(|known| *known as u8 == kind).ok_or(Malformed)?;
        let codec = codec(number)?;
        if usize::from(layer) >= MAX_LAYERS || flags > 7 || codec.is_audio() != kind.is_audio() {
            return Err(Malformed);
        }
        let [marker, newest, leapt] = [1, 2, 4].map(|bit| flags & bit != 0);
        Ok(Media {
            source,
            kind,
            layer,
            run,
            stream,
            codec,
            index,
            timestamp,
            marker,
            newest,
            leapt,
            extra,
        })
    }
}

#[cfg(test)]
mod tests;
