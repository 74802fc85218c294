//! Directories that servers see: of `/tmp` and the like each has its own.

#![allow(dead_code, reason = "the crates that include this file need different parts of it")]
#![allow(unreachable_pub, reason = "the crates that include this file see it in different places")]

use std::io;
use std::path::Path;

use tempfile::TempDir;

/// Where one may be made, the first that works.
const PLACES: [&str; 4] = ["/srv", "/opt", "/mnt", "/"];

/// A directory that is gone with its value, at a place that everybody may pass through; without root beside
/// the running program.
///
/// # Errors
/// Where there is no such place.
pub fn shown_dir(prefix: &str) -> io::Result<TempDir> {
    let beside = std::env::current_exe()?;
    let places = PLACES.iter().map(Path::new).chain(beside.parent());
    let mut tried = Err(io::ErrorKind::NotFound.into());
    for place in places {
        tried = tempfile::Builder::new().prefix(prefix).tempdir_in(place);
        if tried.is_ok() {
            break;
        }
    }
    tried
}
