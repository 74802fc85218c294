//! The daemon's files, and the file systems as such.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};

use super::{number, path};
use crate::attempt::{Attempt, OutsideFacts, attempt};
use crate::raw::{Arg, call, in_child};

/// A file that is not to be seen, or may only be read.
const HIDDEN: &[i32] = &[libc::ENOENT, libc::EROFS, libc::EXDEV, libc::ENOTDIR];

pub(super) fn attempts() -> Vec<Attempt> {
    let mut attempts = daemons();
    attempts.extend(mounts());
    attempts
}

fn daemons() -> Vec<Attempt> {
    let write = |name: &'static str, tries: &str, file: &'static str| {
        attempt(name, tries, move |place| {
            OpenOptions::new().append(true).open(place.daemon.join(file))?.write_all(b"x")
        })
        .also(HIDDEN)
    };
    vec![
        attempt("read-secret", "read the daemon's secrets", |place| {
            fs::read(place.daemon.join("secret")).map(drop)
        })
        .also(HIDDEN),
        attempt("read-config", "read the daemon's configuration", |place| {
            fs::read(place.daemon.join("airlock.yaml")).map(drop)
        })
        .also(HIDDEN),
        attempt("read-audit", "read the audit log", |place| {
            fs::read(place.daemon.join("audit.log")).map(drop)
        })
        .also(HIDDEN),
        write("write-config", "change the daemon's configuration", "airlock.yaml"),
        write("write-policy", "change a policy", "policy.rego"),
        write("write-audit", "append to the audit log", "audit.log"),
        write("write-state", "change the daemon's state", "state"),
        attempt("truncate-audit", "cut the audit log", |place| {
            let file = path(&place.daemon.join("audit.log"));
            call(libc::SYS_truncate, [file.as_slice().into(), 1.into()]).map(drop)
        })
        .by_landlock(3)
        .by_namespaces()
        .also(HIDDEN),
        attempt("replace-policy", "put another file in the place of a policy", |place| {
            let ours = place.daemon.join(format!("new-{}", std::process::id()));
            fs::write(&ours, "package airlock.authz\n")?;
            fs::rename(&ours, place.daemon.join("policy.rego"))
        })
        .also(HIDDEN),
        attempt("remove-audit", "remove the audit log", |place| {
            let log = place.daemon.join("audit.log");
            fs::remove_file(&log)?;
            // Put back as it was, for those who come after.
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&log).map(drop)
        })
        .also(HIDDEN),
        attempt("replace-socket", "put a link in the place of the daemon's socket", |place| {
            let aside = place.daemon.join(format!("aside-{}", std::process::id()));
            let socket = place.daemon.join("admin.sock");
            fs::rename(&socket, &aside)?;
            let linked = symlink(place.dir.join("docker.sock"), &socket);
            fs::rename(&aside, &socket)?;
            linked
        })
        .also(HIDDEN),
        attempt("chmod-socket", "open the daemon's socket to everybody", |place| {
            let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o600);
            fs::set_permissions(place.daemon.join("admin.sock"), mode)
        })
        .root_may()
        .by_namespaces()
        .also(HIDDEN),
        attempt("hard-link", "keep the daemon's secret under a name of one's own", |place| {
            let ours = place.dir.join(format!("kept-{}", std::process::id()));
            fs::hard_link(place.daemon.join("secret"), &ours)?;
            fs::remove_file(&ours)
        })
        .also(HIDDEN),
        attempt("path-descriptor", "reopen a file that was only looked at (`O_PATH`)", |place| {
            let secret = place.daemon.join("secret");
            let looked = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(secret)?;
            File::open(format!("/proc/self/fd/{}", number(&looked))).map(drop)
        })
        .also(HIDDEN),
    ]
}

