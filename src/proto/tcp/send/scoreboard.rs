//! What the peer has reported to have beyond SND.UNA (RFC 2018 section 5), and twice (RFC 2883 section 5).
//!
//! Owns the set of positions that were selectively acknowledged. It is a set of ranges and not a list of segments, with a
//! limit: a peer that reports every other octet is not believed beyond that, which costs it what it would have saved us
//! (CVE-2019-11477, CVE-2019-11478).

use core::ops::Range;

use arrayvec::ArrayVec;

use crate::proto::buf::ranges::Ranges;
use crate::proto::tcp::seq::SndPos;

/// Blocks of one segment, unwrapped.
pub(crate) type SackBlocks = ArrayVec<Range<u64>, 4>;

/// What the SACK option of one segment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// It came twice.
    pub(crate) duplicate: Option<Range<u64>>,
    /// It is there, beyond what is acknowledged.
    pub(crate) blocks: SackBlocks,
}

impl Report {
    /// Reads the blocks of a segment that acknowledges `ack`. Those that can't be true are left out: empty ones, and
    /// what was never sent (beyond `nxt`) or stands before the connection's first octet.
    pub(crate) fn read(blocks: &SackBlocks, ack: SndPos, first: SndPos, nxt: SndPos) -> Report {
        if blocks.is_empty() {
            return Report::default();
        }
        let is_possible = |block: &&Range<u64>| {
            block.start < block.end && first.get() <= block.start && block.end <= nxt.get()
        };
        let mut report = Report::default();
        let mut rest = blocks.iter();
        //= RFC2883 5 first block, 5 not SND.UNA: compared with the ACK field that it came with.
        if let Some(head) = blocks.first() {
            let is_below = head.end <= ack.get();
            let is_inside =
                blocks.get(1).is_some_and(|next| next.start <= head.start && head.end <= next.end);
            if is_below || is_inside {
                report.duplicate = rest.next().filter(is_possible).cloned();
            }
        }
        report.blocks = rest.filter(is_possible).filter(|block| block.end > ack.get()).cloned().collect();
        report
    }
}

/// The positions that were selectively acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Scoreboard {
    sacked: Ranges,
    /// Ranges that are kept.
    limit: usize,
}

impl Scoreboard {
    pub(crate) fn new(limit: usize) -> Self {
        Scoreboard { sacked: Ranges::new(), limit }
    }

    /// Everything below `to` is acknowledged: tells what of it was not reported before.
    pub(crate) fn acknowledge(&mut self, from: u64, to: u64, mut is_new: impl FnMut(Range<u64>)) {
        for gap in self.sacked.gaps(from..to) {
            is_new(gap);
        }
        self.sacked.remove_below(to);
    }

    /// `block` was reported: tells what of it was not before.
    //= RFC2018 5 record
    pub(crate) fn report(&mut self, block: Range<u64>, mut is_new: impl FnMut(Range<u64>)) {
        if self.sacked.len() >= self.limit && self.sacked.would_grow(block.clone()) {
            return;
        }
        for gap in self.sacked.gaps(block.clone()) {
            is_new(gap);
        }
        self.sacked.insert(block);
    }

    /// The set.
    pub(crate) fn sacked(&self) -> &Ranges {
        &self.sacked
    }

    /// Another connection's, which may have so many.
    pub(super) fn limit_to(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The peer has thrown away what it had reported (RFC 2018 section 8).
    pub(crate) fn clear(&mut self) {
        self.sacked.clear();
    }
}

#[cfg(test)]
// One block is what is meant, and one that ends before it begins.
#[allow(clippy::single_range_in_vec_init, clippy::reversed_empty_ranges)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn read(blocks: &[Range<u64>], ack: u64) -> Report {
        Report::read(&blocks.iter().cloned().collect(), SndPos::at(ack), SndPos::at(100), SndPos::at(1_000))
    }

    #[test]
    fn a_first_block_below_the_acknowledgement_or_inside_the_second_came_twice() {
        //= RFC2883 5 first block, 5 not SND.UNA
        assert_eq!(read(&[200..300, 500..600], 400).duplicate, Some(200..300));
        assert_eq!(read(&[200..300, 500..600], 400).blocks[..], [500..600]);
        assert_eq!(read(&[520..540, 500..600], 400).duplicate, Some(520..540));
        assert_eq!(read(&[500..600, 520..540], 400).duplicate, None);
        assert_eq!(read(&[500..600, 700..800], 400).blocks[..], [500..600, 700..800]);
        // The rule looks at this segment's ACK field alone.
        assert_eq!(read(&[350..450], 400).duplicate, None);
    }

    #[test]
    fn blocks_that_cannot_be_true_are_left_out() {
        for lie in [600..600, 700..650, 900..1_001, 50..60, 5_000..6_000] {
            let report = read(&[500..550, lie.clone()], 400);
            assert_eq!((report.duplicate, &report.blocks[..]), (None, &[500..550][..]), "{lie:?}");
        }
        assert_eq!(read(&[50..60], 400), Report::default());
    }

    #[test]
    fn what_is_new_is_told_once() {
        let mut board = Scoreboard::new(10);
        let mut told = Vec::new();
        for block in [300..400, 200..350, 200..400] {
            board.report(block, |new| told.push(new));
        }
        board.acknowledge(100, 500, |new| told.push(new));
        assert_eq!(told, [300..400, 200..300, 100..200, 400..500]);
        assert!(board.sacked().is_empty());
    }

    #[test]
    fn a_peer_that_reports_every_other_octet_is_believed_up_to_a_limit() {
        let mut board = Scoreboard::new(100);
        for octet in (0..100_000).step_by(2) {
            board.report(octet..octet + 1, |_| {});
        }
        assert_eq!(board.sacked().len(), 100);
        // What joins ranges together is taken at any time.
        board.report(0..1_000, |_| {});
        assert_eq!(board.sacked().len(), 1);
    }
}
