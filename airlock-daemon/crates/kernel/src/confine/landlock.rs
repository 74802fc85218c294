//! The file system of a server, by Landlock: a domain that the process enters before its program is executed,
//! and that it and all that it starts can never leave. See landlock(7).
//!
//! Without `files` in its configuration a server has what its user has, without Airlock's own files, and
//! without writing to what steers the kernel. With `files` it has the system's programs and what is named. In
//! both, a process outside of the domain can be neither traced nor, where the kernel has it (6.12), signalled
//! or reached by abstract sockets.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, Scope, path_beneath_rules,
};

use super::path_fault::path_fault;
use super::wants::{DEVICES, Given, INSIDE, READ_ONLY, SYSTEM, Wants};
use crate::report::Layer;
use airlock_config::schema::PinNetwork;

/// The name of its layer.
pub(crate) const NAME: &str = "Landlock";

/// The newest version that is asked for; an older kernel gives what it has.
const NEWEST: ABI = ABI::V7;

/// Entries of a directory that may lie beside something hidden. A server that may write there could make any
/// number of them, and each costs every start a rule.
const CROWD: usize = 4_096;

/// The devices of every program.
const NODES: [&str; 10] = ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "log"];
/// Why a server has no domain.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DomainError {
    #[error("{}: {}; `files` has to name what is there, and airlock has to be able to reach it", path.display(), path_fault(path, None).unwrap_or_else(|| source.to_string()))]
    Path { path: PathBuf, source: io::Error },
    #[error(
        "{}: more than {CROWD} entries lie around files of Airlock's own that are hidden there, and each needs a rule; keep Airlock's files in directories of their own", .0.display()
    )]
    Crowd(PathBuf),
    #[error("Landlock refused the rules: {0}; report this with the output of `uname -a`")]
    Rules(#[from] RulesetError),
}

/// A domain that is ready to be entered.
#[derive(Debug)]
pub(crate) struct Domain {
    /// Its rules; `None` on a kernel without Landlock.
    rules: Option<OwnedFd>,
    /// Directories that are mounted by the time it is entered, with the rights to what is in them.
    late: Vec<(CString, u64)>,
}

/// A rule about what lies below a directory: `struct landlock_path_beneath_attr`, which is packed.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    dir: RawFd,
}

impl Domain {
    /// Opens all that a server has, and makes the rules. The files at the paths of `late` cannot be opened
    /// yet: a rule for each is added when the domain is entered.
    ///
    /// # Errors
    /// When something that `files` names is not there.
    pub(crate) fn prepare(wants: &Wants<'_>, late: &[(PathBuf, Given)]) -> Result<Self, DomainError> {
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
        let Grants { read, all: everything } = Grants::of(wants)?;
        // A file that went away since it was listed is nobody's, and a file takes no rights of directories:
        // the library sees to both.
        let rules = rules
            .create()?
            .add_rules(path_beneath_rules(read, AccessFs::from_read(NEWEST)))?
            .add_rules(path_beneath_rules([DEVICES], AccessFs::ReadDir))?
            .add_rules(path_beneath_rules(everything, all))?;
        // A kernel takes no right that it does not know.
        let known = AccessFs::from_all(ABI::from(version()).min(NEWEST)).bits();
        let late = late.iter().map(|(path, given)| {
            let rights = match given {
                Given::ToRead => AccessFs::from_read(NEWEST).bits() & known,
                Given::ToWrite => known,
            };
            Ok((CString::new(path.as_os_str().as_bytes())?, rights))
        });
        let late: io::Result<Vec<_>> = late.collect();
        Ok(Self {
            rules: rules.into(),
            late: late.map_err(|source| DomainError::Path { path: PathBuf::new(), source })?,
        })
    }

