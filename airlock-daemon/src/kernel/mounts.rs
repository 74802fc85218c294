//! The mounts that a server sees: those of what it is given and no others, or the host's without what is Airlock's own.
//!
//! Landlock says what may be opened. It leaves names, sizes and times to be looked at, and unix sockets to be connected to by their
//! path; what is not mounted has none of that. The two are made from the same configuration and do not rely on each other.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::ptr;

use super::own_dir::OwnDir;
use super::wants::{DEVICES, Given, INSIDE, READ_ONLY, SYSTEM, Wants};
use crate::config::schema::PinNetwork;

/// Where a host's services have their sockets. Whoever may connect to none is shown none.
const SERVICES: &str = "/run";

/// One step of putting mounts in place.
#[derive(Debug, PartialEq, Eq)]
enum Op {
    /// What is mounted here from now on stays here, and what the host mounts stays there.
    Private,
    /// An empty file system.
    Empty(CString),
    /// A directory, to mount on; it may be there.
    Dir(CString),
    /// A file, to mount on; it may be there.
    File(CString),
    /// A symbolic link: what it says, and where it is.
    Link(CString, CString),
    /// What is at the first path, with all that is mounted below, at the second as well.
    Bind(CString, CString),
    /// The same to be read only, and without set-user-ID programs.
    ReadOnly(CString),
    /// This directory is the root from now on, to be read only, and the former one is gone.
    Root(CString),
    /// Nothing is at this directory, if it is there.
    HideDir(CString),
    /// Nothing is at this file, if it is there.
    HideFile(CString),
}

/// The steps for one server.
#[derive(Debug)]
pub(super) struct Mounts(Vec<Op>);

impl Mounts {
    /// Prepares them. What is missing on this host is left out, but for what `files` names.
    ///
    /// # Errors
    /// When a path has a zero byte in it.
    pub(super) fn prepare(wants: &Wants<'_>, own: &OwnDir) -> io::Result<Self> {
        let mut plan = Plan { ops: vec![Op::Private], made: BTreeSet::new() };
        match wants.files {
            // Whoever is given everything needs no other root.
            Some(files) if !files.read.iter().chain(&files.write).any(|path| path == Path::new("/")) => {
                plan.root(wants, own)?;
            }
            _ => {
                let needed = [wants.program, wants.working_dir];
                let nobody_needs_it = !needed.iter().any(|path| path.starts_with(SERVICES));
                if wants.network == PinNetwork::None && nobody_needs_it {
                    plan.ops.push(Op::HideDir(c_path(Path::new(SERVICES))?));
                }
            }
        }
        plan.hide(wants.hidden)?;
        Ok(Self(plan.ops))
    }

    /// Every kind of step, to find out whether they work here.
    pub(super) fn for_a_probe(own: &OwnDir) -> io::Result<Self> {
        let wants = Wants {
            files: Some(&crate::config::schema::Files::default()),
            program: Path::new("/usr"),
            working_dir: Path::new("/"),
            own: None,
            hidden: &[],
            network: PinNetwork::None,
        };
        Self::prepare(&wants, own)
    }

    /// Puts them in place, in a child with a mount namespace of its own and the right to mount. System calls only.
    pub(super) fn put_in_place(&self) -> io::Result<()> {
        self.0.iter().try_for_each(run)
    }
}

/// Steps that are being put together.
struct Plan {
    ops: Vec<Op>,
    /// Directories that are on the new root by now, below the stage.
    made: BTreeSet<PathBuf>,
}

impl Plan {
    /// A root with what is given, and nothing else.
    fn root(&mut self, wants: &Wants<'_>, own: &OwnDir) -> io::Result<()> {
        let stage = own.stage();
        self.ops.push(Op::Empty(c_path(stage)?));
        let mut given: Vec<(PathBuf, Given)> = Vec::new();
        for path in SYSTEM.map(Path::new) {
            match fs::read_link(path) {
                Ok(to) => {
                    self.ops.push(Op::Link(c_path(&to)?, c_path(&below(stage, path))?));
                    self.made.insert(path.into());
                }
                Err(_) if path.is_dir() => given.push((path.into(), Given::ToRead)),
                Err(_) => {}
            }
        }
        given.extend(READ_ONLY.map(|path| (path.into(), Given::ToRead)));
        given.push((DEVICES.into(), Given::ToWrite));
        given.extend(wants.own.map(|path| (path.into(), Given::ToWrite)));
        given.extend(wants.named().map(|(path, how)| (path.into(), how)));
        // What a link leads to is there under both of its names.
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
        self.ops.push(Op::Root(c_path(stage)?));
        Ok(())
    }

    fn bind(&mut self, stage: &Path, path: &Path, how: Given) -> io::Result<()> {
        // What is below a link is below what it leads to.
        if path.ancestors().skip(1).any(|dir| self.made.contains(dir) && fs::read_link(dir).is_ok()) {
            return Ok(());
        }
        let mut dirs: Vec<&Path> = path.ancestors().skip(1).filter(|dir| *dir != Path::new("/")).collect();
        dirs.reverse();
        for dir in dirs {
            if self.made.insert(dir.into()) {
                self.ops.push(Op::Dir(c_path(&below(stage, dir))?));
            }
        }
        let at = c_path(&below(stage, path))?;
        if self.made.insert(path.into()) {
            self.ops.push(if path.is_dir() { Op::Dir(at.clone()) } else { Op::File(at.clone()) });
        }
        self.ops.push(Op::Bind(c_path(path)?, at.clone()));
        if how == Given::ToRead {
            self.ops.push(Op::ReadOnly(at));
        }
        Ok(())
    }

