//! The sending half: octets are queued, in flight, lost or acknowledged, one by one. `variables` has the model, here it runs
//! beside the half.

mod variables;

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::{octet, octets};
use crate::proto::buf::pages::Pool;
use crate::proto::config::{Config, MtuProbing};
use crate::proto::counters::Counters;
use crate::proto::tcp::send::acked::Acknowledgement;
use crate::proto::tcp::send::path_probe::Limits;
use crate::proto::tcp::send::plan::{Kind, TextPlan};
use crate::proto::tcp::send::timer::Patience;
use crate::proto::tcp::send::{SendHalf, SendStart};
use crate::proto::tcp::seq::{RcvPos, SndPos};
use crate::proto::wire::seq_nr::SeqNr;
use crate::time::{Instant, nanos};
use variables::Snd;

const CAPACITY: u64 = 2400;
const R1: u32 = 3;
const OVERRIDE: Duration = Duration::from_millis(170);
const RTO_MIN: f64 = 0.2;
const RTO_MAX: f64 = 120.0;
/// How often in a flight "too big" is acted upon at once.
const QUICK: u32 = 4;
/// Of each datagram so much is not text: nothing here, since sizes are those of text.
const HEADERS: u64 = 0;
/// The peer's numbers: where its segments stand does not matter, only whether one is newer than another.
const PEER: u64 = 1 << 40;

#[derive(Clone, Debug)]
enum Op {
    Write {
        len: u64,
        urgent: bool,
    },
    Close,
    Mss(u64),
    /// A router says that larger segments don't get through.
    TooBig(u64),
    /// So many segments, or super-segments of so many octets at most, of which the device takes the last only if it is not busy.
    Send {
        count: usize,
        most: u64,
        busy: bool,
        nodelay: bool,
    },
    /// Of what is in flight, so many thousandths are acknowledged; the segment's place after the last that told a window.
    Ack {
        share: u64,
        seq: i64,
        wnd: Option<u64>,
        bare: bool,
    },
    /// The same acknowledgement again and again.
    Duplicates(u8),
    /// All that was in flight before the last of those.
    AckRecovered,
    /// A wide window, and all of it that can be is in flight.
    Fill,
    /// All that can be sent is, and is acknowledged.
    Settle,
    Wait(u64),
    /// Until the timer fires.
    WaitForTimer,
}

/// Round sizes, so that borders are met exactly.
fn round(max: u64) -> impl Strategy<Value = u64> {
    (1..=max).prop_map(|n| 50 * n)
}

/// How much a super-segment may hold.
fn most() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0_u64), 1_u64..3000]
}

fn op() -> impl Strategy<Value = Op> {
    // `None`: as it was.
    let wnd = prop_oneof![
        6 => Just(None),
        3 => Just(Some(0)),
        1 => Just(Some(1)),
        2 => (2_u64..100).prop_map(Some),
        3 => round(30).prop_map(Some),
        3 => (100_u64..3000).prop_map(Some),
        1 => (3000_u64..70_000).prop_map(Some),
    ];
    let share = prop_oneof![2 => Just(0_u64), 3 => Just(1000), 4 => 0_u64..=1000];
    let len = || prop_oneof![1_u64..100, round(6), 1_u64..1000, 1000_u64..2500];
    let send = || (1_usize..12, most(), prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    prop_oneof![
        8 => (len(), prop::bool::weighted(0.15)).prop_map(|(len, urgent)| Op::Write { len, urgent }),
        1 => (0..3).prop_map(|n| if n == 0 { Op::Close } else { Op::Wait(1) }),
        2 => prop_oneof![20_u64..300, round(6)].prop_map(Op::Mss),
        2 => prop_oneof![20_u64..300, round(6)].prop_map(Op::TooBig),
        12 => send().prop_map(|(count, most, busy, nodelay)| Op::Send { count, most, busy, nodelay }),
        10 => (share, -2_i64..4, wnd, any::<bool>())
            .prop_map(|(share, seq, wnd, bare)| Op::Ack { share, seq, wnd, bare }),
        5 => (1_u8..6).prop_map(Op::Duplicates),
        2 => Just(Op::AckRecovered),
        2 => Just(Op::Fill),
        3 => Just(Op::Settle),
        3 => (0_u64..1500).prop_map(Op::Wait),
        4 => Just(Op::WaitForTimer),
    ]
}

/// What happens in and around fast recovery: many segments in flight, of which the first are lost.
fn recovery_op() -> impl Strategy<Value = Op> {
    let share = prop_oneof![3 => 1_u64..400, 1 => 0_u64..1000];
    let send = |busy| move |(count, most)| Op::Send { count, most, busy, nodelay: true };
    prop_oneof![
        3 => Just(Op::Fill),
        6 => (3_u8..8).prop_map(Op::Duplicates),
        6 => (1_usize..3, most()).prop_map(send(false)),
        1 => (1_usize..3, most()).prop_map(send(true)),
        6 => share.prop_map(|share| Op::Ack { share, seq: 0, wnd: None, bare: true }),
        3 => Just(Op::AckRecovered),
        1 => (20_u64..120).prop_map(Op::Mss),
        1 => (20_u64..120).prop_map(Op::TooBig),
        1 => (0_u64..2000).prop_map(|wnd| Op::Ack { share: 0, seq: 1, wnd: Some(wnd), bare: true }),
        1 => Just(Op::WaitForTimer),
    ]
}

/// What somebody does who types, now and then in haste.
fn typing_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1_u64..10, prop::bool::weighted(0.3)).prop_map(|(len, urgent)| Op::Write { len, urgent }),
        4 => (1_usize..3, most())
            .prop_map(|(count, most)| Op::Send { count, most, busy: false, nodelay: false }),
        3 => Just(Op::Settle),
        2 => (0_u64..1000).prop_map(|share| Op::Ack { share, seq: 0, wnd: None, bare: true }),
    ]
}

