//! Servers behind a unix socket: which framing they speak, and the link for lines.

use std::sync::Arc;
use std::time::Duration;

use crate::config::schema::Framing;
use crate::mcp::jsonrpc;
use crate::runtime::stream::split;

use super::connect::Endpoint;
use super::handle::Link;
use super::link::{Parts, PipeLink, hang_up};
use crate::upstream::era::modern;
use crate::upstream::error::UpstreamError;
use crate::upstream::hub::Hub;

/// Finds out what is spoken on a socket: asks as HTTP does and looks whether an HTTP answer begins. The body
/// is a whole line of its own, so that a server of lines that passes over the head it does not understand
/// answers at once too.
///
/// # Errors
/// When there is no connection.
pub async fn framing(endpoint: &Endpoint) -> Result<Framing, UpstreamError> {
    const HTTP: &[u8] = b"HTTP/";
    let (stream, _handle) = endpoint.connect_unix().await?;
    let (mut reader, mut writer) = split(stream);
    let answer = async {
        let mut answer = Vec::new();
        writer.write_all(&probe(endpoint)).await.ok()?;
        while answer.len() < HTTP.len() {
            match reader.read(&mut answer).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
        Some(answer)
    };
    // Silence is the answer of a server that waits for a message it knows.
    let answer = tokio::time::timeout(endpoint.limits.connect, answer).await.ok().flatten();
    let is_http = answer.is_some_and(|answer| answer.starts_with(HTTP));
    Ok(if is_http { Framing::Http } else { Framing::Ndjson })
}

fn probe(endpoint: &Endpoint) -> Vec<u8> {
    let body = jsonrpc::request(0, "server/discover", &modern::discover());
    format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {}\r\nMcp-Method: server/discover\r\n\
         Content-Length: {}\r\n\r\n{body}\n",
        endpoint.path,
        endpoint.host.to_str().unwrap_or_default(),
        crate::mcp::revision::Revision::LATEST,
        body.len() + 1
    )
    .into_bytes()
}

/// A link of lines over a new connection.
///
/// # Errors
/// When there is no connection.
pub(in crate::upstream) async fn open(
    endpoint: &Endpoint,
    idle: Option<Duration>,
    hub: &Arc<Hub>,
    counted: impl Send + 'static,
) -> Result<Link, UpstreamError> {
    let (stream, handle) = endpoint.connect_unix().await?;
    Ok(Link::Pipe(PipeLink::start(Parts {
        upstream: Arc::clone(&endpoint.upstream),
        stream,
        limit: endpoint.limits.message,
        idle,
        hub: Arc::clone(hub),
        end: hang_up(handle, counted),
    })))
}
