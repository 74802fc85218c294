//! Leaving the cgroup, on which the cage hangs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::{absent, number, path};
use crate::attempt::{Attempt, OutsideFacts, attempt};
use crate::raw::{call, clone3, in_child};

/// A hierarchy that is not to be seen, or may only be read.
const HIDDEN: &[i32] = &[libc::ENOENT, libc::EROFS, libc::ENODEV];

pub(super) fn attempts() -> Vec<Attempt> {
    let to = |name: &'static str, tries: &str, which: usize| {
        attempt(name, format!("move oneself to {tries}, then connect"), move |place| {
            moved(place, &place.cgroups[which].join("cgroup.procs"), "0")
        })
        .also(HIDDEN)
        .knocks()
    };
    vec![
        to("cgroup-root", "the root cgroup", 0),
        to("cgroup-daemon", "the daemon's cgroup", 1),
        to("cgroup-sibling", "another cgroup", 2),
        attempt("cgroup-threads", "move a thread to another cgroup", |place| {
            // Refused in any case unless the cgroups are threaded: whether it may be written is what counts.
            let file = place.cgroups[2].join("cgroup.threads");
            OpenOptions::new().write(true).open(file).map(drop)
        })
        .also(HIDDEN),
        attempt("cgroup-create", "make a cgroup beside one's own", |place| {
            let new = place.cgroups[1].join(format!("airlock-escapes-new-{}", std::process::id()));
            fs::create_dir(&new)?;
            fs::remove_dir(&new)
        })
        .also(HIDDEN),
        attempt("cgroup-child", "make a cgroup below one's own, move there, connect", |place| {
            let new = own(place)?.join("child");
            fs::create_dir(&new)?;
            let result = moved(place, &new.join("cgroup.procs"), "0");
            // Only where nobody is left in it.
            let _ = fs::remove_dir(&new);
            result
        })
        .also(HIDDEN)
        .knocks(),
        attempt("cgroup-remove", "remove another cgroup", |place| {
            fs::remove_dir(&place.cgroups[2])?;
            fs::create_dir(&place.cgroups[2])
        })
        .also(&[libc::ENOENT, libc::EROFS, libc::EBUSY]),
        attempt("cgroup-controllers", "change which controllers the daemon's cgroups have", |place| {
            let file = place.cgroups[1].join("cgroup.subtree_control");
            OpenOptions::new().write(true).open(file)?.write_all(b" ")
        })
        .also(HIDDEN),
        attempt("cgroup-limits", "raise a limit of one's own cgroup", |place| {
            OpenOptions::new().write(true).open(own(place)?.join("cgroup.max.depth"))?.write_all(b"max")
        })
        .also(HIDDEN),
        attempt("cgroup-freeze", "freeze another cgroup", |place| {
            let file = place.cgroups[2].join("cgroup.freeze");
            OpenOptions::new().write(true).open(file)?.write_all(b"0")
        })
        .also(HIDDEN),
        attempt("cgroup-mount", "mount cgroup2 anew and move to its root, then connect", |place| {
            in_child(|| {
                let target = place.dir.join(format!("cgroup-{}", std::process::id()));
                fs::create_dir(&target)?;
                let (kind, at) = (b"cgroup2\0", path(&target));
                call(libc::SYS_mount, [kind.into(), at.as_slice().into(), kind.into(), 0.into(), 0.into()])?;
                let result = moved(place, &target.join("cgroup.procs"), "0");
                // Where it was allowed to mount it may unmount.
                let _ = rustix::mount::unmount(&target, rustix::mount::UnmountFlags::DETACH);
                result
            })
        })
        .also(HIDDEN)
        .knocks(),
        attempt(
            "clone3-into-cgroup",
            "`clone3`: a child that is born in the root cgroup and connects",
            |place| {
                // No write to any file: the directory is only opened.
                let root = OpenOptions::new()
                    .read(true)
                    .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
                    .open(&place.cgroups[0])?;
                clone3(0, Some(number(&root)), || connect(place))
            },
        )
        .also(&[libc::ENOENT, libc::ENOSYS])
        .knocks(),
    ]
}

/// Writes to a `cgroup.procs` in a child, which then connects: wherever it is, somebody hears it if it is
/// out.
fn moved(place: &OutsideFacts, procs: &Path, who: &str) -> io::Result<()> {
    in_child(|| {
        OpenOptions::new().write(true).open(procs)?.write_all(who.as_bytes())?;
        connect(place)
    })
}

fn connect(place: &OutsideFacts) -> io::Result<()> {
    TcpStream::connect(place.tcp[0].ok_or_else(absent)?).map(drop)
}

/// Our own cgroup, in the mount that the world has.
fn own(place: &OutsideFacts) -> io::Result<PathBuf> {
    let table = fs::read_to_string("/proc/self/cgroup")?;
    let own = table.lines().find_map(|line| line.strip_prefix("0::/")).ok_or_else(absent)?;
    let dir = place.cgroups[0].join(own);
    // Tells a hierarchy that is hidden from one that refuses.
    File::open(&dir)?;
    Ok(dir)
}
