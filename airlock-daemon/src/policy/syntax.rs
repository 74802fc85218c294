//! Walking Rego syntax trees.

pub(super) mod cycles;
pub(super) mod depends;
pub(super) mod probe;
pub(super) mod reads;
pub(super) mod strict;
pub(super) mod unnamed;

use regorus::Value;
use regorus::unstable::{Expr, Literal, LiteralStmt, Query, Rule, RuleAssign, RuleHead, Span};

/// One step of a reference such as `data.roles[name].tools`.
pub(super) enum RefStep<'a> {
    /// A constant name.
    Name(&'a str),
    /// Anything that is known only when the policy runs.
    Dynamic(&'a Expr),
}

/// Takes a reference apart into what it starts with and its steps.
pub(super) fn flatten(mut expr: &Expr) -> (&Expr, Vec<RefStep<'_>>) {
    let mut steps = Vec::new();
    loop {
        match expr {
            Expr::RefDot { refr, field, .. } => {
                steps.push(RefStep::Name(text(&field.1)));
                expr = refr;
            }
            Expr::RefBrack { refr, index, .. } => {
                steps.push(match &**index {
                    Expr::String { value, .. } | Expr::RawString { value, .. } => RefStep::Name(text(value)),
                    other => RefStep::Dynamic(other),
                });
                expr = refr;
            }
            base => {
                steps.reverse();
                return (base, steps);
            }
        }
    }
}

/// The constant path of a package or a rule head: up to the first step that is not constant.
pub(super) fn static_path(expr: &Expr) -> Vec<String> {
    let (base, steps) = flatten(expr);
    let mut path = Vec::with_capacity(steps.len() + 1);
    if let Expr::Var { value, .. } = base {
        path.push(text(value).to_owned());
    }
    for step in steps {
        match step {
            RefStep::Name(name) => path.push(name.to_owned()),
            RefStep::Dynamic(_) => break,
        }
    }
    path
}

/// The string in a [`Value`] of the syntax tree, where names are always strings.
pub(super) fn text(value: &Value) -> &str {
    match value {
        Value::String(text) => text,
        _ => "",
    }
}

/// `file:line:column` of a piece of source, the column in characters; the parser's own counts a tab as four.
pub(super) fn place(span: &Span) -> String {
    let before = span.source.contents().get(..span.start as usize).unwrap_or_default();
    let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
    format!("{}:{}:{column}", span.source.file(), span.line)
}

/// The reference that a rule defines.
pub(super) fn head(rule: &Rule) -> &Expr {
    match rule {
        Rule::Spec { head, .. } => match head {
            RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. } => refr,
        },
        Rule::Default { refr, .. } => refr,
    }
}

/// The parameters of a function; empty for anything else.
pub(super) fn parameters(rule: &Rule) -> Vec<&Expr> {
    match rule {
        Rule::Spec { head: RuleHead::Func { args, .. }, .. } | Rule::Default { args, .. } => {
            args.iter().map(|arg| &**arg).collect()
        }
        Rule::Spec { .. } => Vec::new(),
    }
}

/// Every outermost expression of a rule except the name it defines.
pub(super) fn roots<'a>(rule: &'a Rule, visit: &mut dyn FnMut(&'a Expr)) {
    for step in flatten(head(rule)).1 {
        if let RefStep::Dynamic(expr) = step {
            visit(expr);
        }
    }
    for parameter in parameters(rule) {
        visit(parameter);
    }
    match rule {
        Rule::Default { value, .. } => visit(value),
        Rule::Spec { head, bodies, .. } => {
            match head {
                RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => {
                    assigned(assign.as_ref(), visit);
                }
                RuleHead::Set { key, .. } => {
                    if let Some(key) = key {
                        visit(key);
                    }
                }
            }
            for body in bodies {
                assigned(body.assign.as_ref(), visit);
                in_query(&body.query, visit);
            }
        }
    }
}

fn assigned<'a>(assign: Option<&'a RuleAssign>, visit: &mut dyn FnMut(&'a Expr)) {
    if let Some(assign) = assign {
        visit(&assign.value);
    }
}

