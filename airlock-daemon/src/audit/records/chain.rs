//! From a record to its line: number, time, and the hash of the line before.

use std::time::SystemTime;

use super::hash::{GENESIS, Hash, digest};
use super::line;
use super::record::{Bounded, Record};

/// The end of the chain: what the next line continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The number of the next record; the first is 0.
    pub next_seq: u64,
    /// The hash of the last line, without its newline.
    pub head: Hash,
}

impl Default for Chain {
    fn default() -> Self {
        Self { next_seq: 0, head: GENESIS }
    }
}

impl Chain {
    /// Appends the line of `record`, with its newline, to `out`, and moves the chain on. Returns the record's
    /// number.
    pub fn append(&mut self, record: Record, time: SystemTime, out: &mut Vec<u8>) -> u64 {
        let mut text = Vec::new();
        line::write(&Bounded::from(record), &mut text);
        self.append_text(time, out, |out| out.extend_from_slice(&text))
    }

    /// The same for a record whose text ([`line::write`]) `write` appends.
    pub(in crate::audit) fn append_text(
        &mut self,
        time: SystemTime,
        out: &mut Vec<u8>,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> u64 {
        let (seq, start) = (self.next_seq, out.len());
        line::begin(seq, time, out);
        write(out);
        line::end(&self.head, out);
        self.head = digest(out.get(start..).unwrap_or_default());
        self.next_seq += 1;
        out.push(b'\n');
        seq
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::audit::hex;
    use std::time::Duration;

    use super::*;
    use crate::audit::{Event, Verdict};

    #[test]
    fn a_line_has_a_stable_order_and_leaves_out_what_is_absent() {
        let mut chain = Chain::default();
        let mut out = Vec::new();
        let record = Record {
            correlation_id: Some("c1".into()),
            trace_id: Some("t1".into()),
            tenant: Some("acme".into()),
            subject: Some("alice".into()),
            client: Some("203.0.113.7".into()),
            upstream: Some("docs".into()),
            method: Some("tools/call".into()),
            target: Some("read\n\"file\"".into()),
            decision: Some(Verdict::Allow),
            rule_id: Some("reader".into()),
            reason: Some("because".into()),
            input_digest: Some(digest(b"{}")),
            status: Some(200),
            latency_us: Some(12),
            bytes: Some(34),
            lost: None,
            ..Record::new(Event::CallOutcome)
        };
        let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_347_000_000_001);
        assert_eq!(chain.append(record, time, &mut out), 0);
        let first = String::from_utf8(out.clone()).unwrap();
        assert_eq!(
            first,
            concat!(
                r#"{"v":1,"seq":0,"time":"2026-11-22T11:30:00.000001Z","event":"call.outcome","correlation_id":"c1","#,
                r#""trace_id":"t1","tenant":"acme","subject":"alice","client":"203.0.113.7","upstream":"docs","#,
                r#""method":"tools/call","target":"read\n\"file\"","decision":"allow","rule_id":"reader","reason":"because","#,
                r#""input_digest":"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","#,
                r#""status":200,"latency_us":12,"bytes":34,"#,
                r#""prev":"0000000000000000000000000000000000000000000000000000000000000000"}"#,
                "\n"
            )
        );
        assert_eq!(chain.append(Record::new(Event::Stop), time, &mut out), 1);
        let second = String::from_utf8(out).unwrap().split_off(first.len());
        let prev = hex(&digest(first.trim_end_matches('\n').as_bytes()));
        let expected = format!(
            "{{\"v\":1,\"seq\":1,\"time\":\"2026-11-22T11:30:00.000001Z\",\"event\":\"stop\",\"prev\":\"{prev}\"}}\n"
        );
        assert_eq!(second, expected);
    }

    #[test]
    fn the_worst_record_stays_below_the_longest_line() {
        let worst = "\u{1}".repeat(10_000);
        let text = || Some(worst.as_str().into());
        let record = Record {
            correlation_id: text(),
            trace_id: text(),
            tenant: text(),
            subject: text(),
            issuer: text(),
            groups: Some(vec![worst.as_str().into(); 1_000].into()),
            scopes: Some(vec![worst.as_str().into(); 1_000].into()),
            client: text(),
            certificate: text(),
            revision: Some("2026-07-28"),
            upstream: text(),
            unit: text(),
            method: text(),
            target: text(),
            target_bytes: Some(u64::MAX),
            stage: Some(crate::stage::Stage::Authenticate),
            rule_id: text(),
            reason: text(),
            input_digest: Some([255; 32]),
            status: Some(u16::MAX),
            latency_us: Some(u64::MAX),
            bytes: Some(u64::MAX),
            redactions: Some(vec![("x".repeat(48).into(), u64::MAX); 1_000].into()),
            lost: Some(u64::MAX),
            count: Some(u64::MAX),
            decision: Some(Verdict::Allow),
            event: Event::CallOutcome,
        };
        let mut out = Vec::new();
        Chain::default().append(record, SystemTime::now(), &mut out);
        assert!(out.len() < crate::audit::MAX_LINE, "{} bytes", out.len());
    }
}
