//! CPU time of a process under test: all of its threads, and the kernel threads that work for it
//! (NAPI threads of its interfaces, and the soft interrupt thread of its workers' cores).

use std::fs;
use std::path::Path;

/// What is metered.
#[derive(Debug)]
pub struct Meter {
    pid: u32,
    kernel_threads: Vec<u32>,
}

impl Meter {
    /// For a process whose workers have the last `workers` of `cores` cores and which is served by
    /// these interfaces.
    pub fn new(pid: u32, interfaces: &[String], cores: usize, workers: usize) -> Self {
        let serves = |name: &str| {
            let core = name.strip_prefix("ksoftirqd/").and_then(|core| core.parse::<usize>().ok());
            core.is_some_and(|core| core < cores && core + workers >= cores)
                || interfaces.iter().any(|interface| {
                    // The kernel cuts names of threads to 15 characters.
                    name.strip_prefix("napi/")
                        .is_some_and(|rest| rest.starts_with(&interface[..interface.len().min(10)]))
                })
        };
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let kernel_threads = numbers
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter(|pid: &u32| {
                fs::read_to_string(format!("/proc/{pid}/comm"))
                    .is_ok_and(|name| serves(name.trim_end()))
            })
            .collect();
        Self { pid, kernel_threads }
    }

    /// Nanoseconds so far.
    pub fn cpu_ns(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten();
        let own = tasks.flatten().filter_map(|task| on_cpu(&task.path())).sum::<u64>();
        let kernel = self.kernel_threads.iter();
        let kernel = kernel.filter_map(|pid| on_cpu(Path::new(&format!("/proc/{pid}"))));
        own + kernel.sum::<u64>()
    }
}

/// The first number of `schedstat`: time on a CPU in nanoseconds (proc(5)).
fn on_cpu(folder: &Path) -> Option<u64> {
    fs::read_to_string(folder.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_metered() {
        // A process of its own: threads of other tests come and go in this one.
        let mut child = std::process::Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .expect("a shell is there");
        let meter = Meter::new(child.id(), &[], 1, 0);
        let (start, before) = (std::time::Instant::now(), meter.cpu_ns());
        let mut worked = 0;
        while worked < 1_000_000 && start.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(10));
            worked = meter.cpu_ns() - before;
        }
        child.kill().expect("it never ends by itself");
        child.wait().expect("it was killed");
        assert!(worked >= 1_000_000, "{worked}");
    }
}
