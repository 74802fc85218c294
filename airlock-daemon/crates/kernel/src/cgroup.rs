//! The cgroups: where ours are, one leaf a server process, and its end.
//!
//! ```text
//! base/            our own cgroup when systemd delegated it and we serve, otherwise
//!                  `airlock-<pid>-<n>-claimed` below our own
//!   daemon/        this process (only when delegated: a cgroup with controllers holds no processes itself)
//!   servers/       the programs are attached here, before the first leaf exists
//!     <name>-<n>   one server process and its children
//!   unpinned/      servers whose configuration asks for the host's network
//! ```

pub(super) mod hierarchy;
pub(super) mod leftovers;

use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;

use self::hierarchy::{CgroupError, delegated_base, failed, own_cgroup};
use super::directories::claim::Claim;
use super::process::clone::Entrance;
use super::purpose::Purpose;
use airlock_config::schema::{Pin, PinNetwork};

/// A limit of `pin` that a controller enforces.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// The controller.
    pub controller: &'static str,
    /// Its key in the configuration.
    pub key: &'static str,
    /// True where a server has it.
    pub is_set: fn(&Pin) -> bool,
}

/// All of them.
pub const LIMITS: [Limit; 3] = [
    Limit { controller: "memory", key: "pin.memory", is_set: |pin| pin.memory.is_some() },
    Limit { controller: "pids", key: "pin.tasks", is_set: |pin| pin.tasks.is_some() },
    Limit { controller: "cpu", key: "pin.cpu", is_set: |pin| pin.cpu.is_some() },
];

/// The parents of the leaves: of pinned servers, and of others.
pub(super) const PARENTS: [&str; 2] = ["servers", "unpinned"];

/// How the names end of cgroups on which their daemon holds a lock.
pub(super) const CLAIMED: &str = "-claimed";

/// How long a killed cgroup may take to become empty; killed processes leave in milliseconds.
const EMPTY_WITHIN: Duration = Duration::from_secs(2);

/// The weight of all pinned servers together, and of all others, where they and the daemon want to run
/// (`cpu.weight`; the daemon's cgroup has the kernel's default of 100).
const SERVERS_WEIGHT: &str = "33";

/// The cgroups of this daemon.
#[derive(Debug)]
pub(super) struct Cgroups {
    base: PathBuf,
    /// `base`, if it was created here, and is removed at the end.
    claim: Option<Claim>,
    delegated: bool,
    /// The controllers that leaves have.
    controllers: Vec<&'static str>,
    /// The cgroup that systemd gave to a process that only looks, whose leaves do not have it.
    given: Vec<&'static str>,
    next_leaf: AtomicU64,
}

impl Cgroups {
    /// Finds our place in the hierarchy and creates `servers` and `unpinned`.
    ///
    /// A process that only looks has them apart also where systemd delegated a cgroup, and changes nothing
    /// there: a running daemon has its own, and one that is about to be started could not be put where
    /// children have controllers.
    ///
    /// A process that was started before, and starts servers for this one, goes where this one goes.
    pub(super) fn prepare(purpose: Purpose, starter: Option<Pid>) -> Result<Self, CgroupError> {
        let own = own_cgroup()?;
        let given = delegated_base(&own);
        let (base, claim) = if let (Some(given), Purpose::Serve) = (&given, purpose) {
            step_aside(given, starter)?;
            (given.clone(), None)
        } else {
            let claim = claim_below(given.as_ref().unwrap_or(&own))?;
            (claim.path().to_path_buf(), Some(claim))
        };
        let delegated = given.is_some();
        let mut cgroups = Self {
            base,
            claim,
            delegated,
            controllers: Vec::new(),
            given: Vec::new(),
            next_leaf: AtomicU64::new(0),
        };
        create_if_absent(&cgroups.servers())?;
        create_if_absent(&cgroups.unpinned())?;
        cgroups.enable_controllers();
        if purpose == Purpose::Look {
            cgroups.given = given.map(|given| controllers_of(&given)).unwrap_or_default();
        }
        Ok(cgroups)
    }

    /// The cgroup that the programs are attached to.
    pub(super) fn servers(&self) -> PathBuf {
        self.base.join(PARENTS[0])
    }

    fn unpinned(&self) -> PathBuf {
        self.base.join(PARENTS[1])
    }

    /// True where systemd gave us the subtree that these are in.
    pub(super) fn is_delegated(&self) -> bool {
        self.delegated
    }

