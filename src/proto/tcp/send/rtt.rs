//! Round-trip time and retransmission time-out (RFC 6298).
//!
//! Owns SRTT, RTTVAR and the back-off. It does not own the timer. Inside, times are nanoseconds: an acknowledgement is to
//! cost a few additions, and no division of [`Duration`]s by the billion.

use core::time::Duration;

use crate::proto::config::Config;
use crate::time::{Instant, nanos};

/// The clock granularity G of RFC 6298: arrival times are exact to about a microsecond.
const GRANULARITY: u64 = 1_000;

/// No measurement is taken to be longer: of what is no longer than that, no arithmetic here leaves 64 bits.
const LONGEST: u64 = u64::MAX / 8;

/// What RFC 6298 rule 5.7 falls back to after a SYN's timer has expired.
const RTO_AFTER_LOST_SYN: u64 = 3_000_000_000;

/// The shortest of the round trips of late: of the last five minutes at most, two and a half at least, so that it follows a
/// path that has become longer (RFC 8985 section 6.2 step 1).
#[derive(Clone, Copy, Debug, Default)]
struct Shortest {
    /// Since when `current` counts, and the shortest since.
    current: Option<(Instant, u64)>,
    /// The shortest of the time before.
    before: Option<u64>,
}

impl Shortest {
    const SPAN: u64 = 150_000_000_000;

    //= RFC8985 6.2 min RTT
    fn observe(&mut self, rtt: u64, now: Instant) {
        let (since, least) = *self.current.get_or_insert((now, rtt));
        let age = now.nanos_since(since);
        if age >= Self::SPAN {
            self.before = Some(least).filter(|_| age < 2 * Self::SPAN);
            self.current = Some((now, rtt));
        } else if rtt < least {
            self.current = Some((since, rtt));
        }
    }

    fn get(&self) -> Option<u64> {
        let (_, least) = self.current?;
        Some(self.before.map_or(least, |before| before.min(least)))
    }
}

/// The estimator.
#[derive(Clone, Debug)]
pub(crate) struct Rtt {
    srtt: Option<u64>,
    rttvar: u64,
    shortest: Shortest,
    /// The time-out before back-off.
    base: u64,
    /// Doublings in force.
    backoff: u32,
    floor: u64,
    ceiling: u64,
}

impl Rtt {
    pub(crate) fn new(config: &Config) -> Self {
        Rtt {
            srtt: None,
            rttvar: 0,
            shortest: Shortest::default(),
            //= RFC6298 2.1 first
            base: nanos(config.rto_initial),
            backoff: 0,
            floor: nanos(config.rto_min),
            ceiling: nanos(config.rto_max),
        }
    }

    /// As a new one: nothing is measured. The configuration is what it was.
    #[inline(always)]
    pub(crate) fn renew(&mut self, config: &Config) {
        let Rtt { floor, ceiling, .. } = *self;
        *self = Rtt { floor, ceiling, ..Rtt::new(config) };
        debug_assert_eq!((floor, ceiling), (nanos(config.rto_min), nanos(config.rto_max)));
    }

    /// As [`sample_nanos`](Self::sample_nanos).
    #[cfg(test)]
    pub(crate) fn sample(&mut self, rtt: Duration, now: Instant) {
        self.sample_nanos(nanos(rtt), now);
    }

    /// Takes a measurement, in nanoseconds, of a segment that was sent once (Karn's rule is the caller's to keep). It ends
    /// the back-off.
    #[inline]
    pub(crate) fn sample_nanos(&mut self, rtt: u64, now: Instant) {
        self.sample_beside(None, rtt, now);
    }

    /// The same where the shortest round trip has heard of another just now, which it need not be told twice: mostly that is this
    /// one, or one that was shorter.
    #[inline]
    pub(crate) fn sample_beside(&mut self, observed: Option<u64>, rtt: u64, now: Instant) {
        let rtt = rtt.min(LONGEST);
        if observed.is_none_or(|observed| observed > rtt) {
            self.shortest.observe(rtt, now);
        }
        let srtt = match self.srtt {
            //= RFC6298 2.2 measured
            None => {
                self.rttvar = rtt / 2;
                rtt
            }
            //= RFC9293 MUST-18
            //= RFC6298 2.3 smoothed
            Some(srtt) => {
                self.rttvar = self.rttvar * 3 / 4 + srtt.abs_diff(rtt) / 4;
                srtt * 7 / 8 + rtt / 8
            }
        };
        self.srtt = Some(srtt);
        self.base = srtt + (self.rttvar * 4).max(GRANULARITY);
        //= RFC6298 5 backed off: until now.
        self.backoff = 0;
    }

    /// Takes a measurement, in nanoseconds, that only the shortest round trip is to know of: there may be many in one.
    pub(crate) fn observe(&mut self, rtt: u64, now: Instant) {
        self.shortest.observe(rtt, now);
    }

    /// Whether the time-out was doubled and nothing was measured since.
    pub(crate) fn is_backed_off(&self) -> bool {
        self.backoff > 0
    }

    /// The timer of our SYN expired before the connection opened.
    //= RFC6298 5.7 after a SYN
    pub(crate) fn syn_was_lost(&mut self) {
        self.base = self.base.max(RTO_AFTER_LOST_SYN);
    }

    /// Doubles the time-out.
    //= RFC6298 5.5 doubling
    pub(crate) fn back_off(&mut self) {
        self.backoff = self.backoff.saturating_add(1);
    }

    /// The retransmission time-out in force.
    pub(crate) fn rto(&self) -> Duration {
        Duration::from_nanos(self.rto_nanos())
    }

