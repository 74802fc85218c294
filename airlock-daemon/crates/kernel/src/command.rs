//! The command of a server, and why one is not started.

use super::cgroup::hierarchy::CgroupError;
use super::process::step::StartStep;
use super::process::users::ROOT_BY_OMISSION;
use airlock_config::schema::Files;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

/// Where programs without a slash are looked for, unless the server's own `PATH` says otherwise.
pub const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How to start a server.
#[derive(Debug, Clone)]
pub struct ServerCommand {
    /// The program: an absolute path, or a name that is looked up in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment; `PATH` is [`DEFAULT_PATH`] when absent.
    pub env: BTreeMap<String, String>,
    /// Where it starts.
    pub working_dir: PathBuf,
    /// The user it runs as; when absent [`DEFAULT_USER`], or the daemon's own where that cannot be.
    pub user: Option<String>,
    /// The part of the file system that it has; that of its user when absent.
    pub files: Option<Files>,
}

/// Why a server could not be started. `Display` leaves its name to whoever tells of it.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The program is nowhere in `PATH`, or not at its absolute path.
    #[error("program `{}` not found{place}; install it, or write its absolute path in `command`", program.display())]
    NotFound {
        /// The upstream.
        upstream: String,
        /// The program that was looked for.
        program: PathBuf,
        /// Where, or which part of its path is at fault.
        place: String,
    },
    /// The program is there but may not be executed.
    #[error("`{}` is not an executable file; make it one: chmod +x", program.display())]
    NotExecutable {
        /// The upstream.
        upstream: String,
        /// The file.
        program: PathBuf,
    },
    /// A relative path would depend on a directory nobody named.
    #[error("`{}` is a relative path; write it absolute, or as a name without a slash", program.display())]
    Relative {
        /// The upstream.
        upstream: String,
        /// The name that was written.
        program: PathBuf,
    },
    /// The working directory is none.
    #[error("working directory {} is not a directory{fault}; create it or change `working_dir`", dir.display())]
    WorkingDir {
        /// The upstream.
        upstream: String,
        /// The path.
        dir: PathBuf,
        /// Which part of it is at fault.
        fault: String,
    },
    /// The user does not exist.
    #[error("there is no user `{user}`; create it (systemd-sysusers, useradd --system) or change `user`")]
    NoSuchUser {
        /// The upstream.
        upstream: String,
        /// Its name.
        user: String,
    },
    /// Airlock is root, and no user is named or there.
    #[error("{}", ROOT_BY_OMISSION)]
    RootByOmission {
        /// The upstream.
        upstream: String,
    },
    /// The child could not confine itself, so the program was not executed.
    #[error("its process could not {}: {source}; {}", step.explain().0, step.explain().1)]
    Confine {
        /// The upstream.
        upstream: String,
        /// The step.
        step: StartStep,
        /// The kernel's error.
        source: io::Error,
    },
    /// The kernel did not execute the program.
    #[error("cannot execute {}: {source}; {fault}", program.display())]
    Exec {
        /// The upstream.
        upstream: String,
        /// The file.
        program: PathBuf,
        /// The kernel's error.
        source: io::Error,
        /// Which part of its path is at fault, or what to look at.
        fault: String,
    },
    /// Something before the fork failed.
    #[error("cannot {action}: {source}; raise the limit of open files if it says so")]
    Prepare {
        /// The upstream.
        upstream: String,
        /// The attempt.
        action: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// Its part of the file system.
    #[error("{detail}")]
    Files {
        /// The upstream.
        upstream: String,
        /// The fault, and the remedy.
        detail: String,
    },
    /// The process that starts servers says so.
    #[error("{why}")]
    Refused {
        /// Why, and the remedy.
        why: String,
    },
    /// The process that starts servers does not answer.
    #[error(
        "the process that starts servers is gone: {source}; restart airlock: systemctl restart airlock. \
         Servers that run go on until then"
    )]
    NoSpawner {
        /// The kernel's word.
        source: io::Error,
    },
    /// The leaf cgroup refused.
    #[error("{source}")]
    Cgroup {
        /// The upstream.
        upstream: String,
        /// Why.
        source: CgroupError,
    },
}