/// Every outermost expression of a query.
pub(super) fn in_query<'a>(query: &'a Query, visit: &mut dyn FnMut(&'a Expr)) {
    query.stmts.iter().for_each(|statement| in_statement(statement, visit));
}

/// Every outermost expression of one statement.
pub(super) fn in_statement<'a>(statement: &'a LiteralStmt, visit: &mut dyn FnMut(&'a Expr)) {
    match &statement.literal {
        Literal::SomeVars { .. } => {}
        Literal::SomeIn { key, value, collection, .. } => {
            if let Some(key) = key {
                visit(key);
            }
            visit(value);
            visit(collection);
        }
        Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => visit(expr),
        Literal::Every { domain, query, .. } => {
            visit(domain);
            in_query(query, visit);
        }
    }
    for modifier in &statement.with_mods {
        visit(&modifier.refr);
        visit(&modifier.r#as);
    }
}

/// Every expression directly below `expr`; below a reference these are its start and its dynamic steps.
pub(super) fn children<'a>(expr: &'a Expr, visit: &mut dyn FnMut(&'a Expr)) {
    match expr {
        Expr::String { .. }
        | Expr::RawString { .. }
        | Expr::Number { .. }
        | Expr::Bool { .. }
        | Expr::Null { .. }
        | Expr::Var { .. } => {}
        Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().for_each(|item| visit(item)),
        Expr::Object { fields, .. } => {
            for (_, key, value) in fields {
                visit(key);
                visit(value);
            }
        }
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            visit(term);
            in_query(query, visit);
        }
        Expr::ObjectCompr { key, value, query, .. } => {
            visit(key);
            visit(value);
            in_query(query, visit);
        }
        Expr::Call { fcn, params, .. } => {
            visit(fcn);
            for param in params {
                visit(param);
            }
        }
        Expr::UnaryExpr { expr, .. } => visit(expr),
        Expr::RefDot { .. } | Expr::RefBrack { .. } => {
            let (base, steps) = flatten(expr);
            visit(base);
            for step in steps {
                if let RefStep::Dynamic(index) = step {
                    visit(index);
                }
            }
        }
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => {
            visit(lhs);
            visit(rhs);
        }
        Expr::Membership { key, value, collection, .. } => {
            if let Some(key) = key {
                visit(key);
            }
            visit(value);
            visit(collection);
        }
    }
}

/// The variables in a pattern, such as both of `[x, {"a": y}]`.
pub(super) fn pattern_variables(pattern: &Expr) -> Vec<&str> {
    let (mut names, mut pending) = (Vec::new(), vec![pattern]);
    while let Some(expr) = pending.pop() {
        match expr {
            Expr::Var { value, .. } if !matches!(text(value), "input" | "data") => names.push(text(value)),
            Expr::Array { items, .. } => pending.extend(items.iter().map(|item| &**item)),
            Expr::Object { fields, .. } => pending.extend(fields.iter().map(|(_, _, value)| &**value)),
            _ => {}
        }
    }
    names
}

/// Every expression of a rule, at every depth.
pub(super) fn every<'a>(rule: &'a Rule, visit: &mut dyn FnMut(&'a Expr)) {
    let mut pending = Vec::new();
    roots(rule, &mut |expr| pending.push(expr));
    while let Some(expr) = pending.pop() {
        visit(expr);
        children(expr, &mut |child| pending.push(child));
    }
}

/// Every query of a rule: its bodies, its comprehensions, and what `every` repeats.
pub(super) fn queries<'a>(rule: &'a Rule, visit: &mut dyn FnMut(&'a Query)) {
    if let Rule::Spec { bodies, .. } = rule {
        for body in bodies {
            visit(&body.query);
        }
    }
    every(rule, &mut |expr| {
        if let Expr::ArrayCompr { query, .. }
        | Expr::SetCompr { query, .. }
        | Expr::ObjectCompr { query, .. } = expr
        {
            visit(query);
        }
    });
}
