//! Clusters: the digits that every match of a pattern has, and the bytes between them.

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::trigger::bytes::{Bytes, add_all, bytes_of_class};

/// The most bytes between two digits of one cluster of a text.
pub(crate) const GAP: usize = 8;

/// The digits that every match has, in clusters: at most [`GAP`] other bytes stand between two.
#[derive(Debug, Clone, Copy)]
struct Clusters {
    /// The most bytes in front of the first digit.
    lead: Option<usize>,
    first: usize,
    most: usize,
    last: usize,
    /// The most bytes behind the last digit.
    trail: Option<usize>,
    is_one: bool,
    /// The fewest bytes in front of the first digit, from it to the last one, and behind that.
    least: [usize; 3],
}

/// Nothing where a match may be without digits.
fn clusters(hir: &Hir) -> Option<Clusters> {
    let one = |count| Clusters {
        lead: Some(0),
        first: count,
        most: count,
        last: count,
        trail: Some(0),
        is_one: true,
        least: [0, 1, 0],
    };
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => None,
        HirKind::Literal(literal) => {
            let mut all = None;
            let mut before = 0;
            for byte in &literal.0 {
                if byte.is_ascii_digit() {
                    let next = Clusters { lead: Some(before), least: [before, 1, 0], ..one(1) };
                    all = Some(all.map_or(next, |all: Clusters| all.then(next)));
                    before = 0;
                } else {
                    before += 1;
                }
            }
            all.map(|all| all.before(Some(before), before))
        }
        HirKind::Class(class) => is_of_digits(class).then(|| one(1)),
        HirKind::Capture(capture) => clusters(&capture.sub),
        HirKind::Repetition(repeated) => {
            let sub = clusters(&repeated.sub)?;
            // More of them than is counted gain nothing.
            (1..repeated.min.min(256))
                .try_fold(sub, |all, _| Some(all.then(sub)))
                .filter(|_| repeated.min > 0)
        }
        HirKind::Concat(parts) => {
            let mut all: Option<Clusters> = None;
            let (mut before, mut least) = (Some(0), 0);
            for part in parts {
                let Some(next) = clusters(part) else {
                    before = sum(before, part.properties().maximum_len());
                    least += part.properties().minimum_len().unwrap_or(0);
                    continue;
                };
                let behind = (next.trail, next.least[2]);
                let next = match all {
                    Some(all) => all.before(before, least).then(next),
                    None => next.behind(before, least),
                };
                (before, least) = behind;
                all = Some(next.before(Some(0), 0));
            }
            all.map(|all| all.before(before, least))
        }
        HirKind::Alternation(branches) => {
            let mut all: Option<Clusters> = None;
            for branch in branches {
                let next = clusters(branch)?;
                all = Some(all.map_or(next, |all| all.or(next)));
            }
            all
        }
    }
}

fn sum(a: Option<usize>, b: Option<usize>) -> Option<usize> {
    a?.checked_add(b?)
}

impl Clusters {
    /// The same with so many bytes in front of the first digit, at most and at least, and those that it has.
    fn behind(self, most: Option<usize>, least: usize) -> Self {
        let [lead, span, trail] = self.least;
        Self { lead: sum(most, self.lead), least: [least + lead, span, trail], ..self }
    }

    /// The same with so many bytes behind the last digit instead of those that it has.
    fn before(self, most: Option<usize>, least: usize) -> Self {
        let [lead, span, _] = self.least;
        Self { trail: most, least: [lead, span, least], ..self }
    }

    fn then(self, next: Self) -> Self {
        let is_near = sum(self.trail, next.lead).is_some_and(|gap| gap <= GAP);
        let joint = if is_near { self.last + next.first } else { 0 };
        Self {
            lead: self.lead,
            first: if self.is_one && is_near { joint } else { self.first },
            most: self.most.max(next.most).max(joint),
            last: if next.is_one && is_near { joint } else { next.last },
            trail: next.trail,
            is_one: self.is_one && next.is_one && is_near,
            least: [
                self.least[0],
                self.least[1] + self.least[2] + next.least[0] + next.least[1],
                next.least[2],
            ],
        }
    }

    fn or(self, other: Self) -> Self {
        let most = |a: Option<usize>, b: Option<usize>| Some(a?.max(b?));
        Self {
            lead: most(self.lead, other.lead),
            first: self.first.min(other.first),
            most: self.most.min(other.most),
            last: self.last.min(other.last),
            trail: most(self.trail, other.trail),
            is_one: self.is_one && other.is_one,
            least: std::array::from_fn(|part| self.least[part].min(other.least[part])),
        }
    }
}