    /// The same in nanoseconds.
    pub(crate) fn rto_nanos(&self) -> u64 {
        self.doubled(self.backoff)
    }

    /// The time-out after `doublings`, whatever back-off is in force; in nanoseconds.
    pub(crate) fn doubled(&self, doublings: u32) -> u64 {
        let base = self.base.max(self.floor);
        let doubled = match doublings {
            // So it mostly is.
            0 => base,
            _ => base.saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX).into()),
        };
        //= RFC6298 2.5 upper bound
        doubled.min(self.ceiling)
    }

    pub(crate) fn srtt(&self) -> Option<Duration> {
        self.srtt_nanos().map(Duration::from_nanos)
    }

    /// The same in nanoseconds.
    pub(crate) fn srtt_nanos(&self) -> Option<u64> {
        self.srtt
    }

    pub(crate) fn rttvar(&self) -> Duration {
        Duration::from_nanos(self.rttvar)
    }

    pub(crate) fn min_rtt(&self) -> Option<Duration> {
        self.min_nanos().map(Duration::from_nanos)
    }

    /// The same in nanoseconds.
    pub(crate) fn min_nanos(&self) -> Option<u64> {
        self.shortest.get()
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use proptest::prelude::*;

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    //= RFC9293 MUST-18
    #[test]
    fn measurements_move_the_timeout_as_rfc_6298_says() {
        //= RFC6298 2.1 first, 2.2 measured, 2.3 smoothed
        let mut rtt = Rtt::new(&Config::default());
        assert_eq!(rtt.rto(), ms(1000));
        rtt.sample(ms(100), Instant::ZERO);
        assert_eq!((rtt.srtt(), rtt.rttvar(), rtt.rto()), (Some(ms(100)), ms(50), ms(300)));
        rtt.sample(ms(180), Instant::ZERO);
        assert_eq!((rtt.srtt(), rtt.rttvar()), (Some(ms(110)), Duration::from_micros(57_500)));
        assert_eq!(rtt.rto(), ms(340));
    }

    #[test]
    fn the_shortest_round_trip_is_kept() {
        let mut rtt = Rtt::new(&Config::default());
        assert_eq!(rtt.min_rtt(), None);
        for (measured, least) in [(100, 100), (180, 100), (50, 50), (100, 50)] {
            rtt.sample(ms(measured), Instant::ZERO);
            assert_eq!(rtt.min_rtt(), Some(ms(least)));
        }
    }

    //= RFC8985 6.2 min RTT
    #[test]
    fn the_shortest_round_trip_is_one_of_the_last_minutes() {
        let mut rtt = Rtt::new(&Config::default());
        let at = |secs: u64| Instant::from_millis(secs * 1000);
        rtt.observe(nanos(ms(10)), at(0));
        rtt.observe(nanos(ms(50)), at(100));
        assert_eq!(rtt.min_rtt(), Some(ms(10)));
        rtt.observe(nanos(ms(50)), at(200));
        assert_eq!(rtt.min_rtt(), Some(ms(10)));
        rtt.observe(nanos(ms(60)), at(351));
        assert_eq!(rtt.min_rtt(), Some(ms(50)));
        // After a long silence nothing before it counts.
        rtt.observe(nanos(ms(90)), at(2_000));
        assert_eq!(rtt.min_rtt(), Some(ms(90)));
        assert_eq!(rtt.srtt(), None, "nothing else hears of it");
    }

    proptest! {
        #[test]
        fn what_is_measured_beside_another_round_trip_is_what_it_is_by_itself(
            measured in prop::collection::vec((0..3_u64 * Shortest::SPAN, any::<(u64, u64)>(), 0..64_u32, any::<bool>()), 1..20),
        ) {
            let (mut rtt, mut beside) = (Rtt::new(&Config::default()), Rtt::new(&Config::default()));
            let mut now = Instant::ZERO;
            for (later, (observed, sample), shift, is_same) in measured {
                now = now.plus_nanos(later);
                let (observed, sample) = (observed >> shift, if is_same { observed } else { sample } >> shift);
                rtt.observe(observed, now);
                rtt.sample_nanos(sample, now);
                beside.observe(observed, now);
                beside.sample_beside(Some(observed), sample, now);
                prop_assert_eq!(format!("{beside:?}"), format!("{rtt:?}"));
            }
        }
    }

    #[test]
    fn the_timeout_keeps_to_its_floor_and_its_ceiling() {
        //= RFC6298 2.5 upper bound
        let mut rtt = Rtt::new(&Config::default());
        rtt.sample(ms(1), Instant::ZERO);
        assert_eq!(rtt.rto(), ms(200));
        for _ in 0..100 {
            rtt.back_off();
        }
        assert_eq!(rtt.rto(), Duration::from_secs(120));
    }

    #[test]
    fn back_off_doubles_until_the_next_measurement() {
        //= RFC6298 5.5 doubling, 5 backed off
        let mut rtt = Rtt::new(&Config::default());
        rtt.sample(ms(100), Instant::ZERO);
        rtt.back_off();
        rtt.back_off();
        assert_eq!(rtt.rto(), ms(1200));
        rtt.sample(ms(100), Instant::ZERO);
        assert_eq!(rtt.rto(), Duration::from_micros(250_000));
    }

    #[test]
    fn a_lost_syn_makes_the_first_timeout_three_seconds() {
        //= RFC6298 5.7 after a SYN
        let mut rtt = Rtt::new(&Config::default());
        rtt.syn_was_lost();
        assert_eq!(rtt.rto(), Duration::from_secs(3));
    }
}