/// The half beside the model.
struct Pair {
    half: SendHalf,
    snd: Snd,
    base: SndPos,
    pool: Pool,
    counters: Counters,
    now: Instant,
    /// What has gone out, octet by octet.
    wire: Vec<Option<u8>>,
    fins: u64,
    /// No window is as wide as this.
    widest: u64,
    /// SND.NXT when duplicates came last.
    before_duplicates: u64,
}

impl Pair {
    fn new(iss: u32, mss: u64, wnd: u64, widest: u64) -> Self {
        let config = Config {
            send_buffer: CAPACITY as usize,
            sws_override: OVERRIDE,
            rto_min: Duration::from_secs_f64(RTO_MIN),
            rto_max: Duration::from_secs_f64(RTO_MAX),
            // What the search for an MTU does has a model of its own.
            mtu_probing: MtuProbing::Off,
            ..Config::default()
        };
        let now = Instant::from_millis(5000);
        let syn = SndPos::of_syn(SeqNr(iss));
        let rtt = Duration::from_millis(90);
        let start = SendStart {
            syn,
            mss,
            wnd,
            scale: 0,
            wl1: RcvPos::at(PEER),
            rtt: Some(nanos(rtt)),
            sack: false,
            clock: None,
        };
        Pair {
            half: SendHalf::new(&config, &start, now),
            snd: Snd::new(mss, wnd, rtt.as_secs_f64()),
            base: syn.plus(1),
            pool: Pool::new(64),
            counters: Counters::default(),
            now,
            wire: vec![],
            fins: 0,
            widest,
            before_duplicates: 0,
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Write { .. } if self.snd.closed => {}
            Op::Write { len, urgent } => {
                let from = self.snd.written;
                let taken = self.half.write(&octets(from, from + len), &mut self.pool, self.now);
                assert_eq!(taken as u64, self.snd.write(len));
                if urgent && taken > 0 {
                    self.half.mark_urgent();
                    self.snd.urgent = Some(self.snd.written);
                }
                self.refresh();
            }
            Op::Close => {
                self.half.close();
                self.snd.closed = true;
                self.refresh();
            }
            Op::Mss(mss) => self.follow(mss),
            Op::TooBig(mss) => {
                self.follow(mss.min(self.snd.mss));
                assert_eq!(self.half.too_big(mss, mss, self.now), self.snd.too_big(mss, self.now));
            }
            Op::Send { count, most, busy, nodelay } => self.send(count, most, busy, nodelay),
            Op::Ack { share, seq, wnd, bare } => {
                let ack = self.snd.una + (self.snd.nxt - self.snd.una) * share / 1000;
                let wnd = wnd.map_or(self.snd.wnd, |wnd| wnd % self.widest);
                self.acknowledge(ack, self.snd.wl1.saturating_add_signed(seq), wnd, bare);
            }
            Op::Duplicates(count) => {
                self.before_duplicates = self.snd.nxt;
                for _ in 0..count {
                    self.acknowledge(self.snd.una, self.snd.wl1, self.snd.wnd, true);
                    self.check();
                }
            }
            Op::AckRecovered => {
                let ack = self.before_duplicates.max(self.snd.una);
                self.acknowledge(ack, self.snd.wl1, self.snd.wnd, true);
            }
            Op::Fill => {
                self.acknowledge(self.snd.una, self.snd.wl1 + 1, 2000 % self.widest, true);
                self.apply(&Op::Write { len: 1200, urgent: false });
                self.send(usize::MAX, 500, false, true);
            }
            Op::Settle => {
                self.send(usize::MAX, 500, false, true);
                self.acknowledge(self.snd.nxt, self.snd.wl1, self.snd.wnd, true);
            }
            Op::Wait(ms) => self.wait_until(self.now + Duration::from_millis(ms)),
            Op::WaitForTimer => {
                if let Some(at) = self.half.next_deadline(&patience()) {
                    // Not a nanosecond earlier.
                    let before = Instant::from_nanos(at.as_nanos() - 1);
                    if before > self.now {
                        self.wait_until(before);
                    }
                    self.wait_until(at.max(self.now));
                }
            }
        }
    }

