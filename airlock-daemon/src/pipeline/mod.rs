//! The checks, one file each, in the order in which a call meets them:
//!
//! 1. [`forwarded`]: whose request does a proxy bring? [`origin`]: may this connection speak at all? (Origin,
//!    Host)
//! 2. [`authenticate`]: whose token is it?
//! 3. [`decode`]: is the body exactly one message?
//! 4. [`limit`]: is it too much? (Requests and refused tokens of an address are counted before 1 and 2 already.)
//! 5. [`route`]: which upstream? ([`kind`] says how a method names its target, [`naming`] what the merged
//!    endpoint calls it, [`safe_names`] what the upstream does)
//! 6. [`authorize`]: what does the policy say?
//! 7. [`record`]: the intent is on record before anything happens.
//! 8. [`call`], [`list`] and [`level`]: the upstream is asked, and what it says is filtered ([`rewrite`]). What it asks in
//!    return goes out through the policy ([`ask`]) and comes back ([`running`], [`required`], [`state`], [`parked`]).
//! 9. [`record`]: the outcome is on record.
//!
//! Each stage either lets the call go on or ends it with a [`Refusal`], which is recorded too.

pub mod ask;
pub mod authenticate;
pub mod authorize;
pub mod call;
pub mod context;
pub mod decode;
pub mod forwarded;
pub mod gateway;
pub mod head;
pub mod kind;
pub mod level;
pub mod limit;
pub mod list;
pub mod mirror;
pub mod naming;
pub mod open;
pub mod origin;
pub mod parked;
pub mod record;
pub mod refusal;
pub mod required;
pub mod rewrite;
pub mod route;
pub mod running;
pub mod safe_names;
pub mod seal;
pub mod stage;
pub mod state;
pub mod subscribe;
mod table;
pub mod talk;
pub mod task;
mod written;

pub use context::Context;
pub use gateway::Gateway;
pub use refusal::Refusal;
pub use stage::Stage;
