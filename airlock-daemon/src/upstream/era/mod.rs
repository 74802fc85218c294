//! Drivers, one an era, and the facts on a server that either of them learns.

pub mod driver;
pub mod facts;
pub mod legacy;
pub mod modern;
