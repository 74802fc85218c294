//! Files that anybody on this host could change: who may write what decides is who decides.
//!
//! A group that may write is somebody's choice, and not judged here. Everybody is nobody's choice.

use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;

/// Write permission of those who are neither owner nor group.
const OTHERS_WRITE: u32 = 0o002;
/// In a directory with this bit only its owner removes or renames a file.
const STICKY: u32 = 0o1000;

/// A file or directory that everybody may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposed {
    path: PathBuf,
    mode: u32,
    is_dir: bool,
}

impl Exposed {
    /// The remedy.
    pub fn remedy(&self) -> String {
        format!("`chmod o-w {}`, after a look at what stands there now", self.path.display())
    }
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, mode, is_dir } = self;
        let what = if *is_dir { "put files into the directory" } else { "write the file" };
        write!(f, "everybody on this host may {what} `{}` (mode {mode:04o})", path.display())
    }
}

/// Judges what was opened or looked at, by itself. In a directory the sticky bit does not help: a new file
/// may be put there.
pub fn exposed(path: &Path, metadata: &Metadata) -> Option<Exposed> {
    let mode = metadata.mode();
    // A device or a pipe has no content that could be changed beforehand.
    let lasts = metadata.is_file() || metadata.is_dir();
    (lasts && mode & OTHERS_WRITE != 0 && !is_read_only(path)).then(|| Exposed {
        path: path.to_path_buf(),
        mode: mode & 0o7777,
        is_dir: metadata.is_dir(),
    })
}

/// True where nobody writes there whatever the mode says, as in a volume that an orchestrator mounts.
fn is_read_only(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

/// Judges a file or directory and all directories above it, in which it could be replaced as a whole; there
/// the sticky bit helps. A path that cannot be looked at is for whoever reads it to tell.
pub fn exposed_with_way(path: &Path) -> Option<Exposed> {
    let metadata = std::fs::metadata(path).ok()?;
    exposed(path, &metadata).or_else(|| {
        let whole = std::fs::canonicalize(path).ok()?;
        whole.ancestors().skip(1).find_map(|dir| {
            let metadata = std::fs::metadata(dir).ok()?;
            exposed(dir, &metadata).filter(|found| found.mode & STICKY == 0)
        })
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn with_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_everybody_may_write_is_found_and_what_a_group_may_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, file) = (dir.path().join("folder"), dir.path().join("folder/file"));
        fs::create_dir(&folder).unwrap();
        fs::write(&file, "x").unwrap();
        for (file_mode, folder_mode, found) in [
            (0o644, 0o755, None),
            (0o664, 0o775, None),
            (0o600, 0o700, None),
            (0o646, 0o755, Some("write the file")),
            (0o602, 0o755, Some("write the file")),
            (0o644, 0o757, Some("put files into the directory")),
            // Nobody can replace a file of another's here.
            (0o644, 0o1777, None),
        ] {
            with_mode(&file, file_mode);
            with_mode(&folder, folder_mode);
            let told = exposed_with_way(&file).map(|found| (found.to_string(), found.remedy()));
            assert_eq!(told.is_some(), found.is_some(), "{file_mode:o} {folder_mode:o}: {told:?}");
            if let (Some((message, remedy)), Some(words)) = (told, found) {
                assert!(message.contains(words) && remedy.contains("chmod o-w"), "{message}: {remedy}");
            }
        }
        // As a directory of files that are read, it is judged by itself.
        let metadata = fs::metadata(&folder).unwrap();
        assert!(exposed(&folder, &metadata).is_some());
        // A link is what it leads to.
        with_mode(&folder, 0o755);
        with_mode(&file, 0o666);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(exposed_with_way(&link).is_some());
        assert_eq!(exposed_with_way(Path::new("/dev/null")), None);
        assert_eq!(exposed_with_way(&dir.path().join("absent")), None);
    }
}
