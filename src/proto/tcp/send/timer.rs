//! The sending half's one timer: retransmission, persist, or the override of silly-window avoidance; and, with SACK, what
//! may come before a retransmission time-out: the tail loss probe, or a second look at what may be lost.
//!
//! Only one of the three can be of use at a time: with a window of zero we probe, with bytes in flight we
//! wait for their acknowledgement, and with neither we may be waiting for a window worth sending into.
//! RFC 6298 section 5, RFC 9293 sections 3.8.1, 3.8.3, 3.8.6.1 and 3.8.6.2.1.

use core::time::Duration;

use super::SendHalf;
use super::plan::{Kind, TextPlan};
use super::recovery::Phase;
use super::tlp::{LossProbe, Repeats};
use crate::proto::config::Config;
use crate::proto::counters::Counters;
use crate::proto::tcp::info::Timers;
use crate::time::{Instant, nanos};

/// Later than any other instant, as is whatever comes after it: so the earlier of two needs no question whether there are two.
const NEVER: Instant = Instant::MAX;

/// What the timer is armed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Nothing is in flight and nothing waits.
    Off,
    /// Bytes are in flight.
    Retransmit,
    /// The peer's window is zero and there is something to send.
    Persist,
    /// Bytes wait for a window worth sending into.
    Override,
}

/// What may happen before a retransmission time-out, one of them at a time (RFC 8985 section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Early {
    /// PTO: the tail loss probe is sent.
    Probe,
    /// What may only be late by now is lost.
    Reordering,
}

/// The timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SendTimer {
    mode: Mode,
    at: Instant,
    /// It has expired in this mode, and what it asks for has not been sent yet.
    due: bool,
    /// What happens before a retransmission time-out.
    early: Option<(Early, Instant)>,
    /// A tail loss probe is due and has not been sent.
    loss_probe_due: bool,
    /// Doublings of the probe interval.
    probes: u32,
    /// Retransmissions of SND.UNA in a row.
    retransmissions: u32,
    /// Since when the peer has been silent about what we sent, for R2; [`NEVER`] if it has not been.
    silent_since: Instant,
    /// Since when SND.UNA has not moved although there was something to send, for the user time-out; [`NEVER`] if there was
    /// nothing.
    stuck_since: Instant,
    /// How long silly-window avoidance may hold bytes back, in nanoseconds.
    override_delay: u64,
}

impl SendTimer {
    pub(crate) fn new(config: &Config) -> Self {
        SendTimer {
            mode: Mode::Off,
            at: Instant::MAX,
            due: false,
            early: None,
            loss_probe_due: false,
            probes: 0,
            retransmissions: 0,
            silent_since: NEVER,
            stuck_since: NEVER,
            override_delay: nanos(config.sws_override),
        }
    }

    /// As a new one. The configuration is what it was.
    #[inline(always)]
    pub(super) fn renew(&mut self, config: &Config) {
        let SendTimer { override_delay, .. } = *self;
        *self = SendTimer { override_delay, ..SendTimer::new(config) };
        debug_assert_eq!(override_delay, nanos(config.sws_override));
    }

    /// There is nothing to wait for.
    fn rest(&mut self) {
        self.mode = Mode::Off;
        self.at = Instant::MAX;
        self.due = false;
        self.early = None;
        self.loss_probe_due = false;
        self.probes = 0;
        self.silent_since = NEVER;
        self.stuck_since = NEVER;
    }

    /// Whether nothing is waited for.
    #[inline]
    pub(super) fn is_off(&self) -> bool {
        self.mode == Mode::Off
    }

    /// Whether it is as [`rest`](Self::rest) leaves it.
    pub(super) fn rests(&self) -> bool {
        let mut resting = *self;
        resting.rest();
        *self == resting
    }

    /// It is armed for this now.
    #[inline]
    fn change(&mut self, mode: Mode) {
        if mode != self.mode {
            self.mode = mode;
            self.probes = 0;
            self.due = false;
            self.early = None;
            self.loss_probe_due = false;
        }
    }

    pub(crate) fn probe_is_due(&self) -> bool {
        self.due && self.mode == Mode::Persist
    }

