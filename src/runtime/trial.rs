//! Whether looking at the devices for a moment, instead of sleeping at once, lets packets come sooner and takes no more processor
//! time. It is tried.
//!
//! Owns what is known of how long the loop waits for packets, the trials, and what came of the last. What sleeping costs differs
//! between machines by an order of magnitude (a virtual processor that sleeps has to be woken by its host), and so does how long a
//! peer takes to answer; nobody has to know either. A peer that waits for each answer speaks sooner the sooner it has that. Where
//! packets come in bulk, or long after one another, or sleeping is cheap, trials say that nothing is gained, and become rare.

use std::time::Duration;

use crate::time::{Instant, nanos};

/// A wait no longer than this may as well be spent looking.
pub(super) const LOOK_FOR: Duration = Duration::from_micros(50);

/// A wait that was slept through and took no longer than this may have been as short, but for the waking.
const SLEEP_FOR: Duration = LOOK_FOR.saturating_mul(2);

/// Waits after which it is asked whether most were short.
const WAITS: u32 = 64;
/// As many of those make looking worth a trial.
const SHORT_FROM: u32 = 48;
/// Packets that come in one part of a trial.
const PART_PACKETS: u32 = 64;
/// Parts of a trial: without and with looking in turn, so that a change of the traffic meets both alike.
const PARTS: u8 = 6;
/// Who is silent for longer than this did not wait for an answer, and comes no sooner for being looked for.
const PAUSE: Duration = Duration::from_millis(1);
/// Packets that come until what was found is asked again: after a first trial, and at most. Each trial that says the same as the one
/// before doubles them. Few at first, since a machine that has just begun to work is not yet as it will be (processors fall asleep the
/// deeper the longer they are used to); and not too many in the end, since there is other traffic some day.
const HOLD: u32 = 1 << 10;
const HOLD_MAX: u32 = 1 << 16;
/// After a trial in which what is looked for did not come soon enough.
const HOLD_BROKEN_OFF: u32 = 1 << 13;

/// What is known of looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing. The loop sleeps at once.
    Unknown,
    /// This part of a trial is under way since then.
    Trial { part: u8, since: Times },
    /// What the last trial said, for so many packets more.
    Known { looks: bool, packets: u32 },
}

/// What the clocks show, or what has passed, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Times {
    /// Of everybody.
    wall: u64,
    /// Of this thread, as far as it had a processor.
    cpu: u64,
}

impl Times {
    /// What has passed for each of so many packets.
    fn each(self, since: Times, packets: u32) -> Times {
        let each = |now: u64, since: u64| now.saturating_sub(since) / u64::from(packets.max(1));
        Times { wall: each(self.wall, since.wall), cpu: each(self.cpu, since.cpu) }
    }

    fn plus(self, other: Times) -> Times {
        Times { wall: self.wall + other.wall, cpu: self.cpu + other.cpu }
    }
}

/// Waits, trials and what they say.
#[derive(Debug)]
pub(super) struct Trial {
    stage: Stage,
    /// Waits that were counted since they were judged last, and how many of them were short.
    waits: u32,
    short: u32,
    /// Packets that came in this part of a trial, and when they came last.
    packets: u32,
    latest: Instant,
    /// What a packet took in the parts of a trial, without and with looking.
    spent: [Times; 2],
    hold: u32,
    last: Option<bool>,
}

impl Trial {
    pub(super) fn new() -> Self {
        let (stage, latest, spent) = (Stage::Unknown, Instant::ZERO, [Times::default(); 2]);
        Trial { stage, waits: 0, short: 0, packets: 0, latest, spent, hold: HOLD, last: None }
    }

    /// Whether the loop is to look before it sleeps.
    #[inline]
    pub(super) fn looks(&self) -> bool {
        match self.stage {
            Stage::Unknown => false,
            Stage::Trial { part, .. } => part % 2 == 1,
            Stage::Known { looks, .. } => looks,
        }
    }

    /// Whether it makes a difference how long the loop waits: not while it sleeps because nothing was gained.
    #[inline]
    pub(super) fn counts_waits(&self) -> bool {
        !matches!(self.stage, Stage::Known { looks: false, .. })
    }

