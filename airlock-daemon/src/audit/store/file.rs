//! The segments on disk: `<dir>/<number of the first record, 20 digits>.jsonl`.
//!
//! Synced bytes are never written again. A write or sync that fails leaves the segment cut back to its last
//! synced length before anything else is written, so a retry never stores a line twice and never builds on a
//! page the kernel lost.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::space;
use super::space::Space;
use crate::audit::records::chain::Chain;
use crate::audit::records::hash::digest;
use crate::audit::records::line::parse_line;

/// No line is longer than this, in bytes; a longer one was not written by Airlock.
pub const MAX_LINE: usize = 64 * 1024;
/// A segment that has reached this many bytes gets no more lines.
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// The file whose lock says that a daemon writes here.
const LOCK: &str = ".lock";

/// A step that failed, on what, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}{}", .path.display(), remedy(.source))]
pub struct StoreError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl StoreError {
    pub(in crate::audit) fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; free space there, or point audit.dir at a larger file system"
        }
        io::ErrorKind::PermissionDenied => {
            "; the user that runs airlock must own the directory and be able to write there"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; remount it writable, or list it in ReadWritePaths= of airlock.service"
        }
        io::ErrorKind::NotADirectory => "; audit.dir must name a directory",
        io::ErrorKind::NotFound => "; create its parent directory, or correct audit.dir",
        _ => "",
    }
}

/// Why a directory is not one the log can be continued in.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A system call failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another daemon has it.
    #[error("{} is being written by another airlock{holder}; give each daemon an audit.dir of its own", .dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// ` (pid N)` where known.
        holder: String,
    },
    /// Others may write there.
    #[error("{} may be written by others than its owner (mode {mode:04o}); run: chmod 0750 {}", .dir.display(), .dir.display())]
    Exposed {
        /// The directory.
        dir: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The end of the log is not a record.
    #[error("{}: {what}; nothing is appended to a doubtful log: look with `airlock audit verify`, then move it away", .path.display())]
    Doubtful {
        /// The segment.
        path: PathBuf,
        /// The fault.
        what: String,
    },
}

/// Where the writer puts lines. `Err` means that nothing of `lines` is stored, and that the same call may be
/// repeated.
pub(in crate::audit) trait Store: Send {
    /// Appends whole lines, the first of which has the number `first_seq`, and returns when they are on disk.
    fn append(&mut self, first_seq: u64, lines: &[u8]) -> Result<(), StoreError>;

    /// How much room is left for more.
    fn space(&self) -> Space {
        Space::Plenty
    }
}

/// A cut last line that was set apart when the log was opened.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::audit) struct Torn {
    pub(in crate::audit) name: String,
    pub(in crate::audit) bytes: u64,
}

/// The open directory: its lock and the segment that is written.
#[derive(Debug)]
pub(in crate::audit) struct Segments {
    dir: PathBuf,
    _lock: File,
    path: PathBuf,
    file: File,
    /// Length up to which the segment is synced.
    len: u64,
    /// True where bytes may stand after `len`.
    dirty: bool,
    segment_bytes: u64,
    /// Bytes that are to stay free on the file system.
    reserve: u64,
}

impl Segments {
    /// Opens (or makes) the directory and finds the end of its chain. `reserve` bytes are to stay free on its
    /// file system.
    pub(in crate::audit) fn open(dir: &Path, reserve: u64) -> Result<(Self, Chain, Option<Torn>), OpenError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(dir)
            .map_err(|e| StoreError::new("create the audit directory", dir, e))?;
        let mode = std::fs::metadata(dir)
            .map_err(|e| StoreError::new("look at the audit directory", dir, e))?
            .permissions()
            .mode()
            & 0o7777;
        if mode & 0o022 != 0 {
            return Err(OpenError::Exposed { dir: dir.to_owned(), mode });
        }
        let lock = lock(dir)?;
        let names = segments(dir).map_err(|e| StoreError::new("list the audit directory", dir, e))?;
        let (chain, last) = recover(&names)?;
        let (path, file, len, torn) = if let Some(Last { path, file, end, len }) = last {
            let torn = if end < len { Some(set_apart(dir, &path, &file, end, len)?) } else { None };
            (path, file, end, torn)
        } else {
            let (path, file) = create(dir, chain.next_seq)?;
            (path, file, 0, None)
        };
        let segments = Self {
            dir: dir.to_owned(),
            _lock: lock,
            path,
            file,
            len,
            dirty: false,
            segment_bytes: SEGMENT_BYTES,
            reserve,
        };
        Ok((segments, chain, torn))
    }

    /// Makes segments end after `bytes`, for tests of what happens between them.
    #[cfg(test)]
    pub(in crate::audit) fn with_segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), StoreError> {
        let fail = |action, error| StoreError::new(action, &self.path, error);
        if self.dirty {
            self.file.set_len(self.len).map_err(|e| fail("cut back", e))?;
        }
        let meta = self.file.metadata().map_err(|e| fail("look at", e))?;
        if meta.nlink() == 0 || meta.len() != self.len {
            let changed = io::Error::other(
                "somebody removed or changed it while it was in use; restart airlock and verify",
            );
            return Err(fail("append to", changed));
        }
        self.dirty = true;
        let written = self.file.write_all_at(lines, self.len).map_err(|e| fail("append to", e));
        if let Err(error) = written.and_then(|()| self.file.sync_data().map_err(|e| fail("sync", e))) {
            // At once, so that a reader sees whole lines only; if that fails as well, the next attempt begins
            // with it.
            self.dirty = self.file.set_len(self.len).is_err();
            return Err(error);
        }
        self.dirty = false;
        self.len += lines.len() as u64;
        Ok(())
    }
}

