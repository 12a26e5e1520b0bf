//! What is asked of a network card by ioctl(2) SIOCETHTOOL (linux/ethtool.h): how many queues it has,
//! and rules that send a UDP port to a queue. Numbers are written at their offsets in the kernel's
//! structures.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const GET_CHANNELS: u32 = 0x3c;
const COUNT_RULES: u32 = 0x2e;
const GET_RULE: u32 = 0x2f;
const LIST_RULES: u32 = 0x30;
const DELETE_RULE: u32 = 0x31;
const INSERT_RULE: u32 = 0x32;
const UDP_V4_FLOW: u32 = 2;
const UDP_V6_FLOW: u32 = 6;
/// The driver chooses the rule's place, where it can (RX_CLS_LOC_SPECIAL says so).
const ANY_PLACE: u32 = u32::MAX;
const CAN_CHOOSE: u32 = 1 << 31;

/// `struct ethtool_channels`: command, four maxima, then counts of receive, transmit, other and
/// combined queues.
const CHANNELS: usize = 36;
const CHANNELS_RECEIVE: usize = 20;
const CHANNELS_COMBINED: usize = 32;

/// `struct ethtool_rxnfc`, with its rule (`struct ethtool_rx_flow_spec`) from 16 on.
const REQUEST: usize = 192;
/// In answers: places in the card's table, with [`CAN_CHOOSE`].
const TABLE: usize = 8;
/// How many rules there are, or places that the list behind it has room for.
const COUNT: usize = 184;
const LIST: usize = 188;
/// Rules of one card that are looked through: cards have room for some thousands.
const MOST_RULES: usize = 8192;
const FLOW_TYPE: usize = 16;
const VALUES: usize = 20;
const MASKS: usize = 16 + 76;
const QUEUE: usize = 16 + 152;
const PLACE: usize = 16 + 160;
/// Destination port in `struct ethtool_tcpip4_spec` and `ethtool_tcpip6_spec`.
const PORT_V4: usize = 10;
const PORT_V6: usize = 34;

/// One request; the answer is written over it.
#[repr(C, align(8))]
struct Request<const LEN: usize>([u8; LEN]);

impl<const LEN: usize> Request<LEN> {
    fn new(command: u32) -> Self {
        let mut request = Self([0; LEN]);
        request.set(0, command);
        request
    }

    fn of_rule(command: u32, place: u32) -> Self {
        let mut request = Self::new(command);
        request.set(PLACE, place);
        request
    }

    fn set(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    }

