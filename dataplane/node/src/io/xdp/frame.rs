//! Ethernet frames with one UDP datagram (RFC 768, 791, 8200): a checked view over one that arrived,
//! and prepared headers for those that are sent. Pure. Only what the XDP program lets through is
//! read: no options, no extension headers, no fragments.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::umem::HEADROOM;
use crate::io::MAX_DATAGRAM;

/// Length of an Ethernet address.
pub const MAC: usize = 6;
/// A hardware address.
pub type MacAddress = [u8; MAC];

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
/// The longest frame that can hold a datagram of ours.
pub const LONGEST: usize = ETHERNET + IPV6 + UDP + MAX_DATAGRAM;

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const PROTOCOL_UDP: u8 = 17;
/// Time to live and hop limit: what Linux uses, too.
const HOPS: u8 = 64;

/// Not a datagram that may be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Some length, the IPv4 checksum or the source is wrong.
    Malformed,
    /// More than [`MAX_DATAGRAM`] bytes.
    TooLong,
}

/// A datagram inside its frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Received<'a> {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub payload: &'a mut [u8],
}

fn array<const LEN: usize>(bytes: &[u8], at: usize) -> Option<[u8; LEN]> {
    bytes.get(at..at + LEN)?.try_into().ok()
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(array(bytes, at)?)))
}

/// Reads a frame that came by the interface with index `interface`. The UDP checksum is neither
/// needed nor trusted: on virtual links it is not filled in, and what matters is authenticated.
///
/// # Errors
/// [`Fault`] says why it is dropped.
#[inline]
pub fn parse(frame: &mut [u8], interface: u32) -> Result<Received<'_>, Fault> {
    let (source, destination, start, len) = addresses(frame, interface).ok_or(Fault::Malformed)?;
    if len > MAX_DATAGRAM {
        return Err(Fault::TooLong);
    }
    let payload = frame.get_mut(start..start + len).ok_or(Fault::Malformed)?;
    Ok(Received { source, destination, payload })
}

/// Source, destination, start and length of the payload.
fn addresses(frame: &[u8], interface: u32) -> Option<(SocketAddr, SocketAddr, usize, usize)> {
    let ip = frame.get(ETHERNET..)?;
    let (source, destination, header, ip_payload): (IpAddr, IpAddr, usize, usize) =
        match array(frame, 12)? {
            ETHERTYPE_IPV4 => {
                let header: [u8; IPV4] = array(ip, 0)?;
                let total = number(ip, 2)?;
                let fragment = number(ip, 6)? & 0x3fff != 0;
                let fits = (IPV4 + UDP..=ip.len()).contains(&total);
                if header[0] != 0x45 || header[9] != PROTOCOL_UDP || fragment || !fits {
                    return None;
                }
                // RFC 1071: the sum over a right header, its checksum included, is all ones.
                if fold(sum(&header)) != u16::MAX {
                    return None;
                }
                let source = Ipv4Addr::from(array::<4>(ip, 12)?);
                let destination = Ipv4Addr::from(array::<4>(ip, 16)?);
                if source.is_broadcast() {
                    return None;
                }
                (source.into(), destination.into(), IPV4, total - IPV4)
            }
            ETHERTYPE_IPV6 => {
                let payload = number(ip, 4)?;
                let fits = (UDP..=ip.len().checked_sub(IPV6)?).contains(&payload);
                if ip[0] >> 4 != 6 || ip[6] != PROTOCOL_UDP || !fits {
                    return None;
                }
                let source = Ipv6Addr::from(array::<16>(ip, 8)?);
                let destination = Ipv6Addr::from(array::<16>(ip, 24)?);
                (source.into(), destination.into(), IPV6, payload)
            }
            _ => return None,
        };
    // As the kernel, which never delivers what could not be answered.
    if source.is_unspecified() || source.is_multicast() || source.is_loopback() {
        return None;
    }
    let udp = ip.get(header..)?;
    let len = number(udp, 4)?;
    if !(UDP..=ip_payload).contains(&len) {
        return None;
    }
    let (source_port, destination_port) = (number(udp, 0)? as u16, number(udp, 2)? as u16);
    let source = match source {
        // The same peer has the same address by the kernel's socket, which tells the scope.
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            SocketAddrV6::new(ip, source_port, 0, interface).into()
        }
        ip => SocketAddr::new(ip, source_port),
    };
    let destination = SocketAddr::new(destination, destination_port);
    Some((source, destination, ETHERNET + header + UDP, len - UDP))
}

/// Sum of 16-bit words in this machine's order (RFC 1071 §2: the order does not matter as long as
/// the result is stored the same way). An odd last byte counts as followed by zero.
#[inline]
fn sum(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(8);
    let mut total = 0u64;
    for chunk in &mut chunks {
        let word = u64::from_ne_bytes(chunk.try_into().expect("chunks of eight"));
        // Halves of 32 bits: at most 200 of them, so nothing overflows.
        total += (word & 0xffff_ffff) + (word >> 32);
    }
    let rest = chunks.remainder();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let word = u64::from_ne_bytes(last);
    total + (word & 0xffff_ffff) + (word >> 32)
}

