//! The rows of `cargo xtask soak`: what stays behind of sessions that are abandoned, what an idle one costs,
//! and what one principal can have kept.

use std::process::ExitCode;

use airlock_tests::soak;

fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let rows = [
        soak::abandon(1_000),
        soak::idle(5_000),
        soak::kept::answers(28),
        soak::kept::unread(100),
        soak::kept::subscriptions(28),
    ];
    for told in rows {
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
