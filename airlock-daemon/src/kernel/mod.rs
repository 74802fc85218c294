//! The kernel half: servers are pinned by cgroup programs, abusive sources are dropped by XDP.
//!
//! It is told what to do (give me a cell, drop this address) and knows nothing of HTTP or MCP. The abilities
//! of a host are found out by really attaching the programs and sending a process to break out ([`Report`]),
//! never from a version or a file.

mod cgroup;
pub mod command;
mod confine;
mod directories;
mod door;
mod drop;
mod ebpf;
mod error;
mod netlink;
mod probe;
pub mod process;
pub mod promises;
mod purpose;
mod report;
mod server;
mod slice;
pub mod spawner;
pub mod spawner_process;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use airlock_ebpf::{Hook, Verdict};
use aya::Ebpf;

pub use self::cgroup::hierarchy::{CgroupError, swap_in_reach};
pub use self::cgroup::{LIMITS, Limit};
pub use self::command::{DEFAULT_PATH, ServerCommand, SpawnError};
pub use self::confine::seccomp::confine_daemon;
pub use self::door::Door;
pub use self::drop::error::DropError;
pub use self::drop::interfaces::{Attached, exists as interface_exists};
pub use self::drop::network::protected;
pub use self::drop::sockets::SocketsError;
pub use self::drop::{Blocked, EarlyDrop, Reason, Stage};
pub use self::ebpf::events::Denied;
pub use self::ebpf::loader::LoadError;
pub use self::ebpf::pins::fault::PinsError;
pub use self::ebpf::refused::Refused;
pub use self::error::KernelError;
pub use self::process::exit::Exit;
pub use self::process::privileges::{keep_for_start, keep_nothing};
pub use self::process::step::Step;
pub use self::process::users::{ROOT_BY_OMISSION, has_default_user, is_root_by_omission};
pub use self::report::{Layer, Report};
pub use self::server::ServerProcess;
pub use self::server::spawn::Cell;
pub use self::slice::dialers::{Slice, SliceError, user_id};
pub use self::slice::peer::Peer;
pub use self::slice::unit::is_of_unit;
pub use self::spawner::Spawner;

use self::cgroup::Cgroups;
use self::ebpf::events::{Events, Names};
use self::ebpf::pinning::{Pinning, Programs};
use self::ebpf::refused::Refusals;
use self::probe::ladder::Climbed;
use self::process::privileges::Uses;
use self::purpose::Purpose;
use self::report::{claim, rung_name};
use self::server::terms::Terms;
use self::spawner::Facts;
use crate::config::schema::{Kernel, KernelMode, Pin, Rung};

/// The faults with which mode `required` does not start, besides a rung that is too low.
#[derive(Debug)]
struct Failures {
    pins: Option<PinsError>,
    early_drop: Option<DropError>,
}

/// The kernel half of a running daemon. All of it ends with this value and its cells, but for what holds the
/// units of a slice: that stays for the next daemon unless [`KernelHalf::end`] was called.
#[derive(Debug)]
pub struct KernelHalf {
    report: Report,
    early_drop: Option<EarlyDrop>,
    programs: Option<Arc<Programs>>,
    pinning: Option<Arc<Pinning>>,
    names: Names,
    refusals: Refusals,
    terms: Mutex<Terms>,
    slice: Option<Result<Slice, SliceError>>,
    spawner: Option<Spawner>,
    /// A server for which no user is named would run as root; asked of the process that starts servers.
    root_by_omission: bool,
    /// Which limits were said not to be enforced: a bit for each of [`LIMITS`].
    limits_told: AtomicU8,
}

impl KernelHalf {
    /// Attaches what this host allows, proves it, and compares it with what the configuration demands.
    ///
    /// Under systemd with `Delegate=yes` this moves the calling process into a cgroup of its own below its
    /// unit's.
    ///
    /// # Errors
    /// Only in mode `required`: when the rung is below the minimum, which is `no-ip` unless configured, or
    /// when the early drop has interfaces and does not work.
    pub fn start(config: &Kernel) -> Result<Arc<Self>, KernelError> {
        Self::start_with(config, None)
    }

