//! The findings in a message, told to a person: each with its place, its detector and its action.

use std::sync::Arc;

use airlock_dlp::{Account, Action, Finding, account, account_of_text};

use super::binary;
use super::sieve::{Barred, Paths, Sieve};
use crate::config::schema::DlpDirection as Direction;
use crate::mcp::object::quote;

/// All that is found in a message.
#[derive(Debug)]
pub struct MessageFindings {
    /// In order of place.
    pub places: Vec<FoundPlace>,
    /// The message as it may pass, none where it may as it is; or why it may not.
    pub outcome: Result<Option<String>, Barred>,
}

/// A place at which something is found.
#[derive(Debug)]
pub struct FoundPlace {
    /// Where, and what takes its place.
    pub finding: Finding,
    /// Those that have found it, with what each does.
    pub detectors: Vec<Detected>,
}

/// A detector that has found something.
#[derive(Debug)]
pub struct Detected {
    /// Its name.
    pub name: Arc<str>,
    /// Its pack.
    pub pack: String,
    /// One line on it.
    pub about: String,
    /// The action on it.
    pub action: Action,
}

impl Sieve {
    /// Looks through a message as [`Sieve::sift`] does, and tells of each finding. A text that is no JSON is
    /// looked through as the inside of one string.
    pub fn tell(&self, direction: Direction, text: &str, is_json: bool) -> MessageFindings {
        let is_barred = self.refuses_binary
            && if is_json { binary::is_there(text) } else { binary::is_there(&quote(text)) };
        let nothing = |outcome| MessageFindings { places: Vec::new(), outcome };
        let barred = |outcome| if is_barred { Err(Barred::Binary) } else { outcome };
        let Some(actions) = &self.actions[direction as usize] else { return nothing(barred(Ok(None))) };
        let accounted = self.planned(direction, actions, Paths::default(), |plan| {
            if is_json { account(plan, text) } else { account_of_text(plan, text) }
        });
        let fate = |refused| self.barred(direction, actions, refused).map_or(Ok(None), Err);
        match accounted {
            Ok(Account { findings, outcome }) => MessageFindings {
                places: findings.into_iter().map(|finding| self.place(finding, actions)).collect(),
                outcome: barred(outcome.map_or_else(fate, |redacted| Ok(redacted.text))),
            },
            Err(refused) => nothing(barred(fate(refused))),
        }
    }

    fn place(&self, finding: Finding, actions: &[Action]) -> FoundPlace {
        let detected = |at: &usize| {
            let spec = self.kit.detectors().get(*at)?.spec();
            Some(Detected {
                name: Arc::clone(self.kit.names.get(*at)?),
                pack: spec.pack.clone(),
                about: spec.about.clone(),
                action: *actions.get(*at)?,
            })
        };
        let detectors = finding.detectors.iter().filter_map(detected).collect();
        FoundPlace { finding, detectors }
    }
}
