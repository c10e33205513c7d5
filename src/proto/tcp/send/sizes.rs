//! In segments of which size the bytes in flight were sent last.
//!
//! Owns that record and nothing else: what a size means for a path is `path`'s affair. It is kept as runs of segments
//! of the same size, not as a list of segments, so that a window full of them costs one entry. Where a sender has mixed
//! so many sizes that it would grow too long, the oldest runs become one, with the larger of their sizes.

use alloc::collections::VecDeque;
use core::ops::Range;

use crate::proto::buf::trail::Trail;

/// Runs that are kept apart.
const RUNS_MAX: usize = 128;

/// Heap memory of so many runs is not worth giving back.
const RUNS_KEPT: usize = 8;

/// Positions next to each other that went out in segments of the same size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: u64,
    end: u64,
    /// Bytes of text a segment.
    size: u64,
}

/// The record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sizes {
    /// Ascending and without gaps.
    runs: Trail<Run>,
}

impl Sizes {
    pub(crate) const fn new() -> Self {
        Sizes { runs: Trail::new() }
    }

    /// Forgets what stands there, and gives its memory back if it is much.
    pub(super) fn empty(&mut self) {
        self.runs.empty(RUNS_KEPT);
    }

    /// A segment with `size` bytes of text went out, for the first time or again.
    #[inline(always)]
    pub(crate) fn sent(&mut self, range: Range<u64>, size: u64) {
        let run = Run { start: range.start, end: range.end, size };
        match self.runs.back_mut() {
            None => self.runs.push_back(run),
            Some(last) if last.end == run.start && last.size == size => last.end = run.end,
            Some(last) if last.end > run.start => self.overwrite(range, size),
            Some(_) => {
                self.runs.push_back(run);
                if self.runs.len() > RUNS_MAX {
                    self.keep_short();
                }
            }
        }
    }

    /// All below `una` is acknowledged. Returns the size of the largest segment among what newly is.
    #[inline]
    pub(crate) fn advance(&mut self, una: u64) -> Option<u64> {
        // Mostly that is all there is, and all of it has arrived.
        if let Some(&Run { start, end, size }) = self.runs.only()
            && start < una
            && end <= una
        {
            self.empty();
            return Some(size);
        }
        self.advance_over(una)
    }

    #[inline(never)]
    fn advance_over(&mut self, una: u64) -> Option<u64> {
        let mut largest = self.runs.front().filter(|run| run.start < una)?.size;
        while let Some(first) = self.runs.front_mut().filter(|run| run.start < una) {
            largest = largest.max(first.size);
            if first.end > una {
                first.start = una;
                break;
            }
            self.runs.pop_front();
        }
        if self.runs.is_empty() {
            self.empty();
        }
        Some(largest)
    }

    /// The size of the segment that carried `position` last.
    pub(crate) fn at(&self, position: u64) -> Option<u64> {
        let run = self.runs.get(self.runs.partition_point(|run| run.end <= position))?;
        (run.start <= position).then_some(run.size)
    }

    /// What is on its way in segments of more than `size` bytes.
    pub(crate) fn larger_than(&self, size: u64) -> impl Iterator<Item = Range<u64>> + '_ {
        self.runs.iter().filter(move |run| run.size > size).map(|run| run.start..run.end)
    }

    // Rare, as what it calls: the record of what is sent for the first time needs none of their registers.
    #[cold]
    fn overwrite(&mut self, range: Range<u64>, size: u64) {
        self.runs.change(|runs| overwrite(runs, range, size));
        self.keep_short();
    }

    #[cold]
    fn keep_short(&mut self) {
        // What goes again in the middle of a run makes three of it.
        while self.runs.len() > RUNS_MAX
            && let Some(oldest) = self.runs.pop_front()
            && let Some(next) = self.runs.front_mut()
        {
            next.start = oldest.start;
            next.size = next.size.max(oldest.size);
        }
    }
}

