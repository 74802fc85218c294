//! Parts of the document that an expression may stand for, and the error where a name is in none of them.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{AssignOp, Expr, Literal, Query, Span};

use crate::config::nearest;
use crate::policy::document::shape::Part;
use crate::policy::error::PolicyError;
use crate::policy::syntax;

/// The parts of the document that an expression may stand for, or anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// One of these parts; none of them where nothing is known yet.
    Parts(BTreeSet<Part>),
    /// Anything.
    Anything,
}

impl Known {
    pub(super) fn nothing() -> Self {
        Self::Parts(BTreeSet::new())
    }

    pub(super) fn one(part: Part) -> Self {
        Self::Parts(BTreeSet::from([part]))
    }

    /// Adds what else it may be; whether that was new.
    pub(super) fn join(&mut self, other: &Self) -> bool {
        let joined = match (&*self, other) {
            (Self::Parts(one), Self::Parts(more)) => Self::Parts(one | more),
            _ => Self::Anything,
        };
        let is_new = joined != *self;
        *self = joined;
        is_new
    }

    pub(super) fn inside(&self) -> Self {
        match self {
            Self::Parts(parts) => Self::Parts(parts.iter().flat_map(|part| part.inside()).collect()),
            Self::Anything => Self::Anything,
        }
    }
}

/// The variables in sight, each with what it stands for.
pub(super) type Variables = BTreeMap<String, Known>;

/// The error about a name that no part of `parts` has; without a name, about parts with nothing in them.
pub(in crate::policy) fn missing(name: Option<&str>, parts: &[Part], span: &Span) -> PolicyError {
    let (mut there, mut reasons) = (Vec::new(), Vec::new());
    for part in parts {
        let names: Vec<&str> =
            part.0.kind.members().unwrap_or_default().iter().map(|member| member.name).collect();
        reasons.push(match name {
            Some(name) if !names.is_empty() => {
                format!("`{}` has no `{name}`, only `{}`", part.path(), names.join("`, `"))
            }
            Some(name) => format!("`{}` is a {} and has no `{name}` in it", part.path(), part.0.kind.name()),
            None => format!("`{}` is a {} and has nothing in it", part.path(), part.0.kind.name()),
        });
        there.extend(names);
    }
    let all =
        "`airlock policy input` shows all that there is; only `call.arguments` and `subject.claims` are free";
    let remedy = match name.and_then(|name| nearest(name, &there)) {
        Some(meant) => format!("did you mean `{meant}`? {all}"),
        None => all.to_owned(),
    };
    let reason = format!("no input document has this: {}", reasons.join("; "));
    PolicyError::new(syntax::place(span), reason, remedy)
}

/// The variables that a query declares, and whether something binds them that this module sees.
pub(super) fn declared(query: &Query, outer: &Variables) -> BTreeMap<String, bool> {
    let mut found = BTreeMap::new();
    let names = |pattern: &Expr| {
        syntax::pattern_variables(pattern).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for statement in &query.stmts {
        match &statement.literal {
            Literal::SomeVars { vars, .. } => {
                for name in vars {
                    found.entry(name.text().to_owned()).or_insert(false);
                }
            }
            Literal::SomeIn { key, value, .. } => {
                let all = key.iter().flat_map(|key| names(key)).chain(names(value));
                found.extend(all.map(|name| (name, true)));
            }
            Literal::Expr { expr, .. } => {
                if let Expr::AssignExpr { op: AssignOp::ColEq, lhs, .. } = &**expr {
                    found.extend(names(lhs).into_iter().map(|name| (name, true)));
                }
            }
            Literal::NotExpr { .. } | Literal::Every { .. } => {}
        }
    }
    // `=` binds what is not bound elsewhere.
    for statement in &query.stmts {
        if let Literal::Expr { expr, .. } = &statement.literal
            && let Expr::AssignExpr { op: AssignOp::Eq, lhs, rhs, .. } = &**expr
        {
            for name in names(lhs).into_iter().chain(names(rhs)) {
                if found.contains_key(&name) || !outer.contains_key(&name) {
                    found.insert(name, true);
                }
            }
        }
    }
    found
}
