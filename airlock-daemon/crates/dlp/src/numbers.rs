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

/// A detector that digits are the trigger of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    pub(crate) detector: usize,
    pub(crate) least: usize,
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

    /// Cuts a text into the parts around clusters of digits in which a match may lie, each with the digits of
    /// its largest cluster.
    pub(crate) fn parts(
        &self,
        clusters: &[(Range<usize>, usize)],
        text: &str,
        mut found: impl FnMut(Range<usize>, usize),
    ) {
        let mut cut = |wide: Range<usize>, reach: usize, digits: usize| {
            let mut start = wide.start;
            while start < wide.end {
                let end = (start + PART).min(wide.end);
                let from = text.floor_char_boundary(start.saturating_sub(reach).max(wide.start));
                let to = text.ceil_char_boundary((end + reach).min(wide.end));
                found(from..to, digits);
                start = end;
            }
        };
        let mut open: Option<(Range<usize>, usize, usize)> = None;
        for (cluster, digits) in clusters.iter().filter(|(_, digits)| *digits >= self.least()) {
            let reach = self.enough(*digits).map(|number| number.reach).max().unwrap_or(0);
            let wide = cluster.start.saturating_sub(reach)..(cluster.end + reach).min(text.len());
            match &mut open {
                Some((last, longest, most)) if wide.start <= last.end => {
                    last.start = last.start.min(wide.start);
                    last.end = last.end.max(wide.end);
                    (*longest, *most) = ((*longest).max(reach), (*most).max(*digits));
                }
                last => {
                    if let Some((wide, reach, digits)) = last.replace((wide, reach, *digits)) {
                        cut(wide, reach, digits);
                    }
                }
            }
        }
        if let Some((wide, reach, digits)) = open {
            cut(wide, reach, digits);
        }
    }

    /// The most bytes that a match of those that so many digits are enough for has on either side of them.
    pub(crate) fn around(&self, digits: usize) -> usize {
        self.enough(digits).map(|number| number.around).max().unwrap_or(0)
    }

    fn enough(&self, digits: usize) -> impl Iterator<Item = &Number> {
        self.all.iter().take_while(move |number| number.least <= digits)
    }

    /// Tells of the detectors that may find something in a part of a text that has so many digits.
    pub(crate) fn find(
        &self,
        detectors: &[Detector],
        text: &str,
        part: Range<usize>,
        digits: usize,
        mut found: impl FnMut(&Number),
    ) {
        let automaton = self.automaton.get_or_init(|| Automaton::new(&self.all, detectors));
        let Some(Automaton { dfa, memory }) = automaton else { return self.enough(digits).for_each(found) };
        let mut memory = memory.get();
        let (cache, patterns) = &mut *memory;
        patterns.clear();
        let input = Input::new(text).range(part);
        match dfa.try_which_overlapping_matches(cache, &input, patterns) {
            Ok(()) => patterns.iter().for_each(|pattern| found(&self.all[pattern.as_usize()])),
            // It has no room for its states: each detector looks for itself.
            Err(_) => self.enough(digits).for_each(found),
        }
    }
}
