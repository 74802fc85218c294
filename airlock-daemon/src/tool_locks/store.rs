//! The file of the locks on disk: read whole, and written so that it is the old one or the new one, never a
//! part.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use airlock_tool_locks::lock_file::{LockFile, MAX_BYTES};

/// Reads the text; `None` where there is no file.
///
/// # Errors
/// A sentence with place, reason and remedy.
pub(super) fn read(path: &Path) -> Result<Option<String>, String> {
    let shown = path.display();
    let failed =
        |error: io::Error| format!("the lock file {shown} cannot be read: {error}; let Airlock read it");
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("the lock file {shown} is longer than {MAX_BYTES} bytes: lock anew"));
    }
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| format!("the lock file {shown} is no UTF-8 text: lock anew"))
}

/// Reads what a text says, for use on this host.
///
/// # Errors
/// As for [`read`].
pub(super) fn parse(path: &Path, text: &str, host: &str) -> Result<LockFile, String> {
    LockFile::parse(text, host)
        .map_err(|fault| format!("the lock file {} is not used: {fault}", path.display()))
}

/// Writes the text beside the file, and puts it in its place once it is on the disk. Everybody may read it:
/// it has nothing secret, and people are to look.
///
/// # Errors
/// As for [`read`].
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    let failed = |error: io::Error| {
        format!(
            "the lock file {} cannot be written: {error}; let Airlock write in its directory, or give another \
             `tool_lock.file`",
            path.display()
        )
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder.join(format!(".{name}.new"));
    let written = (|| {
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o644).open(&beside)?;
        file.write_all(text.as_bytes())?;
        rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o644))?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(folder)?.sync_all()
    })();
    written.map_err(|error| {
        // The rest of it helps nobody.
        let _ = fs::remove_file(&beside);
        failed(error)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_written_whole_and_can_be_read_by_people() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tools.lock");
        assert_eq!(read(&path), Ok(None));
        for text in ["one", "two"] {
            write(&path, text).expect("written");
            assert_eq!(read(&path), Ok(Some(text.to_owned())));
        }
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1);
        fs::write(&path, [0xff]).expect("written");
        assert!(read(&path).expect_err("no text").contains("no UTF-8"));
        let error = write(&dir.path().join("none/tools.lock"), "x").expect_err("no directory");
        assert!(error.contains("none/tools.lock cannot be written: ") && error.contains("tool_lock.file"));
    }
}
