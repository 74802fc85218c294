//! One round at one door: the honest client for some seconds, and the flood beside it.

use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use airlock_tests::proc::cpu_micros;

use crate::cores::{Cores, come_last, stay_on};
use crate::door::Door;
use crate::honest::{Client, Seen};
use crate::offender::Flood;

/// How long the client asks.
const SPAN: Duration = Duration::from_secs(4);
/// How long the flood is there before it is measured; so long is also the rest after it.
const LEAD: Duration = Duration::from_millis(500);
/// Calls a second on connections that stay.
const KEPT_RATE: u32 = 200;
/// Calls a second on a connection of their own.
const NEW_RATE: u32 = 100;
/// Connections that stay.
const KEPT: usize = 8;
/// New connections at a time: as many as are begun in the second after which a lost SYN is sent again, and
/// some more.
const NEW: usize = 150;

/// The findings. Rates are for a second, shares of one core.
pub(crate) struct Round {
    pub(crate) kept: Seen,
    pub(crate) new: Seen,
    /// The flood's attempts, and how many of them were refused.
    pub(crate) made: f64,
    pub(crate) refused: f64,
    /// Packets at the door, and how many of them were the offender's and dropped.
    pub(crate) arrived: f64,
    pub(crate) dropped: f64,
    /// Processor time of the daemon.
    pub(crate) daemon: f64,
    /// All work of the host's core, packets included.
    pub(crate) host: f64,
}

/// Everything that only ever grows.
struct Counts {
    at: Instant,
    made: u64,
    refused: u64,
    arrived: u64,
    dropped: u64,
    daemon: u64,
    idle: u64,
}

impl Counts {
    fn of(door: &Door, cores: &Cores, flood: &Flood) -> Result<Self, String> {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // The part that asks the system, and takes a while, comes first.
        let (arrived, dropped) = (door.arrived()?, door.dropped()?);
        let daemon =
            cpu_micros(door.airlock.pid()).map_err(|error| format!("the daemon is gone: {error}"))?;
        let idle = cores.host_idle_micros()?;
        let (made, refused) = (count(&flood.made), count(&flood.refused));
        Ok(Self { at: Instant::now(), made, refused, arrived, dropped, daemon, idle })
    }
}

/// One round; without a flood where the rate is 0.
pub(crate) fn run(door: &Door, cores: &Cores, rate: u32) -> Result<Round, String> {
    let flood = Flood::default();
    let kept = Client::of(door, true);
    let mut connections: Vec<Option<TcpStream>> = (0..KEPT).map(|_| None).collect();
    door.net.inside(1, || connections.iter_mut().try_for_each(|connection| kept.call(connection)))?;
    let (round, flooded) = std::thread::scope(|scope| {
        let flooding = scope.spawn(|| {
            door.net.inside(1, || {
                if rate == 0 {
                    return Ok(());
                }
                stay_on(cores.clients)?;
                come_last()?;
                flood.run(rate, door.address()).map_err(|error| format!("the flood: {error}"))
            })
        });
        std::thread::sleep(LEAD);
        let round = watch(door, cores, &flood, &kept, &mut connections);
        flood.over.store(true, Ordering::Relaxed);
        (round, flooding.join())
    });
    flooded.map_err(|_| "the flood broke".to_owned())??;
    std::thread::sleep(LEAD);
    match flood.let_in.into_inner() {
        0 => round,
        some => Err(format!("{some} attempts of a blocked address were let in")),
    }
}

/// The honest client's calls, and what the flood did in the same time.
fn watch(
    door: &Door,
    cores: &Cores,
    flood: &Flood,
    kept: &Client,
    connections: &mut [Option<TcpStream>],
) -> Result<Round, String> {
    let fresh = Client::of(door, false);
    let mut none: Vec<Option<TcpStream>> = (0..NEW).map(|_| None).collect();
    let before = Counts::of(door, cores, flood)?;
    let (kept, new) = door.net.inside(1, || {
        stay_on(cores.clients)?;
        Ok::<_, String>(std::thread::scope(|scope| {
            let new = scope.spawn(|| fresh.run(NEW_RATE, SPAN, &mut none));
            let kept = kept.run(KEPT_RATE, SPAN, connections);
            (kept, new.join().unwrap_or_default())
        }))
    })?;
    let after = Counts::of(door, cores, flood)?;
    #[allow(clippy::cast_precision_loss)] // Figures for people.
    let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
    let micros = u64::try_from((after.at - before.at).as_micros()).unwrap_or(u64::MAX);
    let a_second = |after: u64, before: u64| share((after - before) * 1_000_000, micros);
    Ok(Round {
        kept,
        new,
        made: a_second(after.made, before.made),
        refused: a_second(after.refused, before.refused),
        arrived: a_second(after.arrived, before.arrived),
        dropped: a_second(after.dropped, before.dropped),
        daemon: share(after.daemon.saturating_sub(before.daemon), micros),
        host: share(micros.saturating_sub(after.idle.saturating_sub(before.idle)), micros),
    })
}
