//! `airlock`: the command line, nothing else.

fn main() -> std::process::ExitCode {
    airlock::cli::run()
}
