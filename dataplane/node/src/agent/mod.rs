//! The node's asynchronous side: follows the store, opens rooms and sessions on the workers, runs
//! clients' DTLS, and tells the control plane what happens. One task owns all of its state and is
//! told everything by one bounded inbox; media goes on whatever happens here.

mod admin;
mod admission;
mod backoff;
pub mod dtls;
mod follow;
mod held;
mod hub;
mod in_process;
mod link;
mod process;
mod registration;
mod rooms;
mod telemetry;
mod workers;

use std::collections::HashMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use hype_protocol::coordination::{Change, Store};
use hype_protocol::id::{BootId, Generation, RoomId, SessionId, WorkerId};
use hype_protocol::observation::{CloseReason, FromNode, RefuseReason, SessionStats, ToNode};
use hype_protocol::record::{NodeLive, NodeSpec, NodeState};
use hype_protocol::secret::BootSecret;
use hype_protocol::{key, record};
use hype_sfu::{Command, Event, Neighbour, transmit};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::worker::{EventStream, Handle};
use crate::{Error, Links};
use admission::Waiting;
use follow::Update;
use held::Held;
use hub::{Hub, LinkId};
use in_process::Connector;
use rooms::{RoomAction, Rooms};
use telemetry::Telemetry;
use workers::Mailboxes;

/// Messages that may wait for the agent; whoever brings one more waits.
const INBOX: usize = 4096;
/// How often waiting sessions, held-back commands and the in-process link are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How often load and quality are told.
const STATS: Duration = Duration::from_secs(2);
/// The most sessions in one [`FromNode::Stats`].
const STATS_SLICE: usize = 500;
/// A clean stop: how long sessions get to end, and then replicas to hear of it.
const CLOSING: Duration = Duration::from_millis(700);
const FLUSHING: Duration = Duration::from_millis(400);

/// What the agent is made of.
pub(crate) struct Parts {
    pub live: NodeLive,
    pub secret: BootSecret,
    pub certificate: dtls::Certificate,
    pub workers: Vec<Handle>,
    pub admin: Option<TcpListener>,
    pub metrics: Option<PrometheusHandle>,
    pub ready: watch::Sender<bool>,
}

/// Everything that the agent is told.
pub(crate) enum Input {
    /// An engine says something.
    Engine(Event),
    /// A worker's thread ended.
    WorkerEnded(WorkerId),
    /// A control replica connected.
    Attached(hype_protocol::pipe::NodeEnd),
    /// A control replica says something.
    Control(LinkId, ToNode),
    /// A control replica's connection ended.
    Detached(LinkId),
    /// What this node must serve.
    Assignments(Update),
    /// What the fleet wants of this node.
    Spec(Update),
    /// An operator asks for all rooms.
    Dump(oneshot::Sender<admin::Dump>),
}

/// A session that a worker was told to open.
struct Seat {
    worker: WorkerId,
    room: RoomId,
    dtls: bool,
}

struct Agent {
    boot: BootId,
    max_sessions: usize,
    mailboxes: Mailboxes,
    dtls: Arc<dtls::Pool>,
    hub: Hub,
    rooms: Rooms,
    seats: HashMap<SessionId, Seat>,
    waiting: HashMap<SessionId, Waiting>,
    /// What sessions' workers had no room for yet; only sessions of `seats`.
    held: HashMap<SessionId, Held>,
    /// In `hype up` only.
    connector: Option<Connector>,
    spec: Option<NodeSpec>,
    /// A room command found a full mailbox.
    held_back: bool,
    stopping: bool,
    stats: Vec<SessionStats>,
    telemetry: Telemetry,
}

