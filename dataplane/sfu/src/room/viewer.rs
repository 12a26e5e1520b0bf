//! A video slot of one peer: which picture it shows, and the rewriting that makes one gapless
//! stream of whatever it shows. It switches sources and layers only at a key frame.

use hype_protocol::media::{Codec, HeaderExtensions, Mid, VideoSlot};
use hype_protocol::observation::{View, ViewState};

use crate::engine::random::Random;
use crate::transport::srtp::{OutboundStream, WideOutboundStream};

use super::AUDIO_FRAME;
use super::consumer::SentCount;
use super::header::AudioHeader;
use super::picture::{Picture, PictureNumbers};
use super::remote::Publisher;
use super::retransmission::SentRecords;
use super::rewriter::Rewriter;

/// Two pictures are never less than a millisecond apart.
const LEAST_VIDEO_ADVANCE: u32 = 90;

/// One video slot with its sound.
pub(crate) struct VideoConsumer {
    pub(super) mid: Box<[u8]>,
    pub(crate) ssrc: u32,
    pub(super) rtx_ssrc: Option<u32>,
    /// SSRC and MID of its sound.
    sound: Option<(u32, Box<[u8]>)>,
    /// What the client asked for.
    pub(crate) view: Option<View>,
    /// Where its publisher is, while the producer runs.
    pub(crate) publisher: Option<Publisher>,
    pub(crate) state: Option<ViewState>,
    /// The layer that is shown.
    pub(crate) current: Option<u8>,
    /// The layer that shall be shown from its next key frame on.
    pub(crate) target: Option<u8>,
    /// Made with the first view: most people never show anything on most slots. It stays as long as
    /// the session, since no index may come twice.
    pub(crate) flow: Option<Box<Flow>>,
}

/// By what a slot sends, whatever it shows.
pub(crate) struct Flow {
    pub(super) stream: WideOutboundStream,
    pub(super) rtx_stream: OutboundStream,
    pub(super) rtx_next: u64,
    pub(crate) rewriter: Rewriter,
    pub(crate) sent: SentCount,
    pub(super) pictures: PictureNumbers,
    pub(super) records: Option<SentRecords>,
    pub(crate) sound: Option<SoundConsumer>,
}

/// The sound line of a video slot.
pub(crate) struct SoundConsumer {
    pub(crate) ssrc: u32,
    pub(super) header: AudioHeader,
    pub(super) stream: OutboundStream,
    pub(crate) rewriter: Rewriter,
    pub(crate) sent: SentCount,
}

/// A producer's video packet, decrypted.
pub(crate) struct VideoPacket<'a> {
    /// The producer's number.
    pub(crate) producer: u32,
    /// The number of the stream within its session.
    pub(crate) stream: u32,
    /// Both: another one starts another run.
    pub(crate) run: u64,
    pub(crate) layer: u8,
    pub(crate) codec: Codec,
    pub(crate) index: u64,
    /// No packet with a higher index came before.
    pub(crate) newest: bool,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) csrc: u32,
    pub(crate) picture: Picture,
    pub(crate) extra: Extra<'a>,
}

/// Header extensions that are copied along.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extra<'a> {
    pub(crate) orientation: Option<u8>,
    pub(crate) playout_delay: Option<[u8; 3]>,
    pub(crate) dependency_descriptor: Option<&'a [u8]>,
}

/// A producer's sound packet, decrypted.
pub(crate) struct SoundPacket<'a> {
    pub(crate) run: u64,
    pub(crate) index: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) csrc: u32,
    pub(crate) payload: &'a [u8],
}

impl SoundConsumer {
    fn new(
        (ssrc, mid): (u32, &[u8]),
        opus: Option<u8>,
        ids: &HeaderExtensions,
        random: &mut Random,
    ) -> Option<Self> {
        Some(Self {
            ssrc,
            header: AudioHeader::new(ssrc, opus?, mid, ids, false)?,
            stream: OutboundStream::default(),
            rewriter: Rewriter::new(48_000, AUDIO_FRAME, random.first_index(), random.next_u32()),
            sent: SentCount::default(),
        })
    }
}

