//! What the kernel knows of the network, by rtnetlink (RFC 3549): routes and neighbours, asked one at
//! a time, and news of their changes. Asked at control rate only; a question is one send and one
//! receive, which the kernel answers on the spot.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, RawFd};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

use super::frame::MacAddress;

/// Longer than any single message of the kinds that are asked for.
const BUFFER: usize = 64 << 10;
/// Messages of news that are read in one turn of the worker.
const NEWS_PER_TURN: usize = 64;
/// Receive buffer for news, in bytes.
const NEWS_BUFFER: usize = 1 << 20;
/// Multicast groups of linux/rtnetlink.h: links, neighbours, then addresses, routes and rules of
/// both families, and what routes may refer to for their next hop.
const GROUPS: [u32; 9] = [1, 3, 5, 7, 8, 9, 11, 19, 32];

/// Where a datagram goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Index of the interface.
    pub interface: u32,
    /// The router, or none when the destination itself is the neighbour.
    pub gateway: Option<IpAddr>,
    /// The route's own MTU, if it has one.
    pub mtu: Option<u32>,
}

/// A neighbour that the kernel has an address for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    pub mac: MacAddress,
    /// Nobody has heard of it lately: the kernel shall check it with the next datagram.
    pub stale: bool,
}

/// An interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    pub ethernet: bool,
    pub up: bool,
    /// It resolves no addresses: whatever is sent is taken.
    pub no_arp: bool,
    pub mac: MacAddress,
    pub mtu: u32,
    /// Receive queues that it was made with.
    pub receive_queues: u32,
}

/// Something that changed.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// A neighbour; none when it cannot be used (any more).
    Neighbour { interface: u32, ip: IpAddr, neighbour: Option<Neighbour> },
    /// An interface is new, gone or otherwise than before.
    Link { interface: u32 },
    /// Addresses, routes or rules: whatever was asked before may be wrong now.
    Routes,
}

/// Asks.
pub struct Questions {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Questions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Questions").finish_non_exhaustive()
    }
}

fn family(ip: IpAddr) -> (AddressFamily, u8) {
    if ip.is_ipv4() { (AddressFamily::Inet, 32) } else { (AddressFamily::Inet6, 128) }
}

fn route_address(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

impl Questions {
    /// For the network namespace of the calling thread.
    pub fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        // The answer is there when the question's send returns; if not, it never comes.
        socket.set_non_blocking(true)?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(BUFFER) })
    }

    fn ask(&mut self, question: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(question);
        message.header.flags = NLM_F_REQUEST;
        message.header.sequence_number = self.sequence;
        message.finalize();
        self.buffer.resize(message.buffer_len(), 0);
        message.serialize(&mut self.buffer);
        self.socket.send(&self.buffer, 0)?;
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&self.buffer)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
            // A late answer to an earlier question is passed over.
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::InnerMessage(message) => Ok(message),
                NetlinkPayload::Error(error) => Err(error.to_io()),
                _ => Err(io::ErrorKind::InvalidData.into()),
            };
        }
    }

    /// The way of a datagram. None when it is not plainly sent to one neighbour (local, broadcast,
    /// tunnelled): the kernel knows how.
    pub fn route(&mut self, from: IpAddr, to: IpAddr) -> io::Result<Option<Route>> {
        let mut message = RouteMessage::default();
        (message.header.address_family, message.header.destination_prefix_length) = family(to);
        message.header.source_prefix_length = message.header.destination_prefix_length;
        message.attributes.push(RouteAttribute::Destination(to.into()));
        message.attributes.push(RouteAttribute::Source(from.into()));
        match self.ask(RouteNetlinkMessage::GetRoute(message))? {
            RouteNetlinkMessage::NewRoute(answer) => Ok(plain_route(&answer)),
            _ => Ok(None),
        }
    }

    /// What the kernel knows of a neighbour; none when it knows no address.
    pub fn neighbour(&mut self, interface: u32, ip: IpAddr) -> io::Result<Option<Neighbour>> {
        let mut message = NeighbourMessage::default();
        (message.header.family, _) = family(ip);
        message.header.ifindex = interface;
        message.attributes.push(NeighbourAttribute::Destination(match ip {
            IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
            IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
        }));
        match self.ask(RouteNetlinkMessage::GetNeighbour(message)) {
            Ok(RouteNetlinkMessage::NewNeighbour(answer)) => Ok(usable(&answer)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// An interface by its index.
    pub fn link(&mut self, index: u32) -> io::Result<Link> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let RouteNetlinkMessage::NewLink(answer) =
            self.ask(RouteNetlinkMessage::GetLink(message))?
        else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let flags = answer.header.flags;
        let mut link = Link {
            ethernet: answer.header.link_layer_type == LinkLayerType::Ether,
            up: flags.contains(LinkFlags::Up),
            no_arp: flags.contains(LinkFlags::Noarp),
            mac: MacAddress::default(),
            mtu: 0,
            receive_queues: 1,
        };
        for attribute in &answer.attributes {
            match attribute {
                LinkAttribute::Address(bytes) => {
                    link.mac = bytes.as_slice().try_into().unwrap_or_default();
                }
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::NumRxQueues(count) => link.receive_queues = *count,
                _ => {}
            }
        }
        Ok(link)
    }
}

fn plain_route(answer: &RouteMessage) -> Option<Route> {
    if answer.header.kind != RouteType::Unicast {
        return None;
    }
    let mut route = Route { interface: 0, gateway: None, mtu: None };
    for attribute in &answer.attributes {
        match attribute {
            RouteAttribute::Oif(index) => route.interface = *index,
            RouteAttribute::Gateway(ip) => route.gateway = Some(route_address(ip)?),
            RouteAttribute::Via(RouteVia::Inet(ip)) => route.gateway = Some((*ip).into()),
            RouteAttribute::Via(RouteVia::Inet6(ip)) => route.gateway = Some((*ip).into()),
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            RouteAttribute::Via(_)
            | RouteAttribute::Encap(_)
            | RouteAttribute::EncapType(_)
            | RouteAttribute::MultiPath(_) => return None,
            _ => {}
        }
    }
    (route.interface != 0).then_some(route)
}

fn usable(message: &NeighbourMessage) -> Option<Neighbour> {
    let stale = match message.header.state {
        NeighbourState::Stale => true,
        NeighbourState::Reachable
        | NeighbourState::Delay
        | NeighbourState::Probe
        | NeighbourState::Noarp
        | NeighbourState::Permanent => false,
        _ => return None,
    };
    let mac = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
        _ => None,
    })?;
    Some(Neighbour { mac, stale })
}

