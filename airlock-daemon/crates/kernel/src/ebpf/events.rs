//! Refusals as the programs tell them: one event a refusal, at most so many a second of one cgroup.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use airlock_ebpf::{EVENTS, Event, Hook, LOST};
use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use parking_lot::Mutex;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Cgroups below a slice that are looked at for one event; units are few, and what they make below their own
/// is theirs.
const SEARCHED: usize = 4_096;

/// Servers and units whose cgroups are remembered besides those that are there: the oldest of them make room.
const REMEMBERED: usize = 8_192;

/// Something that was refused to a pinned server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The server's upstream; none for a process that Airlock did not start.
    pub upstream: Option<Arc<str>>,
    /// The unit of systemd's of such a process.
    pub unit: Option<Arc<str>>,
    /// The process.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// The name of its task; what is not printable is replaced.
    pub comm: String,
    /// The hook that refused.
    pub hook: Hook,
    /// The address family; 0 where the hook knows none.
    pub family: u32,
}

impl Denied {
    /// The target, as far as the hook knows.
    pub fn target(&self) -> String {
        match family_name(self.family) {
            _ if self.family == 0 => self.hook.name().to_owned(),
            Some(name) => name.to_owned(),
            None => format!("address family {}", self.family),
        }
    }
}

/// The names of the families that are met most; the numbers are the kernel's, the same on every architecture.
fn family_name(number: u32) -> Option<&'static str> {
    const NAMES: [(u32, &str); 16] = [
        (1, "AF_UNIX"),
        (2, "AF_INET"),
        (10, "AF_INET6"),
        (15, "AF_KEY"),
        (16, "AF_NETLINK"),
        (17, "AF_PACKET"),
        (21, "AF_RDS"),
        (29, "AF_CAN"),
        (30, "AF_TIPC"),
        (31, "AF_BLUETOOTH"),
        (38, "AF_ALG"),
        (40, "AF_VSOCK"),
        (41, "AF_KCM"),
        (42, "AF_QIPCRTR"),
        (43, "AF_SMC"),
        (44, "AF_XDP"),
    ];
    NAMES.into_iter().find(|(known, _)| *known == number).map(|(_, name)| name)
}

/// The owner of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    /// A server that Airlock started.
    Upstream(Arc<str>),
    /// A unit of the slice.
    Unit(Arc<str>),
    /// A process that is sent to be refused; nobody is to be told.
    Ignored,
}

/// A cgroup that was met.
#[derive(Debug)]
struct Known {
    owner: Owner,
    dir: PathBuf,
}

/// The owners of cgroups, also for a while after a cgroup is gone: events are read later than they happen.
#[derive(Debug, Default)]
pub(crate) struct Names {
    known: Mutex<BTreeMap<u64, Known>>,
    /// The cgroup of the slice, below which those of units are.
    slice: Option<PathBuf>,
}

impl Names {
    /// Looks for the units of unknown cgroups below this one.
    pub(crate) fn look_below(&mut self, slice: Option<&Path>) {
        self.slice = slice.map(Path::to_path_buf);
    }

    /// Remembers the cgroup of a server, which is this directory.
    pub(crate) fn remember(&self, cgroup: u64, dir: PathBuf, upstream: &str) {
        self.keep(cgroup, dir, Owner::Upstream(upstream.into()));
    }

    /// The cgroup of a process that is sent to be refused; nobody is to be told.
    pub(crate) fn ignore(&self, cgroup: u64, dir: PathBuf) {
        self.keep(cgroup, dir, Owner::Ignored);
    }

    /// The kernel counts ids upwards, so the smallest is the oldest; but a server may be older than thousands
    /// that are gone.
    fn keep(&self, cgroup: u64, dir: PathBuf, owner: Owner) {
        let mut known = self.known.lock();
        known.insert(cgroup, Known { owner, dir });
        if known.len() > REMEMBERED
            && let Some(newer) = known.keys().nth(REMEMBERED / 2).copied()
        {
            known.retain(|cgroup, known| *cgroup >= newer || known.dir.exists());
        }
    }

