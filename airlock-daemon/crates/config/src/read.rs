//! The text of a configuration's file.

use super::diagnostics::{Diagnostic, Diagnostics};
use super::exposed::exposed_with_way;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Largest configuration file in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// The text of a configuration file that nobody may write who should not.
///
/// # Errors
/// The one mistake that the file as such has.
pub(super) fn text(path: &Path) -> Result<String, Diagnostics> {
    read(path, &path.display().to_string())
}

pub(super) fn read(path: &Path, name: &str) -> Result<String, Diagnostics> {
    let unreadable = |error: std::io::Error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "create it, or name the right one with `--config FILE`",
            std::io::ErrorKind::PermissionDenied => "let the user that runs Airlock read it",
            std::io::ErrorKind::IsADirectory => "name the file, not its directory",
            _ => "check the file and its file system",
        };
        let message = format!("cannot read the configuration: {error}");
        Diagnostics::single(Diagnostic::of_file(name, message, "a readable file", help))
    };
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file that is too large without reading all of it.
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() > MAX_BYTES {
        return Err(too_large(name));
    }
    if let Some(found) = exposed_with_way(path) {
        let expected = "one that only its owner, or a group, may write";
        return Err(Diagnostics::single(Diagnostic::of_file(
            name,
            found.to_string(),
            expected,
            found.remedy(),
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = memchr::memchr_iter(b'\n', valid).count() + 1;
        Diagnostics::single(Diagnostic::of_file(
            name,
            format!("the configuration is not UTF-8 text: line {line} holds other bytes"),
            "UTF-8",
            "save the file as UTF-8",
        ))
    })
}

pub(super) fn too_large(name: &str) -> Diagnostics {
    Diagnostics::single(Diagnostic::of_file(
        name,
        "the configuration is too large",
        format!("at most {MAX_BYTES} bytes"),
        "name the configuration, not another file; data of the policy belongs beside the policy",
    ))
}
