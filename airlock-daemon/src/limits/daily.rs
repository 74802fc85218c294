//! Daily budgets: the calls, the bytes and the different arguments that one principal has had of one tool
//! since midnight UTC, and the calls that it repeats.
//!
//! They are in memory: a daemon that starts anew begins with empty counts.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use airlock_tool_locks::canonical::canonical;
use parking_lot::Mutex;

use super::limit::{Exceeded, Limit};
use crate::config::pattern::Pattern;
use crate::config::schema::{DayBudget, ToolBudget};
use crate::config::units::Rate;

/// A day, in seconds.
const DAY: u64 = 24 * 60 * 60;
/// Independent parts; two threads seldom meet in one.
const SHARDS: usize = 64;
/// Most principals of a shard. Further ones share one budget.
const PRINCIPALS: usize = 256;
/// Most tools of a principal. Further ones share one budget.
const TOOLS: usize = 128;
/// Most arguments that are remembered of all tools of a principal, and of all principals. Beyond them each
/// call counts as one with new arguments.
const ARGUMENTS: [usize; 2] = [1 << 16, 1 << 21];
/// Calls of a tool whose repetitions are counted at a time; further ones are counted as one.
const REPEATED: usize = 64;
/// The number of the arguments of those.
const FURTHER: u64 = 0;
/// The key of those who find no place of their own.
const SHARED: u128 = 0;

/// The budgets in force.
#[derive(Debug)]
pub struct Daily {
    all: ToolBudget,
    tools: Vec<(Pattern, ToolBudget)>,
    shards: Box<[Mutex<HashMap<u128, Account>>]>,
    /// A secret, so that nobody can aim at the number of a call.
    hasher: RandomState,
    /// Arguments that are remembered.
    arguments: AtomicUsize,
}

/// A principal's use of its tools.
#[derive(Debug, Default)]
struct Account {
    tools: HashMap<u128, Spent>,
    /// Arguments that are remembered.
    arguments: usize,
}

/// The use of one tool since midnight.
#[derive(Debug, Default)]
struct Spent {
    /// The number of the day.
    day: u64,
    calls: u32,
    bytes: u64,
    arguments: HashSet<u64>,
    /// Calls with new arguments for which there was no room.
    unremembered: u32,
    /// By the number of the arguments: when the span ends, in seconds, and the calls within it.
    repeated: HashMap<u64, (u64, u32)>,
}

/// A call that was counted, whose answer will be.
#[derive(Debug, Clone, Copy)]
pub struct Spending {
    /// The part of the principal, also of one that has no place of its own there.
    shard: usize,
    principal: u128,
    tool: u128,
    /// The bytes of its arguments.
    bytes: usize,
}

impl Daily {
    /// The budgets of a configuration; none where nothing is bounded.
    pub(super) fn new(budget: &DayBudget) -> Option<Self> {
        let tools = budget.tools.iter();
        let tools: Vec<_> = tools.filter_map(|(pattern, of)| Some((Pattern::parse(pattern)?, *of))).collect();
        if tools.is_empty() && budget.all() == ToolBudget::default() {
            return None;
        }
        Some(Self {
            all: budget.all(),
            tools,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            arguments: AtomicUsize::new(0),
        })
    }

    /// The budget of a tool; none where nothing of it is bounded.
    fn of(&self, upstream: &str, tool: &str) -> Option<ToolBudget> {
        let mut matching = self.tools.iter().filter(|(pattern, _)| pattern.matches(upstream, tool));
        let first = matching.next().map_or(self.all, |(_, of)| *of);
        let budget = matching.fold(first, |budget, (_, of)| least(budget, *of));
        (budget != ToolBudget::default()).then_some(budget)
    }

