//! The walk through the JSON of a message: finds what stands in its strings, names and numbers, alone and
//! together.

use std::ops::Range;

use super::plan::{Path, Plan, Refused};
use crate::detectors::Detectors;
use crate::detectors::marked::Marked;
use crate::message::joints::{Ends, Joint};
use crate::message::lexer::{Lexer, Token};
use crate::message::manifest::Manifest;
use crate::message::names::{self, words_of};
use crate::message::rewrite::{Edit, Rewriter, merged};
use crate::placeholder::{self, NAMELESS};
use crate::scan::marks::Marks;
use crate::spelling::view;
use crate::spelling::whole;

/// How many times its own size a message may cost, and what every message may cost, in bytes.
const WORK: (usize, usize) = (24, 64 << 10);

/// The fewest digits of a number that may be a finding by itself.
const DIGITS: usize = 12;

/// The names of one array's entries whose strings are put together.
const NAMES: usize = 16;

/// The member of a content block that has the resource that it embeds.
const RESOURCE: &str = "resource";

/// The fewest digits of a number that may be a finding beside its name.
const LABELLED_DIGITS: usize = 6;

/// An open object or array.
#[derive(Debug, Default)]
struct Frame {
    is_object: bool,
    /// The place of its bracket.
    start: usize,
    /// The name of the member that is being read.
    key: Option<Range<usize>>,
    /// Names that change.
    renamed: Vec<(Range<usize>, Vec<Edit>)>,
    treatment: Treatment,
    label: Label,
    manifest: Manifest,
    /// Strings that stand beside each other here.
    joint: Joint,
    /// Where entries are objects: the strings of one name that stand in neighbouring entries. Those beyond
    /// `names` are spare.
    blocks: Vec<(Range<usize>, Joint)>,
    names: usize,
}

/// The effect of a member's name on its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Label {
    /// Findings of digits and of runs of letters, perhaps: nobody has looked yet.
    #[default]
    Unread,
    /// Nothing that it would not be by itself.
    Nothing,
    /// Findings of digits and of runs of letters.
    Shapes,
    /// Findings of anything.
    Anything,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Treatment {
    #[default]
    Rewrite,
    Keep,
    Skip,
}

/// The form of what is looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A message.
    Json,
    /// The inside of one string.
    Text,
}

/// The walk through one message.
pub(crate) struct Walk<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) form: Form,
    pub(super) json: &'a str,
    pub(crate) rewriter: Rewriter<'a>,
    /// The containers around the place of the walk, and behind them others that were closed, whose memory is
    /// used again.
    frames: Vec<Frame>,
    /// The number of containers that are open.
    open: usize,
    /// In places of the message.
    pub(crate) edits: Vec<Edit>,
    marks: Marks,
    shapes: Marks,
    /// As the lexer takes them.
    quotes: Vec<u32>,
    /// The depth of the deepest path of the plan.
    depth: usize,
    /// No further look comes behind this one: of a name with a finding nothing stays.
    pub(super) is_last: bool,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(plan: &'a Plan<'a>, json: &'a str, form: Form) -> Self {
        let Marked { marks, shapes, quotes } = plan.detectors.marks(json);
        let depth = plan.skip.iter().chain(plan.keep).map(|path| path.len()).max().unwrap_or(0);
        let rewriter = Rewriter {
            detectors: plan.detectors,
            actions: plan.actions,
            digest: plan.digest,
            blocked: None,
            left: json.len().saturating_mul(WORK.0).saturating_add(WORK.1),
        };
        Self {
            plan,
            form,
            json,
            rewriter,
            frames: Vec::new(),
            open: 0,
            edits: Vec::new(),
            marks,
            shapes,
            quotes,
            depth,
            is_last: false,
        }
    }
}

