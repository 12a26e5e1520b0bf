//! A real etcd for one test: on its own loopback address and free ports, with its data in a
//! temporary directory; killed and cleaned up when dropped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hype_protocol::coordination::Store;
use hype_protocol::coordination::etcd::{Etcd, Settings};

/// A running etcd.
pub struct EtcdProcess {
    child: Child,
    client: SocketAddr,
    peer: SocketAddr,
    data: PathBuf,
}

/// A free address of this process and server number.
fn free_address(number: u8) -> SocketAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, 100 + number + a % 16 * 8, b, c.clamp(1, 254));
    let listener = TcpListener::bind((ip, 0)).expect("loopback addresses can be bound");
    listener.local_addr().expect("it is bound")
}

/// An endpoint at which nothing listens.
pub fn dead_endpoint(number: u8) -> String {
    format!("http://{}", free_address(number))
}

impl EtcdProcess {
    /// Starts one; `number` (below 8) tells the servers of one process apart.
    pub fn start(number: u8) -> Self {
        let name = format!("hype-etcd-{}-{number}", std::process::id());
        let data = std::env::temp_dir().join(name);
        let (client, peer) = (free_address(number), free_address(number));
        let child = spawn(&data, client, peer);
        Self { child, client, peer, data }
    }

    /// Its client URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.client)
    }

    /// A store on it; waits until it answers.
    pub async fn store(&self) -> Store {
        let store = self.store_with(&[]);
        let began = Instant::now();
        while let Err(error) = store.get("ready").await {
            assert!(began.elapsed() < Duration::from_secs(20), "etcd does not start: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        store
    }

    /// A store on it and other endpoints.
    pub fn store_with(&self, others: &[String]) -> Store {
        let mut endpoints = vec![self.endpoint()];
        endpoints.extend_from_slice(others);
        let settings = Settings { endpoints, ..Settings::default() };
        Store::Etcd(Etcd::new(settings).expect("the settings are valid"))
    }

    /// Kills it as by `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Starts it again with its data.
    pub fn restart(&mut self) {
        self.child = spawn(&self.data, self.client, self.peer);
    }

    /// Stops it without closing its connections.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }
}

impl Drop for EtcdProcess {
    fn drop(&mut self) {
        // It may be dead already; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}

fn spawn(data: &std::path::Path, client: SocketAddr, peer: SocketAddr) -> Child {
    let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
    Command::new("etcd")
        .args(["--name", "one", "--log-level", "error", "--unsafe-no-fsync"])
        .arg("--data-dir")
        .arg(data)
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("one={peer}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd is installed: apt-get install etcd-server")
}
