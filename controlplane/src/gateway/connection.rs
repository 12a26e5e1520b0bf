//! One WebSocket: hello, identify or resume, then frames both ways until one side ends it.
//! One task reads, writes and watches the clock; requests run beside it, one after the other, so
//! that mute and unmute never overtake each other and a slow one delays no heartbeat.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use hype_protocol::gateway::{CloseCode, FromClient, Request, ToClient};
use hype_protocol::id::{GuildId, UserId};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::beginning::{self, Beginning};
use super::session::{Hold, Session};
use super::{FRAMES_PER_MINUTE, HEARTBEAT_INTERVAL, IDENTIFY_TIMEOUT, request};
use crate::app::{App, Shared};
use crate::error::Error;

/// Requests that may wait behind a running one.
const MAX_WAITING_REQUESTS: usize = 16;
/// The longest nonce, in characters.
const MAX_NONCE: usize = 64;
/// No session has had more events.
const MAX_SEQUENCE: u64 = 1 << 53;
/// How long one frame may take to leave.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the close frame may take to leave, behind whatever is stuck before it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// Why a connection ends.
enum End {
    /// We close it.
    Close(CloseCode),
    /// The other side did.
    Gone,
}

/// A token bucket over frames: a minute's worth at once, then evenly.
struct FrameLimit {
    tokens: f64,
    counted_at: Instant,
}

impl FrameLimit {
    fn take(&mut self, now: Instant) -> bool {
        let most = f64::from(FRAMES_PER_MINUTE);
        let elapsed = now.duration_since(self.counted_at).as_secs_f64();
        self.counted_at = now;
        self.tokens = (self.tokens + elapsed * most / 60.0).min(most);
        let allowed = self.tokens >= 1.0;
        if allowed {
            self.tokens -= 1.0;
        }
        allowed
    }
}

/// A request that runs, and those behind it.
#[derive(Default)]
struct Requests {
    running: Option<oneshot::Receiver<ToClient>>,
    waiting: VecDeque<(String, Request)>,
}

struct Connection {
    app: Shared,
    socket: WebSocket,
    hold: Hold,
    session: Option<Arc<Session>>,
    requests: Requests,
    limit: FrameLimit,
    /// When the client must have identified, or sent its next heartbeat.
    deadline: Instant,
}

/// Serves one socket until it ends.
pub(super) async fn serve(app: Shared, socket: WebSocket) {
    let now = Instant::now();
    let mut connection = Connection {
        app,
        socket,
        hold: Hold::default(),
        session: None,
        requests: Requests::default(),
        limit: FrameLimit { tokens: f64::from(FRAMES_PER_MINUTE), counted_at: now },
        deadline: now + IDENTIFY_TIMEOUT,
    };
    let end = match connection.run().await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    if let Some(session) = &connection.session {
        session.detach(&connection.hold);
    }
    if let End::Close(code) = end {
        metrics::counter!("hype_control_gateway_closes_total", "code" => name(code)).increment(1);
        let frame = CloseFrame { code: code as u16, reason: name(code).into() };
        let socket = &mut connection.socket;
        // Whoever does not read does not get it either; the socket closes all the same. What still comes
        // is read until the client closes, too: a socket that is left with unread bytes is reset, and the
        // reset may overtake the code.
        let _ = timeout(CLOSE_TIMEOUT, async {
            if socket.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = socket.recv().await {}
            }
        })
        .await;
    }
}

impl Connection {
    async fn run(&mut self) -> Result<std::convert::Infallible, End> {
        let interval = u64::try_from(HEARTBEAT_INTERVAL.as_millis()).unwrap_or(u64::MAX);
        self.send(&ToClient::Hello { heartbeat_interval_ms: interval }).await?;
        loop {
            tokio::select! {
                received = self.socket.recv() => self.receive(received).await?,
                next = next_event(self.session.as_deref(), &self.hold) => {
                    self.write(next.map_err(End::Close)?).await?;
                }
                reply = reply(&mut self.requests.running) => {
                    self.requests.running = None;
                    if let Some(reply) = reply {
                        self.send(&reply).await?;
                    }
                    self.start_request();
                }
                () = sleep_until(self.deadline) => return Err(End::Close(CloseCode::TimedOut)),
                () = self.app.stopped() => return Err(End::Close(CloseCode::GoingAway)),
            }
        }
    }

