//! Where a token is good: its audience, bound to endpoints (RFC 8707, RFC 9068 section 4).
//!
//! Each MCP endpoint of this host is a resource of its own: `…/mcp` is the merged one, `…/mcp/docs` that of
//! one upstream. Only these values of `aud` count, and a token without any of them is meant for somebody
//! else:
//!
//! - a configured audience that is not the URL of one upstream's endpoint: the token is good at all
//!   endpoints;
//! - the URL of one upstream's endpoint, where it is configured itself or the URL of the merged endpoint is:
//!   the token is good at that endpoint alone, not at another one and not at the merged one.
//!
//! URLs are compared letter by letter: an issuer that writes them otherwise than the metadata does is not
//! believed.

use std::fmt;

/// At which endpoints a verified token is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// At all of them.
    Everywhere,
    /// At those of these upstreams.
    Upstreams(Vec<String>),
}

impl Reach {
    /// True where a token of this reach is good at the endpoint of an upstream; `None` is the merged
    /// endpoint.
    pub fn covers(&self, upstream: Option<&str>) -> bool {
        match (self, upstream) {
            (Self::Everywhere, _) => true,
            (Self::Upstreams(_), None) => false,
            (Self::Upstreams(names), Some(upstream)) => names.iter().any(|name| name == upstream),
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere => f.write_str("all endpoints"),
            Self::Upstreams(names) => {
                for (index, name) in names.iter().enumerate() {
                    let comma = if index > 0 { ", " } else { "" };
                    write!(f, "{comma}/mcp/{}", name.escape_debug())?;
                }
                Ok(())
            }
        }
    }
}

/// The audiences of one issuer's tokens that are let in.
#[derive(Debug)]
pub(crate) struct Audience {
    /// Those that are good at all endpoints.
    everywhere: Vec<String>,
    /// The upstreams whose endpoints are configured by their own URLs.
    upstreams: Vec<String>,
    /// The URL of the merged endpoint.
    merged: String,
}

impl Audience {
    /// `base_url` is the URL of this host without a path.
    pub(crate) fn new(configured: &[String], base_url: &str) -> Self {
        let merged = format!("{base_url}/mcp");
        let (mut everywhere, mut upstreams) = (Vec::new(), Vec::new());
        for audience in configured {
            match upstream_of(&merged, audience) {
                Some(upstream) => upstreams.push(upstream.to_owned()),
                None => everywhere.push(audience.clone()),
            }
        }
        Self { everywhere, upstreams, merged }
    }

    /// Where a token with these values of `aud` is good; `None` where it is meant for others.
    pub(crate) fn reach(&self, audience: &[String]) -> Option<Reach> {
        if audience.iter().any(|one| self.everywhere.contains(one)) {
            return Some(Reach::Everywhere);
        }
        let all = self.everywhere.contains(&self.merged);
        let names = audience.iter().filter_map(|one| upstream_of(&self.merged, one));
        let names: Vec<String> = names
            .filter(|name| all || self.upstreams.iter().any(|known| known == name))
            .map(str::to_owned)
            .collect();
        if names.is_empty() { None } else { Some(Reach::Upstreams(names)) }
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ends = self.upstreams.iter().map(|upstream| format!("{}/{upstream}", self.merged));
        f.write_str(&self.everywhere.iter().cloned().chain(ends).collect::<Vec<_>>().join(", "))
    }
}

/// The upstream whose endpoint has this URL.
fn upstream_of<'a>(merged: &str, url: &'a str) -> Option<&'a str> {
    let name = url.strip_prefix(merged)?.strip_prefix('/')?;
    if name.is_empty() || name.contains('/') { None } else { Some(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "https://airlock.example";

    fn reach(configured: &[&str], token: &[&str]) -> Option<Reach> {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        Audience::new(&owned(configured), BASE).reach(&owned(token))
    }

    fn only(names: &[&str]) -> Reach {
        Reach::Upstreams(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_audience_is_bound_to_its_endpoint() {
        let (merged, docs, code) = (
            "https://airlock.example/mcp",
            "https://airlock.example/mcp/docs",
            "https://airlock.example/mcp/code",
        );
        for (configured, token, expected) in [
            (&[merged][..], &[merged][..], Some(Reach::Everywhere)),
            (&["api://airlock"], &["api://airlock"], Some(Reach::Everywhere)),
            (&["api://airlock"], &["x", "api://airlock", docs], Some(Reach::Everywhere)),
            (&[merged], &[docs], Some(only(&["docs"]))),
            (&[merged], &[docs, code, "x"], Some(only(&["docs", "code"]))),
            (&[docs], &[docs, code], Some(only(&["docs"]))),
            (&[docs, "api://airlock"], &["api://airlock"], Some(Reach::Everywhere)),
            // Whoever lists only names of its own has not let the URLs in.
            (&["api://airlock"], &[docs], None),
            (&["api://airlock"], &[merged], None),
            (&[docs], &[merged], None),
            (&[docs], &[code], None),
            (&[merged], &[], None),
            (&[merged], &["https://airlock.example"], None),
            (&[merged], &["https://airlock.example/mcp/"], None),
            (&[merged], &["https://airlock.example/mcp/docs/x"], None),
            (&[merged], &["https://airlock.example/mcpx"], None),
            (&[merged], &["https://AIRLOCK.example/mcp"], None),
            (&[merged], &["https://airlock.example:443/mcp/docs"], None),
            (&[merged], &["https://evil.example/mcp/docs"], None),
            (&[merged], &["https://airlock.example.evil.example/mcp/docs"], None),
        ] {
            assert_eq!(reach(configured, token), expected, "{configured:?} {token:?}");
        }
    }

    #[test]
    fn reach_is_closed_to_what_is_not_named() {
        let docs = only(&["docs"]);
        assert!(docs.covers(Some("docs")));
        for upstream in [None, Some("code"), Some("doc"), Some("docs2"), Some("")] {
            assert!(!docs.covers(upstream), "{upstream:?}");
        }
        assert!(Reach::Everywhere.covers(None) && Reach::Everywhere.covers(Some("docs")));
        // A name that could not be an upstream's shows no line end in the log.
        assert_eq!(only(&["a\nb"]).to_string(), "/mcp/a\\nb");
    }
}
