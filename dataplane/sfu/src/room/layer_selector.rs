//! Which simulcast layer a viewer gets: by the height at which the picture is shown, among the
//! layers that flow. Layers count from 0, the lowest. It never looks at bandwidth.

use hype_protocol::media::SourceKind;

/// The most simulcast layers of one producer.
pub(crate) const MAX_LAYERS: usize = 3;

/// How high the top layer of a source is taken to be, in pixels.
fn nominal_height(kind: SourceKind) -> u32 {
    match kind {
        SourceKind::Screen => 1080,
        SourceKind::Camera | SourceKind::Microphone | SourceKind::ScreenAudio => 720,
    }
}

/// The layer that suits a height: the lowest one that need not be enlarged by more than a third.
/// Layer k of n is 2^(n-1-k) times smaller than the top one.
pub(crate) fn wanted(kind: SourceKind, layers: usize, height: Option<u16>) -> usize {
    let top = layers.saturating_sub(1);
    let Some(height) = height else { return top };
    (0..top)
        .find(|layer| nominal_height(kind) >> (top - layer) >= u32::from(height) * 3 / 4)
        .unwrap_or(top)
}

/// The wanted layer when it flows, else the highest below it that does, else the lowest above.
pub(crate) fn choose(wanted: usize, flowing: &[bool]) -> Option<usize> {
    let flows = |layer: &usize| flowing.get(*layer).copied().unwrap_or(false);
    (0..=wanted).rev().find(flows).or_else(|| (wanted + 1..flowing.len()).find(flows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn height_picks_the_layer() {
        for (kind, layers, height, expected) in [
            (SourceKind::Camera, 3, None, 2),
            (SourceKind::Camera, 3, Some(90), 0),
            (SourceKind::Camera, 3, Some(180), 0),
            (SourceKind::Camera, 3, Some(240), 0),
            (SourceKind::Camera, 3, Some(300), 1),
            (SourceKind::Camera, 3, Some(480), 1),
            (SourceKind::Camera, 3, Some(720), 2),
            (SourceKind::Camera, 3, Some(u16::MAX), 2),
            (SourceKind::Screen, 3, Some(360), 0),
            (SourceKind::Screen, 2, Some(1080), 1),
            (SourceKind::Screen, 1, Some(100), 0),
            (SourceKind::Screen, 0, Some(100), 0),
        ] {
            assert_eq!(wanted(kind, layers, height), expected, "{kind:?} {layers} {height:?}");
        }
    }

    #[test]
    fn falls_back_to_what_flows() {
        for (wanted, flowing, expected) in [
            (2, [true, true, true], Some(2)),
            (2, [true, true, false], Some(1)),
            (1, [true, false, true], Some(0)),
            (0, [false, false, true], Some(2)),
            (1, [false, false, false], None),
        ] {
            assert_eq!(choose(wanted, &flowing), expected, "{wanted} {flowing:?}");
        }
    }
}
