//! An MCP server that misbehaves on purpose, in one way a start: the ways a server fails in real life.
//!
//! `--rubbish` prints no protocol, `--exit` ends at once, `--silent` reads and never answers,
//! `--crash-on-call` is a good server until it is called, `--huge` answers a call with more than any limit
//! unless it has the argument `small`, `--stranger` answers a call that nobody made before the right one,
//! `--chatty` writes a thousand lines on standard error at each call, `--orphan SECONDS` ends in the middle
//! of a call and leaves a process behind that holds its pipes for so long, `--odd-list` lists tools that no
//! reader can take beside a good one, `--answer PATTERN` answers each call with the pattern, in which `ID`
//! stands for the number of the request, `--steps` reports progress to who wants it for as long as the file
//! `while_exists` is there, `--late FILE` reads nothing as long as the file is there, `--late-modern FILE`
//! neither and knows no `initialize`, `--forgetful-modern` is the same without the file, and loses the first
//! message.

use std::fmt::Write as _;
use std::io::{self, BufRead as _, Write as _};
use std::process::{Command, ExitCode, Stdio};

use serde_json::{Value, json};

/// Size of the answer of `--huge`: above the default limit of one message (16 MiB).
const HUGE: usize = 20 * 1024 * 1024;

fn main() -> ExitCode {
    let mode = std::env::args().nth(1).unwrap_or_default();
    match mode.as_str() {
        "--exit" => return ExitCode::from(3),
        "--rubbish" | "--silent" | "--crash-on-call" | "--huge" | "--stranger" | "--chatty" | "--orphan"
        | "--odd-list" | "--answer" | "--steps" | "--late" | "--late-modern" | "--forgetful-modern" => {}
        other => {
            let _ = writeln!(io::stderr(), "bad-server: unknown mode `{other}`");
            return ExitCode::from(2);
        }
    }
    match serve(&mode) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "bad-server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(mode: &str) -> io::Result<ExitCode> {
    let mut out = io::stdout().lock();
    if mode == "--rubbish" {
        writeln!(out, "Listening on port 3000...")?;
        out.write_all(b"\xff\xfe not even text \x00\n{\"jsonrpc\":\"2.0\",\n")?;
        out.flush()?;
    }
    let is_modern = mode.ends_with("-modern");
    let late = std::env::args().nth(2).filter(|_| mode.starts_with("--late")).unwrap_or_default();
    while !late.is_empty() && std::fs::exists(&late)? {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let lost = usize::from(mode == "--forgetful-modern");
    for line in io::stdin().lock().lines().skip(lost) {
        let line = line?;
        if mode == "--silent" {
            continue;
        }
        if mode == "--rubbish" {
            writeln!(out, "got: {line}")?;
            out.flush()?;
            continue;
        }
        let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
        let Some(id) = message.get("id") else { continue };
        let result = match message["method"].as_str() {
            Some("server/discover") if is_modern => json!({"resultType": "complete", "ttlMs": 0,
                "cacheScope": "public", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}),
            Some("initialize") if !is_modern => {
                json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "bad-server", "version": "1"}})
            }
            Some("ping") => json!({}),
            Some("tools/list") if mode == "--odd-list" => {
                let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
                writeln!(
                    out,
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[{{"name":"half","x":"\ud800"}},null,{{"name":"deep","x":{deep}}},{{"name":"break","inputSchema":{{"type":"object"}}}}]}}}}"#
                )?;
                out.flush()?;
                continue;
            }
            Some("tools/list") => json!({"tools": [{"name": "break", "description": "Breaks.",
                "inputSchema": {"type": "object"}}]}),
            Some("tools/call") if mode == "--crash-on-call" => return Ok(ExitCode::from(101)),
            Some("tools/call") if mode == "--answer" => {
                let pattern = std::env::args().nth(2).unwrap_or_default();
                writeln!(out, "{}", pattern.replace("ID", &id.to_string()))?;
                out.flush()?;
                continue;
            }
            Some("tools/call") if mode == "--orphan" => {
                // It has the standard output and the standard error of this one, and outlives any deadline.
                let time = std::env::args().nth(2).unwrap_or_default();
                Command::new("sleep").arg(time).stdin(Stdio::null()).spawn()?;
                writeln!(io::stderr(), "the database is on fire")?;
                return Ok(ExitCode::from(7));
            }
            Some("tools/call") => {
                if mode == "--chatty" {
                    let mut lines = String::new();
                    for number in 0..1_000 {
                        let _ = writeln!(lines, "chatter {number}");
                    }
                    io::stderr().write_all(lines.as_bytes())?;
                }
                if mode == "--steps" {
                    steps(&mut out, &message["params"])?;
                }
                if mode == "--stranger" {
                    let stranger = json!({"jsonrpc": "2.0", "id": 987_654, "result": {"content": []}});
                    writeln!(out, "{stranger}")?;
                }
                let is_huge = mode == "--huge" && message["params"]["arguments"]["small"].is_null();
                let size = if is_huge { HUGE } else { 2 };
                json!({"content": [{"type": "text", "text": "x".repeat(size)}]})
            }
            _ => {
                let error = json!({"jsonrpc": "2.0", "id": id,
                    "error": {"code": -32601, "message": "Method not found"}});
                writeln!(out, "{error}")?;
                out.flush()?;
                continue;
            }
        };
        let mut result = result;
        if is_modern {
            result["resultType"] = json!("complete");
        }
        writeln!(out, "{}", json!({"jsonrpc": "2.0", "id": id, "result": result}))?;
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

fn steps(out: &mut impl io::Write, params: &Value) -> io::Result<()> {
    let file = params["arguments"]["while_exists"].as_str().unwrap_or_default();
    let token = &params["_meta"]["progressToken"];
    let mut step = 0;
    while std::fs::exists(file)? {
        step += 1;
        if !token.is_null() {
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                "params": {"progressToken": token, "progress": step}});
            writeln!(out, "{progress}")?;
            out.flush()?;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    Ok(())
}
