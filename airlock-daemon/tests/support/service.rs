//! A cgroup that plays the one which systemd delegates to a service.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, setxattr};

use super::{cgroup_of, remove_cgroup};

/// It goes with this value, and so does whoever is in it but the test itself.
pub(crate) struct Service {
    /// Its directory.
    pub(crate) dir: PathBuf,
    before: PathBuf,
}

impl Service {
    /// Makes one below the cgroup of the test, marked as systemd does.
    ///
    /// # Errors
    /// Why none can be made here.
    pub(crate) fn create() -> Result<Self, String> {
        let before = cgroup_of("self")?;
        let dir = before.join(format!("airlock-test-{}.service", std::process::id()));
        fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let service = Self { dir, before };
        ["user.delegate", "trusted.delegate"]
            .iter()
            .find_map(|name| setxattr(&service.dir, *name, b"1", XattrFlags::empty()).ok())
            .ok_or("no extended attributes on cgroups")?;
        Ok(service)
    }

    /// Moves the test into it.
    pub(crate) fn enter(&self) {
        // With controllers, a cgroup whose subtree has them takes no process; the leaf that a daemon made
        // does.
        enter(&self.dir).or_else(|_| enter(&self.dir.join("daemon"))).expect("in the service");
    }

    /// Moves the test back to where it was.
    pub(crate) fn leave(&self) {
        enter(&self.before).expect("the way back");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.leave();
        let _ = fs::write(self.dir.join("cgroup.kill"), "1");
        remove_all(&self.dir);
    }
}

/// Removes a cgroup with all that are in it.
fn remove_all(dir: &Path) {
    let inner = fs::read_dir(dir).into_iter().flatten().flatten();
    inner.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).for_each(|entry| {
        remove_all(&entry.path());
    });
    remove_cgroup(dir);
}

fn enter(dir: &Path) -> std::io::Result<()> {
    fs::write(dir.join("cgroup.procs"), "0")
}
