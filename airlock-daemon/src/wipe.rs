//! Memory that is given back is wiped first, so that what was in it (tokens above all, in the buffers of
//! HTTP) is not found in the process's memory later: by a read beyond a bound, in a core file, in swap, or by
//! who may look at the process.
//!
//! Nothing but an allocator can do that: parsers, headers and tasks copy a token into memory of their own,
//! which libraries free when they see fit.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};

/// The system's allocator, which wipes each block before it is free. A block that grows or shrinks is copied
/// to another one, as the trait does by itself: the system might leave the old bytes behind.
#[derive(Debug)]
pub struct Wiping;

// SAFETY: blocks come from `System` and go back to it with the layout that they were asked for with; in
// between they are only written to where that is the caller's no more.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is the one that is asked for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is as long as its layout says, and its owner gives it back. The call is one that
        // no compiler leaves out, as it may with a write before the end of a block.
        unsafe { libc::explicit_bzero(block.cast(), layout.size()) };
        // SAFETY: the block came from there, with this layout.
        unsafe { System.dealloc(block, layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content of a block that was given back cannot be looked at from within; the tests do so from
    /// another process.
    #[test]
    fn a_block_that_grows_keeps_what_was_in_it() {
        for size in [1, 24, 600, 8_192, 1 << 20] {
            let layout = Layout::from_size_align(size, 8).expect("a layout");
            // SAFETY: the layout is not empty.
            let block = unsafe { Wiping.alloc(layout) };
            assert!(!block.is_null());
            // SAFETY: the block is that long.
            unsafe { block.write_bytes(0x5a, size) };
            // SAFETY: the block is of this allocator, with this layout, and larger than nothing afterwards.
            let grown = unsafe { Wiping.realloc(block, layout, size + 64) };
            assert!(!grown.is_null());
            // SAFETY: what was written was copied.
            let kept = unsafe { std::slice::from_raw_parts(grown, size) };
            assert!(kept.iter().all(|byte| *byte == 0x5a));
            let layout = Layout::from_size_align(size + 64, 8).expect("a layout");
            // SAFETY: it is of this allocator, with this layout.
            unsafe { Wiping.dealloc(grown, layout) };
        }
    }
}
