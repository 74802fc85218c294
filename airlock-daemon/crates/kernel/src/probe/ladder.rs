//! The ladder: from the strongest programs that this host takes down to the weakest, and the proof of what
//! holds.
//!
//! Nothing is read from a version or a configuration of the kernel. Every set of programs is tried, and the
//! rung is what a process in the cage could not get past.

use std::fs::File;
use std::path::Path;

use airlock_ebpf::{Cage, Hook};
use aya::Ebpf;

use super::canary;
use crate::KernelError;
use crate::cgroup::Cgroups;
use crate::cgroup::leftovers;
use crate::ebpf::events::Names;
use crate::ebpf::links::Links;
use crate::ebpf::loader::{LoadError, errno_of};
use crate::ebpf::pins::fault::PinsError;
use crate::ebpf::pins::{Hold, Pins};
use crate::ebpf::{loader, sealed, unix_hooks};
use crate::process::clone::Birth;
use crate::purpose::Purpose;
use crate::report::{Layer, rung_name};
use crate::slice::dialers::{Slice, SliceError};
use airlock_config::schema::{Kernel, Rung, Seal};

/// The layers of programs that stand alone, for the whole host.
const GUARD: &str = "cgroup guard";
const SIGNALS: &str = "signals";

/// The programs that were attached and proved.
#[derive(Debug, Default)]
pub(crate) struct Climbed {
    /// The rung; none where nothing holds.
    pub(crate) rung: Option<Rung>,
    /// The slice, where one is configured.
    pub(crate) slice: Option<Result<Slice, SliceError>>,
    /// The programs that are attached to servers.
    pub(crate) links: Links,
    /// The names that keep it attached when this process dies.
    pub(crate) pins: Option<Pins>,
    /// Pins that were found and cannot be taken over.
    pub(crate) foreign: Option<PinsError>,
}

/// Attaches to the cgroup of all servers whatever this host takes, and the same to the slice; then has a
/// process try to break out.
///
/// The pins of an earlier daemon go when the programs of this one are in force on everybody whom it holds.
pub(crate) fn climb(
    cgroups: &Cgroups,
    ebpf: &mut Ebpf,
    config: &Kernel,
    purpose: Purpose,
    names: &Names,
    layers: &mut Vec<Layer>,
) -> Climbed {
    let (parents, mut links) = match cgroups.open_parents().map_err(KernelError::from).and_then(|parents| {
        let links = loader::attach_ip(ebpf, &parents[0])?;
        Ok((parents, links))
    }) {
        Ok(attached) => attached,
        Err(error) => {
            layers.push(Layer::inactive("IP hooks", error.to_string()).with_errno(errno_of(&error)));
            return Climbed::default();
        }
    };
    let listed = |hooks: &[Hook]| hooks.iter().map(|hook| hook.name()).collect::<Vec<_>>().join(", ");
    layers.push(Layer::active("IP hooks", format!("{} and all packets: refused", listed(&Hook::IP))));
    match unix_hooks::attach(ebpf, &parents[0]) {
        Ok(hooks) => {
            layers.push(Layer::active("unix hooks", format!("{}: refused", listed(&Hook::UNIX))));
            links.extend(hooks);
        }
        Err(error) => layers.push(
            Layer::inactive("unix hooks", error.to_string())
                .with_errno(error.source.raw_os_error())
                .with_remedy("use a kernel of at least 6.7, as root or with CAP_BPF and CAP_NET_ADMIN"),
        ),
    }
    let mut sealed_by = None;
    if config.seal == Seal::Off {
        layers.push(Layer::inactive("sealed", "switched off").with_remedy("set kernel.seal to auto"));
    } else {
        match seal(ebpf, &parents, config.seal, &mut links, layers) {
            Ok(by) => sealed_by = by,
            Err(error) => layers.push(
                Layer::inactive("sealed", error.to_string())
                    .with_errno(errno_of(&error))
                    .with_remedy("use a kernel with CONFIG_BPF_LSM and CONFIG_DEBUG_INFO_BTF"),
            ),
        }
    }
    let mut slice = config.slice.as_deref().map(|name| match purpose {
        Purpose::Serve => Slice::attach(name, ebpf, sealed_by),
        Purpose::Look => Slice::look(name, sealed_by),
    });
    let (pins, foreign) = pin(cgroups, &links, slice.as_mut(), config, layers);
    // Whoever is left of a daemon that died is in the new cage by now, and nobody speaks to it any more. Next
    // to pins that are refused nothing is touched.
    if foreign.is_none() {
        leftovers::end(cgroups);
    }
    let rung = prove(cgroups, names, layers);
    if let Some(Ok(slice)) = &mut slice {
        slice.proved(rung);
    }
    Climbed { rung, slice, links, pins, foreign }
}

