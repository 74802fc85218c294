//! The mounts that a server sees: those of what it is given and no others, or the host's without what is
//! Airlock's own.
//!
//! Landlock says what may be opened. It leaves names, sizes and times to be looked at, and unix sockets to be
//! connected to by their path; what is not mounted has none of that. The two are made from the same
//! configuration and do not rely on each other.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::mount_steps::{Op, run};
use super::wants::{DEVICES, Given, INSIDE, PROC, READ_ONLY, SYSTEM, Wants};
use crate::directories::own_dir::OwnDir;
use airlock_config::schema::PinNetwork;
use airlock_config::units::ByteSize;

/// Where a host's services have their sockets. Whoever may connect to none is shown none.
const SERVICES: &str = "/run";

/// Where programs keep things for a while, and where a server has its own: the name of its directory beside
/// each.
const PLACES: [(&str, &str); 3] = [("/tmp", "tmp"), ("/var/tmp", "var-tmp"), ("/dev/shm", "shm")];
/// There is room for a file or directory in each so many bytes.
const FILE: u64 = 4 * 1024;
/// As many there may be in any case.
const LEAST_FILES: u64 = 64;

/// The steps for one server.
#[derive(Debug)]
pub(crate) struct Mounts {
    steps: Vec<Op>,
    late: Vec<(PathBuf, Given)>,
}

impl Mounts {
    /// Prepares them. A path that is missing on this host is left out, but for those that `files` names.
    ///
    /// # Errors
    /// When a path has a zero byte in it.
    pub(crate) fn prepare(wants: &Wants<'_>, own: &OwnDir) -> io::Result<Self> {
        let mut plan = Plan { steps: vec![Op::Private], made: BTreeSet::new(), private: BTreeMap::new() };
        plan.scratch(wants, own)?;
        match wants.files {
            // Whoever is given everything needs no other root.
            Some(files) if !files.read.iter().chain(&files.write).any(|path| path == Path::new("/")) => {
                plan.root(wants, own)?;
            }
            _ => {
                plan.cover(wants, own)?;
                if wants.has_proc {
                    plan.steps.push(Op::Proc(c_path(Path::new(PROC))?));
                }
                let needed = [wants.program, wants.working_dir];
                let nobody_needs_it = !needed.iter().any(|path| path.starts_with(SERVICES));
                if wants.network == PinNetwork::None && nobody_needs_it {
                    plan.steps.push(Op::HideDir(c_path(Path::new(SERVICES))?));
                }
            }
        }
        plan.hide(wants.hidden)?;
        let private = PLACES.iter().map(|(place, _)| PathBuf::from(place));
        let private: Vec<PathBuf> = private.filter(|place| plan.private.contains_key(place)).collect();
        let mut late: Vec<_> = private.into_iter().map(|place| (place, Given::ToWrite)).collect();
        if wants.has_proc {
            late.push((PROC.into(), Given::ToRead));
        }
        Ok(Self { steps: plan.steps, late })
    }

    /// Every kind of step, to find out whether they work here.
    pub(crate) fn for_a_probe(own: &OwnDir, has_proc: bool) -> io::Result<Self> {
        let wants = Wants {
            files: Some(&airlock_config::schema::Files::default()),
            program: Path::new("/usr"),
            working_dir: Path::new("/"),
            own: None,
            hidden: &[],
            network: PinNetwork::None,
            tmp: ByteSize::kib(64),
            has_proc,
        };
        Self::prepare(&wants, own)
    }

    /// The directories that are the server's alone, and gone with it, the one for temporary files first if
    /// there is one. [`super::landlock`] has to be told of them when they are there.
    pub(crate) fn late(&self) -> &[(PathBuf, Given)] {
        &self.late
    }

    /// Where it keeps temporary files, where that is in memory.
    pub(crate) fn temporary(&self) -> Option<&Path> {
        let first = self.late.iter().find(|(_, given)| *given == Given::ToWrite);
        first.map(|(place, _)| place.as_path())
    }

