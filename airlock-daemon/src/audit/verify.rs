//! Reads a whole log and says whether it is what was written: `airlock audit verify`.
//!
//! The chain finds an edit, a removal, an insertion and a reordering anywhere before the last line. It cannot
//! find that the last line was edited or that whole lines were cut off the end; a head hash noted earlier
//! (`expected_head`) can.

mod finding;
pub mod journal;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::records::chain::Chain;
use super::records::hash::{GENESIS, Hash, digest};
use super::records::line::{Parsed, parse_line};
use super::store::file::{MAX_LINE, first_seq, is_locked, segments};
pub use finding::{Doubt, Finding, RecordPlace};

/// How many findings are kept; more are only counted.
const MAX_FINDINGS: usize = 100;
/// How often the unfinished last line of a log in use is read again before it counts as cut.
const TAIL_RETRIES: u32 = 100;

/// The verdict on a whole log.
#[derive(Debug, Default)]
pub struct Report {
    /// Lines that are records.
    pub records: u64,
    /// Segments read.
    pub segments: usize,
    /// The end of the chain.
    pub chain: Chain,
    /// Number of the first record.
    pub first_seq: Option<u64>,
    /// Number of the last record.
    pub last_seq: Option<u64>,
    /// The faults, in the order of the log; at most 100.
    pub findings: Vec<Finding>,
    /// Findings beyond those.
    pub more_findings: u64,
    /// Records that gap records say are missing, and the place of the first such record.
    pub gaps: Option<(u64, RecordPlace)>,
    /// How often time went backwards, and where first. The clock was set back; the chain proves the order all
    /// the same.
    pub clock_steps: Option<(u64, RecordPlace)>,
}

impl Report {
    /// True where nothing is in doubt.
    pub fn intact(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file or directory cannot be read.
    #[error("cannot read {}: {source}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing to verify.
    #[error("{} holds no segment (NNNNNNNNNNNNNNNNNNNN.jsonl): it is not an audit directory, or everything was removed", .0.display())]
    Empty(PathBuf),
}

/// Reads the log in `dir` from end to end, in memory bounded by the length of a line. With `expected_head`,
/// some line must have that hash: a head noted earlier proves that nothing before it was changed since, and
/// nothing cut off before it.
pub fn verify(dir: &Path, expected_head: Option<Hash>) -> Result<Report, VerifyError> {
    let read = |path: &Path, source| VerifyError::Read { path: path.to_owned(), source };
    let paths = segments(dir).map_err(|e| read(dir, e))?;
    let Some(last) = paths.last() else { return Err(VerifyError::Empty(dir.to_owned())) };
    let mut walk = Walk::new(expected_head);
    for path in &paths {
        let file = File::open(path).map_err(|e| read(path, e))?;
        let in_use = path == last && is_locked(dir);
        walk.segment(path, BufReader::with_capacity(256 * 1024, file), in_use).map_err(|e| read(path, e))?;
    }
    Ok(walk.finish(paths.len(), last))
}

/// The line before, and whether its hash is what the writer saw.
struct Before {
    place: RecordPlace,
    seq: u64,
    hash: Hash,
    /// It was already found to be damaged, so that a wrong `prev` after it says nothing new.
    damaged: bool,
    /// Where the chain stood before it, in case it was inserted.
    chain: Chain,
    /// Its own `prev` was not the hash of its predecessor, and it is not known yet which of the two was
    /// edited.
    unsure_of: Option<RecordPlace>,
}

struct Walk {
    report: Report,
    before: Option<Before>,
    time: Option<SystemTime>,
    wanted: Option<Hash>,
}

impl Walk {
    fn new(wanted: Option<Hash>) -> Self {
        Self { report: Report::default(), before: None, time: None, wanted }
    }

    fn find(&mut self, place: &RecordPlace, doubt: Doubt) {
        if self.report.findings.len() < MAX_FINDINGS {
            self.report.findings.push(Finding { place: place.clone(), doubt });
        } else {
            self.report.more_findings += 1;
        }
    }

