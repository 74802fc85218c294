//! The cgroup hooks of IP sockets: they refuse every one, and every use of one.
//!
//! `sock_create` alone already refuses them; the others catch a socket that was born in the cgroup before the
//! program came, and the packet hooks are the belt: a connect that none of the others saw would hang there
//! and reach nobody. A refusal is the number 0, which the kernel turns into `EPERM` for the caller.
#![allow(unsafe_code)]

use airlock_ebpf::{Hook, may_use_family};
use aya_ebpf::EbpfContext as _;
use aya_ebpf::macros::{cgroup_skb, cgroup_sock, cgroup_sock_addr};
use aya_ebpf::programs::{SkBuffContext, SockAddrContext, SockContext};
use aya_log_ebpf::debug;

use super::refusal::record;

const DENY: i32 = 0;
const ALLOW: i32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

#[cgroup_sock(sock_create)]
fn sock_create(ctx: SockContext) -> i32 {
    // SAFETY: the kernel passes a valid `bpf_sock`; the verifier checks the access.
    let family = unsafe { (*ctx.sock).family };
    if may_use_family(family) {
        return ALLOW;
    }
    record(Hook::SockCreate, family);
    debug!(&ctx, "sock_create: family {} refused to process {}", family, ctx.tgid());
    DENY
}

macro_rules! refuse {
    ($($program:ident => $hook:ident, $family:ident;)*) => {$(
        #[cgroup_sock_addr($program)]
        fn $program(ctx: SockAddrContext) -> i32 {
            record(Hook::$hook, $family);
            debug!(&ctx, "{} refused to process {}", stringify!($program), ctx.tgid());
            DENY
        }
    )*};
}

refuse! {
    connect4 => Connect4, AF_INET;
    connect6 => Connect6, AF_INET6;
    sendmsg4 => Sendmsg4, AF_INET;
    sendmsg6 => Sendmsg6, AF_INET6;
    bind4 => Bind4, AF_INET;
    bind6 => Bind6, AF_INET6;
}

// Packets are seen in whatever process the kernel happens to run, so these count nothing: they would name the
// wrong one.
#[cgroup_skb(egress)]
fn packets_out(_: SkBuffContext) -> i32 {
    DENY
}

#[cgroup_skb(ingress)]
fn packets_in(_: SkBuffContext) -> i32 {
    DENY
}
