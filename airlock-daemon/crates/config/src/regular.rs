//! Files that a configuration names, opened to be read.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file, and nothing else: a named pipe would have its reader wait for whoever writes it, for ever
/// where that is nobody.
///
/// # Errors
/// As [`File::open`]; of the kind [`ErrorKind::InvalidInput`] for a pipe, a device or a socket, and
/// [`ErrorKind::IsADirectory`] for a directory.
pub fn open_file(path: &Path) -> Result<File, Error> {
    let waits_for_nobody = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(waits_for_nobody).open(path)?;
    let found = file.metadata()?;
    if found.is_dir() {
        return Err(Error::new(ErrorKind::IsADirectory, "it is a directory"));
    }
    if !found.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn what_is_no_file_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let [file, link, pipe] = ["file", "link", "pipe"].map(|name| dir.path().join(name));
        std::fs::write(&file, "x").expect("written");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("a pipe");
        for path in [&file, &link] {
            let mut text = String::new();
            open_file(path).expect("a file").read_to_string(&mut text).expect("text");
            assert_eq!(text, "x");
        }
        let kind = |path: &Path| open_file(path).expect_err("no file").kind();
        assert_eq!(
            [kind(&pipe), kind(Path::new("/dev/null")), kind(dir.path())],
            [ErrorKind::InvalidInput, ErrorKind::InvalidInput, ErrorKind::IsADirectory]
        );
        assert_eq!(kind(&dir.path().join("none")), ErrorKind::NotFound);
    }
}
