//! Reading the audit log line by line, in memory bounded by the length of a line.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::audit::{MAX_LINE, segments};

/// A line of a segment.
#[derive(Debug, Clone)]
pub(super) struct LinePlace {
    path: PathBuf,
    line: u64,
}

impl fmt::Display for LinePlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.path.display(), self.line)
    }
}

/// A line that is not what it should be.
pub(super) struct Line {
    pub(super) place: LinePlace,
    pub(super) error: String,
}

/// Visits all lines in order, without their newlines.
///
/// # Errors
/// The path that cannot be read, or the first line that is no record, with its place. The last line of a log
/// in use, which is still being written, is left out.
pub(super) fn walk(
    dir: &Path,
    mut visit: impl FnMut(&LinePlace, &[u8]) -> Result<(), Line>,
) -> Result<(), String> {
    let unreadable = |path: &Path, error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let paths = segments(dir).map_err(|error| unreadable(dir, error))?;
    if paths.is_empty() {
        return Err(format!("{} holds no segment of an audit log; give `audit.dir`", dir.display()));
    }
    let last = paths.len() - 1;
    for (number, path) in paths.into_iter().enumerate() {
        let file = File::open(&path).map_err(|error| unreadable(&path, error))?;
        let mut reader = BufReader::with_capacity(256 * 1024, file);
        let (mut line, mut place) = (Vec::new(), LinePlace { path, line: 0 });
        loop {
            line.clear();
            place.line += 1;
            let read = reader.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line);
            read.map_err(|error| unreadable(&place.path, error))?;
            if line.is_empty() {
                break;
            }
            if line.pop_if(|byte| *byte == b'\n').is_none() {
                if number == last && line.len() <= MAX_LINE {
                    break;
                }
                return Err(format!("{place}: the line has no end; look with `airlock audit verify`"));
            }
            visit(&place, &line).map_err(|Line { place, error }| {
                format!("{place}: not a record: {error}; look with `airlock audit verify`")
            })?;
        }
    }
    Ok(())
}
