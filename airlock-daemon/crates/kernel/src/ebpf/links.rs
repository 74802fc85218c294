//! Links of programs to cgroups and to the host, by `bpf(2)` itself: the loader library keeps the descriptors
//! of its links to itself, and they have to be pinned, looked at and linked for attach types that it does not
//! know.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use aya_obj::generated::{bpf_attach_type, bpf_cmd, bpf_link_type};

/// The kind of a link to a cgroup, as [`LinkInfo`] has it.
pub(super) const TYPE_CGROUP: u32 = bpf_link_type::BPF_LINK_TYPE_CGROUP as u32;

/// The part of `union bpf_attr` for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkAttr {
    prog_fd: i32,
    target_fd: i32,
    attach_type: u32,
    flags: u32,
}

/// The part for `BPF_RAW_TRACEPOINT_OPEN`; the program names its hook or function itself.
#[repr(C)]
struct HostAttr {
    name: u64,
    prog_fd: i32,
    zero: u32,
}

/// The part for `BPF_OBJ_PIN` and `BPF_OBJ_GET`.
#[repr(C)]
struct PinAttr {
    pathname: u64,
    bpf_fd: i32,
    file_flags: u32,
}

/// The part for `BPF_PROG_QUERY`, to the end that kernels have: some write their answer there, whatever
/// length they are told.
#[repr(C)]
#[derive(Default)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    /// The answer.
    prog_cnt: u32,
    zero: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// The part for `BPF_OBJ_GET_INFO_BY_FD`.
#[repr(C)]
struct InfoAttr {
    bpf_fd: i32,
    info_len: u32,
    info: u64,
}

/// The beginning of `struct bpf_link_info`; of the last three fields a link to a cgroup has the first two.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinkInfo {
    /// `BPF_LINK_TYPE_…`.
    pub(crate) kind: u32,
    /// The number of the link.
    pub(crate) id: u32,
    /// The number of its program.
    pub(crate) program: u32,
    padding: u32,
    /// The id of its cgroup; 0 when that is gone. Without meaning for another kind.
    pub(crate) cgroup: u64,
    /// `BPF_CGROUP_…`. Without meaning for another kind.
    pub(super) attach_type: u32,
    padding_too: u32,
}

/// The beginning of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProgramInfo {
    kind: u32,
    /// The number of the program.
    pub(crate) id: u32,
    /// The kernel's digest of its instructions, without the maps.
    pub(super) tag: [u8; 8],
}

/// One program, attached; it is detached when this is dropped, unless it is pinned.
#[derive(Debug)]
pub(crate) struct Link {
    /// The name of the program in the object.
    pub(crate) name: String,
    pub(crate) fd: OwnedFd,
    pub(crate) program: OwnedFd,
}

/// The attached programs; all are detached when this is dropped, unless they are pinned.
#[derive(Debug, Default)]
#[must_use = "the programs are detached when this is dropped"]
pub(crate) struct Links(pub(crate) Vec<Link>);

impl Links {
    /// Takes over the links of another set.
    pub(crate) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// Links a program to a cgroup, beside the programs of others.
    pub(super) fn add_to_cgroup(
        &mut self,
        name: &str,
        program: BorrowedFd<'_>,
        cgroup: impl AsFd,
        attach_type: bpf_attach_type,
    ) -> io::Result<()> {
        let attr = LinkAttr {
            prog_fd: program.as_raw_fd(),
            target_fd: cgroup.as_fd().as_raw_fd(),
            attach_type: attach_type as u32,
            flags: 0,
        };
        self.keep(name, program, open(bpf_cmd::BPF_LINK_CREATE, &attr)?)
    }

    /// Attaches a program that names its hook or function itself to the whole host.
    pub(super) fn add_to_host(&mut self, name: &str, program: BorrowedFd<'_>) -> io::Result<()> {
        let attr = HostAttr { name: 0, prog_fd: program.as_raw_fd(), zero: 0 };
        self.keep(name, program, open(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &attr)?)
    }

    fn keep(&mut self, name: &str, program: BorrowedFd<'_>, fd: OwnedFd) -> io::Result<()> {
        self.0.push(Link { name: name.to_owned(), fd, program: program.try_clone_to_owned()? });
        Ok(())
    }
}

/// How many programs are attached to a cgroup itself at one place, by whomever.
pub(crate) fn count(cgroup: &File, attach_type: bpf_attach_type) -> io::Result<u32> {
    let mut attr = QueryAttr {
        target_fd: u32::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?,
        attach_type: attach_type as u32,
        ..QueryAttr::default()
    };
    call(bpf_cmd::BPF_PROG_QUERY, (&raw mut attr).cast_const())?;
    Ok(attr.prog_cnt)
}

/// Gives a link or program a name on a bpffs, which keeps it.
pub(crate) fn pin(object: impl AsFd, path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let attr = PinAttr { pathname: name.as_ptr() as u64, bpf_fd: object.as_fd().as_raw_fd(), file_flags: 0 };
    call(bpf_cmd::BPF_OBJ_PIN, &raw const attr).map(drop)
}

/// Opens what has this name on a bpffs.
pub(crate) fn pinned(path: &Path) -> io::Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)?;
    open(bpf_cmd::BPF_OBJ_GET, &PinAttr { pathname: name.as_ptr() as u64, bpf_fd: 0, file_flags: 0 })
}

/// The kernel's facts on a link. On another object it says something else: see [`what`].
pub(super) fn link_info(link: impl AsFd) -> io::Result<LinkInfo> {
    expect(&link, "anon_inode:bpf_link")?;
    let mut info = LinkInfo::default();
    fill(link, &mut info)?;
    Ok(info)
}

/// The kernel's facts on a program.
pub(super) fn program_info(program: impl AsFd) -> io::Result<ProgramInfo> {
    expect(&program, "anon_inode:bpf-prog")?;
    let mut info = ProgramInfo::default();
    fill(program, &mut info)?;
    Ok(info)
}

/// The kernel fills in whatever the object is, so its kind is asked for first.
fn expect(object: &impl AsFd, kind: &str) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", object.as_fd().as_raw_fd());
    let target = std::fs::read_link(path)?;
    // `anon_inode:bpf_link` on some kernels and `anon_inode:[bpf_link]` on others.
    let found = target.to_string_lossy().replace(['[', ']'], "").replace('_', "-");
    if found == kind.replace('_', "-") {
        return Ok(());
    }
    Err(io::Error::other(format!("it is {}, not {kind}", target.display())))
}

fn fill<T>(object: impl AsFd, info: &mut T) -> io::Result<()> {
    let attr = InfoAttr {
        bpf_fd: object.as_fd().as_raw_fd(),
        info_len: u32::try_from(size_of::<T>()).map_err(io::Error::other)?,
        info: std::ptr::from_mut(info) as u64,
    };
    call(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &raw const attr).map(drop)
}

/// Calls `bpf(2)` with a command that answers with a new descriptor.
pub(crate) fn open<T>(command: bpf_cmd, attr: &T) -> io::Result<OwnedFd> {
    let fd = call(command, attr)?;
    // SAFETY: the commands that this is used for return a new descriptor that nobody else owns,
    // close-on-exec.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Into `attr` itself the kernel writes only with `BPF_PROG_QUERY`, for which it has to be from something
/// mutable.
fn call<T>(command: bpf_cmd, attr: *const T) -> io::Result<RawFd> {
    // SAFETY: `attr` is a live #[repr(C)] prefix of `union bpf_attr` without padding, its true size is
    // passed, and the pointers inside it point to data that outlives the call; what the kernel writes there
    // is as long as it is told.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_int, attr, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    RawFd::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))
}
