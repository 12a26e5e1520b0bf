//! A native client's signaling connection: identify, heartbeat, requests with their replies.
//! It goes on by itself when the server was away; media does not depend on it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use hype_protocol::gateway::{ErrorBody, Event, FromClient, Request, ToClient};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

use crate::api::Token;
use crate::place::Place;

type Reply = Result<serde_json::Value, ErrorBody>;
type Asked = (Request, oneshot::Sender<Reply>);

/// A handle to the connection's task, which ends with it.
pub struct Gateway {
    requests: mpsc::Sender<Asked>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gateway {
    /// Connects and identifies. Events arrive at `events` until it is dropped.
    pub async fn connect(
        base: &str,
        token: Token,
        events: mpsc::UnboundedSender<Event>,
    ) -> anyhow::Result<Self> {
        let url = format!("{}/gateway", base.replacen("http", "ws", 1));
        let (requests, asked) = mpsc::channel(8);
        let (ready, wait) = oneshot::channel();
        let task = tokio::spawn(serve(url, token, asked, events, Some(ready)));
        tokio::time::timeout(Duration::from_secs(30), wait)
            .await
            .context("the gateway did not become ready within 30 s")??;
        Ok(Self { requests, task })
    }

    /// Sends a request, again when told to come back later, and waits for its reply.
    pub async fn request<T: DeserializeOwned>(&self, request: Request) -> anyhow::Result<T> {
        for _ in 0..100 {
            let (sender, reply) = oneshot::channel();
            self.requests.send((request.clone(), sender)).await.context("gateway task ended")?;
            match reply.await {
                Ok(Ok(value)) => return Ok(serde_json::from_value(value)?),
                Ok(Err(ErrorBody { retry_after_ms: Some(wait), .. })) => {
                    tokio::time::sleep(Duration::from_millis(wait)).await;
                }
                Ok(Err(error)) => bail!("{} ({})", error.message, error.code),
                // The connection broke before the reply: ask again on the next one.
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
        bail!("no reply after 100 tries")
    }
}

async fn serve(
    url: String,
    token: Token,
    mut asked: mpsc::Receiver<Asked>,
    events: mpsc::UnboundedSender<Event>,
    mut ready: Option<oneshot::Sender<()>>,
) {
    let mut place = Place::default();
    loop {
        let outcome = once(&url, &token, &mut place, &mut asked, &events, &mut ready).await;
        if asked.is_closed() {
            return;
        }
        // Expected when a server under test is killed, but worth a line.
        if let Err(error) = outcome {
            eprintln!("gateway: {error:#}; connecting again");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn once(
    url: &str,
    token: &Token,
    place: &mut Place,
    asked: &mut mpsc::Receiver<Asked>,
    events: &mpsc::UnboundedSender<Event>,
    ready: &mut Option<oneshot::Sender<()>>,
) -> anyhow::Result<()> {
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    let mut heartbeat = tokio::time::interval(Duration::from_secs(10));
    let mut pending: HashMap<String, oneshot::Sender<Reply>> = HashMap::new();
    let mut next_nonce = 0_u64;
    let mut identified = false;
    loop {
        let frame = tokio::select! {
            frame = socket.next() => frame.context("closed")??,
            _ = heartbeat.tick() => {
                if identified {
                    let seq = place.seq;
                    send(&mut socket, &FromClient::Heartbeat { seq }).await?;
                }
                continue;
            }
            request = asked.recv(), if identified => {
                let (request, reply) = request.context("dropped")?;
                next_nonce += 1;
                let nonce = next_nonce.to_string();
                pending.insert(nonce.clone(), reply);
                send(&mut socket, &FromClient::Request { nonce, request }).await?;
                continue;
            }
        };
        let Message::Text(text) = frame else { continue };
        match serde_json::from_str(&text)? {
            ToClient::Hello { .. } => send(&mut socket, &place.introduction(token.now())).await?,
            ToClient::HeartbeatAck => {}
            ToClient::InvalidSession => {
                send(&mut socket, &FromClient::Identify { token: token.now() }).await?;
            }
            ToClient::Reconnect => bail!("told to reconnect"),
            ToClient::Reply { nonce, result } => answer(&mut pending, &nonce, Ok(result)),
            ToClient::Error { nonce, error } => answer(&mut pending, &nonce, Err(error)),
            ToClient::Event { seq, position, event } => {
                if !place.take(seq, position, &event) {
                    continue;
                }
                if matches!(event, Event::Ready { .. } | Event::Resumed {}) {
                    identified = true;
                    if let Some(ready) = ready.take() {
                        let _ = ready.send(());
                    }
                }
                let _ = events.send(event);
            }
        }
    }
}

fn answer(pending: &mut HashMap<String, oneshot::Sender<Reply>>, nonce: &str, reply: Reply) {
    if let Some(waiting) = pending.remove(nonce) {
        // The asker may have gone.
        let _ = waiting.send(reply);
    }
}

async fn send<S>(socket: &mut S, frame: &FromClient) -> anyhow::Result<()>
where
    S: SinkExt<Message> + Unpin,
    S::Error: std::error::Error + Send + Sync + 'static,
{
    Ok(socket.send(Message::text(serde_json::to_string(frame)?)).await?)
}
