//! From one message to its answer, with as little work as can be: the upstream must not be what a bench
//! measures.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The largest answer that may be asked for, in bytes.
pub(crate) const MOST: usize = 8 * 1024 * 1024;

/// The part of a request that matters here.
#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    method: &'a str,
    #[serde(default)]
    params: Params,
}

#[derive(Deserialize, Default)]
struct Params {
    #[serde(default)]
    arguments: Arguments,
    #[serde(rename = "protocolVersion", default)]
    protocol_version: Option<String>,
}

#[derive(Deserialize, Default)]
struct Arguments {
    bytes: Option<usize>,
}

/// Texts of the sizes that were asked for so far: a bench asks for one size a million times.
#[derive(Default)]
pub(crate) struct Texts(Vec<(usize, String)>);

impl Texts {
    /// A JSON string literal (quotes included) whose content has `bytes` bytes and looks like records.
    fn of(&mut self, bytes: usize) -> &str {
        let at = self.0.iter().position(|(size, _)| *size == bytes).unwrap_or_else(|| {
            self.0.push((bytes, literal(bytes)));
            self.0.len() - 1
        });
        &self.0[at].1
    }
}

/// `bytes` bytes of records, escaped as a JSON string.
fn literal(bytes: usize) -> String {
    let mut content = String::with_capacity(bytes + 80);
    let mut number = 0_u32;
    while content.len() < bytes {
        let _ = write!(
            content,
            "{number:06} order shipped to warehouse {} in {} days; ",
            number % 17,
            number % 5
        );
        number += 1;
    }
    content.truncate(bytes);
    format!("\"{content}\"")
}

/// The answer to one message, appended to `out`; nothing for a notification. `Err` says that it was no
/// request.
pub(crate) fn answer(message: &[u8], texts: &mut Texts, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    let request: Request<'_> = serde_json::from_slice(message)?;
    let Some(id) = request.id else { return Ok(()) };
    let mut put = |head: &str, middle: &str, tail: &str| {
        for part in ["{\"jsonrpc\":\"2.0\",\"id\":", id.get(), ",", head, middle, tail, "}"] {
            out.extend_from_slice(part.as_bytes());
        }
    };
    match request.method {
        "tools/call" => {
            let bytes = request.params.arguments.bytes.unwrap_or(300).min(MOST);
            put(
                "\"result\":{\"resultType\":\"complete\",\"content\":[{\"type\":\"text\",\"text\":",
                texts.of(bytes),
                "}],\"isError\":false}",
            );
        }
        "tools/list" => put(
            "\"result\":{\"resultType\":\"complete\",\"ttlMs\":0,\"cacheScope\":\"public\",\"tools\":[{\"name\":\"echo\",\
             \"description\":\"Answers a text of as many bytes as asked for.\",\"inputSchema\":{\"type\":\"object\",\
             \"properties\":{\"bytes\":{\"type\":\"integer\",\"minimum\":0}}}}]}",
            "",
            "",
        ),
        "server/discover" => put(
            "\"result\":{\"resultType\":\"complete\",\"ttlMs\":0,\"cacheScope\":\"public\",\"supportedVersions\":\
             [\"2026-07-28\"],\"capabilities\":{\"tools\":{}},\"_meta\":{\"io.modelcontextprotocol/serverInfo\":\
             {\"name\":\"echo-server\",\"version\":\"1\"}}}",
            "",
            "",
        ),
        "initialize" => {
            let version = match request.params.protocol_version.as_deref() {
                Some("2025-03-26") => "2025-03-26",
                Some("2025-06-18") => "2025-06-18",
                _ => "2025-11-25",
            };
            put(
                "\"result\":{\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"echo-server\",\"version\":\
                 \"1\"},\"protocolVersion\":\"",
                version,
                "\"}",
            );
        }
        "ping" => put("\"result\":{}", "", ""),
        _ => put("\"error\":{\"code\":-32601,\"message\":\"Method not found\"}", "", ""),
    }
    Ok(())
}
