//! Removing what a server made in a directory on disk: whatever it built there, no recursion follows it.
//!
//! A tree is not walked but taken apart: what lies in a directory of the top is lifted to the top, until
//! there is nothing but files and empty directories. So two descriptors and one name at a time are enough for
//! any depth, and each step is counted. All is done by descriptors, and no link is followed.

use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, Dir, Mode, OFlags, RenameFlags, openat, renameat_with, unlinkat};
use rustix::io::Errno;

use super::claim::Claim;

/// Steps that one directory may cost: removals and moves.
const STEPS: u32 = 2_000_000;
/// How long one directory may take.
const TIME: Duration = Duration::from_mins(2);
/// Directories that may wait for their removal.
const WAITING: usize = 1_024;

/// How much may still be done.
#[derive(Debug)]
struct Budget {
    steps: u32,
    until: Instant,
}

impl Budget {
    fn take(&mut self) -> io::Result<()> {
        if self.steps == 0 || self.steps.is_multiple_of(1_024) && Instant::now() > self.until {
            let error = "more than is removed in one go";
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, error));
        }
        self.steps -= 1;
        Ok(())
    }
}

/// Has a thread of its own remove directories with all that is in them. A file that cannot be removed is told
/// with its path; the next daemon that starts tries again.
pub(crate) fn away(claim: Claim) {
    static QUEUE: OnceLock<Option<SyncSender<Claim>>> = OnceLock::new();
    let queue = QUEUE.get_or_init(|| {
        let (queue, work) = sync_channel(WAITING);
        let thread = std::thread::Builder::new().name("airlock-sweep".into());
        thread.spawn(move || sweep(&work)).ok().map(|_| queue)
    });
    let left = match queue {
        Some(queue) => match queue.try_send(claim) {
            Ok(()) => return,
            Err(TrySendError::Full(claim) | TrySendError::Disconnected(claim)) => claim,
        },
        None => claim,
    };
    let path = left.path().display();
    tracing::warn!(%path, "what a server left cannot be removed now, for too many wait; the next start removes it");
}

fn sweep(work: &Receiver<Claim>) {
    for claim in work {
        if let Err(error) = remove(&claim, STEPS, TIME) {
            let path = claim.path().display();
            tracing::warn!(%path, %error, "what a server left is not removed; remove it: rm -rf {path}");
        }
    }
}

/// Removes the directory with all that is in it, within bounds.
fn remove(claim: &Claim, steps: u32, time: Duration) -> io::Result<()> {
    let mut budget = Budget { steps, until: Instant::now() + time };
    empty(claim.dir(), &mut budget)?;
    fs::remove_dir(claim.path())
}

/// Empties a directory.
fn empty(top: &impl AsFd, budget: &mut Budget) -> io::Result<()> {
    let mut lifted = 0;
    loop {
        let (mut is_empty, mut progress, mut refused) = (true, false, None);
        for entry in Dir::read_from(top)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dots(name) {
                continue;
            }
            is_empty = false;
            budget.take()?;
            match drop_entry(top, name) {
                Ok(()) => progress = true,
                Err(Errno::NOTEMPTY | Errno::EXIST) => match lift(top, name, &mut lifted, budget) {
                    Ok(()) => progress = true,
                    Err(error) if error.kind() == io::ErrorKind::QuotaExceeded => return Err(error),
                    Err(error) => refused = Some(error),
                },
                Err(error) => refused = Some(error.into()),
            }
        }
        match refused {
            _ if is_empty => return Ok(()),
            Some(error) if !progress => return Err(error),
            _ => {}
        }
    }
}

