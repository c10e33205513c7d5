//! For how long the loop looks at its devices instead of sleeping: a packet that comes meanwhile needs nobody to be woken.
//!
//! Owns when that began and when it ends. Only what has happened makes it worthwhile, never the looking itself: a stack that
//! nobody talks to sleeps. Nor does it pay where others want the processor. The loop yields it to them after each look, and
//! who yields comes back when their time is up, packets or none; who sleeps is woken by a packet, and comes at once.

use std::time::Duration;

use super::trial::{LOOK_FOR, Trial};
use crate::time::{Instant, nanos};

/// How often a loop that doesn't sleep asks for what seldom happens: a device that has changed waits no longer.
const SELDOM_EVERY: Duration = Duration::from_millis(1);
/// From one look to the next takes about a microsecond, and as much more as others have the processor meanwhile: a peer that
/// answers and sleeps has it for less than this, a program that computes mostly for longer.
const AWAY_MAX: Duration = Duration::from_micros(50);
/// Who was away once, and again before so many times as long have passed, is in a crowd: a program that computes comes again and again, a
/// thread of the kernel is soon done and gone.
const DISTURBED_TIMES: u32 = 16;
/// For how long the loop leaves the processor to a program that computes.
const CROWDED_FOR: Duration = Duration::from_millis(100);

/// For how long the loop goes on looking at its devices before it sleeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BusyPoll {
    /// For 50 microseconds, where packets mostly come within that time, and come sooner if one looks for them than if one sleeps, and
    /// no more processor time is taken. That is found out by trying, now and then.
    #[default]
    Auto,
    /// For so long after something has happened, whatever it takes. [`Duration::ZERO`]: not at all.
    For(Duration),
}

impl From<Duration> for BusyPoll {
    fn from(time: Duration) -> Self {
        BusyPoll::For(time)
    }
}

pub(super) struct Busy {
    /// In nanoseconds; zero if it isn't wanted.
    time: u64,
    /// Whether it is wanted now, where nobody has said for how long.
    trial: Option<Trial>,
    /// Something has happened since the loop waited last.
    is_news: bool,
    until: Instant,
    crowded_until: Instant,
    /// Whoever is away for long, since before this, leaves the processor to others.
    disturbed_until: Instant,
    seldom_due: Instant,
}

impl Busy {
    pub(super) fn new(poll: BusyPoll) -> Self {
        let (time, trial) = match poll {
            BusyPoll::Auto => (LOOK_FOR, Some(Trial::new())),
            BusyPoll::For(time) => (time, None),
        };
        let (until, crowded_until, seldom_due) = (Instant::ZERO, Instant::ZERO, Instant::ZERO);
        let (is_news, disturbed_until) = (false, Instant::ZERO);
        Busy { time: nanos(time), trial, is_news, until, crowded_until, disturbed_until, seldom_due }
    }

    /// Whether the loop may look now instead of sleeping.
    #[inline]
    pub(super) fn is_used(&self) -> bool {
        match &self.trial {
            None => self.time != 0,
            Some(trial) => trial.looks(),
        }
    }

    /// So many packets came at that time, after the loop had waited from the other on if it did. `cpu` tells how many nanoseconds of
    /// processor time its thread has used.
    pub(super) fn packets_came(
        &mut self,
        packets: usize,
        (waits_since, now): (Option<Instant>, Instant),
        cpu: impl FnOnce() -> u64,
    ) {
        self.something_happened(now);
        // While others want the processor the loop doesn't look, and would compare sleeping with sleeping.
        if let Some(trial) = self.trial.as_mut().filter(|_| now >= self.crowded_until) {
            trial.came(packets, now, waits_since.map(|since| now.nanos_since(since)), cpu);
        }
    }

    /// A packet came, or a thread rang: more is to be expected.
    pub(super) fn something_happened(&mut self, now: Instant) {
        self.until = now.plus_nanos(self.time);
        self.is_news = true;
    }

    /// Whether the loop is to tell of each wait that begins.
    #[inline]
    pub(super) fn counts_waits(&self) -> bool {
        self.trial.as_ref().is_some_and(Trial::counts_waits)
    }

