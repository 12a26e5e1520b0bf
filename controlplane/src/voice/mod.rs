//! Voice as this replica sees it: which nodes there are, where each room lives, who is in it.
//! [`Voice`] is the handle for the rest of the control plane. The truth about sessions comes from
//! the nodes, the truth about rooms from the coordination store; both are kept here, so that
//! joining a room that already lives somewhere needs no store (DESIGN rule 4).

pub mod enforce;
pub mod fleet;
pub mod join;
mod leader;
pub mod link;
pub mod placement;
pub mod rooms;
pub mod sdp;
#[cfg(test)]
mod tests;
mod unseen;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hype_protocol::id::{ControlId, NodeId, RoomId, SessionId, UserId};
use hype_protocol::observation::{
    CloseReason, FlagsChange, OpenSession, SessionStatus, ToNode, View,
};
use hype_protocol::{coordination, identity, pipe};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::Error;
use crate::event::Bus;
use crate::store::Store;

pub use rooms::{MAX_PEERS, Seat};

/// When trying again makes sense after a node was not there.
const NODE_RETRY: Duration = Duration::from_millis(500);

/// Nodes, rooms and voice sessions. Clones share everything.
#[derive(Clone)]
pub struct Voice(Arc<Shared>);

struct Shared {
    control: ControlId,
    coordination: coordination::Store,
    state: Mutex<State>,
    observer: fleet::observer::Handle,
    /// Everything that runs in the background; ended by [`Voice::stop`].
    tasks: Mutex<JoinSet<()>>,
    links: Mutex<Vec<link::Listener>>,
}

/// What is known, behind one lock that is never held over an `await`.
struct State {
    fleet: fleet::Fleet,
    places: rooms::Places,
}

impl std::fmt::Debug for Voice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Voice").field(&self.0.control).finish()
    }
}

impl Voice {
    /// Begins to follow the coordination store and to take nodes' connections.
    pub fn start(
        control: ControlId,
        coordination: coordination::Store,
        directory: Store,
        bus: Bus,
    ) -> Self {
        let (observer, inputs) = fleet::observer::channel();
        let state =
            State { fleet: fleet::Fleet::new(Instant::now()), places: rooms::Places::default() };
        let voice = Self(Arc::new(Shared {
            control,
            coordination,
            state: Mutex::new(state),
            observer,
            tasks: Mutex::new(JoinSet::new()),
            links: Mutex::new(Vec::new()),
        }));
        voice.spawn(fleet::observer::run(voice.clone(), inputs, directory, bus));
        voice.spawn(fleet::follow::nodes(voice.clone()));
        voice.spawn(fleet::follow::rooms(voice.clone()));
        voice
    }

    /// Begins to do what one replica does for all, whenever this one leads: rooms in which nobody
    /// has been for a while are deleted, and stays ended whose end nobody saw.
    pub fn lead(&self, store: Store) {
        self.spawn(leader::run(self.clone(), store));
    }

    /// Takes an observation connection whose peer is trusted: the node of this process.
    pub fn attach(&self, end: pipe::ControlEnd) {
        self.0.observer.attach(end, None);
    }

    /// Takes the connections of the node of this process, one after the other.
    pub fn attach_all(&self, mut ends: mpsc::Receiver<pipe::ControlEnd>) {
        let voice = self.clone();
        self.spawn(async move {
            while let Some(end) = ends.recv().await {
                voice.attach(end);
            }
        });
    }

    /// Takes an observation connection of the node that its certificate names.
    fn attach_from(&self, end: pipe::ControlEnd, node: NodeId) {
        self.0.observer.attach(end, Some(node));
    }

    /// Listens for nodes over QUIC and announces where in the coordination store, by the
    /// addresses in `announce` or, when it is empty, by this machine's own ones.
    ///
    /// # Errors
    /// When the address cannot be used or the identity makes no TLS configuration.
    pub async fn listen(
        &self,
        identity: identity::Identity,
        address: SocketAddr,
        announce: Vec<SocketAddr>,
    ) -> Result<SocketAddr, link::Error> {
        let listener = link::listen(self.clone(), &identity, address, announce)?;
        let bound = listener.address();
        self.0.links.lock().expect("no holder of this lock panics").push(listener);
        Ok(bound)
    }

    /// Ends all background work. Media goes on: sessions live on their nodes.
    pub async fn stop(&self) {
        let links = std::mem::take(&mut *self.0.links.lock().expect("no holder panics"));
        for link in links {
            link.stop().await;
        }
        let mut tasks = std::mem::take(&mut *self.0.tasks.lock().expect("no holder panics"));
        tasks.shutdown().await;
        self.state().fleet.disconnect_all();
    }

