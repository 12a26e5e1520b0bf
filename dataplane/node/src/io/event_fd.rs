//! eventfd(2): how one thread wakes another that sleeps in the kernel, or in tokio's reactor.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, RawFd};
use std::sync::Arc;

use tokio::io::unix::AsyncFd;

/// A counter in the kernel, readable while it is not zero. Never blocks.
#[derive(Debug)]
pub struct EventFd(File);

impl EventFd {
    /// A new one, at zero.
    ///
    /// # Errors
    /// When the process has no file descriptors left.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is passed; the result is checked before it is used.
        let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave this descriptor, and nobody else knows it.
        Ok(Self(unsafe { File::from_raw_fd(fd) }))
    }

    /// Makes it readable. Signals that come together count as one.
    pub fn signal(&self) {
        // The one error is a counter at its end, which is readable already.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    /// Takes the signals; true if there were any.
    pub fn clear(&self) -> bool {
        (&self.0).read(&mut [0; 8]).is_ok()
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for EventFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// An [`EventFd`] that is awaited in tokio's reactor.
#[derive(Debug)]
pub struct AsyncEventFd(AsyncFd<Arc<EventFd>>);

impl AsyncEventFd {
    /// Hands it to the reactor of the current runtime.
    ///
    /// # Errors
    /// When the reactor cannot take it. Panics outside a runtime, as all of tokio's I/O does.
    pub fn new(event: Arc<EventFd>) -> io::Result<Self> {
        // SAFETY: the descriptor belongs to the `EventFd`, which neither changes nor closes it while
        // anyone holds the `Arc`.
        let registered = unsafe { AsyncFd::register(event) };
        registered.map(Self).map_err(|error| error.into_parts().1)
    }

    /// Waits for a signal and takes it.
    ///
    /// # Errors
    /// When the reactor is gone.
    pub async fn signalled(&self) -> io::Result<()> {
        loop {
            let mut guard = self.0.readable().await?;
            let signalled = guard.get_inner().clear();
            // The counter is zero now; a later signal is a new edge.
            guard.clear_ready();
            if signalled {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_that_come_together_count_as_one() {
        let event = EventFd::new().expect("a descriptor is free");
        assert!(!event.clear());
        event.signal();
        event.signal();
        assert!(event.clear());
        assert!(!event.clear());
    }
}
