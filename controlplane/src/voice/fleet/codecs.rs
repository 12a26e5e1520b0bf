//! Which video codecs everybody in a room can decode: publishers use the first.
//! VP8 leads: every browser encodes it in real time with simulcast and decodes it, on any
//! hardware. VP9 and AV1 compress better but cost weak machines their CPU, and H264 is missing
//! where it is not licensed. Who shows no video at all (bots, voice-only clients) restricts nobody.

use hype_protocol::id::RoomId;
use hype_protocol::media::Codec;

use super::{Fleet, Notice};

/// Best first.
const PREFERENCE: [Codec; 4] = [Codec::Vp8, Codec::Vp9, Codec::H264, Codec::Av1];

/// The codecs that all viewers have, best first.
fn common<'a>(viewers: impl Iterator<Item = &'a [Codec]> + Clone) -> Vec<Codec> {
    let mut viewers = viewers.filter(|decodes| !decodes.is_empty());
    let first: Vec<Codec> = match viewers.next() {
        Some(decodes) => decodes.to_vec(),
        None => return PREFERENCE.to_vec(),
    };
    let left = viewers.fold(first, |mut left, decodes| {
        left.retain(|codec| decodes.contains(codec));
        left
    });
    PREFERENCE.into_iter().filter(|codec| left.contains(codec)).collect()
}

impl Fleet {
    /// Tells the room when the codecs common to all have changed.
    pub(super) fn update_codecs(&mut self, room: RoomId, out: &mut Vec<Notice>) {
        let Some(occupancy) = self.rooms.get_mut(&room) else { return };
        let reported = occupancy.sessions.iter().filter_map(|session| {
            let held = self.sessions.get(session)?;
            held.pending.is_none().then_some(held.status.decodes.as_slice())
        });
        let codecs = common(reported);
        if occupancy.codecs.as_ref() != Some(&codecs) {
            occupancy.codecs = Some(codecs.clone());
            out.push(Notice::Codecs { room, codecs, only: None });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishers_get_what_all_viewers_decode() {
        use Codec::{Av1, H264, Vp8, Vp9};
        fn check(viewers: &[&[Codec]], expected: &[Codec]) {
            assert_eq!(common(viewers.iter().copied()), expected, "{viewers:?}");
        }
        check(&[], &PREFERENCE);
        check(&[&[]], &PREFERENCE);
        check(&[&[Av1, H264, Vp9, Vp8]], &[Vp8, Vp9, H264, Av1]);
        check(&[&[Vp8, H264], &[H264, Vp9]], &[H264]);
        check(&[&[Vp8, H264], &[], &[H264, Vp8]], &[Vp8, H264]);
        check(&[&[Vp8], &[H264]], &[]);
    }
}
