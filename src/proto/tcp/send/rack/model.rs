//! RFC 8985's pseudo-code, word for word, over a list of segments, beside which a sending half runs.
//!
//! What is lost, when the reordering timer and the probe's fire, how wide the reordering window is and what a probe tells
//! are compared after every step. When a recovery begins and ends, round-trip times and the retransmission timer are taken
//! from the half: they have models of their own. Where it departs from the RFC on purpose, this model says so.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::ops::Range;
use core::time::Duration;

use proptest::prelude::*;

use crate::proto::buf::pages::Pool;
use crate::proto::config::{Config, MtuProbing};
use crate::proto::counters::Counters;
use crate::proto::tcp::send::acked::Acknowledgement;
use crate::proto::tcp::send::plan::{Kind, TextPlan};
use crate::proto::tcp::send::timer::{Expiry, Patience};
use crate::proto::tcp::send::{SendHalf, SendStart};
use crate::proto::tcp::seq::{RcvPos, SndPos};
use crate::proto::tcp::timestamps::TimestampClock;
use crate::proto::wire::seq_nr::SeqNr;
use crate::time::Instant;

const MSS: u64 = 100;

/// Section 5.2. A departure: a segment is cut in two where an acknowledgement or another segment ends in it.
#[derive(Clone, Debug)]
struct Segment {
    start: u64,
    end_seq: u64,
    /// `None` is INFINITE_TS.
    xmit_ts: Option<Instant>,
    retransmitted: bool,
    lost: bool,
    sacked: bool,
}

/// Section 5.3.
#[derive(Debug)]
struct Model {
    segments: Vec<Segment>,
    una: u64,
    nxt: u64,
    written: u64,
    xmit_ts: Option<Instant>,
    end_seq: u64,
    rtt: Duration,
    fack: u64,
    reordering_seen: bool,
    dsack_round: Option<u64>,
    reo_wnd_mult: u32,
    reo_wnd_persist: u32,
    /// When the reordering timer fires.
    reordering_at: Option<Instant>,
    /// When the probe is due.
    probe_at: Option<Instant>,
    tlp_end_seq: Option<u64>,
    tlp_is_retrans: bool,
    /// No round trip was measured since the last probe.
    tlp_stale: bool,
    /// A probe is due and was not sent.
    tlp_due: bool,
    repaired: u64,
    /// What the recovery under way has to see acknowledged.
    recover: Option<u64>,
}

/// What the model takes from the half.
#[derive(Clone, Copy)]
struct Given {
    min_rtt: Duration,
    srtt: Duration,
    recovers: bool,
}

/// One acknowledgement.
struct Ack {
    ack: u64,
    blocks: Vec<Range<u64>>,
    /// When what its timestamp echoes was shown.
    echo: Option<Instant>,
}

fn sent_after(t1: Instant, seq1: u64, t2: Instant, seq2: u64) -> bool {
    t1 > t2 || (t1 == t2 && seq1 > seq2)
}

impl Model {
    fn new() -> Self {
        Model {
            segments: Vec::new(),
            una: 0,
            nxt: 0,
            written: 0,
            xmit_ts: None,
            end_seq: 0,
            rtt: Duration::ZERO,
            fack: 0,
            reordering_seen: false,
            dsack_round: None,
            reo_wnd_mult: 1,
            reo_wnd_persist: 0,
            reordering_at: None,
            probe_at: None,
            tlp_end_seq: None,
            tlp_is_retrans: false,
            tlp_stale: false,
            tlp_due: false,
            repaired: 0,
            recover: None,
        }
    }

    fn cut(&mut self, at: u64) {
        if let Some(index) = self.segments.iter().position(|seg| seg.start < at && at < seg.end_seq) {
            let mut second = self.segments[index].clone();
            self.segments[index].end_seq = at;
            second.start = at;
            self.segments.insert(index + 1, second);
        }
    }

