//! Notices that a bundle on disk may have become another one.
//!
//! The kernel tells of changes in the directory, in its folders, beside it (where a link to a version is
//! swapped), and where links inside it lead (a mounted config map swaps a hidden link). A look every now and
//! then finds what it does not tell, such as changes on a network file system. The reader of the bundle
//! says if anything is different.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until, timeout};

/// A bundle is read when nothing has happened for this long: several files are often written one after the
/// other.
const QUIET: Duration = Duration::from_millis(250);
/// It is read after this long even if there is no quiet.
const LONGEST: Duration = Duration::from_secs(3);
/// How often it is read without being told.
const ROUND: Duration = Duration::from_secs(30);
/// Directories that are watched at most.
const MAX_FOLDERS: usize = 256;

/// Watches one directory.
#[derive(Debug)]
pub struct Watch {
    path: PathBuf,
    /// How long nothing must have happened before a change is told.
    quiet: Duration,
    /// None where the kernel has no watches to give; then only the rounds are left.
    inotify: Option<AsyncFd<OwnedFd>>,
    /// When the first event came that nobody was told of yet.
    stirred: Option<Instant>,
    next_round: Instant,
}

impl Watch {
    /// Watches the bundle at `path`, which need not exist. Needs a running runtime.
    pub fn new(path: &Path) -> Self {
        Self::after(path, QUIET)
    }

    /// Watches one file, and tells at once that it has come, was written, or has gone. So is what happens to
    /// others beside it.
    pub fn at_once(path: &Path) -> Self {
        Self::after(path, Duration::ZERO)
    }

    fn after(path: &Path, quiet: Duration) -> Self {
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)
            .map_err(io::Error::from)
            .and_then(registered)
            .inspect_err(|error| {
                tracing::warn!(
                    %error,
                    "changes in {} are noticed only every {} s; raise fs.inotify.max_user_instances",
                    path.display(),
                    ROUND.as_secs()
                );
            });
        let watch = Self {
            path: path.to_path_buf(),
            quiet,
            inotify: inotify.ok(),
            stirred: None,
            next_round: Instant::now() + ROUND,
        };
        watch.arm();
        watch
    }

    /// Waits until the bundle should be read again. A change that is not waited for to the end is not lost.
    pub async fn changed(&mut self) {
        loop {
            if let Some(began) = self.stirred {
                let deadline = began + LONGEST;
                let event = timeout(self.quiet.min(deadline - Instant::now()), self.event()).await;
                if event.is_ok() && Instant::now() < deadline {
                    continue;
                }
                self.stirred = None;
            } else {
                let round = self.next_round;
                tokio::select! {
                    () = self.event() => {
                        self.stirred = Some(Instant::now());
                        continue;
                    }
                    () = sleep_until(round) => {}
                }
            }
            self.next_round = Instant::now() + ROUND;
            // Before the bundle is read: what changes after that is told.
            self.arm();
            return;
        }
    }

    /// Waits for events and takes all that are there.
    async fn event(&self) {
        let Some(inotify) = &self.inotify else { return std::future::pending().await };
        let Ok(mut ready) = inotify.readable().await else { return std::future::pending().await };
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(inotify.get_ref(), &mut buffer);
        while reader.next().is_ok() {}
        ready.clear_ready();
    }

    /// Watches what is there now; what was watched before stays watched until it is gone.
    fn arm(&self) {
        let Some(inotify) = &self.inotify else { return };
        let mut folders = Vec::new();
        folders_of(&self.path, &mut folders);
        let names = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
        let inside = names
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF;
        // A relative path of one name has an empty parent.
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let written = if self.quiet.is_zero() { WatchFlags::CLOSE_WRITE } else { WatchFlags::empty() };
        let beside = (parent.unwrap_or(Path::new(".")).to_path_buf(), names | written);
        for (folder, flags) in folders.into_iter().map(|folder| (folder, inside)).chain([beside]) {
            // A file that has just gone away is told of by its parent.
            let _ = inotify::add_watch(
                inotify.get_ref(),
                &folder,
                flags | WatchFlags::ONLYDIR | WatchFlags::MASK_ADD,
            );
        }
    }
}

