//! For whom, or where, a stop holds.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::audit::records::hash::parse_hash;
use crate::auth::principal::Principal;
use crate::observe::escape::steers;

/// Longest name, in bytes.
pub const MAX_NAME: usize = 1_024;

/// The prefix of a token's digest, before 64 hexadecimal digits.
const DIGEST: &str = "sha256:";

/// The things that can be stopped; the first one that covers a request is the one that refuses it. Its JSON
/// form is a stable contract, in the state file and on the admin interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum StopTarget {
    /// Everything, for everybody.
    All {},
    /// All principals of a tenant, of whichever issuer.
    Tenant {
        /// The tenant, as the issuer's claim names it.
        tenant: String,
    },
    /// A principal, of whichever issuer.
    Principal {
        /// The subject of its tokens.
        principal: String,
        /// Its tenant; none for that subject in every tenant.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tenant: Option<String>,
    },
    /// One token.
    Token {
        /// The claim `jti`, or `sha256:` and the digest of the whole token.
        token: String,
    },
    /// A server.
    Upstream {
        /// Its name.
        upstream: String,
    },
    /// A tool of a server.
    Tool {
        /// The name of the server.
        upstream: String,
        /// The server's own name of the tool.
        tool: String,
    },
}

/// The things that a stop may cover: a request, a stream or something that is shown.
#[derive(Debug, Clone, Copy)]
pub struct Matter<'a> {
    /// For whom.
    pub principal: &'a Principal,
    /// The server, where it is one's.
    pub upstream: Option<&'a str>,
    /// The tool, by the server's own name, where it is one.
    pub tool: Option<&'a str>,
}

/// The fault of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// Nothing has such a name.
    #[error(
        "a name has to be between 1 and {MAX_NAME} bytes, without control characters: copy it from the token, \
         the configuration or the audit log"
    )]
    Name,
    /// The digest is none.
    #[error(
        "the digest of a token is `{DIGEST}` and 64 small hexadecimal digits: `printf %s TOKEN | sha256sum` \
         gives them"
    )]
    Digest,
}

impl StopTarget {
    /// The names of the kinds, in the order in which they refuse.
    pub const KINDS: [&str; 6] = ["all", "tenant", "principal", "token", "upstream", "tool"];

