//! URLs, networks and names of interfaces.

use std::net::IpAddr;

use http::Uri;

use crate::network::Network;

/// A URL is one of `https`, or of `http` to a host that is this host.
///
/// # Errors
/// Why it is not, as the end of a sentence.
pub(super) fn check_url(text: &str) -> Result<Uri, &'static str> {
    let uri: Uri = text.parse().map_err(|_| "it is not a URL")?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err("it does not begin with `https://`");
    };
    if authority.as_str().contains('@') {
        return Err("it holds a user name");
    }
    if authority.host().is_empty() || text.contains('#') {
        return Err("it is not a URL of a host");
    }
    if authority.as_str().len() > authority.host().len() && authority.port_u16().is_none_or(|port| port == 0)
    {
        return Err("its port is not a number from 1 to 65535");
    }
    match scheme {
        "https" => Ok(uri),
        "http" if is_loopback_host(authority.host()) => Ok(uri),
        "http" => Err("`http` is unprotected and accepted for loopback only"),
        _ => Err("its scheme is not `https`"),
    }
}

/// A URL as a message may show it: not at all when it could hold a password.
pub(super) fn shown(url: &str) -> String {
    if url.contains('@') { "this".to_owned() } else { format!("`{}`", crate::yaml::tree::brief(url)) }
}

/// Like [`check_url`], and nothing may follow the authority, not even a slash.
///
/// # Errors
/// Why it is not, as the end of a sentence.
pub(super) fn check_bare_url(text: &str) -> Result<(), &'static str> {
    let uri = check_url(text)?;
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let rest = text.split_once("://").and_then(|(_, rest)| rest.strip_prefix(authority));
    if rest == Some("") { Ok(()) } else { Err("something follows host and port") }
}

/// An origin as browsers send it: scheme, host and, unless it is the scheme's own, port.
///
/// # Errors
/// Why it is not, as the end of a sentence.
pub(super) fn check_origin(text: &str) -> Result<(), &'static str> {
    if text == "*" {
        return Err("a wildcard would let every web page in");
    }
    let uri: Uri = text.parse().map_err(|_| "it is not an origin")?;
    let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err("it does not begin with `https://` or `http://`");
    };
    if text != text.to_ascii_lowercase() {
        return Err("browsers send origins in lower case");
    }
    if authority.as_str().contains('@') || text != format!("{scheme}://{authority}") {
        return Err("something other than host and port is in it");
    }
    match (scheme, authority.port_u16()) {
        ("https", Some(443)) | ("http", Some(80)) => Err("browsers leave out the scheme's own port"),
        (_, None) if authority.as_str().len() > authority.host().len() => Err("its port is not a number"),
        _ => Ok(()),
    }
}

fn is_loopback_host(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(is_loopback)
}

/// True where an address is loopback, also when it is an IPv4 address written as IPv6.
pub(super) fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// An address and the length of its prefix.
///
/// # Errors
/// Why it is not, as the end of a sentence.
pub(super) fn check_cidr(text: &str) -> Result<(), &'static str> {
    text.parse::<Network>().map(drop)
}

/// A name that the kernel accepts for an interface.
pub(super) fn is_interface_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    (1..=15).contains(&name.len()) && name.chars().all(allowed) && name != "." && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for good in [
            "https://a.example",
            "https://a.example:8443/tenant/v2.0",
            "http://127.0.0.1:9000",
            "http://[::1]:1/x",
            "http://localhost/x",
        ] {
            assert!(check_url(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "/path",
            "ftp://a.example",
            "http://a.example",
            "http://127.0.0.1.example",
            "https://user@a.example",
            "https://",
            "https://a.example:99999",
            "https://a.example:0",
            "https://a b",
            "https://a.example/#x",
            "http://10.0.0.1",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
        assert!(check_bare_url("https://a.example:1").is_ok());
        for bad in ["https://a.example/", "https://a.example/x", "https://a.example?x"] {
            assert!(check_bare_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn origins() {
        for good in
            ["https://a.example", "http://a.example:8080", "http://localhost:6274", "http://[::1]:3000"]
        {
            assert!(check_origin(good).is_ok(), "{good}");
        }
        for bad in [
            "*",
            "null",
            "a.example",
            "https://a.example/",
            "https://A.example",
            "https://a.example:443",
            "file://x",
        ] {
            assert!(check_origin(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn networks() {
        for good in ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.1/32", "2001:db8::/32", "::/0", "::1/128"] {
            assert!(check_cidr(good).is_ok(), "{good}");
        }
        for bad in
            ["", "10.0.0.0", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "x/8", "::/-1"]
        {
            assert!(check_cidr(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn interfaces() {
        assert!(
            is_interface_name("eth0") && is_interface_name("enp3s0.100") && is_interface_name("veth-a_b")
        );
        for bad in ["", ".", "..", "a/b", "a b", "a:b", "sixteencharsname", "é"] {
            assert!(!is_interface_name(bad), "{bad}");
        }
    }
}