/// A sum in ones' complement, as 16 bits.
#[inline]
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Headers for one pair of addresses, made once; only lengths, checksums and the next hop's hardware
/// address are filled in for each datagram.
#[derive(Debug, Clone)]
pub struct Template {
    /// The headers, ending where the payload begins.
    bytes: [u8; HEADROOM],
    /// Of all three.
    len: u8,
    /// Of the IP header.
    ip_len: u8,
    /// Sum over the IPv4 header without its length.
    ip_sum: u32,
    /// Sum over the pseudo-header and the ports, without lengths.
    udp_sum: u32,
}

impl Template {
    /// None when the addresses are not of one family.
    pub fn new(source: MacAddress, from: SocketAddr, to: SocketAddr) -> Option<Self> {
        let mut bytes = [0; HEADROOM];
        let ip_len = match (from.ip(), to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let ip = &mut bytes[HEADROOM - UDP - IPV4..];
                ip[0] = 0x45;
                // Never fragmented, so that the identification may be any (RFC 6864 §4.1).
                ip[6] = 0x40;
                ip[8] = HOPS;
                ip[9] = PROTOCOL_UDP;
                ip[12..16].copy_from_slice(&from.octets());
                ip[16..20].copy_from_slice(&to.octets());
                IPV4
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let ip = &mut bytes[HEADROOM - UDP - IPV6..];
                ip[0] = 0x60;
                ip[6] = PROTOCOL_UDP;
                ip[7] = HOPS;
                ip[8..24].copy_from_slice(&from.octets());
                ip[24..40].copy_from_slice(&to.octets());
                IPV6
            }
            _ => return None,
        };
        let len = ETHERNET + ip_len + UDP;
        let ethernet = &mut bytes[HEADROOM - len..];
        ethernet[MAC..2 * MAC].copy_from_slice(&source);
        ethernet[12..14].copy_from_slice(if ip_len == IPV4 {
            &ETHERTYPE_IPV4
        } else {
            &ETHERTYPE_IPV6
        });
        let udp = &mut bytes[HEADROOM - UDP..];
        udp[..2].copy_from_slice(&from.port().to_be_bytes());
        udp[2..4].copy_from_slice(&to.port().to_be_bytes());
        let ip = &bytes[HEADROOM - UDP - ip_len..HEADROOM - UDP];
        let addresses = if ip_len == IPV4 { &ip[12..] } else { &ip[8..] };
        let ports = &bytes[HEADROOM - UDP..HEADROOM - UDP + 4];
        let protocol = u16::from(PROTOCOL_UDP).to_be();
        let udp_sum = fold(sum(addresses) + sum(ports) + u64::from(protocol)).into();
        let ip_sum = fold(sum(ip)).into();
        let (len, ip_len) = (len as u8, ip_len as u8);
        Some(Self { bytes, len, ip_len, ip_sum, udp_sum })
    }

    /// How long the IP packet around a payload is: what must not exceed the MTU.
    pub fn packet_len(&self, payload: usize) -> usize {
        usize::from(self.ip_len) + UDP + payload
    }

    /// Writes the headers before the payload, which is `frame[HEADROOM..]`. Returns the offset of the
    /// frame's first byte.
    #[inline]
    pub fn write(&self, frame: &mut [u8], next_hop: &MacAddress) -> usize {
        let (headers, payload) = frame.split_at_mut(HEADROOM);
        headers.copy_from_slice(&self.bytes);
        let start = HEADROOM - usize::from(self.len);
        headers[start..start + MAC].copy_from_slice(next_hop);
        let ip = &mut headers[start + ETHERNET..];
        let udp_len = (UDP + payload.len()) as u16;
        if usize::from(self.ip_len) == IPV4 {
            let total = IPV4 as u16 + udp_len;
            let checksum = !fold(u64::from(self.ip_sum) + u64::from(total.to_be()));
            ip[2..4].copy_from_slice(&total.to_be_bytes());
            ip[10..12].copy_from_slice(&checksum.to_ne_bytes());
        } else {
            ip[4..6].copy_from_slice(&udp_len.to_be_bytes());
        }
        // The length counts twice: in the pseudo-header and in the header.
        let lengths = 2 * u64::from(udp_len.to_be());
        let checksum = match !fold(u64::from(self.udp_sum) + lengths + sum(payload)) {
            // RFC 768: zero would say that there is none.
            0 => u16::MAX,
            checksum => checksum,
        };
        let udp = &mut headers[HEADROOM - UDP..];
        udp[4..6].copy_from_slice(&udp_len.to_be_bytes());
        udp[6..8].copy_from_slice(&checksum.to_ne_bytes());
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: MacAddress = [2, 0, 0, 0, 0, 1];
    const NEXT: MacAddress = [2, 0, 0, 0, 0, 2];
    const PAIRS: [(&str, &str); 2] =
        [("192.0.2.1:20000", "198.51.100.7:443"), ("[2001:db8::1]:20000", "[2001:db8:1::7]:443")];

    fn frame(pair: (&str, &str), payload: &[u8]) -> Vec<u8> {
        let (from, to) = (pair.0.parse().expect("literal"), pair.1.parse().expect("literal"));
        let template = Template::new(SOURCE, from, to).expect("one family");
        let mut frame = vec![0xee; HEADROOM];
        frame.extend_from_slice(payload);
        let start = template.write(&mut frame, &NEXT);
        assert_eq!(frame.len() - start, template.packet_len(payload.len()) + ETHERNET);
        frame.split_off(start)
    }

    /// The checksum by the letter of RFC 768 and RFC 8200 §8.1, a byte pair at a time.
    fn checksum_is_right(frame: &[u8]) -> bool {
        let ip = &frame[ETHERNET..];
        let (addresses, udp) =
            if ip[0] >> 4 == 4 { (&ip[12..20], &ip[20..]) } else { (&ip[8..40], &ip[40..]) };
        let mut whole = addresses.to_vec();
        whole.extend((udp.len() as u32).to_be_bytes());
        whole.extend([0, 0, 0, 17]);
        whole.extend(udp);
        whole.push(0);
        let total: u64 = whole
            .chunks_exact(2)
            .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]])))
            .sum();
        total.is_multiple_of(0xffff) && udp[6..8] != [0, 0]
    }

    #[test]
    fn what_is_written_is_read() {
        for pair in PAIRS {
            for len in [0, 1, 2, 7, 8, 9, 160, 1100, MAX_DATAGRAM] {
                let payload: Vec<u8> = (0..len).map(|byte| (byte * 7 + 3) as u8).collect();
                let mut frame = frame(pair, &payload);
                assert!(checksum_is_right(&frame), "{pair:?} {len}");
                assert_eq!((&frame[..6], &frame[6..12]), (&NEXT[..], &SOURCE[..]));
                // Ethernet pads short frames; that is no part of the datagram.
                frame.extend([0xaa; 18]);
                let received = parse(&mut frame, 3).expect("well-formed");
                assert_eq!(received.source.to_string(), pair.0);
                assert_eq!(received.destination.to_string(), pair.1);
                assert_eq!(received.payload, payload);
            }
        }
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        // The first two bytes are chosen so that the sum is all ones.
        for pair in PAIRS {
            let plain = frame(pair, &[0, 0]);
            let at = plain.len() - 4;
            let complement = [plain[at], plain[at + 1]];
            let frame = frame(pair, &complement);
            assert_eq!(frame[at..at + 2], [0xff, 0xff]);
            assert!(checksum_is_right(&frame));
        }
    }

    #[test]
    fn families_do_not_mix() {
        let from = PAIRS[0].0.parse().expect("literal");
        assert!(Template::new(SOURCE, from, PAIRS[1].1.parse().expect("literal")).is_none());
    }

    #[test]
    fn no_length_is_believed() {
        for pair in PAIRS {
            let good = frame(pair, &[5; 40]);
            for len in 0..good.len() {
                assert_eq!(parse(&mut good[..len].to_vec(), 1), Err(Fault::Malformed), "{len}");
            }
            // Every single byte of the headers changed: delivered or refused, but never beyond the
            // frame and never in panic.
            for at in 0..62 {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut bad = good.clone();
                    bad[at] = value;
                    if let Ok(received) = parse(&mut bad, 1) {
                        assert!(received.payload.len() <= 40);
                    }
                }
            }
        }
        let mut long = frame(PAIRS[0], &[1; MAX_DATAGRAM + 1]);
        assert_eq!(parse(&mut long, 1), Err(Fault::TooLong));
    }

    #[test]
    fn what_the_kernel_would_not_deliver_is_refused() {
        for source in ["0.0.0.0:1", "224.0.0.1:1", "127.0.0.1:1", "255.255.255.255:1"] {
            let mut frame = frame((source, PAIRS[0].1), b"x");
            assert_eq!(parse(&mut frame, 1), Err(Fault::Malformed), "{source}");
        }
        for source in ["[::]:1", "[ff02::1]:1", "[::1]:1"] {
            let mut frame = frame((source, PAIRS[1].1), b"x");
            assert_eq!(parse(&mut frame, 1), Err(Fault::Malformed), "{source}");
        }
        let mut frame = frame(("[fe80::1]:5", PAIRS[1].1), b"x");
        let source = parse(&mut frame, 9).expect("link-local is fine").source;
        assert_eq!(source, SocketAddrV6::new("fe80::1".parse().expect("literal"), 5, 0, 9).into());
    }
}
