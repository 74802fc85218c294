//! Numbers: the detectors that digits alone are a trigger of, all in one automaton that says which of them
//! may find something.

use std::ops::Range;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::OnceLock;

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{Compiler, Config, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::{Input, MatchKind, PatternSet};
use regex_syntax::hir::{Hir, HirKind, Look, Repetition};

use crate::detector::Detector;

/// The memory of the states of one thread, in bytes.
const CACHE: usize = 8 << 20;

/// The size that the automaton may have before it runs, in bytes.
const SIZE: usize = 16 << 20;

/// The longest part of a text in which numbers are looked for at once, without what lies around it, in bytes.
const PART: usize = 1 << 10;

/// Detectors of numbers.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// In order of their fewest digits.
    all: Vec<Number>,
    /// Made when digits stand somewhere for the first time.
    automaton: OnceLock<Option<Automaton>>,
}

/// The size of a cluster of digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    digits: usize,
    /// The bytes from its first to its last digit.
    span: usize,
}

impl Size {
    pub(crate) fn of((cluster, digits): &(Range<usize>, usize)) -> Self {
        Self { digits: *digits, span: cluster.len() }
    }

    fn max(self, other: Self) -> Self {
        Self { digits: self.digits.max(other.digits), span: self.span.max(other.span) }
    }
}

/// A detector that digits are the trigger of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    pub(crate) detector: usize,
    pub(crate) least: usize,
    /// The fewest bytes from the first to the last of its digits.
    pub(crate) span: usize,
    /// The most bytes that a match has on either side of its digits.
    pub(crate) around: usize,
    /// The longest match, in bytes.
    pub(crate) reach: usize,
}

/// The memory of one search.
type Memory = (Cache, PatternSet);

type Make = Box<dyn Fn() -> Memory + Send + Sync + UnwindSafe + RefUnwindSafe>;

#[derive(Debug)]
struct Automaton {
    dfa: DFA,
    memory: Pool<Memory, Make>,
}

impl Automaton {
    fn new(all: &[Number], detectors: &[Detector]) -> Option<Self> {
        let hir = |number: &Number| regex_syntax::parse(&detectors[number.detector].pattern()).ok();
        let patterns = all.iter().map(|number| hir(number).map(|hir| anywhere(&hir)));
        let patterns = patterns.collect::<Option<Vec<_>>>()?;
        let config = Config::new().nfa_size_limit(Some(SIZE)).which_captures(WhichCaptures::None);
        let nfa = Compiler::new().configure(config).build_many_from_hir(&patterns).ok()?;
        let config = DFA::config().match_kind(MatchKind::All).cache_capacity(CACHE);
        let dfa =
            DFA::builder().configure(config.skip_cache_capacity_check(true)).build_from_nfa(nfa).ok()?;
        let of = dfa.clone();
        let make = move || (of.create_cache(), PatternSet::new(of.pattern_len()));
        Some(Self { dfa, memory: Pool::new(Box::new(make)) })
    }
}

/// Lets a pattern match at any place that is anchored to the start or the end of a text or a line: a text is
/// looked through where it stands in JSON as well.
fn anywhere(hir: &Hir) -> Hir {
    let all = |parts: &[Hir]| parts.iter().map(anywhere).collect();
    match hir.kind() {
        HirKind::Look(
            Look::Start | Look::End | Look::StartLF | Look::EndLF | Look::StartCRLF | Look::EndCRLF,
        ) => Hir::empty(),
        HirKind::Capture(capture) => anywhere(&capture.sub),
        HirKind::Repetition(repeated) => {
            Hir::repetition(Repetition { sub: Box::new(anywhere(&repeated.sub)), ..repeated.clone() })
        }
        HirKind::Concat(parts) => Hir::concat(all(parts)),
        HirKind::Alternation(branches) => Hir::alternation(all(branches)),
        _ => hir.clone(),
    }
}

impl Numbers {
    pub(crate) fn new(mut all: Vec<Number>) -> Self {
        all.sort_by_key(|number| number.least);
        Self { all, automaton: OnceLock::new() }
    }

