//! A set of positions, kept as sorted disjoint ranges.
//!
//! Owns the arithmetic of such sets and nothing else: what a position means (received, acknowledged,
//! lost) and how many ranges a peer may make us keep is the caller's affair; [`Ranges::would_grow`] is
//! there to be asked before a range is let in.

use alloc::collections::VecDeque;
use core::ops::Range;

/// A set of `u64` positions as sorted, disjoint, non-adjacent ranges.
///
/// Searching is O(log n). A change moves at most half of the ranges (16 bytes each), and a change at
/// either end, the usual kind, moves none. An empty set owns no heap memory.
///
/// ```
/// use tunstack::proto::buf::ranges::Ranges;
///
/// let mut received = Ranges::new();
/// received.insert(10..20);
/// received.insert(30..40);
/// received.insert(20..25);
/// assert!(received.iter().eq([10..25, 30..40]));
/// assert_eq!(received.total(), 25);
/// assert!(received.covers(12..24) && !received.covers(24..31));
///
/// received.remove_below(35);
/// assert_eq!(received.first(), Some(35..40));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    /// Sorted, none empty, at least one position between neighbours. A deque, because what is settled
    /// leaves at the front while what is new arrives at the back.
    ranges: VecDeque<Range<u64>>,
    total: u64,
}

impl Ranges {
    /// The empty set.
    pub const fn new() -> Self {
        Ranges { ranges: VecDeque::new(), total: 0 }
    }

    /// Adds a range (empty ones are ignored); merges with neighbours it touches.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let touched = self.touched_by(&range);
        let mut merged = range;
        for old in self.ranges.range(touched.clone()) {
            merged = merged.start.min(old.start)..merged.end.max(old.end);
            self.total -= length(old);
        }
        self.total += length(&merged);
        if touched.is_empty() {
            self.ranges.insert(touched.start, merged);
        } else {
            self.ranges[touched.start] = merged;
            self.ranges.drain(touched.start + 1..touched.end);
        }
    }

    /// Removes a range.
    #[inline]
    pub fn remove(&mut self, range: Range<u64>) {
        // Most sets are empty most of the time.
        if !self.is_empty() {
            self.cut_out(range);
        }
    }

    fn cut_out(&mut self, range: Range<u64>) {
        let mut cut = self.overlapped_by(&range);
        if cut.is_empty() {
            return;
        }
        let left = self.ranges[cut.start].start..range.start;
        let right = range.end..self.ranges[cut.end - 1].end;
        for old in self.ranges.range(cut.clone()) {
            self.total -= length(old);
        }
        // What is left at the edges takes the places of what goes, so that little has to move.
        if !left.is_empty() {
            self.total += length(&left);
            self.ranges[cut.start] = left;
            cut.start += 1;
        }
        if !right.is_empty() {
            self.total += length(&right);
            if cut.is_empty() {
                self.ranges.insert(cut.start, right);
            } else {
                cut.end -= 1;
                self.ranges[cut.end] = right;
            }
        }
        self.ranges.drain(cut);
        if self.ranges.is_empty() {
            self.clear();
        }
    }

    /// Removes everything below `to`.
    pub fn remove_below(&mut self, to: u64) {
        self.remove(0..to);
    }

    /// The lowest range.
    pub fn first(&self) -> Option<Range<u64>> {
        self.ranges.front().cloned()
    }

    /// The highest range.
    pub fn last(&self) -> Option<Range<u64>> {
        self.ranges.back().cloned()
    }

    /// The range that holds `position`, if it is in the set.
    pub fn containing(&self, position: u64) -> Option<Range<u64>> {
        let candidate = self.ranges.get(self.ranges.partition_point(|r| r.end <= position))?;
        candidate.contains(&position).then(|| candidate.clone())
    }

    /// The first range that shares a position with `range`.
    pub fn overlapping(&self, range: Range<u64>) -> Option<Range<u64>> {
        let overlapped = self.overlapped_by(&range);
        self.ranges.range(overlapped).next().cloned()
    }

    /// The stretches of `range` that are not in the set, ascending.
    pub fn gaps(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let held = self.ranges.range(self.overlapped_by(&range));
        let ends = core::iter::once(range.start).chain(held.clone().map(|r| r.end));
        let starts = held.map(|r| r.start).chain(core::iter::once(range.end));
        ends.zip(starts).map(|(end, start)| end..start).filter(|gap| !gap.is_empty())
    }

    /// The highest position below `to` that is not in the set.
    pub fn last_missing_below(&self, to: u64) -> Option<u64> {
        let candidate = to.checked_sub(1)?;
        match self.containing(candidate) {
            None => Some(candidate),
            Some(holder) => holder.start.checked_sub(1),
        }
    }

    /// All ranges, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + ExactSizeIterator + '_ {
        self.ranges.iter().cloned()
    }

    /// Number of ranges.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of positions in the set. O(1).
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Whether every position of `range` is in the set. True of an empty range.
    pub fn covers(&self, range: Range<u64>) -> bool {
        range.is_empty() || self.containing(range.start).is_some_and(|holder| range.end <= holder.end)
    }

    /// Whether inserting `range` would make the set hold one range more than now.
    pub fn would_grow(&self, range: Range<u64>) -> bool {
        !range.is_empty() && self.touched_by(&range).is_empty()
    }

    /// Empties the set and gives its memory back.
    pub fn clear(&mut self) {
        *self = Ranges::new();
    }

    /// The indices of the ranges that overlap `range` or stand right beside it; where there is none, the
    /// place where `range` belongs.
    fn touched_by(&self, range: &Range<u64>) -> Range<usize> {
        self.ranges.partition_point(|r| r.end < range.start)
            ..self.ranges.partition_point(|r| r.start <= range.end)
    }

    /// The indices of the ranges that share a position with `range`.
    fn overlapped_by(&self, range: &Range<u64>) -> Range<usize> {
        if self.ranges.is_empty() || range.is_empty() {
            return 0..0;
        }
        self.ranges.partition_point(|r| r.end <= range.start)
            ..self.ranges.partition_point(|r| r.start < range.end)
    }
}

