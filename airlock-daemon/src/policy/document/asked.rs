//! A question from a file: the input document as JSON, the way a policy sees it.

use std::time::{SystemTime, UNIX_EPOCH};

use regorus::Value;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::decision::{Call, Client, Question};
use super::input;
use crate::auth::principal::{Bearer, Principal};

/// A question that owns its parts.
#[derive(Debug)]
pub struct Asked {
    subject: Principal,
    call: CallPart,
    client: ClientPart,
    time: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    subject: SubjectPart,
    call: CallPart,
    #[serde(default)]
    client: ClientPart,
    time: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectPart {
    id: String,
    tenant: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    issuer: String,
    #[serde(default)]
    claims: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::policy) struct CallPart {
    pub(in crate::policy) method: String,
    pub(in crate::policy) upstream: String,
    pub(in crate::policy) tool: Option<String>,
    pub(in crate::policy) prompt: Option<String>,
    pub(in crate::policy) resource: Option<String>,
    pub(in crate::policy) root: Option<String>,
    pub(in crate::policy) arguments: Option<Box<RawValue>>,
    #[serde(default)]
    pub(in crate::policy) revision: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::policy) struct ClientPart {
    pub(in crate::policy) address: Option<String>,
    pub(in crate::policy) certificate: Option<String>,
    pub(in crate::policy) uid: Option<u32>,
}

impl Asked {
    /// Reads an input document. `subject.id`, `call.method` and `call.upstream` must be there; what else is
    /// missing is empty, null, or for `time` now. A field that the contract does not know is an error: it
    /// would be a misspelt one.
    ///
    /// # Errors
    /// The fault, with line and column.
    pub fn parse(json: &str) -> serde_json::Result<Self> {
        let Document { subject, call, client, time } = serde_json::from_str(json)?;
        let SubjectPart { id, tenant, groups, scopes, issuer, claims } = subject;
        let bearer = Bearer { subject: id, tenant, groups, scopes, issuer, claims, expires_at: u64::MAX };
        Ok(Self::new(bearer, call, client, time.unwrap_or_else(now)))
    }

    pub(in crate::policy) fn new(bearer: Bearer, call: CallPart, client: ClientPart, time: u64) -> Self {
        Self { subject: Principal::new(bearer), call, client, time }
    }

    /// As the engine takes it.
    pub fn question(&self) -> Question<'_> {
        let call = &self.call;
        Question {
            subject: &self.subject,
            call: Call {
                method: &call.method,
                upstream: &call.upstream,
                tool: call.tool.as_deref(),
                prompt: call.prompt.as_deref(),
                resource: call.resource.as_deref(),
                root: call.root.as_deref(),
                arguments: call.arguments.as_deref(),
                revision: &call.revision,
            },
            client: Client {
                address: self.client.address.as_deref(),
                certificate: self.client.certificate.as_deref(),
                uid: self.client.uid,
            },
            time: self.time,
        }
    }

    /// The document that a policy reads.
    pub(in crate::policy) fn document(&self) -> Result<Value, String> {
        input::document(input::subject(&self.subject), &self.question())
    }
}

/// Seconds since the Unix epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_the_policy_sees() {
        let json = r#"{"subject": {"id": "a", "tenant": null, "groups": ["g"], "scopes": [], "issuer": "i", "claims": {"x": [1]}},
            "call": {"method": "tools/call", "upstream": "docs", "tool": "t", "prompt": null, "resource": null, "root": null,
            "arguments": {"n": 1.5}, "revision": "r"}, "client": {"address": null, "certificate": "CN=x", "uid": 3}, "time": 7}"#;
        assert_eq!(Asked::parse(json).unwrap().document().unwrap(), Value::from_json_str(json).unwrap());
    }

    #[test]
    fn a_misspelt_field_is_an_error_with_its_place() {
        let error = Asked::parse("{\"subject\": {\"id\": \"a\"},\n \"cal\": {}}").unwrap_err().to_string();
        assert!(error.contains("unknown field `cal`") && error.contains("line 2"), "{error}");
        let least = r#"{"subject": {"id": "a"}, "call": {"method": "ping", "upstream": "docs"}}"#;
        assert!(Asked::parse(least).unwrap().question().time > 1_700_000_000);
    }
}