    fn segment(&mut self, path: &Path, mut reader: impl BufRead, in_use: bool) -> io::Result<()> {
        let mut line = Vec::new();
        let mut place = RecordPlace { path: path.to_owned(), line: 0 };
        loop {
            line.clear();
            let mut retries = 0;
            loop {
                let room = (MAX_LINE + 1).saturating_sub(line.len());
                reader.by_ref().take(room as u64).read_until(b'\n', &mut line)?;
                let unfinished = line.last().is_some_and(|b| *b != b'\n') && line.len() <= MAX_LINE;
                if !unfinished || !in_use || retries >= TAIL_RETRIES {
                    break;
                }
                // The daemon is writing this very line.
                retries += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
            if line.is_empty() {
                return Ok(());
            }
            place.line += 1;
            if line.pop_if(|b| *b == b'\n').is_some() {
                self.line(&place, &line);
            } else if line.len() > MAX_LINE {
                self.not_a_record(&place, "longer than any record".to_owned(), GENESIS);
                skip_line(&mut reader)?;
            } else {
                self.find(&place, Doubt::Cut);
            }
        }
    }

    fn not_a_record(&mut self, place: &RecordPlace, why: String, hash: Hash) {
        self.unsettled();
        self.find(place, Doubt::NotARecord(why));
        let chain = self.report.chain;
        let seq = chain.next_seq;
        self.report.chain = Chain { next_seq: seq.saturating_add(1), head: hash };
        self.before = Some(Before { place: place.clone(), seq, hash, damaged: true, chain, unsure_of: None });
    }

    fn line(&mut self, place: &RecordPlace, line: &[u8]) {
        let hash = digest(line);
        if self.wanted == Some(hash) {
            self.wanted = None;
        }
        let parsed = match parse_line(line) {
            Ok(parsed) => parsed,
            Err(why) => return self.not_a_record(place, why, hash),
        };
        self.report.records += 1;
        if place.line == 1 && first_seq(&place.path) != Some(parsed.seq) {
            self.find(place, Doubt::Name);
        }
        self.figures(place, &parsed);
        self.settle(&parsed);
        let mut damaged = false;
        let mut unsure_of = None;
        let chain = self.report.chain;
        let follows = parsed.prev == chain.head;
        if let Some(inserted) = self.before.as_ref().filter(|before| {
            before.damaged && before.chain == Chain { next_seq: parsed.seq, head: parsed.prev }
        }) {
            // The rubbish before this line was put between two good ones.
            self.report.chain = inserted.chain;
        } else if follows && parsed.seq != chain.next_seq {
            let how = format!(
                "seq says {}, but this is the line after record {}",
                parsed.seq,
                chain.next_seq.wrapping_sub(1)
            );
            self.find(place, Doubt::Edited(how));
            damaged = true;
        } else if !follows && parsed.seq == chain.next_seq {
            match self.before.as_ref() {
                Some(before) if before.damaged => {}
                Some(before) => unsure_of = Some(before.place.clone()),
                None => {
                    self.find(place, Doubt::Edited("prev of the first record is not 64 zeros".to_owned()));
                    damaged = true;
                }
            }
        } else if !follows && parsed.seq > chain.next_seq {
            self.find(place, Doubt::Missing { from: chain.next_seq, to: parsed.seq - 1, moved: 0 });
            self.report.chain.next_seq = parsed.seq;
        } else if !follows {
            self.out_of_place(place, parsed.seq);
            return;
        }
        let chain = self.report.chain;
        self.report.chain = Chain { next_seq: chain.next_seq.saturating_add(1), head: hash };
        self.before = Some(Before { place: place.clone(), seq: parsed.seq, hash, damaged, chain, unsure_of });
    }

    /// Two neighbours did not fit: the next line knows the hash of the second, and so which of the two was
    /// edited.
    fn settle(&mut self, next: &Parsed) {
        let Some(before) = self.before.as_mut() else { return };
        let Some(first) = before.unsure_of.take() else { return };
        let second = before.place.clone();
        if next.prev == before.hash {
            self.find(&first, Doubt::Edited(format!("its hash is not what {} says", second.line_of(&first))));
        } else if next.seq == before.seq.saturating_add(1) {
            before.damaged = true;
            self.find(
                &second,
                Doubt::Edited(
                    "prev is not the hash of the line before, nor does its own hash fit".to_owned(),
                ),
            );
        } else {
            before.unsure_of = Some(first);
            self.unsettled();
        }
    }

    fn out_of_place(&mut self, place: &RecordPlace, seq: u64) {
        let gap = self.report.findings.iter_mut().find_map(|finding| match &mut finding.doubt {
            Doubt::Missing { from, to, moved } if (*from..=*to).contains(&seq) => Some(moved),
            _ => None,
        });
        if let Some(moved) = gap {
            *moved += 1;
        }
        self.find(place, Doubt::OutOfPlace(seq));
    }

    fn figures(&mut self, place: &RecordPlace, parsed: &Parsed) {
        self.report.first_seq.get_or_insert(parsed.seq);
        self.report.last_seq = Some(parsed.seq);
        if let Some(lost) = parsed.gap {
            let (total, _) = self.report.gaps.get_or_insert((0, place.clone()));
            *total = total.saturating_add(lost);
        }
        if self.time.is_some_and(|time| parsed.time < time) {
            self.report.clock_steps.get_or_insert((0, place.clone())).0 += 1;
        }
        self.time = Some(parsed.time);
    }

    /// Two neighbours did not fit, and no next line can say which of them was edited.
    fn unsettled(&mut self) {
        let Some(before) = self.before.as_mut() else { return };
        let Some(first) = before.unsure_of.take() else { return };
        let how = format!("this line or {} was edited", before.place.line_of(&first));
        self.find(&first, Doubt::Edited(how));
    }

    fn finish(mut self, segments: usize, last: &Path) -> Report {
        self.unsettled();
        if let Some(wanted) = self.wanted {
            let end = RecordPlace { path: last.to_owned(), line: 0 };
            let end = self.before.take().map_or(end, |before| before.place);
            self.find(&end, Doubt::HeadNotFound(wanted));
        }
        self.report.segments = segments;
        self.report
    }
}

fn skip_line(lines: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = lines.fill_buf()?;
        let (used, done) = match memchr::memchr(b'\n', buffer) {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        lines.consume(used);
        if done {
            return Ok(());
        }
    }
}