    /// True where the next daemon is given the same ones.
    pub(super) fn are_given(&self) -> bool {
        self.claim.is_none()
    }

    /// The directory that holds our cgroups.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// True where leaves have this controller, one of [`LIMITS`].
    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.contains(&controller)
    }

    /// True where leaves of a daemon that serves have it.
    pub(super) fn offers(&self, controller: &str) -> bool {
        self.has(controller) || self.given.contains(&controller)
    }

    /// The open directory of `servers`, to attach programs to.
    pub(super) fn open_servers(&self) -> Result<File, CgroupError> {
        let path = self.servers();
        File::open(&path).map_err(failed("open the cgroup", &path))
    }

    /// The open directories that leaves are made in: of pinned servers, and of others.
    pub(super) fn open_parents(&self) -> Result<[File; 2], CgroupError> {
        let unpinned = self.unpinned();
        Ok([self.open_servers()?, File::open(&unpinned).map_err(failed("open the cgroup", &unpinned))?])
    }

    /// A new leaf for one process, with its limits as far as the controllers are available.
    pub(super) fn leaf(&self, name: &str, pin: &Pin) -> Result<Leaf, CgroupError> {
        let parent = match pin.network {
            PinNetwork::None => self.servers(),
            PinNetwork::Host => self.unpinned(),
        };
        let (path, number) = loop {
            let number = self.next_leaf.fetch_add(1, Ordering::Relaxed);
            let path = parent.join(leaf_name(name, number));
            match fs::create_dir(&path) {
                Ok(()) => break (path, number),
                // Left by a daemon that died.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed("create the cgroup", &path)(error)),
            }
        };
        // From here on the leaf is removed with its value.
        let leaf = Leaf { path, number, gone: false, is_ours: true };
        if let Some(bytes) = pin.memory.filter(|_| self.has("memory")) {
            leaf.write("memory.max", &bytes.0.to_string())?;
            // Swap would be more of it. Kernels without the file have none to give.
            leaf.write_if_there("memory.swap.max", "0")?;
        }
        if self.has("memory") {
            // A server that lost one of its processes is no server: all of it ends.
            leaf.write_if_there("memory.oom.group", "1")?;
        }
        if let Some(share) = pin.cpu.filter(|_| self.has("cpu")) {
            // The share of each period of 100 ms, in microseconds.
            leaf.write("cpu.max", &format!("{} 100000", u64::from(share.percent) * 1_000))?;
        }
        if let Some(tasks) = pin.tasks.filter(|_| self.has("pids")) {
            // One more is the process that reaps.
            leaf.write("pids.max", &(u64::from(tasks) + 1).to_string())?;
        }
        Ok(leaf)
    }

    /// Passes the controllers down to the leaves, where we have them; limits are the only thing lost
    /// otherwise.
    fn enable_controllers(&mut self) {
        for Limit { controller, .. } in LIMITS {
            let enable = format!("+{controller}");
            let enabled = [self.base.clone(), self.servers(), self.unpinned()]
                .iter()
                .all(|dir| fs::write(dir.join("cgroup.subtree_control"), &enable).is_ok());
            if enabled {
                self.controllers.push(controller);
            }
        }
        if self.has("cpu") {
            for servers in [self.servers(), self.unpinned()] {
                if let Err(error) = fs::write(servers.join("cpu.weight"), SERVERS_WEIGHT) {
                    tracing::warn!(path = %servers.display(), %error, "servers have as much of the processors as the daemon");
                }
            }
        }
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // A directory that still has a leaf refuses, which is right: its process is still alive.
        let mut dirs = vec![self.servers(), self.unpinned()];
        if self.claim.is_some() {
            dirs.push(self.base.clone());
        }
        for dir in dirs {
            if let Err(error) = fs::remove_dir(&dir) {
                tracing::debug!(path = %dir.display(), %error, "cgroup not removed");
            }
        }
    }
}

/// One leaf cgroup: a server process and whatever it starts.
#[derive(Debug)]
pub(super) struct Leaf {
    path: PathBuf,
    number: u64,
    gone: bool,
    /// It is removed by this process.
    is_ours: bool,
}

impl Leaf {
    /// One that was left by a daemon that died. It ends with this value.
    pub(super) fn left(path: PathBuf) -> Self {
        Self { path, number: 0, gone: false, is_ours: true }
    }

