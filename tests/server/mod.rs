//! `hype up` as a real process, in a folder of its own.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// Ended with the test.
pub struct Server {
    process: Child,
    directory: PathBuf,
    /// Where it serves.
    pub url: String,
}

impl Server {
    /// Starts it; `name` tells the servers of one test process apart.
    pub fn start(name: &str) -> Self {
        let directory = format!("hype-server-{}-{name}", std::process::id());
        let directory = std::env::temp_dir().join(directory);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let ip = format!("127.{}.{low}.201", high | 0x80);
        // Free now; whoever takes it meanwhile makes the test fail, not lie.
        let free = TcpListener::bind((ip.as_str(), 0)).expect("a free port");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        let mut command = Command::new(env!("CARGO_BIN_EXE_hype"));
        command.args(["--log", "warn", "up", "--udp-port", "0", "--announce", &ip]);
        command.args(["--http", &address.to_string(), "--data-dir"]).arg(&directory);
        let process = command.stdout(Stdio::null()).spawn().expect("it starts");
        let server = Self { process, directory, url: format!("http://{address}") };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < PATIENCE, "it does not listen at {address}");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
