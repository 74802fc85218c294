//! The places of a JSON text at which anything may be found, so that all others are passed over.

use std::ops::Range;

use super::Detectors;
use crate::scan::marks::Marks;
use crate::scan::net::{Need, User};
use crate::scan::numbers::Size;
use crate::scan::sieve;
use crate::scan::told::{Clusters, Told};
use crate::scan::windows::widened;
use crate::spelling::blob;
use crate::spelling::view;
use crate::spelling::wrapped::BREAK;
use crate::trigger::edge::may_be_name;
use crate::trigger::literals::NEAR;

/// The blocks of a JSON text that are to be looked at.
#[derive(Debug)]
pub(crate) struct Marked {
    /// Anything can be found there.
    pub(crate) marks: Marks,
    /// A value there is a finding beside a name that makes it one.
    pub(crate) shapes: Marks,
    /// The places of quotes that begin and end strings.
    pub(crate) quotes: Vec<u32>,
}

/// A run from this length on is looked at only where its own patterns find something, in bytes.
const LONG: usize = 1 << 10;

/// A text that is decoded from a run is looked at for itself if it is shorter than this, in bytes.
const SHORT: usize = 64;

/// How often a pattern is tried in long runs, before they are looked at as a whole.
const TRIES: usize = 64;

/// The letter of an escape and its digits, with which a run begins behind the backslash, at most, in bytes.
const ESCAPE: usize = 5;

/// A part of each manifest, as it stands in a string of JSON: no other literal has quotes.
const SECRET: &[u8] = br#"Secret\""#;

impl Detectors {
    /// Marks the blocks of a JSON text in which anything can be found, in any spelling. A string without a
    /// mark has nothing, unless it continues another or its name makes it a finding.
    pub(crate) fn marks(&self, json: &str) -> Marked {
        let bytes = json.as_bytes();
        let marks = Marks::new(bytes.len());
        let mut told = Told {
            ats: &self.ats,
            json: bytes,
            marks,
            runs: Vec::new(),
            clusters: Default::default(),
            quotes: Vec::with_capacity(bytes.len() / 32),
        };
        sieve::sieve(bytes, &self.wanted[1], &mut told);
        let Told { mut marks, mut runs, mut clusters, quotes, .. } = told;
        self.everywhere.find_in_json(bytes, 0..bytes.len(), |user, at| {
            if user.need == Need::Nothing || self.may_have_sign(bytes, &quotes, user, at) {
                marks.set(at);
            }
        });
        if self.has_manifests {
            memchr::memmem::find_iter(bytes, SECRET).for_each(|at| marks.set(at));
        }
        let is_plain = runs.is_empty() && clusters.iter().all(Vec::is_empty);
        let mut shapes = Marks::new(if is_plain { 0 } else { bytes.len() });
        for run in &runs {
            shapes.set_all(run);
            if self.may_hold(json, run) {
                marks.set_all(run);
            }
        }
        for (cluster, _) in clusters.iter().flatten() {
            shapes.set_all(cluster);
        }
        if !is_plain {
            runs.retain(|run| !marks.touch(run));
            for of in &mut clusters {
                of.retain(|(cluster, _)| !marks.touch(cluster));
            }
            self.mark_shapes(json, &runs, &clusters, &mut marks);
        }
        Marked { marks, shapes, quotes }
    }

    /// Answers whether a word stands in the name of a member, or in a string in which a sign stands near it
    /// that the matches of its detector have.
    fn may_have_sign(&self, json: &[u8], quotes: &[u32], user: &User, at: usize) -> bool {
        let place = |quote: usize| quotes.get(quote).map(|&place| place as usize);
        let next = quotes.partition_point(|&quote| quote as usize <= at);
        let Some((start, end)) = next.checked_sub(1).and_then(place).zip(place(next)) else { return true };
        next % 2 == 0 || self.has_sign(json, start..end, user, at, 2) || may_be_name(json, end + 1)
    }

