//! `cargo xtask dlp [--quick]`: what the detectors find and what they find wrongly, beside gitleaks,
//! detect-secrets and presidio-analyzer, on the same texts. The programs in xtask/dlp make the texts, run the
//! tools one after the other and count; the counts go to xtask/dlp/measured.tsv, from which a test of the
//! pages writes the tables. `--quick` takes fewer texts, and leaves the counts in target/dlp.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::setup::{self, Need};
use crate::shell::{cargo, command, root, run, target};
use crate::tools;

/// The tools that Airlock is measured beside, as xtask/dlp/peers.py knows them.
const PEERS: [&str; 3] = ["gitleaks", "detect-secrets", "presidio"];

/// How many texts of each shape, and how many MiB of prose and of source code.
const WHOLE: [&str; 3] = ["--count=24", "--prose=1", "--source=2"];
const QUICK: [&str; 3] = ["--count=4", "--prose=0.2", "--source=0.2"];

/// The command.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    let quick = match args {
        [] => false,
        [flag] if flag == "--quick" => true,
        _ => return Err("usage: cargo xtask dlp [--quick]".to_owned()),
    };
    setup::ensure(&[Need::Daemon, Need::TestTools])?;
    tools::ensure()?;
    let python = tools::quality()?;
    run(&mut cargo(&["build", "--release", "--package", "airlock-dlp", "--example", "find"]))?;
    let dir = target().join("dlp");
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let sizes = if quick { QUICK } else { WHOLE };
    run(program(&python, "corpus.py").arg(&dir).args(sizes))?;
    run(command(target().join("release/examples/find"), &[])
        .stdin(open(&dir.join("corpus.jsonl"))?)
        .stdout(create(&dir.join("airlock.jsonl"))?))?;
    for peer in PEERS {
        run(program(&python, "peers.py").arg(&dir).arg(peer))?;
    }
    let measured =
        if quick { dir.join("measured.tsv") } else { root().join("xtask/dlp").join("measured.tsv") };
    run(program(&python, "compare.py").arg(&dir).arg(&measured))?;
    println!("what was missed and what was found wrongly: {}", dir.join("faults.txt").display());
    if quick {
        println!("the counts: {}", measured.display());
        return Ok(());
    }
    let pages = ["test", "--package", "airlock-tests", "--test", "promises", "pages::redaction_is_measured"];
    run(cargo(&pages).env("AIRLOCK_BLESS", "1"))
}

/// A program of xtask/dlp.
fn program(python: &Path, name: &str) -> std::process::Command {
    let mut program = command(python, &["-B"]);
    program.arg(root().join("xtask/dlp").join(name));
    program
}

fn open(path: &PathBuf) -> Result<File, String> {
    File::open(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn create(path: &PathBuf) -> Result<File, String> {
    File::create(path).map_err(|error| format!("{}: {error}", path.display()))
}
