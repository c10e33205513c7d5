//! RACK: what was sent before something that has arrived, and has not arrived itself a while later, is lost (RFC 8985
//! section 6).
//!
//! Owns the transmission that was sent last of all that have arrived, and the reordering window: how much later is late.
//! Time alone decides, so that a retransmission that is lost is found like any other.
//!
//! The RFC walks over segments. Here bursts are walked over, oldest first, and each leaves the log of what is on its way when
//! it is settled, so that an acknowledgement costs what it settles.

#[cfg(test)]
mod model;

use core::ops::Range;
use core::time::Duration;

use super::flight::{Flight, Transmission};
use crate::proto::buf::ranges::Ranges;
use crate::proto::tcp::seq::SndPos;
use crate::time::Instant;

/// RFC 5681's three duplicate acknowledgements, as long as no reordering has been seen.
const DUPLICATE_THRESHOLD: u64 = 3;

/// Recoveries after which a reordering window that was widened is what it was (RFC 8985 section 6.2 step 4).
const WIDE_FOR: u8 = 16;

/// The state of RACK.
#[derive(Clone, Debug)]
pub(crate) struct Rack {
    /// RACK.xmit_ts and RACK.end_seq: of what has arrived, what was sent last.
    newest: Option<(Instant, u64)>,
    /// RACK.rtt, in nanoseconds.
    rtt: u64,
    /// RACK.fack: the highest position that has arrived.
    highest: u64,
    reordering_seen: bool,
    /// RACK.dsack_round: until SND.UNA is here, D-SACKs do not widen the window again.
    round: Option<SndPos>,
    /// RACK.reo_wnd_mult, in quarters of the shortest round trip.
    quarters: u32,
    /// RACK.reo_wnd_persist.
    wide_for: u8,
}

/// What the reordering window depends on beside RACK's own state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    pub(crate) min_rtt: Option<Duration>,
    pub(crate) srtt: Option<Duration>,
    /// Fast recovery or recovery from a time-out is under way.
    pub(crate) recovers: bool,
    /// About how many segments are selectively acknowledged.
    pub(crate) segments_sacked: u64,
}

/// What has arrived, for all who are not concerned with its time.
pub(crate) struct Arrived<'a> {
    pub(crate) una: SndPos,
    pub(crate) sacked: &'a Ranges,
}

impl Rack {
    pub(crate) fn new(first: SndPos) -> Self {
        Rack {
            newest: None,
            rtt: 0,
            highest: first.get(),
            reordering_seen: false,
            round: None,
            quarters: 1,
            wide_for: 0,
        }
    }

    /// Whether it can't be told which transmission of a segment has arrived: one sent again, whose acknowledgement comes too
    /// early to be for that, or echoes a timestamp from before it.
    //= RFC8985 6.2 spurious
    pub(crate) fn is_ambiguous(
        sent: &Transmission,
        now: Instant,
        min_rtt: Option<Duration>,
        echo_is_older: bool,
    ) -> bool {
        sent.again && (echo_is_older || min_rtt.is_some_and(|least| now.since(sent.at) < least))
    }

    /// Of what an acknowledgement tells to have arrived, this was sent last. Tells its round trip in nanoseconds.
    //= RFC8985 6.2 most recent
    pub(crate) fn arrived(&mut self, at: Instant, end: u64, now: Instant) -> u64 {
        self.rtt = now.nanos_since(at);
        if self.newest.is_none_or(|newest| newest < (at, end)) {
            self.newest = Some((at, end));
        }
        self.rtt
    }

    /// RACK.fack.
    pub(crate) fn highest(&self) -> u64 {
        self.highest
    }

    /// What ends at `end` has arrived, sent once or `again`; all below `highest` that there was had arrived before this
    /// acknowledgement came.
    //= RFC8985 6.2 reordering
    pub(crate) fn note_order(&mut self, end: u64, again: bool, highest: u64) {
        self.highest = self.highest.max(end);
        self.reordering_seen |= end < highest && !again;
    }

