//! A closed-loop load client: as many connections as the concurrency asks for, one call in flight on each,
//! every answer checked. One thread; prints one line of JSON.
//!
//! `load-client --url http://127.0.0.1:PORT/mcp --tool echo --bytes 300 --concurrency 64 --requests 20000
//! [--warm-up N] [--token-file FILE]`

use std::cell::RefCell;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// One answer may take this long before the run is given up.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The order.
#[derive(Clone)]
struct Plan {
    url: Uri,
    tool: String,
    bytes: usize,
    concurrency: usize,
    requests: usize,
    warm_up: usize,
    token: Option<String>,
}

/// The state that the connections share.
struct Shared {
    /// Calls not yet begun.
    left: usize,
    /// Latency of every answered call, in nanoseconds.
    latencies: Vec<u64>,
    /// The id of the next call.
    next_id: u64,
}

fn main() -> ExitCode {
    match plan().and_then(|plan| run(&plan)) {
        Ok(line) => {
            let _ = writeln!(io::stdout(), "{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(io::stderr(), "load-client: {error}");
            ExitCode::FAILURE
        }
    }
}

fn plan() -> Result<Plan, String> {
    let mut plan = Plan {
        url: Uri::default(),
        tool: "echo".to_owned(),
        bytes: 300,
        concurrency: 1,
        requests: 1_000,
        warm_up: 0,
        token: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} wants a value"))?;
        let number = || value.parse::<usize>().map_err(|_| format!("{name} wants a number, not `{value}`"));
        match name.as_str() {
            "--url" => plan.url = value.parse().map_err(|error| format!("--url {value}: {error}"))?,
            "--tool" => plan.tool = value,
            "--bytes" => plan.bytes = number()?,
            "--concurrency" => plan.concurrency = number()?.max(1),
            "--requests" => plan.requests = number()?,
            "--warm-up" => plan.warm_up = number()?,
            "--token-file" => {
                let token = std::fs::read_to_string(&value).map_err(|error| format!("{value}: {error}"))?;
                plan.token = Some(token.trim().to_owned());
            }
            other => return Err(format!("unknown argument `{other}`")),
        }
    }
    if plan.url.host().is_none() { Err("--url is missing".to_owned()) } else { Ok(plan) }
}

fn run(plan: &Plan) -> Result<String, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let mut connections = Vec::with_capacity(plan.concurrency);
        for _ in 0..plan.concurrency {
            connections.push(connect(plan).await?);
        }
        let (_, connections) = round(plan, plan.warm_up, connections).await?;
        let cpu_before = cpu_micros()?;
        let begin = Instant::now();
        let (mut latencies, _) = round(plan, plan.requests, connections).await?;
        let wall = begin.elapsed();
        let cpu = cpu_micros()? - cpu_before;
        latencies.sort_unstable();
        Ok(report(plan, &latencies, wall, cpu))
    })
}

/// `count` calls over the given connections; gives their latencies and the connections back.
async fn round(
    plan: &Plan,
    count: usize,
    connections: Vec<SendRequest<Full<Bytes>>>,
) -> Result<(Vec<u64>, Vec<SendRequest<Full<Bytes>>>), String> {
    let shared =
        Rc::new(RefCell::new(Shared { left: count, latencies: Vec::with_capacity(count), next_id: 1 }));
    let mut tasks = Vec::new();
    for mut connection in connections {
        let (plan, shared) = (plan.clone(), Rc::clone(&shared));
        tasks.push(tokio::task::spawn_local(async move {
            loop {
                let id = {
                    let mut shared = shared.borrow_mut();
                    if shared.left == 0 {
                        return Ok::<_, String>(connection);
                    }
                    shared.left -= 1;
                    shared.next_id += 1;
                    shared.next_id
                };
                let begin = Instant::now();
                let answered = tokio::time::timeout(ANSWER_TIMEOUT, call(&plan, &mut connection, id)).await;
                answered.map_err(|_| format!("no answer to call {id} in {ANSWER_TIMEOUT:?}"))??;
                let nanos = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
                shared.borrow_mut().latencies.push(nanos);
            }
        }));
    }
    let mut back = Vec::new();
    for task in tasks {
        back.push(task.await.map_err(|error| error.to_string())??);
    }
    let latencies = std::mem::take(&mut shared.borrow_mut().latencies);
    Ok((latencies, back))
}

