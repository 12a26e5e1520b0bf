//! The bus between replicas, over NATS. Durable events go to the JetStream stream `HYPE_EVENTS`
//! (subject `hype.event.<guild>`, deduplicated by `<guild>-<sequence>`), and every replica reads all
//! of it into its own [`super::Bus`]; what nobody keeps goes by `hype.transient`. While NATS is away
//! events wait in the databases, and after it each replica goes on where it stopped reading.

use std::sync::Arc;
use std::time::Duration;

use async_nats::connection::State;
use async_nats::datetime::DateTime;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, context::ContextBuilder, stream};
use async_nats::{Client, ConnectOptions, Event as Connection, HeaderMap, ServerAddr, header};
use futures_util::StreamExt;
use hype_protocol::gateway::{Event, Position, PresenceStatus};
use hype_protocol::id::UserId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

use super::{Audience, PresenceReport, Published, Undelivered, send_here};
use crate::config;

/// The stream of durable events.
pub const STREAM: &str = "HYPE_EVENTS";
/// Each guild's events have this subject and its id.
pub const SUBJECT: &str = "hype.event.";
/// What nobody keeps.
const TRANSIENT: &str = "hype.transient";
/// Who is connected where.
const PRESENCE: &str = "hype.presence";
/// How long the stream keeps events: readers that were away longer reload.
const KEPT: Duration = Duration::from_secs(3600);
/// How long the stream knows an event that comes again.
const DEDUPLICATED: Duration = Duration::from_secs(120);
/// How long a batch may take to be acknowledged.
const ACKNOWLEDGED: Duration = Duration::from_secs(5);
/// How long any other call may take.
const CALL: Duration = Duration::from_secs(3);
/// How soon reading is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How soon it is tried again to have the stream kept on more servers, or fewer.
const COPIES_RETRY: Duration = Duration::from_secs(10);
/// How long a server that knows less of the stream than was read is waited for.
const CATCH_UP: Duration = Duration::from_secs(10);
/// A reader that hears nothing for two of these begins anew.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// How long the server keeps a reader that went away.
const READER_KEPT: Duration = Duration::from_secs(60);
/// Transient events that may wait to leave; further ones are dropped.
const WAITING: usize = 4096;

/// Why the bus cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting of the bus is wrong.
    #[error("cannot use the bus: {0}")]
    Settings(String),
}

/// An event as it travels.
#[derive(Serialize, Deserialize)]
struct Parcel {
    /// Which replica sent a transient event: it has told its own people already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    position: Option<Position>,
    audience: Audience,
    event: Event,
}

/// Our end of NATS. Clones share it.
#[derive(Clone)]
pub struct Nats {
    client: Client,
    jetstream: jetstream::Context,
    transient: mpsc::Sender<(&'static str, Vec<u8>)>,
    us: u64,
}

impl std::fmt::Debug for Nats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nats").field("us", &self.us).finish_non_exhaustive()
    }
}

impl Nats {
    /// Connects, now or when a server is there, and forwards all that comes to `here`.
    ///
    /// # Errors
    /// When a setting is wrong. A server that is away is none: it is waited for.
    pub(super) async fn start(
        settings: &config::Bus,
        here: broadcast::Sender<Arc<Published>>,
        presence: broadcast::Sender<Arc<PresenceReport>>,
    ) -> Result<Self, Error> {
        let servers = settings.nats.iter().map(|url| url.parse::<ServerAddr>());
        let servers = servers.collect::<Result<Vec<_>, _>>();
        let servers = servers.map_err(|error| Error::Settings(error.to_string()))?;
        let (connected, connections) = watch::channel(0_u64);
        let options = options(settings).await?.event_callback(move |event| {
            note(&event, &connected);
            std::future::ready(())
        });
        let client = options.connect(servers).await;
        let client = client.map_err(|error| Error::Settings(error.to_string()))?;
        let jetstream = ContextBuilder::new().timeout(ACKNOWLEDGED).build(client.clone());
        let (transient, leaving) = mpsc::channel(WAITING);
        let nats = Self { client, jetstream, transient, us: rand::random() };
        tokio::spawn(send_transient(nats.client.clone(), leaving));
        let us = nats.us;
        let transient = here.clone();
        tokio::spawn(receive(nats.client.clone(), TRANSIENT, move |parcel: Parcel| {
            if parcel.from != Some(us) {
                forward(&transient, parcel);
            }
        }));
        tokio::spawn(receive(nats.client.clone(), PRESENCE, move |report: PresenceReport| {
            if report.replica != us {
                // Without a gateway here nobody wants to know.
                let _ = presence.send(Arc::new(report));
            }
        }));
        let copies = usize::from(settings.copies);
        tokio::spawn(follow(nats.jetstream.clone(), copies, connections, here));
        Ok(nats)
    }

    /// Tells the other replicas of something that nobody keeps. Never waits.
    pub(super) fn tell(&self, audience: Audience, event: Event) {
        let parcel = Parcel { from: Some(self.us), position: None, audience, event };
        self.leave(TRANSIENT, &parcel);
    }

