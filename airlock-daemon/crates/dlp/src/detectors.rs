//! All detectors together: one sieve, and each pattern only where its trigger stands.

pub(crate) mod look;
pub(crate) mod marked;

use std::collections::HashMap;

use crate::classes::Class;
use crate::detector::Detector;
#[cfg(any(test, feature = "proof"))]
use crate::hit::Hit;
use crate::scan::ats::Ats;
use crate::scan::net::{Need, Net, User};
use crate::scan::numbers::{Number, Numbers};
use crate::scan::sieve::{self, Kind, Wanted};
use crate::scan::windows::Around;
use crate::trigger::bytes::Bytes;
use crate::trigger::clusters::GAP;
use crate::trigger::edge::Edge;
use crate::trigger::follow::Follow;
use crate::trigger::{Digits, Near, Trigger};

/// The detectors of all packs that are switched on.
#[derive(Debug)]
pub struct Detectors {
    all: Vec<Detector>,
    /// Literals that are looked for everywhere.
    everywhere: Net,
    /// Literals that are looked for near runs of the characters that tokens have.
    near_runs: Net,
    /// Words that are looked for near such runs and near digits.
    words: Net,
    words_near_runs: Around,
    words_near_digits: Around,
    ats: Ats,
    numbers: Numbers,
    /// The sieve of texts, and that of JSON, in which some bytes are spelled by two.
    wanted: [Wanted; 2],
    /// True where a detector finds manifests.
    has_manifests: bool,
    /// By name, the place among all.
    names: HashMap<String, usize>,
}

impl Detectors {
    /// Makes one gate for all of them.
    pub fn new(all: Vec<Detector>) -> Self {
        let (mut everywhere, mut near_runs, mut words) = (Vec::new(), Vec::new(), Vec::new());
        let (mut ats, mut numbers) = (Vec::new(), Vec::new());
        let (mut words_near_runs, mut words_near_digits) = (Around::default(), Around::default());
        let mut breaks = Kind::ALL.map(|_| Bytes::new([true; 256]));
        let mut may_go_on = |kind: Kind, digits: &Digits| {
            let breaks = breaks[kind as usize].iter_mut();
            breaks.zip(digits.between.iter()).for_each(|(is_break, is_in)| *is_break &= !is_in);
        };
        for (detector, of) in all.iter().enumerate() {
            let reach = of.reach();
            match of.trigger() {
                Trigger::Literals(own) => {
                    for literal in own {
                        let (back, follow) = (literal.back, literal.follow.clone());
                        let edge = if of.spec().word && back == 0 { Edge::Start } else { Edge::Free };
                        let user = User { detector, back, ahead: 0, need: Need::Nothing, follow, edge };
                        let net = if literal.is_near_run { &mut near_runs } else { &mut everywhere };
                        net.push((literal.folded.clone(), user));
                    }
                }
                Trigger::Words { words: own, near } => {
                    let (before, after) =
                        of.spec().context.as_ref().map_or((0, 0), |context| (context.before, context.after));
                    let (net, need) = match near {
                        Near::Anything => (&mut everywhere, Need::Nothing),
                        Near::Byte(sign) => (&mut everywhere, Need::Byte(*sign)),
                        Near::Digits(digits) => {
                            may_go_on(Kind::Worded, digits);
                            words_near_digits.add(digits.least, reach, before, after);
                            (&mut words, Need::Digits(digits.least))
                        }
                        Near::Run(least) => {
                            words_near_runs.add(*least, reach, before, after);
                            (&mut words, Need::Run(*least))
                        }
                    };
                    net.extend(own.iter().map(|word| {
                        let (back, ahead) = (after + reach, before + word.len());
                        // Where a match stands alone, no word near it touches it.
                        let edge = if of.spec().word { Edge::Letters } else { Edge::Free };
                        (word.clone(), User { detector, back, ahead, need, follow: Follow::ANYTHING, edge })
                    }));
                }
                Trigger::At(at) => ats.push((detector, at.clone())),
                Trigger::Digits(digits) => {
                    may_go_on(Kind::Alone, digits);
                    let &Digits { least, span, .. } = digits;
                    let around = digits.around.min(reach);
                    numbers.push(Number { detector, least, span, around, reach });
                }
            }
        }
        let numbers = Numbers::new(numbers);
        let least = [(words_near_digits.least, 0), (numbers.least(), numbers.span())];
        let digits = |gap: usize, breaks: [Bytes; 2]| {
            let mut all = breaks.into_iter().zip(least);
            std::array::from_fn(|_| {
                let (breaks, (least, span)) =
                    all.next().unwrap_or((Bytes::new([true; 256]), (usize::MAX, 0)));
                sieve::Digits { least, span, gap, breaks: Class::new(breaks) }
            })
        };
        let in_json = digits(2 * GAP, breaks.clone().map(breaks_in_json));
        let has_ats = !ats.is_empty();
        let named = all.iter().enumerate();
        let wanted = [
            Wanted { digits: digits(GAP, breaks), at: has_ats, odd: false },
            Wanted { digits: in_json, at: has_ats, odd: true },
        ];
        Self {
            everywhere: Net::new(everywhere),
            near_runs: Net::new(near_runs),
            words: Net::new(words),
            words_near_runs,
            words_near_digits,
            ats: Ats::new(ats),
            numbers,
            wanted,
            has_manifests: all.iter().any(Detector::finds_manifests),
            names: named.map(|(place, detector)| (detector.name().to_owned(), place)).collect(),
            all,
        }
    }

