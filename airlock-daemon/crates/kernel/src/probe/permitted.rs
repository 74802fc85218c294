//! Which namespaces this host gives to servers.

use super::super::confine::Confinement;
use super::super::report::Layer;
use crate::confine::mounts::Mounts;
use crate::confine::namespaces::{Maker, Namespaces, Permitted, Processes, may_have_processes};
use crate::confine::program::Program;
use crate::directories::own_dir::OwnDir;
use crate::process::step::{StartError, StartStep};
use airlock_config::schema::PinNetwork;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The name of its layer.
pub(crate) const NAME: &str = "namespaces";

/// The result of a probe.
#[derive(Debug)]
pub(crate) struct Found {
    /// The best way that is open.
    pub(crate) permitted: Option<Permitted>,
    /// Why the first way that is better is not.
    pub(crate) refused: Option<(StartStep, io::Error)>,
}

/// Finds out what this host permits, by starting a process that takes it all and ends.
pub(crate) fn probe() -> Found {
    let mut refused = None;
    let may_end = may_end();
    for permitted in Permitted::ALL {
        if !may_end && permitted.processes != Processes::Hosts {
            continue;
        }
        match try_out(permitted) {
            Ok(()) => return Found { permitted: Some(permitted), refused },
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    Found { permitted: None, refused }
}

/// The layer that it makes.
pub(crate) fn layer(found: &Found) -> Layer {
    if let Some(permitted) = found.permitted {
        let user = match permitted.maker {
            Maker::AsWeAre => "",
            Maker::WithUser => ", in a user namespace",
        };
        let processes = match permitted.processes {
            Processes::Own => "processes of its own",
            Processes::Named => "processes of its own beside the host's /proc",
            Processes::Hosts if may_end() => "but the host's processes",
            Processes::Hosts => "but the host's processes, as always before Linux 6.9",
        };
        let detail = format!(
            "an empty network, IPC of its own, mounts that show a server what it is given, {processes}{user}"
        );
        return Layer::active(NAME, detail);
    }
    match &found.refused {
        Some((step, error)) => Layer::inactive(NAME, format!("a process could not {}", step.explain().0))
            .with_errno(error.raw_os_error())
            .with_remedy(step.explain().1),
        None => Layer::inactive(NAME, "not tried"),
    }
}

pub(super) fn may_end() -> bool {
    may_have_processes(&rustix::system::uname().release().to_string_lossy())
}

/// Starts a program that is nowhere: whoever gets as far as looking for it has taken every step before.
pub(crate) fn try_out(permitted: Permitted) -> Result<(), (StartStep, io::Error)> {
    let failed = |error| (StartStep::Namespaces, error);
    let own = OwnDir::for_mounts().map_err(failed)?;
    let mounts = Mounts::for_a_probe(&own, permitted.has_proc()).map_err(failed)?;
    let namespaces = Namespaces::prepare(permitted, PinNetwork::None, mounts).map_err(failed)?;
    let confinement = Confinement { namespaces: Some(namespaces), ..Confinement::default() };
    let null = || File::open("/dev/null").map(OwnedFd::from).map_err(failed);
    let program = Program::prepare(Path::new(""), &[], [], Path::new("/"), [null()?, null()?, null()?]);
    match program.map_err(failed)?.start(&confinement) {
        // Nothing is executed from an empty path.
        Ok(_) | Err(StartError::Execute(_)) => Ok(()),
        Err(StartError::Step(step, error)) => Err((step, error)),
        Err(StartError::Clone(error)) => Err(failed(error)),
    }
}
