//! Names on a bpffs for the links of the cage, so that servers stay in it when the daemon dies.
//!
//! ```text
//! /sys/fs/bpf/airlock/   kernel.bpffs
//!   v1/                  the version of programs and maps: another version never looks in here
//!     <instance>/        the path of the cgroups, so that a unit that is started again finds its own
//!       <program>-link   the link
//!       <program>-prog   its program, which says whose link it is without CAP_SYS_ADMIN
//!     <instance>_slice/  the same for `kernel.slice`
//! ```
//!
//! A daemon attaches its own links before it looks in here, pins them beside the set that it finds, and changes the names. So
//! there is no moment without for servers, whatever the kind of link (a slice has one without what is host-wide, until the new
//! programs know its cgroup). What it finds for its servers is ours as a whole, or it is refused as
//! a whole. That of a slice is replaced whatever it is: a slice's cgroup outlives daemons, so an upgrade after a crash would find
//! the programs of another version on it each time, and be refused.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::statfs;

use super::links::{self, Link, Links, TYPE_CGROUP};

/// Where pins are without `kernel.bpffs`.
const DIRECTORY: &str = "/sys/fs/bpf/airlock";
/// The version of programs and maps.
const VERSION: &str = "v1";
/// `BPF_FS_MAGIC`.
const BPFFS: i64 = 0xcafe_4a11;
/// What the name of a set ends in until it is in its place, and when it is set aside. No instance is called so.
const NEW: &str = "_new";
const OLD: &str = "_old";
/// What the name of a slice's set ends in.
const SLICE: &str = "_slice";
/// How often, and how long apart, a link is looked at whose cgroup may just have been removed: the kernel lets go later.
const LOOKS: (u32, Duration) = (20, Duration::from_millis(50));

/// Why links are not pinned.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// The directory is on another file system.
    #[error("{} is not on a bpffs", .0.display())]
    NotBpffs(PathBuf),
    /// A file or directory refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There are pins, and they are not a whole set of ours.
    #[error("{}: these pins are not taken over: {reason}", directory.display())]
    Foreign {
        /// The directory of the set.
        directory: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl PinsError {
    /// The number of the system error, if there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Io { source, .. } => source.raw_os_error(),
            Self::NotBpffs(_) | Self::Foreign { .. } => None,
        }
    }

    /// What helps.
    pub fn remedy(&self) -> String {
        match self {
            Self::NotBpffs(_) => "mount one: mount -t bpf bpf /sys/fs/bpf".to_owned(),
            Self::Io { path, .. } => format!(
                "make {} a directory on a bpffs that Airlock's user may reach and write (systemd-tmpfiles --create \
                 airlock.conf), and name it in ReadWritePaths= of the unit",
                path.display()
            ),
            Self::Foreign { directory, .. } => {
                format!("end the servers of the daemon that left them, then: rm -r {}", directory.display())
            }
        }
    }

    /// Whether there are pins that somebody has to look at.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign { .. })
    }
}

/// The set of this daemon; it goes with this value, and stays when the process is killed.
#[derive(Debug)]
pub(super) struct Pins {
    directory: PathBuf,
    links: usize,
    found: Found,
}

/// What was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Nothing.
    Nothing,
    /// A set whose cgroup is gone, which holds nobody.
    Dead,
    /// A set of a daemon that died.
    Alive,
}

impl fmt::Display for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = match self.found {
            Found::Nothing => "",
            Found::Dead => ", in place of those of a cgroup that is gone",
            Found::Alive => ", taken over from a daemon that died",
        };
        write!(f, "{} links in {}{found}", self.links, self.directory.display())
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PinsError {
    let path = path.to_path_buf();
    move |source| PinsError::Io { action, path, source }
}

impl Pins {
    /// Pins the links of servers, which are attached already, in the place of the set that may be there.
    ///
    /// # Errors
    /// When there is no bpffs or it does not let us, and when the set that is there is not ours as a whole; nothing of it is
    /// changed then.
    pub(super) fn take(base: &Path, links: &Links, bpffs: Option<&Path>) -> Result<Self, PinsError> {
        Self::replace(&instance(base), links, bpffs, |directory| check(directory, links))
    }

    /// Pins the links of a slice, which are attached already, in the place of whatever set an earlier daemon left.
    ///
    /// # Errors
    /// When there is no bpffs or it does not let us.
    pub(super) fn take_slice(base: &Path, links: &Links, bpffs: Option<&Path>) -> Result<Self, PinsError> {
        Self::replace(&slice_of(base), links, bpffs, |_| Ok(Found::Alive))
    }

