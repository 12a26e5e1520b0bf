//! Tells every connected control replica what happens on this node. A new one gets a snapshot
//! first: hello, all sessions, who speaks and what video slots show, end. One that does not drain its pipe is cut off: its next
//! connection starts with a snapshot, so nothing stays wrong (see `hype_protocol::pipe`).

use std::collections::HashMap;
use std::time::Duration;

use hype_protocol::id::{RoomId, SessionId, SourceId};
use hype_protocol::media::MAX_VIDEO_SLOTS;
use hype_protocol::observation::{FromNode, SessionStatus, ToNode, ViewState};
use hype_protocol::pipe::{CAPACITY, NodeEnd};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};

use super::Input;

/// Replicas beyond this are refused.
const MAX_LINKS: usize = 64;

/// One connection to a control replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LinkId(u64);

struct Link {
    queue: mpsc::Sender<FromNode>,
    up: JoinHandle<()>,
    down: AbortHandle,
}

/// The live sessions and who is told of them.
pub struct Hub {
    hello: FromNode,
    inbox: mpsc::Sender<Input>,
    next: u64,
    links: HashMap<LinkId, Link>,
    sessions: HashMap<SessionId, SessionStatus>,
    /// Rooms with sessions.
    rooms: HashMap<RoomId, Room>,
    /// How slots stand, by slot; of live sessions only.
    views: HashMap<SessionId, [Option<ViewState>; MAX_VIDEO_SLOTS]>,
}

#[derive(Default)]
struct Room {
    sessions: usize,
    /// As last told; none before the first time.
    speakers: Option<Vec<SourceId>>,
}

impl Hub {
    /// With the first message of every connection, and where messages from replicas go.
    pub fn new(hello: FromNode, inbox: mpsc::Sender<Input>) -> Self {
        Self {
            hello,
            inbox,
            next: 0,
            links: HashMap::new(),
            sessions: HashMap::new(),
            rooms: HashMap::new(),
            views: HashMap::new(),
        }
    }

    /// All live sessions.
    pub fn sessions(&self) -> &HashMap<SessionId, SessionStatus> {
        &self.sessions
    }

    /// How many replicas are connected.
    pub fn links(&self) -> usize {
        self.links.len()
    }

    /// A replica connected.
    pub fn attach(&mut self, end: NodeEnd) {
        if self.links.len() >= MAX_LINKS {
            tracing::error!("more than {MAX_LINKS} control connections: one is refused");
            return;
        }
        let id = LinkId(self.next);
        self.next += 1;
        let sessions = self.sessions.values().cloned().map(Box::new).map(FromNode::Session);
        let speakers = self.rooms.iter().filter_map(|(room, known)| {
            let (room, speakers) = (*room, known.speakers.clone()?);
            Some(FromNode::Speakers { room, speakers })
        });
        let views = self.views.iter().flat_map(|(session, slots)| {
            (0..).zip(slots).filter_map(|(slot, state)| {
                Some(FromNode::View { session: *session, slot, state: (*state)? })
            })
        });
        let snapshot: Vec<FromNode> = std::iter::once(self.hello.clone())
            .chain(sessions)
            .chain(speakers)
            .chain(views)
            .chain(std::iter::once(FromNode::SnapshotEnd))
            .collect();
        let (queue, waiting) = mpsc::channel(CAPACITY);
        let NodeEnd { sender, receiver } = end;
        let up = tokio::spawn(send_up(snapshot, waiting, sender));
        let down = tokio::spawn(pass_down(receiver, id, self.inbox.clone())).abort_handle();
        self.links.insert(id, Link { queue, up, down });
    }

    /// A replica's connection ended.
    pub fn detach(&mut self, id: LinkId) {
        if let Some(link) = self.links.remove(&id) {
            link.cut();
        }
    }

    /// Tells one replica.
    pub fn tell(&mut self, id: LinkId, message: FromNode) {
        let kept = self.links.get(&id).is_none_or(|link| link.queue.try_send(message).is_ok());
        if !kept {
            tracing::warn!("a control replica does not read what this node tells: cut off");
            self.detach(id);
        }
    }

