//! The standard error of a server goes to the log, line by line, but never so much that it drowns all else.
//! The end of it is kept: it often says why a server has ended.

use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::observe::logging::SERVER;
use crate::runtime::backend::Backend;
use crate::runtime::stream::split;

use super::frame::{Line, Lines};

/// Longest line that is logged; what is longer is cut.
const LINE: usize = 4096;
/// Lines that may come at once.
const BURST: u32 = 50;
/// How often another line may come after that.
const EACH: Duration = Duration::from_millis(100);

/// Last lines that are kept, and characters of each.
const LAST_LINES: usize = 3;
const LAST_LINE: usize = 200;
/// How long the rest of a server's standard error may take to be read once the server has ended.
const LAST: Duration = Duration::from_secs(1);

/// A token bucket.
struct Bucket {
    tokens: u32,
    /// When the last token was added.
    filled: Instant,
    /// Lines that were left out since the last that was logged.
    left_out: u64,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { tokens: BURST, filled: now, left_out: 0 }
    }

    /// Takes the place of a line in the log, with the number of those that were left out before it; `None`
    /// where there is none.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let passed = now.saturating_duration_since(self.filled);
        let earned = u32::try_from(passed.as_millis() / EACH.as_millis()).unwrap_or(u32::MAX);
        if self.tokens.saturating_add(earned) >= BURST {
            (self.tokens, self.filled) = (BURST, now);
        } else {
            self.tokens += earned;
            self.filled += EACH * earned;
        }
        if self.tokens == 0 {
            self.left_out += 1;
            return None;
        }
        self.tokens -= 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// The lines that a server wrote last on standard error.
pub(super) struct LastWords {
    lines: Arc<Mutex<VecDeque<String>>>,
    stream: UnixStream,
    /// Closed when all is read.
    read: mpsc::Receiver<()>,
}

impl LastWords {
    /// Reads what is left of a server that has ended, and gives its last lines; empty when it wrote none. A
    /// process that has got away from the server's cell and holds its standard error is not waited for.
    /// Blocks for [`LAST`] at most.
    pub(in crate::upstream) fn take(self) -> String {
        // The bytes that have come are read all the same, and then comes the end.
        let _ = self.stream.shutdown(Shutdown::Both);
        let _ = self.read.recv_timeout(LAST);
        let lines = self.lines.lock();
        lines.iter().map(String::as_str).collect::<Vec<_>>().join(" | ")
    }
}

/// Adds a line to the last ones, cut.
fn keep(lines: &Mutex<VecDeque<String>>, line: &str) {
    let mut lines = lines.lock();
    if lines.len() == LAST_LINES {
        lines.pop_front();
    }
    lines.push_back(line.chars().take(LAST_LINE).collect());
}

/// Passes the server's standard error on to the log.
pub(in crate::upstream) fn log(
    backend: Backend,
    stderr: UnixStream,
    upstream: Arc<str>,
) -> std::io::Result<LastWords> {
    let stream = stderr.try_clone()?;
    let (mut reader, writer) = split(backend.unix(stderr)?);
    let (reading, read) = mpsc::channel();
    let last = Arc::<Mutex<VecDeque<String>>>::default();
    let lines_kept = Arc::clone(&last);
    tokio::task::spawn_local(async move {
        let _reading = reading;
        // Both halves live until the server closes its end.
        let _writer = writer;
        let mut lines = Lines::default();
        let mut bucket = Bucket::new(Instant::now());
        while let Ok(1..) = reader.read(lines.buffer()).await {
            while let Some(line) = lines.next(LINE) {
                let cut = format!("(a line longer than {LINE} bytes was cut)");
                let line = match line {
                    // Before a line end it is a part of it; elsewhere the log escapes it.
                    Line::Whole(line) => String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)),
                    Line::Piece(_, false) => continue,
                    // No line within the limit is that long.
                    Line::Piece(_, true) | Line::Long(_) => cut.into(),
                };
                keep(&lines_kept, &line);
                if let Some(left_out) = bucket.take(Instant::now()) {
                    tell(&upstream, left_out);
                    tracing::info!(target: SERVER, upstream = %upstream, "{upstream}: {line}");
                }
            }
        }
        tell(&upstream, bucket.left_out);
    });
    Ok(LastWords { lines: last, stream, read })
}

fn tell(upstream: &str, left_out: u64) {
    if left_out > 0 {
        tracing::warn!(upstream, left_out, "the server wrote more lines on standard error than are logged");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        let logged = (0..1_000).filter(|_| bucket.take(start).is_some()).count();
        assert_eq!(logged, 50);
        assert_eq!(bucket.take(start + Duration::from_millis(250)), Some(950));
        assert_eq!(bucket.take(start + Duration::from_millis(250)), Some(0));
        assert_eq!(bucket.take(start + Duration::from_millis(250)), None);
        assert_eq!(bucket.take(start + Duration::from_millis(300)), Some(1));
        let later = start + Duration::from_mins(1);
        assert_eq!((0..100).filter(|_| bucket.take(later).is_some()).count(), 50);
    }
}
