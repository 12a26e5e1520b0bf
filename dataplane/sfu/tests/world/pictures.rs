//! What cameras and screens send, and what their viewers see of it.

use hype_protocol::media::{Codec, SourceKind};
use hype_protocol::observation::View;
use hype_sfu::Command;

use super::{Received, Send, Told, World};

pub const SCREEN: u32 = 70_000;
pub const SCREEN_RTX: u32 = 70_001;
pub const SOUND: u32 = 70_002;
pub const CAMERA: [u32; 3] = [80_000, 80_001, 80_002];
pub const RIDS: [&str; 3] = ["lo", "mi", "hi"];

/// A VP8 payload that begins a frame, with a 15-bit picture id and TL0PICIDX.
pub fn vp8(picture: u16, key: bool) -> Vec<u8> {
    let [high, low] = (picture | 0x8000).to_be_bytes();
    let mut payload = vec![0x90, 0xc0, high, low, (picture & 0xff) as u8, u8::from(!key)];
    payload.extend([0x5a; 200]);
    payload
}

pub fn picture_of(packet: &Received) -> u16 {
    u16::from_be_bytes([packet.payload[2], packet.payload[3]]) & 0x7fff
}

pub fn view(
    world: &mut World,
    viewer: usize,
    slot: u8,
    publisher: usize,
    kind: SourceKind,
    height: Option<u16>,
) {
    let session = world.clients[viewer].id;
    let source = world.clients[publisher].source();
    world.command(Command::View { session, slot, view: Some(View { source, kind, height }) });
}

/// One frame of one packet of a publisher's screen.
pub fn screen(world: &mut World, publisher: usize, picture: u16, key: bool) {
    let payload = vp8(picture, key);
    send_screen(world, publisher, &payload);
}

pub fn send_screen(world: &mut World, publisher: usize, payload: &[u8]) {
    let timestamp = (world.now.as_millis() * 90) as u32;
    let client = &mut world.clients[publisher];
    let packet = client.seal_next(&Send {
        ssrc: SCREEN,
        payload_type: client.payload_type(Codec::Vp8),
        timestamp,
        marker: true,
        mid: Some("s2"),
        transport: true,
        payload,
        ..Send::default()
    });
    world.datagram(publisher, packet);
}

/// One frame of one layer of a publisher's camera.
pub fn camera(world: &mut World, publisher: usize, layer: usize, picture: u16, key: bool) {
    let timestamp = (world.now.as_millis() * 90) as u32 + layer as u32 * 77_777;
    let client = &mut world.clients[publisher];
    let payload_type = client.payload_type(Codec::Vp8);
    let packet = client.seal_next(&Send {
        ssrc: CAMERA[layer],
        payload_type,
        timestamp,
        marker: true,
        mid: Some("s1"),
        rid: Some(RIDS[layer]),
        payload: &vp8(picture, key),
        ..Send::default()
    });
    world.datagram(publisher, packet);
}

pub fn picture_losses(world: &World, client: usize, ssrc: u32) -> usize {
    let told = world.clients[client].rtcp.iter();
    told.filter(|(_, told)| *told == Told::PictureLoss(ssrc)).count()
}

pub fn assert_gapless(packets: &[&Received]) {
    for pair in packets.windows(2) {
        assert_eq!(pair[1].index, pair[0].index + 1);
    }
}
