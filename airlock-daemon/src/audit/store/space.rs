//! Room on the log's file system, and what is still written when it runs out.

use std::io;
use std::path::Path;

/// A reserve is never more than this part of the file system.
const PART: u64 = 20;

/// Judges the room for the log in `dir`, of which `reserve` bytes are to stay: below all of it no refusal of
/// a stranger is written, below half of it no request is accepted whose record would have to be.
///
/// # Errors
/// The file system does not answer.
pub(in crate::audit) fn of(dir: &Path, reserve: u64) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(judge(
        stat.f_bavail.saturating_mul(stat.f_frsize),
        stat.f_blocks.saturating_mul(stat.f_frsize),
        reserve,
    ))
}

fn judge(free: u64, size: u64, reserve: u64) -> Space {
    let reserve = reserve.min(size / PART);
    if free >= reserve {
        Space::Plenty
    } else if free >= reserve / 2 {
        Space::Low
    } else {
        Space::Gone
    }
}

/// Room on the file system of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// More than the reserve is left.
    #[default]
    Plenty,
    /// Less: refusals of nobody are counted, not written.
    Low,
    /// Less than half of it: nothing is accepted that would have to be written.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_system_has_a_small_reserve() {
        let (mib, gib) = (1 << 20, 1 << 30);
        for (free, size, says) in [
            (256 * mib, 100 * gib, Space::Plenty),
            (255 * mib, 100 * gib, Space::Low),
            (128 * mib, 100 * gib, Space::Low),
            (127 * mib, 100 * gib, Space::Gone),
            (6 * mib, 100 * mib, Space::Plenty),
            (4 * mib, 100 * mib, Space::Low),
            (2 * mib, 100 * mib, Space::Gone),
            (0, 0, Space::Plenty),
        ] {
            assert_eq!(judge(free, size, 256 * mib), says, "{free} of {size}");
        }
        assert_eq!(judge(0, 100 * gib, 0), Space::Plenty, "no reserve was asked for");
    }
}
