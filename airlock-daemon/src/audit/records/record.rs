//! The content of one audit record. Never a payload, a token or a matched secret.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::hash::Hash;
use crate::stage::Stage;

/// The longest text a field keeps, in characters. A longer text is cut and ends in `…`.
const MAX_TEXT: usize = 256;
/// How many groups or scopes a record names, and how long a name may be, in characters.
const MAX_NAMES: usize = 64;
const MAX_NAME: usize = 128;
/// How many detectors a record names.
const MAX_DETECTORS: usize = 64;
/// How long all groups of a record may be together, in characters, and all scopes.
const MAX_GROUPS: usize = 2_048;
const MAX_SCOPES: usize = 1_024;

/// Names of detectors, each with how often it has found something.
pub type Counts = Arc<[(Arc<str>, u64)]>;

/// The decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It was let through.
    Allow,
    /// It was not.
    Deny,
}

impl Verdict {
    /// `allow` or `deny`, as in the record.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// One audit record, as a worker makes it. The writer thread adds `v`, `seq`, `time` and `prev`.
///
/// Every field may come from outside and is bounded when the record is handed over. Absent fields are left
/// out of the line.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The event.
    pub event: Event,
    /// The id that the client was told as well.
    pub correlation_id: Option<Arc<str>>,
    /// The W3C trace id, 32 hexadecimal digits.
    pub trace_id: Option<Arc<str>>,
    /// The tenant of the subject.
    pub tenant: Option<Arc<str>>,
    /// The owner of the token.
    pub subject: Option<Arc<str>>,
    /// The issuer of the token. This and the four below are what a policy judged by, on record with its
    /// decisions.
    pub issuer: Option<Arc<str>>,
    /// The subject's groups: at most 64, of 128 characters each and 2,048 together. A name that is cut ends
    /// in `…`, and so does a list, with an entry `…`.
    pub groups: Option<Arc<[Arc<str>]>>,
    /// The token's scopes: at most 64, of 128 characters each and 1,024 together, cut in the same way.
    pub scopes: Option<Arc<[Arc<str>]>>,
    /// The subject of the client's certificate.
    pub certificate: Option<Arc<str>>,
    /// The protocol revision that the client speaks.
    pub revision: Option<&'static str>,
    /// Where the request came from: address or unix peer. In `kernel.denied`: the process.
    pub client: Option<Arc<str>>,
    /// The name of the upstream.
    pub upstream: Option<Arc<str>>,
    /// In `kernel.denied`: the unit of systemd's whose process it was, where Airlock did not start it.
    pub unit: Option<Arc<str>>,
    /// The MCP method. In `kernel.denied`: the hook.
    pub method: Option<Arc<str>>,
    /// Tool, prompt or resource, by the upstream's own name: without a URI's query, and at most 256
    /// characters, with `…` in the place of what is left out. In `kernel.denied`: what was to be reached.
    pub target: Option<Arc<str>>,
    /// How many bytes the whole target has; there where `target` shows less of it.
    pub target_bytes: Option<u64>,
    /// The decision: let through, or refused.
    pub decision: Option<Verdict>,
    /// The stage of the pipeline that refused, named as its file: in `refusal` and `policy.shadowed`.
    pub stage: Option<Stage>,
    /// The rule that decided.
    pub rule_id: Option<Arc<str>>,
    /// Why, in words.
    pub reason: Option<Arc<str>>,
    /// The digest that binds the record to its call: see [`input_digest`](crate::audit::input_digest). A
    /// digest, so that it cannot be the arguments.
    pub input_digest: Option<Hash>,
    /// The HTTP status given to the client.
    pub status: Option<u16>,
    /// From the request's head to the end of its answer, in microseconds.
    pub latency_us: Option<u64>,
    /// Bytes of the answer's body.
    pub bytes: Option<u64>,
    /// How often each detector has found something: of what went to the server in `call.intent` and the
    /// records of other requests, of what it said in `call.outcome`; at most 64 of them. Never what was
    /// found.
    pub redactions: Option<Counts>,
    /// In `gap`: how many records are missing.
    pub lost: Option<u64>,
    /// How many events this one record stands for, where that is more than one: refusals of the same stranger
    /// in a second; in `recovered`, how many records before it are an earlier process's.
    pub count: Option<u64>,
}

