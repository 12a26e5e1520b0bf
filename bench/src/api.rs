//! The few REST calls that a load test needs.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use hype_protocol::gateway::{Channel, ChannelKind, ErrorBody, Guild, User};
use hype_protocol::id::GuildId;
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;

/// A person signed in to the server under test.
pub struct Account {
    http: reqwest::Client,
    base: String,
    /// Who it is.
    pub user: User,
    /// For the gateway.
    pub token: Token,
}

/// An access token, renewed at any replica for as long as one of its clones is there.
#[derive(Clone)]
pub struct Token(watch::Receiver<String>);

impl Token {
    /// The newest one.
    pub fn now(&self) -> String {
        self.0.borrow().clone()
    }

    fn keep(http: reqwest::Client, bases: Arc<[String]>, first: SignedIn) -> Self {
        let (sender, receiver) = watch::channel(first.access_token.clone());
        tokio::spawn(renew(http, bases, first, sender));
        Self(receiver)
    }
}

async fn renew(
    http: reqwest::Client,
    bases: Arc<[String]>,
    mut signed_in: SignedIn,
    sender: watch::Sender<String>,
) {
    loop {
        tokio::select! {
            () = sender.closed() => return,
            () = sleep(Duration::from_secs(signed_in.expires_in_s) / 2) => {}
        }
        let body = serde_json::json!({ "refresh_token": signed_in.refresh_token });
        let mut renewed = Err(anyhow::anyhow!("no server is named"));
        // A replica may be away; whatever became of the request, it can be sent again at once.
        for base in bases.iter().cycle().take(ATTEMPTS) {
            renewed = answer(http.post(format!("{base}/api/v1/auth/refresh")).json(&body)).await;
            if renewed.is_ok() {
                break;
            }
            sleep(RETRY).await;
        }
        match renewed {
            Ok(next) => signed_in = next,
            Err(error) => return eprintln!("an access token is not renewed: {error:#}"),
        }
        sender.send_replace(signed_in.access_token.clone());
    }
}

#[derive(Deserialize)]
struct SignedIn {
    user: User,
    access_token: String,
    expires_in_s: u64,
    refresh_token: String,
}

#[derive(Deserialize)]
struct Failure {
    error: ErrorBody,
}

impl Account {
    /// Registers a new account at the first of the replicas, such as `http://127.0.0.1:8080`.
    pub async fn register(bases: &Arc<[String]>, name: &str) -> anyhow::Result<Self> {
        let base = bases.first().context("no server is named")?;
        let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build()?;
        let body =
            serde_json::json!({ "name": name, "password": format!("bench {name} password") });
        let request = http.post(format!("{base}/api/v1/auth/register")).json(&body);
        let signed_in: SignedIn = answer(request).await.context("register")?;
        let user = signed_in.user.clone();
        let token = Token::keep(http.clone(), bases.clone(), signed_in);
        Ok(Self { http, base: base.clone(), user, token })
    }

    /// Creates a guild.
    pub async fn create_guild(&self, name: &str) -> anyhow::Result<Guild> {
        self.call(Method::POST, "/guilds", &serde_json::json!({ "name": name })).await
    }

    /// Creates a voice channel without a limit of its own.
    pub async fn create_voice(&self, guild: GuildId, name: &str) -> anyhow::Result<Channel> {
        let body = serde_json::json!({ "name": name, "kind": ChannelKind::Voice });
        self.call(Method::POST, &format!("/guilds/{guild}/channels"), &body).await
    }

    /// Makes an invite to a guild and returns its code.
    pub async fn invite(&self, guild: GuildId) -> anyhow::Result<String> {
        #[derive(Deserialize)]
        struct Invite {
            code: String,
        }
        let invite: Invite = self
            .call(Method::POST, &format!("/guilds/{guild}/invites"), &serde_json::json!({}))
            .await?;
        Ok(invite.code)
    }

    /// Joins the guild of an invite.
    pub async fn accept(&self, code: &str) -> anyhow::Result<Guild> {
        self.call(Method::POST, &format!("/invites/{code}/accept"), &serde_json::json!({})).await
    }

    /// Does any request below `/api/v1`, again when told to come back later. An empty answer is
    /// `null`.
    ///
    /// # Errors
    /// When the server cannot be reached or refuses.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> anyhow::Result<T> {
        let url = format!("{}/api/v1{path}", self.base);
        let request =
            self.http.request(method.clone(), url).bearer_auth(self.token.now()).json(body);
        answer(request).await.with_context(|| format!("{method} {path}"))
    }
}

/// How often a request that was told to come back later is tried.
const ATTEMPTS: usize = 100;
/// How soon a token that was not renewed is tried again.
const RETRY: Duration = Duration::from_millis(200);

async fn answer<T: DeserializeOwned>(request: reqwest::RequestBuilder) -> anyhow::Result<T> {
    for _ in 0..ATTEMPTS {
        let request = request.try_clone().context("the body is in memory")?;
        let response = request.send().await?;
        let status = response.status();
        if status.is_success() {
            let body = response.bytes().await?;
            return Ok(serde_json::from_slice(if body.is_empty() { b"null" } else { &body })?);
        }
        let Failure { error } = response.json().await.context(status)?;
        match error.retry_after_ms {
            Some(wait) => sleep(Duration::from_millis(wait)).await,
            None => bail!("{status}: {} ({})", error.message, error.code),
        }
    }
    bail!("still told to come back later after {ATTEMPTS} tries")
}
