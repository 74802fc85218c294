//! The account of a message for people: each finding with its place.

use std::ops::Range;

use crate::message::lexer::{Lexer, Token};
use crate::message::rewrite::{Edit, merged};
use crate::message::{Form, Plan, Redacted, Refused, Walk};
use crate::spelling::view;

/// A finding, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The bytes of the message that it covers: of encoded text, and of a name, all of it.
    pub range: Range<usize>,
    /// The detectors that found it, by place, each once; several where encoded text holds several.
    pub detectors: Vec<usize>,
    /// The text in its place; nothing where it stays.
    pub instead: Option<String>,
    /// It stands within encoded text, the rest of which stays.
    pub is_encoded: bool,
    /// The way to its value, or to the member whose name it is in, as a JSON pointer (RFC 6901). Names with
    /// findings stand there as placeholders. Empty for plain text.
    pub pointer: String,
    /// The part of the message that it is in.
    pub part: Part,
}

/// A part of a message in which something can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A string, or plain text.
    Text,
    /// The name of a member.
    Name,
    /// A number.
    Number,
}

/// All that is found in a message, and how it may pass.
#[derive(Debug)]
pub struct Account {
    /// In order of place.
    pub findings: Vec<Finding>,
    /// The fate of the message, as [`redact`](crate::redact) has it.
    pub outcome: Result<Redacted, Refused>,
}

/// Looks through a message as [`redact`](crate::redact) does, and tells of each finding of the first look.
///
/// # Errors
/// When it cannot be looked through to its end.
pub fn account(plan: &Plan<'_>, json: &str) -> Result<Account, Refused> {
    let mut walk = Walk::new(plan, json, Form::Json);
    walk.look()?;
    let mut findings = told(&mut walk);
    point(plan, json, &mut findings)?;
    Ok(Account { findings, outcome: walk.finish() })
}

/// The same for a text that is no JSON: the inside of one string.
///
/// # Errors
/// As for [`account`].
pub fn account_of_text(plan: &Plan<'_>, text: &str) -> Result<Account, Refused> {
    let mut walk = Walk::new(plan, text, Form::Text);
    walk.look()?;
    let findings = told(&mut walk);
    Ok(Account { findings, outcome: walk.finish() })
}

fn told(walk: &mut Walk<'_>) -> Vec<Finding> {
    walk.edits = merged(std::mem::take(&mut walk.edits));
    let finding = |edit: &Edit| {
        let mut detectors = edit.found.clone();
        detectors.sort_unstable();
        detectors.dedup();
        Finding {
            range: edit.range.clone(),
            detectors,
            instead: edit.with.clone(),
            is_encoded: edit.is_partial,
            pointer: String::new(),
            part: Part::Text,
        }
    };
    walk.edits.iter().map(finding).collect()
}

/// An open object or array on the way to a value.
struct Step {
    /// The name of the member that is being read, as a pointer has it; nothing in an array.
    name: Option<String>,
    /// The entries of an array that have begun.
    begun: usize,
}

/// Gives each finding the pointer to its value.
fn point(plan: &Plan<'_>, json: &str, findings: &mut [Finding]) -> Result<(), Refused> {
    let (mut lexer, mut steps, mut done) = (Lexer::new(json), Vec::<Step>::new(), 0);
    while let Some(token) = lexer.next()? {
        if let (Some(step), false) = (steps.last_mut(), matches!(token, Token::End | Token::Key(_))) {
            step.begun += 1;
        }
        match token {
            Token::Object => steps.push(Step { name: Some(String::new()), begun: 0 }),
            Token::Array => steps.push(Step { name: None, begun: 0 }),
            Token::End => drop(steps.pop()),
            Token::Key(inner) => {
                let found = findings.get(done).filter(|found| found.range.start < inner.end);
                let shown = match found {
                    Some(Finding { instead: Some(name), .. }) => name.clone(),
                    Some(found) => placeholder(plan, found),
                    None => json[inner.clone()].to_owned(),
                };
                if let Some(step) = steps.last_mut() {
                    let name = view::json(&shown).text;
                    step.name = Some(name.replace('~', "~0").replace('/', "~1"));
                }
                place(findings, &mut done, &inner, (&steps, Part::Name));
            }
            Token::String(inner) => place(findings, &mut done, &inner, (&steps, Part::Text)),
            Token::Number(inner) => place(findings, &mut done, &inner, (&steps, Part::Number)),
            Token::Literal => {}
        }
    }
    Ok(())
}

