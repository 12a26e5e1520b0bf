//! What nodes tell over their connections.

use std::collections::hash_map::Entry;

use hype_protocol::id::{BootId, NodeId, RoomId, SessionId, UserId};
use hype_protocol::observation::{CloseReason, FromNode, SessionStatus, ToNode};
use hype_protocol::secret::BootKeys;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::notice::Ending;
use super::{ConnectionId, Fleet, Held, Link, MAX_SESSIONS, Node, Notice};

/// Why a connection must be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The node has connected again; this connection is an old one.
    #[error("the node has a newer connection")]
    Superseded,
    /// `Hello` came twice.
    #[error("the node introduced itself twice")]
    Repeated,
}

impl Fleet {
    /// A connection introduced itself: it is the node's link from now on, and a snapshot follows.
    /// Sessions of an earlier boot end at once.
    pub fn handle_hello(
        &mut self,
        connection: ConnectionId,
        id: &NodeId,
        (boot, keys): (BootId, BootKeys),
        sender: mpsc::Sender<ToNode>,
        now: Instant,
        out: &mut Vec<Notice>,
    ) {
        let node = self.nodes.entry(id.clone()).or_insert_with(|| Node::new(now));
        let link = Link { connection, boot, keys, sender, synced: false };
        node.link = Some(link);
        node.load = None;
        node.joins = 0;
        let lost = std::mem::take(&mut node.lost);
        let before = node.boot.replace(boot);
        if before.is_some_and(|before| before != boot) {
            for session in std::mem::take(&mut node.sessions) {
                self.end(session, Some(Ending::RESTARTED), out);
            }
            out.extend(lost.into_iter().map(|(session, room, user)| {
                let ending = Ending::RESTARTED;
                Notice::Ended { user, room, session, ending }
            }));
        } else {
            node.unconfirmed = node.sessions.clone();
        }
    }

    /// A message after the `Hello`.
    ///
    /// # Errors
    /// When the connection must be cut.
    pub fn handle_message(
        &mut self,
        connection: ConnectionId,
        id: &NodeId,
        message: FromNode,
        out: &mut Vec<Notice>,
    ) -> Result<(), Violation> {
        let node = self.nodes.get_mut(id).ok_or(Violation::Superseded)?;
        let link = node.link.as_mut().filter(|link| link.connection == connection);
        let link = link.ok_or(Violation::Superseded)?;
        match message {
            FromNode::Hello { .. } => return Err(Violation::Repeated),
            FromNode::SnapshotEnd => {
                link.synced = true;
                for session in std::mem::take(&mut node.unconfirmed) {
                    self.end(session, Some(Ending::RESTARTED), out);
                }
            }
            FromNode::Session(status) => self.handle_session(id, *status, out),
            FromNode::Closed { session, reason, .. } => {
                if self.belongs(session, id) {
                    self.end(session, Ending::of_close(reason), out);
                }
                count_closed(reason);
            }
            FromNode::Refused { session, reason, .. } => {
                if self.belongs(session, id) {
                    self.end(session, Some(Ending::of_refusal(reason)), out);
                }
                tracing::warn!(node = %id, ?session, ?reason, "session refused");
                let reason = format!("{reason:?}");
                metrics::counter!("hype_control_sessions_refused_total", "reason" => reason)
                    .increment(1);
            }
            FromNode::Speakers { room, speakers } => {
                if let Some(occupancy) = self.rooms.get_mut(&room) {
                    occupancy.speakers.clone_from(&speakers);
                    out.push(Notice::Speakers { room, speakers, only: None });
                }
            }
            FromNode::View { session, slot, state } => {
                if let Some(held) = self.sessions.get(&session).filter(|held| held.node == *id) {
                    let user = held.status.user;
                    out.push(Notice::View { user, session, slot, state });
                }
            }
            FromNode::Stats { load, sessions } => {
                node.load = Some(load);
                node.joins = 0;
                for stats in sessions {
                    let held = self.sessions.get(&stats.session);
                    if let Some(held) = held.filter(|held| held.node == *id) {
                        out.push(Notice::Stats { user: held.status.user, stats });
                    }
                }
            }
        }
        Ok(())
    }

