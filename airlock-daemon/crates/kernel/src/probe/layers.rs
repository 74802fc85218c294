//! The layers that are no rung: the early drop, limits, and what every server has on every host.

use std::sync::Arc;

use super::permitted::{self, Found};
use crate::cgroup::{Cgroups, LIMITS, Limit};
use crate::confine::namespaces::Permitted;
use crate::confine::seccomp::Sockets;
use crate::confine::{landlock, seccomp};
use crate::drop::EarlyDrop;
use crate::drop::error::DropError;
use crate::ebpf::pinning::Programs;
use crate::report::Layer;
use airlock_config::schema::{KernelMode, Xdp};

/// Attaches the early drop as far as that works; what mode `required` does not start with is the second part.
pub(crate) fn early_drop(
    programs: &Arc<Programs>,
    config: &Xdp,
    layers: &mut Vec<Layer>,
) -> (Option<EarlyDrop>, Option<DropError>) {
    let failed =
        |error: &DropError| Layer::inactive("early drop", error.to_string()).with_errno(error.errno());
    match EarlyDrop::attach(programs, config) {
        Ok((attached, troubles)) => {
            if troubles.is_empty() || !attached.attached().is_empty() {
                layers.push(drop_layer(&attached));
            }
            layers.extend(troubles.iter().map(failed));
            (Some(attached), troubles.into_iter().next())
        }
        Err(error) => {
            layers.push(failed(&error));
            // Whoever asks for no interface loses nothing by this.
            (None, Some(error).filter(|_| !config.interfaces.is_empty()))
        }
    }
}

/// Which limits of `pin` this host enforces.
pub(crate) fn limits(cgroups: &Cgroups) -> [Layer; 3] {
    LIMITS.map(|Limit { controller, key, .. }| {
        if cgroups.offers(controller) {
            Layer::active(format!("{controller} limit"), format!("{key} is enforced"))
        } else {
            Layer::inactive(
                format!("{controller} limit"),
                format!(
                    "{key} is not enforced: the {controller} controller is not available in cgroup v2 here"
                ),
            )
            .with_remedy("run as a systemd service with Delegate=yes on a host with unified cgroups")
        }
    })
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

/// The layers of every server that are no rung, and the namespaces that this host permits.
///
/// `found` asks the process that is to start servers.
pub(crate) fn always(mode: KernelMode, found: impl FnOnce() -> Found) -> (Option<Permitted>, Vec<Layer>) {
    let mut layers = vec![Layer::active(
        "process",
        "no_new_privs, own session, no inherited descriptors, no ambient capabilities, no core dumps",
    )];
    if mode == KernelMode::Off {
        return (None, layers);
    }
    layers.push(match seccomp::filters(Sockets::Unix) {
        Ok(_) => Layer::active(seccomp::NAME, format!("refused: {}", seccomp::refused())),
        Err(error) => Layer::inactive(seccomp::NAME, error).with_remedy("report this"),
    });
    layers.push(landlock::layer());
    let found = found();
    layers.push(permitted::layer(&found));
    (found.permitted, layers)
}
