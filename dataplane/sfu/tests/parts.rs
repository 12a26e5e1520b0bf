//! One room on several workers: everybody hears and sees everybody as if it were one.

mod world;

use hype_protocol::link::Message;
use hype_protocol::media::{Codec, SourceKind};
use hype_protocol::observation::{CloseReason, FlagsChange, View, ViewState};
use hype_sfu::{Command, DropReason, Event, LinkId};
use world::parts::Parts;
use world::pictures::{
    CAMERA, SCREEN, SOUND, assert_gapless, camera, picture_losses, picture_of, screen,
};
use world::{ROOM, Send, World};

const VOICE: u8 = 0x80 | 30;
const LOUD: u8 = 0x80 | 10;

/// Each part with that many people.
fn crowd(parts: u16, people: usize) -> Parts {
    let mut room = Parts::new(parts);
    for part in 0..usize::from(parts) {
        for _ in 0..people {
            room.join(part);
        }
    }
    room
}

fn view(room: &mut Parts, viewer: (usize, usize), slot: u8, source: u32, kind: SourceKind) {
    let session = room.worlds[viewer.0].clients[viewer.1].id;
    let source = hype_protocol::id::SourceId(source);
    let view = Some(View { source, kind, height: None });
    room.command(viewer.0, Command::View { session, slot, view });
    room.advance(0);
}

fn states(room: &mut Parts, part: usize, client: usize) -> Vec<ViewState> {
    let id = room.worlds[part].clients[client].id;
    let events = room.worlds[part].events.drain(..);
    let of_view = events.filter_map(|event| match event {
        Event::View { session, state, .. } if session == id => Some(state),
        _ => None,
    });
    of_view.collect()
}

#[test]
fn everybody_hears_the_speakers_once_wherever_he_sits_and_nobody_himself() {
    let mut room = crowd(3, 3);
    for _ in 0..50 {
        for part in 0..3 {
            room.speak(part, 0, VOICE);
        }
        room.advance(20);
    }
    let speakers: Vec<u32> = (0..3).map(|part| room.source(part, 0)).collect();
    for part in 0..3 {
        for client in 0..3 {
            let listener = &room.worlds[part].clients[client];
            assert_eq!(listener.unreadable, 0);
            for (slot, speaker) in speakers.iter().enumerate() {
                let packets = listener.of(listener.voice_ssrc(slot));
                let own = *speaker == listener.source().0;
                assert_eq!(packets.len(), if own { 0 } else { 50 }, "{part} {client} {slot}");
                assert_gapless(&packets);
                for packet in &packets {
                    assert_eq!(packet.csrc, Some(*speaker), "the same slot in every part");
                    assert_eq!((packet.level, &packet.payload), (Some(VOICE), &vec![VOICE; 40]));
                }
                for pair in packets.windows(2) {
                    let step = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
                    assert_eq!(step, 960);
                }
            }
        }
        let drops = &room.worlds[part].engine.counters().drops;
        assert_eq!(drops.total(), 0, "{drops:?}");
    }
    // Two edges speak up; each of three speakers comes down to two edges.
    assert_eq!((room.spoken, room.heard), (2 * 50, 3 * 2 * 50));
}

