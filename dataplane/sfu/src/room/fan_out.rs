//! One voice packet to everybody in the room: the loop that most of a node's time goes into. It runs
//! one peer ahead of itself: while one peer's packet is sealed, the next peer's state is read and his
//! header patched. Nothing here allocates or looks anything up.

use crate::drop_reason::DropReason;
use crate::engine::counters::Counters;
use crate::transmit::{Destination, Transmit};
use crate::transport::srtp::Outbound;

use super::Room;
use super::consumer::VoiceConsumer;
use super::header::AudioFields;
use super::peer::Peer;

/// Peers that are called into the cache together: what they need fits into the nearest one.
const GROUP: usize = 16;

/// A peer whose turn is next: its header is patched, its index taken from the slot.
struct Ready<'a> {
    consumer: &'a mut VoiceConsumer,
    outbound: &'a Outbound,
    destination: &'a Destination,
    bytes_out: &'a mut u64,
    index: u64,
}

/// What one packet's copies came to.
#[derive(Default)]
struct Sums {
    packets: u64,
    bytes: u64,
    behind_switch: u64,
}

impl Room {
    /// Sends one packet of a slot to everybody here who hears, but not to who speaks.
    /// `fields.index` is the room's; each peer has one of his own.
    pub(super) fn fan_out<T: Transmit>(
        &mut self,
        slot: u8,
        fields: &AudioFields,
        payload: &[u8],
        counters: &mut Counters,
        out: &mut T,
    ) {
        let mut sums = Sums::default();
        let mut waiting: Option<Ready<'_>> = None;
        let mut peers = self.peers.iter_mut().map(|(_, peer)| peer);
        let mut more = true;
        while more {
            let group: [Option<&mut Peer>; GROUP] = std::array::from_fn(|_| peers.next());
            more = group[GROUP - 1].is_some();
            // After a pause of 20 ms nothing is near: this makes the waits for all of them one.
            for peer in group.iter().flatten() {
                peer.prefetch(slot);
            }
            for peer in group.into_iter().flatten() {
                let Some(next) = Ready::new(peer, slot, fields, &mut sums) else { continue };
                if let Some(ready) = waiting.replace(next)
                    && let Err(reason) = ready.send(payload, &mut sums, out)
                {
                    counters.drops.count(reason);
                }
            }
        }
        if let Some(ready) = waiting
            && let Err(reason) = ready.send(payload, &mut sums, out)
        {
            counters.drops.count(reason);
        }
        counters.packets_out += sums.packets;
        counters.bytes_out += sums.bytes;
        counters.forwarded += sums.packets;
        for _ in 0..sums.behind_switch {
            counters.drops.count(DropReason::BehindSwitch);
        }
    }
}

impl<'a> Ready<'a> {
    /// None for who speaks, who hears nothing, who cannot be reached, and who took up the slot
    /// only after this packet.
    #[inline]
    fn new(peer: &'a mut Peer, slot: u8, fields: &AudioFields, sums: &mut Sums) -> Option<Self> {
        let consumer = peer.voice.get_mut(usize::from(slot))?;
        if peer.source.0 == fields.csrc {
            consumer.pause();
            return None;
        }
        if peer.flags.deafened() {
            return None;
        }
        let (outbound, destination) = (peer.outbound.as_ref()?, peer.destination.as_ref()?);
        let Some(index) = consumer.map(fields.index) else {
            sums.behind_switch += 1;
            return None;
        };
        let fields = AudioFields { index, ..*fields };
        // Long before the header is read for sealing, so that reading need not wait for writing.
        consumer.header.patch(&fields, &mut peer.transport_sequence);
        Some(Self { consumer, outbound, destination, bytes_out: &mut peer.bytes_out, index })
    }

    #[inline]
    fn send<T: Transmit>(
        self,
        payload: &[u8],
        sums: &mut Sums,
        out: &mut T,
    ) -> Result<(), DropReason> {
        let Self { consumer, outbound, destination, bytes_out, index } = self;
        let buffer = out.reserve().ok_or(DropReason::TransmitFull)?;
        let header = consumer.header.copy_to(buffer).ok_or(DropReason::Oversize)?;
        let len = outbound
            .protect_beside(&mut consumer.stream, index, header, payload, buffer)
            .map_err(|error| error.drop_reason())?;
        out.commit(len, destination);
        consumer.sent.note(payload.len());
        *bytes_out += len as u64;
        sums.packets += 1;
        sums.bytes += len as u64;
        Ok(())
    }
}
