//! Buffers that multishot RECVMSG fills, and the ring by which they are lent to the kernel
//! (io_uring_register_buf_ring(3)). A buffer belongs to the kernel from `give` until a completion
//! names it, and to us until it is given again.

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::{BufRingEntry, RecvMsgOut};

use crate::io::address::{self, ADDRESS_LEN};
use crate::io::region::Region;

/// How many; a power of two. What does not fit waits in the socket's own buffer.
pub const COUNT: u16 = 256;
/// The one buffer group of a ring.
pub const GROUP: u16 = 0;
/// `struct io_uring_recvmsg_out` stands before the address and the payload.
const HEADER: usize = 16;
/// Room for the one control message that we ask for: UDP_GRO of udp(7), an int.
const CONTROL: usize = 24;
/// Packets of one flow that the kernel merged (UDP generic receive offload) take up to 64 KiB.
const LEN: usize = HEADER + ADDRESS_LEN + CONTROL + (1 << 16);
/// Distance of buffers: whole cache lines, and no multiple of a page, which would put all of their
/// beginnings into the same few sets of the cache. Pages that no packet reaches take no memory.
const STRIDE: usize = LEN.next_multiple_of(64) + 64;

/// The buffers and their ring.
#[derive(Debug)]
pub struct ReceiveBuffers {
    ring: Region,
    data: Region,
    tail: u16,
}

/// What a buffer holds: one datagram, or several of one sender that the kernel merged.
pub struct Filled<'a> {
    pub source: std::net::SocketAddr,
    /// All of it.
    pub payload: &'a mut [u8],
    /// Size of each datagram; only the last may be shorter.
    pub segment: usize,
}

impl ReceiveBuffers {
    /// Makes the buffers, registers their ring and lends all of them to the kernel.
    pub fn new(submitter: &Submitter<'_>) -> io::Result<Self> {
        let ring = Region::new(usize::from(COUNT) * size_of::<BufRingEntry>())?;
        let data = Region::new(usize::from(COUNT) * STRIDE)?;
        // SAFETY: the ring's memory is page-aligned, has COUNT entries, and is unmapped only after
        // `Uring::drop` has unregistered it.
        unsafe { submitter.register_buf_ring_with_flags(ring.at(0) as u64, COUNT, GROUP, 0)? };
        let mut buffers = Self { ring, data, tail: 0 };
        for id in 0..COUNT {
            buffers.give(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// What a multishot RECVMSG needs to know: how much room address and control message take.
    pub fn message_header() -> libc::msghdr {
        // SAFETY: all-zero is a valid msghdr: null pointers and zero lengths.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_namelen = ADDRESS_LEN as libc::socklen_t;
        header.msg_controllen = CONTROL;
        header
    }

    /// What is in buffer `id`, of which the kernel filled `len` bytes. None when it was cut or has no
    /// address that we know.
    pub fn filled(&mut self, id: u16, len: usize, header: &libc::msghdr) -> Option<Filled<'_>> {
        assert!(id < COUNT, "the kernel returns only what it was given");
        let len = len.min(LEN);
        // SAFETY: a completion named this buffer, and it has not been given back since: it is ours.
        let bytes = unsafe { self.data.bytes(usize::from(id) * STRIDE, len) };
        let message = RecvMsgOut::parse(bytes, header).ok()?;
        if message.is_payload_truncated() {
            return None;
        }
        let source = address::decode(message.name_data())?;
        let payload_len = message.payload_data().len();
        let segment = merged_segment(message.control_data()).unwrap_or(payload_len);
        let start = HEADER + ADDRESS_LEN + CONTROL;
        Some(Filled { source, payload: bytes.get_mut(start..start + payload_len)?, segment })
    }

    /// Puts a buffer into the ring; the kernel sees it at the next `publish`.
    pub fn give(&mut self, id: u16) {
        assert!(id < COUNT, "only our own buffers are given");
        let slot = usize::from(self.tail % COUNT) * size_of::<BufRingEntry>();
        let entry = self.ring.at(slot).cast::<BufRingEntry>();
        let address = self.data.at(usize::from(id) * STRIDE) as u64;
        // SAFETY: the slot is inside the ring and aligned (16 bytes in a page); the kernel reads only
        // slots before the published tail, and there are as many slots as buffers, so this one is
        // free. The setters do not touch the tail, which overlays the first slot's last two bytes.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address);
        entry.set_len(LEN as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows the kernel all that was given.
    pub fn publish(&mut self) {
        let base = self.ring.at(0).cast::<BufRingEntry>().cast_const();
        // SAFETY: `base` is the registered ring's start, as `tail` asks. The kernel only reads the
        // tail, so a shared atomic over it is sound; release orders the entries before it.
        unsafe {
            let tail = BufRingEntry::tail(base).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

/// The size in a UDP_GRO control message: `struct cmsghdr` (length, level, type), then an int. The
/// kernel adds one only to what it merged.
fn merged_segment(control: &[u8]) -> Option<usize> {
    let int = |at: usize| control.get(at..at + 4)?.try_into().ok().map(libc::c_int::from_ne_bytes);
    let ours = int(8)? == libc::SOL_UDP && int(12)? == libc::UDP_GRO;
    usize::try_from(int(16)?).ok().filter(|size| ours && *size > 0)
}
