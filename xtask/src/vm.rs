//! `cargo xtask vm --kernel 6.1|6.12 [--all]`: the tests of the kernel half on Debian's own kernels.
//!
//! A guest is a kernel from Debian's archive and an initramfs with the test programs of this workspace; qemu
//! interprets it (never KVM: some hosts have one that cannot run a stock kernel). The lines that the guest
//! prints are read one by one.
//!
//! With `--system` the machine is a Debian 12 with systemd, and the shipped units run in it ([`system`]).
//!
//! With `--all` the escape suite also runs on this host, and one table shows what every attempt came to;
//! `--write` puts it into docs/escapes.md.

mod archive;
mod escapes;
mod guest;
mod image;
mod kernel;
mod system;
mod transcript;

use std::time::{Duration, Instant};

use crate::build_ebpf;
use crate::setup::{self, Need};
use crate::shell::{cargo, run};
use crate::summary::Counts;
use crate::tools;

use self::transcript::Transcript;

/// The series of kernels that a guest can be booted with: Debian 12's own, and the newest of its long-term
/// backports.
const SERIES: [&str; 2] = ["6.1", "6.12"];

/// The series that Debian 12 comes with.
const DEBIAN_12: &str = SERIES[0];

/// How long a guest may take from the start of qemu to its end, unless the command says otherwise. It takes
/// less than two minutes on two cores; a busy host is no fault of the kernel's.
const LIMIT: Duration = Duration::from_mins(5);

/// The test programs that run in a guest of their own beside that of all others, so that both take about as
/// long.
const BESIDE: [&str; 3] = ["escapes", "kernel_packets", "kernel_sealed"];

/// Tests that also run in a guest whose kernel is told to have no LSM programs, and how it is told.
const WITHOUT_LSM: (&str, &str) =
    ("kernel_sealed=signals_stay_within_a_server", "lsm=lockdown,capability,landlock,yama");

const USAGE: &str = "usage: cargo xtask vm --kernel 6.1|6.12 | --all | --system \
                     [--limit SECONDS] [--only SUITE[=TESTS]] [--write]";

/// The options of the command line.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    series: Vec<&'static str>,
    limit: Duration,
    /// Only this test program, and in it only the tests whose names contain what follows a `=`.
    only: Option<String>,
    /// The escape suite also runs on this host.
    host: bool,
    /// The table of escapes is written into docs/escapes.md.
    write: bool,
    /// The shipped units run on a Debian with systemd.
    system: bool,
}

impl Options {
    fn read(args: &[String]) -> Result<Self, String> {
        let mut options =
            Self { series: Vec::new(), limit: LIMIT, only: None, host: false, write: false, system: false };
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            match arg {
                "--all" => {
                    options.series = SERIES.to_vec();
                    options.host = true;
                }
                "--write" => options.write = true,
                "--system" => options.system = true,
                "--kernel" => {
                    let wanted = args.next().ok_or(USAGE)?;
                    let known = SERIES.into_iter().find(|series| *series == wanted);
                    options.series.push(known.ok_or_else(|| format!("no kernel `{wanted}`; {USAGE}"))?);
                }
                "--limit" => {
                    let seconds = args.next().and_then(|number| number.parse().ok()).ok_or(USAGE)?;
                    options.limit = Duration::from_secs(seconds);
                }
                "--only" => options.only = Some(args.next().ok_or(USAGE)?.to_owned()),
                _ => return Err(USAGE.to_owned()),
            }
        }
        // A table of one kernel would replace that of all.
        if (options.series.is_empty() && !options.system) || (options.write && !options.host) {
            return Err(USAGE.to_owned());
        }
        Ok(options)
    }
}

/// The command.
pub(crate) fn run_command(args: &[String]) -> Result<(), String> {
    let options = Options::read(args)?;
    setup::ensure(&[Need::Daemon, Need::Ebpf, Need::Guests])?;
    build_ebpf::run(&[])?;
    if options.system {
        setup::ensure(&[Need::Container])?;
        tools::ensure()?;
        run(&mut cargo(&["build", "--workspace", "--bins"]))?;
    }
    let suites = if options.series.is_empty() { Vec::new() } else { image::suites()? };
    let mut counts = Counts::default();
    let mut skips = Vec::new();
    let mut failures = Vec::new();
    let mut table = escapes::Table::default();
    for series in options.series.iter().copied() {
        let kernel = kernel::find(series)?;
        match boot(&kernel, &suites, options.limit, options.only.as_deref()) {
            Ok(transcript) => {
                table.add_guest(series, &transcript.escapes);
                count(series, &transcript, &mut counts, &mut skips, &mut failures);
            }
            Err(error) => failures.push(format!("{series}: {error}")),
        }
    }
    if options.system {
        counts.add(system::run(&kernel::find(DEBIAN_12)?, &mut skips)?);
    }
    if options.host {
        counts.add(table.add_host()?);
    }
    table.print();
    if options.write {
        table.write_page()?;
    } else if options.only.as_deref().is_none_or(|only| only == "escapes") {
        failures.extend(table.claims_too_much()?);
    }
    for skip in &skips {
        println!("skipped: {skip}");
    }
    for failure in &failures {
        println!("{failure}");
    }
    println!("{}", counts.with_skips(&skips).line());
    if failures.is_empty() && counts.failed == 0 {
        Ok(())
    } else {
        Err("not everything is well, see above".to_owned())
    }
}

