//! Socket addresses as the kernel writes them (struct sockaddr_in, sockaddr_in6), without pointers
//! into foreign memory: fields are written and read by their offsets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

/// Size of `sockaddr_in6`, the longest kind that is used here.
pub const ADDRESS_LEN: usize = 28;
/// Size of `sockaddr_in`.
const V4_LEN: usize = 16;

/// Room for one address, aligned as the kernel's structures are.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C, align(4))]
pub struct RawAddress(pub [u8; ADDRESS_LEN]);

/// Writes an address; returns its length in bytes.
pub fn encode(address: &SocketAddr, out: &mut RawAddress) -> libc::socklen_t {
    let bytes = &mut out.0;
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    let (family, len) = match address {
        SocketAddr::V4(v4) => {
            bytes[4..8].copy_from_slice(&v4.ip().octets());
            bytes[8..V4_LEN].fill(0);
            (libc::AF_INET, V4_LEN)
        }
        SocketAddr::V6(v6) => {
            bytes[4..8].copy_from_slice(&v6.flowinfo().to_ne_bytes());
            bytes[8..24].copy_from_slice(&v6.ip().octets());
            bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
            (libc::AF_INET6, ADDRESS_LEN)
        }
    };
    let family = libc::sa_family_t::try_from(family).expect("families are small numbers");
    bytes[..2].copy_from_slice(&family.to_ne_bytes());
    libc::socklen_t::try_from(len).expect("an address is short")
}

/// Reads an address; none when it is neither IPv4 nor IPv6, or cut.
pub fn decode(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
    let port = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
    match libc::c_int::from(family) {
        libc::AF_INET => {
            let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), port))
        }
        libc::AF_INET6 => {
            // The flow label is left out: it may change from packet to packet, and the address is
            // a key by which packets find their session.
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let scope = u32::from_ne_bytes(bytes.get(24..28)?.try_into().ok()?);
            Some(SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for text in ["127.0.0.1:1", "255.1.2.3:65535", "[::1]:443", "[2001:db8::7]:9"] {
            let address: SocketAddr = text.parse().expect("a literal");
            let mut raw = RawAddress([0xff; ADDRESS_LEN]);
            let len = encode(&address, &mut raw) as usize;
            assert_eq!(decode(&raw.0[..len]), Some(address));
            assert_eq!(decode(&raw.0[..len - 9]), None, "{text} cut");
        }
        assert_eq!(decode(&[0; ADDRESS_LEN]), None);
    }

    /// Against the system's own structures, so that offsets are not merely self-consistent.
    #[test]
    fn layout_is_the_systems() {
        use std::mem::{offset_of, size_of};
        assert_eq!(size_of::<libc::sockaddr_in>(), V4_LEN);
        assert_eq!(size_of::<libc::sockaddr_in6>(), ADDRESS_LEN);
        assert_eq!(offset_of!(libc::sockaddr_in, sin_port), 2);
        assert_eq!(offset_of!(libc::sockaddr_in, sin_addr), 4);
        assert_eq!(offset_of!(libc::sockaddr_in6, sin6_port), 2);
        assert_eq!(offset_of!(libc::sockaddr_in6, sin6_flowinfo), 4);
        assert_eq!(offset_of!(libc::sockaddr_in6, sin6_addr), 8);
        assert_eq!(offset_of!(libc::sockaddr_in6, sin6_scope_id), 24);
    }
}
