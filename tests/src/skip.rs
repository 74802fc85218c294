//! Tests that cannot run here, and what others have to say beside passing.

#![allow(dead_code, reason = "the crates that include this file need different parts of it")]
#![allow(unreachable_pub, reason = "the crates that include this file see it in different places")]

use std::io::Write as _;

/// Records that the running test is skipped, and why. The test returns right after it.
///
/// The line `test name: reason` goes to the file that the variable `AIRLOCK_SKIP_LOG` names, where there is
/// one, and `SKIPPED: reason` to standard error in any case.
pub fn skip(reason: &str) {
    record("SKIPPED: ", "AIRLOCK_SKIP_LOG", reason);
}

/// Records how much the running test has done, where that is not the same everywhere. It has not failed and
/// is not skipped.
///
/// The line goes to the file that the variable `AIRLOCK_NOTE_LOG` names, where there is one, and to standard
/// error.
pub fn note(done: &str) {
    record("", "AIRLOCK_NOTE_LOG", done);
}

fn record(word: &str, variable: &str, text: &str) {
    let name = test_name();
    let _ = writeln!(std::io::stderr(), "{word}{name}: {text}");
    let Some(path) = std::env::var_os(variable) else { return };
    // One write of one short line in append mode: tests that end at once do not mix their lines.
    let line = format!("{name}: {}\n", text.replace('\n', " "));
    let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    if let Err(error) = file.and_then(|mut file| file.write_all(line.as_bytes())) {
        let _ = writeln!(std::io::stderr(), "cannot write {}: {error}", path.display());
    }
}

/// The name of the running test: nextest tells it, libtest names the thread after it.
fn test_name() -> String {
    if let Ok(name) = std::env::var("NEXTEST_TEST_NAME") {
        return name;
    }
    let thread = std::thread::current();
    match thread.name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => {
            std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_else(|| "a test".to_owned())
        }
    }
}