    /// Tells them who is connected here. Never waits.
    pub(super) fn report(&self, people: Vec<(UserId, PresenceStatus)>) {
        self.leave(PRESENCE, &PresenceReport { replica: self.us, people });
    }

    fn leave(&self, subject: &'static str, parcel: &impl Serialize) {
        let payload = serde_json::to_vec(parcel).expect("parcels encode as JSON objects");
        if self.transient.try_send((subject, payload)).is_err() {
            metrics::counter!("hype_control_bus_dropped_total").increment(1);
        }
    }

    /// Hands durable events to the stream; returns once it has all of them.
    pub(super) async fn deliver(&self, events: &[Published]) -> Result<(), Undelivered> {
        // Without a connection they would wait in its queue and pile up there.
        if self.client.connection_state() != State::Connected {
            return Err(Undelivered("not connected to NATS".to_owned()));
        }
        match timeout(ACKNOWLEDGED, self.store(events)).await {
            Ok(stored) => stored,
            Err(_) => Err(Undelivered("NATS does not acknowledge".to_owned())),
        }
    }

    async fn store(&self, events: &[Published]) -> Result<(), Undelivered> {
        let failed = |error: &dyn std::fmt::Display| Undelivered(error.to_string());
        let mut waiting = Vec::with_capacity(events.len());
        for published in events {
            let Some(position) = published.position else { continue };
            let parcel = Parcel {
                from: None,
                position: Some(position),
                audience: published.audience.clone(),
                event: published.event.clone(),
            };
            let payload = serde_json::to_vec(&parcel).expect("events encode as JSON objects");
            if payload.len() > self.client.max_payload() {
                // Gateways notice the gap and read it from the database.
                tracing::error!(?position, bytes = payload.len(), "event too large for NATS");
                continue;
            }
            let mut headers = HeaderMap::new();
            let id = format!("{}-{}", position.guild_id, position.sequence);
            headers.insert(header::NATS_MESSAGE_ID, id.as_str());
            let subject = format!("{SUBJECT}{}", position.guild_id);
            let sent = self.jetstream.publish_with_headers(subject, headers, payload.into()).await;
            waiting.push(sent.map_err(|error| failed(&error))?);
        }
        for acknowledged in waiting {
            acknowledged.await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }
}

async fn options(settings: &config::Bus) -> Result<ConnectOptions, Error> {
    let mut options = ConnectOptions::new();
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        options = options.user_and_password(user.clone(), password.reveal().to_owned());
    }
    if let Some(token) = &settings.token {
        options = options.token(token.reveal().to_owned());
    }
    if let Some(path) = &settings.credentials {
        let with = options.credentials_file(path).await;
        options = with.map_err(|error| {
            Error::Settings(format!("credentials file {}: {error}", path.display()))
        })?;
    }
    if let Some(path) = &settings.ca {
        options = options.add_root_certificates(path.clone());
    }
    Ok(options
        .name("hype control")
        .retry_on_initial_connect()
        .connection_timeout(CALL)
        .request_timeout(Some(CALL))
        .ping_interval(Duration::from_secs(10))
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis(100 * u64::try_from(attempts).unwrap_or(20).clamp(1, 20))
        }))
}

fn note(event: &Connection, connected: &watch::Sender<u64>) {
    match event {
        Connection::Connected => {
            metrics::gauge!("hype_control_bus_connected").set(1.0);
            connected.send_modify(|times| *times += 1);
            tracing::info!("connected to NATS");
        }
        Connection::Disconnected | Connection::Closed => {
            metrics::gauge!("hype_control_bus_connected").set(0.0);
            tracing::warn!("NATS is away: events wait in the database until it is back");
        }
        Connection::LameDuckMode | Connection::Draining => {}
        Connection::SlowConsumer(_) => {
            metrics::counter!("hype_control_bus_slow_total").increment(1);
        }
        Connection::ServerError(error) => tracing::warn!(%error, "NATS refused something"),
        // Each try to reach a server that is away: it was said once.
        Connection::ClientError(error) => tracing::debug!(%error, "NATS connection"),
    }
}

async fn send_transient(client: Client, mut leaving: mpsc::Receiver<(&'static str, Vec<u8>)>) {
    while let Some((subject, payload)) = leaving.recv().await {
        let connected = client.connection_state() == State::Connected;
        if !connected || client.publish(subject, payload.into()).await.is_err() {
            metrics::counter!("hype_control_bus_dropped_total").increment(1);
        }
    }
}

async fn receive<T: DeserializeOwned>(client: Client, subject: &'static str, take: impl Fn(T)) {
    loop {
        // The client subscribes again by itself after a cut.
        if let Ok(mut messages) = client.subscribe(subject).await {
            while let Some(message) = messages.next().await {
                match serde_json::from_slice(&message.payload) {
                    Ok(parcel) => take(parcel),
                    Err(error) => unreadable(&error),
                }
            }
        }
        sleep(RETRY).await;
    }
}

fn forward(here: &broadcast::Sender<Arc<Published>>, parcel: Parcel) {
    let Parcel { from: _, position, audience, event } = parcel;
    send_here(here, Published { audience, event, position });
}

fn unreadable(error: &serde_json::Error) {
    // A newer release may send what this one does not know; a gap is filled from the database.
    metrics::counter!("hype_control_bus_unreadable_total").increment(1);
    tracing::warn!(%error, "an event of the bus cannot be read");
}

/// How far this replica has read the stream.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Of the stream: one that was made anew begins its sequences anew.
    created: DateTime,
    sequence: u64,
    /// Since when the stream has been shorter than what was read of it.
    behind: Option<Instant>,
}

