//! Requests of an operator by `airlock block`: the list, one more, one less.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::orders::Order;
use super::{Limits, orders};
use crate::config::units::Period;
use crate::kernel::Reason;

/// Longest time that an operator can block for. A longer one belongs into a firewall, which keeps it over a
/// restart.
pub const LONGEST: Duration = Duration::from_hours(30 * 24);
/// Longest reason of an operator, in characters.
pub const MAX_REASON: usize = 200;

/// An address that is blocked now. Its JSON form is a stable contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Block {
    /// The address, or the IPv6 /64; of a client behind a translator its IPv4 address.
    pub address: String,
    /// The cause: `operator`, `rate_limit` or `failed_auth`.
    pub kind: Reason,
    /// The operator's words.
    pub reason: Option<String>,
    /// The user who ordered it.
    pub added_by_uid: Option<u32>,
    /// How long it still lasts, in seconds, rounded up.
    pub remaining_secs: u64,
    /// The interfaces on which the kernel drops its packets. On none, its requests are refused; so are,
    /// everywhere, those that a trusted proxy passes on for it.
    pub dropped_on: Vec<String>,
    /// Packets that the kernel dropped since the block began.
    pub packets: u64,
}

/// Why an order is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OrderError {
    /// It must never be blocked.
    #[error("{0} is never blocked: {1}")]
    Exempt(IpAddr, &'static str),
    /// The time makes no sense.
    #[error("a block lasts between 1s and {}, not {}", Period(LONGEST), Period(*.0))]
    Time(Duration),
    /// The reason is too long or holds control characters.
    #[error(
        "the reason has to be at most {MAX_REASON} characters without line breaks and control characters"
    )]
    Words,
    /// So many are enough.
    #[error(
        "{most} blocks are in force, and there is no room for more: remove some, or block whole networks in a firewall",
        most = orders::MOST
    )]
    Full,
}

impl Limits {
    /// Blocks an address by order of user `by`, from now on for `lasting`. Another order for the same address
    /// takes the place of the one before.
    ///
    /// # Errors
    /// [`OrderError`].
    pub fn block(
        &self,
        address: IpAddr,
        lasting: Duration,
        reason: String,
        by: u32,
    ) -> Result<Block, OrderError> {
        let customer = self.translators.customer(address);
        let exempt = |address| self.exempt.why(address).or_else(|| crate::kernel::protected(address));
        if let Some(why) = exempt(address).or_else(|| exempt(customer)) {
            return Err(OrderError::Exempt(address, why));
        }
        if lasting < Duration::from_secs(1) || lasting > LONGEST {
            return Err(OrderError::Time(lasting));
        }
        if reason.chars().count() > MAX_REASON || reason.chars().any(char::is_control) {
            return Err(OrderError::Words);
        }
        let now = self.now();
        let nanos = u64::try_from(lasting.as_nanos()).unwrap_or(u64::MAX);
        let order = Order { address: customer, reason, by, until: now.saturating_add(nanos) };
        self.orders.add(order.clone()).map_err(|orders::Full| OrderError::Full)?;
        // A block that it has earned besides is not cut short by an order.
        let earned = self.offenders.as_ref().and_then(|offenders| offenders.left(customer, now));
        self.sink.ordered(&order, lasting, earned.unwrap_or_default().max(lasting));
        Ok(self.shown(order.address, Reason::Operator, Some(order.reason), Some(by), lasting))
    }

    /// Lifts the block of an address, whether ordered or earned, by order of user `by`; false when there is
    /// none.
    pub fn unblock(&self, address: IpAddr, by: u32) -> bool {
        let address = self.translators.customer(address);
        let ordered = self.orders.remove(address).is_some();
        let earned = self.offenders.as_ref().is_some_and(|offenders| offenders.forgive(address));
        if ordered || earned {
            self.sink.release(address);
            self.sink.lifted(address, &format!("user {by} lifted it"));
        }
        ordered || earned
    }

    /// The addresses that are blocked now, in their order. An address that is blocked both by an order and
    /// for its deeds is shown with the order.
    pub fn blocks(&self) -> Vec<Block> {
        let now = self.now();
        let earned = self.offenders.iter().flat_map(|offenders| offenders.list(now));
        let mut listed: Vec<_> = earned
            .map(|(address, kind, left)| (address, kind, None, None, left))
            .chain(self.orders.list(now).into_iter().map(|order| {
                let left = Duration::from_nanos(order.until.saturating_sub(now));
                (order.address, Reason::Operator, Some(order.reason), Some(order.by), left)
            }))
            .collect();
        // An order comes before what was earned.
        listed.sort_by_key(|(address, _, _, by, _)| (*address, by.is_none()));
        listed.dedup_by_key(|(address, ..)| *address);
        listed
            .into_iter()
            .map(|(address, kind, reason, by, left)| self.shown(address, kind, reason, by, left))
            .collect()
    }

    fn shown(
        &self,
        address: IpAddr,
        kind: Reason,
        reason: Option<String>,
        added_by_uid: Option<u32>,
        left: Duration,
    ) -> Block {
        let early = self.sink.early(address).unwrap_or_default();
        let remaining_secs = left.as_nanos().div_ceil(1_000_000_000).try_into().unwrap_or(u64::MAX);
        let (dropped_on, packets) = (early.interfaces, early.packets);
        Block { address: named(address), kind, reason, added_by_uid, remaining_secs, dropped_on, packets }
    }
}

/// The customer, or the network that goes with it.
pub(super) fn named(customer: IpAddr) -> String {
    match customer {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let bits = if address.to_bits() & u128::from(u64::MAX) == 0 { 64 } else { 128 };
            format!("{address}/{bits}")
        }
    }
}
