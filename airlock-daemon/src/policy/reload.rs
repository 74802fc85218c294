//! Another policy takes the place of the one in force, or does not: calls see the one or the other, never a
//! mix.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use tokio::sync::watch;

use super::bundle::Files;
use super::engine::PolicyEngine;
use super::engine::cache::Counts;
use super::error::PolicyError;
use super::vet::{Findings, Vetting};

/// Where the policy is and how it is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory of the bundle.
    pub path: PathBuf,
    /// How a bundle is tried before it is run.
    pub vetting: Vetting,
    /// How long a decision may be kept; not at all when absent.
    pub cache_ttl: Option<Duration>,
}

/// The policy in force.
pub struct InForce {
    options: Options,
    engine: ArcSwap<PolicyEngine>,
    changes: watch::Sender<u64>,
    counts: Arc<Counts>,
    /// Held through a whole reload, so that two do not overtake each other. No call waits for it.
    turn: Mutex<()>,
    history: Mutex<History>,
}

#[derive(Debug, Default)]
struct History {
    /// When the policy in force took its place; `None` while there is none.
    loaded_at: Option<SystemTime>,
    findings: Option<Findings>,
    rejected: Option<(SystemTime, PolicyError)>,
    loaded: u64,
    rejections: u64,
    /// The files on disk at the last attempt.
    tried: Option<Result<[u8; 32], PolicyError>>,
}

/// The result of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The bundle on disk is the one in force.
    Same,
    /// The bundle on disk is in force now.
    Changed,
}

/// The state of the policy that `airlock status` shows. Times are RFC 3339, in UTC.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyStatus {
    /// SHA-256 of the bundle in force, in hex; `none` where there is no good one and everything is refused.
    pub digest: String,
    /// Since when it is in force.
    pub loaded_at: Option<String>,
    /// `bytecode`, `interpreter` (about four times slower), or `none`.
    pub engine: &'static str,
    /// Why it runs in the interpreter.
    pub fallback: Option<String>,
    /// How many of the bundle's own tests passed before it was put in force.
    pub tests: usize,
    /// How many other inputs it was tried with, in both engines where both can run it.
    pub probes: usize,
    /// Bundles put in force since the start, the first one included.
    pub loaded: u64,
    /// Bundles refused since the start.
    pub rejections: u64,
    /// The bundle on disk is not good, and not the one in force.
    pub rejected: Option<Rejected>,
    /// Decisions kept.
    pub cache: CacheStatus,
}

/// Why the bundle on disk is not in force.
#[derive(Debug, Clone, Serialize)]
pub struct Rejected {
    /// When it was refused.
    pub at: String,
    /// Where, why, and what to do.
    pub error: String,
}

/// How decisions are kept.
#[derive(Debug, Clone, Serialize)]
pub struct CacheStatus {
    /// True where any are.
    pub on: bool,
    /// Why not: switched off, or what the policy reads.
    pub off_because: Option<String>,
    /// Decisions found.
    pub hits: u64,
    /// Decisions not found.
    pub misses: u64,
}

impl InForce {
    /// Puts the bundle on disk in force. Where it is not good, everything is refused until a reload brings
    /// one that is; why is in [`InForce::status`].
    pub fn start(options: Options) -> Self {
        let in_force = Self {
            options,
            engine: ArcSwap::from_pointee(PolicyEngine::none()),
            changes: watch::Sender::new(0),
            counts: Arc::default(),
            turn: Mutex::default(),
            history: Mutex::default(),
        };
        // The error stays in the history.
        let _ = in_force.reload();
        in_force
    }

    /// The policy to decide by. Whoever needs two decisions to agree keeps it for both.
    pub fn load(&self) -> arc_swap::Guard<Arc<PolicyEngine>> {
        self.engine.load()
    }

    /// Counts the changes: who shows lists can tell when they may have become others.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Reads the bundle on disk, has it tried with its own tests, and only then puts it in force. Takes its
    /// time: not for a worker's thread.
    ///
    /// # Errors
    /// The fault of the bundle; the policy in force stays.
    pub fn reload(&self) -> Result<Reloaded, PolicyError> {
        let _turn = self.turn.lock();
        self.attempt(Files::read(&self.options.path))
    }

