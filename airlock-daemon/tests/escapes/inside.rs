//! This program as an attempt, inside of the cage or, to see what it would do, outside.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::attempt::OutsideFacts;
use crate::{attempts, outside, raw};

/// The variable that names the attempt that this process is.
pub(crate) const ATTEMPT: &str = "AIRLOCK_TEST_ATTEMPT";
/// The variable that describes the world outside.
pub(crate) const PLACE: &str = "AIRLOCK_TEST_PLACE";
/// Not an attempt but the process that makes those it is told to.
pub(crate) const DRIVER: &str = "driver";
/// Not an attempt but the process that others are after.
pub(crate) const VICTIM: &str = "victim";
/// Not an attempt but a program with privileges of its own: says which it has.
pub(crate) const PRIVILEGED: &str = "privileged";
/// How long an attempt may hang.
const ATTEMPT_SECONDS: u32 = 30;

/// Acts and says how it went.
pub(crate) fn act(name: &str) -> ExitCode {
    match name {
        VICTIM => {
            return match outside::be_the_victim() {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("victim: {error}");
                    ExitCode::FAILURE
                }
            };
        }
        PRIVILEGED => return attempts::processes::privileges(),
        _ => {}
    }
    let place: OutsideFacts = std::env::var(PLACE)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .expect("the suite describes the world");
    let all = attempts::all();
    let find = |name: &str| all.iter().find(|attempt| attempt.name == name);
    if let Some(attempt) = find(name) {
        say(&format!("RESULT {}", number(&(attempt.act)(&place))));
        return ExitCode::SUCCESS;
    }
    // One attempt after the other, each by a child of its own: starting this program is what takes time.
    while let Some(line) = read_line() {
        // Bytes that were sent along with a descriptor that nobody took stand before the name.
        let Some(attempt) = find(line.trim_start_matches('!')) else {
            say("UNKNOWN");
            continue;
        };
        let ended = raw::child(|| {
            raw::alarm(ATTEMPT_SECONDS);
            say(&format!("RESULT {}", number(&(attempt.act)(&place))));
        });
        match ended {
            Ok(None) => say("ENDED"),
            Ok(Some(signal)) => say(&format!("KILLED {signal}")),
            Err(error) => say(&format!("FAILED {error}")),
        }
    }
    ExitCode::SUCCESS
}

/// The number of the error, or 0.
fn number(result: &io::Result<()>) -> i32 {
    result.as_ref().err().map_or(0, |error| error.raw_os_error().unwrap_or(255))
}

/// A line of standard input, and not a byte more: the next may come with a descriptor, or be for a child.
fn read_line() -> Option<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while rustix::io::read(io::stdin(), &mut byte).ok()? == 1 {
        if byte == *b"\n" {
            return String::from_utf8(line).ok();
        }
        line.push(byte[0]);
    }
    None
}

/// Tells the accomplice where to connect to; whether it got there.
pub(crate) fn listening(address: &str) -> io::Result<()> {
    say(&format!("LISTENING {address}"));
    let line = read_line().ok_or(io::ErrorKind::UnexpectedEof)?;
    match line.trim().parse() {
        Ok(0) => Ok(()),
        Ok(errno) => Err(io::Error::from_raw_os_error(errno)),
        Err(error) => Err(io::Error::other(error)),
    }
}

fn say(line: &str) {
    // Without its output the attempt has no result, which the suite takes for a failure.
    let _ = io::stdout().write_all(format!("{line}\n").as_bytes());
}
