//! Where an upstream listens, and connections to it. Only what the operator configured is ever contacted.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Uri};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::config::units::Period;
use crate::runtime::backend::Backend;
use crate::runtime::stream::BoxStream;
use crate::runtime::tls_client;

use crate::upstream::error::UpstreamError;

/// The path of the endpoint behind a unix socket, which has no URL: the one that servers use by default.
const UNIX_PATH: &str = "/mcp";
/// The host named on a unix socket. With its port: some servers' protection against DNS rebinding demands
/// one.
const UNIX_HOST: &str = "localhost:80";

/// Limits of one upstream's connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// To connect, with the name's lookup and TLS.
    pub connect: Duration,
    /// For one request.
    pub call: Duration,
    /// After which an unused connection is closed.
    pub idle: Duration,
    /// Longest message in bytes.
    pub message: usize,
}

/// The address of one upstream and how it is spoken to.
pub struct Endpoint {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Tells endpoints apart in the workers' pools.
    pub key: u64,
    /// The limits.
    pub limits: Limits,
    /// The `Host` header.
    pub host: HeaderValue,
    /// The target of requests.
    pub path: PathAndQuery,
    backend: Backend,
    place: Address,
}

enum Address {
    Tcp { host: String, port: u16, tls: Option<(TlsConnector, ServerName<'static>)> },
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Address::Tcp { tls, .. } => {
                let scheme = if tls.is_some() { "https" } else { "http" };
                // The query may hold a secret.
                write!(f, "{scheme}://{}{}", self.host.to_str().unwrap_or_default(), self.path.path())
            }
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Endpoint {
    fn new(
        upstream: &Arc<str>,
        backend: Backend,
        limits: Limits,
        host: HeaderValue,
        path: PathAndQuery,
        place: Address,
    ) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let key = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { upstream: Arc::clone(upstream), key, limits, host, path, backend, place }
    }

    /// A unix socket.
    pub fn unix(upstream: &Arc<str>, backend: Backend, limits: Limits, path: &Path) -> Self {
        let host = HeaderValue::from_static(UNIX_HOST);
        let target = PathAndQuery::from_static(UNIX_PATH);
        Self::new(upstream, backend, limits, host, target, Address::Unix(path.to_owned()))
    }

    /// A URL; for `https` the host's root certificates are believed, and those alone.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn url(upstream: &Arc<str>, backend: Backend, limits: Limits, url: &str) -> Result<Self, String> {
        let tls = if url.starts_with("https:") { Some(tls_client::native()?) } else { None };
        Self::url_with(upstream, backend, limits, url, tls)
    }

    fn url_with(
        upstream: &Arc<str>,
        backend: Backend,
        limits: Limits,
        url: &str,
        tls: Option<ClientConfig>,
    ) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("its `url` is not a URL ({error})"))?;
        let authority = uri.authority().ok_or("its `url` names no host")?;
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(if tls.is_some() { 443 } else { 80 });
        let tls = match tls {
            None => None,
            Some(mut config) => {
                config.alpn_protocols = vec![b"http/1.1".to_vec()];
                let name = ServerName::try_from(bare.clone())
                    .map_err(|error| format!("its `url` names no host that a certificate can ({error})"))?;
                Some((TlsConnector::from(Arc::new(config)), name))
            }
        };
        let host = HeaderValue::from_str(authority.as_str()).map_err(|error| error.to_string())?;
        let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let place = Address::Tcp { host: bare, port, tls };
        Ok(Self::new(upstream, backend, limits, host, path, place))
    }

    /// A new connection, on the current worker.
    ///
    /// # Errors
    /// [`UpstreamError::Unreachable`], or [`UpstreamError::Deadline`] after `timeouts.connect`.
    pub async fn connect(&self) -> Result<BoxStream, UpstreamError> {
        self.in_time(async {
            match &self.place {
                Address::Unix(path) => self.backend.unix(unix(path).await?),
                Address::Tcp { host, port, tls } => {
                    let stream = tokio::net::TcpStream::connect((host.as_str(), *port)).await?.into_std()?;
                    stream.set_nodelay(true)?;
                    let stream = self.backend.tcp(stream)?;
                    let Some((connector, name)) = tls else { return Ok(stream) };
                    let encrypted = connector.connect(name.clone(), TokioIo::new(stream)).await?;
                    Ok(Box::new(TokioIo::new(encrypted)) as BoxStream)
                }
            }
        })
        .await
    }

    /// A new connection to a unix socket as a stream of bytes, and a handle that can close it from any
    /// thread.
    ///
    /// # Errors
    /// As [`Endpoint::connect`].
    pub async fn connect_unix(&self) -> Result<(BoxStream, std::os::unix::net::UnixStream), UpstreamError> {
        self.in_time(async {
            let Address::Unix(path) = &self.place else { return Err(io::ErrorKind::Unsupported.into()) };
            let stream = unix(path).await?;
            let handle = stream.try_clone()?;
            Ok((self.backend.unix(stream)?, handle))
        })
        .await
    }

    async fn in_time<T>(&self, connecting: impl Future<Output = io::Result<T>>) -> Result<T, UpstreamError> {
        match tokio::time::timeout(self.limits.connect, connecting).await {
            Ok(Ok(connected)) => Ok(connected),
            Ok(Err(error)) => Err(UpstreamError::Unreachable {
                upstream: self.upstream.to_string(),
                place: self.to_string(),
                detail: error.to_string(),
            }),
            Err(_) => Err(UpstreamError::Deadline {
                upstream: self.upstream.to_string(),
                what: format!("a connection to {self}"),
                limit: Period(self.limits.connect).to_string(),
                key: "server.timeouts.connect",
            }),
        }
    }

    /// The error for a server that hung up; `detail` is a predicate.
    pub fn closed(&self, detail: impl Into<String>) -> UpstreamError {
        UpstreamError::Closed {
            upstream: self.upstream.to_string(),
            place: self.to_string(),
            detail: detail.into(),
        }
    }

    /// The error for a server that answers what is not MCP.
    pub fn wrong(&self, detail: impl Into<String>) -> UpstreamError {
        UpstreamError::Protocol { upstream: self.upstream.to_string(), detail: detail.into() }
    }
}