    fn get(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    fn send(&mut self, interface: &str) -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        // SAFETY: all-zero is a valid ifreq: an empty name and a null pointer.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if interface.len() >= request.ifr_name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_data = self.0.as_mut_ptr().cast();
        // SAFETY: the request and what it points to live through the call, and the kernel writes no
        // more than the command's structure, which is LEN bytes long.
        let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// Queues that an interface receives by at present.
///
/// # Errors
/// Where the driver does not tell.
pub fn receive_queues(interface: &str) -> io::Result<u32> {
    let mut request = Request::<CHANNELS>::new(GET_CHANNELS);
    request.send(interface)?;
    Ok(request.get(CHANNELS_RECEIVE) + request.get(CHANNELS_COMBINED))
}

/// A rule in a network card; removed when dropped.
#[derive(Debug)]
pub struct Rule {
    interface: String,
    place: u32,
}

fn rule(port: u16, ipv6: bool, queue: u32) -> Request<REQUEST> {
    let mut request = Request::of_rule(INSERT_RULE, ANY_PLACE);
    let (flow, offset) = if ipv6 { (UDP_V6_FLOW, PORT_V6) } else { (UDP_V4_FLOW, PORT_V4) };
    request.set(4, flow);
    request.set(FLOW_TYPE, flow);
    request.0[VALUES + offset..][..2].copy_from_slice(&port.to_be_bytes());
    request.0[MASKS + offset..][..2].fill(0xff);
    request.0[QUEUE..][..8].copy_from_slice(&u64::from(queue).to_ne_bytes());
    request
}

/// Whether two rules are about the same datagrams, whichever queue these go to.
fn same_flow(one: &Request<REQUEST>, other: &Request<REQUEST>) -> bool {
    one.0[FLOW_TYPE..QUEUE] == other.0[FLOW_TYPE..QUEUE]
}

/// The rules that a card has.
#[derive(Debug)]
struct Table {
    /// Places, used and free; with [`CAN_CHOOSE`].
    size: u32,
    used: Vec<u32>,
}

impl Table {
    fn read(interface: &str) -> io::Result<Self> {
        let mut request = Request::<REQUEST>::new(COUNT_RULES);
        request.send(interface)?;
        // 64 bits, of which only the lower half is used.
        let size = u64::from_ne_bytes(*request.0[TABLE..].first_chunk().expect("eight bytes"));
        let (size, count) = (size as u32, request.get(COUNT) as usize);
        if count > MOST_RULES {
            return Err(io::Error::other(format!("it has {count} rules already")));
        }
        // One that is added meanwhile by somebody else makes the list fail, not longer.
        let mut list = Box::new(Request::<{ LIST + 4 * MOST_RULES }>::new(LIST_RULES));
        list.set(COUNT, count as u32);
        list.send(interface)?;
        let used = (0..count.min(list.get(COUNT) as usize)).map(|n| list.get(LIST + 4 * n));
        Ok(Self { size, used: used.collect() })
    }

    /// Where a new rule goes: where the driver likes, or to the last free place, as ethtool(8) does.
    fn place(&self) -> Option<u32> {
        if self.size & CAN_CHOOSE != 0 {
            return Some(ANY_PLACE);
        }
        (0..self.size).rev().find(|place| !self.used.contains(place))
    }
}

impl Rule {
    /// From now on, UDP datagrams of one family for `port` come by `queue`. A rule for the same
    /// datagrams is replaced: a node that was killed leaves its own behind.
    ///
    /// # Errors
    /// Where the driver has no such rules, or no place for one more.
    pub fn insert(interface: &str, port: u16, ipv6: bool, queue: u32) -> io::Result<Self> {
        let mut request = rule(port, ipv6, queue);
        let mut table = Table::read(interface)?;
        table.used.retain(|place| !replaces(interface, &request, *place));
        let place = table.place().ok_or_else(|| io::Error::other("all places are taken"))?;
        request.set(PLACE, place);
        request.send(interface)?;
        Ok(Self { interface: interface.to_owned(), place: request.get(PLACE) })
    }
}

/// Removes the rule at a place if the wanted one is about the same datagrams; true when it is gone.
fn replaces(interface: &str, wanted: &Request<REQUEST>, place: u32) -> bool {
    let mut found = Request::of_rule(GET_RULE, place);
    let ours = found.send(interface).is_ok() && same_flow(&found, wanted);
    ours && Request::<REQUEST>::of_rule(DELETE_RULE, place).send(interface).is_ok()
}

impl Drop for Rule {
    fn drop(&mut self) {
        let mut request = Request::<REQUEST>::of_rule(DELETE_RULE, self.place);
        if let Err(error) = request.send(&self.interface) {
            tracing::warn!(%error, interface = self.interface, place = self.place,
                "cannot remove a steering rule");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that ethtool(8) sends for `-N IF flow-type udp4 dst-port 20001 action 3` where the
    /// driver chooses the place.
    #[test]
    fn a_rule_is_laid_out_as_the_kernel_reads_it() {
        let request = rule(20_001, false, 3);
        let mut expected = [0u8; 192];
        expected[0] = 0x32;
        expected[4] = 2;
        expected[16] = 2;
        expected[30..32].copy_from_slice(&[0x4e, 0x21]);
        expected[102..104].fill(0xff);
        expected[168] = 3;
        expected[176..180].fill(0xff);
        assert_eq!(request.0, expected);
        let request = rule(20_001, true, 0);
        assert_eq!((request.get(4), request.get(16)), (6, 6));
        assert_eq!(request.0[54..56], [0x4e, 0x21]);
        assert_eq!(request.0[126..128], [0xff, 0xff]);
    }

    #[test]
    fn a_rule_goes_to_the_last_free_place_unless_the_driver_chooses() {
        let place = |size, used: &[u32]| Table { size, used: used.to_vec() }.place();
        assert_eq!(place(8, &[]), Some(7));
        assert_eq!(place(8, &[7, 6, 3]), Some(5));
        assert_eq!(place(2, &[0, 1]), None);
        assert_eq!(place(CAN_CHOOSE | 2, &[0, 1]), Some(ANY_PLACE));
    }

    #[test]
    fn a_rule_of_a_node_that_was_killed_is_known_again() {
        let mut left = rule(20_001, false, 3);
        left.set(0, GET_RULE);
        left.set(PLACE, 17);
        assert!(same_flow(&left, &rule(20_001, false, 0)));
        assert!(!same_flow(&left, &rule(20_002, false, 3)));
        assert!(!same_flow(&left, &rule(20_001, true, 3)));
    }

    #[test]
    fn loopback_has_no_rules() {
        Rule::insert("lo", 1, false, 0).expect_err("loopback is no network card");
        assert!(receive_queues("no-such-interface-name").is_err());
    }
}
