//! Fetching documents of identity providers: bounded in time and size, without redirects, from within a
//! [`Zone`].

use std::fmt;
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::ClientConfig;

use crate::coding::broken::Broken;
use crate::coding::{IDENTITY, decoded};
use crate::runtime::tls_client;

use super::guard::{Resolver, Zone};

/// Largest body that is read.
pub(crate) const MAX_BODY_BYTES: usize = 1024 * 1024;
/// How long one request may take, from the name lookup to the last byte.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);

type Body = Full<Bytes>;
type Connector = HttpConnector<Resolver>;
type TlsClient = Client<HttpsConnector<Connector>, Body>;

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{url} did not answer within {} s", TIMEOUT.as_secs())]
    Timeout { url: Uri },
    #[error("{url}: {cause}")]
    Transport { url: Uri, cause: String },
    #[error("{url} answered {status}{}", if status.is_redirection() { ", and redirects are not followed" } else { "" })]
    Status { url: Uri, status: StatusCode },
    #[error("{url}: {problem}")]
    Outside { url: Uri, problem: String },
    #[error("{0}")]
    Roots(String),
}

/// An HTTP client for identity providers. Connections are not kept: minutes lie between two fetches.
pub(crate) struct Fetcher {
    plain: Client<Connector, Body>,
    /// For https; plain http goes to loopback alone.
    resolver: Resolver,
    zone: Zone,
    /// Made when first needed: a host without root certificates can still use a loopback issuer.
    tls: OnceLock<Result<TlsClient, String>>,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fetcher")
    }
}

impl Fetcher {
    /// One that connects to nothing outside `zone`.
    pub(crate) fn new(zone: Zone) -> Self {
        Self::with(zone, Resolver::new(zone))
    }

    fn with(zone: Zone, resolver: Resolver) -> Self {
        let plain = HttpConnector::new_with_resolver(Resolver::new(Zone::Loopback));
        let plain = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(plain);
        Self { plain, resolver, zone, tls: OnceLock::new() }
    }

    /// The body of a 200 answer to GET.
    pub(crate) async fn get(&self, url: &Uri) -> Result<Bytes, FetchError> {
        let (status, body) = self.send(Method::GET, url, None, None).await?;
        if status == StatusCode::OK { Ok(body) } else { Err(FetchError::Status { url: url.clone(), status }) }
    }

    /// Status and body of the answer to a POST of a form, with a header `Authorization` if there is one.
    pub(crate) async fn post_form(
        &self,
        url: &Uri,
        form: String,
        authorization: Option<HeaderValue>,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        self.send(Method::POST, url, Some(form), authorization).await
    }

    async fn send(
        &self,
        method: Method,
        url: &Uri,
        form: Option<String>,
        authorization: Option<HeaderValue>,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        tokio::time::timeout(TIMEOUT, self.exchange(method, url, form, authorization))
            .await
            .map_err(|_| FetchError::Timeout { url: url.clone() })?
    }

    async fn exchange(
        &self,
        method: Method,
        url: &Uri,
        form: Option<String>,
        authorization: Option<HeaderValue>,
    ) -> Result<(StatusCode, Bytes), FetchError> {
        let transport = |cause: String| FetchError::Transport { url: url.clone(), cause };
        let is_tls = url.scheme_str() == Some("https");
        // The connector looks up names only, so addresses are checked here.
        let zone = if is_tls { self.zone } else { Zone::Loopback };
        zone.check_host(url.host().unwrap_or_default())
            .map_err(|problem| FetchError::Outside { url: url.clone(), problem })?;
        let mut request = Request::builder()
            .method(method)
            .uri(url)
            .header(header::ACCEPT, "application/json")
            .header(header::ACCEPT_ENCODING, IDENTITY)
            .header(header::USER_AGENT, concat!("airlock/", env!("CARGO_PKG_VERSION")));
        if form.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request
            .body(Full::new(Bytes::from(form.unwrap_or_default())))
            .map_err(|error| transport(error.to_string()))?;
        let answer =
            if is_tls { self.tls()?.request(request).await } else { self.plain.request(request).await };
        let (head, body) = decoded(answer.map_err(|error| transport(chain(&error)))?).into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|error| {
            match error.downcast_ref::<Broken>() {
                Some(broken) if !broken.is_transport() => transport(format!("its answer {broken}")),
                _ => transport(format!("reading the answer: {error}")),
            }
        })?;
        Ok((head.status, body.to_bytes()))
    }

    fn tls(&self) -> Result<&TlsClient, FetchError> {
        let made = self.tls.get_or_init(|| Ok(https(tls_client::native()?, self.resolver.clone())));
        made.as_ref().map_err(|error| FetchError::Roots(error.clone()))
    }
}

