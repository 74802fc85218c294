//! A delegated cgroup, as systemd gives one to a service with `Delegate=yes`: the daemon steps aside into a leaf of it.
//!
//! Alone in its file, because it moves the whole test process.

#[path = "support/kernel.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use airlock::config::schema::{KernelMode, Pin};
use rustix::fs::{XattrFlags, setxattr};

/// The cgroup that plays the service's; the test process leaves it and removes it at the end.
struct Service {
    before: PathBuf,
    dir: PathBuf,
}

impl Service {
    fn create() -> Result<Self, String> {
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        let mount = mounts.lines().find(|line| line.contains(" cgroup2 ")).ok_or("no cgroup2 mount")?;
        let mount = PathBuf::from(mount.split(' ').nth(1).ok_or("no mount point")?);
        let before = mount.join(own_cgroup().trim_start_matches('/'));
        let dir = before.join(format!("airlock-test-{}.service", std::process::id()));
        fs::create_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let service = Self { before, dir };
        ["user.delegate", "trusted.delegate"]
            .iter()
            .find_map(|name| setxattr(&service.dir, *name, b"1", XattrFlags::empty()).ok())
            .ok_or("no extended attributes on cgroups")?;
        enter(&service.dir).map_err(|error| error.to_string())?;
        Ok(service)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        enter(&self.before).expect("the way back");
        for dir in [self.dir.join("daemon"), self.dir.clone()] {
            if dir.exists() {
                fs::remove_dir(&dir).expect("an empty cgroup");
            }
        }
    }
}

fn enter(dir: &Path) -> std::io::Result<()> {
    fs::write(dir.join("cgroup.procs"), "0")
}

fn own_cgroup() -> String {
    let table = fs::read_to_string("/proc/self/cgroup").expect("cgroup");
    table.lines().find_map(|line| line.strip_prefix("0::")).expect("a v2 line").to_owned()
}

/// Not a test: what the test binary does when it was started as a server.
#[test]
fn probe_process() {
    if let Ok(mode) = std::env::var(support::MODE) {
        support::act(&mode);
    }
}

#[test]
fn in_a_delegated_cgroup_the_daemon_steps_aside() {
    if std::env::var_os(support::MODE).is_some() {
        return;
    }
    let service = match Service::create() {
        Ok(service) => service,
        Err(reason) => return support::skip(&format!("no cgroup can be delegated here: {reason}")),
    };
    // The second time is a daemon that was executed again in place: it is already in its leaf.
    for _ in 0..2 {
        let half = support::start(KernelMode::Preferred);
        assert!(half.report().to_string().contains("delegated by systemd"), "{}", half.report());
        assert!(own_cgroup().ends_with(".service/daemon"), "{}", own_cgroup());
        let mut server = support::spawn(&half, &Pin::default(), &support::probe("look"));
        let found = support::findings(&mut server);
        assert!(found["cgroup"].contains(".service/servers/probe-"), "{}", found["cgroup"]);
        drop(server);
        drop(half);
        assert!(!service.dir.join("servers").exists());
    }
}
