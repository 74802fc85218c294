//! A line of the log: a record as it is stored.
//!
//! Its middle, the *text*, is made by the worker that makes the record. The writer thread puts number and
//! time before it and the hash of the line before behind it, so a record becomes JSON once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::event::Event;
use super::hash::{Hash, hex, parse_hash};
use super::record::{Bounded, Record, Verdict};
use crate::mcp::revision::Revision;
use crate::stage::Stage;

/// The text of a record; the order of the fields here is the order in the line.
#[derive(Serialize)]
struct Text<'a> {
    event: Event,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<&'a [Arc<str>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<&'a [Arc<str>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_digest: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redactions: Option<BTreeMap<&'a str, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
}

/// Appends a record's text.
pub(in crate::audit) fn write(record: &Bounded, out: &mut Vec<u8>) {
    let record = record.get();
    let input_digest = record.input_digest.as_ref().map(hex);
    let text = Text {
        event: record.event,
        correlation_id: record.correlation_id.as_deref(),
        trace_id: record.trace_id.as_deref(),
        tenant: record.tenant.as_deref(),
        subject: record.subject.as_deref(),
        issuer: record.issuer.as_deref(),
        groups: record.groups.as_deref(),
        scopes: record.scopes.as_deref(),
        client: record.client.as_deref(),
        certificate: record.certificate.as_deref(),
        upstream: record.upstream.as_deref(),
        unit: record.unit.as_deref(),
        method: record.method.as_deref(),
        target: record.target.as_deref(),
        target_bytes: record.target_bytes,
        revision: record.revision,
        decision: record.decision,
        stage: record.stage.map(Stage::name),
        rule_id: record.rule_id.as_deref(),
        reason: record.reason.as_deref(),
        input_digest: input_digest.as_deref(),
        status: record.status,
        latency_us: record.latency_us,
        bytes: record.bytes,
        redactions: record
            .redactions
            .as_deref()
            .map(|each| each.iter().map(|(name, count)| (&**name, *count)).collect()),
        lost: record.lost,
        count: record.count,
    };
    let start = out.len();
    // Cannot fail: a vector takes every write, and every key of `Text` and its map is a string.
    serde_json::to_writer(&mut *out, &text).expect("a record is always JSON");
    // Without its braces: the line has those.
    out.remove(start);
    out.pop();
}

/// Appends the beginning of a line, before the text.
pub(in crate::audit) fn begin(seq: u64, time: SystemTime, out: &mut Vec<u8>) {
    // Not before 1970: the formatter knows no earlier time.
    let time = humantime::format_rfc3339_micros(time.max(SystemTime::UNIX_EPOCH));
    // Cannot fail: a vector takes every write.
    write!(out, r#"{{"v":1,"seq":{seq},"time":"{time}","#).expect("a vector takes every write");
}

/// Appends the end of a line, after the text, without a newline. `prev` is the hash of the line before.
pub(in crate::audit) fn end(prev: &Hash, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","prev":""#);
    out.extend_from_slice(hex(prev).as_bytes());
    out.extend_from_slice(br#""}"#);
}

/// The fields of a line, read back.
#[derive(Deserialize)]
struct Stored {
    #[serde(default)]
    seq: u64,
    event: String,
    correlation_id: Option<Arc<str>>,
    trace_id: Option<Arc<str>>,
    tenant: Option<Arc<str>>,
    subject: Option<Arc<str>>,
    issuer: Option<Arc<str>>,
    groups: Option<Arc<[Arc<str>]>>,
    scopes: Option<Arc<[Arc<str>]>>,
    client: Option<Arc<str>>,
    certificate: Option<Arc<str>>,
    upstream: Option<Arc<str>>,
    unit: Option<Arc<str>>,
    method: Option<Arc<str>>,
    target: Option<Arc<str>>,
    target_bytes: Option<u64>,
    revision: Option<String>,
    decision: Option<Verdict>,
    stage: Option<String>,
    rule_id: Option<Arc<str>>,
    reason: Option<Arc<str>>,
    input_digest: Option<String>,
    status: Option<u16>,
    latency_us: Option<u64>,
    bytes: Option<u64>,
    redactions: Option<BTreeMap<Arc<str>, u64>>,
    lost: Option<u64>,
    count: Option<u64>,
}

/// Reads a line (without its newline) back: the record's number, and the record.
///
/// # Errors
/// The line is not one that this release writes; the text says why.
pub(in crate::audit) fn read(line: &[u8]) -> Result<(u64, Record), String> {
    let stored: Stored = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let event = Event::ALL.iter().find(|event| event.name() == stored.event);
    let revision =
        |text: String| Revision::ALL.map(Revision::as_str).into_iter().find(|known| *known == text);
    let record = Record {
        event: *event.ok_or_else(|| format!("`{}` is no event", stored.event))?,
        correlation_id: stored.correlation_id,
        trace_id: stored.trace_id,
        tenant: stored.tenant,
        subject: stored.subject,
        issuer: stored.issuer,
        groups: stored.groups,
        scopes: stored.scopes,
        certificate: stored.certificate,
        revision: stored.revision.and_then(revision),
        client: stored.client,
        upstream: stored.upstream,
        unit: stored.unit,
        method: stored.method,
        target: stored.target,
        target_bytes: stored.target_bytes,
        decision: stored.decision,
        stage: stored.stage.as_deref().and_then(Stage::parse),
        rule_id: stored.rule_id,
        reason: stored.reason,
        input_digest: stored.input_digest.as_deref().and_then(parse_hash),
        status: stored.status,
        latency_us: stored.latency_us,
        bytes: stored.bytes,
        redactions: stored.redactions.map(|each| each.into_iter().collect()),
        lost: stored.lost,
        count: stored.count,
    };
    Ok((stored.seq, record))
}

/// Reads the text of a record, as an earlier process put it.
///
/// # Errors
/// It is not one; the text says why.
pub(in crate::audit) fn read_text(text: &[u8]) -> Result<Record, String> {
    read(&[b"{", text, b"}"].concat()).map(|(_, record)| record)
}

/// The members that every line must have; everything else in it is covered by the hash.
#[derive(Debug, Deserialize)]
pub(super) struct Fields<'a> {
    v: u64,
    seq: u64,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    lost: Option<u64>,
    #[serde(borrow)]
    prev: Cow<'a, str>,
}

/// A line that is a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::audit) struct Parsed {
    /// Its number.
    pub seq: u64,
    /// Its time.
    pub time: SystemTime,
    /// Its hash of the line before.
    pub prev: Hash,
    /// For a `gap` record, how many records it says are missing.
    pub gap: Option<u64>,
}