    /// What was believed lost has come after all.
    pub(crate) fn note_reordering(&mut self) {
        self.reordering_seen = true;
    }

    /// A D-SACK has come: the window was too narrow, once a round trip. True if it is wider now.
    //= RFC8985 3.3.2 grows, 4 D-SACK adaptation
    pub(crate) fn came_twice(&mut self, una: SndPos, nxt: SndPos) -> bool {
        self.round = self.round.filter(|round| una < *round);
        let widens = self.round.is_none();
        if widens {
            self.round = Some(nxt);
            self.quarters = self.quarters.saturating_add(1);
            self.wide_for = WIDE_FOR;
        }
        widens
    }

    /// A recovery has ended.
    //= RFC8985 6.2 persists
    pub(crate) fn recovered(&mut self) {
        self.wide_for = self.wide_for.saturating_sub(1);
        if self.wide_for == 0 {
            self.quarters = 1;
        }
    }

    /// RACK.reo_wnd.
    pub(crate) fn window(&self, path: &Path) -> Duration {
        //= RFC8985 3.3.2 zero
        if !self.reordering_seen && (path.recovers || path.segments_sacked >= DUPLICATE_THRESHOLD) {
            return Duration::ZERO;
        }
        //= RFC8985 3.3.2 bounded, 3.3.2 SRTT
        let wide = path.min_rtt.unwrap_or_default().saturating_mul(self.quarters) / 4;
        wide.min(path.srtt.unwrap_or_default())
    }

    /// Tells what is lost at `now`, and when to look again if something may be then.
    //= RFC8985 6.2 lost
    pub(crate) fn detect(
        &self,
        flight: &mut Flight,
        arrived: &Arrived<'_>,
        window: Duration,
        now: Instant,
        mut is_lost: impl FnMut(Range<u64>),
    ) -> Option<Instant> {
        let newest = self.newest?;
        let late = Duration::from_nanos(self.rtt) + window;
        let is_late = |sent| sent + late <= now;
        flight.take_late(Some(newest), is_late, |range| arrived.missing(range, &mut is_lost));
        flight.settle(|range| arrived.is_all_here(range));
        //= RFC8985 6.2 timer
        let last = flight.last_missing_before(newest, arrived.una.get(), arrived.sacked);
        last.map(|sent| sent + late)
    }

    /// A retransmission time-out: tells what is lost beside the first segment, which always is.
    //= RFC8985 6.3 first
    pub(crate) fn detect_on_timeout(
        &self,
        flight: &mut Flight,
        arrived: &Arrived<'_>,
        window: Duration,
        now: Instant,
        mut is_lost: impl FnMut(Range<u64>),
    ) {
        let is_late = |sent: Instant| sent.plus_nanos(self.rtt) + window <= now;
        flight.take_late(None, is_late, |range| arrived.missing(range, &mut is_lost));
    }
}

