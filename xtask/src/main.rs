//! `cargo xtask`: everything this workspace can do to itself, with nothing but the standard library.

mod bench;
mod build;
mod build_ebpf;
mod check;
mod coverage;
mod demo;
mod deny;
mod dlp;
mod fuzz;
mod mutants;
mod pins;
mod setup;
mod shell;
mod soak;
mod summary;
mod test;
mod tools;
mod vm;

use std::process::ExitCode;

/// The function of a command. It takes the arguments that follow the name.
type Run = fn(&[String]) -> Result<(), String>;

/// Every command: its name, what it does in one line, its function.
const COMMANDS: [(&str, &str, Run); 13] = [
    ("demo", "build everything and tell the story of a call; --keep leaves it running", demo::run_command),
    ("test", "install what is missing, build, lint, run every test and a short fuzzing", test::run_command),
    ("build", "build the kernel programs and the daemon; --release for the real thing", build::run_command),
    ("build-ebpf", "build only the kernel programs", build_ebpf::run),
    ("check", "formatting, lints, and the rules for dependencies", check::run_command),
    (
        "bench",
        "measure against a direct call and nginx, or --flood, --neighbours: beside a flood; --quick for a glance",
        bench::run_command,
    ),
    ("soak", "abandon a thousand sessions, hold five thousand, and look at what stays", soak::run_command),
    (
        "dlp",
        "measure what the detectors find, beside three other tools; --quick for a glance",
        dlp::run_command,
    ),
    ("tools", "install only the servers and clients that the tests drive", tools::run_command),
    ("coverage", "run the tests and print how much of the code they reach", coverage::run_command),
    (
        "vm",
        "test the kernel half on Debian's kernels in qemu: --kernel 6.1|6.12, or --all [--write]",
        vm::run_command,
    ),
    (
        "mutants",
        "change the code and look if a unit test notices: [--shard N/M] [path ...]; takes hours",
        mutants::run_command,
    ),
    ("fuzz", "fuzz the parsers: [--seconds N] [target ...]", fuzz::run_command),
];

fn main() -> ExitCode {
    if let Some(code) = fuzz::wrapper() {
        return code;
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let name = args.first().map_or("help", String::as_str);
    if ["help", "--help", "-h"].contains(&name) {
        println!("{}", help());
        return ExitCode::SUCCESS;
    }
    let Some((_, _, run)) = COMMANDS.iter().find(|(known, _, _)| *known == name) else {
        eprintln!("xtask: there is no command `{name}`\n\n{}", help());
        return ExitCode::from(2);
    };
    match run(args.get(1..).unwrap_or_default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The list of commands.
fn help() -> String {
    let lines = COMMANDS.map(|(name, what, _)| format!("  {name:<11} {what}"));
    format!("cargo xtask COMMAND\n\n{}", lines.join("\n"))
}
