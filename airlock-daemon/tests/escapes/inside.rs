//! This program as an attempt, inside of the cage or, to see what it would do, outside.

use std::io::{self, BufRead as _, Write as _};
use std::process::ExitCode;

use crate::attempt::Place;
use crate::{attempts, outside, raw};

/// The variable that names the attempt that this process is.
pub(crate) const ATTEMPT: &str = "AIRLOCK_TEST_ATTEMPT";
/// The variable that describes the world outside.
pub(crate) const PLACE: &str = "AIRLOCK_TEST_PLACE";
/// Not an attempt but the process that others are after.
pub(crate) const VICTIM: &str = "victim";
/// Not an attempt but a program with privileges of its own: says which it has.
pub(crate) const PRIVILEGED: &str = "privileged";
/// How long an attempt may hang.
const PATIENCE: u32 = 30;

/// Acts and says how it went: the number of the error, or 0.
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
    raw::alarm(PATIENCE);
    let place: Place = std::env::var(PLACE)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .expect("the suite describes the world");
    let all = attempts::all();
    let attempt = all.iter().find(|attempt| attempt.name == name).expect("the suite knows its attempts");
    let result = (attempt.act)(&place);
    let number = match &result {
        Ok(()) => 0,
        Err(error) => error.raw_os_error().unwrap_or(255),
    };
    if let Err(error) = &result {
        eprintln!("{name}: {error}");
    }
    say(&format!("RESULT {number}"));
    ExitCode::SUCCESS
}

/// Tells the accomplice where to connect to; whether it got there.
pub(crate) fn listening(address: &str) -> io::Result<()> {
    say(&format!("LISTENING {address}"));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
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
