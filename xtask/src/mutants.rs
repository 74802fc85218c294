//! `cargo xtask mutants [--shard N/M] [PATH ...]`: cargo-mutants changes the code in small ways, one after
//! the other, and looks if a unit test notices.
//!
//! A change is first held against the tests of its own folder, which take seconds, and only if those do not
//! notice it against all unit tests of its package. One that is still there survives. `xtask/mutants.txt`
//! has the survivors that are known, each below its reason: a survivor that is not in it is an error, and
//! so is an entry whose change is noticed by now.
//!
//! It works on a copy of the tree below `target/mutants`, one change at a time: compiler and tests use all
//! cores by themselves. A change costs about ten seconds on two cores, so everything takes hours; `--shard`
//! parts it over machines.

mod known;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::setup::{self, Need};
use crate::shell::{cargo, command, output, root, target};

use self::known::Known;

/// The parts that no survivor may be left in without a reason: the list of checks, identity, the decision
/// of the policy, limits, and the verifier of the audit log.
const PATHS: [&str; 9] = [
    "airlock-daemon/src/pipeline",
    "airlock-daemon/src/auth",
    "airlock-daemon/src/policy/document/decision.rs",
    "airlock-daemon/src/policy/engine.rs",
    "airlock-daemon/src/policy/document/input.rs",
    "airlock-daemon/src/policy/engine/cache.rs",
    "airlock-daemon/src/limits",
    "airlock-daemon/src/audit/verify.rs",
    "airlock-daemon/src/audit/verify",
];

/// Seconds for the tests of one folder, and for all of a package. A change that makes them take longer is
/// noticed by that. They take a few seconds and less than a minute on two idle cores.
const FOLDER_SECONDS: &str = "120";
const PACKAGE_SECONDS: &str = "300";

const USAGE: &str = "usage: cargo xtask mutants [--shard N/M] [PATH ...]";

/// The command line.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    shard: Option<String>,
    paths: Vec<String>,
}

impl Options {
    fn read(args: &[String]) -> Result<Self, String> {
        let mut options = Self { shard: None, paths: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--shard" {
                options.shard = Some(args.next().filter(|shard| shard.contains('/')).ok_or(USAGE)?.clone());
            } else if arg.starts_with('-') {
                return Err(USAGE.to_owned());
            } else {
                options.paths.push(arg.trim_end_matches('/').to_owned());
            }
        }
        if options.paths.is_empty() {
            options.paths = PATHS.map(str::to_owned).to_vec();
        }
        match options.paths.iter().find(|path| !root().join(path).exists()) {
            Some(path) => Err(format!("there is no {path}; {USAGE}")),
            None => Ok(options),
        }
    }
}

/// A path with the package that it belongs to and the names of the tests beside it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
struct Part {
    package: String,
    /// Test names begin so; empty for all.
    tests: String,
}

impl Part {
    /// The part of a path below the root of the workspace.
    fn of(path: &str) -> Result<Self, String> {
        let source = Path::new(path)
            .ancestors()
            .find(|dir| root().join(dir).join("Cargo.toml").is_file())
            .ok_or_else(|| format!("{path} is in no package"))?;
        let manifest = root().join(source).join("Cargo.toml");
        let text =
            fs::read_to_string(&manifest).map_err(|error| format!("{}: {error}", manifest.display()))?;
        let package = text.lines().find_map(|line| line.strip_prefix("name = \"")?.split('"').next());
        let package = package.ok_or_else(|| format!("{path} is in no package"))?.to_owned();
        let below = Path::new(path).strip_prefix(source.join("src")).unwrap_or(Path::new(""));
        let first = below.components().next().map(|name| name.as_os_str().to_string_lossy().into_owned());
        let tests = first.map(|name| format!("{}::", name.trim_end_matches(".rs"))).unwrap_or_default();
        Ok(Self { package, tests })
    }
}

/// The changes of a run, in the words of cargo-mutants.
#[derive(Debug, Default)]
struct Outcome {
    caught: Vec<String>,
    missed: Vec<String>,
    unviable: Vec<String>,
    timeout: Vec<String>,
}

impl Outcome {
    /// Reads what cargo-mutants wrote.
    fn read(dir: &Path) -> Result<Self, String> {
        let list = |name: &str| match fs::read_to_string(dir.join("mutants.out").join(name)) {
            Ok(text) => Ok(text.lines().map(str::to_owned).collect()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(format!("{name}: {error}")),
        };
        Ok(Self {
            caught: list("caught.txt")?,
            missed: list("missed.txt")?,
            unviable: list("unviable.txt")?,
            timeout: list("timeout.txt")?,
        })
    }
}

/// The command.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    let options = Options::read(args)?;
    setup::ensure(&[Need::Daemon])?;
    setup::cargo_mutants()?;
    let home = target().join("mutants");
    copy(&home.join("tree"))?;
    let mut parts: BTreeMap<Part, Vec<&str>> = BTreeMap::new();
    for path in &options.paths {
        parts.entry(Part::of(path)?).or_default().push(path);
    }
    let known = Known::read()?;
    let mut faults = Vec::new();
    for (part, paths) in &parts {
        println!("\n== {}", paths.join(", "));
        let mut first = vec!["--timeout".to_owned(), FOLDER_SECONDS.to_owned()];
        first.extend(options.shard.iter().flat_map(|shard| ["--shard".to_owned(), shard.clone()]));
        first.extend(paths.iter().flat_map(|path| ["--file".to_owned(), glob(path)]));
        let folder = mutate(&home, "folder", part, &first, &part.tests)?;
        let survivors = if folder.missed.is_empty() || part.tests.is_empty() {
            folder.missed.clone()
        } else {
            println!("{} go on to all tests of {}", folder.missed.len(), part.package);
            let mut second = vec!["--timeout".to_owned(), PACKAGE_SECONDS.to_owned()];
            second.extend(folder.missed.iter().flat_map(|name| ["--re".to_owned(), exactly(name)]));
            mutate(&home, "package", part, &second, "")?.missed
        };
        let noticed = folder.caught.len() + folder.timeout.len() + folder.missed.len() - survivors.len();
        println!(
            "{} changes: {noticed} noticed, {} did not compile, {} survive",
            noticed + survivors.len() + folder.unviable.len(),
            folder.unviable.len(),
            survivors.len()
        );
        let gone: Vec<&String> = folder
            .caught
            .iter()
            .chain(folder.missed.iter().filter(|name| !survivors.contains(name)))
            .collect();
        faults.extend(known.compare(&survivors, &gone));
    }
    for fault in &faults {
        println!("{fault}");
    }
    if faults.is_empty() {
        println!("no survivor is unexplained");
        Ok(())
    } else {
        Err(format!("{}: write a test, or the reason into {}", faults.len(), known::FILE))
    }
}