    async fn send(&mut self, frame: &ToClient) -> Result<(), End> {
        let text = serde_json::to_string(frame).expect("frames encode as JSON objects");
        self.write(text).await
    }

    /// Sends a frame, or ends when the client takes none for too long.
    async fn write(&mut self, text: String) -> Result<(), End> {
        metrics::counter!("hype_control_gateway_frames_total", "direction" => "out").increment(1);
        tokio::select! {
            sent = self.socket.send(Message::Text(text.into())) => sent.map_err(|_| End::Gone),
            code = cut(self.session.as_deref(), &self.hold) => Err(End::Close(code)),
            () = tokio::time::sleep(WRITE_TIMEOUT) => Err(End::Close(CloseCode::TooSlow)),
        }
    }

    async fn receive(&mut self, received: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let message = match received {
            None => return Err(End::Gone),
            Some(Ok(message)) => message,
            // Too long, not UTF-8, or the socket broke: then the close frame does not arrive.
            Some(Err(_)) => return Err(End::Close(CloseCode::Malformed)),
        };
        metrics::counter!("hype_control_gateway_frames_total", "direction" => "in").increment(1);
        if !self.limit.take(Instant::now()) {
            return Err(End::Close(CloseCode::RateLimited));
        }
        match message {
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(frame) => self.handle(frame).await,
                Err(_) => Err(End::Close(CloseCode::Malformed)),
            },
            Message::Binary(_) => Err(End::Close(CloseCode::Malformed)),
            // Answered by the WebSocket layer itself.
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => Err(End::Gone),
        }
    }

    async fn handle(&mut self, frame: FromClient) -> Result<(), End> {
        match frame {
            FromClient::Heartbeat { .. } => {
                if self.session.is_some() {
                    self.deadline = Instant::now() + HEARTBEAT_INTERVAL * 3 / 2;
                }
                self.send(&ToClient::HeartbeatAck).await
            }
            FromClient::Identify { .. } | FromClient::Resume { .. } if self.session.is_some() => {
                Err(End::Close(CloseCode::AlreadyAuthenticated))
            }
            FromClient::Identify { token } => self.identify(&token).await,
            FromClient::Resume { token, session_id, seq, guilds } => {
                self.resume(&token, session_id, seq, &guilds).await
            }
            FromClient::Request { .. } if self.session.is_none() => {
                Err(End::Close(CloseCode::NotAuthenticated))
            }
            FromClient::Request { nonce, request } => self.request(nonce, request).await,
        }
    }

    async fn identify(&mut self, token: &str) -> Result<(), End> {
        let user = authenticate(&self.app, token).await?;
        let opened = self.app.gateway.registry().open(user, &self.hold);
        let session = opened.ok_or(End::Close(CloseCode::RateLimited))?;
        let ready = beginning::ready(&self.app, &session).await;
        self.begin(session, ready.map(Some)).await
    }

    async fn resume(
        &mut self,
        token: &str,
        key: String,
        seq: u64,
        guilds: &BTreeMap<GuildId, u64>,
    ) -> Result<(), End> {
        let user = authenticate(&self.app, token).await?;
        let found = self.app.gateway.registry().find(&key);
        match found.filter(|session| session.user == user) {
            Some(session) if session.resume(seq, &self.hold) => {
                self.session = Some(session);
                self.deadline = Instant::now() + HEARTBEAT_INTERVAL * 3 / 2;
                return Ok(());
            }
            // Its events are gone, but those of its guilds may be there.
            Some(session) => {
                self.app.gateway.registry().remove(&session.key, CloseCode::InvalidSequence);
            }
            None => {}
        }
        let elsewhere = !guilds.is_empty() && is_key(&key) && seq < MAX_SEQUENCE;
        let opened = elsewhere
            .then(|| self.app.gateway.registry().open_as(key, user, &self.hold, seq))
            .flatten();
        let Some(session) = opened else {
            // The client identifies on this same socket; its time for that runs on.
            return self.send(&ToClient::InvalidSession).await;
        };
        let missed = beginning::missed(&self.app, &session, guilds).await;
        self.begin(session, missed).await
    }

    /// Gives a new session its beginning; without one it cannot be resumed.
    async fn begin(
        &mut self,
        session: Arc<Session>,
        beginning: Result<Option<Beginning>, Error>,
    ) -> Result<(), End> {
        match beginning {
            Ok(Some(Beginning { bodies, shown })) => {
                session.begin(bodies, shown);
                self.session = Some(session);
                self.deadline = Instant::now() + HEARTBEAT_INTERVAL * 3 / 2;
                Ok(())
            }
            Ok(None) => {
                self.app.gateway.registry().remove(&session.key, CloseCode::InvalidSequence);
                self.hold = Hold::default();
                self.send(&ToClient::InvalidSession).await
            }
            Err(error) => {
                self.app.gateway.registry().remove(&session.key, CloseCode::Unknown);
                match error {
                    // The account behind a good token is gone.
                    Error::Unauthenticated => Err(End::Close(CloseCode::AuthenticationFailed)),
                    error => {
                        // Logs what broke.
                        let _ = error.body();
                        Err(End::Close(CloseCode::Unknown))
                    }
                }
            }
        }
    }

    async fn request(&mut self, nonce: String, request: Request) -> Result<(), End> {
        if nonce.chars().count() > MAX_NONCE {
            return Err(End::Close(CloseCode::Malformed));
        }
        if self.requests.waiting.len() == MAX_WAITING_REQUESTS {
            let error = Error::RateLimited(Duration::from_secs(1)).body();
            return self.send(&ToClient::Error { nonce, error }).await;
        }
        self.requests.waiting.push_back((nonce, request));
        self.start_request();
        Ok(())
    }

    fn start_request(&mut self) {
        let Some(session) = &self.session else { return };
        if self.requests.running.is_some() {
            return;
        }
        let Some((nonce, request)) = self.requests.waiting.pop_front() else { return };
        let (answer, running) = oneshot::channel();
        // A task of its own: a request that was begun is finished, also when the socket falls.
        tokio::spawn(request::answer(self.app.clone(), session.clone(), nonce, request, answer));
        self.requests.running = Some(running);
    }
}

