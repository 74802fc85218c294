//! Which upstream? At `/mcp/{upstream}` names are the upstream's own; at `/mcp` they say whose they are ([`naming`]).

use std::sync::Arc;

use http::StatusCode;

use crate::upstream::pool::{Upstream, Upstreams};

use super::kind::{Noun, in_quotes};
use super::{Refusal, Stage, naming};

/// Where a request was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `/mcp`.
    Merged,
    /// `/mcp/{upstream}`.
    One(String),
}

impl Endpoint {
    /// Reads a path, with or without a slash at its end; `None` when it is no MCP endpoint.
    pub fn parse(path: &str) -> Option<Self> {
        let rest = path.strip_suffix('/').unwrap_or(path).strip_prefix("/mcp")?;
        match rest.strip_prefix('/') {
            None if rest.is_empty() => Some(Self::Merged),
            Some(name) if !name.is_empty() && !name.contains('/') => Some(Self::One(name.to_owned())),
            _ => None,
        }
    }

    /// The endpoint's path, without a slash at its end.
    pub fn path(&self) -> String {
        match self {
            Self::Merged => "/mcp".to_owned(),
            Self::One(name) => format!("/mcp/{name}"),
        }
    }

    /// The upstream that the endpoint names, `None` for the merged one.
    ///
    /// # Errors
    /// 404 when there is no such upstream.
    pub fn upstream<'a>(&self, upstreams: &'a Upstreams) -> Result<Option<&'a Arc<Upstream>>, Refusal> {
        match self {
            Self::Merged => Ok(None),
            // The client has said the name; which others there are is not for everybody.
            Self::One(name) => upstreams.get(name).map(Some).ok_or_else(|| {
                let reason = format!(
                    "there is no server {} here: `/mcp/NAME` is one server, `/mcp` all of them",
                    in_quotes(name)
                );
                Refusal::new(Stage::Route, StatusCode::NOT_FOUND, reason)
            }),
        }
    }

    /// The upstream of something that a client names, and the upstream's own name for it.
    ///
    /// # Errors
    /// 404 when the endpoint names no upstream; `None` when the client's name does not.
    pub fn target<'a, 'n>(
        &self,
        upstreams: &'a Upstreams,
        noun: Noun,
        name: &'n str,
    ) -> Result<Option<(&'a Arc<Upstream>, &'n str)>, Refusal> {
        if let Some(upstream) = self.upstream(upstreams)? {
            return Ok(Some((upstream, name)));
        }
        Ok(naming::own(noun, name).and_then(|(upstream, own)| Some((upstreams.get(upstream)?, own))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read() {
        assert_eq!(Endpoint::parse("/mcp"), Some(Endpoint::Merged));
        assert_eq!(Endpoint::parse("/mcp/"), Some(Endpoint::Merged));
        for path in ["/mcp/docs", "/mcp/docs/"] {
            let docs = Endpoint::parse(path).expect(path);
            assert_eq!((&docs, docs.path().as_str()), (&Endpoint::One("docs".into()), "/mcp/docs"));
        }
        for path in [
            "",
            "/",
            "/mcp//",
            "/mcpx",
            "/mcpx/",
            "/mcp//docs",
            "/mcp/docs//",
            "/mcp/docs/x",
            "/MCP",
            "//mcp",
        ] {
            assert_eq!(Endpoint::parse(path), None, "{path}");
        }
    }
}
