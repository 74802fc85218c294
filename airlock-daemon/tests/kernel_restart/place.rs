//! Where daemons die and others are started: a service's cgroup, a bpffs and a directory of the test's own.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use airlock::config::schema::{Kernel, KernelMode, Seal};
use airlock::kernel::{KernelError, KernelHalf};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::support::{self, Service};

/// The variables that make the test binary a daemon, and tell it and its server what to use.
const BPFFS: &str = "AIRLOCK_TEST_BPFFS";
pub(crate) const WORK: &str = "AIRLOCK_TEST_WORK";
const SLICE: &str = "AIRLOCK_TEST_SLICE";
const SEAL: &str = "AIRLOCK_TEST_SEAL";

/// The FIFOs by which a server is asked what it reaches, and answers.
pub(crate) const ASK: &str = "ask";
pub(crate) const ANSWER: &str = "answer";

/// All of it goes with the value.
pub(crate) struct Place {
    pub(crate) dir: PathBuf,
    pub(crate) bpffs: PathBuf,
    pub(crate) service: Service,
    /// Each moves the whole test process, so one after the other.
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Place {
    fn create(alone: MutexGuard<'static, ()>) -> Result<Self, String> {
        let dir = support::shown_dir("airlock-restart-").map_err(|error| error.to_string())?.keep();
        let bpffs = dir.join("bpf");
        fs::create_dir_all(&bpffs).map_err(|error| error.to_string())?;
        for name in [ASK, ANSWER] {
            mknodat(CWD, dir.join(name), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
                .map_err(|error| format!("no FIFO: {error}"))?;
        }
        let place = Self { bpffs, dir, service: Service::create()?, _alone: alone };
        mount("bpf", &place.bpffs, "bpf", MountFlags::empty(), None)
            .map_err(|error| format!("no bpffs: {error}"))?;
        Ok(place)
    }

    /// The configuration of a daemon here, unless a test says otherwise.
    pub(crate) fn config(&self) -> Kernel {
        Kernel { mode: KernelMode::Preferred, bpffs: Some(self.bpffs.clone()), ..Kernel::default() }
    }

    /// Starts a daemon that is ready to be killed, in the service's cgroup; and its server's process.
    pub(crate) fn daemon(&self) -> (Child, i32) {
        self.daemon_with(&self.config())
    }

    /// The same with a slice, or a way in which it is sealed.
    #[expect(
        clippy::zombie_processes,
        reason = "whoever is given the daemon waits for it; otherwise the test has failed"
    )]
    pub(crate) fn daemon_with(&self, config: &Kernel) -> (Child, i32) {
        self.service.enter();
        let child = Command::new(std::env::current_exe().expect("the test binary"))
            .args(crate::support::PROBE)
            .env(BPFFS, &self.bpffs)
            .env(WORK, &self.dir)
            // Leftovers of a killed daemon go with the place.
            .env("TMPDIR", &self.dir)
            .env(SLICE, config.slice.as_deref().unwrap_or_default())
            .env(SEAL, format!("{:?}", config.seal))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        self.service.leave();
        let mut child = child.expect("a daemon");
        let mut output = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        while output.read_line(&mut line).expect("a line") > 0 {
            if let Some(pid) = line.trim().strip_prefix("SERVER ") {
                return (child, pid.parse().expect("a process id"));
            }
            line.clear();
        }
        panic!("the daemon ended before its server was there");
    }

    /// The configuration of a daemon that was started so; none in another process.
    pub(crate) fn config_of_daemon() -> Option<Kernel> {
        let bpffs = std::env::var_os(BPFFS)?;
        let slice = std::env::var(SLICE).ok().filter(|slice| !slice.is_empty());
        let named = std::env::var(SEAL).unwrap_or_default();
        let seal = [Seal::Auto, Seal::Cgroup, Seal::Host, Seal::Off]
            .into_iter()
            .find(|seal| format!("{seal:?}") == named)
            .expect("a way to seal");
        let (mode, bpffs) = (KernelMode::Preferred, Some(bpffs.into()));
        Some(Kernel { mode, bpffs, slice, seal, ..Kernel::default() })
    }

