//! The rows of `cargo xtask bench`: one call, taken directly, through nginx as a plain reverse proxy, and
//! through airlock with everything on, on `io_uring` and on epoll. Every process runs from the start; the
//! rows are measured in turn, several times over, so that a noisy moment hits all of them; the median of each
//! is shown.

mod routes;
mod table;

use std::io::Write as _;
use std::process::{Command, ExitCode, Stdio};

use airlock_tests::{proc, tools};
use routes::Route;
use serde_json::Value;
use table::Row;

/// Sizes of the answer's text, in bytes.
const SIZES: [usize; 3] = [300, 16 * 1024, 256 * 1024];
/// Connections with one call in flight each.
const CONCURRENCY: [usize; 2] = [1, 64];

fn main() -> ExitCode {
    airlock_tests::rows::run("bench", bench)
}

fn bench(quick: bool) -> Result<(), String> {
    let routes = routes::start()?;
    let repetitions = if quick { 1 } else { 5 };
    println!("{}", table::preface(repetitions));
    for size in SIZES {
        for concurrency in CONCURRENCY {
            let requests = requests(size, concurrency) / if quick { 10 } else { 1 };
            let mut rows: Vec<Vec<Row>> = routes.iter().map(|_| Vec::new()).collect();
            for _ in 0..repetitions {
                for (route, rows) in routes.iter().zip(&mut rows) {
                    rows.push(measure(route, size, concurrency, requests)?);
                }
            }
            let medians: Vec<Row> = rows.into_iter().filter_map(table::median).collect();
            print!("{}", table::block(size, concurrency, requests, &medians));
            let _ = std::io::stdout().flush();
        }
    }
    println!("{}", table::CLOSING);
    Ok(())
}

/// So many that a round takes a second or two on a small machine.
fn requests(size: usize, concurrency: usize) -> usize {
    match (size, concurrency) {
        (300, 1) => 6_000,
        (300, _) => 30_000,
        (16_384, 1) => 4_000,
        (16_384, _) => 15_000,
        (_, 1) => 1_000,
        _ => 3_000,
    }
}

/// One round of the load client on one route.
fn measure(route: &Route, size: usize, concurrency: usize, requests: usize) -> Result<Row, String> {
    let mut client = Command::new(tools::built("load-client"));
    client.args(["--url", &route.url, "--tool", "echo", "--bytes", &size.to_string()]);
    client.args(["--concurrency", &concurrency.to_string(), "--requests", &requests.to_string()]);
    // The rounds before have warmed the caches; the connections are new each time.
    let warm_up = concurrency * 4;
    client.args(["--warm-up", &warm_up.to_string()]);
    if let Some(file) = &route.token_file {
        client.arg("--token-file").arg(file);
    }
    let before = spent(route);
    let output = client.stdin(Stdio::null()).output().map_err(|error| format!("load-client: {error}"))?;
    let after = spent(route);
    if !output.status.success() {
        return Err(format!("{}: {}", route.name, String::from_utf8_lossy(&output.stderr).trim()));
    }
    let told: Value =
        serde_json::from_slice(&output.stdout).map_err(|error| format!("load-client: {error}"))?;
    let number = |name: &str| told[name].as_f64().ok_or_else(|| format!("load-client: no {name}"));
    #[allow(clippy::cast_precision_loss)] // Figures for people.
    let per_request = |micros: u64| micros as f64 / (requests + warm_up) as f64;
    #[allow(clippy::cast_precision_loss)] // As above.
    let mebibytes = |kib: u64| kib as f64 / 1_024.0;
    Ok(Row {
        name: route.name.clone(),
        rate: number("requests_per_second")?,
        p50: number("p50_us")?,
        p99: number("p99_us")?,
        cpu: per_request(after.own.saturating_sub(before.own)),
        upstream_cpu: per_request(after.upstream.saturating_sub(before.upstream)),
        resident: mebibytes(route.own.iter().filter_map(|pid| proc::resident_kib(*pid).ok()).sum()),
        client_share: number("client_cpu_share")?,
    })
}

/// Processor time in microseconds: of the processes under test, and of the server behind them.
struct Spent {
    own: u64,
    upstream: u64,
}

fn spent(route: &Route) -> Spent {
    let sum = |pids: &[u32]| pids.iter().filter_map(|pid| proc::cpu_micros(*pid).ok()).sum();
    // A stdio server is started by the first call, so the list is made anew each time.
    let behind: Vec<u32> = route.upstream.iter().chain(&route.children()).copied().collect();
    Spent { own: sum(&route.own), upstream: sum(&behind) }
}
