//! Arguments that every reader understands alike.
//!
//! The policy sees arguments as one parser reads them, and the server behind it has another. Parsers that
//! match names without regard to letter case (Go's), or normalise text, take `Path` for `path`; those that
//! hold every number in a double (JavaScript's) read 9007199254740992 where 9007199254740993 was sent. The
//! strict walk of a message has refused what no two parsers agree about already; this looks for what is legal
//! JSON and still two things to two readers.
//!
//! One pass over the text, with no allocation for members whose names are plain ASCII.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use regorus::unstable::{BoolOp, Expr, Module, Ref};
use serde_json::value::RawValue;
use unicode_normalization::UnicodeNormalization as _;

use crate::observe::escape::printable;
use crate::policy::syntax::{self, RefStep};

/// Objects with more members than this are looked at with a hash map instead of by comparing all pairs.
const SMALL_OBJECT: usize = 16;
/// Characters of a name, or of a pointer, that are told.
const SHOWN: usize = 200;
/// Integers up to here are all held exactly by a double (2^53).
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Builtins that look at the type of a value and not at the value.
const TYPE_TESTS: [&str; 8] =
    ["is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string", "type_name"];

/// The questions to arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clarity {
    /// No two members of one object may differ only in letter case, width or Unicode normal form.
    pub members: bool,
    /// Every integer must be one that a double holds exactly; without it only those that the policy reads.
    pub numbers: bool,
}

/// Arguments that two readers would understand differently.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("in the arguments, at `{pointer}`: {reason}")]
pub struct Unclear {
    /// Where, as a JSON pointer (RFC 6901) into the arguments; at most 200 characters.
    pub pointer: String,
    /// Why, with no value of an argument in it.
    pub reason: String,
}

/// The parts of the arguments whose values a policy looks at: never too few.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::policy) struct ArgumentsRead(BTreeSet<Vec<String>>);

impl ArgumentsRead {
    /// The names that the rules of all modules may read. A test for `null`, or of a type, reads no value.
    pub(in crate::policy) fn of(modules: &[Ref<Module>]) -> Self {
        let mut found = BTreeSet::new();
        for module in modules {
            let mut names = BTreeMap::from([("input".to_owned(), Vec::new())]);
            for import in &module.imports {
                let path = syntax::static_path(&import.refr);
                if path.first().is_some_and(|first| first == "input") {
                    let alias = import.r#as.as_ref().map(|span| span.text().to_owned());
                    let alias = alias.or_else(|| path.last().cloned()).unwrap_or_default();
                    names.insert(alias, path[1..].to_vec());
                }
            }
            for rule in &module.policy {
                let mut pending = Vec::new();
                syntax::roots(rule, &mut |expr| pending.push(expr));
                while let Some(expr) = pending.pop() {
                    if let Some(tested) = tested(expr) {
                        pending.extend(indices(tested));
                        continue;
                    }
                    let (base, steps) = syntax::flatten(expr);
                    let start = match base {
                        Expr::Var { value, .. } => names.get(syntax::text(value)),
                        _ => None,
                    };
                    let Some(start) = start else {
                        syntax::children(expr, &mut |child| pending.push(child));
                        continue;
                    };
                    let below = steps.iter().map_while(|step| match step {
                        RefStep::Name(name) => Some((*name).to_owned()),
                        RefStep::Dynamic(_) => None,
                    });
                    let path: Vec<String> = start.iter().cloned().chain(below).collect();
                    match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                        [] | ["call"] => found.insert(Vec::new()),
                        ["call", "arguments", ..] => found.insert(path[2..].to_vec()),
                        _ => false,
                    };
                    pending.extend(indices(expr));
                }
            }
        }
        Self(found)
    }

    /// True where the value that is inside of all these is, or is part of, something that is read.
    fn covers(&self, open: &[Open<'_>]) -> bool {
        let is_step = |(read, open): (&String, &Open<'_>)| match open {
            Open::Object { name, .. } => **name == **read,
            Open::Array(index) => read.parse() == Ok(*index),
        };
        self.0.iter().any(|read| read.len() <= open.len() && read.iter().zip(open).all(is_step))
    }
}

