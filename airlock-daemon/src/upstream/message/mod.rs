//! Words between a client's side and a server: questions and answers, notices, and how a link ends.

pub mod ask;
pub(super) mod asks;
pub(super) mod briefing;
pub mod notice;
pub mod reply;
