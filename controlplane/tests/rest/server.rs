//! A control plane under test, and a client that speaks to it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hype_control::config::{Argon2Cost, Config};
use hype_control::{Environment, Nodes};
use hype_protocol::coordination;
use hype_protocol::pipe::{self, NodeEnd};
use metrics_exporter_prometheus::PrometheusBuilder;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// A folder that goes away with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!(
            "hype-rest-{}-{:x}",
            std::process::id(),
            rand::random::<u64>()
        ));
        std::fs::create_dir(&path).expect("a fresh folder");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An address in 127.0.0.0/8 that no other server of any test process uses.
pub fn own_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number =
        std::process::id().wrapping_mul(67).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    let [_, a, b, c] = number.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254)), 0))
}

pub fn config(folder: &Folder) -> Config {
    Config {
        http: own_address(),
        data_dir: folder.path().join("data"),
        argon2: Argon2Cost { memory_kib: 64, passes: 1, ..Argon2Cost::default() },
        ..Config::default()
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub client: reqwest::Client,
    pub scheme: &'static str,
    /// The other end of the only node's observation connection, of a server without links.
    pub node: NodeEnd,
    pub coordination: coordination::Store,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), hype_control::Error>>,
}

fn install_crypto() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        rustls::crypto::aws_lc_rs::default_provider()
            .install_default()
            .expect("nobody else installs one");
    });
}

impl Server {
    pub async fn start(config: Config) -> Self {
        Self::try_start(config).await.unwrap_or_else(|error| panic!("did not start: {error}"))
    }

    pub async fn try_start(config: Config) -> Result<Self, hype_control::Error> {
        let (node, control) = pipe::pair();
        let (ends, nodes) = mpsc::channel(1);
        ends.send(control).await.expect("there is room for one");
        Self::start_with(config, node, Nodes::InProcess(nodes)).await
    }

    /// A server that nodes dial over QUIC; its authority is in the folder `pki`.
    pub async fn start_with_link(config: Config, pki: &Path) -> Self {
        let nodes =
            Nodes::Quic { pki_dir: pki.to_owned(), link: own_address(), announce: Vec::new() };
        let (node, _) = pipe::pair();
        let started = Self::start_with(config, node, nodes).await;
        started.unwrap_or_else(|error| panic!("did not start: {error}"))
    }

    async fn start_with(
        config: Config,
        node: NodeEnd,
        nodes: Nodes,
    ) -> Result<Self, hype_control::Error> {
        install_crypto();
        let coordination = coordination::Store::Memory(coordination::memory::Memory::new());
        let environment = Environment {
            coordination: coordination.clone(),
            nodes,
            metrics: PrometheusBuilder::new().build_recorder().handle(),
        };
        let (bound, on_bound) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let mut running = tokio::spawn(hype_control::run(
            config,
            environment,
            move |address| bound.send(address).expect("somebody waits for it"),
            async move {
                let _ = stopped.await;
            },
        ));
        let address = tokio::select! {
            ended = &mut running => {
                return Err(ended.expect("no panic").expect_err("it has not been told to stop"));
            }
            Ok(address) = on_bound => address,
        };
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        Ok(Self { address, client, scheme: "http", node, coordination, stop, running })
    }

    /// Stops it as Ctrl-C does.
    pub async fn stop(self) {
        let started = Instant::now();
        drop(self.client);
        self.stop.send(()).expect("it runs");
        self.running.await.expect("no panic").expect("a clean end");
        // Half a second and a little for those who do not hang up.
        assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}://{}{path}", self.scheme, self.address))
    }

    /// A request with what is given; the status and the JSON of the answer (null when empty). Asks
    /// again, as a client does, when the database was not to be had in time.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        for _ in 0..5 {
            let answer = self.call_once(method.clone(), path, token, body.as_ref()).await;
            if answer.1["error"]["code"] != "store_unavailable" {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.call_once(method, path, token, body.as_ref()).await
    }

    async fn call_once(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.request(method, path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let bytes = response.bytes().await.expect("a whole answer");
        let value = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)
                .unwrap_or_else(|error| panic!("{path}: {error}: {bytes:?}"))
        };
        (status, value)
    }

    pub async fn get(&self, path: &str, who: &Person) -> (StatusCode, Value) {
        self.call(Method::GET, path, Some(&who.token), None).await
    }

    pub async fn post(&self, path: &str, who: &Person, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, Some(&who.token), Some(body)).await
    }

    pub async fn register(&self, name: &str) -> Person {
        let body = json!({ "name": name, "password": PASSWORD });
        let (status, session) =
            self.call(Method::POST, "/api/v1/auth/register", None, Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{session}");
        Person::from(session)
    }

    /// A new guild of somebody: its id, text channel and voice channel.
    pub async fn guild(&self, owner: &Person) -> (String, String, String) {
        let (status, guild) = self.post("/api/v1/guilds", owner, json!({ "name": "Home" })).await;
        assert_eq!(status, StatusCode::CREATED, "{guild}");
        let text = |value: &Value| value.as_str().expect("an id is a string").to_owned();
        (text(&guild["id"]), text(&guild["channels"][0]["id"]), text(&guild["channels"][1]["id"]))
    }

    /// Makes somebody a member by an invite.
    pub async fn invite(&self, owner: &Person, guild: &str, who: &Person) {
        let (status, invite) =
            self.post(&format!("/api/v1/guilds/{guild}/invites"), owner, json!({})).await;
        assert_eq!(status, StatusCode::CREATED, "{invite}");
        let code = invite["code"].as_str().expect("a code");
        let path = format!("/api/v1/invites/{code}/accept");
        let (status, joined) = self.post(&path, who, json!({})).await;
        assert_eq!(status, StatusCode::OK, "{joined}");
        assert_eq!(joined["id"], guild);
    }
}

pub const PASSWORD: &str = "correct horse";

/// Somebody who signed in.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: String,
    pub token: String,
    pub refresh: String,
}

impl From<Value> for Person {
    fn from(session: Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        Self {
            id: text(&session["user"]["id"]),
            token: text(&session["access_token"]),
            refresh: text(&session["refresh_token"]),
        }
    }
}

/// Checks that an answer is this error, in the shape that all errors have.
#[track_caller]
pub fn assert_error(answer: &(StatusCode, Value), status: u16, code: &str) {
    assert_eq!(
        (answer.0.as_u16(), answer.1["error"]["code"].as_str()),
        (status, Some(code)),
        "{}",
        answer.1
    );
    assert!(answer.1["error"]["message"].as_str().is_some_and(|text| text.len() > 5));
}
