//! Files that are written whole: each is the old one or the new one, never a part.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// The directory of a file; one whose path is a name alone is in the directory that the process is in.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes the text beside the file, and puts it in its place once it is on the disk, with these permission
/// bits.
///
/// # Errors
/// The file is as it was.
pub fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = folder(path).join(format!(".{name}.new"));
    let written = (|| {
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(mode).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        File::open(folder(path))?.sync_all()
    })();
    written.inspect_err(|_| {
        // The rest of it helps nobody.
        let _ = fs::remove_file(&beside);
    })
}
