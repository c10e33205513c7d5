//! An acknowledgement has come: facts first, then decisions.
//!
//! The acknowledgement is turned into one [`AckFacts`]; loss recovery reads it, then congestion control.
//! RFC 9293 section 3.10.7.4 (fifth check), RFC 5681, 6298. How losses are recovered stands in `recovery`.

use core::ops::Range;

use super::SendHalf;
use super::recovery::Phase;
use super::scoreboard::{Report, SackBlocks};
use super::selective::{Acknowledged, Selective};
use crate::proto::counters::Counters;
use crate::proto::tcp::congestion::Progress;
use crate::proto::tcp::seq::{RcvPos, SndPos};
use crate::time::{Instant, nanos};

/// What the ACK field, the window and the options of an acceptable segment say.
#[derive(Clone, Debug)]
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
    /// Its SACK blocks, unwrapped.
    pub(crate) sack: SackBlocks,
    /// TSecr, where timestamps are in use.
    pub(crate) echo: Option<u32>,
}

/// What an acknowledgement tells, before anything is decided.
#[derive(Clone, Debug)]
pub(super) struct AckFacts {
    /// When it arrived.
    pub(super) at: Instant,
    /// Positions acknowledged for the first time.
    pub(super) newly_acked: u64,
    /// Positions that arrived as far as we know only now: those, and what is reported beyond them.
    pub(super) delivered: u64,
    /// Positions in flight before.
    pub(super) prior_flight: u64,
    /// A measurement in nanoseconds, if the timed segment is among them.
    rtt: Option<u64>,
    /// The shortest round trip of what arrived and was sent once, with SACK; in nanoseconds.
    arrived_after: Option<u64>,
    /// It is a duplicate in the sense of RFC 5681 section 2.
    pub(super) is_duplicate: bool,
    /// What it reports to have come twice.
    pub(super) duplicate: Option<Range<u64>>,
    /// TSecr.
    pub(super) echo: Option<u32>,
}

impl SendHalf {
    /// Takes an acceptable acknowledgement.
    pub(crate) fn acknowledge(
        &mut self,
        acked: &Acknowledgement,
        pool: &mut super::Pool,
        counters: &mut Counters,
    ) {
        let advances = acked.ack > self.una;
        if self.is_usual(acked, advances) {
            self.take_usual_news(acked, pool, counters);
        } else if self.is_no_news(acked) {
            self.update_window(acked.ack, acked.seq, acked.wnd);
        } else {
            self.take_news(acked, pool, counters);
        }
        self.timer_after_ack(advances, acked.at);
    }

    /// Whether all that was to be sent is acknowledged, so that nothing is waited for: what comes without SACK blocks tells a window
    /// and nothing else.
    #[inline]
    pub(crate) fn is_at_rest(&self) -> bool {
        !self.is_unfinished() && self.timer.is_off() && !self.in_recovery()
    }

    /// As [`acknowledge`](Self::acknowledge), while it is [at rest](Self::is_at_rest).
    #[inline]
    pub(crate) fn hear_window(&mut self, seq: RcvPos, wnd: u64) {
        debug_assert!(self.timer.rests());
        self.update_window(self.una, seq, wnd);
    }

    /// Whether `ack` acknowledges our FIN, which was sent once and is all that was on its way. With SACK, as
    /// [most](Self::is_usual).
    pub(crate) fn is_fin_alone(&self, ack: SndPos) -> bool {
        let was_sent_once =
            |selective: &Selective| selective.all_was_sent_once(&self.lost) && selective.probe.may_probe();
        self.una == self.end
            && ack > self.end
            && !self.in_recovery()
            // So little lets no window grow.
            && self.cc.cwnd() > self.mss
            && self.selective.as_ref().is_some_and(was_sent_once)
    }

    /// As [`acknowledge`](Self::acknowledge), if our FIN [was alone](Self::is_fin_alone) and is acknowledged: nothing will be sent
    /// any more, and nobody asks how long it took or what the window would be.
    pub(crate) fn finish(&mut self) {
        self.una = self.end_with_fin();
    }

    /// The acknowledgement of our SYN, which stands at `seq`, tells a window of `wnd` bytes: nothing has been sent since.
    pub(crate) fn first_window(&mut self, seq: RcvPos, wnd: u64) {
        self.wl1 = seq;
        self.wl2 = self.una;
        self.wnd = wnd;
        self.max_wnd = self.max_wnd.max(wnd);
    }

