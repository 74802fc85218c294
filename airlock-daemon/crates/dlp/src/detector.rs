//! One detector: a pattern, its checks, the words that must stand near a match.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use regex_automata::meta::Regex;
use regex_automata::{Anchored, Input};

use crate::check::{Check, Regions};
use crate::context::Context;
use crate::trigger::screen::Screen;
use crate::trigger::{self, Trigger};

/// A detector as a pack writes it, before its pattern is compiled.
#[derive(Debug, Clone, Default)]
pub struct Spec {
    /// The name that placeholders, records and rules use: lower case letters, digits and dashes.
    pub name: String,
    /// The pack that it comes from.
    pub pack: String,
    /// One line for people.
    pub about: String,
    /// The pattern, in the syntax of the crate `regex`. The group `secret`, if it has one, is what is taken
    /// out.
    pub pattern: String,
    /// A match stands alone: no ASCII letter, digit or underscore touches it.
    pub word: bool,
    /// All of them must hold.
    pub checks: Vec<Check>,
    /// A word that must stand near a match.
    pub context: Option<Context>,
}

impl Spec {
    /// The pattern, with what must stand around a match.
    fn whole(&self) -> String {
        if self.word {
            format!(r"(?-u:\b{{start-half}})(?:{})(?-u:\b{{end-half}})", self.pattern)
        } else {
            self.pattern.clone()
        }
    }
}

/// A detector that is ready to run; a copy shares what was compiled.
#[derive(Debug, Clone)]
pub struct Detector {
    spec: Spec,
    compiled: Arc<OnceLock<Compiled>>,
    trigger: Trigger,
    reach: usize,
    is_solid: bool,
}

/// Reasons why a detector cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DetectorError {
    /// The pattern is not one.
    #[error("the pattern is broken: {0}")]
    Syntax(String),
    /// The pattern is too large once compiled.
    #[error("the pattern compiles to more than {limit} bytes; use shorter repetitions or fewer alternatives")]
    TooLarge {
        /// Bytes.
        limit: usize,
    },
    /// A match may be empty.
    #[error("the pattern matches the empty text; let every match have at least one character")]
    Empty,
    /// Nothing in the pattern says where to look.
    #[error(
        "nothing in the pattern shows where to look; let every match contain a literal of three characters, \
         four digits, or an @, or name `context` words"
    )]
    NoTrigger,
    /// A text makes it read the same bytes over and over.
    #[error(
        "it reads a text that goes on like {text:?} {times} times over, and may {limit} times; let its \
         repetitions have smaller bounds, or let every match begin with a literal"
    )]
    Slow {
        /// The first bytes of the text.
        text: String,
        /// How often it is read.
        times: usize,
        /// How often a text may be read.
        limit: usize,
    },
}

/// The compiled size that a pattern may have, in bytes.
const PATTERN_SIZE: usize = 4 << 20;

/// The size from which a pattern runs behind a screen only, in bytes.
const LARGE: usize = 128 << 10;

/// The shortest match that is looked for in pieces, in bytes.
pub(crate) const SOLID: usize = 16;

/// The longest match of a pattern without a bound of its own that is found at the first try, in bytes.
const REACH: usize = 4 << 10;

/// The starts and ends of so many groups need no memory of their own.
const SLOTS: usize = 8;

/// A pattern that can run.
#[derive(Debug)]
struct Compiled {
    regex: Regex,
    /// The number of the group `secret`.
    secret: Option<usize>,
    /// Patterns that are large have one.
    screen: Option<Screen>,
}

impl Compiled {
    fn new(spec: &Spec) -> Result<Self, DetectorError> {
        let pattern = spec.whole();
        let has_group = spec.pattern.contains("(?P<secret>") || spec.pattern.contains("(?<secret>");
        let config = Regex::config()
            .nfa_size_limit(Some(PATTERN_SIZE))
            .onepass(has_group)
            .onepass_size_limit(Some(1 << 18))
            .hybrid_cache_capacity(4 << 20);
        let regex =
            Regex::builder().configure(config).build(&pattern).map_err(|error| match error.size_limit() {
                Some(limit) => DetectorError::TooLarge { limit },
                None => DetectorError::Syntax(error.to_string()),
            })?;
        let secret = regex.group_info().to_index(regex_automata::PatternID::ZERO, "secret");
        let screen = if regex.memory_usage() > LARGE { Screen::new(&spec.pattern) } else { None };
        Ok(Self { regex, secret, screen })
    }
}

impl Detector {
    /// Compiles the pattern, and derives where to look for it.
    pub(crate) fn compiled_now(spec: Spec) -> Result<Self, DetectorError> {
        let mut detector = Self::trusted(spec)?;
        detector.compiled = Arc::new(Compiled::new(&detector.spec)?.into());
        Ok(detector)
    }

