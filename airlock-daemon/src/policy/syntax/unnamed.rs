//! Rules that give no `rule_id`: what they decide is told by file and line.
//!
//! A policy may say nothing of `rule_id`, and an entry of `deny` may have none. Which definition of `allow`
//! holds is known to the engine alone, so where there are several, each is written out once more: as an
//! element of a set that holds the place of those that hold. An entry of `deny` is found again by its reason.

use std::path::Path;
use std::sync::Arc;

use regorus::unstable::{Expr, Module, Ref, Rule, RuleHead, Span};
use regorus::{Engine, Value};

use super::probe;
use super::reads::Reads;
use crate::policy::package::PACKAGE;
use crate::policy::syntax;

/// The set of the places of all definitions of `allow` that hold; no rule of a bundle should be called so.
pub(in crate::policy) const ALLOWED_BY: &str = "airlock_allowed_by";

/// Where rules stand that have no name.
#[derive(Debug, Default)]
pub(in crate::policy) struct Unnamed {
    /// The definition of `allow` that decides where the set above says nothing.
    pub(in crate::policy) allow: Option<Arc<str>>,
    /// Definitions of `deny` that give no `rule_id`, with their reasons where these are constant.
    deny: Vec<(Option<Arc<str>>, Arc<str>)>,
}

impl Unnamed {
    /// Finds them in a bundle at `root`, and adds to `engine` what tells definitions of `allow` from each
    /// other. One that cannot be written out is left without a name.
    pub(in crate::policy) fn of(engine: &mut Engine, root: &Path) -> Self {
        let modules = engine.get_modules().clone();
        let mut found = Self::default();
        let is_named = modules.iter().any(|module| rules(module, "rule_id").next().is_some());
        for module in &modules {
            for rule in rules(module, "deny") {
                if let Rule::Spec { head: RuleHead::Set { key: Some(key), .. }, span, .. } = &**rule
                    && let Some(reason) = unnamed_reason(key)
                {
                    found.deny.push((reason, place(span, root)));
                }
            }
            let always = |rule: &&Ref<Rule>| match &***rule {
                Rule::Default { value, .. } => {
                    matches!(&**value, Expr::Bool { value: Value::Bool(true), .. })
                }
                Rule::Spec { bodies, .. } => bodies.is_empty(),
            };
            if let Some(rule) = rules(module, "allow").find(always).filter(|_| !is_named) {
                found.allow.get_or_insert_with(|| place(rule.span(), root));
            }
        }
        if is_named {
            return found;
        }
        let mut definitions = probe::definitions(&modules, &Reads::new(&modules));
        definitions.retain(|definition| definition.rule == format!("{}.{}.allow", PACKAGE[0], PACKAGE[1]));
        if let ([only], None) = (definitions.as_slice(), &found.allow) {
            found.allow = Some(shown(&only.source.file, only.source.line, root));
            return found;
        }
        for (at, definition) in definitions.iter().enumerate() {
            let place = shown(&definition.source.file, definition.source.line, root);
            // A name for the record is no reason to refuse a policy.
            let _ = engine.add_policy(format!("{ALLOWED_BY}_{at}"), definition.collected(ALLOWED_BY, &place));
        }
        found
    }

    /// The `rule_id` of a denial for this reason: the one place of its entry of `deny`, or all that it may
    /// come from.
    pub(in crate::policy) fn denied_by(&self, reason: &str) -> Option<Arc<str>> {
        let with = |wanted: Option<&str>| {
            let fitting = self.deny.iter().filter(|(constant, _)| constant.as_deref() == wanted);
            let mut places: Vec<&str> = fitting.map(|(_, place)| &**place).collect();
            places.dedup();
            (!places.is_empty()).then(|| places.join(" or ").into())
        };
        with(Some(reason)).or_else(|| with(None))
    }
}

/// The definitions of an output in a module.
fn rules<'m>(module: &'m Module, name: &'static str) -> impl Iterator<Item = &'m Ref<Rule>> {
    let package = syntax::static_path(&module.package.refr);
    module.policy.iter().filter(move |rule| {
        let own = syntax::static_path(syntax::head(rule));
        package.iter().chain(&own).eq(PACKAGE.iter().chain([&name]))
    })
}

/// The reason, where it is constant, of an entry that may have no `rule_id`; `None` for one that has it.
#[expect(clippy::option_option, reason = "the inner absence is a reason that is not constant")]
fn unnamed_reason(entry: &Expr) -> Option<Option<Arc<str>>> {
    let constant = |expr: &Expr| match expr {
        Expr::String { value, .. } | Expr::RawString { value, .. } => Some(Arc::from(syntax::text(value))),
        _ => None,
    };
    let Expr::Object { fields, .. } = entry else { return Some(constant(entry)) };
    let member = |name: &str| {
        let is_it = |key: &Expr| matches!(key, Expr::String { value, .. } if syntax::text(value) == name);
        fields.iter().find(|(_, key, _)| is_it(key)).map(|(_, _, value)| value)
    };
    match member("rule_id") {
        Some(_) => None,
        None => Some(member("reason").and_then(|reason| constant(reason))),
    }
}

fn place(span: &Span, root: &Path) -> Arc<str> {
    shown(span.source.file(), span.line, root)
}

/// File and line, the file as it is called inside of the bundle.
fn shown(file: &str, line: u32, root: &Path) -> Arc<str> {
    let file = Path::new(file).strip_prefix(root).unwrap_or(Path::new(file));
    format!("{}:{line}", file.display()).into()
}
