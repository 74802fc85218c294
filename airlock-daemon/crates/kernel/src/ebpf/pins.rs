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
//! A daemon attaches its own links, to servers and slice, before it looks in here; it pins them beside the
//! sets that it finds, and changes the names. So there is no moment without, whatever the kind of link. The
//! set that it finds for its servers is ours as a whole, or it is refused as a whole. That of a slice is
//! replaced whatever it is, since a slice's cgroup outlives daemons: an upgrade after a crash would find the
//! programs of another version on it each time, and be refused. But it is not replaced by less
//! ([`Hold::not_weaker`]).
//!
//! With a slice the sets stay until [`Pins::remove`], so also when a daemon ends with an error: its units may
//! be there still.

pub(crate) mod fault;
mod found;

use std::fmt::Write as _;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use rustix::fs::statfs;

use self::fault::{PinsError, failed, file};
use self::found::Found;
use super::links::{self, Links};

/// Where pins are without `kernel.bpffs`.
const DIRECTORY: &str = "/sys/fs/bpf/airlock";
/// The version of programs and maps.
const VERSION: &str = "v1";
/// `BPF_FS_MAGIC`.
const BPFFS: i64 = 0xcafe_4a11;
/// The suffix of a set until it is in its place, and when it is set aside. No instance is called so.
const NEW: &str = "_new";
const OLD: &str = "_old";
/// The suffix of a slice's set.
const SLICE: &str = "_slice";

/// Where a daemon's sets are, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold<'a> {
    /// The directory of its cgroups.
    pub(crate) base: &'a Path,
    /// `kernel.bpffs`.
    pub(crate) bpffs: Option<&'a Path>,
    /// True where there is a slice, whose units outlive a daemon that ends with an error. Otherwise the sets
    /// go with their values.
    pub(crate) stays: bool,
}

/// A set of this daemon. It stays when the process is killed.
#[derive(Debug)]
pub(crate) struct Pins {
    directory: PathBuf,
    links: usize,
    found: Found,
    stays: bool,
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

impl Hold<'_> {
    /// Pins the links of servers, which are attached already, in the place of the set that may be there.
    ///
    /// # Errors
    /// When there is no bpffs or it does not let us, and when the set that is there is not ours as a whole;
    /// nothing of it is changed then.
    pub(crate) fn take(self, links: &Links) -> Result<Pins, PinsError> {
        self.replace(&instance(self.base), links, |directory| found::whole(directory, links))
    }

    /// Pins the links of a slice, which are attached already, in the place of whatever set an earlier daemon
    /// left.
    ///
    /// # Errors
    /// When there is no bpffs or it does not let us.
    pub(crate) fn take_slice(self, links: &Links) -> Result<Pins, PinsError> {
        self.replace(&slice_of(self.base), links, |directory| found::any(directory, links))
    }

    /// Checks that the links that are attached now hold the units of a slice by everything that an earlier
    /// daemon left on them. Where its sets stand, those of servers and of the slice are changed together or
    /// not at all: what is host-wide is in the first.
    ///
    /// # Errors
    /// [`PinsError::Stronger`] when they do not.
    pub(crate) fn not_weaker(self, servers: &Links, slice: &Links) -> Result<(), PinsError> {
        let version = self.version();
        let directories = [slice_of(self.base), instance(self.base)].map(|name| {
            let (set, old) = (version.join(&name), version.join(format!("{name}{OLD}")));
            if set.exists() || !old.exists() { set } else { old }
        });
        let missing = found::missing(&directories, servers, slice);
        if missing.is_empty() {
            Ok(())
        } else {
            Err(PinsError::Stronger { directories, missing: missing.join(", ") })
        }
    }

    /// Removes the set of a slice that is not configured any more.
    ///
    /// # Errors
    /// When it is there, and cannot be removed.
    pub(crate) fn forget_slice(self) -> Result<(), PinsError> {
        self.forget(&slice_of(self.base))
    }

    /// Removes everything that an earlier daemon left, for one that pins nothing.
    ///
    /// # Errors
    /// When it is there, and cannot be removed.
    pub(crate) fn forget_all(self) -> Result<(), PinsError> {
        self.forget_slice()?;
        self.forget(&instance(self.base))
    }

    fn forget(self, name: &str) -> Result<(), PinsError> {
        let version = self.version();
        // Where we may not look is nothing of ours.
        let sets = ["", OLD, NEW].map(|end| version.join(format!("{name}{end}")));
        let forgotten = sets.iter().filter(|set| set.exists()).try_for_each(|set| remove(set));
        let _ = fs::remove_dir(version);
        forgotten
    }

    fn root(&self) -> &Path {
        self.bpffs.unwrap_or(Path::new(DIRECTORY))
    }

    fn version(&self) -> PathBuf {
        self.root().join(VERSION)
    }

    fn replace(
        self,
        name: &str,
        links: &Links,
        check: impl FnOnce(&Path) -> Result<Found, PinsError>,
    ) -> Result<Pins, PinsError> {
        let root = self.root();
        // The directory itself may have to be made; then its parent says where it would be.
        let there = if root.exists() { root } else { root.parent().unwrap_or(root) };
        let kind = statfs(there).map_err(|error| failed("look at it", there)(error.into()))?.f_type;
        #[allow(clippy::unnecessary_cast, reason = "its type is the architecture's")]
        if kind as i64 != BPFFS {
            return Err(PinsError::NotBpffs(root.to_path_buf()));
        }
        let version = self.version();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&version)
            .map_err(failed("create the directory", &version))?;
        let directory = version.join(name);
        let (old, new) = (version.join(format!("{name}{OLD}")), version.join(format!("{name}{NEW}")));
        // A daemon that was killed while it took over: its own set was not in force yet, or the old one not
        // any more.
        if old.exists() && !directory.exists() {
            fs::rename(&old, &directory).map_err(failed("put back", &old))?;
        }
        let found = if directory.exists() { check(&directory)? } else { Found::Nothing };
        // The set there is ours, or nothing: from here on it is replaced as a whole.
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
            // The earlier set stays: it holds nobody who is not held by our own links as well.
            let _ = remove(&new);
            return Err(error);
        }
        let pins = Pins { directory, links: links.0.len(), found, stays: self.stays };
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

impl Pins {
    /// Takes the names back: from here on the links end with this process. Harmless when they are gone.
    pub(crate) fn remove(&self) {
        if let Err(error) = remove(&self.directory) {
            tracing::warn!(%error, "pinned links stay; remove them: rm -r {}", self.directory.display());
        }
        // The version goes with its last instance.
        if let Some(version) = self.directory.parent() {
            let _ = fs::remove_dir(version);
        }
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if !self.stays {
            self.remove();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_can_be_no_pins_there_are_none_to_forget() {
        for bpffs in ["/nonexistent", "/dev/null"] {
            let hold = Hold { base: Path::new("/a"), bpffs: Some(Path::new(bpffs)), stays: false };
            hold.forget_all().expect("nothing to do");
        }
    }

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