/// Runs cargo-mutants on the copy of the tree.
fn mutate(home: &Path, name: &str, part: &Part, args: &[String], tests: &str) -> Result<Outcome, String> {
    let dir = home.join(name);
    fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut mutants = cargo(&["mutants", "--in-place", "--no-times", "--package", &part.package]);
    mutants.arg("--output").arg(&dir).args(args).args(["--", "--lib", "--", tests]);
    mutants.current_dir(home.join("tree"));
    // Its own directory of what is built, without what nobody reads, so that a change is built in seconds.
    mutants.env("CARGO_TARGET_DIR", home.join("build")).env("CARGO_PROFILE_DEV_DEBUG", "0");
    mutants.env("CARGO_INCREMENTAL", "1");
    let object = target().join("bpf/airlock.o");
    if object.is_file() {
        mutants.env("AIRLOCK_EBPF_OBJECT", object);
    }
    let status = mutants.status().map_err(|error| format!("cargo-mutants: {error}"))?;
    match status.code() {
        // Everything was noticed; something survived; something took too long.
        Some(0 | 2 | 3) => Outcome::read(&dir),
        _ => Err(format!("cargo-mutants failed ({status}); its logs are in {}", dir.display())),
    }
}

/// The files of a path for cargo-mutants.
fn glob(path: &str) -> String {
    if root().join(path).is_dir() { format!("{path}/**/*.rs") } else { path.to_owned() }
}

/// A regular expression for that name and no other.
fn exactly(name: &str) -> String {
    let mut pattern = "^".to_owned();
    for letter in name.chars() {
        if !letter.is_alphanumeric() && letter.is_ascii() && letter != ' ' {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern + "$"
}

/// Brings the files of the tree into the copy. A file that is the same stays untouched, so that little is
/// built again.
fn copy(to: &Path) -> Result<(), String> {
    let listed = output(&mut command("git", &["ls-files", "--cached", "--others", "--exclude-standard"]))?;
    let wanted: Vec<PathBuf> =
        listed.lines().map(PathBuf::from).filter(|file| root().join(file).is_file()).collect();
    let broken = |path: &Path, error: &std::io::Error| format!("{}: {error}", path.display());
    for file in &wanted {
        let (from, to) = (root().join(file), to.join(file));
        let bytes = fs::read(&from).map_err(|error| broken(&from, &error))?;
        if fs::read(&to).is_ok_and(|there| there == bytes) {
            continue;
        }
        let dir = to.parent().unwrap_or(&to);
        fs::create_dir_all(dir).map_err(|error| broken(dir, &error))?;
        fs::write(&to, bytes).map_err(|error| broken(&to, &error))?;
    }
    let mut there = Vec::new();
    files(to, &mut there).map_err(|error| broken(to, &error))?;
    for file in there {
        if file.strip_prefix(to).is_ok_and(|file| wanted.iter().all(|wanted| wanted != file)) {
            fs::remove_file(&file).map_err(|error| broken(&file, &error))?;
        }
    }
    Ok(())
}

fn files(dir: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { files(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Options, String> {
        Options::read(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_paths_are_there() {
        let all = read(&[]).expect("every path");
        assert_eq!((all.paths.len(), all.shard), (PATHS.len(), None));
        let part = read(&["--shard", "1/4", "xtask/src/"]).expect("options");
        assert_eq!((part.paths, part.shard.as_deref()), (vec!["xtask/src".to_owned()], Some("1/4")));
        for wrong in [&["--shard"][..], &["--shard", "1"], &["--jobs"], &["nowhere"]] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_path_has_a_package_and_tests() {
        let part = |package: &str, tests: &str| Ok(Part { package: package.into(), tests: tests.into() });
        assert_eq!(Part::of("xtask/src/vm/guest.rs"), part("xtask", "vm::"));
        assert_eq!(Part::of("xtask/src/summary.rs"), part("xtask", "summary::"));
        assert_eq!(Part::of("xtask/src"), part("xtask", ""));
    }

    #[test]
    fn a_name_is_meant_as_it_stands() {
        assert_eq!(
            exactly("a.rs:1:2: replace + with * in B::c"),
            r"^a\.rs\:1\:2\: replace \+ with \* in B\:\:c$"
        );
    }
}
