//! The admin interface: HTTP on a unix socket of this host, for root and for the daemon's own user, served by the control thread.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::Service;
use super::body::{Body, json};
use super::routes::not_found;
use super::status;

/// The admin interface cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("observability.admin_listen: cannot listen on {}: {error}. {remedy}", path.display())]
pub struct AdminError {
    path: PathBuf,
    error: io::Error,
    remedy: &'static str,
}

/// Its socket; removed when it is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Opens the socket for nobody but its owner and root. What a daemon that was killed has left there is replaced; a socket on
    /// which somebody listens, or a file of another kind, is not.
    ///
    /// # Errors
    /// [`AdminError`], with the remedy.
    pub fn open(path: &Path) -> Result<Self, AdminError> {
        let failed = |error, remedy| AdminError { path: path.to_owned(), error, remedy };
        if let Ok(there) = fs::symlink_metadata(path) {
            let taken = |what| failed(io::ErrorKind::AlreadyExists.into(), what);
            if !there.file_type().is_socket() {
                return Err(taken("Something else than a socket is there: remove it or choose another path"));
            }
            match UnixStream::connect(path) {
                Ok(_) => {
                    return Err(taken("Another process listens there: stop it or choose another path"));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path)
                        .map_err(|error| failed(error, "Remove the socket that was left there"))?;
                }
                Err(error) => return Err(failed(error, "Remove what is there or choose another path")),
            }
        }
        let remedy = "The directory must exist and belong to the user that runs Airlock (`RuntimeDirectory=airlock` in the unit)";
        let listener = UnixListener::bind(path).map_err(|error| failed(error, remedy))?;
        // Who it lets in is asked of each connection as well, so the moment before this line gives nothing away.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .map_err(|error| failed(error, remedy))?;
        listener.set_nonblocking(true).map_err(|error| failed(error, remedy))?;
        Ok(Self { listener, path: path.to_owned() })
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // It may be gone already; nothing depends on it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Serves until the process ends.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(socket: AdminSocket, service: Arc<Service>, started: Instant) -> io::Result<()> {
    /// How long a client may take to send its head.
    const HEAD: Duration = Duration::from_secs(5);
    let listener = tokio::net::UnixListener::from_std(socket.listener.try_clone()?)?;
    let own = rustix::process::geteuid().as_raw();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "the admin interface cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == 0 || peer.uid() == own => {}
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), "the admin interface is for root and the daemon's own user");
                continue;
            }
            Err(_) => continue,
        }
        let service = Arc::clone(&service);
        tokio::task::spawn_local(async move {
            let answers = service_fn(|request| {
                let answer = answer(&service, started, &request);
                async move { Ok::<_, Infallible>(answer) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD);
            if let Err(error) = http.serve_connection(TokioIo::new(stream), answers).await {
                tracing::trace!(%error, "an admin connection ended early");
            }
        });
    }
}

fn answer(service: &Arc<Service>, started: Instant, request: &Request<Incoming>) -> Response<Body> {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/status") => {
            let status = status::of(service, started);
            // Every part of it is text, numbers and lists.
            json(StatusCode::OK, serde_json::to_string(&status).unwrap_or_default())
        }
        _ => not_found(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_daemon_left_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("admin.sock");
        let first = AdminSocket::open(&path).expect("a free path");
        assert_eq!(fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o600);
        let error = AdminSocket::open(&path).expect_err("somebody listens").to_string();
        assert!(error.contains("Another process listens"), "{error}");
        drop(first);
        assert!(!path.exists(), "it is removed at the end");
        drop(UnixListener::bind(&path).expect("a free path"));
        AdminSocket::open(&path).expect("nobody listens there any more");
        fs::write(&path, "precious").expect("written");
        let error = AdminSocket::open(&path).expect_err("no socket").to_string();
        assert!(error.contains("Something else"), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), "precious");
        let error = AdminSocket::open(Path::new("/nonexistent/x.sock")).expect_err("no folder").to_string();
        assert!(error.contains("RuntimeDirectory"), "{error}");
    }
}