/// Both guests as a phase of `cargo xtask test`: adds to its counts, skips and failures. A guest that this
/// host cannot have at all is skipped with the reason.
pub(crate) fn phase(counts: &mut Counts, skips: &mut Vec<String>, failures: &mut Vec<String>) {
    let mut skip = |name: &str, reason: &str| {
        println!("skipped: {reason}");
        skips.push(format!("{name}: {}", reason.trim().replace('\n', " ")));
        // Nothing ran that could have passed, and a skip takes one away.
        counts.passed += 1;
    };
    if let Err(reason) = setup::ensure(&[Need::Guests]) {
        return skip("guests", &reason);
    }
    let mut kernels = Vec::new();
    for series in SERIES {
        match kernel::find(series) {
            Ok(kernel) => kernels.push((series, kernel)),
            Err(reason) => skip(&format!("guest {series}"), &reason),
        }
    }
    for (_, kernel) in kernels.iter().filter(|(series, _)| *series == DEBIAN_12) {
        match system::run(kernel, skips) {
            Ok(of_units) => counts.add(of_units),
            Err(error) => failures.push(format!("Debian with systemd: {error}")),
        }
    }
    let suites = match image::suites() {
        Ok(suites) => suites,
        Err(error) => return failures.push(format!("guests: {error}")),
    };
    let mut table = escapes::Table::default();
    for (series, kernel) in kernels {
        match boot(&kernel, &suites, LIMIT, None) {
            Ok(transcript) => {
                table.add_guest(series, &transcript.escapes);
                count(series, &transcript, counts, skips, failures);
            }
            Err(error) => failures.push(format!("guest {series}: {error}")),
        }
    }
    table.print();
    match table.claims_too_much() {
        Ok(faults) => failures.extend(faults),
        Err(error) => failures.push(error),
    }
}

/// Runs the tests on a kernel and prints what they did: in two guests, because qemu interprets with one
/// thread only, and some in one more ([`WITHOUT_LSM`]).
fn boot(
    kernel: &kernel::Kernel,
    suites: &[image::Suite],
    limit: Duration,
    only: Option<&str>,
) -> Result<Transcript, String> {
    println!("\n== guests: Linux {}", kernel.release);
    let begin = Instant::now();
    let wanted = only.map(|only| only.split('=').next().unwrap_or(only));
    let (beside, others): (Vec<_>, Vec<_>) = suites
        .iter()
        .filter(|suite| wanted.is_none_or(|name| suite.is_called(name)))
        .partition(|suite| BESIDE.iter().any(|name| suite.is_called(name)));
    if beside.is_empty() && others.is_empty() {
        return Err(format!("there is no test program `{}`", wanted.unwrap_or_default()));
    }
    let run = |part: &str, suites: &[&image::Suite], (only, parameters): (Option<&str>, &str)| {
        let initramfs = image::build(kernel, part, suites, only)?;
        guest::run(kernel, &initramfs, limit, parameters)
    };
    let (again, parameters) = WITHOUT_LSM;
    let wants_again = only.is_none_or(|only| again.starts_with(only));
    let bare = suites.iter().filter(|suite| wants_again && suite.is_called("kernel_sealed")).collect();
    let transcript = std::thread::scope(|scope| {
        let all: [(_, Vec<_>, _); 3] = [
            ("beside", beside, (only, "")),
            ("others", others, (only, "")),
            ("without-lsm", bare, (Some(again), parameters)),
        ];
        let parts = all.into_iter().filter(|(_, part, _)| !part.is_empty());
        let running: Vec<_> =
            parts.map(|(name, part, how)| scope.spawn(move || run(name, &part, how))).collect();
        let mut transcript = Transcript::default();
        for part in running {
            transcript.add(part.join().map_err(|_| "a guest's thread panicked".to_owned())??);
        }
        Ok::<_, String>(transcript)
    })?;
    println!("Linux {}: {:.1} s", kernel.release, begin.elapsed().as_secs_f64());
    Ok(transcript)
}

/// Adds up what a guest said; what skipped itself is among those that passed.
fn count(
    series: &str,
    transcript: &Transcript,
    counts: &mut Counts,
    skips: &mut Vec<String>,
    failures: &mut Vec<String>,
) {
    let of_guest = transcript.counts();
    counts.add(of_guest);
    skips.extend(transcript.skips.iter().map(|skip| format!("{series}: {skip}")));
    failures.extend(transcript.faults().into_iter().map(|fault| format!("{series}: {fault}")));
    println!("{series}: {}", of_guest.with_skips(&transcript.skips).line());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str]) -> Result<Options, String> {
        Options::read(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_is_read_whole() {
        let both = Options {
            series: vec!["6.1", "6.12"],
            limit: LIMIT,
            only: None,
            host: true,
            write: false,
            system: false,
        };
        assert_eq!(read(&["--all"]), Ok(both));
        let one = read(&["--kernel", "6.12", "--limit", "300", "--only", "escapes"]).expect("options");
        assert_eq!((one.series, one.limit), (vec!["6.12"], Duration::from_mins(5)));
        assert!(read(&["--system"]).expect("options").system);
        for wrong in [
            &[][..],
            &["--kernel"],
            &["--kernel", "5.4"],
            &["--all", "--limit", "soon"],
            &["6.1"],
            &["--kernel", "6.1", "--write"],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
