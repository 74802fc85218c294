//! A bundle is tried by another process before this one runs it: what it brings down is not the daemon.
//!
//! Endless recursion, a lack of memory or an abort inside the engine end a process, and nothing in it can
//! prevent that. So the files are read once, a child of the same program ([`Vetting::Program`]) compiles and
//! tries exactly these texts under limits of time and memory ([`confine`]), and only what it calls good is
//! compiled here.

mod agree;
pub(super) mod coverage;
pub(super) mod unit_tests;

use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

use self::unit_tests::TestOptions;
use super::bundle::{Bundle, Files};
use super::engine::PolicyEngine;
use super::error::PolicyError;

/// The hidden subcommand that [`child`] is.
pub const SUBCOMMAND: &str = "policy-vet";
/// The longest that a bundle is tried, by the clock on the wall.
const VET_TIMEOUT: Duration = Duration::from_secs(30);
/// Processor time of a child, in seconds.
const CPU_SECONDS: u64 = 20;
/// Address space of a child.
const MEMORY_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Stack of the thread that tries a bundle: half of a worker's, so that what passes here has room to spare
/// there.
const PROBE_STACK: usize = WORKER_STACK / 2;
/// Stack that a thread needs which asks a policy.
pub const WORKER_STACK: usize = 4 * 1024 * 1024;
/// The most that is read of what a child says.
const MAX_REPORT: u64 = 1024 * 1024;

/// How a bundle is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vetting {
    /// By a child: this program with the subcommand [`SUBCOMMAND`].
    Program(PathBuf),
    /// In this process, which a bad bundle may end: for tests of what has nothing to do with that.
    Here,
}

/// The result of trying a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The digest of what was tried.
    pub digest: String,
    /// Tests of the bundle that passed; none failed.
    pub tests: usize,
    /// Inputs that were put to the bundle, in both engines where both can run it.
    pub probes: usize,
    /// Those of them that it had no answer to, which refuses such a call.
    pub errors: usize,
    /// An input to which the two engines say different things, and what they say.
    pub disagreement: Option<String>,
}

impl Vetting {
    /// By the program that runs now, even when its file has been replaced since.
    pub fn own_program() -> Self {
        Self::Program("/proc/self/exe".into())
    }

    /// Reads the bundle at `path`, has it tried, and compiles it. Takes its time: not for a worker's thread.
    ///
    /// # Errors
    /// The fault of the bundle: where, why, and what to do.
    pub fn load(&self, path: &Path) -> Result<(PolicyEngine, Findings), PolicyError> {
        self.compile(&Files::read(path)?)
    }

    pub(super) fn compile(&self, files: &Files) -> Result<(PolicyEngine, Findings), PolicyError> {
        let findings = match self {
            Self::Program(program) => ask_child(program, files)?,
            Self::Here => examine(files)?,
        };
        let bundle = Bundle::new(files)?;
        let engine = match &findings.disagreement {
            None => PolicyEngine::from_bundle(&bundle)?,
            Some(reason) => PolicyEngine::interpreted(&bundle, reason)?,
        };
        if engine.digest() == findings.digest {
            Ok((engine, findings))
        } else {
            Err(failed(&files.root, "its report is about another bundle", ""))
        }
    }
}

/// The child: reads files from standard input, tries them, and writes what it found to standard output.
///
/// # Errors
/// When it cannot limit itself, or is not given files.
pub fn child() -> Result<(), String> {
    confine().map_err(|error| format!("the limits of this process cannot be set: {error}"))?;
    let files: Files = serde_json::from_reader(std::io::stdin().lock()).map_err(|error| error.to_string())?;
    let report = on_small_stack(move || examine(&files)).map_err(|error| error.to_string())?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &report).map_err(|error| error.to_string())?;
    out.flush().map_err(|error| error.to_string())
}

/// Gives up privileges and takes limits: no new files, no cores, little memory and time, and no life after
/// the parent's.
fn confine() -> std::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::thread::set_no_new_privs(true)?;
    // Kernels without ambient capabilities have none to give up.
    let _ = rustix::thread::clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    rustix::thread::set_capabilities(
        None,
        CapabilitySets { effective: none, permitted: none, inheritable: none },
    )?;
    for (resource, most) in [
        (Resource::As, MEMORY_BYTES),
        (Resource::Core, 0),
        (Resource::Cpu, CPU_SECONDS),
        (Resource::Fsize, 0),
        (Resource::Nofile, 16),
    ] {
        let hard = rustix::process::getrlimit(resource).maximum.map_or(most, |hard| hard.min(most));
        rustix::process::setrlimit(resource, Rlimit { current: Some(hard), maximum: Some(hard) })?;
    }
    Ok(())
}

