//! Limits: how much one address, one principal, one tenant may do, and what becomes of those who do not stop.
//!
//! [`bucket`] is one limit of one key, [`table`] all keys of one limit, [`streams`] counts what is open,
//! [`daily`] what a principal has had of a tool since midnight,
//! [`fair`] counts places, [`budget`] the bytes that are kept for anybody and [`kept`] is a text among them,
//! [`offender`] knows who earns a drop, [`orders`] what an operator blocks, and [`keeper`] carries both out.
//! The stages of a call that ask here are in `pipeline/limit.rs`.
//!
//! The requests that count for one limit, and the senders who share one:
//! - `per_address` counts requests of HTTP, good or bad, of a customer: an IPv4 address, also behind a
//!   translator, or an IPv6 /64.
//! - `per_token` counts messages of one principal (issuer, tenant and subject): a fresh token is no fresh
//!   limit.
//! - `per_tenant` counts messages of all principals of a tenant of one issuer; those without a tenant are one
//!   together.
//! - `per_tool` counts calls of one principal to all tools that one entry of the list matches.

pub mod block;
pub mod bucket;
pub mod budget;
mod crowd;
pub mod daily;
pub mod early;
mod exempt;
pub mod fair;
pub mod keeper;
pub mod kept;
mod limit;
pub mod offender;
pub mod orders;
mod ranks;
pub mod streams;
pub mod table;

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::auth::principal::Principal;
use crate::config::schema::{Config, PerAddress};
use crate::config::translators::Translators;
use crate::config::units::Rate;
use crate::kernel::Reason;

use self::bucket::Quota;
use self::daily::{Daily, Spending};
use self::exempt::Exempt;
pub use self::limit::{Exceeded, Limit};
pub use self::offender::RequestSource;
use self::offender::{OffenderSink, Offenders};
use self::orders::Orders;
use self::streams::{Places, Streams};
use self::table::{BucketKey, Table};
use crate::config::pattern::Pattern;

/// A stream that finds no place may find one at any time; this is when it is worth asking again.
const STREAM_WAIT: Duration = Duration::from_secs(1);

/// The figures of the metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// How many keys each limit remembers.
    pub keys: Vec<(Limit, usize)>,
    /// Addresses that are dropped.
    pub blocked: usize,
}

/// All limits in force. A limit that is not configured costs nothing.
pub struct Limits {
    epoch: Instant,
    /// Two of them make a key that nobody can aim at.
    hashers: [RandomState; 2],
    address: Option<Table>,
    /// `per_address` is not configured, and so does not count those behind whom everybody may be.
    spares: bool,
    failed: Option<Table>,
    token: Option<Table>,
    tenant: Option<Table>,
    tools: Vec<(Pattern, Table)>,
    daily: Option<Daily>,
    streams: Streams,
    each_streams: Option<u32>,
    tenant_streams: Option<u32>,
    offenders: Option<Offenders>,
    orders: Orders,
    exempt: Exempt,
    translators: Translators,
    sink: Arc<dyn OffenderSink>,
}

impl Limits {
    /// The limits of a configuration; offenders are told to `sink`.
    pub fn new(config: &Config, sink: Arc<dyn OffenderSink>) -> Self {
        let limits = &config.rate_limiting;
        let quota = |rate: Rate| Quota::new(rate, limits.burst.unwrap_or(rate.count));
        let burst = |rate: Rate| Table::new(quota(rate));
        let address = match limits.per_address {
            PerAddress::Unsaid => Some(Quota::whole(PerAddress::DEFAULT)),
            PerAddress::Off => None,
            PerAddress::Rate(rate) => Some(quota(rate)),
        };
        let whole = |rate: Rate| Table::new(Quota::whole(rate));
        let tools = limits.per_tool.iter();
        let exempt = Exempt::new(&config.server.trusted_proxies, &config.kernel.xdp.allow);
        Self {
            epoch: Instant::now(),
            hashers: [RandomState::new(), RandomState::new()],
            address: address.map(Table::of_customers),
            spares: limits.per_address == PerAddress::Unsaid,
            failed: limits.failed_auth.map(|rate| Table::of_customers(Quota::whole(rate))),
            token: limits.per_token.map(burst),
            tenant: limits.per_tenant.as_ref().and_then(|tenant| tenant.requests).map(burst),
            tools: tools
                .filter_map(|(pattern, rate)| Some((Pattern::parse(pattern)?, whole(*rate))))
                .collect(),
            daily: Daily::new(&config.budget),
            streams: Streams::default(),
            each_streams: limits.per_principal.streams,
            tenant_streams: limits.per_tenant.as_ref().and_then(|tenant| tenant.streams),
            offenders: (limits.kernel_drop.as_ref())
                .map(|drop| Offenders::new(drop, exempt.clone(), Arc::clone(&sink))),
            orders: Orders::default(),
            exempt,
            translators: Translators::new(&config.server.nat64_prefixes),
            sink,
        }
    }

