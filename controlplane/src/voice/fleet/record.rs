//! Nodes' records from the coordination store: `node/{id}/live` and `node/{id}/spec`.

use std::collections::HashSet;

use hype_protocol::coordination::Entry;
use hype_protocol::id::NodeId;
use hype_protocol::key;
use hype_protocol::record::{self, NodeLive, NodeSpec, NodeState};
use tokio::time::Instant;

use super::{Fleet, Node};

enum Kind {
    Live,
    Spec,
}

/// Whose record a key is; none for keys that this release does not know.
fn parse(key: &str) -> Option<(NodeId, Kind)> {
    let (node, kind) = key.strip_prefix(key::NODES)?.split_once('/')?;
    let kind = match kind {
        "live" => Kind::Live,
        "spec" => Kind::Spec,
        _ => return None,
    };
    Some((node.parse().ok()?, kind))
}

impl Fleet {
    /// All records as they are now: what is not among them is gone.
    pub fn handle_records(&mut self, entries: &[Entry], now: Instant) {
        let mut registered = HashSet::new();
        let mut specified = HashSet::new();
        for entry in entries {
            match parse(&entry.key) {
                Some((node, Kind::Live)) => registered.insert(node),
                Some((node, Kind::Spec)) => specified.insert(node),
                None => continue,
            };
            self.handle_record(entry, now);
        }
        for (id, node) in &mut self.nodes {
            if !registered.contains(id) {
                node.registered = false;
            }
            if !specified.contains(id) {
                node.state = NodeState::default();
            }
        }
    }

    /// One record is new or changed.
    pub fn handle_record(&mut self, entry: &Entry, now: Instant) {
        let Some((id, kind)) = parse(&entry.key) else { return };
        let node = self.nodes.entry(id).or_insert_with(|| Node::new(now));
        let outcome = match kind {
            Kind::Live => record::decode::<NodeLive>(&entry.value).map(|live| {
                node.live = Some(live);
                node.registered = true;
            }),
            Kind::Spec => record::decode::<NodeSpec>(&entry.value).map(|spec| {
                node.state = spec.state;
            }),
        };
        if let Err(error) = outcome {
            // Not acted upon; a node of a newer release is not placed on.
            tracing::warn!(key = entry.key, %error, "node record ignored");
        }
    }

    /// One record is gone.
    pub fn handle_record_deleted(&mut self, key: &str) {
        let Some((id, kind)) = parse(key) else { return };
        let Some(node) = self.nodes.get_mut(&id) else { return };
        match kind {
            Kind::Live => node.registered = false,
            Kind::Spec => node.state = NodeState::default(),
        }
    }
}