    /// Whether a window of zero was probed, or is about to be.
    pub(super) fn has_probed(&self) -> bool {
        self.mode == Mode::Persist && self.probes > 0
    }

    pub(crate) fn loss_probe_is_due(&self) -> bool {
        self.loss_probe_due && self.mode == Mode::Retransmit
    }

    /// Whether a probe of either kind is due.
    pub(crate) fn asks_for_probe(&self) -> bool {
        // Mostly nothing is due at all.
        (self.due | self.loss_probe_due) && (self.probe_is_due() || self.loss_probe_is_due())
    }

    /// Whether SND.UNA's segment has not timed out before.
    pub(super) fn is_first_timeout(&self) -> bool {
        self.retransmissions == 0
    }

    /// Something is known to be lost: a probe would tell nothing.
    //= RFC8985 7.2 scheduled
    pub(super) fn forget_loss_probe(&mut self) {
        self.early = self.early.filter(|(early, _)| *early != Early::Probe);
        self.loss_probe_due = false;
    }

    /// When loss detection has to look again, as it has found just now.
    //= RFC8985 8 timers
    pub(super) fn look_again(&mut self, at: Option<Instant>) {
        match at {
            Some(at) => self.early = Some((Early::Reordering, at)),
            None if matches!(self.early, Some((Early::Reordering, _))) => self.early = None,
            None => {}
        }
    }

    pub(crate) fn override_is_due(&self) -> bool {
        self.due && self.mode == Mode::Override
    }

    /// When the probe and the second look at losses are due, and the timer itself.
    #[cfg(test)]
    pub(super) fn early(&self) -> (Option<Instant>, Option<Instant>, Instant) {
        match self.early {
            None => (None, None, self.at),
            Some((Early::Probe, at)) => (Some(at), None, self.at),
            Some((Early::Reordering, at)) => (None, Some(at), self.at),
        }
    }
}

/// What an expired timer means for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// A probe or a held-back segment is to be sent.
    GoOn,
    /// What was in flight is lost.
    Retransmit,
    /// As before, and R1 has just been reached (RFC 9293 MUST-20).
    Trouble,
    /// R2 or the user time-out has run out.
    GiveUp,
}

/// When to give up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// R1, in retransmissions.
    pub(crate) r1: u32,
    /// R2.
    pub(crate) r2: Duration,
    /// The user time-out, which replaces R2 where it is set.
    pub(crate) user_timeout: Option<Duration>,
    /// Nobody holds the connection: a window that stays shut for R2 ends it, even if the peer is alive, or
    /// peers could make us keep what they do not want for ever.
    pub(crate) orphan: bool,
}

impl SendHalf {
    /// When [`timer_expired`](Self::timer_expired) has something to do; [`Instant::MAX`] if never.
    #[inline]
    pub(crate) fn timer_deadline(&self, patience: &Patience) -> Instant {
        if self.timer.mode == Mode::Off {
            return NEVER;
        }
        // A timer that has fired and waits for the device only runs on to giving up.
        let early = self.timer.early.map_or(NEVER, |(_, at)| at);
        let at = if self.timer.due { NEVER } else { self.timer.at.min(early) };
        self.gives_up_at(patience).min(at)
    }

    /// The same, if there is one.
    #[cfg(test)]
    pub(crate) fn next_deadline(&self, patience: &Patience) -> Option<Instant> {
        Some(self.timer_deadline(patience)).filter(|at| *at < NEVER)
    }

    /// Which of the three is running.
    pub(crate) fn timer_running(&self) -> Timers {
        match self.timer.mode {
            Mode::Off => Timers::empty(),
            Mode::Retransmit => match self.timer.early {
                None => Timers::RETRANSMIT,
                Some((Early::Probe, _)) => Timers::RETRANSMIT | Timers::LOSS_PROBE,
                Some((Early::Reordering, _)) => Timers::RETRANSMIT | Timers::REORDERING,
            },
            Mode::Persist => Timers::PERSIST,
            Mode::Override => Timers::OVERRIDE,
        }
    }

    /// Retransmissions of SND.UNA in a row.
    pub(crate) fn retransmissions(&self) -> u32 {
        self.timer.retransmissions
    }

