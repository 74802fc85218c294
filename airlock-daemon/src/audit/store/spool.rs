//! Records that were taken and are not stored yet, where the death of the process does not reach them.
//!
//! Workers put a record's text into a ring that lies in a file ([`FILE`] in the log's directory) mapped into
//! memory, which costs them no system call. Everything in it is the kernel's from then on: a process that is
//! killed takes nothing along, and the next one finds what the writer had not come to. A host that loses its
//! power may lose it, as it may lose what is not synced.
//!
//! The file is a header of [`HEADER`] words and a ring. Positions count words from the beginning of time, and
//! a place in the ring is a position modulo its size, so that what an earlier lap left is never taken for a
//! record. An entry is [`ENTRY`] words (committed length, its own position, time in microseconds, number in
//! the log) and its text.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rustix::fs::FallocateFlags;

use super::file::StoreError;
use super::mapping::{Mapping, WORD};

/// The file's name.
pub(super) const FILE: &str = "pending";
/// Words of the ring: 16 MiB, about 25,000 records.
pub(in crate::audit) const RING: u64 = 2 * 1024 * 1024;
/// Words before the ring: a page, so that its places do not share lines of the cache with what all change.
const HEADER: u64 = 512;
/// Words before the text of an entry.
const ENTRY: u64 = 4;
/// The first word of the file: a name and a version.
const MAGIC: u64 = u64::from_le_bytes(*b"airlock1");
/// The upper half of an entry's first word, whose lower half is the length: it is committed.
const COMMITTED: u64 = 0x5245_4344 << 32;
/// The number of an entry that the writer has not come to.
const UNNUMBERED: u64 = u64::MAX;
/// A ring that has become empty begins at its first place again, once it is further than this many words into
/// a lap: the few pages that are in use stay the same, and are written to disk once in a while instead of one
/// after another.
const WARM: u64 = 16 * 1024;

// Where things are in the header; each in a line of the cache of its own.
const AT_MAGIC: usize = 0;
const AT_SIZE: usize = 1;
const AT_HEAD: usize = 64;
const AT_TAIL: usize = 128;
const AT_LOST: usize = 192;
const AT_TOLD: usize = 256;

/// An entry of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::audit) struct RingSlot {
    at: u64,
    bytes: u32,
}

impl RingSlot {
    /// Words that an entry takes.
    fn words(self) -> u64 {
        ENTRY + u64::from(self.bytes).div_ceil(WORD as u64)
    }
}

/// The records that an earlier process left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::audit) struct Left {
    /// Where each is, when it was made, and its text, in order.
    pub(in crate::audit) records: Vec<(RingSlot, SystemTime, Vec<u8>)>,
    /// Records that were refused, of which no gap record tells.
    pub(in crate::audit) refused: u64,
    /// Why the file could not be read, and what it is called now.
    pub(in crate::audit) unreadable: Option<String>,
}

/// The ring, as producers see it.
#[derive(Debug)]
pub(in crate::audit) struct Spool {
    map: Mapping,
    size: u64,
    /// Where what an earlier process left ends.
    left_until: u64,
    /// How many records had been refused till then.
    left_lost: u64,
}

/// The consumer's side: entries are given back in any order, and their room is free in the order of the ring.
#[derive(Debug, Default)]
pub(in crate::audit) struct Freed(BinaryHeap<Reverse<RingSlot>>);

