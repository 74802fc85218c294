//! Records in journald: `journalctl -t airlock-audit AIRLOCK_TENANT=acme AIRLOCK_DECISION=deny`.
//!
//! The files are the log; journald holds a copy that is easy to ask. An error here is counted and logged,
//! never hidden, and does not stop the writer. Only the writer thread sends, so a slow journald holds up no
//! worker.

use std::io;
use std::path::Path;

use crate::audit::records::event::Event;
use crate::audit::records::hash::{Hash, hex};
use crate::audit::records::message::message;
use crate::audit::records::record::Record;
use crate::observe::escape::printable;

/// Where journald listens for its native protocol.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Where a system is known by that systemd has booted (`sd_booted`), whose journald may be away for a while.
const BOOTED: &str = "/run/systemd/system";

/// True where this host has a journald, or should have one.
pub(in crate::audit) fn expected() -> bool {
    present() || Path::new(BOOTED).is_dir()
}

/// True where journald's socket is there.
fn present() -> bool {
    Path::new(SOCKET).exists()
}

/// Why an entry was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::audit) enum Untaken {
    /// Nobody is there to take any; the same entry may be sent again later.
    Away(String),
    /// It does not take this one.
    Refused(String),
}

/// A sink for the fields of one entry, each `NAME=value`.
pub(in crate::audit) trait Journal: Send {
    /// Sends one entry.
    fn send(&mut self, fields: &[String]) -> Result<(), Untaken>;
}

/// The host's journald.
#[derive(Debug)]
pub(in crate::audit) struct Journald;

impl Journal for Journald {
    fn send(&mut self, fields: &[String]) -> Result<(), Untaken> {
        let away = |problem: &str| {
            let remedy = "start systemd-journald, or set audit.journald: false";
            Untaken::Away(format!("{SOCKET} {problem}; {remedy}"))
        };
        // libsystemd reports success when nobody listens.
        if !present() {
            return Err(away("does not exist"));
        }
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        systemd::journal::send(&fields).map_err(|error| match error.kind() {
            io::ErrorKind::ConnectionRefused => away("is there, and nobody listens on it"),
            _ => Untaken::Refused(error.to_string()),
        })
    }
}

