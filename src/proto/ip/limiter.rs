//! A token bucket: how many ICMP errors may be sent (RFC 1812 section 4.3.2.8, RFC 4443 section 2.4 f).

use crate::rng::Rng;
use crate::time::Instant;

/// A token bucket whose tokens differ in price at random.
///
/// One bucket for the whole stack is a side channel when it can be counted: an attacker who empties it with
/// forged sources learns from the errors that he himself still gets which ports are open (CVE-2020-25705).
/// So each permission costs between nothing and two tokens, one on average.
#[derive(Debug)]
pub(crate) struct Limiter {
    /// Nanotokens in the bucket; below zero when the last permission cost more than there was.
    credit: i64,
    /// Nanotokens that fit.
    capacity: i64,
    /// Tokens per second, which is nanotokens per nanosecond.
    rate: i64,
    filled_at: Instant,
}

/// Nanotokens in one token.
const TOKEN: i64 = 1_000_000_000;

impl Limiter {
    /// A full bucket of `burst` tokens that gains `per_second` of them.
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let capacity = i64::from(burst) * TOKEN;
        Limiter { credit: capacity, capacity, rate: i64::from(per_second), filled_at: now }
    }

    /// Whether one more may be sent now; takes its price.
    pub(crate) fn allow(&mut self, now: Instant, rng: &mut Rng) -> bool {
        self.fill(now);
        if self.credit < TOKEN {
            return false;
        }
        self.credit -= i64::from(rng.within(0..=2_000_000)) * (TOKEN / 1_000_000);
        true
    }

    fn fill(&mut self, now: Instant) {
        let elapsed = i64::try_from(now.since(self.filled_at).as_nanos()).unwrap_or(i64::MAX);
        self.credit = self.credit.saturating_add(elapsed.saturating_mul(self.rate)).min(self.capacity);
        self.filled_at = self.filled_at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn allowed(limiter: &mut Limiter, rng: &mut Rng, now: Instant, tries: u32) -> u32 {
        (0..tries).map(|_| u32::from(limiter.allow(now, rng))).sum()
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        let mut rng = Rng::from_number(1);
        let mut now = Instant::from_millis(5);
        let mut limiter = Limiter::new(100, 50, now);
        let burst = allowed(&mut limiter, &mut rng, now, 1000);
        assert!((30..=75).contains(&burst), "{burst}");
        let mut later = 0;
        for _ in 0..1000 {
            now += Duration::from_millis(10);
            later += allowed(&mut limiter, &mut rng, now, 5);
        }
        assert!((950..=1050).contains(&later), "{later}");
    }

    #[test]
    fn a_long_silence_fills_the_bucket_but_no_more() {
        let mut rng = Rng::from_number(2);
        let mut limiter = Limiter::new(u32::MAX, 10, Instant::ZERO);
        let count = allowed(&mut limiter, &mut rng, Instant::MAX, 1000);
        assert!((5..=25).contains(&count), "{count}");
    }

    #[test]
    fn time_that_runs_backwards_earns_nothing() {
        let mut rng = Rng::from_number(3);
        let mut limiter = Limiter::new(1000, 1, Instant::from_millis(1000));
        while limiter.allow(Instant::from_millis(1000), &mut rng) {}
        assert!(!limiter.allow(Instant::ZERO, &mut rng));
        assert!(!limiter.allow(Instant::from_millis(1000), &mut rng));
    }

    #[test]
    fn a_bucket_of_no_size_allows_nothing() {
        let mut rng = Rng::from_number(4);
        assert!(!Limiter::new(1000, 0, Instant::ZERO).allow(Instant::from_millis(9), &mut rng));
    }
}