#[allow(unsafe_code)]
fn registered(inotify: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` has one open descriptor, always the same, and closes it when it is dropped; the
    // `AsyncFd` owns it until then.
    unsafe { AsyncFd::register(inotify) }.map_err(io::Error::from)
}

/// The directory, its folders, and those in which the files behind links are.
fn folders_of(root: &Path, found: &mut Vec<PathBuf>) {
    let mut pending = vec![root.to_path_buf()];
    while let Some(folder) = pending.pop() {
        let Ok(folder) = folder.canonicalize() else { continue };
        if found.len() == MAX_FOLDERS || found.contains(&folder) {
            continue;
        }
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && !entry.file_name().to_string_lossy().starts_with('.') {
                pending.push(entry.path());
            } else if kind.is_symlink()
                && let Ok(target) = entry.path().canonicalize()
            {
                pending.extend(if target.is_dir() { Some(target) } else { target.parent().map(Into::into) });
            }
        }
        found.push(folder);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// True where the watch tells, long before the next round would.
    async fn told(watch: &mut Watch) -> bool {
        timeout(ROUND / 2, watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn every_way_to_change_a_bundle_is_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("policies");
        let mut watch = Watch::new(&path);
        // Made after the watch began, as a folder.
        fs::create_dir(&path).expect("made");
        assert!(told(&mut watch).await, "the directory appears");
        fs::write(path.join("a.rego"), "1").expect("written");
        assert!(told(&mut watch).await, "a file appears");
        fs::write(path.join("a.rego"), "2").expect("written");
        assert!(told(&mut watch).await, "a file is written in place");
        fs::write(path.join(".a.rego.swp"), "3").expect("written");
        fs::rename(path.join(".a.rego.swp"), path.join("a.rego")).expect("renamed");
        assert!(told(&mut watch).await, "an editor renames");
        fs::create_dir(path.join("sub")).expect("made");
        assert!(told(&mut watch).await, "a folder appears");
        fs::write(path.join("sub/b.rego"), "1").expect("written");
        assert!(told(&mut watch).await, "a file in a folder appears");
        fs::remove_file(path.join("sub/b.rego")).expect("removed");
        assert!(told(&mut watch).await, "a file goes");
    }

    #[tokio::test]
    async fn a_file_that_comes_is_written_or_goes_is_told_of_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("stop");
        let mut watch = Watch::at_once(&path);
        fs::write(&path, "").expect("written");
        assert!(told(&mut watch).await, "it comes");
        fs::write(&path, "1").expect("written");
        assert!(told(&mut watch).await, "it is written");
        fs::remove_file(&path).expect("removed");
        assert!(told(&mut watch).await, "it goes");
    }

    #[tokio::test]
    async fn links_that_are_swapped_are_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        // As a mounted config map: files are links through a hidden link to the version.
        let mounted = dir.path().join("mounted");
        for version in ["..1", "..2"] {
            fs::create_dir_all(mounted.join(version)).expect("made");
            fs::write(mounted.join(version).join("a.rego"), version).expect("written");
        }
        symlink("..1", mounted.join("..data")).expect("linked");
        symlink("..data/a.rego", mounted.join("a.rego")).expect("linked");
        let mut watch = Watch::new(&mounted);
        symlink("..2", mounted.join("..data_tmp")).expect("linked");
        fs::rename(mounted.join("..data_tmp"), mounted.join("..data")).expect("renamed");
        assert!(told(&mut watch).await, "the hidden link is swapped");
        fs::write(mounted.join("..2/a.rego"), "x").expect("written");
        assert!(told(&mut watch).await, "the file behind the link changes");
        // As a release: the directory itself is a link.
        let current = dir.path().join("current");
        symlink("mounted", &current).expect("linked");
        let mut watch = Watch::new(&current);
        fs::create_dir(dir.path().join("other")).expect("made");
        symlink("other", dir.path().join("next")).expect("linked");
        fs::rename(dir.path().join("next"), &current).expect("renamed");
        assert!(told(&mut watch).await, "the directory is another one");
        fs::write(dir.path().join("other/b.rego"), "x").expect("written");
        assert!(told(&mut watch).await, "a file in it appears");
    }

    #[tokio::test]
    async fn what_is_not_waited_for_is_not_lost() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut watch = Watch::new(dir.path());
        fs::write(dir.path().join("a.rego"), "1").expect("written");
        // Given up in the middle of the quiet time, as by a signal that comes first.
        timeout(QUIET / 4, watch.changed()).await.expect_err("too early");
        assert!(told(&mut watch).await);
    }
}
