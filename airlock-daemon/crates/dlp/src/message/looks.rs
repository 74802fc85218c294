//! Further looks: a replacement may make a finding of what it touches, so that a message that changed is
//! looked through again until nothing is found.

use std::ops::Range;

use super::plan::{Redacted, Refused};
use super::walk::{Form, Walk, one_of_all};
use crate::lexer::{Lexer, NotJson, Token};
use crate::names::applied;
use crate::rewrite::{Edit, merged};

/// How often a message is looked through again. The last time, strings with findings are taken out whole.
const LOOKS: usize = 4;

impl Walk<'_> {
    /// Writes the message as it may pass, and looks through it again as it was looked through.
    pub(crate) fn finish(mut self) -> Result<Redacted, Refused> {
        let plan = self.plan;
        let mut counts = Vec::new();
        let mut placed = Vec::new();
        let mut text = self.write(&mut placed, &mut counts)?;
        for round in 1..=LOOKS {
            let Some(json) = &text else { break };
            let mut walk = Walk::new(plan, json, self.form);
            walk.is_last = round == LOOKS;
            walk.look()?;
            walk.edits = merged(std::mem::take(&mut walk.edits));
            // Nothing of the message is in a placeholder, whatever a detector takes it for.
            let is_own = |edit: &Edit| {
                let behind = placed.partition_point(|own: &Range<usize>| own.end < edit.range.end);
                placed.get(behind).is_some_and(|own| own.start <= edit.range.start)
            };
            walk.edits.retain(|edit| edit.with.is_some() && !is_own(edit));
            if walk.is_last {
                walk.take_out_strings()?;
            }
            let Some(next) = walk.write(&mut placed, &mut counts)? else { break };
            text = Some(next);
        }
        Ok(Redacted { text, counts })
    }

    /// Does the edits, and counts them; nothing where the message stays as it is. The places in it that are
    /// known to hold placeholders move along.
    fn write(
        &mut self,
        placed: &mut Vec<Range<usize>>,
        counts: &mut Vec<(usize, u32)>,
    ) -> Result<Option<String>, Refused> {
        let edits = merged(std::mem::take(&mut self.edits));
        for &detector in edits.iter().flat_map(|edit| &edit.found) {
            match counts.iter_mut().find(|(of, _)| *of == detector) {
                Some((_, count)) => *count += 1,
                None => counts.push((detector, 1)),
            }
        }
        counts.sort_unstable();
        if let Some(detector) = self.rewriter.blocked {
            return Err(Refused::Blocked { detector, counts: std::mem::take(counts) });
        }
        if edits.iter().all(|edit| edit.with.is_none()) {
            return Ok(None);
        }
        let text = applied(self.json, &(0..self.json.len()), &edits);
        if text.len() > self.plan.limit {
            return Err(Refused::TooLong { limit: self.plan.limit });
        }
        *placed = moved(placed, &edits);
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

/// The places of placeholders once edits are done, which are in order.
fn moved(placed: &[Range<usize>], edits: &[Edit]) -> Vec<Range<usize>> {
    let mut all = Vec::with_capacity(placed.len() + edits.len());
    let mut old = placed.iter().peekable();
    // Bytes that were taken out and put in so far.
    let (mut out, mut put) = (0, 0);
    for edit in edits {
        let Some(with) = &edit.with else { continue };
        while let Some(of) = old.next_if(|of| of.end <= edit.range.start) {
            all.push(of.start + put - out..of.end + put - out);
        }
        while old.next_if(|of| of.start < edit.range.end).is_some() {}
        let start = edit.range.start + put - out;
        // A name that changes has other parts besides.
        let is_placeholder = with.rfind('[') == Some(0) && with.find(']') == Some(with.len() - 1);
        if is_placeholder && !edit.is_partial {
            all.push(start..start + with.len());
        }
        put += with.len();
        out += edit.range.len();
    }
    all.extend(old.map(|of| of.start + put - out..of.end + put - out));
    all
}

#[cfg(test)]
mod tests {
    use super::super::planted::{SHIPPED, redacted_by};
    use super::*;
    use crate::detector::Detector;
    use crate::detectors::Detectors;
    use crate::{Action, Plan, Spec, account_of_text};

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

    #[test]
    fn a_string_in_which_findings_go_on_is_taken_out_whole() {
        // Each replacement makes the next letter a finding.
        let detectors =
            of(&[("one", "start-[a-z]"), ("two", r"one\][a-z]"), ("three", r"(?:two|three)\][a-z]")]);
        let json = r#"{"a": "so start-abcdefghij", "start-abcdefghij": "so", "n": 1}"#;
        let result = redacted_by(&detectors, json).expect("nothing blocks").text.expect("a change");
        assert_eq!(result, r#"{"a": "[redacted:three]", "[redacted:three]": "so", "n": 1}"#);
        let plan = Plan {
            detectors: &detectors,
            actions: &[Action::Redact; 3],
            digest: &|_| 0,
            skip: &[],
            keep: &[],
            limit: 1 << 20,
        };
        let account = account_of_text(&plan, "so start-abcdefghij").expect("an account");
        assert_eq!(account.outcome.expect("it passes").text.as_deref(), Some("[redacted:three]"));
    }

    #[test]
    fn a_placeholder_is_no_finding() {
        let detectors = of(&[("word", "redacted"), ("badge", "AC-[0-9]{6}")]);
        let json = r#"["AC-000042, AC-000043 redacted"]"#;
        let result = redacted_by(&detectors, json).expect("nothing blocks");
        let expected = r#"["[redacted:badge], [redacted:badge] [redacted:word]"]"#;
        assert_eq!(result, Redacted { text: Some(expected.into()), counts: vec![(0, 1), (1, 2)] });
    }
}