/// The fields of the entry for a record, whose stored line (without newline) is `line`.
pub(in crate::audit) fn fields(record: &Record, seq: u64, hash: &Hash, line: &str) -> Vec<String> {
    let priority = match record.event {
        Event::Gap | Event::PolicyRejected | Event::DlpRejected => 3,
        _ if record.is_refusal() => 4,
        _ => 6,
    };
    let mut fields = vec![
        format!("MESSAGE={}", message(record)),
        format!("MESSAGE_ID={}", record.event.message_id()),
        format!("PRIORITY={priority}"),
        "SYSLOG_IDENTIFIER=airlock-audit".to_owned(),
        format!("AIRLOCK_EVENT={}", record.event.name()),
        format!("AIRLOCK_SEQ={seq}"),
        format!("AIRLOCK_HASH={}", hex(hash)),
        format!("AIRLOCK_RECORD={line}"),
    ];
    let texts = [
        ("CORRELATION_ID", &record.correlation_id),
        ("TRACE_ID", &record.trace_id),
        ("TENANT", &record.tenant),
        ("SUBJECT", &record.subject),
        ("ISSUER", &record.issuer),
        ("CLIENT", &record.client),
        ("CERTIFICATE", &record.certificate),
        ("UPSTREAM", &record.upstream),
        ("UNIT", &record.unit),
        ("METHOD", &record.method),
        ("TARGET", &record.target),
        ("RULE_ID", &record.rule_id),
        ("REASON", &record.reason),
    ];
    for (name, text) in texts {
        fields.extend(text.as_deref().map(|text| format!("AIRLOCK_{name}={}", printable(text))));
    }
    // The same field once per name: `AIRLOCK_GROUP=staff` finds every record of a member.
    for (name, list) in [("GROUP", &record.groups), ("SCOPE", &record.scopes)] {
        let names = list.iter().flat_map(|names| names.iter());
        fields.extend(names.map(|text| format!("AIRLOCK_{name}={}", printable(text))));
    }
    let redactions = record.redactions.iter().flat_map(|each| each.iter());
    fields.extend(redactions.map(|(name, _)| format!("AIRLOCK_REDACTIONS={}", printable(name))));
    fields.extend(record.revision.map(|revision| format!("AIRLOCK_REVISION={revision}")));
    fields.extend(record.stage.map(|stage| format!("AIRLOCK_STAGE={}", stage.name())));
    fields.extend(record.decision.map(|verdict| format!("AIRLOCK_DECISION={}", verdict.name())));
    fields.extend(record.input_digest.map(|digest| format!("AIRLOCK_INPUT_DIGEST={}", hex(&digest))));
    let numbers = [
        ("TARGET_BYTES", record.target_bytes),
        ("STATUS", record.status.map(u64::from)),
        ("LATENCY_US", record.latency_us),
        ("BYTES", record.bytes),
        ("LOST", record.lost),
        ("COUNT", record.count),
    ];
    for (name, number) in numbers {
        fields.extend(number.map(|number| format!("AIRLOCK_{name}={number}")));
    }
    fields
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::audit::{GENESIS, Verdict};

    #[test]
    fn nothing_in_a_field_steers_what_shows_it() {
        let bad = "eve\n\u{1b}[2J\u{61c}\u{202e}";
        let record = Record {
            subject: Some(bad.into()),
            target: Some(bad.into()),
            groups: Some([bad.into()].into()),
            ..Record::new(Event::Refusal)
        };
        let fields = fields(&record, 1, &GENESIS, "{}");
        let shown = "eve\\n\\u{1b}[2J\\u{61c}\\u{202e}";
        for name in ["SUBJECT", "TARGET", "GROUP"] {
            assert!(fields.contains(&format!("AIRLOCK_{name}={shown}")), "{fields:?}");
        }
        assert!(!fields.iter().any(|field| field.contains(crate::observe::escape::steers)), "{fields:?}");
    }

    #[test]
    fn an_entry_carries_every_field_and_the_line() {
        let record = Record {
            tenant: Some("acme".into()),
            subject: Some("alice".into()),
            target: Some("two\nlines".into()),
            decision: Some(Verdict::Deny),
            stage: Some(crate::stage::Stage::Authorize),
            rule_id: Some("no-writes".into()),
            input_digest: Some([0xab; 32]),
            status: Some(403),
            latency_us: Some(17),
            bytes: Some(80),
            redactions: Some(vec![("card".into(), 2), ("github-token".into(), 1)].into()),
            ..Record::new(Event::Refusal)
        };
        let fields = fields(&record, 7, &GENESIS, "{\"v\":1}");
        for expected in [
            "MESSAGE=alice (acme) was refused two\\nlines: rule no-writes",
            "MESSAGE_ID=f7555283932a430886f21a81e549451b",
            "PRIORITY=4",
            "SYSLOG_IDENTIFIER=airlock-audit",
            "AIRLOCK_EVENT=refusal",
            "AIRLOCK_SEQ=7",
            "AIRLOCK_RECORD={\"v\":1}",
            "AIRLOCK_TENANT=acme",
            "AIRLOCK_TARGET=two\\nlines",
            "AIRLOCK_DECISION=deny",
            "AIRLOCK_STAGE=authorize",
            "AIRLOCK_RULE_ID=no-writes",
            "AIRLOCK_STATUS=403",
            "AIRLOCK_LATENCY_US=17",
            "AIRLOCK_BYTES=80",
            "AIRLOCK_REDACTIONS=card",
            "AIRLOCK_REDACTIONS=github-token",
        ] {
            assert!(fields.iter().any(|field| field == expected), "{expected} in {fields:#?}");
        }
        assert!(
            !fields.iter().any(|field| field.starts_with("AIRLOCK_UPSTREAM")),
            "absent fields are not sent"
        );
    }

    #[test]
    fn priorities_and_names_are_what_journald_accepts() {
        let priority = |record: &Record| {
            fields(record, 0, &GENESIS, "").into_iter().find(|f| f.starts_with("PRIORITY="))
        };
        assert_eq!(priority(&Record::new(Event::CallIntent)).as_deref(), Some("PRIORITY=6"));
        assert_eq!(priority(&Record::kernel_denied("docs", 1, "x", "y", "z")).as_deref(), Some("PRIORITY=4"));
        assert_eq!(priority(&Record::gap(1, "full", None)).as_deref(), Some("PRIORITY=3"));
        for field in fields(&Record::gap(1, "full", Some("x")), 0, &GENESIS, "") {
            let (name, _) = field.split_once('=').unwrap();
            assert!(name.len() <= 64 && !name.starts_with('_'), "{name}");
            assert!(
                name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_'),
                "{name}"
            );
        }
    }
}
