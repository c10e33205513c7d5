//! What is on its way, in the order in which it was sent: when each position was sent last.
//!
//! Owns the times of transmissions. Which positions have arrived or are lost is for others to know (`scoreboard`): a
//! position that has arrived stays here until those that were sent before it are gone too, one that is lost leaves at
//! once and comes back when it is sent again.
//!
//! Not a list of segments: what goes out in one burst is one entry, however many segments it takes. Each position stands
//! in at most one entry, so nobody can make us keep more than what was sent.

use alloc::collections::VecDeque;
use core::cmp::Ordering;
use core::ops::Range;

use crate::proto::buf::ranges::Ranges;
use crate::time::Instant;

/// What was sent at one time, without a gap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transmission {
    pub(crate) range: Range<u64>,
    //= RFC8985 4 transmission time: in nanoseconds.
    pub(crate) at: Instant,
    /// It had been sent before.
    pub(crate) again: bool,
}

/// The transmissions of all that may be on its way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flight {
    /// What was sent once: ordered by position and by time.
    fresh: VecDeque<Transmission>,
    /// What was sent again: ordered by time.
    again: VecDeque<Transmission>,
}

impl Flight {
    /// `range` was sent for the first time; it follows what was sent so before.
    pub(crate) fn sent(&mut self, range: Range<u64>, at: Instant) {
        push(&mut self.fresh, Transmission { range, at, again: false });
    }

    /// `range` was sent again.
    pub(crate) fn sent_again(&mut self, range: Range<u64>, at: Instant) {
        push(&mut self.again, Transmission { range, at, again: true });
    }

    /// The transmissions that `range` went with, each cut to what of it is in `range`, in no order.
    pub(crate) fn of(&self, range: &Range<u64>, mut tell: impl FnMut(Transmission)) {
        let mut told = 0;
        let len = range.end.saturating_sub(range.start);
        for entry in &self.again {
            // Retransmissions mostly arrive in the order in which they were sent.
            if told == len {
                return;
            }
            if let Some(part) = entry.within(range) {
                told += part.range.end - part.range.start;
                tell(part);
            }
        }
        let first = self.fresh.partition_point(|entry| entry.range.end <= range.start);
        for entry in self.fresh.range(first..) {
            let Some(part) = entry.within(range) else { return };
            tell(part);
        }
    }

    /// The two queues, each ordered by time, to take from their fronts what is settled.
    pub(crate) fn queues(&mut self) -> [&mut VecDeque<Transmission>; 2] {
        [&mut self.fresh, &mut self.again]
    }

    /// When the last was sent of what went out before a transmission at `at` that ended at `end`, and is neither in `here` nor
    /// below `una`.
    pub(crate) fn last_missing_before(
        &self,
        newest: (Instant, u64),
        una: u64,
        here: &Ranges,
    ) -> Option<Instant> {
        let is_missing = |range: Range<u64>| !here.covers(range.start.max(una)..range.end.max(una));
        let missing = |entry: &&Transmission| is_missing(entry.before(newest));
        let again = self.again.iter().rev().find(missing).map(|entry| entry.at);
        again.max(self.last_fresh_missing_before(newest, una, here))
    }

    /// The same of what was sent once. Its order lets all be passed over that has arrived.
    fn last_fresh_missing_before(&self, newest: (Instant, u64), una: u64, here: &Ranges) -> Option<Instant> {
        let mut next = self.fresh.partition_point(|entry| !entry.before(newest).is_empty());
        while let Some(entry) = next.checked_sub(1).and_then(|last| self.fresh.get(last)) {
            let hole = here.last_missing_below(entry.before(newest).end).filter(|hole| *hole >= una)?;
            if hole >= entry.range.start {
                return Some(entry.at);
            }
            // All of this one has arrived. It goes on with the one that holds the hole, or the last before that.
            next = self.fresh.partition_point(|entry| entry.range.start <= hole);
        }
        None
    }

    /// `range` is not on its way any more, as far as these entries tell of it.
    pub(crate) fn forget(&mut self, range: &Range<u64>) {
        for queue in self.queues() {
            let overlaps = |entry: &Transmission| entry.within(range).is_some();
            if queue.iter().any(overlaps) {
                let rest = |entry: Transmission| entry.without(range);
                *queue = core::mem::take(queue).into_iter().flat_map(rest).collect();
            }
        }
    }

