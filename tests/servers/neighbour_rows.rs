//! The rows of `cargo xtask bench --neighbours`: an honest client of one server, beside other servers that
//! flood the same worker.
//!
//! The floods and the honest call share the processors, which alone makes a call slower: rows with servers
//! that only compute, without a word to the daemon, show by how much. The clients that ask for the floods,
//! which would be on other machines, take what the rest leaves of the processors. It fails on no time.

use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;

use airlock_tests::airlock::stdio_upstream;
use airlock_tests::mcp::Session;
use airlock_tests::tools::built;
use airlock_tests::{Airlock, Setup};
use rustix::process::setpriority_process;
use rustix::thread::gettid;
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

/// The neighbours of the honest client.
#[derive(Clone, Copy)]
enum Beside {
    Nobody,
    Computing(usize),
    One(&'static Flood),
    All,
}

impl Beside {
    fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Computing(1) => "one that computes",
            Self::Computing(_) => "four that compute",
            Self::One(flood) => flood.name,
            Self::All => "all four floods",
        }
    }

    fn floods(self) -> Vec<&'static Flood> {
        match self {
            Self::Nobody => Vec::new(),
            Self::Computing(count) => vec![&COMPUTING; count],
            Self::One(flood) => vec![flood],
            Self::All => FLOODS.iter().collect(),
        }
    }
}

fn main() -> ExitCode {
    let (rounds, requests) = match std::env::args().skip(1).collect::<Vec<_>>().as_slice() {
        [] => (5, 4_000),
        [flag] if flag == "--quick" => (1, 1_000),
        _ => {
            eprintln!("usage: neighbour-rows [--quick]");
            return ExitCode::from(2);
        }
    };
    match measure(rounds, requests) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("neighbours: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(rounds: usize, requests: usize) -> Result<(), String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    println!(
        "{cores} cores; the daemon has one worker (token, policy and audit on), the honest server is a shared one over stdio.\n\
         {requests} calls one after another, median of {rounds} round(s), rows in turn; microseconds. Ratios: to\n\
         the client beside nobody. asked: what the other servers were asked for meanwhile."
    );
    let beside: Vec<Beside> = [Beside::Nobody, Beside::Computing(1), Beside::Computing(FLOODS.len())]
        .into_iter()
        .chain(FLOODS.iter().map(Beside::One))
        .chain([Beside::All])
        .collect();
    let mut rows: Vec<Vec<(Seen, usize)>> = beside.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (beside, rows) in beside.iter().zip(&mut rows) {
            rows.push(round(*beside, requests)?);
        }
    }
    println!(
        "\n{:<20}{:>10}{:>10}{:>10}{:>10}{:>9}{:>9}",
        "beside", "calls/s", "p50", "p99", "asked", "p50", "p99"
    );
    let base = median(&rows[0], |(seen, _)| seen.p50).max(1.0);
    let base_p99 = median(&rows[0], |(seen, _)| seen.p99).max(1.0);
    for (beside, rows) in beside.iter().zip(&rows) {
        let (p50, p99) = (median(rows, |(seen, _)| seen.p50), median(rows, |(seen, _)| seen.p99));
        let asked: usize = rows.iter().map(|(_, asked)| asked).sum();
        println!(
            "{:<20}{:>10.0}{p50:>10.0}{p99:>10.0}{:>10}{:>8.2}x{:>8.2}x",
            beside.name(),
            median(rows, |(seen, _)| seen.rate),
            asked / rows.len(),
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
fn round(beside: Beside, requests: usize) -> Result<(Seen, usize), String> {
    let echo = built("echo-server").display().to_string();
    let loud = built("loud-server").display().to_string();
    let setup = Setup {
        upstreams: stdio_upstream("echo", &[&echo, "--stdio"])
            + "    isolation: shared\n"
            + &stdio_upstream("loud", &[&loud])
            + &stdio_upstream("long", &[&loud, "--tools", "150000"]),
        server: "  workers: 1\n".to_owned(),
        log: "warn".to_owned(),
        ..Setup::default()
    };
    let airlock = setup.try_start().map_err(|failed| failed.log)?;
    let token_file = airlock.dir().join("token");
    std::fs::write(&token_file, airlock.user()).map_err(|error| error.to_string())?;

    let (ended, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let begun = AtomicUsize::new(0);
    let seen = std::thread::scope(|scope| {
        let floods: Vec<ScopedJoinHandle<'_, ()>> = beside
            .floods()
            .into_iter()
            .map(|flood| {
                let (airlock, ended, asked, begun) = (&airlock, &ended, &asked, &begun);
                scope.spawn(move || ask(flood, airlock, ended, asked, begun))
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

/// Has one server flood again and again; a session that ended with it is opened anew.
fn ask(flood: &Flood, airlock: &Airlock, ended: &AtomicBool, asked: &AtomicUsize, begun: &AtomicUsize) {
    let _ = setpriority_process(Some(gettid()), LAST);
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
