//! The kernel half: servers are pinned by cgroup programs, abusive sources are dropped by XDP.
//!
//! It is told what to do (give me a cell, drop this address) and knows nothing of HTTP or MCP. What a host can do is found out
//! by really attaching the programs and sending a process to break out ([`Report`]), never from a version or a file.

mod canary;
mod cgroup;
mod confine;
mod diagnostics;
mod drop;
mod loader;
mod network;
mod report;
mod spawn;
mod unix_hooks;
mod users;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use airlock_ebpf::{Hook, Verdict};
use aya::Ebpf;

pub use self::cgroup::CgroupError;
pub use self::confine::Step;
pub use self::drop::{Attached, Blocked, DropError, EarlyDrop, Reason};
pub use self::loader::LoadError;
pub use self::report::{Layer, Report};
pub use self::spawn::{Cell, DEFAULT_PATH, ServerCommand, ServerProcess, SpawnError};

use self::cgroup::Cgroups;
use self::report::{claim, rung_name};
use self::unix_hooks::UnixHooks;
use crate::config::schema::{Kernel, KernelMode, Pin, PinNetwork, Rung};

/// Why the kernel half is not there.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// `kernel.mode: required`, and the host gives less than the configuration demands.
    #[error(
        "this host pins servers on rung `{}`, and the configuration demands `{}`:{missing}\n\
         or set `kernel.mode: preferred` to start without it; `airlock kernel doctor` shows every layer",
        rung_name(*rung), rung_name(Some(*minimum))
    )]
    BelowMinimum {
        /// What was proved.
        rung: Option<Rung>,
        /// What is demanded.
        minimum: Rung,
        /// The layers that are missing, one a line.
        missing: String,
    },
    /// The cgroups.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The early drop is configured, required, and does not work.
    #[error("early drop: {0}")]
    Drop(#[from] DropError),
    /// The programs.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// The programs in the kernel, the cgroup they hang on, and the links between them. It stays while a cell does.
#[derive(Debug)]
struct Pinning {
    ebpf: Option<Mutex<Ebpf>>,
    _unix: Option<UnixHooks>,
    // Last: its directories can only go when nothing hangs on them.
    cgroups: Cgroups,
}

impl Pinning {
    fn lock(&self) -> Option<MutexGuard<'_, Ebpf>> {
        // What it guards lives in the kernel; a panic elsewhere cannot have left it half changed.
        self.ebpf.as_ref().map(|ebpf| ebpf.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The kernel half of a running daemon. All of it ends with this value and its cells.
#[derive(Debug)]
pub struct KernelHalf {
    report: Report,
    early_drop: Option<EarlyDrop>,
    pinning: Option<Arc<Pinning>>,
}

impl KernelHalf {
    /// Attaches what this host allows, proves it, and compares it with what the configuration demands.
    ///
    /// Under systemd with `Delegate=yes` this moves the calling process into a cgroup of its own below its unit's.
    ///
    /// # Errors
    /// Only in mode `required`: when the rung is below the minimum, which is `no-ip` unless configured, or when the early
    /// drop has interfaces and does not work.
    pub fn start(config: &Kernel) -> Result<Arc<Self>, KernelError> {
        let minimum = config.minimum_rung.unwrap_or(Rung::NoIp);
        let (half, drop_failure) = Self::climb(config, minimum);
        let report = &half.report;
        match config.mode {
            KernelMode::Required => {
                if report.rung.is_none_or(|rung| rung < minimum) {
                    return Err(KernelError::BelowMinimum {
                        rung: report.rung,
                        minimum,
                        missing: missing(report),
                    });
                }
                if let Some(error) = drop_failure {
                    return Err(error.into());
                }
            }
            KernelMode::Preferred if report.rung.is_none_or(|rung| rung < minimum) => {
                tracing::warn!(rung = rung_name(report.rung), missing = missing(report), "{}", report.claim);
            }
            KernelMode::Preferred | KernelMode::Off => {}
        }
        tracing::info!(rung = rung_name(report.rung), "{}", report.claim);
        Ok(Arc::new(half))
    }

    /// Tries everything and keeps what works.
    fn climb(config: &Kernel, minimum: Rung) -> (Self, Option<DropError>) {
        let mut layers = Vec::new();
        let mut rung = None;
        let mut early_drop = None;
        let mut drop_failure = None;
        let mut pinning = None;
        if config.mode == KernelMode::Off {
            layers.push(
                Layer::inactive("kernel half", "switched off")
                    .with_remedy("set kernel.mode to required or preferred"),
            );
        } else {
            let mut ebpf = load(&mut layers);
            if let Some(ebpf) = &mut ebpf {
                match EarlyDrop::attach(ebpf, &config.xdp) {
                    Ok(attached) => {
                        layers.push(drop_layer(&attached));
                        early_drop = Some(attached);
                    }
                    Err(error) => {
                        layers
                            .push(Layer::inactive("early drop", error.to_string()).with_errno(error.errno()));
                        // Whoever asks for no interface loses nothing by this.
                        drop_failure = Some(error).filter(|_| !config.xdp.interfaces.is_empty());
                    }
                }
            }
            match Cgroups::prepare() {
                Ok(cgroups) => {
                    let pinned = pin(cgroups, ebpf, &mut layers);
                    rung = pinned.0;
                    pinning = Some(Arc::new(pinned.1));
                }
                Err(error) => {
                    layers.push(Layer::inactive("cgroups", error.to_string()).with_errno(error.errno()));
                }
            }
        }
        layers.extend(always());
        let report = Report {
            mode: config.mode,
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            rung,
            minimum_rung: minimum,
            claim: claim(rung),
            layers,
        };
        (Self { report, early_drop, pinning }, drop_failure)
    }

    /// What is in force, and why the rest is not.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// A place for one server process. Without cgroups (mode `off`, or `preferred` on a host without them) the cell has
    /// none, and only the steps between fork and exec confine the process.
    pub fn cell(&self, upstream: &str, pin: &Pin) -> Result<Cell, KernelError> {
        let leaf = match &self.pinning {
            Some(pinning) => {
                let limits = [(pin.memory.is_some(), "memory"), (pin.tasks.is_some(), "pids")];
                for (_, controller) in
                    limits.into_iter().filter(|(wanted, name)| *wanted && !pinning.cgroups.has(name))
                {
                    tracing::debug!(upstream, controller, "limit not enforced: controller not available");
                }
                Some(pinning.cgroups.leaf(upstream, pin)?)
            }
            None => None,
        };
        Ok(Cell {
            upstream: upstream.to_owned(),
            pinned: leaf.is_some() && self.report.rung.is_some() && pin.network == PinNetwork::None,
            leaf,
            pinning: self.pinning.clone(),
        })
    }

    /// The early drop, where its program is in the kernel.
    pub fn early_drop(&self) -> Option<&EarlyDrop> {
        self.early_drop.as_ref()
    }

    /// How often each hook refused something to a server since the start; nothing without the programs.
    pub fn denied(&self) -> Result<Vec<(Hook, u64)>, KernelError> {
        let Some(ebpf) = self.pinning.as_ref().and_then(|pinning| pinning.lock()) else {
            return Ok(Vec::new());
        };
        Ok(loader::denied(&ebpf)?.to_vec())
    }

    /// Whether the early drop would drop this Ethernet frame: the kernel runs the program on it, without any network.
    ///
    /// # Errors
    /// Also when the program is not loaded.
    pub fn judge(&self, frame: &[u8]) -> Result<bool, KernelError> {
        let mut ebpf = self.pinning.as_ref().and_then(|pinning| pinning.lock()).ok_or(LoadError::Absent)?;
        Ok(drop::judge(&mut ebpf, frame)?)
    }

    /// Passes diagnostics of the programs on to the log, for ever; run it on the control thread. They are written only if the
    /// log level was `debug` at the start; otherwise this returns at once.
    pub async fn forward_diagnostics(self: Arc<Self>) {
        if !diagnostics::wanted() {
            return;
        }
        let lines = self
            .pinning
            .as_ref()
            .and_then(|pinning| pinning.lock())
            .and_then(|mut ebpf| diagnostics::Lines::take(&mut ebpf));
        if let Some(lines) = lines {
            lines.forward().await;
        }
    }
}

fn load(layers: &mut Vec<Layer>) -> Option<Ebpf> {
    match loader::load_object(diagnostics::wanted()) {
        Ok(ebpf) => Some(ebpf),
        Err(error) => {
            layers.push(Layer::inactive("eBPF object", error.to_string()).with_errno(error.errno()));
            None
        }
    }
}

/// Attaches the pinning programs to the cgroup of all servers, then has a process try to break out; what that proved.
fn pin(cgroups: Cgroups, mut ebpf: Option<Ebpf>, layers: &mut Vec<Layer>) -> (Option<Rung>, Pinning) {
    let place = if cgroups.is_delegated() { "delegated by systemd" } else { "created here" };
    layers.push(Layer::active("cgroups", format!("{} ({place})", cgroups.base().display())));
    let mut unix = None;
    let mut attached = false;
    if let Some(ebpf) = &mut ebpf {
        match cgroups.open_servers().map_err(KernelError::from).and_then(|dir| {
            loader::attach_pins(ebpf, &dir)?;
            Ok(dir)
        }) {
            Ok(dir) => {
                attached = true;
                let hooks = Hook::ALL.map(Hook::name).join(", ");
                layers.push(Layer::active("IP hooks", format!("{hooks}: refused")));
                match UnixHooks::attach(&dir) {
                    Ok(hooks) => {
                        layers.push(Layer::active("unix hooks", "connect_unix, sendmsg_unix: refused"));
                        unix = Some(hooks);
                    }
                    Err(error) => layers.push(
                        Layer::inactive("unix hooks", error.to_string())
                            .with_errno(error.source.raw_os_error())
                            .with_remedy(
                                "use a kernel of at least 6.7, as root or with CAP_BPF and CAP_NET_ADMIN",
                            ),
                    ),
                }
            }
            Err(error) => {
                let errno = loader::errno_of(&error);
                layers.push(Layer::inactive("IP hooks", error.to_string()).with_errno(errno));
            }
        }
    }
    let rung = if attached { prove(&cgroups, layers) } else { None };
    for (controller, limit) in [("memory", "pin.memory"), ("pids", "pin.tasks")] {
        layers.push(if cgroups.has(controller) {
            Layer::active(format!("{controller} limit"), format!("{limit} is enforced"))
        } else {
            Layer::inactive(
                format!("{controller} limit"),
                format!(
                    "{limit} is not enforced: the {controller} controller is not available in cgroup v2 here"
                ),
            )
            .with_remedy("run as a systemd service with Delegate=yes on a host with unified cgroups")
        });
    }
    (rung, Pinning { ebpf: ebpf.map(Mutex::new), _unix: unix, cgroups })
}

/// The rung that a process in the cage could not get past.
fn prove(cgroups: &Cgroups, layers: &mut Vec<Layer>) -> Option<Rung> {
    match canary::sing(cgroups) {
        Ok(attempts) => {
            let rung = attempts.rung();
            layers.push(match rung {
                Some(rung) => Layer::active(
                    "proof",
                    format!(
                        "a process in the cage was stopped by every hook of rung {}",
                        rung_name(Some(rung))
                    ),
                ),
                None => Layer::inactive(
                    "proof",
                    format!("a process in the cage opened an IP socket: {attempts:?}"),
                )
                .with_remedy("report this with the output of `uname -a`"),
            });
            rung
        }
        Err(error) => {
            layers.push(Layer::inactive("proof", error.to_string()).with_errno(error.errno()));
            None
        }
    }
}

fn drop_layer(early_drop: &EarlyDrop) -> Layer {
    let attached = early_drop.attached();
    if attached.is_empty() {
        return Layer::inactive("early drop", "the program loads, and no interface is configured")
            .with_remedy("name interfaces in kernel.xdp.interfaces");
    }
    let places: Vec<String> =
        attached.iter().map(|place| format!("{} ({})", place.interface, place.mode)).collect();
    Layer::active("early drop", places.join(", "))
}

/// What does not depend on this host.
fn always() -> [Layer; 3] {
    [
        Layer::active(
            "process",
            "no_new_privs, own session, no inherited descriptors, no ambient capabilities, no core dumps",
        ),
        Layer::inactive("seccomp, Landlock", "not in this version: socket families other than IP stay open"),
        Layer::inactive("sealed", "not in this version: it needs the lsm_cgroup programs"),
    ]
}

/// The layers that are not in force, one a line, for an error message.
fn missing(report: &Report) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for layer in report.layers.iter().filter(|layer| !layer.active) {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {}: {}", layer.name, layer.detail);
        if let Some(remedy) = &layer.remedy {
            let _ = write!(text, "; {remedy}");
        }
    }
    text
}
