//! The early drop: packets of listed sources to our own sockets are dropped before they cost anything.
//!
//! It fails open: the XDP links are not pinned, so the end of the daemon lifts every drop.

pub(super) mod error;
mod holder;
pub(super) mod interfaces;
pub(super) mod network;
pub(super) mod sockets;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use airlock_ebpf::{
    ALLOWED, BLOCKED, Block, DROP_PROGRAM, DROP_TCX_PROGRAM, DROPS, SOCKETS, Source, VERDICTS, Verdict,
};
use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{HashMap, Map, MapData, MapError, PerCpuHashMap, PerCpuValues};
use aya::programs::{TestRun as _, TestRunOptions};
use aya::util::nr_cpus;
use parking_lot::{Mutex, MutexGuard};
use rustix::time::{ClockId, clock_gettime};

use self::error::DropError;
use self::interfaces::{Attached, Interfaces};
use self::sockets::Sockets;
use super::ebpf::loader::{self, LoadError, per_cpu_sum};
use super::ebpf::pinning::Programs;
use airlock_config::schema::Xdp as XdpConfig;

/// The return values `XDP_DROP` and `TC_ACT_SHOT`.
const XDP_DROP: u32 = 1;
const TC_ACT_SHOT: u32 = 2;

/// Where a packet is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// By the interface's driver or right behind it.
    Xdp,
    /// As a socket buffer, where another XDP program has the interface.
    Tcx,
}

/// Why a source is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// An operator asked for it.
    Operator,
    /// It exceeded its rate again and again.
    RateLimit,
    /// It failed to authenticate again and again.
    FailedAuth,
    /// Written by another version.
    Unknown,
}

impl Reason {
    fn number(self) -> u64 {
        match self {
            Self::Unknown => 0,
            Self::Operator => 1,
            Self::RateLimit => 2,
            Self::FailedAuth => 3,
        }
    }

    fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Operator,
            2 => Self::RateLimit,
            3 => Self::FailedAuth,
            _ => Self::Unknown,
        }
    }
}

/// A source that is dropped now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Blocked {
    /// The customer: an address, or the base of an IPv6 /64.
    pub address: IpAddr,
    /// How long it still lasts.
    pub remaining: Duration,
    /// Why.
    pub reason: Reason,
    /// Packets dropped since the drop began.
    pub packets: u64,
}

/// The early drop's maps; the program and its links stay with the loaded object.
#[derive(Debug)]
pub struct EarlyDrop {
    programs: Arc<Programs>,
    maps: Mutex<Maps>,
    verdicts: Map,
    interfaces: Mutex<Interfaces>,
    /// Never looked at again, and still kept: the twin for TCX, which is loaded when an interface turns out
    /// to be taken, names the maps by descriptors that have to be open until then.
    _allowed: Allowed,
}

/// The exempt sources.
type Allowed = LpmTrie<MapData, [u8; 16], u8>;

struct Maps {
    blocked: HashMap<MapData, [u8; 16], [u64; 2]>,
    drops: PerCpuHashMap<MapData, [u8; 16], u64>,
    sockets: Sockets,
}

impl std::fmt::Debug for Maps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Maps").finish_non_exhaustive()
    }
}

impl Maps {
    /// An entry of the map; none when its time is over.
    fn blocked(&self, key: Source, words: [u64; 2], now: u64) -> Option<Blocked> {
        let block = Block::from_words(words);
        let left = block.until_ns.checked_sub(now).filter(|left| *left > 0)?;
        let packets = self.drops.get(&key.0, 0).map_or(0, |counts| counts.iter().sum());
        Some(Blocked {
            address: network::customer(key),
            remaining: Duration::from_nanos(left),
            reason: Reason::from_number(block.reason),
            packets,
        })
    }

    fn block(&mut self, Source(key): Source, block: Block) -> Result<(), DropError> {
        // Without an entry nothing is counted; a drop that goes on keeps its count.
        if self.blocked.get(&key, 0).is_err() {
            let cpus = nr_cpus().unwrap_or(1);
            let none = PerCpuValues::try_from(vec![0_u64; cpus]);
            let counted = none.map_err(MapError::from).and_then(|none| self.drops.insert(key, none, 0));
            counted.map_err(map_failed("count packets of a source"))?;
        }
        self.blocked.insert(key, block.to_words(), 0).map_err(map_failed("block a source"))
    }

    /// True where there was something to lift.
    fn unblock(&mut self, Source(key): Source) -> Result<bool, DropError> {
        ignore_absent(self.drops.remove(&key)).map_err(map_failed("forget a count"))?;
        match self.blocked.remove(&key) {
            Ok(()) => Ok(true),
            Err(error) => ignore_absent(Err(error)).map(|()| false).map_err(map_failed("unblock a source")),
        }
    }
}

