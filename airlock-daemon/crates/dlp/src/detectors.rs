//! All detectors together: one sieve, and each pattern only where its trigger stands.

use std::collections::HashSet;
use std::ops::Range;

use crate::ats::Ats;
use crate::classes::Class;
use crate::detector::Detector;
use crate::edge::Edge;
use crate::follow::Follow;
use crate::hit::Hit;
use crate::net::{Need, Net, User};
use crate::numbers::{Number, Numbers};
use crate::shape::Bytes;
use crate::sieve::{self, GAP, Kind, Wanted};
use crate::told::Seen;
use crate::trigger::{Digits, NEAR, Near, Trigger};
use crate::windows::{Around, Windows, widened};

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
    names: HashSet<String>,
}

/// All that a look at a text finds.
#[derive(Debug, Default)]
pub(crate) struct Look {
    /// In order of place.
    pub(crate) hits: Vec<Hit>,
    /// The runs of characters that tokens have.
    pub(crate) runs: Vec<Range<usize>>,
    /// The bytes that patterns have read, each as often as it was.
    pub(crate) read: usize,
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
            names: all.iter().map(|detector| detector.name().to_owned()).collect(),
            all,
        }
    }

    /// All of them, in the order of their packs.
    pub fn all(&self) -> &[Detector] {
        &self.all
    }

    /// Answers whether a detector has the name.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Finds everything in a text as it stands, without decoding anything, in order of place.
    pub fn scan(&self, text: &str, is_on: impl Fn(usize) -> bool) -> Vec<Hit> {
        self.look(text, is_on).hits
    }

    /// As [`Self::scan`], and tells of the runs in which other texts may stand encoded.
    pub(crate) fn look(&self, text: &str, is_on: impl Fn(usize) -> bool) -> Look {
        let bytes = text.as_bytes();
        let mut seen = Seen {
            ats: &self.ats,
            text: bytes,
            runs: Vec::new(),
            clusters: Default::default(),
            found: Vec::new(),
        };
        sieve::sieve(bytes, &self.wanted[0], &mut seen);
        let Seen { runs, clusters: [worded, alone], found: ats, .. } = seen;
        let mut found = Found {
            detectors: self,
            text,
            windows: Windows::default(),
            hits: Vec::new(),
            read: 0,
            tries: Vec::new(),
        };
        self.everywhere.find(bytes, 0..bytes.len(), |user, at| {
            if is_on(user.detector) && self.has_sign(bytes, 0..bytes.len(), user, at, 1) {
                found.literal(user, at);
            }
        });
        let longest = self.near_runs.longest();
        widened(runs.iter().cloned(), NEAR, NEAR + longest, bytes.len(), |part| {
            self.near_runs.find(bytes, part, |user, at| {
                if is_on(user.detector) {
                    found.literal(user, at);
                }
            });
        });
        self.look_for_words(bytes, &runs, &worded, |user, at| {
            if is_on(user.detector) {
                found.literal(user, at);
            }
        });
        for at in ats {
            for (detector, of) in self.ats.all.iter().filter(|(detector, _)| is_on(*detector)) {
                found.windows.add(*detector, at.saturating_sub(of.back), at + self.all[*detector].reach());
            }
        }
        self.numbers.parts(&alone, text, |part, size| {
            self.numbers.find(&self.all, text, part.clone(), size, |number| {
                if is_on(number.detector) {
                    found.windows.add(number.detector, part.start, part.end);
                }
            });
        });
        let Found { windows, mut hits, mut read, .. } = found;
        windows.run(text, &self.all, &mut hits, &mut read);
        if hits.len() > 1 {
            hits.sort_by_key(Hit::order);
            hits.dedup();
        }
        Look { hits, runs, read }
    }

    /// Tells of words near the runs and the digits that their detectors need.
    fn look_for_words(
        &self,
        text: &[u8],
        runs: &[Range<usize>],
        clusters: &[(Range<usize>, usize)],
        mut found: impl FnMut(&User, usize),
    ) {
        self.near_words(runs, clusters, 1, text.len(), |part| {
            self.words.find(text, part, |user, at| {
                let (start, end) = self.window(user, at);
                let is_there = match user.need {
                    Need::Nothing | Need::Byte(_) => true,
                    Need::Digits(least) => {
                        let first = clusters.partition_point(|(cluster, _)| cluster.end <= start);
                        let mut near =
                            clusters[first..].iter().take_while(|(cluster, _)| cluster.start < end);
                        near.any(|(_, count)| *count >= least)
                    }
                    Need::Run(least) => {
                        let first = runs.partition_point(|run| run.end <= start);
                        runs[first..].iter().take_while(|run| run.start < end).any(|run| run.len() >= least)
                    }
                };
                if is_there {
                    found(user, at);
                }
            });
        });
    }

    /// Tells of the parts of a text in which words may stand near runs and digits, where so many bytes may
    /// stand for one.
    fn near_words(
        &self,
        runs: &[Range<usize>],
        clusters: &[(Range<usize>, usize)],
        bytes: usize,
        length: usize,
        found: impl FnMut(Range<usize>),
    ) {
        let digits = &self.words_near_digits;
        let mut near: Vec<Range<usize>> = Vec::new();
        near.extend(
            clusters.iter().filter(|(_, count)| *count >= digits.least).map(|(of, _)| digits.part(of, bytes)),
        );
        let long = &self.words_near_runs;
        near.extend(runs.iter().filter(|run| run.len() >= long.least).map(|of| long.part(of, bytes)));
        near.sort_unstable_by_key(|part| part.start);
        widened(near.into_iter(), 0, 0, length, found);
    }

    /// The part of a text in which a match lies that has a literal of its own, or stands near a word.
    fn window(&self, user: &User, at: usize) -> (usize, usize) {
        (at.saturating_sub(user.back), at + user.ahead + self.all[user.detector].reach())
    }

    /// Answers whether a sign that the matches of a detector have stands near a word of it, within a part of
    /// a text of which so many bytes may stand for one.
    fn has_sign(&self, text: &[u8], part: Range<usize>, user: &User, at: usize, bytes: usize) -> bool {
        let Need::Byte(sign) = user.need else { return true };
        let start = at.saturating_sub(bytes * user.back).max(part.start);
        let end = (at + bytes * (user.ahead + self.all[user.detector].reach())).min(part.end);
        memchr::memchr(sign, &text[start..end]).is_some()
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

/// The findings in a text, so far.
struct Found<'a> {
    detectors: &'a Detectors,
    text: &'a str,
    windows: Windows,
    hits: Vec<Hit>,
    read: usize,
    /// By detector: how often it was tried at a literal.
    tries: Vec<(usize, usize)>,
}

