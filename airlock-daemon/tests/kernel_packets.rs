//! Every kind of packet, judged by the programs in the kernel itself (`BPF_PROG_TEST_RUN`): what becomes of
//! it and which counter moves. Both programs see the same packets: that of XDP, and its twin for TCX, which
//! gets them as socket buffers.
//!
//! The fixtures know what they are made of, so what is expected of them is told without parsing anything. The
//! property test compares the kernel with `airlock_ebpf::decide` on the host, which is the same source in
//! other machine code and over other ways to read memory.

#[path = "../../tests/src/skip.rs"]
mod support;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use airlock::config::schema::{Kernel, KernelMode, Seal};
use airlock::kernel::{KernelHalf, LoadError, Reason, Stage, Verdict};
use airlock_ebpf::{Destination, Source, World, decide};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const OURS: u16 = 8080;
const OTHER: u16 = 22;
/// The addresses of the daemon.
const OUR_V4: [u8; 4] = [192, 0, 2, 1];
const OUR_V6: [u8; 16] = [0xfd; 16];
/// The least that the kernel takes for a test: an Ethernet header.
const SHORTEST: usize = 14;

/// The state of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Unlisted,
    Listed,
    Expired,
    Exempt,
}

const STANDINGS: [Standing; 4] = [Standing::Unlisted, Standing::Listed, Standing::Expired, Standing::Exempt];

impl Standing {
    fn v4(self) -> [u8; 4] {
        [203, 0, 113, 10 + self as u8]
    }

    fn v6(self) -> [u8; 16] {
        [0x20, 1, 0xd, 0xb8, 0, 0, 0, 10 + self as u8, 1, 2, 3, 4, 5, 6, 7, 8]
    }
}

/// A kernel that knows the four standings, or the reason why it cannot be had.
fn kernel() -> Option<Arc<KernelHalf>> {
    // Packets know nothing of what seals servers, and it takes a second to load in a guest.
    let mut config = Kernel { mode: KernelMode::Preferred, seal: Seal::Off, ..Kernel::default() };
    let exempt = [(IpAddr::from(Standing::Exempt.v4()), 32), (Standing::Exempt.v6().into(), 128)];
    config.xdp.allow = exempt.map(|(address, bits)| format!("{address}/{bits}")).into();
    let half = KernelHalf::start(&config).expect("preferred always starts");
    let Some(early_drop) = half.early_drop() else {
        support::skip(&format!("the early drop does not load here: {}", half.report()));
        return None;
    };
    let sockets = [IpAddr::from(OUR_V4), OUR_V6.into()].map(|address| SocketAddr::new(address, OURS));
    early_drop.set_sockets(&sockets).expect("sockets");
    for standing in [Standing::Listed, Standing::Expired, Standing::Exempt] {
        let lasting = if standing == Standing::Expired { Duration::ZERO } else { Duration::from_hours(1) };
        for address in [IpAddr::from(standing.v4()), standing.v6().into()] {
            early_drop.block(address, lasting, Reason::Operator).expect("a block");
        }
    }
    Some(half)
}

/// Judges frames by the program of a stage, and watches the counters.
///
/// A system call in an emulated guest is dear, so of each frame only the counter is read that has to move;
/// that no other has moved as well is told from all of them by [`Judge::settle`], which a test calls after
/// every few frames.
struct Judge<'a> {
    half: &'a KernelHalf,
    stage: Stage,
    counted: [u64; Verdict::COUNT as usize],
    judged: u64,
    refused: u64,
}

impl<'a> Judge<'a> {
    fn new(half: &'a KernelHalf, stage: Stage) -> Self {
        Self { half, stage, counted: counters(half), judged: 0, refused: 0 }
    }

