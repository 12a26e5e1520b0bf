//! One gateway session: its numbered events, kept until they are too old to be resumed from.
//! The buffer is the outgoing queue as well: a connection sends from it what it has not sent yet,
//! so a slow reader costs no memory beyond what resuming needs.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hype_protocol::gateway::{CloseCode, Event, Position, PresenceStatus};
use hype_protocol::id::{GuildId, UserId};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{RESUME_WINDOW, TYPING_PAUSE};

/// Events kept for a resume.
pub(super) const MAX_BUFFERED: usize = 512;
/// Bytes kept for a resume; a single larger event (`ready`) is kept alone.
const MAX_BUFFERED_BYTES: usize = 4 << 20;
/// Events that a connection may be behind.
pub(super) const MAX_PENDING: u64 = 256;

/// What an event says about what a session shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Nothing.
    Nobody,
    /// Something of a guild; a durable event has its number.
    Guild(GuildId, Option<u64>),
    /// A guild is shown from now on, as of this number.
    Added(GuildId, u64),
    /// A guild is shown no more.
    Removed(GuildId),
}

/// An event as every session sends it, but for the sequence number: encoded once for all.
#[derive(Debug, Clone)]
pub(super) struct Body {
    text: Arc<str>,
    about: About,
}

impl Body {
    pub(super) fn new(event: &Event, about: About) -> Self {
        let text = serde_json::to_string(event).expect("events encode as JSON objects");
        let text = text.strip_prefix('{').expect("events encode as JSON objects");
        let About::Guild(guild_id, Some(sequence)) = about else {
            return Self { text: text.into(), about };
        };
        let position = Position { guild_id, sequence };
        let position = serde_json::to_string(&position).expect("two numbers encode");
        Self { text: format!(r#""position":{position},{text}"#).into(), about }
    }

    /// The guild that it takes away.
    pub(super) fn removes(&self) -> Option<GuildId> {
        match self.about {
            About::Removed(guild) => Some(guild),
            About::Nobody | About::Guild(..) | About::Added(..) => None,
        }
    }

    /// Bytes that it takes.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The frame of [`hype_protocol::gateway::ToClient::Event`].
    fn frame(&self, seq: u64) -> String {
        format!(r#"{{"op":"event","d":{{"seq":{seq},{}}}"#, self.text)
    }
}

/// One connection's hold on a session. The newest holder sends; an older one learns that it lost.
#[derive(Debug, Clone, Default)]
pub(super) struct Hold(Arc<Notify>);

#[derive(Debug)]
enum Holder {
    Connected(Hold),
    Detached { since: Instant },
}

#[derive(Debug)]
struct State {
    /// While `ready` is being built, events wait here to follow it.
    held: Option<Vec<Body>>,
    /// The guilds that the client shows, each with its newest event that the client has or gets.
    shown: Vec<(GuildId, u64)>,
    /// What the person wants others to see.
    status: PresenceStatus,
    /// When the person was shown as writing last.
    typed: Option<Instant>,
    buffer: VecDeque<Body>,
    /// The sequence number of the buffer's first event.
    first: u64,
    bytes: usize,
    /// The last sequence number that the holder was given to send.
    sent: u64,
    /// Up to here events waited when the holder came; they are not held against it.
    backlog: u64,
    holder: Holder,
    /// Why the holder must close; a session that is over also cannot be resumed.
    cut: Option<CloseCode>,
    over: bool,
}

/// One session.
#[derive(Debug)]
pub(super) struct Session {
    /// What the client resumes with.
    pub(super) key: String,
    /// Unique in this process.
    pub(super) number: u64,
    /// Whose.
    pub(super) user: UserId,
    state: Mutex<State>,
}

impl State {
    fn last(&self) -> u64 {
        self.first + self.buffer.len() as u64 - 1
    }

    /// False for what the client has already, or what is of a guild that it does not show.
    fn admit(&mut self, about: About) -> bool {
        let place = |guild| self.shown.iter().position(|(shown, _)| *shown == guild);
        match about {
            About::Nobody => true,
            About::Guild(guild, None) => place(guild).is_some(),
            About::Guild(guild, Some(sequence)) => {
                let Some(index) = place(guild) else { return false };
                let last = &mut self.shown[index].1;
                let new = sequence > *last;
                *last = sequence.max(*last);
                new
            }
            About::Added(guild, sequence) => {
                let new = place(guild).is_none();
                if new {
                    self.shown.push((guild, sequence));
                }
                new
            }
            About::Removed(guild) => {
                let index = place(guild);
                if let Some(index) = index {
                    self.shown.swap_remove(index);
                }
                index.is_some()
            }
        }
    }

    /// Adds an event without a look at limits.
    fn append(&mut self, body: Body) {
        self.bytes += body.len();
        self.buffer.push_back(body);
        if let Holder::Connected(hold) = &self.holder {
            hold.0.notify_one();
        }
    }

    /// Adds an event; forgets the oldest, and cuts a holder that has not even sent that.
    fn push(&mut self, body: Body) {
        self.append(body);
        while self.buffer.len() > MAX_BUFFERED
            || (self.bytes > MAX_BUFFERED_BYTES && self.buffer.len() > 1)
        {
            let connected = matches!(self.holder, Holder::Connected(_));
            if connected && self.first > self.sent && self.first <= self.backlog {
                // What waited when the holder came is bounded, and is not held against it.
                break;
            }
            if let Some(oldest) = self.buffer.pop_front() {
                self.bytes -= oldest.len();
                self.first += 1;
            }
        }
        let lost_unsent = self.first > self.sent + 1;
        let pending = self.last().saturating_sub(self.sent.max(self.backlog));
        if matches!(self.holder, Holder::Connected(_)) && (lost_unsent || pending > MAX_PENDING) {
            self.cut.get_or_insert(CloseCode::TooSlow);
        }
    }

    fn cut_for(&self, hold: &Hold) -> Option<CloseCode> {
        match &self.holder {
            Holder::Connected(current) if Arc::ptr_eq(&current.0, &hold.0) => self.cut,
            // Another connection resumed the session, or this one was detached.
            _ => Some(self.cut.unwrap_or(CloseCode::Unknown)),
        }
    }
}

impl Session {
    /// A session that `hold` has, and that is building its beginning. Its events are numbered from
    /// `seq + 1` on.
    pub(super) fn new(key: String, number: u64, user: UserId, hold: &Hold, seq: u64) -> Self {
        let state = State {
            held: Some(Vec::new()),
            shown: Vec::new(),
            status: PresenceStatus::Online,
            typed: None,
            buffer: VecDeque::new(),
            first: seq + 1,
            bytes: 0,
            sent: seq,
            backlog: seq,
            holder: Holder::Connected(hold.clone()),
            cut: None,
            over: false,
        };
        Self { key, number, user, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole after every statement, also when a holder panicked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an event. One that comes while `ready` is being built follows it.
    pub(super) fn deliver(&self, body: Body) {
        let mut state = self.state();
        if state.over {
            return;
        }
        if let Some(held) = &mut state.held {
            if held.len() < MAX_BUFFERED {
                held.push(body);
            } else {
                drop(state);
                self.end(CloseCode::TooSlow);
            }
        } else if state.admit(body.about) {
            state.push(body);
        }
    }

    /// Queues the beginning, which shows these guilds as of these numbers, and after it all that
    /// came meanwhile and is not in it.
    pub(super) fn begin(
        &self,
        beginning: impl IntoIterator<Item = Body>,
        shown: Vec<(GuildId, u64)>,
    ) {
        let mut state = self.state();
        if state.over {
            return;
        }
        let held = state.held.take().unwrap_or_default();
        state.shown = shown;
        for body in beginning {
            state.append(body);
        }
        for body in held {
            if state.admit(body.about) {
                state.append(body);
            }
        }
        state.backlog = state.last();
    }

    /// True when the client shows the guild; none while the session is still beginning.
    pub(super) fn shows(&self, guild: GuildId) -> Option<bool> {
        let state = self.state();
        let shown = || state.shown.iter().any(|(shown, _)| *shown == guild);
        if state.held.is_some() { None } else { Some(shown()) }
    }

    /// The guilds that the client shows.
    pub(super) fn guilds(&self) -> Vec<GuildId> {
        self.state().shown.iter().map(|(guild, _)| *guild).collect()
    }

    /// What the person wants others to see by this session; none while nobody holds it.
    pub(super) fn presence(&self) -> Option<PresenceStatus> {
        let state = self.state();
        match state.holder {
            Holder::Connected(_) if !state.over => Some(state.status),
            Holder::Connected(_) | Holder::Detached { .. } => None,
        }
    }

    /// Changes it.
    pub(super) fn set_presence(&self, status: PresenceStatus) {
        self.state().status = status;
    }

    /// True when the person may be shown as writing again, which then counts.
    pub(super) fn may_type(&self, now: Instant) -> bool {
        let mut state = self.state();
        let allowed = state.typed.is_none_or(|last| now >= last + TYPING_PAUSE);
        if allowed {
            state.typed = Some(now);
        }
        allowed
    }

    /// Ends the session: its holder closes with `code`, and nobody resumes it.
    pub(super) fn end(&self, code: CloseCode) {
        let mut state = self.state();
        state.over = true;
        state.cut = Some(code);
        state.buffer = VecDeque::new();
        state.held = None;
        if let Holder::Connected(hold) = &state.holder {
            hold.0.notify_one();
        }
    }

    /// Gives the session to another connection, which saw everything up to `seq`; false when it
    /// cannot be continued from there.
    pub(super) fn resume(&self, seq: u64, hold: &Hold) -> bool {
        let mut state = self.state();
        if state.over || state.held.is_some() || seq > state.last() || seq + 1 < state.first {
            return false;
        }
        if let Holder::Connected(loser) = &state.holder {
            loser.0.notify_one();
        }
        state.cut = None;
        state.sent = seq;
        state.holder = Holder::Connected(hold.clone());
        state.append(Body::new(&Event::Resumed {}, About::Nobody));
        state.backlog = state.last();
        true
    }

    /// Leaves the session to whoever resumes it.
    pub(super) fn detach(&self, hold: &Hold) {
        let mut state = self.state();
        if let Holder::Connected(current) = &state.holder
            && Arc::ptr_eq(&current.0, &hold.0)
        {
            state.holder = Holder::Detached { since: Instant::now() };
        }
    }

    /// True once nobody can resume it any more.
    pub(super) fn expired(&self, now: Instant) -> bool {
        let state = self.state();
        match state.holder {
            Holder::Connected(_) => false,
            Holder::Detached { since } => state.over || now >= since + RESUME_WINDOW,
        }
    }

    /// Since when nobody holds it; none while it is connected.
    pub(super) fn detached_since(&self) -> Option<Instant> {
        match self.state().holder {
            Holder::Connected(_) => None,
            Holder::Detached { since } => Some(since),
        }
    }

    /// The next frame to send.
    ///
    /// # Errors
    /// The code to close with.
    pub(super) async fn next(&self, hold: &Hold) -> Result<String, CloseCode> {
        loop {
            {
                let mut state = self.state();
                if let Some(code) = state.cut_for(hold) {
                    return Err(code);
                }
                let next = state.sent + 1;
                let index = next.checked_sub(state.first).and_then(|i| usize::try_from(i).ok());
                if let Some(body) = index.and_then(|index| state.buffer.get(index)) {
                    let frame = body.frame(next);
                    state.sent = next;
                    return Ok(frame);
                }
            }
            hold.0.notified().await;
        }
    }

    /// Waits until the holder must close.
    pub(super) async fn cut(&self, hold: &Hold) -> CloseCode {
        loop {
            if let Some(code) = self.state().cut_for(hold) {
                return code;
            }
            hold.0.notified().await;
        }
    }
}
