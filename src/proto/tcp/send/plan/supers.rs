//! Two sending halves to which the same happens, one with super-segments and one without: what goes on the wire is the same,
//! and so is all that either remembers.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::time::Duration;

use proptest::prelude::*;

use super::{Kind, TextPlan};
use crate::proto::buf::pages::Pool;
use crate::proto::config::{Config, MtuProbing};
use crate::proto::counters::Counters;
use crate::proto::ip::pmtu::Searched;
use crate::proto::tcp::send::acked::Acknowledgement;
use crate::proto::tcp::send::path_probe::Limits;
use crate::proto::tcp::send::timer::Patience;
use crate::proto::tcp::send::{SendHalf, SendStart};
use crate::proto::tcp::seq::{RcvPos, SndPos};
use crate::proto::tcp::timestamps::TimestampClock;
use crate::proto::wire::seq_nr::SeqNr;
use crate::time::Instant;

const MSS: u64 = 100;

#[derive(Clone, Debug)]
enum Op {
    Write {
        len: u64,
        urgent: bool,
    },
    Close,
    /// So many plans, each of so much text at most, in segments beside so many octets of options.
    Send {
        count: usize,
        most: u64,
        options_len: u64,
        nodelay: bool,
    },
    /// So many of what is in flight, in thousandths, are acknowledged, stretches of it reported, and something to have come
    /// twice; the window is this, or as it was.
    Ack {
        share: u64,
        blocks: Vec<(u64, u64)>,
        dsack: bool,
        wnd: Option<u64>,
    },
    /// All that was in flight is acknowledged or reported, but for every so many-th segment.
    Holes {
        every: u64,
    },
    /// The same acknowledgement again and again.
    Duplicates(u8),
    Mss(u64),
    TooBig(u64),
    Wait(u64),
    WaitForTimer,
}

fn op() -> impl Strategy<Value = Op> {
    let blocks = prop::collection::vec((0_u64..1000, 1_u64..12), 0..4);
    let share = prop_oneof![3 => Just(0_u64), 3 => 0_u64..1000, 1 => Just(1000)];
    let wnd = prop_oneof![
        8 => Just(None),
        1 => Just(Some(0)),
        1 => (1_u64..500).prop_map(Some),
        3 => (500_u64..30_000).prop_map(Some),
    ];
    let most = prop_oneof![1 => Just(0_u64), 4 => 0_u64..3000, 3 => Just(u64::MAX)];
    let options_len = prop_oneof![5 => Just(0_u64), 1 => Just(12), 1 => 1_u64..40];
    let nodelay = prop::bool::weighted(0.3);
    prop_oneof![
        8 => (prop_oneof![1_u64..100, 1_u64..9000], prop::bool::weighted(0.1))
            .prop_map(|(len, urgent)| Op::Write { len, urgent }),
        1 => (0..6).prop_map(|n| if n == 0 { Op::Close } else { Op::Wait(1) }),
        12 => (1_usize..6, most, options_len, nodelay).prop_map(|(count, most, options_len, nodelay)| {
            Op::Send { count, most, options_len, nodelay }
        }),
        8 => (share, blocks, prop::bool::weighted(0.1), wnd)
            .prop_map(|(share, blocks, dsack, wnd)| Op::Ack { share, blocks, dsack, wnd }),
        3 => (2_u64..7).prop_map(|every| Op::Holes { every }),
        3 => (1_u8..6).prop_map(Op::Duplicates),
        1 => (40_u64..200).prop_map(Op::Mss),
        1 => (40_u64..200).prop_map(Op::TooBig),
        4 => (0_u64..60).prop_map(Op::Wait),
        3 => Just(Op::WaitForTimer),
    ]
}

/// What every connection has of its own.
#[derive(Clone, Copy, Debug)]
struct Setting {
    sack: bool,
    timestamps: bool,
    probing: MtuProbing,
    /// How large the datagrams are that others search for on this path; they have found [`MSS`].
    searched: Option<usize>,
    wnd: u64,
}

fn setting() -> impl Strategy<Value = Setting> {
    let probing =
        prop_oneof![Just(MtuProbing::Off), Just(MtuProbing::AfterBlackHole), Just(MtuProbing::Always)];
    let searched = prop::option::of(MSS as usize..=3 * MSS as usize);
    (prop::bool::weighted(0.7), any::<bool>(), probing, searched, 2_000_u64..30_000).prop_map(
        |(sack, timestamps, probing, searched, wnd)| Setting { sack, timestamps, probing, searched, wnd },
    )
}

