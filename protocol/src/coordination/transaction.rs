//! A compare-and-set transaction and its limits, the same for every back end.

use std::collections::HashSet;

use serde::Serialize;

use super::{Error, LeaseId};
use crate::record;

/// The most comparisons and operations together in one transaction.
pub const MAX_OPERATIONS: usize = 100;
/// The most bytes of keys and values in one transaction (etcd refuses requests above 1.5 MiB).
pub const MAX_BYTES: usize = 1 << 20;

/// What must hold for a transaction to happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent(String),
    /// The key exists, whatever its value.
    Present(String),
    /// The key was last changed by this revision.
    Unchanged {
        /// Which key.
        key: String,
        /// [`super::Entry::mod_revision`] as it was read.
        mod_revision: u64,
    },
}

/// What a transaction does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Creates or changes a key.
    Put {
        /// The key.
        key: String,
        /// Its new value.
        value: Vec<u8>,
        /// The lease that it vanishes with.
        lease: Option<LeaseId>,
    },
    /// Deletes a key; nothing happens when it does not exist.
    Delete(String),
}

impl Operation {
    /// The key that it changes.
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete(key) => key,
        }
    }
}

/// Comparisons, and the operations that follow if all of them hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transaction {
    /// All must hold.
    pub compare: Vec<Compare>,
    /// All happen at one revision; no key may come twice.
    pub then: Vec<Operation>,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It happened.
    Committed {
        /// The revision of its changes.
        revision: u64,
    },
    /// A comparison did not hold, so nothing happened: read anew and decide again.
    Conflict,
}

impl Transaction {
    /// Without any comparison or operation.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if the key does not exist.
    pub fn absent(mut self, key: impl Into<String>) -> Self {
        self.compare.push(Compare::Absent(key.into()));
        self
    }

    /// Only if the key exists.
    pub fn present(mut self, key: impl Into<String>) -> Self {
        self.compare.push(Compare::Present(key.into()));
        self
    }

    /// Only if the key was last changed by this revision.
    pub fn unchanged(mut self, key: impl Into<String>, mod_revision: u64) -> Self {
        self.compare.push(Compare::Unchanged { key: key.into(), mod_revision });
        self
    }

    /// Writes a record.
    pub fn put<T: Serialize>(self, key: impl Into<String>, record: &T) -> Self {
        self.put_bytes(key, record::encode(record), None)
    }

    /// Writes a record that vanishes with a lease.
    pub fn put_leased<T: Serialize>(
        self,
        key: impl Into<String>,
        record: &T,
        lease: LeaseId,
    ) -> Self {
        self.put_bytes(key, record::encode(record), Some(lease))
    }

    /// Writes bytes.
    pub fn put_bytes(
        mut self,
        key: impl Into<String>,
        value: impl Into<Vec<u8>>,
        lease: Option<LeaseId>,
    ) -> Self {
        self.then.push(Operation::Put { key: key.into(), value: value.into(), lease });
        self
    }

    /// Deletes a key.
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.then.push(Operation::Delete(key.into()));
        self
    }

    /// Refuses what one of the back ends would refuse, so that both behave alike.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.compare.len() + self.then.len() > MAX_OPERATIONS {
            return Err(Error::TooLarge);
        }
        let mut bytes = 0;
        let mut keys = HashSet::new();
        for operation in &self.then {
            if operation.key().is_empty() {
                return Err(Error::Invalid("an empty key".into()));
            }
            if !keys.insert(operation.key()) {
                return Err(Error::Invalid(format!("key {} twice", operation.key())));
            }
            bytes += operation.key().len();
            if let Operation::Put { value, .. } = operation {
                bytes += value.len();
            }
        }
        if bytes > MAX_BYTES { Err(Error::TooLarge) } else { Ok(()) }
    }
}