    fn owner(&self, cgroup: u64) -> Option<Owner> {
        let known = self.known.lock();
        if let Some(known) = known.get(&cgroup) {
            return Some(known.owner.clone());
        }
        drop(known);
        let slice = self.slice.as_deref()?;
        let dir = find_below(slice, cgroup)?;
        let owner = Owner::Unit(unit_in(dir.strip_prefix(slice).ok()?)?.into());
        self.keep(cgroup, dir, owner.clone());
        Some(owner)
    }

    /// The event in words; none for what nobody is to be told.
    pub(crate) fn name(&self, event: &Event) -> Option<Denied> {
        let (upstream, unit) = match self.owner(event.cgroup) {
            Some(Owner::Upstream(upstream)) => (Some(upstream), None),
            Some(Owner::Unit(unit)) => (None, Some(unit)),
            Some(Owner::Ignored) => return None,
            None => (None, None),
        };
        Some(Denied {
            upstream,
            unit,
            pid: event.tgid,
            uid: event.uid,
            comm: readable(&event.comm),
            // A number that is no hook was not written by our programs.
            hook: Hook::from_number(event.hook)?,
            family: event.family,
        })
    }
}

/// The directory of a cgroup below that of the slice; its id is the number of its directory. Those that are
/// less deep come first, so that what a unit makes below its own hides nobody.
fn find_below(slice: &Path, cgroup: u64) -> Option<PathBuf> {
    // A cgroup's directories go with it, and what cannot be read any more has ended.
    let mut left = VecDeque::from([slice.to_path_buf()]);
    let mut searched = 0;
    while let Some(dir) = left.pop_front() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if entry.ino() == cgroup {
                return Some(entry.path());
            }
            searched += 1;
            if searched > SEARCHED {
                return None;
            }
            left.push_back(entry.path());
        }
    }
    None
}

/// The outermost unit of a path of cgroups: what a unit makes below its own is its business.
fn unit_in(place: &Path) -> Option<String> {
    let mut parts = place.iter().filter_map(|part| part.to_str());
    let is_unit = |part: &str| [".service", ".scope"].iter().any(|kind| part.ends_with(kind));
    parts.find(|part| is_unit(part)).map(str::to_owned)
}