impl Place {
    /// At the stream's end: what came before the first look is read from the database.
    fn first(info: &stream::Info) -> Self {
        Self { created: info.created, sequence: info.state.last_sequence, behind: None }
    }

    /// Goes on in the stream as it is now; false while that must be waited for.
    fn go_on(&mut self, info: &stream::Info) -> bool {
        let last = info.state.last_sequence;
        if self.created != info.created {
            *self = Self { sequence: 0, ..Self::first(info) };
        } else if last < self.sequence {
            // A server that has just taken over catches up soon; one that lost its end never does.
            if self.behind.get_or_insert_with(Instant::now).elapsed() < CATCH_UP {
                return false;
            }
            self.sequence = last;
        }
        self.behind = None;
        true
    }
}

/// Reads the stream from its end at the start on, over all cuts. Runs for ever.
async fn follow(
    jetstream: jetstream::Context,
    copies: usize,
    mut connections: watch::Receiver<u64>,
    here: broadcast::Sender<Arc<Published>>,
) {
    let mut place = None;
    let mut told = false;
    loop {
        connections.mark_unchanged();
        let read = tokio::select! {
            read = read(&jetstream, copies, &mut place, &here) => read,
            // What the old connection asked for may never be answered on the new one.
            _ = connections.changed() => Ok(()),
        };
        match read {
            Ok(()) => told = false,
            Err(error) => {
                metrics::counter!("hype_control_bus_read_errors_total").increment(1);
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, "the stream of events cannot be read; trying again");
                }
                sleep(RETRY).await;
            }
        }
    }
}

/// The stream, made when it is not there.
async fn open(
    jetstream: &jetstream::Context,
    copies: usize,
) -> Result<stream::Stream, async_nats::Error> {
    let stream = jetstream
        .get_or_create_stream(stream::Config {
            name: STREAM.to_owned(),
            subjects: vec![format!("{SUBJECT}*")],
            max_age: KEPT,
            duplicate_window: DEDUPLICATED,
            num_replicas: copies,
            ..stream::Config::default()
        })
        .await?;
    Ok(stream)
}

/// Has the stream kept on as many servers as is wished: tries until that is done.
async fn keep_copies(jetstream: jetstream::Context, copies: usize) {
    let mut told = false;
    loop {
        // Who reads tells of a stream that cannot be had.
        if let Ok(stream) = open(&jetstream, copies).await {
            let kept = &stream.cached_info().config;
            let now = kept.num_replicas;
            if now == copies {
                return;
            }
            let config = stream::Config { num_replicas: copies, ..kept.clone() };
            match jetstream.update_stream(config).await {
                Ok(_) => {
                    tracing::info!(copies, before = now, "stream of events changed");
                    return;
                }
                Err(error) if !std::mem::replace(&mut told, true) => {
                    // It serves as it is.
                    tracing::warn!(%error, copies, now, "the stream of events keeps its copies");
                }
                Err(_) => {}
            }
        }
        sleep(COPIES_RETRY).await;
    }
}

/// Reads until something is wrong.
async fn read(
    jetstream: &jetstream::Context,
    copies: usize,
    place: &mut Option<Place>,
    here: &broadcast::Sender<Arc<Published>>,
) -> Result<(), async_nats::Error> {
    let stream = open(jetstream, copies).await?;
    let info = stream.cached_info();
    let place = place.get_or_insert_with(|| {
        // Once, at the start: later the setting may be another replica's newer one.
        tokio::spawn(keep_copies(jetstream.clone(), copies));
        Place::first(info)
    });
    if !place.go_on(info) {
        return Err("its server has not caught up yet".into());
    }
    let consumer = stream
        .create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: place.sequence + 1 },
            ack_policy: AckPolicy::None,
            inactive_threshold: READER_KEPT,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        })
        .await?;
    let mut messages = consumer.stream().heartbeat(HEARTBEAT).messages().await?;
    let mut number = 0;
    while let Some(message) = messages.next().await {
        let message = message?;
        let info = message.info()?;
        number += 1;
        if info.consumer_sequence != number {
            return Err("messages of the stream were lost on the way".into());
        }
        // A server that has not caught up yet begins earlier than it was asked to.
        if info.stream_sequence <= place.sequence {
            continue;
        }
        place.sequence = info.stream_sequence;
        match serde_json::from_slice::<Parcel>(&message.payload) {
            Ok(parcel) => forward(here, parcel),
            Err(error) => unreadable(&error),
        }
    }
    Ok(())
}
