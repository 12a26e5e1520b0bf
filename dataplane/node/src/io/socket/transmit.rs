//! One batch of datagrams to send: the arrays that sendmmsg(2) wants.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use crate::io::address::{self, RawAddress};
use crate::io::{BATCH, IoCounters, MAX_DATAGRAM, TransmitQueue};

/// Room for [`BATCH`] datagrams.
pub struct Queue {
    data: Box<[[u8; MAX_DATAGRAM]; BATCH]>,
    addresses: Box<[RawAddress; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
    parts: Box<[libc::iovec; BATCH]>,
    /// Which socket each one leaves by.
    locals: [u8; BATCH],
    queued: usize,
    sockets: Arc<Vec<UdpSocket>>,
    pub(in crate::io) counters: IoCounters,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("queued", &self.queued).finish_non_exhaustive()
    }
}

impl Queue {
    pub(in crate::io) fn new(sockets: Arc<Vec<UdpSocket>>) -> Self {
        // SAFETY: all-zero is a valid mmsghdr and a valid iovec: null pointers and zero lengths.
        let (headers, parts) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        Self {
            data: vec![[0; MAX_DATAGRAM]; BATCH].try_into().expect("the length is BATCH"),
            addresses: Box::new([RawAddress::default(); BATCH]),
            headers: Box::new(headers),
            parts: Box::new(parts),
            locals: [0; BATCH],
            queued: 0,
            sockets,
            counters: IoCounters::default(),
        }
    }

    /// Sends `start..end`, all by one socket. A datagram that fails is counted and left out.
    fn send_run(&mut self, mut start: usize, end: usize) {
        let socket = self.sockets[usize::from(self.locals[start])].as_raw_fd();
        while start < end {
            let run = &mut self.headers[start..end];
            // SAFETY: the headers of this run were filled by `flush` just now, and point into boxes of
            // `self`, which stay where they are; the kernel has copied all when the call returns.
            let result = unsafe {
                libc::sendmmsg(
                    socket,
                    run.as_mut_ptr(),
                    run.len() as libc::c_uint,
                    libc::MSG_DONTWAIT,
                )
            };
            match usize::try_from(result) {
                Ok(sent) => {
                    let bytes = run[..sent].iter().map(|header| u64::from(header.msg_len));
                    self.counters.sent_bytes += bytes.sum::<u64>();
                    self.counters.sent += sent as u64;
                    self.counters.sends += sent as u64;
                    start += sent;
                }
                Err(_) => {
                    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
                    if errno != libc::EINTR {
                        self.counters.count_send_error(errno);
                        start += 1;
                    }
                }
            }
        }
    }
}

impl TransmitQueue for Queue {
    #[inline]
    fn reserve(&mut self) -> Option<&mut [u8]> {
        // `commit` empties a full batch at once, so there is always room.
        Some(&mut self.data[self.queued][..])
    }

    #[inline]
    fn commit(&mut self, len: usize, local: u8, remote: SocketAddr) {
        if len > MAX_DATAGRAM || usize::from(local) >= self.sockets.len() {
            self.counters.send_failed += 1;
            return;
        }
        let index = self.queued;
        self.locals[index] = local;
        self.parts[index].iov_len = len;
        self.headers[index].msg_hdr.msg_namelen =
            address::encode(&remote, &mut self.addresses[index]);
        self.queued += 1;
        if self.queued == BATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let queued = std::mem::take(&mut self.queued);
        for index in 0..queued {
            self.parts[index].iov_base = self.data[index].as_mut_ptr().cast();
            let header = &mut self.headers[index].msg_hdr;
            header.msg_name = self.addresses[index].0.as_mut_ptr().cast();
            header.msg_iov = &raw mut self.parts[index];
            header.msg_iovlen = 1;
        }
        let mut start = 0;
        while start < queued {
            let local = self.locals[start];
            let same = self.locals[start..queued].iter().take_while(|other| **other == local);
            let end = start + same.count();
            self.send_run(start, end);
            start = end;
        }
    }
}
