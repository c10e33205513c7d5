//! What we report of text that came ahead of its turn (RFC 2018 section 4), or twice (RFC 2883).
//!
//! Owns the order in which stretches of text are reported, and the duplicate that is to be reported once. The
//! stretches themselves are the receiving half's.

use alloc::vec::Vec;
use core::ops::Range;

use arrayvec::ArrayVec;

use crate::proto::buf::ranges::Ranges;

/// Most blocks that fit into a header.
pub(crate) const BLOCKS_MAX: usize = 4;

/// Stretches whose order is remembered: those that a header holds, behind those of a batch that have an acknowledgement each
/// before them (one, and as many as wait).
const LATEST_MAX: usize = BLOCKS_MAX + 64;

/// Blocks of positions, in the order in which they are reported.
pub(crate) type Blocks = ArrayVec<Range<u64>, BLOCKS_MAX>;

/// What there is to report beside the stretches that are here.
#[derive(Clone, Debug, Default)]
pub(crate) struct SackReport {
    /// A position in each stretch that text came for, the latest first.
    latest: Vec<u64>,
    /// Where text came for which no report has gone out, the latest first.
    unreported: Vec<u64>,
    /// What came twice and was not reported yet.
    duplicate: Option<Range<u64>>,
}

impl SackReport {
    /// Text has come for the stretch that holds `position`.
    pub(crate) fn came(&mut self, position: u64, ahead: &Ranges) {
        let stretch = ahead.containing(position);
        self.latest.retain(|known| stretch.as_ref().is_none_or(|stretch| !stretch.contains(known)));
        self.latest.truncate(LATEST_MAX - 1);
        self.latest.insert(0, position);
        self.unreported.truncate(LATEST_MAX - 1);
        self.unreported.insert(0, position);
    }

    /// What stands in `range` had come before. Of several before the next report the last counts: each of them draws
    /// an acknowledgement at once.
    pub(crate) fn came_twice(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            //= RFC2883 4 most recent
            self.duplicate = Some(range);
        }
    }

    /// The blocks to be reported, at most `room`, by an acknowledgement that `waiting` others will follow: each of them begins
    /// with the stretch that it is due for, or of a batch only the last would be reported.
    pub(crate) fn blocks(&self, ahead: &Ranges, room: usize, waiting: usize) -> Blocks {
        let mut blocks = Blocks::new();
        let put = |blocks: &mut Blocks, block: Range<u64>| {
            if blocks.len() < room.min(BLOCKS_MAX) {
                blocks.push(block);
            }
        };
        //= RFC2883 4 duplicate, 4 second block, 4 others: before all others, and before the stretch that it lies in.
        if let Some(duplicate) = &self.duplicate {
            put(&mut blocks, duplicate.clone());
        }
        let told = blocks.len();
        //= RFC2018 3 block, 4 first, 4 repeated, 8 no old data
        let latest = self.latest.iter().skip(self.begins_at(ahead, waiting));
        let latest = latest.filter_map(|position| ahead.containing(*position));
        //= RFC2018 4 as many: those that nothing came for lately are told as well, if there is room.
        for stretch in latest.take(2 * BLOCKS_MAX).chain(ahead.iter().take(2 * BLOCKS_MAX)) {
            if !blocks.iter().skip(told).any(|block| *block == stretch) {
                put(&mut blocks, stretch);
            }
        }
        blocks
    }

    /// Where in `latest` a report begins that `waiting` others will follow: with the stretch of the text that it is due for. It is the
    /// latest of all if that text is acknowledged by now, or was no news.
    fn begins_at(&self, ahead: &Ranges, waiting: usize) -> usize {
        let due_for = self.unreported.get(waiting).and_then(|position| ahead.containing(*position));
        let begins = |stretch: Range<u64>| self.latest.iter().position(|known| stretch.contains(known));
        due_for.and_then(begins).unwrap_or(0)
    }

    /// Whether `blocks` of what is `ahead` would say anything.
    pub(crate) fn is_empty(&self, ahead: &Ranges) -> bool {
        self.duplicate.is_none() && ahead.is_empty()
    }

    /// Whether something came twice and was not reported yet.
    pub(crate) fn has_duplicate(&self) -> bool {
        self.duplicate.is_some()
    }

    /// A report has gone out that `waiting` others will follow.
    //= RFC2883 4 once
    pub(crate) fn sent(&mut self, waiting: usize) {
        self.duplicate = None;
        self.unreported.truncate(waiting);
    }

    /// Another connection's, of which nothing has come.
    pub(crate) fn renew(&mut self) {
        self.forget_order();
        self.duplicate = None;
    }

    /// Nothing is ahead of its turn any more.
    pub(crate) fn forget_order(&mut self) {
        self.latest = Vec::new();
        self.unreported = Vec::new();
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)] // One block is what is meant.
mod tests {
    use super::*;
    use alloc::vec::Vec;

