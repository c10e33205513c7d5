//! A set of positions, kept as sorted disjoint ranges.

use core::ops::Range;

/// A set of `u64` positions as sorted, disjoint, non-adjacent ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {}

impl Ranges {
    /// The empty set.
    pub fn new() -> Self { todo!() }
    /// Adds a range (empty ones are ignored); merges with neighbours it touches.
    pub fn insert(&mut self, range: Range<u64>) { todo!() }
    /// Removes a range.
    pub fn remove(&mut self, range: Range<u64>) { todo!() }
    /// Removes everything below `to`.
    pub fn remove_below(&mut self, to: u64) { todo!() }
    /// The lowest range.
    pub fn first(&self) -> Option<Range<u64>> { todo!() }
    /// All ranges, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ { core::iter::empty() }
    /// Number of ranges.
    pub fn len(&self) -> usize { todo!() }
    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool { todo!() }
    /// Number of positions in the set. O(1).
    pub fn total(&self) -> u64 { todo!() }
    /// Whether every position of `range` is in the set.
    pub fn covers(&self, range: Range<u64>) -> bool { todo!() }
    /// Whether inserting `range` would make the set hold one range more than now.
    pub fn would_grow(&self, range: Range<u64>) -> bool { todo!() }
    /// Empties the set.
    pub fn clear(&mut self) { todo!() }
}
