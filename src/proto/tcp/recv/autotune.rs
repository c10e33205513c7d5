//! How large the receive buffer should be: twice what the application reads in a round trip (dynamic right-sizing; Fisk
//! and Feng, 2001), and four times as much while that still grows, as it does when the sender is in slow start.
//!
//! Owns the size, and what is known about the round trip on this side. Does not own the buffer, nor the memory that there
//! is for it (`Pool::share`), nor the window that is offered.
//!
//! What is read in a round trip, and not what arrives, is what has to be on its way for the reader never to wait. One
//! round trip's worth of data acknowledges itself in the course of the next, and a sender in slow start answers with twice
//! as much, which must fit into the window that those acknowledgements tell. So a window of four times what was read in
//! the last round trip is never what holds a doubling sender back, and twice as much never one that goes on as it did.
//!
//! The round trip is that of the handshake where it was measured (RFC 6298's rules hold for it, too), and whatever
//! [`AutoTune::rtt_sample`] is told later. Without any, it is the time in which a whole window of sequence numbers came: no
//! less than a round trip, since nothing can have been sent before the window was told. Such a time may lower the estimate,
//! but not raise it: it is too long by as much as the sender leaves of the window, and a size that follows it would grow
//! without end.

use crate::proto::tcp::seq::RcvPos;
use crate::time::Instant;

/// The size of the receive buffer.
#[derive(Clone, Debug)]
pub(crate) struct AutoTune {
    size: u64,
    max: u64,
    /// In nanoseconds, since each read asks for it.
    rtt: Option<u64>,
    /// When RCV.NXT gets to this position, a window has come since that time.
    window: (RcvPos, Instant),
    /// Bytes read in each of the last quarters of round trips, the present one first.
    read: [u32; 2 * Self::QUARTERS],
    /// When the present quarter began.
    since: Instant,
}

impl AutoTune {
    /// Parts of a round trip that are looked at together. Bytes come in bursts, a round trip apart, and the few that
    /// straddle the border of two periods of a round trip would count half in each.
    const QUARTERS: usize = 4;

    /// Round trips are taken to be no shorter: a reader is not woken more often, and takes all at once that has come. Not
    /// much longer than they are within a machine either, or windows become larger than its caches and cost more than they
    /// bring. In nanoseconds.
    const RTT_MIN: u64 = 100_000;

    /// A buffer of `initial` bytes that may grow to `max`; one that may not never changes. `first` is the position after
    /// the peer's SYN, `window` how many bytes it was offered then.
    pub(crate) fn new(initial: u64, max: u64, first: RcvPos, window: u64, now: Instant) -> Self {
        AutoTune {
            size: initial.min(max),
            max,
            rtt: None,
            window: (first.plus(window), now),
            read: [0; 2 * Self::QUARTERS],
            since: now,
        }
    }

    /// The size, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// A round-trip time was measured by better means than ours, in nanoseconds.
    pub(crate) fn rtt_sample(&mut self, rtt: u64) {
        self.rtt = Some(self.rtt.map_or(rtt, |smoothed| smoothed.saturating_mul(7) / 8 + rtt / 8));
    }

    /// Text has come up to `nxt`, and the peer may send up to `edge`.
    pub(crate) fn received(&mut self, nxt: RcvPos, edge: RcvPos, now: Instant) {
        let (end, since) = self.window;
        if nxt >= end {
            let took = now.nanos_since(since);
            self.rtt = Some(self.rtt.map_or(took, |known| known.min(took)));
            self.window = (edge, now);
        }
    }

    /// The application has read so many bytes.
    pub(crate) fn read(&mut self, bytes: u64, now: Instant) {
        let Some(rtt) = self.rtt.filter(|_| self.size < self.max) else { return };
        self.turn_to(now, rtt.max(Self::RTT_MIN) / Self::QUARTERS as u64);
        let [present, ..] = &mut self.read;
        *present = present.saturating_add(bytes.min(u32::MAX.into()) as u32);
        let sum = |quarters: &[u32]| quarters.iter().map(|bytes| u64::from(*bytes)).sum::<u64>();
        let (last, before) = self.read.split_at(Self::QUARTERS);
        let last = sum(last);
        // Mostly it is too little, whatever was before.
        if 4 * last > self.size {
            let grows = 2 * last >= 3 * sum(before);
            let wanted = last * if grows { 4 } else { 2 };
            self.size = self.size.max(wanted.min(self.max));
        }
    }