    /// The fewest digits of any of them.
    pub(crate) fn least(&self) -> usize {
        self.all.first().map_or(usize::MAX, |number| number.least)
    }

    /// The fewest bytes from the first to the last digit of any of them.
    pub(crate) fn span(&self) -> usize {
        self.all.iter().map(|number| number.span).min().unwrap_or(usize::MAX)
    }

    /// Cuts a text into the parts around clusters of digits in which a match may lie, each with the largest
    /// of its clusters.
    pub(crate) fn parts(
        &self,
        clusters: &[(Range<usize>, usize)],
        text: &str,
        mut found: impl FnMut(Range<usize>, Size),
    ) {
        let mut cut = |wide: Range<usize>, reach: usize, size: Size| {
            let mut start = wide.start;
            while start < wide.end {
                let end = (start + PART).min(wide.end);
                let from = text.floor_char_boundary(start.saturating_sub(reach).max(wide.start));
                let to = text.ceil_char_boundary((end + reach).min(wide.end));
                found(from..to, size);
                start = end;
            }
        };
        let mut open: Option<(Range<usize>, usize, Size)> = None;
        for of in clusters {
            let (cluster, size) = (&of.0, Size::of(of));
            let (around, reach) = self
                .enough(size)
                .fold((0, 0), |(around, reach), number| (number.around.max(around), number.reach.max(reach)));
            if reach == 0 {
                continue;
            }
            let wide = cluster.start.saturating_sub(around)..(cluster.end + around).min(text.len());
            match &mut open {
                Some((last, longest, most)) if wide.start <= last.end => {
                    last.start = last.start.min(wide.start);
                    last.end = last.end.max(wide.end);
                    (*longest, *most) = ((*longest).max(reach), most.max(size));
                }
                last => {
                    if let Some((wide, reach, size)) = last.replace((wide, reach, size)) {
                        cut(wide, reach, size);
                    }
                }
            }
        }
        if let Some((wide, reach, size)) = open {
            cut(wide, reach, size);
        }
    }

    /// The most bytes that a match of those that a cluster is enough for has on either side of it.
    pub(crate) fn around(&self, size: Size) -> usize {
        self.enough(size).map(|number| number.around).max().unwrap_or(0)
    }

    fn enough(&self, size: Size) -> impl Iterator<Item = &Number> {
        let of = self.all.iter().take_while(move |number| number.least <= size.digits);
        of.filter(move |number| number.span <= size.span)
    }

    /// Answers whether any of them may find something in a part of a text with a cluster of some size.
    pub(crate) fn may_find(&self, detectors: &[Detector], text: &str, part: Range<usize>) -> bool {
        let automaton = self.automaton.get_or_init(|| Automaton::new(&self.all, detectors));
        let Some(Automaton { dfa, memory }) = automaton else { return true };
        let input = Input::new(text).range(part).earliest(true);
        dfa.try_search_fwd(&mut memory.get().0, &input).map_or(true, |found| found.is_some())
    }

    /// Tells of the detectors that may find something in a part of a text that has so many digits.
    pub(crate) fn find(
        &self,
        detectors: &[Detector],
        text: &str,
        part: Range<usize>,
        size: Size,
        mut found: impl FnMut(&Number),
    ) {
        let automaton = self.automaton.get_or_init(|| Automaton::new(&self.all, detectors));
        let Some(Automaton { dfa, memory }) = automaton else { return self.enough(size).for_each(found) };
        let mut memory = memory.get();
        let (cache, patterns) = &mut *memory;
        let input = Input::new(text).range(part);
        // Most parts have nothing, which is the fastest to know.
        if let Ok(None) = dfa.try_search_fwd(cache, &input.clone().earliest(true)) {
            return;
        }
        patterns.clear();
        match dfa.try_which_overlapping_matches(cache, &input, patterns) {
            Ok(()) => patterns.iter().for_each(|pattern| found(&self.all[pattern.as_usize()])),
            // It has no room for its states: each detector looks for itself.
            Err(_) => self.enough(size).for_each(found),
        }
    }
}