    /// Tells all replicas.
    pub fn broadcast(&mut self, message: &FromNode) {
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            self.tell(id, message.clone());
        }
    }

    /// A session is new or changed. Returns what was known of it before.
    pub fn session(&mut self, status: SessionStatus) -> Option<SessionStatus> {
        self.broadcast(&FromNode::Session(Box::new(status.clone())));
        let room = status.room;
        let before = self.sessions.insert(status.session, status);
        if before.is_none() {
            self.rooms.entry(room).or_default().sessions += 1;
        }
        before
    }

    /// Other people speak in a room.
    pub fn speakers(&mut self, room: RoomId, speakers: Vec<SourceId>) {
        // An empty room has nobody to tell a late replica of.
        if let Some(known) = self.rooms.get_mut(&room) {
            known.speakers = Some(speakers.clone());
        }
        self.broadcast(&FromNode::Speakers { room, speakers });
    }

    /// A video slot stands otherwise.
    pub fn view(&mut self, session: SessionId, slot: u8, state: ViewState) {
        if self.sessions.contains_key(&session) {
            let slots = self.views.entry(session).or_default();
            if let Some(known) = slots.get_mut(usize::from(slot)) {
                *known = Some(state);
            }
        }
        self.broadcast(&FromNode::View { session, slot, state });
    }

    /// A video slot shows nothing any more, which is told by nobody.
    pub fn forget_view(&mut self, session: SessionId, slot: u8) {
        let slots = self.views.get_mut(&session);
        if let Some(known) = slots.and_then(|slots| slots.get_mut(usize::from(slot))) {
            *known = None;
        }
    }

    /// A session is gone. Returns what was known of it.
    pub fn remove(&mut self, session: SessionId) -> Option<SessionStatus> {
        let status = self.sessions.remove(&session)?;
        self.views.remove(&session);
        if let Some(known) = self.rooms.get_mut(&status.room) {
            known.sessions -= 1;
            if let Some(speakers) = &mut known.speakers {
                speakers.retain(|source| *source != session.source());
            }
            if known.sessions == 0 {
                self.rooms.remove(&status.room);
            }
        }
        Some(status)
    }

    /// Ends all connections once they have taken what was told, or after `patience`.
    pub async fn finish(mut self, patience: Duration) {
        let links = std::mem::take(&mut self.links);
        let flushed = links.into_values().map(|Link { queue, up, down }| {
            drop(queue);
            (up, down)
        });
        let deadline = tokio::time::Instant::now() + patience;
        for (mut up, down) in flushed.collect::<Vec<_>>() {
            if tokio::time::timeout_at(deadline, &mut up).await.is_err() {
                up.abort();
            }
            down.abort();
        }
    }
}

impl Link {
    fn cut(self) {
        self.up.abort();
        self.down.abort();
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        for (_, link) in self.links.drain() {
            link.cut();
        }
    }
}

async fn send_up(
    snapshot: Vec<FromNode>,
    mut waiting: mpsc::Receiver<FromNode>,
    sender: mpsc::Sender<FromNode>,
) {
    for message in snapshot {
        if sender.send(message).await.is_err() {
            return;
        }
    }
    while let Some(message) = waiting.recv().await {
        // The other end is gone: `pass_down` notices it too, and tells.
        if sender.send(message).await.is_err() {
            return;
        }
    }
}

async fn pass_down(mut receiver: mpsc::Receiver<ToNode>, id: LinkId, inbox: mpsc::Sender<Input>) {
    while let Some(message) = receiver.recv().await {
        if inbox.send(Input::Control(id, message)).await.is_err() {
            return;
        }
    }
    let _ = inbox.send(Input::Detached(id)).await;
}

#[cfg(test)]
mod tests {
    use hype_protocol::id::{BootId, UserId};
    use hype_protocol::observation::VoiceFlags;
    use hype_protocol::pipe;
    use hype_protocol::secret::BootSecret;

    use super::*;

    fn status(session: u64) -> SessionStatus {
        SessionStatus {
            session: SessionId(session),
            room: RoomId(1),
            worker: hype_protocol::id::WorkerId(0),
            user: UserId(session),
            connected: false,
            flags: VoiceFlags::default(),
            producers: Vec::new(),
            decodes: Vec::new(),
            opened_at_ms: 0,
        }
    }