    /// Puts them in place, in a child with a mount namespace of its own and the right to mount. System calls
    /// only.
    pub(super) fn put_in_place(&self) -> io::Result<()> {
        self.steps.iter().try_for_each(run)
    }
}

/// Steps that are being put together.
struct Plan {
    steps: Vec<Op>,
    /// Directories that are on the new root by now, below the stage.
    made: BTreeSet<PathBuf>,
    /// Directories that are the server's alone, and what is mounted there: one file system has them all.
    private: BTreeMap<PathBuf, PathBuf>,
}

impl Plan {
    /// A file system of the server's own, with a directory for each place where programs keep things for a
    /// while. A place that `files` names is the host's.
    fn scratch(&mut self, wants: &Wants<'_>, own: &OwnDir) -> io::Result<()> {
        let bytes = wants.tmp.0;
        // Each file costs the kernel memory, however little is in it.
        let bounds = format!("mode=755,size={bytes},nr_inodes={}", (bytes / FILE).max(LEAST_FILES));
        self.steps.push(Op::Scratch(c_path(own.scratch())?, CString::new(bounds)?));
        let is_named = |place: &Path| {
            wants.files.is_some_and(|files| files.read.iter().chain(&files.write).any(|path| path == place))
        };
        for (place, name) in PLACES.map(|(place, name)| (Path::new(place), name)) {
            // A link has its place elsewhere, and a path that is missing on the host is missed by nobody.
            if fs::symlink_metadata(place).is_ok_and(|found| found.is_dir()) && !is_named(place) {
                let dir = own.scratch().join(name);
                self.steps.push(Op::Open(c_path(&dir)?));
                self.private.insert(place.into(), dir);
            }
        }
        Ok(())
    }

    /// Puts the private directories over those of the host. The files that the server needs below them are
    /// there again.
    fn cover(&mut self, wants: &Wants<'_>, own: &OwnDir) -> io::Result<()> {
        let mut covers: Vec<_> = self.private.clone().into_iter().collect();
        // The one last in which all of them are put together.
        covers.sort_by_key(|(place, _)| own.scratch().starts_with(place));
        let named: Vec<(PathBuf, Given)> =
            wants.named().map(|(path, how)| (path.to_path_buf(), how)).collect();
        for (place, dir) in covers {
            for (path, how) in &named {
                let Ok(rest) = path.strip_prefix(&place) else { continue };
                // A program brings along what lies around it, since nobody named more.
                let how = if wants.files.is_some() { *how } else { Given::ToWrite };
                let Some(first) = rest.components().next() else { continue };
                self.show(&place.join(first), &dir.join(first), how)?;
            }
            self.steps.push(Op::Bind(c_path(&dir)?, c_path(&place)?));
        }
        Ok(())
    }

    /// A file or directory of the host at another place, once.
    fn show(&mut self, path: &Path, at: &Path, how: Given) -> io::Result<()> {
        if !path.exists() || !self.made.insert(path.into()) {
            return Ok(());
        }
        let to = c_path(at)?;
        self.steps.push(if path.is_dir() { Op::Dir(to.clone()) } else { Op::File(to.clone()) });
        self.steps.push(Op::Bind(c_path(path)?, to.clone()));
        if how == Given::ToRead {
            self.steps.push(Op::ReadOnly(to));
        }
        Ok(())
    }

