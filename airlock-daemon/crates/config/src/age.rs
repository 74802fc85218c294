//! How long ago something was, as people say it.

use std::fmt;
use std::time::{Duration, SystemTime};

/// A stretch of time in its one largest unit that leaves at least two of it, rounded down: `119s`, `2m`,
/// `47h`, `2d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Age(pub Duration);

impl Age {
    /// Since that moment; none where the clock was set back behind it.
    pub fn since(moment: SystemTime) -> Self {
        Self(moment.elapsed().unwrap_or_default())
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let units = [(86_400, 'd'), (3_600, 'h'), (60, 'm')];
        let (size, unit) = units.into_iter().find(|(size, _)| seconds >= 2 * size).unwrap_or((1, 's'));
        write!(f, "{}{unit}", seconds / size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        let shown = |seconds| Age(Duration::from_secs(seconds)).to_string();
        assert_eq!([0, 119, 120, 7_199, 7_200].map(shown), ["0s", "119s", "2m", "119m", "2h"]);
        assert_eq!([172_799, 172_800].map(shown), ["47h", "2d"]);
    }
}
