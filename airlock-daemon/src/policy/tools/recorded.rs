//! A decision of the audit log, asked once more.
//!
//! A record names the subject, the call and the client, and never the arguments or the free claims of the
//! token. So the question is put together as far as it is on record, with the parts of the input that are
//! not.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::audit::{digest, hex, input_digest};
use crate::auth::principal::Bearer;
use crate::observe::escape::printable;
use crate::policy::document::asked::{Asked, CallPart, ClientPart};
use crate::policy::document::decision::SHADOW_PREFIX;

/// The facts on a decision in a line of the audit log.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq, Hash)]
pub struct Recorded {
    event: String,
    time: String,
    /// Finds the records of the request.
    pub correlation_id: Option<String>,
    /// The owner of the token.
    pub subject: Option<String>,
    tenant: Option<String>,
    issuer: Option<String>,
    groups: Option<Vec<String>>,
    scopes: Option<Vec<String>>,
    client: Option<String>,
    certificate: Option<String>,
    /// The upstream.
    pub upstream: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The target by the upstream's own name.
    pub target: Option<String>,
    /// The length of the whole target, where less of it is shown.
    target_bytes: Option<u64>,
    revision: Option<String>,
    /// The decision.
    pub decision: Option<Verdict>,
    /// The stage that refused; none in a record of what was let through.
    pub stage: Option<String>,
    /// By which rule.
    pub rule_id: Option<String>,
    reason: Option<String>,
    input_digest: Option<String>,
}

/// The decision.
#[derive(Debug, Clone, Copy, Deserialize, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was let through.
    Allow,
    /// It was not.
    Deny,
}

/// A question from the log, and what of it the log does not say.
#[derive(Debug)]
pub struct Rebuilt {
    /// The question, with null or nothing for what is unknown.
    pub asked: Asked,
    /// Parts of the input that are not on record, such as `call.arguments`.
    pub unknown: BTreeSet<&'static str>,
}

/// The facts on a call that somebody knows besides its record.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The bytes of `params.arguments`.
    pub arguments: Option<&'a str>,
    /// The whole target.
    pub target: Option<&'a str>,
}

/// The rule ids under which something else than the policy refuses in its stage.
const NOT_THE_POLICY: [&str; 1] = ["allow_tools"];
/// The prefix of rule ids of limits.
const LIMITS: &str = "rate_limiting.";

impl Recorded {
    /// Reads a line of the log; `None` where it is no decision of the policy.
    ///
    /// # Errors
    /// The fault of the line.
    pub fn read(line: &[u8]) -> Result<Option<Self>, String> {
        let mut record: Self = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if let Some(rule) = record.rule_id.as_deref().and_then(|rule| rule.strip_prefix(SHADOW_PREFIX)) {
            record.rule_id = Some(rule.to_owned());
            record.decision = Some(Verdict::Deny);
        }
        let decided = match record.event.as_str() {
            "call.intent" => true,
            "refusal" => record.rule_id.is_some() && record.method.is_some() && record.upstream.is_some(),
            _ => false,
        };
        let ours = record
            .rule_id
            .as_deref()
            .is_some_and(|rule| !NOT_THE_POLICY.contains(&rule) && !rule.starts_with(LIMITS));
        Ok((decided && ours).then_some(record))
    }

    /// The facts that are the same in two records whose decision must be the same; the time only where the
    /// policy reads it.
    pub(super) fn essence(&self, timed: bool) -> Self {
        let time = if timed { self.time.clone() } else { String::new() };
        Self { time, correlation_id: None, stage: None, reason: None, ..self.clone() }
    }

    /// When it was decided, in seconds since the Unix epoch.
    pub fn seconds(&self) -> Option<u64> {
        let time = humantime::parse_rfc3339(&self.time).ok()?;
        time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
    }

    /// The rule id of a refusal because the token lacks a scope.
    pub fn verdict(&self) -> Verdict {
        self.decision.unwrap_or(Verdict::Deny)
    }

    /// Puts the question together, with what is known besides. A target that is shortened on record and not
    /// known is unknown: no other name is asked about.
    ///
    /// # Errors
    /// Arguments, or a target, that are not those of the record.
    pub fn rebuild(&self, known: Known<'_>) -> Result<Rebuilt, String> {
        let target = match known.target {
            Some(target) => Some(self.fits(target)?),
            None => self.target.as_deref().filter(|_| !self.is_shortened()),
        };
        let mut unknown = BTreeSet::from(["subject.claims"]);
        // Records from before this was recorded have no issuer.
        if self.issuer.is_none() {
            unknown.extend([
                "subject.issuer",
                "subject.groups",
                "subject.scopes",
                "call.revision",
                "client.certificate",
            ]);
        }
        if self.revision.is_none() {
            unknown.insert("call.revision");
        }
        for (path, text) in [
            ("subject.id", &self.subject),
            ("subject.tenant", &self.tenant),
            ("subject.issuer", &self.issuer),
            ("client.certificate", &self.certificate),
        ] {
            if text.as_deref().is_some_and(is_cut) {
                unknown.insert(path);
            }
        }
        for (path, names) in [("subject.groups", &self.groups), ("subject.scopes", &self.scopes)] {
            if names.iter().flatten().any(|name| is_cut(name)) {
                unknown.insert(path);
            }
        }
        let bearer = Bearer {
            subject: self.subject.clone().unwrap_or_default(),
            tenant: self.tenant.clone(),
            groups: self.groups.clone().unwrap_or_default(),
            scopes: self.scopes.clone().unwrap_or_default(),
            issuer: self.issuer.clone().unwrap_or_default(),
            claims: serde_json::Map::new(),
            expires_at: u64::MAX,
        };
        let mut call = CallPart {
            method: self.method.clone().unwrap_or_default(),
            upstream: self.upstream.clone().unwrap_or_default(),
            arguments: self.arguments(known, target)?,
            revision: self.revision.clone().unwrap_or_default(),
            ..CallPart::default()
        };
        if call.arguments.is_none() {
            unknown.insert("call.arguments");
        }
        Self::aim(&mut call, target, &mut unknown);
        let asked = Asked::new(bearer, call, self.client(), self.seconds().unwrap_or_default());
        Ok(Rebuilt { asked, unknown })
    }