    /// A root with what is given, and nothing else.
    fn root(&mut self, wants: &Wants<'_>, own: &OwnDir) -> io::Result<()> {
        let stage = own.stage();
        self.steps.push(Op::Empty(c_path(stage)?));
        let mut given: Vec<(PathBuf, Given)> = Vec::new();
        for path in SYSTEM.map(Path::new) {
            match fs::read_link(path) {
                Ok(to) => {
                    self.steps.push(Op::Link(c_path(&to)?, c_path(&below(stage, path))?));
                    self.made.insert(path.into());
                }
                Err(_) if path.is_dir() => given.push((path.into(), Given::ToRead)),
                Err(_) => {}
            }
        }
        given.extend(READ_ONLY.map(|path| (path.into(), Given::ToRead)));
        given.push((DEVICES.into(), Given::ToWrite));
        given.extend(self.private.keys().map(|path| (path.clone(), Given::ToWrite)));
        given.extend(wants.named().map(|(path, how)| (path.into(), how)));
        // The target of a link is there under both of its names.
        let real: Vec<_> = given
            .iter()
            .filter_map(|(path, how)| Some((fs::canonicalize(path).ok()?, *how)))
            .filter(|entry| !given.contains(entry))
            .collect();
        given.extend(real);
        // Outer ones first, and of the same path the one that gives more last.
        given.sort_by(|(a, how), (b, other)| {
            (a.components().count(), a, how).cmp(&(b.components().count(), b, other))
        });
        given.dedup();
        for (path, how) in given {
            self.bind(stage, &path, how)?;
        }
        if wants.has_proc {
            // Over that of the host, which has to be seen for another to be permitted.
            self.steps.push(Op::Proc(c_path(&below(stage, Path::new(PROC)))?));
        }
        self.steps.push(Op::Root(c_path(stage)?));
        Ok(())
    }

    fn bind(&mut self, stage: &Path, path: &Path, how: Given) -> io::Result<()> {
        // A path below a link is below the link's target.
        if path.ancestors().skip(1).any(|dir| self.made.contains(dir) && fs::read_link(dir).is_ok()) {
            return Ok(());
        }
        let mut dirs: Vec<&Path> = path.ancestors().skip(1).filter(|dir| *dir != Path::new("/")).collect();
        dirs.reverse();
        for dir in dirs {
            if self.made.insert(dir.into()) {
                self.steps.push(Op::Dir(c_path(&below(stage, dir))?));
            }
        }
        let at = c_path(&below(stage, path))?;
        if self.made.insert(path.into()) {
            self.steps.push(if path.is_dir() { Op::Dir(at.clone()) } else { Op::File(at.clone()) });
        }
        let from = self.private.get(path).map_or(path, PathBuf::as_path);
        self.steps.push(Op::Bind(c_path(from)?, at.clone()));
        if how == Given::ToRead {
            self.steps.push(Op::ReadOnly(at));
        }
        Ok(())
    }

    fn hide(&mut self, hidden: &[PathBuf]) -> io::Result<()> {
        for path in INSIDE.iter().map(Path::new).chain(hidden.iter().map(PathBuf::as_path)) {
            match fs::metadata(path) {
                Ok(found) if found.is_dir() => self.steps.push(Op::HideDir(c_path(path)?)),
                Ok(_) => self.steps.push(Op::HideFile(c_path(path)?)),
                // A path that is not there, or not for us to see, has nothing to hide; Landlock gives it to
                // nobody either.
                Err(_) => {}
            }
        }
        Ok(())
    }
}

