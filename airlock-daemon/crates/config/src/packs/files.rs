//! The files of `dlp.directory`: packs of one's own, as they are on disk.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use airlock_dlp::{Pack, PackError};
use sha2::{Digest as _, Sha256};

use crate::exposed::exposed;
use crate::regular::open_file;

/// The most files that are read.
const FILES: usize = 256;
/// The most bytes of a file that are read: the loader of packs takes less, and says so.
const BYTES: u64 = (1 << 20) + 1;

/// Why a pack cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The fault, with file and line.
    pub message: String,
    /// The remedy.
    pub remedy: String,
}

/// The files of a directory, by name.
#[derive(Debug, Default)]
pub struct Files(Vec<(PathBuf, Vec<u8>)>);

impl Files {
    /// Reads all files `*.yaml` of a directory.
    ///
    /// # Errors
    /// All faults of the files, each with its remedy.
    pub fn read(directory: &Path) -> Result<Self, Vec<Fault>> {
        let (mut files, mut faults) = (Vec::new(), Vec::new());
        for path in paths(directory).map_err(|fault| vec![fault])? {
            match bytes(&path) {
                Ok(bytes) => files.push((path, bytes)),
                Err(fault) => faults.push(fault),
            }
        }
        if faults.is_empty() { Ok(Self(files)) } else { Err(faults) }
    }

    /// SHA-256 of the names and contents.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (path, bytes) in &self.0 {
            let name = path.as_os_str().as_encoded_bytes();
            for part in [name, bytes] {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
        }
        digest.finalize().into()
    }

    /// Compiles the packs, whose examples run.
    ///
    /// # Errors
    /// All faults of packs.
    pub(super) fn packs(&self) -> Result<Vec<Pack>, Vec<Fault>> {
        let (mut packs, mut faults) = (Vec::new(), Vec::new());
        for (path, bytes) in &self.0 {
            match Pack::read(&path.display().to_string(), bytes) {
                Ok(pack) => packs.push(pack),
                Err(error) => faults.append(&mut told(&error)),
            }
        }
        if faults.is_empty() { Ok(packs) } else { Err(faults) }
    }
}

/// The faults of packs.
pub(super) fn told(error: &PackError) -> Vec<Fault> {
    let fault = |fault: &airlock_dlp::Fault| Fault {
        message: format!("{}: {}", fault.place, fault.reason),
        remedy: fault.remedy.clone(),
    };
    error.faults().iter().map(fault).collect()
}

fn paths(directory: &Path) -> Result<Vec<PathBuf>, Fault> {
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
    if files.len() > FILES {
        return Err(Fault {
            message: format!(
                "the directory `{}` has {} packs, more than {FILES}",
                directory.display(),
                files.len()
            ),
            remedy: "put several packs together, or remove those that you do not need".to_owned(),
        });
    }
    files.sort();
    Ok(files)
}

fn bytes(path: &Path) -> Result<Vec<u8>, Fault> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| Fault {
        message: format!("the pack `{shown}` cannot be read: {error}"),
        remedy: "let the user that runs Airlock read it, or remove it".to_owned(),
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Fault {
            message: format!("the pack `{shown}` is no file"),
            remedy: "remove it".to_owned(),
        });
    }
    if let Some(found) = exposed(path, &metadata) {
        return Err(Fault { message: found.to_string(), remedy: found.remedy() });
    }
    let mut bytes = Vec::new();
    open_file(path).and_then(|file| file.take(BYTES).read_to_end(&mut bytes)).map_err(unreadable)?;
    Ok(bytes)
}