    /// The same, with a process that starts servers in place of this one.
    ///
    /// # Errors
    /// Also when that process does not answer.
    pub fn start_with(config: &Kernel, spawner: Option<Spawner>) -> Result<Arc<Self>, KernelError> {
        let minimum = config.minimum_rung.unwrap_or(Rung::NoIp);
        let (half, failures) = Self::climb(config, minimum, Purpose::Serve, spawner);
        directories::own_dir::clear();
        cgroup::leftovers::clear_dead();
        let report = &half.report;
        match config.mode {
            KernelMode::Required => {
                if report.rung.is_none_or(|rung| rung < minimum) {
                    return Err(KernelError::BelowMinimum {
                        rung: report.rung,
                        minimum,
                        missing: report.missing(),
                    });
                }
                // A fault of the slice may be why its pins are not taken over.
                half.fitting_slice().transpose()?;
                if let Some(error) = failures.pins {
                    return Err(error.into());
                }
                if let Some(error) = failures.early_drop {
                    return Err(error.into());
                }
            }
            KernelMode::Preferred => {
                if report.rung.is_none_or(|rung| rung < minimum) {
                    let missing = report.missing();
                    tracing::warn!(rung = rung_name(report.rung), missing, "{}", report.claim);
                }
                if let Some(Err(error)) = half.fitting_slice() {
                    tracing::warn!("{error}");
                }
            }
            KernelMode::Off => {}
        }
        tracing::info!(rung = rung_name(report.rung), "{}", report.claim);
        if let Some(spawner) = &half.spawner {
            spawner.begin(half.pinning.as_ref().map(|pinning| &pinning.cgroups), report.rung.is_some())?;
        }
        Ok(Arc::new(half))
    }

    /// Tries what this host allows, whatever is demanded, and touches nothing that a running daemon may have:
    /// no interface, and no unit of a slice.
    pub fn try_out(config: &Kernel) -> Self {
        let mut tried = Kernel { mode: KernelMode::Preferred, ..config.clone() };
        tried.xdp.interfaces.clear();
        Self::climb(&tried, config.minimum_rung.unwrap_or(Rung::NoIp), Purpose::Look, None).0
    }

