//! A record as a sentence.

use std::borrow::Cow;

use super::event::Event;
use super::record::{Record, Verdict};
use crate::observe::escape::printable;

/// The record as one sentence, without control characters:
/// `alice (acme) called docs/read_file: allowed by rule reader`.
pub fn message(record: &Record) -> String {
    let who = who(record);
    let what = what(record);
    let text = match record.event {
        Event::Start => format!("airlock started{}", because(record)),
        Event::Stop => format!("airlock stopped{}", because(record)),
        Event::CallIntent => format!("{who} called {what}: {}", decided(record)),
        Event::CallOutcome => format!("{what} answered {who}: {}", figures(record)),
        Event::Refusal => {
            let times = record.count.map(|count| format!(" {count} times")).unwrap_or_default();
            format!("{who} was refused {what}{times}: {}", refused(record))
        }
        Event::List => format!("{who} listed {what}: {}", decided(record)),
        Event::Request => format!("{who} sent {what}: {}", decided(record)),
        Event::ServerStart => format!("server {what} started{}", because(record)),
        Event::ServerExit => format!("server {what} ended{}", because(record)),
        Event::PolicyLoaded => format!("another policy is in force{}", because(record)),
        Event::PolicyRejected => format!("a policy was refused{}", because(record)),
        Event::DlpLoaded => format!("other packs of detectors are in force{}", because(record)),
        Event::DlpRejected => format!("packs of detectors were refused{}", because(record)),
        Event::DlpFound if record.decision == Some(Verdict::Deny) => {
            format!("{what} is kept from {who} in part or as a whole{}", because(record))
        }
        Event::DlpFound => format!("detectors found something in {what} for {who}"),
        Event::ToolsLocked => format!("tools of {what} are locked{}", because(record)),
        Event::ToolHeld => format!("{what} is held back{}", because(record)),
        Event::ToolLockRejected => format!("the file of tool locks was refused{}", because(record)),
        Event::PolicyShadowed => format!("{who} did {what}, which the policy refuses: {}", refused(record)),
        Event::Gap => format!("{} audit records are missing{}", record.lost.unwrap_or(0), because(record)),
        Event::Recovered => {
            format!(
                "{} audit records of an earlier process were stored now{}",
                record.count.unwrap_or(0),
                because(record)
            )
        }
        Event::AddressBlocked => format!("{who} is blocked{}", because(record)),
        Event::AdminCommand => format!(
            "{who} ordered `{}` of {what}: {}",
            record.method.as_deref().unwrap_or("nothing"),
            record.reason.as_deref().map_or_else(|| figures(record), str::to_owned)
        ),
        Event::AddressUnblocked => format!("{who} is not blocked any more{}", because(record)),
        Event::CallsStopped => format!("{} is stopped{}", target(record), because(record)),
        Event::CallsResumed => format!("{} is not stopped any more{}", target(record), because(record)),
        Event::KernelDenied if record.method.is_none() => {
            format!("the kernel denied servers what they tried{}", because(record))
        }
        Event::KernelDenied => format!(
            "the kernel denied {} of {} ({}) to reach {}",
            record.method.as_deref().unwrap_or("an attempt"),
            match record.unit.as_deref() {
                Some(unit) => format!("unit {unit}"),
                None => format!("server {}", record.upstream.as_deref().unwrap_or("?")),
            },
            record.client.as_deref().unwrap_or("unknown process"),
            target(record),
        ),
    };
    printable(&text).into_owned()
}

fn who(record: &Record) -> Cow<'_, str> {
    match (record.subject.as_deref(), record.tenant.as_deref(), record.client.as_deref()) {
        (Some(subject), Some(tenant), _) => format!("{subject} ({tenant})").into(),
        (Some(subject), None, _) => subject.into(),
        (None, _, Some(client)) => client.into(),
        (None, _, None) => "somebody".into(),
    }
}

fn target(record: &Record) -> &str {
    record.target.as_deref().unwrap_or("something")
}

