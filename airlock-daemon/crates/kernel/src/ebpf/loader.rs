//! Loading the embedded object and attaching the programs that pin servers.

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::LazyLock;

use airlock_ebpf::{DENIED, Hook, OFFSETS, PACKETS};
use aya::maps::{Map, MapError, PerCpuArray};
use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfError, EbpfLoader};
use aya_obj::generated::bpf_attach_type;

use super::btf::Offsets;
use super::links::Links;

/// The object of `cargo xtask build-ebpf`, if it was there when the daemon was built.
#[cfg(airlock_ebpf_object)]
pub(super) const OBJECT: Option<&[u8]> =
    Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/airlock.o")));
#[cfg(not(airlock_ebpf_object))]
pub(super) const OBJECT: Option<&[u8]> = None;

/// Why the programs are not in the kernel.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The daemon was built without them.
    #[error(
        "this daemon was built without the eBPF programs; run `cargo xtask build-ebpf` and build it again"
    )]
    Absent,
    /// The kernel took no maps, or the object is broken.
    #[error("cannot load the eBPF object: {}; {}", chain(.0), advice(errno_of(.0)))]
    Object(#[source] Box<EbpfError>),
    /// The object has no such program or map, so it belongs to another version.
    #[error("the embedded eBPF object has no `{0}`; run `cargo xtask build-ebpf` and build the daemon again")]
    Foreign(&'static str),
    /// The kernel refused a program.
    #[error(
        "cannot load or attach the eBPF program `{program}`: {}; {}",
        chain(source),
        advice(errno_of(source))
    )]
    Program {
        /// Its name.
        program: &'static str,
        /// The kernel's error.
        #[source]
        source: Box<ProgramError>,
    },
    /// The kernel does not show its types, which LSM programs are checked against.
    #[error("/sys/kernel/btf/vmlinux: {0}")]
    Types(String),
    /// A map does not answer.
    #[error("eBPF map `{map}`: {}; {}", chain(source), advice(errno_of(source)))]
    Map {
        /// Its name.
        map: &'static str,
        /// The kernel's error.
        #[source]
        source: Box<MapError>,
    },
}

impl LoadError {
    /// The number of the system error, if there is one.
    pub fn errno(&self) -> Option<i32> {
        errno_of(self)
    }
}

/// The first system error among an error and its sources.
pub(crate) fn errno_of(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut next = Some(error);
    while let Some(error) = next {
        // The library's error speaks for the system's that it holds, also when it is asked for its source.
        let program = error.downcast_ref::<ProgramError>();
        let own = match program.or_else(|| error.downcast_ref::<Box<ProgramError>>().map(AsRef::as_ref)) {
            Some(ProgramError::IOError(error)) => Some(error),
            _ => error.downcast_ref::<io::Error>(),
        };
        if let Some(errno) = own.and_then(io::Error::raw_os_error) {
            return Some(errno);
        }
        next = error.source();
    }
    None
}

/// The prefixes of the last lines of the verifier's log, which are figures and no reason.
const FIGURES: [&str; 3] = ["verification time ", "stack depth ", "processed "];

/// An error and its sources in one line; the verifier's log is cut to its last lines, which say what it
/// refused.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = error.source();
    }
    let is_said = |line: &&str| {
        !line.trim().is_empty() && !FIGURES.iter().any(|figure| line.trim_start().starts_with(figure))
    };
    let lines: Vec<&str> = text.lines().filter(is_said).collect();
    match lines.as_slice() {
        [first, .., a, b, c] if lines.len() > 5 => format!("{first} … {a} / {b} / {c}"),
        lines => lines.join(" / "),
    }
}

/// The remedy for a system error of `bpf(2)`.
pub(crate) fn advice(errno: Option<i32>) -> &'static str {
    match errno {
        Some(libc::EPERM | libc::EACCES) => {
            "run as root or with CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, and allow the bpf system call in a container"
        }
        Some(libc::ENOSYS) => "the kernel has no eBPF; use one of at least 5.15",
        Some(libc::ENOMEM) => {
            "raise the limit of locked memory (ulimit -l), or use a kernel of at least 5.11"
        }
        Some(libc::EBUSY) => "another program is attached there; detach it first",
        _ => "use a kernel of at least 5.15 with CONFIG_CGROUP_BPF",
    }
}

/// Where the running kernel has what the guard looks at; it cannot change while it runs.
static OFFSETS_HERE: LazyLock<Offsets> = LazyLock::new(|| {
    Offsets::of_this_kernel()
        .inspect_err(|error| tracing::debug!(%error, "the guard of cgroups cannot be loaded"))
        .unwrap_or_default()
});

/// True where the guard of cgroups knows where to look.
pub(crate) fn knows_offsets() -> bool {
    OFFSETS_HERE.are_known()
}

/// True where programs find the cgroup of a task.
pub(crate) fn knows_cgroups() -> bool {
    OFFSETS_HERE.lead_to_cgroups()
}

