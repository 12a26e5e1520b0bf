//! A publisher in another part of the room, as far as somebody here watches him: mirrors of his
//! producers with their own viewers, layers and caches, so that a viewer here is served like any
//! other. The engine asks his part for what is watched, and asks again while it is.

use std::time::Duration;

use hype_protocol::id::{PartId, SourceId};
use hype_protocol::link::{ProducerState, WATCHED, Want};
use hype_protocol::media::SourceKind;
use slab::Slab;

use crate::time::Timestamp;

use super::layer_selector::MAX_LAYERS;
use super::peer::Peer;
use super::producer::{Producer, Viewer};

/// What is watched is told again this often.
pub(crate) const ASK_INTERVAL: Duration = Duration::from_millis(500);
/// A part that did not answer for this long has him no more.
pub(crate) const ANSWER_PATIENCE: Duration = Duration::from_secs(2);

/// Where a publisher is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Publisher {
    /// In this part, by the room's key of the peer.
    Here(usize),
    /// In another part, by the key of its [`Remote`].
    There(usize),
}

/// One publisher in another part.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) source: SourceId,
    /// Where he is; none until his part has answered.
    pub(crate) part: Option<PartId>,
    /// All slots here that show him, or wait for him.
    pub(crate) slots: Vec<Viewer>,
    /// Mirrors, by kind.
    pub(crate) producers: [Option<Box<Mirror>>; 4],
    pub(crate) answered_at: Timestamp,
    pub(crate) ask_at: Timestamp,
}

/// A producer elsewhere.
#[derive(Debug)]
pub(crate) struct Mirror {
    /// Its number where it is.
    pub(crate) run: u32,
    pub(crate) producer: Producer,
    /// What binds each layer's timestamps to our clock; see [`hype_protocol::link::LayerState`].
    pub(crate) clocks: [Option<(u64, u32)>; MAX_LAYERS],
}

impl Remote {
    /// Nothing is known of him yet; he is to be asked for at once.
    pub(crate) fn new(source: SourceId, now: Timestamp) -> Self {
        Self {
            source,
            part: None,
            slots: Vec::new(),
            producers: [const { None }; 4],
            answered_at: now,
            ask_at: Timestamp::ZERO,
        }
    }

    /// His producer of a kind.
    pub(crate) fn mirror(&self, kind: SourceKind) -> Option<&Mirror> {
        self.producers[kind as usize].as_deref()
    }

    /// His producer of a kind.
    pub(crate) fn mirror_mut(&mut self, kind: SourceKind) -> Option<&mut Mirror> {
        self.producers[kind as usize].as_deref_mut()
    }

    /// What his part is to be asked for now. Key frames that are due count as asked for.
    pub(crate) fn take_wants(
        &mut self,
        peers: &Slab<Peer>,
        now: Timestamp,
    ) -> [Want; WATCHED.len()] {
        let slots = &self.slots;
        let shown = |kind: SourceKind| {
            slots.iter().any(|slot| {
                let consumer =
                    peers.get(slot.peer).and_then(|peer| peer.video.get(usize::from(slot.slot)));
                let view = consumer.and_then(|consumer| consumer.view);
                view.is_some_and(|view| {
                    view.kind == kind
                        || view.kind == SourceKind::Screen && kind == SourceKind::ScreenAudio
                })
            })
        };
        let wanted = WATCHED.map(shown);
        let mut wants = [Want::default(); WATCHED.len()];
        for ((want, kind), wanted) in wants.iter_mut().zip(WATCHED).zip(wanted) {
            want.wanted = wanted;
            let Some(mirror) = self.producers[kind as usize].as_deref_mut() else {
                // Whatever begins is sent here at once, so that its first picture is not missed.
                want.layers = if wanted { (1 << MAX_LAYERS) - 1 } else { 0 };
                continue;
            };
            if kind.is_audio() {
                want.layers = u8::from(!mirror.producer.viewers.is_empty());
                continue;
            }
            for (bit, layer) in mirror.producer.layers.iter_mut().enumerate() {
                want.layers |= u8::from(layer.watched) << bit;
                want.key_frames |= u8::from(layer.key_frame.take_due(now)) << bit;
            }
        }
        wants
    }

    /// When his part is to be asked again.
    pub(crate) fn due_at(&self) -> Timestamp {
        let mirrors = self.producers.iter().flatten();
        let key_frames = mirrors.map(|mirror| mirror.producer.feedback_due_at()).min();
        self.ask_at.min(key_frames.unwrap_or(Timestamp::NEVER))
    }
}

impl Mirror {
    /// Takes over how the layers stand. Tells which layers' streams are others now, and whether
    /// the codec is.
    pub(crate) fn update(&mut self, state: &ProducerState) -> ([bool; MAX_LAYERS], bool) {
        let mut restarted = [false; MAX_LAYERS];
        let other_codec = self.producer.codec != state.codec;
        self.producer.codec = state.codec;
        for (index, layer) in self.producer.layers.iter_mut().enumerate().take(MAX_LAYERS) {
            let told = state.layers[index];
            self.clocks[index] = told.clock;
            layer.flowing = told.flowing;
            if layer.stream != told.stream {
                restarted[index] = layer.stream != 0;
                layer.stream = told.stream;
                if let Some(cache) = &mut layer.cache {
                    cache.clear();
                }
            }
        }
        (restarted, other_codec)
    }
}