/// Two entries of one customer, who comes in two ways, as one.
fn merged(one: Option<Blocked>, other: Option<Blocked>) -> Option<Blocked> {
    match (one, other) {
        (Some(one), Some(other)) => Some(Blocked {
            remaining: one.remaining.max(other.remaining),
            packets: one.packets.saturating_add(other.packets),
            ..one
        }),
        (one, other) => one.or(other),
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock that the program reads.
fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    // Neither part of this clock is ever negative.
    now.tv_sec.unsigned_abs().saturating_mul(1_000_000_000).saturating_add(now.tv_nsec.unsigned_abs())
}

impl EarlyDrop {
    /// Loads the program, fills the trie of exempt sources and attaches to the configured interfaces; what
    /// that does not work with is the second part.
    pub(super) fn attach(
        programs: &Arc<Programs>,
        config: &XdpConfig,
    ) -> Result<(Self, Vec<DropError>), DropError> {
        let mut locked = programs.lock();
        let ebpf = &mut *locked;
        let program = interfaces::xdp(ebpf)?;
        program.load().map_err(loader::failed(DROP_PROGRAM))?;
        let mut allowed: Allowed = take(ebpf, ALLOWED)?;
        for network in &config.allow {
            let parsed = network.parse();
            let parsed =
                parsed.map_err(|why| DropError::Allow(format!("`{network}` is not a network: {why}")))?;
            let (bits, key) = network::trie_key(parsed);
            allowed.insert(&Key::new(bits, key), 1, 0).map_err(map_failed("exempt a network"))?;
        }
        let maps = Maps {
            blocked: take(ebpf, BLOCKED)?,
            drops: take(ebpf, DROPS)?,
            sockets: Sockets::new(take(ebpf, SOCKETS)?),
        };
        let verdicts = ebpf.take_map(VERDICTS).ok_or(LoadError::Foreign(VERDICTS))?;
        let mut interfaces = Interfaces::new(config);
        let troubles = interfaces.refresh(ebpf);
        let (maps, interfaces) = (Mutex::new(maps), Mutex::new(interfaces));
        Ok((Self { programs: Arc::clone(programs), maps, verdicts, interfaces, _allowed: allowed }, troubles))
    }

    /// Where the program is attached.
    pub fn attached(&self) -> Vec<Attached> {
        self.interfaces.lock().attached()
    }

    /// Attaches to interfaces that have appeared, and takes over what addresses this host has now; gives what
    /// does not work and was not said before.
    fn refresh(&self, ebpf: &mut Ebpf) -> Vec<DropError> {
        let mut troubles = self.interfaces.lock().refresh(ebpf);
        troubles.extend(self.lock().sockets.news().map(DropError::Sockets));
        troubles
    }

    /// The TCP sockets of this daemon: only packets to these are ever dropped. Replaces what was set before.
    /// One for all addresses of a family (`0.0.0.0`, `::`) stands for those that the calling thread's network
    /// namespace has, now and at each
    /// [`EarlyDrop::refresh_interfaces`].
    ///
    /// # Errors
    /// When there are more than 4,096, or the kernel does not tell the addresses of this host.
    pub fn set_sockets(&self, sockets: &[SocketAddr]) -> Result<(), DropError> {
        self.lock().sockets.set(sockets).map_err(DropError::Sockets)
    }

    /// Drops a source from now on, for at most `lasting`. Again for the same source: the new time counts.
    ///
    /// Refused for loopback, link-local and multicast addresses, this host's own addresses and its gateways.
    pub fn block(&self, address: IpAddr, lasting: Duration, reason: Reason) -> Result<(), DropError> {
        if let Some(reason) = network::protected(address) {
            return Err(DropError::Protected { address, reason });
        }
        let lasting = u64::try_from(lasting.as_nanos()).unwrap_or(u64::MAX);
        let until_ns = now_ns().saturating_add(lasting);
        let block = Block { until_ns, reason: reason.number() };
        let mut maps = self.lock();
        network::sources(address).try_for_each(|key| maps.block(key, block))
    }

    /// The measure against a source now; none when its packets pass.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn find(&self, address: IpAddr) -> Result<Option<Blocked>, DropError> {
        let maps = self.lock();
        let now = now_ns();
        let mut found: Option<Blocked> = None;
        for key in network::sources(address) {
            let one = match maps.blocked.get(&key.0, 0) {
                Ok(words) => maps.blocked(key, words, now),
                Err(MapError::KeyNotFound) => None,
                Err(source) => return Err(map_failed("find a source")(source)),
            };
            found = merged(found, one);
        }
        Ok(found)
    }

    /// Lifts the drop of a source; whether there was one.
    pub fn unblock(&self, address: IpAddr) -> Result<bool, DropError> {
        let mut maps = self.lock();
        let mut lifted = false;
        for key in network::sources(address) {
            lifted |= maps.unblock(key)?;
        }
        Ok(lifted)
    }

    /// The sources that are dropped now, in order of address. Expired entries are removed on the way.
    pub fn list(&self) -> Result<Vec<Blocked>, DropError> {
        let mut maps = self.lock();
        let now = now_ns();
        let mut listed = Vec::new();
        let mut expired = Vec::new();
        for entry in &maps.blocked {
            let (key, words) = entry.map_err(map_failed("list sources"))?;
            match maps.blocked(Source(key), words, now) {
                Some(blocked) => listed.push(blocked),
                None => expired.push(key),
            }
        }
        for key in expired {
            ignore_absent(maps.drops.remove(&key)).map_err(map_failed("forget a count"))?;
            ignore_absent(maps.blocked.remove(&key)).map_err(map_failed("remove an expired source"))?;
        }
        listed.sort_by_key(|blocked| blocked.address);
        listed.dedup_by(|next, kept| {
            let is_same = next.address == kept.address;
            if is_same && let Some(both) = merged(Some(*kept), Some(*next)) {
                *kept = both;
            }
            is_same
        });
        Ok(listed)
    }

    /// How many packets met each verdict since the start, summed over all CPUs.
    pub fn counters(&self) -> Result<[(Verdict, u64); Verdict::COUNT as usize], DropError> {
        let mut counts = Verdict::ALL.map(|verdict| (verdict, 0));
        for (verdict, count) in &mut counts {
            *count = self.counter(*verdict)?;
        }
        Ok(counts)
    }

    /// How many packets met that verdict since the start, summed over all CPUs.
    pub fn counter(&self, verdict: Verdict) -> Result<u64, DropError> {
        Ok(per_cpu_sum(&self.verdicts, VERDICTS, verdict as u32)?)
    }

    /// Attaches the early drop to interfaces that have appeared, or come back, since.
    pub fn refresh_interfaces(&self) {
        for error in self.refresh(&mut self.programs.lock()) {
            tracing::warn!("{error}");
        }
    }

    /// Does so from time to time, for ever; run it on the control thread.
    pub async fn watch_interfaces(&self) {
        let mut look = tokio::time::interval(Duration::from_secs(2));
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            self.refresh_interfaces();
        }
    }

    /// True where the early drop would drop this Ethernet frame: the kernel runs the program on it, without
    /// any network.
    ///
    /// # Errors
    /// When the kernel does not run it.
    pub fn judge(&self, frame: &[u8]) -> Result<bool, LoadError> {
        self.judge_at(Stage::Xdp, frame)
    }

    /// The same by the program of a stage. As a socket buffer the kernel refuses some frames itself, with
    /// `EINVAL`.
    ///
    /// # Errors
    /// Also when the program does not load.
    pub fn judge_at(&self, stage: Stage, frame: &[u8]) -> Result<bool, LoadError> {
        Ok(judge(&mut self.programs.lock(), stage, frame, 1)?.0)
    }

    /// The cost of one run of the early drop's program on this Ethernet frame, the mean of `repeat`, by the
    /// kernel's clock.
    ///
    /// # Errors
    /// When the kernel does not run it.
    pub fn cost(&self, frame: &[u8], repeat: u32) -> Result<Duration, LoadError> {
        Ok(judge(&mut self.programs.lock(), Stage::Xdp, frame, repeat)?.1)
    }

    fn lock(&self) -> MutexGuard<'_, Maps> {
        // The maps live in the kernel; a panic elsewhere cannot have left them half changed.
        self.maps.lock()
    }
}