#[test]
fn speakers_of_all_parts_change_slots_without_a_gap_and_alike_everywhere() {
    let mut room = crowd(3, 4);
    for turn in 0..40_usize {
        // Ten of twelve take turns; three at a time, of other parts.
        let speakers: Vec<usize> = (0..3).map(|offset| (turn / 4 + offset * 3) % 10).collect();
        for _ in 0..25 {
            for speaker in &speakers {
                room.speak(speaker % 3, speaker / 3, VOICE);
            }
            room.advance(20);
        }
        if turn % 10 == 0 {
            room.keep_alive();
        }
    }
    let mut switches = 0;
    for slot in 0..8 {
        // Who held the slot, as each listener heard it at each moment.
        let mut heard = std::collections::HashMap::new();
        for world in &room.worlds {
            for client in &world.clients {
                assert_eq!(client.unreadable, 0);
                let packets = client.of(client.voice_ssrc(slot));
                assert_gapless(&packets);
                for pair in packets.windows(2) {
                    switches += usize::from(pair[0].csrc != pair[1].csrc);
                    let step = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
                    let elapsed = pair[1].at.since(pair[0].at).as_millis() as u32 * 48;
                    assert!(step.abs_diff(elapsed) <= 960, "{step} {elapsed}");
                }
                for packet in packets {
                    assert_ne!(packet.csrc, Some(client.source().0));
                    let known = heard.entry(packet.at).or_insert(packet.csrc);
                    assert_eq!(*known, packet.csrc, "slot {slot}");
                }
            }
        }
    }
    assert!(switches > 100, "slots changed hands {switches} times");
    for world in &room.worlds {
        assert_eq!(world.engine.counters().drops[DropReason::IndexReused], 0);
    }
}

#[test]
fn an_edges_ninth_loudest_is_not_sent_up_and_the_core_hears_the_loudest_of_all() {
    let mut room = crowd(2, 10);
    for _ in 0..50 {
        for client in 0..9 {
            room.speak(1, client, VOICE);
        }
        room.advance(20);
    }
    assert_eq!(room.spoken, 8 * 50, "the ninth stays where he is");
    assert_eq!(room.worlds[1].engine.counters().drops[DropReason::NotSelected], 50);
    let heard = |room: &Parts, part: usize, client: usize, source: u32| {
        let packets = room.worlds[part].clients[client].rtp.iter();
        packets.filter(|packet| packet.csrc == Some(source)).count()
    };
    let loudest = room.source(0, 0);
    for _ in 0..50 {
        for client in 0..8 {
            room.speak(1, client, VOICE);
        }
        room.speak(0, 0, LOUD);
        room.advance(20);
    }
    assert!(heard(&room, 0, 1, loudest) > 30, "he got in at the core");
    assert!(heard(&room, 1, 9, loudest) > 30, "and is heard at the edge");
    let at = room.worlds[1].clients[9].rtp.last().expect("he heard much").at;
    let last = room.worlds[1].clients[9].rtp.iter().filter(|packet| packet.at == at);
    assert_eq!(last.count(), 8);
}

#[test]
fn mute_deafen_and_leaving_at_an_edge_act_at_once_everywhere() {
    let mut room = crowd(2, 3);
    let talk = |room: &mut Parts| {
        for _ in 0..10 {
            room.speak(1, 0, VOICE);
            room.advance(20);
        }
    };
    let count =
        |room: &Parts, part: usize, client: usize| room.worlds[part].clients[client].rtp.len();
    let flags = |room: &mut Parts, part: usize, client: usize, change| {
        let session = room.worlds[part].clients[client].id;
        room.command(part, Command::Flags { session, change });
    };
    let mute = |mute| FlagsChange { server_mute: Some(mute), ..FlagsChange::default() };
    let deaf = |deaf| FlagsChange { self_deaf: Some(deaf), ..FlagsChange::default() };
    talk(&mut room);
    assert_eq!((count(&room, 0, 0), count(&room, 1, 1)), (10, 10));
    flags(&mut room, 1, 0, mute(true));
    talk(&mut room);
    assert_eq!((count(&room, 0, 0), count(&room, 1, 1)), (10, 10), "nobody hears the muted");
    flags(&mut room, 1, 0, mute(false));
    flags(&mut room, 1, 1, deaf(true));
    talk(&mut room);
    flags(&mut room, 1, 1, deaf(false));
    talk(&mut room);
    assert_eq!((count(&room, 0, 0), count(&room, 1, 1), count(&room, 1, 2)), (30, 20, 30));
    for (part, client) in [(0, 0), (0, 2), (1, 1), (1, 2)] {
        let packets: Vec<_> = room.worlds[part].clients[client].rtp.iter().collect();
        assert_gapless(&packets);
    }
    // Who leaves frees his slot: with seven others, an eighth gets in at once.
    let session = room.worlds[1].clients[0].id;
    room.command(1, Command::Close { session, reason: CloseReason::Left });
    room.advance(1);
    let told = room.worlds[0].events.iter().rev().find_map(|event| match event {
        Event::Speakers { room: ROOM, speakers } => Some(speakers.clone()),
        _ => None,
    });
    room.advance(100);
    let after = room.worlds[0].events.iter().rev().find_map(|event| match event {
        Event::Speakers { room: ROOM, speakers } => Some(speakers.clone()),
        _ => None,
    });
    assert_eq!((told.map(|list| list.len()), after), (Some(1), Some(vec![])));
}