    /// Section 6.1.
    fn transmit(&mut self, start: u64, end: u64, now: Instant) {
        self.cut(start);
        self.cut(end);
        let again = start < self.nxt;
        for seg in self.segments.iter_mut().filter(|seg| start <= seg.start && seg.end_seq <= end) {
            (seg.xmit_ts, seg.lost, seg.retransmitted) = (Some(now), false, true);
        }
        if end > self.nxt {
            // A departure: what is new in a segment that begins with what is not counts as sent again.
            self.segments.push(Segment {
                start: self.nxt,
                end_seq: end,
                xmit_ts: Some(now),
                retransmitted: again,
                lost: false,
                sacked: false,
            });
            self.nxt = end;
        }
    }

    /// RFC 2883 section 5: whether the first block is a D-SACK.
    fn dsack(ack: &Ack) -> Option<Range<u64>> {
        let first = ack.blocks.first()?;
        let inside = ack.blocks.get(1).is_some_and(|next| next.start <= first.start && first.end <= next.end);
        (first.end <= ack.ack || inside).then(|| first.clone())
    }

    /// Section 6.2, steps 1 to 3. Tells whether anything was acknowledged for the first time that measures a round trip.
    fn acknowledged(&mut self, ack: &Ack, min_rtt: Duration, clock: TimestampClock, now: Instant) -> bool {
        let skip = usize::from(Self::dsack(ack).is_some());
        for block in &ack.blocks {
            self.cut(block.start);
            self.cut(block.end);
        }
        self.cut(ack.ack);
        let is_here = |seg: &Segment| {
            let reported = |block: &Range<u64>| block.start <= seg.start && seg.end_seq <= block.end;
            seg.end_seq <= ack.ack || ack.blocks.iter().skip(skip).any(reported)
        };
        let mut new: Vec<Segment> =
            self.segments.iter().filter(|seg| !seg.sacked && is_here(seg)).cloned().collect();
        for seg in self.segments.iter_mut().filter(|seg| is_here(seg)) {
            (seg.sacked, seg.lost) = (true, false);
        }
        self.segments.retain(|seg| seg.end_seq > ack.ack);
        self.una = ack.ack;

        // Step 2, in the order of transmission.
        let mut measured = false;
        new.sort_by_key(|seg| (seg.xmit_ts, seg.end_seq));
        for seg in &new {
            // What was marked lost has no time.
            let Some(xmit_ts) = seg.xmit_ts else { continue };
            let rtt = now.since(xmit_ts);
            if seg.retransmitted {
                let older = |echo: Instant| (clock.at(echo).wrapping_sub(clock.at(xmit_ts)) as i32) < 0;
                // A departure: an echo is that of what was in order last, and says nothing of what is only reported.
                let echo = ack.echo.filter(|_| seg.end_seq <= ack.ack);
                if echo.is_some_and(older) || rtt < min_rtt {
                    continue;
                }
            } else {
                measured = true;
            }
            self.rtt = rtt;
            if self.xmit_ts.is_none_or(|newest| sent_after(xmit_ts, seg.end_seq, newest, self.end_seq)) {
                (self.xmit_ts, self.end_seq) = (Some(xmit_ts), seg.end_seq);
            }
        }
        // Step 3, in the order of positions.
        new.sort_by_key(|seg| seg.end_seq);
        for seg in &new {
            if seg.end_seq > self.fack {
                self.fack = seg.end_seq;
            } else if seg.end_seq < self.fack && !seg.retransmitted {
                self.reordering_seen = true;
            }
        }
        measured
    }

    /// The first half of RACK_update_reo_wnd(): a D-SACK. Tells whether the window grows.
    fn update_mult(&mut self, has_dsack: bool) -> bool {
        if self.dsack_round.is_some_and(|round| self.una >= round) {
            self.dsack_round = None;
        }
        let grows = self.dsack_round.is_none() && has_dsack;
        if grows {
            self.dsack_round = Some(self.nxt);
            self.reo_wnd_mult += 1;
            self.reo_wnd_persist = 16;
        }
        grows
    }

    /// Its `else`: a recovery ends. A departure: it counts from the next acknowledgement on.
    fn exit(&mut self) {
        self.reo_wnd_persist = self.reo_wnd_persist.saturating_sub(1);
        if self.reo_wnd_persist == 0 {
            self.reo_wnd_mult = 1;
        }
    }