/// Gives the findings of one token their pointer.
fn place(findings: &mut [Finding], done: &mut usize, inner: &Range<usize>, (steps, part): (&[Step], Part)) {
    while let Some(finding) = findings.get_mut(*done).filter(|finding| finding.range.start < inner.end) {
        for step in steps {
            finding.pointer.push('/');
            match &step.name {
                Some(name) => finding.pointer.push_str(name),
                None => finding.pointer.push_str(&step.begun.saturating_sub(1).to_string()),
            }
        }
        finding.part = part;
        *done += 1;
    }
}

fn placeholder(plan: &Plan<'_>, finding: &Finding) -> String {
    let name = finding.detectors.first().and_then(|at| plan.detectors.all().get(*at));
    format!("[reported:{}]", name.map_or("", |detector| detector.name()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::action::Action;
    use crate::detector::{Detector, Spec};
    use crate::detectors::Detectors;

    fn told(action: Action, text: &str, is_json: bool) -> Account {
        let spec = Spec { name: "badge".to_owned(), pattern: "AC-[0-9]{6}".to_owned(), ..Spec::default() };
        let detectors = Detectors::new(vec![Detector::new(spec).unwrap()]);
        let plan = Plan {
            detectors: &detectors,
            actions: &[action],
            digest: &|_| 0,
            skip: &[],
            keep: &[],
            limit: 1 << 20,
        };
        if is_json { account(&plan, text).unwrap() } else { account_of_text(&plan, text).unwrap() }
    }

    fn places(account: &Account) -> Vec<(&str, Range<usize>, Part)> {
        account.findings.iter().map(|found| (&*found.pointer, found.range.clone(), found.part)).collect()
    }

    #[test]
    fn each_finding_of_a_message_has_its_pointer() {
        let json =
            r#"{"a/b": [1, {"c~": "is AC-000042"}, "AC-000043 AC-000044"], "AC-000045": {"d": "AC-000046"}}"#;
        let account_of = told(Action::Redact, json, true);
        let expected: Vec<(&str, Range<usize>, Part)> = vec![
            ("/a~1b/1/c~0", 23..32, Part::Text),
            ("/a~1b/2", 37..46, Part::Text),
            ("/a~1b/2", 47..56, Part::Text),
            ("/[redacted:badge]", 61..70, Part::Name),
            ("/[redacted:badge]/d", 80..89, Part::Text),
        ];
        assert_eq!(places(&account_of), expected);
        let text = account_of.outcome.unwrap().text.unwrap();
        assert!(!text.contains("AC-0"), "{text}");
        let reported = told(Action::Report, json, true);
        assert_eq!(reported.findings[4].pointer, "/[reported:badge]/d");
        assert_eq!(reported.outcome.unwrap().text, None);
    }

    #[test]
    fn text_and_messages_that_are_blocked_are_told_of_too() {
        let text = told(Action::Mask, "one \"AC-000042\"\nQUMtMDAwMDQyIGlzIGl0IG5vdywgeWVz", false);
        let ranges: Vec<_> =
            text.findings.iter().map(|found| (found.range.clone(), found.is_encoded)).collect();
        assert_eq!(ranges, [(5..14, false), (16..48, true)]);
        assert!(text.outcome.unwrap().text.unwrap().starts_with("one \"****\"\n"));
        let blocked = told(Action::Block, r#"["AC-000042"]"#, true);
        assert_eq!(places(&blocked), [("/0", 2..11, Part::Text)]);
        assert!(matches!(blocked.outcome, Err(Refused::Blocked { detector: 0, .. })));
    }
}