    /// A request has come; nothing of it was looked at.
    ///
    /// # Errors
    /// [`Limit::Blocked`] or [`Limit::Address`].
    pub fn request(&self, source: RequestSource) -> Result<(), Exceeded> {
        let customer = self.translators.customer(source.address);
        if let Some(offenders) = &self.offenders
            && let Some(wait) = offenders.blocked(customer, self.now())
        {
            return Err(Exceeded { limit: Limit::Blocked, wait });
        }
        if let Some(wait) = self.orders.blocked(customer, || self.now()) {
            return Err(Exceeded { limit: Limit::Ordered, wait });
        }
        let Some(table) = &self.address else { return Ok(()) };
        if self.spares && self.exempt.covers(source.address) {
            return Ok(());
        }
        let now = self.now();
        let key = BucketKey::of(customer);
        table.take(key, now).map_err(|wait| {
            // Nobody is held to account for what strangers took of a shared bucket.
            if table.knows(key) {
                self.violation(source, customer, Reason::RateLimit, now);
            }
            Exceeded { limit: Limit::Address, wait }
        })
    }

    /// A token is about to be looked at that is not known to be good.
    ///
    /// # Errors
    /// [`Limit::FailedAuth`]: too many tokens of this address were refused. The token is not looked at, good
    /// or bad: whoever guesses must not learn which guess was right.
    pub fn token_shown(&self, source: RequestSource) -> Result<(), Exceeded> {
        let Some(table) = &self.failed else { return Ok(()) };
        if table.keys() == 0 {
            return Ok(());
        }
        let now = self.now();
        let customer = self.translators.customer(source.address);
        let key = BucketKey::of(customer);
        match table.wait(key, now) {
            None => Ok(()),
            Some(wait) => {
                if table.knows(key) {
                    self.violation(source, customer, Reason::FailedAuth, now);
                }
                Err(Exceeded { limit: Limit::FailedAuth, wait })
            }
        }
    }

    /// A token from this address was refused that may have been a guess.
    pub fn token_refused(&self, source: RequestSource) {
        if let Some(table) = &self.failed {
            let customer = self.translators.customer(source.address);
            table.drain(BucketKey::of(customer), self.now());
        }
    }

    /// A message of a principal has come: a request, a notification or a response; each of a batch counts.
    ///
    /// # Errors
    /// [`Limit::Token`] or [`Limit::Tenant`].
    pub fn message(&self, principal: &Principal) -> Result<(), Exceeded> {
        if let Some(table) = &self.token {
            let taken = table.take(BucketKey::hashed(self.hash(principal.identity())), self.now());
            taken.map_err(|wait| Exceeded { limit: Limit::Token, wait })?;
        }
        if let Some(table) = &self.tenant {
            let taken = table.take(BucketKey::hashed(self.tenant(principal)), self.now());
            taken.map_err(|wait| Exceeded { limit: Limit::Tenant, wait })?;
        }
        Ok(())
    }

    /// A tool is to be called, named as its server names it. Every entry that matches counts the call.
    ///
    /// # Errors
    /// [`Limit::Tool`].
    pub fn call(&self, principal: &Principal, upstream: &str, tool: &str) -> Result<(), Exceeded> {
        for (_, table) in self.tools.iter().filter(|(pattern, _)| pattern.matches(upstream, tool)) {
            let taken = table.take(BucketKey::hashed(self.hash(principal.identity())), self.now());
            taken.map_err(|wait| Exceeded { limit: Limit::Tool, wait })?;
        }
        Ok(())
    }

    /// A call of a tool, named as its server names it, has passed all checks but this. None where nothing of
    /// the tool is bounded.
    ///
    /// # Errors
    /// A daily budget that is used up.
    pub fn spend(
        &self,
        principal: &Principal,
        (upstream, tool): (&str, &str),
        arguments: &str,
    ) -> Result<Option<Spending>, Exceeded> {
        let Some(daily) = &self.daily else { return Ok(None) };
        let keys = (self.hash(principal.identity()), self.hash(&(upstream, tool)));
        daily.call(keys, (upstream, tool), arguments, since_1970())
    }

    /// A call that was counted is refused all the same: neither it nor its arguments count any more.
    pub fn take_back(&self, spending: Spending) {
        if let Some(daily) = &self.daily {
            daily.refused(spending, since_1970());
        }
    }

    /// The answer of a call that was counted has so many bytes.
    pub fn spent(&self, spending: Spending, bytes: usize) {
        if let Some(daily) = &self.daily {
            daily.answered(spending, bytes, since_1970());
        }
    }

    /// A stream of events is to be opened; it keeps its places until it ends.
    ///
    /// # Errors
    /// [`Limit::PrincipalStreams`] or [`Limit::TenantStreams`].
    pub fn stream(&self, principal: &Principal) -> Result<Places, Exceeded> {
        let full = |limit| Exceeded { limit, wait: STREAM_WAIT };
        let enter = |key, most| self.streams.enter(key, most);
        let one = match self.each_streams {
            Some(most) => Some(
                enter(self.hash(principal.identity()), most).ok_or_else(|| full(Limit::PrincipalStreams))?,
            ),
            None => None,
        };
        let tenants = match self.tenant_streams {
            Some(most) => {
                Some(enter(self.tenant(principal), most).ok_or_else(|| full(Limit::TenantStreams))?)
            }
            None => None,
        };
        Ok([one, tenants])
    }

