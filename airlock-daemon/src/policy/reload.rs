//! Another policy takes the place of the one in force, or does not: calls see the one or the other, never a mix.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::engine::PolicyEngine;
use super::error::PolicyError;

/// The policy in force.
pub struct InForce {
    engine: ArcSwap<PolicyEngine>,
    changes: watch::Sender<u64>,
}

/// What came of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The bundle on disk is the one in force.
    Same,
    /// The bundle on disk is in force now.
    Changed,
}

impl InForce {
    /// A policy that is in force from the start.
    pub fn new(engine: PolicyEngine) -> Self {
        Self { engine: ArcSwap::from_pointee(engine), changes: watch::Sender::new(0) }
    }

    /// The policy to decide by. Whoever needs two decisions to agree keeps it for both.
    pub fn load(&self) -> arc_swap::Guard<Arc<PolicyEngine>> {
        self.engine.load()
    }

    /// Counts the changes: who shows lists can tell when they may have become others.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Reads the bundle at `path`, compiles it, runs its own tests, and only then puts it in force. Takes its time: not for a
    /// worker's thread.
    ///
    /// # Errors
    /// What is wrong with the bundle; the policy in force stays.
    pub fn reload(&self, path: &Path) -> Result<Reloaded, PolicyError> {
        let engine = PolicyEngine::load_tested(path)?;
        if engine.digest() == self.engine.load().digest() {
            return Ok(Reloaded::Same);
        }
        self.engine.store(Arc::new(engine));
        self.changes.send_modify(|count| *count += 1);
        Ok(Reloaded::Changed)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ALLOW: &str = "package airlock.authz\n\nimport rego.v1\n\ndefault allow := false\n";

    #[test]
    fn only_a_good_bundle_takes_the_place_of_another() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("authz.rego");
        fs::write(&file, ALLOW).expect("written");
        let policy = InForce::new(PolicyEngine::load(dir.path()).expect("a policy"));
        let mut changes = policy.changes();
        let first = policy.load().digest().to_owned();
        assert_eq!(policy.reload(dir.path()).expect("read"), Reloaded::Same);

        fs::write(&file, "package airlock.authz\n\nallow if {").expect("written");
        policy.reload(dir.path()).expect_err("broken");
        fs::write(&file, format!("{ALLOW}\nallow if input.subject.id == \"a\"\n")).expect("written");
        let test =
            "package airlock.authz_test\n\nimport rego.v1\n\ntest_nobody if data.airlock.authz.allow\n";
        fs::write(dir.path().join("authz_test.rego"), test).expect("written");
        let error = policy.reload(dir.path()).expect_err("a test fails").to_string();
        assert!(error.contains("test_nobody"), "{error}");
        assert_eq!(policy.load().digest(), first);
        assert!(!changes.has_changed().expect("a sender"));

        fs::remove_file(dir.path().join("authz_test.rego")).expect("removed");
        assert_eq!(policy.reload(dir.path()).expect("good"), Reloaded::Changed);
        assert_ne!(policy.load().digest(), first);
        assert!(changes.has_changed().expect("a sender"));
        changes.mark_unchanged();
    }
}