    fn hide(&mut self, hidden: &[PathBuf]) -> io::Result<()> {
        for path in INSIDE.iter().map(Path::new).chain(hidden.iter().map(PathBuf::as_path)) {
            match fs::metadata(path) {
                Ok(found) if found.is_dir() => self.ops.push(Op::HideDir(c_path(path)?)),
                Ok(_) => self.ops.push(Op::HideFile(c_path(path)?)),
                // What is not there, or not for us to see, has nothing to hide; Landlock gives it to nobody either.
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

fn run(op: &Op) -> io::Result<()> {
    match op {
        Op::Private => mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE, None),
        Op::Empty(at) => empty(at, c"mode=755,size=64k"),
        Op::Dir(at) => {
            // SAFETY: a string with its end, which lives for the call.
            unless(libc::EEXIST, unsafe { libc::mkdir(at.as_ptr(), 0o755) })
        }
        Op::File(at) => {
            // SAFETY: as above.
            unless(libc::EEXIST, unsafe { libc::mknod(at.as_ptr(), libc::S_IFREG | 0o444, 0) })
        }
        Op::Link(to, at) => {
            // SAFETY: as above.
            unless(libc::EEXIST, unsafe { libc::symlink(to.as_ptr(), at.as_ptr()) })
        }
        Op::Bind(from, at) => mount(Some(from), at, None, libc::MS_BIND | libc::MS_REC, None),
        Op::ReadOnly(at) => read_only(at, libc::AT_RECURSIVE),
        Op::Root(at) => change_root(at),
        Op::HideDir(at) => absent(empty(at, c"mode=000,size=4k").and_then(|()| read_only(at, 0))),
        Op::HideFile(at) => absent(mount(Some(c"/dev/null"), at, None, libc::MS_BIND, None)),
    }
}

/// What is gone by now is hidden.
fn absent(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| match error.raw_os_error() {
        Some(libc::ENOENT) => Ok(()),
        _ => Err(error),
    })
}

fn empty(at: &CStr, options: &CStr) -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    mount(Some(c"tmpfs"), at, Some(c"tmpfs"), flags, Some(options))
}

fn mount(
    source: Option<&CStr>,
    at: &CStr,
    kind: Option<&CStr>,
    flags: libc::c_ulong,
    options: Option<&CStr>,
) -> io::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    let options = pointer(options).cast();
    // SAFETY: strings with their ends, or none, which live for the call.
    done(unsafe { libc::mount(pointer(source), at.as_ptr(), pointer(kind), flags, options) })
}

/// With `AT_RECURSIVE` also all that is mounted below. Only adds attributes, which those of an outer user namespace may not be taken off.
fn read_only(at: &CStr, flags: libc::c_int) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: a string with its end, and a structure with its size, which live for the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            at.as_ptr(),
            flags,
            &raw const attributes,
            size_of_val(&attributes),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn change_root(at: &CStr) -> io::Result<()> {
    let here = c".".as_ptr();
    // SAFETY: a string with its end, which lives for the call.
    done(unsafe { libc::chdir(at.as_ptr()) })?;
    // SAFETY: as above. The new root lies over the old one at the same place, which pivot_root(2) describes.
    let pivoted = unsafe { libc::syscall(libc::SYS_pivot_root, here, here) };
    if pivoted == 0 {
        // SAFETY: as above; takes the old root away.
        done(unsafe { libc::umount2(here, libc::MNT_DETACH) })?;
    } else {
        // The first root of a kernel, an initramfs, cannot be left. It is covered, and nobody here may come out from below.
        mount(Some(c"."), c"/", None, libc::MS_MOVE, None)?;
        // SAFETY: as above.
        done(unsafe { libc::chroot(here) })?;
    }
    // SAFETY: as above.
    done(unsafe { libc::chdir(c"/".as_ptr()) })?;
    read_only(c"/", 0)
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The same, where this error is fine.
fn unless(errno: libc::c_int, result: libc::c_int) -> io::Result<()> {
    done(result).or_else(|error| if error.raw_os_error() == Some(errno) { Ok(()) } else { Err(error) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::Files;

    fn ops(files: Option<&Files>, hidden: &[PathBuf]) -> Vec<Op> {
        let own = OwnDir::create(None).expect("a directory");
        let wants = Wants {
            files,
            program: Path::new("/usr/bin/env"),
            working_dir: Path::new("/"),
            own: Some(own.path()),
            hidden,
            network: PinNetwork::None,
        };
        Mounts::prepare(&wants, &own).expect("prepared").0
    }

    #[test]
    fn without_files_it_is_the_host_without_what_is_hidden() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, folder) = (dir.path().join("file"), dir.path().join("folder"));
        fs::write(&file, "x").and_then(|()| fs::create_dir(&folder)).expect("ours to fill");
        let hidden = [file.clone(), folder.clone(), dir.path().join("no such")];
        let ops = ops(None, &hidden);
        assert_eq!(ops[..2], [Op::Private, Op::HideDir(c"/run".into())]);
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
}