/// The operand that an expression looks at without reading its value: one side of a comparison with `null`,
/// or the argument of a test of its type.
fn tested(expr: &Expr) -> Option<&Expr> {
    let found = match expr {
        Expr::BoolExpr { op: BoolOp::Eq | BoolOp::Ne, lhs, rhs, .. } => match (&**lhs, &**rhs) {
            (Expr::Null { .. }, other) | (other, Expr::Null { .. }) => other,
            _ => return None,
        },
        Expr::Call { fcn, params, .. }
            if TYPE_TESTS.contains(&syntax::static_path(fcn).join(".").as_str()) =>
        {
            params.first()?
        }
        _ => return None,
    };
    matches!(found, Expr::RefDot { .. } | Expr::RefBrack { .. }).then_some(found)
}

/// The steps of a reference that are known only when the policy runs.
fn indices(expr: &Expr) -> impl Iterator<Item = &Expr> {
    syntax::flatten(expr).1.into_iter().filter_map(|step| match step {
        RefStep::Dynamic(index) => Some(index),
        RefStep::Name(_) => None,
    })
}

/// Looks at arguments.
///
/// # Errors
/// The first place that two readers would understand differently.
pub(in crate::policy) fn check(
    arguments: &RawValue,
    read: &ArgumentsRead,
    clarity: Clarity,
) -> Result<(), Unclear> {
    let text = arguments.get();
    // The common `{}`.
    if text.len() <= 2 {
        return Ok(());
    }
    Scan { text, at: 0, read, clarity, keys: Vec::new(), open: Vec::new() }.run()
}

/// A walk over text that is known to be JSON.
struct Scan<'a> {
    text: &'a str,
    at: usize,
    read: &'a ArgumentsRead,
    clarity: Clarity,
    /// The names of the open objects' members so far, with their quotes.
    keys: Vec<&'a str>,
    open: Vec<Open<'a>>,
}

/// An object or array that the walk is inside of.
enum Open<'a> {
    /// Where its names begin, whether a name comes next, and the name whose value is being read: decoded
    /// once, since every number in it asks for it.
    Object { keys: usize, name_next: bool, name: Cow<'a, str> },
    /// Which element is being read.
    Array(usize),
}

impl<'a> Scan<'a> {
    fn run(mut self) -> Result<(), Unclear> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            let start = self.at;
            self.at += 1;
            match byte {
                b'{' => {
                    self.open.push(Open::Object { keys: self.keys.len(), name_next: true, name: "".into() });
                }
                b'[' => self.open.push(Open::Array(0)),
                b']' => drop(self.open.pop()),
                b'}' => self.close()?,
                b',' => match self.open.last_mut() {
                    Some(Open::Object { name_next, .. }) => *name_next = true,
                    Some(Open::Array(index)) => *index += 1,
                    None => {}
                },
                b'"' => {
                    let text = self.string(start);
                    if let Some(Open::Object { name_next, name, .. }) = self.open.last_mut()
                        && std::mem::take(name_next)
                    {
                        *name = decoded(text);
                        self.keys.push(text);
                    }
                }
                b'-' | b'0'..=b'9' => self.number(start)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The string that begins at `start`, with its quotes.
    fn string(&mut self, start: usize) -> &'a str {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let mut end = rest.len();
        let mut from = 0;
        while let Some(found) = memchr::memchr2(b'"', b'\\', rest.get(from..).unwrap_or_default()) {
            if rest[from + found] == b'"' {
                end = from + found + 1;
                break;
            }
            // An escaped character, a quote for one, is passed over.
            from += found + 2;
        }
        self.at += end;
        self.text.get(start..self.at).unwrap_or_default()
    }

    fn number(&mut self, start: usize) -> Result<(), Unclear> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
        self.at += rest.iter().take_while(|byte| part(byte)).count();
        let number = self.text.get(start..self.at).unwrap_or_default();
        if is_exact(number) {
            return Ok(());
        }
        if !self.clarity.numbers && !self.read.covers(&self.open) {
            return Ok(());
        }
        Err(Unclear {
            pointer: pointer(&self.steps()),
            reason: "readers that hold numbers in doubles read another integer here: send it as text"
                .to_owned(),
        })
    }

    /// The end of an object: all its names are known.
    fn close(&mut self) -> Result<(), Unclear> {
        let Some(Open::Object { keys, .. }) = self.open.pop() else { return Ok(()) };
        if self.clarity.members
            && let Some((one, other)) = same_to_somebody(self.keys.get(keys..).unwrap_or_default())
        {
            let (one, other) = (decoded(one), decoded(other));
            let mut steps = self.steps();
            steps.push(other.clone());
            return Err(Unclear {
                pointer: pointer(&steps),
                reason: format!(
                    "the members `{}` and `{}` differ only in letter case, width or Unicode normal form, so readers \\
                     disagree about which one counts",
                    shown(&one),
                    shown(&other)
                ),
            });
        }
        self.keys.truncate(keys);
        Ok(())
    }

    /// The way to what is being read.
    fn steps(&self) -> Vec<Cow<'a, str>> {
        let step = |open: &Open<'a>| match open {
            Open::Object { name, .. } => name.clone(),
            Open::Array(index) => index.to_string().into(),
        };
        self.open.iter().map(step).collect()
    }
}

