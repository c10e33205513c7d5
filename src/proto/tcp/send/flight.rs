//! What is on its way, in the order in which it was sent: when each position was sent last.
//!
//! Owns the times of transmissions. Which positions have arrived or are lost is for others to know (`scoreboard`). Of what
//! was sent once, a position that has arrived stays here until those that were sent before it are gone too. What was sent
//! again leaves as soon as it arrives; so does whatever is lost, and comes back when it is sent again.
//!
//! Not a list of segments: what goes out in one burst is one entry, however many segments it takes. Each position stands
//! in at most one entry, so nobody can make us keep more than what was sent. Nor can anybody make us search: what was sent
//! once is in the order of its positions and of time at once, what was sent again is found by either.

use alloc::collections::{BTreeMap, VecDeque};
use core::cmp::Ordering;
use core::ops::Range;

use arrayvec::ArrayVec;

use crate::proto::buf::ranges::Ranges;
use crate::proto::buf::trail::Trail;
use crate::time::Instant;

/// Heap memory of so many transmissions is not worth giving back.
const FRESH_KEPT: usize = 8;

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
    fresh: Trail<Transmission>,
    again: Again,
}

/// What was sent again and has not arrived.
#[derive(Clone, Debug, Default)]
struct Again {
    /// When each went, and its end, by its start.
    places: BTreeMap<u64, (u64, Instant)>,
    /// The starts in the order of RFC 8985 section 6.2: by time, and what went at one time by its end.
    order: BTreeMap<(Instant, u64), u64>,
}

impl Flight {
    /// Forgets what stands there, and gives its memory back if it is much.
    pub(super) fn empty(&mut self) {
        self.fresh.empty(FRESH_KEPT);
        if self.has_repeats() {
            self.again = Again::default();
        }
    }

    /// `range` was sent for the first time; it follows what was sent so before.
    #[inline(always)]
    pub(crate) fn sent(&mut self, range: Range<u64>, at: Instant) {
        match self.fresh.back_mut() {
            Some(last) if last.at == at && last.range.end == range.start => last.range.end = range.end,
            Some(_) | None => self.fresh.push_back(Transmission { range, at, again: false }),
        }
    }

    /// `range` was sent again.
    pub(crate) fn sent_again(&mut self, range: Range<u64>, at: Instant) {
        self.again.insert(range, at);
    }

    /// `range` has arrived: tells the transmissions that it went with, each cut to what of it is in `range`, in the order of
    /// positions.
    pub(crate) fn arrived(&mut self, range: &Range<u64>, mut tell: impl FnMut(Transmission)) {
        let mut from = range.start;
        while let Some(part) = self.again.take_first(&(from..range.end)) {
            self.tell_fresh(&(from..part.range.start), &mut tell);
            from = part.range.end;
            tell(part);
        }
        self.tell_fresh(&(from..range.end), &mut tell);
    }

    /// When `range` was sent, if that was at one time, once, and before all else that is on its way: mostly it was.
    pub(crate) fn sent_at_once(&self, range: &Range<u64>) -> Option<Instant> {
        let oldest = self.fresh.front()?;
        let is_part = oldest.range.start <= range.start && range.end <= oldest.range.end;
        (is_part && range.start < range.end).then_some(oldest.at)
    }

    /// The same of what was sent once.
    #[inline(never)]
    pub(crate) fn tell_fresh(&self, range: &Range<u64>, tell: &mut impl FnMut(Transmission)) {
        // What arrives in order begins with the oldest, which needs no search.
        let begins_it = |entry: &Transmission| range.start < entry.range.end;
        let first = match self.fresh.front() {
            Some(oldest) if begins_it(oldest) => 0,
            Some(_) => self.fresh.partition_point(|entry| !begins_it(entry)),
            None => return,
        };
        for entry in self.fresh.iter_from(first) {
            let Some(part) = entry.within(range) else { return };
            tell(part);
        }
    }

    /// Takes out, and tells, what was sent so early that it is late by now, and before `newest` if one is given: a
    /// transmission by its time and its end.
    pub(crate) fn take_late(
        &mut self,
        newest: Option<(Instant, u64)>,
        is_late: impl Fn(Instant) -> bool,
        mut tell: impl FnMut(Range<u64>),
    ) {
        let late = |entry: &Transmission| {
            let part = newest.map_or(entry.range.clone(), |newest| entry.before(newest));
            (is_late(entry.at) && !part.is_empty()).then_some(part)
        };
        while let Some(oldest) = self.fresh.front_mut() {
            let Some(part) = late(oldest) else { break };
            oldest.range.start = part.end;
            if oldest.range.is_empty() {
                self.fresh.pop_front();
            }
            tell(part);
        }
        while let Some(part) = self.again.oldest().and_then(|oldest| late(&oldest)) {
            self.again.take_first(&part);
            tell(part);
        }
    }

    /// What of that which was sent first is of no interest any more is forgotten.
    pub(crate) fn settle(&mut self, is_all_here: impl Fn(&Range<u64>) -> bool) {
        while self.fresh.front().is_some_and(|oldest| is_all_here(&oldest.range)) {
            self.fresh.pop_front();
        }
    }

    /// When the last was sent of what went out before a transmission at `at` that ended at `end`, and is neither in `here` nor
    /// below `una`.
    pub(crate) fn last_missing_before(
        &self,
        newest: (Instant, u64),
        una: u64,
        here: &Ranges,
    ) -> Option<Instant> {
        let again = self.again.order.range(..=newest).next_back().map(|((at, _), _)| *at);
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
        while self.again.take_first(range).is_some() {}
        self.fresh.change(|fresh| cut_out(fresh, range));
    }

