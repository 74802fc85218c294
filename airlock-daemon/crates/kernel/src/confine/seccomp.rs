//! The filter of system calls that a server gets before its program is executed; see seccomp(2).
//!
//! Three filters stand one above the other, and the strictest answer counts: foreign ways into the kernel
//! (`ENOSYS`), `clone3` (`ENOSYS`, so that a C library takes `clone`, whose flags a filter can see), and the
//! table of [`super::syscalls`] (`EPERM`).
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::io;
use std::sync::LazyLock;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

use super::syscalls::{BUILDING, FAMILIES, FAMILIES_BUT_IP, Group, NOBODY, SERVERS, When};

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

/// The name of its layer.
pub(crate) const NAME: &str = "seccomp";

/// The filters of a server, made once: between fork and exec nothing is allocated.
#[derive(Debug)]
pub(crate) struct Filters(Vec<BpfProgram>);

/// The rule for sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sockets {
    /// Unix sockets only.
    Unix,
    /// The same, but IP is left to the programs of the cage, which refuse it and tell of it.
    Caged,
    /// The server is given the host's network, and with it every family.
    All,
}

/// The filters of a server.
///
/// # Errors
/// None that can happen with the tables as they are, which a test proves.
pub(crate) fn filters(sockets: Sockets) -> Result<&'static Filters, String> {
    static UNIX: LazyLock<Result<Filters, String>> = LazyLock::new(|| build(Some(&FAMILIES)));
    static CAGED: LazyLock<Result<Filters, String>> = LazyLock::new(|| build(Some(&FAMILIES_BUT_IP)));
    static ALL: LazyLock<Result<Filters, String>> = LazyLock::new(|| build(None));
    let built = match sockets {
        Sockets::Unix => &*UNIX,
        Sockets::Caged => &*CAGED,
        Sockets::All => &*ALL,
    };
    built.as_ref().map_err(Clone::clone)
}

/// The refusals of the filters, for the doctor.
pub(crate) fn refused() -> String {
    let groups = std::iter::once(&FAMILIES).chain(SERVERS).chain(BUILDING).chain(NOBODY);
    groups.map(|group| group.why).collect::<Vec<_>>().join("; ")
}

fn build(families: Option<&Group>) -> Result<Filters, String> {
    let table = rules(families.into_iter().chain(SERVERS).chain(BUILDING).chain(NOBODY))?;
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    Ok(Filters(vec![native_only(), compile(clone3, libc::ENOSYS)?, compile(table, libc::EPERM)?]))
}

/// Puts every thread of the process, and every thread and process started from now on, under the daemon's own
/// filter, for good: foreign ways into the kernel fail with `ENOSYS`, the calls of [`NOBODY`] with `EPERM`.
/// The process gives up new privileges, without which one that is not root gets no filter.
///
/// # Errors
/// When the kernel takes no filter, or a thread has one that this one has not.
pub fn confine_daemon() -> io::Result<()> {
    daemon_filters().map_err(io::Error::other)?.put_on(libc::SECCOMP_FILTER_FLAG_TSYNC)
}

/// Puts the calling thread, and those that it starts, under the filter of the process that starts servers: it
/// builds cages, and is refused all else that a server in one is. Its servers inherit that, so sockets are
/// not refused here.
pub(crate) fn confine_spawner() -> io::Result<()> {
    let table = rules(SERVERS.iter().chain(NOBODY)).and_then(|table| compile(table, libc::EPERM));
    Filters(vec![native_only(), table.map_err(io::Error::other)?]).put_on(0)
}

fn daemon_filters() -> Result<Filters, String> {
    Ok(Filters(vec![native_only(), compile(rules(NOBODY)?, libc::EPERM)?]))
}

/// The rows of groups, by the number of the system call.
fn rules<'a>(groups: impl IntoIterator<Item = &'a Group>) -> Result<BTreeMap<i64, Vec<SeccompRule>>, String> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in groups.into_iter().flat_map(|group| group.calls) {
        let rows: Result<Vec<_>, _> = call.when.iter().map(|row| rule(row)).collect();
        let known = rules.insert(call.number, rows.map_err(|error| error.to_string())?);
        if known.is_some() {
            return Err(format!("system call {} stands in two groups", call.number));
        }
    }
    Ok(rules)
}

