//! `cargo xtask coverage`: the tests with instrumented code, read by Debian's LLVM tools. rustc 1.95 writes
//! profiles of LLVM 22, so llvm-22's `llvm-profdata` and `llvm-cov` read them, and nothing else needs to be
//! installed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::setup::{self, Need};
use crate::shell::{cargo, command, output, root, run, run_quietly, target};
use crate::{build_ebpf, pins, tools};

/// The command.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    if !args.is_empty() {
        return Err("usage: cargo xtask coverage".to_owned());
    }
    setup::ensure(&[Need::Daemon, Need::Ebpf, Need::TestTools, Need::Container, Need::Coverage])?;
    tools::ensure()?;
    build_ebpf::run(&[])?;
    let home = target().join("coverage");
    let profiles = home.join("profiles");
    // Profiles of an earlier run would be counted as this one's.
    if profiles.exists() {
        fs::remove_dir_all(&profiles).map_err(|error| format!("{}: {error}", profiles.display()))?;
    }
    let instrumented = |args: &[&str]| {
        let mut command = cargo(args);
        command
            .env("RUSTFLAGS", "-Cinstrument-coverage")
            .env("CARGO_TARGET_DIR", &home)
            .env("LLVM_PROFILE_FILE", profiles.join("%p-%m.profraw"))
            .env("AIRLOCK_SKIP_LOG", home.join("skips.log"))
            .env("AIRLOCK_BIN", home.join("debug/airlock"))
            .env("AIRLOCK_EBPF_OBJECT", target().join("bpf/airlock.o"))
            .env("AIRLOCK_TOOLS", tools::dir());
        command
    };
    run(&mut instrumented(&["build", "--workspace", "--bins"]))?;
    let built = output(&mut instrumented(&["test", "--workspace", "--no-run", "--message-format=json"]))?;
    let mut objects = executables(&built);
    objects.push(home.join("debug/airlock"));
    // The lines that a failed test reached are still worth knowing.
    let tested = run(&mut instrumented(&["test", "--workspace", "--no-fail-fast"]));
    report(&home, &profiles, &objects)?;
    tested
}

/// Merges the profiles, prints the table and writes a page a file.
fn report(home: &Path, profiles: &Path, objects: &[PathBuf]) -> Result<(), String> {
    let llvm = |tool: &str| format!("/usr/lib/llvm-{}/bin/{tool}", pins::LLVM);
    let merged = home.join("merged.profdata");
    let mut merge = command(llvm("llvm-profdata"), &["merge", "--sparse", "--failure-mode=all", "--output"]);
    run_quietly(merge.arg(&merged).arg(profiles))?;
    let read = |kind: &[&str]| {
        let mut read = command(llvm("llvm-cov"), kind);
        read.arg(format!("--instr-profile={}", merged.display()));
        read.args(["--ignore-filename-regex", r"/\.cargo/|/rustc/|/rustlib/|/tests/|/xtask/|/target/"]);
        for object in objects {
            read.arg("--object").arg(object);
        }
        read
    };
    let table = output(&mut read(&["report", "--use-color=false", "--show-region-summary=false"]))?;
    println!("{}", table.replace(&format!("{}/", root().display()), ""));
    let pages = home.join("html");
    run_quietly(read(&["show", "--format=html"]).arg(format!("--output-dir={}", pages.display())))?;
    println!("line by line: {}", pages.join("index.html").display());
    Ok(())
}

/// The test programs that cargo says it built.
fn executables(messages: &str) -> Vec<PathBuf> {
    let between = |line: &str| Some(line.split_once("\"executable\":\"")?.1.split_once('"')?.0.to_owned());
    messages.lines().filter_map(between).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_are_found_in_what_cargo_says() {
        let messages = "{\"reason\":\"compiler-artifact\",\"executable\":\"/t/debug/deps/airlock-1\",\"fresh\":true}\n\
                        {\"reason\":\"compiler-artifact\",\"executable\":null}\n{\"reason\":\"build-finished\"}";
        assert_eq!(executables(messages), [PathBuf::from("/t/debug/deps/airlock-1")]);
    }
}