    /// Nothing is on its way.
    pub(crate) fn clear(&mut self) {
        self.fresh.empty(usize::MAX);
        if self.has_repeats() {
            self.again = Again::default();
        }
    }

    /// Whether anything is on its way that was sent again.
    pub(crate) fn has_repeats(&self) -> bool {
        !self.again.places.is_empty()
    }

    /// Entries kept.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.fresh.len() + self.again.places.len()
    }
}

/// Leaves what stands outside of `range`.
fn cut_out(fresh: &mut VecDeque<Transmission>, range: &Range<u64>) {
    let first = fresh.partition_point(|entry| entry.range.end <= range.start);
    let end = fresh.partition_point(|entry| entry.range.start < range.end);
    // What is left of those at the two edges, which may be one and the same.
    let rest: ArrayVec<Transmission, 2> =
        fresh.range(first..end.max(first)).flat_map(|entry| entry.without(range)).take(2).collect();
    fresh.drain(first..end.max(first));
    for part in rest.into_iter().rev() {
        fresh.insert(first, part);
    }
}

impl Again {
    /// Joined to what went at the same time and ends where it begins.
    fn insert(&mut self, range: Range<u64>, at: Instant) {
        let mut start = range.start;
        if let Some((before, (end, sent))) = self.places.range(..start).next_back().map(|(at, of)| (*at, *of))
            && (end, sent) == (start, at)
        {
            self.order.remove(&(at, end));
            start = before;
        }
        self.places.insert(start, (range.end, at));
        self.order.insert((at, range.end), start);
    }

    /// What was sent before all others.
    fn oldest(&self) -> Option<Transmission> {
        let ((at, end), start) = self.order.first_key_value()?;
        Some(Transmission { range: *start..*end, at: *at, again: true })
    }

    /// Takes out the lowest part that is in `range`; what else went with it stays.
    fn take_first(&mut self, range: &Range<u64>) -> Option<Transmission> {
        if self.places.is_empty() || range.is_empty() {
            return None;
        }
        let across = self.places.range(..range.start).next_back().filter(|(_, (end, _))| *end > range.start);
        let (start, (end, at)) = across.or_else(|| self.places.range(range.clone()).next())?;
        let entry = Transmission { range: *start..*end, at: *at, again: true };
        self.places.remove(&entry.range.start);
        self.order.remove(&(entry.at, entry.range.end));
        for rest in entry.without(range) {
            self.places.insert(rest.range.start, (rest.range.end, rest.at));
            self.order.insert((rest.at, rest.range.end), rest.range.start);
        }
        entry.within(range)
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
    fn before(&self, (at, end): (Instant, u64)) -> Range<u64> {
        match self.at.cmp(&at) {
            Ordering::Less => self.range.clone(),
            Ordering::Equal => self.range.start..self.range.end.min(end).max(self.range.start),
            Ordering::Greater => self.range.start..self.range.start,
        }
    }

    /// What is left of it without `range`.
    fn without(&self, range: &Range<u64>) -> impl Iterator<Item = Transmission> + use<> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn of(flight: &Flight, range: Range<u64>) -> Vec<(Range<u64>, Instant, bool)> {
        let mut told = Vec::new();
        flight.clone().arrived(&range, |sent| told.push((sent.range, sent.at, sent.again)));
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
    fn the_next_connection_has_the_memory_of_a_short_record_and_not_that_of_a_long_one() {
        for (entries, kept) in [(2, true), (100, false)] {
            let mut flight = Flight::default();
            for nr in 0..entries {
                flight.sent(nr * 2000..nr * 2000 + 1000, at(nr));
            }
            flight.sent_again(0..1000, at(entries));
            flight.empty();
            assert_eq!((flight.len(), flight.again.places.len(), flight.again.order.len()), (0, 0, 0));
            assert_eq!((1..=FRESH_KEPT).contains(&flight.fresh.capacity()), kept, "{entries}");
        }
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
    fn what_arrives_is_told_in_the_order_of_positions_however_it_was_sent() {
        let mut flight = Flight::default();
        flight.sent(0..10_000, at(1));
        for part in [8_000..9_000, 2_000..4_000] {
            flight.forget(&part);
            flight.sent_again(part, at(5));
        }
        let told = of(&flight, 1_000..10_000);
        let starts: Vec<u64> = told.iter().map(|(range, ..)| range.start).collect();
        assert_eq!(starts, [1_000, 2_000, 4_000, 8_000, 9_000]);
        // What was sent again is gone then, and only what of it has arrived.
        flight.arrived(&(2_500..3_000), |_| {});
        assert_eq!(of(&flight, 2_000..4_000), [(2_000..2_500, at(5), true), (3_000..4_000, at(5), true)]);
    }

    #[test]
    fn what_was_sent_again_at_one_time_is_late_in_the_order_of_positions() {
        let mut flight = Flight::default();
        for part in [8_000..9_000, 2_000..4_000, 4_000..5_000] {
            flight.sent_again(part, at(5));
        }
        let mut late = Vec::new();
        flight.take_late(Some((at(5), 8_000)), |sent| sent <= at(5), |part| late.push(part));
        assert_eq!((late.pop(), late.pop()), (Some(2_000..5_000), None));
        assert_eq!(flight.last_missing_before((at(5), 8_000), 0, &Ranges::new()), None);
        assert_eq!(flight.last_missing_before((at(6), 0), 0, &Ranges::new()), Some(at(5)));
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