#[test]
fn who_speaks_is_told_by_the_core_alone() {
    let mut room = crowd(2, 2);
    for _ in 0..20 {
        room.speak(0, 0, VOICE);
        room.speak(1, 0, LOUD);
        room.advance(20);
    }
    let lists = |world: &World| -> Vec<Vec<u32>> {
        let told = world.events.iter().filter_map(|event| match event {
            Event::Speakers { speakers, .. } => Some(speakers.iter().map(|it| it.0).collect()),
            _ => None,
        });
        told.collect()
    };
    let expected = vec![room.source(1, 0), room.source(0, 0)];
    assert_eq!(lists(&room.worlds[0]).last(), Some(&expected));
    assert_eq!(lists(&room.worlds[1]), Vec::<Vec<u32>>::new());
}

#[test]
fn lost_frames_are_losses_and_nothing_worse() {
    let mut room = crowd(2, 3);
    let mut count = 0_u32;
    room.lost = Box::new(move |message| {
        count += 1;
        !matches!(message, Message::Heard(_)) && count.is_multiple_of(5)
            || matches!(message, Message::Heard(_)) && count.is_multiple_of(7)
    });
    for step in 0..200 {
        room.speak(1, 0, VOICE);
        if step < 100 {
            room.speak(0, 1, VOICE);
        }
        room.advance(20);
    }
    for (part, client) in [(0, 0), (1, 1)] {
        let listener = &room.worlds[part].clients[client];
        assert_eq!(listener.unreadable, 0);
        for slot in 0..2 {
            let packets = listener.of(listener.voice_ssrc(slot));
            assert!(packets.len() > 60, "{}", packets.len());
            for pair in packets.windows(2) {
                let gap = pair[1].index - pair[0].index;
                assert!((1..8).contains(&gap), "{gap}");
                let step = pair[1].header.timestamp.wrapping_sub(pair[0].header.timestamp);
                assert_eq!(u64::from(step), 960 * gap, "what is lost leaves its place");
            }
        }
    }
}

#[test]
fn a_frame_is_believed_only_of_the_part_that_its_link_leads_to() {
    let mut room = crowd(3, 1);
    let mut frames = Vec::new();
    let world = &mut room.worlds[1];
    world.speak(0, VOICE);
    frames.append(&mut world.out.frames);
    let [(to, frame)] = &frames[..] else { panic!("one packet goes up: {frames:?}") };
    assert_eq!(*to, LinkId(0));
    let core = &mut room.worlds[0];
    for (from, frame) in
        [(LinkId(2), frame.clone()), (LinkId(1), frame[..20].to_vec()), (LinkId(9), frame.clone())]
    {
        core.engine.handle_link(core.now, from, &mut frame.clone(), &mut core.out);
    }
    // As for another room, and as if this were another part.
    for at in [5, 15] {
        let mut other = frame.clone();
        other[at] ^= 1;
        core.engine.handle_link(core.now, LinkId(1), &mut other, &mut core.out);
    }
    let drops = &core.engine.counters().drops;
    assert_eq!((drops[DropReason::LinkUnknown], drops[DropReason::LinkMalformed]), (4, 1));
    assert!(core.out.sent.is_empty() && core.out.frames.is_empty());
    core.engine.handle_link(core.now, LinkId(1), &mut frame.clone(), &mut core.out);
    assert_eq!((core.out.sent.len(), core.out.frames.len()), (1, 2));
}