/// Hears of changes.
pub struct Newsreader {
    socket: Socket,
    buffer: Vec<u8>,
}

impl std::fmt::Debug for Newsreader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Newsreader").finish_non_exhaustive()
    }
}

impl AsRawFd for Newsreader {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Newsreader {
    /// From now on, of the network namespace of the calling thread.
    pub fn new() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        // A smaller buffer loses news sooner, which is noticed and mended.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(NEWS_BUFFER);
        for group in GROUPS {
            socket.add_membership(group)?;
        }
        Ok(Self { socket, buffer: Vec::with_capacity(BUFFER) })
    }

    /// Reads some of what there is.
    pub fn read(&mut self, mut tell: impl FnMut(News)) {
        for _ in 0..NEWS_PER_TURN {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => self.parse(&mut tell),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // ENOBUFS: some news is lost, so nothing can be relied on.
                Err(_) => tell(News::Routes),
            }
        }
    }

    fn parse(&self, tell: &mut impl FnMut(News)) {
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) else {
                // What cannot be read may have been anything.
                return tell(News::Routes);
            };
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewNeighbour(message)) => {
                    tell_neighbour(&message, usable(&message), tell);
                }
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelNeighbour(message)) => {
                    tell_neighbour(&message, None, tell);
                }
                NetlinkPayload::InnerMessage(
                    RouteNetlinkMessage::NewLink(message) | RouteNetlinkMessage::DelLink(message),
                ) => tell(News::Link { interface: message.header.index }),
                // A new address makes routes, of which there is news; most are old ones that live on.
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(_)) => {}
                _ => tell(News::Routes),
            }
            // Messages are padded to four bytes.
            let len = (message.header.length as usize).next_multiple_of(4).max(16);
            rest = rest.get(len..).unwrap_or_default();
        }
    }
}

fn tell_neighbour(
    message: &NeighbourMessage,
    neighbour: Option<Neighbour>,
    tell: &mut impl FnMut(News),
) {
    let ip = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::from(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::from(*ip)),
        _ => None,
    });
    // Bridges tell of hardware addresses alone, which is nothing to us.
    if let Some(ip) = ip {
        tell(News::Neighbour { interface: message.header.ifindex, ip, neighbour });
    }
}
