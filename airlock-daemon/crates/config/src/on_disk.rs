//! The configuration file, compared with what of it is in force.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::diagnostics::Diagnostics;
use super::load::checked;
use super::read::text;
use super::schema::Config;
use super::{load, read};
use crate::age::Age;
use crate::validate::checks::Files;

/// A file as it was when it was read.
#[derive(Debug, Clone)]
pub struct OnDisk {
    path: PathBuf,
    digest: [u8; 32],
}

impl OnDisk {
    pub(super) fn new(path: &Path, text: &str) -> Self {
        Self { path: path.to_path_buf(), digest: Sha256::digest(text).into() }
    }

    /// How the file differs from what is in force, in a sentence with the remedy; none where it does not.
    /// Reads the file.
    pub fn drift(&self) -> Option<String> {
        let shown = self.path.display();
        if std::fs::metadata(&self.path).is_ok_and(|found| !found.is_file()) {
            // A pipe says nothing once more, and would be waited for.
            return None;
        }
        let text = match read::text(&self.path) {
            Ok(text) => text,
            Err(mistakes) => {
                let why =
                    mistakes.entries().first().map(|mistake| mistake.message.clone()).unwrap_or_default();
                return Some(format!("the next start will fail: {shown}: {why}"));
            }
        };
        if <[u8; 32]>::from(Sha256::digest(&text)) == self.digest {
            return None;
        }
        let changed = std::fs::metadata(&self.path).and_then(|file| file.modified());
        let age = changed.map_or_else(|_| "since".to_owned(), |at| format!("{} ago", Age::since(at)));
        Some(if load::load(&self.path).is_err() {
            format!(
                "{shown} was changed {age}, is not in force and has mistakes, so that the next start will fail: see `airlock check`"
            )
        } else {
            format!(
                "{shown} was changed {age} and is not in force: restart the daemon (systemctl restart airlock)"
            )
        })
    }
}

/// The same with what the file is to be compared with later.
///
/// # Errors
/// As [`load`].
pub fn load_from_disk(path: &Path) -> Result<(Config, OnDisk), Diagnostics> {
    let text = text(path)?;
    let config = checked(&path.display().to_string(), &text, Files::Check)?;
    Ok((config, OnDisk::new(path, &text)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::super::load_from_disk;

    #[test]
    fn a_file_that_was_changed_is_told_with_its_age_and_what_a_start_would_find() {
        let dir = tempfile::tempdir().unwrap();
        let (path, policies) = (dir.path().join("airlock.yaml"), dir.path().join("policies"));
        std::fs::create_dir(&policies).unwrap();
        let text = format!(
            "auth: {{issuers: [{{issuer: 'https://idp.example', audience: [a]}}]}}\npolicy: {{path: {}}}\naudit: {{dir: {}}}\n",
            policies.display(),
            dir.path().display()
        );
        std::fs::write(&path, &text).unwrap();
        let (_, file) = load_from_disk(&path).unwrap();
        assert_eq!(file.drift(), None);
        std::fs::write(&path, text.clone() + "# a word\n").unwrap();
        let told = file.drift().unwrap();
        assert!(told.contains("s ago and is not in force: restart"), "{told}");
        std::fs::write(&path, text.clone() + "nonsense: 1\n").unwrap();
        assert!(file.drift().unwrap().contains("has mistakes"), "{:?}", file.drift());
        std::fs::write(&path, text).unwrap();
        assert_eq!(file.drift(), None);
        std::fs::remove_file(&path).unwrap();
        assert!(file.drift().unwrap().contains("the next start will fail: "), "{:?}", file.drift());
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert_eq!(file.drift(), None, "a pipe is not read");
    }
}