    /// Its second half.
    fn reo_wnd(&self, given: Given) -> Duration {
        // A departure: segments are not counted, but reckoned from octets and stretches.
        let sacked = || self.segments.iter().filter(|seg| seg.sacked);
        let octets: u64 = sacked().map(|seg| seg.end_seq - seg.start).sum();
        let ends: BTreeSet<u64> = sacked().map(|seg| seg.end_seq).collect();
        let stretches = sacked().filter(|seg| !ends.contains(&seg.start)).count() as u64;
        let segs_sacked = stretches.max(octets / MSS);
        if !self.reordering_seen && (given.recovers || segs_sacked >= 3) {
            return Duration::ZERO;
        }
        (given.min_rtt * self.reo_wnd_mult / 4).min(given.srtt)
    }

    /// RACK_detect_loss_and_arm_timer(). Tells whether anything was lost.
    fn detect(&mut self, given: Given, now: Instant) -> bool {
        let reo_wnd = self.reo_wnd(given);
        let mut timeout = Duration::ZERO;
        let mut any = false;
        let Some(newest) = self.xmit_ts else { return false };
        for seg in self.segments.iter_mut().filter(|seg| !seg.sacked) {
            let Some(xmit_ts) = seg.xmit_ts else { continue };
            if sent_after(newest, self.end_seq, xmit_ts, seg.end_seq) {
                let at = xmit_ts + self.rtt + reo_wnd;
                if at <= now {
                    (seg.lost, seg.xmit_ts, any) = (true, None, true);
                } else {
                    timeout = timeout.max(at.since(now));
                }
            }
        }
        self.reordering_at = (timeout > Duration::ZERO).then(|| now + timeout);
        any
    }

    /// Section 6.3. A departure: the reordering window is that of the recovery that begins.
    fn timed_out(&mut self, given: Given, now: Instant) {
        (self.tlp_end_seq, self.tlp_due, self.reordering_at) = (None, false, None);
        let reo_wnd = self.reo_wnd(Given { recovers: true, ..given });
        // RFC 2018 section 8.
        let reneged = self.segments.first().is_some_and(|seg| seg.sacked);
        self.cut((self.una + MSS).min(self.nxt));
        for seg in &mut self.segments {
            let late = seg.xmit_ts.is_some_and(|sent| sent + self.rtt + reo_wnd <= now);
            seg.sacked &= !reneged;
            // A departure: what of that comes again tells nothing of an order.
            seg.retransmitted |= reneged;
            // A departure: the first segment is as long as one can be.
            if !seg.sacked && (seg.start < self.una + MSS || late || reneged) {
                (seg.lost, seg.xmit_ts) = (true, None);
            }
        }
    }

    /// What was done to recover was needless: what is believed lost is in flight, sent now. (RFC 4015 leaves open when.)
    fn undone(&mut self, now: Instant) {
        for seg in self.segments.iter_mut().filter(|seg| seg.lost) {
            (seg.lost, seg.xmit_ts, seg.retransmitted) = (false, Some(now), true);
        }
        self.reordering_seen = true;
    }

    /// Section 7.4.2.
    fn tlp_acknowledged(&mut self, dsack: Option<Range<u64>>, bare_duplicate: bool) {
        let Some(end_seq) = self.tlp_end_seq.filter(|end_seq| self.una >= *end_seq) else { return };
        if !self.tlp_is_retrans || dsack.is_some_and(|block| block.end == end_seq) {
            self.tlp_end_seq = None;
        } else if self.una > end_seq {
            self.tlp_end_seq = None;
            self.repaired += 1;
        } else if bare_duplicate {
            self.tlp_end_seq = None;
        }
    }

    /// Section 7.2. A departure: nor while anything is believed lost, nor if none may be sent.
    fn may_probe(&self, recovers: bool) -> bool {
        !recovers
            && self.segments.iter().all(|seg| !seg.sacked && !seg.lost)
            && self.tlp_end_seq.is_none()
            && !self.tlp_stale
    }