    /// A daemon that was killed; its server's process.
    pub(crate) fn dead_daemon_with(&self, config: &Kernel) -> i32 {
        let (mut daemon, server) = self.daemon_with(config);
        daemon.kill().expect("kill -9");
        daemon.wait().expect("its end");
        server
    }

    /// The pins of all sets, in the order of their names.
    pub(crate) fn pins(&self) -> Vec<PathBuf> {
        let version = self.bpffs.join("v1");
        let sets = listed(&version).into_iter().map(|set| version.join(set));
        sets.flat_map(|set| listed(&set).into_iter().map(move |pin| set.join(pin))).collect()
    }

    /// Nothing is left of any set.
    pub(crate) fn is_clean(&self) -> bool {
        !self.bpffs.join("v1").exists()
    }

    /// A daemon in this process, in the service's cgroup.
    pub(crate) fn start(&self, mode: KernelMode) -> Result<Arc<KernelHalf>, KernelError> {
        self.start_with(&Kernel { mode, ..self.config() })
    }

    pub(crate) fn start_with(&self, config: &Kernel) -> Result<Arc<KernelHalf>, KernelError> {
        self.service.enter();
        let half = KernelHalf::start(config);
        self.service.leave();
        half
    }

    /// As systemd does when the daemon is gone.
    pub(crate) fn kill_servers(&self) {
        fs::write(self.service.dir.join("servers/cgroup.kill"), "1").expect("cgroup.kill");
    }

    /// The same, and the cgroups go as well.
    pub(crate) fn remove_servers(&self) {
        self.kill_servers();
        let servers = self.service.dir.join("servers");
        for leaf in fs::read_dir(&servers).expect("servers").flatten() {
            if leaf.path().is_dir() {
                support::remove_cgroup(&leaf.path());
            }
        }
        support::remove_cgroup(&servers);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = unmount(&self.bpffs, UnmountFlags::DETACH);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A place; none where this host does not pin to bpffs at all, and the test is skipped.
pub(crate) fn place() -> Option<Place> {
    if std::env::var_os(support::MODE).is_some() {
        return None;
    }
    // Also before it looks whether it can: another test may have moved the process meanwhile.
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    support::pinning_unsealed()?;
    match Place::create(alone) {
        Ok(place) => Some(place),
        Err(reason) => {
            support::skip(&format!("links cannot be pinned here: {reason}"));
            None
        }
    }
}

/// True where a layer of the report is active, and what it says.
pub(crate) fn layer(half: &KernelHalf, name: &str) -> (bool, String) {
    let layer = half.report().layers.iter().find(|layer| layer.name == name).expect("a layer");
    (layer.active, layer.detail.clone())
}

/// Where the names of a set are changed: `NAME` is in force, `NAME_new` is pinned beside it, `NAME_old` is
/// set aside.
pub(crate) struct Names {
    pub(crate) set: PathBuf,
    pub(crate) new: PathBuf,
    pub(crate) old: PathBuf,
}

impl Names {
    /// Those of the servers' set that is there.
    pub(crate) fn of(place: &Place) -> Self {
        Self::find(place, false)
    }

    /// Those of the slice's.
    pub(crate) fn of_slice(place: &Place) -> Self {
        Self::find(place, true)
    }

    fn find(place: &Place, of_slice: bool) -> Self {
        let set_of = |pin: PathBuf| pin.parent().map(Path::to_path_buf);
        let is_of_slice = |set: &PathBuf| set.to_string_lossy().ends_with("_slice");
        let mut sets = place.pins().into_iter().filter_map(set_of);
        let set = sets.find(|set| is_of_slice(set) == of_slice).expect("a set");
        let beside = |end: &str| {
            let mut name = set.clone().into_os_string();
            name.push(end);
            PathBuf::from(name)
        };
        Self { new: beside("_new"), old: beside("_old"), set }
    }
}

/// True where a process that was started here is there, and not only waited for.
pub(crate) fn lives(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}/exe")).exists()
}

/// The names in a directory; none where there is no directory.
pub(crate) fn listed(dir: &Path) -> BTreeSet<OsString> {
    fs::read_dir(dir).into_iter().flatten().map(|entry| entry.expect("an entry").file_name()).collect()
}
