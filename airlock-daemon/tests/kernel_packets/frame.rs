//! Frames whose maker knows what they are made of, and so what has to become of them.

use airlock::kernel::Verdict;

pub(crate) const OURS: u16 = 8080;
const OTHER: u16 = 22;
/// The addresses of the daemon.
pub(crate) const OUR_V4: [u8; 4] = [192, 0, 2, 1];
pub(crate) const OUR_V6: [u8; 16] = [0xfd; 16];
/// The least that the kernel takes for a test: an Ethernet header.
pub(crate) const SHORTEST: usize = 14;

/// The state of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Unlisted,
    Listed,
    Expired,
    Exempt,
}

pub(crate) const STANDINGS: [Standing; 4] =
    [Standing::Unlisted, Standing::Listed, Standing::Expired, Standing::Exempt];

impl Standing {
    pub(crate) fn v4(self) -> [u8; 4] {
        [203, 0, 113, 10 + self as u8]
    }

    pub(crate) fn v6(self) -> [u8; 16] {
        [0x20, 1, 0xd, 0xb8, 0, 0, 0, 10 + self as u8, 1, 2, 3, 4, 5, 6, 7, 8]
    }
}

/// The headers between the addresses and the TCP header.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Between {
    /// IPv4 options: so many words.
    Options(u8),
    /// IPv6 extension headers: kind and length in units of 8 bytes beyond the first.
    Extensions(&'static [(u8, u8)]),
}

const V4_SHAPES: [Between; 3] = [Between::Options(0), Between::Options(3), Between::Options(10)];

pub(crate) const V6_SHAPES: [Between; 4] = [
    Between::Extensions(&[]),
    Between::Extensions(&[(0, 0)]),
    Between::Extensions(&[(0, 1), (43, 2)]),
    Between::Extensions(&[(60, 3), (43, 0), (60, 0)]),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fragment {
    No,
    First,
    Later,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) tags: usize,
    pub(crate) between: Between,
    pub(crate) fragment: Fragment,
    pub(crate) protocol: u8,
    pub(crate) port: u16,
    pub(crate) standing: Standing,
}

impl Shape {
    /// A TCP segment to the daemon, without tags and whole.
    pub(crate) fn plain(between: Between, standing: Standing) -> Self {
        Self { tags: 0, between, fragment: Fragment::No, protocol: 6, port: OURS, standing }
    }
}

/// A frame and what its maker knows of it.
pub(crate) struct Frame {
    pub(crate) bytes: Vec<u8>,
    /// Where the fixed part of the network header ends.
    pub(crate) network: usize,
    /// Where the destination port ends.
    pub(crate) port: usize,
}

pub(crate) fn build(shape: Shape) -> Frame {
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
pub(crate) fn expected(shape: Shape, frame: &Frame, length: usize) -> Verdict {
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
pub(crate) fn shapes() -> impl Iterator<Item = Shape> {
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
