//! The development issuer's HTTP side.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{DEFAULT_LIFETIME, DevelopmentError, DevelopmentIssuer, TokenRequest};
use crate::auth::keys::fetch::is_loopback_host;
use crate::config::units::Period;

/// Largest form that is read.
const MAX_FORM_BYTES: usize = 16 * 1024;
/// Connections at one time; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 64;
/// For a client to send a request head, and for a body.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

impl DevelopmentIssuer {
    /// Answers requests until it is dropped. Belongs on the control thread (a tokio runtime with I/O and
    /// time).
    ///
    /// # Errors
    /// It is already running, or the listener cannot be used.
    pub async fn run(self: Arc<Self>) -> Result<(), DevelopmentError> {
        let taken = self.listener.lock().take();
        let listener = taken.ok_or(DevelopmentError::AlreadyRunning)?;
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|cause| DevelopmentError::Listen { address: self.address, cause })?;
        tracing::warn!(
            issuer = self.url(),
            "the development issuer gives a token to anybody on this host who asks"
        );
        serve(self, listener).await
    }
}

async fn serve(issuer: Arc<DevelopmentIssuer>, listener: TcpListener) -> Result<(), DevelopmentError> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        // The semaphore is never closed, so this is always a place.
        let place = Arc::clone(&places).acquire_owned().await.ok();
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, most likely; a tight loop would not help.
                tracing::warn!(%error, "the development issuer cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let issuer = Arc::clone(&issuer);
        connections.spawn(async move {
            let service = service_fn(|request| {
                let issuer = Arc::clone(&issuer);
                async move { Ok::<_, Infallible>(respond(&issuer, request).await) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(READ_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a connection to the development issuer ended");
            }
            drop(place);
        });
    }
}

async fn respond(issuer: &DevelopmentIssuer, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match answer(issuer, request).await {
        Ok(body) => (StatusCode::OK, body),
        Err((status, problem)) => (status, json!({"error": "invalid_request", "error_description": problem})),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    response
}

async fn answer(
    issuer: &DevelopmentIssuer,
    request: Request<Incoming>,
) -> Result<Value, (StatusCode, String)> {
    check_origin(request.headers())?;
    let form = match (request.method(), request.uri().path()) {
        (&Method::GET, "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server") => {
            return Ok(issuer.metadata());
        }
        (&Method::GET, "/jwks") => return Ok(issuer.key_document()),
        (&Method::POST, "/rotate") => {
            issuer.rotate().map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
            return Ok(issuer.key_document());
        }
        (&Method::POST, "/token") => read_form(request).await?,
        (&Method::GET | &Method::POST, _) => return refuse(StatusCode::NOT_FOUND, "no such page"),
        _ => return refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST are answered"),
    };
    let bad = |problem: String| (StatusCode::BAD_REQUEST, problem);
    let wanted = token_request(&form).map_err(bad)?;
    let token = issuer.token(&wanted).map_err(bad)?;
    Ok(json!({"access_token": token, "token_type": "Bearer", "expires_in": wanted.lifetime.as_secs()}))
}

fn refuse<T>(status: StatusCode, problem: &str) -> Result<T, (StatusCode, String)> {
    Err((status, problem.to_owned()))
}

/// Keeps web pages out: a name of theirs that resolves to loopback shows in `Host`, a form they post brings
/// an `Origin`.
fn check_origin(headers: &HeaderMap) -> Result<(), (StatusCode, String)> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
        return refuse(StatusCode::BAD_REQUEST, "one `Host` header is needed");
    };
    let authority: Result<http::uri::Authority, _> = host.parse();
    if !authority.is_ok_and(|authority| !host.contains('@') && is_loopback_host(authority.host())) {
        return refuse(StatusCode::FORBIDDEN, "`Host` must be a loopback address");
    }
    if headers.contains_key(header::ORIGIN) {
        return refuse(StatusCode::FORBIDDEN, "requests of web pages are not answered");
    }
    Ok(())
}

async fn read_form(request: Request<Incoming>) -> Result<Vec<(String, String)>, (StatusCode, String)> {
    let kind =
        request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send application/x-www-form-urlencoded");
    }
    let read = Limited::new(request.into_body(), MAX_FORM_BYTES).collect();
    let body = match tokio::time::timeout(READ_TIMEOUT, read).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the form is too large or was cut"),
        Err(_) => return refuse(StatusCode::REQUEST_TIMEOUT, "the form did not arrive in time"),
    };
    Ok(form_urlencoded::parse(&body).into_owned().collect())
}

/// `subject` once; `tenant`, `audience`, `lifetime` at most once; `groups` once a group; `scope` separated by
/// spaces.
fn token_request(form: &[(String, String)]) -> Result<TokenRequest, String> {
    let mut subject = None;
    let mut tenant = None;
    let mut audience = None;
    let mut lifetime = None;
    let mut groups = Vec::new();
    let mut scopes = Vec::new();
    for (name, value) in form {
        let single = match name.as_str() {
            "subject" => &mut subject,
            "tenant" => &mut tenant,
            "audience" => &mut audience,
            "lifetime" => &mut lifetime,
            "groups" => {
                groups.push(value.clone());
                continue;
            }
            "scope" => {
                scopes.extend(value.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned));
                continue;
            }
            _ => {
                return Err(
                    "unknown field; there are `subject`, `tenant`, `groups`, `scope`, `lifetime`, `audience`"
                        .into(),
                );
            }
        };
        if single.replace(value.clone()).is_some() {
            return Err(format!("`{name}` is given twice"));
        }
    }
    let lifetime = match lifetime {
        Some(text) => text.parse::<Period>()?.0,
        None => DEFAULT_LIFETIME,
    };
    Ok(TokenRequest {
        subject: subject.ok_or("`subject` is missing")?,
        tenant,
        groups,
        scopes,
        lifetime,
        audience,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, value.parse().expect("a header value"));
        }
        map
    }

    #[test]
    fn only_programs_of_this_host_are_answered() {
        for host in ["127.0.0.1:9000", "localhost", "LOCALHOST:1", "[::1]:9000", "127.0.0.1"] {
            assert!(check_origin(&headers(&[("host", host)])).is_ok(), "{host}");
        }
        for pairs in [
            &[][..],
            &[("host", "evil.example")],
            &[("host", "127.0.0.1.evil.example:9000")],
            &[("host", "localhost@evil.example")],
            &[("host", "evil.example@localhost")],
            &[("host", "10.0.0.1")],
            &[("host", "")],
            &[("host", "localhost"), ("host", "evil.example")],
            &[("host", "localhost"), ("origin", "http://localhost")],
            &[("host", "localhost"), ("origin", "null")],
        ] {
            assert!(check_origin(&headers(pairs)).is_err(), "{pairs:?}");
        }
    }

    #[test]
    fn a_form_becomes_a_request() {
        let parse = |text: &str| {
            token_request(&form_urlencoded::parse(text.as_bytes()).into_owned().collect::<Vec<_>>())
        };
        let request = parse("subject=alice&tenant=acme&groups=a&groups=b+c&scope=x+y&scope=z&lifetime=5m")
            .expect("good");
        assert_eq!(request.subject, "alice");
        assert_eq!(request.tenant.as_deref(), Some("acme"));
        assert_eq!(request.groups, ["a", "b c"]);
        assert_eq!(request.scopes, ["x", "y", "z"]);
        assert_eq!((request.lifetime, request.audience), (Duration::from_mins(5), None));
        for text in
            ["", "tenant=acme", "subject=a&subject=b", "subject=a&lifetime=soon", "subject=a&role=admin"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