impl Store for Segments {
    fn append(&mut self, first_seq: u64, lines: &[u8]) -> Result<(), StoreError> {
        if self.len >= self.segment_bytes {
            let (path, file) = create(&self.dir, first_seq)?;
            (self.path, self.file, self.len, self.dirty) = (path, file, 0, false);
        }
        self.write(lines)
    }

    fn space(&self) -> Space {
        // A file system that does not say how much is left tells by a failing write.
        space::of(&self.dir, self.reserve).unwrap_or_default()
    }
}

/// The segments of `dir`, in the order in which they were written.
pub fn segments(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if first_seq(&path).is_some() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The number that a segment's name promises for its first line.
pub(in crate::audit) fn first_seq(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".jsonl")?;
    if stem.len() == 20 && stem.bytes().all(|b| b.is_ascii_digit()) { stem.parse().ok() } else { None }
}

fn create(dir: &Path, first_seq: u64) -> Result<(PathBuf, File), StoreError> {
    let path = dir.join(format!("{first_seq:020}.jsonl"));
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(&path)
        .map_err(|e| StoreError::new("create the segment", &path, e))?;
    sync_dir(dir)?;
    Ok((path, file))
}

/// A new name is durable only when its directory is.
fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(|e| StoreError::new("sync the audit directory", dir, e))
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let fail = |action, error| StoreError::new(action, &path, error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(&path)
        .map_err(|e| fail("open the lock", e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let known = file.read_to_string(&mut pid).is_ok() && pid.trim().parse::<u32>().is_ok();
            let holder = if known { format!(" (pid {})", pid.trim()) } else { String::new() };
            return Err(OpenError::Locked { dir: dir.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(fail("lock", error).into()),
    }
    // Only a courtesy for the message above; a full disk must not keep the lock from being taken.
    if file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).is_err() {
        tracing::debug!(path = %path.display(), "the lock file does not name its holder");
    }
    Ok(file)
}

/// True where a daemon writes to `dir` just now.
pub(in crate::audit) fn is_locked(dir: &Path) -> bool {
    File::open(dir.join(LOCK))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

struct Last {
    path: PathBuf,
    file: File,
    /// Where the last whole line ends.
    end: u64,
    len: u64,
}

/// Finds the last line of the log by reading only the ends of its segments.
fn recover(names: &[PathBuf]) -> Result<(Chain, Option<Last>), OpenError> {
    let mut last = None;
    let mut chain = Chain::default();
    for path in names.iter().rev() {
        let doubtful = |what: &str| OpenError::Doubtful { path: path.clone(), what: what.to_owned() };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .map_err(|e| StoreError::new("open the segment", path, e))?;
        let tail = tail(&file, 1).map_err(|e| StoreError::new("read the end of", path, e))?;
        if last.is_some() && tail.end < tail.len {
            return Err(doubtful("its last line is cut, and a later segment exists"));
        }
        let endless = tail.end == 0 && tail.len > MAX_LINE as u64;
        if endless || (tail.end > 0 && tail.lines.is_empty()) {
            return Err(doubtful("its end is not a line"));
        }
        let (end, len) = (tail.end, tail.len);
        let line = tail.lines.into_iter().next();
        last.get_or_insert(Last { path: path.clone(), file, end, len });
        if let Some(line) = line {
            let parsed = parse_line(&line)
                .map_err(|what| doubtful(&format!("its last line is not a record: {what}")))?;
            if first_seq(path).is_none_or(|first| first > parsed.seq) {
                return Err(doubtful("its name does not fit its last line"));
            }
            chain = Chain { next_seq: parsed.seq.saturating_add(1), head: digest(&line) };
            break;
        }
    }
    if let Some(last) = last.as_ref().filter(|last| last.end == 0)
        && first_seq(&last.path) != Some(chain.next_seq)
    {
        let what = format!("it is empty, but record {} comes next", chain.next_seq);
        return Err(OpenError::Doubtful { path: last.path.clone(), what });
    }
    Ok((chain, last))
}

/// Moves what stands after the last whole line to `<segment>.torn`, and cuts the segment there.
fn set_apart(dir: &Path, path: &Path, file: &File, end: u64, len: u64) -> Result<Torn, StoreError> {
    let segment = path.file_name().unwrap_or_default().to_string_lossy();
    let mut attempt = 0_u32;
    let (name, mut torn) = loop {
        let name = if attempt == 0 { format!("{segment}.torn") } else { format!("{segment}.torn.{attempt}") };
        let aside = dir.join(&name);
        match OpenOptions::new().write(true).create_new(true).mode(0o640).open(&aside) {
            Ok(torn) => break (name, torn),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && attempt < 1_000 => attempt += 1,
            Err(e) => return Err(StoreError::new("set the cut last line apart in", &aside, e)),
        }
    };
    let fail = |action, error| StoreError::new(action, path, error);
    let mut bytes = vec![0; usize::try_from(len - end).unwrap_or(usize::MAX).min(MAX_LINE * 4)];
    file.read_exact_at(&mut bytes, end).map_err(|e| fail("read the cut last line of", e))?;
    torn.write_all(&bytes)
        .and_then(|()| torn.sync_all())
        .map_err(|e| fail("set apart the cut last line of", e))?;
    file.set_len(end).and_then(|()| file.sync_all()).map_err(|e| fail("cut off the torn last line of", e))?;
    sync_dir(dir)?;
    Ok(Torn { name, bytes: len - end })
}

/// The end of a file.
pub(in crate::audit) struct Tail {
    /// The last whole lines, oldest first, without newlines.
    pub(in crate::audit) lines: Vec<Vec<u8>>,
    /// Where the last whole line ends; 0 also when no newline is near the end.
    pub(in crate::audit) end: u64,
    /// Length of the file.
    pub(in crate::audit) len: u64,
}

/// Reads the last `count` whole lines backwards, never more than `count` lines of the greatest length.
pub(in crate::audit) fn tail(file: &File, count: usize) -> io::Result<Tail> {
    let len = file.metadata()?.len();
    let limit = (count as u64 + 2).saturating_mul(MAX_LINE as u64);
    let mut window = MAX_LINE as u64;
    let (start, bytes) = loop {
        let start = len.saturating_sub(window.min(limit));
        let mut bytes = vec![0; usize::try_from(len - start).map_err(io::Error::other)?];
        file.read_exact_at(&mut bytes, start)?;
        if start == 0 || window >= limit || memchr::memchr_iter(b'\n', &bytes).count() > count {
            break (start, bytes);
        }
        window *= 2;
    };
    let Some(last) = memchr::memrchr(b'\n', &bytes) else {
        return Ok(Tail { lines: Vec::new(), end: 0, len });
    };
    let mut lines: Vec<Vec<u8>> = bytes
        .get(..last)
        .unwrap_or_default()
        .rsplit(|b| *b == b'\n')
        .take(count + 1)
        .map(Vec::from)
        .collect();
    // The oldest piece is a whole line only if the file begins there.
    if lines.len() > count || start > 0 {
        lines.pop();
    }
    lines.reverse();
    Ok(Tail { lines, end: start + last as u64 + 1, len })
}

/// The last `count` whole lines of the log in `dir`, oldest first, across segments.
pub fn tail_lines(dir: &Path, count: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut newest_first = Vec::new();
    for path in segments(dir)?.iter().rev() {
        if newest_first.len() >= count {
            break;
        }
        let lines = tail(&File::open(path)?, count - newest_first.len())?.lines;
        newest_first.extend(lines.into_iter().rev());
    }
    newest_first.reverse();
    Ok(newest_first)
}
