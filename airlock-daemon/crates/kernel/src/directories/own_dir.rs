//! A directory for each server process: where its mounts are put together, and, where it has none, its
//! `TMPDIR`.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::claim::Claim;
use super::sweep;
use crate::process::users::Ids;

/// How the names of these directories begin; 32 hexadecimal digits follow.
const PREFIX: &str = "airlock-server-";

/// Entries of the directory for temporary files that are looked at for what dead daemons left. Everybody may
/// fill it.
const LOOKED_AT: usize = 100_000;

/// The directory; removed with this value.
#[derive(Debug)]
pub(crate) struct OwnDir {
    /// The daemon's, which others can neither list nor write to.
    outer: Option<Claim>,
    /// In it, and always empty here: where a server's mounts are put together.
    stage: PathBuf,
    /// Beside it, and always empty here: where what a server keeps for a while is mounted.
    scratch: PathBuf,
    /// Beside both: the `TMPDIR` of a server that has no mounts of its own.
    inner: Option<PathBuf>,
}

impl OwnDir {
    /// Makes one for a server that has mounts of its own: nothing ever lies in it.
    pub(crate) fn for_mounts() -> io::Result<Self> {
        let outer = claim()?;
        let own = Self {
            stage: outer.path().join("stage"),
            scratch: outer.path().join("scratch"),
            inner: None,
            outer: Some(outer),
        };
        DirBuilder::new().mode(0o700).create(&own.stage)?;
        DirBuilder::new().mode(0o700).create(&own.scratch)?;
        Ok(own)
    }

    /// Makes one for a server without mounts of its own, which has these numbers, or ours, and writes to the
    /// disk.
    pub(crate) fn on_disk(ids: Option<Ids>) -> io::Result<Self> {
        let mut own = Self::for_mounts()?;
        let inner = own.stage.with_file_name(name()?);
        DirBuilder::new().mode(0o700).create(&inner)?;
        if let Some(Ids { uid, gid }) = ids
            && std::os::unix::fs::chown(&inner, Some(uid), Some(gid)).is_err()
        {
            // Without the right to give files away it is open to whoever knows a name of 128 random bits.
            fs::set_permissions(&inner, fs::Permissions::from_mode(0o777))?;
        }
        own.inner = Some(inner);
        Ok(own)
    }

    /// The server's directory on disk, where it has one.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.inner.as_deref()
    }

    /// An empty directory of the daemon's.
    pub(crate) fn stage(&self) -> &Path {
        &self.stage
    }

    /// Another one.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }
}

impl Drop for OwnDir {
    fn drop(&mut self) {
        let Some(outer) = self.outer.take() else { return };
        // A directory that a server may have filled is not looked into here: whoever ends a server must not
        // depend on what it made.
        let inner = self.inner.as_deref();
        let dirs = [Some(self.stage.as_path()), Some(self.scratch.as_path()), inner, Some(outer.path())];
        if dirs.into_iter().flatten().try_for_each(fs::remove_dir).is_err() {
            sweep::away(outer);
        }
    }
}

/// Removes what dead daemons left, in a thread of its own; what a living one has stays.
pub(crate) fn clear() {
    let looking = std::thread::Builder::new().name("airlock-leftovers".into()).spawn(|| {
        for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().take(LOOKED_AT).flatten() {
            if entry.file_name().to_str().is_some_and(is_name)
                && let Some(left) = Claim::of_the_dead(&entry.path())
            {
                tracing::info!(path = %left.path().display(), "directory of a daemon that is gone: removed");
                sweep::away(left);
            }
        }
    });
    if let Err(error) = looking {
        tracing::warn!(%error, "what dead daemons left for their servers is not looked for");
    }
}

fn is_name(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn claim() -> io::Result<Claim> {
    loop {
        let path = std::env::temp_dir().join(format!("{PREFIX}{}", name()?));
        if let Some(claim) = Claim::make(&path, 0o700)? {
            // Others may pass through, whatever this process's umask is, and not look around.
            claim.dir().set_permissions(fs::Permissions::from_mode(0o711))?;
            return Ok(claim);
        }
    }
}

/// A name that nobody guesses.
fn name() -> io::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(random)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_servers_alone_and_goes_with_it() {
        let own = OwnDir::on_disk(None).expect("a directory");
        let outer = own.outer.as_ref().expect("claimed").path().to_path_buf();
        let inner = own.path().expect("its own").to_path_buf();
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&outer), mode(&inner)), (0o711, 0o700));
        assert!(is_name(outer.file_name().and_then(|name| name.to_str()).expect("a name")), "{outer:?}");
        fs::create_dir_all(inner.join("a/b")).expect("ours to fill");
        drop(own);
        // Another thread does it.
        let gone = (0..60_000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            !outer.exists()
        });
        assert!(gone, "{}", outer.display());
    }

    #[test]
    fn one_for_mounts_is_empty_and_gone_at_once() {
        let own = OwnDir::for_mounts().expect("a directory");
        let outer = own.outer.as_ref().expect("claimed").path().to_path_buf();
        assert_eq!(own.path(), None);
        drop(own);
        assert!(!outer.exists());
    }

    #[test]
    fn names_of_others_are_none() {
        let name = format!("{PREFIX}{:032x}", 7);
        assert!(is_name(&name));
        for other in [&name[1..], &name[..name.len() - 1], "airlock-server-", "airlock-12"] {
            assert!(!is_name(other), "{other}");
        }
    }
}
