//! The unix socket that is listened on: made safely, and taken away at the end.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use crate::config::units::FileMode;

use super::listen_error::ListenError;

/// A socket file, removed when this is dropped if it is still the one that was made.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// Device, inode, and when it was made: the number of an inode is soon given to another.
type Identity = (u64, u64, i64, i64);

fn identity(file: &Metadata) -> Identity {
    (file.dev(), file.ino(), file.mtime(), file.mtime_nsec())
}

/// Makes the socket and listens on it. A socket that was left behind and that nobody listens on is replaced,
/// nothing else is. `key` is where the path is configured. To be called while the process has one thread,
/// since the mask of new files is the whole process's.
///
/// # Errors
/// [`ListenError::Unix`] with the remedy.
pub fn open(path: &Path, mode: FileMode, key: &str) -> Result<(UnixListener, SocketFile), ListenError> {
    let failed = |error: io::Error, remedy: &str| {
        let remedy = remedy.replace("{key}", key);
        ListenError::Unix { path: path.to_owned(), error, remedy }
    };
    clear(path, key)?;
    // Never more than asked for, not even between making it and setting its mode.
    let before = rustix::process::umask(Mode::from_raw_mode(!mode.0 & 0o777));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::NotFound => "Create its directory, such as by RuntimeDirectory= of the unit",
            io::ErrorKind::PermissionDenied => "Let the user that runs Airlock write to its directory",
            io::ErrorKind::InvalidInput => "Choose a path of at most 107 bytes",
            _ => "Check `{key}`",
        };
        failed(error, remedy)
    })?;
    let check = "Check `{key}` and its directory";
    let set_up = || {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode.0))?;
        listener.set_nonblocking(true)?;
        std::fs::symlink_metadata(path)
    };
    let file = set_up().map_err(|error| failed(error, check))?;
    Ok((listener, SocketFile { path: path.to_owned(), identity: identity(&file) }))
}

/// Takes away a socket that nobody listens on.
fn clear(path: &Path, key: &str) -> Result<(), ListenError> {
    let failed = |error: io::Error, remedy: &str| {
        let remedy = remedy.replace("{key}", key);
        ListenError::Unix { path: path.to_owned(), error, remedy }
    };
    let found = match std::fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error, "Let the user that runs Airlock look into its directory")),
    };
    if !found.file_type().is_socket() {
        let error = io::Error::new(io::ErrorKind::AlreadyExists, "there is something that is no socket");
        return Err(failed(error, "Take it away, or choose another `{key}`"));
    }
    match UnixStream::connect(path) {
        Ok(_) => {
            let error = io::Error::new(io::ErrorKind::AddrInUse, "another process listens there");
            Err(failed(error, "Stop it (`ss -lxp` names it), or choose another `{key}`"))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)
            .map_err(|error| failed(error, "Let the user that runs Airlock write to its directory")),
        Err(error) => Err(failed(error, "Take the socket that is there away if nobody needs it")),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let same = std::fs::symlink_metadata(&self.path).is_ok_and(|found| identity(&found) == self.identity);
        if same && let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "the unix socket could not be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_nobody_listens_on_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.sock");
        let mode = "0600".parse().expect("a mode");
        let (listener, file) = open(&path, mode, "server.unix_socket").expect("free");
        assert_eq!(std::fs::metadata(&path).expect("made").permissions().mode() & 0o777, 0o600);
        let error = open(&path, mode, "server.unix_socket").map(drop).expect_err("listened on").to_string();
        assert!(error.contains("another process listens there") && error.contains("ss -lxp"), "{error}");
        drop(listener);
        // Left behind.
        let (listener, second) = open(&path, mode, "server.unix_socket").expect("stale");
        drop(file);
        assert!(path.exists(), "what another made is not removed");
        drop((listener, second));
        assert!(!path.exists());
        std::fs::write(&path, "precious").expect("written");
        let error = open(&path, mode, "server.unix_socket").map(drop).expect_err("a file").to_string();
        assert!(error.contains("no socket"), "{error}");
        assert_eq!(std::fs::read(&path).expect("still there"), b"precious");
        std::fs::remove_file(&path).expect("ours");
        std::os::unix::fs::symlink("/nowhere", &path).expect("ours");
        assert!(open(&path, mode, "server.unix_socket").is_err(), "a link is no socket");
        assert!(open(&dir.path().join("no/such/a.sock"), mode, "server.unix_socket").is_err());
    }
}