    /// Makes the quarter in which `now` lies the present one. A quarter lasts so many nanoseconds.
    fn turn_to(&mut self, now: Instant, quarter: u64) {
        let gone_by = now.nanos_since(self.since);
        if gone_by < quarter {
            return;
        }
        if gone_by >= quarter.saturating_mul(self.read.len() as u64) {
            self.read = [0; 2 * Self::QUARTERS];
            self.since = now;
            return;
        }
        let gone = gone_by / quarter;
        // One by one: a turn by as many as is not known beforehand takes longer than all of those.
        for _ in 0..gone {
            let [a, b, c, d, e, f, g, _] = self.read;
            self.read = [0, a, b, c, d, e, f, g];
        }
        self.since = self.since.plus_nanos(quarter * gone);
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::time::nanos;

    const RTT: Duration = Duration::from_millis(100);
    const INITIAL: u64 = 64 << 10;
    const MAX: u64 = 6 << 20;

    fn first() -> RcvPos {
        RcvPos::at(1 << 32)
    }

    fn tune() -> AutoTune {
        let mut tune = AutoTune::new(INITIAL, MAX, first(), 65_535, Instant::ZERO);
        tune.rtt_sample(nanos(RTT));
        tune
    }

    fn ms(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// Reads `bytes` spread over `from..from + 100` ms in 50 parts, and looks at the size after each.
    fn round(tune: &mut AutoTune, from: u64, bytes: u64, mut look: impl FnMut(u64, u64)) {
        for part in 0..50 {
            tune.read(bytes / 50, ms(from + 2 * part));
            look(part + 1, tune.size());
        }
    }

    #[test]
    fn a_sender_that_doubles_finds_room_for_its_next_flight_at_every_moment() {
        // Whether a flight comes at once or all the time, and however it lies in the quarters.
        for (begin, span) in (0..100).step_by(7).flat_map(|begin| [1, 10, 50, 99].map(|span| (begin, span))) {
            let mut tune = tune();
            for round in 0..8_u64 {
                let flight = 14_600 << round;
                for part in 0..100 {
                    tune.read(flight / 100, ms(begin + 100 * round + span * part / 100));
                    // What has been read is acknowledged, and each byte of it draws two: the rest of this flight is
                    // in flight beside them.
                    let in_flight = flight + flight * (part + 1) / 100;
                    assert!(
                        tune.size() >= in_flight.min(MAX),
                        "{begin} {span} {round} {part} {}",
                        tune.size()
                    );
                }
            }
            assert!(tune.size() > 5 << 20, "{}", tune.size());
        }
    }

    #[test]
    fn a_sender_that_goes_on_as_it_did_is_offered_no_more_than_two_to_four_times_its_flight() {
        let mut tune = tune();
        for round_nr in 0..100 {
            round(&mut tune, 100 * round_nr, 200_000, |_, _| {});
        }
        assert!((400_000..=800_000).contains(&tune.size()), "{}", tune.size());
    }

    #[test]
    fn one_that_grows_by_little_is_offered_twice_its_flight() {
        let mut tune = tune();
        let mut flight = 100_000;
        for round_nr in 0..100 {
            round(&mut tune, 100 * round_nr, flight, |_, _| {});
            flight += 10_000;
        }
        assert!((2 * (flight - 20_000)..=2 * flight).contains(&tune.size()), "{} {flight}", tune.size());
    }

    #[test]
    fn who_reads_little_is_offered_little_however_long_and_however_fast_the_path_is() {
        for per_round in [0, 100, 16_000] {
            let mut tune = tune();
            for round_nr in 0..1_000 {
                round(&mut tune, 100 * round_nr, per_round, |_, _| {});
            }
            assert_eq!(tune.size(), INITIAL, "{per_round}");
        }
    }

    #[test]
    fn the_size_stays_at_its_maximum() {
        let mut tune = tune();
        tune.read(u64::MAX, ms(1));
        assert_eq!(tune.size(), MAX);
        tune.read(u64::MAX, ms(2));
        assert_eq!(tune.size(), MAX);
    }

    #[test]
    fn a_fixed_size_is_fixed() {
        let mut tune = AutoTune::new(100_000, 5_000, first(), 5_000, Instant::ZERO);
        tune.rtt_sample(nanos(RTT));
        assert_eq!(tune.size(), 5_000);
        round(&mut tune, 0, 1_000_000, |_, _| {});
        assert_eq!(tune.size(), 5_000);
    }

    #[test]
    fn where_no_round_trip_was_measured_the_first_window_is_one() {
        let mut tune = AutoTune::new(INITIAL, MAX, first(), 65_535, Instant::ZERO);
        tune.read(60_000, ms(10));
        assert_eq!(tune.size(), INITIAL, "nothing is known yet");
        tune.received(first().plus(65_534), first().plus(130_000), ms(50));
        tune.read(60_000, ms(50));
        assert_eq!(tune.size(), INITIAL);
        tune.received(first().plus(65_535), first().plus(131_000), ms(60));
        assert_eq!(tune.rtt, Some(60_000_000));
        tune.read(60_000, ms(60));
        assert_eq!(tune.size(), 240_000);
    }

    #[test]
    fn the_time_of_a_window_lowers_the_estimate_and_does_not_raise_it() {
        let mut tune = tune();
        tune.received(first().plus(65_535), first().plus(200_000), ms(90));
        assert_eq!(tune.rtt, Some(90_000_000));
        tune.received(first().plus(200_000), first().plus(300_000), ms(1_000));
        assert_eq!(tune.rtt, Some(90_000_000));
        tune.rtt_sample(nanos(Duration::from_millis(170)));
        assert_eq!(tune.rtt, Some(100_000_000), "but a measurement does");
    }

    #[test]
    fn what_was_read_long_ago_counts_no_more() {
        let mut tune = tune();
        for seconds in 1..100 {
            tune.read(16_000, ms(1_000 * seconds));
        }
        assert_eq!(tune.size(), INITIAL);
    }
}