    /// Removes the set of a slice that is not configured any more.
    ///
    /// # Errors
    /// When it is there, and cannot be removed.
    pub(super) fn forget_slice(base: &Path, bpffs: Option<&Path>) -> Result<(), PinsError> {
        let version = bpffs.unwrap_or(Path::new(DIRECTORY)).join(VERSION);
        let name = slice_of(base);
        ["", OLD, NEW].iter().try_for_each(|end| remove(&version.join(format!("{name}{end}"))))
    }

    fn replace(
        name: &str,
        links: &Links,
        bpffs: Option<&Path>,
        check: impl FnOnce(&Path) -> Result<Found, PinsError>,
    ) -> Result<Self, PinsError> {
        let root = bpffs.unwrap_or(Path::new(DIRECTORY));
        // The directory itself may have to be made; then its parent says where it would be.
        let there = if root.exists() { root } else { root.parent().unwrap_or(root) };
        let kind = statfs(there).map_err(|error| failed("look at it", there)(error.into()))?.f_type;
        #[allow(clippy::unnecessary_cast, reason = "its type is the architecture's")]
        if kind as i64 != BPFFS {
            return Err(PinsError::NotBpffs(root.to_path_buf()));
        }
        let version = root.join(VERSION);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&version)
            .map_err(failed("create the directory", &version))?;
        let directory = version.join(name);
        let (old, new) = (version.join(format!("{name}{OLD}")), version.join(format!("{name}{NEW}")));
        // A daemon that was killed while it took over: its own set was not in force yet, or the old one not any more.
        if old.exists() && !directory.exists() {
            fs::rename(&old, &directory).map_err(failed("put back", &old))?;
        }
        let found = if directory.exists() { check(&directory)? } else { Found::Nothing };
        // What is there is ours, or nothing: from here on it is replaced as a whole.
        for rest in [&old, &new] {
            remove(rest)?;
        }
        let built = build(&new, links).and_then(|()| {
            if directory.exists() {
                fs::rename(&directory, &old).map_err(failed("set aside", &directory))?;
            }
            fs::rename(&new, &directory).map_err(failed("put the new pins in their place", &directory))
        });
        if let Err(error) = built {
            // What was there stays: it holds nobody who is not held by our own links as well.
            let _ = remove(&new);
            return Err(error);
        }
        let pins = Self { directory, links: links.0.len(), found };
        remove(&old)?;
        Ok(pins)
    }
}

/// Pins all links and their programs in a new directory.
fn build(directory: &Path, links: &Links) -> Result<(), PinsError> {
    DirBuilder::new().mode(0o700).create(directory).map_err(failed("create the directory", directory))?;
    for link in &links.0 {
        for (object, what) in [(&link.fd, "link"), (&link.program, "prog")] {
            let path = directory.join(file(link, what));
            links::pin(object, &path).map_err(failed("pin", &path))?;
        }
    }
    Ok(())
}

/// Removes a directory with its pins, if it is there.
fn remove(directory: &Path) -> Result<(), PinsError> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove the directory", directory)(error))
        }
        _ => Ok(()),
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        let removed = remove(&self.directory);
        if let Err(error) = removed {
            tracing::warn!(%error, "pinned links stay; remove them: rm -r {}", self.directory.display());
        }
        // The version goes with its last instance.
        if let Some(version) = self.directory.parent() {
            let _ = fs::remove_dir(version);
        }
    }
}

/// The name of a daemon's directory: a bpffs refuses dots.
fn instance(base: &Path) -> String {
    let path = base.to_string_lossy();
    let mut name = String::new();
    for byte in path.trim_matches('/').bytes() {
        match byte {
            b'/' => name.push('-'),
            _ if byte.is_ascii_alphanumeric() => name.push(char::from(byte)),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(name, "_{byte:02x}");
            }
        }
    }
    name
}

/// The name of the directory beside it, for its slice.
fn slice_of(base: &Path) -> String {
    instance(base) + SLICE
}

/// The name of a pin; a bpffs refuses dots.
fn file(link: &Link, what: &str) -> String {
    format!("{}-{what}", link.name.replace('.', "_"))
}

fn names(directory: &Path) -> Result<BTreeSet<String>, PinsError> {
    let entries = fs::read_dir(directory).map_err(failed("list", directory))?;
    entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .map_err(failed("list", directory))
}

