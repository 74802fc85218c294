//! An MCP server of the legacy era that takes more room and time than its share, as its tools are told to.
//!
//! `--instructions N` has it introduce itself with so many bytes, `--tools N` has it list so many tools
//! besides its own. `large {bytes, speaks}` answers so many bytes, after a log message where it is to speak;
//! `links {count}` names so many resources; `halved {bytes}` sends that much of its answer, and the end of it
//! once something else is asked; `deep {levels}` nests its answer; `rubbish {lines}` prints so many lines
//! that are no messages, `storm {changes}` says so often that its tools have changed, both before they
//! answer; `compute {millis}` answers after so long, on a processor all the time.

use std::hint::black_box;
use std::io::{self, BufRead as _, BufWriter, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Its tools; those of `--tools` come besides.
const TOOLS: [&str; 7] = ["large", "links", "halved", "deep", "rubbish", "storm", "compute"];

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse::<usize>().ok()).unwrap_or(0)
    };
    let (instructions, tools) = (number("--instructions"), number("--tools"));
    let mut out = BufWriter::new(io::stdout().lock());
    let mut lines = io::stdin().lock().lines();
    let mut waiting = None;
    while let Some(line) = waiting.take().or_else(|| lines.next()) {
        let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
        let Some(id) = message.get("id") else { continue };
        let answer = match message["method"].as_str() {
            Some("initialize") => {
                let mut result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": true},
                    "resources": {"subscribe": true}, "logging": {}}, "serverInfo": {"name": "loud-server", "version": "1"}});
                if instructions > 0 {
                    result["instructions"] = json!("i".repeat(instructions));
                }
                result.to_string()
            }
            Some("tools/list") => list(tools),
            Some("tools/call") if message["params"]["name"] == "halved" => {
                let bytes = message["params"]["arguments"]["bytes"].as_u64().unwrap_or(0);
                let text = "x".repeat(usize::try_from(bytes).unwrap_or(0));
                write!(
                    out,
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"#
                )?;
                out.flush()?;
                waiting = lines.next();
                writeln!(out, r#""}}]}}}}"#)?;
                out.flush()?;
                continue;
            }
            Some("tools/call") => call(&message["params"], &mut out)?,
            Some("ping" | "resources/subscribe" | "resources/unsubscribe") => "{}".to_owned(),
            _ => {
                let error = json!({"code": -32601, "message": "Method not found"});
                writeln!(out, "{}", json!({"jsonrpc": "2.0", "id": id, "error": error}))?;
                out.flush()?;
                continue;
            }
        };
        writeln!(out, r#"{{"jsonrpc":"2.0","id":{id},"result":{answer}}}"#)?;
        out.flush()?;
    }
    Ok(())
}

fn list(more: usize) -> String {
    let own = TOOLS.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}}).to_string());
    let more = (0..more).map(|number| {
        format!(
            r#"{{"name":"tool_{number}","description":"One of many.","inputSchema":{{"type":"object"}}}}"#
        )
    });
    format!(r#"{{"tools":[{}]}}"#, own.chain(more).collect::<Vec<_>>().join(","))
}

fn call(params: &Value, out: &mut impl Write) -> io::Result<String> {
    let given = |name: &str| {
        params["arguments"][name].as_u64().and_then(|number| usize::try_from(number).ok()).unwrap_or(0)
    };
    match params["name"].as_str() {
        Some("large") => {
            if params["arguments"]["speaks"] == true {
                let said = json!({"jsonrpc": "2.0", "method": "notifications/message",
                    "params": {"level": "info", "data": "about to answer"}});
                writeln!(out, "{said}")?;
            }
            Ok(json!({"content": [{"type": "text", "text": "x".repeat(given("bytes"))}]}).to_string())
        }
        Some("links") => {
            let link = |number| {
                format!(r#"{{"type":"resource_link","uri":"file:///{number}","name":"one of many"}}"#)
            };
            let links: Vec<String> = (0..given("count")).map(link).collect();
            Ok(format!(r#"{{"content":[{}]}}"#, links.join(",")))
        }
        Some("deep") => {
            let levels = given("levels");
            let nested = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            Ok(format!(r#"{{"content":[],"structuredContent":{{"deep":{nested}}}}}"#))
        }
        Some("rubbish") => {
            for number in 0..given("lines") {
                writeln!(out, "{number}")?;
            }
            Ok(json!({"content": [{"type": "text", "text": "said"}]}).to_string())
        }
        Some("storm") => {
            for _ in 0..given("changes") {
                writeln!(out, r#"{{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}}"#)?;
            }
            Ok(json!({"content": [{"type": "text", "text": "stormed"}]}).to_string())
        }
        Some("compute") => {
            let (since, mut number) = (Instant::now(), 1_u64);
            while since.elapsed() < Duration::from_millis(given("millis") as u64) {
                number = black_box(number.wrapping_mul(6_364_136_223_846_793_005));
            }
            Ok(json!({"content": [{"type": "text", "text": "computed"}]}).to_string())
        }
        _ => Ok(json!({"content": [], "isError": true}).to_string()),
    }
}
