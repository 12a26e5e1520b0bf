//! Page-aligned memory that the kernel reads or writes while the ring lives. It is reached through
//! a raw pointer only, so that no Rust reference ever covers bytes that the kernel may be using.

use std::io;
use std::ptr::NonNull;

/// An anonymous private mapping, zeroed at first.
#[derive(Debug)]
pub struct Region {
    start: NonNull<u8>,
    len: usize,
}

impl Region {
    /// Maps `len` bytes; a page takes memory only once it is touched.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn new(len: usize) -> io::Result<Self> {
        Self::map(len, 0)
    }

    /// Maps `len` bytes, and takes all of their memory at once.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn populated(len: usize) -> io::Result<Self> {
        Self::map(len, libc::MAP_POPULATE)
    }

    fn map(len: usize, flags: libc::c_int) -> io::Result<Self> {
        // SAFETY: a fresh anonymous mapping overlaps nothing; the result is checked.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
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