impl Walk<'_> {
    /// Looks through it once.
    pub(crate) fn look(&mut self) -> Result<(), Refused> {
        match self.form {
            Form::Json => self.run()?,
            Form::Text => self.edits = self.rewriter.edits(self.json)?,
        }
        Ok(())
    }

    fn run(&mut self) -> Result<(), Refused> {
        let mut lexer = Lexer::with_quotes(self.json, std::mem::take(&mut self.quotes));
        while let Some(token) = lexer.next()? {
            match token {
                Token::Object | Token::Array => {
                    let treatment = self.treatment();
                    if self.open == self.frames.len() {
                        self.frames.push(Frame::default());
                    }
                    let frame = &mut self.frames[self.open];
                    frame.is_object = token == Token::Object;
                    frame.start = lexer.place() - 1;
                    frame.treatment = treatment;
                    self.open += 1;
                }
                Token::End => self.end(lexer.place())?,
                Token::Key(inner) => self.key(inner)?,
                Token::String(inner) => {
                    if let Some(frame) = self.frames[..self.open].last_mut() {
                        frame.manifest.is_of_kind(self.json, frame.key.as_ref(), &inner);
                    }
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

    /// Closes a container: looks through what no further string goes on with.
    fn end(&mut self, place: usize) -> Result<(), Refused> {
        let Self { json, rewriter, edits, frames, open, .. } = self;
        *open = open.saturating_sub(1);
        let (outer, inner) = frames.split_at_mut(*open);
        let Some(frame) = inner.first_mut() else { return Ok(()) };
        if let Some(outer) = outer.last_mut().filter(|outer| outer.treatment == Treatment::Rewrite) {
            outer.manifest.has_member(json, outer.key.as_ref(), frame.start..place);
        }
        std::mem::take(&mut frame.manifest).end(json, rewriter, edits)?;
        frame.joint.end(json, rewriter, edits)?;
        for (_, joint) in &mut frame.blocks[..frame.names] {
            joint.end(json, rewriter, edits)?;
        }
        frame.names = 0;
        frame.key = None;
        frame.label = Label::Unread;
        let (start, renamed) = (frame.start, std::mem::take(&mut frame.renamed));
        if !renamed.is_empty() {
            rewriter.spend(place - start)?;
            edits.extend(names::renamed(json, start, &renamed)?);
        }
        Ok(())
    }

    /// Says what may be done with the value that begins here.
    fn treatment(&self) -> Treatment {
        let outer = self.frames[..self.open].last().map(|frame| frame.treatment).unwrap_or_default();
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
        if self.open > self.depth {
            return false;
        }
        let is_at = |path: &&Path| {
            path.len() == self.open
                && path
                    .iter()
                    .zip(&self.frames[..self.open])
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
        let has_literal = is_marked && self.plan.detectors.has_literal(&self.json[inner.clone()]);
        let Some(frame) = self.frames[..self.open].last_mut() else {
            return Err(Refused::NotJson { at: inner.start });
        };
        frame.key = Some(inner.clone());
        frame.label = if has_literal { Label::Anything } else { Label::Unread };
        let treatment = frame.treatment;
        if treatment == Treatment::Skip || !is_marked {
            return Ok(());
        }
        let edits = self.found(inner.clone(), None)?;
        if edits.is_empty() {
            return Ok(());
        }
        if treatment == Treatment::Keep {
            self.keep(&edits);
        }
        let edits = if self.is_last { one_of_all(self.plan.detectors, &inner, edits) } else { edits };
        if let Some(frame) = self.frames[..self.open].last_mut() {
            frame.renamed.push((inner, edits));
        }
        Ok(())
    }

    fn string(&mut self, inner: Range<usize>, treatment: Treatment) -> Result<(), Refused> {
        let is_marked = self.marks.touch(&inner);
        if treatment == Treatment::Rewrite {
            self.join(&inner, is_marked)?;
        }
        let label = self.label(is_marked || self.shapes.touch(&inner));
        if label.is_none() && !is_marked {
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
    /// array. One in an embedded resource stands in the entry that embeds it.
    fn join(&mut self, inner: &Range<usize>, is_marked: bool) -> Result<(), Refused> {
        let Self { json, rewriter, edits, frames, open, .. } = self;
        let Some((frame, outer)) = frames[..*open].split_last_mut() else { return Ok(()) };
        let ends = Ends::of(json, inner);
        frame.joint.add(json, (inner, &ends, is_marked), rewriter, edits)?;
        let is_embedded =
            outer.last().is_some_and(|entry| entry.key.clone().is_some_and(|key| &json[key] == RESOURCE));
        let entry = outer.len() - usize::from(is_embedded);
        let array = outer[..entry].last_mut().filter(|outer| !outer.is_object);
        let Some((array, key)) = array.zip(frame.key.clone()) else { return Ok(()) };
        let name = &json[key.clone()];
        let known = array.blocks[..array.names].iter().position(|(of, _)| &json[of.clone()] == name);
        let place = known.unwrap_or(array.names);
        if place == array.names {
            if place == NAMES {
                return Ok(());
            }
            array.names += 1;
            match array.blocks.get_mut(place) {
                Some((of, _)) => *of = key,
                None => array.blocks.push((key, Joint::default())),
            }
        }
        array.blocks[place].1.add(json, (inner, &ends, is_marked), rewriter, edits)?;
        Ok(())
    }

    fn number(&mut self, number: Range<usize>, treatment: Treatment) -> Result<(), Refused> {
        let json = self.json;
        let Some(digits) = whole::digits(&json[number.clone()], LABELLED_DIGITS) else { return Ok(()) };
        let label = self.label(true);
        let mut edits = Vec::new();
        if digits.len() >= DIGITS || label.is_some() {
            edits = self.rewriter.edits(&digits)?;
        }
        if let Some(label) = label {
            edits.extend(self.labelled(&label, &digits)?);
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

    /// The name that stands nearest above a value, if it makes a finding of it.
    fn label(&mut self, has_shape: bool) -> Option<Range<usize>> {
        let nearest = self.frames[..self.open].iter_mut().rev().find(|frame| frame.is_object)?;
        let key = nearest.key.clone()?;
        if nearest.label == Label::Unread && has_shape {
            let has_word = self.plan.detectors.has_word(&words_of(&self.json[key.clone()]));
            let has_word = has_word || self.plan.detectors.has_word(&self.json[key.clone()]);
            nearest.label = if has_word { Label::Shapes } else { Label::Nothing };
        }
        match nearest.label {
            Label::Anything => Some(key),
            Label::Shapes if has_shape => Some(key),
            _ => None,
        }
    }

    /// Finds everything in a string, as edits in places of the message. A name that stands before it counts
    /// as a word near it.
    fn found(&mut self, inner: Range<usize>, label: Option<Range<usize>>) -> Result<Vec<Edit>, Refused> {
        let raw = &self.json[inner.clone()];
        let shift = |mut edits: Vec<Edit>| {
            for edit in &mut edits {
                edit.range = inner.start + edit.range.start..inner.start + edit.range.end;
                // Encoded text in lines has their breaks.
                if let Some(with) = edit.with.as_mut().filter(|with| with.contains(['\n', '\r', '\t'])) {
                    *with = with.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t");
                }
            }
            edits
        };
        let decoded = raw.contains('\\').then(|| view::json(raw));
        let text = decoded.as_ref().map_or(raw, |view| &view.text);
        let mut edits = self.rewriter.edits(text)?;
        if let Some(label) = label {
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
        let decoded = name.contains('\\').then(|| view::json(name).text);
        let name = self.rewriter.blanked(decoded.as_deref().unwrap_or(name)).text;
        let both = format!("{} {name}: {text}", words_of(&name));
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
}

/// One edit in the place of all those of a string or a name, which leaves nothing of it.
pub(super) fn one_of_all(detectors: &Detectors, inner: &Range<usize>, edits: Vec<Edit>) -> Vec<Edit> {
    let mut replaced = edits.iter().filter(|edit| edit.with.is_some()).peekable();
    if replaced.peek().is_none() {
        return edits;
    }
    // Behind the first part of a secret that is cut, no detector is counted.
    let detector = replaced.find_map(|edit| edit.found.first()).and_then(|&place| detectors.all().get(place));
    let with = detector.map_or_else(|| NAMELESS.to_owned(), |detector| placeholder::naming(detector.name()));
    let found = edits.iter().flat_map(|edit| edit.found.iter().copied()).collect();
    vec![Edit { range: inner.clone(), with: Some(with), found, is_partial: false }]
}
