//! The text that `airlock dlp test` looks at, and what it looks for.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use super::super::defaults::DEFAULT_CONFIG;
use crate::config::packs::{self, Packs};
use crate::config::schema::{Config, Dlp};
use crate::config::{self, Diagnostic, nearest};

/// The longest text, in bytes.
const LONGEST: u64 = 64 << 20;

/// How a text is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// A message, or the inside of one.
    Json,
    /// The inside of one string.
    Text,
}

/// Reads the text: given, of a file, or from standard input.
///
/// # Errors
/// The mistake, with place, reason and remedy.
pub(super) fn text(
    given: Option<&str>,
    file: Option<&Path>,
    input: &mut impl Read,
) -> Result<(String, String), Vec<Diagnostic>> {
    let file = file.filter(|file| *file != Path::new("-"));
    if let Some(text) = given {
        return Ok(("--text".to_owned(), text.to_owned()));
    }
    let shown = file.map_or_else(|| "standard input".to_owned(), |file| file.display().to_string());
    let mut bytes = Vec::new();
    let read = match file {
        Some(file) => File::open(file).and_then(|file| file.take(LONGEST + 1).read_to_end(&mut bytes)),
        None => input.take(LONGEST + 1).read_to_end(&mut bytes),
    };
    read.map_err(|error| wrong(&shown, format!("cannot be read: {error}"), "name a file that you may read"))?;
    if bytes.len() as u64 > LONGEST {
        return Err(wrong(&shown, format!("longer than {} MiB", LONGEST >> 20), "try a part of it"));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let message = format!("byte {} is not UTF-8", error.utf8_error().valid_up_to());
        wrong(&shown, message, "save the text as UTF-8: no message of MCP has such bytes")
    })?;
    Ok((shown, text))
}

/// Tells if a text is taken for JSON. Without a wish an object or an array is.
///
/// # Errors
/// The mistake, where JSON is wished for and this is none.
pub(super) fn is_json(shown: &str, text: &str, wish: Option<Form>) -> Result<bool, Vec<Diagnostic>> {
    if wish == Some(Form::Text) {
        return Ok(false);
    }
    let read = serde_json::from_str::<&RawValue>(text);
    match (read, wish) {
        (Ok(value), None) => Ok(value.get().starts_with(['{', '['])),
        (Ok(_), Some(_)) => Ok(true),
        (Err(_), None) => Ok(false),
        (Err(error), Some(_)) => {
            Err(wrong(shown, format!("no JSON: {error}"), "correct it, or say `--as text`"))
        }
    }
}

/// Reads the configuration: the one that is named, or the one of this host, or none.
///
/// # Errors
/// Its mistakes.
pub(super) fn config(named: Option<&Path>) -> Result<Option<(PathBuf, Config)>, Vec<Diagnostic>> {
    let default = Path::new(DEFAULT_CONFIG);
    let Some(path) = named.or_else(|| default.exists().then_some(default)) else { return Ok(None) };
    let config = config::load(path).map_err(|mistakes| mistakes.entries().to_vec())?;
    Ok(Some((path.to_path_buf(), config)))
}

/// The detectors that there are, of packs that there are.
///
/// # Errors
/// The faults of packs, and the name of a pack that there is not.
pub(super) fn packs(dlp: &Dlp) -> Result<Packs, Vec<Diagnostic>> {
    let directory = dlp.directory.as_ref().map_or_else(String::new, |path| path.display().to_string());
    let packs = packs::load(dlp, true).map_err(|faults| {
        let told = |fault: packs::Fault| Diagnostic::of_file(&directory, fault.message, "", fault.remedy);
        faults.into_iter().map(told).collect::<Vec<_>>()
    })?;
    let loaded = packs.loaded();
    let names: Vec<&str> = loaded.iter().map(|pack| pack.name.as_str()).collect();
    let unknown = dlp.packs.iter().filter(|pack| !names.contains(&pack.as_str()));
    let told = unknown.map(|pack| {
        let help = nearest(pack, &names).map_or_else(
            || format!("name one of {}, or the `--directory` that has it", names.join(", ")),
            |meant| format!("did you mean `{meant}`?"),
        );
        wrong("--pack", format!("there is no pack `{pack}`"), &help)
    });
    let told: Vec<Diagnostic> = told.flatten().collect();
    if told.is_empty() { Ok(packs) } else { Err(told) }
}

/// One mistake.
pub(super) fn wrong(place: &str, message: String, help: &str) -> Vec<Diagnostic> {
    vec![Diagnostic::of_file(place, message, "", help)]
}
