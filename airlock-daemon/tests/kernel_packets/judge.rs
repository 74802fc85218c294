//! The programs of the early drop in a kernel that knows the four standings.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use airlock::config::schema::{Kernel, KernelMode, Seal};
use airlock::kernel::{KernelHalf, LoadError, Reason, Stage, Verdict};

use crate::frame::{OUR_V4, OUR_V6, OURS, Standing};
use crate::support;

/// A kernel that knows the four standings, or the reason why it cannot be had.
pub(crate) fn kernel() -> Option<Arc<KernelHalf>> {
    // Packets know nothing of what seals servers, and it takes a second to load in a guest.
    let mut config = Kernel { mode: KernelMode::Preferred, seal: Seal::Off, ..Kernel::default() };
    let exempt = [(IpAddr::from(Standing::Exempt.v4()), 32), (Standing::Exempt.v6().into(), 128)];
    config.xdp.allow = exempt.map(|(address, bits)| format!("{address}/{bits}")).into();
    let half = KernelHalf::start(&config).expect("preferred always starts");
    let Some(early_drop) = half.early_drop() else {
        support::skip(&format!("the early drop does not load here: {}", half.report()));
        return None;
    };
    let sockets = [IpAddr::from(OUR_V4), OUR_V6.into()].map(|address| SocketAddr::new(address, OURS));
    early_drop.set_sockets(&sockets).expect("sockets");
    for standing in [Standing::Listed, Standing::Expired, Standing::Exempt] {
        let lasting = if standing == Standing::Expired { Duration::ZERO } else { Duration::from_hours(1) };
        for address in [IpAddr::from(standing.v4()), standing.v6().into()] {
            early_drop.block(address, lasting, Reason::Operator).expect("a block");
        }
    }
    Some(half)
}

/// Judges frames by the program of a stage, and watches the counters.
///
/// A system call in an emulated guest is dear, so of each frame only the counter is read that has to move;
/// that no other has moved as well is told from all of them by [`Judge::settle`], which a test calls after
/// every few frames.
pub(crate) struct Judge<'a> {
    half: &'a KernelHalf,
    stage: Stage,
    counted: [u64; Verdict::COUNT as usize],
    pub(crate) judged: u64,
    pub(crate) refused: u64,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(half: &'a KernelHalf, stage: Stage) -> Self {
        Self { half, stage, counted: counters(half), judged: 0, refused: 0 }
    }

    /// The kernel comes to this verdict, by the counter that moves, and drops only what it counts as dropped.
    /// True where it did so: a frame that is refused before any program sees it is counted and must be one
    /// that cannot be understood.
    pub(crate) fn expect(&mut self, frame: &[u8], expected: Verdict) -> Result<bool, String> {
        let dropped = match self.half.early_drop().expect("loaded").judge_at(self.stage, frame) {
            Ok(dropped) => dropped,
            Err(error) if self.stage == Stage::Tcx && is_invalid(&error) => {
                self.refused += 1;
                return match expected {
                    Verdict::Unparsed => Ok(false),
                    _ => Err(format!("refused, and it has to be {expected:?}")),
                };
            }
            Err(error) => return Err(error.to_string()),
        };
        self.judged += 1;
        let counter = self.half.early_drop().expect("loaded").counter(expected).expect("a counter");
        let known = &mut self.counted[expected as usize];
        if counter != *known + 1 {
            return Err(format!("it has to be {expected:?}; the counters moved by {:?}", self.moved()));
        }
        *known = counter;
        if dropped != (expected == Verdict::Dropped) {
            return Err(format!("{expected:?}, and whether it was dropped: {dropped}"));
        }
        Ok(true)
    }

    /// By how much the counters differ from what is expected.
    fn moved(&self) -> Vec<(Verdict, u64)> {
        let moved = counters(self.half).into_iter().zip(self.counted).map(|(now, known)| now - known);
        Verdict::ALL.into_iter().zip(moved).filter(|(_, moved)| *moved != 0).collect()
    }

    /// No frame has moved another counter than its own.
    pub(crate) fn settle(&self) {
        assert!(self.moved().is_empty(), "{:?}: {:?}", self.stage, self.moved());
    }
}

fn counters(half: &KernelHalf) -> [u64; Verdict::COUNT as usize] {
    half.early_drop().expect("loaded").counters().expect("counters").map(|(_, count)| count)
}

/// True where the kernel has refused the frame itself.
fn is_invalid(error: &LoadError) -> bool {
    matches!(error, LoadError::Program { .. } if error.errno() == Some(22))
}