    /// The kernel comes to this verdict, by the counter that moves, and drops only what it counts as dropped.
    /// True where it did so: a frame that is refused before any program sees it is counted and must be one
    /// that cannot be understood.
    fn expect(&mut self, frame: &[u8], expected: Verdict) -> Result<bool, String> {
        let dropped = match self.half.early_drop().expect("loaded").judge_at(self.stage, frame) {
            Ok(dropped) => dropped,
            Err(error) if self.stage == Stage::Tcx && is_invalid(&error) => {
                self.refused += 1;
                return match expected {
                    Verdict::Unparsed => Ok(false),
                    _ => Err(format!("refused, and it has to be {expected:?}")),
                };
            }
            Err(error) => return Err(error.to_string()),
        };
        self.judged += 1;
        let counter = self.half.early_drop().expect("loaded").counter(expected).expect("a counter");
        let known = &mut self.counted[expected as usize];
        if counter != *known + 1 {
            return Err(format!("it has to be {expected:?}; the counters moved by {:?}", self.moved()));
        }
        *known = counter;
        if dropped != (expected == Verdict::Dropped) {
            return Err(format!("{expected:?}, and whether it was dropped: {dropped}"));
        }
        Ok(true)
    }

    /// By how much the counters differ from what is expected.
    fn moved(&self) -> Vec<(Verdict, u64)> {
        let moved = counters(self.half).into_iter().zip(self.counted).map(|(now, known)| now - known);
        Verdict::ALL.into_iter().zip(moved).filter(|(_, moved)| *moved != 0).collect()
    }

    /// No frame has moved another counter than its own.
    fn settle(&self) {
        assert!(self.moved().is_empty(), "{:?}: {:?}", self.stage, self.moved());
    }
}

fn counters(half: &KernelHalf) -> [u64; Verdict::COUNT as usize] {
    half.early_drop().expect("loaded").counters().expect("counters").map(|(_, count)| count)
}

/// True where the kernel has refused the frame itself.
fn is_invalid(error: &LoadError) -> bool {
    matches!(error, LoadError::Program { .. } if error.errno() == Some(22))
}