    /// Enters it, for good. The caller has to have given up new privileges. System calls only.
    pub(crate) fn enter(&self) -> io::Result<()> {
        let Some(domain) = &self.rules else { return Ok(()) };
        for (path, rights) in &self.late {
            give(domain, path, *rights)?;
        }
        // SAFETY: a descriptor that is open, and no flags.
        match unsafe { libc::syscall(libc::SYS_landlock_restrict_self, domain.as_raw_fd(), 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Adds a rule that gives a directory with all that is below.
fn give(domain: &OwnedFd, path: &CStr, rights: u64) -> io::Result<()> {
    /// `LANDLOCK_RULE_PATH_BENEATH`.
    const PATH_BENEATH: libc::c_int = 1;
    // SAFETY: a string with its end, which lives for the call.
    let opened = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC) };
    if opened < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that was just opened, and is nobody else's.
    let dir = unsafe { OwnedFd::from_raw_fd(opened) };
    let rule = PathBeneath { allowed: rights, dir: dir.as_raw_fd() };
    // SAFETY: a descriptor that is open, and a structure as the call wants it, which lives for the call.
    let added = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            domain.as_raw_fd(),
            PATH_BENEATH,
            (&raw const rule).cast::<libc::c_void>(),
            0,
        )
    };
    if added == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The path that is granted, with all that is below.
#[derive(Default)]
struct Grants {
    /// To read and execute.
    read: Vec<PathBuf>,
    /// To do everything with.
    all: Vec<PathBuf>,
}

impl Grants {
    fn of(wants: &Wants<'_>) -> Result<Self, DomainError> {
        let hidden: Vec<PathBuf> =
            INSIDE.iter().map(PathBuf::from).chain(wants.hidden.iter().cloned()).collect();
        let put = |path: &Path, grants: &mut Vec<PathBuf>| without(path, &hidden, grants);
        let mut granted = Self::default();
        granted.all.extend(NODES.map(|name| Path::new(DEVICES).join(name)));
        granted.all.extend(wants.own.map(Path::to_path_buf));
        for path in READ_ONLY {
            put(Path::new(path), &mut granted.read)?;
        }
        if wants.files.is_none() {
            for path in children(Path::new("/"))? {
                if !READ_ONLY.iter().any(|known| path == Path::new(known)) && path != Path::new(DEVICES) {
                    put(&path, &mut granted.all)?;
                }
            }
            return Ok(granted);
        }
        for path in SYSTEM {
            put(Path::new(path), &mut granted.read)?;
        }
        for (path, how) in wants.named() {
            match how {
                Given::ToRead => put(path, &mut granted.read)?,
                Given::ToWrite => put(path, &mut granted.all)?,
            }
        }
        Ok(granted)
    }
}

/// A path, or, where something hidden lies below it, what lies around that. Nothing where the path itself is
/// hidden.
///
/// Only directories on the way to something hidden are looked into, so this goes no deeper than that lies.
fn without(path: &Path, hidden: &[PathBuf], grants: &mut Vec<PathBuf>) -> Result<(), DomainError> {
    let mut left = vec![path.to_path_buf()];
    while let Some(path) = left.pop() {
        if hidden.iter().any(|secret| path.starts_with(secret)) {
            continue;
        }
        if hidden.iter().any(|secret| secret.starts_with(&path)) {
            // The first of them is the next.
            left.extend(children(&path)?.into_iter().rev());
        } else {
            grants.push(path);
        }
    }
    Ok(())
}

/// The entries of a directory. Links are left out: they may lead to what is hidden, and what else they lead
/// to is granted by its own path.
fn children(dir: &Path) -> Result<Vec<PathBuf>, DomainError> {
    let entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().take(CROWD + 1).collect();
    if entries.len() > CROWD {
        return Err(DomainError::Crowd(dir.into()));
    }
    let mut paths: Vec<PathBuf> = entries
        .into_iter()
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink()))
        .map(|entry| entry.path())
        .filter(|path| path.file_name() != Some(OsStr::new("lost+found")))
        .collect();
    paths.sort();
    Ok(paths)
}

/// The version of Landlock that the running kernel has; 0 for none.
pub(crate) fn version() -> i32 {
    /// `LANDLOCK_CREATE_RULESET_VERSION`.
    const VERSION: libc::c_uint = 1;
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: with this flag the call takes no structure, and answers with a number.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION) };
    i32::try_from(version).unwrap_or(0).max(0)
}

/// Its rights on this host.
pub(crate) fn layer() -> Layer {
    match version() {
        0 => Layer::inactive(NAME, "this kernel has none: a server has what its user has")
            .with_remedy("boot a kernel with CONFIG_SECURITY_LANDLOCK, and landlock in its lsm= list"),
        version => {
            let more = if version >= 6 { ", signals, abstract sockets" } else { "" };
            Layer::active(
                NAME,
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
        without(path, hidden, &mut grants).expect("no crowd");
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

    #[test]
    fn a_crowd_around_what_is_hidden_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("a directory");
        for number in 0..=CROWD {
            fs::write(dir.path().join(number.to_string()), "").expect("a file");
        }
        let error = without(dir.path(), &[dir.path().join("7")], &mut Vec::new()).expect_err("too many");
        let text = error.to_string();
        assert!(text.contains(&dir.path().display().to_string()) && text.contains("of their own"), "{text}");
    }
}
