//! A decision of the audit log, asked once more.
//!
//! A record names the subject, the call and the client, and never the arguments or the free claims of the token. So the question
//! is put together as far as it is on record, with the parts of the input that are not.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::asked::{Asked, CallPart, ClientPart};
use super::decision::SHADOW_PREFIX;
use crate::audit::{digest, hex};
use crate::auth::principal::Bearer;

/// What a line of the audit log says of a decision.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq, Hash)]
pub struct Recorded {
    event: String,
    time: String,
    /// Finds the records of the request.
    pub correlation_id: Option<String>,
    /// Whose token it was.
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
    revision: Option<String>,
    /// What was decided.
    pub decision: Option<Verdict>,
    /// By which rule.
    pub rule_id: Option<String>,
    reason: Option<String>,
    input_digest: Option<String>,
}

/// What was decided.
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

/// The rule ids under which something else than the policy refuses in its stage.
const NOT_THE_POLICY: [&str; 1] = ["allow_tools"];
/// What the rule ids of limits begin with.
const LIMITS: &str = "rate_limiting.";

impl Recorded {
    /// Reads a line of the log; `None` where it is no decision of the policy.
    ///
    /// # Errors
    /// What is wrong with the line.
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

    /// What is the same in two records whose decision must be the same; the time only where the policy reads it.
    pub(super) fn essence(&self, timed: bool) -> Self {
        let time = if timed { self.time.clone() } else { String::new() };
        Self { time, correlation_id: None, reason: None, ..self.clone() }
    }

    /// When it was decided, in seconds since the Unix epoch.
    pub fn seconds(&self) -> Option<u64> {
        let time = humantime::parse_rfc3339(&self.time).ok()?;
        time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
    }

    /// What the log says was refused because the token lacks a scope.
    pub fn verdict(&self) -> Verdict {
        self.decision.unwrap_or(Verdict::Deny)
    }

    /// Puts the question together. `arguments` are those that the record does not have.
    ///
    /// # Errors
    /// Arguments that are not those of the record.
    pub fn rebuild(&self, arguments: Option<&str>) -> Result<Rebuilt, String> {
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
            arguments: self.arguments(arguments)?,
            revision: self.revision.clone().unwrap_or_default(),
            ..CallPart::default()
        };
        if call.arguments.is_none() {
            unknown.insert("call.arguments");
        }
        self.aim(&mut call, &mut unknown);
        let asked = Asked::new(bearer, call, self.client(), self.seconds().unwrap_or_default());
        Ok(Rebuilt { asked, unknown })
    }

    /// The arguments that are known: those given, and the empty ones, whose digest says what they are.
    fn arguments(&self, given: Option<&str>) -> Result<Option<Box<RawValue>>, String> {
        let recorded = self.input_digest.as_deref();
        let same = |text: &str| recorded == Some(hex(&digest(text.as_bytes())).as_str());
        let raw = |text: &str| {
            RawValue::from_string(text.to_owned()).map_err(|error| format!("the arguments: {error}"))
        };
        match given {
            None if same("{}") => raw("{}").map(Some),
            None => Ok(None),
            Some(text) if same(text) => raw(text).map(Some),
            // An editor's last newline is no part of what was sent.
            Some(text) if same(text.trim()) => raw(text.trim()).map(Some),
            Some(text) => Err(match recorded {
                Some(recorded) => format!(
                    "these are not the arguments of the call: their SHA-256 is {}, that on record {recorded}; the exact bytes \
                     of `params.arguments` are needed",
                    hex(&digest(text.trim().as_bytes()))
                ),
                None => "the record has no digest of the arguments, so none can be checked".to_owned(),
            }),
        }
    }

    /// Says which noun the target is.
    fn aim(&self, call: &mut CallPart, unknown: &mut BTreeSet<&'static str>) {
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
        if self.target.as_deref().is_none_or(is_cut) {
            unknown.insert(path);
        }
        field.clone_from(&self.target);
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
