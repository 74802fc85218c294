//! Definitions that decide without a body to look into: constants, defaults, and heads that are more than a
//! name.

use regorus::Value;
use regorus::unstable::{Expr, Module, Ref, Rule, RuleHead};

use super::explain::OUTPUTS;
use crate::policy::syntax::{self, probe};

/// The decisions of a policy's rules that [`probe::definitions`] does not list.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unprobed {
    /// `allow` is always true, unless something refuses.
    pub(in crate::policy) allows: bool,
    /// `allow` is true where nothing else is said of it.
    pub(super) may_allow: bool,
    /// Something always refuses.
    pub(in crate::policy) refuses: bool,
    /// There is a rule of which nothing can be said.
    pub(super) is_unknown: bool,
}

impl Unprobed {
    /// Looks at the definitions of `allow` and `deny`.
    pub(in crate::policy) fn of(modules: &[Ref<Module>]) -> Self {
        let mut found = Self::default();
        for module in modules {
            let package = syntax::static_path(&module.package.refr).join(".");
            for rule in &module.policy {
                let name = format!("{package}.{}", syntax::static_path(syntax::head(rule)).join("."));
                if name == OUTPUTS[0] {
                    found.allow(rule);
                } else if name == OUTPUTS[1] {
                    found.deny(rule);
                }
            }
        }
        found
    }

    fn allow(&mut self, rule: &Rule) {
        match rule {
            Rule::Default { value, .. } => self.may_allow |= !is_false(value),
            Rule::Spec { head: RuleHead::Compr { refr, assign, .. }, bodies, .. } if is_name(refr) => {
                let Some(assign) = assign.as_ref().filter(|_| bodies.is_empty()) else { return };
                self.allows |= is_true(&assign.value);
                // A value that is neither a constant nor in a body is listed.
            }
            Rule::Spec { .. } => self.is_unknown = true,
        }
    }

    fn deny(&mut self, rule: &Rule) {
        match rule {
            Rule::Spec { head: RuleHead::Set { refr, key: Some(key), .. }, bodies, .. } if is_name(refr) => {
                self.refuses |= bodies.is_empty() && probe::is_constant(key);
            }
            Rule::Spec { .. } | Rule::Default { .. } => self.is_unknown = true,
        }
    }
}

fn is_name(head: &Expr) -> bool {
    matches!(head, Expr::Var { .. })
}

fn is_true(expr: &Expr) -> bool {
    matches!(expr, Expr::Bool { value: Value::Bool(true), .. })
}

fn is_false(expr: &Expr) -> bool {
    matches!(expr, Expr::Bool { value: Value::Bool(false), .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str) -> Unprobed {
        let mut engine = regorus::Engine::new();
        let source = format!("package airlock.authz\nimport rego.v1\n{body}\n");
        engine.add_policy("a.rego".into(), source).expect("a policy");
        Unprobed::of(engine.get_modules())
    }

    #[test]
    fn what_no_probe_sees_is_known() {
        let none = Unprobed::default();
        let listed = "default allow := false\nallow if input.x\nallow := true if input.y\ndeny contains {\"rule_id\": \"a\"} if input.z";
        assert_eq!(of(listed), none);
        assert_eq!(of("allow := true"), Unprobed { allows: true, ..none });
        assert_eq!(of("default allow := true"), Unprobed { may_allow: true, ..none });
        assert_eq!(of("deny contains {\"rule_id\": \"a\"}"), Unprobed { refuses: true, ..none });
        assert_eq!(of("deny := {1} if input.x"), Unprobed { is_unknown: true, ..none });
    }
}