fn patience() -> Patience {
    Patience { r1: 3, r2: Duration::MAX, user_timeout: None, orphan: false }
}

struct Side {
    half: SendHalf,
    pool: Pool,
    counters: Counters,
}

struct Pair {
    config: Config,
    /// With super-segments.
    with: Side,
    /// Without.
    without: Side,
    base: SndPos,
    clock: TimestampClock,
    now: Instant,
    closed: bool,
}

impl Pair {
    fn new(setting: Setting) -> Self {
        let config = Config { send_buffer: 60_000, mtu_probing: setting.probing, ..Config::default() };
        let now = Instant::from_millis(5_000);
        let syn = SndPos::of_syn(SeqNr(7));
        let clock = TimestampClock::ahead_by(0x1234_5678);
        let start = SendStart {
            syn,
            mss: MSS,
            wnd: setting.wnd,
            scale: 0,
            wl1: RcvPos::at(1),
            rtt: Some(40_000_000),
            sack: setting.sack,
            clock: setting.timestamps.then_some(clock),
        };
        let side = || Side {
            half: SendHalf::new(&config, &start, now),
            pool: Pool::new(64),
            counters: Counters::default(),
        };
        let (with, without) = (side(), side());
        let base = syn.plus(1);
        let mut pair = Pair { config, with, without, base, clock, now, closed: false };
        let low = MSS as usize;
        pair.follow(MSS, setting.searched.map(|high| Searched { low, high, is_proven: false }));
        pair
    }

    fn both(&mut self, mut act: impl FnMut(&mut Side)) {
        act(&mut self.with);
        act(&mut self.without);
    }

    fn apply(&mut self, op: &Op) {
        let now = self.now;
        match op {
            Op::Write { .. } if self.closed => {}
            Op::Write { len, urgent } => {
                let text = alloc::vec![7; *len as usize];
                self.both(|side| {
                    let written = side.half.write(&text, &mut side.pool, now);
                    if *urgent && written > 0 {
                        side.half.mark_urgent();
                    }
                    side.half.timer_refresh(now);
                });
            }
            Op::Close => {
                self.closed = true;
                self.both(|side| {
                    side.half.close();
                    side.half.timer_refresh(now);
                });
            }
            Op::Send { count, most, options_len, nodelay } => {
                (0..*count).for_each(|_| self.send(*most, *options_len, *nodelay));
            }
            Op::Ack { share, blocks, dsack, wnd } => self.report(*share, blocks, *dsack, *wnd),
            Op::Holes { every } => {
                let (una, nxt) = (self.with.half.una, self.with.half.nxt);
                let blocks = (1..=4).map(|nth| {
                    let start = una.plus((nth - 1) * every * MSS + MSS).min(nxt);
                    start.get()..una.plus(nth * every * MSS).min(nxt).get()
                });
                self.acknowledge(una, blocks.filter(|block| !block.is_empty()).collect(), None);
            }
            Op::Duplicates(count) => {
                (0..*count).for_each(|_| self.acknowledge(self.with.half.una, Vec::new(), None));
            }
            Op::Mss(mss) => self.follow(*mss, None),
            Op::TooBig(mtu) => self.both(|side| {
                let _ = side.half.too_big(*mtu, *mtu, now);
            }),
            Op::Wait(ms) => self.wait_until(now + Duration::from_millis(*ms)),
            Op::WaitForTimer => {
                if let Some(at) = self.with.half.next_deadline(&patience()) {
                    self.wait_until(at.max(now));
                }
            }
        }
        self.compare();
    }

    /// The path's MTU is this, though larger datagrams would fit through the first link.
    fn follow(&mut self, mss: u64, shared: Option<Searched>) {
        let now = self.now;
        let limits = Limits { route: mss, link: 3 * MSS, peer: 3 * MSS, is_ipv4: true };
        self.both(|side| side.half.follow_path(limits, 0, shared, now));
    }

    fn wait_until(&mut self, at: Instant) {
        self.now = at;
        self.both(|side| {
            let _ = side.half.timer_expired(&patience(), &mut side.counters, at);
        });
    }

