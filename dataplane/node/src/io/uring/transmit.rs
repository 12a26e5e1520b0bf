//! Transmit buffers of the ring. A buffer is free, reserved, or in the kernel's hands: from the
//! moment its SEND is pushed until the completion of that SEND has been read.

use std::io;
use std::net::SocketAddr;

use io_uring::squeue;
use io_uring::{opcode, types};

use super::user_data;
use crate::io::MAX_DATAGRAM;
use crate::io::address::{self, RawAddress};
use crate::io::region::Region;

/// How many: sends complete while they are submitted, so a batch and its successor are plenty.
pub const COUNT: u16 = 256;
/// The address stands behind the payload.
const ADDRESS: usize = MAX_DATAGRAM.next_multiple_of(64);
const STRIDE: usize = (ADDRESS + size_of::<RawAddress>()).next_multiple_of(64);

/// The buffers.
#[derive(Debug)]
pub struct TransmitBuffers {
    data: Region,
    /// Free buffers, the one used last on top: its bytes are still in the cache.
    free: Vec<u16>,
    reserved: Option<u16>,
}

impl TransmitBuffers {
    pub fn new() -> io::Result<Self> {
        let data = Region::new(usize::from(COUNT) * STRIDE)?;
        Ok(Self { data, free: (0..COUNT).rev().collect(), reserved: None })
    }

    /// True when `reserve` would give a buffer.
    pub fn available(&self) -> bool {
        self.reserved.is_some() || !self.free.is_empty()
    }

    /// Buffers in the kernel's hands.
    pub fn in_flight(&self) -> usize {
        usize::from(COUNT) - self.free.len() - usize::from(self.reserved.is_some())
    }

    pub fn reserve(&mut self) -> Option<&mut [u8]> {
        let id = match self.reserved {
            Some(id) => id,
            None => self.free.pop()?,
        };
        self.reserved = Some(id);
        // SAFETY: the buffer is not in flight, so the kernel does not use it.
        Some(unsafe { self.data.bytes(usize::from(id) * STRIDE, MAX_DATAGRAM) })
    }

    /// Turns the reserved buffer into a SEND by the registered socket `local`; from here on it is in
    /// flight. None when nothing is reserved or `len` is too large.
    pub fn take(&mut self, len: usize, local: u8, remote: &SocketAddr) -> Option<squeue::Entry> {
        if len > MAX_DATAGRAM {
            return None;
        }
        let id = self.reserved.take()?;
        let start = usize::from(id) * STRIDE;
        let mut raw = RawAddress::default();
        let address_len = address::encode(remote, &mut raw);
        let room = self.data.at(start + ADDRESS).cast::<RawAddress>();
        // SAFETY: inside this buffer and aligned (offsets are multiples of 64); the buffer is not in
        // flight, so the kernel does not read it yet.
        unsafe { room.write(raw) };
        // MSG_DONTWAIT keeps the kernel from parking a send behind a full socket buffer and reading
        // our bytes again later, when they would be another packet's.
        let entry = opcode::Send::new(
            types::Fixed(u32::from(local)),
            self.data.at(start).cast_const(),
            u32::try_from(len).expect("checked above"),
        )
        .flags(libc::MSG_DONTWAIT)
        .dest_addr(room.cast_const().cast())
        .dest_addr_len(address_len)
        .build()
        .user_data(user_data::send(id));
        Some(entry)
    }

    /// A completion said that the kernel is done with this buffer.
    pub fn complete(&mut self, id: u16) {
        debug_assert!(id < COUNT && !self.free.contains(&id), "each SEND completes once");
        self.free.push(id);
    }
}