    /// The path's MTU is known to be something else.
    fn follow(&mut self, mss: u64) {
        let limits = Limits { route: mss, link: u64::MAX, peer: u64::MAX, is_ipv4: true };
        self.half.follow_path(limits, HEADERS, None, self.now);
        self.snd.mss = mss;
    }

    fn refresh(&mut self) {
        self.half.timer_refresh(self.now);
        self.snd.refresh(self.now);
    }

    fn wait_until(&mut self, at: Instant) {
        self.now = at;
        assert_eq!(self.half.timer_expired(&patience(), &mut self.counters, at), self.snd.expire(at));
    }

    fn send(&mut self, count: usize, most: u64, busy: bool, nodelay: bool) {
        for nth in 1..=count {
            let Some(plan) = self.half.plan(nodelay, 0, most) else { break };
            assert_eq!(self.half.plan(nodelay, 0, most), Some(plan), "to plan changes nothing");
            // A busy device costs nothing: what was planned is planned again.
            if nth == count && busy {
                break;
            }
            assert!(!plan.is_super() || plan.len <= most);
            for piece in plan.cut() {
                let start = piece.start.since(self.base);
                let expected = self.snd.plan(nodelay, self.half.cc().cwnd());
                assert_eq!(Some(TextPlan { start: SndPos::at(start), ..piece }), expected);
                self.take(&piece);
                let end = start + piece.len + u64::from(piece.fin);
                self.snd.sent(piece.kind, start, piece.len, end, self.now);
            }
            self.half.commit(&plan, self.now);
            self.check();
        }
    }

    /// The network takes a segment.
    fn take(&mut self, plan: &TextPlan) {
        let start = plan.start.since(self.base);
        let mut pieces = Vec::<&[u8]>::new();
        self.half.text(plan.start, plan.len, &mut pieces);
        let text = pieces.concat();
        assert_eq!(text, octets(start, start + plan.len), "not the octets that were written there");
        assert!(plan.len <= self.snd.mss);
        let end = start + plan.len + u64::from(plan.fin);
        assert_eq!(plan.end().since(self.base), end);
        if plan.kind == Kind::Probe {
            assert_eq!((start, end), (self.snd.una, self.snd.una + 1));
            assert_eq!(self.snd.wnd, 0, "a window that is open is not probed");
        } else {
            assert!(end <= self.snd.una + self.snd.wnd, "beyond what the peer has offered");
        }
        if plan.fin {
            assert!(self.snd.closed && start + plan.len == self.snd.written, "FIN before the end");
            self.fins += 1;
        }
        self.wire.resize(self.wire.len().max((start + plan.len) as usize), None);
        for at in start..start + plan.len {
            self.wire[at as usize] = Some(octet(at));
        }
    }

    fn acknowledge(&mut self, ack: u64, seq: u64, wnd: u64, is_bare: bool) {
        let said = Acknowledgement {
            ack: self.base.plus(ack),
            seq: RcvPos::at(seq),
            wnd,
            is_bare,
            at: self.now,
            sack: Default::default(),
            echo: None,
        };
        self.half.acknowledge(&said, &mut self.pool, &mut self.counters);
        self.snd.acknowledged(ack, seq, wnd, is_bare, self.now);
    }

