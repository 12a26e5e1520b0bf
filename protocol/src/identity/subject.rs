//! Who a certificate is for, as its one DNS name: `{id}.node.hype` or `{id}.control.hype`.

use std::fmt;

use crate::id::{ControlId, NodeId};

const NODE: &str = ".node.hype";
const CONTROL: &str = ".control.hype";

/// What the owner of a certificate may act as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A media node.
    Node,
    /// A replica of the control plane.
    Control,
}

/// The owner of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A media node.
    Node(NodeId),
    /// A replica of the control plane.
    Control(ControlId),
}

impl Subject {
    /// Its role.
    pub fn role(&self) -> Role {
        match self {
            Self::Node(_) => Role::Node,
            Self::Control(_) => Role::Control,
        }
    }

    /// The DNS name in its certificate.
    pub fn dns_name(&self) -> String {
        match self {
            Self::Node(id) => format!("{id}{NODE}"),
            Self::Control(id) => format!("{id}{CONTROL}"),
        }
    }

    /// Whose name this is; none when it is no name of the fleet.
    pub fn from_dns_name(name: &str) -> Option<Self> {
        if let Some(id) = name.strip_suffix(NODE) {
            id.parse().ok().map(Self::Node)
        } else if let Some(id) = name.strip_suffix(CONTROL) {
            id.parse().ok().map(Self::Control)
        } else {
            None
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.dns_name())
    }
}
