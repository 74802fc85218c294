//! One message: walks its JSON, takes out what is found in any string, key or number, and leaves all other
//! bytes.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use crate::action::{Action, Digest};
use crate::detectors::Detectors;
use crate::joints::Joint;
use crate::lexer::{Lexer, NotJson, Token};
use crate::marks::Marks;
use crate::rewrite::{Edit, Rewriter, TooMuch, merged};
use crate::view;

/// The search through a message: what for, and where not.
#[derive(Clone, Copy)]
pub struct Plan<'a> {
    /// The detectors.
    pub detectors: &'a Detectors,
    /// By place of the detector in [`Detectors::all`].
    pub actions: &'a [Action],
    /// The key of [`Action::Hash`].
    pub digest: &'a Digest<'a>,
    /// Members that are neither read nor changed.
    pub skip: &'a [Path],
    /// Members that are read and must stay as they are: a finding that would change one blocks the message.
    pub keep: &'a [Path],
    /// The longest result, in bytes.
    pub limit: usize,
}

/// The way to a member: names of members, from the top; an empty name stands for any entry or member.
pub type Path = &'static [&'static str];

/// A message that was looked at.
#[derive(Debug, PartialEq, Eq)]
pub struct Redacted {
    /// The message as it may pass; nothing where it may pass as it is.
    pub text: Option<String>,
    /// How often each detector has found something, by its place.
    pub counts: Vec<(usize, u32)>,
}

/// Reasons why a message may not pass.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A detector blocks it.
    #[error("a detector blocks it")]
    Blocked {
        /// The place of the detector.
        detector: usize,
        /// As in [`Redacted`].
        counts: Vec<(usize, u32)>,
    },
    /// It is spelled so that looking through it costs more than its size allows.
    #[error("it has more encoded within encoded text than is looked through")]
    TooMuchWork,
    /// It would be longer than the limit.
    #[error("it would be longer than {limit} bytes once redacted")]
    TooLong {
        /// Bytes.
        limit: usize,
    },
    /// It is no JSON.
    #[error("it is no JSON at byte {at}")]
    NotJson {
        /// Bytes from its start.
        at: usize,
    },
}

impl From<TooMuch> for Refused {
    fn from(_: TooMuch) -> Self {
        Self::TooMuchWork
    }
}

impl From<NotJson> for Refused {
    fn from(NotJson(at): NotJson) -> Self {
        Self::NotJson { at }
    }
}

/// How many times its own size a message may cost, and what every message may cost, in bytes.
const WORK: (usize, usize) = (24, 64 << 10);

/// The fewest digits of a number that may be a finding by itself.
const DIGITS: usize = 12;

/// The names of one array's entries whose strings are put together.
const NAMES: usize = 16;

/// The fewest digits of a number that may be a finding beside its name.
const LABELLED_DIGITS: usize = 6;

/// Looks through a message, which a parser has read before.
pub fn redact(plan: &Plan<'_>, json: &str) -> Result<Redacted, Refused> {
    let mut walk = Walk::new(plan, json);
    walk.run()?;
    walk.finish()
}

/// An open object or array.
#[derive(Debug, Default)]
struct Frame {
    is_object: bool,
    /// The name of the member that is being read.
    key: Option<Range<usize>>,
    /// All names of an object so far.
    keys: Vec<Range<usize>>,
    /// Names that change, by their place in `keys`.
    renamed: Vec<(usize, Vec<Edit>)>,
    treatment: Treatment,
    /// The name makes findings of values that would be none by themselves.
    is_label: bool,
    /// Strings that stand beside each other here.
    joint: Joint,
    /// Where entries are objects: the strings of one name that stand in neighbouring entries.
    blocks: Vec<(Range<usize>, Joint)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Treatment {
    #[default]
    Rewrite,
    Keep,
    Skip,
}

/// The walk through one message.
pub(crate) struct Walk<'a> {
    plan: &'a Plan<'a>,
    json: &'a str,
    pub(crate) rewriter: Rewriter<'a>,
    frames: Vec<Frame>,
    /// In places of the message.
    pub(crate) edits: Vec<Edit>,
    marks: Marks,
    /// The depth of the deepest path of the plan.
    depth: usize,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(plan: &'a Plan<'a>, json: &'a str) -> Self {
        let marks = plan.detectors.marks(json);
        let depth = plan.skip.iter().chain(plan.keep).map(|path| path.len()).max().unwrap_or(0);
        let rewriter = Rewriter {
            detectors: plan.detectors,
            actions: plan.actions,
            digest: plan.digest,
            blocked: None,
            left: json.len().saturating_mul(WORK.0).saturating_add(WORK.1),
        };
        Self { plan, json, rewriter, frames: Vec::new(), edits: Vec::new(), marks, depth }
    }
}