#[test]
fn a_room_that_gets_a_second_part_goes_on_without_a_gap() {
    let mut room = Parts::new(2);
    room.open(1);
    let (speaker, listener) = (room.join(0), room.join(0));
    let run = |room: &mut Parts| {
        for _ in 0..20 {
            room.speak(0, speaker, VOICE);
            room.with(0, |world| screen(world, speaker, 7, true));
            room.advance(20);
        }
    };
    let mut alone = Parts::new(1);
    let (one, two) = (alone.join(0), alone.join(0));
    alone.speak(0, one, VOICE);
    assert_eq!(alone.worlds[0].clients[two].rtp.len(), 1);
    run(&mut room);
    room.open(2);
    let late = room.join(1);
    let source = room.source(0, speaker);
    view(&mut room, (1, late), 0, source, SourceKind::Screen);
    run(&mut room);
    let client = &room.worlds[0].clients[listener];
    let packets = client.of(client.voice_ssrc(0));
    assert_eq!(packets.len(), 40);
    assert_gapless(&packets);
    let client = &room.worlds[1].clients[late];
    assert_eq!(client.of(client.voice_ssrc(0)).len(), 20);
    assert_eq!(client.of(client.video_ssrc(0)).len(), 20);
}

#[test]
fn a_core_that_begins_another_life_leaves_no_gap_at_an_edge() {
    let mut room = crowd(2, 2);
    let run = |room: &mut Parts| {
        for _ in 0..20 {
            room.speak(1, 0, VOICE);
            room.advance(20);
        }
    };
    run(&mut room);
    room.command(0, Command::CloseRoom { room: ROOM });
    run(&mut room);
    assert_eq!(room.worlds[0].engine.counters().drops[DropReason::LinkUnknown], 20);
    room.open(2);
    run(&mut room);
    let listener = &room.worlds[1].clients[1];
    assert_eq!(listener.unreadable, 0);
    let packets: Vec<_> = listener.rtp.iter().collect();
    assert_eq!(packets.len(), 40, "without a core nobody is heard");
    assert_gapless(&packets);
}

#[test]
fn a_core_hears_more_talkers_than_it_remembers() {
    let mut room = Parts::new(4);
    let mut speakers = Vec::new();
    for part in 1..4 {
        for _ in 0..45 {
            speakers.push((part, room.join(part)));
        }
    }
    let listener = room.join(0);
    // One after the other, each long enough for the one before to give way.
    for (turn, (part, client)) in speakers.iter().enumerate() {
        for _ in 0..5 {
            room.speak(*part, *client, VOICE);
            room.advance(20);
        }
        room.advance(200);
        if turn % 20 == 0 {
            room.keep_alive();
        }
    }
    let client = &room.worlds[0].clients[listener];
    assert_eq!(client.rtp.len(), speakers.len() * 5);
    for slot in 0..8 {
        assert_gapless(&client.of(client.voice_ssrc(slot)));
    }
}

