//! `cargo xtask`: everything this workspace can do to itself.

mod build_ebpf;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let result = match args.next().as_deref() {
        Some("build-ebpf") => build_ebpf::run(&args.collect::<Vec<_>>()),
        _ => Err("usage: cargo xtask build-ebpf".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
