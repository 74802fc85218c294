//! The code that the kernel half and the daemon share: the layout of every map, and the decision of the early
//! drop.
//!
//! Nothing here needs the kernel, so the very code that judges packets inside it is also tested on the host.
//!
//! All integers in maps are in host byte order: both sides run on the same machine.
#![cfg_attr(target_arch = "bpf", no_std)]

pub mod block;
pub mod cage;
pub mod decision;
pub mod event;
pub mod hook;
pub mod leaf;
pub mod packet;

pub use block::*;
pub use cage::*;
pub use decision::{Verdict, World, decide};
pub use event::*;
pub use hook::*;
pub use leaf::*;
pub use packet::{Destination, Packet, Source};
