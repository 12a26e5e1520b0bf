//! Frames from other parts of rooms: voice goes up to the core and down from it, pictures come
//! from wherever their publisher is. What a frame says is believed of the part that its link leads
//! to, and of no other; a frame that fits nothing here is dropped and counted.

use hype_protocol::link::{self, Message};

use crate::drop_reason::DropReason;
use crate::room::VoicePacket;
use crate::time::Timestamp;
use crate::transmit::{LinkId, Transmit};

use super::Engine;

impl Engine {
    /// A frame came by the link `from`, as another engine wrote it. Its bytes hold nothing of use
    /// afterwards. What it leads to is written to `out`.
    #[inline]
    pub fn handle_link<T: Transmit>(
        &mut self,
        now: Timestamp,
        from: LinkId,
        frame: &mut [u8],
        out: &mut T,
    ) {
        self.counters.link_frames_in += 1;
        if let Err(reason) = self.try_link(now, from, frame, out) {
            self.counters.drops.count(reason);
        }
    }

    fn try_link<T: Transmit>(
        &mut self,
        now: Timestamp,
        from: LinkId,
        frame: &mut [u8],
        out: &mut T,
    ) -> Result<(), DropReason> {
        let (route, message, body) = link::read(frame).map_err(|_| DropReason::LinkMalformed)?;
        let &key = self.by_room.get(&route.room).ok_or(DropReason::LinkUnknown)?;
        let room = &mut self.rooms[key];
        let belongs = room.shared.as_ref().is_some_and(|shared| {
            let sender = shared.neighbour(route.from);
            shared.part == route.to && sender.is_some_and(|sender| sender.link == from)
        });
        if !belongs {
            return Err(DropReason::LinkUnknown);
        }
        match message {
            Message::Spoken(spoken) => {
                let packet = VoicePacket {
                    run: spoken.run,
                    index: spoken.index,
                    timestamp: spoken.timestamp,
                    marker: spoken.marker,
                    activity: spoken.activity,
                    payload: body,
                };
                let (part, source) = (route.from, spoken.source);
                let outcome =
                    room.handle_spoken(part, source, &packet, now, &mut self.counters, out);
                self.speaker_deadlines.set_earlier(key, room.speakers_due(now));
                outcome
            }
            Message::Silent(source) => {
                room.silence_talker(source, route.from);
                self.room_deadlines.set_earlier(key, now);
                Ok(())
            }
            Message::Heard(heard) => room.handle_heard(&heard, body, now, &mut self.counters, out),
            Message::Watch(watch) => {
                self.handle_watch(key, route.from, &watch, now);
                Ok(())
            }
            Message::Producers(all) => {
                self.handle_producers(key, route.from, &all, now);
                Ok(())
            }
            Message::Media(media) => self.handle_media(key, &media, body, now, out),
        }
    }
}