/// The headers between the addresses and the TCP header.
#[derive(Debug, Clone, Copy)]
enum Between {
    /// IPv4 options: so many words.
    Options(u8),
    /// IPv6 extension headers: kind and length in units of 8 bytes beyond the first.
    Extensions(&'static [(u8, u8)]),
}

const V4_SHAPES: [Between; 3] = [Between::Options(0), Between::Options(3), Between::Options(10)];
const V6_SHAPES: [Between; 4] = [
    Between::Extensions(&[]),
    Between::Extensions(&[(0, 0)]),
    Between::Extensions(&[(0, 1), (43, 2)]),
    Between::Extensions(&[(60, 3), (43, 0), (60, 0)]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fragment {
    No,
    First,
    Later,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    tags: usize,
    between: Between,
    fragment: Fragment,
    protocol: u8,
    port: u16,
    standing: Standing,
}

/// A frame and what its maker knows of it.
struct Frame {
    bytes: Vec<u8>,
    /// Where the fixed part of the network header ends.
    network: usize,
    /// Where the destination port ends.
    port: usize,
}

fn build(shape: Shape) -> Frame {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for tag in 0..shape.tags {
        bytes.extend(if tag + 1 < shape.tags { [0x88, 0xa8] } else { [0x81, 0x00] });
        bytes.extend([0x20, 0x07]);
    }
    let network = match shape.between {
        Between::Options(words) => {
            bytes.extend([0x08, 0x00, 0x45 + words, 0, 0, 80, 0, 1]);
            bytes.extend(match shape.fragment {
                Fragment::No => [0x40, 0],
                Fragment::First => [0x20, 0],
                Fragment::Later => [0x20, 1],
            });
            bytes.extend([64, shape.protocol, 0, 0]);
            bytes.extend(shape.standing.v4());
            bytes.extend(OUR_V4);
            let network = bytes.len();
            // No-operation, so that no byte of it looks like a port of ours.
            bytes.extend(std::iter::repeat_n(1, usize::from(words) * 4));
            network
        }
        Between::Extensions(extensions) => {
            let mut kinds: Vec<(u8, Vec<u8>)> = extensions
                .iter()
                .map(|(kind, units)| (*kind, vec![0; 6 + usize::from(*units) * 8]))
                .collect();
            match shape.fragment {
                Fragment::No => {}
                Fragment::First => kinds.push((44, vec![0, 1, 0, 0, 0, 9])),
                Fragment::Later => kinds.push((44, vec![0, 9, 0, 0, 0, 9])),
            }
            let after = |index: usize| kinds.get(index).map_or(shape.protocol, |(kind, _)| *kind);
            bytes.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 60, after(0), 64]);
            bytes.extend(shape.standing.v6());
            bytes.extend(OUR_V6);
            let network = bytes.len();
            for (index, (kind, rest)) in kinds.iter().enumerate() {
                // The second byte is the length of what follows, and reserved in a fragment header.
                let units = if *kind == 44 { 0 } else { u8::try_from((rest.len() - 6) / 8).expect("short") };
                bytes.extend([after(index + 1), units]);
                bytes.extend(rest);
            }
            network
        }
    };
    bytes.extend([0x30, 0x39]);
    bytes.extend(shape.port.to_be_bytes());
    let port = bytes.len();
    bytes.extend([0; 16]);
    Frame { bytes, network, port }
}

/// The fate that the first `length` bytes of a frame of this shape must have: told by what its maker knows,
/// not by parsing.
fn expected(shape: Shape, frame: &Frame, length: usize) -> Verdict {
    if length < frame.network {
        return Verdict::Unparsed;
    }
    if shape.standing == Standing::Unlisted {
        return Verdict::NotListed;
    }
    let has_port = shape.protocol == 6 && shape.fragment != Fragment::Later && length >= frame.port;
    if !has_port || shape.port != OURS {
        return Verdict::Elsewhere;
    }
    match shape.standing {
        Standing::Expired => Verdict::Expired,
        Standing::Exempt => Verdict::Exempt,
        Standing::Listed | Standing::Unlisted => Verdict::Dropped,
    }
}

/// Every shape that the fixtures have.
fn shapes() -> impl Iterator<Item = Shape> {
    let fragments = [Fragment::No, Fragment::First, Fragment::Later];
    V4_SHAPES.into_iter().chain(V6_SHAPES).flat_map(move |between| {
        (0..=2).flat_map(move |tags| {
            fragments.into_iter().flat_map(move |fragment| {
                [(6, OURS), (6, OTHER), (17, OURS)].into_iter().flat_map(move |(protocol, port)| {
                    STANDINGS.into_iter().map(move |standing| Shape {
                        tags,
                        between,
                        fragment,
                        protocol,
                        port,
                        standing,
                    })
                })
            })
        })
    })
}

fn every_kind_of_packet_cut_at_every_byte_meets_its_verdict(stage: Stage) {
    let Some(half) = kernel() else { return };
    let mut judge = Judge::new(&half, stage);
    let mut met = [0_u32; Verdict::COUNT as usize];
    let mut kinds = 0_u32;
    for shape in shapes() {
        kinds += 1;
        let frame = build(shape);
        for length in SHORTEST..=frame.bytes.len() {
            let verdict = expected(shape, &frame, length);
            match judge.expect(&frame.bytes[..length], verdict) {
                Ok(judged) => met[verdict as usize] += u32::from(judged),
                Err(error) => panic!("{shape:?}, {length} of {} bytes: {error}", frame.bytes.len()),
            }
        }
        judge.settle();
    }
    support::note(&format!(
        "{stage:?}: {} frames of {kinds} kinds judged; {} refused by the kernel before any program saw them",
        judge.judged, judge.refused
    ));
    assert!(met.iter().all(|count| *count > 0), "each verdict was met: {met:?}");
}

#[test]
fn every_kind_of_packet_cut_at_every_byte_meets_its_verdict_at_xdp() {
    every_kind_of_packet_cut_at_every_byte_meets_its_verdict(Stage::Xdp);
}

#[test]
fn every_kind_of_packet_cut_at_every_byte_meets_its_verdict_at_tcx() {
    every_kind_of_packet_cut_at_every_byte_meets_its_verdict(Stage::Tcx);
}

#[test]
fn what_is_dropped_is_counted_for_its_source() {
    let Some(half) = kernel() else { return };
    let early_drop = half.early_drop().expect("loaded");
    let shape = |between, standing| Shape {
        tags: 0,
        between,
        fragment: Fragment::No,
        protocol: 6,
        port: OURS,
        standing,
    };
    let packets = |address: IpAddr| early_drop.find(address).expect("a map").map(|found| found.packets);
    let (v4, v6) = (IpAddr::from(Standing::Listed.v4()), IpAddr::from(Standing::Listed.v6()));
    let judge = |stage, shape, expected| {
        let judged = Judge::new(&half, stage).expect(&build(shape).bytes, expected);
        assert_eq!(judged, Ok(true), "{stage:?} {shape:?}");
    };
    let (v4_shape, v6_shape) = (Between::Options(0), Between::Extensions(&[]));
    for stage in [Stage::Xdp, Stage::Tcx, Stage::Xdp] {
        judge(stage, shape(v4_shape, Standing::Listed), Verdict::Dropped);
    }
    judge(Stage::Xdp, shape(v6_shape, Standing::Listed), Verdict::Dropped);
    judge(Stage::Xdp, shape(v4_shape, Standing::Exempt), Verdict::Exempt);
    assert_eq!((packets(v4), packets(v6)), (Some(3), Some(1)));
    assert_eq!(packets(Standing::Exempt.v4().into()), Some(0));
    assert_eq!(packets(Standing::Expired.v4().into()), None, "its time is over");
    early_drop.block(v4, Duration::from_hours(2), Reason::RateLimit).expect("a block");
    assert_eq!(packets(v4), Some(3), "a drop that goes on keeps its count");
    assert!(early_drop.unblock(v4).expect("a map"));
    early_drop.block(v4, Duration::from_hours(1), Reason::Operator).expect("a block");
    assert_eq!(packets(v4), Some(0), "a new one begins anew");
}

/// The same port of another address is not the daemon's: another service has it, or a host behind this one.
#[test]
fn what_goes_to_another_address_passes() {
    let Some(half) = kernel() else { return };
    for stage in [Stage::Xdp, Stage::Tcx] {
        let mut judge = Judge::new(&half, stage);
        for shape in shapes().filter(|shape| (shape.protocol, shape.port) == (6, OURS)) {
            let mut frame = build(shape);
            // The last byte of the destination address.
            frame.bytes[frame.network - 1] ^= 1;
            let expected = match expected(shape, &frame, frame.bytes.len()) {
                Verdict::NotListed => Verdict::NotListed,
                _ => Verdict::Elsewhere,
            };
            assert_eq!(judge.expect(&frame.bytes, expected), Ok(true), "{stage:?} {shape:?}");
        }
        judge.settle();
    }
}

/// A block of one client of a translator, however it was named, meets that client by both ways and nobody
/// else of the /64.
#[test]
fn one_client_of_a_translator_is_dropped_and_not_all_of_them() {
    let Some(half) = kernel() else { return };
    let early_drop = half.early_drop().expect("loaded");
    let client: IpAddr = [203, 0, 113, 77].into();
    let frames = |last: u8| {
        let shape = |between| Shape {
            tags: 0,
            between,
            fragment: Fragment::No,
            protocol: 6,
            port: OURS,
            standing: Standing::Unlisted,
        };
        let mut translated = build(shape(Between::Extensions(&[]))).bytes;
        translated[22..38].copy_from_slice(&[0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 203, 0, 113, last]);
        let mut direct = build(shape(Between::Options(0))).bytes;
        direct[26..30].copy_from_slice(&[203, 0, 113, last]);
        [translated, direct]
    };
    early_drop.block(client, Duration::from_hours(1), Reason::RateLimit).expect("a block");
    for stage in [Stage::Xdp, Stage::Tcx] {
        let mut judge = Judge::new(&half, stage);
        for frame in frames(77) {
            assert_eq!(judge.expect(&frame, Verdict::Dropped), Ok(true), "{stage:?}");
        }
        for frame in frames(78) {
            assert_eq!(judge.expect(&frame, Verdict::NotListed), Ok(true), "{stage:?}");
        }
        judge.settle();
    }
    let found = early_drop.find(client).expect("a map").expect("a block");
    assert_eq!((found.address, found.packets), (client, 4), "one entry for both ways");
    let listed = early_drop.list().expect("a list");
    assert_eq!(listed.iter().filter(|one| one.address == client).count(), 1, "{listed:?}");
    assert!(early_drop.unblock(client).expect("a map"));
    let mut judge = Judge::new(&half, Stage::Xdp);
    for frame in frames(77) {
        assert_eq!(judge.expect(&frame, Verdict::NotListed), Ok(true));
    }
}

/// The same world on the host.
struct Host;

impl Host {
    fn standing(source: &Source) -> Option<Standing> {
        let is = |standing: &Standing| {
            *source == Source::from_v4(standing.v4()) || *source == Source::from_v6(standing.v6())
        };
        STANDINGS.into_iter().find(is).filter(|standing| *standing != Standing::Unlisted)
    }
}

impl World for Host {
    fn blocked_until(&self, source: &Source) -> Option<u64> {
        Self::standing(source).map(|standing| if standing == Standing::Expired { 1 } else { u64::MAX })
    }

