//! The question to a policy and its answer, and the shape that they have.

pub(super) mod asked;
pub(super) mod decision;
pub(super) mod describe;
pub(super) mod input;
pub(super) mod shape;
