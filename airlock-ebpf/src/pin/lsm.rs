//! The hooks that seal a cage. Unlike those of sockets they ask who acts and not where a socket was born, so
//! that a socket that was inherited, handed over or taken is of no use either.
//!
//! Each decision stands once and makes two programs: `cage_…` for `lsm_cgroup` (1 allows, 0 refuses), and
//! `host_…` for the whole host (0 allows, an error number refuses), which lets everybody pass who is in no
//! cage.
//!
//! No layout of the kernel is taken on trust: arguments are typed by the kernel's own type information, and
//! the verifier refuses the program at load where [`SOCKET_SOCK`] is not a `struct sock`.
#![allow(unsafe_code)]

use core::ffi::c_void;
use core::hint::black_box;

use airlock_ebpf::{AF_UNIX, Cage, Hook, MAX_DOORS, is_of_a_new_network, may_use_family};
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_skc_to_unix_sock, bpf_sock_from_file};
use aya_ebpf::macros::{lsm, lsm_cgroup, map};
use aya_ebpf::maps::{CgroupArray, HashMap};
use aya_ebpf::programs::LsmContext;

use super::layout::{UNIX_PEER, known, read};
use super::refusal::record;

#[map]
static CAGES: CgroupArray = CgroupArray::with_max_entries(Cage::COUNT, 0);
#[map]
static DOORS: HashMap<u64, u8> = HashMap::with_max_entries(MAX_DOORS, 0);

/// `struct socket::sk`: behind a state, a type, flags and a file on every 64-bit kernel that has LSM
/// programs.
const SOCKET_SOCK: usize = 24;
/// `struct sock_common::skc_family`, for what is told and not for what is decided.
const SOCK_FAMILY: usize = 16;

/// A refusal: the family to tell, 0 where there is none.
type Refusal = Option<u32>;

/// True where the current process is in this cage, however deep; nobody is in one that is not there.
#[inline(always)]
pub(super) fn is_in(cage: Cage) -> bool {
    matches!(CAGES.current_task_under_cgroup(cage as u32), Ok(true))
}

/// True where it is in any.
#[inline(always)]
pub(super) fn is_caged() -> bool {
    is_in(Cage::Servers) || is_in(Cage::Slice)
}

/// Reads a pointer or number that lies at an offset of a typed pointer.
///
/// # Safety
/// `base` has to come from the kernel as a typed pointer: then the verifier proves the access, or it reads
/// zero.
#[inline(always)]
unsafe fn field<T>(base: *const c_void, offset: usize) -> T {
    // SAFETY: as above; volatile, so that it stays one load of this size.
    unsafe { base.cast::<u8>().add(offset).cast::<T>().read_volatile() }
}

/// The family of a socket: `AF_UNIX` only where the kernel itself takes it for a unix socket.
#[inline(always)]
fn family_of(socket: *const c_void) -> u32 {
    // SAFETY: the argument of a hook, typed by the kernel.
    let sock: *mut c_void = unsafe { field(socket, SOCKET_SOCK) };
    if sock.is_null() {
        return u32::MAX;
    }
    // SAFETY: a typed and tested pointer; the verifier refuses the program if it is no sock.
    if !unsafe { bpf_skc_to_unix_sock(sock) }.is_null() {
        return AF_UNIX;
    }
    // SAFETY: as above.
    let family: u16 = unsafe { field(sock, SOCK_FAMILY) };
    // A socket that calls itself unix and is none is refused with a family that does not exist.
    if family as u32 == AF_UNIX { u32::MAX } else { family as u32 }
}

#[inline(always)]
fn by_family(family: u32) -> Refusal {
    if may_use_family(family) { None } else { Some(family) }
}

#[inline(always)]
fn socket_create(ctx: &LsmContext) -> Refusal {
    let family = ctx.arg::<i32>(0) as u32;
    let is_kernels = ctx.arg::<i32>(3) != 0;
    if is_kernels && is_of_a_new_network(family, ctx.arg::<i32>(1) as u32) && is_in(Cage::Slice) {
        return None;
    }
    by_family(family)
}

#[inline(always)]
fn socket_connect(ctx: &LsmContext) -> Refusal {
    // SAFETY: the argument of a hook, typed by the kernel; the family is the first field of every address.
    by_family(unsafe { field::<u16>(ctx.arg(1), 0) } as u32)
}

/// Nobody is to be reached in a cage: an accomplice outside would only have to wait at the address.
#[inline(always)]
fn socket_bind(ctx: &LsmContext) -> Refusal {
    // SAFETY: as for connecting.
    Some(unsafe { field::<u16>(ctx.arg(1), 0) } as u32)
}

