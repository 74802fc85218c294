//! All detectors together: one gate, and each pattern only where its trigger stands.

use std::cmp::Reverse;
use std::ops::Range;

use crate::blob;
use crate::detector::Detector;
use crate::gate::{self, Gate};
use crate::marks::Marks;
use crate::trigger::Trigger;
use crate::view;

/// The detectors of all packs that are switched on.
#[derive(Debug)]
pub struct Detectors {
    all: Vec<Detector>,
    gate: Gate,
    /// By literal: the detectors that it is a trigger of.
    users: Vec<Vec<User>>,
    /// Detectors that an `@` is the trigger of, with how far back a match may begin.
    at: Vec<(usize, usize)>,
    /// Detectors that digits are the trigger of, with how many.
    digits: Vec<(usize, usize)>,
    least_digits: usize,
}

/// A detector that a literal is a trigger of.
#[derive(Debug)]
struct User {
    detector: usize,
    /// How far in front of the literal a match may begin, in bytes.
    back: usize,
    /// How far behind the literal's start a match may begin, in bytes.
    ahead: usize,
}

/// A place where a detector has found something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// The place of the detector in [`Detectors::all`].
    pub detector: usize,
    /// The part that is to be taken out, in bytes.
    pub range: Range<usize>,
}

impl Hit {
    /// By place; of those that begin together, the longest first.
    fn order(&self) -> (usize, Reverse<usize>, usize) {
        (self.range.start, Reverse(self.range.end), self.detector)
    }
}

impl Detectors {
    /// Makes one gate for all of them.
    pub fn new(all: Vec<Detector>) -> Self {
        let mut literals: Vec<(Box<[u8]>, User)> = Vec::new();
        let (mut at, mut digits) = (Vec::new(), Vec::new());
        for (detector, of) in all.iter().enumerate() {
            match of.trigger() {
                Trigger::Literals(own) => {
                    let entry = |literal: &crate::trigger::Literal| {
                        (literal.folded.clone(), User { detector, back: literal.back, ahead: 0 })
                    };
                    literals.extend(own.iter().map(entry));
                }
                Trigger::Words(words) => {
                    let (before, after) =
                        of.spec().context.as_ref().map_or((0, 0), |context| (context.before, context.after));
                    let back = after + of.reach();
                    literals.extend(
                        words
                            .iter()
                            .map(|word| (word.clone(), User { detector, back, ahead: before + word.len() })),
                    );
                }
                Trigger::At { back } => at.push((detector, *back)),
                Trigger::Digits { least } => digits.push((detector, *least)),
            }
        }
        literals.sort_by(|a, b| a.0.cmp(&b.0));
        let (mut names, mut users): (Vec<Box<[u8]>>, Vec<Vec<User>>) = (Vec::new(), Vec::new());
        for (literal, user) in literals {
            if names.last() != Some(&literal) {
                names.push(literal);
                users.push(Vec::new());
            }
            if let Some(of) = users.last_mut() {
                of.push(user);
            }
        }
        let least_digits = digits.iter().map(|(_, least)| *least).min().unwrap_or(usize::MAX);
        Self { all, gate: Gate::new(names), users, at, digits, least_digits }
    }

    /// All of them, in the order of their packs.
    pub fn all(&self) -> &[Detector] {
        &self.all
    }

