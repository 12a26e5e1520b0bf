//! A real PostgreSQL for tests: one server a test process, reached by a socket in a temporary
//! folder, and as many fresh databases on it as tests want. A shell that reads our pipe looks after
//! the server, and ends it when this process ends, however it does.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};

/// The server refuses to run as root, so root becomes the user that Debian's package makes.
/// Commands come by lines; the end of the pipe is the end of all. What a terminal sends to the test
/// must not keep the shell from cleaning up.
const KEEPER: &str = r#"
trap '' INT TERM HUP PIPE
folder=$1 settings=$2
PATH=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1):$PATH
mkdir -m 700 "$folder" || exit 1
as() { "$@"; }
if [ "$(id -u)" = 0 ]; then
  chown postgres "$folder"
  as() { runuser -u postgres -- "$@"; }
fi
start() {
  as pg_ctl -s -w -t 60 -D "$folder/data" -l "$folder/log" -o "$settings -c unix_socket_directories=$folder" start
}
cd /
as initdb -D "$folder/data" -U hype -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$folder/initdb.log" 2>&1 || cat "$folder/initdb.log" >&2
start >/dev/null && echo ready
while read -r word; do
  case $word in
    crash) as pg_ctl -s -D "$folder/data" -m immediate stop >/dev/null ;;
    start) start >/dev/null ;;
  esac
  echo done
done
as pg_ctl -s -D "$folder/data" -m immediate stop >/dev/null 2>&1
rm -rf "$folder"
"#;

/// A running server.
pub struct Postgres {
    folder: PathBuf,
    keeper: Child,
    pipe: Mutex<(Option<ChildStdin>, BufReader<ChildStdout>)>,
    databases: AtomicU32,
}

impl Postgres {
    /// The one server of this process, which does not wait for the disk.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("-c fsync=off"))
    }

    /// Starts one more, with settings such as `-c fsync=off`.
    pub fn start(settings: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hype-postgres-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let settings = format!(
            "{settings} -c listen_addresses='' -c max_connections=200 -c shared_buffers=64MB"
        );
        let mut keeper = Command::new("sh")
            .args(["-c", KEEPER, "postgres"])
            .arg(&folder)
            .arg(&settings)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("there is a shell");
        let input = keeper.stdin.take();
        let output = BufReader::new(keeper.stdout.take().expect("it is piped"));
        let server = Self {
            folder,
            keeper,
            pipe: Mutex::new((input, output)),
            databases: AtomicU32::new(0),
        };
        server.heard("ready");
        server
    }

    fn heard(&self, expected: &str) {
        let mut line = String::new();
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        pipe.1.read_line(&mut line).expect("the shell is there");
        assert_eq!(
            line.trim(),
            expected,
            "PostgreSQL does not start: apt-get install postgresql; its log is in {}",
            self.folder.display()
        );
    }

    fn tell(&self, word: &str) {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        let input = pipe.0.as_mut().expect("it is open until the end");
        writeln!(input, "{word}").expect("the shell is there");
        drop(pipe);
        self.heard("done");
    }

    /// Kills it as a power cut would.
    pub fn crash(&self) {
        self.tell("crash");
    }

    /// Starts it again.
    pub fn restart(&self) {
        self.tell("start");
    }

    /// The URL of one of its databases.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://hype@localhost/{database}?host={}", self.folder.display())
    }

    /// The URL of a new, empty database.
    pub async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let options: sqlx::postgres::PgConnectOptions =
            self.url("postgres").parse().expect("a valid URL");
        let mut connection = options.connect().await.expect("the server answers");
        let sql = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        connection.execute(sql).await.expect("a new database");
        connection.close().await.expect("closed");
        self.url(&name)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).0 = None;
        let _ = self.keeper.wait();
    }
}