    /// Tries everything and keeps what works.
    fn climb(config: &Kernel, minimum: Rung, purpose: Purpose, spawner: Option<Spawner>) -> (Self, Failures) {
        let mut layers = Vec::new();
        let mut rung = None;
        let mut early_drop = None;
        let mut drop_failure = None;
        let mut programs = None;
        let mut pinning = None;
        let mut foreign_pins = None;
        let mut names = Names::default();
        let mut slice = None;
        if config.mode == KernelMode::Off {
            layers.push(
                Layer::inactive("kernel half", "switched off")
                    .with_remedy("set kernel.mode to required or preferred"),
            );
            if purpose == Purpose::Serve {
                probe::ladder::clear(config.bpffs.as_deref());
            }
        } else {
            let mut ebpf = load(&mut layers);
            if let Some(ebpf) = &mut ebpf {
                (early_drop, drop_failure) = probe::layers::early_drop(ebpf, &config.xdp, &mut layers);
            }
            let cgroups = Cgroups::prepare(purpose, spawner.as_ref().map(Spawner::pid))
                .map_err(|error| {
                    layers.push(Layer::inactive("cgroups", error.to_string()).with_errno(error.errno()));
                })
                .ok();
            let mut climbed = Climbed::default();
            if let Some(cgroups) = &cgroups {
                let place = if cgroups.is_delegated() { "delegated by systemd" } else { "created here" };
                layers.push(Layer::active("cgroups", format!("{} ({place})", cgroups.base().display())));
                if let Some(ebpf) = &mut ebpf {
                    climbed = probe::ladder::climb(cgroups, ebpf, config, purpose, &names, &mut layers);
                }
                layers.extend(probe::layers::limits(cgroups));
            }
            let Climbed { rung: proved, slice: attached, links, pins, foreign } = climbed;
            // Without a cage for servers there is none for units.
            slice =
                config.slice.as_deref().map(|name| attached.unwrap_or_else(|| Err(SliceError::bare(name))));
            if let Some(slice) = &slice {
                layers.push(slice::dialers::layer(slice));
                names.look_below(slice.as_ref().ok().map(Slice::dir));
            }
            rung = proved;
            foreign_pins = foreign;
            // The early drop hangs on the programs as well, so they stay without cgroups, too.
            programs = ebpf.map(|ebpf| Arc::new(Programs(Mutex::new(ebpf))));
            pinning = cgroups.map(|cgroups| {
                Arc::new(Pinning { pins, _programs: programs.clone(), _links: links, cgroups })
            });
        }
        let mut root_by_omission = false;
        let (permitted, more) = probe::layers::always(config.mode, || {
            let Some(spawner) = &spawner else { return probe::permitted::probe() };
            let Facts { found, root_by_omission: told } = spawner.probe();
            root_by_omission = told;
            found
        });
        layers.extend(more);
        let report = Report {
            mode: config.mode,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            rung,
            minimum_rung: minimum,
            claim: claim(rung),
            layers,
        };
        let failures = Failures { pins: foreign_pins, early_drop: drop_failure };
        (
            Self {
                report,
                early_drop,
                programs,
                pinning,
                names,
                refusals: Refusals::default(),
                terms: Mutex::new(Terms::new(config.mode, permitted, rung.is_some(), [])),
                slice,
                spawner,
                root_by_omission,
                limits_told: AtomicU8::new(0),
            },
            failures,
        )
    }

    /// The layers in force, and why the rest are not.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Hides files and directories from every server that is started from now on. A path that is not there
    /// yet, or cannot be resolved, is hidden under the name that is given.
    pub fn hide(&self, paths: impl IntoIterator<Item = PathBuf>) {
        self.terms().hide(paths);
    }

    fn terms(&self) -> MutexGuard<'_, Terms> {
        self.terms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a server: by the process that starts servers, which has its command in a table, or here, by
    /// `command`.
    ///
    /// # Errors
    /// Why it does not run, with the remedy.
    pub fn start_server(
        &self,
        upstream: &str,
        pin: &Pin,
        command: impl FnOnce() -> Result<ServerCommand, String>,
    ) -> Result<ServerProcess, String> {
        let cell = self.cell(upstream, pin).map_err(|error| error.to_string())?;
        let Some(spawner) = &self.spawner else {
            return cell.spawn(&command()?).map_err(|error| error.to_string());
        };
        cell.spawn_by(spawner).map_err(|error| error.to_string())
    }

    /// True where mode `required` starts no server for which this user is named, or none. May ask the name
    /// service.
    pub fn is_root_by_omission(&self, user: Option<&str>) -> bool {
        match &self.spawner {
            Some(_) => user.is_none() && self.root_by_omission,
            None => is_root_by_omission(user),
        }
    }

    /// Why no server can be started any more, whatever it is, if that is so.
    pub fn trouble(&self) -> Option<String> {
        self.spawner.as_ref().and_then(Spawner::trouble)
    }

    /// Gives up the capabilities that are of no use from here on, in this thread and those that it starts.
    ///
    /// # Errors
    /// When the kernel refuses that.
    pub fn give_up_capabilities(&self) -> std::io::Result<()> {
        let interfaces = self.early_drop.as_ref().is_some_and(|early_drop| !early_drop.attached().is_empty());
        process::privileges::keep_for_service(Uses { maps: self.programs.is_some(), interfaces })
    }

