//! Where a process is among the cgroups of version 2, and what systemd has given us of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Cgroups that are removed in one go, at most. A server that is root may make some below its own.
const REMOVED: usize = 10_000;

/// Why the cgroups could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// There is no cgroup v2 hierarchy.
    #[error("no cgroup2 file system is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup")]
    NoMount,
    /// This process is in no cgroup of that hierarchy, or in one that the mount does not show.
    #[error(
        "this process's own cgroup is not below {mount}; run it where its cgroup is visible, or with a cgroup namespace"
    )]
    NotVisible {
        /// Where cgroup2 is mounted.
        mount: PathBuf,
    },
    /// A file or directory refused.
    #[error("{path}: cannot {action}: {source}; run as root, or as a systemd service with Delegate=yes")]
    Io {
        /// The attempt.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
}

impl CgroupError {
    /// The number of the system error, if there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Io { source, .. } => source.raw_os_error(),
            Self::NoMount | Self::NotVisible { .. } => None,
        }
    }
}

/// The error of what was tried at a path.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_path_buf();
    move |source| CgroupError::Io { action, path, source }
}

/// The directory of this process's cgroup.
pub(super) fn own_cgroup() -> Result<PathBuf, CgroupError> {
    of_process("self")
}

/// The directory of a process's cgroup, by its entry in `/proc`.
pub(crate) fn of_process(entry: &str) -> Result<PathBuf, CgroupError> {
    let read = |path: &str| fs::read_to_string(path).map_err(failed("read", Path::new(path)));
    let (root, mount) = cgroup2_mount(&read("/proc/self/mountinfo")?).ok_or(CgroupError::NoMount)?;
    let table = read(&format!("/proc/{entry}/cgroup"))?;
    own_dir(&table, &root, &mount).ok_or(CgroupError::NotVisible { mount })
}

/// The swap of the host that this process's memory may be written to: the first file or device in use, or
/// none where there is none, or where a cgroup around this process allows none. Tokens and keys that are
/// swapped out outlive the process.
pub fn swap_in_reach() -> Option<String> {
    let table = fs::read_to_string("/proc/swaps").ok()?;
    let first = first_swap(&table)?;
    let kept_out = own_cgroup().is_ok_and(|own| has_no_swap(&own));
    (!kept_out).then(|| first.to_owned())
}

/// The name in the first row of `/proc/swaps`, whose first line has the titles.
fn first_swap(table: &str) -> Option<&str> {
    table.lines().nth(1)?.split_whitespace().next()
}

/// True where a cgroup, or one above it, has a `memory.swap.max` of 0. Where the memory controller is missing
/// there is no limit.
fn has_no_swap(own: &Path) -> bool {
    own.ancestors()
        .any(|dir| fs::read_to_string(dir.join("memory.swap.max")).is_ok_and(|most| most.trim() == "0"))
}

/// The root and the mount point of the first cgroup2 mount in `/proc/self/mountinfo`.
fn cgroup2_mount(mountinfo: &str) -> Option<(PathBuf, PathBuf)> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        if filesystem.split(' ').next()? != "cgroup2" {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        Some((unescape(fields.next()?), unescape(fields.next()?)))
    })
}

/// Joins the v2 line of `/proc/self/cgroup` to the mount point.
fn own_dir(table: &str, root: &Path, mount: &Path) -> Option<PathBuf> {
    let path = table.lines().find_map(|line| line.strip_prefix("0::"))?;
    let below = Path::new(path).strip_prefix(root).ok()?;
    (!path.contains("/.."))
        .then(|| if below.as_os_str().is_empty() { mount.into() } else { mount.join(below) })
}

/// Undoes the octal escapes of mountinfo (space, tab, newline, backslash).
fn unescape(field: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    PathBuf::from(escapes.iter().fold(field.to_owned(), |text, (code, plain)| text.replace(code, plain)))
}

/// The cgroup that systemd delegated to us, marked by an attribute: our own, or its parent when we already
/// stepped aside.
pub(super) fn delegated_base(own: &Path) -> Option<PathBuf> {
    let is_delegated = |dir: &Path| {
        ["user.delegate", "trusted.delegate"].iter().any(|name| {
            let mut value = [0_u8; 8];
            rustix::fs::getxattr(dir, *name, &mut value[..]).is_ok_and(|length| value[..length] == *b"1")
        })
    };
    if is_delegated(own) {
        return Some(own.to_path_buf());
    }
    let parent = own.parent().filter(|_| own.ends_with("daemon"))?;
    is_delegated(parent).then(|| parent.to_path_buf())
}

/// Removes a cgroup with all that are below it. None of them may hold a process any more.
pub(crate) fn remove(top: &Path) -> io::Result<()> {
    let mut left = vec![top.to_path_buf()];
    let mut tried = 0;
    while let Some(dir) = left.last() {
        tried += 1;
        let error = match fs::remove_dir(dir) {
            Ok(()) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => Some(error),
        };
        let Some(error) = error else {
            left.pop();
            continue;
        };
        // Its content goes first. Its files go with it.
        let below = fs::read_dir(dir).into_iter().flatten().flatten();
        let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let below: Vec<PathBuf> = below.take(REMOVED).map(|entry| entry.path()).collect();
        if below.is_empty() || tried > REMOVED {
            return Err(error);
        }
        left.extend(below);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 24 0:26 / /sys/fs/cgroup rw,nosuid - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw
";

    #[test]
    fn the_mount_is_found_wherever_it_is() {
        let (root, mount) = cgroup2_mount(HYBRID).expect("a mount");
        assert_eq!((root, mount), (PathBuf::from("/"), PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(cgroup2_mount("31 30 0:27 / /x rw - cgroup cgroup rw,cgroup2"), None);
        let odd = cgroup2_mount("32 30 0:28 /a /m\\040n rw - cgroup2 none rw").expect("a mount");
        assert_eq!(odd, (PathBuf::from("/a"), PathBuf::from("/m n")));
    }

    #[test]
    fn the_own_cgroup_is_below_the_mount_or_unknown() {
        let own = |table: &str, root: &str| own_dir(table, Path::new(root), Path::new("/cg"));
        let table = "9:pids:/x\n0::/system.slice/airlock.service\n";
        assert_eq!(own(table, "/"), Some("/cg/system.slice/airlock.service".into()));
        assert_eq!(own(table, "/system.slice"), Some("/cg/airlock.service".into()));
        assert_eq!(own(table, "/user.slice"), None);
        assert_eq!(own("0::/\n", "/"), Some("/cg".into()));
        assert_eq!(own("0::/../other\n", "/"), None);
        assert_eq!(own("9:pids:/x\n", "/"), None);
    }

    #[test]
    fn swap_is_out_of_reach_where_a_cgroup_around_allows_none() {
        let titles = "Filename\tType\tSize\n";
        assert_eq!(first_swap(titles), None);
        assert_eq!(first_swap(&format!("{titles}/dev/zram0  partition\t8\n")), Some("/dev/zram0"));

        let top = tempfile::tempdir().expect("a directory");
        let own = top.path().join("airlock.service/daemon");
        fs::create_dir_all(&own).expect("made");
        assert!(!has_no_swap(&own), "nothing is counted");
        fs::write(own.join("memory.swap.max"), "max\n").expect("written");
        assert!(!has_no_swap(&own));
        fs::write(top.path().join("airlock.service/memory.swap.max"), "0\n").expect("written");
        assert!(has_no_swap(&own));
    }
}
