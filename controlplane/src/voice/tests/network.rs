//! Nodes that dial over QUIC with certificates of one authority.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hype_protocol::identity::{Authority, Identity, Subject};
use hype_protocol::record::ControlLive;
use quinn::Endpoint;
use tokio::task::JoinHandle;

use super::*;

/// A loopback address of this process alone.
fn own_address() -> IpAddr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(127, 60 + a % 4, b, c.clamp(1, 254)))
}

struct Network {
    authority: Authority,
    directory: PathBuf,
    replica: Replica,
    store: coordination::Store,
    address: SocketAddr,
}

impl Network {
    async fn start(name: &str) -> Self {
        let (_memory, store) = memory();
        let replica = Replica::start(store.clone()).await;
        let directory = replica.database.join(name);
        let authority = Authority::open(&directory.join("authority")).expect("a new authority");
        let control = Subject::Control(replica.voice.control().clone());
        let identity = authority.issue(&control, &directory.join("control")).expect("issued");
        let address = SocketAddr::new(own_address(), 0);
        let address =
            replica.voice.listen(identity, address, Vec::new()).await.expect("it is free");
        Self { authority, directory, replica, store, address }
    }

    fn identity(&self, subject: &Subject) -> Identity {
        let directory = self.directory.join(subject.dns_name());
        self.authority.issue(subject, &directory).expect("issued")
    }

    /// Dials as somebody and opens the stream; the task pumps it until the connection ends.
    async fn dial(&self, subject: &Subject) -> (pipe::NodeEnd, JoinHandle<()>) {
        let identity = self.identity(subject);
        let mut endpoint =
            Endpoint::client(SocketAddr::new(own_address(), 0)).expect("loopback can be bound");
        endpoint.set_default_client_config(identity.client_config().expect("a valid identity"));
        let name = Subject::Control(self.replica.voice.control().clone()).dns_name();
        let connecting = endpoint.connect(self.address, &name).expect("a valid address");
        let connection = timeout(PATIENCE, connecting).await.expect("it answers").expect("trusted");
        let (node_end, control_end) = pipe::pair();
        let pump = tokio::spawn(async move {
            // Both fail once the other side closes, which is what the tests wait for.
            if let Ok((writer, reader)) = connection.open_bi().await {
                let _ = pipe::carry(control_end, writer, reader).await;
            }
            drop(endpoint);
        });
        (node_end, pump)
    }
}

fn hello(node: &NodeId) -> FromNode {
    FromNode::Hello { node: node.clone(), boot: BootId(1), secret: BootSecret([9; 32]) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_connects_over_quic_and_serves() {
    let network = Network::start("serve").await;
    let voice = &network.replica.voice;
    let key = key::control_live(voice.control());
    let live: ControlLive = loop {
        let fetched = network.store.get(&key).await.expect("it is there");
        if let Some(entry) = fetched.entry {
            break record::decode(&entry.value).expect("we wrote it");
        }
        sleep(Duration::from_millis(10)).await;
    };
    assert_eq!(live.link, [network.address]);

    let id: NodeId = "node-1".parse().expect("a valid name");
    Node::register(&network.store, &id, 1, 2).await;
    let (end, pump) = network.dial(&Subject::Node(id.clone())).await;
    let mut node = Node { id: id.clone(), end };
    node.say(hello(&id)).await;
    network.replica.until("the node is ready", |voice| voice.ready()).await;
    let seat = voice.place(ROOM).await.expect("there is a node");
    let open = opening(&seat, 21, 1);
    voice.open(&seat, open.clone()).expect("the node is connected");
    assert_eq!(node.hear().await, ToNode::Open(Box::new(open)));

    voice.stop().await;
    timeout(PATIENCE, pump).await.expect("the connection is closed").expect("no panic");
    let fetched = network.store.get(&key).await.expect("it is there");
    assert_eq!(fetched.entry, None, "the announcement is taken back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_announcement_is_made_again() {
    let network = Network::start("announce").await;
    let key = key::control_live(network.replica.voice.control());
    let mut watch = network.store.watch(&key, 1).await.expect("it is there");
    let first = timeout(PATIENCE, watch.next()).await.expect("announced").expect("goes on");
    assert!(matches!(&first[0], coordination::Change::Put(_)));
    // The only lease of this store.
    network.store.revoke(coordination::LeaseId(1)).await.expect("it lives");
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(timeout(PATIENCE, watch.next()).await.expect("changes").expect("goes on"));
    }
    assert!(matches!(&seen[0], coordination::Change::Delete { .. }));
    assert!(matches!(&seen[1], coordination::Change::Put(_)));
    network.replica.voice.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_nodes_under_their_own_name_are_let_in() {
    let network = Network::start("refuse").await;
    let voice = &network.replica.voice;
    let id: NodeId = "node-1".parse().expect("a valid name");
    Node::register(&network.store, &id, 1, 2).await;
    let control = Subject::Control("c99".parse().expect("a valid name"));
    let stranger = Subject::Node("node-2".parse().expect("a valid name"));
    for subject in [control, stranger] {
        let (end, pump) = network.dial(&subject).await;
        // It may be cut before it can even say so.
        let _ = end.sender.send(hello(&id)).await;
        timeout(PATIENCE, pump).await.expect("it is cut").expect("no panic");
        assert!(!voice.ready(), "{subject} must not pass for node-1");
        assert_eq!(voice.state().fleet.connected(), 0);
    }
    let elsewhere = network.directory.join("elsewhere");
    let foreign = Authority::open(&elsewhere).expect("a new authority");
    let identity = foreign.issue(&Subject::Node(id.clone()), &elsewhere.join("node"));
    let identity = identity.expect("issued");
    let mut endpoint =
        Endpoint::client(SocketAddr::new(own_address(), 0)).expect("loopback can be bound");
    endpoint.set_default_client_config(identity.client_config().expect("a valid identity"));
    let name = Subject::Control(voice.control().clone()).dns_name();
    let connecting = endpoint.connect(network.address, &name).expect("a valid address");
    let refused = timeout(PATIENCE, connecting).await.expect("it is decided");
    assert!(refused.is_err(), "another fleet's authority is not trusted");
    voice.stop().await;
}