/// Has `range` be sent in segments of `size` bytes, whatever stands there.
fn overwrite(runs: &mut VecDeque<Run>, range: Range<u64>, size: u64) {
    let from = runs.partition_point(|run| run.end <= range.start);
    let to = runs.partition_point(|run| run.start < range.end);
    let new = Run { start: range.start, end: range.end, size };
    let left = runs.get(from).map(|run| Run { end: range.start, ..*run });
    let right = to.checked_sub(1).and_then(|last| runs.get(last));
    let right = right.map(|run| Run { start: range.end, ..*run });
    runs.drain(from..to);
    let mut at = from;
    for run in [left, Some(new), right].into_iter().flatten().filter(|run| run.start < run.end) {
        match at.checked_sub(1).and_then(|before| runs.get_mut(before)) {
            Some(before) if before.size == run.size => before.end = run.end,
            Some(_) | None => {
                runs.insert(at, run);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn segments_that_go_again_smaller_do_not_make_the_record_longer_than_it_may_be() {
        let mut sizes = Sizes::new();
        sizes.sent(0..1_000_000, 1_000);
        for nth in 0..1_000 {
            let start = 1_000 * nth + 300;
            sizes.sent(start..start + 500, 500);
            assert!(sizes.runs.len() <= RUNS_MAX, "{} runs after {nth}", sizes.runs.len());
        }
        assert_eq!((sizes.at(999_400), sizes.at(999_900)), (Some(500), Some(1_000)));
    }

    #[test]
    fn a_window_of_equal_segments_is_one_run() {
        let mut sizes = Sizes::new();
        for start in (0..100_000).step_by(1000) {
            sizes.sent(start..start + 1000, 1000);
        }
        assert_eq!(sizes.runs.len(), 1);
        assert_eq!(sizes.larger_than(999).next(), Some(0..100_000));
        assert_eq!(sizes.larger_than(1000).count(), 0);
        assert_eq!(sizes.advance(99_500), Some(1000));
        assert_eq!((sizes.at(99_499), sizes.at(99_500), sizes.at(100_000)), (None, Some(1000), None));
    }

    #[test]
    fn the_next_connection_has_the_memory_of_a_short_record_and_not_that_of_a_long_one() {
        for (runs, kept) in [(2, true), (100, false)] {
            let mut sizes = Sizes::new();
            for nr in 0..runs {
                sizes.sent(nr * 10..nr * 10 + 10, 5 + nr % 2);
            }
            sizes.empty();
            assert_eq!(sizes.runs.len(), 0);
            assert_eq!((1..=RUNS_KEPT).contains(&sizes.runs.capacity()), kept, "{runs}");
        }
    }

    #[test]
    fn what_is_sent_again_has_its_new_size() {
        let mut sizes = Sizes::new();
        sizes.sent(0..3000, 1500);
        sizes.sent(0..1000, 1000);
        assert_eq!(sizes.larger_than(1000).next(), Some(1000..3000));
        sizes.sent(1000..2000, 1000);
        sizes.sent(2000..3100, 1100);
        assert_eq!(sizes.larger_than(1100).count(), 0);
        assert_eq!(
            (sizes.advance(2000), sizes.advance(2000), sizes.advance(2001)),
            (Some(1000), None, Some(1100))
        );
    }

    #[test]
    fn too_many_sizes_are_kept_as_fewer_larger_ones() {
        let mut sizes = Sizes::new();
        for n in 0..10_000 {
            sizes.sent(n * 10..n * 10 + 10, 5 + n % 2);
        }
        assert_eq!(sizes.runs.len(), RUNS_MAX);
        assert!((0..90_000).step_by(10).all(|at| sizes.at(at) == Some(6)), "never smaller than it was");
        sizes.advance(100_000);
        assert_eq!(sizes.runs.capacity(), 0);
    }

    proptest! {
        /// The naive model: the size of every byte.
        #[test]
        fn sizes_are_those_of_the_naive_model(
            steps in prop::collection::vec((0..3_u8, 0..100_u64, 1..6_u64), 1..60),
        ) {
            let (mut sizes, mut model, mut una, mut nxt) = (Sizes::new(), BTreeMap::new(), 0, 0);
            for (what, share, size) in steps {
                let at = una + (nxt - una) * share / 100;
                if what == 0 {
                    let acked: Vec<u64> = model.range(una..at).map(|(_, size)| *size).collect();
                    prop_assert_eq!(sizes.advance(at), acked.into_iter().max());
                    una = at;
                    model.retain(|position, _| *position >= una);
                } else {
                    let start = if what == 1 { nxt } else { at };
                    sizes.sent(start..start + size, size);
                    model.extend((start..start + size).map(|position| (position, size)));
                    nxt = nxt.max(start + size);
                }
                for position in una..nxt + 2 {
                    prop_assert_eq!(sizes.at(position), model.get(&position).copied());
                }
                for than in 0..6 {
                    let found: Vec<u64> = sizes.larger_than(than).flatten().collect();
                    let expected = model.iter().filter(|(_, size)| **size > than).map(|(position, _)| *position);
                    prop_assert_eq!(found, expected.collect::<Vec<_>>());
                }
            }
        }
    }
}