async fn connect(plan: &Plan) -> Result<SendRequest<Full<Bytes>>, String> {
    let address = format!("{}:{}", plan.url.host().unwrap_or_default(), plan.url.port_u16().unwrap_or(80));
    let stream = TcpStream::connect(&address).await.map_err(|error| format!("{address}: {error}"))?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

/// One call, its answer checked: status, id, no error, and the size of the text.
async fn call(plan: &Plan, connection: &mut SendRequest<Full<Bytes>>, id: u64) -> Result<(), String> {
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\"params\":{{\"name\":\"{}\",\"arguments\":\
         {{\"bytes\":{}}},\"_meta\":{{\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\
         \"io.modelcontextprotocol/clientCapabilities\":{{}},\"io.modelcontextprotocol/clientInfo\":\
         {{\"name\":\"load-client\",\"version\":\"1\"}}}}}}}}",
        plan.tool, plan.bytes
    );
    let mut request = Request::post(plan.url.path())
        .header("host", plan.url.authority().map_or("", hyper::http::uri::Authority::as_str))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", &plan.tool);
    if let Some(token) = &plan.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
    connection.ready().await.map_err(|error| error.to_string())?;
    let response = connection.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    check(plan, id, status, &body)
}

/// Cheap but telling: the id, no error, and at least the text that was asked for.
fn check(plan: &Plan, id: u64, status: StatusCode, body: &[u8]) -> Result<(), String> {
    let shown = || String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
    if status != StatusCode::OK {
        return Err(format!("call {id}: HTTP {status}: {}", shown()));
    }
    if body.len() < plan.bytes || body.len() > plan.bytes + 1_024 {
        return Err(format!("call {id}: {} bytes for a text of {}: {}", body.len(), plan.bytes, shown()));
    }
    let has = |needle: &str| {
        let edge = body.len().min(400);
        let tail = body.len().saturating_sub(400);
        [&body[..edge], &body[tail..]]
            .iter()
            .any(|part| part.windows(needle.len()).any(|w| w == needle.as_bytes()))
    };
    if !has(&format!("\"id\":{id}")) || !has("\"result\"") || !has("000000 order shipped") {
        return Err(format!("call {id}: not its answer: {}", shown()));
    }
    Ok(())
}

/// User and system time of this process so far, in microseconds.
fn cpu_micros() -> Result<u64, String> {
    airlock_tests::proc::cpu_micros(std::process::id()).map_err(|error| error.to_string())
}

#[allow(clippy::cast_precision_loss)] // Figures for people.
fn report(plan: &Plan, sorted: &[u64], wall: Duration, cpu: u64) -> String {
    let at = |share: f64| {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // An index below the length.
        let index = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or(0) as f64 / 1_000.0
    };
    let wall_micros = wall.as_micros() as f64;
    serde_json::json!({
        "requests": sorted.len(),
        "concurrency": plan.concurrency,
        "bytes": plan.bytes,
        "wall_us": wall_micros,
        "requests_per_second": sorted.len() as f64 / wall.as_secs_f64(),
        "p50_us": at(0.50),
        "p99_us": at(0.99),
        "max_us": sorted.last().copied().unwrap_or(0) as f64 / 1_000.0,
        "client_cpu_us_per_request": cpu as f64 / sorted.len().max(1) as f64,
        "client_cpu_share": cpu as f64 / wall_micros,
    })
    .to_string()
}
