//! The one task that feeds nodes' messages to the fleet's state and publishes what follows.
//! One task, so that people see events in the order in which they happened; its queue is bounded,
//! and a node that it cannot keep up with cuts the connection and begins with a snapshot again.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hype_protocol::gateway::Event;
use hype_protocol::id::{GuildId, NodeId, RoomId, SessionId, UserId};
use hype_protocol::observation::{FromNode, ToNode};
use hype_protocol::pipe;
use hype_protocol::secret::BootKeys;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::{ConnectionId, Notice};
use crate::domain::guild::voice_state;
use crate::event::consumers::{Stay, Stays};
use crate::event::{Audience, Bus};
use crate::store::Store;
use crate::store::snowflake::unix_ms;
use crate::voice::Voice;

/// Messages of all nodes that may wait.
const CAPACITY: usize = 4096;
/// How often what is due is looked for.
const TICK: Duration = Duration::from_millis(250);
/// A connection must introduce itself within this time.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Channels whose guild is remembered.
const DIRECTORY: usize = 100_000;
/// How long the database is left alone after it failed, or a channel was not in it.
const DIRECTORY_RETRY: Duration = Duration::from_secs(5);

/// Hands connections to the observer.
pub struct Handle {
    attached: mpsc::UnboundedSender<Attached>,
}

/// The observer's queues.
pub struct Inputs {
    attached: mpsc::UnboundedReceiver<Attached>,
}

struct Attached {
    end: pipe::ControlEnd,
    expected: Option<NodeId>,
}

/// What a connection's task sends on.
enum Input {
    Hello { connection: ConnectionId, hello: FromNode, sender: mpsc::Sender<ToNode> },
    Message { connection: ConnectionId, node: NodeId, message: FromNode },
}

/// The two ends by which connections reach the observer.
pub fn channel() -> (Handle, Inputs) {
    // As many elements as connections, which the listener limits.
    let (sender, receiver) = mpsc::unbounded_channel();
    (Handle { attached: sender }, Inputs { attached: receiver })
}

impl Handle {
    /// Takes a connection; its node must be the expected one, if any is.
    pub fn attach(&self, end: pipe::ControlEnd, expected: Option<NodeId>) {
        // It fails only when this replica stops: then the dropped end closes the connection.
        let _ = self.attached.send(Attached { end, expected });
    }
}

/// Runs until it is aborted.
pub async fn run(voice: Voice, mut inputs: Inputs, store: Store, bus: Bus) {
    let (sender, mut messages) = mpsc::channel(CAPACITY);
    let mut readers: JoinSet<(ConnectionId, Option<NodeId>)> = JoinSet::new();
    let mut running: HashMap<ConnectionId, AbortHandle> = HashMap::new();
    let mut publisher = Publisher::new(voice.clone(), store, bus);
    let last = AtomicU64::new(0);
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut notices = Vec::new();
        tokio::select! {
            Some(Attached { end, expected }) = inputs.attached.recv() => {
                let connection = ConnectionId(last.fetch_add(1, Ordering::Relaxed));
                let task = readers.spawn(read(connection, end, expected, sender.clone()));
                running.insert(connection, task);
            }
            Some(input) = messages.recv() => {
                if let Err(connection) = apply(&voice, input, &mut notices)
                    && let Some(task) = running.remove(&connection)
                {
                    task.abort();
                }
            }
            Some(ended) = readers.join_next() => {
                if let Ok((connection, node)) = ended {
                    running.remove(&connection);
                    if let Some(node) = node {
                        // What it said before its end counts: it waits in the queue still.
                        while let Ok(input) = messages.try_recv() {
                            // A connection cut here has ended or is cut at its next message.
                            let _ = apply(&voice, input, &mut notices);
                        }
                        tracing::warn!(%node, "node disconnected");
                        voice.state().fleet.handle_disconnect(connection, &node, Instant::now());
                    }
                }
            }
            _ = ticks.tick() => {
                {
                    let mut state = voice.state();
                    state.fleet.handle_timeout(Instant::now(), &mut notices);
                    measure(&state.fleet);
                }
                publisher.catch_up().await;
            }
        }
        for notice in notices {
            publisher.publish(notice).await;
        }
    }
}

/// Reads one connection until it ends; returns whose it was, if it introduced itself.
async fn read(
    connection: ConnectionId,
    end: pipe::ControlEnd,
    expected: Option<NodeId>,
    inputs: mpsc::Sender<Input>,
) -> (ConnectionId, Option<NodeId>) {
    let pipe::End { sender, mut receiver } = end;
    let hello = match timeout(HELLO_TIMEOUT, receiver.recv()).await {
        Ok(Some(hello @ FromNode::Hello { .. })) => hello,
        Ok(Some(_)) | Ok(None) | Err(_) => {
            tracing::warn!(?expected, "connection ended before it introduced itself");
            return (connection, None);
        }
    };
    let FromNode::Hello { node, .. } = &hello else { return (connection, None) };
    let node = node.clone();
    if expected.as_ref().is_some_and(|expected| *expected != node) {
        tracing::warn!(claimed = %node, ?expected, "node claimed to be another one; cut");
        return (connection, None);
    }
    tracing::info!(%node, "node connected");
    if inputs.send(Input::Hello { connection, hello, sender }).await.is_err() {
        return (connection, None);
    }
    while let Some(message) = receiver.recv().await {
        let node = node.clone();
        if inputs.send(Input::Message { connection, node, message }).await.is_err() {
            break;
        }
    }
    (connection, Some(node))
}