    /// One that another process has made, and removes. Its processes end with this value.
    pub(super) fn lent(parent: &Path, name: &str, number: u64) -> Self {
        Self { path: parent.join(leaf_name(name, number)), number, gone: false, is_ours: false }
    }

    /// Its number, which no other leaf below the same parent has.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Its directory.
    pub(super) fn dir(&self) -> &Path {
        &self.path
    }

    /// The file whose writer enters the leaf.
    pub(super) fn procs_path(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// The id of the cgroup, by which programs know it: the number of its directory.
    pub(super) fn id(&self) -> Result<u64, CgroupError> {
        fs::metadata(&self.path).map(|found| found.ino()).map_err(failed("look at the cgroup", &self.path))
    }

    /// The way in, open; close-on-exec.
    pub(super) fn open(&self) -> Result<Entrance, CgroupError> {
        let procs = self.procs_path();
        Ok(Entrance {
            dir: File::open(&self.path).map_err(failed("open", &self.path))?,
            procs: OpenOptions::new().write(true).open(&procs).map_err(failed("open", &procs))?,
        })
    }

    /// Kills everything in the leaf at once; false where the kernel has no `cgroup.kill` (before 5.14).
    pub(super) fn kill(&self) -> bool {
        self.gone || fs::write(self.path.join("cgroup.kill"), "1").is_ok()
    }

    /// Waits until the leaf is empty and removes it. Call after [`Self::kill`].
    pub(super) fn remove(&mut self) {
        if self.gone {
            return;
        }
        self.gone = true;
        if !self.is_ours {
            return;
        }
        let emptied = self.wait_until_empty();
        if let Err(error) = hierarchy::remove(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, ?emptied, "cgroup of a server not removed");
        }
    }

    fn write(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        let path = self.path.join(file);
        fs::write(&path, value).map_err(failed("set the limit", &path))
    }

    fn write_if_there(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        if self.path.join(file).exists() { self.write(file, value) } else { Ok(()) }
    }

    /// `cgroup.events` is readable with a priority event when the leaf becomes empty.
    fn wait_until_empty(&self) -> io::Result<bool> {
        let path = self.path.join("cgroup.events");
        let events = File::open(&path)?;
        let deadline = Instant::now() + EMPTY_WITHIN;
        loop {
            if fs::read_to_string(&path)?.lines().any(|line| line == "populated 0") {
                return Ok(true);
            }
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return Ok(false) };
            let mut fds = [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::PRI)];
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        if !self.gone {
            self.kill();
            self.remove();
        }
    }
}

/// The name of a leaf: one component of a path, whatever the server is called.
fn leaf_name(name: &str, number: u64) -> String {
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect();
    format!("{name}-{number}")
}

/// An earlier daemon may have made it.
fn create_if_absent(dir: &Path) -> Result<(), CgroupError> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(failed("create the cgroup", dir)(error))
        }
        _ => Ok(()),
    }
}

/// The controllers that a cgroup could pass down.
fn controllers_of(dir: &Path) -> Vec<&'static str> {
    let listed = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
    let is_listed = |name: &&str| listed.split_whitespace().any(|word| word == *name);
    LIMITS.iter().map(|limit| limit.controller).filter(is_listed).collect()
}

/// Moves this process, and the one that starts servers, out of the way: cgroup v2 lets a cgroup have either
/// processes or controllers for its children.
fn step_aside(base: &Path, starter: Option<Pid>) -> Result<(), CgroupError> {
    let daemon = base.join("daemon");
    create_if_absent(&daemon)?;
    let procs = daemon.join("cgroup.procs");
    let starter = starter.map(|pid| pid.as_raw_nonzero().to_string());
    let both = [Some("0".to_owned()), starter].into_iter().flatten();
    let mut moved = both.map(|pid| fs::write(&procs, pid).map_err(failed("move this process", &procs)));
    moved.try_for_each(|done| done)
}

/// A cgroup that no other daemon, and no other instance in this process, has. As long as this one lives
/// nobody clears it away.
fn claim_below(parent: &Path) -> Result<Claim, CgroupError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("airlock-{}-{number}{CLAIMED}", std::process::id()));
        match Claim::make(&path, 0o755) {
            Ok(Some(claim)) => return Ok(claim),
            Ok(None) => {}
            // A dead one's whose number this process has now.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed("create the cgroup", &path)(error)),
        }
    }
}