    /// Lifts the drops whose time is over, and forgets keys whose buckets are full again.
    pub fn sweep(&self) {
        let now = self.now();
        let earned = self.offenders.as_ref().map(|offenders| offenders.sweep(now)).unwrap_or_default();
        let ordered = self.orders.sweep(now);
        for order in &ordered {
            self.sink.lifted(order.address, "its time is over");
        }
        for address in earned.into_iter().chain(ordered.into_iter().map(|order| order.address)) {
            let still = self.offenders.as_ref().and_then(|offenders| offenders.left(address, now));
            if still.is_none() && self.orders.blocked(address, || now).is_none() {
                self.sink.release(address);
            }
        }
        for (_, table) in self.tables() {
            table.sweep(now);
        }
        if let Some(daily) = &self.daily {
            daily.sweep(since_1970());
        }
    }

    /// The memory of offenders.
    pub fn stats(&self) -> Stats {
        let mut keys: Vec<(Limit, usize)> = Vec::new();
        for (limit, table) in self.tables() {
            match keys.last_mut() {
                Some((last, count)) if *last == limit => *count += table.keys(),
                _ => keys.push((limit, table.keys())),
            }
        }
        keys.extend(self.daily.as_ref().map(|daily| (Limit::BudgetCalls, daily.keys())));
        let earned = self.offenders.as_ref().map_or(0, Offenders::count);
        Stats { keys, blocked: earned + self.orders.count() }
    }

    fn tables(&self) -> impl Iterator<Item = (Limit, &Table)> {
        let single = [
            (Limit::Address, &self.address),
            (Limit::FailedAuth, &self.failed),
            (Limit::Token, &self.token),
            (Limit::Tenant, &self.tenant),
        ];
        let single = single.into_iter().filter_map(|(limit, table)| Some((limit, table.as_ref()?)));
        single.chain(self.tools.iter().map(|(_, table)| (Limit::Tool, table)))
    }

    fn violation(&self, source: RequestSource, customer: IpAddr, reason: Reason, now: u64) {
        if let Some(offenders) = &self.offenders {
            offenders.violation(source, customer, reason, now);
        }
    }

    /// The tenants of two issuers are two, also where their names are one.
    fn tenant(&self, principal: &Principal) -> u128 {
        self.hash(&("tenant", principal.identity().issuer(), principal.identity().tenant()))
    }

    fn hash(&self, of: &impl Hash) -> u128 {
        let [one, two] = &self.hashers;
        u128::from(one.hash_one(of)) << 64 | u128::from(two.hash_one(of))
    }

    /// Nanoseconds since the start. Not the time at which a request came: by the time its body is here, that
    /// is long ago.
    fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Seconds since 1970; 0 for a clock that stands before that.
fn since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;

    impl OffenderSink for Nobody {
        fn offend(&self, _: &offender::Offence) {}
        fn forgive(&self, _: IpAddr) {}
    }

    fn passed(config: &Config, address: &str, requests: usize) -> usize {
        let limits = Limits::new(config, Arc::new(Nobody));
        let source = RequestSource { address: address.parse().expect(address), direct: true, lured: false };
        (0..requests).filter(|_| limits.request(source).is_ok()).count()
    }

    /// Some come back while the others are counted; a second's worth is far more than that.
    #[test]
    fn an_address_has_a_limit_unless_everybody_may_be_behind_it() {
        let mut config = Config::default();
        config.server.trusted_proxies = vec!["10.0.0.0/8".to_owned()];
        config.kernel.xdp.allow = vec!["192.0.2.0/24".to_owned()];
        let most = usize::try_from(PerAddress::DEFAULT.count).expect("a number");
        // A burst that is meant for others does not make it narrow.
        config.rate_limiting.burst = Some(10);
        for address in ["203.0.113.7", "2001:db8::7", "64:ff9b::203.0.113.7"] {
            let passed = passed(&config, address, 4 * most);
            assert!(passed >= most && passed < 3 * most, "{address}: {passed}");
        }
        for address in ["127.0.0.1", "::1", "10.0.0.1", "192.0.2.1"] {
            assert_eq!(passed(&config, address, 2 * most), 2 * most, "{address}");
        }
        config.rate_limiting.per_address = PerAddress::Off;
        assert_eq!(passed(&config, "203.0.113.7", 2 * most), 2 * most);
        config.rate_limiting.per_address = PerAddress::Rate(Rate::per_minute(1));
        let passed = passed(&config, "127.0.0.1", 100);
        assert!((10..100).contains(&passed), "{passed}: what is configured holds for all, with the burst");
    }
}
