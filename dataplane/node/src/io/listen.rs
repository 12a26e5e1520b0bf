//! Makes a worker's UDP sockets: one per local address, so that a reply leaves from the address
//! that the peer checked.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

/// Socket buffers in bytes: 4 MiB hold 40 ms of 100,000 voice packets a second. The kernel counts
/// its own overhead too, and doubles the figure for that.
const SOCKET_BUFFER: usize = 4 << 20;

/// Binds a UDP socket for a worker: never shared (no SO_REUSEPORT), IPv6 only where it is IPv6,
/// with large buffers as far as the system allows, and never fragmented by this host.
///
/// # Errors
/// When the address is not local, or its port is taken.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Without privilege the kernel cuts the sizes to net.core.{r,w}mem_max: smaller buffers lose
    // more in bursts, but work.
    if set_int(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, SOCKET_BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    }
    if set_int(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, SOCKET_BUFFER).is_err() {
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    }
    // RFC 8899 style: send what fits, never fragment, and do not believe forged ICMP about it.
    let (level, option, probe) = if address.is_ipv6() {
        (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE)
    } else {
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)
    };
    set_int(&socket, level, option, probe as usize)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Sets a socket option whose value is an int.
pub(super) fn set_int(
    socket: &impl AsRawFd,
    level: i32,
    option: i32,
    value: usize,
) -> io::Result<()> {
    let value = libc::c_int::try_from(value).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: `value` lives through the call, and the length given is its own.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Keeps the kernel from joining datagrams for this socket into one (UDP GRO).
pub(super) fn forbid_joining(socket: &UdpSocket) {
    // A kernel that cannot join them refuses the option, and is right as it is.
    let _ = set_int(socket, libc::SOL_UDP, libc::UDP_GRO, 0);
}

/// How many datagrams the kernel dropped because the socket's receive buffer was full.
pub(super) fn receive_overflow(socket: &UdpSocket) -> u64 {
    let mut values = [0u32; MEMINFO_VALUES];
    let mut len = size_of_val(&values) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, which is the size of `values`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            values.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result == 0 { u64::from(values[MEMINFO_DROPS]) } else { 0 }
}

/// SK_MEMINFO_VARS and SK_MEMINFO_DROPS of linux/sock_diag.h.
const MEMINFO_VALUES: usize = 9;
const MEMINFO_DROPS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_taken_once() {
        let first = bind("127.0.0.1:0".parse().expect("a literal")).expect("a free port");
        let address = first.local_addr().expect("it is bound");
        let error = bind(address).expect_err("the port is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let error = bind("192.0.2.1:0".parse().expect("a literal")).expect_err("not local");
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn ipv6_sockets_leave_ipv4_alone() {
        let v6 = bind("[::1]:0".parse().expect("a literal")).expect("a free port");
        assert!(socket2::SockRef::from(&v6).only_v6().expect("it is IPv6"));
    }
}
