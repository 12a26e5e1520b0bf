//! What is asked of a network card by ioctl(2) SIOCETHTOOL (linux/ethtool.h): how many queues it has,
//! and rules that send a UDP port to a queue. Numbers are written at their offsets in the kernel's
//! structures.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{Domain, Socket, Type};

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const GET_CHANNELS: u32 = 0x3c;
const DELETE_RULE: u32 = 0x31;
const INSERT_RULE: u32 = 0x32;
const UDP_V4_FLOW: u32 = 2;
const UDP_V6_FLOW: u32 = 6;
/// The driver chooses the rule's place.
const ANY_PLACE: u32 = u32::MAX;

/// `struct ethtool_channels`: command, four maxima, then counts of receive, transmit, other and
/// combined queues.
const CHANNELS: usize = 36;
const CHANNELS_RECEIVE: usize = 20;
const CHANNELS_COMBINED: usize = 32;

/// `struct ethtool_rxnfc`, with its rule (`struct ethtool_rx_flow_spec`) from 16 on.
const REQUEST: usize = 192;
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
    let mut request = Request::new(INSERT_RULE);
    let (flow, offset) = if ipv6 { (UDP_V6_FLOW, PORT_V6) } else { (UDP_V4_FLOW, PORT_V4) };
    request.set(4, flow);
    request.set(FLOW_TYPE, flow);
    request.0[VALUES + offset..][..2].copy_from_slice(&port.to_be_bytes());
    request.0[MASKS + offset..][..2].fill(0xff);
    request.0[QUEUE..][..8].copy_from_slice(&u64::from(queue).to_ne_bytes());
    request.set(PLACE, ANY_PLACE);
    request
}

impl Rule {
    /// From now on, UDP datagrams of one family for `port` come by `queue`.
    ///
    /// # Errors
    /// Where the driver has no such rules, or no place for one more.
    pub fn insert(interface: &str, port: u16, ipv6: bool, queue: u32) -> io::Result<Self> {
        let mut request = rule(port, ipv6, queue);
        request.send(interface)?;
        Ok(Self { interface: interface.to_owned(), place: request.get(PLACE) })
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        let mut request = Request::<REQUEST>::new(DELETE_RULE);
        request.set(PLACE, self.place);
        if let Err(error) = request.send(&self.interface) {
            tracing::warn!(%error, interface = self.interface, place = self.place,
                "cannot remove a steering rule");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes that ethtool(8) sends for `-N IF flow-type udp4 dst-port 20001 action 3`.
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
    fn loopback_has_no_rules() {
        Rule::insert("lo", 1, false, 0).expect_err("loopback is no network card");
        assert!(receive_queues("no-such-interface-name").is_err());
    }
}