/// Two names of one object that somebody reads as one.
fn same_to_somebody<'a>(keys: &[&'a str]) -> Option<(&'a str, &'a str)> {
    if keys.len() < 2 {
        return None;
    }
    let plain = keys.iter().all(|key| key.is_ascii() && !key.contains('\\'));
    if plain && keys.len() <= SMALL_OBJECT {
        let pairs =
            keys.iter().enumerate().flat_map(|(at, one)| keys[..at].iter().map(move |other| (*other, *one)));
        return pairs.into_iter().find(|(one, other)| one.eq_ignore_ascii_case(other));
    }
    let mut seen: HashMap<Cow<'_, str>, &str> = HashMap::with_capacity(keys.len());
    for key in keys {
        if let Some(before) = seen.insert(folded(key), *key) {
            return Some((before, key));
        }
    }
    None
}

/// A name as the laxest of readers sees it: without letter case, width and other compatibility forms. `ß` is
/// `ss`, `ſ` is `s`, `ı` is `i`, and the Kelvin sign is `k`.
fn folded(key: &str) -> Cow<'_, str> {
    let name = decoded(key);
    if name.is_ascii() {
        return if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            name.to_ascii_lowercase().into()
        } else {
            name
        };
    }
    // Normalising may bring letters with case, and taking case away may bring what is not in normal form.
    let normal: String = name.nfkc().collect();
    normal.to_uppercase().to_lowercase().nfkc().collect::<String>().into()
}

/// The text between the quotes of a string.
fn decoded(quoted: &str) -> Cow<'_, str> {
    let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(quoted);
    if inner.contains('\\') {
        serde_json::from_str::<String>(quoted).map_or(Cow::Borrowed(inner), Cow::Owned)
    } else {
        Cow::Borrowed(inner)
    }
}

fn pointer(steps: &[Cow<'_, str>]) -> String {
    let mut text = String::new();
    for step in steps {
        text.push('/');
        text.push_str(&step.replace('~', "~0").replace('/', "~1"));
    }
    shown(&text)
}

/// At most 200 characters, none of which steers a terminal.
fn shown(text: &str) -> String {
    let mut chars = text.chars();
    let mut short: String = chars.by_ref().take(SHOWN).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    printable(&short).into_owned()
}

/// True where a number in JSON is the same to readers with doubles and to readers with integers of any size:
/// it is no integer, or it is one that a double holds.
pub(in crate::policy) fn is_exact(number: &str) -> bool {
    // 15 digits always fit.
    if number.len() <= 15 && number.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit()) {
        return true;
    }
    let Ok(double) = number.parse::<f64>() else { return false };
    let magnitude = number.trim_start_matches('-');
    let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if !double.is_finite() {
        return false;
    }
    if double.abs() < EXACT {
        return true;
    }
    // Its digits without zeros at either end, and how many there are before the point.
    let digits: String = [whole, fraction].concat();
    let leading = digits.len() - digits.trim_start_matches('0').len();
    let significant = digits.trim_matches('0');
    let Ok(exponent) = exponent.parse::<i64>() else { return false };
    let before_point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(exponent)
        - i64::try_from(leading).unwrap_or(i64::MAX);
    let Ok(before_point) = usize::try_from(before_point) else { return true };
    if before_point < significant.len() {
        // It has a fraction, so nobody takes it for an integer.
        return true;
    }
    // From 2^53 on every double is an integer, written out here in full.
    let held = format!("{:.0}", double.abs());
    held.len() == before_point && held.trim_end_matches('0') == significant
}