    /// Lets the timer expire if its time has come. `None` if it has not.
    pub(crate) fn timer_expired(
        &mut self,
        patience: &Patience,
        counters: &mut Counters,
        now: Instant,
    ) -> Option<Expiry> {
        if self.timer.mode == Mode::Off {
            return None;
        }
        if self.gives_up_at(patience) <= now {
            return Some(Expiry::GiveUp);
        }
        if let Some((early, _)) = self.timer.early.filter(|(_, at)| *at <= now) {
            self.expire_early(early, counters, now);
            return Some(Expiry::GoOn);
        }
        if self.timer.due || self.timer.at > now {
            return None;
        }
        match self.timer.mode {
            Mode::Off => None,
            Mode::Retransmit => Some(self.retransmission_timeout(patience, counters, now)),
            Mode::Persist => {
                self.timer.due = true;
                self.timer.silent_since = self.timer.silent_since.min(now);
                self.timer.probes = self.timer.probes.saturating_add(1);
                Some(Expiry::GoOn)
            }
            Mode::Override => {
                self.timer.due = true;
                Some(Expiry::GoOn)
            }
        }
    }

    /// Chooses the timer's mode anew: after a write, a close, or whatever else may have changed it.
    pub(crate) fn timer_refresh(&mut self, now: Instant) {
        let mode = self.wanted_mode();
        if mode != self.timer.mode {
            self.arm(mode, now);
        }
    }

    #[inline(always)]
    pub(crate) fn timer_after_sending(&mut self, plan: &TextPlan, now: Instant) {
        let kind = plan.kind;
        self.timer.due = false;
        let mode = self.wanted_mode();
        let was_loss_probe = core::mem::take(&mut self.timer.loss_probe_due);
        //= RFC6298 5.1 start: and a running one is left alone.
        //= RFC8985 7.3 timer after: after a probe it runs anew.
        // After the fast retransmission of the first segment, too (as Linux): it can't be acknowledged any sooner than a round
        // trip from now, and on a steady path the time-out is hardly longer than that.
        let is_repair = kind == Kind::Retransmission
            && plan.start == self.una
            && matches!(self.recovery.phase(), Phase::Fast { .. });
        if mode != self.timer.mode || kind == Kind::Probe || was_loss_probe || is_repair {
            self.arm(mode, now);
        }
        if was_loss_probe {
            let repeats = if kind == Kind::New { Repeats::New } else { Repeats::Last };
            if let Some(selective) = &mut self.selective {
                selective.probe.sent(self.nxt, repeats);
            }
        } else if matches!(kind, Kind::New | Kind::PathProbe) {
            self.schedule_loss_probe(now);
        }
    }

    /// What was in flight goes again: its time begins anew.
    pub(super) fn timer_restart(&mut self, now: Instant) {
        if self.timer.mode == Mode::Retransmit {
            self.arm(Mode::Retransmit, now);
        }
    }

    pub(super) fn timer_after_ack(&mut self, progress: bool, now: Instant) {
        //= RFC9293 MUST-37: whoever says that its window is zero is alive.
        //= RFC9293 SHLD-17
        if progress || self.wnd == 0 {
            self.timer.silent_since = NEVER;
        }
        if progress {
            self.timer.retransmissions = 0;
            self.timer.stuck_since = NEVER;
        }
        let mode = self.wanted_mode();
        if mode == Mode::Off {
            return self.timer.rest();
        }
        //= RFC6298 5.3 restart
        //= RFC6582 3.2 timer
        if mode != self.timer.mode || (progress && mode == Mode::Retransmit) {
            self.arm(mode, now);
        } else if mode == Mode::Persist {
            // A probe was taken: the next octet has been waiting since now.
            self.timer.stuck_since = self.timer.stuck_since.min(now);
        }
        self.timer.loss_probe_due = false;
        if !self.may_probe() {
            self.timer.forget_loss_probe();
        } else if progress {
            self.schedule_loss_probe(now);
        }
    }

    /// Whether a tail loss probe can tell anything that isn't known.
    //= RFC8985 7.2 scheduled
    fn may_probe(&self) -> bool {
        let rest = self.selective.as_ref().filter(|_| !self.in_recovery() && self.lost.is_empty());
        rest.is_some_and(|selective| selective.probe.may_probe() && selective.board.sacked().is_empty())
    }

