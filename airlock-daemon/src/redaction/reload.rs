//! Other packs take the place of those in force, or do not: each message meets the ones or the others, never
//! a mix.

use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::MutexGuard;

use super::history::{History, PackStatus, RedactionStatus, Rejected, Reloaded};
use super::in_force::Redaction;
use super::snapshot::Snapshot;
use crate::config::packs::{self, Fault, Files, Packs};

impl Redaction {
    /// Reads the packs of `dlp.directory`, runs their examples, and only then puts them in force. Without
    /// `asked`, files that were tried before are not tried again, and there is no answer. Takes its time: not
    /// for a worker's thread.
    ///
    /// # Errors
    /// The faults of the packs, as sentences; those in force stay.
    pub fn reload(&self, asked: bool) -> Result<Option<Reloaded>, String> {
        let Some(directory) = &self.dlp.directory else { return Ok(None) };
        let _turn = self.turn.lock();
        let files = Files::read(directory);
        let tried = files.as_ref().map(Files::digest).map_err(Clone::clone);
        if !asked && self.history().tried.as_ref() == Some(&tried) {
            return Ok(None);
        }
        let loaded = files.and_then(|files| packs::of_files(&self.dlp, Some(&files))).and_then(|packs| {
            let faults = packs.unfit(&self.dlp);
            if faults.is_empty() { Ok(packs) } else { Err(faults) }
        });
        self.history().tried = Some(tried);
        match loaded {
            Ok(packs) => Ok(Some(self.put(packs))),
            Err(faults) => {
                let error = sentences(&faults);
                let mut history = self.history();
                history.rejections += 1;
                history.rejected = Some((SystemTime::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn put(&self, packs: Packs) -> Reloaded {
        let mut history = self.history();
        history.rejected = None;
        if self.in_force.load().packs.digest == packs.digest {
            return Reloaded::Same;
        }
        history.loaded += 1;
        history.loaded_at = SystemTime::now();
        drop(history);
        self.in_force.store(Arc::new(Snapshot::new(&self.dlp, packs)));
        Reloaded::Changed
    }

    /// Everything that there is to tell.
    pub fn status(&self) -> RedactionStatus {
        let time = |at: SystemTime| humantime::format_rfc3339_seconds(at).to_string();
        let snapshot = self.in_force.load();
        let pack = |pack: packs::Loaded| PackStatus {
            name: pack.name,
            file: pack.file.map(|file| file.to_string()),
            detectors: pack.detectors,
            on: pack.is_on,
        };
        let history = self.history();
        RedactionStatus {
            mode: snapshot.mode(),
            digest: snapshot.packs.digest.map(|digest| crate::audit::hex(&digest)),
            loaded_at: time(history.loaded_at),
            packs: snapshot.packs.loaded().into_iter().map(pack).collect(),
            loaded: history.loaded,
            rejections: history.rejections,
            rejected: history
                .rejected
                .as_ref()
                .map(|(at, error)| Rejected { at: time(*at), error: error.clone() }),
        }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock()
    }
}

/// Faults with their remedies.
fn sentences(faults: &[Fault]) -> String {
    let each = faults.iter().map(|fault| format!("{}; {}", fault.message, fault.remedy));
    each.collect::<Vec<_>>().join(" | ")
}
