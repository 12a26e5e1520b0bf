//! Runs one bench as a child process of this very binary and takes what it prints. Its output is
//! kept in files beside the report, so that what failed can be looked into.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::result::{Measured, Outcome, Run};
use super::set::Planned;

/// How long a bench may take to clean up after it was told to stop.
const CLEAN_UP: Duration = Duration::from_secs(20);

/// A command of this binary that says nothing but warnings.
///
/// # Errors
/// When the running binary cannot be found.
pub fn command(words: &[String]) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("cannot find this binary")?);
    command.args(["--log", "warn"]).args(words).stdin(Stdio::null());
    Ok(command)
}

/// Makes a run; `stop` ends it early.
pub async fn run(planned: &Planned, logs: &Path, stop: &AtomicBool) -> Run {
    let mut words = vec!["bench".to_owned()];
    words.extend(planned.arguments.iter().cloned());
    let mut run = Run {
        id: planned.id.clone(),
        group: planned.group,
        command: format!("hype {}", words.join(" ")),
        outcome: Outcome::Failed,
        reason: None,
        result: Measured::default(),
    };
    match attempt(planned, &words, logs, stop).await {
        Ok(ended) => ended.into_run(&mut run),
        Err(error) => run.reason = Some(format!("{error:#}")),
    }
    run
}

