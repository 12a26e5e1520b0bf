//! What a worker's thread asks the kernel about itself.

use std::time::Duration;

/// CPU time that the calling thread has used, kernel time included.
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` lives through the call, which only writes to it. The clock always exists; if
    // the call failed all the same, the time would stay zero.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// Lets the calling thread's timers fire within a microsecond. The default slack of 50 µs would
/// be most of a packet's time through the node.
pub fn tighten_timers() {
    // SAFETY: takes numbers only, and concerns the calling thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000 as libc::c_ulong, 0, 0, 0) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_cpu_time_and_sleep_does_not() {
        let asleep = (0..5).map(|_| {
            let start = cpu_time();
            std::thread::sleep(Duration::from_millis(20));
            cpu_time() - start
        });
        assert!(asleep.min() < Some(Duration::from_millis(10)));
        let start = cpu_time();
        let mut number = 1u64;
        while cpu_time() - start < Duration::from_millis(5) {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
    }
}