/// Runs the agent until `shutdown` ends or a worker fails.
pub(crate) async fn run(
    mut parts: Parts,
    store: Store,
    links: Links,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let (inbox, mut inputs) = mpsc::channel(INBOX);
    let mailboxes = Mailboxes::new(parts.workers.iter().map(|worker| worker.commands().clone()));
    let pool = dtls::Pool::start(&parts.certificate, mailboxes.clone()).map_err(Error::Agent)?;
    let pool = Arc::new(pool);
    // Dropped at the end, which aborts whatever of them still runs.
    let mut tasks = JoinSet::new();
    for worker in &mut parts.workers {
        let events = worker.take_events().expect("nobody took them before");
        let stream = events.into_stream().map_err(Error::Agent)?;
        tasks.spawn(pump(worker.id(), stream, Arc::clone(&pool), inbox.clone()));
    }
    let node = parts.live.node.clone();
    let hello = FromNode::Hello { node: node.clone(), boot: parts.live.boot, secret: parts.secret };
    let mut agent = Agent {
        boot: parts.live.boot,
        max_sessions: parts.live.max_sessions as usize,
        rooms: Rooms::new(&node, mailboxes.count()),
        mailboxes,
        dtls: pool,
        hub: Hub::new(hello, inbox.clone()),
        seats: HashMap::new(),
        waiting: HashMap::new(),
        held: HashMap::new(),
        connector: None,
        spec: None,
        held_back: false,
        stopping: false,
        stats: Vec::new(),
        telemetry: Telemetry::new(parts.workers.iter().map(|w| Arc::clone(w.counters()))),
    };
    let (stop, stopped) = watch::channel(false);
    let (registered, mut registration) = watch::channel(false);
    let (prefix, spec) = (key::assignments(&node), key::node_spec(&node));
    tasks.spawn(follow::follow(store.clone(), prefix, inbox.clone(), Input::Assignments));
    tasks.spawn(follow::follow(store.clone(), spec, inbox.clone(), Input::Spec));
    if let Some(listener) = parts.admin {
        let pages = admin::Pages {
            metrics: parts.metrics,
            inbox: inbox.clone(),
            ready: parts.ready.subscribe(),
        };
        tasks.spawn(admin::serve(listener, pages));
    }
    let dialing = match links {
        Links::InProcess(control) => {
            agent.connector = Some(Connector::new(control));
            None
        }
        Links::Quic(identity) => {
            Some(tokio::spawn(link::dial_replicas(store.clone(), identity, inbox.clone())))
        }
    };
    let registering = tokio::spawn(registration::register(store, parts.live, registered, stopped));

    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut report = interval(STATS);
    report.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(shutdown);
    let mut waited = true;
    let outcome = loop {
        let waits = agent.is_waiting();
        if waits && !waited {
            // A whole tick from now on.
            tick.reset();
        }
        waited = waits;
        tokio::select! {
            () = &mut shutdown => break Ok(()),
            Some(input) = inputs.recv() => {
                if let Err(error) = agent.handle(input) {
                    break Err(error);
                }
            }
            // A node at rest is not woken for nothing.
            _ = tick.tick(), if waits => agent.tick(),
            _ = report.tick() => agent.report(),
            Ok(()) = registration.changed() => {}
        }
        let ready = *registration.borrow() && !agent.fenced();
        parts.ready.send_if_modified(|known| std::mem::replace(known, ready) != ready);
    };
    // Stopped: no new sessions, and the fleet hears of it while the old ones end.
    parts.ready.send_replace(false);
    stop.send_replace(true);
    if outcome.is_ok() {
        agent.close_all();
        let deadline = Instant::now() + CLOSING;
        while !agent.seats.is_empty() && Instant::now() < deadline {
            tokio::select! {
                Some(input) = inputs.recv() => {
                    if agent.handle(input).is_err() {
                        break;
                    }
                }
                _ = tick.tick() => agent.post_held(),
                () = tokio::time::sleep_until(deadline) => break,
            }
        }
    }
    let Agent { hub, telemetry, .. } = agent;
    telemetry.stopped();
    hub.finish(FLUSHING).await;
    drop(inputs);
    if let Some(dialing) = dialing {
        let _ = dialing.await;
    }
    let _ = registering.await;
    // Joining threads takes as long as one turn of a worker.
    parts.workers.into_iter().for_each(Handle::stop);
    outcome
}

/// Passes a worker's events on: DTLS to its threads, the rest to the agent.
async fn pump(
    worker: WorkerId,
    mut events: EventStream<Event>,
    pool: Arc<dtls::Pool>,
    inbox: mpsc::Sender<Input>,
) {
    loop {
        match events.next().await {
            Ok(Some(Event::Dtls { session, datagram })) => pool.datagram(session, datagram),
            Ok(Some(event)) => {
                if inbox.send(Input::Engine(event)).await.is_err() {
                    return;
                }
            }
            Ok(None) => break,
            Err(error) => {
                tracing::error!(%error, worker = worker.0, "a worker's events cannot be read");
                break;
            }
        }
    }
    let _ = inbox.send(Input::WorkerEnded(worker)).await;
}

impl Agent {
    fn fenced(&self) -> bool {
        self.spec.as_ref().is_some_and(|spec| spec.state == NodeState::Fenced)
    }

