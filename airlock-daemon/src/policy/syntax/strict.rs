//! Builtins that fail aloud: what meets a wrong type, or an error, ends the whole evaluation, as OPA does
//! with strict builtin errors.
//!
//! A builtin that fails quietly is undefined, so a `deny` that calls it does not fire, and `not` of it is
//! true. The interpreter has a mode in which it is an error. The bytecode machine has one too, but drops such
//! an error together with the body of the rule that it occurs in; only what it takes for a limit that was
//! exceeded ends its run. So each builtin of a program is wrapped: its failure is noted here, for this
//! thread, and reported to the machine as such a limit.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use regorus::rvm::program::Program;
use regorus::rvm::vm::RegoVM;
use regorus::unstable::{BUILTINS, Expr, Module, Ref, Span};
use regorus::{LimitError, Value};

use crate::policy::syntax;

type Function = fn(&Span, &[Ref<Expr>], &[Value], bool) -> anyhow::Result<Value>;

/// How many builtins can be wrapped; the engine has about 170.
const PLACES: usize = 256;

/// All builtins by name, each in the place of the function that wraps it.
static ORIGINALS: LazyLock<Vec<(&'static str, Function)>> = LazyLock::new(|| {
    let mut all: Vec<(&'static str, Function)> =
        BUILTINS.iter().map(|(name, (function, _))| (*name, *function)).collect();
    all.sort_unstable_by_key(|(name, _)| *name);
    all
});

/// The place in a table of rows of 16.
const fn place(row: usize, column: usize) -> usize {
    row * 16 + column
}

/// The functions that wrap them.
static WRAPPERS: LazyLock<Vec<Function>> = LazyLock::new(|| {
    macro_rules! rows {
        ($($row:literal)*) => { [$(
            wrapped::<{ place($row, 0) }>, wrapped::<{ place($row, 1) }>, wrapped::<{ place($row, 2) }>,
            wrapped::<{ place($row, 3) }>, wrapped::<{ place($row, 4) }>, wrapped::<{ place($row, 5) }>,
            wrapped::<{ place($row, 6) }>, wrapped::<{ place($row, 7) }>, wrapped::<{ place($row, 8) }>,
            wrapped::<{ place($row, 9) }>, wrapped::<{ place($row, 10) }>, wrapped::<{ place($row, 11) }>,
            wrapped::<{ place($row, 12) }>, wrapped::<{ place($row, 13) }>, wrapped::<{ place($row, 14) }>,
            wrapped::<{ place($row, 15) }>,
        )*] };
    }
    let all: [Function; PLACES] = rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    all.to_vec()
});

