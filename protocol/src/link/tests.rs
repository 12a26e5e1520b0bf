//! Frames come back as they were written, and nothing else is taken for one.

use super::*;

const ROUTE: Route = Route { room: RoomId(u64::MAX - 3), from: PartId(2), to: PartId(0x1234) };

/// One of each kind, and each variant of what they hold.
fn samples() -> Vec<(Message, Vec<u8>)> {
    let source = SourceId(0xdead_beef);
    let spoken = |activity, marker| {
        let (run, index, timestamp) = (7, 0xffff_ffff_fffe, 9);
        Message::Spoken(Spoken { source, run, index, timestamp, marker, activity })
    };
    let clock = Some((u64::MAX - 5, 77));
    let layer = LayerState { flowing: true, stream: 3, clock };
    let producer = |codec, count| {
        let mut layers = [LayerState::default(); MAX_LAYERS];
        layers[..usize::from(count)].fill(layer);
        layers[usize::from(count) - 1].clock = None;
        Some(ProducerState { run: 11, codec, count, layers })
    };
    let media = |kind, codec, extra| {
        let (layer, run, stream, index, timestamp) = (2, 5, 6, 70_000, 8);
        let (marker, newest, leapt) = (true, false, true);
        Message::Media(Media {
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
    };
    let wants = [
        Want { wanted: true, layers: 7, key_frames: 4 },
        Want::default(),
        Want { wanted: true, layers: 1, key_frames: 0 },
    ];
    let heard = Heard {
        epoch: 1,
        slot: 7,
        index: 0xffff_ffff_ffff / 3,
        timestamp: u32::MAX,
        marker: true,
        source,
        level: 0xff,
    };
    let states = [producer(Codec::Vp9, 3), None, producer(Codec::Opus, 1)];
    vec![
        (spoken(Activity::Level(127, true), true), vec![1; 160]),
        (spoken(Activity::Level(0, false), false), vec![2]),
        (spoken(Activity::Unmeasured, false), vec![]),
        (spoken(Activity::Silence, true), vec![3; 2]),
        (Message::Silent(source), vec![]),
        (Message::Heard(heard), vec![4; 300]),
        (Message::Watch(Watch { source, wants }), vec![]),
        (Message::Producers(Producers { source, present: true, producers: states }), vec![]),
        (Message::Producers(Producers { source, present: false, producers: [None; 3] }), vec![]),
        (media(SourceKind::Camera, Codec::Av1, 0), vec![5; 1_200]),
        (media(SourceKind::Screen, Codec::H264, 9), vec![6; 1_500]),
        (media(SourceKind::ScreenAudio, Codec::Opus, 255), vec![7; 255]),
    ]
}

fn written(message: &Message, body: &[u8]) -> Vec<u8> {
    let mut out = [0; MAX_FRAME];
    let (head, tail) = body.split_at(body.len() / 3);
    let len = write(&mut out, &ROUTE, message, [head, tail]).expect("it fits");
    out[..len].to_vec()
}

#[test]
fn what_is_written_is_read() {
    for (message, body) in samples() {
        let mut frame = written(&message, &body);
        let (route, read, rest) = read(&mut frame).expect("we wrote it");
        assert_eq!((route, read, &*rest), (ROUTE, message, &body[..]));
    }
}

#[test]
fn what_is_cut_or_changed_is_no_frame_or_the_same_again_when_written() {
    for (message, body) in samples() {
        let whole = written(&message, &body);
        let least = whole.len() - body.len();
        for len in 0..least {
            assert_eq!(read(&mut whole[..len].to_vec()), Err(Malformed), "{message:?} {len}");
        }
        let mut out = [0; MAX_FRAME];
        assert_eq!(write(&mut out[..whole.len() - 1], &ROUTE, &message, [&body, &[]]), None);
        for at in 0..least {
            for value in [0, 1, 2, 3, 4, 0x7f, 0x80, 0xff] {
                let mut frame = whole.clone();
                frame[at] = value;
                let before = frame.clone();
                let Ok((route, message, body)) = read(&mut frame) else { continue };
                // Whatever is taken for a frame is one, and means one thing.
                let len = write(&mut out, &route, &message, [body, &[]]).expect("it fits");
                assert_eq!(out[..len], before, "{message:?} {at} {value}");
            }
        }
        if body.is_empty() && !matches!(message, Message::Spoken(_)) {
            let longer = [whole, vec![0]].concat();
            assert_eq!(read(&mut longer.clone()), Err(Malformed), "{message:?}");
        }
    }
    assert_eq!(read(&mut []), Err(Malformed));
}
