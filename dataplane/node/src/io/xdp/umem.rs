//! The memory of one worker's AF_XDP sockets (their UMEM): frames of one size, the first ones for
//! receiving, the rest for sending. Every frame is either ours or the kernel's; which one, the rings
//! say.

use std::io;
use std::sync::Arc;

use crate::io::MAX_DATAGRAM;
use crate::io::region::Region;

/// Bytes of a frame. The kernel keeps 256 of them before what it receives.
pub const FRAME: usize = 2048;
/// Room for headers before the payload of a frame to be sent: the longest (Ethernet, IPv6, UDP) fit,
/// and the payload begins a cache line.
pub const HEADROOM: usize = 64;
/// Cache lines by which headers may begin later than their frame.
const SHIFTS: usize = 8;
const _: () = assert!((SHIFTS - 1) * 64 + HEADROOM + MAX_DATAGRAM <= FRAME);

/// A run of frames. The two of one UMEM never overlap, so each can lend its bytes by itself.
#[derive(Debug)]
pub struct Frames {
    memory: Arc<Memory>,
    first: usize,
    count: usize,
}

#[derive(Debug)]
struct Memory(Region);

// SAFETY: nothing is reached through a shared `Memory` but addresses; bytes are lent by `Frames`,
// whose runs do not overlap, and only through `&mut`.
unsafe impl Sync for Memory {}

/// Makes `receive` + `transmit` frames; returns both runs.
pub fn allocate(receive: usize, transmit: usize) -> io::Result<(Frames, Frames)> {
    let memory = Arc::new(Memory(Region::populated((receive + transmit) * FRAME)?));
    let first = Frames { memory: Arc::clone(&memory), first: 0, count: receive };
    Ok((first, Frames { memory, first: receive, count: transmit }))
}

/// Where the headers' room begins in the frame at `frame`, which is to be sent. Not everywhere at the
/// same distance: what lies a power of two apart shares few sets of a cache, and a batch would push
/// itself out of it.
#[inline]
pub fn headers_at(frame: u64) -> u64 {
    // Of two frames together, which lie half of the nearest cache's sets apart.
    let shift = frame / (2 * FRAME as u64) % SHIFTS as u64;
    frame + shift * 64
}

impl Frames {
    /// Address and length of the whole memory, as the kernel wants it.
    pub fn whole(&self) -> (u64, u64) {
        let total = self.memory.0.len();
        (self.memory.0.at(0) as u64, total as u64)
    }

    /// The kernel's addresses of this run's frames.
    pub fn addresses(&self) -> impl Iterator<Item = u64> + use<> {
        (self.first..self.first + self.count).map(|frame| (frame * FRAME) as u64)
    }

    /// The address of the frame that `address` lies in.
    pub fn base(address: u64) -> u64 {
        address & !(FRAME as u64 - 1)
    }

    /// `len` bytes from the kernel's address `address` on; none when they are not inside one frame
    /// of this run.
    ///
    /// # Safety
    /// The frame must be ours at the moment, and stay so as long as the slice lives.
    #[inline]
    pub unsafe fn bytes(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let start = usize::try_from(address).ok()?;
        let frame = start / FRAME;
        let inside = frame >= self.first && frame < self.first + self.count;
        if !inside || len == 0 || start % FRAME + len > FRAME {
            return None;
        }
        // SAFETY: inside the mapping by the check above, initialised (zero pages), aligned for
        // bytes; exclusive by the caller's promise, by `&mut self`, and because runs do not overlap.
        Some(unsafe { std::slice::from_raw_parts_mut(self.memory.0.at(start), len) })
    }
}
