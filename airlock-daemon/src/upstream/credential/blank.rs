//! Words of a token endpoint, for the log: without what was sent to it, which some endpoints quote in what
//! they refuse.

use std::collections::HashSet;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::observe::escape::printable;

/// Most characters of an endpoint's words that are looked at.
const READ: usize = 4_000;
/// Most characters of them that are shown.
const SHOWN: usize = 200;
/// A run of so many characters of a client's token is a quotation; shorter ones every token has in common
/// with many.
const TOKEN_RUN: usize = 8;
/// The same for a secret, of which each part is one.
const SECRET_RUN: usize = 4;
/// In the place of what was sent.
const BLANK: &str = "[blanked]";
/// In the place of words in which it cannot be found exactly, but is there once they are decoded.
const LEFT_OUT: &str = "[left out: it quotes what was sent]";

/// The secrets of one request to a token endpoint, which nobody may read in a log.
#[derive(Clone, Copy)]
pub(super) struct Sent<'a> {
    /// The client's name: no secret, but it is encoded together with one.
    pub(in crate::upstream) id: &'a str,
    /// The client's secret.
    pub(in crate::upstream) secret: &'a str,
    /// The principal's token.
    pub(in crate::upstream) subject: Option<&'a str>,
}

/// All runs of one length of one text, in lower case.
struct Runs {
    length: usize,
    all: HashSet<Box<[char]>>,
}

impl Runs {
    fn of(text: &str, length: usize) -> Option<Self> {
        let text = lower(text);
        let length = length.min(text.len());
        let all = (length > 0).then(|| text.windows(length).map(Into::into).collect())?;
        Some(Self { length, all })
    }

    /// Marks each character of `text` that belongs to such a run.
    fn mark(&self, text: &[char], marks: &mut [bool]) {
        for (start, run) in text.windows(self.length).enumerate() {
            if self.all.contains(run) {
                marks[start..start + self.length].fill(true);
            }
        }
    }

    fn are_in(&self, text: &[char]) -> bool {
        text.windows(self.length).any(|run| self.all.contains(run))
    }
}

impl Sent<'_> {
    /// True where a token that was granted is one of these: the secret itself, or the principal's token, also
    /// with another signature or with something behind it.
    pub(super) fn is_in(&self, granted: &str) -> bool {
        let is_subject = |subject: &str| {
            let signed = subject.rfind('.').map(|end| &subject[..=end]);
            granted.contains(subject) || signed.is_some_and(|signed| granted.starts_with(signed))
        };
        granted == self.secret || self.subject.is_some_and(is_subject)
    }

    /// The words of an endpoint as they may be shown: printable, short, and without anything of this, however
    /// it is encoded.
    pub(super) fn blanked(&self, said: &str) -> String {
        let said: Vec<char> = said.chars().take(READ).collect();
        let mut marks = vec![false; said.len()];
        let small: Vec<char> = said.iter().map(char::to_ascii_lowercase).collect();
        for runs in self.forms() {
            runs.mark(&small, &mut marks);
        }
        let mut text = String::new();
        for (at, (c, blank)) in said.iter().zip(&marks).enumerate() {
            if !blank {
                text.push(*c);
            } else if at == 0 || !marks[at - 1] {
                text.push_str(BLANK);
            }
        }
        if self.is_hidden_in(&text.replace(BLANK, " ")) {
            return LEFT_OUT.to_owned();
        }
        printable(text.trim()).chars().take(SHOWN).collect()
    }

    /// The text that was sent, as endpoints are known to quote it.
    fn forms(&self) -> Vec<Runs> {
        let (id, secret) = (self.id, self.secret);
        let mut forms = vec![Runs::of(secret, SECRET_RUN)];
        for pair in [format!("{id}:{secret}"), format!("{}:{}", form(id), form(secret)), secret.to_owned()] {
            forms.push(Runs::of(STANDARD.encode(&pair).trim_end_matches('='), TOKEN_RUN));
            forms.push(Runs::of(URL_SAFE.encode(&pair).trim_end_matches('='), TOKEN_RUN));
        }
        let quoted = serde_json::Value::from(secret).to_string();
        forms.push(Runs::of(quoted.trim_matches('"'), TOKEN_RUN));
        let texts = [(secret, SECRET_RUN)].into_iter().chain(self.subject.map(|text| (text, TOKEN_RUN)));
        for (text, run) in texts {
            forms.push(Runs::of(text, run));
            forms.extend(
                [form(text), form(text).replace('+', "%20"), hex(text)].map(|one| Runs::of(&one, TOKEN_RUN)),
            );
            forms.push(Runs::of(STANDARD.encode(text).trim_end_matches('='), TOKEN_RUN));
        }
        forms.into_iter().flatten().collect()
    }

    /// True where something of it comes to light when the text is decoded once or twice.
    fn is_hidden_in(&self, text: &str) -> bool {
        // A text that is shorter than a run is in every text.
        let secrets = [Some(self.secret), self.subject].into_iter().flatten();
        let secrets = secrets.filter(|text| text.len() >= SECRET_RUN);
        let runs: Vec<Runs> = secrets.filter_map(|text| Runs::of(text, TOKEN_RUN)).collect();
        let once = decodings(text);
        let twice: Vec<String> = once.iter().flat_map(|text| decodings(text)).collect();
        once.iter().chain(&twice).any(|text| {
            let text = lower(text);
            runs.iter().any(|runs| runs.are_in(&text))
        })
    }
}