/// Also what TCP fast open connects by, past `socket_connect`.
#[inline(always)]
fn socket_sendmsg(ctx: &LsmContext) -> Refusal {
    by_family(family_of(ctx.arg(0)))
}

#[inline(always)]
fn unix_stream_connect(ctx: &LsmContext) -> Refusal {
    // SAFETY: the argument of the hook, a sock that listens; the helper only reads.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.arg(1)) };
    if is_in(Cage::Slice) && is_door(cookie) { None } else { Some(AF_UNIX) }
}

#[inline(always)]
fn is_door(cookie: u64) -> bool {
    DOORS.get_ptr(cookie).is_some()
}

/// Datagrams reach doors too. Between the ends of a pair they are no way out, and the manager of a slice's
/// units speaks to itself through such pairs while it sets a unit up; servers, whose pairs might be somebody
/// else's, have none.
#[inline(always)]
fn unix_may_send(ctx: &LsmContext) -> Refusal {
    if !is_in(Cage::Slice) {
        return Some(AF_UNIX);
    }
    // SAFETY: the argument of the hook, typed by the kernel; the verifier refuses the program if what it
    // reads there is no sock.
    let receiver: *mut c_void = unsafe { field(ctx.arg(1), SOCKET_SOCK) };
    if receiver.is_null() {
        return Some(AF_UNIX);
    }
    // SAFETY: a typed and tested pointer; the helper only reads.
    let cookie = unsafe { bpf_get_socket_cookie(receiver) };
    if is_door(cookie) || is_pair(ctx.arg(0), receiver) { None } else { Some(AF_UNIX) }
}

/// True where each of the two is the other's end. Within a cage only `socketpair(2)` joins datagram sockets
/// without asking this hook, which is asked at `connect(2)` too.
#[inline(always)]
fn is_pair(sender: *const c_void, receiver: *const c_void) -> bool {
    // SAFETY: the argument of the hook, typed by the kernel.
    let sender: *const c_void = unsafe { field(sender, SOCKET_SOCK) };
    let Ok(peer) = known(&UNIX_PEER) else { return false };
    let is_end =
        |one, other: *const c_void| matches!(read::<*const c_void>(one, peer), Ok(end) if end == other);
    !sender.is_null() && is_end(sender, receiver) && is_end(receiver, sender)
}

/// Handed over by `SCM_RIGHTS`, or taken by `pidfd_getfd`.
#[inline(always)]
fn file_receive(ctx: &LsmContext) -> Refusal {
    // SAFETY: the argument of the hook, a file; the helper only reads.
    let socket = unsafe { bpf_sock_from_file(ctx.arg(0)) };
    if socket.is_null() { None } else { Some(0) }
}

#[inline(always)]
fn always(_: &LsmContext) -> Refusal {
    Some(0)
}

macro_rules! seal {
    ($($hook:literal: $variant:ident by $judge:ident, $cage:ident, $host:ident;)*) => {$(
        #[lsm_cgroup(hook = $hook)]
        fn $cage(ctx: LsmContext) -> i32 {
            if let Some(family) = $judge(&ctx) {
                record(Hook::$variant, family);
                return 0;
            }
            // Opaque: where the compiler knows a register to be 1 it returns that, of which the verifier may
            // know less.
            black_box(1)
        }

        #[lsm(hook = $hook)]
        fn $host(ctx: LsmContext) -> i32 {
            if !is_caged() {
                return 0;
            }
            if let Some(family) = $judge(&ctx) {
                record(Hook::$variant, family);
                return -1;
            }
            0
        }
    )*};
}

seal! {
    "socket_create": SocketCreate by socket_create, cage_socket_create, host_socket_create;
    "socket_connect": SocketConnect by socket_connect, cage_socket_connect, host_socket_connect;
    "socket_bind": SocketBind by socket_bind, cage_socket_bind, host_socket_bind;
    "socket_sendmsg": SocketSendmsg by socket_sendmsg, cage_socket_sendmsg, host_socket_sendmsg;
    "unix_stream_connect": UnixStreamConnect by unix_stream_connect, cage_unix_stream_connect, host_unix_stream_connect;
    "unix_may_send": UnixMaySend by unix_may_send, cage_unix_may_send, host_unix_may_send;
    "file_receive": FileReceive by file_receive, cage_file_receive, host_file_receive;
    "ptrace_access_check": PtraceAccessCheck by always, cage_ptrace_access_check, host_ptrace_access_check;
    "userns_create": UsernsCreate by always, cage_userns_create, host_userns_create;
    "bpf": Bpf by always, cage_bpf, host_bpf;
}
