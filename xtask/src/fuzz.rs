//! `cargo xtask fuzz [--seconds N] [target ...]`: libFuzzer on the parsers, with the stable compiler: the
//! coverage pass of LLVM is switched on by code generation flags, so nothing but a C++ compiler (for
//! libFuzzer itself) is needed.

use std::fs;
use std::path::PathBuf;
use std::thread;

use crate::setup::{Need, ensure};
use crate::shell::{cargo, command, root, run, stream, target};

/// The options that make LLVM report which edges a run took. No address sanitizer: the parsers are safe Rust,
/// and debug assertions and overflow checks are on.
const FLAGS: [&str; 7] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
];

/// The crates whose edges count, besides the targets themselves. All others are built as ever: some of their
/// build scripts link programs of their own, which the flags would break, and it is quicker.
const WATCHED: [&str; 9] = [
    "airlock",
    "airlock_config",
    "airlock_dlp",
    "airlock_mcp",
    "base64",
    "granit_parser",
    "http",
    "serde_json",
    "serde_saphyr",
];

/// Tells the compiler wrapper what it is, and holds the names of the targets.
const WRAPPER: &str = "AIRLOCK_FUZZ_TARGETS";

/// This program as cargo's `RUSTC_WRAPPER`: adds the flags for the crates whose edges count. None if it is
/// not called so.
pub(crate) fn wrapper() -> Option<std::process::ExitCode> {
    let targets = std::env::var(WRAPPER).ok()?;
    let mut args = std::env::args_os().skip(1);
    let mut rustc = std::process::Command::new(args.next()?);
    let args: Vec<_> = args.collect();
    let after = |name: &str| args.iter().skip_while(|arg| *arg != name).nth(1).and_then(|arg| arg.to_str());
    let watched = |name: &str| WATCHED.contains(&name) || targets.split(',').any(|target| target == name);
    // Without `--target` it is built for a build script or a procedural macro.
    if after("--target").is_some() && after("--crate-name").is_some_and(watched) {
        rustc.args(FLAGS);
    }
    let code = rustc.args(&args).status().ok().and_then(|status| status.code());
    Some(code.and_then(|code| u8::try_from(code).ok()).map_or(std::process::ExitCode::FAILURE, Into::into))
}

/// The platform is named to keep the flags away from build scripts and procedural macros.
#[cfg(target_arch = "x86_64")]
const PLATFORM: &str = "x86_64-unknown-linux-gnu";
#[cfg(target_arch = "aarch64")]
const PLATFORM: &str = "aarch64-unknown-linux-gnu";

/// The command.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    let mut seconds = 60;
    let mut chosen = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--seconds" {
            let value = args.next().map(|value| value.parse());
            seconds = value.and_then(Result::ok).ok_or("--seconds wants a number")?;
        } else {
            chosen.push(arg.clone());
        }
    }
    ensure(&[Need::Daemon, Need::Fuzz])?;
    let known = targets()?;
    if let Some(unknown) = chosen.iter().find(|name| !known.contains(name)) {
        return Err(format!("there is no fuzz target `{unknown}`; there are {}", known.join(", ")));
    }
    let (_, failed) = fuzz(if chosen.is_empty() { &known } else { &chosen }, seconds, &[])?;
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

/// Every target for at most that many seconds: how many held, and what did not.
///
/// Always the same inputs in the same order, so that a change is not blamed for what another run of dice
/// would have found; finding more is what `cargo xtask fuzz` is for.
pub(crate) fn smoke(seconds: u32) -> Result<(u64, Vec<String>), String> {
    fuzz(&targets()?, seconds, &["-seed=1", "-runs=1000000"])
}

fn dir() -> PathBuf {
    root().join("airlock-daemon/fuzz")
}

/// The names of the targets: the files of `fuzz_targets`.
fn targets() -> Result<Vec<String>, String> {
    let dir = dir().join("fuzz_targets");
    let entries = fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut names: Vec<String> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".rs")?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn fuzz(names: &[String], seconds: u32, more: &'static [&'static str]) -> Result<(u64, Vec<String>), String> {
    let home = target().join("fuzz");
    let mut build = cargo(&["build", "--bins", "--target", PLATFORM, "--manifest-path"]);
    build.arg(dir().join("Cargo.toml")).arg("--target-dir").arg(&home);
    let own = std::env::current_exe().map_err(|error| format!("this program is lost: {error}"))?;
    build.env("RUSTC_WRAPPER", own).env(WRAPPER, targets()?.join(",")).env_remove("CARGO_TARGET_DIR");
    run(&mut build)?;

    let mut passed = 0;
    let mut failed = Vec::new();
    // Two at a time: that is what the smallest machine we know has cores for.
    for pair in names.chunks(2) {
        let runs: Vec<_> = pair.iter().map(|name| (name.clone(), home.clone())).collect();
        let runs: Vec<_> = runs
            .into_iter()
            .map(|(name, home)| thread::spawn(move || one(&name, &home, seconds, more)))
            .collect();
        for (name, run) in pair.iter().zip(runs) {
            match run.join() {
                Ok(Ok(())) => passed += 1,
                Ok(Err(error)) => failed.push(error),
                Err(_) => failed.push(format!("fuzz target {name}: the runner itself broke")),
            }
        }
    }
    Ok((passed, failed))
}

/// Runs one target; its output is shown only in the part that tells something.
fn one(name: &str, home: &std::path::Path, seconds: u32, more: &[&str]) -> Result<(), String> {
    let corpus = home.join("corpus").join(name);
    let artifacts = home.join("artifacts").join(name);
    for dir in [&corpus, &artifacts] {
        fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    let mut fuzzer = command(home.join(PLATFORM).join("debug").join(name), &[]);
    fuzzer
        .arg(format!("-max_total_time={seconds}"))
        .args(["-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0"])
        .args(more)
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&corpus);
    let seeds = dir().join("seeds").join(name);
    if seeds.is_dir() {
        fuzzer.arg(seeds);
    }
    let mut runs = 0_u64;
    let well = stream(&mut fuzzer, |line| {
        if let Some(number) = line.strip_prefix("stat::number_of_executed_units:") {
            runs = number.trim().parse().unwrap_or(0);
        }
    })?;
    println!("fuzz target {name}: {runs} inputs in at most {seconds} s");
    if well && runs > 0 {
        return Ok(());
    }
    Err(format!("fuzz target {name} failed; the input is in {}", artifacts.display()))
}