/// Reads a line (without its newline) as a record; the error says what is wrong with it.
pub(in crate::audit) fn parse_line(line: &[u8]) -> Result<Parsed, String> {
    let fields: Fields = serde_json::from_slice(line).map_err(|e| e.to_string())?;
    if fields.v != 1 {
        return Err(format!("version {} is unknown to this airlock", fields.v));
    }
    let time = humantime::parse_rfc3339(&fields.time).map_err(|_| "its time is not RFC 3339".to_owned())?;
    let prev = parse_hash(&fields.prev).ok_or("prev is not 64 lower-case hexadecimal digits")?;
    let gap = (fields.event == "gap").then(|| fields.lost.unwrap_or(0));
    Ok(Parsed { seq: fields.seq, time, prev, gap })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_back_as_the_record_it_was() {
        let record = Record {
            correlation_id: Some("c".into()),
            trace_id: Some("t".into()),
            tenant: Some("acme".into()),
            subject: Some("alice\n\u{1}\"".into()),
            issuer: Some("https://idp.example.com".into()),
            groups: Some(["a", "b"].map(Arc::from).into()),
            scopes: Some(["s"].map(Arc::from).into()),
            client: Some("203.0.113.7".into()),
            certificate: Some("CN=x".into()),
            revision: Some("2026-07-28"),
            upstream: Some("docs".into()),
            unit: Some("u.service".into()),
            method: Some("tools/call".into()),
            target: Some("read".into()),
            target_bytes: Some(9),
            decision: Some(Verdict::Deny),
            stage: Some(Stage::Authorize),
            rule_id: Some("r".into()),
            reason: Some("because".into()),
            input_digest: Some([0xab; 32]),
            status: Some(403),
            latency_us: Some(17),
            bytes: Some(80),
            redactions: Some([("github-token".into(), 2), ("iban".into(), 1)].into()),
            lost: Some(3),
            count: Some(4),
            event: Event::Refusal,
        };
        let mut line = Vec::new();
        begin(41, SystemTime::now(), &mut line);
        write(&Bounded::from(record.clone()), &mut line);
        end(&[7; 32], &mut line);
        let (seq, again) = read(&line).unwrap();
        assert_eq!((seq, format!("{again:?}")), (41, format!("{record:?}")));
    }

    #[test]
    fn a_text_is_one_object_and_no_more() {
        let mut text = Vec::new();
        write(&Bounded::from(Record::new(Event::Stop)), &mut text);
        assert_eq!(read_text(&text).unwrap().event, Event::Stop);
        for other in [r#""event":"stop"},{"event":"stop""#, r#""event":"nothing we know""#, "", "rubbish"] {
            assert!(read_text(other.as_bytes()).is_err(), "{other}");
        }
    }
}
