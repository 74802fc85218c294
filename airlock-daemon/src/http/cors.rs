//! Web pages that may call from a browser: the requests that the browser lets them make, and the answers that
//! it lets them read (Fetch standard, "CORS protocol").
//!
//! Pages of `server.allowed_origins` may do what any client may. The metadata is for everybody, as it stands.
//! A page of anybody else is told nothing, and its browser keeps the answer from it. No answer allows
//! credentials: a token is in a header that the page itself writes, and cookies mean nothing here.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::pipeline::origin::Origins;

use super::body::Body;
use super::metadata;

/// Methods that a page may use.
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
/// Headers that a page may send. Those of the protocol are in [`OF_THE_PROTOCOL`].
const HEADERS: &str = "authorization, content-type, accept, last-event-id, dpop, traceparent, tracestate, mcp-protocol-version, mcp-session-id, \
                       mcp-method, mcp-name";
/// The beginning of the names of the protocol's headers: `Mcp-Param-…` may end in anything (2026-07-28,
/// "Custom headers").
const OF_THE_PROTOCOL: &str = "mcp-";
/// Headers of answers that a page may read besides those that any page may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Mcp-Session-Id, WWW-Authenticate, X-Correlation-Id, Retry-After, DPoP-Nonce, Allow",
);
/// Seconds for which a browser need not ask again. No browser keeps it longer than a day, and Chromium two
/// hours.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
/// The answer is the page's alone.
const VARIES: HeaderValue = HeaderValue::from_static("Origin");
/// So is that to a browser's own request, which also names headers.
const VARIES_WITH_HEADERS: HeaderValue = HeaderValue::from_static("Origin, Access-Control-Request-Headers");
/// For every page.
const ANY: HeaderValue = HeaderValue::from_static("*");

/// The pages that may read the answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Readers {
    /// Their origin, or [`ANY`].
    origin: Option<HeaderValue>,
    /// Those of another origin might read the answer to the same request, or might not.
    varies: bool,
}

impl Readers {
    /// The readers of the answer to this request.
    pub(super) fn of<B>(origins: &Origins, request: &Request<B>) -> Self {
        if is_for_all(request.uri().path()) {
            return Self { origin: Some(ANY), varies: false };
        }
        let origin = origins.page(request.headers()).cloned();
        Self { origin, varies: origins.lets_pages_in() }
    }

    /// Tells the browser, whatever the answer is.
    pub(super) fn tell(self, response: &mut Response<Body>) {
        let headers = response.headers_mut();
        if self.varies {
            headers.entry(VARY).or_insert(VARIES);
        }
        if let Some(origin) = self.origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        }
    }
}

/// True where every page may read what is at a path: the metadata of the endpoints.
pub(super) fn is_for_all(path: &str) -> bool {
    path.starts_with(metadata::PREFIX)
}

/// True for a request by which a browser asks what a page may do, before it lets the page do it.
pub(super) fn is_preflight<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to it, for a page that may. It is given also for a path at which there is nothing, so that the
/// page can read just that.
pub(super) fn preflight(headers: &HeaderMap) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let told = response.headers_mut();
    told.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    if let Ok(allowed) = HeaderValue::from_str(&allowed(headers)) {
        told.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    told.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    told.insert(VARY, VARIES_WITH_HEADERS);
    response
}

/// The headers that a page may send, with those of the protocol that the browser names.
fn allowed(headers: &HeaderMap) -> String {
    let named =
        headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter().filter_map(|value| value.to_str().ok());
    let named = named.flat_map(|value| value.split(',')).map(|name| name.trim().to_ascii_lowercase());
    let more = named.filter(|name| {
        name.starts_with(OF_THE_PROTOCOL)
            && http::HeaderName::from_bytes(name.as_bytes()).is_ok()
            && !HEADERS.split(", ").any(|known| known == name)
    });
    more.fold(HEADERS.to_owned(), |text, name| text + ", " + &name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::Server;

    const PAGE: &str = "https://app.example";

    fn request(path: &str, origin: Option<&str>) -> Request<()> {
        let builder = Request::builder().uri(path);
        let builder = match origin {
            Some(origin) => builder.header(ORIGIN, origin),
            None => builder,
        };
        builder.body(()).expect("a request")
    }

    fn origins(allowed: &[&str]) -> Origins {
        let allowed_origins = allowed.iter().map(|&origin| origin.to_owned()).collect();
        Origins::new(&Server { allowed_origins, ..Server::default() })
    }

    #[test]
    fn an_answer_says_which_pages_may_read_it() {
        let told = |origins: &Origins, path: &str, origin| {
            let mut response = Response::new(Body::empty());
            Readers::of(origins, &request(path, origin)).tell(&mut response);
            let headers = response.headers();
            let is_exposed = headers.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS);
            assert_eq!(headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN), is_exposed);
            let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
            (text(ACCESS_CONTROL_ALLOW_ORIGIN), text(VARY))
        };
        let (some, none) = (origins(&[PAGE]), origins(&[]));
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(told(&some, "/mcp", Some(PAGE)), (text(PAGE), text("Origin")));
        for origin in [None, Some("https://evil.example"), Some("null"), Some("https://app.example.evil")] {
            assert_eq!(told(&some, "/mcp", origin), (None, text("Origin")), "{origin:?}");
            assert_eq!(told(&none, "/mcp", origin), (None, None), "{origin:?}");
            let metadata = format!("{}/mcp", metadata::PREFIX);
            assert_eq!(told(&some, &metadata, origin), (text("*"), None), "{origin:?}");
        }
        let mut two = request("/mcp", Some(PAGE));
        two.headers_mut().append(ORIGIN, HeaderValue::from_static(PAGE));
        assert_eq!(Readers::of(&some, &two).origin, None);
    }

    #[test]
    fn of_the_headers_that_are_asked_for_those_of_the_protocol_are_allowed() {
        let mut headers = HeaderMap::new();
        let asked = "authorization,mcp-param-region, Mcp-Param-Zone ,mcp-method,x-else,cookie,mcp-a b";
        headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static(asked));
        assert_eq!(allowed(&headers), format!("{HEADERS}, mcp-param-region, mcp-param-zone"));
    }
}