/// Lets the kernel run the program of a stage on a frame that came from no network, `repeat` times; whether
/// it would drop it, and the mean time of one run, by the kernel's clock.
fn judge(ebpf: &mut Ebpf, stage: Stage, frame: &[u8], repeat: u32) -> Result<(bool, Duration), LoadError> {
    let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
    let (result, drop) = match stage {
        Stage::Xdp => {
            let result = interfaces::xdp(ebpf)?.test_run(options).map_err(loader::failed(DROP_PROGRAM))?;
            (result, XDP_DROP)
        }
        Stage::Tcx => {
            let failed = loader::failed(DROP_TCX_PROGRAM);
            let program = interfaces::tcx(ebpf)?;
            if program.fd().is_err() {
                program.load().map_err(&failed)?;
            }
            (program.test_run(options).map_err(failed)?, TC_ACT_SHOT)
        }
    };
    Ok((result.return_value == drop, result.duration))
}

pub(super) fn take<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<T, LoadError> {
    let map = ebpf.take_map(name).ok_or(LoadError::Foreign(name))?;
    T::try_from(map).map_err(loader::map_failed(name))
}

fn map_failed(action: &'static str) -> impl Fn(MapError) -> DropError {
    move |source| DropError::Map { action, source }
}

/// Removing what the kernel has meanwhile removed itself is no failure.
fn ignore_absent(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(error) if loader::errno_of(&error) == Some(libc::ENOENT) => Ok(()),
        Err(MapError::KeyNotFound) => Ok(()),
        result => result,
    }
}
