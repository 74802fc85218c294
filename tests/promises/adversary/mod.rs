//! Attacks by somebody who has read the source, one file for each side that is attacked. Each was made once and got somewhere; the
//! test holds what stops it now. All are bounded in time and bytes.

mod cage;
mod cage_neighbours;
mod edge;
mod identity;
mod memory;
mod policy;
mod record;