/// Pins what is attached, where the cgroups outlive this process or the configuration asks for it.
fn pin(
    cgroups: &Cgroups,
    links: &Links,
    slice: Option<&mut Result<Slice, SliceError>>,
    config: &Kernel,
    layers: &mut Vec<Layer>,
) -> (Option<Pins>, Option<PinsError>) {
    let name = "pins";
    if config.bpffs.is_none() && !cgroups.is_delegated() {
        layers.push(
            Layer::inactive(name, "not pinned: these cgroups are this process's own")
                .with_remedy("run as a systemd service with Delegate=yes, or set kernel.bpffs"),
        );
        return (None, None);
    }
    // The links of a slice have names only where the next daemon finds them: nothing else ends them, and
    // without its own doors the slice is shut.
    let slice = slice.filter(|_| cgroups.are_given());
    let attached = slice.as_deref().and_then(|slice| slice.as_ref().ok());
    let hold = Hold { base: cgroups.base(), bpffs: config.bpffs.as_deref(), stays: attached.is_some() };
    // Less than there was is what the configuration may ask for, and nobody else; nothing at all may be what
    // could be attached.
    let nothing = Links::default();
    let stronger = slice
        .as_deref()
        .filter(|_| config.seal != Seal::Off)
        .and_then(|_| hold.not_weaker(links, attached.map_or(&nothing, Slice::links)).err());
    let (pins, foreign) = match stronger.map_or_else(|| hold.take(links), Err) {
        Ok(pins) => {
            layers.push(Layer::active(name, pins.to_string()));
            (Some(pins), None)
        }
        Err(error) => {
            let detail = format!("not pinned: {error}; systemd kills the servers with the daemon");
            layers.push(Layer::inactive(name, detail).with_errno(error.errno()).with_remedy(error.remedy()));
            (None, Some(error).filter(PinsError::is_foreign))
        }
    };
    if let Some(Ok(slice)) = slice {
        slice.pin(hold, foreign.as_ref());
    }
    // A daemon that died may have had one.
    if config.slice.is_none()
        && cgroups.are_given()
        && let Err(error) = hold.forget_slice()
    {
        tracing::warn!(%error, "the pins of a slice that is not configured any more stay; {}", error.remedy());
    }
    (pins, foreign)
}

/// Ends what a daemon left that died, for one that pins nothing: its servers, and the pins that would shut
/// the doors of its slice.
pub(crate) fn clear(bpffs: Option<&Path>) {
    let Some(base) = leftovers::clear_delegated() else { return };
    if let Err(error) = (Hold { base: &base, bpffs, stays: false }).forget_all() {
        tracing::warn!(%error, "the pins of a daemon that died stay; {}", error.remedy());
    }
}

/// Tries the LSM programs: for this cgroup alone, and where that is refused for the whole host. How it went,
/// if it did.
fn seal(
    ebpf: &mut Ebpf,
    [servers, unpinned]: &[File; 2],
    choice: Seal,
    links: &mut Links,
    layers: &mut Vec<Layer>,
) -> Result<Option<Seal>, LoadError> {
    let btf = sealed::types()?;
    sealed::set_cage(ebpf, Cage::Servers, servers)?;
    sealed::set_cage(ebpf, Cage::Unpinned, unpinned)?;
    let mut by = None;
    if choice != Seal::Host {
        match sealed::attach_to_cgroup(ebpf, &btf, servers) {
            Ok(attached) => {
                by = Some(Seal::Cgroup);
                links.extend(attached);
                layers.push(Layer::active("sealed", "ten lsm_cgroup hooks on the cgroup of all servers"));
            }
            Err(error) => layers.push(refused("sealed", &error)),
        }
    }
    if choice == Seal::Host || choice == Seal::Auto && by.is_none() {
        layers.push(match sealed::attach_to_host(ebpf, &btf) {
            Ok(attached) => {
                by = Some(Seal::Host);
                links.extend(attached);
                Layer::active(
                    "sealed, host-wide",
                    "ten lsm hooks, which let everybody pass who is no pinned server",
                )
            }
            Err(error) => refused("sealed, host-wide", &error),
        });
    }
    let guard = loader::knows_offsets().then(|| sealed::attach_guard(ebpf, &btf));
    layers.push(alone(GUARD, "no pinned server writes to cgroups, root included", guard, links));
    let signals = loader::knows_cgroups().then(|| sealed::attach_signals(ebpf, &btf));
    layers.push(alone(
        SIGNALS,
        "no server signals anybody but its own processes, root included",
        signals,
        links,
    ));
    Ok(by)
}