#[test]
fn a_screen_is_seen_in_another_part_from_its_first_key_frame_on() {
    let mut room = crowd(2, 2);
    let source = room.source(0, 0);
    // Asked for before it begins.
    view(&mut room, (1, 0), 1, source, SourceKind::Screen);
    room.advance(700);
    assert_eq!(states(&mut room, 1, 0), [ViewState::Waiting]);
    for picture in 0..30 {
        room.with(0, |world| screen(world, 0, picture, picture == 0));
        room.advance(33);
    }
    assert_eq!(states(&mut room, 1, 0), [ViewState::Live]);
    let client = &room.worlds[1].clients[0];
    let packets = client.of(client.video_ssrc(1));
    assert_eq!((packets.len(), client.unreadable), (30, 0));
    assert_gapless(&packets);
    assert!(packets.iter().all(|packet| packet.csrc == Some(source)));
    assert_eq!(picture_losses(&room.worlds[0], 0, SCREEN), 0, "its first picture was enough");
    assert_eq!(room.media, 30);
    // A second viewer there costs the link nothing, and needs a key frame.
    view(&mut room, (1, 1), 0, source, SourceKind::Screen);
    for picture in 30..50 {
        let asked = picture_losses(&room.worlds[0], 0, SCREEN) > 0;
        room.with(0, |world| screen(world, 0, picture, asked && picture > 40));
        room.advance(33);
    }
    assert_eq!(picture_losses(&room.worlds[0], 0, SCREEN), 2, "repeated until it came");
    assert_eq!(room.media, 50);
    let client = &room.worlds[1].clients[1];
    assert_eq!(client.of(client.video_ssrc(0)).len(), 9);
    // Nobody watches any more: nothing flows.
    for client in 0..2 {
        let session = room.worlds[1].clients[client].id;
        room.command(1, Command::View { session, slot: 1 - client as u8, view: None });
    }
    room.advance(10);
    let before = room.media;
    room.with(0, |world| screen(world, 0, 60, true));
    assert_eq!(room.media, before);
    assert!(room.worlds[0].engine.counters().drops[DropReason::NotWatched] > 0);
}

#[test]
fn a_mirror_answers_nacks_and_passes_key_frame_wishes_on() {
    let mut room = crowd(2, 1);
    let source = room.source(0, 0);
    view(&mut room, (1, 0), 0, source, SourceKind::Screen);
    for picture in 0..10 {
        room.with(0, |world| screen(world, 0, picture, picture == 0));
        room.advance(33);
    }
    let client = &mut room.worlds[1].clients[0];
    let (ssrc, rtx) = (client.video_ssrc(0), client.media.video_slots[0].video.rtx_ssrc);
    let lost = client.of(ssrc)[4].clone();
    let sequence = lost.header.sequence_number;
    let nack = client.seal_rtcp(|writer| {
        writer.nack(1, ssrc, &[sequence]).expect("it fits");
    });
    room.with(1, |world| world.datagram(0, nack));
    let again = room.worlds[1].clients[0].of(rtx.expect("it has RTX"));
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].payload[..2], sequence.to_be_bytes());
    assert_eq!(again[0].payload[2..], lost.payload);
    let loss = room.worlds[1].clients[0].seal_rtcp(|writer| {
        writer.picture_loss(1, ssrc).expect("it fits");
    });
    assert_eq!(picture_losses(&room.worlds[0], 0, SCREEN), 0);
    room.with(1, |world| world.datagram(0, loss));
    room.advance(1);
    assert_eq!(picture_losses(&room.worlds[0], 0, SCREEN), 1);
}