/// A name that a process gave itself, without what could disturb a log or a terminal.
fn readable(comm: &[u8; 16]) -> String {
    let name = comm.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The reader of the ring, waiting on the calling runtime.
pub(crate) struct Events(AsyncFd<RingBuf<MapData>>);

impl Events {
    /// Takes the ring out of the object; `None` when it was taken before. Call inside of a runtime with I/O.
    pub(crate) fn take(ebpf: &mut Ebpf) -> Option<Self> {
        let ring = RingBuf::try_from(ebpf.take_map(EVENTS)?)
            .inspect_err(|error| tracing::warn!(%error, "no events of the kernel programs"))
            .ok()?;
        // SAFETY: the ring owns its descriptor, and always returns the same one.
        let registered = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        registered
            .map_err(|error| error.into_parts().1)
            .inspect_err(|error| tracing::warn!(%error, "cannot wait for events of the kernel programs"))
            .ok()
            .map(Self)
    }

    /// Waits for events and hands them over, as many as there are.
    pub(crate) async fn next(&mut self, tell: impl FnMut(&Event)) -> std::io::Result<()> {
        let mut ready = self.0.readable_mut().await?;
        read(ready.get_inner_mut(), tell);
        ready.clear_ready();
        Ok(())
    }

    /// Hands over those that there are already.
    pub(crate) fn drain(&mut self, tell: impl FnMut(&Event)) {
        read(self.0.get_mut(), tell);
    }
}

fn read(ring: &mut RingBuf<MapData>, mut tell: impl FnMut(&Event)) {
    while let Some(bytes) = ring.next() {
        if let Some(event) = Event::from_bytes(&bytes) {
            tell(&event);
        }
    }
}

/// How many events found no place since the start.
pub(crate) fn lost(ebpf: &Ebpf) -> u64 {
    ebpf.map(LOST).and_then(|map| super::loader::per_cpu_sum(map, LOST, 0).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(cgroup: u64, hook: u32, family: u32) -> Event {
        Event { cgroup, tgid: 7, uid: 8, hook, family, comm: *b"a\x1b[2J\xff\0rest\0\0\0\0\0" }
    }

    #[test]
    fn an_event_is_named_and_cannot_disturb_a_log() {
        let names = Names::default();
        names.remember(5, PathBuf::new(), "docs");
        let denied = names.name(&event(5, 1, 2)).expect("a hook");
        assert_eq!(denied.upstream.as_deref(), Some("docs"));
        assert_eq!((denied.pid, denied.uid, denied.hook), (7, 8, Hook::Connect4));
        assert_eq!(denied.comm, "a\u{fffd}[2J\u{fffd}");
        assert_eq!(denied.target(), "AF_INET");
        assert_eq!(names.name(&event(6, 16, 0)).expect("a hook").target(), "ptrace_access_check");
        assert_eq!(names.name(&event(6, 9, 99)).expect("a hook").target(), "address family 99");
        assert_eq!(names.name(&event(5, Hook::COUNT, 0)), None);
        names.ignore(9, PathBuf::new());
        assert_eq!(names.name(&event(9, 1, 2)), None);
    }

    #[test]
    fn who_is_not_ours_is_known_by_its_unit() {
        let slice = tempfile::tempdir().expect("a directory");
        let number = |place: &str| {
            let dir = slice.path().join(place);
            fs::create_dir_all(&dir).expect("a directory");
            std::os::unix::fs::MetadataExt::ino(&fs::metadata(dir).expect("its number"))
        };
        let notes = number("notes.service");
        let scope = number("run-1.scope");
        let below = number("notes.service/x.service");
        let deeper = number("more.slice/mail.service/own");
        let bare = number("bare");
        let mut names = Names::default();
        assert_eq!(names.name(&event(notes, 1, 2)).expect("a hook").unit, None);
        names.look_below(Some(slice.path()));
        let unit = |cgroup| names.name(&event(cgroup, 1, 2)).expect("a hook").unit;
        assert_eq!(unit(notes).as_deref(), Some("notes.service"));
        assert_eq!(unit(below).as_deref(), Some("notes.service"));
        assert_eq!(unit(scope).as_deref(), Some("run-1.scope"));
        assert_eq!(unit(deeper).as_deref(), Some("mail.service"));
        assert_eq!((unit(bare), unit(u64::MAX)), (None, None));
        // Events are read later than they happen, when the unit may have ended.
        fs::remove_dir_all(slice.path().join("notes.service")).expect("ours");
        assert_eq!(unit(notes).as_deref(), Some("notes.service"));
    }

    #[test]
    fn a_unit_hides_nobody_by_what_it_makes_below_itself() {
        let slice = tempfile::tempdir().expect("a directory");
        for number in 0..=SEARCHED {
            fs::create_dir_all(slice.path().join(format!("a.service/{number}"))).expect("a directory");
        }
        fs::create_dir(slice.path().join("z.service")).expect("a directory");
        let number = fs::metadata(slice.path().join("z.service")).expect("its number");
        let mut names = Names::default();
        names.look_below(Some(slice.path()));
        let event = event(std::os::unix::fs::MetadataExt::ino(&number), 1, 2);
        assert_eq!(names.name(&event).expect("a hook").unit.as_deref(), Some("z.service"));
    }

    #[test]
    fn the_oldest_that_are_gone_are_forgotten() {
        let (here, gone) = (tempfile::tempdir().expect("a directory"), PathBuf::from("/nonexistent"));
        let names = Names::default();
        names.remember(1, here.path().into(), "docs");
        for cgroup in 2..=REMEMBERED as u64 + 1 {
            names.remember(cgroup, gone.clone(), "docs");
        }
        let upstream = |cgroup| names.name(&event(cgroup, 0, 2)).expect("a hook").upstream;
        assert!(upstream(1).is_some(), "it is there");
        assert_eq!(upstream(2), None);
        assert!(upstream(REMEMBERED as u64).is_some());
    }
}
