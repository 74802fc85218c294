//! The cgroup hooks of unix sockets (Linux 6.7): they refuse every connection and every addressed datagram.
//!
//! The loader library has no attach type for them. They are compiled as hooks of IPv4, which take the same
//! context, and the daemon loads their instructions itself.

use airlock_ebpf::{AF_UNIX, Hook};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

use super::refusal::record;

const DENY: i32 = 0;

#[cgroup_sock_addr(connect4)]
fn connect_unix(_: SockAddrContext) -> i32 {
    record(Hook::ConnectUnix, AF_UNIX);
    DENY
}

#[cgroup_sock_addr(sendmsg4)]
fn sendmsg_unix(_: SockAddrContext) -> i32 {
    record(Hook::SendmsgUnix, AF_UNIX);
    DENY
}
