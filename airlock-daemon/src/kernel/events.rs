//! What the programs refused, as they tell it: one event a refusal, at most so many a second of one cgroup.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use airlock_ebpf::{EVENTS, Event, Hook, LOST};
use aya::Ebpf;
use aya::maps::{MapData, RingBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::cgroup;

/// Servers whose cgroups are remembered; those that are the longest gone make room.
const REMEMBERED: usize = 8_192;

/// What no upstream is called.
const IGNORED: &str = "";

/// Something that was refused to a pinned server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Whose server it was; none for a process that Airlock did not start.
    pub upstream: Option<Arc<str>>,
    /// The unit of systemd's of such a process, as long as it lives.
    pub unit: Option<String>,
    /// The process.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// The name of its task; what is not printable is replaced.
    pub comm: String,
    /// What refused.
    pub hook: Hook,
    /// The address family; 0 where the hook knows none.
    pub family: u32,
}

impl Denied {
    /// What was to be reached, as far as the hook knows.
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

/// Whose cgroup is whose, also for a while after a cgroup is gone: events are read later than they happen.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<BTreeMap<u64, Arc<str>>>);

impl Names {
    /// Remembers the cgroup of a server. The kernel counts ids upwards, so the smallest is the oldest.
    pub(super) fn remember(&self, cgroup: u64, upstream: &str) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.insert(cgroup, upstream.into());
        if names.len() > REMEMBERED {
            names.pop_first();
        }
    }

    /// The cgroup of a process that is sent to be refused; nobody is to be told.
    pub(super) fn ignore(&self, cgroup: u64) {
        self.remember(cgroup, IGNORED);
    }

    /// The event in words; none for what nobody is to be told.
    pub(super) fn name(&self, event: &Event) -> Option<Denied> {
        let upstream = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&event.cgroup).cloned();
        if upstream.as_deref() == Some(IGNORED) {
            return None;
        }
        let unit = if upstream.is_none() { unit_of(event.tgid) } else { None };
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

/// The unit that a process is in, by its cgroup.
fn unit_of(pid: u32) -> Option<String> {
    let place = cgroup::of_process(&pid.to_string()).ok()?;
    unit_in(&place)
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
pub(super) struct Events(AsyncFd<RingBuf<MapData>>);

impl Events {
    /// Takes the ring out of the object; `None` when it was taken before. Call inside of a runtime with I/O.
    pub(super) fn take(ebpf: &mut Ebpf) -> Option<Self> {
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
    pub(super) async fn next(&mut self, mut tell: impl FnMut(&Event)) -> std::io::Result<()> {
        let mut ready = self.0.readable_mut().await?;
        let ring = ready.get_inner_mut();
        while let Some(bytes) = ring.next() {
            if let Some(event) = Event::from_bytes(&bytes) {
                tell(&event);
            }
        }
        ready.clear_ready();
        Ok(())
    }
}

/// How many events found no place since the start.
pub(super) fn lost(ebpf: &Ebpf) -> u64 {
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
        names.remember(5, "docs");
        let denied = names.name(&event(5, 1, 2)).expect("a hook");
        assert_eq!(denied.upstream.as_deref(), Some("docs"));
        assert_eq!((denied.pid, denied.uid, denied.hook), (7, 8, Hook::Connect4));
        assert_eq!(denied.comm, "a\u{fffd}[2J\u{fffd}");
        assert_eq!(denied.target(), "AF_INET");
        assert_eq!(names.name(&event(6, 16, 0)).expect("a hook").target(), "ptrace_access_check");
        assert_eq!(names.name(&event(6, 9, 99)).expect("a hook").target(), "address family 99");
        assert_eq!(names.name(&event(5, Hook::COUNT, 0)), None);
        names.ignore(9);
        assert_eq!(names.name(&event(9, 1, 2)), None);
    }

    #[test]
    fn who_is_not_ours_is_known_by_its_unit() {
        let unit = |place: &str| unit_in(Path::new(place));
        let slice = "/sys/fs/cgroup/airlock.slice/airlock-mcp.slice";
        assert_eq!(unit(&format!("{slice}/notes.service")).as_deref(), Some("notes.service"));
        assert_eq!(unit(&format!("{slice}/notes.service/x.service")).as_deref(), Some("notes.service"));
        assert_eq!(unit(&format!("{slice}/run-1.scope")).as_deref(), Some("run-1.scope"));
        assert_eq!(unit(slice), None);
        assert_eq!(unit_of(u32::MAX), None);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let names = Names::default();
        for cgroup in 1..=REMEMBERED as u64 + 1 {
            names.remember(cgroup, "docs");
        }
        assert_eq!(names.name(&event(1, 0, 2)).expect("a hook").upstream, None);
        assert!(names.name(&event(2, 0, 2)).expect("a hook").upstream.is_some());
    }
}
