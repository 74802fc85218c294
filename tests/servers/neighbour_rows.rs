//! The rows of `cargo xtask bench --neighbours`: an honest client of one server, beside other servers that
//! flood the same worker.
//!
//! A flood costs the honest call twice: it works in the daemon, and it takes processors. The first rows show
//! the daemon's part: servers that flood, and their clients, are held to the last processor, as where there
//! are enough. In the other rows they run anywhere, and servers that only compute, without a word to the
//! daemon, show by how much that alone makes a call slower. The clients that ask for the floods, which would
//! be on other machines, take what the rest leaves of the processors. It fails on no time.

use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

use airlock_tests::airlock::stdio_upstream;
use airlock_tests::mcp::Session;
use airlock_tests::tools::built;
use airlock_tests::{Airlock, Setup, Upstream};
use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, gettid, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};

/// Bytes of the honest call's answer.
const BYTES: &str = "300";
/// The niceness of who takes what is left of the processors (sched(7)).
const LAST: i32 = 19;

/// A server that takes more than its share.
struct Flood {
    /// The name of the flood in the table.
    name: &'static str,
    /// The upstream that does it.
    upstream: &'static str,
    method: &'static str,
    /// The parameters that have it flood.
    params: fn() -> Value,
}

/// A server that only computes.
const COMPUTING: Flood = Flood {
    name: "computing",
    upstream: "loud",
    method: "tools/call",
    params: || call("compute", "millis", 20),
};

/// A client that sends as much at once as it may by default; its server does next to nothing.
const LARGE_ARGUMENTS: Flood = Flood {
    name: "large arguments",
    upstream: "loud",
    method: "tools/call",
    params: || json!({"name": "compute", "arguments": {"millis": 1, "text": "x".repeat(250 << 10)}}),
};

/// The four kinds.
const FLOODS: [Flood; 4] = [
    Flood {
        name: "rubbish",
        upstream: "loud",
        method: "tools/call",
        params: || call("rubbish", "lines", 1_000_000),
    },
    Flood { name: "endless list", upstream: "long", method: "tools/list", params: || json!({}) },
    Flood {
        name: "large answers",
        upstream: "loud",
        method: "tools/call",
        params: || call("large", "bytes", 12 << 20),
    },
    Flood {
        name: "storm",
        upstream: "loud",
        method: "tools/call",
        params: || call("storm", "changes", 100_000),
    },
];

fn call(tool: &str, name: &str, number: u64) -> Value {
    json!({"name": tool, "arguments": {name: number}})
}

/// The speed that an honest client saw. Times in microseconds.
#[derive(Clone, Copy)]
struct Seen {
    rate: f64,
    p50: f64,
    p99: f64,
}

/// One row of the table: the neighbours of the honest client.
struct Row {
    name: &'static str,
    floods: Vec<&'static Flood>,
    /// True where the servers that flood, and their clients, are held to the last processor.
    are_held: bool,
}

impl Row {
    fn of(name: &'static str, floods: Vec<&'static Flood>, are_held: bool) -> Self {
        Self { name, floods, are_held }
    }

    /// All rows; the first is the one that the others are compared to.
    fn all() -> Vec<Self> {
        let all = || FLOODS.iter().collect();
        let mut rows = vec![Self::of("nobody", Vec::new(), true)];
        rows.extend(FLOODS.iter().map(|flood| Self::of(flood.name, vec![flood], true)));
        rows.push(Self::of("all four floods", all(), true));
        rows.push(Self::of(LARGE_ARGUMENTS.name, vec![&LARGE_ARGUMENTS], true));
        rows.push(Self::of("one that computes, anywhere", vec![&COMPUTING], false));
        rows.push(Self::of("four that compute, anywhere", vec![&COMPUTING; FLOODS.len()], false));
        rows.push(Self::of("all four floods, anywhere", all(), false));
        rows
    }
}

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let only = args.iter().position(|arg| arg == "--only").map(|at| args.drain(at..).skip(1).collect());
    let (rounds, requests) = match args.as_slice() {
        [] => (5, 4_000),
        [flag] if flag == "--quick" => (1, 1_000),
        _ => {
            eprintln!("usage: neighbour-rows [--quick] [--only ROW...]");
            return ExitCode::from(2);
        }
    };
    match measure(rounds, requests, only) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("neighbours: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures the rows of these names beside the first, or all.
fn measure(rounds: usize, requests: usize, only: Option<Vec<String>>) -> Result<(), String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{cores} cores; the daemon has one worker (token, policy and audit on), the honest server is a shared one over stdio.\n\
         {requests} calls one after another, median of {rounds} round(s), rows in turn; microseconds. Ratios: to\n\
         the client beside nobody. Floods are held to the last processor, but for rows with `anywhere`.\n\
         asked: what the other servers were asked for meanwhile."
    );
    let mut rows = Row::all();
    if let Some(only) = only {
        let base = rows.remove(0);
        rows.retain(|row| only.iter().any(|name| name == row.name));
        rows.insert(0, base);
    }
    let mut figures: Vec<Vec<(Seen, usize)>> = rows.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (row, figures) in rows.iter().zip(&mut figures) {
            figures.push(round(row, requests)?);
        }
    }
    println!(
        "\n{:<30}{:>10}{:>10}{:>10}{:>10}{:>9}{:>9}",
        "beside", "calls/s", "p50", "p99", "asked", "p50", "p99"
    );
    let Some(base) = figures.first() else { return Ok(()) };
    let (base, base_p99) =
        (median(base, |(seen, _)| seen.p50).max(1.0), median(base, |(seen, _)| seen.p99).max(1.0));
    for (row, rounds) in rows.iter().zip(&figures) {
        let (p50, p99) = (median(rounds, |(seen, _)| seen.p50), median(rounds, |(seen, _)| seen.p99));
        let asked: usize = rounds.iter().map(|(_, asked)| asked).sum();
        println!(
            "{:<30}{:>10.0}{p50:>10.0}{p99:>10.0}{:>10}{:>8.2}x{:>8.2}x",
            row.name,
            median(rounds, |(seen, _)| seen.rate),
            asked / rounds.len(),
            p50 / base,
            p99 / base_p99
        );
    }
    Ok(())
}

