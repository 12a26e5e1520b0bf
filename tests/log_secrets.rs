//! Whatever the log level: no line carries a password, a token or a key. The real binary, at its most
//! talkative, while people register, sign in, refresh, change things, join voice and get things
//! wrong; then everything secret that went over the wire or lies in a file is looked for in the log.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use reqwest::{Client, Method, Url};
use serde_json::{Value, json};

/// The server, its folder and what is to be looked for.
struct Server {
    folder: PathBuf,
    child: Child,
    url: Url,
    client: Client,
    secrets: Vec<(String, String)>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the test notices elsewhere.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    fn start() -> Self {
        let id = std::process::id();
        let folder = std::env::temp_dir().join(format!("hype-log-secrets-{id}"));
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let [_, a, b, c] = id.wrapping_mul(61).to_be_bytes();
        let ip = Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254));
        let log = File::create(folder.join("log")).expect("a fresh file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_hype"))
            .args(["--log", "trace", "up", "--udp-port", "0"])
            .args(["--http", &format!("{ip}:0"), "--announce", &ip.to_string()])
            .arg("--data-dir")
            .arg(folder.join("data"))
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("hype starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let address = output
            .lines()
            .map(|line| line.expect("hype writes text"))
            .find_map(|line| Some(line.trim().strip_prefix("http://")?.to_owned()))
            .expect("it says where the page is");
        let url = Url::parse(&format!("http://{address}/")).expect("an address makes a URL");
        let client = Client::builder().no_proxy().build().expect("no TLS is needed");
        Self { folder, child, url, client, secrets: Vec::new() }
    }

    fn secret(&mut self, what: &str, value: &str) {
        assert!(value.len() >= 8, "{what} is too short to be looked for: {value}");
        self.secrets.push((what.to_owned(), value.to_owned()));
    }

    async fn call(&mut self, method: Method, path: &str, token: &str, body: Value) -> Value {
        let url = self.url.join(path).expect("a path");
        let mut request = self.client.request(method, url).bearer_auth(token);
        if !body.is_null() {
            request = request.json(&body);
        }
        let text = request.send().await.expect("it answers").text().await.expect("all of it");
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        for field in ["access_token", "refresh_token", "password", "keying"] {
            if let Some(value) = answer[field].as_str() {
                self.secret(&format!("{field} of {path}"), value);
                // A token's signature alone is as good as secret, too.
                if let Some((_, signature)) = value.rsplit_once('.') {
                    self.secret(&format!("signature of {path}"), signature);
                }
            }
        }
        answer
    }

    /// Key files of the data folder, in the ways in which bytes are written.
    fn key_files(&mut self) {
        let mut files = 0;
        for entry in std::fs::read_dir(self.folder.join("data")).expect("it was made").flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "key") {
                continue;
            }
            files += 1;
            let bytes = std::fs::read(&path).expect("it is there");
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            let list = bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
            self.secret(&format!("{} in hex", path.display()), &hex);
            self.secret(&format!("{} as a list", path.display()), &list);
            if let Ok(text) = String::from_utf8(bytes) {
                self.secret(&format!("{} as it is", path.display()), text.trim());
            }
        }
        assert!(files > 0, "no key file was found");
    }
}

#[tokio::test]
async fn no_log_line_carries_a_password_token_or_key() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut server = Server::start();
    let (first, second, wrong) = ("horse-battery-one", "staple-battery-two", "guessed-battery");
    for (what, password) in [("password", first), ("new password", second), ("wrong", wrong)] {
        server.secret(what, password);
    }
    let name = json!({"name": "anna", "password": first});
    let session = server.call(Method::POST, "api/v1/auth/register", "none", name.clone()).await;
    let token = session["access_token"].as_str().expect("signed in").to_owned();
    server.call(Method::POST, "api/v1/auth/login", "none", name).await;
    let guess = json!({"name": "anna", "password": wrong});
    server.call(Method::POST, "api/v1/auth/login", "none", guess).await;
    // Bodies that do not parse are told about, but not what is in them.
    server.call(Method::POST, "api/v1/auth/login", "none", json!([first, second])).await;
    let refresh = json!({"refresh_token": session["refresh_token"]});
    server.call(Method::POST, "api/v1/auth/refresh", "none", refresh.clone()).await;
    let forged = format!("{}x", session["refresh_token"].as_str().expect("signed in"));
    server
        .call(Method::POST, "api/v1/auth/refresh", "none", json!({"refresh_token": forged}))
        .await;
    server.call(Method::GET, "api/v1/auth/me", &format!("{token}x"), Value::Null).await;
    let guild = server.call(Method::POST, "api/v1/guilds", &token, json!({"name": "one"})).await;
    let voice = guild["channels"][1]["id"].as_str().expect("a voice channel").to_owned();
    let native = json!({"profile": "aead_aes128_gcm", "ufrag": "abcd"});
    let joined =
        server.call(Method::POST, &format!("api/v1/voice/join/{voice}"), &token, native).await;
    assert!(joined["keying"].is_string(), "{joined}");
    let change = json!({"current": first, "new": second});
    server.call(Method::PATCH, "api/v1/auth/me/password", &token, change).await;
    server.call(Method::POST, "api/v1/auth/logout", &token, refresh).await;
    server.key_files();

    let log = std::fs::read_to_string(server.folder.join("log")).expect("it logs text");
    assert!(log.lines().count() > 50 && log.contains("DEBUG"), "the log is not talkative:\n{log}");
    let found: Vec<_> = server
        .secrets
        .iter()
        .filter(|(_, secret)| log.contains(secret.as_str()))
        .map(|(what, _)| what)
        .collect();
    assert!(found.is_empty(), "the log carries: {found:?}");
}