impl Walk<'_> {
    pub(crate) fn run(&mut self) -> Result<(), Refused> {
        let mut lexer = Lexer::new(self.json);
        while let Some(token) = lexer.next()? {
            match token {
                Token::Object | Token::Array => {
                    let treatment = self.treatment();
                    self.frames.push(Frame {
                        is_object: token == Token::Object,
                        treatment,
                        ..Frame::default()
                    });
                }
                Token::End => {
                    if let Some(mut frame) = self.frames.pop() {
                        let Self { json, rewriter, edits, .. } = self;
                        frame.joint.end(json, rewriter, edits)?;
                        for (_, mut joint) in std::mem::take(&mut frame.blocks) {
                            joint.end(json, rewriter, edits)?;
                        }
                        self.rename(&frame);
                    }
                }
                Token::Key(inner) => self.key(inner)?,
                Token::String(inner) => {
                    let treatment = self.treatment();
                    if treatment != Treatment::Skip {
                        self.string(inner, treatment)?;
                    }
                }
                Token::Number(number) => {
                    let treatment = self.treatment();
                    if treatment != Treatment::Skip {
                        self.number(number, treatment)?;
                    }
                }
                Token::Literal => {}
            }
        }
        Ok(())
    }

    /// Says what may be done with the value that begins here.
    fn treatment(&self) -> Treatment {
        let outer = self.frames.last().map(|frame| frame.treatment).unwrap_or_default();
        if outer == Treatment::Skip || self.matches(self.plan.skip) {
            return Treatment::Skip;
        }
        if outer == Treatment::Keep || self.matches(self.plan.keep) {
            Treatment::Keep
        } else {
            Treatment::Rewrite
        }
    }

    fn matches(&self, paths: &[Path]) -> bool {
        if self.frames.len() > self.depth {
            return false;
        }
        let is_at = |path: &&Path| {
            path.len() == self.frames.len()
                && path
                    .iter()
                    .zip(&self.frames)
                    .all(|(name, frame)| name.is_empty() || self.is_named(frame, name))
        };
        paths.iter().any(|path| is_at(&path))
    }

    fn is_named(&self, frame: &Frame, name: &str) -> bool {
        let Some(key) = frame.key.clone().map(|key| &self.json[key]) else { return false };
        key == name || (key.contains('\\') && view::json(key).text == name)
    }

    fn key(&mut self, inner: Range<usize>) -> Result<(), Refused> {
        let is_marked = self.marks.touch(&inner);
        let is_label = is_marked && self.plan.detectors.has_literal(&self.json[inner.clone()]);
        let Some(frame) = self.frames.last_mut() else { return Err(Refused::NotJson { at: inner.start }) };
        frame.key = Some(inner.clone());
        frame.is_label = is_label;
        frame.keys.push(inner.clone());
        let (place, treatment) = (frame.keys.len() - 1, frame.treatment);
        if treatment == Treatment::Skip || !is_marked {
            return Ok(());
        }
        let edits = self.found(inner, None)?;
        if edits.is_empty() {
            return Ok(());
        }
        if treatment == Treatment::Keep {
            self.keep(&edits);
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.renamed.push((place, edits));
        }
        Ok(())
    }

    fn string(&mut self, inner: Range<usize>, treatment: Treatment) -> Result<(), Refused> {
        if treatment == Treatment::Rewrite {
            self.join(&inner)?;
        }
        let label = self.label();
        if label.is_none() && !self.marks.touch(&inner) {
            return Ok(());
        }
        let edits = self.found(inner, label)?;
        if treatment == Treatment::Keep {
            self.keep(&edits);
        }
        self.edits.extend(edits);
        Ok(())
    }

    /// Adds a string to those that it stands beside: in its container, and in neighbouring entries of an
    /// array.
    fn join(&mut self, inner: &Range<usize>) -> Result<(), Refused> {
        let Self { json, rewriter, edits, frames, .. } = self;
        let Some((frame, outer)) = frames.split_last_mut() else { return Ok(()) };
        frame.joint.add(json, inner, rewriter, edits)?;
        let Some((array, key)) = outer.last_mut().filter(|outer| !outer.is_object).zip(frame.key.clone())
        else {
            return Ok(());
        };
        let name = &json[key.clone()];
        let known = array.blocks.iter().position(|(of, _)| &json[of.clone()] == name);
        let place = known.unwrap_or(array.blocks.len());
        if place == array.blocks.len() {
            if place == NAMES {
                return Ok(());
            }
            array.blocks.push((key, Joint::default()));
        }
        array.blocks[place].1.add(json, inner, rewriter, edits)?;
        Ok(())
    }

    fn number(&mut self, number: Range<usize>, treatment: Treatment) -> Result<(), Refused> {
        let text = &self.json[number.clone()];
        let digits = text.len();
        if digits < LABELLED_DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(());
        }
        let mut edits = Vec::new();
        if digits >= DIGITS {
            edits = self.found(number.clone(), None)?;
        }
        if let Some(label) = self.label() {
            edits.extend(self.found(number.clone(), Some(label))?);
        }
        if treatment == Treatment::Keep {
            self.keep(&edits);
        }
        let Some(whole) = merged(edits).into_iter().next() else { return Ok(()) };
        // A number stays a number, so that the answer keeps to its schema.
        self.edits.push(Edit {
            range: number,
            with: whole.with.map(|_| "0".to_owned()),
            found: whole.found,
            is_partial: false,
        });
        Ok(())
    }

    /// The name that stands nearest above a value, if it makes findings of values.
    fn label(&self) -> Option<Range<usize>> {
        let nearest = self.frames.iter().rev().find(|frame| frame.is_object);
        nearest.filter(|frame| frame.is_label).and_then(|frame| frame.key.clone())
    }

    /// Finds everything in a string, as edits in places of the message. A name that stands before it counts
    /// as a word near it.
    fn found(&mut self, inner: Range<usize>, label: Option<Range<usize>>) -> Result<Vec<Edit>, Refused> {
        let raw = &self.json[inner.clone()];
        let shift = |mut edits: Vec<Edit>| {
            for edit in &mut edits {
                edit.range = inner.start + edit.range.start..inner.start + edit.range.end;
            }
            edits
        };
        let decoded = raw.contains('\\').then(|| view::json(raw));
        let text = decoded.as_ref().map_or(raw, |view| &view.text);
        let mut edits = self.rewriter.edits(text)?;
        if let Some(label) = label.filter(|label| self.plan.detectors.has_literal(&self.json[label.clone()]))
        {
            edits.extend(self.labelled(&label, text)?);
            edits = merged(edits);
        }
        if let Some(view) = &decoded {
            for edit in &mut edits {
                edit.range = view.source(&edit.range);
            }
        }
        Ok(shift(edits))
    }

    fn labelled(&mut self, label: &Range<usize>, text: &str) -> Result<Vec<Edit>, Refused> {
        let name = &self.json[label.clone()];
        let both = format!("{} {name}: {text}", words_of(name));
        let start = both.len() - text.len();
        let mut edits = self.rewriter.edits(&both)?;
        edits.retain_mut(|edit| {
            edit.range = edit.range.start.saturating_sub(start)..edit.range.end.saturating_sub(start);
            !edit.range.is_empty()
        });
        Ok(edits)
    }

    /// A finding that would change what must stay blocks the message.
    fn keep(&mut self, edits: &[Edit]) {
        if let Some(edit) = edits.iter().find(|edit| edit.with.is_some()) {
            self.rewriter.blocked = self.rewriter.blocked.or(edit.found.first().copied());
        }
    }

    /// Renames members whose names change, each to a name that no other has.
    fn rename(&mut self, frame: &Frame) {
        if frame.renamed.is_empty() {
            return;
        }
        let changed: HashSet<usize> = frame.renamed.iter().map(|(place, _)| *place).collect();
        let others = frame.keys.iter().enumerate().filter(|(place, _)| !changed.contains(place));
        let mut taken: HashMap<String, usize> =
            others.map(|(_, key)| (view::json(&self.json[key.clone()]).text, 1)).collect();
        // A name that stands twice stands twice afterwards.
        let mut renamed: HashMap<String, String> = HashMap::new();
        for (place, edits) in &frame.renamed {
            let key = frame.keys[*place].clone();
            let found = edits.iter().flat_map(|edit| edit.found.clone()).collect();
            if edits.iter().all(|edit| edit.with.is_none()) {
                self.edits.push(Edit { range: key, with: None, found, is_partial: false });
                continue;
            }
            let before = view::json(&self.json[key.clone()]).text;
            let base = applied(self.json, &key, edits);
            if let Some(name) = renamed.get(&before) {
                self.edits.push(Edit {
                    range: key,
                    with: Some(String::clone(name)),
                    found,
                    is_partial: false,
                });
                continue;
            }
            let mut name = base.clone();
            while let Some(times) = taken.get_mut(&name) {
                *times += 1;
                name = format!("{base}-{times}");
                if *times > frame.keys.len() + 1 {
                    break;
                }
            }
            taken.insert(name.clone(), 1);
            renamed.insert(before, name.clone());
            self.edits.push(Edit { range: key, with: Some(name), found, is_partial: false });
        }
    }

    pub(crate) fn finish(mut self) -> Result<Redacted, Refused> {
        let edits = merged(std::mem::take(&mut self.edits));
        let mut counts: Vec<(usize, u32)> = Vec::new();
        for &detector in edits.iter().flat_map(|edit| &edit.found) {
            match counts.iter_mut().find(|(of, _)| *of == detector) {
                Some((_, count)) => *count += 1,
                None => counts.push((detector, 1)),
            }
        }
        counts.sort_unstable();
        if let Some(detector) = self.rewriter.blocked {
            return Err(Refused::Blocked { detector, counts });
        }
        if edits.iter().all(|edit| edit.with.is_none()) {
            return Ok(Redacted { text: None, counts });
        }
        let text = applied(self.json, &(0..self.json.len()), &edits);
        if text.len() > self.plan.limit {
            return Err(Refused::TooLong { limit: self.plan.limit });
        }
        Ok(Redacted { text: Some(text), counts })
    }
}

/// Writes a part of a text with edits done.
fn applied(text: &str, part: &Range<usize>, edits: &[Edit]) -> String {
    let mut result = String::with_capacity(part.len());
    let mut done = part.start;
    for edit in edits {
        let Some(with) = &edit.with else { continue };
        result.push_str(&text[done..edit.range.start]);
        result.push_str(with);
        done = edit.range.end;
    }
    result.push_str(&text[done..part.end]);
    result
}

/// The words of a name: `clientSecret` and `client_secret` are `client secret`.
fn words_of(name: &str) -> String {
    let mut words = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    for character in name.chars() {
        if character.is_ascii_uppercase() && before.is_ascii_lowercase() {
            words.push(' ');
        }
        words.push(if matches!(character, '_' | '-' | '.') { ' ' } else { character });
        before = character;
    }
    words
}

#[cfg(test)]
mod planted;
#[cfg(test)]
mod tests;
