//! The files against their copy in journald: what one has and the other has not, and what differs.
//!
//! journald forgets what is old, so only what is not older than its first record is compared.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use systemd::journal;

use crate::audit::records::hash::{Hash, digest, parse_hash};
use crate::audit::records::line::parse_line;
use crate::audit::store::file::segments;

/// How many numbers are named; more are only counted.
const NAMED: usize = 10;

/// How the files and the journal agree.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Records of the journal.
    pub entries: u64,
    /// Number of the first of them.
    pub first_seq: Option<u64>,
    /// Records of the files that are not in the journal, and the first few of their numbers.
    pub missing: (u64, Vec<u64>),
    /// Records of the journal that are not in the files, or are others there, and the first few of their
    /// numbers. The files were changed or cut, or the journal has records of another log.
    pub differ: (u64, Vec<u64>),
}

/// Compares the files in `dir` with what the journal has: that of this host, or the files of a journal that
/// are given.
///
/// # Errors
/// Either cannot be read.
pub fn compare(dir: &Path, journal_files: &[PathBuf]) -> io::Result<Compared> {
    join(dir, entries(journal_files)?)
}

fn entries(files: &[PathBuf]) -> io::Result<BTreeMap<u64, Hash>> {
    let mut entries = BTreeMap::new();
    let read = |journal: &mut journal::JournalRef, entries: &mut BTreeMap<u64, Hash>| -> io::Result<()> {
        journal.match_add("SYSLOG_IDENTIFIER", "airlock-audit")?;
        while journal.next()? > 0 {
            let seq = text(journal, "AIRLOCK_SEQ")?.and_then(|seq| seq.parse().ok());
            let hash = text(journal, "AIRLOCK_HASH")?.and_then(|hash| parse_hash(&hash));
            if let Some((seq, hash)) = seq.zip(hash) {
                entries.insert(seq, hash);
            }
        }
        Ok(())
    };
    if files.is_empty() {
        read(&mut *journal::OpenOptions::default().open()?, &mut entries)?;
    } else {
        let options = journal::OpenFilesOptions::default();
        let files = files.iter().map(|file| file.to_string_lossy().into_owned());
        read(&mut *options.open_files(files)?, &mut entries)?;
    }
    Ok(entries)
}

/// A field of the entry that is looked at.
fn text(journal: &mut journal::JournalRef, name: &str) -> io::Result<Option<String>> {
    let field = journal.get_data(name)?;
    Ok(field.and_then(|field| field.value().map(|value| String::from_utf8_lossy(value).into_owned())))
}

fn join(dir: &Path, mut entries: BTreeMap<u64, Hash>) -> io::Result<Compared> {
    let first_seq = entries.first_key_value().map(|(seq, _)| *seq);
    let mut compared = Compared { entries: entries.len() as u64, first_seq, ..Compared::default() };
    let note = |noted: &mut (u64, Vec<u64>), seq: u64| {
        noted.0 += 1;
        if noted.1.len() < NAMED {
            noted.1.push(seq);
        }
    };
    for path in segments(dir)? {
        for line in BufReader::new(File::open(path)?).split(b'\n') {
            let line = line?;
            let Ok(parsed) = parse_line(&line) else { continue };
            match entries.remove(&parsed.seq) {
                Some(hash) if hash == digest(&line) => {}
                Some(_) => note(&mut compared.differ, parsed.seq),
                None if first_seq.is_some_and(|first| parsed.seq >= first) => {
                    note(&mut compared.missing, parsed.seq);
                }
                None => {}
            }
        }
    }
    for seq in entries.into_keys() {
        note(&mut compared.differ, seq);
    }
    Ok(compared)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;
    use std::time::SystemTime;

    use super::*;
    use crate::audit::{Chain, Event, Record};

    #[test]
    fn what_only_one_has_and_what_differs_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (mut chain, mut out, mut entries) = (Chain::default(), Vec::new(), BTreeMap::new());
        for _ in 0..10 {
            let seq = chain.append(Record::new(Event::Stop), SystemTime::now(), &mut out);
            entries.insert(seq, chain.head);
        }
        fs::write(dir.path().join("00000000000000000000.jsonl"), &out).unwrap();
        let whole = join(dir.path(), entries.clone()).unwrap();
        assert_eq!(whole, Compared { entries: 10, first_seq: Some(0), ..Compared::default() });
        // journald has forgotten 0 and 1, never got 5, has another 7, and has 10, which was cut off the
        // files.
        entries.retain(|seq, _| ![0, 1, 5].contains(seq));
        entries.insert(7, [1; 32]);
        entries.insert(10, [2; 32]);
        let compared = join(dir.path(), entries).unwrap();
        assert_eq!((compared.entries, compared.first_seq), (8, Some(2)));
        assert_eq!((compared.missing, compared.differ), ((1, vec![5]), (2, vec![7, 10])));
        assert_eq!(join(dir.path(), BTreeMap::new()).unwrap(), Compared::default());
    }
}
