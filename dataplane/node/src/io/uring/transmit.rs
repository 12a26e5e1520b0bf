//! Transmit buffers of the ring: used one after the other and all free again when the kernel has
//! taken what was submitted. A send carries MSG_DONTWAIT, so it is over, sent or failed, when the
//! io_uring_enter(2) returns that took it: the kernel neither waits for room nor comes back to it.

use std::io;
use std::net::SocketAddr;

use io_uring::squeue::{self, Flags};
use io_uring::{opcode, types};

use super::train::{MAX_PACKETS, Train, Trains};
use super::user_data;
use crate::io::MAX_DATAGRAM;
use crate::io::address::{self, RawAddress};
use crate::io::region::Region;

/// How many: what a busy turn of 40 packets sends to 50 listeners each, so that packets of different
/// speakers for one listener meet in a train. A turn that sends less uses the same few again.
pub const COUNT: u16 = 2048;
/// The address stands right before the payload, so that a send touches no other cache line.
const PAYLOAD: usize = size_of::<RawAddress>().next_multiple_of(16);
/// Behind the payload stands what the kernel must be told of a train that begins in this buffer.
const MESSAGE: usize = (PAYLOAD + MAX_DATAGRAM).next_multiple_of(64);
const STRIDE: usize = (MESSAGE + size_of::<Message>()).next_multiple_of(64);

/// `struct cmsghdr` with the UDP_SEGMENT value of udp(7) behind it.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(8))]
struct SegmentSize {
    len: usize,
    level: libc::c_int,
    kind: libc::c_int,
    value: u16,
}

/// What SENDMSG points to.
#[repr(C)]
struct Message {
    header: libc::msghdr,
    control: SegmentSize,
    parts: [libc::iovec; MAX_PACKETS],
}

/// The buffers.
#[derive(Debug)]
pub struct TransmitBuffers {
    data: Region,
    /// The first free one; it is the reserved one, if any is.
    next: u16,
    reserved: bool,
    pub trains: Trains,
}

impl TransmitBuffers {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            data: Region::populated(usize::from(COUNT) * STRIDE)?,
            next: 0,
            reserved: false,
            trains: Trains::new(),
        })
    }

    /// True when `reserve` would give a buffer.
    #[inline]
    pub fn available(&self) -> bool {
        self.next < COUNT
    }

    #[inline]
    pub fn reserve(&mut self) -> Option<&mut [u8]> {
        if !self.available() {
            return None;
        }
        self.reserved = true;
        let start = usize::from(self.next) * STRIDE + PAYLOAD;
        // SAFETY: a buffer from `next` on was never submitted since `free_all`, so the kernel does
        // not use it.
        Some(unsafe { self.data.bytes(start, MAX_DATAGRAM) })
    }

    /// Queues the reserved buffer; with `alone` for sure in no train. False when nothing is reserved
    /// or `len` is too large.
    #[inline]
    pub fn commit(&mut self, len: usize, local: u8, remote: SocketAddr, alone: bool) -> bool {
        let len = match u16::try_from(len) {
            Ok(len) if usize::from(len) <= MAX_DATAGRAM => len,
            Ok(_) | Err(_) => return false,
        };
        if !std::mem::take(&mut self.reserved) {
            return false;
        }
        if alone {
            self.trains.add_alone(self.next, len, local, remote);
        } else {
            self.trains.add(self.next, len, local, remote);
        }
        self.next += 1;
        true
    }

    /// The kernel is done with all that was submitted, and its failures have been read. What is
    /// reserved stays so.
    pub fn free_all(&mut self) {
        self.trains.clear();
        if !self.reserved {
            self.next = 0;
        }
    }

    /// The request that sends the train at `place`. Only a failure completes: what has no completion
    /// when the call returns that took it was sent.
    #[inline]
    pub fn send(&mut self, place: u16) -> squeue::Entry {
        let train = self.trains.get(usize::from(place));
        let entry = if train.packets == 1 { self.one(&train) } else { self.many(&train) };
        entry.flags(Flags::SKIP_SUCCESS).user_data(user_data::send(place))
    }

    // MSG_DONTWAIT keeps the kernel from parking a send behind a full socket buffer and reading our
    // bytes again later, when they would be another packet's.
    #[inline]
    fn one(&mut self, train: &Train) -> squeue::Entry {
        let (address, address_len) = self.address(train);
        opcode::Send::new(
            types::Fixed(u32::from(train.local)),
            self.payload(train.first).cast_const(),
            u32::from(train.segment),
        )
        .flags(libc::MSG_DONTWAIT)
        .dest_addr(address.cast_const().cast())
        .dest_addr_len(address_len)
        .build()
    }

    fn many(&mut self, train: &Train) -> squeue::Entry {
        let (address, address_len) = self.address(train);
        let place = self.data.at(usize::from(train.first) * STRIDE + MESSAGE).cast::<Message>();
        // SAFETY: inside this buffer and aligned (its offset is a multiple of 64); all-zero, as the
        // region is at first, is a valid Message; the train has not been submitted, so the kernel
        // does not use it.
        let message = unsafe { &mut *place };
        let mut buffer = train.first;
        for part in message.parts.iter_mut().take(usize::from(train.packets)) {
            *part = libc::iovec {
                iov_base: self.payload(buffer).cast(),
                iov_len: usize::from(self.trains.len_of(buffer)),
            };
            buffer = self.trains.after(buffer);
        }
        message.control = SegmentSize {
            // CMSG_LEN(2): the header and the value, without what aligns the next one.
            len: std::mem::offset_of!(SegmentSize, value) + size_of::<u16>(),
            level: libc::SOL_UDP,
            kind: libc::UDP_SEGMENT,
            value: train.segment,
        };
        let header = &mut message.header;
        header.msg_namelen = address_len;
        header.msg_name = address.cast();
        header.msg_iov = message.parts.as_mut_ptr();
        header.msg_iovlen = usize::from(train.packets);
        header.msg_control = (&raw mut message.control).cast();
        header.msg_controllen = size_of::<SegmentSize>();
        opcode::SendMsg::new(types::Fixed(u32::from(train.local)), &raw const message.header)
            .flags(libc::MSG_DONTWAIT as u32)
            .build()
    }

    fn payload(&self, buffer: u16) -> *mut u8 {
        self.data.at(usize::from(buffer) * STRIDE + PAYLOAD)
    }

    /// Writes a train's destination before its first payload.
    #[inline]
    fn address(&mut self, train: &Train) -> (*mut RawAddress, libc::socklen_t) {
        let place = self.data.at(usize::from(train.first) * STRIDE).cast::<RawAddress>();
        // SAFETY: inside this buffer and aligned (its offset is a multiple of 64), plain bytes; the
        // train has not been submitted, so the kernel does not use it.
        let address = unsafe { &mut *place };
        let len = address::encode(&train.remote, address);
        (place, len)
    }
}
