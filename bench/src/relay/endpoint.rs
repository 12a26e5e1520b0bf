//! The generator's socket: one wildcard UDP socket that stands for everybody's address. It sends
//! from any of them, and tells of each datagram that came for whom it was and when the kernel had
//! it (SO_TIMESTAMPNS), so that how soon it is read here says nothing about the node. Datagrams may
//! be taken joined (UDP_GRO), as a card with segmentation offload lets the sender's kernel do.

use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, SockFlag, SockType,
    SockaddrIn, bind, getsockname, recvmmsg, sendmsg, setsockopt, socket, sockopt,
};

/// Datagrams, or trains of joined ones, of one receive call.
pub const BATCH: usize = 64;
/// Room for the largest datagram.
const LARGEST: usize = 1600;
/// Room for the longest train.
const LONGEST: usize = 1 << 16;

/// A datagram that came.
#[derive(Debug)]
pub struct Arrival<'a> {
    /// For whom.
    pub to: Ipv4Addr,
    /// When the kernel had it, since the Unix epoch.
    pub at: Duration,
    /// Its UDP payload.
    pub datagram: &'a [u8],
}

/// Gives a socket room for what comes while nobody reads; without the right to it, for less.
///
/// # Errors
/// When it is no socket.
pub fn widen(socket: &impl AsFd, bytes: usize) -> nix::Result<()> {
    setsockopt(socket, sockopt::RcvBufForce, &bytes)
        .or_else(|_| setsockopt(socket, sockopt::RcvBuf, &bytes))
}

/// The socket.
pub struct Endpoint {
    socket: OwnedFd,
    headers: MultiHeaders<SockaddrIn>,
    buffers: Vec<Vec<u8>>,
    joined: bool,
}

impl Endpoint {
    /// Binds it to a free port of all addresses; with `joined` trains come as they were sent.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn bind(joined: bool) -> anyhow::Result<Self> {
        let fd = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_NONBLOCK, None)?;
        setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?;
        setsockopt(&fd, sockopt::ReceiveTimestampns, &true)?;
        setsockopt(&fd, sockopt::UdpGroSegment, &joined)?;
        widen(&fd, 32 << 20)?;
        bind(fd.as_raw_fd(), &SockaddrIn::new(0, 0, 0, 0, 0))?;
        let room = if joined { LONGEST } else { LARGEST };
        Ok(Self { socket: fd, headers: headers(), buffers: vec![vec![0; room]; BATCH], joined })
    }

    /// The port that it got.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn port(&self) -> anyhow::Result<u16> {
        let address: SockaddrIn = getsockname(self.socket.as_raw_fd())?;
        Ok(address.port())
    }

    /// Sends from one of the addresses that it stands for.
    pub fn send(&self, from: Ipv4Addr, to: SocketAddrV4, datagram: &[u8]) {
        let info = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let (to, parts) = (SockaddrIn::from(to), [IoSlice::new(datagram)]);
        let control = [ControlMessage::Ipv4PacketInfo(&info)];
        let fd = self.socket.as_raw_fd();
        // What the kernel refuses shows up as a loss.
        let _ = sendmsg(fd, &parts, &control, MsgFlags::MSG_DONTWAIT, Some(&to));
    }

    /// Gives each datagram of one receive call to `each`, and returns how many messages the call
    /// got: [`BATCH`] when there may be more.
    pub fn receive(&mut self, mut each: impl FnMut(Arrival<'_>)) -> usize {
        let mut parts: Vec<[IoSliceMut<'_>; 1]> =
            self.buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
        let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_DONTWAIT);
        let messages = recvmmsg(fd, &mut self.headers, parts.iter_mut(), flags, None);
        let Ok(messages) = messages else { return 0 };
        let mut count = 0;
        for message in messages {
            count += 1;
            let Some(bytes) = message.iovs().next() else { continue };
            let (mut to, mut at, mut segment) = (Ipv4Addr::UNSPECIFIED, Duration::ZERO, 0);
            for control in message.cmsgs().into_iter().flatten() {
                match control {
                    ControlMessageOwned::Ipv4PacketInfo(info) => {
                        to = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes());
                    }
                    ControlMessageOwned::ScmTimestampns(time) => at = Duration::from(time),
                    ControlMessageOwned::UdpGroSegments(size) => {
                        segment = usize::try_from(size).unwrap_or(0);
                    }
                    _ => {}
                }
            }
            let segment = if segment == 0 { bytes.len().max(1) } else { segment };
            bytes.chunks(segment).for_each(|datagram| each(Arrival { to, at, datagram }));
        }
        if self.joined && count > 0 {
            // The call has left each header as much room for control messages as came last, and
            // only trains come with their size.
            self.headers = headers();
        }
        count
    }
}

fn headers() -> MultiHeaders<SockaddrIn> {
    let control = nix::cmsg_space!(libc::in_pktinfo, libc::timespec, libc::c_int);
    MultiHeaders::preallocate(BATCH, Some(control))
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime, UNIX_EPOCH};

    use super::*;

    /// Receives until `count` datagrams came; each as destination, time and length.
    fn receive(endpoint: &mut Endpoint, count: usize) -> Vec<(Ipv4Addr, Duration, usize)> {
        let (began, mut all) = (Instant::now(), Vec::new());
        while all.len() < count && began.elapsed().as_secs() < 30 {
            endpoint.receive(|it| all.push((it.to, it.at, it.datagram.len())));
        }
        all
    }

    #[test]
    fn datagrams_come_with_their_destination_and_time() {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let (from, to) = (Ipv4Addr::new(127, 77, 0, 1), Ipv4Addr::new(127, 77, 0, 2));
        for joined in [false, true] {
            let mut endpoint = Endpoint::bind(joined).expect("a free port");
            let port = endpoint.port().expect("it is bound");
            let before = now();
            for len in [100, 0, 1500] {
                endpoint.send(from, SocketAddrV4::new(to, port), &vec![7; len]);
            }
            let mut all = receive(&mut endpoint, 2);
            // Loopback keeps no order for a sender that is moved to another core.
            all.sort_by_key(|it| it.2);
            assert_eq!(all.iter().map(|it| it.2).collect::<Vec<_>>(), [100, 1500]);
            // The switch that makes the kernel note times is slow to act: then it is the time of
            // reading.
            assert!(all.iter().all(|it| it.0 == to && (before..=now()).contains(&it.1)), "{all:?}");
        }
    }

    #[test]
    fn trains_are_told_apart_whatever_came_before() {
        let mut endpoint = Endpoint::bind(true).expect("a free port");
        let address = SocketAddrV4::new(Ipv4Addr::new(127, 77, 0, 3), endpoint.port().expect("it"));
        for _ in 0..3 {
            endpoint.send(Ipv4Addr::new(127, 77, 0, 4), address, &[1; 50]);
            assert_eq!(receive(&mut endpoint, 1)[0].2, 50);
            let sender = std::net::UdpSocket::bind("127.77.0.5:0").expect("a free port");
            let control = [ControlMessage::UdpGsoSegments(&300)];
            let (parts, to) = ([IoSlice::new(&[2; 1000])], SockaddrIn::from(address));
            let flags = MsgFlags::empty();
            sendmsg(sender.as_raw_fd(), &parts, &control, flags, Some(&to)).expect("loopback");
            let lens: Vec<_> = receive(&mut endpoint, 4).iter().map(|it| it.2).collect();
            assert_eq!(lens, [300, 300, 300, 100]);
        }
    }
}
