//! Everything that was compiled of one configuration and of the packs on disk.

use std::sync::{Arc, OnceLock};

use airlock_dlp::Action;

use super::kit::Kit;
use super::purpose::is_of;
use crate::config::packs::Packs;
use crate::config::schema::{Dlp, DlpBinary, DlpMode};

/// Everything that was compiled of one configuration and of the packs on disk.
pub(super) struct Snapshot {
    dlp: Arc<Dlp>,
    /// True where content that is no text is refused.
    pub(super) refuses_binary: bool,
    /// The detectors that are in use.
    used: Arc<Kit>,
    /// All that there are, once a call was obliged to more than those that are in use.
    all: OnceLock<Arc<Kit>>,
    pub(super) packs: Packs,
    /// For words in logs, by place among the detectors in use; none where nothing is looked for.
    spoken: Option<Arc<[Action]>>,
}

impl Snapshot {
    pub(super) fn new(dlp: &Arc<Dlp>, packs: Packs) -> Self {
        let used = packs.known.iter().filter(|known| known.is_on).cloned().collect();
        let used = Kit::new(dlp, used);
        Self {
            spoken: (dlp.mode != DlpMode::Off).then(|| used.spoken()).flatten(),
            dlp: Arc::clone(dlp),
            refuses_binary: dlp.binary == DlpBinary::Refuse && dlp.mode == DlpMode::Enforce,
            used: Arc::new(used),
            all: OnceLock::new(),
            packs,
        }
    }

    pub(super) fn mode(&self) -> DlpMode {
        self.dlp.mode
    }

    /// The detectors for a call that the policy obliges to these. Those in use do unless they lack one; all
    /// that there are, which takes its time, are put together for the first call that needs them.
    pub(super) fn kit(&self, obliged: &[Arc<str>]) -> &Arc<Kit> {
        if self.has_all(obliged) {
            return &self.used;
        }
        self.all.get_or_init(|| Arc::new(Kit::new(&self.dlp, self.packs.known.clone())))
    }

    /// The detectors for words in logs, with what each does.
    pub(super) fn spoken(&self) -> Option<(&Kit, &[Action])> {
        Some((&self.used, self.spoken.as_deref()?))
    }

    /// True where the next call that is obliged to these waits for detectors to be put together.
    pub(super) fn is_slow(&self, obliged: &[Arc<str>]) -> bool {
        self.mode() != DlpMode::Off && !self.has_all(obliged) && self.all.get().is_none()
    }

    /// The first of these that is no pack and no detector.
    pub(super) fn unknown<'a>(&self, obliged: &'a [Arc<str>]) -> Option<&'a Arc<str>> {
        obliged.iter().find(|name| !self.packs.known.iter().any(|known| is_of(&known.detector, name)))
    }

    /// True where every detector that is named, by itself or by its pack, is in use.
    fn has_all(&self, obliged: &[Arc<str>]) -> bool {
        let mut idle = self.packs.known.iter().filter(|known| !known.is_on);
        obliged.is_empty() || !idle.any(|known| obliged.iter().any(|name| is_of(&known.detector, name)))
    }
}
