//! Screens: automata of patterns without the bounds of their repetitions. They are small where the patterns
//! are large, and what they do not match, the pattern does not match either.

use std::ops::Range;
use std::panic::{RefUnwindSafe, UnwindSafe};

use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::{Compiler, Config, WhichCaptures};
use regex_automata::util::pool::Pool;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{Capture, Hir, HirKind, Repetition};

/// The memory of the states of one thread, in bytes.
const CACHE: usize = 1 << 18;

type Make = Box<dyn Fn() -> Cache + Send + Sync + UnwindSafe + RefUnwindSafe>;

#[derive(Debug)]
pub(crate) struct Screen {
    dfa: DFA,
    caches: Pool<Cache, Make>,
}

impl Screen {
    /// Makes the screen of a pattern; nothing where it would be no help.
    pub(crate) fn new(pattern: &str) -> Option<Self> {
        let hir = unbounded(&regex_syntax::parse(pattern).ok()?);
        let compiler = Config::new().nfa_size_limit(Some(CACHE)).which_captures(WhichCaptures::None);
        let nfa = Compiler::new().configure(compiler).build_from_hir(&hir).ok()?;
        let config = DFA::config().cache_capacity(CACHE);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa).ok()?;
        let of = dfa.clone();
        Some(Self { dfa, caches: Pool::new(Box::new(move || of.create_cache())) })
    }

    /// Answers whether the pattern may match in a part of a text, or at its start if it is anchored.
    pub(crate) fn may_match(&self, text: &str, window: Range<usize>, anchored: Anchored) -> bool {
        let input = Input::new(text).range(window).anchored(anchored).earliest(true);
        self.dfa.try_search_fwd(&mut self.caches.get(), &input).map_or(true, |found| found.is_some())
    }
}

/// Takes the bounds off all repetitions.
fn unbounded(hir: &Hir) -> Hir {
    let all = |parts: &[Hir]| parts.iter().map(unbounded).collect();
    match hir.kind() {
        HirKind::Repetition(repeated) => Hir::repetition(Repetition {
            min: repeated.min.min(1),
            max: repeated.max.filter(|&max| max <= 1),
            greedy: repeated.greedy,
            sub: Box::new(unbounded(&repeated.sub)),
        }),
        HirKind::Capture(Capture { sub, .. }) => unbounded(sub),
        HirKind::Concat(parts) => Hir::concat(all(parts)),
        HirKind::Alternation(branches) => Hir::alternation(all(branches)),
        _ => hir.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_lets_all_matches_through() {
        let screen = Screen::new("ab{2,3}(?P<secret>[0-9]{4})?;").expect("a screen");
        for (text, may) in
            [("abb1234;", true), ("ab;", true), ("abbbbb12;", true), ("ab 1;", false), ("a;", false)]
        {
            assert_eq!(screen.may_match(text, 0..text.len(), Anchored::Yes), may, "{text}");
            let behind = format!("ab {text}");
            assert_eq!(screen.may_match(&behind, 0..behind.len(), Anchored::No), may, "{text}");
        }
    }
}
