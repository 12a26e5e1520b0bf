//! What the process uses of its machine, from `/proc` (proc(5)). Where that cannot be read, a
//! figure is missing rather than wrong.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

/// The kernel tells CPU time to user space in hundredths of a second, on every architecture.
const TICKS_PER_SECOND: u64 = 100;

/// What the kernel says in one of these files is shorter.
const LONGEST: usize = 4096;

/// Measures CPU use between two calls, and memory.
#[derive(Debug)]
pub struct Usage {
    cores: f64,
    /// Kibibytes of the machine.
    memory: Option<f64>,
    last: Option<(Instant, Duration)>,
}

impl Usage {
    /// Begins to measure.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cores: cores as f64,
            memory: kibibytes("/proc/meminfo", "MemTotal:"),
            last: cpu_time().map(|used| (Instant::now(), used)),
        }
    }

    /// Share of the machine's cores that this process used since the last call, 0–100.
    pub fn cpu_percent(&mut self) -> Option<f64> {
        let (now, used) = (Instant::now(), cpu_time()?);
        let (then, before) = self.last.replace((now, used))?;
        let elapsed = now.duration_since(then).as_secs_f64() * self.cores;
        let share = used.saturating_sub(before).as_secs_f64() / elapsed.max(1e-3);
        Some((share * 100.0).min(100.0))
    }

    /// Share of the machine's memory that this process has resident, 0–100.
    pub fn memory_percent(&self) -> Option<f64> {
        Some(kibibytes("/proc/self/status", "VmRSS:")? / self.memory? * 100.0)
    }
}

/// User and system time of the whole process.
fn cpu_time() -> Option<Duration> {
    let stat = read("/proc/self/stat")?;
    // The second field is the program's name, which may hold anything, spaces included.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let user: u64 = fields.nth(11)?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 1000 / TICKS_PER_SECOND))
}

/// The number in a line `name: n kB`.
fn kibibytes(path: &str, name: &str) -> Option<f64> {
    let text = read(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The first [`LONGEST`] bytes of a file, by one call: these files have no length beforehand, by which
/// they would be read in many small ones.
fn read(path: &str) -> Option<String> {
    let mut bytes = vec![0; LONGEST];
    let len = File::open(path).ok()?.read(&mut bytes).ok()?;
    bytes.truncate(len);
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_and_memory_is_a_share() {
        let mut usage = Usage::new();
        // Of its own: on a busy machine that takes much longer.
        let begun = crate::io::thread::cpu_time();
        let mut number = 1u64;
        while crate::io::thread::cpu_time() - begun < Duration::from_millis(150) {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        let percent = usage.cpu_percent().expect("Linux has /proc");
        assert!(percent > 0.5 && percent <= 100.0, "{percent}");
        let memory = usage.memory_percent().expect("Linux has /proc");
        assert!(memory > 0.0 && memory < 100.0, "{memory}");
    }
}
