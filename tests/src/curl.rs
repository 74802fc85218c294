//! curl, as a client that others wrote.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::http::Request;

/// How it ended.
#[derive(Debug)]
pub struct Outcome {
    /// `1.1` or `2`.
    pub version: String,
    /// The status, 0 without an answer.
    pub status: u16,
    /// The answer's; curl's complaint where there was none.
    pub body: String,
}

/// Sends a request of the raw client by curl; `options` come first.
pub fn curl(address: SocketAddr, scheme: &str, request: &Request, options: &[&str]) -> Outcome {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--no-buffer", "--max-time", "60"]).args(options);
    command.args(["--write-out", "\n%{http_version} %{http_code}", "--request", &request.method]);
    for (name, value) in &request.headers {
        command.args(["--header", &format!("{name}: {value}")]);
    }
    if !request.body.is_empty() {
        command.arg("--data-binary").arg(String::from_utf8_lossy(&request.body).into_owned());
    }
    command.arg(format!("{scheme}://{address}{}", request.path)).stdin(Stdio::null());
    let output = command.output().expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, last) = text.rsplit_once('\n').unwrap_or_default();
    let (version, status) = last.split_once(' ').unwrap_or_default();
    let status = status.parse().unwrap_or(0);
    let complaint = String::from_utf8_lossy(&output.stderr);
    let body = if status == 0 { complaint.into_owned() } else { body.to_owned() };
    Outcome { version: version.to_owned(), status, body }
}

/// `path` as an argument.
pub fn shown(path: &Path) -> String {
    path.display().to_string()
}