fn mounts() -> [Attempt; 9] {
    [
        attempt("mount-tmpfs", "mount a file system over a directory", |place| {
            let at = directory(place)?;
            in_child(|| {
                mount(b"tmpfs\0", &at, 0)?;
                unmount(&at)
            })
        })
        .also(HIDDEN),
        attempt("mount-bind", "show the daemon's files in another place", |place| {
            let at = directory(place)?;
            in_child(|| {
                mount(&path(&place.daemon), &at, i64::try_from(libc::MS_BIND).map_err(io::Error::other)?)?;
                let seen = fs::read(at.join("secret")).map(drop);
                unmount(&at)?;
                seen
            })
        })
        .also(HIDDEN),
        attempt("mount-new", "`fsopen`, `fsmount`: a file system without a place", |_| {
            call(libc::SYS_fsopen, [b"tmpfs\0".into(), 0.into()]).map(drop)
        }),
        attempt("open-tree", "`open_tree`: a copy of the host's mounts", |place| {
            const CLONE: i32 = 1;
            let dir = path(&place.daemon);
            call(libc::SYS_open_tree, [libc::AT_FDCWD.into(), dir.as_slice().into(), CLONE.into()]).map(drop)
        })
        .also(HIDDEN),
        attempt("umount", "unmount something that the cage mounted", |place| {
            unmount(&place.dir.join("bound"))?;
            rustix::mount::mount_bind(place.dir.join("docker.sock"), place.dir.join("bound"))?;
            Ok(())
        })
        .also(&[libc::ENOENT, libc::EINVAL]),
        attempt("pivot-root", "`pivot_root`", |_| {
            // Both are no directories that could be exchanged; only who may not even ask is refused for it.
            match call(libc::SYS_pivot_root, [b"/\0".into(), b"/\0".into()]) {
                Err(error) if [Some(libc::EBUSY), Some(libc::EINVAL)].contains(&error.raw_os_error()) => {
                    Ok(())
                }
                result => result.map(drop),
            }
        }),
        attempt("chroot", "`chroot`, and out of it again", |place| {
            let dir = path(&place.dir);
            in_child(|| {
                call(libc::SYS_chroot, [dir.as_slice().into()])?;
                for _ in 0..64 {
                    std::env::set_current_dir("..")?;
                }
                call(libc::SYS_chroot, [b".\0".into()]).map(drop)
            })
        })
        .also(HIDDEN),
        attempt("device-node", "make a node for the kernel's memory (`mknod`)", |place| {
            let node = path(&place.dir.join(format!("node-{}", std::process::id())));
            let mode = i64::from(libc::S_IFCHR | 0o600);
            let device = i64::try_from(libc::makedev(1, 1)).map_err(io::Error::other)?;
            call(libc::SYS_mknod, [node.as_slice().into(), mode.into(), device.into()]).map(drop)
        })
        .also(HIDDEN),
        attempt("file-handle", "open a file by its handle, past every directory", |place| {
            let mut handle = [0_u8; 136];
            handle[..4].copy_from_slice(&128_u32.to_ne_bytes());
            let mut mount = [0; 4];
            let root = path(&place.dir);
            let name: [Arg<'_>; 5] = [
                libc::AT_FDCWD.into(),
                root.as_slice().into(),
                Arg::Buffer(&mut handle),
                Arg::Buffer(&mut mount),
                0.into(),
            ];
            call(libc::SYS_name_to_handle_at, name)?;
            let dir = File::open(&place.dir)?;
            let (read, at) = (libc::O_RDONLY | libc::O_DIRECTORY, number(&dir));
            call(libc::SYS_open_by_handle_at, [at.into(), Arg::Buffer(&mut handle), read.into()]).map(drop)
        })
        .also(HIDDEN),
    ]
}

fn directory(place: &OutsideFacts) -> io::Result<std::path::PathBuf> {
    let dir = place.dir.join(format!("mount-{}", std::process::id()));
    fs::create_dir(&dir)?;
    Ok(dir)
}

fn mount(source: &[u8], at: &std::path::Path, flags: i64) -> io::Result<()> {
    let at = path(at);
    call(libc::SYS_mount, [source.into(), at.as_slice().into(), b"tmpfs\0".into(), flags.into(), 0.into()])
        .map(drop)
}

fn unmount(at: &std::path::Path) -> io::Result<()> {
    Ok(rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH)?)
}