/// How a child ended.
struct Ended {
    status: ExitStatus,
    /// Why it was stopped, if it was.
    stopped: Option<Stopped>,
    output: String,
    errors: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Stopped {
    ByUser,
    OutOfTime(u64),
}

async fn attempt(
    planned: &Planned,
    words: &[String],
    logs: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<Ended> {
    let (output, errors) =
        (logs.join(format!("{}.json", planned.id)), logs.join(format!("{}.log", planned.id)));
    let file = |path: &Path| {
        File::create(path).with_context(|| format!("cannot write {}", path.display()))
    };
    let child = command(words)?.stdout(file(&output)?).stderr(file(&errors)?).spawn();
    let mut child = OwnChild(child.context("cannot start the bench")?);
    let (status, stopped) = wait(&mut child.0, planned.patience_s, stop).await?;
    let read =
        |path: &Path| std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(Ended { status, stopped, output: read(&output)?, errors: read(&errors)? })
}

/// Waits for a child; ends it when its time is over or the user wants to stop.
async fn wait(
    child: &mut Child,
    patience_s: u64,
    stop: &AtomicBool,
) -> anyhow::Result<(ExitStatus, Option<Stopped>)> {
    let began = Instant::now();
    let mut stopped: Option<(Stopped, Instant)> = None;
    loop {
        if let Some(status) = child.try_wait()? {
            // At a terminal, Ctrl-C reaches the child as well.
            let by_user = stop.load(Ordering::Relaxed) && !status.success();
            let why = stopped.map(|(why, _)| why).or(by_user.then_some(Stopped::ByUser));
            return Ok((status, why));
        }
        match stopped {
            None if stop.load(Ordering::Relaxed) => {
                terminate(child);
                stopped = Some((Stopped::ByUser, Instant::now()));
            }
            None if began.elapsed() > Duration::from_secs(patience_s) => {
                terminate(child);
                stopped = Some((Stopped::OutOfTime(patience_s), Instant::now()));
            }
            Some((_, since)) if since.elapsed() > CLEAN_UP => child.kill()?,
            None | Some(_) => {}
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Asks it to end, so that the bench removes the namespaces and devices that it made. By SIGTERM: a
/// shell starts what runs in its background with SIGINT ignored.
pub fn terminate(child: &Child) {
    // Where there is no `kill`, the child is killed when its time to clean up is over.
    let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
}

/// A child that does not outlive its handle.
pub struct OwnChild(pub Child);

impl Drop for OwnChild {
    fn drop(&mut self) {
        // Both fail only when it has ended already and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ended {
    fn into_run(self, run: &mut Run) {
        // Progress or a warning may stand before the object.
        let json = self.output.find('{').map(|at| &self.output[at..]);
        let parsed = json.and_then(|json| serde_json::from_str(json).ok());
        run.result = Measured(parsed.unwrap_or_default());
        let has_result = run.result.0.is_object();
        (run.outcome, run.reason) = match self.stopped {
            Some(Stopped::ByUser) => (Outcome::Stopped, Some("stopped".into())),
            Some(Stopped::OutOfTime(seconds)) => {
                (Outcome::Failed, Some(format!("it did not end within {seconds} s")))
            }
            None if self.status.success() && has_result => (Outcome::Measured, None),
            None if self.status.success() => {
                (Outcome::Failed, Some("it ended well but printed no JSON object".into()))
            }
            None => classify(&self.errors, self.status),
        };
    }
}

/// What a bench that failed said last, and whether this machine is why.
fn classify(errors: &str, status: ExitStatus) -> (Outcome, Option<String>) {
    let lines: Vec<&str> = errors.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let begins = |line: &&str| line.starts_with("Error: ") || line.starts_with("error: ");
    let from = lines.iter().rposition(begins).unwrap_or(lines.len().saturating_sub(1));
    let mut said = lines[from..].join(" ");
    if let Some((at, _)) = said.char_indices().nth(400) {
        said.truncate(at);
        said.push('…');
    }
    let reason = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
    let cannot = ["needs root", "not permitted", "Permission denied", "not supported"];
    let impossible = cannot.iter().any(|words| said.contains(words));
    (if impossible { Outcome::Impossible } else { Outcome::Failed }, Some(reason))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;
    use crate::report::result::Group;

    #[track_caller]
    fn check(code: i32, output: &str, errors: &str, outcome: Outcome, reason: Option<&str>) {
        let mut run = Run {
            id: "x".into(),
            group: Group::Rate,
            command: String::new(),
            outcome: Outcome::Failed,
            reason: None,
            result: Measured::default(),
        };
        let status = ExitStatus::from_raw(code << 8);
        let ended = Ended { status, stopped: None, output: output.into(), errors: errors.into() };
        ended.into_run(&mut run);
        assert_eq!(run.outcome, outcome, "{run:?}");
        match (run.reason, reason) {
            (None, None) => {}
            (Some(found), Some(expected)) if found.contains(expected) => {}
            (found, expected) => panic!("{found:?}, expected {expected:?}"),
        }
    }

    #[tokio::test]
    async fn what_takes_too_long_or_is_stopped_is_ended() {
        for (patience_s, stop, expected) in
            [(0, false, Stopped::OutOfTime(0)), (600, true, Stopped::ByUser)]
        {
            let child = Command::new("sleep").arg("60").spawn().expect("sleep starts");
            let mut child = OwnChild(child);
            let began = Instant::now();
            let stop = AtomicBool::new(stop);
            let (status, stopped) =
                wait(&mut child.0, patience_s, &stop).await.expect("it can be waited for");
            assert!(stopped == Some(expected) && !status.success(), "{status}");
            assert!(began.elapsed() < CLEAN_UP, "asking was enough");
        }
    }

    #[test]
    fn what_a_bench_says_becomes_its_outcome() {
        check(0, "{\"a\": 1}", "1 of 2\n", Outcome::Measured, None);
        check(0, "warming up\n{\"a\": 1}\n", "", Outcome::Measured, None);
        check(0, "", "", Outcome::Failed, Some("no JSON object"));
        check(0, "{\"a\":", "", Outcome::Failed, Some("no JSON object"));
        check(1, "{\"a\": 1}", "Error: 3 packets were lost\n", Outcome::Failed, Some("3 packets"));
        check(
            1,
            "",
            "starting\nError: veth needs root\n\nCaused by:\n    ip failed\n",
            Outcome::Impossible,
            Some("Error: veth needs root Caused by: ip failed"),
        );
        let unknown = "error: unrecognized subcommand 'relay'\n\nUsage: hype bench\n";
        check(2, "", unknown, Outcome::Failed, Some("unrecognized subcommand"));
        check(3, "", "", Outcome::Failed, Some("exit status: 3"));
        check(1, "", &"ä".repeat(2000), Outcome::Failed, Some("…"));
    }
}
