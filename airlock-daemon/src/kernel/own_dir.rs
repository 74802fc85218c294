//! A directory of its own for each server process: its `TMPDIR`, gone with it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::users::Ids;

/// The directory; removed with this value.
#[derive(Debug)]
pub(super) struct OwnDir {
    /// The daemon's, which others can neither list nor write to.
    outer: PathBuf,
    /// The server's, inside of it.
    inner: PathBuf,
    /// Beside it, and always empty here: where a server's mounts are put together.
    stage: PathBuf,
}

impl OwnDir {
    /// Makes a directory for a server with these numbers, or with our own.
    pub(super) fn create(ids: Option<Ids>) -> io::Result<Self> {
        let outer = std::env::temp_dir().join(format!("airlock-{}", name()?));
        DirBuilder::new().mode(0o711).create(&outer)?;
        let own = Self { inner: outer.join(name()?), stage: outer.join("stage"), outer };
        DirBuilder::new().mode(0o700).create(&own.inner)?;
        DirBuilder::new().mode(0o700).create(&own.stage)?;
        if let Some(Ids { uid, gid }) = ids
            && std::os::unix::fs::chown(&own.inner, Some(uid), Some(gid)).is_err()
        {
            // Without the right to give files away it is open to whoever knows a name of 128 random bits.
            fs::set_permissions(&own.inner, fs::Permissions::from_mode(0o777))?;
        }
        Ok(own)
    }

    /// The server's directory.
    pub(super) fn path(&self) -> &Path {
        &self.inner
    }

    /// An empty directory of the daemon's.
    pub(super) fn stage(&self) -> &Path {
        &self.stage
    }
}

impl Drop for OwnDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.outer) {
            // Directories of another user's cannot be emptied; systemd removes them with the service's private /tmp.
            tracing::debug!(path = %self.outer.display(), %error, "a server's own directory is left behind");
        }
    }
}

/// A name that nobody guesses.
fn name() -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(u128::from_ne_bytes(random).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_servers_alone_and_goes_with_it() {
        let own = OwnDir::create(None).expect("a directory");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&own.outer), mode(own.path())), (0o711, 0o700));
        fs::create_dir_all(own.path().join("a/b")).expect("ours to fill");
        let outer = own.outer.clone();
        drop(own);
        assert!(!outer.exists());
    }
}