    fn listens_at(&self, destination: &Destination) -> bool {
        [Destination::from_v4(OUR_V4, OURS), Destination::from_v6(OUR_V6, OURS)].contains(destination)
    }

    fn now_ns(&self) -> u64 {
        1
    }

    fn is_exempt(&self, source: &Source) -> bool {
        Self::standing(source) == Some(Standing::Exempt)
    }

    fn count_drop(&self, _: &Source) {}
}

/// Frames of all kinds, with bytes changed, taken out and put in.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let between = prop_oneof![
        (0_u8..=10).prop_map(Between::Options),
        prop::sample::select(V6_SHAPES.to_vec()),
        Just(Between::Extensions(&[(0, 0), (0, 0), (60, 0), (43, 0), (60, 0)])),
        Just(Between::Extensions(&[(0, 255), (60, 255), (43, 255)])),
    ];
    let fragment = prop::sample::select(vec![Fragment::No, Fragment::First, Fragment::Later]);
    let shape = (
        0_usize..=4,
        between,
        fragment,
        prop_oneof![4 => Just(6_u8), 1 => any::<u8>()],
        prop_oneof![4 => Just(OURS), 1 => any::<u16>()],
        prop::sample::select(STANDINGS.to_vec()),
    );
    let built = shape.prop_map(|(tags, between, fragment, protocol, port, standing)| {
        build(Shape { tags, between, fragment, protocol, port, standing }).bytes
    });
    let changes = proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..8), 0..4);
    let mutated = (built, changes, any::<prop::sample::Index>(), 0_u8..4).prop_map(
        |(mut frame, changes, cut, whether)| {
            for (place, byte, kind) in changes {
                let at = place.index(frame.len());
                match kind {
                    0 => frame.insert(at, byte),
                    1 if frame.len() > SHORTEST => drop(frame.remove(at)),
                    _ => frame[at] = byte,
                }
            }
            if whether == 0 {
                frame.truncate(cut.index(frame.len()));
            }
            frame
        },
    );
    let noise = proptest::collection::vec(any::<u8>(), SHORTEST..300);
    prop_oneof![9 => mutated, 1 => noise].prop_map(|mut frame| {
        frame.resize(frame.len().clamp(SHORTEST, 3_000), 0);
        frame
    })
}