/// A detector is tried at so many literals by themselves. Where there are more, one pass over all that lies
/// behind them costs less: each try may read far.
const TRIES: usize = 16;

impl Found<'_> {
    fn literal(&mut self, user: &User, at: usize) {
        if user.back == 0 && user.ahead == 0 && self.is_tried_once_more(user.detector) {
            self.anchored(at, user.detector);
        } else {
            let (start, end) = self.detectors.window(user, at);
            self.windows.add(user.detector, start, end);
        }
    }

    fn is_tried_once_more(&mut self, detector: usize) -> bool {
        if let Some((_, count)) = self.tries.iter_mut().find(|(of, _)| *of == detector) {
            *count += 1;
            return *count <= TRIES;
        }
        self.tries.push((detector, 1));
        true
    }

    fn anchored(&mut self, at: usize, detector: usize) {
        let Self { detectors, text, hits, read, .. } = self;
        if !text.is_char_boundary(at) {
            return;
        }
        let of = &detectors.all[detector];
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let bytes = text.as_bytes();
        if of.spec().word && at > 0 && is_word(bytes[at - 1]) && is_word(bytes[at]) {
            return;
        }
        let is_known = |hit: &&Hit| hit.detector == detector && hit.range.contains(&at);
        if hits.iter().rev().take(8).find(is_known).is_some() {
            return;
        }
        let end = text.floor_char_boundary(at.saturating_add(of.reach()).saturating_add(1).min(text.len()));
        if let Some(found) = of.find(text, at..end, true, read) {
            hits.push(Hit { detector, range: found.secret });
        }
    }
}

pub(crate) mod marked;

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
