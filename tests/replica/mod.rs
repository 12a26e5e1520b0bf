//! A control replica as a real process, that is killed and comes again.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a replica may take to serve.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A control replica that is killed and comes again.
pub struct Replica {
    name: &'static str,
    /// With its data, its log and the keys of the fleet's authority.
    pub folder: PathBuf,
    http: SocketAddr,
    link: SocketAddr,
    stores: Vec<(&'static str, String)>,
    child: Option<Child>,
}

/// A free address of this process; `number` tells several apart.
pub fn free_address(number: u8) -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, high | 0x80, low, number);
    let listener = TcpListener::bind((ip, 0)).expect("loopback addresses can be bound");
    listener.local_addr().expect("it is bound")
}

impl Replica {
    /// One that is not started yet; `number` tells the replicas of one test apart.
    pub fn new(name: &'static str, number: u8, stores: &[(&'static str, String)]) -> Self {
        let folder = format!("hype-replica-{}-{name}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let (http, link) = (free_address(number), free_address(number + 100));
        Self { name, folder, http, link, stores: stores.to_vec(), child: None }
    }

    /// Where it serves.
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Starts it and waits until it serves.
    pub fn start(&mut self) {
        let log = std::fs::File::create(self.folder.join("log")).expect("it can be written");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hype"));
        command
            .args(["--log", "warn", "control", "--control-id", self.name])
            .arg("--data-dir")
            .arg(self.folder.join("data"))
            .arg("--pki-dir")
            .arg(self.folder.join("pki"))
            .args(["--http", &self.http.to_string(), "--link", &self.link.to_string()])
            .envs(self.stores.iter().map(|(name, value)| (*name, value.as_str())))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.child = Some(command.spawn().expect("it starts"));
        self.until_serving();
    }

    fn until_serving(&self) {
        let began = Instant::now();
        while !self.serves() {
            let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(began.elapsed() < PATIENCE, "{} does not serve: {log}", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// It listens before it serves, so it is asked for something.
    fn serves(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(self.http) else { return false };
        let request = format!(
            "GET /api/v1/openapi.json HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            self.http
        );
        let mut status = [0; 12];
        let asked = stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .and_then(|()| stream.write_all(request.as_bytes()))
            .and_then(|()| stream.read_exact(&mut status));
        asked.is_ok() && &status == b"HTTP/1.1 200"
    }

    /// As by `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have died of itself, which the restart tells.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