    fn send(&mut self, most: u64, options_len: u64, nodelay: bool) {
        let Some(plan) = self.with.half.plan(nodelay, options_len, most) else {
            assert_eq!(self.without.half.plan(nodelay, options_len, 0), None);
            return;
        };
        assert!(!plan.is_super() || plan.len <= most, "{plan:?}");
        for piece in plan.cut() {
            assert_eq!(self.without.half.plan(nodelay, options_len, 0), Some(piece), "of {plan:?}");
            self.without.half.commit(&piece, self.now);
        }
        self.with.half.commit(&plan, self.now);
        self.compare();
        if most == u64::MAX && plan.is_super() {
            self.check_ends_where_it_must(&plan, options_len, nodelay);
        }
    }

    /// Nothing goes behind a super-segment that could have been a part of it.
    fn check_ends_where_it_must(&self, plan: &TextPlan, options_len: u64, nodelay: bool) {
        // A window that is rounded up may be so more than once.
        let rounds = self.with.half.selective.as_ref().is_some_and(|selective| selective.prr.is_some());
        let next = self.with.half.plan(nodelay, options_len, 0).filter(|_| !rounds);
        let follows = next.is_some_and(|next| next.kind == plan.kind && next.start == plan.end());
        assert!(!follows, "{next:?} follows {plan:?}");
    }

    fn report(&mut self, share: u64, blocks: &[(u64, u64)], dsack: bool, wnd: Option<u64>) {
        let half = |at: u64| at - at % (MSS / 2);
        let (una, nxt) = (self.with.half.una, self.with.half.nxt);
        let ack = una.plus(half(nxt.since(una) * share / 1000));
        let above = nxt.since(ack);
        let mut ranges: Vec<core::ops::Range<u64>> = Vec::new();
        if dsack && ack.since(self.base) >= MSS {
            ranges.push(ack.get() - MSS..ack.get());
        }
        for (at, len) in blocks.iter().take(3) {
            let start = ack.plus(half(above * at / 1000));
            let end = start.plus(len * MSS / 2).min(nxt);
            ranges.extend((start < end).then_some(start.get()..end.get()));
        }
        self.acknowledge(ack, ranges, wnd);
    }

    fn acknowledge(&mut self, ack: SndPos, ranges: Vec<core::ops::Range<u64>>, wnd: Option<u64>) {
        let now = self.now;
        let echo = Some(self.clock.at(Instant::from_nanos(now.as_nanos() - 40_000_000)));
        let wnd = wnd.unwrap_or(self.with.half.wnd);
        let sack = ranges.into_iter().collect();
        let said = Acknowledgement { ack, seq: RcvPos::at(1), wnd, is_bare: true, at: now, sack, echo };
        let Pair { with, without, .. } = self;
        if said.sack.is_empty() && with.half.is_at_rest() {
            with.half.hear_window(said.seq, wnd);
        } else {
            with.half.acknowledge(&said, &mut with.pool, &mut with.counters);
        }
        // Nor does it matter by which way the news is taken.
        without.half.acknowledge_the_long_way(&said, &mut without.pool, &mut without.counters);
        self.both(|side| {
            side.half.take_writable();
        });
    }

    /// All that either remembers, and what follows from it.
    fn compare(&mut self) {
        self.with.half.check_invariants();
        let (with, without) = (self.with.remembers(), self.without.remembers());
        assert_eq!(with, without);
        self.check_short_plan();
    }

    /// It is over, however far it has come; the next connection in the memory of either is as if there had been none.
    fn end(mut self) {
        let now = self.now + Duration::from_secs(1);
        for sack in [true, false] {
            let start = SendStart {
                syn: SndPos::of_syn(SeqNr(70)),
                mss: MSS + 1,
                wnd: 3_000,
                scale: 3,
                wl1: RcvPos::at(2),
                rtt: sack.then_some(50_000_000),
                sack,
                clock: sack.then_some(TimestampClock::ahead_by(5)),
            };
            let config = self.config.clone();
            self.both(|side| {
                side.half.clear(&mut side.pool);
                side.half.trim();
                side.half.retire();
                side.half.renew(&config, &start, now);
                let fresh = SendHalf::new(&config, &start, now);
                assert_eq!(format!("{:?}", side.half), format!("{fresh:?}"));
            });
        }
    }

    /// Whoever has only new text gets the same plan by the short way.
    fn check_short_plan(&self) {
        let half = &self.with.half;
        if half.has_something_to_plan() && half.has_only_new_text() {
            for nodelay in [false, true] {
                assert_eq!(half.plan_one_of_new(nodelay), half.plan(nodelay, 0, 0));
            }
        }
    }
}

