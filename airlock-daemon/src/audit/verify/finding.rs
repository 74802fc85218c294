//! The faults of a log, and their places.

use std::fmt;
use std::path::PathBuf;

use crate::audit::records::hash::{Hash, hex};

/// A line of a segment, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPlace {
    /// The segment.
    pub path: PathBuf,
    /// The line in it.
    pub line: u64,
}

impl fmt::Display for RecordPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// A fault at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// The line is not the one that was written.
    Edited(String),
    /// The line is not a record at all.
    NotARecord(String),
    /// The records from the first to the second number should stand before this line.
    Missing {
        /// First missing number.
        from: u64,
        /// Last missing number.
        to: u64,
        /// How many of them stand further down.
        moved: u64,
    },
    /// This record belongs to another place, or stands here a second time.
    OutOfPlace(u64),
    /// The last line has no end.
    Cut,
    /// The segment's name promises another first record.
    Name,
    /// No line of the log has the hash that was to be found.
    HeadNotFound(Hash),
}

/// One doubt and where it arose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: RecordPlace,
    /// The fault.
    pub doubt: Doubt,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        match &self.doubt {
            Doubt::Edited(how) => write!(f, "edited: {how}"),
            Doubt::NotARecord(why) => write!(f, "edited or inserted: not a record: {why}"),
            Doubt::Missing { from, to, moved } => {
                let all = to - from + 1;
                match all - moved.min(&all) {
                    0 => write!(
                        f,
                        "reordered: records {from}..{to} should stand before this line and stand further down"
                    ),
                    gone if self.place.line == 1 => write!(
                        f,
                        "removed: {gone} of the records {from}..{to} should stand before this segment: lines or whole segments are missing"
                    ),
                    gone => {
                        write!(f, "removed: {gone} of the records {from}..{to} should stand before this line")
                    }
                }
            }
            Doubt::OutOfPlace(seq) => write!(f, "reordered or repeated: record {seq} does not belong here"),
            Doubt::Cut => write!(f, "cut: the last line has no end (a crash, or somebody cut the file)"),
            Doubt::Name => write!(f, "renamed: the segment's name is not the number of its first record"),
            Doubt::HeadNotFound(hash) => {
                write!(
                    f,
                    "cut or replaced: no line of the log has the hash {} that was to be found",
                    hex(hash)
                )
            }
        }
    }
}

impl RecordPlace {
    /// `line 7` within the same segment, otherwise with the segment's name.
    pub(super) fn line_of(&self, other: &Self) -> String {
        if self.path == other.path { format!("line {}", self.line) } else { self.to_string() }
    }
}
