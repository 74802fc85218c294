//! The check of `Origin` and `Host`: may this connection speak at all? It comes before anything that costs
//! something.
//!
//! A browser that was lured to a page of an attacker's can send requests to any address it can reach. Its
//! `Origin` gives it away; where a name was bound to our address for the purpose (DNS rebinding), the `Host`
//! does.
//!
//! A lured client is no offender: requests that a third party can have somebody's browser send are refused
//! and limited, and never held against the address that they come from.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

use crate::config::schema::{Config, Server};

use super::Refusal;
use crate::stage::Stage;

/// `Sec-Fetch-Site`.
const SEC_FETCH_SITE: http::HeaderName = http::HeaderName::from_static("sec-fetch-site");

/// Which origins and hosts are let in.
#[derive(Debug, Clone, Default)]
pub struct Origins {
    allowed: Vec<String>,
    /// The names of this host, in lower case.
    names: Vec<String>,
    /// The key that adds one.
    key: &'static str,
}

impl Origins {
    /// The origins of the main door, from the configuration.
    pub fn new(server: &Server) -> Self {
        let uri = server.public_url.as_deref().and_then(|url| url.parse::<Uri>().ok());
        let own = uri.and_then(|uri| uri.host().map(str::to_ascii_lowercase));
        let names =
            own.into_iter().chain(server.hosts.iter().map(|name| name.to_ascii_lowercase())).collect();
        Self { allowed: server.allowed_origins.clone(), names, key: "server.hosts" }
    }

    /// The origins and names of the metrics listener: no web page, and besides the names of the main door the
    /// one that the system has, and those of `observability.metrics_hosts`.
    pub fn of_metrics(config: &Config) -> Self {
        let mut names = Self::new(&config.server).names;
        let system = rustix::system::uname();
        names.push(system.nodename().to_string_lossy().to_ascii_lowercase());
        names.extend(config.observability.metrics_hosts.iter().map(|name| name.to_ascii_lowercase()));
        Self { allowed: Vec::new(), names, key: "observability.metrics_hosts" }
    }