    //= RFC8985 7.2 two SRTT, 7.3 skipped
    fn schedule_loss_probe(&mut self, now: Instant) {
        // What may be late by now is known earlier, and without a probe.
        let looks_again = matches!(self.timer.early, Some((Early::Reordering, _)));
        if self.timer.mode == Mode::Retransmit && self.may_probe() && !looks_again {
            let pto = LossProbe::timeout(self.rtt.srtt_nanos(), self.outstanding() <= self.mss);
            self.timer.early = Some((Early::Probe, now.plus_nanos(pto).min(self.timer.at)));
        }
    }

    fn expire_early(&mut self, early: Early, counters: &mut Counters, now: Instant) {
        self.timer.early = None;
        match early {
            Early::Probe => {
                self.timer.loss_probe_due = true;
                // It is the probe's turn, even if both are due.
                self.timer.at = self.timer.at.max(now + self.rtt.rto());
                counters.tcp_loss_probes += 1;
            }
            Early::Reordering => {
                if self.detect_losses(now) {
                    counters.tcp_reordering_timeouts += 1;
                    if !self.in_recovery() && !self.only_probe_was_lost(now) {
                        self.begin_recovery(0, counters);
                    }
                }
            }
        }
    }

    fn wanted_mode(&self) -> Mode {
        //= RFC6298 5.2 all acknowledged
        if !self.is_unfinished() {
            Mode::Off
        } else if self.wnd == 0 {
            //= RFC9293 MUST-35: whether it was shut or shrank to nothing.
            Mode::Persist
        } else if self.outstanding() > 0 {
            Mode::Retransmit
        } else {
            Mode::Override
        }
    }

    fn arm(&mut self, mode: Mode, now: Instant) {
        match mode {
            Mode::Retransmit => self.arm_retransmit(now),
            Mode::Off | Mode::Persist | Mode::Override => self.arm_other(mode, now),
        }
    }

    fn arm_retransmit(&mut self, now: Instant) {
        self.timer.change(Mode::Retransmit);
        self.timer.at = now.plus_nanos(self.rtt.rto_nanos());
        // Of what runs already the beginning stays.
        self.timer.silent_since = self.timer.silent_since.min(now);
        self.timer.stuck_since = self.timer.stuck_since.min(now);
    }

    // By itself, so that the other, which is the one after each segment, is short.
    #[inline(never)]
    fn arm_other(&mut self, mode: Mode, now: Instant) {
        self.timer.change(mode);
        match mode {
            Mode::Off | Mode::Retransmit => self.timer.rest(),
            //= RFC9293 SHLD-29
            //= RFC9293 SHLD-30
            Mode::Persist => {
                self.timer.at = now.plus_nanos(self.rtt.doubled(self.timer.probes));
                self.timer.stuck_since = self.timer.stuck_since.min(now);
            }
            Mode::Override => {
                self.timer.at = now.plus_nanos(self.timer.override_delay);
                self.timer.silent_since = NEVER;
                self.timer.stuck_since = NEVER;
            }
        }
    }

    /// RFC 6298 rules 5.4 to 5.6 and RFC 5681 section 3.1.
    //= RFC9293 MUST-19
    fn retransmission_timeout(
        &mut self,
        patience: &Patience,
        counters: &mut Counters,
        now: Instant,
    ) -> Expiry {
        self.timer.early = None;
        self.timer.loss_probe_due = false;
        self.path_timed_out();
        self.lose_on_timeout(counters, now);
        self.timer.retransmissions = self.timer.retransmissions.saturating_add(1);
        self.timed = None;
        self.rtt.back_off();
        self.timer.at = now + self.rtt.rto();
        //= RFC9293 MUST-20/r1
        if self.timer.retransmissions == patience.r1 { Expiry::Trouble } else { Expiry::Retransmit }
    }

    //= RFC9293 MUST-20/r2
    //= RFC9293 MUST-21
    #[inline]
    fn gives_up_at(&self, patience: &Patience) -> Instant {
        match patience.user_timeout {
            Some(timeout) => self.timer.stuck_since + timeout,
            None if patience.orphan => self.timer.stuck_since + patience.r2,
            None => self.timer.silent_since + patience.r2,
        }
    }
}