    /// A place for one server process. Without cgroups (mode `off`, or `preferred` on a host without them)
    /// the cell has none, and only the steps between fork and exec confine the process.
    pub fn cell(&self, upstream: &str, pin: &Pin) -> Result<Cell, KernelError> {
        self.refusals.forget(upstream);
        let leaf = match &self.pinning {
            Some(pinning) => {
                self.tell_of_limits(&pinning.cgroups, upstream, pin);
                let leaf = pinning.cgroups.leaf(upstream, pin)?;
                self.names.remember(leaf.id()?, leaf.dir().to_path_buf(), upstream);
                Some(leaf)
            }
            None => None,
        };
        self.terms().cell(upstream, pin, leaf, self.pinning.clone())
    }

    /// Says which limits are not enforced, each once aloud.
    fn tell_of_limits(&self, cgroups: &Cgroups, upstream: &str, pin: &Pin) {
        for (place, Limit { controller, key, is_set }) in LIMITS.into_iter().enumerate() {
            if !is_set(pin) || cgroups.has(controller) {
                continue;
            }
            if self.limits_told.fetch_or(1 << place, Ordering::Relaxed) & (1 << place) == 0 {
                tracing::warn!(
                    upstream,
                    controller,
                    "{key} is not enforced: this controller is not available in cgroup v2 here; run as a systemd service with Delegate=yes on a host with unified cgroups"
                );
            } else {
                tracing::debug!(upstream, controller, "{key} is not enforced");
            }
        }
    }

    /// The slice whose units may dial in, where one is configured.
    pub fn slice(&self) -> Option<Result<&Slice, SliceError>> {
        self.slice.as_ref().map(|slice| slice.as_ref().map_err(Clone::clone))
    }

    /// The same, if its units stand where the configuration demands.
    pub fn fitting_slice(&self) -> Option<Result<&Slice, SliceError>> {
        let minimum = self.report.minimum_rung;
        self.slice().map(|slice| slice.and_then(|slice| slice.reaches(minimum).map(|()| slice)))
    }

    /// True where the slice's units connect to nothing but what a door is opened to.
    fn has_doors(&self) -> bool {
        self.slice.as_ref().is_some_and(|slice| slice.as_ref().is_ok_and(Slice::has_doors))
    }

    /// The end that was asked for: what would hold servers and units when this process is gone is taken back,
    /// so that it ends with this value. Without it the units of a slice stay in their cage, whatever the
    /// process dies of, until the next one starts.
    pub fn end(&self) {
        if let Some(pins) = self.pinning.as_ref().and_then(|pinning| pinning.pins.as_ref()) {
            pins.remove();
        }
        if let Some(Ok(slice)) = &self.slice {
            slice.unpin();
        }
    }

    /// The early drop, where its program is in the kernel.
    pub fn early_drop(&self) -> Option<&EarlyDrop> {
        self.early_drop.as_ref()
    }

    /// How often each hook refused something to a server since the start; nothing without the programs.
    pub fn denied(&self) -> Result<Vec<(Hook, u64)>, KernelError> {
        let Some(programs) = &self.programs else { return Ok(Vec::new()) };
        Ok(ebpf::loader::denied(&programs.lock())?.to_vec())
    }

    /// The sum of what was refused to the processes of a server since one was last started; none where
    /// nothing was.
    pub fn refused(&self, upstream: &str) -> Option<Refused> {
        self.refusals.of(upstream)
    }

    /// The same after what the kernel has told so far is read; blocks for half a second at most.
    pub fn refused_by_now(&self, upstream: &str) -> Option<Refused> {
        self.refusals.settle();
        self.refused(upstream)
    }

