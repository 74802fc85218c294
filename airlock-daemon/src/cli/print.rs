//! Output of commands. A reader that has seen enough (`airlock status | true`) is no fault, and changes no
//! exit code.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// Writes to standard output. Where that fails otherwise than by its reader's end, standard error says so.
pub(super) fn out(text: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_fmt(text).and_then(|()| out.flush())
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        err(format_args!("airlock: cannot write to standard output: {error}\n"));
    }
}

/// Writes to standard error. There is no place to say that it failed.
pub(super) fn err(text: fmt::Arguments<'_>) {
    let _ = io::stderr().lock().write_fmt(text);
}

/// The exit code of a command that ended with one, or could not write.
pub(super) fn ended(code: io::Result<u8>, unwritten: u8) -> ExitCode {
    // Only writing can fail here: a reader such as `head` that has seen enough is no error.
    code.map_or_else(
        |e| if e.kind() == io::ErrorKind::BrokenPipe { ExitCode::SUCCESS } else { ExitCode::from(unwritten) },
        ExitCode::from,
    )
}
