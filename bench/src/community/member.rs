//! One simulated member: a gateway client that goes on at any replica after a cut, and somebody who
//! writes now and then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use hype_protocol::gateway::{FromClient, JoinedNative, Message as Written, Request, ToClient};
use hype_protocol::id::ChannelId;
use hype_protocol::secret::SrtpProfile;
use tokio::sync::oneshot;
use tokio::time::{interval, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::seen::Seen;
use crate::api::Token;

/// How soon a lost connection is made again, at another replica.
const RECONNECT: Duration = Duration::from_millis(300);
/// A replica that does not answer within this time is left.
const PATIENCE: Duration = Duration::from_secs(5);
/// Nothing heard for this long: the replica is gone.
const SILENCE: Duration = Duration::from_secs(15);
const HEARTBEAT: Duration = Duration::from_secs(5);

/// A member, and where he may go.
#[derive(Clone)]
pub struct Member {
    /// All replicas.
    pub urls: Arc<[String]>,
    /// For REST.
    pub http: reqwest::Client,
    /// Of access.
    pub token: Token,
    /// The text channel that is watched and written in.
    pub channel: ChannelId,
    /// What the client has shown.
    pub seen: Arc<Mutex<Seen>>,
}

/// Where to join voice, and whom to tell how.
pub struct Voice {
    pub channel: ChannelId,
    pub ufrag: String,
    pub joined: oneshot::Sender<JoinedNative>,
}

impl Member {
    /// What the client has shown so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        // It is whole after every statement.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stays connected until it is aborted. `begin` is the replica to start at.
    pub async fn stay(self, begin: usize, mut voice: Option<Voice>, ready: oneshot::Sender<()>) {
        let mut ready = Some(ready);
        for turn in begin.. {
            let url = &self.urls[turn % self.urls.len()];
            // Expected: replicas under test are killed.
            let _ = self.connection(url, &mut voice, &mut ready).await;
            if ready.is_none() {
                self.seen().counts.cuts += 1;
            }
            sleep(RECONNECT).await;
        }
    }

    async fn connection(
        &self,
        url: &str,
        voice: &mut Option<Voice>,
        ready: &mut Option<oneshot::Sender<()>>,
    ) -> anyhow::Result<()> {
        let url = format!("{}/gateway", url.replacen("http", "ws", 1));
        let (mut socket, _) = timeout(PATIENCE, tokio_tungstenite::connect_async(url)).await??;
        let mut heartbeat = interval(HEARTBEAT);
        loop {
            let frame = tokio::select! {
                frame = timeout(SILENCE, socket.next()) => frame?.context("closed")??,
                _ = heartbeat.tick() => {
                    let seq = self.seen().place.seq;
                    send(&mut socket, &FromClient::Heartbeat { seq }).await?;
                    continue;
                }
            };
            let text = match frame {
                Message::Text(text) => text,
                Message::Close(_) => bail!("closed"),
                _ => continue,
            };
            match serde_json::from_str(&text)? {
                ToClient::Hello { .. } => {
                    let introduction = self.seen().place.introduction(self.token.now());
                    send(&mut socket, &introduction).await?;
                }
                ToClient::InvalidSession => {
                    let token = self.token.now();
                    send(&mut socket, &FromClient::Identify { token }).await?;
                }
                ToClient::Reconnect => bail!("told to reconnect"),
                ToClient::HeartbeatAck => {}
                ToClient::Reply { result, .. } => {
                    if let Some(voice) = voice.take() {
                        let _ = voice.joined.send(serde_json::from_value(result)?);
                    }
                }
                ToClient::Error { error, .. } => {
                    if error.retry_after_ms.is_none() {
                        bail!("{}", error.message);
                    }
                    sleep(Duration::from_millis(200)).await;
                    self.join(&mut socket, voice.as_ref()).await?;
                }
                ToClient::Event { seq, position, event } => {
                    let reload = self.seen().take(seq, position, &event, self.channel);
                    if reload {
                        self.reload().await?;
                    }
                    let begun = matches!(
                        event,
                        hype_protocol::gateway::Event::Ready { .. }
                            | hype_protocol::gateway::Event::Resumed {}
                    );
                    if begun {
                        if let Some(ready) = ready.take() {
                            let _ = ready.send(());
                        }
                        self.join(&mut socket, voice.as_ref()).await?;
                    }
                }
            }
        }
    }

    async fn join<S>(&self, socket: &mut S, voice: Option<&Voice>) -> anyhow::Result<()>
    where
        S: SinkExt<Message> + Unpin,
        S::Error: std::error::Error + Send + Sync + 'static,
    {
        let Some(voice) = voice else { return Ok(()) };
        let request = Request::VoiceJoinNative {
            channel_id: voice.channel,
            self_mute: false,
            self_deaf: false,
            profile: SrtpProfile::AeadAes128Gcm,
            ufrag: voice.ufrag.clone(),
        };
        send(socket, &FromClient::Request { nonce: "voice".to_owned(), request }).await
    }

    /// Loads what was written since the last message that is shown.
    async fn reload(&self) -> anyhow::Result<()> {
        loop {
            let after = self.seen().last();
            let page = self.page(&format!("after={after}")).await?;
            if page.is_empty() {
                return Ok(());
            }
            let mut ids: Vec<u64> = page.iter().map(|message| message.id.0).collect();
            ids.sort_unstable();
            self.seen().load(ids);
        }
    }

    /// Up to 100 messages.
    pub async fn page(&self, which: &str) -> anyhow::Result<Vec<Written>> {
        let path = format!("/api/v1/channels/{}/messages?limit=100&{which}", self.channel);
        let mut last = None;
        for turn in 0..100 {
            let url = format!("{}{path}", self.urls[turn % self.urls.len()]);
            let request = self.http.get(url).bearer_auth(self.token.now()).send();
            match request.await.and_then(reqwest::Response::error_for_status) {
                Ok(response) => return Ok(response.json().await?),
                Err(error) => last = Some(error),
            }
            sleep(Duration::from_millis(200)).await;
        }
        bail!("no page of messages: {last:?}")
    }

    /// Writes one message at a replica; its id once it is acknowledged.
    pub async fn write(&self, turn: usize, content: &str) -> Option<u64> {
        let base = &self.urls[turn % self.urls.len()];
        let url = format!("{base}/api/v1/channels/{}/messages", self.channel);
        let body = serde_json::json!({ "content": content });
        let response = self.http.post(url).bearer_auth(self.token.now()).json(&body).send().await;
        let response = response.ok().filter(|response| response.status().is_success())?;
        // Without the body the fate of the message is not known.
        let written: Written = response.json().await.ok()?;
        Some(written.id.0)
    }
}

async fn send<S>(socket: &mut S, frame: &FromClient) -> anyhow::Result<()>
where
    S: SinkExt<Message> + Unpin,
    S::Error: std::error::Error + Send + Sync + 'static,
{
    Ok(socket.send(Message::text(serde_json::to_string(frame)?)).await?)
}