async fn unix(path: &Path) -> io::Result<std::os::unix::net::UnixStream> {
    tokio::net::UnixStream::connect(path).await?.into_std()
}

#[cfg(test)]
mod tests {
    use http::{Request, StatusCode};
    use http_body_util::{BodyExt as _, Full};
    use rustls::RootCertStore;

    use super::*;
    use crate::runtime::testing::TlsServer;
    use crate::upstream::transport::http::connections;

    fn limits() -> Limits {
        let long = Duration::from_mins(1);
        Limits { connect: long, call: long, idle: long, message: 1_000 }
    }

    async fn ask(endpoint: &Endpoint) -> Result<String, UpstreamError> {
        let request =
            Request::post("/mcp").header("host", &endpoint.host).body(Full::default()).expect("a request");
        let (response, connection) = connections::send(endpoint, request).await?;
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        connections::keep(endpoint, connection);
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    fn https_on(backend: Backend) {
        let name: Arc<str> = "tls".into();
        let run = backend.run(async {
            let server = TlsServer::start();
            let endpoint = |host: &str, trusted: bool| {
                let roots = if trusted { server.roots() } else { RootCertStore::empty() };
                let tls = tls_client::trusting(roots).expect("TLS");
                let url = format!("https://{host}:{}/mcp?key=secret", server.port);
                Endpoint::url_with(&name, backend, limits(), &url, Some(tls)).expect("an endpoint")
            };
            let good = endpoint("localhost", true);
            assert_eq!(ask(&good).await.expect("trusted"), "0");
            assert_eq!(ask(&good).await.expect("trusted"), "0", "the connection is kept");
            for (host, trusted) in [("127.0.0.1", true), ("localhost", false)] {
                let error = ask(&endpoint(host, trusted)).await.expect_err("not trusted").to_string();
                assert!(error.contains("certificate") && !error.contains("secret"), "{error}");
            }
        });
        run.expect("a runtime");
    }

    #[test]
    fn certificates_are_checked_and_connections_kept() {
        https_on(Backend::Epoll);
        // Where the host refuses a ring, the daemon would not use one either.
        if crate::runtime::backend::choose(crate::config::schema::Io::IoUring).is_ok() {
            https_on(Backend::IoUring);
        }
    }

    #[test]
    fn an_address_is_read_from_its_url() {
        let name: Arc<str> = "x".into();
        let url = |url: &str| Endpoint::url(&name, Backend::Epoll, limits(), url);
        let endpoint = url("http://[::1]:8080/a/mcp?x=1").expect("a URL");
        assert_eq!((endpoint.host.as_bytes(), endpoint.path.as_str()), (&b"[::1]:8080"[..], "/a/mcp?x=1"));
        assert!(matches!(&endpoint.place, Address::Tcp { host, port: 8080, tls: None } if host == "::1"));
        assert_eq!(endpoint.to_string(), "http://[::1]:8080/a/mcp");
        let endpoint = url("http://localhost").expect("a URL");
        assert!(matches!(&endpoint.place, Address::Tcp { port: 80, .. }) && endpoint.path == "/");
    }
}
