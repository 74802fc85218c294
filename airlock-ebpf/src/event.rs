//! Refusals as the cage's programs tell the daemon of them, and how many they may tell.
#![allow(clippy::inline_always, reason = "a program in the kernel has no stack to spare for calls")]

/// A refusal: the operation, and the process that asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// The id of the process's cgroup.
    pub cgroup: u64,
    /// The process (thread group).
    pub tgid: u32,
    /// Its user.
    pub uid: u32,
    /// [`Hook`](crate::Hook) as a number.
    pub hook: u32,
    /// The address family; 0 where the hook knows none.
    pub family: u32,
    /// The name of the task, padded with zero bytes.
    pub comm: [u8; 16],
}

/// How many events a cgroup has had in a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Pace {
    /// When the second began, in nanoseconds of `CLOCK_MONOTONIC`.
    pub since: u64,
    /// Events since then.
    pub count: u64,
}

/// Events that a cgroup may have in a second; what comes on top is counted in [`LOST`](crate::LOST).
pub const EVENTS_A_SECOND: u64 = 20;

impl Pace {
    /// The pace after one more event, and whether that event is within it.
    #[inline(always)]
    pub const fn step(self, now: u64) -> (Self, bool) {
        if now.wrapping_sub(self.since) >= 1_000_000_000 {
            return (Self { since: now, count: 1 }, true);
        }
        if self.count >= EVENTS_A_SECOND {
            return (self, false);
        }
        (Self { since: self.since, count: self.count + 1 }, true)
    }
}

const _: () = assert!(size_of::<Event>() == 40 && align_of::<Event>() == 8);
const _: () = assert!(size_of::<Pace>() == 16 && align_of::<Pace>() == 8);

impl Event {
    /// Reads an event as it lies in the ring; none when it has another size.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 40] = bytes.try_into().ok()?;
        let word = |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mut cgroup = [0; 8];
        cgroup.copy_from_slice(&bytes[..8]);
        let mut comm = [0; 16];
        comm.copy_from_slice(&bytes[24..]);
        Some(Self {
            cgroup: u64::from_ne_bytes(cgroup),
            tgid: word(8),
            uid: word(12),
            hook: word(16),
            family: word(20),
            comm,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_so_many_events() {
        let mut pace = Pace::default();
        let start = 5_000_000_000;
        for n in 0..100 {
            let (next, within) = pace.step(start + n);
            pace = next;
            assert_eq!(within, n < EVENTS_A_SECOND, "{n}");
        }
        assert!(!pace.step(start + 999_999_999).1);
        let (next, within) = pace.step(start + 1_000_000_000);
        assert!(within);
        assert_eq!(next, Pace { since: start + 1_000_000_000, count: 1 });
        // A clock that another CPU read a moment earlier begins a new second instead of a wait without end.
        assert!(next.step(start).1);
    }

    #[test]
    fn an_event_is_read_as_it_was_written() {
        let event = Event {
            cgroup: 1 << 40,
            tgid: 7,
            uid: 65_534,
            hook: 9,
            family: 2,
            comm: *b"node\0\0\0\0\0\0\0\0\0\0\0\0",
        };
        let mut bytes = event.cgroup.to_ne_bytes().to_vec();
        for word in [event.tgid, event.uid, event.hook, event.family] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(event.comm);
        assert_eq!(Event::from_bytes(&bytes), Some(event));
        assert_eq!(Event::from_bytes(&bytes[1..]), None);
    }
}