    /// True where the record shows less than the whole target. Records from before that was marked end it in
    /// `…`.
    fn is_shortened(&self) -> bool {
        self.target_bytes.is_some() || self.target.as_deref().is_some_and(is_cut)
    }

    /// A whole target, if it may be that of the record; its digest tells for certain.
    fn fits<'a>(&self, whole: &'a str) -> Result<&'a str, String> {
        let shown = self.target.as_deref().unwrap_or_default();
        let (head, tail) = shown.split_once('…').unwrap_or((shown, ""));
        let long_enough = self.target_bytes.is_none_or(|bytes| bytes == whole.len() as u64);
        if long_enough && whole.starts_with(head) && (whole == shown || whole.ends_with(tail)) {
            return Ok(whole);
        }
        Err(format!("this is not the target of the call: on record it is `{}`", printable(shown)))
    }

    /// The arguments that are known: those given, and the empty ones, whose digest says what they are.
    fn arguments(&self, known: Known<'_>, target: Option<&str>) -> Result<Option<Box<RawValue>>, String> {
        let recorded = self.input_digest.as_deref();
        let unmarked = self.target.is_some() && target.is_none();
        let same = |text: &str| {
            let part = |text: &Option<String>| text.clone().unwrap_or_default();
            let whole = input_digest(&part(&self.method), &part(&self.upstream), target, text);
            // Records from before all of the call was digested have a digest of the arguments alone.
            [whole, digest(text.as_bytes())].iter().any(|made| recorded == Some(hex(made).as_str()))
        };
        let raw = |text: &str| {
            RawValue::from_string(text.to_owned()).map_err(|error| format!("the arguments: {error}"))
        };
        match known.arguments {
            None if same("{}") => raw("{}").map(Some),
            None if known.target.is_some() => {
                Err("the digest on record covers target and arguments together: give the arguments as well"
                    .to_owned())
            }
            None => Ok(None),
            Some(text) if same(text) => raw(text).map(Some),
            // An editor's last newline is no part of what was sent.
            Some(text) if same(text.trim()) => raw(text.trim()).map(Some),
            Some(_) if unmarked => Err(format!(
                "the record shows only a part of the target, `{}`, and its digest covers all of it: give the whole target as well",
                printable(self.target.as_deref().unwrap_or_default())
            )),
            Some(_) => Err(match recorded {
                Some(recorded) => format!(
                    "these are not the arguments of the call: with them its digest is not {recorded}, the one on record; the \
                     exact bytes of `params.arguments` are needed"
                ),
                None => "the record has no digest of the call, so no arguments can be checked".to_owned(),
            }),
        }
    }

    /// Says which noun the target is.
    fn aim(call: &mut CallPart, target: Option<&str>, unknown: &mut BTreeSet<&'static str>) {
        let (field, path) = match call.method.as_str() {
            "tools/call" => (&mut call.tool, "call.tool"),
            "prompts/get" => (&mut call.prompt, "call.prompt"),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                (&mut call.resource, "call.resource")
            }
            "completion/complete" => {
                // The record does not say which of the two the target is.
                unknown.extend(["call.prompt", "call.resource"]);
                return;
            }
            _ => return,
        };
        if target.is_none() {
            unknown.insert(path);
        }
        *field = target.map(str::to_owned);
    }

    fn client(&self) -> ClientPart {
        let client = self.client.as_deref();
        let uid = client.and_then(|client| client.strip_prefix("unix:")?.parse().ok());
        let address = client.filter(|client| client.parse::<std::net::IpAddr>().is_ok()).map(str::to_owned);
        ClientPart { address, certificate: self.certificate.clone(), uid }
    }

    /// How a report names it.
    pub fn what(&self) -> Cow<'_, str> {
        match (self.upstream.as_deref(), self.target.as_deref()) {
            (Some(upstream), Some(target)) => format!("{upstream}/{target}").into(),
            (Some(one), None) | (None, Some(one)) => one.into(),
            (None, None) => "-".into(),
        }
    }
}

/// Longer texts are cut on record, and the query of a URI is left out; both end so.
fn is_cut(text: &str) -> bool {
    text.ends_with('…')
}
