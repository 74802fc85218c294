//! The text as YAML: events, a tree with places, and values of it.

pub(super) mod de;
pub(super) mod parse;
pub(super) mod tree;