fn what(record: &Record) -> Cow<'_, str> {
    let method = record.method.as_deref();
    match (record.upstream.as_deref(), record.target.as_deref().or(method.filter(|m| *m != "tools/call"))) {
        (Some(upstream), Some(target)) => format!("{upstream}/{target}").into(),
        (Some(upstream), None) => upstream.into(),
        (None, Some(target)) => target.into(),
        (None, None) => "airlock".into(),
    }
}

fn because(record: &Record) -> Cow<'_, str> {
    record.reason.as_deref().map_or("".into(), |reason| format!(": {reason}").into())
}

fn decided(record: &Record) -> String {
    let verdict = match record.decision {
        Some(Verdict::Deny) => "refused",
        _ => "allowed",
    };
    match record.rule_id.as_deref() {
        Some(rule) => format!("{verdict} by rule {rule}"),
        None => verdict.to_owned(),
    }
}

fn refused(record: &Record) -> String {
    match (record.rule_id.as_deref(), record.reason.as_deref()) {
        (Some(rule), Some(reason)) => format!("rule {rule}: {reason}"),
        (Some(rule), None) => format!("rule {rule}"),
        (None, Some(reason)) => reason.to_owned(),
        (None, None) => figures(record),
    }
}

fn figures(record: &Record) -> String {
    let status = record.status.map_or_else(|| "no status".to_owned(), |status| format!("status {status}"));
    record.latency_us.map_or(status.clone(), |us| format!("{status} after {us} µs"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn call(event: Event) -> Record {
        Record {
            subject: Some("alice".into()),
            tenant: Some("acme".into()),
            upstream: Some("docs".into()),
            method: Some("tools/call".into()),
            target: Some("read_file".into()),
            decision: Some(Verdict::Allow),
            rule_id: Some("reader".into()),
            ..Record::new(event)
        }
    }

    #[test]
    fn records_read_as_sentences() {
        assert_eq!(
            message(&call(Event::CallIntent)),
            "alice (acme) called docs/read_file: allowed by rule reader"
        );
        let outcome = Record { status: Some(200), latency_us: Some(812), ..call(Event::CallOutcome) };
        assert_eq!(message(&outcome), "docs/read_file answered alice (acme): status 200 after 812 µs");
        let refusal = Record {
            decision: Some(Verdict::Deny),
            rule_id: Some("no-writes".into()),
            reason: Some("readers may not write".into()),
            ..call(Event::Refusal)
        };
        assert_eq!(
            message(&refusal),
            "alice (acme) was refused docs/read_file: rule no-writes: readers may not write"
        );
        let unknown = Record {
            client: Some("203.0.113.7".into()),
            reason: Some("the token has expired".into()),
            ..Record::new(Event::Refusal)
        };
        assert_eq!(message(&unknown), "203.0.113.7 was refused airlock: the token has expired");
        let denied = Record::kernel_denied("docs", 4711, "python3", "connect4", "192.0.2.1:443");
        assert_eq!(
            message(&denied),
            "the kernel denied connect4 of server docs (pid 4711 (python3)) to reach 192.0.2.1:443"
        );
        let denied = Record {
            unit: Some("notes.service".into()),
            ..Record::kernel_denied("-", 4711, "x of mail.service", "connect4", "AF_INET")
        };
        assert_eq!(
            message(&denied),
            "the kernel denied connect4 of unit notes.service (pid 4711 (x of mail.service)) to reach AF_INET"
        );
        assert_eq!(
            message(&Record::gap(3, "the queue was full", None)),
            "3 audit records are missing: the queue was full"
        );
    }

    #[test]
    fn control_characters_cannot_forge_a_line() {
        let forged =
            Record { subject: Some("eve\u{1b}[2J\nalice\u{202e}".into()), ..call(Event::CallIntent) };
        assert!(message(&forged).starts_with("eve\\u{1b}[2J\\nalice\\u{202e} (acme) called"));
    }

    #[test]
    fn every_event_has_a_message_even_when_empty() {
        for event in Event::ALL {
            assert!(!message(&Record::new(*event)).is_empty());
        }
    }
}