    /// The name of its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::All {} => "all",
            Self::Tenant { .. } => "tenant",
            Self::Principal { .. } => "principal",
            Self::Token { .. } => "token",
            Self::Upstream { .. } => "upstream",
            Self::Tool { .. } => "tool",
        }
    }

    /// The same for those whom it reaches: it names nobody and nothing.
    pub const fn told(&self) -> &'static str {
        match self {
            Self::All {} => "everything here",
            Self::Tenant { .. } => "this tenant",
            Self::Principal { .. } => "this account",
            Self::Token { .. } => "this token",
            Self::Upstream { .. } => "this server",
            Self::Tool { .. } => "this tool",
        }
    }

    /// True where somebody's right has ended; false where something is out of service for everybody.
    pub const fn ends_a_right(&self) -> bool {
        matches!(self, Self::Tenant { .. } | Self::Principal { .. } | Self::Token { .. })
    }

    /// The server that it names.
    pub fn upstream(&self) -> Option<&str> {
        match self {
            Self::Upstream { upstream } | Self::Tool { upstream, .. } => Some(upstream),
            _ => None,
        }
    }

    /// True where the stop reaches this.
    pub fn covers(&self, matter: &Matter<'_>) -> bool {
        let of_tenant = |tenant: &str| matter.principal.tenant.as_deref() == Some(tenant);
        match self {
            Self::All {} => true,
            Self::Tenant { tenant } => of_tenant(tenant),
            Self::Principal { principal, tenant } => {
                matter.principal.subject == *principal && tenant.as_deref().is_none_or(of_tenant)
            }
            Self::Token { token } => {
                let jti = matter.principal.claims.get("jti").and_then(serde_json::Value::as_str);
                let digest = token.strip_prefix(DIGEST).zip(matter.principal.token_digest());
                jti == Some(token) || digest.is_some_and(|(text, digest)| parse_hash(text) == Some(*digest))
            }
            Self::Upstream { upstream } => matter.upstream == Some(upstream),
            Self::Tool { upstream, tool } => {
                matter.upstream == Some(upstream) && matter.tool == Some(tool.as_str())
            }
        }
    }

    /// Checks its names.
    ///
    /// # Errors
    /// A name that nothing can have.
    pub fn check(&self) -> Result<(), TargetFault> {
        let names: [Option<&str>; 2] = match self {
            Self::All {} => [None, None],
            Self::Tenant { tenant } => [Some(tenant), None],
            Self::Principal { principal, tenant } => [Some(principal), tenant.as_deref()],
            Self::Token { token } => [Some(token), None],
            Self::Upstream { upstream } => [Some(upstream), None],
            Self::Tool { upstream, tool } => [Some(upstream), Some(tool)],
        };
        let good = |name: &str| (1..=MAX_NAME).contains(&name.len()) && !name.contains(steers);
        if !names.into_iter().flatten().all(good) {
            return Err(TargetFault::Name);
        }
        match self {
            Self::Token { token }
                if token.strip_prefix(DIGEST).is_some_and(|text| parse_hash(text).is_none()) =>
            {
                Err(TargetFault::Digest)
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for StopTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All {} => f.write_str("everything"),
            Self::Tenant { tenant } => write!(f, "tenant {tenant}"),
            Self::Principal { principal, tenant: None } => write!(f, "principal {principal}"),
            Self::Principal { principal, tenant: Some(tenant) } => {
                write!(f, "principal {principal} of tenant {tenant}")
            }
            Self::Token { token } => write!(f, "token {token}"),
            Self::Upstream { upstream } => write!(f, "upstream {upstream}"),
            Self::Tool { upstream, tool } => write!(f, "tool {upstream}/{tool}"),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::audit::{digest, hex};

    /// Alice of acme, by a token with the `jti` `t-1`.
    pub(in crate::stops) fn alice() -> Principal {
        let mut bearer = (*Principal::named("alice", Some("acme"))).clone();
        bearer.claims.insert("jti".to_owned(), "t-1".into());
        Principal::new(bearer).of_token(digest(b"a.b.c"))
    }

    pub(in crate::stops) fn each() -> [StopTarget; 7] {
        [
            StopTarget::All {},
            StopTarget::Tenant { tenant: "acme".into() },
            StopTarget::Principal { principal: "alice".into(), tenant: None },
            StopTarget::Principal { principal: "alice".into(), tenant: Some("acme".into()) },
            StopTarget::Token { token: "t-1".into() },
            StopTarget::Upstream { upstream: "docs".into() },
            StopTarget::Tool { upstream: "docs".into(), tool: "read".into() },
        ]
    }

    fn covered(principal: &Principal, upstream: Option<&str>, tool: Option<&str>) -> Vec<bool> {
        each().iter().map(|target| target.covers(&Matter { principal, upstream, tool })).collect()
    }

    #[test]
    fn a_stop_reaches_what_it_names_and_nothing_else() {
        let (alice, named) = (alice(), |tenant| Principal::named("alice", tenant));
        let (yes, no) = (true, false);
        let docs = Some("docs");
        assert_eq!(covered(&alice, docs, Some("read")), [yes; 7]);
        assert_eq!(covered(&alice, docs, Some("write")), [yes, yes, yes, yes, yes, yes, no]);
        assert_eq!(covered(&alice, Some("other"), Some("read")), [yes, yes, yes, yes, yes, no, no]);
        assert_eq!(covered(&alice, None, None), [yes, yes, yes, yes, yes, no, no]);
        // Another token of hers, a namesake elsewhere, and one without a tenant.
        assert_eq!(covered(&named(Some("acme")), None, None), [yes, yes, yes, yes, no, no, no]);
        assert_eq!(covered(&named(Some("globex")), None, None), [yes, no, yes, no, no, no, no]);
        assert_eq!(covered(&named(None), None, None), [yes, no, yes, no, no, no, no]);
    }

    #[test]
    fn a_token_is_named_by_its_digest_as_well() {
        let alice = alice();
        let covers = |token: String| {
            let target = StopTarget::Token { token };
            (target.check().is_ok(), target.covers(&Matter { principal: &alice, upstream: None, tool: None }))
        };
        let hex = hex(&digest(b"a.b.c"));
        assert_eq!(covers(format!("sha256:{hex}")), (true, true));
        assert_eq!(covers(hex.clone()), (true, false), "without its prefix it is a `jti`");
        assert_eq!(covers(format!("sha256:{}", hex.to_uppercase())), (false, false));
        assert_eq!(covers(format!("sha256:{}", &hex[..62])), (false, false));
        assert_eq!(covers("sha256:".to_owned()), (false, false));
    }

    #[test]
    fn names_are_bounded_and_steer_nothing() {
        for name in ["a".repeat(MAX_NAME), "Zürich/1".to_owned()] {
            assert_eq!(StopTarget::Tenant { tenant: name }.check(), Ok(()));
        }
        for name in [String::new(), "a".repeat(MAX_NAME + 1), "a\nb".to_owned(), "a\u{202e}b".to_owned()] {
            let fault = Err(TargetFault::Name);
            assert_eq!(StopTarget::Upstream { upstream: name.clone() }.check(), fault, "{name:?}");
            let one = StopTarget::Principal { principal: "alice".into(), tenant: Some(name.clone()) };
            assert_eq!(one.check(), fault, "{name:?}");
            assert_eq!(StopTarget::Tool { upstream: "docs".into(), tool: name }.check(), fault);
        }
    }

    #[test]
    fn each_kind_has_its_name_and_its_place() {
        assert!(each().is_sorted());
        for target in each() {
            let written = serde_json::to_value(&target).expect("JSON");
            assert_eq!(written["kind"], target.kind());
            assert!(StopTarget::KINDS.contains(&target.kind()));
            assert_eq!(serde_json::from_value::<StopTarget>(written).expect("read"), target);
        }
        for wrong in [
            r#"{"kind":"all","tenant":"acme"}"#,
            r#"{"kind":"tenant"}"#,
            r#"{"kind":"tenant","tenant":"acme","upstream":"docs"}"#,
            r#"{"kind":"other"}"#,
            r#"{"tenant":"acme"}"#,
        ] {
            serde_json::from_str::<StopTarget>(wrong).expect_err(wrong);
        }
    }
}
