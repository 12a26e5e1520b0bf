//! A real etcd for one test: on its own loopback address and free ports, with its data in a
//! temporary directory; killed and cleaned up when dropped.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hype_protocol::coordination::Store;
use hype_protocol::coordination::etcd::{Etcd, Settings, Tls};

/// Stores of tests wait longer than those of production: a machine that stands still is no store that
/// is away.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running etcd.
pub struct EtcdProcess {
    child: Child,
    client: SocketAddr,
    peer: SocketAddr,
    data: PathBuf,
    certificates: Option<Certificates>,
}

/// What an etcd that speaks TLS and its clients show each other, as PEM.
struct Certificates {
    authority: String,
    server: (String, String),
    client: (String, String),
}

impl Certificates {
    fn new(address: SocketAddr) -> Self {
        use rcgen::{
            BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
        };
        let made = "rcgen makes certificates from these parameters";
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect(made);
        let authority = params.self_signed(&key).expect(made).pem();
        let issuer = Issuer::new(params, key);
        let issue = |name: SanType| {
            let mut params = CertificateParams::default();
            params.subject_alt_names = vec![name];
            let key = KeyPair::generate().expect(made);
            let certificate = params.signed_by(&key, &issuer).expect(made);
            (certificate.pem(), key.serialize_pem())
        };
        let server = issue(SanType::IpAddress(address.ip()));
        let client = issue(SanType::DnsName("client".try_into().expect(made)));
        Self { authority, server, client }
    }

    /// Writes what the server needs; returns its flags.
    fn install(&self, directory: &Path) -> Vec<String> {
        std::fs::create_dir_all(directory).expect("the temporary directory can be written");
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            std::fs::write(&path, text).expect("the temporary directory can be written");
            path.display().to_string()
        };
        let authority = write("ca.pem", &self.authority);
        let certificate = write("server.pem", &self.server.0);
        let key = write("server.key", &self.server.1);
        [
            ["--trusted-ca-file", &authority],
            ["--cert-file", &certificate],
            ["--key-file", &key],
            ["--client-cert-auth", "--enable-pprof=false"],
        ]
        .concat()
        .into_iter()
        .map(str::to_owned)
        .collect()
    }
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
        Self::launch(number, false)
    }

    /// Starts one that speaks only TLS, with certificates on both sides.
    pub fn start_tls(number: u8) -> Self {
        Self::launch(number, true)
    }

    fn launch(number: u8, tls: bool) -> Self {
        let name = format!("hype-etcd-{}-{number}", std::process::id());
        let data = std::env::temp_dir().join(name);
        let (client, peer) = (free_address(number), free_address(number));
        let certificates = tls.then(|| Certificates::new(client));
        let child = spawn(&data, client, peer, certificates.as_ref());
        Self { child, client, peer, data, certificates }
    }

    /// Certificates for its clients; `own` adds the client's own one.
    pub fn tls(&self, own: bool) -> Option<Tls> {
        let certificates = self.certificates.as_ref()?;
        let (certificate, key) = certificates.client.clone();
        Some(Tls {
            authority: certificates.authority.clone().into_bytes(),
            identity: own.then(|| (certificate.into_bytes(), key.into_bytes())),
            server_name: None,
        })
    }

    /// Its client URL.
    pub fn endpoint(&self) -> String {
        let scheme = if self.certificates.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.client)
    }

    /// A store on it; waits until it answers.
    pub async fn store(&self) -> Store {
        let store = self.store_with(&[]);
        let began = Instant::now();
        while let Err(error) = store.get("ready").await {
            assert!(began.elapsed() < Duration::from_secs(60), "etcd does not start: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        store
    }

    /// A store on it and other endpoints.
    pub fn store_with(&self, others: &[String]) -> Store {
        let mut endpoints = vec![self.endpoint()];
        endpoints.extend_from_slice(others);
        let tls = self.tls(true);
        self.store_by(Settings { endpoints, tls, user: None, timeout: PATIENCE })
    }

    /// A store by these settings.
    pub fn store_by(&self, settings: Settings) -> Store {
        Store::Etcd(Etcd::new(settings).expect("the settings are valid"))
    }

    /// Kills it as by `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Starts it again with its data.
    pub fn restart(&mut self) {
        self.child = spawn(&self.data, self.client, self.peer, self.certificates.as_ref());
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

fn spawn(
    data: &Path,
    client: SocketAddr,
    peer: SocketAddr,
    certificates: Option<&Certificates>,
) -> Child {
    let scheme = if certificates.is_some() { "https" } else { "http" };
    let (client, peer) = (format!("{scheme}://{client}"), format!("http://{peer}"));
    let mut command = Command::new("etcd");
    if let Some(certificates) = certificates {
        command.args(certificates.install(&data.join("certificates")));
    }
    command
        .args(["--name", "one", "--log-level", "error", "--unsafe-no-fsync"])
        .arg("--data-dir")
        .arg(data.join("data"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("one={peer}")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("etcd is installed: apt-get install etcd-server")
}
