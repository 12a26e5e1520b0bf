//! ppoll(2), as the back ends without a ring of completions sleep.

use std::io;
use std::time::Duration;

/// An entry that waits for input.
pub fn readable(descriptor: i32) -> libc::pollfd {
    libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 }
}

/// Sleeps until one of `entries` is ready or the timeout (none: never) is over; true when their
/// `revents` are valid. A signal may end it early.
///
/// # Errors
/// What is not passing.
pub fn wait(entries: &mut [libc::pollfd], timeout: Option<Duration>) -> io::Result<bool> {
    let timeout = timeout.map(|timeout| libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(timeout.subsec_nanos().cast_signed()),
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let count = entries.len() as libc::nfds_t;
    // SAFETY: `entries` is an array of the given length, and the time (or null: wait for ever) lives
    // through the call.
    let ready = unsafe { libc::ppoll(entries.as_mut_ptr(), count, timeout, std::ptr::null()) };
    if ready >= 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EINTR | libc::ENOMEM) => Ok(false),
        _ => Err(error),
    }
}
