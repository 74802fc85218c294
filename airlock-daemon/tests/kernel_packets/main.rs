//! Every kind of packet, judged by the programs in the kernel itself (`BPF_PROG_TEST_RUN`): what becomes of
//! it and which counter moves. Both programs see the same packets: that of XDP, and its twin for TCX, which
//! gets them as socket buffers.
//!
//! The fixtures know what they are made of, so what is expected of them is told without parsing anything.

mod frame;
mod host;
mod judge;
#[path = "../../../tests/src/skip.rs"]
mod support;

use std::net::IpAddr;
use std::time::Duration;

use airlock::kernel::{Reason, Stage, Verdict};
use frame::{Between, OURS, SHORTEST, Shape, Standing, build, expected, shapes};
use judge::{Judge, kernel};

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
    let packets = |address: IpAddr| early_drop.find(address).expect("a map").map(|found| found.packets);
    let (v4, v6) = (IpAddr::from(Standing::Listed.v4()), IpAddr::from(Standing::Listed.v6()));
    let judge = |stage, shape, expected| {
        let judged = Judge::new(&half, stage).expect(&build(shape).bytes, expected);
        assert_eq!(judged, Ok(true), "{stage:?} {shape:?}");
    };
    let (v4_shape, v6_shape) = (Between::Options(0), Between::Extensions(&[]));
    for stage in [Stage::Xdp, Stage::Tcx, Stage::Xdp] {
        judge(stage, Shape::plain(v4_shape, Standing::Listed), Verdict::Dropped);
    }
    judge(Stage::Xdp, Shape::plain(v6_shape, Standing::Listed), Verdict::Dropped);
    judge(Stage::Xdp, Shape::plain(v4_shape, Standing::Exempt), Verdict::Exempt);
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
        let shape = |between| Shape::plain(between, Standing::Unlisted);
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