/// A path of the host, on the stage.
fn below(stage: &Path, path: &Path) -> PathBuf {
    stage.join(path.strip_prefix("/").unwrap_or(path))
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlock_config::schema::Files;

    fn ops(files: Option<&Files>, hidden: &[PathBuf]) -> Vec<Op> {
        let own = OwnDir::for_mounts().expect("a directory");
        let wants = Wants {
            files,
            program: Path::new("/usr/bin/env"),
            working_dir: Path::new("/"),
            own: None,
            hidden,
            network: PinNetwork::None,
            tmp: ByteSize::kib(64 << 10),
            has_proc: false,
        };
        Mounts::prepare(&wants, &own).expect("prepared").steps
    }

    #[test]
    fn without_files_it_is_the_host_without_what_is_hidden() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, folder) = (dir.path().join("file"), dir.path().join("folder"));
        fs::write(&file, "x").and_then(|()| fs::create_dir(&folder)).expect("ours to fill");
        let hidden = [file.clone(), folder.clone(), dir.path().join("no such")];
        let ops = ops(None, &hidden);
        assert_eq!(ops[0], Op::Private);
        assert!(ops.contains(&Op::HideDir(c"/run".into())), "{ops:?}");
        assert!(ops.contains(&Op::HideFile(c_path(&file).expect("a path"))), "{ops:?}");
        assert!(ops.contains(&Op::HideDir(c_path(&folder).expect("a path"))), "{ops:?}");
        assert!(!format!("{ops:?}").contains("such"), "{ops:?}");
    }

    #[test]
    fn what_is_nested_comes_after_what_is_around_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let root = fs::canonicalize(dir.path()).expect("its path");
        fs::create_dir_all(root.join("a/b/c")).expect("directories");
        let files = Files { read: vec![root.join("a"), root.join("a/b/c")], write: vec![root.join("a/b")] };
        let ops = ops(Some(&files), &[]);
        let at = |path: &Path| {
            let end = path.strip_prefix("/").expect("absolute").as_os_str().as_bytes().to_vec();
            let is_bind = |op: &Op| matches!(op, Op::Bind(_, to) if to.as_bytes().ends_with(&end));
            let place = ops.iter().position(is_bind).expect("bound");
            (place, matches!(ops[place + 1], Op::ReadOnly(_)))
        };
        let [outer, middle, inner] = ["a", "a/b", "a/b/c"].map(|path| at(&root.join(path)));
        assert!(outer.0 < middle.0 && middle.0 < inner.0, "{ops:?}");
        assert_eq!([outer.1, middle.1, inner.1], [true, false, true]);
    }

    #[test]
    fn whoever_is_given_everything_keeps_the_root() {
        let everything = Files { read: vec!["/".into()], write: Vec::new() };
        assert!(!ops(Some(&everything), &[]).iter().any(|op| matches!(op, Op::Root(_))));
        assert!(ops(Some(&Files::default()), &[]).iter().any(|op| matches!(op, Op::Root(_))));
    }

    /// Where it is put together is covered as the last of all.
    #[test]
    fn what_is_kept_for_a_while_has_bounds_and_is_nobody_elses() {
        for files in [None, Some(&Files::default())] {
            let ops = ops(files, &[]);
            let Op::Scratch(scratch, bounds) = &ops[1] else { panic!("{ops:?}") };
            assert_eq!(bounds.to_str(), Ok("mode=755,size=67108864,nr_inodes=16384"));
            let within = |path: &CString| path.as_bytes().starts_with(scratch.as_bytes());
            let bound: Vec<&CString> = ops
                .iter()
                .filter_map(|op| match op {
                    Op::Bind(from, to) if within(from) => Some(to),
                    _ => None,
                })
                .collect();
            for (place, _) in PLACES.iter().filter(|(place, _)| Path::new(place).is_dir()) {
                assert!(bound.iter().any(|to| to.as_bytes().ends_with(place.as_bytes())), "{place}: {ops:?}");
            }
            if files.is_none() {
                let last = Path::new(bound.last().expect("some").to_str().expect("text"));
                assert!(std::env::temp_dir().starts_with(last), "{ops:?}");
            }
        }
    }

    #[test]
    fn a_program_in_what_is_covered_is_there_with_what_lies_around_it() {
        let dir = tempfile::tempdir_in("/tmp").expect("a directory");
        fs::create_dir(dir.path().join("bin")).expect("a directory");
        let program = dir.path().join("bin/server");
        fs::write(&program, "").expect("a program");
        let own = OwnDir::for_mounts().expect("a directory");
        let wants = Wants {
            files: None,
            program: &program,
            working_dir: Path::new("/"),
            own: None,
            hidden: &[],
            network: PinNetwork::None,
            tmp: ByteSize::kib(64),
            has_proc: false,
        };
        let steps = Mounts::prepare(&wants, &own).expect("prepared").steps;
        let from = c_path(dir.path()).expect("a path");
        assert!(steps.iter().any(|op| matches!(op, Op::Bind(what, _) if *what == from)), "{steps:?}");
    }

    #[test]
    fn a_place_that_is_named_is_the_hosts() {
        let named = Files { read: Vec::new(), write: vec!["/tmp".into()] };
        let ops = ops(Some(&named), &[]);
        let from_host = |op: &Op| matches!(op, Op::Bind(from, _) if from.as_bytes() == b"/tmp");
        assert!(ops.iter().any(from_host), "{ops:?}");
    }
}
