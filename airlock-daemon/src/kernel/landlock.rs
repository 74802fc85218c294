//! What of the file system a server has, by Landlock: a domain that the process enters before its program is executed, and that it
//! and all that it starts can never leave. See landlock(7).
//!
//! Without `files` in its configuration a server has what its user has, without Airlock's own files, and without writing to what
//! steers the kernel. With `files` it has the system's programs and what is named. In both, a process outside of the domain can be
//! neither traced nor, where the kernel has it (6.12), signalled or reached by abstract sockets.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, Scope, path_beneath_rules,
};

use super::report::Layer;
use super::wants::{DEVICES, Given, INSIDE, READ_ONLY, SYSTEM, Wants};
use crate::config::schema::PinNetwork;

/// The newest version that is asked for; an older kernel gives what it has.
const NEWEST: ABI = ABI::V7;

/// The devices of every program.
const NODES: [&str; 11] =
    ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "log"];
/// Why a server has no domain.
#[derive(Debug, thiserror::Error)]
pub(super) enum DomainError {
    #[error("{}: {source}; `files` has to name what is there, and airlock has to be able to reach it", path.display())]
    Path { path: PathBuf, source: io::Error },
    #[error("Landlock refused the rules: {0}; report this with the output of `uname -a`")]
    Rules(#[from] RulesetError),
}

/// A domain that is ready to be entered; `None` on a kernel without Landlock.
#[derive(Debug)]
pub(super) struct Domain(Option<OwnedFd>);

impl Domain {
    /// Opens all that a server has, and makes the rules.
    ///
    /// # Errors
    /// When something that `files` names is not there.
    pub(super) fn prepare(wants: &Wants<'_>) -> Result<Self, DomainError> {
        let all = AccessFs::from_all(NEWEST);
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(all)?
            .scope(Scope::from_all(NEWEST))?;
        if wants.network == PinNetwork::None {
            rules = rules.handle_access(AccessNet::from_all(NEWEST))?;
        }
        for path in wants.files.into_iter().flat_map(|files| files.read.iter().chain(&files.write)) {
            if let Err(error) = PathFd::new(path) {
                let source = io::Error::other(error.to_string());
                return Err(DomainError::Path { path: path.clone(), source });
            }
        }
        let Grants { read, all: everything } = Grants::of(wants);
        // What went away since it was listed is nobody's, and a file takes no rights of directories: the library sees to both.
        let rules = rules
            .create()?
            .add_rules(path_beneath_rules(read, AccessFs::from_read(NEWEST)))?
            .add_rules(path_beneath_rules([DEVICES], AccessFs::ReadDir))?
            .add_rules(path_beneath_rules(everything, all))?;
        Ok(Self(rules.into()))
    }

    /// Enters it, for good. The caller has to have given up new privileges. One system call.
    pub(super) fn enter(&self) -> io::Result<()> {
        let Some(domain) = &self.0 else { return Ok(()) };
        // SAFETY: a descriptor that is open, and no flags.
        match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, domain.as_raw_fd(), 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// What is granted, with all that is below.
#[derive(Default)]
struct Grants {
    /// To read and execute.
    read: Vec<PathBuf>,
    /// To do everything with.
    all: Vec<PathBuf>,
}

impl Grants {
    fn of(wants: &Wants<'_>) -> Self {
        let hidden: Vec<PathBuf> =
            INSIDE.iter().map(PathBuf::from).chain(wants.hidden.iter().cloned()).collect();
        let put = |path: &Path, grants: &mut Vec<PathBuf>| without(path, &hidden, grants);
        let mut granted = Self::default();
        granted.all.extend(NODES.map(|name| Path::new(DEVICES).join(name)));
        granted.all.extend(wants.own.map(Path::to_path_buf));
        for path in READ_ONLY {
            put(Path::new(path), &mut granted.read);
        }
        if wants.files.is_none() {
            for path in children(Path::new("/")) {
                if !READ_ONLY.iter().any(|known| path == Path::new(known)) && path != Path::new(DEVICES) {
                    put(&path, &mut granted.all);
                }
            }
            return granted;
        }
        for path in SYSTEM {
            put(Path::new(path), &mut granted.read);
        }
        for (path, how) in wants.named() {
            match how {
                Given::ToRead => put(path, &mut granted.read),
                Given::ToWrite => put(path, &mut granted.all),
            }
        }
        granted
    }
}

/// A path, or, where something hidden lies below it, what lies around that. Nothing where the path itself is hidden.
fn without(path: &Path, hidden: &[PathBuf], grants: &mut Vec<PathBuf>) {
    if hidden.iter().any(|secret| path.starts_with(secret)) {
        return;
    }
    if !hidden.iter().any(|secret| secret.starts_with(path)) {
        grants.push(path.into());
        return;
    }
    for child in children(path) {
        without(&child, hidden, grants);
    }
}

/// What lies in a directory. Links are left out: they may lead to what is hidden, and what else they lead to is granted by its
/// own path.
fn children(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()))
        .map(|entry| entry.path())
        .filter(|path| path.file_name() != Some(OsStr::new("lost+found")))
        .collect();
    paths.sort();
    paths
}

/// The version of Landlock that the running kernel has; 0 for none.
pub(super) fn version() -> i32 {
    /// `LANDLOCK_CREATE_RULESET_VERSION`.
    const VERSION: libc::c_uint = 1;
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the call takes no structure, and answers with a number.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) };
    i32::try_from(version).unwrap_or(0).max(0)
}

/// What it gives on this host.
pub(super) fn layer() -> Layer {
    match version() {
        0 => Layer::inactive("Landlock", "this kernel has none: a server has what its user has")
            .with_remedy("boot a kernel with CONFIG_SECURITY_LANDLOCK, and landlock in its lsm= list"),
        version => {
            let more = if version >= 6 { ", signals, abstract sockets" } else { "" };
            Layer::active(
                "Landlock",
                format!(
                    "version {version}: files as configured, never airlock's own; processes outside cannot be traced{more}"
                ),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(path: &Path, hidden: &[PathBuf]) -> Vec<PathBuf> {
        let mut grants = Vec::new();
        without(path, hidden, &mut grants);
        grants
    }

    #[test]
    fn what_is_hidden_is_not_granted_and_what_is_around_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = fs::canonicalize(dir.path()).expect("its path");
        for path in ["a/secret/deep", "a/open", "b"] {
            fs::create_dir_all(root.join(path)).expect("a directory");
        }
        std::os::unix::fs::symlink(root.join("a/secret"), root.join("a/link")).expect("a link");
        let hidden = [root.join("a/secret")];
        assert_eq!(around(&root, &hidden), [root.join("a/open"), root.join("b")]);
        assert_eq!(around(&root.join("a/secret/deep"), &hidden), [] as [PathBuf; 0]);
        assert_eq!(around(&root.join("b"), &hidden), [root.join("b")]);
        assert_eq!(around(&root, &[root.join("nowhere/else")]), [root.join("a"), root.join("b")]);
    }
}