    /// All of them, in the order of their packs.
    pub fn all(&self) -> &[Detector] {
        &self.all
    }

    /// The place of the detector that has the name.
    pub(crate) fn place(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Answers whether a text has a literal by which a detector finds something of any shape.
    pub(crate) fn has_literal(&self, text: &str) -> bool {
        self.everywhere.has(text.as_bytes())
    }

    /// Answers whether a text has a literal with which a finding may begin.
    pub(crate) fn has_start(&self, text: &str) -> bool {
        self.has_literal(text) || self.near_runs.has(text.as_bytes())
    }

    /// Answers whether a text has a word near which digits or runs are findings.
    pub(crate) fn has_word(&self, text: &str) -> bool {
        self.words.has(text.as_bytes()) || self.near_runs.has(text.as_bytes())
    }

    /// Finds everything by running each pattern over the whole text: what [`Self::scan`] is held against.
    #[cfg(any(test, feature = "proof"))]
    pub fn scan_slowly(&self, text: &str) -> Vec<Hit> {
        let of = |(detector, of): (usize, &Detector)| {
            of.find_all(text).into_iter().map(move |range| Hit { detector, range }).collect::<Vec<_>>()
        };
        let mut hits: Vec<Hit> = self.all.iter().enumerate().flat_map(of).collect();
        hits.sort_by_key(Hit::order);
        hits
    }
}

/// The bytes behind which no cluster goes on in JSON, which spells some bytes by others.
fn breaks_in_json(mut breaks: Bytes) -> Bytes {
    let spelled: &[u8] = if breaks[..0x20].contains(&false) {
        b"\\nrtbf"
    } else if [b'"', b'\\'].iter().any(|byte| !breaks[usize::from(*byte)]) {
        b"\\"
    } else {
        b""
    };
    for byte in spelled {
        breaks[usize::from(*byte)] = false;
    }
    breaks
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::generate::{Random, SHAPES};
    use crate::pack::shipped;

    static SHIPPED: LazyLock<Detectors> = LazyLock::new(|| {
        let packs = shipped().iter().map(|pack| pack.load().expect("a shipped pack"));
        Detectors::new(packs.flat_map(|pack| pack.detectors).collect())
    });

    /// Hits of the first that no hit of the same detector among the second covers.
    fn beyond(hits: &[Hit], others: &[Hit]) -> Vec<Hit> {
        let covers = |other: &Hit, hit: &Hit| {
            other.detector == hit.detector
                && other.range.start <= hit.range.start
                && hit.range.end <= other.range.end
        };
        hits.iter().filter(|hit| !others.iter().any(|other| covers(other, hit))).cloned().collect()
    }

    fn part() -> impl Strategy<Value = String> {
        let shape = (0..SHAPES.len(), any::<u64>()).prop_map(|(shape, seed)| {
            let shape = &SHAPES[shape];
            format!("{}{}", shape.before, shape.make(&mut Random::new(seed)))
        });
        prop_oneof![
            2 => shape,
            2 => "[a-zA-Z0-9 .,:;=/@_+-]{0,40}",
            1 => "[0-9 -]{0,30}",
            1 => prop::sample::select(vec![
                "token: ", "password=", "card number ", "phone +49 30 ", "\n", "é", "ſ", "-----BEGIN ", "@", "://",
            ]).prop_map(str::to_owned),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// The pass by triggers finds what each pattern finds that runs over the whole text.
        #[test]
        fn the_gate_hides_nothing(parts in prop::collection::vec(part(), 1..8)) {
            let text = parts.join(" ");
            let slow = SHIPPED.scan_slowly(&text);
            let missed = beyond(&slow, &SHIPPED.scan(&text, |_| true));
            let names: Vec<_> =
                missed.iter().map(|hit| (SHIPPED.all()[hit.detector].name(), &text[hit.range.clone()])).collect();
            prop_assert!(missed.is_empty(), "{text:?}: {names:?}");
        }
    }
}
