//! Strangers and web pages against the door: its limits, its blocks and its parser.

mod ambiguous;
mod metrics;
mod places;
mod translators;
mod web_page;