/// Loads the object: its maps exist afterwards, its programs are not yet in the kernel.
///
/// With `verbose` the programs write diagnostics; otherwise the verifier removes that code.
pub(crate) fn load_object(verbose: bool) -> Result<Ebpf, LoadError> {
    let object = OBJECT.ok_or(LoadError::Absent)?;
    let level: u8 = if verbose { aya_log::Level::Debug as u8 } else { 0 };
    let offsets = *OFFSETS_HERE;
    let mut loader = EbpfLoader::new();
    loader.override_global(aya_log::LEVEL, &level, true);
    for (name, offset) in OFFSETS.into_iter().zip(offsets.as_globals()) {
        loader.override_global(name, offset, true);
    }
    loader.load(object).map_err(|error| LoadError::Object(Box::new(error)))
}

/// Loads the programs that refuse IP and attaches them to the cgroup that is open as `cgroup`.
///
/// For a further cgroup the same programs are linked once more.
pub(crate) fn attach_ip(ebpf: &mut Ebpf, cgroup: &File) -> Result<Links, LoadError> {
    let mut links = Links::default();
    for hook in Hook::IP {
        let name = hook.name();
        let program = ebpf.program_mut(name).ok_or(LoadError::Foreign(name))?;
        match program {
            Program::CgroupSock(program) => loaded(program.load()).map_err(failed(name))?,
            Program::CgroupSockAddr(program) => loaded(program.load()).map_err(failed(name))?,
            _ => return Err(LoadError::Foreign(name)),
        }
        let attach_type = attach_type(hook).ok_or(LoadError::Foreign(name))?;
        attach(name, program, |fd| links.add_to_cgroup(name, fd, cgroup, attach_type))?;
    }
    let directions = [bpf_attach_type::BPF_CGROUP_INET_EGRESS, bpf_attach_type::BPF_CGROUP_INET_INGRESS];
    for (name, direction) in PACKETS.into_iter().zip(directions) {
        let program = ebpf.program_mut(name).ok_or(LoadError::Foreign(name))?;
        let Program::CgroupSkb(packets) = program else { return Err(LoadError::Foreign(name)) };
        loaded(packets.load()).map_err(failed(name))?;
        attach(name, program, |fd| links.add_to_cgroup(name, fd, cgroup, direction))?;
    }
    Ok(links)
}

/// Attaches a loaded program in the way that `add` does; the error names `what`.
pub(crate) fn attach(
    what: &'static str,
    program: &Program,
    add: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
) -> Result<(), LoadError> {
    let fd = program.fd().map_err(failed(what))?.as_fd();
    add(fd).map_err(|source| failed(what)(ProgramError::IOError(source)))
}

/// How the kernel calls the places where a cgroup refuses IP.
fn attach_type(hook: Hook) -> Option<bpf_attach_type> {
    Some(match hook {
        Hook::SockCreate => bpf_attach_type::BPF_CGROUP_INET_SOCK_CREATE,
        Hook::Bind4 => bpf_attach_type::BPF_CGROUP_INET4_BIND,
        Hook::Bind6 => bpf_attach_type::BPF_CGROUP_INET6_BIND,
        Hook::Connect4 => bpf_attach_type::BPF_CGROUP_INET4_CONNECT,
        Hook::Connect6 => bpf_attach_type::BPF_CGROUP_INET6_CONNECT,
        Hook::Sendmsg4 => bpf_attach_type::BPF_CGROUP_UDP4_SENDMSG,
        Hook::Sendmsg6 => bpf_attach_type::BPF_CGROUP_UDP6_SENDMSG,
        _ => return None,
    })
}

/// The error of a program of this name.
pub(crate) fn failed(program: &'static str) -> impl Fn(ProgramError) -> LoadError {
    move |source| LoadError::Program { program, source: Box::new(source) }
}

/// The error of a map of this name.
pub(crate) fn map_failed(map: &'static str) -> impl Fn(MapError) -> LoadError {
    move |source| LoadError::Map { map, source: Box::new(source) }
}

/// A program that is in the kernel already may be attached once more.
pub(crate) fn loaded(result: Result<(), ProgramError>) -> Result<(), ProgramError> {
    match result {
        Err(ProgramError::AlreadyLoaded) => Ok(()),
        result => result,
    }
}

/// How often each hook refused, summed over all CPUs.
pub(crate) fn denied(ebpf: &Ebpf) -> Result<[(Hook, u64); Hook::COUNT as usize], LoadError> {
    let map = ebpf.map(DENIED).ok_or(LoadError::Foreign(DENIED))?;
    let mut counts = Hook::ALL.map(|hook| (hook, 0));
    for (hook, count) in &mut counts {
        *count = per_cpu_sum(map, DENIED, *hook as u32)?;
    }
    Ok(counts)
}

/// One entry of a per-CPU array of counters, summed.
pub(crate) fn per_cpu_sum(map: &Map, name: &'static str, index: u32) -> Result<u64, LoadError> {
    let array: PerCpuArray<_, u64> = map.try_into().map_err(map_failed(name))?;
    Ok(array.get(&index, 0).map_err(map_failed(name))?.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_refusal_is_found_however_deep_it_is() {
        let refusal = || io::Error::from_raw_os_error(libc::EPERM);
        assert_eq!(errno_of(&refusal()), Some(libc::EPERM));
        assert_eq!(failed("task_kill")(ProgramError::IOError(refusal())).errno(), Some(libc::EPERM));
        assert_eq!(LoadError::Absent.errno(), None);
    }
}
