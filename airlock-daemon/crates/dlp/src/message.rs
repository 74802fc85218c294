//! One message: walks its JSON, takes out what is found in any string, key or number, and leaves all other
//! bytes.

pub(crate) mod account;
mod joints;
mod lexer;
mod looks;
mod manifest;
mod names;
mod plan;
mod rewrite;
mod walk;

pub use plan::{Path, Plan, Redacted, Refused};
pub(crate) use walk::{Form, Walk};

/// Looks through a message, which a parser has read before.
pub fn redact(plan: &Plan<'_>, json: &str) -> Result<Redacted, Refused> {
    let mut walk = Walk::new(plan, json, Form::Json);
    walk.look()?;
    walk.finish()
}

#[cfg(test)]
mod pieces;
#[cfg(test)]
mod planted;
#[cfg(test)]
mod tests;
