//! Starting a server in its cell.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, access};

use super::ServerProcess;
use crate::cgroup::Leaf;
use crate::command::{DEFAULT_PATH, ServerCommand, SpawnError};
use crate::confine::Confinement;
use crate::confine::landlock::Domain;
use crate::confine::mounts::Mounts;
use crate::confine::namespaces::{Namespaces, Permitted};
use crate::confine::path_fault::path_fault;
use crate::confine::program::Program;
use crate::confine::seccomp::Filters;
use crate::confine::wants::Wants;
use crate::directories::own_dir::OwnDir;
use crate::ebpf::pinning::Pinning;
use crate::process::step::StartError;
use crate::process::streams::Streams;
use crate::process::users::{self, DEFAULT_USER, Ids, default_user, is_root};
use crate::spawner::Spawner;
use airlock_config::schema::PinNetwork;
use airlock_config::units::ByteSize;

/// The place of one server process: a leaf cgroup, or none where the kernel half is off.
#[derive(Debug)]
pub struct Cell {
    pub(crate) upstream: String,
    pub(crate) leaf: Option<Leaf>,
    pub(crate) pinning: Option<Arc<Pinning>>,
    pub(crate) pinned: bool,
    pub(crate) filters: Option<&'static Filters>,
    pub(crate) permitted: Option<Permitted>,
    pub(crate) open_files: Option<u32>,
    pub(crate) tmp: ByteSize,
    pub(crate) file_size: Option<ByteSize>,
    /// True where it may start no server as root by omission.
    pub(super) strict: bool,
    pub(crate) network: PinNetwork,
    pub(crate) hidden: Vec<PathBuf>,
}

impl Cell {
    /// True where the programs that refuse the network are in force in this cell.
    pub fn is_pinned(&self) -> bool {
        self.pinned
    }

    /// As whom a server runs; none where it stays Airlock's own user.
    fn user_of(&self, command: &ServerCommand) -> Result<Option<Ids>, SpawnError> {
        let upstream = || self.upstream.clone();
        let ids = if let Some(user) = &command.user {
            change_of_user(&self.upstream, user)?
        } else {
            // A name service that fails is no reason to run it as somebody else.
            default_user().map_err(|source| SpawnError::Prepare {
                upstream: upstream(),
                action: "look up the user airlock-mcp",
                source,
            })?
        };
        if self.strict && command.user.is_none() && is_root(ids) {
            return Err(SpawnError::RootByOmission { upstream: upstream() });
        }
        Ok(ids)
    }

    /// Starts the server in this cell. It enters the cell before its program is executed.
    pub fn spawn(self, command: &ServerCommand) -> Result<ServerProcess, SpawnError> {
        let prepare = |source| SpawnError::Prepare {
            upstream: self.upstream.clone(),
            action: "make a socket pair",
            source,
        };
        let (ours, streams) = Streams::pair().map_err(prepare)?;
        let upstream = self.upstream.clone();
        let mut process = self.spawn_on(command, streams)?;
        if process.is_own_user() {
            warn_of_own_user(&upstream);
        }
        process.speak_on(ours);
        Ok(process)
    }

    /// Has the server started by the process that starts servers.
    pub(crate) fn spawn_by(self, spawner: &Spawner) -> Result<ServerProcess, SpawnError> {
        let prepare = |source| SpawnError::Prepare {
            upstream: self.upstream.clone(),
            action: "make a socket pair",
            source,
        };
        let (ours, streams) = Streams::pair().map_err(prepare)?;
        let (remote, is_own_user) = spawner.start(&self.upstream, self.leaf.as_ref(), &streams)?;
        if is_own_user {
            warn_of_own_user(&self.upstream);
        }
        Ok(ServerProcess::remote(remote, ours, self.leaf, self.pinning))
    }

