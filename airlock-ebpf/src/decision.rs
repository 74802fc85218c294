//! The decision of the early drop: the same code in the kernel and in the tests of the host.

use crate::packet::{Destination, Packet, Source, locate, tcp_destination};

/// The fate of a packet; the discriminant is the index of its counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Verdict {
    /// Passed: not IP, or not understood.
    Unparsed = 0,
    /// Passed: nobody asked for this source to be dropped. The fate of every honest packet.
    NotListed = 1,
    /// Passed: the source is listed, but this goes to no socket of the daemon: to another port, or to the
    /// same port of another address, which another service of this host has, or a host behind it.
    Elsewhere = 2,
    /// Passed: the time of the drop is over.
    Expired = 3,
    /// Passed: the source is exempt.
    Exempt = 4,
    /// Dropped.
    Dropped = 5,
}

impl Verdict {
    /// Every verdict, in the order of the counters.
    pub const ALL: [Self; 6] =
        [Self::Unparsed, Self::NotListed, Self::Elsewhere, Self::Expired, Self::Exempt, Self::Dropped];

    /// The number of verdicts.
    pub const COUNT: u32 = 6;

    /// A name for metrics and tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unparsed => "unparsed",
            Self::NotListed => "not_listed",
            Self::Elsewhere => "elsewhere",
            Self::Expired => "expired",
            Self::Exempt => "exempt",
            Self::Dropped => "dropped",
        }
    }
}

/// The questions of the decision; in the kernel these are map lookups and a clock.
pub trait World {
    /// The end of the drop of this source in nanoseconds of `CLOCK_MONOTONIC`, if it is listed.
    fn blocked_until(&self, source: &Source) -> Option<u64>;
    /// True where the daemon has a socket for this address and TCP port.
    fn listens_at(&self, destination: &Destination) -> bool;
    /// `CLOCK_MONOTONIC` in nanoseconds.
    fn now_ns(&self) -> u64;
    /// True where this source is exempt from dropping.
    fn is_exempt(&self, source: &Source) -> bool;
    /// Counts a packet of this source that is dropped.
    fn count_drop(&self, source: &Source);
}

