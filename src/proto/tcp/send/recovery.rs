//! Loss recovery: what is lost, and what congestion control makes of it.
//!
//! Owns which recovery is under way. With SACK, what is lost is for `rack` to say and how much may be sent for `prr`; without,
//! duplicate acknowledgements are counted (RFC 5681 section 3.2, RFC 6582). Either way a recovery that turns out to have
//! been needless is undone (`undo`, `frto`). What happens when no acknowledgement comes at all stands in `timer`.

use super::SendHalf;
use super::acked::AckFacts;
use super::frto::{self, Frto, Heard};
use super::prr::{Progress, Prr};
use super::undo::{Evidence, Undo};
use crate::proto::counters::Counters;
use crate::proto::tcp::seq::SndPos;
use crate::time::Instant;

/// Duplicate ACKs that make a segment lost.
const DUPLICATE_THRESHOLD: u32 = 3;

/// Which recovery is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// None.
    Open,
    /// Fast recovery, until everything below `recover` is acknowledged.
    Fast {
        /// SND.NXT when it began.
        recover: SndPos,
    },
    /// Slow start after a time-out, until everything below `recover` is acknowledged.
    Timeout {
        /// SND.NXT when it began.
        recover: SndPos,
    },
}

/// The state of loss recovery.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    phase: Phase,
    duplicates: u32,
    /// RFC 6582's `recover`: duplicate ACKs for anything below it may be echoes of the last recovery.
    guard: Option<SndPos>,
    /// The next retransmission may go whatever the congestion window says (RFC 5681 section 3.2 step 3).
    regardless: bool,
    /// How things stood before the last reduction of the window, until it is undone.
    pub(super) undo: Option<Undo>,
    pub(super) frto: Frto,
}

