//! How the commands end.

use crate::policy::PolicyError;
use std::io;
use std::path::PathBuf;

/// The answer is no: a test failed, a decision would change.
pub(super) const NO: u8 = 1;

/// The question was wrong: what was to be read cannot be.
pub(super) const WRONG: u8 = 2;

/// Where the packaged configuration has its policy.
pub(super) const DEFAULT_PATH: &str = "/etc/airlock/policies";

/// Where a bundle is.
#[derive(Debug, clap::Args)]
pub(super) struct Bundle {
    /// The directory of the bundle.
    #[arg(long, value_name = "DIR", default_value = DEFAULT_PATH)]
    pub(crate) path: PathBuf,
}

/// Tells why a bundle cannot be used: as text to `err`, or as the JSON document {mistakes: [{file, line,
/// column, message, expected, help}]} to `out`.
pub(super) fn unusable(
    error: &PolicyError,
    json: bool,
    out: &mut impl io::Write,
    err: &mut impl io::Write,
) -> io::Result<()> {
    if json {
        let mistakes = serde_json::json!({"mistakes": [error.diagnostic()]});
        serde_json::to_writer_pretty(&mut *out, &mistakes)?;
        writeln!(out)
    } else {
        write!(err, "{}", error.diagnostic())
    }
}
