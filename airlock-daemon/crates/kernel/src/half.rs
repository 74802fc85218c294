//! The kernel half as a whole: what is attached at the start, proved, and compared with what is demanded.

use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use super::cage::Cage;
use super::cgroup::{Cgroups, leftovers};
use super::directories::own_dir;
use super::drop::EarlyDrop;
use super::drop::error::DropError;
use super::ebpf::events::Names;
use super::ebpf::pinning::{Pinning, Programs};
use super::ebpf::pins::fault::PinsError;
use super::ebpf::refused::Refusals;
use super::ebpf::{diagnostics, loader};
use super::error::KernelError;
use super::probe::ladder::{self, Climbed};
use super::probe::{layers, permitted};
use super::process::privileges::{self, Uses};
use super::purpose::Purpose;
use super::report::{Layer, Report, claim, rung_name};
use super::server::terms::Terms;
use super::slice::dialers::{self, Slice, SliceError};
use super::spawner::{Facts, Spawner};
use airlock_config::schema::{Kernel, KernelMode, Rung};
use parking_lot::Mutex;

/// The faults with which mode `required` does not start, besides a rung that is too low.
#[derive(Debug)]
struct Failures {
    pins: Option<PinsError>,
    early_drop: Option<DropError>,
}

/// The kernel half of a running daemon: the cage of its servers, and the early drop of abusive sources.
#[derive(Debug)]
pub struct KernelHalf {
    report: Report,
    early_drop: Option<EarlyDrop>,
    cage: Cage,
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
        own_dir::clear();
        leftovers::clear_dead();
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
                half.cage.fitting_slice().transpose()?;
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
                if let Some(Err(error)) = half.cage.fitting_slice() {
                    tracing::warn!("{error}");
                }
            }
            KernelMode::Off => {}
        }
        tracing::info!(rung = rung_name(report.rung), "{}", report.claim);
        if let Some(spawner) = &half.cage.spawner {
            spawner
                .begin(half.cage.pinning.as_ref().map(|pinning| &pinning.cgroups), report.rung.is_some())?;
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
                ladder::clear(config.bpffs.as_deref());
            }
        } else {
            // The early drop hangs on the programs as well, so they stay without cgroups, too.
            programs = load(&mut layers);
            if let Some(programs) = &programs {
                (early_drop, drop_failure) = layers::early_drop(programs, &config.xdp, &mut layers);
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
                if let Some(programs) = &programs {
                    let mut ebpf = programs.lock();
                    climbed = ladder::climb(cgroups, &mut ebpf, config, purpose, &names, &mut layers);
                }
                layers.extend(layers::limits(cgroups));
            }
            let Climbed { rung: proved, slice: attached, links, pins, foreign } = climbed;
            // Without a cage for servers there is none for units.
            slice =
                config.slice.as_deref().map(|name| attached.unwrap_or_else(|| Err(SliceError::bare(name))));
            if let Some(slice) = &slice {
                layers.push(dialers::layer(slice));
                names.look_below(slice.as_ref().ok().map(Slice::dir));
            }
            rung = proved;
            foreign_pins = foreign;
            pinning = cgroups.map(|cgroups| {
                Arc::new(Pinning { pins, _programs: programs.clone(), _links: links, cgroups })
            });
        }
        let mut root_by_omission = false;
        let (permitted, more) = layers::always(config.mode, || {
            let Some(spawner) = &spawner else { return permitted::probe() };
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
        let cage = Cage {
            programs,
            pinning,
            names,
            refusals: Refusals::default(),
            terms: Mutex::new(Terms::new(config.mode, permitted, rung.is_some(), [])),
            slice,
            spawner,
            root_by_omission,
            limits_told: AtomicU8::new(0),
            minimum,
        };
        (Self { report, early_drop, cage }, failures)
    }

    /// The layers in force, and why the rest are not.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Gives up the capabilities that are of no use from here on, in this thread and those that it starts.
    ///
    /// # Errors
    /// When the kernel refuses that.
    pub fn give_up_capabilities(&self) -> std::io::Result<()> {
        let interfaces = self.early_drop.as_ref().is_some_and(|early_drop| !early_drop.attached().is_empty());
        privileges::keep_for_service(Uses { maps: self.cage.programs.is_some(), interfaces })
    }

    /// The end that was asked for; see [`Cage::end`].
    pub fn end(&self) {
        self.cage.end();
    }

    /// All that confines servers.
    pub fn cage(&self) -> &Cage {
        &self.cage
    }

    /// The early drop, where its program is in the kernel.
    pub fn early_drop(&self) -> Option<&EarlyDrop> {
        self.early_drop.as_ref()
    }

    /// Passes diagnostics of the programs on to the log, for ever; run it on the control thread. They are
    /// written only if the log level was `debug` at the start; otherwise this returns at once.
    pub async fn forward_diagnostics(self: Arc<Self>) {
        if !diagnostics::wanted() {
            return;
        }
        let lines =
            self.cage.programs.as_ref().and_then(|programs| diagnostics::Lines::take(&mut programs.lock()));
        if let Some(lines) = lines {
            lines.forward().await;
        }
    }
}

fn load(layers: &mut Vec<Layer>) -> Option<Arc<Programs>> {
    match loader::load_object(diagnostics::wanted()) {
        Ok(ebpf) => Some(Arc::new(Programs(Mutex::new(ebpf)))),
        Err(error) => {
            layers.push(Layer::inactive("eBPF object", error.to_string()).with_errno(error.errno()));
            None
        }
    }
}