/// Compares what is there with what we would have pinned.
fn check(directory: &Path, links: &Links) -> Result<Found, PinsError> {
    let foreign = |reason| PinsError::Foreign { directory: directory.to_path_buf(), reason };
    let there = names(directory)?;
    if there.is_empty() {
        return Ok(Found::Nothing);
    }
    if holds_nobody(directory, &there, links) {
        return Ok(Found::Dead);
    }
    let wanted: BTreeSet<String> =
        links.0.iter().flat_map(|link| [file(link, "link"), file(link, "prog")]).collect();
    if there != wanted {
        let difference: Vec<&str> = there.symmetric_difference(&wanted).map(String::as_str).collect();
        return Err(foreign(format!("missing, or not ours: {}", difference.join(", "))));
    }
    links.0.iter().try_for_each(|link| same(directory, link)).map_err(foreign)?;
    Ok(Found::Alive)
}

/// Whether the cgroup of a set is gone. Then it does not matter whose programs these are, or how many: those of an older daemon that
/// was replaced after it had crashed, for one.
fn holds_nobody(directory: &Path, there: &BTreeSet<String>, links: &Links) -> bool {
    let info = |link: &OwnedFd| links::link_info(link).ok().filter(|info| info.kind == TYPE_CGROUP);
    let pinned = there.iter().filter(|name| name.ends_with("-link"));
    let pinned: Vec<OwnedFd> = pinned.filter_map(|name| links::pinned(&directory.join(name)).ok()).collect();
    let ours: BTreeSet<u64> = links.0.iter().filter_map(|link| Some(info(&link.fd)?.cgroup)).collect();
    for _ in 0..LOOKS.0 {
        let theirs: BTreeSet<u64> = pinned.iter().filter_map(|link| Some(info(link)?.cgroup)).collect();
        if theirs.iter().all(|cgroup| *cgroup == 0) {
            // A set without a single link to a cgroup says nothing.
            return !theirs.is_empty();
        }
        if theirs.intersection(&ours).next().is_some() {
            return false;
        }
        sleep(LOOKS.1);
    }
    false
}

/// Compares `link` with its pinned twin.
///
/// # Errors
/// The reason why it is none.
fn same(directory: &Path, link: &Link) -> Result<(), String> {
    let open = |what| {
        let name = file(link, what);
        links::pinned(&directory.join(&name)).map_err(|error| format!("{name} cannot be opened: {error}"))
    };
    let of = |error| format!("{}: {error}", link.name);
    let (old, old_program) = (open("link")?, open("prog")?);
    let ours = links::link_info(&link.fd).map_err(of)?;
    let theirs = links::link_info(&old).map_err(of)?;
    if theirs.kind != ours.kind {
        return Err(format!("{}: a link of type {}, not {}", link.name, theirs.kind, ours.kind));
    }
    let (tag, old_tag) =
        (links::program_info(&link.program).map_err(of)?.tag, links::program_info(&old_program).map_err(of)?);
    if theirs.program != old_tag.id {
        return Err(format!("{}: the link is not of the program that is pinned beside it", link.name));
    }
    if ours.kind == TYPE_CGROUP && theirs.cgroup != ours.cgroup {
        return Err(format!("{}: a link of cgroup {}, not {}", link.name, theirs.cgroup, ours.cgroup));
    }
    if ours.kind == TYPE_CGROUP && theirs.attach_type != ours.attach_type {
        return Err(format!("{}: attached at {}, not {}", link.name, theirs.attach_type, ours.attach_type));
    }
    if old_tag.tag == tag { Ok(()) } else { Err(other_program(link)) }
}

fn other_program(link: &Link) -> String {
    format!("{}: its program is not that of this daemon, but of another version", link.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_a_name_that_a_bpffs_takes_and_no_two_share() {
        let name = |base: &str| instance(Path::new(base));
        assert_eq!(
            name("/sys/fs/cgroup/system.slice/airlock.service"),
            "sys-fs-cgroup-system_2eslice-airlock_2eservice"
        );
        assert_ne!(name("/a/b-c"), name("/a/b/c"));
        assert_ne!(name("/a_2eb"), name("/a.b"));
        // Nor is one called as the sets beside another.
        for end in [NEW, OLD, SLICE] {
            assert_ne!(name(&format!("/a{end}")), format!("{}{end}", name("/a")));
        }
    }
}