    /// Entries kept.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.fresh.len() + self.again.len()
    }
}

impl Transmission {
    /// The part of it that is in `range`.
    fn within(&self, range: &Range<u64>) -> Option<Transmission> {
        let part = self.range.start.max(range.start)..self.range.end.min(range.end);
        (!part.is_empty()).then_some(Transmission { range: part, ..*self })
    }

    /// The part of it that was sent before another, given by its time and its end: what goes in one burst is in the order of
    /// its positions.
    pub(crate) fn before(&self, (at, end): (Instant, u64)) -> Range<u64> {
        match self.at.cmp(&at) {
            Ordering::Less => self.range.clone(),
            Ordering::Equal => self.range.start..self.range.end.min(end).max(self.range.start),
            Ordering::Greater => self.range.start..self.range.start,
        }
    }

    /// What is left of it without `range`.
    fn without(self, range: &Range<u64>) -> impl Iterator<Item = Transmission> {
        let before = self.range.start..self.range.end.min(range.start);
        let after = self.range.start.max(range.end)..self.range.end;
        let (at, again) = (self.at, self.again);
        [before, after].into_iter().filter(|part| !part.is_empty()).map(move |range| Transmission {
            range,
            at,
            again,
        })
    }
}

/// Appends, to the last entry if it went at the same time and ends where this begins.
fn push(queue: &mut VecDeque<Transmission>, sent: Transmission) {
    match queue.back_mut() {
        Some(last) if last.at == sent.at && last.range.end == sent.range.start => {
            last.range.end = sent.range.end;
        }
        Some(_) | None => queue.push_back(sent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn of(flight: &Flight, range: Range<u64>) -> Vec<(Range<u64>, Instant, bool)> {
        let mut told = Vec::new();
        flight.of(&range, |sent| told.push((sent.range, sent.at, sent.again)));
        told.sort_by_key(|(range, ..)| range.start);
        told
    }

    #[test]
    fn a_burst_is_one_entry() {
        let mut flight = Flight::default();
        for segment in 0..64 {
            flight.sent(segment * 1000..(segment + 1) * 1000, at(1));
        }
        flight.sent(64_000..65_000, at(2));
        assert_eq!(flight.len(), 2);
        assert_eq!(
            of(&flight, 63_500..64_500),
            [(63_500..64_000, at(1), false), (64_000..64_500, at(2), false)]
        );
    }

    #[test]
    fn what_is_sent_again_leaves_its_old_place() {
        let mut flight = Flight::default();
        flight.sent(0..10_000, at(1));
        flight.forget(&(2_000..3_000));
        flight.sent_again(2_000..3_000, at(5));
        assert_eq!(
            of(&flight, 1_500..4_000),
            [(1_500..2_000, at(1), false), (2_000..3_000, at(5), true), (3_000..4_000, at(1), false)]
        );
    }

    #[test]
    fn what_is_missing_is_found_behind_what_is_here() {
        let mut flight = Flight::default();
        for segment in 0..10 {
            flight.sent(segment * 1_000..(segment + 1) * 1_000, at(segment));
        }
        let mut here = Ranges::new();
        here.insert(3_000..9_000);
        let missing =
            |flight: &Flight, here: &Ranges| flight.last_missing_before((at(8), 9_000), 1_000, here);
        assert_eq!(missing(&flight, &here), Some(at(2)));
        // What was sent again since is not found in its old place.
        flight.forget(&(2_000..3_000));
        assert_eq!(missing(&flight, &here), Some(at(1)));
        flight.sent_again(2_000..3_000, at(7));
        assert_eq!(missing(&flight, &here), Some(at(7)));
        here.insert(1_000..2_000);
        assert_eq!(flight.last_missing_before((at(6), 7_000), 1_000, &here), None);
        // In one burst, what stands before.
        assert_eq!(flight.last_missing_before((at(9), 9_500), 1_000, &here), Some(at(9)));
        assert_eq!(flight.last_missing_before((at(9), 9_000), 1_000, &here), Some(at(7)));
    }
}