fn lower(text: &str) -> Vec<char> {
    text.chars().map(|c| c.to_ascii_lowercase()).collect()
}

/// As in a form (RFC 6749, appendix B).
fn form(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn hex(text: &str) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16);
    text.bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten().collect()
}

/// The readings of a text: without white space, percent signs, escapes of JSON, and base64 in each of its
/// words.
fn decodings(text: &str) -> Vec<String> {
    const LOOSE: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&alphabet::STANDARD, LOOSE);
    let mut all = vec![text.chars().filter(|c| !c.is_whitespace()).collect(), unescaped(text)];
    // A name without a value is all of the text, decoded.
    all.extend(
        form_urlencoded::parse(text.replace(['&', '='], " ").as_bytes()).map(|(name, _)| name.into_owned()),
    );
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && !"+/-_".contains(c)) {
        let word = word.replace('-', "+").replace('_', "/");
        // The beginning of a quotation may be missing.
        for start in 0..4.min(word.len()) {
            let rest = &word[start..];
            // One character alone, beyond the groups of four, is no base64.
            let rest = if rest.len() % 4 == 1 { &rest[..rest.len() - 1] } else { rest };
            if let Ok(bytes) = engine.decode(rest) {
                all.push(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
    }
    all
}

/// Escapes of JSON and its kin, read without asking whether all of them are right.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match rest.next() {
            Some('u') => {
                let digits: String = rest.clone().take(4).collect();
                match u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32) {
                    Some(meant) if digits.len() == 4 => {
                        plain.push(meant);
                        rest.nth(3);
                    }
                    _ => plain.push('u'),
                }
            }
            Some(c) => plain.push(c),
            None => {}
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "s\u{e9}cr\"t/+ of a vault";
    const SUBJECT: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";
    const SENT: Sent<'static> = Sent { id: "airlock", secret: SECRET, subject: Some(SUBJECT) };

    #[test]
    fn what_was_sent_is_blanked_in_every_spelling() {
        let pair = format!("{}:{}", form("airlock"), form(SECRET));
        let json = serde_json::Value::from(SECRET).to_string();
        let each = |parts: Vec<String>| parts.concat();
        let unicode = each(SECRET.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect());
        let percent = each(SUBJECT.bytes().map(|byte| format!("%{byte:02X}")).collect());
        let wrapped = each(SUBJECT.chars().map(|c| format!("{c} ")).collect());
        for quoted in [
            SECRET,
            SUBJECT,
            &SUBJECT[..20],
            &SECRET[..12],
            &SUBJECT.to_uppercase(),
            &form(SECRET),
            &form(SECRET).replace('+', "%20"),
            &form(SECRET).to_lowercase(),
            &form(&form(SECRET)),
            &STANDARD.encode(&pair),
            &STANDARD.encode(format!("airlock:{SECRET}")),
            &URL_SAFE.encode(&pair),
            &STANDARD.encode(SECRET),
            &STANDARD.encode(SUBJECT)[3..],
            &hex(SECRET),
            &json,
            &unicode,
            &percent,
            &wrapped,
            &STANDARD.encode(form(SECRET)),
        ] {
            let shown = SENT.blanked(&format!("refused: <{quoted}> is not known here"));
            for part in [SECRET, SUBJECT, "eyJhbGci", "cr\"t", "of a vault", quoted] {
                assert!(!shown.contains(part), "{part} of {quoted} is in {shown}");
            }
            assert!(shown.contains(BLANK) || shown == LEFT_OUT, "{quoted}: {shown}");
            assert!(!SENT.is_hidden_in(&shown), "{quoted}: {shown}");
        }
    }

    #[test]
    fn other_words_are_shown_as_they_are() {
        for said in
            ["invalid_client", "the client is not known here", "try again in 5 s", "", "\u{fc}nbekannt"]
        {
            assert_eq!(SENT.blanked(said), said);
        }
        assert_eq!(SENT.blanked("one\r\ntwo\u{202e}"), "one\\r\\ntwo\\u{202e}");
        assert!(SENT.blanked(&"x".repeat(1 << 20)).len() <= SHOWN);
        let short = Sent { id: "a", secret: "k", subject: None };
        assert_eq!(short.blanked("ask"), "as[blanked]");
    }

    #[test]
    fn a_token_that_was_sent_is_recognised_with_another_signature() {
        let (signed, _) = SUBJECT.rsplit_once('.').expect("a signature");
        for granted in
            [SUBJECT, SECRET, &format!("{SUBJECT}="), &format!("{signed}.AAAA"), &format!("x{SUBJECT}")]
        {
            assert!(SENT.is_in(granted), "{granted}");
        }
        for granted in ["eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJib2IifQ.c2ln", "abc", ""] {
            assert!(!SENT.is_in(granted), "{granted}");
        }
    }
}