    /// Derives where to look, and compiles the pattern when something stands there for the first time. It is
    /// for patterns that have been compiled before: a program that is starting has no use for most of them.
    pub(crate) fn trusted(spec: Spec) -> Result<Self, DetectorError> {
        let hir =
            regex_syntax::parse(&spec.pattern).map_err(|error| DetectorError::Syntax(error.to_string()))?;
        let least = hir.properties().minimum_len().filter(|&least| least > 0).ok_or(DetectorError::Empty)?;
        let trigger = trigger::derive(&hir, spec.context.as_ref()).ok_or(DetectorError::NoTrigger)?;
        let reach = hir.properties().maximum_len().unwrap_or(REACH);
        let is_solid = least >= SOLID && spec.context.is_none() && matches!(trigger, Trigger::Literals(_));
        Ok(Self { spec, compiled: Arc::default(), trigger, reach, is_solid })
    }

    fn compiled(&self) -> &Compiled {
        self.compiled
            .get_or_init(|| Compiled::new(&self.spec).expect("a test compiles every shipped pattern"))
    }

    /// The same, looking for telephone numbers of other regions; see [`Regions::within`].
    #[must_use]
    pub fn with_regions(mut self, wanted: &Regions) -> Self {
        for check in &mut self.spec.checks {
            if let Check::Phone(regions) = check {
                *regions = regions.within(wanted);
            }
        }
        self
    }

    /// The name that placeholders, records and rules use.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// All that its pack says of it.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The pattern, with what must stand around a match.
    pub(crate) fn pattern(&self) -> String {
        self.spec.whole()
    }

    pub(crate) fn trigger(&self) -> &Trigger {
        &self.trigger
    }

    pub(crate) fn reach(&self) -> usize {
        self.reach
    }

    /// A match is long and unmistakable by itself: it is looked for even where it is cut into several
    /// strings.
    pub(crate) fn is_solid(&self) -> bool {
        self.is_solid
    }

    /// Answers whether it finds cards, whose groups may stand in strings of their own.
    pub(crate) fn finds_cards(&self) -> bool {
        self.spec.checks.iter().any(|check| check.name() == "card")
    }

    /// Answers whether it finds the data of a manifest, which JSON has in members of their own.
    pub(crate) fn finds_manifests(&self) -> bool {
        let is_kind = |word: &String| word == r#""kind": "Secret""#;
        self.spec.context.as_ref().is_some_and(|context| context.words.iter().any(is_kind))
    }

    /// Judges digits by its checks alone.
    pub(crate) fn accepts_number(&self, number: &str) -> bool {
        self.spec.context.is_none() && self.spec.checks.iter().all(|check| check.holds(number))
    }

    /// Finds the first match in `window` that passes all checks, as the range of what is to be taken out, and
    /// says where to search on. An anchored search looks at the window's start only.
    pub(crate) fn find(
        &self,
        text: &str,
        mut window: Range<usize>,
        anchored: bool,
        read: &mut usize,
    ) -> Option<Found> {
        let compiled = self.compiled();
        let anchor = if anchored { Anchored::Yes } else { Anchored::No };
        if let Some(screen) = &compiled.screen
            && !screen.may_match(text, window.clone(), anchor)
        {
            return None;
        }
        loop {
            let input = Input::new(text).range(window.clone()).anchored(anchor);
            let found = compiled.regex.find(input);
            *read += found.map_or(window.end, |found| found.end()) - window.start;
            let found = found?;
            let (start, end) = (found.start(), found.end());
            if end == window.end && end < text.len() {
                // A match up to the border of its window may go on behind it.
                window = start..text.floor_char_boundary(end + (end - start).max(REACH) * 4);
                continue;
            }
            if let Some(secret) = self.accepts(text, start..end) {
                return Some(Found { secret, next: end });
            }
            if anchored {
                return None;
            }
            window.start = text.ceil_char_boundary(start + 1);
            if window.start >= window.end {
                return None;
            }
        }
    }

    /// Finds all matches by the pattern alone, over the whole text: the reference that the scanner is held
    /// against.
    pub(crate) fn find_all(&self, text: &str) -> Vec<Range<usize>> {
        let mut all = Vec::new();
        let (mut from, mut read) = (0, 0);
        while from < text.len()
            && let Some(found) = self.find(text, from..text.len(), false, &mut read)
        {
            all.push(found.secret);
            from = found.next;
        }
        all
    }

    /// Judges a match by checks and context, and says which part of it is the secret.
    fn accepts(&self, text: &str, matched: Range<usize>) -> Option<Range<usize>> {
        let Compiled { regex, secret, .. } = self.compiled();
        let secret = match *secret {
            None => matched.clone(),
            Some(group) => {
                let (mut few, mut many) = ([None; SLOTS], Vec::new());
                let slots = if 2 * group + 2 <= SLOTS {
                    &mut few[..]
                } else {
                    many.resize(2 * group + 2, None);
                    &mut many[..]
                };
                let input = Input::new(text).range(matched.clone()).anchored(Anchored::Yes);
                regex.search_slots(&input, slots);
                slots[2 * group]?.get()..slots[2 * group + 1]?.get()
            }
        };
        let is_whole = self.spec.checks.iter().all(|check| check.holds(&text[secret.clone()]));
        (is_whole && self.spec.context.as_ref().is_none_or(|context| context.stands_near(text, &matched)))
            .then_some(secret)
    }
}

/// A finding, and where the search goes on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) secret: Range<usize>,
    pub(crate) next: usize,
}
