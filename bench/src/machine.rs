//! The machine that a benchmark ran on, printed beside every result: a figure without it says
//! little. Read from /proc; what cannot be read is left out, and never fails a run.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One machine at one moment. The keys of the JSON form are stable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Model of its first processor.
    pub cpu: String,
    /// Logical processors that this process may run on.
    pub cores: usize,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Kernel release, such as `6.18.0`.
    pub kernel: String,
    /// Runnable threads on average over the last 1, 5 and 15 minutes.
    pub load_average: [f64; 3],
    /// `release` or `debug`: how this binary was built.
    pub build: String,
}

impl Machine {
    /// Describes this machine now. The load is best read before a run, which adds its own.
    pub fn read() -> Self {
        let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu: value(&file("/proc/cpuinfo"), "model name").unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kibibytes(&file("/proc/meminfo"), "MemTotal").unwrap_or(0),
            kernel: file("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: loads(&file("/proc/loadavg")),
            build: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gibibytes = self.memory_bytes as f64 / f64::from(1 << 30);
        let [one, five, fifteen] = self.load_average;
        write!(
            f,
            "{}, {} cores, {gibibytes:.1} GiB, Linux {}, load {one:.2} {five:.2} {fifteen:.2}, \
             {} build",
            self.cpu, self.cores, self.kernel, self.build
        )
    }
}

/// The value of the first `name : value` line.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then(|| value.trim())
    })
}

/// A `name: n kB` line in bytes, as /proc/meminfo and /proc/PID/status have them.
pub(crate) fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let number = value(text, name)?.strip_suffix("kB")?.trim();
    Some(number.parse::<u64>().ok()? * 1024)
}

fn loads(text: &str) -> [f64; 3] {
    let mut words = text.split(' ').map(|word| word.parse().unwrap_or(0.0));
    std::array::from_fn(|_| words.next().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        let status = "Name:\thype\nVmPeak:\t  10 kB\nVmRSS:\t    5644 kB\n";
        assert_eq!(kibibytes(status, "VmRSS"), Some(5644 * 1024));
        assert_eq!(kibibytes(status, "VmSwap"), None);
        assert_eq!(kibibytes(status, "Name"), None);
        assert_eq!(loads("2.20 2.33 2.97 3/300 4711\n"), [2.2, 2.33, 2.97]);
        assert_eq!(loads(""), [0.0; 3]);
        let machine = Machine::read();
        assert!(machine.cores > 0 && machine.memory_bytes > 0 && !machine.kernel.is_empty());
    }
}
