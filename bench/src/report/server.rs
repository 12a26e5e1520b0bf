//! A whole server (`hype up`) for the benches that go through the public API: its own address on
//! loopback, free ports, its data beside the report until it ends.

use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::execute::{OwnChild, command, terminate};

/// How long it may take to start, or to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running server.
pub struct Server {
    /// Where its API is.
    pub url: String,
    child: OwnChild,
    data: PathBuf,
}

impl Server {
    /// Starts one and waits until it is healthy. Its log is written to `logs`.
    ///
    /// # Errors
    /// When it ends or is not healthy within 20 s.
    pub async fn start(logs: &Path) -> anyhow::Result<Self> {
        let pid = std::process::id();
        let [_, _, high, low] = pid.to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(127, 91, high, low.max(1)));
        let http = TcpListener::bind((address, 0))?.local_addr()?;
        let udp = UdpSocket::bind((address, 0))?.local_addr()?;
        let data = logs.join(format!("server-data-{pid}"));
        let words = [
            "up".into(),
            "--data-dir".into(),
            data.display().to_string(),
            "--http".into(),
            http.to_string(),
            "--udp-port".into(),
            udp.port().to_string(),
            "--announce".into(),
            address.to_string(),
            "--workers".into(),
            "1".into(),
        ];
        let log = logs.join("server.log");
        let log = std::fs::File::create(&log).with_context(|| log.display().to_string())?;
        let child = command(&words)?.stdout(log.try_clone()?).stderr(log).spawn();
        let child = OwnChild(child.context("cannot start `hype up`")?);
        let mut server = Self { url: format!("http://{http}"), child, data };
        server.healthy().await?;
        Ok(server)
    }

    async fn healthy(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.0.try_wait()? {
                bail!("`hype up` ended at its start with {status}: see server.log");
            }
            let health = reqwest::get(format!("{}/healthz", self.url)).await;
            if health.is_ok_and(|response| response.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("`hype up` was not healthy within {PATIENCE:?}: see server.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        terminate(&self.child.0);
        let began = Instant::now();
        while matches!(self.child.0.try_wait(), Ok(None)) && began.elapsed() < PATIENCE / 4 {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.0.kill();
        let _ = self.child.0.wait();
        // What stays behind is a folder beside the report, named for this process.
        let _ = std::fs::remove_dir_all(&self.data);
    }
}
