//! Transmit buffers of the ring. A buffer is free, reserved, queued in a train, or in the kernel's
//! hands: from the moment its SEND or SENDMSG is pushed until its completion has been read.

use std::io;
use std::net::SocketAddr;

use io_uring::squeue;
use io_uring::{opcode, types};

use super::train::{MAX_PACKETS, Train, Trains};
use super::user_data;
use crate::io::MAX_DATAGRAM;
use crate::io::address::{self, RawAddress};
use crate::io::region::Region;

/// How many: what a busy turn of 40 packets sends to 50 listeners each, so that packets of different
/// speakers for one listener meet in a train. A turn that sends less uses the same few again.
pub const COUNT: u16 = 2048;
/// Behind the payload stands what the kernel must be told of a send that begins in this buffer.
const MESSAGE: usize = MAX_DATAGRAM.next_multiple_of(64);
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

/// What SENDMSG points to; for a SEND only the address is used.
#[repr(C)]
struct Message {
    address: RawAddress,
    header: libc::msghdr,
    control: SegmentSize,
    parts: [libc::iovec; MAX_PACKETS],
}

/// The buffers.
#[derive(Debug)]
pub struct TransmitBuffers {
    data: Region,
    /// Free buffers, the one used last on top: its bytes are still in the cache.
    free: Vec<u16>,
    reserved: Option<u16>,
    pub trains: Trains,
    /// By their first buffer: trains in the kernel's hands.
    flying: Box<[Option<Train>]>,
    in_flight: usize,
}

impl TransmitBuffers {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            data: Region::populated(usize::from(COUNT) * STRIDE)?,
            free: (0..COUNT).rev().collect(),
            reserved: None,
            trains: Trains::new(),
            flying: vec![None; usize::from(COUNT)].into_boxed_slice(),
            in_flight: 0,
        })
    }

    /// True when `reserve` would give a buffer.
    #[inline]
    pub fn available(&self) -> bool {
        self.reserved.is_some() || !self.free.is_empty()
    }

    /// Sends in the kernel's hands.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    #[inline]
    pub fn reserve(&mut self) -> Option<&mut [u8]> {
        let id = match self.reserved {
            Some(id) => id,
            None => self.free.pop()?,
        };
        self.reserved = Some(id);
        // SAFETY: the buffer is not in flight, so the kernel does not use it.
        Some(unsafe { self.data.bytes(usize::from(id) * STRIDE, MAX_DATAGRAM) })
    }

    /// Queues the reserved buffer. False when nothing is reserved or `len` is too large.
    #[inline]
    pub fn commit(&mut self, len: usize, local: u8, remote: SocketAddr) -> bool {
        let len = match u16::try_from(len) {
            Ok(len) if usize::from(len) <= MAX_DATAGRAM => len,
            Ok(_) | Err(_) => return false,
        };
        let Some(id) = self.reserved.take() else { return false };
        self.trains.add(id, len, local, remote);
        true
    }

    /// The request that sends a train; from here on its buffers are in flight.
    pub fn send(&mut self, train: Train) -> squeue::Entry {
        self.flying[usize::from(train.first)] = Some(train);
        self.in_flight += 1;
        let entry = if train.packets == 1 { self.one(&train) } else { self.many(&train) };
        entry.user_data(user_data::send(train.first))
    }

    fn message(&mut self, buffer: u16) -> &mut Message {
        let message = self.data.at(usize::from(buffer) * STRIDE + MESSAGE).cast::<Message>();
        // SAFETY: inside this buffer and aligned (its offset is a multiple of 64); all-zero, as the
        // region is at first, is a valid Message; the buffer's send has not been pushed, or its
        // completion was read, so the kernel does not use it.
        unsafe { &mut *message }
    }

    // MSG_DONTWAIT keeps the kernel from parking a send behind a full socket buffer and reading our
    // bytes again later, when they would be another packet's.
    fn one(&mut self, train: &Train) -> squeue::Entry {
        let start = usize::from(train.first) * STRIDE;
        let message = self.message(train.first);
        let address_len = address::encode(&train.remote, &mut message.address);
        let address: *const RawAddress = &raw const message.address;
        opcode::Send::new(
            types::Fixed(u32::from(train.local)),
            self.data.at(start).cast_const(),
            u32::from(train.segment),
        )
        .flags(libc::MSG_DONTWAIT)
        .dest_addr(address.cast())
        .dest_addr_len(address_len)
        .build()
    }

    fn many(&mut self, train: &Train) -> squeue::Entry {
        let mut parts = [const { libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 } }; _];
        let mut buffer = train.first;
        for part in parts.iter_mut().take(usize::from(train.packets)) {
            *part = libc::iovec {
                iov_base: self.data.at(usize::from(buffer) * STRIDE).cast(),
                iov_len: usize::from(self.trains.len_of(buffer)),
            };
            buffer = self.trains.after(buffer);
        }
        let message = self.message(train.first);
        message.parts = parts;
        message.control = SegmentSize {
            // CMSG_LEN(2): the header and the value, without what aligns the next one.
            len: std::mem::offset_of!(SegmentSize, value) + size_of::<u16>(),
            level: libc::SOL_UDP,
            kind: libc::UDP_SEGMENT,
            value: train.segment,
        };
        let header = &mut message.header;
        header.msg_namelen = address::encode(&train.remote, &mut message.address);
        header.msg_name = (&raw mut message.address).cast();
        header.msg_iov = message.parts.as_mut_ptr();
        header.msg_iovlen = usize::from(train.packets);
        header.msg_control = (&raw mut message.control).cast();
        header.msg_controllen = size_of::<SegmentSize>();
        opcode::SendMsg::new(types::Fixed(u32::from(train.local)), &raw const message.header)
            .flags(libc::MSG_DONTWAIT as u32)
            .build()
    }

    /// A completion said that the kernel is done with the train that begins with this buffer.
    pub fn landed(&mut self, first: u16) -> Option<Train> {
        let train = self.flying.get_mut(usize::from(first))?.take();
        debug_assert!(train.is_some(), "each send completes once");
        self.in_flight -= usize::from(train.is_some());
        train
    }

    /// Frees a train's buffers.
    #[inline]
    pub fn release(&mut self, train: &Train) {
        let mut buffer = train.first;
        for _ in 0..train.packets {
            self.free.push(buffer);
            buffer = self.trains.after(buffer);
        }
    }

    /// Names the packets of a train, each as a train of its own.
    pub fn split(&self, train: &Train, mut each: impl FnMut(Train)) {
        let mut buffer = train.first;
        for _ in 0..train.packets {
            each(train.alone(buffer, self.trains.len_of(buffer)));
            buffer = self.trains.after(buffer);
        }
    }
}