fn length(range: &Range<u64>) -> u64 {
    range.end - range.start
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "sets of one range are what is meant")]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn set(ranges: &[Range<u64>]) -> Ranges {
        let mut set = Ranges::new();
        ranges.iter().for_each(|range| set.insert(range.clone()));
        set
    }

    #[test]
    fn touching_neighbours_become_one_range() {
        assert_eq!(set(&[0..5, 10..15, 5..10]), set(&[0..15]));
        assert_eq!(set(&[0..5, 10..15, 20..25, 3..22]).len(), 1);
        assert_eq!(set(&[0..5, 6..7]).len(), 2);
    }

    #[test]
    fn removing_the_middle_of_a_range_splits_it() {
        let mut ranges = set(&[0..10]);
        ranges.remove(4..6);
        assert!(ranges.iter().eq([0..4, 6..10]));
        assert_eq!(ranges.total(), 8);
    }

    #[test]
    fn the_highest_position_that_exists_can_be_held() {
        let mut ranges = set(&[0..1, u64::MAX - 1..u64::MAX]);
        assert_eq!((ranges.len(), ranges.total()), (2, 2));
        ranges.insert(0..u64::MAX);
        assert_eq!((ranges.len(), ranges.total()), (1, u64::MAX));
        ranges.remove_below(u64::MAX);
        assert!(ranges.is_empty());
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "a range whose end lies below its start is empty too")]
    fn empty_ranges_change_nothing_and_are_always_covered() {
        let mut ranges = set(&[5..10]);
        for empty in [7..7, 20..20, 9..6] {
            ranges.insert(empty.clone());
            ranges.remove(empty.clone());
            assert!(!ranges.would_grow(empty.clone()) && ranges.covers(empty));
        }
        assert!(ranges.iter().eq([5..10]));
    }

    #[test]
    fn an_emptied_set_owns_no_heap_memory() {
        let mut ranges: Ranges = set(&(0..100).map(|n| n * 10..n * 10 + 5).collect::<Vec<_>>());
        ranges.remove_below(1_000);
        assert_eq!(ranges.ranges.capacity(), 0);
    }

    #[test]
    fn the_range_around_a_position_is_found() {
        let ranges = set(&[0..5, 10..15]);
        let found: Vec<_> = [4, 5, 10, 14, 15].iter().map(|&at| ranges.containing(at)).collect();
        assert_eq!(found, [Some(0..5), None, Some(10..15), Some(10..15), None]);
        assert_eq!(ranges.last(), Some(10..15));
    }

    /// Every position by itself: slow and obviously right.
    #[derive(Default)]
    struct Model(BTreeSet<u64>);

    impl Model {
        fn ranges(&self) -> Vec<Range<u64>> {
            let mut ranges: Vec<Range<u64>> = Vec::new();
            for &position in &self.0 {
                match ranges.last_mut() {
                    Some(last) if last.end == position => last.end += 1,
                    _ => ranges.push(position..position + 1),
                }
            }
            ranges
        }
    }

    #[derive(Clone, Debug)]
    enum Op {
        Insert(Range<u64>),
        Remove(Range<u64>),
        RemoveBelow(u64),
        Clear,
    }

    fn op() -> impl Strategy<Value = Op> {
        let range = || (0u64..120, 0u64..30).prop_map(|(start, len)| start..start + len);
        prop_oneof![
            8 => range().prop_map(Op::Insert),
            4 => range().prop_map(Op::Remove),
            1 => (0u64..120).prop_map(Op::RemoveBelow),
            1 => Just(Op::Clear),
        ]
    }

    proptest! {
        #[test]
        fn ranges_behave_like_a_set_of_positions(ops in prop::collection::vec(op(), 1..60), probe in 0u64..150, len in 0u64..10) {
            let (mut ranges, mut model) = (Ranges::new(), Model::default());
            for op in ops {
                match op {
                    Op::Insert(range) => {
                        let (before, grows) = (ranges.len(), ranges.would_grow(range.clone()));
                        ranges.insert(range.clone());
                        model.0.extend(range);
                        prop_assert_eq!(grows, ranges.len() > before);
                    }
                    Op::Remove(range) => {
                        ranges.remove(range.clone());
                        model.0.retain(|position| !range.contains(position));
                    }
                    Op::RemoveBelow(to) => {
                        ranges.remove_below(to);
                        model.0.retain(|&position| position >= to);
                    }
                    Op::Clear => {
                        ranges.clear();
                        model.0.clear();
                    }
                }
                let expected = model.ranges();
                prop_assert_eq!(ranges.iter().collect::<Vec<_>>(), expected.clone());
                prop_assert_eq!(ranges.total(), model.0.len() as u64);
                prop_assert_eq!(ranges.first(), expected.first().cloned());
                prop_assert_eq!(ranges.last(), expected.last().cloned());
                prop_assert_eq!(ranges.covers(probe..probe + len), (probe..probe + len).all(|p| model.0.contains(&p)));
                let overlapping = expected.iter().find(|range| range.start < probe + len && probe < range.end && len > 0);
                prop_assert_eq!(ranges.overlapping(probe..probe + len), overlapping.cloned());
                let missing: Vec<u64> = (probe..probe + len).filter(|p| !model.0.contains(p)).collect();
                prop_assert_eq!(ranges.gaps(probe..probe + len).flatten().collect::<Vec<_>>(), missing);
                prop_assert_eq!(ranges.last_missing_below(probe), (0..probe).rev().find(|p| !model.0.contains(p)));
                prop_assert_eq!(ranges.containing(probe), expected.into_iter().find(|range| range.contains(&probe)));
            }
        }
    }
}
