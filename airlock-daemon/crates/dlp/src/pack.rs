//! Packs: files of detectors, as YAML. A pack whose own examples fail does not load.

mod examples;
mod fault;
mod form;
mod shipped;

use std::collections::BTreeMap;

use crate::check::{Check, Regions};
use crate::context::Context;
use crate::detector::{Detector, Spec};
use fault::{Faults, near};
use form::{CheckForm, DetectorForm, Form, Setting};

pub use fault::{Fault, PackError};
pub use shipped::{Shipped, shipped};

/// The size that a file may have, in bytes.
const FILE: usize = 1 << 20;

/// The detectors that all packs together may have.
const DETECTORS: usize = 512;

/// The length that a pattern may have, in bytes.
const PATTERN: usize = 4 << 10;

/// The examples that a detector may have of each kind.
const EXAMPLES: usize = 64;

/// The length that an example may have, in bytes.
const EXAMPLE: usize = 16 << 10;

/// The context words that a detector may have.
const WORDS: usize = 64;

/// How far from a match a context word may stand, in bytes.
const NEAR: usize = 512;

/// The detectors of one file.
#[derive(Debug)]
pub struct Pack {
    /// The name that `dlp.packs` switches on.
    pub name: String,
    /// In the order of the file.
    pub detectors: Vec<Detector>,
    file: String,
    lines: Vec<u64>,
}

impl Pack {
    /// Reads the bytes of a file.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, PackError> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(file, text),
            Err(error) => {
                let before = &bytes[..error.valid_up_to()];
                let line = memchr::memchr_iter(b'\n', before).count() + 1;
                Err(PackError::one(
                    format!("{file}:{line}"),
                    format!("byte {} is not UTF-8", error.valid_up_to()),
                    "save the file as UTF-8",
                ))
            }
        }
    }

    /// Reads the text of a file, compiles its patterns, and runs its examples.
    pub fn parse(file: &str, text: &str) -> Result<Self, PackError> {
        Self::form(file, text, false)
    }

    /// Reads the text of a file; one that is trusted has been tried before, and is compiled when it is
    /// needed.
    fn form(file: &str, text: &str, is_trusted: bool) -> Result<Self, PackError> {
        if text.len() > FILE {
            return Err(PackError::one(
                file,
                format!("the file has {} bytes, more than {FILE}", text.len()),
                "split the pack into several files",
            ));
        }
        let form = Form::read(file, text)?;
        let mut faults = Faults { file, all: Vec::new() };
        if !is_name(&form.pack.value) {
            faults.name(form.pack.referenced.line(), "pack", &form.pack.value);
        }
        if form.detectors.value.is_empty() {
            faults.add(form.detectors.referenced.line(), "the pack has no detectors", "write at least one");
        }
        if form.detectors.value.len() > DETECTORS {
            let reason =
                format!("the pack has {} detectors, more than {DETECTORS}", form.detectors.value.len());
            faults.add(form.detectors.referenced.line(), reason, "leave out those that you do not need");
            return Err(PackError(faults.all));
        }
        let mut known: BTreeMap<String, u64> = BTreeMap::new();
        let (mut detectors, mut lines) = (Vec::new(), Vec::new());
        for detector in form.detectors.value {
            let (name, line) = (detector.name.value.clone(), detector.name.referenced.line());
            if let Some(first) = known.insert(name.clone(), line) {
                faults.add(
                    line,
                    format!("detector `{name}` stands in line {first} already"),
                    "give it another name",
                );
                continue;
            }
            if let Some(detector) = compile(&form.pack.value, detector, is_trusted, &mut faults) {
                detectors.push(detector);
                lines.push(line);
            }
        }
        if faults.all.is_empty() {
            Ok(Self { name: form.pack.value, detectors, file: file.to_owned(), lines })
        } else {
            Err(PackError(faults.all))
        }
    }

    /// The file that it was read from, by the name that messages use.
    pub fn file(&self) -> &str {
        &self.file
    }

    fn place(&self, at: usize) -> String {
        format!("{}:{}", self.file, self.lines[at])
    }
}

/// Puts packs together: an own pack replaces the shipped one of its name, and no two detectors have one name.
pub fn merge(shipped: Vec<Pack>, own: Vec<Pack>) -> Result<Vec<Pack>, PackError> {
    let mut packs: Vec<Pack> =
        shipped.into_iter().filter(|pack| own.iter().all(|own| own.name != pack.name)).collect();
    packs.extend(own);
    let mut faults = Vec::new();
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    let mut places: BTreeMap<&str, String> = BTreeMap::new();
    for pack in &packs {
        if let Some(first) = names.insert(&pack.name, &pack.file) {
            faults.push(Fault {
                place: pack.file.clone(),
                reason: format!("the pack `{}` stands in {first} already", pack.name),
                remedy: "give it another name, or remove one of the two files".to_owned(),
            });
            continue;
        }
        for (at, detector) in pack.detectors.iter().enumerate() {
            if let Some(first) = places.insert(detector.name(), pack.place(at)) {
                faults.push(Fault {
                    place: pack.place(at),
                    reason: format!("detector `{}` stands in {first} already", detector.name()),
                    remedy: "give it another name".to_owned(),
                });
            }
        }
    }
    let count = packs.iter().map(|pack| pack.detectors.len()).sum::<usize>();
    if count > DETECTORS {
        faults.push(Fault {
            place: packs.last().map(|pack| pack.file.clone()).unwrap_or_default(),
            reason: format!("the packs have {count} detectors, more than {DETECTORS}"),
            remedy: "leave out those that you do not need".to_owned(),
        });
    }
    if faults.is_empty() { Ok(packs) } else { Err(PackError(faults)) }
}