/// Removes a file or an empty directory.
fn drop_entry(dir: &impl AsFd, name: &CStr) -> Result<(), Errno> {
    match unlinkat(dir, name, AtFlags::empty()) {
        // The error with which Linux refuses a directory.
        Err(Errno::ISDIR) => unlinkat(dir, name, AtFlags::REMOVEDIR),
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// Moves what lies in a directory of the top to the top, and removes the directory.
fn lift(top: &impl AsFd, name: &CStr, lifted: &mut u64, budget: &mut Budget) -> io::Result<()> {
    let dir = enter(top, name)?;
    let mut refused = None;
    for entry in Dir::read_from(&dir)? {
        let entry = entry?;
        let inner = entry.file_name();
        if is_dots(inner) {
            continue;
        }
        budget.take()?;
        match drop_entry(&dir, inner) {
            Ok(()) => continue,
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            Err(error) => {
                refused = Some(error);
                continue;
            }
        }
        // Another parent is written into the directory, which has to allow that.
        let _ = enter(&dir, inner);
        let moved = loop {
            *lifted += 1;
            let to = CString::new(format!(".lifted-{lifted}"))?;
            match renameat_with(&dir, inner, top, &to, RenameFlags::NOREPLACE) {
                // A name that the server chose as well.
                Err(Errno::EXIST) => budget.take()?,
                done => break done,
            }
        };
        refused = moved.err().or(refused);
    }
    match (unlinkat(top, name, AtFlags::REMOVEDIR), refused) {
        // A directory that was moved while it was listed may have hidden something: the next round finds it.
        (Ok(()), _) | (Err(Errno::NOTEMPTY | Errno::EXIST), None) => Ok(()),
        (Err(_), Some(error)) | (Err(error), None) => Err(error.into()),
    }
}

/// Opens a directory, which is made accessible to this user if it is this user's.
fn enter(parent: &impl AsFd, name: &CStr) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let looked = openat(parent, name, flags | OFlags::PATH, Mode::empty())?;
    // By its descriptor, so that it is this directory and none that a name leads to. Refused for what is
    // somebody else's, which may be accessible all the same.
    let _ = fs::set_permissions(
        format!("/proc/self/fd/{}", looked.as_raw_fd()),
        fs::Permissions::from_mode(0o700),
    );
    Ok(openat(&looked, c".", flags | OFlags::RDONLY, Mode::empty())?)
}

fn is_dots(name: &CStr) -> bool {
    [c".", c".."].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    const PLENTY: Duration = Duration::from_mins(5);

    fn claimed(place: &Path) -> (Claim, PathBuf) {
        let path = place.join("claimed");
        (Claim::make(&path, 0o700).expect("a directory").expect("nobody is faster"), path)
    }

    /// A directory in a directory, and so on; no path is as long as that.
    fn nest(top: &Path, depth: u32) {
        let mut at: OwnedFd = fs::File::open(top).expect("there").into();
        for _ in 0..depth {
            rustix::fs::mkdirat(&at, c"d", Mode::RWXU).expect("a directory");
            at = openat(&at, c"d", OFlags::DIRECTORY, Mode::empty()).expect("there");
        }
        drop(openat(&at, c"file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).expect("a file"));
    }

    /// On a stack on which two hundred levels of recursion had no room.
    fn on_little_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(128 * 1024);
            thread.spawn_scoped(scope, work).expect("a thread").join().expect("no overflow")
        })
    }

    #[test]
    fn a_tree_deeper_than_the_stack_is_removed() {
        let place = tempfile::tempdir().expect("a directory");
        let (claim, path) = claimed(place.path());
        nest(&path, 5_000);
        fs::create_dir_all(path.join(".lifted-1/.lifted-2/x")).expect("names that are ours as well");
        on_little_stack(|| remove(&claim, STEPS, PLENTY)).expect("removed");
        assert!(!path.exists());
    }

    #[test]
    fn many_files_and_closed_directories_are_removed() {
        let place = tempfile::tempdir().expect("a directory");
        let (claim, path) = claimed(place.path());
        let deep = path.join("a/b/c");
        fs::create_dir_all(&deep).expect("directories");
        for number in 0..2_000 {
            fs::write(path.join(format!("a/b/{number}")), "x").expect("a file");
        }
        for dir in [deep, path.join("a/b"), path.join("a")] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o0)).expect("ours");
        }
        remove(&claim, STEPS, PLENTY).expect("removed");
        assert!(!path.exists());
    }

    #[test]
    fn no_link_is_followed() {
        let place = tempfile::tempdir().expect("a directory");
        let (claim, path) = claimed(place.path());
        let kept = place.path().join("kept");
        fs::create_dir(&kept).and_then(|()| fs::write(kept.join("file"), "x")).expect("ours to fill");
        fs::create_dir(path.join("a")).expect("a directory");
        for link in [path.join("link"), path.join("a/link")] {
            std::os::unix::fs::symlink(&kept, link).expect("a link");
        }
        remove(&claim, STEPS, PLENTY).expect("removed");
        assert!(!path.exists() && kept.join("file").exists());
    }

    #[test]
    fn what_is_too_much_is_left_and_told() {
        let place = tempfile::tempdir().expect("a directory");
        let (claim, path) = claimed(place.path());
        nest(&path, 100);
        let error = remove(&claim, 50, PLENTY).expect_err("too much");
        assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded, "{error}");
        let error = remove(&claim, STEPS, Duration::ZERO).err();
        // Time is looked at from time to time: so little may be done by then.
        assert!(error.is_none_or(|error| error.kind() == io::ErrorKind::QuotaExceeded));
        let _ = remove(&claim, STEPS, PLENTY);
        assert!(!path.exists());
    }
}