    /// As [`InForce::reload`], where the files are others than at the last attempt; nothing where they are
    /// the same.
    ///
    /// # Errors
    /// As [`InForce::reload`].
    pub fn reload_if_other(&self) -> Result<Option<Reloaded>, PolicyError> {
        let _turn = self.turn.lock();
        let files = Files::read(&self.options.path);
        if self.history().tried.as_ref() == Some(&digest(&files)) {
            return Ok(None);
        }
        self.attempt(files).map(Some)
    }

    fn attempt(&self, files: Result<Files, PolicyError>) -> Result<Reloaded, PolicyError> {
        let tried = digest(&files);
        let outcome = files.and_then(|files| self.options.vetting.compile(&files));
        let mut history = self.history();
        // Where it was not even tried, it is tried again.
        let untried = outcome.as_ref().is_err_and(|error| error.is_untried);
        history.tried = (!untried).then_some(tried);
        let (engine, findings) = match outcome {
            Ok(good) => good,
            Err(error) => {
                history.rejections += 1;
                history.rejected = Some((SystemTime::now(), error.clone()));
                return Err(error);
            }
        };
        history.rejected = None;
        history.findings = Some(findings);
        let in_force = self.engine.load();
        // Other tests may have shown that it belongs in the other engine.
        if engine.digest() == in_force.digest()
            && engine.fallback().is_some() == in_force.fallback().is_some()
        {
            return Ok(Reloaded::Same);
        }
        history.loaded += 1;
        history.loaded_at = Some(SystemTime::now());
        drop(history);
        let engine = engine.with_cache(self.options.cache_ttl, &self.counts);
        if let Some(reason) = engine.fallback() {
            tracing::warn!(
                reason,
                digest = engine.digest(),
                "the policy runs in the interpreter, which takes about four times as long"
            );
        }
        self.engine.store(Arc::new(engine));
        self.changes.send_modify(|count| *count += 1);
        Ok(Reloaded::Changed)
    }

    /// Why nothing can be allowed; `None` while a policy is in force.
    pub fn trouble(&self) -> Option<String> {
        if self.engine.load().is_policy() {
            return None;
        }
        let why = self.history().rejected.as_ref().map(|(_, error)| error.to_string());
        Some(format!("no policy is in force, everything is refused: {}", why.unwrap_or_default()))
    }

    /// Everything that there is to tell.
    pub fn status(&self) -> PolicyStatus {
        let time = |at: &SystemTime| humantime::format_rfc3339_seconds(*at).to_string();
        let engine = self.engine.load();
        let history = self.history();
        let off_because = match self.options.cache_ttl {
            None => Some("policy.decision_cache_ttl is null".to_owned()),
            Some(_) => engine.fickle().map(str::to_owned),
        };
        PolicyStatus {
            digest: engine.digest().to_owned(),
            loaded_at: history.loaded_at.as_ref().map(time),
            engine: match (engine.is_policy(), engine.is_bytecode()) {
                (false, _) => "none",
                (true, true) => "bytecode",
                (true, false) => "interpreter",
            },
            fallback: engine.fallback().map(str::to_owned),
            tests: history.findings.as_ref().map_or(0, |findings| findings.tests),
            probes: history.findings.as_ref().map_or(0, |findings| findings.probes),
            loaded: history.loaded,
            rejections: history.rejections,
            rejected: history
                .rejected
                .as_ref()
                .map(|(at, error)| Rejected { at: time(at), error: error.to_string() }),
            cache: CacheStatus {
                on: off_because.is_none() && engine.is_policy(),
                off_because,
                hits: self.counts.hits(),
                misses: self.counts.misses(),
            },
        }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock()
    }
}

