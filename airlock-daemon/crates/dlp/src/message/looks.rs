//! Further looks: a replacement may make a finding of what it touches, so that a message that changed is
//! looked through again until nothing is found.

use super::plan::{Plan, Redacted, Refused};
use super::walk::{Form, Walk, one_of_all};
use crate::action::Action;
use crate::message::lexer::{Lexer, NotJson, Token};
use crate::message::names::applied;
use crate::message::rewrite::merged;

/// How often a message is looked through again. The last time, strings with findings are taken out whole.
const LOOKS: usize = 4;

impl Walk<'_> {
    /// Writes the message as it may pass, and looks through it again as it was looked through.
    pub(crate) fn finish(mut self) -> Result<Redacted, Refused> {
        // Findings that are only reported are counted once.
        let later = |action: &Action| if *action == Action::Report { Action::Off } else { *action };
        let actions: Vec<Action> = self.plan.actions.iter().map(later).collect();
        let plan = Plan { actions: &actions, ..*self.plan };
        let mut counts = Vec::new();
        let mut text = self.write(&mut counts)?;
        for round in 1..=LOOKS {
            let Some(json) = &text else { break };
            let mut walk = Walk::new(&plan, json, self.form);
            walk.is_last = round == LOOKS;
            walk.look()?;
            walk.edits = merged(std::mem::take(&mut walk.edits));
            if walk.is_last {
                walk.take_out_strings()?;
            }
            let Some(next) = walk.write(&mut counts)? else { break };
            text = Some(next);
        }
        Ok(Redacted { text, counts })
    }

    /// Does the edits, and counts them; nothing where the message stays as it is.
    fn write(&mut self, counts: &mut Vec<(usize, u32)>) -> Result<Option<String>, Refused> {
        let edits = merged(std::mem::take(&mut self.edits));
        for &detector in edits.iter().flat_map(|edit| &edit.found) {
            match counts.iter_mut().find(|(of, _)| *of == detector) {
                Some((_, count)) => *count += 1,
                None => counts.push((detector, 1)),
            }
        }
        if let Some(detector) = self.rewriter.blocked {
            // Another finding may have taken its place.
            if counts.iter().all(|(of, _)| *of != detector) {
                counts.push((detector, 1));
            }
            counts.sort_unstable();
            return Err(Refused::Blocked { detector, counts: std::mem::take(counts) });
        }
        counts.sort_unstable();
        if edits.iter().all(|edit| edit.with.is_none()) {
            return Ok(None);
        }
        let text = applied(self.json, &(0..self.json.len()), &edits);
        if text.len() > self.plan.limit {
            return Err(Refused::TooLong { limit: self.plan.limit });
        }
        Ok(Some(text))
    }

    /// Takes out each string that has a finding, whole. Names were taken out before.
    fn take_out_strings(&mut self) -> Result<(), NotJson> {
        let detectors = self.plan.detectors;
        if self.form == Form::Text {
            self.edits = one_of_all(detectors, &(0..self.json.len()), std::mem::take(&mut self.edits));
            return Ok(());
        }
        let mut edits = std::mem::take(&mut self.edits).into_iter().peekable();
        let mut lexer = Lexer::new(self.json);
        let mut all = Vec::new();
        while let Some(token) = lexer.next()? {
            let (Token::String(inner) | Token::Key(inner) | Token::Number(inner)) = &token else { continue };
            let mut own = Vec::new();
            while let Some(edit) = edits.next_if(|edit| edit.range.start < inner.end) {
                own.push(edit);
            }
            let is_string = matches!(token, Token::String(_));
            all.extend(if is_string { one_of_all(detectors, inner, own) } else { own });
        }
        self.edits = all;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    use super::super::planted::{SHIPPED, redacted_by};
    use super::*;
    use crate::detector::Detector;
    use crate::detectors::Detectors;
    use crate::message::rewrite::Edit;
    use crate::{Spec, account_of_text, redact};

    #[test]
    fn nothing_is_found_in_what_is_left() {
        for text in [
            "a@b.example%34111%2d1111%2d1111%2d1111",
            "x a@example.org%3411111111111111",
            "%34111%2d1111 1111 1111 a@example.org 4111",
        ] {
            let json = serde_json::json!({ text: [text], "a": { "b": text } }).to_string();
            let Ok(Redacted { text: Some(result), .. }) = redacted_by(&SHIPPED, &json) else {
                panic!("nothing found: {json}")
            };
            let again = redacted_by(&SHIPPED, &result).expect("nothing blocks");
            assert_eq!(again, Redacted { text: None, counts: vec![] }, "{json}: {result}");
        }
    }

    fn of(patterns: &[(&str, &str)]) -> Detectors {
        let of = |(name, pattern): &(&str, &str)| {
            let spec = Spec { name: (*name).into(), pattern: (*pattern).into(), ..Spec::default() };
            Detector::new(spec).expect("a detector")
        };
        Detectors::new(patterns.iter().map(of).collect())
    }

    fn plan<'a>(detectors: &'a Detectors, actions: &'a [Action]) -> Plan<'a> {
        Plan { detectors, actions, digest: &|_| 42, skip: &[], keep: &[], limit: 1 << 20 }
    }

    #[test]
    fn a_string_in_which_findings_go_on_is_taken_out_whole() {
        // Each replacement makes the next letter a finding.
        let detectors = of(&[("one", "start-[a-z]"), ("two", r"\]=>[a-z]")]);
        let text = "so start-a=>b=>c=>d=>e=>f=>g=>h";
        let json = format!(r#"{{"a": "{text}", "start-a=>b=>c=>d=>e=>f=>g=>h": "so", "n": 1}}"#);
        let result = redacted_by(&detectors, &json).expect("nothing blocks").text.expect("a change");
        assert_eq!(result, r#"{"a": "[redacted:two]", "[redacted:two]": "so", "n": 1}"#);
        let plan = plan(&detectors, &[Action::Redact; 2]);
        let account = account_of_text(&plan, text).expect("an account");
        assert_eq!(account.outcome.expect("it passes").text.as_deref(), Some("[redacted:two]"));
    }

    #[test]
    fn a_string_with_a_further_part_of_a_secret_is_taken_out_whole() {
        let detectors = of(&[("key", "key-[a-z]{16}")]);
        let edit = |found: Vec<usize>, with: Option<&str>| Edit {
            range: 3..6,
            with: with.map(str::to_owned),
            found,
            is_partial: false,
        };
        for (edit, expected) in [
            (edit(vec![0], Some("x")), (0..9, Some("[redacted:key]"))),
            (edit(vec![], Some("x")), (0..9, Some("[redacted]"))),
            (edit(vec![0], None), (3..6, None)),
        ] {
            let all = one_of_all(&detectors, &(0..9), vec![edit]);
            let all: Vec<_> = all.iter().map(|edit| (edit.range.clone(), edit.with.as_deref())).collect();
            assert_eq!(all, [expected]);
        }
    }

    #[test]
    fn a_placeholder_is_no_finding() {
        let detectors =
            of(&[("word", "redacted"), ("badge", "AC-[0-9]{6}"), ("seat", r"seat: (?P<secret>\S+)")]);
        let json = r#"["AC-000042, AC-000043 redacted", {"seat: 5b [redacted:badge]": "seat: AC-000042"}]"#;
        let expected = concat!(
            r#"["[redacted:badge], [redacted:badge] [redacted:word]", "#,
            r#"{"seat: [redacted:seat] [redacted:badge]": "seat: [redacted:badge]"}]"#
        );
        let result = redacted_by(&detectors, json).expect("nothing blocks");
        assert_eq!(result.text.as_deref(), Some(expected));
        for action in [Action::Redact, Action::Hash, Action::Mask, Action::Block] {
            let actions = [Action::Redact, action, Action::Redact];
            let plan = plan(&detectors, &actions);
            let left = match redact(&plan, r#"["AC-000042, seat: 5b"]"#) {
                Ok(Redacted { text: Some(text), .. }) => text,
                Err(Refused::Blocked { detector: 1, .. }) => continue,
                other => panic!("{other:?}"),
            };
            assert_eq!(redact(&plan, &left), Ok(Redacted { text: None, counts: vec![] }), "{left}");
        }
    }

    #[test]
    fn the_words_of_a_placeholder_make_no_finding_of_their_neighbours() {
        let digits = "3f1c8e5b7a9d0246f8b1c3d5e7092a4c";
        let sid = concat!("A", "C0123456789abcdef0123456789abcdef");
        for message in [
            json!([format!("[redacted:twilio-auth-token] {digits}")]),
            json!({"[redacted:twilio-auth-token]": digits, "[redacted:twilio-auth-token]-2": {"a": digits}}),
            json!([{"iban": "[redacted:iban]", "x": "[redacted:iban] DEUTDEFF"}]),
            json!([STANDARD.encode(format!("so [redacted:twilio-auth-token] is {digits} then"))]),
            json!(["[redacted:phone] 2025550143"]),
        ] {
            let json = message.to_string();
            assert_eq!(redacted_by(&SHIPPED, &json).expect("nothing blocks").text, None, "{json}");
        }
        // By themselves they do.
        let found = redacted_by(&SHIPPED, &json!([format!("{sid} twilio auth token {digits}")]).to_string());
        assert!(!found.expect("nothing blocks").text.expect("a change").contains(digits));
    }

    #[test]
    fn names_stay_apart_however_they_are_spelled_and_whatever_is_reported() {
        let detectors = of(&[("badge", "AC-[0-9]{6}"), ("note", "note")]);
        let plan = plan(&detectors, &[Action::Redact, Action::Report]);
        for (json, expected) in [
            (
                r#"{"\u0061 AC-000042":1,"a [redacted:badge]":2}"#,
                r#"{"\u0061 [redacted:badge]-2":1,"a [redacted:badge]":2}"#,
            ),
            (
                r#"{"a AC-000042":1,"\u0061 AC-000043":2,"a AC-000044":3}"#,
                r#"{"a [redacted:badge]":1,"\u0061 [redacted:badge]-2":2,"a [redacted:badge]-3":3}"#,
            ),
            (
                r#"{"AC-000042 note":1,"[redacted:badge] note":2}"#,
                r#"{"[redacted:badge] note-2":1,"[redacted:badge] note":2}"#,
            ),
        ] {
            let Redacted { text, .. } = redact(&plan, json).expect("nothing blocks");
            assert_eq!(text.as_deref(), Some(expected));
        }
        let reported = redact(&plan, r#"{"AC-000042 note":1}"#).expect("nothing blocks");
        assert_eq!(reported.counts, [(0, 1), (1, 1)], "it is looked through again, and counted once");
    }

    #[test]
    fn nothing_hides_in_what_only_looks_like_a_placeholder() {
        let secret = r#"{"kind":"Secret","data":{"a":"[card:6768705f33313877]"}}"#;
        let text = redacted_by(&SHIPPED, secret).expect("nothing blocks").text.expect("a change");
        assert!(!text.contains("6768705f"), "{text}");
        let json = json!(["password = \"k8Jh2!qPz0[card:a1b2c3d4e5f60798]\""]).to_string();
        let result = redacted_by(&SHIPPED, &json).expect("nothing blocks").text.expect("a change");
        assert!(!result.contains("k8Jh2"), "{result}");
        let label = r#"{"\u005bredacted:twilio-auth-token]":"3f1c8e5b7a9d0246f8b1c3d5e7092a4c"}"#;
        assert_eq!(redacted_by(&SHIPPED, label).expect("nothing blocks").text, None);
    }

    #[test]
    fn a_mask_is_found_once() {
        let actions = vec![Action::Mask; SHIPPED.all().len()];
        let json = r#"{"kind":"Secret","data":{"user":"YWRtaW5pc3RyYXRvcg==","pass":"eA=="}}"#;
        let Redacted { text, counts } = redact(&plan(&SHIPPED, &actions), json).expect("nothing blocks");
        assert_eq!(text.as_deref(), Some(r#"{"kind":"Secret","data":{"user":"****Rvcg","pass":"****"}}"#));
        let [(detector, count)] = counts[..] else { panic!("{counts:?}") };
        assert_eq!((SHIPPED.all()[detector].name(), count), ("kubernetes-secret", 2));
    }

    #[test]
    fn the_finding_that_blocks_is_counted_where_another_takes_its_place() {
        let detectors = of(&[("badge", "AC-[0-9]{6}"), ("line", "x AC-[0-9]{6}")]);
        let plan = plan(&detectors, &[Action::Block, Action::Redact]);
        let blocked = Refused::Blocked { detector: 0, counts: vec![(0, 1), (1, 1)] };
        assert_eq!(redact(&plan, r#"["x AC-000042"]"#), Err(blocked));
    }
}
