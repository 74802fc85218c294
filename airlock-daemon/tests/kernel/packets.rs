//! The early drop, judged by the kernel itself, as an operator orders and lifts it.

use std::net::SocketAddr;
use std::time::Duration;

use airlock::config::schema::{Kernel, KernelMode};
use airlock::kernel::{KernelHalf, Reason, Verdict};

use crate::support;

#[test]
fn the_kernel_judges_packets_as_the_host_does() {
    let half = support::start_unsealed();
    let Some(early_drop) = half.early_drop() else {
        return support::skip(&format!("the early drop does not load here: {}", support::refusals(&half)));
    };
    early_drop.set_sockets(&ours(&[8080, 8443])).expect("sockets");
    let v4 = "203.0.113.7".parse().expect("an address");
    let v6 = "2001:db8:0:9::1".parse().expect("an address");
    early_drop.block(v4, Duration::from_mins(10), Reason::RateLimit).expect("a block");
    early_drop.block(v6, Duration::from_mins(10), Reason::FailedAuth).expect("a block");
    let listed = early_drop.list().expect("a list");
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!((listed[0].address, listed[0].reason), (v4, Reason::RateLimit));
    assert!(listed[0].remaining > Duration::from_secs(500), "{listed:?}");

    let judge = |frame: &[u8]| half.early_drop().expect("loaded").judge(frame).expect("a test run");
    for tags in 0..=2 {
        for port in [8080, 8443] {
            assert!(judge(&frame(tags, Ip::V4([203, 0, 113, 7]), port)), "IPv4, {tags} tags, {port}");
            assert!(judge(&frame(tags, Ip::V6(9), port)), "IPv6, {tags} tags, {port}");
        }
        assert!(!judge(&frame(tags, Ip::V4([203, 0, 113, 7]), 22)), "SSH stays open");
        assert!(!judge(&frame(tags, Ip::V4([203, 0, 113, 8]), 8080)), "another source");
        assert!(!judge(&frame(tags, Ip::V6(10), 8080)), "another /64");
    }
    assert!(!judge(&frame(3, Ip::V4([203, 0, 113, 7]), 8080)), "not understood, so passed");
    let whole = frame(1, Ip::V4([203, 0, 113, 7]), 8080);
    for cut in 14..whole.len() - 16 {
        assert!(!judge(&whole[..cut]), "cut after {cut} bytes");
    }
    let dropped = |half: &KernelHalf| {
        let counters = half.early_drop().expect("loaded").counters().expect("counters");
        counters.into_iter().find(|(verdict, _)| *verdict == Verdict::Dropped).expect("a counter").1
    };
    assert_eq!(dropped(&half), 12);

    early_drop.set_sockets(&ours(&[8443])).expect("sockets");
    assert!(!judge(&frame(0, Ip::V4([203, 0, 113, 7]), 8080)), "no longer ours");
    assert!(early_drop.unblock(v4).expect("an answer"));
    assert!(!early_drop.unblock(v4).expect("an answer"), "only once");
    assert!(!judge(&frame(0, Ip::V4([203, 0, 113, 7]), 8443)));
    early_drop.block(v4, Duration::ZERO, Reason::Operator).expect("a block");
    assert!(!judge(&frame(0, Ip::V4([203, 0, 113, 7]), 8443)), "its time is over");
    assert_eq!(early_drop.list().expect("a list").len(), 1);
    for protected in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "224.0.0.1", "fe80::1"] {
        let address = protected.parse().expect("an address");
        let error = early_drop.block(address, Duration::from_secs(1), Reason::Operator).expect_err(protected);
        assert!(error.to_string().contains("never dropped"), "{error}");
    }
}

#[test]
fn an_exempt_network_is_never_dropped() {
    let mut config = Kernel { mode: KernelMode::Preferred, ..Kernel::default() };
    config.xdp.allow = vec!["203.0.113.0/24".into(), "2001:db8:0:9::5/128".into()];
    let half = KernelHalf::start(&config).expect("preferred always starts");
    let Some(early_drop) = half.early_drop() else {
        return support::skip(&format!("the early drop does not load here: {}", support::refusals(&half)));
    };
    early_drop.set_sockets(&ours(&[8080])).expect("sockets");
    for address in ["203.0.113.7", "2001:db8:0:9::1", "198.51.100.1"] {
        let address = address.parse().expect("an address");
        early_drop.block(address, Duration::from_mins(10), Reason::Operator).expect("a block");
    }
    assert!(
        !half
            .early_drop()
            .expect("loaded")
            .judge(&frame(0, Ip::V4([203, 0, 113, 7]), 8080))
            .expect("a test run")
    );
    assert!(!half.early_drop().expect("loaded").judge(&frame(0, Ip::V6(9), 8080)).expect("a test run"));
    assert!(
        half.early_drop()
            .expect("loaded")
            .judge(&frame(0, Ip::V4([198, 51, 100, 1]), 8080))
            .expect("a test run")
    );
}

/// A source address of a test frame; IPv6 by the last group of its /64.
#[derive(Clone, Copy)]
enum Ip {
    V4([u8; 4]),
    V6(u8),
}

/// The sockets of the daemon, of both families, on these ports of the addresses that frames go to.
fn ours(ports: &[u16]) -> Vec<SocketAddr> {
    let both =
        |port: &u16| [SocketAddr::from(([192, 0, 2, 1], *port)), SocketAddr::from(([0xfd; 16], *port))];
    ports.iter().flat_map(both).collect()
}

/// An Ethernet frame with a TCP segment.
fn frame(tags: usize, source: Ip, port: u16) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for _ in 0..tags {
        frame.extend([0x81, 0x00, 0, 5]);
    }
    match source {
        Ip::V4(address) => {
            frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]);
            frame.extend(address);
            frame.extend([192, 0, 2, 1]);
        }
        Ip::V6(network) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
            frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, network, 9, 9, 9, 9, 9, 9, 9, 9]);
            frame.extend([0xfd; 16]);
        }
    }
    frame.extend([0x30, 0x39]);
    frame.extend(port.to_be_bytes());
    frame.extend([0; 16]);
    frame
}
