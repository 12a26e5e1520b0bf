//! A real nats-server with JetStream for one test, or a cluster of them: on a loopback address of its
//! own and a free port, its data in a temporary folder; killed and cleaned up when dropped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

/// A nats-server.
pub struct NatsProcess {
    child: Option<Child>,
    address: SocketAddr,
    data: PathBuf,
    /// What it is told of its cluster.
    cluster: Vec<String>,
}

/// A port that was free there.
fn free(ip: Ipv4Addr) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).expect("loopback addresses can be bound");
    listener.local_addr().expect("it is bound")
}

impl NatsProcess {
    /// Servers that run as one cluster.
    pub fn cluster(size: usize) -> Vec<Self> {
        let mut servers: Vec<Self> = (0..size).map(|_| Self::stopped()).collect();
        let route = |server: &Self| {
            let IpAddr::V4(ip) = server.address.ip() else { unreachable!("they are of IPv4") };
            format!("nats://{}", free(ip))
        };
        let routes: Vec<String> = servers.iter().map(route).collect();
        for (server, route) in servers.iter_mut().zip(&routes) {
            let name = server.address.to_string();
            let all = routes.join(",");
            let words =
                ["--cluster_name", "test", "--cluster", route, "--routes", &all, "-n", &name];
            server.cluster = words.map(str::to_owned).to_vec();
            server.run();
        }
        servers
    }

    /// One that does not run yet.
    pub fn stopped() -> Self {
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let ip = Ipv4Addr::new(127, 0x40 | (high % 0x40), low, number);
        let name = format!("hype-nats-{}-{number}", std::process::id());
        let data = std::env::temp_dir().join(name);
        Self { child: None, address: free(ip), data, cluster: Vec::new() }
    }

    /// One that runs.
    pub fn start() -> Self {
        let mut process = Self::stopped();
        process.run();
        process
    }

    /// Starts it, again with its data.
    pub fn run(&mut self) {
        let child = Command::new("nats-server")
            .args(["-a", &self.address.ip().to_string(), "-p", &self.address.port().to_string()])
            .arg("-js")
            .arg("-sd")
            .arg(&self.data)
            .args(&self.cluster)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server is installed: apt-get install nats-server");
        self.child = Some(child);
    }

    /// Loses its data, as by a disk that failed.
    pub fn forget(&self) {
        std::fs::remove_dir_all(&self.data).expect("it had run");
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Kills it as by `kill -9`.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // It may be dead already; then there is nothing to do.
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Drop for NatsProcess {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.data);
    }
}