fn https(tls: ClientConfig, resolver: Resolver) -> TlsClient {
    let mut tcp = HttpConnector::new_with_resolver(resolver);
    tcp.enforce_http(false);
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
    let connector = builder.https_only().enable_http1().wrap_connector(tcp);
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
}

/// An error with its causes in one line: the outermost alone often says only "client error (Connect)".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// True where a URL's host is this host for certain: a loopback address or `localhost`.
pub(crate) fn is_loopback_host(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    }
}

/// Parses a URL that documents may be fetched from: https, or http to loopback where `allow_loopback`; no
/// user name in it.
pub(crate) fn checked_url(text: &str, allow_loopback: bool) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|error| format!("is not a URL ({error})"))?;
    let host = url.host().filter(|host| !host.is_empty()).ok_or("is not an absolute URL")?;
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("must not contain a user name or password".into());
    }
    match url.scheme_str() {
        Some("https") => Ok(url),
        Some("http") if allow_loopback && is_loopback_host(host) => Ok(url),
        Some("http") => Err("must be https (http is accepted for loopback addresses only)".into()),
        _ => Err("must be an https URL".into()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::runtime::testing::TlsServer;

    /// A fetcher that trusts a test's server instead of the host's authorities.
    fn trusting(server: &TlsServer, zone: Zone, resolver: Resolver) -> Fetcher {
        let fetcher = Fetcher::with(zone, resolver.clone());
        let tls = tls_client::trusting(server.roots()).expect("TLS");
        assert!(fetcher.tls.set(Ok(https(tls, resolver))).is_ok());
        fetcher
    }

    /// One that gets names as `zone` has them.
    fn within(server: &TlsServer, zone: Zone) -> Fetcher {
        trusting(server, zone, Resolver::new(zone))
    }

    #[tokio::test]
    async fn certificates_are_checked() {
        let server = TlsServer::start();
        let url = |host: &str| format!("https://{host}:{}/", server.port).parse::<Uri>().expect("a URL");
        let trusting = within(&server, Zone::PublicAndLoopback);
        let body = trusting.get(&url("localhost")).await.expect("a trusted certificate");
        assert_eq!(body, "0");
        let error = trusting.get(&url("127.0.0.1")).await.expect_err("another name").to_string();
        assert!(error.contains("certificate"), "{error}");
        let stranger = Fetcher::new(Zone::PublicAndLoopback);
        let error = stranger.get(&url("localhost")).await.expect_err("an unknown authority").to_string();
        assert!(error.contains("certificate"), "{error}");
    }

    #[tokio::test]
    async fn nothing_outside_the_zone_is_connected_to() {
        let server = TlsServer::start();
        let url = |host: &str| format!("https://{host}:{}/", server.port).parse::<Uri>().expect("a URL");
        // The certificate is for `localhost` and the server is there: only the guard stands between.
        let public = within(&server, Zone::Public);
        for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "127.1", "2130706433"] {
            let error = public.get(&url(host)).await.expect_err(host).to_string();
            assert!(!error.contains("certificate"), "{host} was connected to: {error}");
        }
        let error = public.get(&url("localhost")).await.expect_err("this host").to_string();
        assert!(error.contains("allow_private_addresses"), "{error}");
        for host in ["10.0.0.1", "169.254.169.254", "[fd00::1]", "[fe80::1]", "100.64.0.1", "224.0.0.1"] {
            let error = public.get(&url(host)).await.expect_err(host);
            assert!(matches!(error, FetchError::Outside { .. }), "{host}: {error}");
        }
        // A name that was public when somebody looked and leads inside when it is connected to.
        let asked = std::sync::atomic::AtomicU32::new(0);
        let rebinding = Resolver::answering(Zone::Public, move |_| {
            let first = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
            let (public, private) = (std::net::Ipv4Addr::new(8, 8, 8, 8), std::net::Ipv4Addr::LOCALHOST);
            vec![IpAddr::V4(if first { public } else { private })]
        });
        let before =
            tower_service::Service::call(&mut rebinding.clone(), "localhost".parse().expect("a name")).await;
        assert_eq!(before.expect("public").count(), 1);
        let error =
            trusting(&server, Zone::Public, rebinding).get(&url("localhost")).await.expect_err("rebound");
        assert!(error.to_string().contains("this host itself"), "{error}");
        // The same server, where the configuration allows it.
        let private = within(&server, Zone::Private);
        let first = private.get(&url("localhost")).await.expect("allowed");
        assert_eq!(first, "0", "nobody has connected before");
        // Plain http goes to this host alone, whatever the zone.
        for host in ["10.0.0.1", "8.8.8.8", "169.254.169.254"] {
            let url = format!("http://{host}/").parse().expect("a URL");
            let error = private.get(&url).await.expect_err(host);
            assert!(matches!(error, FetchError::Outside { .. }), "{host}: {error}");
        }
    }

    /// Answers one request with this body in this coding; gives back what the request was.
    async fn answer_encoded(coding: &'static str, body: Vec<u8>) -> (Uri, tokio::task::JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut head = [0; 1024];
            let length = stream.read(&mut head).await.expect("a request");
            let fields = format!("content-encoding: {coding}\r\ncontent-length: {}", body.len());
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").as_bytes()).await;
            let _ = stream.write_all(&body).await;
            String::from_utf8_lossy(&head[..length]).into_owned()
        });
        (url.parse().expect("a URL"), answering)
    }

    #[tokio::test]
    async fn an_answer_that_is_encoded_unasked_is_decoded_within_the_bound() {
        for coding in crate::coding::tests::CODINGS {
            let fetcher = Fetcher::new(Zone::Loopback);
            let (url, asked) = answer_encoded(coding, crate::coding::tests::encoded(coding, b"{}")).await;
            assert_eq!(fetcher.get(&url).await.expect(coding), "{}");
            assert!(asked.await.expect("it answered").contains("accept-encoding: identity\r\n"));
            let bomb = crate::coding::tests::encoded(coding, &vec![b' '; 2 * MAX_BODY_BYTES]);
            let error = fetcher.get(&answer_encoded(coding, bomb).await.0).await.expect_err(coding);
            assert!(error.to_string().contains("length limit exceeded"), "{coding}: {error}");
        }
        let (url, _) = answer_encoded("snappy", b"x".to_vec()).await;
        let error = Fetcher::new(Zone::Loopback).get(&url).await.expect_err("unknown").to_string();
        assert!(error.contains("content coding `snappy`"), "{error}");
    }

    #[test]
    fn only_https_and_loopback_are_fetched() {
        for url in [
            "https://idp.example",
            "https://idp.example:8443/a?b",
            "http://127.0.0.1:1/x",
            "http://[::1]:1",
            "http://localhost:9",
        ] {
            assert!(checked_url(url, true).is_ok(), "{url}");
        }
        for url in [
            "http://idp.example",
            "http://127.0.0.1.evil.example/",
            "http://localhost.evil.example",
            "ftp://idp.example",
            "idp.example",
            "/keys",
            "",
            "file:///etc/passwd",
            "https://",
            "http://10.0.0.1/",
            "http://169.254.169.254/",
            "https://user:secret@idp.example/",
            "http://127.0.0.1@evil.example/",
            "http://0.0.0.0/",
            "http://127.1/",
        ] {
            assert!(checked_url(url, true).is_err(), "{url}");
        }
        assert!(checked_url("http://127.0.0.1:1/x", false).is_err());
    }
}
