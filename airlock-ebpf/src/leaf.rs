//! The leaf of a task: the cgroup of one server, or of one unit of a slice. Signals stay within it.
#![allow(clippy::inline_always, reason = "a program in the kernel has no stack to spare for calls")]

/// Cgroups between a task and its cage, at most. Nobody in a cage makes any, so that a unit has those that
/// its manager made for it; from a task outside of the cage the way up ends at the root, or here.
pub const MAX_DEPTH: u32 = 32;

/// The leaf of a cgroup: the id of that above it, or of itself, which is directly below the cage; none for a
/// cgroup that is not in the cage. Whoever is in the cage's own cgroup has that for a leaf.
#[inline(always)]
pub fn leaf_of<N: Copy>(
    cgroup: N,
    cage: u64,
    id: impl Fn(N) -> Option<u64>,
    parent: impl Fn(N) -> Option<N>,
) -> Option<u64> {
    let mut node = cgroup;
    let mut leaf = id(node)?;
    if leaf == cage {
        return Some(leaf);
    }
    for _ in 0..MAX_DEPTH {
        node = parent(node)?;
        let above = id(node)?;
        if above == cage {
            return Some(leaf);
        }
        leaf = above;
    }
    None
}

/// True where somebody in a cage, who has a leaf there, may send a signal to a task with this one.
#[inline(always)]
pub fn may_signal(own: Option<u64>, other: Option<u64>) -> bool {
    match (own, other) {
        (Some(own), Some(other)) => own == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The id of each cgroup's parent: 1 is the root, 10 and 50 are cages, and 20 is deep in the first.
    const PARENTS: [(u64, u64); 10] =
        [(10, 1), (11, 10), (12, 10), (13, 11), (14, 13), (15, 12), (20, 14), (50, 1), (51, 50), (60, 51)];

    fn parent(cgroup: u64) -> Option<u64> {
        PARENTS.into_iter().find(|(child, _)| *child == cgroup).map(|(_, parent)| parent)
    }

    fn leaf(cgroup: u64, cage: u64) -> Option<u64> {
        leaf_of(cgroup, cage, Some, parent)
    }

    #[test]
    fn a_leaf_is_directly_below_its_cage() {
        assert_eq!([11, 13, 14, 20].map(|cgroup| leaf(cgroup, 10)), [Some(11); 4]);
        assert_eq!([12, 15].map(|cgroup| leaf(cgroup, 10)), [Some(12); 2]);
        assert_eq!(leaf(10, 10), Some(10));
        assert_eq!([1, 50, 51, 60].map(|cgroup| leaf(cgroup, 10)), [None; 4]);
        assert_eq!(leaf(60, 50), Some(51));
    }

    #[test]
    fn signals_stay_within_a_leaf() {
        let may = |from, to| may_signal(leaf(from, 10), leaf(to, 10));
        for (from, to) in [(11, 11), (11, 20), (20, 11), (13, 14), (12, 15)] {
            assert!(may(from, to), "{from} {to}");
        }
        for (from, to) in [(11, 12), (20, 15), (12, 11), (11, 10), (10, 11), (11, 1), (11, 51), (11, 99)] {
            assert!(!may(from, to), "{from} {to}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_a_circle_has_an_end() {
        let unreadable = leaf_of(11, 10, |id| (id != 10).then_some(id), parent);
        assert_eq!(unreadable, None);
        assert_eq!(leaf_of(7_u64, 10, Some, Some), None);
        assert!(!may_signal(None, None) && !may_signal(Some(11), None) && !may_signal(None, Some(11)));
    }

    #[test]
    fn as_deep_as_a_way_may_be_it_is_walked() {
        let above = |cgroup: u64| Some(cgroup - 1);
        let cage = 1_000;
        let deepest = cage + u64::from(MAX_DEPTH);
        assert_eq!(leaf_of(deepest, cage, Some, above), Some(cage + 1));
        assert_eq!(leaf_of(deepest + 1, cage, Some, above), None);
    }
}