    /// So many packets came at this time; if the loop had to wait for them, sleeping or looking, for so many nanoseconds. `cpu` tells
    /// how many of processor time its thread has used.
    pub(super) fn came(
        &mut self,
        packets: usize,
        now: Instant,
        waited: Option<u64>,
        cpu: impl FnOnce() -> u64,
    ) {
        let times = || Times { wall: now.as_nanos(), cpu: cpu() };
        let are_mostly_short = waited.and_then(|waited| self.judge(waited));
        match (self.stage, are_mostly_short) {
            (Stage::Unknown, Some(true)) => {
                (self.packets, self.latest, self.spent) = (0, now, [Times::default(); 2]);
                self.stage = Stage::Trial { part: 0, since: times() };
            }
            // What is looked for doesn't come. Trials that are broken off must not become the rule.
            (Stage::Trial { .. }, Some(false)) => {
                self.stage = Stage::Known { looks: false, packets: HOLD_BROKEN_OFF };
            }
            (Stage::Known { looks: true, .. }, Some(false)) => self.stage = Stage::Unknown,
            (Stage::Unknown, _) => {}
            (Stage::Trial { part, mut since }, _) => {
                let silent = now.nanos_since(std::mem::replace(&mut self.latest, now));
                since.wall += if silent > nanos(PAUSE) { silent } else { 0 };
                self.stage = Stage::Trial { part, since };
                self.go_on_trying(packets, part, since, times);
            }
            (Stage::Known { looks, packets: left }, _) => {
                let left = left.saturating_sub(u32::try_from(packets).unwrap_or(u32::MAX));
                self.stage = if left == 0 { Stage::Unknown } else { Stage::Known { looks, packets: left } };
            }
        }
    }

    /// Others had the processor, and what was found in a trial until now may be theirs. If that goes on the loop will sleep for a while,
    /// whatever is known, and tell of no packets meanwhile.
    pub(super) fn is_disturbed(&mut self) {
        if matches!(self.stage, Stage::Trial { .. }) {
            self.stage = Stage::Unknown;
        }
    }

    /// Counts a wait. Now and then it tells whether most of the latest were short.
    fn judge(&mut self, waited: u64) -> Option<bool> {
        let short = if self.looks() { nanos(LOOK_FOR) } else { nanos(SLEEP_FOR) };
        self.waits += 1;
        self.short += u32::from(waited <= short);
        if self.waits < WAITS {
            return None;
        }
        let are_mostly_short = self.short >= SHORT_FROM;
        (self.waits, self.short) = (0, 0);
        Some(are_mostly_short)
    }

    fn go_on_trying(&mut self, packets: usize, part: u8, since: Times, times: impl FnOnce() -> Times) {
        self.packets = self.packets.saturating_add(u32::try_from(packets).unwrap_or(u32::MAX));
        if self.packets < PART_PACKETS {
            return;
        }
        let (now, looked) = (times(), self.looks());
        let [sleeping, looking] = &mut self.spent;
        let spent = if looked { looking } else { sleeping };
        // Parts may be some packets longer than they should be.
        *spent = spent.plus(now.each(since, self.packets));
        self.packets = 0;
        self.stage = match part + 1 {
            PARTS => self.decide(),
            part => Stage::Trial { part, since: now },
        };
    }