#[test]
fn only_watched_layers_cross_a_link_and_a_change_of_size_changes_them() {
    let mut room = crowd(2, 2);
    let source = room.source(0, 0);
    let (session, slot) = (room.worlds[1].clients[0].id, 0);
    let look = |room: &mut Parts, height| {
        let source = hype_protocol::id::SourceId(source);
        let view = Some(View { source, kind: SourceKind::Camera, height });
        room.command(1, Command::View { session, slot, view });
        room.advance(0);
    };
    look(&mut room, Some(180));
    let mut picture = 0;
    let mut frames = |room: &mut Parts, count: usize| {
        for _ in 0..count {
            picture += 1;
            for (layer, ssrc) in CAMERA.into_iter().enumerate() {
                let asked = picture_losses(&room.worlds[0], 0, ssrc) > 0;
                let told = &mut room.worlds[0].clients[0].rtcp;
                told.retain(|(_, told)| *told != world::Told::PictureLoss(ssrc));
                let number = picture + 1000 * layer as u16;
                room.with(0, |world| camera(world, 0, layer, number, picture == 1 || asked));
            }
            room.advance(33);
        }
    };
    frames(&mut room, 30);
    let seen = |room: &Parts| {
        let client = &room.worlds[1].clients[0];
        let packets = client.of(client.video_ssrc(0));
        assert_gapless(&packets);
        packets.into_iter().cloned().collect::<Vec<_>>()
    };
    let low = seen(&room);
    assert!(low.len() >= 29, "{}", low.len());
    assert!(room.media <= 34, "about one layer: {}", room.media);
    look(&mut room, None);
    let before = room.media;
    frames(&mut room, 30);
    let high = seen(&room).split_off(low.len());
    // The top layer begins at its key frame; the lowest is shown until then, and no longer.
    assert!(high.len() >= 29, "{}", high.len());
    let taken =
        high.windows(2).filter(|pair| picture_of(&pair[1]) != picture_of(&pair[0]).wrapping_add(1));
    assert_eq!(taken.count(), 0, "picture numbers go on over the switch");
    // Both flow until the switch is done and the next look at the layers has found it.
    assert!(room.media - before < 30 + 20, "{}", room.media - before);
    let before = room.media;
    frames(&mut room, 30);
    assert_eq!(room.media - before, 30, "one layer again");
}

#[test]
fn a_publisher_that_stops_leaves_or_comes_again_is_told_where_he_is_watched() {
    let mut room = crowd(3, 2);
    let source = room.source(1, 0);
    for part in [0, 2] {
        view(&mut room, (part, 0), 0, source, SourceKind::Screen);
    }
    let run = |room: &mut Parts, pictures: std::ops::Range<u16>| {
        for picture in pictures.clone() {
            room.with(1, |world| screen(world, 0, picture, picture == pictures.start));
            room.advance(33);
        }
    };
    run(&mut room, 0..10);
    for part in [0, 2] {
        assert_eq!(states(&mut room, part, 0), [ViewState::Waiting, ViewState::Live]);
    }
    room.advance(2_500);
    room.keep_alive();
    assert_eq!(states(&mut room, 0, 0), [ViewState::Waiting], "it ended");
    run(&mut room, 500..510);
    assert_eq!(states(&mut room, 0, 0), [ViewState::Live]);
    let client = &room.worlds[0].clients[0];
    let packets = client.of(client.video_ssrc(0));
    assert_eq!(packets.len(), 20);
    assert_gapless(&packets);
    let session = room.worlds[1].clients[0].id;
    room.command(1, Command::Close { session, reason: CloseReason::Left });
    room.advance(1);
    assert_eq!(states(&mut room, 2, 0), [ViewState::Waiting, ViewState::Live, ViewState::Waiting]);
}

#[test]
fn a_screens_sound_crosses_with_its_picture() {
    let mut room = crowd(2, 1);
    let source = room.source(0, 0);
    view(&mut room, (1, 0), 2, source, SourceKind::Screen);
    for step in 0..50_u32 {
        room.with(0, |world| {
            if step % 2 == 0 {
                screen(world, 0, step as u16, step == 0);
            }
            let client = &mut world.clients[0];
            let packet = client.seal_next(&Send {
                ssrc: SOUND,
                payload_type: client.payload_type(Codec::Opus),
                timestamp: 960 * step,
                mid: Some("s3"),
                payload: &[3; 80],
                ..Send::default()
            });
            world.datagram(0, packet);
        });
        room.advance(20);
    }
    let client = &room.worlds[1].clients[0];
    let line = client.media.video_slots[2].sound.as_ref().expect("each slot has its sound");
    let packets = client.of(line.ssrc);
    assert!(packets.len() >= 48, "{}", packets.len());
    assert_gapless(&packets);
    assert!(packets.iter().all(|packet| packet.csrc == Some(source)));
    assert_eq!(client.of(client.video_ssrc(2)).len(), 25);
}