fn on_small_stack<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> std::io::Result<T> {
    let thread = std::thread::Builder::new().stack_size(PROBE_STACK).spawn(act)?;
    thread.join().map_err(|_| std::io::Error::other("trying the bundle panicked"))
}

/// Compiles a bundle, runs its tests, and compares the engines.
fn examine(files: &Files) -> Result<Findings, PolicyError> {
    let bundle = Bundle::new(files)?;
    let engine = PolicyEngine::from_bundle(&bundle)?;
    let tests = unit_tests::run(&bundle, TestOptions::default())?;
    if let Some(test) = tests.failed().next() {
        let outcome = test.outcome.as_deref().unwrap_or("not true");
        return Err(bundle.show(PolicyError::new(
            format!("{}:{}", test.source.file, test.source.line),
            format!("the bundle's own test {} fails: {outcome}", test.name),
            "correct the rule or the test; `airlock policy test` shows all of them",
        )));
    }
    let probed = agree::probe(&bundle, &engine)?;
    if let Some(reason) = &probed.disagreement {
        PolicyEngine::interpreted(&bundle, reason)?;
    }
    Ok(Findings {
        digest: bundle.digest,
        tests: tests.passed().count(),
        probes: probed.inputs,
        errors: probed.errors,
        disagreement: probed.disagreement,
    })
}

/// Has a child try the files.
fn ask_child(program: &Path, files: &Files) -> Result<Findings, PolicyError> {
    let text = serde_json::to_vec(files).map_err(|error| {
        PolicyError::at(
            &files.root,
            format!("the names of its files cannot be written as text: {error}"),
            "give the files names in UTF-8",
        )
    })?;
    let cannot = |error: &std::io::Error| {
        PolicyError::new(
            program.display().to_string(),
            format!("the process that tries a policy cannot be started: {error}"),
            "mount /proc, and let the daemon start a process of its own program",
        )
        .untried()
    };
    let mut child = Command::new(program)
        .arg(SUBCOMMAND)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| cannot(&error))?;
    let said = converse(&mut child, &text);
    let status = child.wait().map_err(|error| cannot(&error))?;
    let Said { out, err, in_time } = said;
    if !in_time {
        let reason = format!("it takes longer than {} s to try", VET_TIMEOUT.as_secs());
        return Err(PolicyError::at(&files.root, reason, "make its rules or tests faster, or split them"));
    }
    if !status.success() {
        return Err(failed(&files.root, &ending(status), &err));
    }
    let report: Result<Findings, PolicyError> = serde_json::from_slice(&out)
        .map_err(|error| failed(&files.root, &format!("its report cannot be read: {error}"), &err))?;
    report
}

struct Said {
    out: Vec<u8>,
    err: String,
    in_time: bool,
}

/// Gives the child its files and takes what it says; a child that takes too long is killed.
fn converse(child: &mut Child, text: &[u8]) -> Said {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let (done, finished) = mpsc::channel();
        // A child that dies early closes the pipe; its status tells more than the error here.
        scope.spawn(move || stdin.map(|mut stdin| stdin.write_all(text)));
        let err = scope.spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.map(|stderr| stderr.take(MAX_REPORT).read_to_end(&mut bytes));
            String::from_utf8_lossy(&bytes).into_owned()
        });
        scope.spawn(move || {
            let mut bytes = Vec::new();
            let _ = stdout.map(|stdout| stdout.take(MAX_REPORT).read_to_end(&mut bytes));
            let _ = done.send(bytes);
        });
        let out = finished.recv_timeout(VET_TIMEOUT).ok();
        if out.is_none() {
            // It may have ended just now.
            let _ = child.kill();
        }
        let err = err.join().unwrap_or_default();
        Said { in_time: out.is_some(), out: out.unwrap_or_default(), err }
    })
}

fn ending(status: ExitStatus) -> String {
    match status.signal().and_then(Signal::from_named_raw) {
        Some(Signal::ABORT | Signal::SEGV | Signal::BUS) => {
            format!("it overflows the stack or exhausts {} MiB of memory", MEMORY_BYTES / 1024 / 1024)
        }
        Some(Signal::XCPU | Signal::KILL) => {
            format!("it exhausts {CPU_SECONDS} s of processor time, or was killed for want of memory")
        }
        _ => format!("the process that tried it ended with {status}"),
    }
}

fn failed(root: &Path, how: &str, said: &str) -> PolicyError {
    let last: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).take(3).collect();
    let mut reason = format!("the policy cannot be run: {how}");
    if !last.is_empty() {
        reason.push_str("; the process that tried it said: ");
        reason.push_str(&last.join(" / "));
    }
    PolicyError::at(
        root,
        reason,
        "look at the rules that changed last: recursion, or work that grows without a bound",
    )
}