async fn authenticate(app: &App, token: &str) -> Result<UserId, End> {
    let bearer = app.tokens.verify_access(token).await;
    bearer.map(|bearer| bearer.user).map_err(|_| End::Close(CloseCode::AuthenticationFailed))
}

/// True for what can be the key of a session: that of one of ours.
fn is_key(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

async fn next_event(session: Option<&Session>, hold: &Hold) -> Result<String, CloseCode> {
    match session {
        Some(session) => session.next(hold).await,
        None => std::future::pending().await,
    }
}

async fn cut(session: Option<&Session>, hold: &Hold) -> CloseCode {
    match session {
        Some(session) => session.cut(hold).await,
        None => std::future::pending().await,
    }
}

/// The running request's answer; none when its task died, which its nonce then never hears of.
async fn reply(running: &mut Option<oneshot::Receiver<ToClient>>) -> Option<ToClient> {
    match running {
        Some(running) => running.await.ok(),
        None => std::future::pending().await,
    }
}

/// The code's name, as the reason in the close frame and the label of the metric.
fn name(code: CloseCode) -> &'static str {
    match code {
        CloseCode::Unknown => "unknown",
        CloseCode::Malformed => "malformed",
        CloseCode::NotAuthenticated => "not_authenticated",
        CloseCode::AuthenticationFailed => "authentication_failed",
        CloseCode::AlreadyAuthenticated => "already_authenticated",
        CloseCode::InvalidSequence => "invalid_sequence",
        CloseCode::RateLimited => "rate_limited",
        CloseCode::TimedOut => "timed_out",
        CloseCode::TooSlow => "too_slow",
        CloseCode::GoingAway => "going_away",
    }
}