    /// Counts a call of a tool at a time in seconds since 1970; none where nothing of the tool is bounded.
    ///
    /// # Errors
    /// The budget that is used up, and how long to wait. Nothing was counted.
    pub(super) fn call(
        &self,
        (principal, tool): (u128, u128),
        named: (&str, &str),
        arguments: &str,
        now: u64,
    ) -> Result<Option<Spending>, Exceeded> {
        let Some(budget) = self.of(named.0, named.1) else { return Ok(None) };
        let place = shard_of(principal);
        let mut shard = self.shards[place].lock();
        let has_place = shard.len() < PRINCIPALS || shard.contains_key(&principal);
        let principal = if has_place { principal } else { SHARED };
        let account = shard.entry(principal).or_default();
        let is_full = account.tools.len() >= TOOLS && !account.tools.contains_key(&tool);
        let tool = if is_full { SHARED } else { tool };
        let spent = account.tools.entry(tool).or_default();
        let gone = spent.begin(now);
        account.arguments -= gone;
        self.arguments.fetch_sub(gone, Ordering::Relaxed);

        let until_midnight = Duration::from_secs(DAY - now % DAY);
        let used_up = |limit| Err(Exceeded { limit, wait: until_midnight });
        if budget.calls.is_some_and(|most| spent.calls >= most) {
            return used_up(Limit::BudgetCalls);
        }
        let bytes = spent.bytes.saturating_add(arguments.len() as u64);
        if budget.bytes.is_some_and(|most| spent.bytes >= most.0 || bytes > most.0) {
            return used_up(Limit::BudgetBytes);
        }
        let counts_arguments = budget.arguments.is_some() || budget.repeats.is_some();
        let number = counts_arguments.then(|| self.number(arguments));
        let new = number.filter(|number| budget.arguments.is_some() && !spent.arguments.contains(number));
        if let Some(most) = budget.arguments.filter(|_| new.is_some()) {
            let seen = spent.arguments.len() as u64 + u64::from(spent.unremembered);
            if seen >= u64::from(most) {
                return used_up(Limit::BudgetArguments);
            }
        }
        if let Some((rate, number)) = budget.repeats.zip(number) {
            let repeated = spent.repeat(rate, number, now);
            repeated.map_err(|wait| Exceeded { limit: Limit::BudgetRepeats, wait })?;
        }
        spent.calls = spent.calls.saturating_add(1);
        spent.bytes = bytes;
        if let Some(number) = new {
            let remembered = [account.arguments, self.arguments.load(Ordering::Relaxed)];
            if remembered.iter().zip(ARGUMENTS).any(|(remembered, most)| *remembered >= most) {
                spent.unremembered = spent.unremembered.saturating_add(1);
            } else {
                spent.arguments.insert(number);
                account.arguments += 1;
                self.arguments.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(Some(Spending { shard: place, principal, tool, bytes: arguments.len() }))
    }

    /// Takes back a call that was refused after it was counted.
    pub(super) fn refused(&self, spending: Spending, now: u64) {
        let Spending { shard, principal, tool, bytes } = spending;
        let mut shard = self.shards[shard].lock();
        let spent = shard.get_mut(&principal).and_then(|account| account.tools.get_mut(&tool));
        if let Some(spent) = spent.filter(|spent| spent.is_of(now)) {
            spent.calls = spent.calls.saturating_sub(1);
            spent.bytes = spent.bytes.saturating_sub(bytes as u64);
        }
    }

    /// Counts the bytes of an answer. One that comes after midnight counts for the new day, unless the tool
    /// was forgotten meanwhile.
    pub(super) fn answered(&self, spending: Spending, bytes: usize, now: u64) {
        let Spending { shard, principal, tool, .. } = spending;
        let mut shard = self.shards[shard].lock();
        let Some(account) = shard.get_mut(&principal) else { return };
        let Some(spent) = account.tools.get_mut(&tool) else { return };
        let gone = spent.begin(now);
        account.arguments -= gone;
        self.arguments.fetch_sub(gone, Ordering::Relaxed);
        spent.bytes = spent.bytes.saturating_add(bytes as u64);
    }

    /// Forgets what earlier days have counted.
    pub(super) fn sweep(&self, now: u64) {
        for shard in &self.shards {
            self.clear(&mut shard.lock(), now);
        }
    }

    /// The tools of principals whose use is remembered.
    pub(super) fn keys(&self) -> usize {
        let of = |shard: &Mutex<HashMap<u128, Account>>| {
            shard.lock().values().map(|account| account.tools.len()).sum::<usize>()
        };
        self.shards.iter().map(of).sum()
    }

    fn clear(&self, shard: &mut HashMap<u128, Account>, now: u64) {
        let mut gone = 0;
        shard.retain(|_, account| {
            account.tools.retain(|_, spent| {
                let forgotten = spent.begin(now);
                gone += forgotten;
                account.arguments -= forgotten;
                spent.calls > 0 || spent.bytes > 0 || spent.is_repeated(now)
            });
            !account.tools.is_empty()
        });
        self.arguments.fetch_sub(gone, Ordering::Relaxed);
    }

    /// The number of some arguments, the same for all texts that mean the same.
    fn number(&self, arguments: &str) -> u64 {
        match canonical(arguments) {
            Ok(canonical) => self.hasher.hash_one(canonical),
            Err(_) => self.hasher.hash_one(arguments),
        }
    }
}

/// The part that a principal belongs to: a remainder below their number.
fn shard_of(principal: u128) -> usize {
    usize::try_from(principal % SHARDS as u128).unwrap_or(0)
}

impl Spent {
    /// True where it counts the day of a time, or where the clock went back to the day before.
    fn is_of(&self, now: u64) -> bool {
        self.day.checked_sub(now / DAY).is_some_and(|ahead| ahead <= 1)
    }

    /// Begins a new day where another one has begun, and says how many arguments are forgotten by that. A
    /// clock that was days ahead begins one as well.
    fn begin(&mut self, now: u64) -> usize {
        if self.is_of(now) {
            return 0;
        }
        let gone = std::mem::take(&mut self.arguments).len();
        (self.day, self.calls, self.bytes, self.unremembered) = (now / DAY, 0, 0, 0);
        gone
    }

    /// Counts one more call with the same arguments.
    ///
    /// # Errors
    /// How long to wait where there were as many as the rate allows within its span.
    fn repeat(&mut self, rate: Rate, number: u64, now: u64) -> Result<(), Duration> {
        let span = rate.per.as_secs().max(1);
        let is_open = |end: u64| now < end && end - now <= span;
        let mut number = number;
        if self.repeated.len() >= REPEATED && !self.repeated.contains_key(&number) {
            self.repeated.retain(|_, (end, _)| is_open(*end));
            if self.repeated.len() >= REPEATED {
                number = FURTHER;
            }
        }
        let (end, count) = self.repeated.entry(number).or_insert((now + span, 0));
        if !is_open(*end) {
            (*end, *count) = (now + span, 0);
        }
        if *count >= rate.count {
            return Err(Duration::from_secs(*end - now));
        }
        *count += 1;
        Ok(())
    }

    /// Answers whether a span is not over: the longest is a day.
    fn is_repeated(&self, now: u64) -> bool {
        self.repeated.values().any(|(end, _)| now < *end && *end - now <= DAY)
    }
}

/// The least of each.
fn least(one: ToolBudget, other: ToolBudget) -> ToolBudget {
    /// The lesser of two bounds, where there are two.
    fn min<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
        one.into_iter().chain(other).min()
    }
    // The rate that lets fewer through in a day.
    let daily = |rate: &Rate| u64::from(rate.count) * (DAY / rate.per.as_secs().max(1));
    ToolBudget {
        calls: min(one.calls, other.calls),
        bytes: min(one.bytes, other.bytes),
        arguments: min(one.arguments, other.arguments),
        repeats: one.repeats.into_iter().chain(other.repeats).min_by_key(daily),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 20_000 * DAY + DAY / 2;

    fn daily(yaml: &str) -> Daily {
        let budget = serde_saphyr::from_str(yaml).expect("a budget");
        Daily::new(&budget).expect("bounds")
    }

    /// The limit that a call meets, and the seconds to wait.
    fn met(daily: &Daily, principal: u128, arguments: &str, now: u64) -> Option<(Limit, u64)> {
        let called = daily.call((principal, 7), ("docs", "read"), arguments, now);
        called.err().map(|exceeded| (exceeded.limit, exceeded.wait.as_secs()))
    }

    #[test]
    fn a_day_has_so_many_calls_bytes_and_arguments() {
        let calls = daily("{calls: 2}");
        assert_eq!([met(&calls, 1, "{}", NOON), met(&calls, 1, "{}", NOON)], [None; 2]);
        assert_eq!(met(&calls, 1, "{}", NOON + 60), Some((Limit::BudgetCalls, DAY / 2 - 60)));
        assert_eq!(met(&calls, 2, "{}", NOON), None, "each principal has its own");
        assert_eq!(
            met(&calls, 1, "{}", NOON - DAY),
            Some((Limit::BudgetCalls, DAY / 2)),
            "a clock goes back"
        );
        assert_eq!(met(&calls, 1, "{}", NOON + DAY / 2), None, "another day");
        assert_eq!(met(&calls, 1, "{}", NOON - 9 * DAY), None, "a clock that was days ahead");
        let spending = calls.call((3, 7), ("docs", "read"), "{}", NOON).expect("room").expect("a budget");
        calls.refused(spending, NOON);
        assert_eq!([met(&calls, 3, "{}", NOON), met(&calls, 3, "{}", NOON)], [None; 2], "it was taken back");

        let bytes = daily("{bytes: 10B}");
        let spending = bytes.call((1, 7), ("docs", "read"), "{}", NOON).expect("room").expect("a budget");
        assert_eq!(met(&bytes, 1, r#"{"a":111}"#, NOON), Some((Limit::BudgetBytes, DAY / 2)));
        bytes.answered(spending, 8, NOON);
        assert_eq!(met(&bytes, 1, "", NOON), Some((Limit::BudgetBytes, DAY / 2)), "the answer counts");

        let arguments = daily("{arguments: 2}");
        for same in [r#"{"a":1,"b":"x"}"#, r#"{ "b" : "\u0078", "a": 1 }"#, r#"{"a":2}"#, r#"{"a":2}"#] {
            assert_eq!(met(&arguments, 1, same, NOON), None, "{same}");
        }
        assert_eq!(met(&arguments, 1, r#"{"a":3}"#, NOON), Some((Limit::BudgetArguments, DAY / 2)));
        assert_eq!(met(&arguments, 1, r#"{"a":2}"#, NOON), None, "known ones pass");
        arguments.arguments.store(ARGUMENTS[1], Ordering::Relaxed);
        let passed = (0..9).filter(|n| met(&arguments, 2, &format!("[{n}]"), NOON).is_none()).count();
        assert_eq!(passed, 2, "where there is no room, each of them is a new one");
    }

    #[test]
    fn a_call_that_is_repeated_waits_until_the_span_is_over() {
        let repeats = daily("{repeats: 2/min}");
        for (arguments, now, expected) in [
            ("[1]", 0, None),
            ("[1]", 30, None),
            ("[1]", 45, Some((Limit::BudgetRepeats, 15))),
            ("[ 1 ]", 59, Some((Limit::BudgetRepeats, 1))),
            ("[2]", 59, None),
            ("[1]", 60, None),
        ] {
            assert_eq!(met(&repeats, 1, arguments, NOON + now), expected, "{arguments} {now}");
        }
        // A clock that went back to before the span.
        assert_eq!(met(&repeats, 1, "[1]", NOON - 3_600), None);
        // All calls beyond so many at a time are counted as one.
        let passed = (0..10 * REPEATED).filter(|n| met(&repeats, 2, &format!("[3,{n}]"), NOON).is_none());
        assert_eq!(passed.count(), REPEATED + 2);
        assert_eq!(met(&repeats, 2, "[3,0]", NOON), None);
        assert_eq!(met(&repeats, 2, "[3,0]", NOON), Some((Limit::BudgetRepeats, 60)));
        assert_eq!(met(&repeats, 2, "[4]", NOON + 60), None);
    }

    #[test]
    fn entries_take_the_place_of_the_budget_of_all() {
        let daily = daily("{calls: 5, tools: {docs/*: {calls: 9, arguments: 3}, '*/read': {calls: 7}}}");
        let of = |upstream, tool| daily.of(upstream, tool).map(|of| (of.calls, of.arguments));
        assert_eq!(of("docs", "read"), Some((Some(7), Some(3))), "the least of each");
        assert_eq!(of("docs", "write"), Some((Some(9), Some(3))));
        assert_eq!(of("code", "write"), Some((Some(5), None)));
        let repeats = |one: &str, other: &str| {
            let of = |rate: &str| ToolBudget { repeats: rate.parse().ok(), ..ToolBudget::default() };
            least(of(one), of(other)).repeats.map(|rate| rate.to_string())
        };
        assert_eq!(repeats("10/min", "100/d").as_deref(), Some("100/d"));
        assert!(Daily::new(&DayBudget::default()).is_none());
    }

    #[test]
    fn room_is_bounded_and_earlier_days_are_forgotten() {
        let daily = daily("{calls: 1, arguments: 1, repeats: 20/min}");
        for tool in 1..3 * TOOLS as u128 {
            let _ = daily.call((1, tool), ("docs", "read"), "{}", NOON);
        }
        for principal in 1..=SHARDS as u128 * (PRINCIPALS as u128 + 9) {
            let _ = daily.call((principal, 7), ("docs", "read"), "{}", NOON);
        }
        assert_eq!(daily.keys(), SHARDS * (PRINCIPALS + 1) + TOOLS, "each shard has one for all others");
        let stranger = SHARDS as u128 * 9_999;
        let called = daily.call((stranger, 7), ("docs", "read"), "{}", NOON).expect_err("no room");
        assert_eq!(called.limit, Limit::BudgetCalls, "what is shared is used up");
        daily.sweep(NOON + 1);
        assert!(daily.keys() > TOOLS);
        daily.sweep(NOON + DAY);
        assert_eq!((daily.keys(), daily.arguments.load(Ordering::Relaxed)), (0, 0));
    }
}
