//! The links that a daemon finds among the pins, and how they compare with those that it has attached itself.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;
use std::{fs, io};

use airlock_ebpf::{CGROUP_PREFIX, GUARD, HOST_PREFIX, Hook, SIGNALS};

use super::super::links::{self, Link, Links, TYPE_CGROUP};
use super::fault::{PinsError, failed, file};

/// How often, and how long apart, a link is looked at whose cgroup may just have been removed: the kernel
/// lets go later.
const LOOKS: (u32, Duration) = (20, Duration::from_millis(50));

/// The set that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Nothing,
    /// A set whose cgroup is gone, which holds nobody.
    Dead,
    /// A set of a daemon that died.
    Alive,
}

/// Compares what is there with what we would have pinned.
pub(super) fn whole(directory: &Path, links: &Links) -> Result<Found, PinsError> {
    let foreign = |reason| PinsError::Foreign { directory: directory.to_path_buf(), reason };
    let there = names(directory)?;
    if there.is_empty() {
        return Ok(Found::Nothing);
    }
    if holds_nobody(directory, &there, links) {
        return Ok(Found::Dead);
    }
    let wanted: BTreeSet<String> =
        links.0.iter().flat_map(|link| [file(link, "link"), file(link, "prog")]).collect();
    if there != wanted {
        let difference: Vec<&str> = there.symmetric_difference(&wanted).map(String::as_str).collect();
        return Err(foreign(format!("missing, or not ours: {}", difference.join(", "))));
    }
    links.0.iter().try_for_each(|link| same(directory, link)).map_err(foreign)?;
    Ok(Found::Alive)
}

/// Looks at what is there, whose ever it is.
pub(super) fn any(directory: &Path, links: &Links) -> Result<Found, PinsError> {
    let there = names(directory)?;
    if there.is_empty() {
        return Ok(Found::Nothing);
    }
    Ok(if holds_nobody(directory, &there, links) { Found::Dead } else { Found::Alive })
}

/// The hooks that hold the units of a slice by the sets that are there, the slice's and the servers', and not
/// by these links.
pub(super) fn missing(sets: &[PathBuf; 2], servers: &Links, slice: &Links) -> Vec<&'static str> {
    let [there, theirs] = sets.each_ref().map(|set| names(set).unwrap_or_default());
    if there.is_empty() || holds_nobody(&sets[0], &there, slice) {
        return Vec::new();
    }
    let is_host_wide = |name: &str| name.starts_with(HOST_PREFIX);
    let host_wide = theirs.iter().filter(|name| is_host_wide(name));
    let held = there.iter().chain(host_wide).filter_map(|name| holding(name.strip_suffix("-link")?));
    let host_wide = servers.0.iter().filter(|link| is_host_wide(&link.name));
    let ours = slice.0.iter().chain(host_wide).filter_map(|link| holding(&link.name));
    let (held, ours): (BTreeSet<_>, BTreeSet<_>) = (held.collect(), ours.collect());
    held.difference(&ours).copied().collect()
}

/// The hook of a link that seals or guards, by the name of its program.
fn holding(program: &str) -> Option<&'static str> {
    let name = program.strip_prefix(CGROUP_PREFIX).or_else(|| program.strip_prefix(HOST_PREFIX))?;
    let guard = GUARD.into_iter().chain(SIGNALS).map(|(hook, _)| hook);
    Hook::SEALED.into_iter().chain(guard).map(Hook::name).find(|known| *known == name)
}

/// True where the cgroup of a set is gone. Then it does not matter whose programs these are, or how many:
/// those of an older daemon that was replaced after it had crashed, for one.
fn holds_nobody(directory: &Path, there: &BTreeSet<String>, links: &Links) -> bool {
    let info = |link: &OwnedFd| links::link_info(link).ok().filter(|info| info.kind == TYPE_CGROUP);
    let pinned = there.iter().filter(|name| name.ends_with("-link"));
    let pinned: Vec<OwnedFd> = pinned.filter_map(|name| links::pinned(&directory.join(name)).ok()).collect();
    let ours: BTreeSet<u64> = links.0.iter().filter_map(|link| Some(info(&link.fd)?.cgroup)).collect();
    for _ in 0..LOOKS.0 {
        let theirs: BTreeSet<u64> = pinned.iter().filter_map(|link| Some(info(link)?.cgroup)).collect();
        if theirs.iter().all(|cgroup| *cgroup == 0) {
            // A set without a single link to a cgroup says nothing.
            return !theirs.is_empty();
        }
        if theirs.intersection(&ours).next().is_some() {
            return false;
        }
        sleep(LOOKS.1);
    }
    false
}

/// Compares `link` with its pinned twin.
///
/// # Errors
/// The reason why it is none.
fn same(directory: &Path, link: &Link) -> Result<(), String> {
    let open = |what| {
        let name = file(link, what);
        links::pinned(&directory.join(&name)).map_err(|error| format!("{name} cannot be opened: {error}"))
    };
    let of = |error| format!("{}: {error}", link.name);
    let (old, old_program) = (open("link")?, open("prog")?);
    let ours = links::link_info(&link.fd).map_err(of)?;
    let theirs = links::link_info(&old).map_err(of)?;
    if theirs.kind != ours.kind {
        return Err(format!("{}: a link of type {}, not {}", link.name, theirs.kind, ours.kind));
    }
    let (tag, old_tag) =
        (links::program_info(&link.program).map_err(of)?.tag, links::program_info(&old_program).map_err(of)?);
    if theirs.program != old_tag.id {
        return Err(format!("{}: the link is not of the program that is pinned beside it", link.name));
    }
    if ours.kind == TYPE_CGROUP && theirs.cgroup != ours.cgroup {
        return Err(format!("{}: a link of cgroup {}, not {}", link.name, theirs.cgroup, ours.cgroup));
    }
    if ours.kind == TYPE_CGROUP && theirs.attach_type != ours.attach_type {
        return Err(format!("{}: attached at {}, not {}", link.name, theirs.attach_type, ours.attach_type));
    }
    if old_tag.tag == tag { Ok(()) } else { Err(other_program(link)) }
}

fn other_program(link: &Link) -> String {
    format!("{}: its program is not that of this daemon, but of another version", link.name)
}

fn names(directory: &Path) -> Result<BTreeSet<String>, PinsError> {
    let entries = fs::read_dir(directory).map_err(failed("list", directory))?;
    entries
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .map_err(failed("list", directory))
}