    /// As [`acknowledge`](Self::acknowledge), with all questions asked, also of a usual one.
    #[cfg(test)]
    pub(crate) fn acknowledge_the_long_way(
        &mut self,
        acked: &Acknowledgement,
        pool: &mut super::Pool,
        counters: &mut Counters,
    ) {
        let advances = acked.ack > self.una;
        self.take_news(acked, pool, counters);
        self.follow_mtu();
        self.timer_after_ack(advances, acked.at);
    }

    /// Whether it only acknowledges what was sent once and in order, with SACK and while no loss is being recovered from: most
    /// do, and then most questions need not be asked.
    fn is_usual(&self, acked: &Acknowledgement, advances: bool) -> bool {
        advances
            && acked.sack.is_empty()
            // When it opens again, what is on its way may be taken for lost.
            && self.wnd > 0
            && !self.in_recovery()
            && self.selective.as_ref().is_some_and(|selective| selective.all_was_sent_once(&self.lost))
    }

    /// Takes one that [is](Self::is_usual).
    // All that it takes is inlined: it is the way of nearly all acknowledgements, and each call of it would cost as much again.
    fn take_usual_news(&mut self, acked: &Acknowledgement, pool: &mut super::Pool, counters: &mut Counters) {
        let newly_acked = acked.ack.since(self.una);
        let mut facts = AckFacts {
            at: acked.at,
            newly_acked,
            delivered: newly_acked,
            prior_flight: self.outstanding(),
            rtt: self.timed_until(acked),
            arrived_after: None,
            is_duplicate: false,
            duplicate: None,
            echo: acked.echo,
        };
        self.update_window(acked.ack, acked.seq, acked.wnd);
        if let Some(selective) = &mut self.selective {
            facts.arrived_after = selective.arrive_in_order(self.una..acked.ack, acked.at);
        }
        self.measure(&facts);
        self.path_acked(acked.ack, acked.at);
        self.advance_una(acked.ack, pool);
        self.recover_usually(&facts, counters);
    }

    #[inline(never)]
    fn take_news(&mut self, acked: &Acknowledgement, pool: &mut super::Pool, counters: &mut Counters) {
        let report = match &self.selective {
            Some(_) => Report::read(&acked.sack, acked.ack, self.first, self.nxt),
            None => Report::default(),
        };
        let mut facts = self.facts(acked, &report);
        // With SACK, whatever detects losses asks.
        facts.is_duplicate =
            facts.is_duplicate && (self.selective.is_some() || !self.is_about_probe(acked.at));
        self.update_window(acked.ack, acked.seq, acked.wnd);
        self.arrive(acked, &report, &mut facts);
        self.measure(&facts);
        if facts.newly_acked > 0 {
            self.path_acked(acked.ack, acked.at);
            self.advance_una(acked.ack, pool);
        }
        self.recover(&facts, counters);
    }

    /// Whether all was known to have arrived that ever was sent: nothing can be measured, lost or learnt, as long as no loss
    /// is being recovered from and nothing is said to have come twice. So are all acknowledgements of a peer that is only
    /// sending.
    fn is_no_news(&self, acked: &Acknowledgement) -> bool {
        self.una == self.nxt && acked.sack.is_empty() && !self.in_recovery()
    }

    fn facts(&self, acked: &Acknowledgement, report: &Report) -> AckFacts {
        let newly_acked = acked.ack.since(self.una);
        AckFacts {
            at: acked.at,
            newly_acked,
            delivered: newly_acked,
            prior_flight: self.flight(),
            rtt: self.timed_until(acked),
            arrived_after: None,
            //= RFC5681 2 duplicate
            is_duplicate: acked.ack == self.una
                && self.outstanding() > 0
                && acked.is_bare
                && acked.wnd == self.wnd
                // Answers to window probes look the same, and tell of no segment that left the network.
                && self.wnd > 0,
            duplicate: report.duplicate.clone(),
            echo: acked.echo,
        }
    }

    /// The round trip of the segment that is timed, if it is acknowledged.
    fn timed_until(&self, acked: &Acknowledgement) -> Option<u64> {
        self.timed.filter(|(end, _)| acked.ack >= *end).map(|(_, sent)| acked.at.nanos_since(sent))
    }

