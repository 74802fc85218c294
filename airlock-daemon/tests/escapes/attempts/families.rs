//! A socket of each family and type that Linux knows, other than unix.

use std::io;

use crate::attempt::{Attempt, attempt};
use crate::raw::{Arg, call, call32, socketcall32, uring_socket};

/// The families that other tests of this file go through.
const NETLINK_GENERIC: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const IPPROTO_SCTP: i32 = 132;
const IPPROTO_L2TP: i32 = 115;
const IPPROTO_SMC: i32 = 256;
const AF_MCTP: i32 = 45;
const AF_SMC: i32 = 43;
const AF_QIPCRTR: i32 = 42;
const AF_KCM: i32 = 41;
const KEY_V2: i32 = 2;
const HCI: i32 = 1;

/// Name, what it is, family, type, protocol.
const SOCKETS: [(&str, &str, i32, i32, i32); 45] = [
    ("inet-stream", "TCP over IPv4", libc::AF_INET, libc::SOCK_STREAM, 0),
    ("inet-dgram", "UDP over IPv4", libc::AF_INET, libc::SOCK_DGRAM, 0),
    ("inet-raw", "raw IPv4", libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
    ("inet-ping", "ICMP echo over IPv4", libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
    ("inet-seqpacket", "SCTP over IPv4", libc::AF_INET, libc::SOCK_SEQPACKET, IPPROTO_SCTP),
    ("inet-mptcp", "multipath TCP over IPv4", libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
    ("inet-udplite", "UDP-Lite over IPv4", libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDPLITE),
    ("inet-l2tp", "L2TP over IPv4", libc::AF_INET, libc::SOCK_DGRAM, IPPROTO_L2TP),
    ("inet-smc", "SMC by the protocol of IPv4", libc::AF_INET, libc::SOCK_STREAM, IPPROTO_SMC),
    ("inet6-stream", "TCP over IPv6", libc::AF_INET6, libc::SOCK_STREAM, 0),
    ("inet6-dgram", "UDP over IPv6", libc::AF_INET6, libc::SOCK_DGRAM, 0),
    ("inet6-raw", "raw IPv6", libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6),
    ("inet6-seqpacket", "SCTP over IPv6", libc::AF_INET6, libc::SOCK_SEQPACKET, IPPROTO_SCTP),
    ("inet6-mptcp", "multipath TCP over IPv6", libc::AF_INET6, libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
    (
        "netlink-route",
        "netlink: routes and interfaces",
        libc::AF_NETLINK,
        libc::SOCK_RAW,
        libc::NETLINK_ROUTE,
    ),
    ("netlink-dgram", "netlink: as datagrams", libc::AF_NETLINK, libc::SOCK_DGRAM, libc::NETLINK_ROUTE),
    ("netlink-generic", "netlink: generic", libc::AF_NETLINK, libc::SOCK_RAW, NETLINK_GENERIC),
    ("netlink-audit", "netlink: the kernel's audit", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT),
    ("netlink-diag", "netlink: everybody's sockets", libc::AF_NETLINK, libc::SOCK_RAW, NETLINK_SOCK_DIAG),
    ("netlink-netfilter", "netlink: firewall", libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER),
    (
        "netlink-uevent",
        "netlink: device events",
        libc::AF_NETLINK,
        libc::SOCK_RAW,
        libc::NETLINK_KOBJECT_UEVENT,
    ),
    ("packet-raw", "packets, with their headers", libc::AF_PACKET, libc::SOCK_RAW, 0),
    ("packet-dgram", "packets, without", libc::AF_PACKET, libc::SOCK_DGRAM, 0),
    ("vsock-stream", "virtual machine sockets", libc::AF_VSOCK, libc::SOCK_STREAM, 0),
    ("vsock-dgram", "virtual machine datagrams", libc::AF_VSOCK, libc::SOCK_DGRAM, 0),
    ("vsock-seqpacket", "virtual machine packets", libc::AF_VSOCK, libc::SOCK_SEQPACKET, 0),
    ("alg", "the kernel's cryptography", libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
    ("xdp", "packets past the stack", libc::AF_XDP, libc::SOCK_RAW, 0),
    ("bluetooth", "bluetooth", libc::AF_BLUETOOTH, libc::SOCK_RAW, HCI),
    ("can", "CAN bus", libc::AF_CAN, libc::SOCK_RAW, 1),
    ("tipc-stream", "TIPC streams", libc::AF_TIPC, libc::SOCK_STREAM, 0),
    ("tipc-rdm", "TIPC messages", libc::AF_TIPC, libc::SOCK_RDM, 0),
    ("qipcrtr", "Qualcomm's router", AF_QIPCRTR, libc::SOCK_DGRAM, 0),
    ("rds", "reliable datagrams", libc::AF_RDS, libc::SOCK_SEQPACKET, 0),
    ("smc", "shared memory communications", AF_SMC, libc::SOCK_STREAM, 0),
    ("kcm", "kernel connection multiplexer", AF_KCM, libc::SOCK_DGRAM, 0),
    ("pfkey", "IPsec keys", libc::AF_KEY, libc::SOCK_RAW, KEY_V2),
    ("pppox", "PPP over anything", libc::AF_PPPOX, libc::SOCK_STREAM, 0),
    ("llc", "IEEE 802.2", libc::AF_LLC, libc::SOCK_STREAM, 0),
    ("ieee802154", "IEEE 802.15.4", libc::AF_IEEE802154, libc::SOCK_RAW, 0),
    ("phonet", "Nokia's modems", libc::AF_PHONET, libc::SOCK_DGRAM, 0),
    ("nfc", "near field", libc::AF_NFC, libc::SOCK_SEQPACKET, 1),
    ("rxrpc", "RxRPC", libc::AF_RXRPC, libc::SOCK_DGRAM, libc::AF_INET),
    ("mctp", "management components", AF_MCTP, libc::SOCK_DGRAM, 0),
    ("appletalk", "AppleTalk", libc::AF_APPLETALK, libc::SOCK_DGRAM, 0),
];

/// The errors that refuse a socket, besides the usual: a filter may say that the family does not exist.
const ALSO: &[i32] = &[libc::EAFNOSUPPORT];

pub(super) fn attempts() -> Vec<Attempt> {
    let mut attempts: Vec<Attempt> = SOCKETS
        .into_iter()
        .map(|(name, what, family, kind, protocol)| {
            attempt(name, format!("`socket`: {what}"), move |_| socket(family, kind, protocol)).also(ALSO)
        })
        .collect();
    attempts.extend([
        attempt("any-family", "`socket`: any of 64 families with any of six types", |_| any_family())
            .also(ALSO),
        attempt("tipc-socketpair", "`socketpair` of TIPC", |_| {
            let mut pair = [0; 8];
            let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
            call(libc::SYS_socketpair, [libc::AF_TIPC.into(), kind.into(), 0.into(), (&mut pair[..]).into()])
                .map(drop)
        })
        .also(ALSO),
        attempt("uring-socket", "io_uring: a TCP socket", |_| {
            uring_socket(libc::AF_INET, libc::SOCK_STREAM).map(drop)
        }),
        attempt("uring-socket-netlink", "io_uring: a netlink socket", |_| {
            uring_socket(libc::AF_NETLINK, libc::SOCK_RAW).map(drop)
        }),
        attempt("int80-socket", "`socket` as a 32-bit program", |_| {
            const SYS_SOCKET: i32 = 359;
            call32(SYS_SOCKET, [libc::AF_INET, libc::SOCK_STREAM, 0]).map(drop)
        })
        .also(&[libc::ENOSYS, libc::EAFNOSUPPORT]),
        attempt("int80-socket-netlink", "`socket` of netlink as a 32-bit program", |_| {
            const SYS_SOCKET: i32 = 359;
            call32(SYS_SOCKET, [libc::AF_NETLINK, libc::SOCK_RAW, 0]).map(drop)
        })
        .also(&[libc::ENOSYS, libc::EAFNOSUPPORT]),
        attempt("int80-socketcall", "`socketcall` as a 32-bit program", |_| {
            const SYS_SOCKET: i32 = 1;
            socketcall32(SYS_SOCKET, [libc::AF_INET, libc::SOCK_STREAM, 0]).map(drop)
        })
        .also(&[libc::ENOSYS, libc::EAFNOSUPPORT]),
        attempt("x32-socket", "`socket` by the numbers of x32", |_| {
            const X32: i64 = 0x4000_0000;
            call(X32 | libc::SYS_socket, [libc::AF_INET.into(), libc::SOCK_STREAM.into(), 0.into()]).map(drop)
        })
        .also(&[libc::ENOSYS]),
    ]);
    attempts
}

/// `socket(2)`; what it gives is closed.
pub(super) fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<()> {
    let flags = kind | libc::SOCK_CLOEXEC;
    let fd = call::<3>(libc::SYS_socket, [family.into(), flags.into(), protocol.into()])?;
    call::<1>(libc::SYS_close, [Arg::Number(fd)]).map(drop)
}

/// Succeeds when any family but unix gives a socket; the first refusal, when one was refused and none
/// succeeded.
fn any_family() -> io::Result<()> {
    let mut refused = None;
    for family in (0..64).filter(|family| *family != libc::AF_UNIX) {
        for kind in 1..=6 {
            match socket(family, kind, 0) {
                Ok(()) => return Ok(()),
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => refused = Some(error),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
    }
    refused.map_or(Ok(()), Err)
}
