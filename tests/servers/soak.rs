//! The rows of `cargo xtask soak`: what stays behind of sessions that are abandoned, and what an idle one costs.

use std::process::ExitCode;

use airlock_tests::soak;

fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for told in [soak::abandon(1_000), soak::idle(5_000)] {
        match told {
            Ok(told) => println!("{told}"),
            Err(error) => {
                eprintln!("soak: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