    /// Tells of each refusal, for ever; run it on the control thread. Returns at once where there are no
    /// programs, or when it runs already.
    ///
    /// `tell` is given what was refused; `untold` how many refusals were not told, because they were too
    /// many.
    pub async fn watch_denials(self: Arc<Self>, mut tell: impl FnMut(Denied), mut untold: impl FnMut(u64)) {
        let Some(programs) = self.programs.clone() else { return };
        let Some(mut events) = Events::take(&mut programs.lock()) else { return };
        let mut asked = self.refusals.read();
        let mut tell = |event: &airlock_ebpf::Event| {
            if let Some(denied) = self.names.name(event) {
                self.refusals.count(&denied);
                tell(denied);
            }
        };
        let mut lost = 0;
        // The count of events too many to tell comes after those that were told, so it is asked for as well.
        let mut second = tokio::time::interval(std::time::Duration::from_secs(1));
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let told = tokio::select! {
                told = events.next(&mut tell) => told,
                Some(done) = asked.recv() => {
                    events.drain(&mut tell);
                    // Whoever asked may have given up.
                    let _ = done.send(());
                    Ok(())
                }
                _ = second.tick() => Ok(()),
            };
            if let Err(error) = told {
                tracing::warn!(%error, "events of the kernel programs cannot be read any more");
                return;
            }
            let now = ebpf::events::lost(&programs.lock());
            if now > lost {
                untold(now - lost);
                lost = now;
            }
        }
    }

    /// Attaches the early drop to interfaces that have appeared, or come back, since.
    pub fn refresh_interfaces(&self) {
        let (Some(programs), Some(early_drop)) = (&self.programs, &self.early_drop) else { return };
        for error in early_drop.refresh(&mut programs.lock()) {
            tracing::warn!("{error}");
        }
    }

    /// Does so from time to time, for ever; run it on the control thread.
    pub async fn watch_interfaces(self: Arc<Self>) {
        let mut look = tokio::time::interval(std::time::Duration::from_secs(2));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.refresh_interfaces();
        }
    }

    /// True where the early drop would drop this Ethernet frame: the kernel runs the program on it, without
    /// any network.
    ///
    /// # Errors
    /// Also when the program is not loaded.
    pub fn judge(&self, frame: &[u8]) -> Result<bool, KernelError> {
        self.judge_at(Stage::Xdp, frame)
    }

    /// The same by the program of a stage. As a socket buffer the kernel refuses some frames itself, with
    /// `EINVAL`.
    ///
    /// # Errors
    /// Also when the program does not load.
    pub fn judge_at(&self, stage: Stage, frame: &[u8]) -> Result<bool, KernelError> {
        let programs = self.programs.as_ref().ok_or(LoadError::Absent)?;
        Ok(drop::judge(&mut programs.lock(), stage, frame, 1)?.0)
    }

    /// The cost of one run of the early drop's program on this Ethernet frame, the mean of `repeat`, by the
    /// kernel's clock.
    ///
    /// # Errors
    /// Also when the program is not loaded.
    pub fn cost(&self, frame: &[u8], repeat: u32) -> Result<std::time::Duration, KernelError> {
        let programs = self.programs.as_ref().ok_or(LoadError::Absent)?;
        Ok(drop::judge(&mut programs.lock(), Stage::Xdp, frame, repeat)?.1)
    }

    /// Passes diagnostics of the programs on to the log, for ever; run it on the control thread. They are
    /// written only if the log level was `debug` at the start; otherwise this returns at once.
    pub async fn forward_diagnostics(self: Arc<Self>) {
        if !ebpf::diagnostics::wanted() {
            return;
        }
        let lines =
            self.programs.as_ref().and_then(|programs| ebpf::diagnostics::Lines::take(&mut programs.lock()));
        if let Some(lines) = lines {
            lines.forward().await;
        }
    }
}

fn load(layers: &mut Vec<Layer>) -> Option<Ebpf> {
    match ebpf::loader::load_object(ebpf::diagnostics::wanted()) {
        Ok(ebpf) => Some(ebpf),
        Err(error) => {
            layers.push(Layer::inactive("eBPF object", error.to_string()).with_errno(error.errno()));
            None
        }
    }
}
