//! Asking the running daemon on its admin interface.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::config::schema::AdminListen;
use crate::config::units::Period;
use crate::observe::escape::printable;

/// How long the daemon has for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Where the daemon is asked.
#[derive(Debug, clap::Args)]
pub(super) struct DaemonPlace {
    /// Configuration file of the running daemon; its `observability.admin_listen` is asked.
    #[arg(long, default_value = super::defaults::DEFAULT_CONFIG, conflicts_with = "socket")]
    config: PathBuf,
    /// The socket of the admin interface.
    #[arg(long)]
    socket: Option<PathBuf>,
}

/// The arguments of every command that asks the daemon.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    #[command(flatten)]
    pub(super) place: DaemonPlace,
    /// Print what the daemon says as JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// A value of the answer, for reading: the daemon was told much of it by others.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text).into_owned(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Asks; gives the status of the answer and what it says.
///
/// # Errors
/// A sentence with the remedy, when the daemon cannot be asked.
pub(super) fn ask(
    place: &DaemonPlace,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<(StatusCode, Value), String> {
    let socket = match &place.socket {
        Some(socket) => socket.clone(),
        None => from_config(&place.config)?,
    };
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = Request::builder().method(method).uri(path).header("host", "localhost");
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        tokio::time::timeout(ANSWER_TIMEOUT, send(&socket, request)).await.unwrap_or_else(|_| {
            Err(format!(
                "{} does not answer within {}: the daemon hangs",
                socket.display(),
                Period(ANSWER_TIMEOUT)
            ))
        })
    })
}

fn from_config(path: &Path) -> Result<PathBuf, String> {
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        // A daemon whose configuration is elsewhere may listen here all the same.
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound
                && path == Path::new(super::defaults::DEFAULT_CONFIG) =>
        {
            return Ok(PathBuf::from(AdminListen::DEFAULT));
        }
        text => text.map_err(|error| format!("cannot read {shown}: {error}"))?,
    };
    let config =
        crate::config::from_text(&shown.to_string(), &text).map_err(|mistakes| mistakes.to_string())?;
    config.observability.admin_listen.socket().map(Path::to_path_buf).ok_or_else(|| {
        format!("`observability.admin_listen` of {shown} is `null`: remove the key, and restart the daemon")
    })
}

async fn send(socket: &Path, request: Request<Full<Bytes>>) -> Result<(StatusCode, Value), String> {
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
    let (head, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
    let body = body.collect().await.map_err(failed)?.to_bytes();
    connection.abort();
    let value = serde_json::from_slice(&body)
        .map_err(|error| format!("{shown} answers what this version does not understand ({error})"))?;
    Ok((head.status, value))
}