    fn decide(&mut self) -> Stage {
        let [sleeping, looking] = self.spent;
        let is_sooner = looking.wall.saturating_mul(20) <= sleeping.wall.saturating_mul(19);
        let looks = is_sooner && looking.cpu <= sleeping.cpu;
        let is_as_before = self.last.replace(looks) == Some(looks);
        self.hold = if is_as_before { self.hold.saturating_mul(2).min(HOLD_MAX) } else { HOLD };
        Stage::Known { looks, packets: self.hold }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A loop on a machine, in microseconds.
    struct Machine {
        trial: Trial,
        /// How long the peer takes to send the next packet: since it has the answer to the last, or since the last if it
        /// waits for none.
        gap: u64,
        waits_for_answers: bool,
        /// Processor time that a packet takes, and a sleep, which delays the answer as much.
        work: u64,
        sleep: u64,
        now: u64,
        cpu: u64,
    }

    impl Machine {
        fn new(gap: u64, sleep: u64) -> Machine {
            let trial = Trial::new();
            Machine { trial, gap, waits_for_answers: true, work: 3, sleep, now: 0, cpu: 0 }
        }

        /// So many packets come one at a time; tells for how many of them the loop looked.
        fn run(&mut self, packets: u32) -> u32 {
            let mut looked = 0;
            for _ in 0..packets {
                let looks = self.trial.looks();
                looked += u32::from(looks);
                let look = if looks { self.gap.min(LOOK_FOR.as_micros() as u64) } else { 0 };
                let sleep = if looks && self.gap <= look { 0 } else { self.sleep };
                self.cpu += self.work + look + sleep;
                self.now += self.gap + if self.waits_for_answers { self.work + sleep } else { 0 };
                let (now, cpu) = (Instant::from_nanos(self.now * 1000), self.cpu * 1000);
                let waited = self.trial.counts_waits().then_some((self.gap + sleep) * 1000);
                self.trial.came(1, now, waited, || cpu);
            }
            looked
        }
    }

    #[test]
    fn where_sleeping_is_dear_it_looks_and_tries_again_ever_more_rarely() {
        let mut machine = Machine::new(10, 12);
        let begin = WAITS + PART_PACKETS * u32::from(PARTS);
        assert_eq!(machine.run(begin), PART_PACKETS * u32::from(PARTS) / 2);
        assert_eq!(machine.run(HOLD), HOLD);
        let slept = 1_000_000 - machine.run(1_000_000);
        assert!((200..6_000).contains(&slept), "{slept}");
    }

    #[test]
    fn where_sleeping_is_cheap_it_sleeps_and_hardly_ever_looks() {
        let mut machine = Machine::new(10, 8);
        let looked = machine.run(1_000_000);
        assert!((200..5_000).contains(&looked), "{looked}");
    }

    #[test]
    fn where_nobody_waits_for_answers_it_sleeps_even_if_that_is_dear() {
        let mut machine = Machine { waits_for_answers: false, ..Machine::new(10, 12) };
        let looked = machine.run(1_000_000);
        assert!((200..5_000).contains(&looked), "{looked}");
    }

    #[test]
    fn where_packets_come_seldom_it_never_looks() {
        assert_eq!(Machine::new(51, 1_000).run(100_000), 0);
        assert_eq!(Machine::new(93, 8).run(100_000), 0);
    }

    #[test]
    fn where_packets_come_a_little_too_late_it_hardly_ever_looks() {
        let looked = Machine::new(60, 8).run(1_000_000);
        assert!((64..10_000).contains(&looked), "{looked}");
    }

    #[test]
    fn where_waking_takes_longer_than_looking_may_it_looks() {
        let mut machine = Machine::new(20, 60);
        assert!(machine.run(10_000) > 8_000);
    }

    #[test]
    fn when_packets_no_longer_come_soon_it_stops_looking_and_when_they_do_it_begins_again() {
        let mut machine = Machine::new(10, 12);
        machine.run(1_000);
        assert!(machine.trial.looks());
        machine.gap = 1_000;
        let looked = machine.run(10_000);
        assert!(looked <= 2 * WAITS && !machine.trial.looks(), "{looked}");
        machine.gap = 10;
        assert!(machine.run(10_000) > 9_000);
    }

    #[test]
    fn a_trial_that_was_broken_off_is_not_begun_again_at_once() {
        let mut machine = Machine::new(10, 8);
        let looked: u32 = (0..1_000)
            .map(|turn| {
                machine.gap = if turn % 2 == 0 { 10 } else { 60 };
                machine.run(if turn % 2 == 0 { 3 * WAITS } else { WAITS })
            })
            .sum();
        assert!((64..3_000).contains(&looked), "for {looked} of 128,000 packets");
    }

    #[test]
    fn what_is_tried_while_others_want_the_processor_says_nothing() {
        let mut machine = Machine::new(10, 12);
        machine.run(WAITS + 2 * PART_PACKETS - 1);
        assert!(machine.trial.looks());
        machine.trial.is_disturbed();
        assert_eq!(machine.trial.stage, Stage::Unknown);
        machine.run(1_000);
        assert!(matches!(machine.trial.stage, Stage::Known { looks: true, .. }));
        // What is known stays so.
        machine.trial.is_disturbed();
        assert!(machine.trial.looks());
    }

    #[test]
    fn pauses_say_nothing_about_looking() {
        // Whichever part of a trial most of them fall into.
        for every in 40..100 {
            for (sleep, gains) in [(20, true), (8, false)] {
                let mut machine = Machine::new(10, sleep);
                while !matches!(machine.trial.stage, Stage::Known { .. }) {
                    machine.run(every);
                    machine.gap = 100_000;
                    machine.run(1);
                    machine.gap = 10;
                }
                assert_eq!(machine.trial.looks(), gains, "pauses after {every} packets");
            }
        }
    }

    #[test]
    fn what_takes_less_time_is_found_anew_when_it_is_another() {
        let mut machine = Machine::new(10, 8);
        machine.run(20_000);
        machine.sleep = 30;
        let looked = machine.run(200_000);
        assert!(looked > 100_000, "{looked}");
    }

    #[test]
    fn packets_that_nobody_waited_for_count_as_packets() {
        let mut trial = Trial::new();
        let (mut looked, mut came, mut now) = (0, 0, 0);
        for turn in 0..10_000 {
            looked += u32::from(trial.looks());
            // Every second turn finds sixteen packets, though it did not wait.
            let (packets, waited) = if turn % 2 == 0 { (1, Some(0)) } else { (16, None) };
            came += packets as u64;
            // All that come while it looks come sooner.
            now += packets as u64 * if trial.looks() { 900 } else { 1_000 };
            trial.came(packets, Instant::from_nanos(now), waited, || came * 1_000);
        }
        assert!(looked > 9_000, "sooner, and no dearer, and so it is done: {looked}");
    }
}