impl Record {
    /// An empty record of a kind.
    pub fn new(event: Event) -> Self {
        Self { event, ..Self::default() }
    }

    /// The kernel denied `hook` (such as `connect4`) towards `target` to process `pid` running `program`, a
    /// server of `upstream`.
    pub fn kernel_denied(upstream: &str, pid: u32, program: &str, hook: &str, target: &str) -> Self {
        Self {
            upstream: Some(upstream.into()),
            client: Some(format!("pid {pid} ({program})").into()),
            method: Some(hook.into()),
            target: Some(target.into()),
            decision: Some(Verdict::Deny),
            rule_id: Some("kernel.pin".into()),
            ..Self::new(Event::KernelDenied)
        }
    }

    /// `lost` records are missing here, for `reason`; `target` names what was set apart.
    pub(in crate::audit) fn gap(lost: u64, reason: &str, target: Option<&str>) -> Self {
        Self {
            lost: Some(lost),
            reason: Some(reason.into()),
            target: target.map(Into::into),
            ..Self::new(Event::Gap)
        }
    }

    /// The `count` records before this one were taken by a process that ended before it had stored them.
    pub(in crate::audit) fn recovered(count: u64) -> Self {
        let reason = "the daemon before had taken them and ended before it had stored them";
        Self { count: Some(count), reason: Some(reason.into()), ..Self::new(Event::Recovered) }
    }

    /// True where this is something an operator should look at.
    pub fn is_refusal(&self) -> bool {
        self.decision == Some(Verdict::Deny) || matches!(self.event, Event::Refusal | Event::KernelDenied)
    }

    fn texts(&mut self) -> [&mut Option<Arc<str>>; 13] {
        [
            &mut self.correlation_id,
            &mut self.trace_id,
            &mut self.tenant,
            &mut self.subject,
            &mut self.client,
            &mut self.upstream,
            &mut self.method,
            &mut self.target,
            &mut self.rule_id,
            &mut self.reason,
            &mut self.issuer,
            &mut self.certificate,
            &mut self.unit,
        ]
    }
}

/// A record whose every part is bounded, so that neither the queue nor a line can be made huge from outside.
#[derive(Debug, Clone)]
pub(in crate::audit) struct Bounded(Record);

impl Bounded {
    pub(in crate::audit) fn get(&self) -> &Record {
        &self.0
    }
}

impl From<Record> for Bounded {
    fn from(mut record: Record) -> Self {
        if let Some((short, bytes)) =
            record.target.as_deref().and_then(|text| Some((clip_middle(text, MAX_TEXT)?, text.len())))
        {
            record.target = Some(short);
            record.target_bytes.get_or_insert(bytes as u64);
        }
        for text in record.texts() {
            if let Some(short) = text.as_deref().and_then(|text| clip(text, MAX_TEXT)) {
                *text = Some(short);
            }
        }
        if let Some(counts) = record.redactions.as_deref().and_then(|counts| counts.get(..MAX_DETECTORS)) {
            record.redactions = Some(counts.into());
        }
        for (names, most) in [(&mut record.groups, MAX_GROUPS), (&mut record.scopes, MAX_SCOPES)] {
            if let Some(short) = names.as_deref().and_then(|names| clip_names(names, most)) {
                *names = Some(short);
            }
        }
        Self(record)
    }
}

/// `names` cut to what a record holds, or `None` if they fit already.
fn clip_names(names: &[Arc<str>], most: usize) -> Option<Arc<[Arc<str>]>> {
    let bytes: usize = names.iter().map(|name| name.len()).sum();
    if names.len() <= MAX_NAMES && bytes <= most && names.iter().all(|name| name.len() <= MAX_NAME) {
        return None;
    }
    let (mut kept, mut characters): (Vec<Arc<str>>, usize) = (Vec::new(), 0);
    for name in names {
        let name = clip(name, MAX_NAME).unwrap_or_else(|| name.clone());
        characters += name.chars().count();
        // One place and one character are kept for the mark.
        if kept.len() == MAX_NAMES - 1 || characters >= most {
            kept.push("…".into());
            break;
        }
        kept.push(name);
    }
    Some(kept.into())
}