fn is_name(name: &str) -> bool {
    name.len() <= 48
        && name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name.split('-').all(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        })
}

/// A word of several parts as prose and as names of members and variables have it.
fn spellings(word: &str) -> Vec<String> {
    let mut all: Vec<String> = [" ", "_", "-", ""].iter().map(|joint| word.replace(' ', joint)).collect();
    all.dedup();
    all
}

/// Turns what a pack says into a detector, and notes all that is wrong with it.
fn compile(pack: &str, form: DetectorForm, is_trusted: bool, faults: &mut Faults) -> Option<Detector> {
    let before = faults.all.len();
    let name = form.name.value;
    if !is_name(&name) {
        faults.name(form.name.referenced.line(), "detector", &name);
    }
    if form.pattern.value.len() > PATTERN {
        faults.add(
            form.pattern.referenced.line(),
            format!("the pattern of `{name}` has {} bytes, more than {PATTERN}", form.pattern.value.len()),
            "split it into several detectors",
        );
    }
    let checks = form.check.map(|checks| {
        let line = checks.referenced.line();
        checks.value.0.into_iter().filter_map(|form| check(&name, line, form, faults)).collect()
    });
    let context = form.context.map(|form| {
        let line = form.referenced.line();
        let (words, before, after) = (form.value.words, form.value.before, form.value.after);
        if words.is_empty() || words.len() > WORDS || words.iter().any(|word| !(3..=64).contains(&word.len()))
        {
            faults.add(
                line,
                format!("the context of `{name}` has no usable words"),
                format!("write one to {WORDS} words of three to 64 bytes"),
            );
        }
        if before.max(after) > NEAR {
            let remedy = format!("let `before` and `after` be at most {NEAR} bytes");
            faults.add(line, format!("the context of `{name}` reaches too far"), remedy);
        }
        Context { words: words.iter().flat_map(|word| spellings(word)).collect(), before, after }
    });
    for (kind, examples) in [("positive", &form.positive), ("negative", &form.negative)] {
        let line = examples.first().map_or(form.name.referenced.line(), |first| first.referenced.line());
        if examples.is_empty() || examples.len() > EXAMPLES {
            faults.add(
                line,
                format!("`{name}` has {} {kind} examples", examples.len()),
                format!("write one to {EXAMPLES}"),
            );
        }
        for example in examples.iter().filter(|example| example.value.len() > EXAMPLE) {
            faults.add(
                example.referenced.line(),
                format!("a {kind} example of `{name}` has {} bytes", example.value.len()),
                format!("use at most {EXAMPLE}"),
            );
        }
    }
    if faults.all.len() > before {
        return None;
    }
    let spec = Spec {
        name,
        pack: pack.to_owned(),
        about: form.about,
        pattern: form.pattern.value,
        word: form.word,
        checks: checks.unwrap_or_default(),
        context,
    };
    let name = spec.name.clone();
    let made = if is_trusted { Detector::trusted(spec) } else { Detector::new(spec) };
    let detector = match made {
        Ok(detector) => detector,
        Err(error) => {
            let (reason, remedy) = explain(&error);
            faults.add(form.pattern.referenced.line(), format!("detector `{name}`: {reason}"), remedy);
            return None;
        }
    };
    if !is_trusted {
        examples::run(&detector, &form.positive, &form.negative, faults);
    }
    (faults.all.len() == before).then_some(detector)
}

/// Parts an error of a pattern into reason and remedy, on one line.
fn explain(error: &crate::DetectorError) -> (String, String) {
    let text = error.to_string();
    match text.split_once("; ") {
        Some((reason, remedy)) => (reason.to_owned(), remedy.to_owned()),
        None => (text, "correct the pattern; docs.rs/regex describes its syntax".to_owned()),
    }
}

fn check(detector: &str, line: u64, form: CheckForm, faults: &mut Faults) -> Option<Check> {
    let name = form.name;
    let found = match (name.as_str(), form.setting) {
        ("entropy", Some(Setting::Number(bits))) if (0.0..=8.0).contains(&bits) =>
        {
            #[expect(clippy::cast_possible_truncation, reason = "eight bits of entropy need no precision")]
            Ok(Check::Entropy(bits as f32))
        }
        ("entropy", _) => Err("write `{entropy: N}` with N of 0 to 8 bits a character".to_owned()),
        ("phone", None) => Regions::parse([]).map(Check::Phone).map_err(|_| String::new()),
        ("phone", Some(Setting::List(codes))) => Regions::parse(codes.iter().map(String::as_str))
            .map(Check::Phone)
            .map_err(|code| format!("`{code}` is no region; use codes of ISO 3166-1, like `[US, DE]`")),
        ("phone", Some(Setting::Number(_))) => Err("write `{phone: [US, DE]}`".to_owned()),
        (_, setting) => match (Check::named(&name), setting) {
            (Some(check), None) => Ok(check),
            (Some(_), Some(_)) => Err(format!("write `{name}` alone; it has no setting")),
            (None, _) => {
                let remedy = near(&name, Check::names().chain(["entropy", "phone"]));
                faults.add(
                    line,
                    format!("detector `{detector}` names a check `{name}`, which there is not"),
                    remedy,
                );
                return None;
            }
        },
    };
    match found {
        Ok(check) => Some(check),
        Err(remedy) => {
            faults.add(line, format!("check `{name}` of `{detector}` has a wrong setting"), remedy);
            None
        }
    }
}

#[cfg(test)]
mod tests;
