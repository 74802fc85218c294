//! Directories of a daemon that others may clear away when it is dead, and not before.
//!
//! Whoever makes one holds a lock on it. The kernel lets go of the lock when the process ends, whatever it
//! ends of, so a lock that can be taken proves that nobody lives who made the directory. No number of a
//! process is believed: those are used again, and are others in another container.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A directory that is ours for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    dir: File,
}

impl Claim {
    /// Makes the directory and takes the lock. `None` where somebody took it for a dead one's in the moment
    /// between the two: it is that one's to remove, and another name has to be found.
    ///
    /// A file system without locks gives a directory that nobody takes for a dead one's.
    pub(crate) fn make(path: &Path, mode: u32) -> io::Result<Option<Self>> {
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

    /// Takes over a directory whose maker is dead. `None` for what is no directory, is not this user's, or is
    /// a living one's.
    pub(crate) fn of_the_dead(path: &Path) -> Option<Self> {
        let dir = open(path).ok()?;
        let found = dir.metadata().ok()?;
        let is_ours = found.uid() == rustix::process::geteuid().as_raw();
        // Somebody may have removed it before it was locked, and somebody else made another of its name.
        let is_there = || std::fs::symlink_metadata(path).is_ok_and(|found| is_same(&found, &dir));
        (is_ours && dir.try_lock().is_ok() && is_there()).then(|| Self { path: path.into(), dir })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The open directory.
    pub(crate) fn dir(&self) -> &File {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_holds_is_taken_over() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("claimed");
        let claim = Claim::make(&path, 0o700).expect("a directory").expect("nobody is faster");
        assert!(Claim::of_the_dead(&path).is_none(), "its maker lives");
        drop(claim);
        let taken = Claim::of_the_dead(&path).expect("its maker is gone");
        assert_eq!(taken.path(), path);
        assert!(Claim::of_the_dead(&path).is_none(), "it is taken already");
    }

    #[test]
    fn neither_links_nor_files_are_taken_for_directories() {
        let place = tempfile::tempdir().expect("a directory");
        let (real, link, file) =
            (place.path().join("real"), place.path().join("link"), place.path().join("file"));
        std::fs::create_dir(&real).and_then(|()| std::fs::write(&file, "x")).expect("ours to fill");
        std::os::unix::fs::symlink(&real, &link).expect("a link");
        assert!(Claim::of_the_dead(&link).is_none() && Claim::of_the_dead(&file).is_none());
        assert!(Claim::of_the_dead(&real).is_some());
    }

    #[test]
    fn what_belongs_to_somebody_else_is_left_alone() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("theirs");
        std::fs::create_dir(&path).expect("a directory");
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_err() {
            println!("SKIPPED: only root can give a directory away");
            return;
        }
        assert!(Claim::of_the_dead(&path).is_none());
    }
}