    /// A report after text has come for each of `ranges` in turn.
    fn after(ranges: &[Range<u64>]) -> (SackReport, Ranges) {
        let (mut report, mut ahead) = (SackReport::default(), Ranges::new());
        for range in ranges {
            ahead.insert(range.clone());
            report.came(range.start, &ahead);
        }
        (report, ahead)
    }

    fn told(report: &SackReport, ahead: &Ranges, room: usize) -> Vec<Range<u64>> {
        report.blocks(ahead, room, 0).into_iter().collect()
    }

    #[test]
    fn each_acknowledgement_of_a_batch_begins_with_the_stretch_it_is_due_for() {
        //= RFC2018 4 first
        let (report, ahead) = after(&[10..20, 30..40, 50..60, 70..80, 90..95]);
        let of_batch = |waiting| report.blocks(&ahead, 3, waiting).into_iter().collect::<Vec<_>>();
        assert_eq!(of_batch(2), [50..60, 30..40, 10..20]);
        assert_eq!(of_batch(1), [70..80, 50..60, 30..40]);
        assert_eq!(of_batch(0), [90..95, 70..80, 50..60]);
        // More acknowledgements than text that was news.
        assert_eq!(of_batch(9), [90..95, 70..80, 50..60]);
    }

    #[test]
    fn acknowledgements_that_are_due_for_one_stretch_all_begin_with_it_however_many_they_are() {
        //= RFC2018 4 first
        let (mut report, mut ahead) = after(&[10..20, 30..40, 50..60, 70..80]);
        report.sent(0);
        for came in [80..90, 90..95, 40..45, 95..99] {
            ahead.insert(came.clone());
            report.came(came.start, &ahead);
        }
        for (waiting, blocks) in [
            (4, [70..99, 30..45, 50..60]),
            (3, [70..99, 30..45, 50..60]),
            (2, [70..99, 30..45, 50..60]),
            (1, [30..45, 50..60, 10..20]),
            (0, [70..99, 30..45, 50..60]),
        ] {
            assert_eq!(report.blocks(&ahead, 3, waiting).as_slice(), blocks, "{waiting}");
            report.sent(waiting);
        }
    }

    #[test]
    fn the_order_of_few_stretches_is_remembered() {
        let ranges: Vec<_> = (0..1_000).map(|nr| 10 * nr..10 * nr + 5).collect();
        let (report, ahead) = after(&ranges);
        assert_eq!((report.latest.len(), ahead.len()), (LATEST_MAX, 1_000));
    }

    #[test]
    fn the_latest_stretch_comes_first_and_as_many_others_as_fit() {
        //= RFC2018 4 first, 4 repeated, 4 as many
        let (report, ahead) = after(&[10..20, 50..60, 30..40]);
        assert_eq!(told(&report, &ahead, 4), [30..40, 50..60, 10..20]);
        assert_eq!(told(&report, &ahead, 2), [30..40, 50..60]);
        let (report, ahead) = after(&[10..20, 50..60, 30..40, 70..80, 90..95]);
        assert_eq!(told(&report, &ahead, 4), [90..95, 70..80, 30..40, 50..60]);
    }

    #[test]
    fn stretches_that_have_grown_together_are_told_once() {
        //= RFC2018 4 first
        let (report, ahead) = after(&[10..20, 30..40, 20..30]);
        assert_eq!(told(&report, &ahead, 4).as_slice(), &[10..40]);
        let (report, ahead) = after(&[10..20, 90..95, 30..40, 20..30]);
        assert_eq!(told(&report, &ahead, 4), [10..40, 90..95]);
    }

    #[test]
    fn what_has_been_acknowledged_since_is_not_told() {
        let (report, mut ahead) = after(&[10..20, 30..40]);
        ahead.remove_below(20);
        assert_eq!(told(&report, &ahead, 4), [30..40]);
        //= RFC2018 8 no old data
        ahead.clear();
        assert_eq!(told(&report, &ahead, 4), []);
    }

    #[test]
    fn what_came_twice_is_told_once_and_before_all_others() {
        //= RFC2883 4 duplicate, 4 once, 4 most recent
        let (mut report, ahead) = after(&[50..90, 100..110]);
        report.came_twice(52..54);
        report.came_twice(60..70);
        report.came(60, &ahead);
        assert_eq!(told(&report, &ahead, 4), [60..70, 50..90, 100..110]);
        assert_eq!(told(&report, &ahead, 1).as_slice(), &[60..70]);
        report.sent(0);
        assert_eq!(told(&report, &ahead, 4), [50..90, 100..110]);
        // One that is the whole of a stretch is told beside it.
        report.came_twice(50..90);
        assert_eq!(told(&report, &ahead, 2), [50..90, 50..90]);
    }
}
