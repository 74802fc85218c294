//! The findings in a text, as a page and as a document.

use std::io::{self, Write};
use std::ops::Range;

use airlock_dlp::Part;
use serde::Serialize;

use crate::config::schema::{DlpDirection as Direction, DlpMode};
use crate::observe::escape::printable;
use crate::redaction::{Barred, Detected, FoundPlace, MessageFindings};

/// A text, and what was found in it.
pub(super) struct Shown {
    pub(super) told: MessageFindings,
    /// The place that the text was read from.
    pub(super) name: String,
    /// The configuration.
    pub(super) source: String,
    pub(super) text: String,
    pub(super) is_json: bool,
    pub(super) direction: Direction,
    pub(super) mode: DlpMode,
    /// True where what was found may be seen.
    pub(super) shows_matches: bool,
}

/// The document. Its form is stable: members are added, never renamed or removed.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    passes: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    mode: DlpMode,
    direction: Direction,
    findings: Vec<Finding<'a>>,
    /// The text as it leaves; none where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

#[derive(Debug, Serialize)]
struct Finding<'a> {
    detectors: Vec<Detector<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<&'a str>,
    #[serde(rename = "in")]
    part: &'static str,
    encoded: bool,
    line: usize,
    column: usize,
    start: usize,
    end: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    instead: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct Detector<'a> {
    name: &'a str,
    pack: &'a str,
    about: &'a str,
    action: &'static str,
}

impl Shown {
    /// True where the text passes as it came.
    pub(super) fn is_unchanged(&self) -> bool {
        matches!(self.told.outcome, Ok(None))
    }

    /// All of it as one document.
    pub(super) fn document(&self) -> Document<'_> {
        Document {
            passes: match self.told.outcome {
                Ok(None) => "unchanged",
                Ok(Some(_)) => "changed",
                Err(_) => "refused",
            },
            reason: self.told.outcome.as_ref().err().map(Barred::reason),
            mode: self.mode,
            direction: self.direction,
            findings: self.told.places.iter().map(|place| self.finding(place)).collect(),
            text: self.told.outcome.is_ok().then(|| self.leaving()),
        }
    }

    /// All of it for reading.
    pub(super) fn page(&self, out: &mut impl Write) -> io::Result<()> {
        let form = if self.is_json { "JSON" } else { "text" };
        let mode = match self.mode {
            DlpMode::Enforce => "",
            DlpMode::Report => ", `dlp.mode: report`: nothing is changed",
            DlpMode::Off => ", `dlp.mode: off`: nothing is looked for",
        };
        let (name, source) = (printable(&self.name), printable(&self.source));
        writeln!(out, "{name}: {form}, as a {} ({source}{mode})", self.direction.name())?;
        for place in &self.told.places {
            self.line(place, out)?;
        }
        match &self.told.outcome {
            Ok(None) if self.told.places.is_empty() => {
                writeln!(out, "nothing is found; it passes as it came")
            }
            Ok(None) => writeln!(out, "it passes as it came"),
            Ok(Some(_)) => {
                writeln!(out, "it passes as")?;
                self.leaving().lines().try_for_each(|line| writeln!(out, "  {}", printable(line)))
            }
            Err(barred) => writeln!(out, "it does not pass: it {}", barred.reason()),
        }
    }

    fn line(&self, place: &FoundPlace, out: &mut impl Write) -> io::Result<()> {
        let shown = self.finding(place);
        let mut at = format!("{}:{}", shown.line, shown.column);
        if let Some(pointer) = shown.pointer {
            let root = if pointer.is_empty() { "the whole" } else { pointer };
            at = format!("{} ({at})", printable(root));
        }
        let within = match (place.finding.part, shown.encoded) {
            (Part::Name, _) => " in the name",
            (_, true) => " within encoded text",
            _ => "",
        };
        let each: Vec<String> = place.detectors.iter().map(by).collect();
        writeln!(out, "  {at}, bytes {}-{}{within}: {}", shown.start, shown.end, each.join(", "))?;
        if let Some(matched) = shown.matched {
            writeln!(out, "      found    {}", printable(matched))?;
        }
        if let Some(instead) = shown.instead.filter(|_| !shown.encoded) {
            writeln!(out, "      becomes  {}", printable(instead))?;
        }
        Ok(())
    }

    fn finding<'a>(&'a self, place: &'a FoundPlace) -> Finding<'a> {
        let Range { start, end } = place.finding.range;
        let before = self.text.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let detector = |of: &'a Detected| Detector {
            name: &of.name,
            pack: &of.pack,
            about: &of.about,
            action: of.action.name(),
        };
        Finding {
            detectors: place.detectors.iter().map(detector).collect(),
            pointer: self.is_json.then_some(&*place.finding.pointer),
            part: match place.finding.part {
                Part::Text => "text",
                Part::Name => "name",
                Part::Number => "number",
            },
            encoded: place.finding.is_encoded,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            start,
            end,
            instead: place.finding.instead.as_deref(),
            matched: self.text.get(start..end).filter(|_| self.shows_matches),
        }
    }

    /// The text as it leaves. A finding that stays is seen as `[reported:DETECTOR]`, unless what was found
    /// may be seen.
    fn leaving(&self) -> String {
        let mut leaving = String::with_capacity(self.text.len());
        let mut done = 0;
        for FoundPlace { finding, detectors } in &self.told.places {
            leaving.push_str(self.text.get(done..finding.range.start).unwrap_or_default());
            done = finding.range.end;
            match &finding.instead {
                Some(instead) => leaving.push_str(instead),
                None if self.shows_matches => {
                    leaving.push_str(self.text.get(finding.range.clone()).unwrap_or_default());
                }
                None => {
                    let name = detectors.first().map_or("", |detector| &*detector.name);
                    let quote = if finding.part == Part::Number { "\"" } else { "" };
                    leaving.extend([quote, "[reported:", name, "]", quote]);
                }
            }
        }
        leaving.push_str(self.text.get(done..).unwrap_or_default());
        leaving
    }
}

fn by(detector: &Detected) -> String {
    format!("{} of {}, {}", detector.name, detector.pack, detector.action.name())
}