impl Arrived<'_> {
    /// Tells what of `range` has not arrived.
    //= RFC2018 5 sender
    fn missing(&self, range: Range<u64>, tell: &mut impl FnMut(Range<u64>)) {
        let range = range.start.max(self.una.get())..range.end;
        if !range.is_empty() {
            self.sacked.gaps(range).for_each(tell);
        }
    }

    fn is_all_here(&self, range: &Range<u64>) -> bool {
        range.end <= self.una.get() || self.sacked.covers(range.start.max(self.una.get())..range.end)
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "one range is what is meant")]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1_000)
    }

    fn path(min_rtt: u64, srtt: u64) -> Path {
        Path { min_rtt: Some(ms(min_rtt)), srtt: Some(ms(srtt)), recovers: false, segments_sacked: 1 }
    }

    /// What is lost at `now` of all that was sent.
    fn lost(
        rack: &Rack,
        flight: &mut Flight,
        sacked: &[Range<u64>],
        window: Duration,
        now: Instant,
    ) -> Vec<Range<u64>> {
        let mut set = Ranges::new();
        sacked.iter().for_each(|range| set.insert(range.clone()));
        let mut lost = Vec::new();
        rack.detect(flight, &Arrived { una: SndPos::at(0), sacked: &set }, window, now, |range| {
            lost.push(range)
        });
        lost
    }

    #[test]
    fn the_window_grows_with_each_round_of_duplicates_and_no_further_than_a_round_trip() {
        //= RFC8985 3.3.2 grows, 3.3.2 bounded, 3.3.2 SRTT, 4 D-SACK adaptation
        let mut rack = Rack::new(SndPos::at(0));
        assert_eq!(rack.window(&path(100, 120)), ms(25));
        for round in 1..=20 {
            rack.came_twice(SndPos::at(round * 100), SndPos::at(round * 100 + 100));
            // Another in the same round trip.
            rack.came_twice(SndPos::at(round * 100 + 50), SndPos::at(round * 100 + 150));
            assert_eq!(rack.window(&path(100, 120)), ms(25 * (round + 1)).min(ms(120)));
        }
    }

    #[test]
    fn a_wide_window_lasts_for_sixteen_recoveries() {
        //= RFC8985 6.2 persists
        let mut rack = Rack::new(SndPos::at(0));
        rack.recovered();
        rack.came_twice(SndPos::at(0), SndPos::at(100));
        for _ in 0..15 {
            rack.recovered();
            assert_eq!(rack.window(&path(100, 120)), ms(50));
        }
        rack.recovered();
        assert_eq!(rack.window(&path(100, 120)), ms(25));
    }

    #[test]
    fn without_a_measurement_or_reordering_the_window_is_shut() {
        //= RFC8985 3.3.2 zero
        let mut rack = Rack::new(SndPos::at(0));
        let unmeasured = Path { min_rtt: None, srtt: None, ..path(0, 0) };
        assert_eq!(rack.window(&unmeasured), ms(0));
        for (recovers, segments_sacked, window) in [(false, 2, 25), (false, 3, 0), (true, 1, 0)] {
            let path = Path { recovers, segments_sacked, ..path(100, 120) };
            assert_eq!(rack.window(&path), ms(window));
        }
        rack.note_reordering();
        assert_eq!(rack.window(&Path { recovers: true, segments_sacked: 9, ..path(100, 120) }), ms(25));
    }

    #[test]
    fn of_a_burst_only_what_stands_before_what_has_arrived_is_lost() {
        //= RFC8985 6.2 most recent, 6.2 lost
        let (mut rack, mut flight) = (Rack::new(SndPos::at(0)), Flight::default());
        flight.sent(0..10_000, at(0));
        rack.arrived(at(0), 5_000, at(50_000));
        assert_eq!(lost(&rack, &mut flight, &[4_000..5_000], ms(0), at(50_000)), [0..4_000]);
        // What was sent before and arrives later does not take its place.
        rack.arrived(at(0), 2_000, at(50_000));
        assert!(lost(&rack, &mut flight, &[1_000..2_000, 4_000..5_000], ms(0), at(50_000)).is_empty());
        rack.arrived(at(0), 6_001, at(50_000));
        assert_eq!(lost(&rack, &mut flight, &[4_000..5_000], ms(0), at(50_000)), [5_000..6_001]);
    }

    #[test]
    fn times_are_told_apart_on_a_path_of_less_than_a_millisecond() {
        //= RFC8985 4 transmission time
        let (mut rack, mut flight) = (Rack::new(SndPos::at(0)), Flight::default());
        for segment in 0..4 {
            flight.sent(segment * 1_000..(segment + 1) * 1_000, at(segment * 100));
        }
        // A round trip takes 400 microseconds, of which a quarter is waited for.
        rack.arrived(at(300), 4_000, at(700));
        let window = Duration::from_micros(100);
        let mut found = |now| lost(&rack, &mut flight, &[3_000..4_000], window, at(now));
        assert_eq!(found(499), []);
        assert_eq!(found(500), [0..1_000]);
        assert_eq!(found(599), []);
        assert_eq!(found(700), [1_000..2_000, 2_000..3_000]);
    }
}
