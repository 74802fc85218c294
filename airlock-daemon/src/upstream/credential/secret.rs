//! Secrets from files: read when they are needed, never shown, and read again when they have changed.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use http::HeaderValue;
use parking_lot::Mutex;

use crate::config::{exposed_with_way, open_file};

/// Longest secret in bytes.
const LIMIT: u64 = 64 * 1024;

/// Where a configured secret is: an absolute path, or a systemd credential of that name.
///
/// # Errors
/// When systemd has passed no credentials.
fn locate(file: &Path) -> Result<PathBuf, String> {
    if file.is_absolute() {
        return Ok(file.to_owned());
    }
    let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
        format!(
            "`{}` names a systemd credential, and systemd has passed none: add `LoadCredential={0}:/PATH` to the unit, or write an absolute path",
            file.display()
        )
    })?;
    Ok(Path::new(&directory).join(file))
}

/// The secret in a file, without the line end behind it.
///
/// # Errors
/// Why there is none, with the remedy; never a part of it.
pub(crate) fn read(file: &Path) -> Result<String, String> {
    let path = locate(file)?;
    let shown = path.display();
    let mut text = String::new();
    let cannot = |error: std::io::Error| {
        format!(
            "the secret `{shown}` cannot be read ({error}): the user that runs Airlock must be able to read it"
        )
    };
    let opened = open_file(&path).map_err(|error| match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::IsADirectory => {
            format!("the secret `{shown}` cannot be read ({error}): write it into a regular file")
        }
        _ => cannot(error),
    })?;
    if let Some(found) = exposed_with_way(&path) {
        return Err(format!("the secret `{shown}` is not used, since {found}: {}", found.remedy()));
    }
    opened.take(LIMIT + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > LIMIT {
        return Err(format!("the secret `{shown}` is longer than {LIMIT} bytes"));
    }
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(format!("the secret `{shown}` is empty: write it there, on one line"));
    }
    if secret.contains(['\n', '\r', '\0']) {
        return Err(format!(
            "the secret `{shown}` is more than one line: only the secret itself belongs there"
        ));
    }
    Ok(secret.to_owned())
}

/// A header made of a secret, kept until the file changes.
#[derive(Debug)]
pub(super) struct HeaderFile {
    file: PathBuf,
    prefix: &'static str,
    kept: Mutex<Option<(Stamp, HeaderValue)>>,
}

/// Tells one content of a file from the next: device, inode, size, and the time of the last change in
/// nanoseconds.
type Stamp = (u64, u64, u64, i64, i64);

impl HeaderFile {
    pub(in crate::upstream) fn new(file: &Path, prefix: &'static str) -> Self {
        Self { file: file.to_owned(), prefix, kept: Mutex::default() }
    }

    /// The value of the header.
    ///
    /// # Errors
    /// As [`read`], or when the secret cannot be in a header.
    pub(in crate::upstream) fn value(&self) -> Result<HeaderValue, String> {
        let stamp = self.stamp();
        {
            let kept = self.kept.lock();
            if let (Some((of, value)), Some(now)) = (&*kept, &stamp)
                && of == now
            {
                return Ok(value.clone());
            }
        }
        let value = header(self.prefix, &read(&self.file)?)
            .ok_or_else(|| format!("the secret `{}` holds what a header cannot", self.file.display()))?;
        *self.kept.lock() = stamp.map(|stamp| (stamp, value.clone()));
        Ok(value)
    }

    fn stamp(&self) -> Option<Stamp> {
        let meta = fs::metadata(locate(&self.file).ok()?).ok()?;
        Some((meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
    }
}

/// A header that hyper and logs treat as a secret.
pub(in crate::upstream) fn header(prefix: &str, secret: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{prefix}{secret}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_secret_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        fs::write(&file, "first\n").expect("written");
        let secret = HeaderFile::new(&file, "Bearer ");
        let value = secret.value().expect("a secret");
        assert_eq!(value, "Bearer first");
        assert!(value.is_sensitive() && !format!("{value:?}{secret:?}").contains("first"));
        fs::write(folder.path().join("new"), "second").expect("written");
        fs::rename(folder.path().join("new"), &file).expect("moved");
        assert_eq!(secret.value().expect("a secret"), "Bearer second");
        fs::remove_file(&file).expect("removed");
        assert!(secret.value().expect_err("gone").contains("cannot be read"));
    }

    #[test]
    fn what_is_no_secret_is_refused_without_being_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("token");
        for (content, reason) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"topsecret\nsecond\n", "more than one line"),
            (b"topsecret\xff", "cannot be read"),
            (&vec![b'x'; 64 * 1024 + 1], "longer than"),
        ] {
            fs::write(&file, content).expect("written");
            let error = read(&file).expect_err("no secret");
            assert!(error.contains(reason) && !error.contains("topsecret"), "{error}");
        }
        assert!(read(folder.path()).expect_err("a directory").contains("write it into a regular file"));
        assert!(read(Path::new("token")).expect_err("not under systemd").contains("LoadCredential="));
    }
}
