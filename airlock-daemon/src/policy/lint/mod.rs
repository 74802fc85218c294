//! Constructs of a policy that are refused at load, each with the reason and the line.

pub(super) mod assigned;
pub(super) mod clear;
pub(super) mod closed;
pub(super) mod hazards;
pub(super) mod negated;
pub(super) mod undefined;