    fn hub() -> (Hub, mpsc::Receiver<Input>) {
        let (inbox, inputs) = mpsc::channel(16);
        let hello = FromNode::Hello {
            node: "n1".parse().expect("a valid name"),
            boot: BootId(7),
            secret: BootSecret([1; 32]),
        };
        (Hub::new(hello, inbox), inputs)
    }

    #[tokio::test]
    async fn a_replica_gets_a_snapshot_of_any_size_then_what_happens() {
        let (mut hub, _inputs) = hub();
        let many = CAPACITY as u64 + 1000;
        for session in 0..many {
            hub.session(status(session));
        }
        let (node, mut control) = pipe::pair();
        hub.attach(node);
        hub.remove(SessionId(0));
        let reason = hype_protocol::observation::CloseReason::Left;
        let closed = FromNode::Closed { session: SessionId(0), room: RoomId(1), reason };
        hub.broadcast(&closed);
        let first = control.receiver.recv().await.expect("hello");
        assert!(matches!(first, FromNode::Hello { boot: BootId(7), .. }), "{first:?}");
        let mut seen = std::collections::HashSet::new();
        loop {
            match control.receiver.recv().await.expect("the snapshot goes on") {
                FromNode::Session(status) => assert!(seen.insert(status.session)),
                FromNode::SnapshotEnd => break,
                other => panic!("{other:?} inside the snapshot"),
            }
        }
        assert_eq!(seen.len() as u64, many);
        assert_eq!(control.receiver.recv().await, Some(closed));
        let (node, mut late) = pipe::pair();
        hub.attach(node);
        let mut sessions = 0;
        while let Some(message) = late.receiver.recv().await {
            match message {
                FromNode::Session(_) => sessions += 1,
                FromNode::SnapshotEnd => break,
                _ => {}
            }
        }
        assert_eq!(sessions, many - 1);
        hub.finish(Duration::from_secs(1)).await;
        assert_eq!(late.receiver.recv().await, None);
    }

    #[tokio::test]
    async fn a_late_replica_learns_who_speaks_and_what_slots_show() {
        let (mut hub, _inputs) = hub();
        hub.session(status(1));
        hub.session(status(2));
        hub.session(status(2));
        hub.speakers(RoomId(1), vec![SourceId(1)]);
        hub.speakers(RoomId(1), vec![SourceId(1), SourceId(2)]);
        hub.speakers(RoomId(404), vec![SourceId(3)]);
        for (session, slot) in [(1, 0), (2, 0), (2, 3), (2, 200), (404, 0)] {
            hub.view(SessionId(session), slot, ViewState::Waiting);
        }
        hub.view(SessionId(2), 3, ViewState::Live);
        hub.forget_view(SessionId(2), 0);
        hub.remove(SessionId(1));
        let (node, mut control) = pipe::pair();
        hub.attach(node);
        let mut told = Vec::new();
        while told.last() != Some(&FromNode::SnapshotEnd) {
            told.push(control.receiver.recv().await.expect("the snapshot goes on"));
        }
        let expected = [
            FromNode::Session(Box::new(status(2))),
            FromNode::Speakers { room: RoomId(1), speakers: vec![SourceId(2)] },
            FromNode::View { session: SessionId(2), slot: 3, state: ViewState::Live },
            FromNode::SnapshotEnd,
        ];
        assert_eq!(told[1..], expected);
        hub.remove(SessionId(2));
        assert!(hub.rooms.is_empty() && hub.views.is_empty(), "nothing stays behind");
    }

    #[tokio::test]
    async fn a_replica_that_does_not_read_is_cut_and_one_that_leaves_is_told() {
        let (mut hub, mut inputs) = hub();
        let (node, mut slow) = pipe::pair();
        hub.attach(node);
        let (node, leaving) = pipe::pair();
        hub.attach(node);
        drop(leaving);
        let Some(Input::Detached(id)) = inputs.recv().await else { panic!("it left") };
        hub.detach(id);
        assert_eq!(hub.links(), 1);
        for number in 0..3 * CAPACITY as u64 {
            hub.broadcast(&FromNode::Session(Box::new(status(number))));
            tokio::task::yield_now().await;
        }
        assert_eq!(hub.links(), 0);
        let mut read = 0;
        while slow.receiver.recv().await.is_some() {
            read += 1;
        }
        assert!((1..=2 * CAPACITY + 2).contains(&read), "{read} messages, then the end");
    }
}
