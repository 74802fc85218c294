//! Output of commands. A reader that has seen enough (`airlock status | true`) is no fault, and changes no
//! exit code.

use std::fmt;
use std::io::{self, Write};

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
