//! The kernel beside `airlock_ebpf::decide` on the host, which is the same source in other machine code and
//! over other ways to read memory.

use airlock::kernel::{Stage, Verdict};
use airlock_ebpf::{Destination, Source, World, decide};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::frame::{
    Between, Fragment, OUR_V4, OUR_V6, OURS, SHORTEST, STANDINGS, Shape, Standing, V6_SHAPES, build,
};
use crate::judge::{Judge, kernel};
use crate::support;

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