#[test]
fn pictures_over_a_lossy_link_are_seen_whole_again_after_each_loss() {
    let mut room = crowd(3, 2);
    let source = room.source(0, 0);
    for part in 0..3 {
        view(&mut room, (part, 1), 0, source, SourceKind::Screen);
    }
    let mut random = 0x2545_f491_u64;
    room.lost = Box::new(move |_| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.is_multiple_of(50)
    });
    for picture in 0..600 {
        // As encoders do: a key frame for whoever asks, and none otherwise.
        let asked = picture_losses(&room.worlds[0], 0, SCREEN) > 0;
        room.worlds[0].clients[0].rtcp.clear();
        room.with(0, |world| screen(world, 0, picture, picture == 0 || asked));
        room.advance(33);
        // A viewer that misses a picture asks for it, and for a key frame when it does not come.
        if picture % 10 == 0 {
            for part in 1..3 {
                let client = &mut room.worlds[part].clients[1];
                let ssrc = client.video_ssrc(0);
                let loss = client.seal_rtcp(|writer| {
                    writer.picture_loss(1, ssrc).expect("it fits");
                });
                room.with(part, |world| world.datagram(1, loss));
            }
            room.keep_alive();
        }
    }
    let whole = room.worlds[0].clients[1].of(room.worlds[0].clients[1].video_ssrc(0)).len();
    assert_eq!(whole, 600, "where the publisher is, nothing is lost");
    for part in 1..3 {
        let client = &room.worlds[part].clients[1];
        assert_eq!(client.unreadable, 0);
        let packets = client.of(client.video_ssrc(0));
        assert!((540..600).contains(&packets.len()), "{}", packets.len());
        for pair in packets.windows(2) {
            let gap = pair[1].index - pair[0].index;
            assert!((1..20).contains(&gap), "{gap}");
            let pictures = picture_of(pair[1]).wrapping_sub(picture_of(pair[0]));
            assert_eq!(u64::from(pictures), gap, "what is lost leaves its place");
        }
        assert_eq!(room.worlds[part].engine.counters().drops[DropReason::IndexReused], 0);
    }
}

#[test]
fn what_was_lost_on_the_way_is_told_again() {
    let mut room = crowd(2, 1);
    let source = room.source(0, 0);
    let mut dropped = 0;
    // The first four of everything but packets.
    room.lost = Box::new(move |message| {
        let lost = matches!(message, Message::Watch(_) | Message::Producers(_)) && dropped < 4;
        dropped += u32::from(lost);
        lost
    });
    view(&mut room, (1, 0), 0, source, SourceKind::Screen);
    for picture in 0..400 {
        let asked = picture_losses(&room.worlds[0], 0, SCREEN) > 0;
        room.with(0, |world| screen(world, 0, picture, picture == 0 || asked));
        room.advance(33);
        if picture % 100 == 0 {
            room.keep_alive();
        }
    }
    let client = &room.worlds[1].clients[0];
    assert!(client.of(client.video_ssrc(0)).len() > 100);
    // Now the other part is gone without a word: the viewer waits, and nothing is kept of it.
    room.lost = Box::new(|_| true);
    states(&mut room, 1, 0);
    room.advance(3_000);
    room.keep_alive();
    assert_eq!(states(&mut room, 1, 0), [ViewState::Waiting]);
    let before = room.worlds[0].engine.counters().link_frames_out;
    for picture in 400..410 {
        room.with(0, |world| screen(world, 0, picture, true));
        room.advance(33);
    }
    assert_eq!(room.worlds[0].engine.counters().link_frames_out, before, "nobody is sent to");
}