    /// Checks the head of a request.
    ///
    /// # Errors
    /// 403 for an origin or a host that is not let in, 400 for a malformed host.
    pub fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        self.origin(headers)?;
        self.host(uri, headers)
    }

    /// Checks which web page a request comes from, if any.
    ///
    /// # Errors
    /// 403 for one that is not let in.
    pub fn origin(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if !self.is_lured(headers) {
            return Ok(());
        }
        let reason = "requests from web pages of this origin are not allowed (server.allowed_origins)";
        Err(Refusal::new(Stage::Origin, StatusCode::FORBIDDEN, reason))
    }

    /// True where a browser says that a web page which is not let in had it send this: by `Origin`, or, where
    /// requests go without one as that for an image does, by `Sec-Fetch-Site` (W3C Fetch Metadata). A client
    /// that sends neither is no browser, or one that was told the address by its user.
    pub fn is_lured(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(ORIGIN).iter().peekable();
        if origins.peek().is_some() {
            let is_known = |origin: &HeaderValue| self.allowed.iter().any(|allowed| origin == allowed);
            return !origins.all(is_known);
        }
        headers.get_all(SEC_FETCH_SITE).iter().any(|site| site != "none" && site != "same-origin")
    }

    /// The origin of the web page that a request comes from, where it is let in.
    pub fn page<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        let mut origins = headers.get_all(ORIGIN).iter();
        let page = origins.next().filter(|_| origins.next().is_none())?;
        self.allowed.iter().any(|allowed| page == allowed).then_some(page)
    }

    /// True where web pages of some origin are let in.
    pub const fn lets_pages_in(&self) -> bool {
        !self.allowed.is_empty()
    }

    fn host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let bad = |reason: &str| Refusal::new(Stage::Origin, StatusCode::BAD_REQUEST, reason);
        let mut hosts = headers.get_all(HOST).iter();
        let named = hosts
            .next()
            .map(|host| host.to_str().map_err(|_| bad("the Host header is malformed")))
            .transpose()?;
        if hosts.next().is_some() {
            return Err(bad("the Host header is repeated"));
        }
        let authority = match (uri.authority(), named) {
            // A reader of the one and a reader of the other must see the same (RFC 9113, section 8.3.1).
            (Some(authority), Some(named)) if !authority.as_str().eq_ignore_ascii_case(named) => {
                return Err(bad("the Host header contradicts the target of the request"));
            }
            (Some(authority), _) => authority.clone(),
            (None, Some(named)) => named.parse().map_err(|_| bad("the Host header is malformed"))?,
            (None, None) => return Err(bad("the Host header is missing")),
        };
        let host = authority.host().to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        // An address cannot be rebound; a name can, so only ours will do.
        if address.is_ok() || host == "localhost" || self.names.contains(&host) {
            Ok(())
        } else {
            let reason = format!("this host name is not served here ({})", self.key);
            Err(Refusal::new(Stage::Origin, StatusCode::FORBIDDEN, reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(headers: &[(http::HeaderName, &str)]) -> Result<(), StatusCode> {
        let server = Server {
            public_url: Some("https://Airlock.example.com".into()),
            hosts: vec!["Airlock.corp".into()],
            allowed_origins: vec!["https://console.example.com".into()],
            ..Server::default()
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_str(value).expect("a header value"));
        }
        Origins::new(&server).admit(&Uri::from_static("/mcp"), &map).map_err(|refusal| refusal.status)
    }

    #[test]
    fn our_own_names_and_allowed_origins_pass() {
        for host in [
            "airlock.example.com",
            "AIRLOCK.example.com:443",
            "airlock.corp",
            "AIRLOCK.CORP:8443",
            "localhost:8080",
            "127.0.0.1:8080",
            "[::1]:8080",
        ] {
            assert_eq!(status(&[(HOST, host)]), Ok(()), "{host}");
        }
        assert_eq!(status(&[(HOST, "localhost"), (ORIGIN, "https://console.example.com")]), Ok(()));
    }

    #[test]
    fn a_rebound_name_and_a_strange_origin_do_not() {
        for host in ["evil.example", "corp", "x.airlock.corp", "airlock.corp.evil.example"] {
            assert_eq!(status(&[(HOST, host)]), Err(StatusCode::FORBIDDEN), "{host}");
        }
        assert_eq!(status(&[(HOST, "airlock.example.com.evil.example")]), Err(StatusCode::FORBIDDEN));
        assert_eq!(
            status(&[(HOST, "localhost"), (ORIGIN, "https://evil.example")]),
            Err(StatusCode::FORBIDDEN)
        );
        assert_eq!(status(&[(HOST, "localhost"), (ORIGIN, "null")]), Err(StatusCode::FORBIDDEN));
        assert_eq!(
            status(&[
                (HOST, "localhost"),
                (ORIGIN, "https://console.example.com"),
                (ORIGIN, "https://evil.example")
            ]),
            Err(StatusCode::FORBIDDEN)
        );
    }

    #[test]
    fn a_browser_that_another_page_lured_is_told_by_its_words() {
        let lured = |headers: &[(http::HeaderName, &'static str)]| {
            let server = Server { allowed_origins: vec!["https://a.example".into()], ..Server::default() };
            let map = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
            Origins::new(&server).is_lured(&map.collect())
        };
        for site in ["cross-site", "same-site", "anything"] {
            assert!(lured(&[(SEC_FETCH_SITE, site)]), "{site}");
            assert!(!lured(&[(SEC_FETCH_SITE, site), (ORIGIN, "https://a.example")]), "{site}");
        }
        assert!(lured(&[(ORIGIN, "https://evil.example")]) && lured(&[(ORIGIN, "null")]));
        for site in ["none", "same-origin"] {
            assert!(!lured(&[(SEC_FETCH_SITE, site)]), "{site}");
            assert!(lured(&[(SEC_FETCH_SITE, site), (ORIGIN, "https://evil.example")]), "{site}");
        }
        assert!(!lured(&[]));
    }

    #[test]
    fn who_scrapes_may_name_this_host_as_it_is_known() {
        let mut config = Config::default();
        config.observability.metrics_hosts = vec!["Metrics.internal.example".to_owned()];
        let origins = Origins::of_metrics(&config);
        let status = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().expect("a value"));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().expect("a value"));
            }
            origins.admit(&Uri::from_static("/metrics"), &headers).map_err(|refusal| refusal.status)
        };
        let system = rustix::system::uname();
        let own = system.nodename().to_string_lossy().into_owned();
        for host in ["127.0.0.1:9464", "[::1]:9464", "localhost:9464", "metrics.internal.example:9464", &own]
        {
            assert_eq!(status(host, None), Ok(()), "{host}");
            assert_eq!(status(host, Some("https://evil.example")), Err(StatusCode::FORBIDDEN), "{host}");
        }
        assert_eq!(status("evil.example:9464", None), Err(StatusCode::FORBIDDEN));
    }

    #[test]
    fn an_unclear_host_is_a_bad_request() {
        assert_eq!(status(&[]), Err(StatusCode::BAD_REQUEST));
        assert_eq!(status(&[(HOST, "localhost"), (HOST, "localhost")]), Err(StatusCode::BAD_REQUEST));
        assert_eq!(status(&[(HOST, "a b")]), Err(StatusCode::BAD_REQUEST));
        let aimed = |host: &'static str| {
            let headers = HeaderMap::from_iter([(HOST, HeaderValue::from_static(host))]);
            let target = Uri::from_static("https://localhost:8080/mcp");
            Origins::new(&Server::default()).admit(&target, &headers).map_err(|refusal| refusal.status)
        };
        assert_eq!(aimed("LOCALHOST:8080"), Ok(()));
        assert_eq!(aimed("localhost"), Err(StatusCode::BAD_REQUEST));
    }
}
