//! An acknowledgement has come: facts first, then decisions.
//!
//! The acknowledgement is turned into one [`AckFacts`]; loss recovery reads it, then congestion control.
//! RFC 9293 section 3.10.7.4 (fifth check), RFC 5681, 6298, 6582.

use core::time::Duration;

use super::SendHalf;
use super::recovery::Phase;
use crate::proto::counters::Counters;
use crate::proto::tcp::seq::{RcvPos, SndPos};
use crate::time::Instant;

/// What the ACK field and the window of an acceptable segment say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledgement {
    /// SEG.ACK, at or above SND.UNA and at or below SND.NXT.
    pub(crate) ack: SndPos,
    /// SEG.SEQ.
    pub(crate) seq: RcvPos,
    /// SEG.WND in bytes.
    pub(crate) wnd: u64,
    /// Whether the segment has neither text nor FIN.
    pub(crate) is_bare: bool,
    /// When it arrived.
    pub(crate) at: Instant,
}

/// What an acknowledgement tells, before anything is decided.
#[derive(Clone, Copy, Debug)]
struct AckFacts {
    /// Positions acknowledged for the first time.
    newly_acked: u64,
    /// Positions in flight before.
    prior_flight: u64,
    /// A measurement, if the timed segment is among them.
    rtt: Option<Duration>,
    /// It is a duplicate in the sense of RFC 5681 section 2.
    is_duplicate: bool,
}

impl SendHalf {
    /// Takes an acceptable acknowledgement.
    pub(crate) fn acknowledge(
        &mut self,
        acked: &Acknowledgement,
        pool: &mut super::Pool,
        counters: &mut Counters,
    ) {
        let mut facts = self.facts(acked);
        facts.is_duplicate = facts.is_duplicate && !self.is_about_probe(acked.at);
        self.update_window(acked);
        if let Some(rtt) = facts.rtt {
            self.rtt.sample(rtt);
            self.timed = None;
        }
        if facts.newly_acked > 0 {
            self.path_acked(acked.ack, acked.at);
            self.advance_una(acked.ack, pool);
        }
        self.recover(&facts, counters);
        self.timer_after_ack(facts.newly_acked > 0, acked.at);
    }

    fn facts(&self, acked: &Acknowledgement) -> AckFacts {
        let timed = self.timed.filter(|(end, _)| acked.ack >= *end);
        AckFacts {
            newly_acked: acked.ack.since(self.una),
            prior_flight: self.flight(),
            rtt: timed.map(|(_, sent)| acked.at.since(sent)),
            //= RFC5681 2 duplicate
            is_duplicate: acked.ack == self.una
                && self.outstanding() > 0
                && acked.is_bare
                && acked.wnd == self.wnd
                // Answers to window probes look the same, and tell of no segment that left the network.
                && self.wnd > 0,
        }
    }

    fn update_window(&mut self, acked: &Acknowledgement) {
        // RFC 9293 looks at SEG.SEQ first. But an ACK that moves SND.UNA is newer than any before it, though it
        // may ride on a retransmission with an old SEG.SEQ; a window left as it was would then reach past what the
        // peer has offered, because it is counted from SND.UNA.
        let is_newer =
            acked.ack > self.una || self.wl1 < acked.seq || (self.wl1 == acked.seq && self.wl2 <= acked.ack);
        if is_newer {
            self.wl1 = acked.seq;
            self.wl2 = acked.ack;
            let was_zero = self.wnd == 0;
            self.wnd = acked.wnd;
            self.max_wnd = self.max_wnd.max(acked.wnd);
            if was_zero && self.wnd > 0 {
                self.window_opened();
            }
        }
    }

    /// The window was zero and is open again: what was probed with goes out afresh, in full segments.
    fn window_opened(&mut self) {
        self.lost.insert(self.una.get()..self.nxt.get());
    }

    fn advance_una(&mut self, ack: SndPos, pool: &mut super::Pool) {
        self.una = ack;
        self.lost.remove_below(ack.get());
        self.ring.advance(ack.min(self.end).get(), pool);
        self.urgent = self.urgent.filter(|mark| *mark > ack);
    }

    fn recover(&mut self, facts: &AckFacts, counters: &mut Counters) {
        if facts.newly_acked > 0 {
            self.recovery.progress();
            self.progress(facts);
        } else if facts.is_duplicate {
            self.duplicate(counters);
        }
    }

    fn progress(&mut self, facts: &AckFacts) {
        match self.recovery.phase() {
            Phase::Open => {
                let limited = self.was_cwnd_limited(facts.prior_flight);
                self.cc.on_ack(facts.newly_acked, limited);
            }
            Phase::Fast { recover } if self.una >= recover => {
                self.cc.on_exit_recovery(self.flight());
                self.recovery.end();
            }
            Phase::Fast { .. } => {
                // RFC 6582 section 3.2 step 3: the segment after a partial ACK is lost, too.
                self.mark_first_segment_lost();
                self.recovery.partial_ack();
                self.cc.on_partial_ack(facts.newly_acked);
            }
            Phase::Timeout { recover } => {
                // RFC 3465 section 2.3: one segment an ACK while the queue behind the loss is unknown.
                self.cc.on_ack(facts.newly_acked.min(self.mss), true);
                if self.una >= recover {
                    self.recovery.end();
                }
            }
        }
    }

    fn duplicate(&mut self, counters: &mut Counters) {
        if self.recovery.duplicate_ack(self.una, self.nxt) {
            counters.tcp_fast_retransmits += 1;
            self.cc.on_enter_recovery(self.outstanding());
            self.mark_first_segment_lost();
        } else if matches!(self.recovery.phase(), Phase::Fast { .. }) {
            self.cc.on_duplicate_ack();
        }
    }

    fn mark_first_segment_lost(&mut self) {
        let end = self.una.plus(self.mss).min(self.nxt);
        self.lost.insert(self.una.get()..end.get());
    }

    /// Whether the congestion window was what held us back (as Linux: in slow start, using half of it is
    /// enough, since the window doubles).
    fn was_cwnd_limited(&self, prior_flight: u64) -> bool {
        let cwnd = self.cc.cwnd();
        if cwnd < self.cc.ssthresh() { 2 * prior_flight > cwnd } else { prior_flight + self.mss > cwnd }
    }
}
