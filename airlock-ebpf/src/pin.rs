//! The programs that pin a server: attached to the cgroup above all servers, they refuse every IP socket and every use of one.
//!
//! `sock_create` alone already refuses them; the others catch a socket that was born in the cgroup before the program came.
//! A refusal is the number 0, which the kernel turns into `EPERM` for the caller.
//!
//! Each refusal counts. The line for the log is written only where the loader set the log level to `debug`: the level is
//! read-only data, so that the verifier removes the whole branch otherwise.
#![allow(unsafe_code)]

use airlock_ebpf::Hook;
use aya_ebpf::EbpfContext as _;
use aya_ebpf::macros::{cgroup_sock, cgroup_sock_addr, map};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::{SockAddrContext, SockContext};
use aya_log_ebpf::debug;

#[map]
static DENIED: PerCpuArray<u64> = PerCpuArray::with_max_entries(Hook::COUNT, 0);

const AF_UNIX: u32 = 1;
const DENY: i32 = 0;
const ALLOW: i32 = 1;

fn count(hook: Hook) {
    if let Some(counter) = DENIED.get_ptr_mut(hook as u32) {
        // SAFETY: the map gave a valid pointer to this CPU's own counter, and a program is not interrupted by itself.
        unsafe { *counter += 1 };
    }
}

#[cgroup_sock(sock_create)]
fn sock_create(ctx: SockContext) -> i32 {
    // SAFETY: the kernel passes a valid `bpf_sock`; the verifier checks the access.
    let family = unsafe { (*ctx.sock).family };
    if family == AF_UNIX {
        return ALLOW;
    }
    count(Hook::SockCreate);
    debug!(&ctx, "sock_create: family {} refused to process {}", family, ctx.tgid());
    DENY
}

macro_rules! refuse {
    ($($program:ident => $hook:ident),*) => {$(
        #[cgroup_sock_addr($program)]
        fn $program(ctx: SockAddrContext) -> i32 {
            count(Hook::$hook);
            debug!(&ctx, "{} refused to process {}", stringify!($program), ctx.tgid());
            DENY
        }
    )*};
}

refuse! {
    connect4 => Connect4,
    connect6 => Connect6,
    sendmsg4 => Sendmsg4,
    sendmsg6 => Sendmsg6,
    bind4 => Bind4,
    bind6 => Bind6
}