fn median(rows: &[(Seen, usize)], figure: fn(&(Seen, usize)) -> f64) -> f64 {
    let mut figures: Vec<f64> = rows.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A daemon of its own for each round, so that no flood of another row is remembered.
fn round(row: &Row, requests: usize) -> Result<(Seen, usize), String> {
    let echo = built("echo-server").display().to_string();
    let loud = built("loud-server").display().to_string();
    let last = last_processor()?;
    let processor = last.to_string();
    let mut flooding = if row.are_held { vec!["/usr/bin/taskset", "-c", &processor] } else { Vec::new() };
    flooding.push(&loud);
    let endless = [flooding.as_slice(), &["--tools", "150000"]].concat();
    let setup = Setup {
        upstreams: Upstream::stdio("echo", &[&echo, "--stdio"]).with("isolation", "shared").to_string()
            + &stdio_upstream("loud", &flooding)
            + &stdio_upstream("long", &endless),
        log: "warn".to_owned(),
        ..Setup::default()
    }
    .server("workers", 1);
    let airlock = setup.try_start().map_err(|failed| failed.log)?;
    let token_file = airlock.dir().join("token");
    std::fs::write(&token_file, airlock.user()).map_err(|error| error.to_string())?;

    let (ended, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let begun = AtomicUsize::new(0);
    let seen = std::thread::scope(|scope| {
        let floods: Vec<ScopedJoinHandle<'_, ()>> = row
            .floods
            .iter()
            .map(|flood| {
                let (airlock, ended, asked, begun) = (&airlock, &ended, &asked, &begun);
                let held = row.are_held.then_some(last);
                scope.spawn(move || ask(flood, held, airlock, ended, asked, begun))
            })
            .collect();
        // Each has asked once, or cannot at all.
        while begun.load(Ordering::Acquire) < floods.iter().filter(|flood| !flood.is_finished()).count() {
            std::thread::yield_now();
        }
        let seen = honest(&airlock, &token_file, requests);
        ended.store(true, Ordering::Release);
        seen
    })?;
    Ok((seen, asked.into_inner()))
}

/// The last processor that this process may run on.
fn last_processor() -> Result<usize, String> {
    let allowed = sched_getaffinity(None).map_err(|error| format!("sched_getaffinity: {error}"))?;
    let last = (0..CpuSet::MAX_CPU).rfind(|processor| allowed.is_set(*processor));
    last.ok_or_else(|| "there is no processor to run on".to_owned())
}

/// Has one server flood again and again, from the processor to which its client is held; a session that ended
/// with it is opened anew.
fn ask(
    flood: &Flood,
    held: Option<usize>,
    airlock: &Airlock,
    ended: &AtomicBool,
    asked: &AtomicUsize,
    begun: &AtomicUsize,
) {
    let _ = setpriority_process(Some(gettid()), LAST);
    if let Some(processor) = held {
        let mut only = CpuSet::new();
        only.set(processor);
        let _ = sched_setaffinity(None, &only);
    }
    let Ok(token) = airlock.mint(flood.upstream) else { return };
    let path = format!("/mcp/{}", flood.upstream);
    let mut first = true;
    while !ended.load(Ordering::Acquire) {
        let Ok(mut session) = Session::open(airlock.address(), &path, &token) else { continue };
        while !ended.load(Ordering::Acquire) {
            if std::mem::take(&mut first) {
                begun.fetch_add(1, Ordering::AcqRel);
            }
            asked.fetch_add(1, Ordering::Relaxed);
            match session.request(flood.method, &(flood.params)()) {
                Ok(answer) if answer.status == 200 => {}
                _ => break,
            }
        }
    }
}

fn honest(airlock: &Airlock, token_file: &std::path::Path, requests: usize) -> Result<Seen, String> {
    let mut client = Command::new(built("load-client"));
    client.args([
        "--url",
        &format!("http://{}/mcp/echo", airlock.address()),
        "--tool",
        "echo",
        "--bytes",
        BYTES,
    ]);
    client.args(["--concurrency", "1", "--requests", &requests.to_string(), "--warm-up", "20"]);
    client.arg("--token-file").arg(token_file);
    let output = client.stdin(Stdio::null()).output().map_err(|error| format!("load-client: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let told: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("load-client: {error}"))?;
    let number = |name: &str| told[name].as_f64().ok_or_else(|| format!("load-client: no {name}"));
    Ok(Seen { rate: number("requests_per_second")?, p50: number("p50_us")?, p99: number("p99_us")? })
}