    /// A connection is gone. The node's sessions count as they were, for the grace.
    pub fn handle_disconnect(&mut self, connection: ConnectionId, id: &NodeId, now: Instant) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        if node.link.as_ref().is_some_and(|link| link.connection == connection) {
            node.link = None;
            node.unlinked_since = now;
        }
    }

    /// Drops all links: this replica stops.
    pub fn disconnect_all(&mut self) {
        for node in self.nodes.values_mut() {
            node.link = None;
        }
    }

    /// What is due: opened sessions that no node reported, and nodes that did not come back.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Vec<Notice>) {
        let due = |held: &Held| held.pending.is_some_and(|until| until <= now);
        let unanswered: Vec<SessionId> = self
            .sessions
            .iter()
            .filter_map(|(session, held)| due(held).then_some(*session))
            .collect();
        for session in unanswered {
            self.end(session, Some(Ending::UNANSWERED), out);
        }
        let mut lost = Vec::new();
        self.nodes.retain(|id, node| {
            let away = now.duration_since(node.unlinked_since);
            if node.link.is_some() || away < super::GRACE {
                return true;
            }
            if !node.sessions.is_empty() {
                tracing::warn!(node = %id, "node did not come back; its sessions count as lost");
                lost.extend(node.sessions.drain().map(|session| (id.clone(), session)));
                node.unconfirmed.clear();
            }
            node.registered || away < super::FORGET_NODE
        });
        // Nobody is asked to join again yet: where only our connection is cut, media goes on, and
        // where the node is dead, the client notices by itself.
        for (id, session) in lost {
            let Some(status) = self.remove(session, out) else { continue };
            if let Some(node) = self.nodes.get_mut(&id) {
                node.lost.push((session, status.room, status.user));
            }
        }
    }

    fn belongs(&self, session: SessionId, node: &NodeId) -> bool {
        self.sessions.get(&session).is_some_and(|held| held.node == *node)
    }

    fn end(&mut self, session: SessionId, ending: Option<Ending>, out: &mut Vec<Notice>) {
        let Some(status) = self.remove(session, out) else { return };
        if let Some(ending) = ending {
            let SessionStatus { user, room, .. } = status;
            out.push(Notice::Ended { user, room, session, ending });
        }
    }

    fn handle_session(&mut self, id: &NodeId, status: SessionStatus, out: &mut Vec<Notice>) {
        let session = status.session;
        if let Some(node) = self.nodes.get_mut(id) {
            node.unconfirmed.remove(&session);
        }
        if let Some(held) = self.sessions.get(&session)
            && (held.node != *id || held.status.room != status.room)
        {
            // Random ids do not meet by chance: either the session is on another node by now, or
            // this one makes things up.
            tracing::warn!(node = %id, ?session, "report of a session that is elsewhere ignored");
            return;
        }
        if !self.sessions.contains_key(&session) && self.sessions.len() >= MAX_SESSIONS {
            metrics::counter!("hype_control_sessions_ignored_total").increment(1);
            return;
        }
        let (news, arrived, codecs) = match self.sessions.entry(session) {
            Entry::Occupied(mut occupied) => {
                let held = occupied.get_mut();
                let reported = held.pending.take().is_none();
                let before = std::mem::replace(&mut held.status, status.clone());
                let seen = |status: &SessionStatus| (status.flags, status.producers.clone());
                let arrived = !reported || (!before.connected && status.connected);
                let codecs = !reported || before.decodes != status.decodes;
                (!reported || seen(&before) != seen(&status), arrived, codecs)
            }
            Entry::Vacant(_) => {
                self.insert(Held { node: id.clone(), status: status.clone(), pending: None });
                (true, true, true)
            }
        };
        let (room, user) = (status.room, status.user);
        if news {
            out.push(Notice::State(Box::new(status)));
        }
        if codecs {
            self.update_codecs(room, out);
        }
        if arrived {
            self.welcome(room, user, out);
        }
    }

    /// Tells somebody who has just come what the others were told before.
    fn welcome(&self, room: RoomId, user: UserId, out: &mut Vec<Notice>) {
        let Some(occupancy) = self.rooms.get(&room) else { return };
        if let Some(codecs) = occupancy.codecs.clone() {
            out.push(Notice::Codecs { room, codecs, only: Some(user) });
        }
        if !occupancy.speakers.is_empty() {
            let speakers = occupancy.speakers.clone();
            out.push(Notice::Speakers { room, speakers, only: Some(user) });
        }
    }
}

fn count_closed(reason: CloseReason) {
    let reason = match reason {
        // A label has few values: not one for each room.
        CloseReason::Moved { .. } => "Moved".to_owned(),
        other => format!("{other:?}"),
    };
    metrics::counter!("hype_control_sessions_closed_total", "reason" => reason).increment(1);
}
