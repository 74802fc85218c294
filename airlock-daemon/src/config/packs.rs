//! The detectors that a configuration has: those of the packs that come with Airlock, those of packs of one's
//! own, and single ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use airlock_dlp::{Detector, DetectorError, Pack, PackError, Shipped, Spec, merge};

use super::exposed::exposed;
use super::schema::{Dlp, DlpDetector};

/// The pack that single detectors of the configuration are in.
pub const OWN: &str = "own";

/// A detector, and what the configuration makes of it.
#[derive(Debug, Clone)]
pub struct Known {
    /// The detector.
    pub detector: Detector,
    /// True where `dlp.packs` names its pack, or it stands in `dlp.detectors`.
    pub is_on: bool,
    /// The place in `dlp.detectors`, where it has one.
    pub single: Option<usize>,
}

/// Why a pack cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The fault, with file and line.
    pub message: String,
    /// The remedy.
    pub remedy: String,
}

/// All detectors that there are for a configuration, in the order in which they are tried. `directory` says
/// whether to read `dlp.directory`.
///
/// # Errors
/// All faults of packs. Those of single detectors are told by [`single`].
pub fn known(dlp: &Dlp, directory: bool) -> Result<Vec<Known>, Vec<Fault>> {
    let packs = match dlp.directory.as_deref().filter(|_| directory) {
        Some(own) => with_own(own)?,
        None => shipped()?.clone(),
    };
    let on = |detector: Detector| Known {
        is_on: dlp.packs.contains(&detector.spec().pack),
        detector,
        single: None,
    };
    let mut known: Vec<Known> = packs.into_iter().map(on).collect();
    let singles = dlp.detectors.iter().enumerate().filter_map(|(place, of)| Some((place, single(of).ok()?)));
    known.extend(singles.map(|(place, detector)| Known { detector, is_on: true, single: Some(place) }));
    Ok(known)
}

/// Compiles a single detector.
///
/// # Errors
/// Why it cannot be one.
pub fn single(of: &DlpDetector) -> Result<Detector, DetectorError> {
    Detector::new(Spec {
        name: of.name.clone(),
        pack: OWN.to_owned(),
        about: "a detector of the configuration".to_owned(),
        pattern: of.pattern.clone(),
        word: of.word,
        ..Spec::default()
    })
}

/// The detectors that come with Airlock, compiled once: `airlock status` reads the configuration many times.
fn shipped() -> Result<&'static Vec<Detector>, Vec<Fault>> {
    static SHIPPED: OnceLock<Result<Vec<Detector>, Vec<Fault>>> = OnceLock::new();
    let made = SHIPPED.get_or_init(|| detectors(parsed().and_then(|packs| merge(packs, Vec::new()))));
    made.as_ref().map_err(Clone::clone)
}

fn parsed() -> Result<Vec<Pack>, PackError> {
    airlock_dlp::shipped().iter().map(Shipped::load).collect()
}

/// The same with packs of one's own.
fn with_own(directory: &Path) -> Result<Vec<Detector>, Vec<Fault>> {
    let (mut own, mut faults) = (Vec::new(), Vec::new());
    for file in files(directory).map_err(|fault| vec![fault])? {
        match read(&file) {
            Ok(pack) => own.push(pack),
            Err(mut told) => faults.append(&mut told),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    detectors(parsed().and_then(|packs| merge(packs, own)))
}

fn detectors(packs: Result<Vec<Pack>, PackError>) -> Result<Vec<Detector>, Vec<Fault>> {
    let packs = packs.map_err(|error| told(&error))?;
    Ok(packs.into_iter().flat_map(|pack| pack.detectors).collect())
}

fn told(error: &PackError) -> Vec<Fault> {
    let fault = |fault: &airlock_dlp::Fault| Fault {
        message: format!("{}: {}", fault.place, fault.reason),
        remedy: fault.remedy.clone(),
    };
    error.faults().iter().map(fault).collect()
}

/// The packs of a directory, by name.
fn files(directory: &Path) -> Result<Vec<PathBuf>, Fault> {
    let fail = |error: std::io::Error| Fault {
        message: format!("the directory `{}` cannot be read: {error}", directory.display()),
        remedy: "create it, let the user that runs Airlock read it, or remove `dlp.directory`".to_owned(),
    };
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.extension().is_some_and(|kind| kind == "yaml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<Pack, Vec<Fault>> {
    let shown = file.display().to_string();
    let fault = |message: String, remedy: String| vec![Fault { message, remedy }];
    let unreadable = |error: std::io::Error| {
        fault(
            format!("the pack `{shown}` cannot be read: {error}"),
            "let the user that runs Airlock read it, or remove it".to_owned(),
        )
    };
    let metadata = fs::metadata(file).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(fault(format!("the pack `{shown}` is no file"), "remove it".to_owned()));
    }
    if let Some(found) = exposed(file, &metadata) {
        return Err(fault(found.to_string(), found.remedy()));
    }
    let bytes = fs::read(file).map_err(unreadable)?;
    Pack::read(&shown, &bytes).map_err(|error| told(&error))
}
