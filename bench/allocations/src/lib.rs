//! Counts the allocations of each thread, so that a test or benchmark can prove that a path makes
//! none. A wrapper around any allocator: its price is one addition to a thread's own counter for
//! each allocation. It never allocates, locks, or looks at the memory that it hands on.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

thread_local! {
    // Constant and without a destructor: it can be used from the first allocation of a thread to
    // its last.
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// An allocator that counts. To be set as the `#[global_allocator]` of a program.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counting<A>(pub A);

/// How often the calling thread allocated or reallocated since its start; 0 for ever where
/// [`Counting`] is not the program's allocator.
#[inline]
pub fn so_far() -> u64 {
    COUNT.with(Cell::get)
}

/// Whether [`Counting`] is the allocator of this program.
pub fn are_counted() -> bool {
    let before = so_far();
    drop(std::hint::black_box(Box::new(before)));
    so_far() != before
}

#[inline]
fn count() {
    COUNT.with(|count| count.set(count.get().wrapping_add(1)));
}

// SAFETY: every call goes to the wrapped allocator unchanged; counting touches no memory of it.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps to this trait's contract.
        unsafe { self.0.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps to this trait's contract.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps to this trait's contract.
        unsafe { self.0.realloc(pointer, layout, size) }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to this trait's contract.
        unsafe { self.0.dealloc(pointer, layout) }
    }
}
