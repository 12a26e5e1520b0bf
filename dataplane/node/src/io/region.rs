//! Page-aligned memory that the kernel reads or writes while a ring lives. It is reached through
//! a raw pointer only, so that no Rust reference ever covers bytes that the kernel may be using.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// Of x86-64, and of arm64 with small pages of 4 KiB.
const HUGE_PAGE: usize = 2 << 20;

/// A mapping: anonymous and private (zeroed at first), or shared with a descriptor.
#[derive(Debug)]
pub struct Region {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping belongs to the process, not to a thread; nothing here is bound to the thread
// that made it.
unsafe impl Send for Region {}

impl Region {
    /// Maps `len` bytes; a page takes memory only once it is touched.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn new(len: usize) -> io::Result<Self> {
        let region = Self::map(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)?;
        // A huge page would take 2 MiB for the first byte. A kernel without huge pages refuses,
        // and needs no advice.
        // SAFETY: exactly the range that was mapped just now; the advice changes no contents.
        unsafe { libc::madvise(region.start.as_ptr().cast(), len, libc::MADV_NOHUGEPAGE) };
        Ok(region)
    }

    /// Maps `len` bytes, rounded up to huge pages, and takes all of their memory at once: as huge
    /// pages where there are any, so that what is used seldom needs few walks through page tables.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn populated(len: usize) -> io::Result<Self> {
        let len = len.next_multiple_of(HUGE_PAGE);
        let region = Self::map(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)?;
        for advice in [libc::MADV_HUGEPAGE, libc::MADV_POPULATE_WRITE] {
            // SAFETY: exactly the range that was mapped just now; the advice changes no contents. A
            // kernel that does not know it gives small pages, or gives them later.
            unsafe { libc::madvise(region.start.as_ptr().cast(), len, advice) };
        }
        Ok(region)
    }

    /// Maps `len` bytes of what `descriptor` offers at `offset`, such as a ring of the kernel's.
    ///
    /// # Errors
    /// When the descriptor has no such part.
    pub fn shared(len: usize, descriptor: BorrowedFd<'_>, offset: libc::off_t) -> io::Result<Self> {
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        Self::map(len, flags, descriptor.as_raw_fd(), offset)
    }

    fn map(len: usize, flags: i32, descriptor: i32, offset: libc::off_t) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice overlaps nothing; the result
        // is checked.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, descriptor, offset) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    /// Bytes of the mapping.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Address of the byte at `offset`.
    ///
    /// # Panics
    /// When it is outside: offsets come from our own constants, never from a packet.
    pub fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.len, "offset is inside the region");
        // SAFETY: just checked to be inside the mapping.
        unsafe { self.start.as_ptr().add(offset) }
    }

    /// The bytes from `offset` on.
    ///
    /// # Safety
    /// Nobody else, the kernel included, may use these bytes as long as the slice lives.
    pub unsafe fn bytes(&mut self, offset: usize, len: usize) -> &mut [u8] {
        let end = offset.checked_add(len).expect("sizes are small");
        assert!(end <= self.len, "range is inside the region");
        // SAFETY: inside the mapping, initialised (zero pages), aligned for bytes; exclusive by the
        // caller's promise, and `&mut self` keeps other slices of this region away.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().add(offset), len) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: exactly the range that was mapped; slices borrow `self`, so none is left. The ring
        // cancels its operations before it drops its regions.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
