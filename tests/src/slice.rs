//! A cgroup where systemd would have a slice.

#![allow(unreachable_pub, reason = "the crates that include this file see it in different places")]

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A slice of a test's own. It goes with this value, and so does whoever is in it.
pub struct Slice {
    /// Its name in `kernel.slice`.
    pub name: String,
    /// Its directory.
    pub dir: PathBuf,
}

impl Slice {
    /// Makes one where the manager of the system is.
    ///
    /// # Errors
    /// Why none can be made here.
    pub fn create() -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let first = cgroup_of("1")?;
        let manager = if first.ends_with("init.scope") { first.parent().unwrap_or(&first) } else { &first };
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("airlocktest{}x{number}.slice", std::process::id());
        let dir = manager.join(&name);
        fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        Ok(Self { name, dir })
    }

    /// The file through which a process comes into it.
    pub fn entrance(&self) -> PathBuf {
        self.dir.join("cgroup.procs")
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        let _ = fs::write(self.dir.join("cgroup.kill"), "1");
        remove_cgroup(&self.dir);
    }
}

/// The directory of a process's cgroup, by its entry in `/proc`.
///
/// # Errors
/// Where there is none to be seen.
pub fn cgroup_of(entry: &str) -> Result<PathBuf, String> {
    let table = fs::read_to_string(format!("/proc/{entry}/cgroup")).map_err(|error| error.to_string())?;
    let place = table.lines().find_map(|line| line.strip_prefix("0::/")).ok_or("no cgroup v2")?;
    Ok(mount()?.join(place))
}

/// Where cgroup v2 is mounted.
///
/// # Errors
/// Where it is not.
pub fn mount() -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
    let mount = mounts.lines().find(|line| line.contains(" cgroup2 ")).ok_or("no cgroup2 mount")?;
    Ok(PathBuf::from(mount.split(' ').nth(1).ok_or("no mount point")?))
}

/// Removes a cgroup once its killed processes have left it, for which there is nothing to wait for.
pub fn remove_cgroup(dir: &Path) {
    while fs::remove_dir(dir).is_err_and(|error| error.kind() == ErrorKind::ResourceBusy) {
        std::thread::yield_now();
    }
}
