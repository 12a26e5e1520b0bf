//! The four rings of an AF_XDP socket (linux/if_xdp.h): single producer, single consumer, in memory
//! that is shared with the kernel. One side is ours, and only indexes cross: an entry belongs to us
//! from the moment that the other side's index has passed it until ours does.

use std::io;
use std::marker::PhantomData;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::io::region::Region;

/// A ring of entries `T`, which are plain numbers to both sides.
#[derive(Debug)]
struct Ring<T> {
    region: Region,
    offsets: libc::xdp_ring_offset,
    mask: u32,
    entries: PhantomData<T>,
}

impl<T: Copy> Ring<T> {
    fn map(
        socket: BorrowedFd<'_>,
        page: libc::off_t,
        offsets: libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        debug_assert!(size.is_power_of_two());
        let place = |offset: u64| usize::try_from(offset).expect("offsets are small");
        let len = place(offsets.desc) + size as usize * size_of::<T>();
        let region = Region::shared(len, socket, page)?;
        Ok(Self { region, offsets, mask: size - 1, entries: PhantomData })
    }

    fn number(&self, offset: u64) -> &AtomicU32 {
        let place = self.region.at(offset as usize).cast::<u32>();
        // SAFETY: inside the mapping, which outlives the reference; the kernel puts its indexes at
        // aligned places, and both sides use them as atomics.
        unsafe { AtomicU32::from_ptr(place) }
    }

    fn producer(&self) -> &AtomicU32 {
        self.number(self.offsets.producer)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.number(self.offsets.consumer)
    }

    fn needs_wakeup(&self) -> bool {
        self.number(self.offsets.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    fn entry(&self, index: u32) -> *mut T {
        let slot = (index & self.mask) as usize;
        self.region.at(self.offsets.desc as usize + slot * size_of::<T>()).cast()
    }
}

/// A ring that we fill: the fill ring, the transmit ring.
#[derive(Debug)]
pub struct Producer<T> {
    ring: Ring<T>,
    /// Our index, ahead of the published one.
    next: u32,
    /// The kernel's index as last seen.
    consumed: u32,
}

impl<T: Copy> Producer<T> {
    /// Maps a ring that was made with `size` entries.
    ///
    /// # Safety
    /// `T` is the type of this ring's entries, and nobody else produces into it.
    pub unsafe fn map(
        socket: BorrowedFd<'_>,
        page: libc::off_t,
        offsets: libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        Ok(Self { ring: Ring::map(socket, page, offsets, size)?, next: 0, consumed: 0 })
    }

    /// Writes an entry; false when the ring is full. The kernel sees it after `publish`.
    #[inline]
    pub fn push(&mut self, entry: T) -> bool {
        if self.next.wrapping_sub(self.consumed) > self.ring.mask {
            self.consumed = self.ring.consumer().load(Ordering::Acquire);
            if self.next.wrapping_sub(self.consumed) > self.ring.mask {
                return false;
            }
        }
        // SAFETY: inside the ring, aligned, and ours: the kernel's index is past it, ours is not.
        unsafe { self.ring.entry(self.next).write(entry) };
        self.next = self.next.wrapping_add(1);
        true
    }

    /// Lets the kernel see what was pushed.
    #[inline]
    pub fn publish(&mut self) {
        self.ring.producer().store(self.next, Ordering::Release);
    }

    /// Entries that the kernel has not taken yet.
    pub fn waiting(&mut self) -> u32 {
        self.consumed = self.ring.consumer().load(Ordering::Acquire);
        self.next.wrapping_sub(self.consumed)
    }

    /// True when the kernel looks at the ring only after a system call.
    pub fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }
}

/// A ring that the kernel fills: the receive ring, the completion ring.
#[derive(Debug)]
pub struct Consumer<T> {
    ring: Ring<T>,
    next: u32,
    /// The kernel's index as last seen.
    produced: u32,
}

impl<T: Copy> Consumer<T> {
    /// Maps a ring that was made with `size` entries.
    ///
    /// # Safety
    /// `T` is the type of this ring's entries, and nobody else consumes from it.
    pub unsafe fn map(
        socket: BorrowedFd<'_>,
        page: libc::off_t,
        offsets: libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        Ok(Self { ring: Ring::map(socket, page, offsets, size)?, next: 0, produced: 0 })
    }

    /// True when an entry is there.
    #[inline]
    pub fn is_ready(&self) -> bool {
        self.next != self.produced || self.next != self.ring.producer().load(Ordering::Relaxed)
    }

    /// The next entry. Its place goes back to the kernel at `release`.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.next == self.produced {
            self.produced = self.ring.producer().load(Ordering::Acquire);
            if self.next == self.produced {
                return None;
            }
        }
        // SAFETY: inside the ring, aligned, and ours: the kernel's index is past it, ours is not.
        let entry = unsafe { self.ring.entry(self.next).read() };
        self.next = self.next.wrapping_add(1);
        Some(entry)
    }

    /// Gives the places of what was popped back.
    #[inline]
    pub fn release(&mut self) {
        self.ring.consumer().store(self.next, Ordering::Release);
    }
}
