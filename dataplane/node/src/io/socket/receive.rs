//! One batch of received datagrams: the arrays that recvmmsg(2) wants.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use crate::io::address::{self, ADDRESS_LEN, RawAddress};
use crate::io::{BATCH, MAX_DATAGRAM};

/// Room for [`BATCH`] datagrams.
pub struct ReceiveBatch {
    data: Box<[[u8; MAX_DATAGRAM]; BATCH]>,
    addresses: Box<[RawAddress; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
    parts: Box<[libc::iovec; BATCH]>,
    filled: usize,
    /// Index of the socket that the batch came by.
    pub local: u8,
}

impl std::fmt::Debug for ReceiveBatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReceiveBatch").field("filled", &self.filled).finish_non_exhaustive()
    }
}

impl ReceiveBatch {
    pub fn new() -> Self {
        // SAFETY: all-zero is a valid mmsghdr and a valid iovec: null pointers and zero lengths.
        let (headers, parts) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        Self {
            data: vec![[0; MAX_DATAGRAM]; BATCH].try_into().expect("the length is BATCH"),
            addresses: Box::new([RawAddress::default(); BATCH]),
            headers: Box::new(headers),
            parts: Box::new(parts),
            filled: 0,
            local: 0,
        }
    }

    /// How many datagrams the last `fill` got.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Receives what `socket` has, without waiting.
    pub fn fill(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.filled = 0;
        for index in 0..BATCH {
            // Written anew each time: the kernel overwrites the lengths, and pointers made now are
            // good whatever was borrowed since.
            self.parts[index] = libc::iovec {
                iov_base: self.data[index].as_mut_ptr().cast(),
                iov_len: MAX_DATAGRAM,
            };
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = self.addresses[index].0.as_mut_ptr().cast();
            header.msg_namelen = ADDRESS_LEN as libc::socklen_t;
            header.msg_iov = &raw mut self.parts[index];
            header.msg_iovlen = 1;
            header.msg_flags = 0;
        }
        // SAFETY: BATCH headers, each with one part and an address of the lengths given, all inside
        // boxes of `self`, which nobody else uses during the call; no control data, no timeout.
        let result = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        self.filled = usize::try_from(result).map_err(|_| io::Error::last_os_error())?;
        Ok(self.filled)
    }

    /// A datagram of the batch. None when it was longer than [`MAX_DATAGRAM`] or has no address that
    /// we know.
    pub fn datagram(&mut self, index: usize) -> Option<(SocketAddr, &mut [u8])> {
        let header = &self.headers[..self.filled][index];
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let name_len = (header.msg_hdr.msg_namelen as usize).min(ADDRESS_LEN);
        let source = address::decode(&self.addresses[index].0[..name_len])?;
        Some((source, self.data[index].get_mut(..header.msg_len as usize)?))
    }
}
