//! The cost of the early drop for a packet: its program beside one that only drops, in the same run
//! (`BPF_PROG_TEST_RUN`, the kernel's own clock). It prints ratios and fails on nothing: figures of a busy
//! host are no verdict.
//!
//! As root on Linux: `cargo bench -p airlock-daemon --bench drop`.
#![allow(missing_docs, unsafe_code)]

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use airlock::config::schema::{Kernel, KernelMode};
use airlock::kernel::{KernelHalf, Reason};

/// Runs of the program in one measurement.
const REPEAT: u32 = 2_000_000;
/// Measurements, of which the fastest counts: what is slower was disturbed.
const ROUNDS: usize = 7;

/// A program that only drops; it never touches an interface.
struct Bare(OwnedFd);

/// The parts of `union bpf_attr` that `BPF_PROG_LOAD` reads; the rest is zero.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: *const u64,
    licence: *const libc::c_char,
    rest: [u64; 13],
}

/// The parts that `BPF_PROG_TEST_RUN` reads and writes.
#[repr(C)]
struct Run {
    program: u32,
    verdict: u32,
    size_in: u32,
    size_out: u32,
    data_in: *const u8,
    data_out: *mut u8,
    repeat: u32,
    nanos: u32,
    rest: [u64; 4],
}

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_PROG_TYPE_XDP: u32 = 6;

impl Bare {
    fn load() -> io::Result<Self> {
        // r0 = XDP_DROP; exit.
        let instructions = [0x0000_0001_0000_00b7_u64, 0x95];
        let load = Load {
            kind: BPF_PROG_TYPE_XDP,
            count: 2,
            instructions: instructions.as_ptr(),
            licence: c"GPL".as_ptr(),
            rest: [0; 13],
        };
        // SAFETY: the kernel reads the attribute and what it points to, all of which live until it returns.
        let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const load, size_of::<Load>()) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    fn cost(&self, frame: &[u8], repeat: u32) -> io::Result<Duration> {
        let mut run = Run {
            program: self.0.as_raw_fd().cast_unsigned(),
            verdict: 0,
            size_in: u32::try_from(frame.len()).map_err(io::Error::other)?,
            size_out: 0,
            data_in: frame.as_ptr(),
            data_out: std::ptr::null_mut(),
            repeat,
            nanos: 0,
            rest: [0; 4],
        };
        // SAFETY: the kernel reads the frame and the attribute, and writes to the attribute alone; both live
        // until it returns.
        let done = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_TEST_RUN, &raw mut run, size_of::<Run>()) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        assert_eq!(run.verdict, 1, "it drops");
        Ok(Duration::from_nanos(run.nanos.into()))
    }
}

/// An IPv4 frame of a TCP packet to port 8080.
fn frame(from: [u8; 4], tags: usize) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for _ in 0..tags {
        bytes.extend([0x81, 0, 0, 7]);
    }
    bytes.extend([0x08, 0, 0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0]);
    bytes.extend(from);
    bytes.extend([192, 0, 2, 1, 0x30, 0x39]);
    bytes.extend(8080_u16.to_be_bytes());
    bytes.extend([0; 16]);
    bytes
}

/// The same over IPv6.
fn frame_v6(network: u8) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd];
    bytes.extend([0x60, 0, 0, 0, 0, 20, 6, 64, 0x20, 1, 0xd, 0xb8, 0, 0, 0, network]);
    bytes.extend([1; 8]);
    bytes.extend([0xfd; 16]);
    bytes.extend([0x30, 0x39]);
    bytes.extend(8080_u16.to_be_bytes());
    bytes.extend([0; 16]);
    bytes
}

fn main() {
    let config = Kernel { mode: KernelMode::Preferred, ..Kernel::default() };
    let half = KernelHalf::start(&config).expect("preferred always starts");
    let Some(early_drop) = half.early_drop() else {
        println!("SKIPPED: the early drop does not load here: {}", half.report());
        return;
    };
    let ours = ["192.0.2.1:8080", "[fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd]:8080"];
    early_drop.set_sockets(&ours.map(|socket| socket.parse().expect(socket))).expect("sockets");
    let listed = [203, 0, 113, 7];
    early_drop.block(listed.into(), Duration::from_hours(1), Reason::Operator).expect("a block");
    let kinds = [
        ("miss, IPv4", frame([198, 51, 100, 1], 0)),
        ("miss, IPv4, two tags", frame([198, 51, 100, 1], 2)),
        ("miss, IPv6", frame_v6(9)),
        ("drop, IPv4", frame(listed, 0)),
    ];
    let bare = Bare::load().expect("a program");
    let table = |entries: usize| {
        // Interleaved, so that a slow moment of the host hits all of them.
        let mut best = vec![Duration::MAX; kinds.len() + 1];
        for _ in 0..ROUNDS {
            for (kind, (_, frame)) in kinds.iter().enumerate() {
                best[kind] = best[kind].min(early_drop.cost(frame, REPEAT).expect("a test run"));
            }
            let time = bare.cost(&kinds[0].1, REPEAT).expect("a test run");
            best[kinds.len()] = best[kinds.len()].min(time);
        }
        let bare = best[kinds.len()].as_nanos().max(1);
        println!("{entries} listed: a bare drop takes {bare} ns");
        for ((kind, _), cost) in kinds.iter().zip(&best) {
            let nanos = cost.as_nanos();
            println!("  {kind:<22} {nanos:>4} ns  {}.{:02} times", nanos / bare, nanos * 100 / bare % 100);
        }
    };
    table(1);
    for number in 0..airlock_ebpf::MAX_BLOCKED - 1 {
        let address = IpAddr::V4(Ipv4Addr::from_bits(0x0b00_0000 + number));
        early_drop.block(address, Duration::from_hours(1), Reason::Operator).expect("a block");
    }
    table(airlock_ebpf::MAX_BLOCKED as usize);
}