/// `text` cut to `max` characters, or `None` if it fits already.
fn clip(text: &str, max: usize) -> Option<Arc<str>> {
    if text.len() <= max {
        return None;
    }
    let mut ends = text.char_indices().map(|(at, _)| at).skip(max - 1);
    let keep = ends.next()?;
    ends.next()?; // exactly `max` characters fit
    Some(format!("{}…", text.get(..keep)?).into())
}

/// `text` cut to `max` characters in its middle, or `None` if it fits already: two long names may differ at
/// either end.
fn clip_middle(text: &str, max: usize) -> Option<Arc<str>> {
    let count = text.chars().count();
    if count <= max {
        return None;
    }
    let (tail, place) = (max / 4, |at: usize| text.char_indices().nth(at).map(|(at, _)| at));
    let (head_end, tail_start) = (place(max - 1 - tail)?, place(count - tail)?);
    Some(format!("{}…{}", text.get(..head_end)?, text.get(tail_start..)?).into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_kept_and_what_does_not_is_cut_at_a_character() {
        let fits: Arc<str> = "é".repeat(MAX_TEXT).into();
        let long: Arc<str> = "é".repeat(MAX_TEXT + 1).into();
        let record = Record { subject: Some(fits.clone()), certificate: Some(long), ..Record::default() };
        let bounded = Bounded::from(record);
        assert_eq!(bounded.get().subject.as_ref(), Some(&fits));
        let certificate = bounded.get().certificate.as_deref().unwrap();
        assert_eq!(certificate.chars().count(), MAX_TEXT);
        assert!(certificate.ends_with("é…"));
    }

    #[test]
    fn a_long_target_keeps_both_ends_and_says_how_long_it_was() {
        let bounded =
            |target: String| Bounded::from(Record { target: Some(target.into()), ..Record::default() });
        let fits = bounded("é".repeat(MAX_TEXT));
        assert_eq!(
            (fits.get().target.as_deref(), fits.get().target_bytes),
            (Some(&*"é".repeat(MAX_TEXT)), None)
        );
        for (head, tail) in [("docs://a/", "/one"), ("docs://b/", "/one"), ("docs://a/", "/two")] {
            let cut = bounded(format!("{head}{}{tail}", "é".repeat(300)));
            let target = cut.get().target.as_deref().unwrap();
            assert_eq!((target.chars().count(), cut.get().target_bytes), (MAX_TEXT, Some(600 + 9 + 4)));
            assert!(target.starts_with(head) && target.ends_with(tail) && target.contains('…'), "{target}");
        }
        let known =
            Record { target: Some("docs://x?…".into()), target_bytes: Some(20), ..Record::default() };
        assert_eq!(Bounded::from(known).get().target_bytes, Some(20));
    }

    #[test]
    fn lists_of_names_are_cut_and_say_so() {
        let names = |count: usize, length: usize| -> Arc<[Arc<str>]> {
            (0..count).map(|n| Arc::from(format!("{n}{}", "x".repeat(length)))).collect()
        };
        let few = names(20, 40);
        let record = Record { groups: Some(few.clone()), scopes: Some(names(65, 1)), ..Record::default() };
        let bounded = Bounded::from(record);
        assert!(Arc::ptr_eq(bounded.get().groups.as_ref().unwrap(), &few), "what fits is not copied");
        let scopes = bounded.get().scopes.as_deref().unwrap();
        assert_eq!((scopes.len(), &*scopes[63]), (64, "…"));
        for (count, length) in [(1, 200), (64, 60), (1_000, 1_000)] {
            let bounded = Bounded::from(Record { groups: Some(names(count, length)), ..Record::default() });
            let groups = bounded.get().groups.as_deref().unwrap();
            assert!(groups.last().unwrap().ends_with('…'), "{groups:?}");
            assert!(groups.iter().map(|name| name.chars().count()).sum::<usize>() <= MAX_GROUPS);
        }
    }
}
