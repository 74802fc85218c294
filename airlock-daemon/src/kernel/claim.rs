//! Directories of a daemon that others may clear away when it is dead, and not before.
//!
//! Whoever makes one holds a lock on it. The kernel lets go of the lock when the process ends, whatever it ends of, so a lock that
//! can be taken proves that nobody lives who made the directory. No number of a process is believed: those are used again, and
//! are others in another container.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A directory that is ours for as long as this value lives.
#[derive(Debug)]
pub(super) struct Claim {
    path: PathBuf,
    dir: File,
}

impl Claim {
    /// Makes the directory and takes the lock. `None` where somebody took it for a dead one's in the moment between the two: it is
    /// that one's to remove, and another name has to be found.
    ///
    /// A file system without locks gives a directory that nobody takes for a dead one's.
    pub(super) fn make(path: &Path, mode: u32) -> io::Result<Option<Self>> {
        DirBuilder::new().mode(mode).create(path)?;
        let dir = match open(path) {
            Ok(dir) => dir,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if matches!(dir.try_lock(), Err(TryLockError::WouldBlock)) {
            return Ok(None);
        }
        // It may have been removed before it was locked.
        let is_there = std::fs::symlink_metadata(path).is_ok_and(|found| is_same(&found, &dir));
        Ok(is_there.then(|| Self { path: path.into(), dir }))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory.
    pub(super) fn dir(&self) -> &File {
        &self.dir
    }
}

/// Opens a directory itself, never what a link leads to.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

fn is_same(found: &std::fs::Metadata, dir: &File) -> bool {
    dir.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()))
}
