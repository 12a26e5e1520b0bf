//! Bounded queues between a worker and the agent, each with an eventfd: commands wake the worker's
//! own wait, events wake tokio. Neither side ever waits for the other.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::io::{AsyncEventFd, EventFd};

/// The sending end of a worker's commands. Commands arrive in the order in which one thread posts
/// them.
#[derive(Debug)]
pub struct Mailbox<T> {
    queue: Arc<ArrayQueue<T>>,
    wake: Arc<EventFd>,
}

/// The mailbox is full: the worker is far behind. The message comes back.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the worker's mailbox is full")]
pub struct Full<T>(pub T);

impl<T> Mailbox<T> {
    pub(super) fn new(capacity: usize, wake: Arc<EventFd>) -> Self {
        Self { queue: Arc::new(ArrayQueue::new(capacity)), wake }
    }

    /// Posts a message and wakes the worker.
    ///
    /// # Errors
    /// [`Full`] with the message, to be tried again later or answered with a refusal.
    pub fn post(&self, message: T) -> Result<(), Full<T>> {
        self.queue.push(message).map_err(Full)?;
        self.wake.signal();
        Ok(())
    }

    pub(super) fn queue(&self) -> Arc<ArrayQueue<T>> {
        Arc::clone(&self.queue)
    }
}

impl<T> Clone for Mailbox<T> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), wake: Arc::clone(&self.wake) }
    }
}

/// What both ends of an event queue share.
#[derive(Debug)]
struct Channel<T> {
    queue: ArrayQueue<T>,
    ready: Arc<EventFd>,
    /// The worker has ended: nothing is added any more.
    closed: AtomicBool,
}

/// The worker's end of its events.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    channel: Arc<Channel<T>>,
    fresh: bool,
}

impl<T> Outbox<T> {
    /// False when an event would find no room: leave it where it is for the time being.
    pub(super) fn has_room(&self) -> bool {
        !self.channel.queue.is_full()
    }

    /// Adds an event; the receiver is told by `announce`. Call it only when there is room.
    pub(super) fn push(&mut self, event: T) {
        // The worker is the only one that adds, so the room that it saw is still there.
        let added = self.channel.queue.push(event).is_ok();
        debug_assert!(added, "has_room was asked before");
        self.fresh = true;
    }

    /// Wakes the receiver if there is anything new: once a turn, not once an event.
    pub(super) fn announce(&mut self) {
        if std::mem::take(&mut self.fresh) {
            self.channel.ready.signal();
        }
    }
}

impl<T> Drop for Outbox<T> {
    fn drop(&mut self) {
        self.channel.closed.store(true, Ordering::Release);
        self.channel.ready.signal();
    }
}

/// The receiving end of a worker's events.
#[derive(Debug)]
pub struct Events<T> {
    channel: Arc<Channel<T>>,
}

impl<T> Events<T> {
    /// The next event that is there already.
    pub fn try_next(&self) -> Option<T> {
        self.channel.queue.pop()
    }

    /// Hands the eventfd to tokio's reactor.
    ///
    /// # Errors
    /// When the reactor cannot take it. Panics outside a runtime, as all of tokio's I/O does.
    pub fn into_stream(self) -> io::Result<EventStream<T>> {
        let ready = AsyncEventFd::new(Arc::clone(&self.channel.ready))?;
        Ok(EventStream { channel: self.channel, ready })
    }
}

/// A worker's events, to be awaited.
#[derive(Debug)]
pub struct EventStream<T> {
    channel: Arc<Channel<T>>,
    ready: AsyncEventFd,
}

impl<T> EventStream<T> {
    /// The next event; none when the worker has ended and all its events were taken. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    /// When the reactor is gone.
    pub async fn next(&mut self) -> io::Result<Option<T>> {
        loop {
            // Read before the queue: what was added before the end is still found.
            let closed = self.channel.closed.load(Ordering::Acquire);
            if let Some(event) = self.channel.queue.pop() {
                return Ok(Some(event));
            }
            if closed {
                return Ok(None);
            }
            // Takes the signal first and looks afterwards, so that no event falls between.
            self.ready.signalled().await?;
        }
    }
}

/// Makes both ends of an event queue.
pub(super) fn events<T>(capacity: usize) -> io::Result<(Outbox<T>, Events<T>)> {
    let channel = Arc::new(Channel {
        queue: ArrayQueue::new(capacity),
        ready: Arc::new(EventFd::new()?),
        closed: AtomicBool::new(false),
    });
    Ok((Outbox { channel: Arc::clone(&channel), fresh: false }, Events { channel }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_returns_the_message() {
        let wake = Arc::new(EventFd::new().expect("a descriptor is free"));
        let mailbox = Mailbox::new(2, Arc::clone(&wake));
        mailbox.post(1).expect("there is room");
        assert!(wake.clear());
        mailbox.clone().post(2).expect("there is room");
        assert_eq!(mailbox.post(3), Err(Full(3)));
        assert_eq!(mailbox.queue().pop(), Some(1));
        mailbox.post(3).expect("there is room again");
    }

    #[tokio::test]
    async fn events_come_in_order_until_the_worker_ends() {
        let (mut outbox, events) = events(4).expect("a descriptor is free");
        let mut stream = events.into_stream().expect("inside a runtime");
        let worker = std::thread::spawn(move || {
            for number in 0..100 {
                while !outbox.has_room() {
                    outbox.announce();
                    std::thread::yield_now();
                }
                outbox.push(number);
                if number % 3 == 0 {
                    outbox.announce();
                }
            }
        });
        for number in 0..100 {
            assert_eq!(stream.next().await.expect("the reactor lives"), Some(number));
        }
        assert_eq!(stream.next().await.expect("the reactor lives"), None);
        worker.join().expect("it only pushes");
    }
}
