//! Programs that print the rows of a table.

use std::process::ExitCode;

/// Runs `NAME-rows`, whose only argument may be `--quick`. `measure` is told whether it is there.
pub fn run(name: &str, measure: impl FnOnce(bool) -> Result<(), String>) -> ExitCode {
    let quick = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => false,
        [flag] if flag == "--quick" => true,
        _ => {
            eprintln!("usage: {name}-rows [--quick]");
            return ExitCode::from(2);
        }
    };
    match measure(quick) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
