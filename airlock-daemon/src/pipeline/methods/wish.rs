//! The question that a call is to the policy.

use super::kind::Noun;
use crate::mcp::revision::Revision;
use serde_json::value::RawValue;

/// The use of an upstream that a principal wants.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The method.
    pub method: &'a str,
    /// The target of the request, by the upstream's own name.
    pub subject: Option<(Noun, &'a str)>,
    /// The arguments; `None` for an entry of a list.
    pub arguments: Option<&'a RawValue>,
    /// The client's revision.
    pub revision: Revision,
}

impl<'a> Wish<'a> {
    pub(crate) fn named(&self, noun: Noun) -> Option<&'a str> {
        self.subject.filter(|(is, _)| *is == noun).map(|(_, name)| name)
    }
}
