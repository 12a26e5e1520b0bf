//! One stream coming in: its simulcast layers, who watches it, and what is known of each layer's
//! packets. It lives with its session; the engine writes its feedback.

use std::time::Duration;

use hype_protocol::id::PartId;
use hype_protocol::media::{Codec, SourceKind};

use crate::congestion::missing::MissingPackets;
use crate::time::Timestamp;

use super::keyframe::KeyFrameRequest;
use super::retransmission::PacketCache;

/// A producer that sent nothing for this long has ended (a microphone excepted: DTX).
pub(crate) const SILENCE: Duration = Duration::from_secs(2);
/// A camera's layer that sent nothing for this long does not flow; others are shown instead.
const CAMERA_LAYER_SILENCE: Duration = Duration::from_millis(700);

/// The least time between two restarts of one layer, or two changes of one producer's codec.
pub(crate) const RESTART_SPACING: Duration = Duration::from_millis(500);

/// When something restarted last. A restart costs much more than a packet (viewers wait for a key
/// frame, the agent is told), so whoever sends must not be able to cause one by each packet.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RestartPace {
    last: Option<Timestamp>,
}

impl RestartPace {
    /// Whether it may restart now.
    pub(crate) fn is_ready(self, now: Timestamp) -> bool {
        self.last.is_none_or(|last| now.since(last) >= RESTART_SPACING)
    }

    /// It restarts.
    pub(crate) fn note(&mut self, now: Timestamp) {
        self.last = Some(now);
    }
}

/// Who watches: a consumer of a peer in the same room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Viewer {
    /// The room's key of the peer.
    pub(crate) peer: usize,
    /// Its video slot.
    pub(crate) slot: u8,
}

/// Another part of the room that watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FarViewer {
    pub(crate) part: PartId,
    /// Bit `n`: packets of layer `n` are sent there.
    pub(crate) layers: u8,
}

/// One stream coming in.
#[derive(Debug)]
pub(crate) struct Producer {
    /// Its number among all producers of the engine.
    pub(crate) run: u32,
    pub(crate) kind: SourceKind,
    pub(crate) codec: Codec,
    pub(crate) codec_changes: RestartPace,
    pub(crate) layers: Vec<Layer>,
    pub(crate) viewers: Vec<Viewer>,
    /// Other parts of the room where it is watched.
    pub(crate) far: Vec<FarViewer>,
    /// It changed since other parts were told how it stands.
    pub(crate) untold: bool,
    pub(crate) last_at: Timestamp,
}

/// One simulcast layer; a producer without simulcast has one.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    /// Latched; 0 until its first packet.
    pub(crate) ssrc: u32,
    /// Number of the latched stream: another SSRC is another one. 0 until its first packet.
    pub(crate) stream: u32,
    pub(crate) restarts: RestartPace,
    pub(crate) last_at: Timestamp,
    pub(crate) flowing: bool,
    /// Some viewer is shown, or waits for, this layer.
    pub(crate) watched: bool,
    pub(crate) missing: MissingPackets,
    pub(crate) key_frame: KeyFrameRequest,
    pub(crate) cache: Option<PacketCache>,
}

impl Producer {
    /// A stream whose first packet has come.
    pub(crate) fn new(
        run: u32,
        kind: SourceKind,
        codec: Codec,
        layers: usize,
        now: Timestamp,
    ) -> Self {
        let layers = (0..layers.max(1)).map(|_| Layer::default()).collect();
        Self {
            run,
            kind,
            codec,
            codec_changes: RestartPace::default(),
            layers,
            viewers: Vec::new(),
            far: Vec::new(),
            untold: true,
            last_at: now,
        }
    }

    /// What keeps runs of different layers and streams apart in a consumer's rewriter.
    pub(crate) fn run_of(&self, layer: usize) -> u64 {
        u64::from(self.run) << 32 | u64::from(self.layers[layer].stream)
    }

    /// Brings up to date which layers flow; true when that changed.
    pub(crate) fn refresh_flow(&mut self, now: Timestamp) -> bool {
        let limit = match self.kind {
            SourceKind::Camera => CAMERA_LAYER_SILENCE,
            SourceKind::Screen | SourceKind::ScreenAudio | SourceKind::Microphone => SILENCE,
        };
        let mut changed = false;
        for layer in &mut self.layers {
            let flowing = layer.ssrc != 0 && now.since(layer.last_at) < limit;
            changed |= flowing != layer.flowing;
            layer.flowing = flowing;
        }
        changed
    }

    /// Whether another part of the room wants packets of a layer.
    pub(crate) fn is_far_watched(&self, layer: u8) -> bool {
        self.far.iter().any(|far| far.layers >> layer & 1 != 0)
    }

    /// Another part wants packets of these layers from now on; of none when 0, but it may be told
    /// how the producer stands. True when that changes something.
    pub(crate) fn set_far(&mut self, part: PartId, layers: u8) -> bool {
        let known = self.far.iter().position(|far| far.part == part);
        match known {
            Some(place) if layers == 0 => {
                self.far.swap_remove(place);
                true
            }
            Some(place) => std::mem::replace(&mut self.far[place].layers, layers) != layers,
            None if layers == 0 => false,
            None => {
                self.far.push(FarViewer { part, layers });
                true
            }
        }
    }

    /// Which layers flow, for the first three.
    pub(crate) fn flowing(&self) -> [bool; super::layer_selector::MAX_LAYERS] {
        std::array::from_fn(|layer| self.layers.get(layer).is_some_and(|layer| layer.flowing))
    }

    /// Takes note of who watches which layers: `watched[layer]`. Caches come and go with it. True
    /// when that changed.
    pub(crate) fn set_watched(
        &mut self,
        watched: [bool; super::layer_selector::MAX_LAYERS],
    ) -> bool {
        let mut changed = false;
        for (layer, watched) in self.layers.iter_mut().zip(watched) {
            changed |= layer.watched != watched;
            layer.watched = watched;
            if !watched {
                layer.cache = None;
                layer.key_frame.settle();
            } else if layer.cache.is_none() && !self.kind.is_audio() {
                layer.cache = Some(PacketCache::new());
            }
        }
        changed
    }

    /// When its next feedback (NACK or key frame request) is due.
    pub(crate) fn feedback_due_at(&self) -> Timestamp {
        let due = |layer: &Layer| layer.missing.due_at().min(layer.key_frame.due_at());
        self.layers.iter().map(due).min().unwrap_or(Timestamp::NEVER)
    }
}