impl Recovery {
    pub(crate) fn new() -> Self {
        Recovery {
            phase: Phase::Open,
            duplicates: 0,
            //= RFC6582 3.2 initial: before the first octet, which any acknowledgement is beyond.
            guard: None,
            regardless: false,
            undo: None,
            frto: Frto::Off,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn retransmit_regardless(&self) -> bool {
        self.regardless
    }

    pub(crate) fn segment_sent(&mut self) {
        self.regardless = false;
    }

    /// How many segments more than the window holds may be on their way: those that duplicate ACKs tell to have left the
    /// network, the first two.
    //= RFC3042 2 limited transmit
    //= RFC5681 3.2 limited transmit
    pub(crate) fn limited_transmit(&self) -> u64 {
        match self.phase {
            // Mostly there are none.
            _ if self.duplicates == 0 => 0,
            Phase::Open => self.duplicates.min(DUPLICATE_THRESHOLD - 1).into(),
            Phase::Fast { .. } | Phase::Timeout { .. } => 0,
        }
    }

    /// A duplicate ACK for `una` has come; true if it is the one that starts fast recovery.
    fn duplicate_ack(&mut self, una: SndPos) -> bool {
        if self.phase != Phase::Open {
            return false;
        }
        self.duplicates += 1;
        //= RFC5681 3.2 fast retransmit
        //= RFC6582 3.2 once
        self.duplicates == DUPLICATE_THRESHOLD && self.guard.is_none_or(|guard| una > guard)
    }

    /// Fast recovery begins.
    fn begin(&mut self, nxt: SndPos, undo: Undo) {
        self.phase = Phase::Fast { recover: nxt };
        self.guard = Some(nxt);
        self.regardless = true;
        //= RFC3522 3.2 at the beginning
        self.undo = Some(undo);
        self.frto = Frto::Off;
    }

    /// The retransmission timer has expired.
    fn timeout(&mut self, nxt: SndPos, first_end: SndPos, undo: Undo) {
        //= RFC5682 2.1 steps, 2.1 again, 2.1 not in recovery, 2.1 not twice
        //= RFC5682 3.1 steps, 3.1 again, 3.1 not in recovery, 6 fast recovery: for the same segment's only.
        let may_ask = self.phase == Phase::Open || matches!(self.frto, Frto::SentFirst(_));
        self.frto = if may_ask { Frto::SentFirst(first_end) } else { Frto::Off };
        //= RFC3522 3.2 at the beginning, 3.2 not again
        //= RFC4015 3.1 at the beginning, 3.1 not again
        if self.phase == Phase::Open {
            self.undo = Some(undo);
        }
        self.phase = Phase::Timeout { recover: nxt };
        //= RFC6582 3.2 time-out
        self.guard = Some(nxt);
        self.duplicates = 0;
        self.regardless = true;
    }

    /// Something was sent again, as far as it had been sent before; with this TSval.
    pub(super) fn sent_again(&mut self, range: core::ops::Range<u64>, stamp: Option<u32>) {
        if let Frto::SentFirst(end) = &mut self.frto {
            *end = SndPos::at(range.end);
        }
        if let Some(undo) = &mut self.undo {
            undo.sent_again(range, stamp);
        }
    }

    /// A partial ACK: the next hole is retransmitted at once.
    fn partial_ack(&mut self) {
        self.regardless = true;
    }

    /// What is lost of all below `nxt` is known already, and not for congestion: duplicate ACKs for it start nothing.
    pub(crate) fn losses_are_known(&mut self, nxt: SndPos) {
        if self.phase == Phase::Open {
            self.guard = Some(nxt);
            self.duplicates = 0;
        }
    }

    /// SND.UNA has moved.
    fn progress(&mut self) {
        self.duplicates = 0;
    }

    /// Recovery is over.
    fn end(&mut self) {
        self.phase = Phase::Open;
        self.regardless = false;
        self.frto = Frto::Off;
    }

    /// It was needless: duplicate ACKs for what was sent before it are no echoes of it.
    //= RFC5682 2.1 spurious
    //= RFC4015 4 NewReno
    fn end_needless(&mut self) {
        self.end();
        self.guard = None;
    }
}

/// What both kinds of senders do.
impl SendHalf {
    /// An acknowledgement has been taken over: decides what is lost and how the window moves.
    pub(super) fn recover(&mut self, facts: &AckFacts, counters: &mut Counters) {
        counters.tcp_dsacks_in += u64::from(facts.duplicate.is_some());
        counters.tcp_sacks_in += u64::from(facts.delivered > facts.newly_acked);
        let frto = self.ask_frto(facts);
        if let Some(evidence) = self.is_spurious(facts, frto) {
            self.undo(evidence, facts.at, counters);
        }
        if facts.newly_acked > 0 {
            self.recovery.progress();
        }
        //= RFC8985 1 alternative, 4 SACK
        if self.selective.is_some() {
            self.recover_selectively(facts, counters);
        } else if facts.newly_acked > 0 {
            self.progress(facts);
        } else if facts.is_duplicate {
            self.duplicate(counters);
        }
        if frto == frto::Verdict::Genuine {
            //= RFC5682 2.1 second duplicate, 3.1 beyond
            // Two new ones are on their way; the third is the one to be sent again now.
            self.cc.set_cwnd(3 * self.mss);
        }
    }

    /// The same of one that acknowledges what was sent once and in order, and came with SACK while no loss was being recovered
    /// from: what was sent again can't have been needless for that, nor can a time-out.
    #[inline(always)]
    pub(super) fn recover_usually(&mut self, facts: &AckFacts, counters: &mut Counters) {
        debug_assert!(self.recovery.frto == Frto::Off && !self.in_recovery());
        self.recovery.progress();
        let newly_lost = self.detect_losses(facts.at);
        self.go_on(facts, newly_lost, counters);
    }

    /// Whether an acknowledgement shows that what was sent again had not been lost.
    //= RFC4015 2 with detection
    fn is_spurious(&mut self, facts: &AckFacts, frto: frto::Verdict) -> Option<Evidence> {
        let recovers = self.in_recovery();
        if let Some(undo) = &mut self.recovery.undo {
            if let Some(duplicate) = &facts.duplicate {
                //= RFC2883 5 undo
                undo.came_twice(duplicate.clone());
                if undo.all_came_twice() {
                    return Some(Evidence::Duplicates);
                }
            }
            //= RFC3522 3.2 use, 3.2 older echo: once SND.UNA moves.
            if recovers && facts.newly_acked > 0 && undo.answers_original(facts.echo) {
                return Some(Evidence::Timestamp);
            }
        }
        (frto == frto::Verdict::Spurious).then_some(Evidence::Originals)
    }

    fn ask_frto(&mut self, facts: &AckFacts) -> frto::Verdict {
        if self.recovery.frto == Frto::Off {
            return frto::Verdict::Undecided;
        }
        let sacked = self.selective.as_ref().and_then(|selective| selective.board.sacked().last());
        let heard = Heard {
            una: self.una,
            nxt: self.nxt,
            advances: facts.newly_acked > 0,
            is_duplicate: facts.is_duplicate,
            highest: sacked.map_or(self.una, |last| self.una.max(SndPos::at(last.end))),
            any_new: facts.delivered > 0,
            sack: self.selective.is_some(),
            can_send_new: self.nxt < self.end.min(self.right_edge()),
        };
        self.recovery.frto.acknowledged(&heard, self.mss)
    }

    /// The window is what it was before it was reduced, and nothing more is sent again (RFC 4015 section 3.2).
    fn undo(&mut self, evidence: Evidence, now: Instant, counters: &mut Counters) {
        let Some(undo) = self.recovery.undo.take() else { return };
        match evidence {
            Evidence::Timestamp => counters.tcp_undone_by_timestamp += 1,
            Evidence::Duplicates => counters.tcp_undone_by_dsack += 1,
            Evidence::Originals => counters.tcp_undone_by_frto += 1,
        }
        self.undone += 1;
        //= RFC4015 3.1 use
        self.cc.undo(undo.cwnd, undo.ssthresh);
        if !self.in_recovery() {
            return;
        }
        self.recovery.end_needless();
        if let Some(selective) = &mut self.selective {
            selective.prr = None;
            selective.restore(&self.lost, now);
            selective.rack.note_reordering();
            selective.rack.recovered();
        }
        //= RFC4015 3.1 new data
        //= RFC5682 4 new data
        self.lost.clear();
    }

    /// `range` is lost: it is planned before all else.
    pub(super) fn lose(&mut self, range: core::ops::Range<u64>) {
        self.timer.forget_loss_probe();
        if let Some(selective) = &mut self.selective {
            selective.flight.forget(&range);
            for missing in selective.board.sacked().gaps(range) {
                self.lost.insert(missing);
            }
        } else {
            self.lost.insert(range);
        }
    }

    pub(super) fn mark_first_segment_lost(&mut self) {
        let end = self.una.plus(self.mss).min(self.nxt);
        self.lose(self.una.get()..end.get());
    }

    fn undo_point(&self) -> Undo {
        Undo::new(self.cc.cwnd(), self.cc.ssthresh())
    }

    /// FlightSize as a reduction counts it: without what limited transmit or a probe has sent beyond the window.
    //= RFC3042 2 window unchanged
    fn flight_size(&self, outstanding: u64) -> u64 {
        outstanding.min(self.cc.cwnd())
    }

    /// The retransmission timer has expired: what is lost, and how the window shrinks (RFC 5681 section 3.1).
    pub(super) fn lose_on_timeout(&mut self, counters: &mut Counters, now: Instant) {
        let first = self.timer.is_first_timeout();
        let undo = self.undo_point();
        let flight = match &self.selective {
            // FlightSize counts what the peer has and can't acknowledge.
            Some(_) => self.flight_size(self.outstanding()),
            None => self.flight(),
        };
        self.cc.on_timeout(flight, first);
        self.recovery.timeout(self.nxt, self.una.plus(self.mss).min(self.nxt), undo);
        let window = self.reordering_window();
        if let Some(selective) = &mut self.selective {
            selective.prr = None;
            selective.probe.reset();
            if !selective.has_reneged(self.una) {
                let lost = &mut self.lost;
                selective.detect_on_timeout(self.una, window, now, |range| lost.insert(range));
                return self.mark_first_segment_lost();
            }
            //= RFC2018 5 left edge
            counters.tcp_reneged += 1;
            selective.forget_reports(self.una, self.nxt);
        }
        //= RFC6298 5.4 earliest: the first of what is lost goes first.
        self.lose(self.una.get()..self.nxt.get());
    }
}

/// With SACK.
impl SendHalf {
    fn recover_selectively(&mut self, facts: &AckFacts, counters: &mut Counters) {
        let widened = match (&mut self.selective, &facts.duplicate) {
            (Some(selective), Some(_)) => selective.rack.came_twice(self.una, self.nxt),
            (Some(_) | None, _) => false,
        };
        let newly_lost = self.detect_losses(facts.at);
        let ends = match self.recovery.phase() {
            Phase::Open => false,
            Phase::Fast { recover } | Phase::Timeout { recover } => self.una >= recover,
        };
        match self.recovery.phase() {
            Phase::Open => self.go_on(facts, newly_lost, counters),
            Phase::Fast { .. } | Phase::Timeout { .. } if ends => {
                self.grow(facts);
                self.end_recovery(widened);
                // What was sent meanwhile may be lost as well: that is another reduction (RFC 9937 section 6.4).
                if !self.lost.is_empty() {
                    self.begin_recovery(facts.delivered, counters);
                }
            }
            Phase::Fast { .. } => {
                let is_safe = facts.newly_acked > 0 && !newly_lost;
                self.follow_arrivals(facts.delivered, is_safe);
            }
            Phase::Timeout { .. } if facts.delivered > 0 => self.grow(facts),
            Phase::Timeout { .. } => {}
        }
    }

    /// Outside of recovery.
    #[inline(always)]
    fn go_on(&mut self, facts: &AckFacts, newly_lost: bool, counters: &mut Counters) {
        if newly_lost {
            if !self.only_probe_was_lost(facts.at) {
                self.begin_recovery(facts.delivered, counters);
            }
        } else if self.probe_repaired(facts) {
            //= RFC8985 7.4.2 loss assumed, 7.4.2 response
            let flight = self.flight_size(self.outstanding() + facts.newly_acked);
            self.cc.on_loss(flight);
            counters.tcp_loss_probes_repaired += 1;
        } else if facts.newly_acked > 0 {
            self.grow_unhindered(facts);
        }
    }

    /// Marks what is lost at `now`, and notes when to look again. Tells whether there was anything.
    #[inline(always)]
    pub(super) fn detect_losses(&mut self, now: Instant) -> bool {
        if self.una == self.nxt {
            // Nothing is on its way.
            self.selective.iter_mut().for_each(|selective| selective.flight.clear());
            self.timer.look_again(None);
            return false;
        }
        self.detect_losses_in_flight(now)
    }

    #[inline(never)]
    fn detect_losses_in_flight(&mut self, now: Instant) -> bool {
        let window = self.reordering_window();
        let Some(selective) = &mut self.selective else { return false };
        let before = self.lost.total();
        let lost = &mut self.lost;
        let look_again = selective.detect(self.una, window, now, |range| lost.insert(range));
        let newly_lost = lost.total() > before;
        self.timer.look_again(look_again);
        newly_lost
    }

    fn reordering_window(&self) -> core::time::Duration {
        let recovers = self.in_recovery();
        self.selective
            .as_ref()
            .map_or_else(Default::default, |selective| selective.window(&self.rtt, recovers, self.mss))
    }

    /// Fast recovery begins: something is lost, and an acknowledgement of `delivered` octets (none, if the reordering
    /// timer found it) told so.
    pub(super) fn begin_recovery(&mut self, delivered: u64, counters: &mut Counters) {
        counters.tcp_fast_retransmits += 1;
        let undo = self.undo_point();
        //= RFC2018 5.1 congestion control
        let flight = self.flight_size(self.outstanding() + delivered);
        self.cc.on_loss(flight);
        self.recovery.begin(self.nxt, undo);
        let (inflight, ssthresh) = (self.flight(), self.cc.ssthresh());
        if let Some(selective) = &mut self.selective {
            //= RFC8985 9.3 PRR
            //= RFC9937 5 with RACK-TLP, 6.1 initialised
            let recover_fs = self.nxt.since(self.una) - selective.board.sacked().total() + delivered;
            selective.prr = Some(Prr::new(ssthresh, recover_fs, inflight));
            selective.probe.reset();
        }
        self.follow_arrivals(delivered, false);
    }

    fn follow_arrivals(&mut self, delivered: u64, is_safe: bool) {
        let progress = Progress { delivered, inflight: self.flight(), is_safe };
        if let Some(prr) = self.selective.as_mut().and_then(|selective| selective.prr.as_mut()) {
            prr.acknowledged(progress, self.mss);
        }
    }

    fn end_recovery(&mut self, widened: bool) {
        self.recovery.end();
        if let Some(selective) = &mut self.selective {
            //= RFC9937 6.4 end: the window is the threshold, which is what congestion control made it.
            selective.prr = None;
            if !widened {
                selective.rack.recovered();
            }
        }
    }

    fn probe_repaired(&mut self, facts: &AckFacts) -> bool {
        let is_bare_duplicate = facts.is_duplicate && facts.delivered == 0;
        let una = self.una;
        self.selective.as_mut().is_some_and(|selective| {
            selective.probe.acknowledged(una, facts.duplicate.as_ref(), is_bare_duplicate)
        })
    }
}

/// Without SACK.
impl SendHalf {
    fn progress(&mut self, facts: &AckFacts) {
        match self.recovery.phase() {
            Phase::Open => self.grow(facts),
            Phase::Fast { recover } if self.una >= recover => {
                //= RFC6582 3.2 full ACK, 6 no update
                let flight = self.flight();
                self.cc.on_exit_recovery(flight);
                self.recovery.end();
            }
            Phase::Fast { .. } => {
                //= RFC6582 3.2 partial ACK: what follows it is lost, too.
                self.mark_first_segment_lost();
                self.recovery.partial_ack();
                self.cc.on_partial_ack(facts.newly_acked);
            }
            Phase::Timeout { recover } => {
                self.grow(facts);
                if self.una >= recover {
                    self.recovery.end();
                }
            }
        }
    }

    fn duplicate(&mut self, counters: &mut Counters) {
        let (before, starts) = (self.recovery.limited_transmit(), self.recovery.duplicate_ack(self.una));
        counters.tcp_limited_transmits += u64::from(!starts && self.recovery.limited_transmit() > before);
        if starts {
            counters.tcp_fast_retransmits += 1;
            let undo = self.undo_point();
            let flight = self.flight_size(self.outstanding());
            self.cc.on_enter_recovery(flight);
            self.recovery.begin(self.nxt, undo);
            self.mark_first_segment_lost();
        } else if matches!(self.recovery.phase(), Phase::Fast { .. }) {
            self.cc.on_duplicate_ack();
        }
    }
}