impl VideoConsumer {
    /// A slot that shows nothing yet; none when its tags cannot be used.
    pub(crate) fn new(
        slot: &VideoSlot,
        opus: Option<u8>,
        ids: &HeaderExtensions,
        random: &mut Random,
    ) -> Option<Self> {
        let tag = |mid: &Mid| -> Box<[u8]> { mid.as_str().as_bytes().into() };
        let sound = slot.sound.as_ref().map(|line| (line.ssrc, tag(&line.mid)));
        if let Some((ssrc, mid)) = &sound {
            // Now, so that a view cannot fail by it.
            SoundConsumer::new((*ssrc, mid), opus, ids, random)?;
        }
        Some(Self {
            mid: tag(&slot.video.mid),
            ssrc: slot.video.ssrc,
            rtx_ssrc: slot.video.rtx_ssrc,
            sound,
            view: None,
            publisher: None,
            state: None,
            current: None,
            target: None,
            flow: None,
        })
    }

    /// Shows something else from now on; what was shown ends at once.
    pub(crate) fn set_view(
        &mut self,
        view: View,
        opus: Option<u8>,
        ids: &HeaderExtensions,
        random: &mut Random,
    ) {
        self.end_view();
        self.view = Some(view);
        if self.flow.is_none() {
            let (index, timestamp) = (random.first_index(), random.next_u32());
            let sound = self.sound.as_ref();
            self.flow = Some(Box::new(Flow {
                stream: WideOutboundStream::default(),
                rtx_stream: OutboundStream::default(),
                rtx_next: random.first_index(),
                rewriter: Rewriter::new(90_000, LEAST_VIDEO_ADVANCE, index, timestamp),
                sent: SentCount::default(),
                pictures: PictureNumbers::default(),
                records: self.rtx_ssrc.map(|_| SentRecords::new()),
                sound: sound
                    .and_then(|(ssrc, mid)| SoundConsumer::new((*ssrc, mid), opus, ids, random)),
            }));
        }
    }

    /// Shows nothing from now on.
    pub(crate) fn end_view(&mut self) {
        self.view = None;
        self.stop();
        self.pause_sound();
    }

    /// The picture ends: the next one starts at a key frame.
    pub(crate) fn stop(&mut self) {
        self.publisher = None;
        self.current = None;
        self.target = None;
        if let Some(flow) = &mut self.flow {
            flow.rewriter.end_run();
        }
    }

    /// The sound ends; it goes on without a gap.
    pub(crate) fn pause_sound(&mut self) {
        if let Some(sound) = self.flow.as_mut().and_then(|flow| flow.sound.as_mut()) {
            sound.rewriter.end_run();
        }
    }

    /// Sets the state; true when it changed.
    pub(crate) fn set_state(&mut self, state: Option<ViewState>) -> bool {
        let changed = self.state != state;
        self.state = state;
        changed
    }
}

impl<'a> Extra<'a> {
    const FIXED: usize = 5;

    /// As bytes to be kept with the packet: flags, orientation, playout delay, descriptor.
    pub(crate) fn encode<'b>(&self, room: &'b mut [u8; 255]) -> &'b [u8] {
        let descriptor = self.dependency_descriptor.unwrap_or_default();
        // One that does not fit is left out; only AV1's key frames have long ones, of ~100 bytes.
        let descriptor =
            if Self::FIXED + descriptor.len() <= room.len() { descriptor } else { &[] };
        room[0] = u8::from(self.orientation.is_some())
            | u8::from(self.playout_delay.is_some()) << 1
            | u8::from(!descriptor.is_empty()) << 2;
        room[1] = self.orientation.unwrap_or(0);
        room[2..5].copy_from_slice(&self.playout_delay.unwrap_or_default());
        room[Self::FIXED..Self::FIXED + descriptor.len()].copy_from_slice(descriptor);
        &room[..Self::FIXED + descriptor.len()]
    }

    /// What `encode` wrote.
    pub(crate) fn decode(bytes: &'a [u8]) -> Self {
        let [flags, orientation, a, b, c, descriptor @ ..] = bytes else {
            return Self::default();
        };
        Self {
            orientation: (flags & 1 != 0).then_some(*orientation),
            playout_delay: (flags & 2 != 0).then_some([*a, *b, *c]),
            dependency_descriptor: (flags & 4 != 0).then_some(descriptor),
        }
    }
}