impl Side {
    /// All but the text.
    fn remembers(&self) -> String {
        let SendHalf {
            una,
            nxt,
            end,
            text: _,
            fin,
            wnd,
            max_wnd,
            wl1,
            wl2,
            scale,
            mss,
            path,
            buffer,
            lost,
            recovery,
            selective,
            clock,
            rtt,
            cc,
            timer,
            timed,
            urgent,
            write_blocked,
            last_sent,
            tail,
            opened,
            first,
            retransmits,
            undone,
        } = &self.half;
        let positions: [&dyn Debug; 8] = [una, nxt, end, wl2, timed, urgent, tail, first];
        let windows: [&dyn Debug; 7] = [wnd, max_wnd, wl1, scale, mss, buffer, write_blocked];
        let recovery: [&dyn Debug; 5] = [lost, recovery, selective, path, fin];
        let times: [&dyn Debug; 6] = [clock, rtt, cc, timer, last_sent, opened];
        let counts: [&dyn Debug; 3] = [retransmits, undone, &self.counters];
        format!("{positions:?}{windows:?}{recovery:?}{times:?}{counts:?}")
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn what_a_super_segment_is_cut_into_is_what_would_have_been_sent(
        setting in setting(),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let mut pair = Pair::new(setting);
        for op in &ops {
            pair.apply(op);
        }
        pair.end();
    }
}

/// The window shuts on what is on its way, and opens with the next acknowledgement, when it was probed, or would have been if the
/// device had taken anything.
#[test]
fn a_window_that_opens_again_does_so_by_either_way_of_the_news() {
    for is_sent in [true, false] {
        for share in [500, 1000] {
            let setting = Setting {
                sack: true,
                timestamps: true,
                probing: MtuProbing::Off,
                searched: None,
                wnd: 20_000,
            };
            let mut pair = Pair::new(setting);
            let ack = |share, wnd| Op::Ack { share, blocks: Vec::new(), dsack: false, wnd: Some(wnd) };
            let send = Op::Send { count: 3, most: u64::MAX, options_len: 0, nodelay: true };
            let write = Op::Write { len: 800, urgent: false };
            let shut = [write, send.clone(), Op::Wait(40), ack(250, 0), Op::WaitForTimer];
            shut.iter().for_each(|op| pair.apply(op));
            assert!(pair.with.half.timer.probe_is_due());
            assert_eq!(pair.with.half.outstanding(), 600);
            if is_sent {
                pair.apply(&send);
            }
            pair.apply(&ack(share, 20_000));
            assert_eq!(pair.with.half.lost(), if share == 500 { 300 } else { 0 }, "it goes afresh");
            [send, Op::Wait(40), ack(1000, 20_000)].iter().for_each(|op| pair.apply(op));
            pair.both(|side| side.half.clear(&mut side.pool));
        }
    }
}

#[test]
fn all_that_may_go_goes_in_one() {
    for sack in [false, true] {
        let mut pair = Pair::new(Setting {
            sack,
            timestamps: true,
            probing: MtuProbing::Off,
            searched: None,
            wnd: 30_000,
        });
        let send = Op::Send { count: 1, most: u64::MAX, options_len: 0, nodelay: false };
        let after = |pair: &mut Pair, ops: &[Op]| {
            ops.iter().for_each(|op| pair.apply(op));
            let plan = pair.with.half.plan(false, 0, u64::MAX);
            pair.apply(&send);
            plan.map(|plan| (plan.kind, plan.start.since(pair.base), plan.len, plan.size, plan.fin))
        };
        // The congestion window ends in the middle of the eleventh.
        let write = Op::Write { len: 2_050, urgent: false };
        assert_eq!(after(&mut pair, &[write]), Some((Kind::New, 0, 1_000, 100, false)));
        // Nagle keeps the short tail back.
        let wait = Op::Wait(40);
        let all = Op::Ack { share: 1000, blocks: Vec::new(), dsack: false, wnd: None };
        assert_eq!(after(&mut pair, &[wait.clone(), all]), Some((Kind::New, 1_000, 1_000, 100, false)));
        // Six segments of ten are lost: as much goes again as has arrived.
        let tail = Op::Ack { share: 0, blocks: alloc::vec![(600, 8)], dsack: false, wnd: None };
        let again = after(&mut pair, &[wait, tail]);
        assert_eq!(again, sack.then_some((Kind::Retransmission, 1_000, 400, 100, false)));
        pair.both(|side| side.half.clear(&mut side.pool));
    }
}
