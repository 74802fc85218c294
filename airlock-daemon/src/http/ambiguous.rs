//! Requests that somebody else on the way may read differently, as far as hyper shows it: refused, whatever
//! they ask for.

use http::header::{HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Request, Uri};

/// Why a request is not clear; none when it is.
pub(super) fn doubt<B>(request: &Request<B>) -> Option<&'static str> {
    coding(request.headers()).or_else(|| target(request.uri(), request.headers()))
}

/// `chunked`, once, is the one transfer coding that is taken off here. With any other around it, or twice,
/// the body would not be what its reader takes it for (RFC 9112, section 6.1).
fn coding(headers: &HeaderMap) -> Option<&'static str> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let only = codings.next()?;
    let is_chunked = only.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked");
    (!is_chunked || codings.next().is_some())
        .then_some("the only Transfer-Encoding that is served is `chunked`, once")
}

/// A host is a host, and this is HTTP (RFC 9110, sections 4.2.4 and 7.1; RFC 9113, section 8.3.1).
fn target(uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let is_http = |scheme: &str| ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    if uri.scheme_str().is_some_and(|scheme| !is_http(scheme)) {
        return Some("the scheme of the target is not `http` or `https`");
    }
    let names_a_user = uri.authority().is_some_and(|authority| authority.as_str().contains('@'))
        || headers.get_all(HOST).iter().any(|host| host.as_bytes().contains(&b'@'));
    names_a_user.then_some("the host has user information before it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doubtful(target: &str, headers: &[(&str, &str)]) -> bool {
        let builder = headers
            .iter()
            .fold(Request::builder().uri(target), |builder, (name, value)| builder.header(*name, *value));
        doubt(&builder.body(()).expect("a request")).is_some()
    }

    #[test]
    fn one_coding_is_clear() {
        for good in ["chunked", "Chunked", " chunked\t"] {
            assert!(!doubtful("/mcp", &[("transfer-encoding", good)]), "{good}");
        }
        for bad in ["gzip, chunked", "chunked, chunked", "chunked,", "identity", "gzip", ""] {
            assert!(doubtful("/mcp", &[("transfer-encoding", bad)]), "{bad}");
        }
        assert!(doubtful("/mcp", &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]));
    }

    #[test]
    fn a_host_is_a_host_and_a_scheme_is_http() {
        assert!(!doubtful("/mcp", &[("host", "localhost:8080")]));
        assert!(!doubtful("HTTPS://localhost/mcp", &[("host", "localhost")]));
        for host in ["me@localhost", "me:secret@localhost:8080", "@localhost"] {
            assert!(doubtful("/mcp", &[("host", host)]), "{host}");
        }
        for target in ["http://me@localhost/mcp", "ftp://localhost/mcp", "ws://localhost/mcp"] {
            assert!(doubtful(target, &[]), "{target}");
        }
    }
}