    /// Answers whether a run may be an encoded text in which something can be found.
    fn may_hold(&self, json: &str, run: &Range<usize>) -> bool {
        let bytes = json.as_bytes();
        // A line of an encoded text goes on in the next one, and the last one has others in front.
        let has_lines = bytes.get(run.end) == Some(&b'\\') || is_behind_escape(&bytes[..run.start]);
        if run.len() < LONG || has_lines {
            return blob::may_be(&bytes[run.clone()]);
        }
        let is_quiet = |text: &String| {
            let is_odd = |byte: u8| matches!(byte, b'\\' | b'%' | 0x80..);
            text.len() < SHORT && !text.bytes().any(is_odd) && self.marks(text).marks.is_empty()
        };
        let blobs = blob::all(json, std::slice::from_ref(run));
        !blobs.iter().flat_map(|blob| &blob.stretches).all(|stretch| is_quiet(&stretch.text))
    }

    /// Marks the runs and the digits of a JSON text that have a literal or a word near them, or that may be a
    /// finding by themselves.
    fn mark_shapes(
        &self,
        json: &str,
        runs: &[Range<usize>],
        [worded, alone]: &[Clusters; 2],
        marks: &mut Marks,
    ) {
        let bytes = json.as_bytes();
        let mut tries = 0;
        let mut mark = |user: &User, at: usize| {
            if !self.is_refuted(json, runs, user, at, &mut tries) {
                marks.set(at);
            }
        };
        // An escape of two bytes may stand for one.
        let (before, after) = (2 * NEAR, 2 * NEAR + self.near_runs.longest());
        widened(runs.iter().cloned(), before, after, bytes.len(), |part| {
            self.near_runs.find_in_json(bytes, part, &mut mark);
        });
        self.near_words(runs, worded, 2, bytes.len(), |part| {
            self.words.find_in_json(bytes, part, &mut mark);
        });
        // Where escapes may stand between the digits or beside them, what they stand for is looked at.
        let around = |of: &(Range<usize>, usize)| {
            self.numbers.around(Size::of(of)).saturating_mul(2).saturating_add(2)
        };
        let wide = |of: &(Range<usize>, usize)| {
            let end = of.0.end.saturating_add(around(of)).min(bytes.len());
            of.0.start.saturating_sub(around(of))..end
        };
        let is_plain = |of: &&(Range<usize>, usize)| memchr::memchr(b'\\', &bytes[wide(of)]).is_none();
        let plain: Vec<_> = alone.iter().filter(is_plain).cloned().collect();
        self.numbers.parts(&plain, json, |part, _| {
            if self.numbers.may_find(&self.all, json, part.clone()) {
                marks.set_all(&part);
            }
        });
        let mut escaped: Vec<_> = alone.iter().filter(|of| !is_plain(of)).map(wide).collect();
        escaped.sort_unstable_by_key(|part| part.start);
        widened(escaped.into_iter(), 0, 0, bytes.len(), |part| {
            if self.may_find_escaped(json, &part) {
                marks.set_all(&part);
            }
        });
    }

    /// Answers whether numbers may be found in a part of JSON once its escapes are undone.
    fn may_find_escaped(&self, json: &str, part: &Range<usize>) -> bool {
        let slashes = json.as_bytes()[..part.start].iter().rev().take_while(|&&byte| byte == b'\\').count();
        let (start, end) =
            (json.floor_char_boundary(part.start - slashes), json.ceil_char_boundary(part.end));
        let text = view::json(&json[start..end]).text;
        self.numbers.may_find(&self.all, &text, 0..text.len())
    }