/// Counts the ASCII digits that every match has in one cluster.
pub(crate) fn digits(hir: &Hir) -> usize {
    clusters(hir).map_or(0, |clusters| clusters.most)
}

/// The most bytes that a match has on either side of the digits that every match has, if they are one cluster
/// and there is a bound.
pub(crate) fn around_digits(hir: &Hir) -> Option<usize> {
    let clusters = clusters(hir).filter(|clusters| clusters.is_one)?;
    Some(clusters.lead?.max(clusters.trail?))
}

/// The fewest bytes from the first to the last digit of the cluster that every match has.
pub(crate) fn span_of_digits(hir: &Hir) -> usize {
    clusters(hir).map_or(0, |clusters| if clusters.is_one { clusters.least[1] } else { clusters.most })
}

fn is_of_digits(class: &Class) -> bool {
    let bytes = bytes_of_class(class);
    bytes.contains(&true) && (0..=u8::MAX).zip(*bytes).all(|(byte, is_in)| !is_in || byte.is_ascii_digit())
}

/// Adds the bytes that a match can have between two of the digits that every match has.
pub(crate) fn add_between(hir: &Hir, to: &mut Bytes) {
    match hir.kind() {
        HirKind::Capture(capture) => add_between(&capture.sub, to),
        HirKind::Repetition(repeated) if repeated.max == Some(1) => add_between(&repeated.sub, to),
        HirKind::Alternation(branches) => branches.iter().for_each(|branch| add_between(branch, to)),
        HirKind::Concat(parts) => {
            let has = |part: &Hir| clusters(part).is_some();
            let (first, last) = (parts.iter().position(has), parts.iter().rposition(has));
            match first.zip(last) {
                Some((first, last)) if first == last => add_between(&parts[first], to),
                Some((first, last)) => parts[first..=last].iter().for_each(|part| add_all(part, to)),
                None => {}
            }
        }
        _ => add_all(hir, to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hir(pattern: &str) -> Hir {
        regex_syntax::parse(pattern).expect("a pattern")
    }

    #[test]
    fn digits_count_that_stand_near_each_other() {
        for (pattern, least) in [
            ("[0-9]{4}", 4),
            ("(?:[0-9]{3}[ -]?){3}[0-9]", 10),
            ("A?[0-9]{2}.{0,8}[0-9]{2}", 2),
            ("[0-9]{2}[a-z]{0,8}[0-9]{2}", 4),
            ("[0-9]{2}[a-z]{0,9}[0-9]{3}", 3),
            ("[0-9]{7}x|[0-9]{3}-[0-9]{5}", 7),
            ("[0-9]{7}|x", 0),
            ("x1y2", 2),
            ("[0-9]+-[0-9]*", 1),
        ] {
            assert_eq!(digits(&hir(pattern)), least, "{pattern}");
        }
    }

    #[test]
    fn digits_span_the_bytes_between_them() {
        for (pattern, span, around) in [
            ("(?:^|[^a])(?:[0-9]{1,3}\\.){3}[0-9]{1,3}x?", 7, Some(4)),
            ("a[0-9]{4}", 4, Some(1)),
            ("[0-9]{2}-[0-9]{3}|[0-9]{7}z", 6, Some(1)),
            ("a1b2-?", 3, Some(1)),
            ("[0-9]{2}[a-z]{9}[0-9]{3}", 3, None),
        ] {
            assert_eq!(span_of_digits(&hir(pattern)), span, "{pattern}");
            assert_eq!(around_digits(&hir(pattern)), around, "{pattern}");
        }
    }

    #[test]
    fn bytes_between_digits_are_those_of_the_parts_between() {
        let between = |pattern: &str| {
            let mut bytes = Bytes::new([false; 256]);
            add_between(&hir(pattern), &mut bytes);
            (0..=127_u8).filter(|&byte| bytes[usize::from(byte)]).map(char::from).collect::<String>()
        };
        assert_eq!(between("[A-Z]{2}[01]{2}-[01]x?"), "-01");
        assert_eq!(between("(?:^|[^a])(?P<secret>[01](?:\\.[01]){3}|[01]:1)z"), ".01:");
        assert_eq!(between("[0-1]"), "01");
    }
}
