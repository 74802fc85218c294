//! Words of memory that a file lies behind: what is stored in them outlives the process, if not the host.
#![allow(unsafe_code, reason = "memory is mapped and looked at as a slice of atomics")]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::sync::atomic::AtomicU64;

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// Bytes of a word.
pub(super) const WORD: usize = size_of::<AtomicU64>();

/// A mapping that all threads may read and write, word by word.
#[derive(Debug)]
pub(super) struct Mapping {
    start: *mut c_void,
    words: usize,
}

// SAFETY: the memory is the mapping's own until it is dropped, and is only ever looked at as atomics.
unsafe impl Send for Mapping {}
// SAFETY: as above; atomics may be used by many threads at once.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `words` words of a file, which must have them: a file that is cut afterwards ends the
    /// process by SIGBUS where it is touched, so it lies in a directory where only its owner may do that.
    ///
    /// # Errors
    /// The file is shorter, or its file system maps no files.
    pub(in crate::audit) fn of(file: &File, words: usize) -> io::Result<Self> {
        let bytes = words.checked_mul(WORD).filter(|bytes| *bytes > 0).ok_or(io::ErrorKind::InvalidInput)?;
        if file.metadata()?.len() < bytes as u64 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than its mapping"));
        }
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: the kernel chooses the place, so nothing that is mapped already is replaced.
        let start = unsafe { mmap(std::ptr::null_mut(), bytes, access, flags, file, 0) }?;
        Ok(Self { start, words })
    }

    /// Maps `words` words of memory that no file lies behind.
    ///
    /// # Errors
    /// There is no memory.
    #[cfg(test)]
    pub(super) fn anonymous(words: usize) -> io::Result<Self> {
        let bytes = words.checked_mul(WORD).filter(|bytes| *bytes > 0).ok_or(io::ErrorKind::InvalidInput)?;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: as above.
        let start = unsafe { rustix::mm::mmap_anonymous(std::ptr::null_mut(), bytes, access, flags) }?;
        Ok(Self { start, words })
    }

    /// The words.
    pub(in crate::audit) fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is page-aligned, so aligned for words, and has `words` of them, any bits of
        // which are a value. It lives as long as `self`. Another process that writes to the file changes
        // values, as atomics may change.
        unsafe { std::slice::from_raw_parts(self.start.cast::<AtomicU64>(), self.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this very mapping, of which no slice can be left, since they borrow from `self`.
        if let Err(error) = unsafe { munmap(self.start, self.words * WORD) } {
            tracing::debug!(%error, "a mapping was not undone");
        }
    }
}
