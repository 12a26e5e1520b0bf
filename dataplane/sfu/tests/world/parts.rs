//! Several engines that serve one room's parts, with links between them that lose what a test
//! says. All of them share one clock.

use std::time::Duration;

use hype_protocol::id::{PartId, WorkerId};
use hype_protocol::link::{self, Message};
use hype_sfu::{Command, LinkId, Neighbour, Timestamp};

use super::World;

pub struct Parts {
    pub worlds: Vec<World>,
    /// Says which frames are lost, by what they tell.
    pub lost: Box<dyn FnMut(&Message) -> bool>,
    /// Frames that arrived, by kind: spoken, heard, media.
    pub spoken: usize,
    pub heard: usize,
    pub media: usize,
}

impl Parts {
    /// A room of that many parts; part `n` is served by worker `n`.
    pub fn new(count: u16) -> Self {
        let worlds = (0..count)
            .map(|number| World::without_room(WorkerId(number), number as u8 * 60))
            .collect();
        let mut parts = Self { worlds, lost: Box::new(|_| false), spoken: 0, heard: 0, media: 0 };
        parts.open(count);
        parts
    }

    /// The room has that many parts now.
    pub fn open(&mut self, count: u16) {
        for number in 0..count {
            let others = (0..count).filter(|other| *other != number);
            let neighbours =
                others.map(|other| Neighbour { part: PartId(other), link: LinkId(other) });
            self.worlds[usize::from(number)].open_room(PartId(number), neighbours.collect());
        }
        self.pump();
    }

    pub fn now(&self) -> Timestamp {
        self.worlds[0].now
    }

    /// A browser joins that part.
    pub fn join(&mut self, part: usize) -> usize {
        let client = self.worlds[part].join();
        self.pump();
        client
    }

    pub fn command(&mut self, part: usize, command: Command) {
        self.worlds[part].command(command);
        self.pump();
    }

    pub fn speak(&mut self, part: usize, client: usize, level: u8) {
        self.worlds[part].speak(client, level);
        self.pump();
    }

    /// Lets something happen in one part, and delivers what it tells the others.
    pub fn with<R>(&mut self, part: usize, act: impl FnOnce(&mut World) -> R) -> R {
        let result = act(&mut self.worlds[part]);
        self.pump();
        result
    }

    /// Delivers frames until none is under way.
    fn pump(&mut self) {
        for _ in 0..1_000 {
            let mut quiet = true;
            for from in 0..self.worlds.len() {
                for (to, mut frame) in std::mem::take(&mut self.worlds[from].out.frames) {
                    quiet = false;
                    let (_, message, _) = link::read(&mut frame).expect("the engine's own frame");
                    if (self.lost)(&message) {
                        continue;
                    }
                    match message {
                        Message::Spoken(_) => self.spoken += 1,
                        Message::Heard(_) => self.heard += 1,
                        Message::Media(_) => self.media += 1,
                        Message::Silent(_) | Message::Watch(_) | Message::Producers(_) => {}
                    }
                    let world = &mut self.worlds[usize::from(to.0)];
                    let from = LinkId(from as u16);
                    world.engine.handle_link(world.now, from, &mut frame, &mut world.out);
                    world.settle();
                }
            }
            if quiet {
                return;
            }
        }
        panic!("the parts talk without end");
    }

    /// Lets time pass everywhere, with every timer at its moment.
    pub fn advance(&mut self, ms: u64) {
        let end = self.now() + Duration::from_millis(ms);
        for _ in 0..1_000_000 {
            let due = self.worlds.iter().map(|world| world.engine.poll_timeout()).min();
            let Some(due) = due.filter(|due| *due <= end) else { break };
            let now = self.now().max(due);
            for world in &mut self.worlds {
                world.now = now;
                if world.engine.poll_timeout() <= now {
                    world.engine.handle_timeout(now, &mut world.out);
                    world.settle();
                }
            }
            self.pump();
        }
        for world in &mut self.worlds {
            assert!(world.engine.poll_timeout() > end, "timers come to rest");
            world.now = end;
        }
    }

    pub fn keep_alive(&mut self) {
        self.worlds.iter_mut().for_each(World::keep_alive);
    }

    pub fn source(&self, part: usize, client: usize) -> u32 {
        self.worlds[part].clients[client].source().0
    }
}
