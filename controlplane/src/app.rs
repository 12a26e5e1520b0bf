//! Everything that handlers share: configuration, store, tokens, bus, voice and gateway.
//! It is built once at start and never changes; each part guards its own state.

use std::sync::Arc;

use hype_protocol::identity;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{Notify, watch};

use crate::config::Config;
use crate::domain::auth::password::Passwords;
use crate::domain::auth::token::Tokens;
use crate::event::Bus;
use crate::gateway::Gateway;
use crate::http::limit::Limits;
use crate::store::Store;
use crate::store::snowflake::Snowflakes;
use crate::voice::Voice;

/// What handlers share.
pub type Shared = Arc<App>;

/// The parts of a running control plane.
pub struct App {
    /// As given at start, validated.
    pub config: Config,
    /// Accounts, guilds, channels, messages.
    pub store: Store,
    /// Makes new ids.
    pub ids: Snowflakes,
    /// Signs and checks access tokens.
    pub tokens: Tokens,
    /// Hashes and verifies passwords, off the async threads.
    pub passwords: Passwords,
    /// Rate limits.
    pub limits: Limits,
    /// Something was deleted whose rows are to be removed.
    pub doomed: Notify,
    /// Tells gateways what happened.
    pub bus: Bus,
    /// Nodes, rooms and voice sessions.
    pub voice: Voice,
    /// WebSocket sessions.
    pub gateway: Gateway,
    /// Renders `/metrics`.
    pub metrics: PrometheusHandle,
    /// Enrolls nodes; none in `hype up`, where there is nothing to enroll.
    pub authority: Option<Arc<identity::Authority>>,
    /// Becomes true when this replica stops.
    pub stopping: watch::Receiver<bool>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("config", &self.config).finish_non_exhaustive()
    }
}

impl App {
    /// Returns once this replica stops; long-lived tasks select on it.
    pub async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that the sender is gone, which happens only when all stops.
        let _ = stopping.wait_for(|stopping| *stopping).await;
    }
}