    /// Answers whether a literal stands within a long run, and its pattern finds nothing there: by their
    /// length, such runs have some literals by chance. The run must have all that decides it, without the
    /// escape in front: the words near a literal may be nearer than they look where escapes stand between.
    fn is_refuted(
        &self,
        json: &str,
        runs: &[Range<usize>],
        user: &User,
        at: usize,
        tries: &mut usize,
    ) -> bool {
        let (start, end) = self.window(user, at);
        let run = runs.get(runs.partition_point(|run| run.end <= at));
        let is_within =
            run.is_some_and(|run| run.len() >= LONG && run.start + ESCAPE < start && end < run.end);
        // Where the word is the trigger, it is within the run as well.
        let has_context = user.ahead == 0 && self.all[user.detector].spec().context.is_some();
        if !is_within || has_context || *tries == TRIES {
            return false;
        }
        *tries += 1;
        let is_anchored = user.back == 0 && user.ahead == 0;
        self.all[user.detector].find(json, start..end, is_anchored, &mut 0).is_none()
    }
}

/// Answers whether an escape stands at the end of a part of JSON, with or without its letter, and the
/// indentation of a line behind it.
fn is_behind_escape(json: &[u8]) -> bool {
    let blanks = json.iter().rev().take(BREAK).take_while(|&&byte| byte == b' ').count();
    let letter = usize::from(blanks > 0);
    json.iter().rev().nth(blanks + letter) == Some(&b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Detector, Spec};

    fn marks(spec: Spec, json: &str) -> bool {
        let spec = Spec { name: "one".into(), word: true, ..spec };
        let detectors = Detectors::new(vec![Detector::trusted(spec).expect("a detector")]);
        !detectors.marks(json).marks.is_empty()
    }

    #[test]
    fn a_long_run_is_marked_where_a_literal_in_it_may_be_one_in_its_text() {
        let spec = |context| Spec { pattern: "AKIA[A-Z2-7]{16}".into(), context, ..Spec::default() };
        let near = Some(Context { words: vec!["aws".into()], before: 32, after: 0 });
        let (key, rest) = (concat!("AKI", "A2TXSLRHBPY2QUZID"), "/".repeat(2 * LONG));
        for before in [r"\n", r"\t", r"\n\r", r"\u000a"] {
            assert!(marks(spec(None), &format!(r#"["{before}{key}{rest}"]"#)), "{before}");
        }
        // The word is nearer than it looks.
        let breaks = r"\n".repeat(16);
        assert!(marks(spec(near), &format!(r#"["aws {breaks} ////////{key}{rest}"]"#)));
        for (literal, is_marked) in [(key, true), ("AKIA2TXS", false)] {
            assert_eq!(marks(spec(None), &format!(r#"["////////{literal}{rest}"]"#)), is_marked, "{literal}");
        }
    }

    #[test]
    fn a_word_is_marked_beside_a_sign_or_in_what_may_be_a_name() {
        let context = Some(Context { words: vec!["address".into()], before: 32, after: 0 });
        let pattern = "[^ :]{2,8}:[^ :]{2,8}";
        let spec = || Spec { pattern: pattern.into(), context: context.clone(), ..Spec::default() };
        let blank = |blanks: usize| " ".repeat(blanks);
        for (json, is_marked) in [
            (r#"["address ab:cd"]"#.to_owned(), true),
            (r#"["address abcd"]"#.to_owned(), false),
            (format!(r#"{{"address"{}:"ab"}}"#, blank(20)), true),
            (format!(r#"["address"{},"ab"]"#, blank(20)), false),
            (format!(r#"["address"{},"ab"]"#, blank(2_000)), true),
        ] {
            assert_eq!(marks(spec(), &json), is_marked, "{json}");
        }
    }

    #[test]
    fn escapes_are_seen_in_front_of_the_lines_of_a_text() {
        let most = " ".repeat(BREAK - 1);
        for (json, is_behind) in [
            ("\\", true),
            ("a\\", true),
            (r"a\n ", true),
            (r"\r\n\t  ", true),
            (format!(r"a\n{most}").as_str(), true),
            (format!(r"a\n{most}  ").as_str(), false),
            (r"a\n", false),
            ("", false),
            ("  ", false),
            ("a", false),
        ] {
            assert_eq!(is_behind_escape(json.as_bytes()), is_behind, "{json}");
        }
    }
}
