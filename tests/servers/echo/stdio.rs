//! One message a line.

use std::io::{self, BufRead as _, Write as _};

use crate::answer::{Texts, answer};

/// Answers until standard input ends. Every message that has arrived is answered before the answers are
/// written, so that a full pipe costs one write.
pub(crate) fn serve() -> io::Result<()> {
    let mut input = io::BufReader::with_capacity(64 * 1024, io::stdin().lock());
    // Not `io::stdout`: its line buffering would look for newlines in every answer.
    let mut output = std::fs::File::from(std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned()?);
    let mut texts = Texts::default();
    let mut line = Vec::new();
    let mut out = Vec::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return output.write_all(&out);
        }
        if line.iter().any(|byte| !byte.is_ascii_whitespace()) {
            let before = out.len();
            if let Err(error) = answer(&line, &mut texts, &mut out) {
                let _ = writeln!(io::stderr(), "echo-server: no request: {error}");
            }
            if out.len() > before {
                out.push(b'\n');
            }
        }
        if !input.buffer().contains(&b'\n') || out.len() > 256 * 1024 {
            output.write_all(&out)?;
            out.clear();
        }
    }
}
