//! The choice of the upstream. At `/mcp/{upstream}` names are the upstream's own; at `/mcp` they say whose
//! they are ([`naming`]).

use std::sync::Arc;

use http::StatusCode;

use crate::mcp::capability::Capability;
use crate::mcp::error::code;
use crate::mcp::revision::{Era, Revision};
use crate::upstream::pool::{Upstream, Upstreams};

use super::Refusal;
use super::methods::kind::{Call, Noun, Subject, Target, in_quotes, quoted};
use super::methods::{kind, naming};
use super::request::asked::Asked;
use crate::stage::Stage;

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

/// The server of a message, and the name that is left of its target there; no server where the message is for
/// all of them, or for Airlock itself.
///
/// # Errors
/// 404 for an endpoint that names no server; for a target that is no server's, an answer like any other.
pub fn server<'a, 'n>(
    upstreams: &'a Upstreams,
    endpoint: &Endpoint,
    asked: &Asked<'_>,
    subject: Option<&'n Subject<'_>>,
    revision: Revision,
) -> Result<Option<(&'a Arc<Upstream>, &'n str)>, Refusal> {
    if let Some(Subject { noun, name }) = subject {
        let found = endpoint.target(upstreams, *noun, name)?;
        return found.map(Some).ok_or_else(|| unknown(*noun, name, revision));
    }
    match (endpoint.upstream(upstreams)?, asked) {
        (_, Asked::Own(_)) => Ok(None),
        (None, Asked::Call(..)) => Err(one_only()),
        (one, _) => Ok(one.map(|upstream| (upstream, ""))),
    }
}

/// Checks that a server offers what a message needs; of a server that was never reached, the call itself will
/// tell. Where the message is for all servers, one of them must offer it.
///
/// # Errors
/// The refusal of a method that is not served, or of a task that is not carried across.
pub fn offered(
    upstreams: &Upstreams,
    asked: &Asked<'_>,
    upstream: Option<&Arc<Upstream>>,
    revision: Revision,
) -> Result<(), Refusal> {
    let Some(needs) = asked.needs() else { return Ok(()) };
    let has = |upstream: &Upstream| {
        upstream.facts_for(revision.era()).map(|facts| kind::offered(needs, &facts, revision))
    };
    let is_offered = match (asked, upstream) {
        (Asked::Call(kind, _), Some(upstream)) => {
            if known(kind, needs, upstream, revision) == Some(false) {
                return Err(lacking(kind, needs, revision));
            }
            true
        }
        // The level is kept for the servers that are known to take one.
        (Asked::Level, Some(upstream)) => has(upstream) == Some(true),
        (Asked::Level, None) => upstreams.iter().any(|upstream| has(upstream) == Some(true)),
        (_, Some(upstream)) => has(upstream) != Some(false),
        (_, None) => true,
    };
    if is_offered { Ok(()) } else { Err(not_offered(asked.method(), revision)) }
}

/// The refusal of parameters that name no clear target, or that lead nowhere.
pub fn invalid(reason: impl Into<String>) -> Refusal {
    Refusal::new(Stage::Route, StatusCode::BAD_REQUEST, reason).code(code::INVALID_PARAMS)
}

/// The refusal of a call without a target at the merged endpoint.
pub fn one_only() -> Refusal {
    invalid("this is sent to one server only")
}

/// The refusal for a name that is no upstream's: an answer like any other, with the code of the client's era.
pub fn unknown(noun: Noun, name: &str, revision: Revision) -> Refusal {
    let code = match (noun, revision.era()) {
        (Noun::Resource, Era::Legacy) => code::LEGACY_RESOURCE_NOT_FOUND,
        _ => code::INVALID_PARAMS,
    };
    let reason = match noun {
        // A made-up task and somebody else's are refused by the same words.
        Noun::Task => "there is no such task".to_owned(),
        _ => format!("there is no {} {} here", noun.word(), quoted(noun, name)),
    };
    Refusal::new(Stage::Route, StatusCode::OK, reason).code(code)
}

/// The refusal for a method that is not served: 404 in the modern era, but to a legacy client that would mean
/// that its session is gone.
pub fn not_offered(method: &str, revision: Revision) -> Refusal {
    let status = match revision.era() {
        Era::Modern => StatusCode::NOT_FOUND,
        Era::Legacy => StatusCode::OK,
    };
    let reason = format!("the method `{}` is not served here", method.chars().take(64).collect::<String>());
    Refusal::new(Stage::Route, status, reason).code(code::METHOD_NOT_FOUND)
}

/// The refusal of a cursor: another principal's, another list's, one of before a restart, or a made up one.
pub fn no_cursor(revision: Revision) -> Refusal {
    let mut refusal =
        invalid("the cursor is not one that was given out here for this list: begin without one");
    // To a legacy client every other status means trouble with the transport.
    if revision.era() == Era::Legacy {
        refusal.status = StatusCode::OK;
    }
    refusal
}

/// True for a request that has to do with tasks.
pub fn concerns(kind: &Call, needs: Capability) -> bool {
    needs != kind.capability || matches!(kind.target, Target::Member(Noun::Task, _))
}

/// True where the upstream is known to have what a request of a client of this revision needs, or where the
/// call itself will tell. `None` where only the server can say: tasks of one era mean nothing in the other,
/// so it is asked first, after the record.
pub fn known(kind: &Call, needs: Capability, upstream: &Upstream, client: Revision) -> Option<bool> {
    if kind.era.is_some_and(|era| era != client.era()) {
        return Some(false);
    }
    match upstream.facts_for(client.era()) {
        Some(facts) => Some(kind::offered(needs, &facts, client)),
        None => (!concerns(kind, needs)).then_some(true),
    }
}

/// The refusal of what the server does not have for this client.
pub fn lacking(kind: &Call, needs: Capability, client: Revision) -> Refusal {
    if needs == kind.capability {
        return not_offered(kind.method, client);
    }
    invalid("`params.task` is not carried across")
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