    /// Takes over what has arrived, with SACK.
    fn arrive(&mut self, acked: &Acknowledgement, report: &Report, facts: &mut AckFacts) {
        let Some(selective) = &mut self.selective else { return };
        let said = Acknowledged {
            una: self.una,
            ack: acked.ack,
            report,
            now: acked.at,
            echo: self.clock.zip(acked.echo),
        };
        let arrivals = selective.arrive(&said, &mut self.lost, &self.rtt);
        facts.delivered = arrivals.delivered;
        facts.arrived_after = arrivals.rtt;
    }

    #[inline(always)]
    fn measure(&mut self, facts: &AckFacts) {
        if let Some(rtt) = facts.arrived_after {
            self.rtt.observe(rtt, facts.at);
            self.selective.iter_mut().for_each(|selective| selective.probe.measured());
        }
        if let Some(rtt) = facts.rtt {
            self.rtt.sample_beside(facts.arrived_after, rtt, facts.at);
            self.timed = None;
        } else if facts.newly_acked > 0
            && (self.rtt.is_backed_off() || self.in_recovery())
            && let Some(rtt) = self.echoed(facts)
        {
            //= RFC7323 4.1 RTTM: which transmission is acknowledged is no question with timestamps.
            self.rtt.sample_nanos(rtt, facts.at);
        }
    }

    /// The round trip that an echoed timestamp tells of, to a millisecond but in nanoseconds; none that is longer than the
    /// connection is old.
    fn echoed(&self, facts: &AckFacts) -> Option<u64> {
        let (clock, echo) = self.clock.zip(facts.echo)?;
        clock.since(echo, facts.at).map(nanos).filter(|rtt| *rtt <= facts.at.nanos_since(self.opened))
    }

    #[inline(always)]
    fn update_window(&mut self, ack: SndPos, seq: RcvPos, wnd: u64) {
        // RFC 9293 looks at SEG.SEQ first. But an ACK that moves SND.UNA is newer than any before it, though it
        // may ride on a retransmission with an old SEG.SEQ; a window left as it was would then reach past what the
        // peer has offered, because it is counted from SND.UNA.
        let is_newer = ack > self.una || self.wl1 < seq || (self.wl1 == seq && self.wl2 <= ack);
        if is_newer {
            self.wl1 = seq;
            self.wl2 = ack;
            let was_zero = self.wnd == 0;
            self.wnd = wnd;
            self.max_wnd = self.max_wnd.max(wnd);
            if was_zero && self.wnd > 0 && self.timer.has_probed() {
                self.window_opened();
            }
        }
    }

    /// The window was zero, for a retransmission time-out at least, and is open again: what was probed with goes out afresh,
    /// in full segments. (What is on its way for less than that is not lost yet: a peer that shuts its window for a moment,
    /// again and again, would have us send everything as often.)
    fn window_opened(&mut self) {
        self.lose(self.una.get()..self.nxt.get());
    }

    fn advance_una(&mut self, ack: SndPos, pool: &mut super::Pool) {
        //= RFC2018 3 advisory, 8 kept: what was reported moves nothing.
        self.una = ack;
        self.lost.remove_below(ack.get());
        self.text.advance(ack.min(self.end).get(), pool);
        if self.urgent.is_some_and(|mark| mark <= ack) {
            self.urgent = None;
        }
    }

    /// Outside of recovery the window grows.
    pub(super) fn grow(&mut self, facts: &AckFacts) {
        match self.recovery.phase() {
            Phase::Open => self.grow_unhindered(facts),
            Phase::Fast { .. } => {}
            // RFC 3465 section 2.3: one segment an ACK while the queue behind the loss is unknown.
            Phase::Timeout { .. } => self.cc.on_ack_after_timeout(facts.delivered.min(self.mss)),
        }
    }

    /// The same where it is known that none is under way.
    #[inline(always)]
    pub(super) fn grow_unhindered(&mut self, facts: &AckFacts) {
        let progress = Progress {
            at: facts.at,
            acked: facts.newly_acked,
            cwnd_limited: self.was_cwnd_limited(facts.prior_flight),
            una: self.una.get(),
            nxt: self.nxt.get(),
            rtt: facts.arrived_after.or(facts.rtt).or_else(|| self.echoed(facts)),
            min_rtt: self.rtt.min_nanos(),
        };
        self.cc.on_ack(&progress);
    }

    /// Whether the congestion window was what held us back (as Linux: in slow start, using half of it is
    /// enough, since the window doubles).
    fn was_cwnd_limited(&self, prior_flight: u64) -> bool {
        let cwnd = self.cc.cwnd();
        if cwnd < self.cc.ssthresh() { 2 * prior_flight > cwnd } else { prior_flight + self.mss > cwnd }
    }
}
