//! For how long the loop looks at its devices instead of sleeping: a packet that comes meanwhile needs nobody to be woken.
//!
//! Owns when that began and when it ends. Only what has happened makes it worthwhile, never the looking itself: a stack that
//! nobody talks to sleeps. Nor does it pay where others want the processor. The loop yields it to them after each look, and
//! who yields comes back when their time is up, packets or none; who sleeps is woken by a packet, and comes at once.

use std::time::Duration;

use crate::time::{Instant, nanos};

/// How often a loop that doesn't sleep asks for what seldom happens: a device that has changed waits no longer.
const SELDOM_EVERY: Duration = Duration::from_millis(1);
/// From one look to the next takes about a microsecond, and as much more as others have the processor meanwhile: a peer that
/// answers and sleeps has it for less than this, a program that computes mostly for longer.
const AWAY_MAX: Duration = Duration::from_micros(50);
/// For how long the loop leaves the processor to a program that computes.
const CROWDED_FOR: Duration = Duration::from_millis(100);

pub(super) struct Busy {
    /// In nanoseconds; zero if it isn't wanted.
    time: u64,
    until: Instant,
    crowded_until: Instant,
    seldom_due: Instant,
}

impl Busy {
    pub(super) fn new(time: Duration) -> Self {
        let (until, crowded_until, seldom_due) = (Instant::ZERO, Instant::ZERO, Instant::ZERO);
        Busy { time: nanos(time), until, crowded_until, seldom_due }
    }

    /// Whether the loop may ever look instead of sleeping.
    pub(super) fn is_used(&self) -> bool {
        self.time != 0
    }

    /// A packet came, or a thread rang: more is to be expected.
    pub(super) fn something_happened(&mut self, now: Instant) {
        self.until = now.plus_nanos(self.time);
    }

    /// The loop yielded the processor after it had looked, and has it back.
    pub(super) fn yielded(&mut self, looked: Instant, now: Instant) {
        if now - looked > AWAY_MAX {
            self.crowded_until = now + CROWDED_FOR;
        }
    }

    /// Whether the loop is to look once more.
    pub(super) fn is_worthwhile(&self, now: Instant) -> bool {
        now < self.until && now >= self.crowded_until
    }

    /// Whether it is time to ask for what seldom happens. If it is, it won't be again for a while.
    pub(super) fn is_seldom_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.seldom_due;
        if is_due {
            self.seldom_due = now + SELDOM_EVERY;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::ZERO + Duration::from_micros(micros)
    }

    #[test]
    fn looking_is_worthwhile_for_a_while_after_something_happened_and_no_longer() {
        let mut busy = Busy::new(Duration::from_micros(50));
        assert!(busy.is_used() && !busy.is_worthwhile(at(0)) && !busy.is_worthwhile(at(1000)));
        busy.something_happened(at(1000));
        assert!(busy.is_worthwhile(at(1000)) && busy.is_worthwhile(at(1049)));
        assert!(!busy.is_worthwhile(at(1050)));
        busy.something_happened(at(1060));
        assert!(busy.is_worthwhile(at(1109)) && !busy.is_worthwhile(at(1110)));
    }

    #[test]
    fn a_loop_that_is_not_to_look_never_does() {
        let mut busy = Busy::new(Duration::ZERO);
        busy.something_happened(at(1000));
        assert!(!busy.is_used() && !busy.is_worthwhile(at(1000)));
    }

    #[test]
    fn who_does_not_get_the_processor_back_leaves_it_to_others_for_a_while() {
        let mut busy = Busy::new(Duration::from_secs(10));
        busy.something_happened(at(0));
        busy.yielded(at(100), at(150));
        assert!(busy.is_worthwhile(at(150)));
        busy.yielded(at(150), at(201));
        assert!(!busy.is_worthwhile(at(201)));
        busy.something_happened(at(2000));
        assert!(!busy.is_worthwhile(at(100_200)) && busy.is_worthwhile(at(100_201)));
    }

    #[test]
    fn what_seldom_happens_is_asked_for_once_a_millisecond() {
        let mut busy = Busy::new(Duration::from_micros(50));
        let asked: Vec<u64> = (0..3000).filter(|micros| busy.is_seldom_due(at(*micros))).collect();
        assert_eq!(asked, [0, 1000, 2000]);
    }
}