fn digest(files: &Result<Files, PolicyError>) -> Result<[u8; 32], PolicyError> {
    files.as_ref().map(Files::digest).map_err(Clone::clone)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ALLOW: &str = "package airlock.authz\n\nimport rego.v1\n\ndefault allow := false\n";

    fn in_force(path: &std::path::Path) -> InForce {
        let cache_ttl = Some(Duration::from_mins(1));
        InForce::start(Options { path: path.to_path_buf(), vetting: Vetting::Here, cache_ttl })
    }

    #[test]
    fn only_a_good_bundle_takes_the_place_of_another() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("authz.rego");
        fs::write(&file, ALLOW).expect("written");
        let policy = in_force(dir.path());
        let mut changes = policy.changes();
        changes.mark_unchanged();
        let first = policy.load().digest().to_owned();
        assert_eq!(policy.reload().expect("read"), Reloaded::Same);
        assert_eq!(policy.reload_if_other().expect("read"), None);

        fs::write(&file, "package airlock.authz\n\nallow if {").expect("written");
        policy.reload_if_other().expect_err("broken");
        assert_eq!(policy.reload_if_other().expect("told once"), None);
        policy.reload().expect_err("still broken, and asked for");
        fs::write(&file, format!("{ALLOW}\nallow if input.subject.id == \"a\"\n")).expect("written");
        let test =
            "package airlock.authz_test\n\nimport rego.v1\n\ntest_nobody if data.airlock.authz.allow\n";
        fs::write(dir.path().join("authz_test.rego"), test).expect("written");
        let error = policy.reload().expect_err("a test fails").to_string();
        assert!(error.contains("test_nobody"), "{error}");
        assert_eq!(policy.load().digest(), first);
        assert!(!changes.has_changed().expect("a sender"));
        let status = policy.status();
        assert_eq!((status.loaded, status.rejections, &status.digest), (1, 3, &first));
        assert!(status.rejected.expect("an alarm").error.contains("test_nobody"));
        assert_eq!(policy.trouble(), None, "the last good one decides");

        fs::remove_file(dir.path().join("authz_test.rego")).expect("removed");
        assert_eq!(policy.reload_if_other().expect("good"), Some(Reloaded::Changed));
        assert_ne!(policy.load().digest(), first);
        assert!(changes.has_changed().expect("a sender"));
        assert!(policy.status().rejected.is_none());
    }

    #[test]
    fn the_old_files_put_back_end_the_alarm() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("authz.rego");
        fs::write(&file, ALLOW).expect("written");
        let policy = in_force(dir.path());
        fs::remove_file(&file).expect("removed");
        policy.reload_if_other().expect_err("empty");
        assert!(policy.status().rejected.is_some());
        fs::write(&file, ALLOW).expect("written");
        assert_eq!(policy.reload_if_other().expect("good"), Some(Reloaded::Same));
        assert!(policy.status().rejected.is_none());
    }

    #[test]
    fn without_any_good_bundle_everything_is_refused_until_there_is_one() {
        use crate::auth::principal::Principal;
        use crate::policy::{Call, Client, NO_POLICY_RULE, Question};

        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("authz.rego");
        fs::write(&file, "package airlock.authz\n\nallow if {").expect("written");
        let policy = in_force(dir.path());
        let subject = Principal::named("alice", Some("acme"));
        let ask = || {
            let call = Call {
                method: "ping",
                upstream: "docs",
                tool: None,
                prompt: None,
                resource: None,
                root: None,
                arguments: None,
                revision: "2026-07-28",
            };
            policy.load().decide(&Question { subject: &subject, call, client: Client::default(), time: 0 })
        };
        assert_eq!((ask().allow, &*ask().rule_id), (false, NO_POLICY_RULE));
        let trouble = policy.trouble().expect("trouble");
        assert!(trouble.contains("authz.rego:3"), "{trouble}");
        let status = policy.status();
        assert_eq!((status.engine, status.loaded, status.digest.as_str()), ("none", 0, "none"));
        assert!(!status.cache.on && status.loaded_at.is_none());

        fs::write(&file, "package airlock.authz\nimport rego.v1\nallow := true\n").expect("written");
        assert_eq!(policy.reload_if_other().expect("good"), Some(Reloaded::Changed));
        assert!(ask().allow);
        assert_eq!(policy.trouble(), None);
        let status = policy.status();
        assert_eq!((status.engine, status.loaded, status.cache.on), ("bytecode", 1, true));
        ask();
        assert!(policy.status().cache.hits >= 1);
        serde_json::to_string(&status).expect("JSON");
    }
}