thread_local! {
    /// The words of the text that is being put.
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Spool {
    /// Opens the ring in `dir`, the lock of which must be held, and takes out what an earlier process had
    /// left there and the log, whose next number is `next_seq`, does not have.
    ///
    /// # Errors
    /// The file cannot be made, filled or mapped.
    pub(in crate::audit) fn open(dir: &Path, next_seq: u64) -> Result<(Self, Left), StoreError> {
        let path = dir.join(FILE);
        let mut options = OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NOFOLLOW);
        let mut left = Left::default();
        match options.open(&path) {
            Ok(file) => match Self::read(&file, next_seq) {
                Some(found) => return Ok(found),
                None => left.unreadable = Some(set_aside(dir, &path)?),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(StoreError::new("open", &path, error)),
        }
        // Made whole under another name: whatever ends the process meanwhile, `pending` is a ring or is not
        // there.
        let new = dir.join(format!("{FILE}.new"));
        let made = Self::make(&new).and_then(|spool| {
            std::fs::rename(&new, &path).map_err(|error| StoreError::new("name", &path, error))?;
            Ok(spool)
        });
        if made.is_err() {
            // It may have taken the last room on the disk; where it was never made there is nothing to
            // remove.
            let _ = std::fs::remove_file(&new);
        }
        Ok((made?, left))
    }

    /// A ring that no file lies behind.
    #[cfg(test)]
    pub(in crate::audit) fn in_memory(words: u64) -> Self {
        let map = Mapping::anonymous(usize::try_from(HEADER + words).unwrap_or(usize::MAX)).expect("memory");
        Self { map, size: words, left_until: 0, left_lost: 0 }
    }

    /// Makes an empty ring in a new file. All its blocks are taken at once: where the disk is full later, no
    /// write to the mapping fails.
    fn make(path: &Path) -> Result<Self, StoreError> {
        let fail = |error| StoreError::new("make room for records in", path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o640).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(path).map_err(fail)?;
        let bytes = (HEADER + RING) * WORD as u64;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => {}
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let page = vec![0; 64 * 1024];
                for at in (0..bytes).step_by(page.len()) {
                    std::os::unix::fs::FileExt::write_all_at(&file, &page, at).map_err(fail)?;
                }
            }
            Err(error) => return Err(fail(error.into())),
        }
        let map = Mapping::of(&file, usize::try_from(HEADER + RING).unwrap_or(usize::MAX)).map_err(fail)?;
        let spool = Self { map, size: RING, left_until: 0, left_lost: 0 };
        spool.header(AT_SIZE).store(RING, Ordering::Relaxed);
        spool.header(AT_MAGIC).store(MAGIC, Ordering::Release);
        Ok(spool)
    }

    /// Maps what another process has made, with what is left in it; none where it is no such file.
    fn read(file: &File, next_seq: u64) -> Option<(Self, Left)> {
        let map = Mapping::of(file, usize::try_from(HEADER + RING).ok()?).ok()?;
        let mut spool = Self { map, size: RING, left_until: 0, left_lost: 0 };
        let (head, tail) = (spool.header(AT_HEAD), spool.header(AT_TAIL));
        let (end, start) = (head.load(Ordering::Acquire), tail.load(Ordering::Acquire));
        spool.left_until = end;
        let whole = spool.header(AT_MAGIC).load(Ordering::Acquire) == MAGIC
            && spool.header(AT_SIZE).load(Ordering::Acquire) == RING;
        if !whole || end < start || end - start > RING {
            return None;
        }
        spool.left_lost = spool.lost();
        let refused = spool.left_lost.saturating_sub(spool.told());
        let mut left = Left { refused, ..Left::default() };
        let mut at = start;
        while at < end {
            // An entry that was reserved and never committed had no effect yet. The next one tells its own
            // position.
            let Some((slot, time, seq)) = spool.entry(at, end) else {
                at += 1;
                continue;
            };
            if seq == UNNUMBERED || seq >= next_seq {
                let mut text = Vec::new();
                spool.copy(slot, &mut text);
                left.records.push((slot, time, text));
            }
            at += slot.words();
        }
        Some((spool, left))
    }

    /// Gives back the room of what an earlier process left, once it is stored and before anything else is
    /// given back.
    pub(in crate::audit) fn forget_left(&self) {
        self.header(AT_TAIL).store(self.left_until, Ordering::Release);
        self.tell(self.left_lost);
    }

    /// Counts a record that was not taken. True where it is the first of which no gap record tells.
    pub(in crate::audit) fn lose(&self) -> bool {
        let before = self.header(AT_LOST).fetch_add(1, Ordering::SeqCst);
        before == self.told()
    }

    /// How many were not taken, since the file was made.
    pub(in crate::audit) fn lost(&self) -> u64 {
        self.header(AT_LOST).load(Ordering::SeqCst)
    }

    /// Those of them that gap records tell of, where they are stored.
    pub(in crate::audit) fn told(&self) -> u64 {
        self.header(AT_TOLD).load(Ordering::SeqCst)
    }

    /// Notes that gap records that are stored tell of so many.
    pub(in crate::audit) fn tell(&self, lost: u64) {
        self.header(AT_TOLD).store(lost, Ordering::SeqCst);
    }

    /// Puts a record, whose text `write` appends to the vector it gets. None where it would find no room in
    /// the first `percent` of the ring's.
    pub(in crate::audit) fn put(
        &self,
        time: SystemTime,
        percent: u64,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Option<RingSlot> {
        TEXT.with_borrow_mut(|text| {
            text.clear();
            write(text);
            let slot = RingSlot { at: 0, bytes: u32::try_from(text.len()).ok()? };
            let words = slot.words();
            let head = self.header(AT_HEAD);
            let most = self.size / 100 * percent;
            let fits = |at: u64| {
                let tail = self.header(AT_TAIL).load(Ordering::Acquire);
                // The tail is ahead where others have put, stored and freed since `at` was read: then the
                // exchange fails.
                ((at + words).saturating_sub(tail) <= most).then_some(at + words)
            };
            let at = head.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).ok()?;
            let slot = RingSlot { at, ..slot };
            // Nothing that an earlier lap left at this place may be taken for this entry before it is whole.
            self.word(at).store(0, Ordering::Relaxed);
            self.word(at + 1).store(at, Ordering::Release);
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            self.word(at + 2).store(u64::try_from(since.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.word(at + 3).store(UNNUMBERED, Ordering::Relaxed);
            let (whole, rest) = text.as_chunks::<WORD>();
            let mut place = at + ENTRY;
            for word in whole {
                self.word(place).store(u64::from_le_bytes(*word), Ordering::Relaxed);
                place += 1;
            }
            if !rest.is_empty() {
                let mut word = [0; WORD];
                word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                self.word(place).store(u64::from_le_bytes(word), Ordering::Relaxed);
            }
            self.word(at).store(COMMITTED | u64::from(slot.bytes), Ordering::Release);
            Some(slot)
        })
    }

    /// Appends an entry's text.
    pub(in crate::audit) fn copy(&self, slot: RingSlot, out: &mut Vec<u8>) {
        let end = out.len() + slot.bytes as usize;
        out.reserve(slot.bytes as usize + WORD);
        for place in slot.at + ENTRY..slot.at + slot.words() {
            out.extend_from_slice(&self.word(place).load(Ordering::Relaxed).to_le_bytes());
        }
        out.truncate(end);
    }

    /// Notes which number of the log an entry gets, so that the next process can tell whether it is stored.
    pub(in crate::audit) fn number(&self, slot: RingSlot, seq: u64) {
        self.word(slot.at + 3).store(seq, Ordering::Release);
    }

    /// Gives back the room of entries that are stored.
    pub(in crate::audit) fn free(&self, freed: &mut Freed, slots: impl Iterator<Item = RingSlot>) {
        freed.0.extend(slots.map(Reverse));
        let tail = self.header(AT_TAIL);
        let mut at = tail.load(Ordering::Relaxed);
        while let Some(Reverse(slot)) = freed.0.peek().copied().filter(|Reverse(slot)| slot.at == at) {
            at += slot.words();
            freed.0.pop();
        }
        tail.store(at, Ordering::Release);
        if at % self.size > WARM {
            let (head, lap) = (self.header(AT_HEAD), at.next_multiple_of(self.size));
            // Fails where somebody puts a record just now. Until the tail follows, the rest of the lap counts
            // as taken.
            if head.compare_exchange(at, lap, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                tail.store(lap, Ordering::Release);
            }
        }
    }

    /// Which part of the ring is taken, in percent.
    pub(in crate::audit) fn used(&self) -> u64 {
        let head = self.header(AT_HEAD).load(Ordering::Acquire);
        head.saturating_sub(self.header(AT_TAIL).load(Ordering::Acquire)) * 100 / self.size
    }

    /// The entry at a position, if a committed one that ends before `end` is there.
    fn entry(&self, at: u64, end: u64) -> Option<(RingSlot, SystemTime, u64)> {
        let word = self.word(at).load(Ordering::Acquire);
        let bytes = u32::try_from(word ^ COMMITTED).ok()?;
        let slot = RingSlot { at, bytes };
        if self.word(at + 1).load(Ordering::Acquire) != at || at + slot.words() > end {
            return None;
        }
        let micros = Duration::from_micros(self.word(at + 2).load(Ordering::Acquire));
        let time = SystemTime::UNIX_EPOCH.checked_add(micros)?;
        Some((slot, time, self.word(at + 3).load(Ordering::Acquire)))
    }

    fn header(&self, at: usize) -> &AtomicU64 {
        &self.map.words()[at]
    }

    /// The word at a position.
    fn word(&self, position: u64) -> &AtomicU64 {
        // The mapping has `HEADER + size` words, and `size` fits a `usize`, since it was mapped.
        #[allow(clippy::cast_possible_truncation, reason = "smaller than the mapping")]
        let at = (HEADER + position % self.size) as usize;
        &self.map.words()[at]
    }
}

/// Gives a file that cannot be read another name, under which it stays for somebody to look at.
fn set_aside(dir: &Path, path: &Path) -> Result<String, StoreError> {
    let fail = |error| StoreError::new("set apart", path, error);
    for attempt in 0..1_000_u32 {
        let name = format!("{FILE}.unreadable.{attempt}");
        let aside: PathBuf = dir.join(&name);
        if aside.symlink_metadata().is_ok() {
            continue;
        }
        std::fs::rename(path, &aside).map_err(fail)?;
        return Ok(name);
    }
    Err(fail(io::Error::other("1,000 files that could not be read are there already; look at them")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