    /// Finds everything in a text as it stands, without decoding anything, in order of place.
    pub fn scan(&self, text: &str, is_on: impl Fn(usize) -> bool) -> Vec<Hit> {
        let mut windows = Windows::default();
        let mut hits = Vec::new();
        self.gate.literals(text.as_bytes(), |literal, at| {
            for user in self.users[literal as usize].iter().filter(|user| is_on(user.detector)) {
                if user.back == 0 && user.ahead == 0 {
                    self.anchored(text, at, user.detector, &mut hits);
                } else {
                    windows.add(
                        user.detector,
                        at.saturating_sub(user.back),
                        at + user.ahead + self.all[user.detector].reach(),
                    );
                }
            }
        });
        if !self.at.is_empty() {
            for at in gate::ats(text.as_bytes()) {
                for &(detector, back) in self.at.iter().filter(|(detector, _)| is_on(*detector)) {
                    windows.add(detector, at.saturating_sub(back), at + self.all[detector].reach());
                }
            }
        }
        if !self.digits.is_empty() {
            gate::digit_clusters(text.as_bytes(), self.least_digits, |cluster, count| {
                for &(detector, least) in self.digits.iter().filter(|(detector, _)| is_on(*detector)) {
                    if count >= least {
                        let reach = self.all[detector].reach();
                        windows.add(detector, cluster.start.saturating_sub(reach), cluster.end + reach);
                    }
                }
            });
        }
        windows.run(text, &self.all, &mut hits);
        hits.sort_by_key(Hit::order);
        hits.dedup();
        hits
    }

    /// Marks the blocks of a JSON text in which anything can be found, in any spelling. A string without a
    /// mark has nothing, unless it continues another or its name makes it a finding.
    pub(crate) fn marks(&self, json: &str) -> Marks {
        let bytes = json.as_bytes();
        let mut marks = Marks::new(bytes.len());
        self.gate.literals(bytes, |_, at| marks.set(at));
        if !self.at.is_empty() {
            gate::ats(bytes).for_each(|at| marks.set(at));
        }
        if !self.digits.is_empty() {
            gate::digit_clusters(bytes, self.least_digits, |cluster, _| marks.set_all(&cluster));
        }
        blob::runs(bytes).for_each(|run| marks.set_all(&run));
        view::specials(bytes, |at| marks.set(at));
        marks
    }

    /// Answers whether a text has a literal of any detector.
    pub(crate) fn has_literal(&self, text: &str) -> bool {
        let mut has = false;
        self.gate.literals(text.as_bytes(), |_, _| has = true);
        has
    }

    fn anchored(&self, text: &str, at: usize, detector: usize, hits: &mut Vec<Hit>) {
        if !text.is_char_boundary(at) {
            return;
        }
        let of = &self.all[detector];
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
        if let Some(found) = of.find(text, at..end, true) {
            hits.push(Hit { detector, range: found.secret });
        }
    }

    /// Finds everything by running each pattern over the whole text: what [`Self::scan`] is held against.
    #[cfg(test)]
    pub(crate) fn scan_slowly(&self, text: &str) -> Vec<Hit> {
        let of = |(detector, of): (usize, &Detector)| {
            of.find_all(text).into_iter().map(move |range| Hit { detector, range }).collect::<Vec<_>>()
        };
        let mut hits: Vec<Hit> = self.all.iter().enumerate().flat_map(of).collect();
        hits.sort_by_key(Hit::order);
        hits
    }
}

/// The windows in which patterns run, merged where they touch, so that no detector reads a byte twice.
#[derive(Default)]
struct Windows(Vec<(usize, Range<usize>)>);

impl Windows {
    fn add(&mut self, detector: usize, start: usize, end: usize) {
        let recent = self.0.iter_mut().rev().take(16).find(|(of, _)| *of == detector);
        if let Some((_, last)) = recent
            && start <= last.end
            && last.start <= start
        {
            last.end = last.end.max(end);
            return;
        }
        self.0.push((detector, start..end));
    }

    fn run(mut self, text: &str, all: &[Detector], hits: &mut Vec<Hit>) {
        self.0.sort_unstable_by_key(|(detector, window)| (*detector, window.start));
        let mut rest = self.0.into_iter().peekable();
        while let Some((detector, mut window)) = rest.next() {
            while let Some((_, next)) = rest.next_if(|(of, next)| *of == detector && next.start <= window.end)
            {
                window.end = window.end.max(next.end);
            }
            let mut start = text.floor_char_boundary(window.start);
            let end = text.ceil_char_boundary(window.end.min(text.len()));
            while start < end
                && let Some(found) = all[detector].find(text, start..end, false)
            {
                start = found.next;
                hits.push(Hit { detector, range: found.secret });
            }
        }
    }
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