    fn handle(&mut self, input: Input) -> Result<(), Error> {
        match input {
            Input::Engine(event) => self.handle_event(event),
            Input::WorkerEnded(worker) => return Err(Error::WorkerEnded(worker)),
            Input::Attached(end) => self.hub.attach(end),
            Input::Control(link, message) => self.handle_control(link, message),
            Input::Detached(link) => self.hub.detach(link),
            Input::Assignments(update) => {
                self.rooms.update(update);
                self.apply_rooms();
            }
            Input::Spec(update) => self.handle_spec(update),
            // Whoever asked may have gone away meanwhile.
            Input::Dump(answer) => drop(answer.send(admin::dump(&self.rooms, &self.hub))),
        }
        Ok(())
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            // `pump` passed it to a DTLS thread.
            Event::Dtls { .. } => {}
            Event::Session(status) => {
                let connected = status.connected;
                let before = self.hub.session(*status);
                if connected && !before.is_some_and(|before| before.connected) {
                    self.telemetry.joined();
                }
            }
            Event::Closed { session, room, reason } => {
                self.forget(session);
                let known = self.hub.remove(session);
                self.telemetry.closed(reason, known.as_ref());
                self.hub.broadcast(&FromNode::Closed { session, room, reason });
            }
            Event::Refused { session, room, reason } => {
                self.forget(session);
                self.refused(reason);
                self.hub.broadcast(&FromNode::Refused { session, room, reason });
            }
            Event::Speakers { room, speakers } => {
                self.hub.speakers(room, speakers);
            }
            Event::View { session, slot, state } => {
                self.hub.view(session, slot, state);
            }
            Event::Stats(stats) => self.stats.extend(stats),
        }
    }

    fn forget(&mut self, session: SessionId) {
        self.held.remove(&session);
        if self.seats.remove(&session).is_some_and(|seat| seat.dtls) {
            self.dtls.forget(session);
        }
    }

    fn refused(&self, reason: RefuseReason) {
        self.telemetry.refused(reason);
    }

    fn handle_spec(&mut self, update: Update) {
        let (entry, gone) = match update {
            Update::Reload(mut entries) => (entries.pop(), true),
            Update::Changes(mut changes) => match changes.pop() {
                Some(Change::Put(entry)) => (Some(entry), false),
                Some(Change::Delete { .. }) => (None, true),
                None => return,
            },
        };
        match entry.map(|entry| record::decode::<NodeSpec>(&entry.value)) {
            Some(Ok(spec)) => {
                let known = self.spec.as_ref().map_or(Generation(0), |spec| spec.generation);
                if spec.generation >= known {
                    if self.spec.as_ref() != Some(&spec) {
                        tracing::info!(state = ?spec.state, "the fleet wants this node otherwise");
                    }
                    self.spec = Some(spec);
                }
            }
            // Not understood: better to go on as told before.
            Some(Err(error)) => tracing::error!(%error, "this node's spec cannot be read"),
            None if gone => self.spec = None,
            None => {}
        }
        self.apply_rooms();
    }

    /// Makes the workers serve what is wanted.
    fn apply_rooms(&mut self) {
        let (fenced, mailboxes) = (self.fenced(), &self.mailboxes);
        let (opened, done) = self.rooms.apply(fenced, |action| {
            let (worker, command) = match action {
                RoomAction::Open(room, worker, held) => {
                    let Some(part) = held.part_on(worker) else { return true };
                    let others = held.parts.iter().filter(|other| other.worker != worker);
                    let neighbours = others
                        .map(|other| Neighbour {
                            part: other.part,
                            link: transmit::LinkId(other.worker.0),
                        })
                        .collect();
                    let (generation, max_peers) = (part.since, held.max_peers);
                    let part = part.part;
                    let command =
                        Command::OpenRoom { room, generation, max_peers, part, neighbours };
                    (worker, command)
                }
                RoomAction::Close(room, worker) => (worker, Command::CloseRoom { room }),
            };
            mailboxes.send(worker, command).is_ok()
        });
        self.held_back = !done;
        if !opened.is_empty() {
            self.retry_waiting(&opened);
        }
    }

    /// Whether something is to be looked at again.
    fn is_waiting(&self) -> bool {
        self.held_back
            || !self.held.is_empty()
            || !self.waiting.is_empty()
            || self.connector.is_some() && self.hub.links() == 0
    }

    fn tick(&mut self) {
        let (links, now) = (self.hub.links(), Instant::now());
        if let Some(end) = self.connector.as_mut().and_then(|made| made.poll(links, now)) {
            self.hub.attach(end);
        }
        if self.held_back {
            self.apply_rooms();
        }
        self.post_held();
        self.expire_waiting();
    }

    fn report(&mut self) {
        let sessions = u32::try_from(self.seats.len()).unwrap_or(u32::MAX);
        let mut stats = std::mem::take(&mut self.stats);
        let load = self.telemetry.sample(sessions, self.hub.links());
        self.telemetry.quality(&stats, self.hub.sessions(), self.fenced());
        // At least one message, for the load.
        loop {
            let rest = stats.split_off(stats.len().min(STATS_SLICE));
            self.hub.broadcast(&FromNode::Stats { load: load.clone(), sessions: stats });
            if rest.is_empty() {
                return;
            }
            stats = rest;
        }
    }

    /// This node stops: sessions end, and nobody is let in any more.
    fn close_all(&mut self) {
        self.stopping = true;
        self.expire_waiting();
        let sessions: Vec<SessionId> = self.seats.keys().copied().collect();
        for session in sessions {
            self.close(session, CloseReason::NodeStopping);
        }
    }
}