fn the_kernel_and_the_host_judge_every_packet_alike(stage: Stage) {
    let Some(half) = kernel() else { return };
    // An emulated guest has a tenth of the speed.
    let cases = if std::env::var_os("AIRLOCK_GUEST").is_some() { 1_000 } else { 20_000 };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    // Always the same packets: what fails once, fails again.
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let met = std::cell::RefCell::new([0_u32; Verdict::COUNT as usize]);
    let judge = std::cell::RefCell::new(Judge::new(&half, stage));
    let outcome = runner.run(&frames(), |frame| {
        let expected = decide(frame.as_slice(), &Host);
        let judged = judge.borrow_mut().expect(&frame, expected);
        if let Err(error) = &judged {
            // The frames that this one is reduced to begin with the counters as they are.
            *judge.borrow_mut() = Judge::new(&half, stage);
            prop_assert!(false, "{}: {:02x?}", error, frame);
        }
        met.borrow_mut()[expected as usize] += u32::from(judged == Ok(true));
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    let judge = judge.into_inner();
    judge.settle();
    support::note(&format!(
        "{stage:?}: {} random frames judged; {} refused by the kernel before any program saw them",
        judge.judged, judge.refused
    ));
    assert!(met.borrow().iter().all(|count| *count > cases / 400), "the packets are of all kinds: {met:?}");
}

#[test]
fn the_kernel_and_the_host_judge_every_packet_alike_at_xdp() {
    the_kernel_and_the_host_judge_every_packet_alike(Stage::Xdp);
}

#[test]
fn the_kernel_and_the_host_judge_every_packet_alike_at_tcx() {
    the_kernel_and_the_host_judge_every_packet_alike(Stage::Tcx);
}
