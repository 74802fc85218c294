//! `airlock status`: how the running daemon is.

use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use serde_json::Value;

use crate::config::age::Age;
use crate::observe::escape::printable_json;

use super::admin::{Common, text};
use super::{admin, print, stop};

/// Shows how the running daemon is.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
}

/// Runs the command. Exit code 0: ready and nothing to look at; 1: not ready, degraded, or an alarm; 2: the
/// daemon cannot be asked.
#[expect(clippy::needless_pass_by_value, reason = "all commands have this shape")]
pub fn run(args: Args) -> ExitCode {
    match admin::ask(&args.common.place, Method::GET, "/status", None) {
        Ok((_, status)) => {
            if args.common.json {
                print::out(format_args!("{}\n", printable_json(&format!("{status:#}"))));
            } else {
                print::out(format_args!("{}", table(&status)));
            }
            let quiet = status["alarms"].as_array().is_some_and(Vec::is_empty);
            if quiet && status["ready"] == true { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            print::err(format_args!("airlock status: {problem}\n"));
            ExitCode::from(2)
        }
    }
}

/// The status for reading.
fn table(status: &Value) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    let uptime = Age(Duration::from_secs(status["uptime_secs"].as_u64().unwrap_or_default()));
    let state = match status["state"].as_str() {
        Some("ready") => "ready",
        Some("degraded") => "DEGRADED",
        _ => "NOT READY",
    };
    // Writing to a string does not fail.
    let _ = writeln!(
        out,
        "airlock {} (pid {}) at {}: {state}, up {uptime}; counts are since {}",
        text(&status["version"]),
        text(&status["pid"]),
        text(&status["url"]),
        text(&status["started_at"]),
    );
    for alarm in status["alarms"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "  ALARM  {}", text(alarm));
    }
    for warning in status["warnings"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "  WARN   {}", text(warning));
    }
    let _ = writeln!(out);
    let _ = writeln!(out, "io        {} ({})", text(&status["io"]["backend"]), text(&status["io"]["why"]));
    let _ = writeln!(
        out,
        "kernel    rung {}: {}",
        text(&status["kernel"]["rung"]),
        text(&status["kernel"]["claim"])
    );
    if status["kernel"]["slice"].is_object() {
        let slice = &status["kernel"]["slice"];
        let _ = writeln!(out, "slice     {}, rung {}", text(&slice["name"]), text(&slice["rung"]));
    }
    for place in status["kernel"]["early_drop"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "drop      {} ({})", text(&place["interface"]), text(&place["mode"]));
    }
    let _ = writeln!(
        out,
        "policy    {} (mode {}, {}, {} own tests passed, {} decisions found in the cache)",
        text(&status["policy"]["digest"]),
        text(&status["policy_mode"]),
        text(&status["policy"]["engine"]),
        text(&status["policy"]["tests"]),
        text(&status["policy"]["cache"]["hits"]),
    );
    let _ = writeln!(out, "redaction {}", redaction(&status["redaction"]));
    for stop in status["stops"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "stopped   {}", stop::line(stop));
    }
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

/// The state of redaction: its mode, and the packs in use.
fn redaction(status: &Value) -> String {
    let packs = status["packs"].as_array().into_iter().flatten().filter(|pack| pack["on"] == true);
    let named = packs.map(|pack| {
        let from = pack["file"].as_str().map(|_| format!(" of {}", text(&pack["file"]))).unwrap_or_default();
        format!("{} ({} detectors{from})", text(&pack["name"]), text(&pack["detectors"]))
    });
    format!("mode {}, {}", text(&status["mode"]), named.collect::<Vec<_>>().join(", "))
}