    /// Where a room lives; places it when it lives nowhere yet.
    ///
    /// # Errors
    /// [`Error::NoNode`] when no node can serve it now, [`Error::CoordinationUnavailable`] when
    /// it is not known here and the store does not answer. Both say when to try again.
    pub async fn place(&self, room: RoomId) -> Result<Seat, Error> {
        rooms::place(self, room).await
    }

    /// Opens a session on the seat's node. From now on it counts as present; the node's report
    /// follows, or within 5 s the person is asked to join again. Returns the person's other
    /// sessions, which this one shall replace.
    ///
    /// # Errors
    /// [`Error::NoNode`] when the node is not connected in the seat's boot any more, or its queue
    /// is full: place the room again.
    pub fn open(&self, seat: &Seat, open: OpenSession) -> Result<Vec<SessionId>, Error> {
        self.open_within(seat, open, MAX_PEERS)
    }

    /// Like [`Self::open`], in a channel that admits at most `limit` people (0: [`MAX_PEERS`]).
    /// Checked and counted in one step, so that two who join at once never exceed it. Who is
    /// there already with another session does not count against himself. Of two sessions that one
    /// person opens at once, the later one names the earlier one here.
    ///
    /// # Errors
    /// As [`Self::open`], and [`Error::ChannelFull`].
    pub fn open_within(
        &self,
        seat: &Seat,
        open: OpenSession,
        limit: u32,
    ) -> Result<Vec<SessionId>, Error> {
        let outcome = self.state().fleet.open(seat, open, limit, Instant::now());
        match &outcome {
            Ok(_) => metrics::counter!("hype_control_joins_total").increment(1),
            Err(error) => count_join_error(error),
        }
        outcome
    }

    /// Ends a session; the node's report follows.
    ///
    /// # Errors
    /// [`Error::NoSession`], or [`Error::NoNode`] while its node is not connected.
    pub fn close(&self, session: SessionId, reason: CloseReason) -> Result<(), Error> {
        self.state().fleet.command(session, ToNode::Close { session, reason })
    }

    /// Changes some flags of a session; the node applies it to those that hold there, so that a
    /// person and a moderator never undo each other. Its report follows.
    ///
    /// # Errors
    /// As [`Self::close`].
    pub fn flags(&self, session: SessionId, change: FlagsChange) -> Result<(), Error> {
        self.state().fleet.command(session, ToNode::Flags { session, change })
    }

    /// Chooses what a video slot of a session shows; none frees it.
    ///
    /// # Errors
    /// As [`Self::close`].
    pub fn view(&self, session: SessionId, slot: u8, view: Option<View>) -> Result<(), Error> {
        self.state().fleet.command(session, ToNode::View { session, slot, view })
    }

    /// Who is in a room, those included who have just been let in; the longest there first.
    pub fn sessions_in(&self, room: RoomId) -> Vec<SessionStatus> {
        self.state().fleet.sessions_in(room)
    }

    /// One session.
    pub fn session(&self, session: SessionId) -> Option<SessionStatus> {
        self.state().fleet.session(session)
    }

    /// All sessions of a person.
    pub fn sessions_of(&self, user: UserId) -> Vec<SessionStatus> {
        self.state().fleet.sessions_of(user)
    }

    /// All rooms in which somebody is.
    pub fn rooms(&self) -> Vec<RoomId> {
        self.state().fleet.rooms()
    }

    /// Where a room lives now and can be joined, with the region of its node; none when it lives
    /// nowhere yet, or its node is not there.
    pub fn seat_of(&self, room: RoomId) -> Option<(Seat, String)> {
        let state = self.state();
        let seat = state.fleet.seat(room, state.places.record(room)?)?;
        let region = state.fleet.region(&seat.node)?;
        Some((seat, region))
    }

    /// True when people can join: a live node is connected.
    pub fn ready(&self) -> bool {
        self.state().fleet.ready()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder of this lock panics")
    }

    fn coordination(&self) -> &coordination::Store {
        &self.0.coordination
    }

    fn control(&self) -> &ControlId {
        &self.0.control
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = self.0.tasks.lock().expect("no holder of this lock panics");
        // Ended ones are forgotten, so that the set does not grow.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
}

fn count_join_error(error: &Error) {
    metrics::counter!("hype_control_join_errors_total", "code" => error.code()).increment(1);
}
