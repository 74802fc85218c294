//! The file whose being there stops everything: a script can make it where the daemon cannot be asked.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use super::order::MAX_REASON;
use crate::observe::escape::steers;

/// How much of the file is read, in bytes.
const MOST: u64 = 1_024;

/// A file that is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Touch {
    /// Its first line, without what steers a terminal; empty where it has none or cannot be read.
    pub(super) reason: String,
    /// The user whose it is.
    pub(super) owner: u32,
}

/// Looks for the file; none where there is none.
///
/// # Errors
/// It cannot be known.
pub(super) fn look(path: &Path) -> io::Result<Option<Touch>> {
    match fs::symlink_metadata(path) {
        Ok(found) => {
            let text = if found.is_file() { first_line(path).unwrap_or_default() } else { String::new() };
            Ok(Some(Touch { reason: text, owner: found.uid() }))
        }
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn first_line(path: &Path) -> io::Result<String> {
    // It may be another kind of file by now: nothing is waited for, and no link followed.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW).bits();
    let file = File::options().read(true).custom_flags(flags.cast_signed()).open(path)?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().unwrap_or_default().trim();
    Ok(line.chars().filter(|c| !steers(*c)).take(MAX_REASON).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_kind_stops_and_its_first_line_is_the_reason() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("stop");
        let owner = rustix::process::geteuid().as_raw();
        let there = |reason: &str| Some(Touch { reason: reason.to_owned(), owner });
        assert_eq!(look(&path).expect("known"), None);
        assert_eq!(look(&path.join("below")).expect("known"), None);
        let long = "x".repeat(2 * MAX_REASON);
        for (text, reason) in [
            ("", ""),
            ("a leak\n", "a leak"),
            ("  a leak \r\nand more", "a leak"),
            ("\nnot this", ""),
            ("a\u{1b}[2J leak\u{202e}", "a[2J leak"),
            (&long, &long[..MAX_REASON]),
        ] {
            fs::write(&path, text).expect("written");
            assert_eq!(look(&path).expect("known"), there(reason), "{text:?}");
        }
        fs::write(&path, [0xff, b'x']).expect("written");
        assert_eq!(look(&path).expect("known"), there("\u{fffd}x"));
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("made");
        assert_eq!(look(&path).expect("known"), there(""));
        fs::remove_dir(&path).expect("removed");
        assert_eq!(look(&path.join("below")).expect("known"), None);
        std::os::unix::fs::symlink("nowhere", &path).expect("linked");
        assert_eq!(look(&path).expect("known"), there(""), "a link is there, wherever it leads");
    }
}
