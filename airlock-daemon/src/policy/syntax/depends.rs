//! Which parts of `input` a policy can look at, found in the syntax tree: what it cannot see cannot change
//! its answer.
//!
//! Every doubt counts as a look. `input.call` as a whole (in `walk`, behind a variable, as an argument) reads
//! all below it, `input[x]` reads everything, and so does an import. A `with` puts in the place of `input` a
//! value of expressions that are looked at here as well.

use regorus::unstable::{Expr, Module, Ref, Span};

use super::RefStep;
use crate::policy::syntax;

/// Builtins whose answer is not a function of their arguments.
const FICKLE: [&str; 6] =
    ["time.now_ns", "rand.intn", "uuid.rfc4122", "opa.runtime", "http.send", "net.lookup_ip_addr"];

/// The parts of a question that an answer may depend on. The subject and the names of the call are always
/// part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::policy) struct Depends {
    /// `input.call.arguments`.
    pub(in crate::policy) arguments: bool,
    /// `input.client.address`.
    pub(in crate::policy) address: bool,
    /// `input.client.certificate`.
    pub(in crate::policy) certificate: bool,
    /// `input.client.uid`.
    pub(in crate::policy) uid: bool,
    /// The cause of different answers to two equal questions, and its place: the clock, or chance.
    pub(in crate::policy) fickle: Option<String>,
}

impl Depends {
    /// The names that the rules of all modules may read.
    pub(in crate::policy) fn of(modules: &[Ref<Module>]) -> Self {
        let mut reads = Self::default();
        for module in modules {
            for import in &module.imports {
                reads.look(&import.refr);
            }
            for rule in &module.policy {
                let mut pending = Vec::new();
                syntax::roots(rule, &mut |expr| pending.push(expr));
                while let Some(expr) = pending.pop() {
                    // A reference is judged as a whole; what it starts with is not a second one.
                    if reads.look(expr) {
                        let (_, steps) = syntax::flatten(expr);
                        pending.extend(steps.into_iter().filter_map(|step| match step {
                            RefStep::Dynamic(index) => Some(index),
                            RefStep::Name(_) => None,
                        }));
                    } else {
                        syntax::children(expr, &mut |child| pending.push(child));
                    }
                }
            }
        }
        reads
    }

    /// Judges an expression; whether it is a reference that starts with a name.
    fn look(&mut self, expr: &Expr) -> bool {
        let (base, steps) = syntax::flatten(expr);
        let Expr::Var { value, span, .. } = base else { return false };
        let mut path = vec![syntax::text(value)];
        path.extend(steps.iter().map_while(|step| match step {
            RefStep::Name(name) => Some(*name),
            RefStep::Dynamic(_) => None,
        }));
        match path.as_slice() {
            ["input", below @ ..] => self.reads(below, span),
            name if FICKLE.contains(&name.join(".").as_str()) => self.fickle(&name.join("."), span),
            _ => {}
        }
        true
    }

    fn reads(&mut self, path: &[&str], span: &Span) {
        match path {
            [] => {
                self.all();
                self.fickle("`input` as a whole, and with it the time,", span);
            }
            ["time", ..] => self.fickle("input.time", span),
            ["call"] | ["call", "arguments", ..] => self.arguments = true,
            ["client"] => (self.address, self.certificate, self.uid) = (true, true, true),
            ["client", "address", ..] => self.address = true,
            ["client", "certificate", ..] => self.certificate = true,
            ["client", "uid", ..] => self.uid = true,
            // The subject, the names of the call, and what does not exist and stays undefined.
            _ => {}
        }
    }

    fn all(&mut self) {
        (self.arguments, self.address, self.certificate, self.uid) = (true, true, true, true);
    }

    fn fickle(&mut self, what: &str, span: &Span) {
        self.fickle.get_or_insert_with(|| format!("{what} is read at {}", syntax::place(span)));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn reads(body: &str) -> Depends {
        let mut engine = regorus::Engine::new();
        let source = format!("package airlock.authz\nimport rego.v1\n{body}\n");
        engine.add_policy("a.rego".into(), source).unwrap();
        Depends::of(engine.get_modules())
    }

    #[test]
    fn what_is_not_read_is_known() {
        let none = Depends::default();
        for body in [
            "allow if input.subject.tenant == \"acme\"",
            "allow if { some group in input.subject.groups; group == data.input.time }",
            "allow if input.call.method == \"ping\"",
            "allow if input[\"call\"].tool == \"x\"",
            "allow if input.call[\"tool\"] == \"x\"",
            "allow if input.nothing",
            "allow if data.time > 5",
            "allow if time.weekday(data.day) == \"Monday\"",
        ] {
            assert_eq!(reads(body), none, "{body}");
        }
        let arguments = Depends { arguments: true, ..Depends::default() };
        for body in [
            "allow if input.call.arguments.path",
            "allow if input[\"call\"][\"arguments\"]",
            "allow if { x := input.call; x.arguments.path }",
            "allow if { x := input[\"call\"]; x[\"tool\"] }",
            "allow if { some name; input.call[name] == 1 }",
            "allow if walk(input.call, [p, v])",
            "allow if object.get(input.call, \"arguments\", null)",
            "f(x) := x.arguments\nallow if f(input.call)",
            "allow if { every v in input.call { v } }",
            "allow if [1 | some v in input.call; v == 1]",
            "x[input.call.arguments.key] := 1\nallow := true",
            "default allow := false\nallow := true if false else := input.call.arguments.y",
            "allow if f(1) with input.call.method as input.call.arguments.m\nf(x) := x",
            "import input.call as c\nallow if c.arguments.x",
            "import input.call.arguments\nallow if arguments.x",
            "deny contains {\"rule_id\": \"a\", \"reason\": input.call.arguments.x} if true",
            "allow if not input.call.arguments",
            "allow if data.m[input.call.arguments.k]",
            "allow if input.call.tool[input.call.arguments.k]",
        ] {
            assert_eq!(reads(body), arguments, "{body}");
        }
        let client = |address, certificate, uid| Depends { address, certificate, uid, ..Depends::default() };
        assert_eq!(reads("allow if input.client.address == \"::1\""), client(true, false, false));
        assert_eq!(reads("allow if input.client.certificate"), client(false, true, false));
        assert_eq!(reads("allow if input.client[\"uid\"] == 0"), client(false, false, true));
        assert_eq!(reads("allow if { c := input.client; c }"), client(true, true, true));
        assert_eq!(reads("allow if input.client[data.x]"), client(true, true, true));
    }

    #[test]
    fn time_chance_and_the_whole_input_are_fickle() {
        for body in [
            "allow if input.time > 5",
            "allow if input[\"time\"]",
            "allow if input[data.key]",
            "allow if { x := input; x.call }",
            "allow if walk(input, [p, v])",
            "allow if count(input) == 4",
            "allow if { some k, v in input; v }",
            "allow if f(1) with input as {}\nf(x) := x",
            "import input as i\nallow if i.call",
            "import input.time\nallow if time == 1",
            "allow if time.now_ns() > 5",
            "allow if time[\"now_ns\"]() > 5",
            "allow if rand.intn(\"a\", 5) == 1",
            "allow if uuid.rfc4122(\"a\") == \"x\"",
            "allow if opa.runtime().env",
            "allow if { [1 | time.now_ns() > 4][0] }",
            "allow if { every x in [1] { time.now_ns() > x } }",
            "allow if data.m[time.now_ns()]",
        ] {
            let reads = reads(body);
            assert!(reads.fickle.as_deref().unwrap_or_default().contains("a.rego:"), "{body}: {reads:?}");
        }
    }
}