    /// The loop has done what there was to do, and waits from now on. Where waits are what is tried, it is from here that they count.
    pub(super) fn waits(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_news) {
            self.until = now.plus_nanos(self.time);
        }
    }

    /// The loop yielded the processor after it had looked, and has it back.
    pub(super) fn yielded(&mut self, looked: Instant, now: Instant) {
        if now - looked > AWAY_MAX {
            self.was_away(looked, now);
        }
    }

    #[cold]
    fn was_away(&mut self, since: Instant, now: Instant) {
        if let Some(trial) = &mut self.trial {
            trial.is_disturbed();
        }
        let mut calm_from = now;
        if since < self.disturbed_until {
            self.crowded_until = now + CROWDED_FOR;
            // Once more tells that the crowd is still there.
            calm_from = self.crowded_until;
        }
        self.disturbed_until = calm_from + (now - since) * DISTURBED_TIMES;
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
        let mut busy = Busy::new(BusyPoll::For(Duration::from_micros(50)));
        assert!(busy.is_used() && !busy.is_worthwhile(at(0)) && !busy.is_worthwhile(at(1000)));
        busy.something_happened(at(1000));
        assert!(busy.is_worthwhile(at(1000)) && busy.is_worthwhile(at(1049)));
        assert!(!busy.is_worthwhile(at(1050)));
        busy.something_happened(at(1060));
        assert!(busy.is_worthwhile(at(1109)) && !busy.is_worthwhile(at(1110)));
    }

    #[test]
    fn what_is_tried_is_looking_from_where_the_wait_began_once_after_each_news() {
        let mut busy = Busy::new(BusyPoll::Auto);
        assert!(!busy.is_used());
        busy.something_happened(at(1000));
        busy.waits(at(1030));
        assert!(busy.is_worthwhile(at(1079)) && !busy.is_worthwhile(at(1080)));
        busy.waits(at(1500));
        assert!(!busy.is_worthwhile(at(1500)));
        // Looking is used as soon as the trial's turn for it has come: packets that come soon, and cost nothing either way.
        let came = (1..1_000).find(|packet| {
            busy.packets_came(1, (Some(at(packet * 10)), at(packet * 10 + 5)), || 0);
            busy.is_used()
        });
        assert!(came.is_some_and(|packets| packets > 64), "{came:?}");
        busy.packets_came(1, (Some(at(20_000)), at(20_005)), || 0);
        let fixed = Busy::new(BusyPoll::For(Duration::from_micros(50)));
        assert!(busy.counts_waits() && !fixed.counts_waits());
    }

    #[test]
    fn a_loop_that_is_not_to_look_never_does() {
        let mut busy = Busy::new(BusyPoll::For(Duration::ZERO));
        busy.something_happened(at(1000));
        assert!(!busy.is_used() && !busy.is_worthwhile(at(1000)));
    }

    #[test]
    fn who_gets_the_processor_back_late_twice_within_a_short_time_leaves_it_to_others_for_a_while() {
        let mut busy = Busy::new(BusyPoll::For(Duration::from_secs(10)));
        busy.something_happened(at(0));
        // Each disturbs for 16 times as long.
        for (looked, back) in [(100, 150), (200, 251), (251 + 816, 251 + 816 + 1_000)] {
            busy.yielded(at(looked), at(back));
            assert!(busy.is_worthwhile(at(back)));
        }
        busy.yielded(at(18_000), at(18_050));
        assert!(busy.is_worthwhile(at(18_050)), "not late");
        busy.yielded(at(18_066), at(18_117));
        assert!(!busy.is_worthwhile(at(18_117)));
        busy.something_happened(at(19_000));
        assert!(!busy.is_worthwhile(at(118_116)) && busy.is_worthwhile(at(118_117)));
    }

    #[test]
    fn where_there_was_a_crowd_one_late_return_tells_that_it_is_still_there() {
        let mut busy = Busy::new(BusyPoll::For(Duration::from_secs(10)));
        busy.something_happened(at(0));
        busy.yielded(at(0), at(3_000));
        busy.yielded(at(3_001), at(6_000));
        busy.yielded(at(106_100), at(109_000));
        assert!(!busy.is_worthwhile(at(208_999)) && busy.is_worthwhile(at(209_000)));
        busy.yielded(at(209_000 + 16 * 2_900), at(260_000));
        assert!(busy.is_worthwhile(at(260_000)), "once again it takes two");
    }

    #[test]
    fn a_late_return_ends_a_trial_and_not_what_is_known() {
        let mut busy = Busy::new(BusyPoll::Auto);
        let mut now = 0;
        let mut looks_after = |busy: &mut Busy, packets: usize| {
            for _ in 0..packets {
                // What is looked for comes sooner.
                now += if busy.is_used() { 5 } else { 10 };
                busy.packets_came(1, (Some(at(now - 5)), at(now)), || 0);
            }
            busy.is_used()
        };
        assert!(looks_after(&mut busy, 128), "that is tried");
        busy.yielded(at(0), at(51));
        assert!(!busy.is_used(), "the trial is over");
        assert!(looks_after(&mut busy, 64 + 6 * 64 + 1), "that is what another one has found");
        busy.yielded(at(20_000), at(20_051));
        assert!(busy.is_used());
    }

    #[test]
    fn nothing_is_tried_while_others_want_the_processor() {
        let mut busy = Busy::new(BusyPoll::Auto);
        let packets = |busy: &mut Busy, from: u64| {
            (from..from + 100).find(|packet| {
                busy.packets_came(1, (Some(at(packet * 10)), at(packet * 10 + 5)), || 0);
                busy.is_used()
            })
        };
        // Away twice for longer than a peer would take.
        busy.yielded(at(0), at(1));
        busy.yielded(at(1), at(52));
        busy.yielded(at(52), at(103));
        assert_eq!(packets(&mut busy, 100), None);
        assert_eq!(packets(&mut busy, 200), None);
        // A tenth of a second later waits are judged, and a trial begins.
        assert!(packets(&mut busy, 10_006).is_none() && packets(&mut busy, 10_106).is_some());
        let looks = busy.is_used();
        busy.yielded(at(101_900), at(101_951));
        assert!(looks && !busy.is_used());
    }

    #[test]
    fn what_seldom_happens_is_asked_for_once_a_millisecond() {
        let mut busy = Busy::new(BusyPoll::For(Duration::from_micros(50)));
        let asked: Vec<u64> = (0..3000).filter(|micros| busy.is_seldom_due(at(*micros))).collect();
        assert_eq!(asked, [0, 1000, 2000]);
    }
}