/// Judges one frame.
///
/// The order is the point: an honest packet pays for one exact-match lookup and nothing else; sockets, clock
/// and trie are read only for a source that is listed.
#[inline]
pub fn decide<P: Packet + ?Sized, W: World>(packet: &P, world: &W) -> Verdict {
    let Some(located) = locate(packet) else { return Verdict::Unparsed };
    let Some(until) = world.blocked_until(&located.source) else { return Verdict::NotListed };
    match tcp_destination(packet, &located) {
        Some(destination) if world.listens_at(&destination) => {}
        _ => return Verdict::Elsewhere,
    }
    if world.now_ns() >= until {
        return Verdict::Expired;
    }
    if world.is_exempt(&located.source) {
        return Verdict::Exempt;
    }
    world.count_drop(&located.source);
    Verdict::Dropped
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    const OURS_V4: [u8; 4] = [192, 0, 2, 1];
    const OURS_V6: [u8; 16] = [0xfd; 16];

    /// A host where one source is listed; it records which questions were asked.
    struct Host {
        listed: Source,
        until: u64,
        exempt: bool,
        asked_after_hit: Cell<u32>,
        dropped: Cell<u32>,
    }

    impl Host {
        fn dropping(listed: Source) -> Self {
            Self { listed, until: 100, exempt: false, asked_after_hit: Cell::new(0), dropped: Cell::new(0) }
        }

        fn ask(&self) {
            self.asked_after_hit.set(self.asked_after_hit.get() + 1);
        }
    }

    impl World for Host {
        fn blocked_until(&self, source: &Source) -> Option<u64> {
            (*source == self.listed).then_some(self.until)
        }

        fn listens_at(&self, destination: &Destination) -> bool {
            self.ask();
            [Destination::from_v4(OURS_V4, 8080), Destination::from_v6(OURS_V6, 8080)].contains(destination)
        }

        fn now_ns(&self) -> u64 {
            self.ask();
            50
        }

        fn is_exempt(&self, _: &Source) -> bool {
            self.ask();
            self.exempt
        }

        fn count_drop(&self, source: &Source) {
            assert_eq!(*source, self.listed);
            self.dropped.set(self.dropped.get() + 1);
        }
    }

    fn ethernet(tags: usize, kind: u16) -> Vec<u8> {
        let mut frame = vec![0xaa; 12];
        for tag in 0..tags {
            let outer = if tag + 1 < tags { 0x88a8_u16 } else { 0x8100 };
            frame.extend(outer.to_be_bytes());
            frame.extend([0, 7]);
        }
        frame.extend(kind.to_be_bytes());
        frame
    }

    fn tcp(port: u16) -> Vec<u8> {
        let mut segment = vec![0x30, 0x39];
        segment.extend(port.to_be_bytes());
        segment.extend([0; 16]);
        segment
    }

    fn v4(tags: usize, options: u8, fragment: u16, protocol: u8, port: u16) -> Vec<u8> {
        let mut frame = ethernet(tags, 0x0800);
        frame.extend([0x45 + options, 0, 0, 40, 0, 0]);
        frame.extend(fragment.to_be_bytes());
        frame.extend([64, protocol, 0, 0, 203, 0, 113, 7, 192, 0, 2, 1]);
        frame.extend(std::iter::repeat_n(1, usize::from(options) * 4));
        frame.extend(tcp(port));
        frame
    }

    fn v6(tags: usize, extensions: &[(u8, u8)], fragment: u16, last: u8, port: u16) -> Vec<u8> {
        let mut frame = ethernet(tags, 0x86dd);
        let first = extensions.first().map_or(last, |(kind, _)| *kind);
        frame.extend([0x60, 0, 0, 0, 0, 20, first, 64]);
        frame.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8]);
        frame.extend([0xfd; 16]);
        for (index, (kind, words)) in extensions.iter().enumerate() {
            let next = extensions.get(index + 1).map_or(last, |(kind, _)| *kind);
            if *kind == 44 {
                frame.extend([next, 0]);
                frame.extend(fragment.to_be_bytes());
                frame.extend([0; 4]);
            } else {
                frame.extend([next, *words]);
                frame.extend(std::iter::repeat_n(0, 6 + usize::from(*words) * 8));
            }
        }
        frame.extend(tcp(port));
        frame
    }

    const V4: Source = Source::from_v4([203, 0, 113, 7]);
    const V6: Source = Source::from_v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 9, 0xff, 0, 0, 0, 0, 0, 0, 1]);

    fn judge(listed: Source, frame: &[u8]) -> Verdict {
        let host = Host::dropping(listed);
        let verdict = decide(frame, &host);
        assert_eq!(
            host.dropped.get(),
            u32::from(verdict == Verdict::Dropped),
            "each drop counts, and nothing else"
        );
        verdict
    }

    #[test]
    fn a_listed_source_is_dropped_behind_up_to_two_tags() {
        for tags in 0..=2 {
            assert_eq!(judge(V4, &v4(tags, 0, 0, 6, 8080)), Verdict::Dropped, "{tags} tags");
            assert_eq!(judge(V6, &v6(tags, &[], 0, 6, 8080)), Verdict::Dropped, "{tags} tags");
        }
        assert_eq!(judge(V4, &v4(3, 0, 0, 6, 8080)), Verdict::Unparsed);
    }

    #[test]
    fn options_and_extension_headers_do_not_hide_the_port() {
        for options in 0..=10 {
            assert_eq!(judge(V4, &v4(0, options, 0, 6, 8080)), Verdict::Dropped, "{options} words");
        }
        for extensions in [&[(0, 0)][..], &[(0, 2), (60, 31)], &[(43, 1), (44, 0), (60, 0), (0, 255)]] {
            assert_eq!(judge(V6, &v6(1, extensions, 1, 6, 8080)), Verdict::Dropped, "{extensions:?}");
        }
        let five = [(60, 0); 5];
        assert_eq!(judge(V6, &v6(0, &five, 0, 6, 8080)), Verdict::Elsewhere);
    }

    #[test]
    fn the_same_port_of_another_address_is_not_the_daemons() {
        for tags in 0..=2 {
            let mut frame = v4(tags, 3, 0, 6, 8080);
            frame[14 + tags * 4 + 19] = 2;
            assert_eq!(judge(V4, &frame), Verdict::Elsewhere);
            let mut frame = v6(tags, &[(60, 0)], 0, 6, 8080);
            frame[14 + tags * 4 + 39] = 2;
            assert_eq!(judge(V6, &frame), Verdict::Elsewhere);
        }
    }

    #[test]
    fn only_the_daemons_tcp_ports_are_closed() {
        assert_eq!(judge(V4, &v4(0, 0, 0, 6, 22)), Verdict::Elsewhere);
        assert_eq!(judge(V4, &v4(0, 0, 0, 17, 8080)), Verdict::Elsewhere);
        assert_eq!(judge(V4, &v4(0, 0, 0, 1, 8080)), Verdict::Elsewhere);
        assert_eq!(judge(V6, &v6(0, &[], 0, 58, 8080)), Verdict::Elsewhere);
    }

    #[test]
    fn a_later_fragment_has_no_port_and_a_first_one_has() {
        assert_eq!(judge(V4, &v4(0, 0, 0x2000, 6, 8080)), Verdict::Dropped);
        assert_eq!(judge(V4, &v4(0, 0, 0x2001, 6, 8080)), Verdict::Elsewhere);
        assert_eq!(judge(V6, &v6(0, &[(44, 0)], 0x0001, 6, 8080)), Verdict::Dropped);
        assert_eq!(judge(V6, &v6(0, &[(44, 0)], 0x0008, 6, 8080)), Verdict::Elsewhere);
    }

    #[test]
    fn an_unlisted_source_costs_one_lookup() {
        let host = Host::dropping(Source::from_v4([198, 51, 100, 1]));
        assert_eq!(decide(v4(0, 0, 0, 6, 8080).as_slice(), &host), Verdict::NotListed);
        assert_eq!(host.asked_after_hit.get(), 0);
    }

    #[test]
    fn a_drop_ends_at_its_time_and_never_meets_the_exempt() {
        let frame = v4(0, 0, 0, 6, 8080);
        let ended = Host { until: 50, ..Host::dropping(V4) };
        assert_eq!(decide(frame.as_slice(), &ended), Verdict::Expired);
        let exempt = Host { exempt: true, ..Host::dropping(V4) };
        assert_eq!(decide(frame.as_slice(), &exempt), Verdict::Exempt);
    }

    #[test]
    fn one_ipv6_host_cannot_hide_in_its_network_and_is_no_ipv4_host() {
        let mut neighbour = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 2];
        assert_eq!(Source::from_v6(neighbour), V6);
        neighbour[7] = 10;
        assert_ne!(Source::from_v6(neighbour), V6);
        let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 7];
        assert_ne!(Source::from_v6(mapped), V4);
    }

    #[test]
    fn one_client_of_a_translator_is_not_all_of_them() {
        let translated =
            |last| Source::from_v6([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, 203, 0, 113, last]);
        let mut frame = v6(0, &[], 0, 6, 8080);
        frame[14 + 8..14 + 24].copy_from_slice(&translated(7).0);
        assert_eq!(judge(translated(7), &frame), Verdict::Dropped);
        assert_eq!(judge(translated(8), &frame), Verdict::NotListed);
        assert!(translated(7).is_translated() && !V6.is_translated() && !V4.is_translated());
        // Beside the /96 a /64 is a /64.
        let beside = |last| Source::from_v6([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 1, 203, 0, 113, last]);
        assert_eq!(beside(7), beside(8));
    }

    #[test]
    fn a_header_that_lies_is_not_understood() {
        let mut short = v4(0, 0, 0, 6, 8080);
        short[14] = 0x44;
        assert_eq!(judge(V4, &short), Verdict::Unparsed);
        let mut six = v4(0, 0, 0, 6, 8080);
        six[14] = 0x65;
        assert_eq!(judge(V4, &six), Verdict::Unparsed);
        let mut four = v6(0, &[], 0, 6, 8080);
        four[14] = 0x40;
        assert_eq!(judge(V6, &four), Verdict::Unparsed);
    }

    #[test]
    fn a_packet_cut_anywhere_before_its_port_passes() {
        for tags in 0..=2 {
            let whole = v4(tags, 3, 0, 6, 8080);
            let end = whole.len() - 16;
            for cut in 0..end {
                assert_ne!(judge(V4, &whole[..cut]), Verdict::Dropped, "{tags} tags, {cut} bytes");
            }
            assert_eq!(judge(V4, &whole[..end]), Verdict::Dropped);
            let whole = v6(tags, &[(0, 1), (44, 0)], 0, 6, 8080);
            let end = whole.len() - 16;
            for cut in 0..end {
                assert_ne!(judge(V6, &whole[..cut]), Verdict::Dropped, "{tags} tags, {cut} bytes");
            }
            assert_eq!(judge(V6, &whole[..end]), Verdict::Dropped);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_upset_the_decision(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = judge(V4, &bytes);
        }

        #[test]
        fn no_change_to_a_packet_upsets_the_decision(
            tags in 0_usize..=3, six: bool, at in 0_usize..80, byte: u8, cut in 0_usize..120,
        ) {
            let mut frame =
                if six { v6(tags, &[(0, 1), (44, 0)], 0, 6, 8080) } else { v4(tags, 2, 0, 6, 8080) };
            if let Some(place) = frame.get_mut(at) {
                *place = byte;
            }
            frame.truncate(cut);
            let verdict = judge(if six { V6 } else { V4 }, &frame);
            // Whatever was changed, a drop needs the whole way to the port.
            prop_assert!(verdict != Verdict::Dropped || frame.len() >= 14 + 20 + 4);
        }
    }
}
