//! All workers' mailboxes, by worker number.

use std::sync::Arc;

use hype_protocol::id::WorkerId;
use hype_sfu::Command;

use crate::worker::Mailbox;

/// Clones post to the same workers.
#[derive(Debug, Clone)]
pub struct Mailboxes(Arc<[Mailbox<Command>]>);

impl Mailboxes {
    /// In the order of worker numbers.
    pub fn new(mailboxes: impl IntoIterator<Item = Mailbox<Command>>) -> Self {
        Self(mailboxes.into_iter().collect())
    }

    /// How many workers there are.
    pub fn count(&self) -> u16 {
        u16::try_from(self.0.len()).expect("the config allows fewer workers")
    }

    /// Posts a command; returns it when the mailbox is full, or there is no such worker.
    pub fn send(&self, worker: WorkerId, command: Command) -> Result<(), Command> {
        match self.0.get(usize::from(worker.0)) {
            Some(mailbox) => mailbox.post(command).map_err(|full| full.0),
            None => Err(command),
        }
    }
}
