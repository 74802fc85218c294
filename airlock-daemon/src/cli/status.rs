//! `airlock status`: how the running daemon is.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::config::units::Period;

/// How long the daemon has for its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Shows how the running daemon is.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file of the running daemon; its `observability.admin_listen` is asked.
    #[arg(long, default_value = "/etc/airlock/airlock.yaml", conflicts_with = "socket")]
    config: PathBuf,
    /// The socket of the admin interface.
    #[arg(long)]
    socket: Option<PathBuf>,
    /// Print what the daemon says as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command. Exit code 0: ready and nothing to look at; 1: not ready, or an alarm; 2: the daemon cannot be asked.
#[expect(clippy::needless_pass_by_value, reason = "all commands have this shape")]
pub fn run(args: Args) -> ExitCode {
    match ask(&args) {
        Ok(status) => {
            if args.json {
                println!("{status:#}");
            } else {
                print!("{}", table(&status));
            }
            let quiet = status["alarms"].as_array().is_some_and(Vec::is_empty);
            if quiet && status["ready"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            eprintln!("airlock status: {problem}");
            ExitCode::from(2)
        }
    }
}

fn ask(args: &Args) -> Result<Value, String> {
    let socket = match &args.socket {
        Some(socket) => socket.clone(),
        None => from_config(&args.config)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(get_in_time(&socket))
}

fn from_config(path: &Path) -> Result<PathBuf, String> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let config =
        crate::config::from_text(&shown.to_string(), &text).map_err(|mistakes| mistakes.to_string())?;
    config.observability.admin_listen.ok_or_else(|| {
        format!("{shown} has no `observability.admin_listen`: add it, such as `/run/airlock/admin.sock`, and restart the daemon")
    })
}

async fn get_in_time(socket: &Path) -> Result<Value, String> {
    tokio::time::timeout(PATIENCE, get(socket)).await.unwrap_or_else(|_| {
        Err(format!("{} does not answer within {}: the daemon hangs", socket.display(), Period(PATIENCE)))
    })
}

async fn get(socket: &Path) -> Result<Value, String> {
    let shown = socket.display();
    let stream = tokio::net::UnixStream::connect(socket).await.map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "it is for root and the daemon's own user",
            _ => "is the daemon running? `systemctl status airlock` tells",
        };
        format!("cannot connect to {shown} ({error}): {remedy}")
    })?;
    let failed = |error: hyper::Error| {
        format!("{shown} gives no answer ({error}): it is for root and the daemon's own user")
    };
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let request = Request::get("/status").header("host", "localhost").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| error.to_string())?;
    let body = sender.send_request(request).await.map_err(failed)?.into_body();
    let body = body.collect().await.map_err(failed)?.to_bytes();
    connection.abort();
    serde_json::from_slice(&body).map_err(|error| format!("{shown} answers what is no status ({error})"))
}

/// The status for reading.
fn table(status: &Value) -> String {
    use std::fmt::Write as _;
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let mut out = String::new();
    let uptime = Period(Duration::from_secs(status["uptime_secs"].as_u64().unwrap_or_default()));
    let state = if status["ready"] == true { "ready" } else { "NOT READY" };
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "airlock {} (pid {}) at {}: {state}, up {uptime}",
        text(&status["version"]),
        text(&status["pid"]),
        text(&status["url"]),
    );
    for alarm in status["alarms"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "  ALARM  {}", text(alarm));
    }
    let _ = writeln!(out);
    let _ = writeln!(out, "io        {} ({})", text(&status["io"]["backend"]), text(&status["io"]["why"]));
    let _ = writeln!(
        out,
        "kernel    rung {}: {}",
        text(&status["kernel"]["rung"]),
        text(&status["kernel"]["claim"])
    );
    let _ = writeln!(
        out,
        "policy    {} (mode {}, {}, {} own tests passed, {} decisions found in the cache)",
        text(&status["policy"]["digest"]),
        text(&status["policy_mode"]),
        text(&status["policy"]["engine"]),
        text(&status["policy"]["tests"]),
        text(&status["policy"]["cache"]["hits"]),
    );
    if status["blocked_addresses"].as_u64().is_some_and(|count| count > 0) {
        let _ = writeln!(out, "blocked   {} addresses", text(&status["blocked_addresses"]));
    }
    let _ = writeln!(
        out,
        "audit     {} records, {} waiting, {} failures, {} refused",
        text(&status["audit"]["records"]),
        text(&status["audit"]["queued"]),
        text(&status["audit"]["store_failures"]),
        text(&status["audit"]["refused"]),
    );
    let _ = writeln!(out, "sessions  {}", text(&status["sessions"]));
    for issuer in status["issuers"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "issuer    {}: {} keys", text(&issuer["issuer"]), text(&issuer["keys"]));
    }
    for upstream in status["upstreams"].as_array().into_iter().flatten() {
        let spoken = match (&upstream["revision"], &upstream["trouble"]) {
            (_, Value::String(trouble)) => trouble.clone(),
            (Value::String(revision), _) => format!("{} {revision}", text(&upstream["era"])),
            _ => "asked with the first call".to_owned(),
        };
        let _ =
            writeln!(out, "upstream  {} ({}): {spoken}", text(&upstream["name"]), text(&upstream["type"]));
    }
    out
}