    /// The same as [`Self::spawn`] with streams that somebody else holds the other ends of.
    pub(crate) fn spawn_on(
        self,
        command: &ServerCommand,
        streams: Streams,
    ) -> Result<ServerProcess, SpawnError> {
        let upstream = self.upstream.clone();
        let prepare = |action| {
            let upstream = upstream.clone();
            move |source| SpawnError::Prepare { upstream, action, source }
        };
        let program = find_program(&upstream, command)?;
        if !command.working_dir.is_dir() {
            let dir = command.working_dir.clone();
            let fault = path_fault(&dir, None).map(|fault| format!(": {fault}")).unwrap_or_default();
            return Err(SpawnError::WorkingDir { upstream, dir, fault });
        }
        let ids = self.user_of(command)?;
        let entrance = match &self.leaf {
            Some(leaf) => Some(
                leaf.open().map_err(|source| SpawnError::Cgroup { upstream: upstream.clone(), source })?,
            ),
            None => None,
        };
        let own = match self.permitted {
            Some(_) => OwnDir::for_mounts(),
            None => OwnDir::on_disk(ids),
        }
        .map_err(prepare("make a directory of its own"))?;
        let wants = Wants {
            files: command.files.as_ref(),
            program: &program,
            working_dir: &command.working_dir,
            own: own.path(),
            hidden: &self.hidden,
            network: self.network,
            tmp: self.tmp,
            has_proc: self.permitted.is_some_and(Permitted::has_proc),
        };
        let mounts = match self.permitted {
            Some(_) => Some(Mounts::prepare(&wants, &own).map_err(prepare("prepare its mounts"))?),
            None => None,
        };
        let late = mounts.as_ref().map_or(&[][..], Mounts::late);
        // Without filters nothing is to be confined.
        let domain = match self.filters {
            Some(_) => Some(Domain::prepare(&wants, late).map_err(|error| SpawnError::Files {
                upstream: upstream.clone(),
                detail: error.to_string(),
            })?),
            None => None,
        };
        let in_memory = mounts.as_ref().and_then(Mounts::temporary);
        let tmp_dir = own.path().or(in_memory).unwrap_or(Path::new("/tmp")).to_owned();
        let namespaces = match self.permitted.zip(mounts) {
            Some((permitted, mounts)) => {
                let own = Namespaces::prepare(permitted, self.network, mounts);
                Some(own.map_err(prepare("make a socket pair"))?)
            }
            None => None,
        };
        let Streams { stdio: input, stderr: errors } = streams;
        let output: OwnedFd = input.try_clone().map_err(prepare("duplicate a socket"))?;

        let mut environment =
            BTreeMap::from([("PATH", OsStr::new(DEFAULT_PATH)), ("TMPDIR", tmp_dir.as_os_str())]);
        environment.extend(command.env.iter().map(|(name, value)| (name.as_str(), OsStr::new(value))));
        let streams = [input, output, errors];
        let started = Program::prepare(&program, &command.args, environment, &command.working_dir, streams)
            .map_err(prepare("prepare its program"))?
            .start(&Confinement {
                entrance,
                namespaces,
                ids,
                open_files: self.open_files,
                file_size: self.file_size.map(|size| size.0),
                filters: self.filters,
                domain,
            });
        match started {
            Ok(child) => {
                let is_own_user = ids.is_none() && self.pinned;
                Ok(ServerProcess::own(child, own, self.leaf, self.pinning, is_own_user))
            }
            Err(StartError::Clone(source)) => Err(prepare("start a process")(source)),
            Err(StartError::Step(step, source)) => Err(SpawnError::Confine { upstream, step, source }),
            Err(StartError::Execute(source)) => {
                let fault = path_fault(&program, ids).unwrap_or_else(|| {
                    "check the file, its interpreter, and that the server's user may read it".to_owned()
                });
                Err(SpawnError::Exec { upstream, program, source, fault })
            }
        }
    }
}

/// Says that a server has a user that may undo its cell.
pub(super) fn warn_of_own_user(upstream: &str) {
    tracing::warn!(
        upstream,
        "this server runs as airlock's own user, which may move it out of its cell: set `user`, or create {DEFAULT_USER}"
    );
}

/// The numbers of the user, unless this process already has them.
fn change_of_user(upstream: &str, user: &str) -> Result<Option<Ids>, SpawnError> {
    let found = users::look_up(user).map_err(|source| SpawnError::Prepare {
        upstream: upstream.to_owned(),
        action: "look up its user",
        source,
    })?;
    let Some(ids) = found else {
        return Err(SpawnError::NoSuchUser { upstream: upstream.to_owned(), user: user.to_owned() });
    };
    let same = rustix::process::getuid().as_raw() == ids.uid
        && rustix::process::geteuid().as_raw() == ids.uid
        && rustix::process::getgid().as_raw() == ids.gid;
    // Root is also "itself", but has groups to lose.
    Ok((!same || ids.uid == 0).then_some(ids))
}

/// The file to execute.
fn find_program(upstream: &str, command: &ServerCommand) -> Result<PathBuf, SpawnError> {
    let program = &command.program;
    let upstream = || upstream.to_owned();
    let is_program = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if program.is_absolute() {
        return if is_program(program) {
            Ok(program.clone())
        } else if program.exists() {
            Err(SpawnError::NotExecutable { upstream: upstream(), program: program.clone() })
        } else {
            let fault = path_fault(program, None).map(|fault| format!(": {fault}")).unwrap_or_default();
            Err(SpawnError::NotFound { upstream: upstream(), program: program.clone(), place: fault })
        };
    }
    if program.components().count() != 1 || program.as_os_str().is_empty() {
        return Err(SpawnError::Relative { upstream: upstream(), program: program.clone() });
    }
    let path = command.env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    // An empty or relative entry would mean the working directory: never look there.
    let places: Vec<PathBuf> =
        path.split(':').map(Path::new).filter(|dir| dir.is_absolute()).map(|dir| dir.join(program)).collect();
    if let Some(found) = places.iter().find(|path| is_program(path)) {
        return Ok(found.clone());
    }
    match places.into_iter().find(|path| path.is_file()) {
        Some(program) => Err(SpawnError::NotExecutable { upstream: upstream(), program }),
        None => Err(SpawnError::NotFound {
            upstream: upstream(),
            program: program.clone(),
            place: format!(" in {path}"),
        }),
    }
}
