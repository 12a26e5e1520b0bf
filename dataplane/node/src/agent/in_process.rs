//! The link of `hype up`, where node and control plane share a process. As with a connection over
//! the network, one that was cut off is followed by a new one, which starts with a snapshot.

use std::time::Duration;

use hype_protocol::pipe::{self, ControlEnd, NodeEnd};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::Instant;

/// How long after a link's end the next one is made, at least.
const PAUSE: Duration = Duration::from_millis(100);

/// Makes one link after the other.
pub(super) struct Connector {
    control: mpsc::Sender<ControlEnd>,
    /// A link was made and its end has not been noticed yet.
    linked: bool,
    not_before: Instant,
}

impl Connector {
    /// Hands the control plane's ends to `control`.
    pub(super) fn new(control: mpsc::Sender<ControlEnd>) -> Self {
        Self { control, linked: false, not_before: Instant::now() }
    }

    /// The node's end of a new link, when there is none and one is due.
    pub(super) fn poll(&mut self, links: usize, now: Instant) -> Option<NodeEnd> {
        if links > 0 {
            return None;
        }
        if std::mem::take(&mut self.linked) {
            tracing::warn!("the link to this process's control plane ended: making a new one");
            self.not_before = now + PAUSE;
        }
        if now < self.not_before {
            return None;
        }
        let (node, control) = pipe::pair();
        match self.control.try_send(control) {
            Ok(()) => {
                self.linked = true;
                Some(node)
            }
            // It has not even taken the one before, or it is stopping.
            Err(TrySendError::Full(_) | TrySendError::Closed(_)) => {
                self.not_before = now + PAUSE;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_link_that_ended_is_followed_by_another_after_a_pause() {
        let (sender, mut ends) = mpsc::channel(1);
        let mut connector = Connector::new(sender);
        let start = Instant::now();
        let node = connector.poll(0, start).expect("the first one comes at once");
        let control = ends.recv().await.expect("the other end of it");
        assert!(!control.sender.is_closed());
        assert!(connector.poll(1, start + 9 * PAUSE).is_none(), "it is still there");
        drop(node);
        assert!(control.sender.is_closed());
        assert!(connector.poll(0, start + 10 * PAUSE).is_none());
        assert!(connector.poll(0, start + 11 * PAUSE).is_some());
        // Nobody took that one.
        assert!(connector.poll(0, start + 12 * PAUSE).is_none());
        assert!(connector.poll(0, start + 13 * PAUSE).is_none());
        ends.recv().await.expect("it waited");
        assert!(connector.poll(0, start + 14 * PAUSE).is_some());
        drop(ends);
        assert!(connector.poll(0, start + 15 * PAUSE).is_none());
        assert!(connector.poll(0, start + 20 * PAUSE).is_none());
    }
}
