//! The file of the locks on disk: read whole, and written so that it is the old one or the new one, never a
//! part.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use airlock_tool_locks::definition::Digest;
use airlock_tool_locks::lock_file::{ANEW, LockFile, MAX_BYTES, MAX_SERVER_BYTES};
use rustix::fs::{Access, access};

use crate::config::{open_file, replaced};

/// Reads the text; `None` where there is no file.
///
/// # Errors
/// A sentence with place, reason and remedy.
pub(super) fn read(path: &Path) -> Result<Option<String>, String> {
    let shown = path.display();
    let failed = |error: io::Error| {
        let remedy = match error.kind() {
            io::ErrorKind::InvalidInput | io::ErrorKind::IsADirectory => "name a file by `tool_lock.file`",
            _ => "let Airlock read it",
        };
        format!("the lock file {shown} cannot be read: {error}; {remedy}")
    };
    let file = match open_file(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_BYTES {
        return Err(format!(
            "the lock file {shown} is longer than {MAX_BYTES} bytes: take servers out of its `upstreams`, or {ANEW}"
        ));
    }
    let text = String::from_utf8(bytes);
    text.map(Some).map_err(|_| {
        format!("the lock file {shown} is no UTF-8 text: take it back from version control, or {ANEW}")
    })
}

/// Why this user cannot look at the file, where the one that runs Airlock may be able to.
pub(super) fn denied(path: &Path) -> Option<String> {
    let error = open_file(path).err().filter(|error| error.kind() == io::ErrorKind::PermissionDenied)?;
    Some(format!(
        "the lock file {} was not looked at: {error}; check as the user that runs Airlock, and let that one read it",
        path.display()
    ))
}

/// Tells one result of [`read`] from another.
pub(super) fn digest(read: &Result<Option<String>, String>) -> Digest {
    Digest::of(&format!("{read:?}"))
}

/// Reads what a text says, for use on this host; for whatever host where that is none.
///
/// # Errors
/// As for [`read`].
pub(super) fn parse(path: &Path, text: &str, host: Option<&str>) -> Result<LockFile, String> {
    host.map_or_else(|| LockFile::parse_anywhere(text), |host| LockFile::parse(text, host))
        .map_err(|fault| format!("the lock file {} is not used: {fault}", path.display()))
}

/// The text of the locks in `file`, which are `before` and what one server adds.
///
/// # Errors
/// As for [`read`]: where the server takes more than its share, or the text would be too long to be read.
pub(super) fn text(path: &Path, before: &LockFile, file: &LockFile) -> Result<String, String> {
    let shown = path.display();
    let others: Vec<_> =
        file.upstreams.iter().filter(|(name, server)| before.upstreams.get(*name) != Some(*server)).collect();
    if let Some((upstream, _)) = others.iter().find(|(name, server)| !server.fits(name)) {
        return Err(format!(
            "the definitions of upstream {upstream} would take more than {MAX_SERVER_BYTES} bytes of the lock file \
             {shown}, which is the share of one server: have it offer less, or let in only what is needed by \
             `airlock tools approve {upstream}/NAME`"
        ));
    }
    file.write().ok_or_else(|| {
        let names: Vec<&str> = others.iter().map(|(name, _)| name.as_str()).collect();
        format!(
            "with the definitions of upstream {} the lock file {shown} would be longer than {MAX_BYTES} bytes: take \
             servers that are not used any more out of its `upstreams`, or have this one offer less",
            names.join(", ")
        )
    })
}

/// True where there is a file, which may be written over. One that is not as it was `tried` last, or was
/// `rejected` then, may not be: whoever has changed it would lose the change.
///
/// # Errors
/// As for [`read`].
pub(super) fn may_write(path: &Path, tried: Option<Digest>, rejected: Option<&str>) -> Result<bool, String> {
    let text = read(path);
    if tried != Some(digest(&text)) {
        return Err(format!(
            "the lock file {} is not written, since somebody has changed it and it has not been read again yet; have \
             it read by SIGHUP, then try again",
            path.display()
        ));
    }
    if let Some(why) = rejected {
        return Err(format!("{why} (until then it is not written)"));
    }
    is_writable(path)?;
    Ok(text?.is_some())
}

/// Refuses a file that this process was given to be read only: it would be replaced all the same where its
/// directory can be written. Root may write every file, so for root that is one that nobody may write.
pub(super) fn is_writable(path: &Path) -> Result<(), String> {
    let why = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => error.to_string(),
        Ok(file) if file.permissions().readonly() => "its mode lets nobody write it".to_owned(),
        Ok(_) => match access(path, Access::WRITE_OK) {
            Ok(()) => return Ok(()),
            Err(error) => io::Error::from(error).to_string(),
        },
    };
    Err(format!(
        "the lock file {} is not written, since it is only to be read: {why}; let Airlock write it, or give another \
         `tool_lock.file`",
        path.display()
    ))
}

/// Refuses a directory in which this process cannot write the file.
///
/// # Errors
/// As for [`read`].
pub(super) fn has_place(path: &Path) -> Result<(), String> {
    access(replaced::folder(path), Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| unwritten(path, &error.into()))
}

fn unwritten(path: &Path, error: &io::Error) -> String {
    format!(
        "the lock file {} cannot be written: {error}; let Airlock write in its directory, or give another \
         `tool_lock.file`",
        path.display()
    )
}

/// Writes the text beside the file, and puts it in its place once it is on the disk. Everybody may read it:
/// it has nothing secret, and people are to look.
///
/// # Errors
/// As for [`read`].
pub(super) fn write(path: &Path, text: &str) -> Result<(), String> {
    replaced::write(path, text, 0o644).map_err(|error| unwritten(path, &error))
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

    #[test]
    fn a_file_that_nobody_may_write_is_only_to_be_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tools.lock");
        assert_eq!(is_writable(&path), Ok(()), "there is none yet");
        fs::write(&path, "x").expect("written");
        assert_eq!(is_writable(&path), Ok(()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("a mode");
        let error = is_writable(&path).expect_err("it is read only");
        assert!(error.contains("tools.lock is not written, since it is only to be read: "), "{error}");
        assert!(error.contains("its mode lets nobody write it; let Airlock write it"), "{error}");
    }
}