    /// Compares all that can be seen.
    fn check(&mut self) {
        let (half, snd) = (&mut self.half, &mut self.snd);
        half.check_invariants();
        let place = |position: SndPos| position.since(self.base);
        assert_eq!((place(half.una()), place(half.nxt())), (snd.una, snd.nxt));
        assert_eq!((half.wnd(), half.max_wnd()), (snd.wnd, snd.max_wnd));
        assert_eq!(place(half.bare_seq()), snd.nxt.min(snd.una + snd.wnd));
        assert_eq!(half.outstanding(), snd.nxt - snd.una);
        assert_eq!(half.unsent(), (snd.nxt..snd.written).count() as u64);
        assert_eq!(half.is_unfinished(), snd.una != snd.end());
        assert_eq!(half.bytes_acked(), snd.una.min(snd.written));
        assert_eq!(half.fin_acknowledged(), snd.closed && snd.una == snd.written + 1);
        assert_eq!((half.room(), half.mss()), (snd.room(), snd.mss));
        assert_eq!(half.holds_text(), snd.una < snd.written);
        assert_eq!((half.retransmits(), half.retransmissions()), (snd.retransmits, snd.retransmissions));
        let writable = snd.blocked && snd.room() >= CAPACITY / 3;
        snd.blocked &= !writable;
        assert_eq!(half.take_writable(), writable);
        for nodelay in [false, true] {
            let planned = half
                .plan(nodelay, 0, 0)
                .map(|plan| TextPlan { start: SndPos::at(place(plan.start)), ..plan });
            assert_eq!(planned, snd.plan(nodelay, half.cc().cwnd()));
        }
        let (deadline, expected) = (half.next_deadline(&patience()), snd.deadline());
        assert_eq!(deadline.is_some(), expected.is_some(), "{:?}", snd.purpose);
        if let (Some(deadline), Some(expected)) = (deadline, expected) {
            // The model counts in floating point.
            let error = deadline.since(expected).max(expected.since(deadline));
            assert!(error < Duration::from_micros(20), "off by {error:?}: {:?}", snd.purpose);
            snd.at = deadline;
        }
        assert!((half.rtt().srtt().unwrap().as_secs_f64() - snd.srtt).abs() < 1e-6);
    }

    /// The peer takes all there is, from now on without fail.
    fn finish(&mut self) {
        self.half.close();
        self.snd.closed = true;
        self.refresh();
        for round in 0.. {
            assert!(round < 300, "the stream does not come to its end");
            self.check();
            if !self.half.is_unfinished() {
                break;
            }
            self.send(usize::MAX, 500, false, false);
            let (nxt, seq) = (self.snd.nxt, self.snd.wl1 + 1);
            self.acknowledge(nxt, seq, 1500, true);
            self.check();
            if self.half.plan(false, 0, 0).is_none() {
                self.apply(&Op::WaitForTimer);
            }
        }
        assert_eq!(self.wire.len() as u64, self.snd.written);
        assert!(self.wire.iter().all(Option::is_some) && self.fins > 0);
        assert!(self.half.fin_acknowledged());
        self.half.clear(&mut self.pool);
        assert_eq!(self.pool.in_use(), 0);
    }
}

fn patience() -> Patience {
    Patience { r1: R1, r2: Duration::MAX, user_timeout: None, orphan: false }
}

fn run(iss: u32, mss: u64, (wnd, widest): (u64, u64), ops: &[Op]) {
    let mut pair = Pair::new(iss, mss, wnd % widest, widest);
    pair.check();
    for op in ops {
        pair.apply(op);
        pair.check();
    }
    pair.finish();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    //= RFC9293 MUST-34
    //= RFC9293 MUST-36
    //= RFC9293 MUST-38
    #[test]
    fn the_sending_half_does_what_its_variables_say(
        iss in prop_oneof![any::<u32>(), Just(u32::MAX - 3000)],
        mss in prop_oneof![20_u64..300, round(6)],
        wnd in prop_oneof![1 => Just(0_u64), 2 => 1_u64..3000, 3 => round(30)],
        widest in prop::sample::select(&[150_u64, 400, 100_000, 100_000][..]),
        ops in prop::collection::vec(op(), 1..70),
    ) {
        run(iss, mss, (wnd, widest), &ops);
    }

    #[test]
    fn recovery_goes_as_its_variables_say(
        mss in 20_u64..120,
        ops in prop::collection::vec(recovery_op(), 1..40),
    ) {
        run(7, mss, (3000, 100_000), &ops);
    }

    #[test]
    fn small_writes_wait_as_nagle_says_unless_they_are_urgent(
        ops in prop::collection::vec(typing_op(), 1..60),
    ) {
        run(7, 100, (3000, 100_000), &ops);
    }
}
