//! The promises of Airlock by theme, one file each, tested on the built program.

mod audit;
mod cage;
mod ecosystem;
mod edge;
mod identity;
mod lifecycle;
mod limits;
mod pages;
mod policy;
mod protocol;
mod redaction;
