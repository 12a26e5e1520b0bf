//! The worker's loop. One turn: read the clock once, hand a batch of datagrams and of other workers'
//! frames to the engine, do commands and due timers, pass events on, then sleep in the kernel, which
//! sends what was queued.
//! No allocation, log or lock on the way of a packet.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use hype_sfu::{Command, Engine, Event, LinkId, Timestamp};

use super::clock::Clock;
use super::counters::Counters;
use super::links::Links;
use super::mailbox::Outbox;
use super::transmit::EngineTransmit;
use super::{MAILBOX, Settings};
use crate::io::{self as datagrams, DatagramIo, EventFd, IoKind, Opened, TransmitQueue, thread};

/// Commands of one turn: a flood of joins must not hold up the packets of those who talk.
const COMMANDS_PER_TURN: usize = 64;
/// Frames of one other worker in one turn: what waits longer than that finds its ring full.
const FRAMES_PER_TURN: usize = 64;
/// How often counters are published while there is work.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// The longest sleep: counters stay fresh in silence, too.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// How soon events are tried again that found no room in the agent's queue.
const EVENT_RETRY: Duration = Duration::from_millis(5);

/// What the thread takes along.
pub(super) struct Worker {
    pub settings: Settings,
    pub links: Links,
    pub commands: Arc<ArrayQueue<Command>>,
    pub outbox: Outbox<Event>,
    pub counters: Arc<Counters>,
    pub stop: Arc<AtomicBool>,
    pub wake: Arc<EventFd>,
}

/// The running loop.
struct Turns<I> {
    io: I,
    engine: Engine,
    links: Links,
    clock: Clock,
    commands: Arc<ArrayQueue<Command>>,
    outbox: Outbox<Event>,
    published: Published,
}

/// When counters were published last, and the CPU time then.
struct Published {
    counters: Arc<Counters>,
    at: Timestamp,
    cpu: Duration,
}

impl Worker {
    /// The thread's whole life. Reports once whether it started, with the back end's name.
    pub(super) fn run(mut self, report: &Sender<io::Result<&'static str>>) {
        pin(&self.settings);
        thread::tighten_timers();
        let clock = Clock::start();
        let sockets: Vec<UdpSocket> = std::mem::take(&mut self.settings.sockets);
        let io = std::mem::replace(&mut self.settings.io, IoKind::Auto.into());
        let opened = match datagrams::open(io, sockets, Arc::clone(&self.wake)) {
            Ok(opened) => opened,
            Err(error) => {
                // Nobody listens any more if the starter is gone; then there is nothing to tell.
                let _ = report.send(Err(error));
                return;
            }
        };
        let id = self.settings.id.0;
        let name = opened.name();
        let _ = report.send(Ok(name));
        let ended = match opened {
            Opened::Uring(io) => self.turns(io, clock),
            Opened::Socket(io) => self.turns(io, clock),
            Opened::Xdp(io) => self.turns(*io, clock),
        };
        if let Err(error) = ended {
            tracing::error!(%error, worker = id, back_end = name, "the worker's I/O failed");
        }
    }

    fn turns<I: DatagramIo>(self, io: I, clock: Clock) -> io::Result<()> {
        let mut config = self.settings.engine;
        config.unix_at_zero = clock.unix_at_zero();
        let mut turns = Turns {
            io,
            engine: Engine::new(config),
            links: self.links,
            clock,
            commands: self.commands,
            outbox: self.outbox,
            published: Published {
                counters: self.counters,
                at: clock.now(),
                cpu: thread::cpu_time(),
            },
        };
        while !self.stop.load(Ordering::Acquire) {
            turns.turn()?;
        }
        turns.finish()
    }
}

/// Pins the calling thread, if that is wanted and possible.
fn pin(settings: &Settings) {
    let Some(core) = settings.core else { return };
    // Only a core of this process's own set: the crate aborts on numbers that no machine has.
    let found =
        core_affinity::get_core_ids().unwrap_or_default().into_iter().find(|id| id.id == core);
    if !found.is_some_and(core_affinity::set_for_current) {
        tracing::warn!(
            worker = settings.id.0,
            core,
            "cannot pin the worker to its core: the scheduler will move it about"
        );
    }
}

impl<I: DatagramIo> Turns<I> {
    fn turn(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        let (engine, links) = (&mut self.engine, &mut self.links);
        self.io.receive(|datagram, transmit| {
            engine.handle_datagram(
                now,
                datagram.local,
                datagram.source,
                datagram.payload,
                &mut EngineTransmit(transmit, links),
            );
        });
        self.do_links(now);
        self.do_commands(now, COMMANDS_PER_TURN);
        if self.engine.has_due(now) {
            self.engine
                .handle_timeout(now, &mut EngineTransmit(self.io.transmit(), &mut self.links));
        }
        let waiting = self.pass_events_on();
        if now.since(self.published.at) >= PUBLISH_EVERY {
            self.publish(now);
        }
        self.links.announce();
        let timeout = self.sleep(waiting);
        let result = self.io.wait(Some(timeout));
        self.links.awake();
        result
    }

    /// Hands frames of other workers to the engine.
    fn do_links(&mut self, now: Timestamp) {
        for from in (0..self.links.count()).map(LinkId) {
            for _ in 0..FRAMES_PER_TURN {
                let Some(mut frame) = self.links.take(from) else { break };
                let out = &mut EngineTransmit(self.io.transmit(), &mut self.links);
                self.engine.handle_link(now, from, frame.bytes(), out);
                self.links.give_back(from, frame);
            }
        }
    }

    fn do_commands(&mut self, now: Timestamp, most: usize) {
        for _ in 0..most {
            let Some(command) = self.commands.pop() else { return };
            self.engine.handle_command(
                now,
                command,
                &mut EngineTransmit(self.io.transmit(), &mut self.links),
            );
        }
    }

    /// Moves events to the agent's queue; true when some found no room.
    fn pass_events_on(&mut self) -> bool {
        let mut room = self.outbox.has_room();
        while room {
            let Some(event) = self.engine.poll_event() else { break };
            self.outbox.push(event);
            room = self.outbox.has_room();
        }
        self.outbox.announce();
        !room
    }

    fn sleep(&self, events_waiting: bool) -> Duration {
        if !self.commands.is_empty() || !self.links.may_sleep() {
            return Duration::ZERO;
        }
        // Read anew: a long turn must not make a timer late by its own length.
        let until = self.engine.poll_timeout().since(self.clock.now());
        until.min(if events_waiting { EVENT_RETRY } else { LONGEST_SLEEP })
    }

    fn publish(&mut self, now: Timestamp) {
        let published = &mut self.published;
        let cpu = thread::cpu_time();
        let used = cpu.saturating_sub(published.cpu);
        published.counters.publish_cpu(cpu, used, now.since(published.at));
        published.counters.publish_io(&self.io.counters());
        published.counters.publish_engine(self.engine.counters(), &self.engine.load());
        published.at = now;
        published.cpu = cpu;
    }

    /// The last turn: commands that were posted before the stop are done.
    fn finish(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        self.do_commands(now, MAILBOX);
        self.io.transmit().flush();
        self.links.announce();
        self.pass_events_on();
        self.publish(now);
        self.io.wait(Some(Duration::ZERO))
    }
}
