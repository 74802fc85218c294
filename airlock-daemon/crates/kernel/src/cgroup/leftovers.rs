//! Leftovers of dead daemons among the cgroups: their servers, and the directories that these were in.

use std::fs;
use std::path::{Path, PathBuf};

use super::hierarchy::{self, delegated_base, own_cgroup};
use super::{CLAIMED, Cgroups, Leaf, PARENTS};
use crate::directories::claim::Claim;

/// Entries of a directory of cgroups that are looked at.
const LOOKED_AT: usize = 100_000;

/// Ends the servers of a daemon that died, whose cgroups systemd left to us. A directory of our own making
/// has none.
pub(crate) fn end(cgroups: &Cgroups) {
    if cgroups.are_given() {
        end_below(cgroups.base());
    }
}

/// Ends the servers of a daemon that died for one that makes no cgroups; gives the directory that both are
/// in, if systemd delegated one.
pub(crate) fn clear_delegated() -> Option<PathBuf> {
    let base = delegated_base(&own_cgroup().ok()?)?;
    end_below(&base);
    Some(base)
}

/// Ends the servers of daemons that made their cgroups themselves, beside those of this one, and died without
/// removing them. A daemon whose lock is held lives, and keeps what it has.
pub(crate) fn clear_dead() {
    let Ok(own) = own_cgroup() else { return };
    clear_below(&delegated_base(&own).unwrap_or(own));
}

fn clear_below(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().take(LOOKED_AT).flatten() {
        if !entry.file_name().to_str().is_some_and(is_claimed) {
            continue;
        }
        let Some(claim) = Claim::of_the_dead(&entry.path()) else { continue };
        end_below(claim.path());
        match hierarchy::remove(claim.path()) {
            Ok(()) => {
                tracing::info!(path = %claim.path().display(), "cgroups of a daemon that is gone: removed");
            }
            Err(error) => {
                tracing::warn!(path = %claim.path().display(), %error, "cgroups of a daemon that is gone stay");
            }
        }
    }
}

/// True where it is the name of a cgroup on which its daemon holds a lock: `airlock-<pid>-<n>-claimed`.
fn is_claimed(name: &str) -> bool {
    let numbers = name.strip_prefix("airlock-").and_then(|rest| rest.strip_suffix(CLAIMED));
    let numbers = numbers.and_then(|numbers| numbers.split_once('-'));
    numbers.is_some_and(|(pid, number)| {
        [pid, number].iter().all(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

fn end_below(base: &Path) {
    for parent in PARENTS.map(|name| base.join(name)) {
        let leaves = fs::read_dir(&parent).into_iter().flatten().take(LOOKED_AT).flatten();
        for leaf in leaves.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
            tracing::info!(path = %leaf.path().display(), "server of a daemon that is gone: ended");
            drop(Leaf::left(leaf.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_daemons_are_theirs() {
        assert!(is_claimed("airlock-17-0-claimed"));
        for other in [
            "airlock-17-0",
            "airlock--0-claimed",
            "airlock-x-0-claimed",
            "airlock-17-claimed",
            "17-0-claimed",
        ] {
            assert!(!is_claimed(other), "{other}");
        }
    }

    #[test]
    fn what_a_living_daemon_has_stays_and_what_a_dead_one_had_goes() {
        let place = tempfile::tempdir().expect("a directory");
        let [living, dead] =
            ["airlock-1-0-claimed", "airlock-1-1-claimed"].map(|name| place.path().join(name));
        let kept = Claim::make(&living, 0o755).expect("a directory").expect("nobody is faster");
        fs::create_dir_all(dead.join("servers")).expect("directories");
        fs::create_dir(place.path().join("airlock-1-2")).expect("one without a lock");
        clear_below(place.path());
        assert!(kept.path().exists() && !dead.exists() && place.path().join("airlock-1-2").exists());
    }
}
