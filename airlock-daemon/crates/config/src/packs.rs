//! The detectors that a configuration has: those of the packs that come with Airlock, those of packs of one's
//! own, and single ones.

mod files;

use std::sync::{Arc, OnceLock};

use airlock_dlp::{Detector, DetectorError, Pack, PackError, Regions, Shipped, Spec, merge};

use super::schema::{Dlp, DlpDetector};
use files::told;
pub use files::{Fault, Files};

/// The pack that single detectors of the configuration are in.
pub const OWN: &str = "own";

/// All detectors that there are for a configuration.
#[derive(Debug, Clone, Default)]
pub struct Packs {
    /// In the order in which they are tried.
    pub known: Vec<Known>,
    /// SHA-256 of the files of `dlp.directory`; none without it.
    pub digest: Option<[u8; 32]>,
}

/// A detector, and what the configuration makes of it.
#[derive(Debug, Clone)]
pub struct Known {
    /// The detector.
    pub detector: Detector,
    /// True where `dlp.packs` names its pack, or it stands in `dlp.detectors`.
    pub is_on: bool,
    /// The place in `dlp.detectors`, where it has one.
    pub single: Option<usize>,
    /// The file of `dlp.directory` that it is from; none for one that comes with Airlock.
    pub file: Option<Arc<str>>,
}

/// A pack that is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// Its name.
    pub name: String,
    /// The file of `dlp.directory` that it is from; none for one that comes with Airlock.
    pub file: Option<Arc<str>>,
    /// How many detectors it has.
    pub detectors: usize,
    /// True where it is in use.
    pub is_on: bool,
}

/// All detectors that there are for a configuration. `directory` says whether to read `dlp.directory`.
///
/// # Errors
/// All faults of packs. Those of single detectors are told by [`single`].
pub fn load(dlp: &Dlp, directory: bool) -> Result<Packs, Vec<Fault>> {
    let files = dlp.directory.as_deref().filter(|_| directory).map(Files::read).transpose()?;
    of_files(dlp, files.as_ref())
}

/// The same with files that have been read.
///
/// # Errors
/// As for [`load`].
pub fn of_files(dlp: &Dlp, files: Option<&Files>) -> Result<Packs, Vec<Fault>> {
    let packs = match files {
        Some(files) => {
            let merged = parsed().and_then(|packs| Ok((packs, files.packs()?)));
            merged.and_then(|(packs, own)| detectors(merge(packs, own)))?
        }
        None => shipped()?.clone(),
    };
    // Codes that are none have been told with the faults of the configuration.
    let regions = Regions::parse(dlp.phone_regions.iter().map(String::as_str)).ok();
    let regions = regions.filter(|_| !dlp.phone_regions.is_empty());
    let on = |(detector, file): (Detector, Option<Arc<str>>)| Known {
        is_on: dlp.packs.contains(&detector.spec().pack),
        detector: match &regions {
            Some(regions) => detector.with_regions(regions),
            None => detector,
        },
        single: None,
        file,
    };
    let mut known: Vec<Known> = packs.into_iter().map(on).collect();
    let singles = dlp.detectors.iter().enumerate().filter_map(|(place, of)| Some((place, single(of).ok()?)));
    known.extend(singles.map(|(place, detector)| Known {
        detector,
        is_on: true,
        single: Some(place),
        file: None,
    }));
    Ok(Packs { known, digest: files.map(Files::digest) })
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

impl Packs {
    /// The packs, in the order of their detectors.
    pub fn loaded(&self) -> Vec<Loaded> {
        let mut packs: Vec<Loaded> = Vec::new();
        for known in &self.known {
            let name = &known.detector.spec().pack;
            match packs.last_mut().filter(|last| last.name == *name) {
                Some(last) => last.detectors += 1,
                None => packs.push(Loaded {
                    name: name.clone(),
                    file: known.file.clone(),
                    detectors: 1,
                    is_on: known.is_on,
                }),
            }
        }
        packs
    }

    /// The faults of packs that a configuration cannot be used with, though it could with others: they lack
    /// what it names, or have a name that it gives to something else.
    pub fn unfit(&self, dlp: &Dlp) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |message: String, remedy: &str| {
            faults.push(Fault { message, remedy: remedy.to_owned() });
        };
        let is_there = |is: &dyn Fn(&Known) -> bool| self.known.iter().any(is);
        for pack in &dlp.packs {
            if !is_there(&|known| known.detector.spec().pack == *pack) {
                let remedy = "bring the pack back, or take it out of `dlp.packs` and restart";
                fault(format!("`dlp.packs` names the pack `{pack}`, which is gone"), remedy);
            }
        }
        let remedy = "bring it back, or take the rule out of `dlp.rules` and restart";
        for rule in &dlp.rules {
            let gone = |name: &Option<String>, of: fn(&Known) -> &str| {
                let name = name.as_ref()?;
                (!is_there(&|known| known.is_on && of(known) == name)).then(|| name.clone())
            };
            if let Some(name) = gone(&rule.detector, |known| known.detector.name()) {
                fault(format!("a rule of `dlp.rules` names the detector `{name}`, which is gone"), remedy);
            }
            if let Some(name) = gone(&rule.pack, |known| &known.detector.spec().pack) {
                fault(format!("a rule of `dlp.rules` names the pack `{name}`, which is gone"), remedy);
            }
        }
        for detector in &dlp.detectors {
            if is_there(&|known| known.single.is_none() && known.detector.name() == detector.name) {
                let message = format!("a pack and `dlp.detectors` both have a detector `{}`", detector.name);
                fault(message, "give one of them another name");
            }
        }
        faults
    }
}

/// A detector with the file of one's own that it is from.
type From = (Detector, Option<Arc<str>>);

/// The detectors that come with Airlock, compiled once: `airlock status` reads the configuration many times.
fn shipped() -> Result<&'static Vec<From>, Vec<Fault>> {
    static SHIPPED: OnceLock<Result<Vec<From>, Vec<Fault>>> = OnceLock::new();
    let made = SHIPPED.get_or_init(|| detectors(merge(parsed()?, Vec::new())));
    made.as_ref().map_err(Clone::clone)
}

fn parsed() -> Result<Vec<Pack>, Vec<Fault>> {
    let packs: Result<_, PackError> = airlock_dlp::shipped().iter().map(Shipped::load).collect();
    packs.map_err(|error| told(&error))
}

fn detectors(packs: Result<Vec<Pack>, PackError>) -> Result<Vec<From>, Vec<Fault>> {
    let packs = packs.map_err(|error| told(&error))?;
    let is_shipped = |file: &str| airlock_dlp::shipped().iter().any(|pack| pack.file == file);
    let of = |pack: Pack| {
        let file: Option<Arc<str>> = (!is_shipped(pack.file())).then(|| pack.file().into());
        pack.detectors.into_iter().map(move |detector| (detector, file.clone()))
    };
    Ok(packs.into_iter().flat_map(of).collect())
}
