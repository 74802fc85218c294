//! The C library's allocator, told to give memory back.
//!
//! By itself it learns from each large piece that is freed to keep pieces of that size for ever (up to 32 MiB
//! each, in as many arenas as there are threads): what clients left behind for a moment would stay with the
//! process. A fixed threshold has every large piece mapped for itself and unmapped at once; what small pieces
//! leave behind is trimmed when much was given back.

/// Pieces from this size on are mapped for themselves, in bytes. Such a piece costs two system calls and its
/// page faults; pieces of most answers are shorter.
pub(super) const MAPPED: u32 = 256 * 1024;

/// Sets the threshold; to be called before there is a second thread.
#[allow(unsafe_code, reason = "the C library has no safe way to its own allocator")]
pub fn set_up() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `mallopt` takes two integers and touches nothing but the allocator's own parameters, which it
    // guards itself.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED.cast_signed());
    }
}

/// Gives free memory back to the system. Takes some milliseconds with much memory, and the locks of all
/// arenas for part of that: for a thread that nobody waits for, after much was freed.
#[allow(unsafe_code, reason = "the C library has no safe way to its own allocator")]
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` may be called by any thread at any time; it releases pages that hold no
    // allocation.
    unsafe {
        libc::malloc_trim(0);
    }
}