/// Feeds one input to the state. The error is a connection to be cut.
fn apply(voice: &Voice, input: Input, out: &mut Vec<Notice>) -> Result<(), ConnectionId> {
    let mut state = voice.state();
    match input {
        Input::Hello { connection, hello, sender } => {
            if let FromNode::Hello { node, boot, secret } = hello {
                let keys = BootKeys::new(&node, &secret);
                let now = Instant::now();
                state.fleet.handle_hello(connection, &node, (boot, keys), sender, now, out);
            }
            Ok(())
        }
        Input::Message { connection, node, message } => {
            state.fleet.handle_message(connection, &node, message, out).map_err(|violation| {
                tracing::warn!(%node, %violation, "node connection cut");
                state.fleet.handle_disconnect(connection, &node, Instant::now());
                connection
            })
        }
    }
}

fn measure(fleet: &super::Fleet) {
    let (users, channels) = fleet.active();
    metrics::gauge!("hype_control_active_voice_users").set(users as f64);
    metrics::gauge!("hype_control_active_voice_channels").set(channels as f64);
    metrics::gauge!("hype_control_nodes_connected").set(fleet.connected() as f64);
}

/// Turns notices into events on the bus, for the right audience.
struct Publisher {
    voice: Voice,
    store: Store,
    bus: Bus,
    /// Which guild a room's channel belongs to; channels do not move between guilds.
    directory: HashMap<RoomId, GuildId>,
    /// Rooms whose guild could not be told; their people are published once it can.
    unresolved: HashSet<RoomId>,
    /// Sessions whose begin was noted.
    noted: HashSet<SessionId>,
    stays: Stays,
    retry: Instant,
}

impl Publisher {
    fn new(voice: Voice, store: Store, bus: Bus) -> Self {
        let (directory, unresolved) = (HashMap::new(), HashSet::new());
        let (noted, stays) = (HashSet::new(), Stays::start(store.clone()));
        Self { voice, store, bus, directory, unresolved, noted, stays, retry: Instant::now() }
    }

    async fn publish(&mut self, notice: Notice) {
        match notice {
            Notice::State(status) => {
                if let Some(guild) = self.guild(status.room).await {
                    if self.noted.insert(status.session) {
                        self.note(guild, status.room, status.user, status.session, false);
                    }
                    let event = Event::VoiceState(voice_state(guild, *status));
                    self.bus.publish(Audience::Guild(guild), event);
                }
            }
            Notice::Left { room, user, session } => {
                let noted = self.noted.remove(&session);
                if let Some(guild) = self.guild(room).await {
                    if noted {
                        self.note(guild, room, user, session, true);
                    }
                    let event = Event::VoiceLeft {
                        guild_id: guild,
                        channel_id: room.into(),
                        user_id: user,
                        session_id: session,
                    };
                    self.bus.publish(Audience::Guild(guild), event);
                }
            }
            Notice::Speakers { room, speakers, only } => {
                let event = Event::VoiceSpeakers { channel_id: room.into(), speakers };
                self.bus.publish(only.map_or(Audience::Room(room), Audience::User), event);
            }
            Notice::Codecs { room, codecs, only } => {
                let event = Event::VoiceCodecs { channel_id: room.into(), codecs };
                self.bus.publish(only.map_or(Audience::Room(room), Audience::User), event);
            }
            Notice::View { user, session, slot, state } => {
                let event = Event::VoiceView { session_id: session, slot, state };
                self.bus.publish(Audience::User(user), event);
            }
            Notice::Stats { user, stats } => {
                self.bus.publish(Audience::User(user), Event::VoiceStats(stats));
            }
            Notice::Ended { user, room, session, ending } => {
                let event = Event::VoiceEnded {
                    channel_id: room,
                    session_id: session,
                    rejoin: ending.rejoin,
                    move_to: ending.move_to.map(Into::into),
                    message: ending.message.to_owned(),
                };
                self.bus.publish(Audience::User(user), event);
            }
        }
    }

    fn note(&self, guild: GuildId, room: RoomId, user: UserId, session: SessionId, over: bool) {
        let (channel, at_ms) = (room.into(), unix_ms());
        self.stays.note(Stay { guild, channel, user, session, at_ms, over });
    }

    async fn guild(&mut self, room: RoomId) -> Option<GuildId> {
        if let Some(guild) = self.directory.get(&room) {
            return Some(*guild);
        }
        if self.unresolved.contains(&room) {
            return None;
        }
        self.look_up(room).await
    }

    async fn look_up(&mut self, room: RoomId) -> Option<GuildId> {
        if self.directory.len() >= DIRECTORY {
            self.directory.clear();
        }
        match self.store.channel(room.into()).await {
            Ok(Some(channel)) => {
                self.directory.insert(room, channel.guild_id);
                self.unresolved.remove(&room);
                return Some(channel.guild_id);
            }
            Ok(None) => tracing::warn!(?room, "a room of no channel that is known here"),
            Err(error) => tracing::warn!(?room, %error, "a room's guild could not be looked up"),
        }
        if self.unresolved.len() < DIRECTORY {
            self.unresolved.insert(room);
        }
        self.retry = Instant::now() + DIRECTORY_RETRY;
        None
    }

    /// Tries rooms again that could not be told to their guild, and tells who is there.
    async fn catch_up(&mut self) {
        if self.unresolved.is_empty() || Instant::now() < self.retry {
            return;
        }
        let rooms: Vec<_> = self.unresolved.iter().copied().collect();
        for room in rooms {
            let sessions = self.voice.sessions_in(room);
            if sessions.is_empty() {
                self.unresolved.remove(&room);
                continue;
            }
            // One failure is enough to know that the database is still away.
            let Some(guild) = self.look_up(room).await else { return };
            for session in sessions {
                if self.noted.insert(session.session) {
                    self.note(guild, room, session.user, session.session, false);
                }
                let event = Event::VoiceState(voice_state(guild, session));
                self.bus.publish(Audience::Guild(guild), event);
            }
        }
    }
}