/// The layer of programs that stand alone; `attached` is none where they would not know where to look.
fn alone(name: &str, effect: &str, attached: Option<Result<Links, LoadError>>, links: &mut Links) -> Layer {
    match attached {
        Some(Ok(attached)) => {
            links.extend(attached);
            Layer::active(name, effect)
        }
        // It needs no security module.
        Some(Err(error)) if name == SIGNALS && error.errno() != Some(libc::EPERM) => refused(name, &error)
            .with_remedy("use a kernel of at least 5.15 (6.4 on 64-bit Arm) with CONFIG_FUNCTION_TRACER"),
        Some(Err(error)) => refused(name, &error),
        None => Layer::inactive(name, "where this kernel keeps what they look at is not known")
            .with_remedy("run airlock with log level debug, which says why"),
    }
}

fn refused(name: &str, error: &LoadError) -> Layer {
    let remedy = match error.errno() {
        Some(libc::EPERM | libc::EACCES) => {
            "run as root or with CAP_BPF and CAP_PERFMON; where that is so, this kernel refuses LSM programs altogether"
        }
        Some(libc::EINVAL) => {
            "other software may hold the ten places for lsm_cgroup programs (bpftool cgroup tree), or the kernel is older than 6.0"
        }
        _ => "boot with `bpf` in the list of security modules: lsm=…,bpf on the kernel's command line",
    };
    // The error's advice holds for programs of every kind, and the remedy for these.
    let detail = error.to_string();
    let detail = detail.rsplit_once("; ").map_or(detail.as_str(), |(detail, _)| detail);
    Layer::inactive(name, detail).with_errno(error.errno()).with_remedy(remedy)
}

/// The rung that a process in the cage could not get past.
fn prove(cgroups: &Cgroups, names: &Names, layers: &mut Vec<Layer>) -> Option<Rung> {
    match canary::sing(cgroups, names) {
        Ok((attempts, birth)) => {
            layers.push(match birth {
                Birth::Inside => Layer::active("birth", "servers are born in their cgroup (clone3)"),
                Birth::Outside => Layer::inactive(
                    "birth",
                    "clone3 is refused: servers enter their cgroup before their program is executed",
                )
                .with_remedy("allow clone3, which RestrictNamespaces= of a unit refuses"),
            });
            let rung = attempts.rung();
            let said = match rung {
                Some(_) => Layer::active(
                    "proof",
                    format!("a process in the cage was stopped by every hook of rung {}", rung_name(rung)),
                ),
                None => Layer::inactive(
                    "proof",
                    format!("a process in the cage opened an IP socket: {attempts:?}"),
                )
                .with_remedy("report this with the output of `uname -a`"),
            };
            layers.push(said);
            for (name, holds) in [(GUARD, attempts.is_guarded()), (SIGNALS, attempts.keeps_signals())] {
                let layer = layers.iter_mut().find(|layer| layer.name == name && layer.active);
                if let Some(layer) = layer.filter(|_| !holds) {
                    *layer = Layer::inactive(name, "it is attached, and a process in the cage got past it")
                        .with_remedy("report this with the output of `uname -a`");
                }
            }
            rung
        }
        Err(error) => {
            layers.push(Layer::inactive("proof", error.to_string()).with_errno(error.errno()));
            None
        }
    }
}
