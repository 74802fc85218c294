//! The early drop: an XDP program that drops packets of listed sources to the daemon's own sockets, and its
//! twin for TCX.
//!
//! It only gathers what [`airlock_ebpf::decide`] asks for; the decision itself is tested on the host.
#![allow(unsafe_code)]

use airlock_ebpf::{
    Block, Destination, MAX_ALLOWED, MAX_BLOCKED, MAX_SOCKETS, Packet, Source, Verdict, World, decide,
};
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::bindings::{TC_ACT_SHOT, TC_ACT_UNSPEC};
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{classifier, map, xdp};
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{HashMap, LpmTrie, PerCpuArray, PerCpuHashMap};
use aya_ebpf::programs::{TcContext, XdpContext};
use aya_log_ebpf::debug;

#[map]
static BLOCKED: HashMap<Source, Block> = HashMap::with_max_entries(MAX_BLOCKED, 0);
#[map]
static DROPS: PerCpuHashMap<Source, u64> = PerCpuHashMap::with_max_entries(MAX_BLOCKED, BPF_F_NO_PREALLOC);
#[map]
static ALLOWED: LpmTrie<Source, u8> = LpmTrie::with_max_entries(MAX_ALLOWED, 0);
#[map]
static SOCKETS: HashMap<Destination, u8> = HashMap::with_max_entries(MAX_SOCKETS, 0);
#[map]
static VERDICTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Verdict::COUNT, 0);

/// No offset of ours comes near this; the bound is what the verifier needs to accept a computed offset.
const MAX_OFFSET: usize = 0x3fff;

/// The frame in the driver's memory.
struct Frame {
    start: usize,
    end: usize,
}

impl Packet for Frame {
    #[inline(always)]
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        if at > MAX_OFFSET {
            return None;
        }
        let place = self.start + at;
        if place + N > self.end {
            return None;
        }
        // SAFETY: the N bytes lie between start and end of the packet, which the verifier proves again.
        Some(unsafe { core::ptr::read_unaligned(place as *const [u8; N]) })
    }
}

/// The maps and the clock of the kernel.
struct Kernel;

impl World for Kernel {
    #[inline(always)]
    fn blocked_until(&self, source: &Source) -> Option<u64> {
        let block = BLOCKED.get_ptr(source)?;
        // SAFETY: the map gave a valid pointer. A change or reuse of the entry meanwhile can mix old and new,
        // which for this one field means an early or late end of a drop and nothing worse.
        Some(unsafe { (*block).until_ns })
    }

    #[inline(always)]
    fn listens_at(&self, destination: &Destination) -> bool {
        SOCKETS.get_ptr(destination).is_some()
    }

    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: the helper takes nothing and only reads the clock.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    fn is_exempt(&self, source: &Source) -> bool {
        ALLOWED.get(Key::new(128, *source)).is_some()
    }

    #[inline(always)]
    fn count_drop(&self, source: &Source) {
        if let Some(count) = DROPS.get_ptr_mut(source) {
            // SAFETY: the map gave a valid pointer to this CPU's own count.
            unsafe { *count += 1 };
        }
    }
}

/// A packet that has become a socket buffer. Its bytes may lie in pieces, which the helper puts together.
struct Buffer<'a>(&'a TcContext);

impl Packet for Buffer<'_> {
    #[inline(always)]
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        if at > MAX_OFFSET {
            return None;
        }
        self.0.load(at).ok()
    }
}

#[inline(always)]
fn judge<P: Packet>(packet: &P) -> Verdict {
    let verdict = decide(packet, &Kernel);
    if let Some(counter) = VERDICTS.get_ptr_mut(verdict as u32) {
        // SAFETY: the map gave a valid pointer to this CPU's own counter.
        unsafe { *counter += 1 };
    }
    verdict
}

#[xdp]
fn early_drop(ctx: XdpContext) -> u32 {
    let verdict = judge(&Frame { start: ctx.data(), end: ctx.data_end() });
    if verdict == Verdict::Dropped {
        debug!(&ctx, "early drop on interface {}", ctx.ingress_ifindex() as u64);
        return XDP_DROP;
    }
    XDP_PASS
}

/// The kernel has taken the outermost VLAN tag out of the bytes by now, so one more is looked through than by
/// XDP.
#[classifier]
fn early_drop_tcx(ctx: TcContext) -> i32 {
    if judge(&Buffer(&ctx)) == Verdict::Dropped {
        return TC_ACT_SHOT;
    }
    // The next program, or the stack.
    TC_ACT_UNSPEC
}