    fn lost(&self) -> Vec<u64> {
        self.segments.iter().filter(|seg| seg.lost).flat_map(|seg| seg.start..seg.end_seq).collect()
    }

    fn sacked(&self) -> Vec<u64> {
        self.segments.iter().filter(|seg| seg.sacked).flat_map(|seg| seg.start..seg.end_seq).collect()
    }

    /// PTO.
    fn schedule_probe(&mut self, given: Given, rto_at: Instant, now: Instant) {
        if self.may_probe(given.recovers) && self.reordering_at.is_none() && self.una < self.nxt {
            // Departures: TLP.max_ack_delay, and time for a slow machine where more than one is in flight.
            let slack = if self.nxt - self.una <= MSS { 200 } else { 2 };
            let pto = 2 * given.srtt + Duration::from_millis(slack);
            self.probe_at = Some((now + pto).min(rto_at));
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// So many full segments are written, and of all that may go so many are sent, or super-segments of so many octets at most.
    Send {
        write: u64,
        count: usize,
        most: u64,
    },
    /// So many of what is in flight, in thousandths, are acknowledged, and stretches of it reported, each by its start in
    /// thousandths and its length in half segments.
    Ack {
        share: u64,
        blocks: Vec<(u64, u64)>,
        dsack: Option<u64>,
        echo: Option<u64>,
    },
    Wait(u64),
    WaitForTimer,
}

fn op() -> impl Strategy<Value = Op> {
    let share = prop_oneof![6 => Just(0_u64), 3 => 0_u64..400, 1 => 0_u64..1000, 1 => Just(1000)];
    let blocks = prop::collection::vec((0_u64..1000, 1_u64..12), 0..4);
    let dsack = prop::option::weighted(0.1, 0_u64..2000);
    let echo = prop::option::weighted(0.3, 0_u64..300);
    prop_oneof![
        5 => (0_u64..14, 0_usize..14, 0_u64..1500)
            .prop_map(|(write, count, most)| Op::Send { write, count, most }),
        8 => (share, blocks, dsack, echo)
            .prop_map(|(share, blocks, dsack, echo)| Op::Ack { share, blocks, dsack, echo }),
        4 => (0_u64..60).prop_map(Op::Wait),
        1 => (60_u64..400).prop_map(Op::Wait),
        2 => Just(Op::WaitForTimer),
    ]
}

struct Pair {
    half: SendHalf,
    model: Model,
    base: SndPos,
    pool: Pool,
    counters: Counters,
    now: Instant,
    clock: TimestampClock,
}

fn patience() -> Patience {
    Patience { r1: 3, r2: Duration::MAX, user_timeout: None, orphan: false }
}

impl Pair {
    fn new() -> Self {
        let config = Config {
            send_buffer: 60_000,
            sack_ranges: 1_000,
            mtu_probing: MtuProbing::Off,
            ..Config::default()
        };
        let now = Instant::from_millis(5_000);
        let syn = SndPos::of_syn(SeqNr(7));
        let clock = TimestampClock::ahead_by(0x1234_5678);
        let start = SendStart {
            syn,
            mss: MSS,
            wnd: 60_000,
            scale: 0,
            wl1: RcvPos::at(1),
            rtt: Some(40_000_000),
            sack: true,
            clock: Some(clock),
        };
        Pair {
            half: SendHalf::new(&config, &start, now),
            model: Model::new(),
            base: syn.plus(1),
            pool: Pool::new(64),
            counters: Counters::default(),
            now,
            clock,
        }
    }

    fn given(&self, recovers: bool) -> Given {
        let rtt = self.half.rtt();
        Given { min_rtt: rtt.min_rtt().unwrap(), srtt: rtt.srtt().unwrap(), recovers }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Send { write, count, most } => self.send(*write, *count, *most),
            Op::Ack { share, blocks, dsack, echo } => self.report(*share, blocks, *dsack, *echo),
            Op::Wait(ms) => self.wait_until(self.now + Duration::from_millis(*ms)),
            Op::WaitForTimer => {
                if let Some(at) = self.half.next_deadline(&patience()) {
                    self.wait_until(at);
                }
            }
        }
    }

    fn send(&mut self, write: u64, count: usize, most: u64) {
        let text = alloc::vec![0; (write * MSS) as usize];
        self.model.written += self.half.write(&text, &mut self.pool, self.now) as u64;
        self.half.timer_refresh(self.now);
        for _ in 0..count {
            let Some(plan) = self.half.plan(true, 0, most) else { return };
            self.check_probe(&plan);
            self.half.commit(&plan, self.now);
            for piece in plan.cut() {
                let (start, end) = (piece.start.since(self.base), piece.end().since(self.base));
                self.model.transmit(start, end, self.now);
            }
            if core::mem::take(&mut self.model.tlp_due) {
                self.model.tlp_is_retrans = plan.kind == Kind::LossProbe;
                (self.model.tlp_end_seq, self.model.tlp_stale) = (Some(self.model.nxt), true);
            } else if plan.kind == Kind::New {
                let given = self.given(self.half.in_recovery());
                self.model.schedule_probe(given, self.half.timer.early().2, self.now);
            }
            self.check();
        }
    }

    /// Section 7.3.
    fn check_probe(&self, plan: &TextPlan) {
        let (start, end) = (plan.start.since(self.base), plan.end().since(self.base));
        if !self.model.tlp_due {
            assert_ne!(plan.kind, Kind::LossProbe);
        } else if self.model.written > self.model.nxt {
            assert_eq!((plan.kind, start), (Kind::New, self.model.nxt));
        } else {
            assert_eq!((plan.kind, end), (Kind::LossProbe, self.model.nxt));
        }
    }

    fn report(&mut self, share: u64, blocks: &[(u64, u64)], dsack: Option<u64>, echo: Option<u64>) {
        // On the border of a segment, mostly: half ones are cut.
        let half = |at: u64| at - at % (MSS / 2);
        let flight = self.model.nxt - self.model.una;
        let ack = self.model.una + half(flight * share / 1000);
        let above = self.model.nxt - ack;
        let mut ranges: Vec<Range<u64>> = Vec::new();
        if let Some(at) = dsack {
            let start = half(ack * at / 2000);
            ranges.extend((start < ack).then(|| start..(start + MSS).min(ack)));
        }
        for (at, len) in blocks {
            let start = ack + half(above * at / 1000);
            let end = (start + len * MSS / 2).min(self.model.nxt);
            ranges.extend((start < end).then_some(start..end));
        }
        let echo = echo.map(|ms| Instant::from_millis(self.now.as_micros() / 1000 - ms));
        self.acknowledge(&Ack { ack, blocks: ranges, echo });
    }

    fn acknowledge(&mut self, ack: &Ack) {
        let place = |at: u64| self.base.plus(at).get();
        let said = Acknowledgement {
            ack: self.base.plus(ack.ack),
            seq: RcvPos::at(1),
            wnd: 60_000,
            is_bare: true,
            at: self.now,
            sack: ack.blocks.iter().map(|block| place(block.start)..place(block.end)).collect(),
            echo: ack.echo.map(|at| self.clock.at(at)),
        };
        let (recovered, undone) = (self.half.in_recovery(), self.half.undone());
        let (una, sacked) = (self.model.una, self.model.sacked());
        // A departure: what comes too early to be for the later copy is known by the round trips before this one.
        let min_rtt = self.given(false).min_rtt;
        self.half.acknowledge(&said, &mut self.pool, &mut self.counters);
        if self.model.acknowledged(ack, min_rtt, self.clock, self.now) {
            self.model.tlp_stale = false;
        }
        let progress = self.model.una > una;
        let bare_duplicate = !progress && una < self.model.nxt && self.model.sacked() == sacked;
        let stops = recovered && self.half.undone() > undone;
        if stops {
            self.model.undone(self.now);
            self.model.exit();
            self.model.recover = None;
        }
        let dsack = Model::dsack(ack);
        let grows = self.model.update_mult(dsack.is_some());
        let recovers = recovered && !stops;
        let newly_lost = self.model.detect(self.given(recovers), self.now);
        if self.model.recover.is_some_and(|recover| self.model.una >= recover) {
            self.model.recover = None;
            if !grows {
                self.model.exit();
            }
        }
        if !recovers && !newly_lost {
            self.model.tlp_acknowledged(dsack, bare_duplicate);
        }
        assert!(!newly_lost || self.half.in_recovery(), "what is lost begins a recovery");
        self.recovery_began();
        self.model.tlp_due = false;
        let given = self.given(self.half.in_recovery());
        if !self.model.may_probe(given.recovers) {
            self.model.probe_at = None;
        } else if progress {
            self.model.schedule_probe(given, self.half.timer.early().2, self.now);
        }
        if self.model.una == self.model.nxt {
            (self.model.probe_at, self.model.reordering_at) = (None, None);
        }
    }

    fn recovery_began(&mut self) {
        if self.half.in_recovery() && self.model.recover.is_none() {
            self.model.recover = Some(self.model.nxt);
            self.model.tlp_end_seq = None;
        }
        assert_eq!(self.half.in_recovery(), self.model.recover.is_some());
    }

    fn wait_until(&mut self, at: Instant) {
        self.now = at;
        let given = self.given(self.half.in_recovery());
        let expiry = self.half.timer_expired(&patience(), &mut self.counters, at);
        let rto_at = self.half.timer.early().2;
        match expiry {
            None | Some(Expiry::GiveUp) => {}
            Some(Expiry::GoOn) => {
                if self.model.reordering_at.is_some_and(|due| due <= at) {
                    self.model.detect(given, at);
                    self.recovery_began();
                } else if self.model.probe_at.take().is_some_and(|due| due <= at) {
                    self.model.tlp_due = true;
                    assert!(rto_at >= at + self.half.rtt().rto(), "the time-out runs anew");
                } else {
                    assert_eq!(self.model.una, self.model.nxt, "only the override timer is left");
                }
            }
            Some(Expiry::Retransmit | Expiry::Trouble) => {
                self.model.probe_at = None;
                self.model.timed_out(given, at);
                self.model.recover = None;
                self.recovery_began();
            }
        }
    }

    /// Compares all that can be seen.
    fn check(&mut self) {
        self.half.check_invariants();
        let place = |range: Range<u64>| (range.start - self.base.get())..(range.end - self.base.get());
        let lost: Vec<u64> = self.half.lost.iter().flat_map(place).collect();
        assert_eq!(lost, self.model.lost(), "lost");
        let selective = self.half.selective.as_ref().unwrap();
        let sacked: Vec<u64> = selective.board.sacked().iter().flat_map(place).collect();
        let here: Vec<u64> = self.model.sacked();
        assert_eq!(sacked, here, "sacked");
        let given = self.given(self.half.in_recovery());
        let reo_wnd = selective.window(&self.half.rtt, given.recovers, MSS);
        assert_eq!(reo_wnd, self.model.reo_wnd(given), "reo_wnd");
        assert!(reo_wnd <= given.srtt);
        let (probe, reordering, _) = self.half.timer.early();
        assert_eq!((probe, reordering), (self.model.probe_at, self.model.reordering_at), "timers");
        assert_eq!(selective.probe.may_probe(), self.model.tlp_end_seq.is_none() && !self.model.tlp_stale);
        assert_eq!(self.counters.tcp_loss_probes_repaired, self.model.repaired);
        assert_eq!(self.half.timer.loss_probe_is_due(), self.model.tlp_due);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    //= RFC8985 6.2 most recent, 6.2 reordering, 3.3.2 zero, 6.2 lost, 6.3 first
    #[test]
    fn losses_are_found_as_the_pseudo_code_says(ops in prop::collection::vec(op(), 1..80)) {
        let mut pair = Pair::new();
        for op in &ops {
            pair.apply(op);
            pair.check();
        }
        pair.half.clear(&mut pair.pool);
    }
}