thread_local! {
    /// The builtin that failed in the evaluation that this thread makes.
    static FAILED: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// The builtin at a place of [`ORIGINALS`], with its failure noted and made one that ends the evaluation.
fn wrapped<const PLACE: usize>(
    span: &Span,
    params: &[Ref<Expr>],
    args: &[Value],
    _: bool,
) -> anyhow::Result<Value> {
    let Some((name, function)) = ORIGINALS.get(PLACE) else { anyhow::bail!("no builtin stands here") };
    function(span, params, args, true).map_err(|error| {
        if error.is::<LimitError>() {
            return error;
        }
        FAILED.set(Some(name));
        LimitError::MemoryLimitExceeded { usage: 0, limit: 0 }.into()
    })
}

/// The program with every builtin wrapped. `None` where one of them cannot be.
pub(in crate::policy) fn strict(program: Arc<Program>) -> Option<Arc<Program>> {
    if program.builtin_info_table.is_empty() {
        return Some(program);
    }
    let mut program = Arc::unwrap_or_clone(program);
    for (info, resolved) in program.builtin_info_table.iter().zip(&mut program.resolved_builtins) {
        let place = ORIGINALS.binary_search_by_key(&info.name.as_str(), |(name, _)| name).ok()?;
        resolved.0 = *WRAPPERS.get(place)?;
    }
    if program.builtin_info_table.len() != program.resolved_builtins.len() {
        return None;
    }
    // A failure does not depend on which definition of a rule comes first: the interpreter looks at all of
    // them as well.
    for rule in &mut program.rule_infos {
        rule.early_exit_on_first_success = false;
    }
    Some(Arc::new(program))
}

/// How many lines an expression may have before its calls are not looked for any more.
const LINES: usize = 64;

/// Where the calls of a bundle stand, by line: the machine knows the place of an expression, and not its
/// file.
#[derive(Debug, Default)]
pub(in crate::policy) struct Calls(HashMap<usize, Vec<Called>>);

/// A call of a builtin or a function.
#[derive(Debug)]
struct Called {
    name: String,
    column: usize,
    place: String,
}

impl Calls {
    pub(in crate::policy) fn of(modules: &[Ref<Module>]) -> Self {
        let mut calls = Self::default();
        for rule in modules.iter().flat_map(|module| &module.policy) {
            syntax::every(rule, &mut |expr| {
                if let Expr::Call { fcn, .. } = expr {
                    let (name, span) = (syntax::static_path(fcn).join("."), fcn.span());
                    let called = Called { name, column: span.col as usize, place: syntax::place(span) };
                    calls.0.entry(span.line as usize).or_default().push(called);
                }
            });
        }
        calls
    }

    /// Where a machine is that ended at a call of `builtin`: that at the very place, or those behind it.
    fn place(&self, machine: &RegoVM, builtin: &str) -> String {
        let program = machine.get_program();
        let Some(Some(span)) = program.instruction_spans.get(machine.get_pc()) else {
            return "an unknown place".to_owned();
        };
        let on = |line: usize| -> Vec<&Called> {
            let calls = self.0.get(&line).into_iter().flatten();
            calls
                .filter(|call| call.name == builtin && (line > span.line || call.column >= span.column))
                .collect()
        };
        let lines = span.line..span.line.saturating_add(LINES);
        let mut found = lines.map(on).find(|calls| !calls.is_empty()).unwrap_or_default();
        if found.iter().any(|call| call.column == span.column) {
            found.retain(|call| call.column == span.column);
        }
        let mut places: Vec<&str> = found.iter().map(|call| call.place.as_str()).collect();
        places.dedup();
        if places.is_empty() { "an unknown place".to_owned() } else { places.join(" or ") }
    }
}

/// Forgets what failed before, in an evaluation that panicked.
pub(in crate::policy) fn begin() {
    FAILED.set(None);
}

/// The builtin that failed in the machine's run that has just ended with an error: its name and place,
/// without the values that it was given, which are the client's and no log's.
pub(in crate::policy) fn failure(machine: &RegoVM, calls: &Calls) -> Option<String> {
    FAILED.take().map(|builtin| told(builtin, &calls.place(machine, builtin)))
}

/// The same for an error of the interpreter, which is a text of several lines with the place after `-->`, the
/// line of source, and a reason that may quote values.
pub(in crate::policy) fn failure_of_interpreter(error: &str) -> String {
    let place = error.lines().find_map(|line| line.trim_start().strip_prefix("--> "));
    let reason = error.lines().find_map(|line| line.trim_start().strip_prefix("error: "));
    match (place, reason) {
        (Some(place), Some(reason)) => match reason.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
            Some((builtin, _)) => told(builtin, place),
            None if quotes_nothing(reason) => format!("{place}: {reason}"),
            None => format!("{place}: a wrong type, or an error, in this expression"),
        },
        _ => error.to_owned(),
    }
}

/// True where a reason is the engine's own words alone: values stand in quotes or brackets, and numbers have
/// digits.
fn quotes_nothing(reason: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphabetic() || matches!(c, ' ' | ',' | '.' | '-' | '/' | '_');
    reason.chars().all(plain)
}

fn told(builtin: &str, place: &str) -> String {
    format!("{place}: `{builtin}` met a wrong type, or an error")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_builtin_has_a_place() {
        assert!(ORIGINALS.len() <= PLACES, "{}", ORIGINALS.len());
        assert_eq!(WRAPPERS.len(), PLACES);
        for (place, (name, _)) in ORIGINALS.iter().enumerate() {
            let found = ORIGINALS.binary_search_by_key(name, |(name, _)| name);
            assert_eq!(found, Ok(place), "{name}");
        }
    }

    #[test]
    fn an_error_of_the_interpreter_is_told_without_values() {
        let mut engine = regorus::Engine::new();
        let text = "package a\nimport rego.v1\nx if startswith(input, \"/secret\")\ny if input + 1 > 2\n";
        engine.add_policy("a.rego".into(), text.into()).unwrap();
        engine.set_input(Value::from_json_str(r#"["hunter2"]"#).unwrap());
        let mut told =
            |rule: &str| failure_of_interpreter(&engine.eval_rule(rule.into()).unwrap_err().to_string());
        let text = told("data.a.x");
        assert!(text.starts_with("a.rego:3:") && text.contains("`startswith`"), "{text}");
        let sum = told("data.a.y");
        assert!(sum.starts_with("a.rego:4:"), "{sum}");
        for text in [text, sum] {
            assert!(!text.contains("hunter2") && !text.contains('\n'), "{text}");
        }
    }
}
