//! `airlock`: the command line, nothing else.

#[global_allocator]
static ALLOCATOR: airlock::wipe::Wiping = airlock::wipe::Wiping;

fn main() -> std::process::ExitCode {
    airlock::cli::run()
}