fn rule(row: &[When]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions: Result<Vec<_>, _> = row
        .iter()
        .map(|when| {
            let (argument, is, value) = match *when {
                When::IsNot(argument, value) => (argument, SeccompCmpOp::Ne, value),
                When::Has(argument, mask, value) => (argument, SeccompCmpOp::MaskedEq(mask.into()), value),
            };
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is, value.into())
        })
        .collect();
    SeccompRule::new(conditions?)
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, errno: i32) -> Result<BpfProgram, String> {
    let refuse = SeccompAction::Errno(errno.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, refuse, ARCH)
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())
}

/// Numbers from here on are those of x32, another set of system calls that x86-64 kernels may have, under the
/// same architecture.
const X32: u32 = 0x4000_0000;

/// Refuses what is not of this architecture's own set of system calls: the filters below would take its
/// numbers for others.
///
/// A call by another architecture's gate ends the process, by the filters below; one by x32 is a number that
/// does not exist.
fn native_only() -> BpfProgram {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    vec![
        // The number is the first word of what a filter is shown.
        sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: 0 },
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: X32 },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: ERRNO | libc::ENOSYS.cast_unsigned() },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: ALLOW },
    ]
}

/// The argument of seccomp(2).
#[repr(C)]
struct Program {
    length: libc::c_ushort,
    instructions: *const sock_filter,
}

impl Filters {
    /// Puts the calling thread under the filters, for good. It has to have given up new privileges. Makes
    /// system calls only.
    pub(crate) fn install(&self) -> io::Result<()> {
        self.with_flags(0)
    }

    /// Makes the calling thread, and with `SECCOMP_FILTER_FLAG_TSYNC` all others, give up new privileges and
    /// take the filters.
    fn put_on(&self, flags: libc::c_ulong) -> io::Result<()> {
        rustix::thread::set_no_new_privs(true)?;
        self.with_flags(flags)
    }

    fn with_flags(&self, flags: libc::c_ulong) -> io::Result<()> {
        for filter in &self.0 {
            let Ok(length) = libc::c_ushort::try_from(filter.len()) else {
                return Err(io::Error::from_raw_os_error(libc::E2BIG));
            };
            let program = Program { length, instructions: filter.as_ptr() };
            // SAFETY: the program and its instructions live for the call, which copies them; its length is
            // its own.
            let result = unsafe {
                libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
            };
            match result {
                0 => {}
                // The number of a thread that has another filter, which stays as it is.
                thread if thread > 0 => return Err(io::Error::from_raw_os_error(libc::ESRCH)),
                _ => return Err(io::Error::last_os_error()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_make_filters() {
        for sockets in [Sockets::Unix, Sockets::Caged, Sockets::All] {
            let filters = filters(sockets).expect("filters");
            assert_eq!(filters.0.len(), 3);
            // A kernel takes 4,096 instructions for each.
            assert!(filters.0.iter().all(|filter| filter.len() < 1_000), "{:?}", filters.0[2].len());
        }
        assert!(refused().contains("io_uring"));
    }

    #[test]
    fn the_daemon_keeps_its_own_calls_and_loses_the_rest() {
        // The filter is of the thread that takes it, and of nothing else in this process.
        let confined = std::thread::spawn(|| {
            // SAFETY: calls by number with arguments that name nothing: they make and change nothing.
            let errno = |number| match unsafe { libc::syscall(number, -1_i64, 0_i64, 0_i64, 0_i64, 0_i64) } {
                -1 => io::Error::last_os_error().raw_os_error(),
                _ => None,
            };
            let refused = [libc::SYS_ptrace, libc::SYS_keyctl, libc::SYS_kexec_load, libc::SYS_pidfd_getfd];
            let before = refused.map(errno);
            daemon_filters().expect("filters").put_on(0).expect("this thread takes them");
            let kept = [libc::SYS_bpf, libc::SYS_io_uring_enter, libc::SYS_setns].map(errno);
            (before, refused.map(errno), kept)
        });
        let (before, after, kept) = confined.join().expect("a thread");
        assert!(
            before.contains(&Some(libc::EBADF)),
            "one at least is refused by the filter alone: {before:?}"
        );
        assert_eq!(after, [Some(libc::EPERM); 4]);
        assert!(!kept.contains(&Some(libc::EPERM)), "{kept:?}");
    }
}
