//! The receiving half: octets have come or not, one by one.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use proptest::prelude::*;

use super::{octet, octets};
use crate::proto::buf::pages::Pool;
use crate::proto::config::Config;
use crate::proto::ip::testing::World;
use crate::proto::tcp::recv::autotune::AutoTune;
use crate::proto::tcp::recv::{RecvHalf, RecvStart, Text};
use crate::proto::tcp::seq::RcvPos;
use crate::proto::wire::seq_nr::SeqNr;
use crate::time::{Instant, nanos};

/// How many stretches of text with gaps before them are kept.
const RANGES: usize = 2;

/// The variables. Positions are counted from the first octet of text.
struct Rcv {
    nxt: u64,
    /// RCV.NXT + RCV.WND, as the peer was told last.
    edge: u64,
    read: u64,
    /// Which octets have come.
    here: Vec<bool>,
    fin: Option<u64>,
    urgent: Option<u64>,
    /// RCV.BUFF: what is told of each octet that came or was read.
    tune: AutoTune,
    scale: u8,
    mss: u64,
    /// The application reads no further.
    discards_from: Option<u64>,
    duplicates: u64,
    out_of_order: u64,
    acks: Acks,
}

/// The acknowledgements that are owed.
#[derive(Default)]
struct Acks {
    count: u64,
    /// One of them is for more than the number of segments.
    at_once: bool,
    unacknowledged: u64,
    /// When the first of what is unacknowledged came.
    since: Option<Instant>,
    /// Segments yet to be acknowledged one by one.
    quick: u64,
    /// The application answers in time.
    interactive: bool,
    last_text: Option<Instant>,
}

impl Acks {
    fn at_once(&mut self) {
        self.count = self.count.max(1);
        self.at_once = true;
    }

    /// One of its own.
    fn one_more(&mut self) {
        self.count += 1;
        self.at_once = true;
    }

    /// The sender has to send again, or thinks so.
    fn trouble(&mut self, quick: u64) {
        self.quick = self.quick.max(quick);
        self.interactive = false;
    }

    fn sent(&mut self, with_text: bool, now: Instant) {
        let delay = Duration::from_millis(40);
        let is_late = self.since.is_some_and(|since| now.since(since) >= delay);
        let is_answer = with_text && self.last_text.is_some_and(|last| now.since(last) <= delay);
        if is_answer {
            self.interactive = true;
        } else if !with_text && is_late && self.count == 0 {
            self.interactive = false;
        }
        let count = self.count.saturating_sub(1);
        (self.count, self.at_once) = (count, count > 0);
        (self.unacknowledged, self.since) = (0, None);
    }
}

impl Rcv {
    fn new(tune: AutoTune, offered: u64, scale: u8) -> Self {
        Rcv {
            nxt: 0,
            edge: offered,
            read: 0,
            here: vec![],
            fin: None,
            urgent: None,
            tune,
            scale,
            // RFC 9293 section 3.7.1: until more is known.
            mss: 536,
            discards_from: None,
            duplicates: 0,
            out_of_order: 0,
            acks: Acks::default(),
        }
    }

    fn has(&self, at: u64) -> bool {
        self.here.get(at as usize).copied().unwrap_or(false)
    }

    /// The stretches beyond RCV.NXT that have come.
    fn ahead(&self) -> Vec<(u64, u64)> {
        let mut stretches: Vec<(u64, u64)> = vec![];
        for at in (self.nxt..self.here.len() as u64).filter(|at| self.has(*at)) {
            match stretches.last_mut() {
                Some((_, end)) if *end == at => *end += 1,
                _ => stretches.push((at, at + 1)),
            }
        }
        stretches
    }

    /// Section 3.10.7.4, seventh and eighth check.
    fn segment(&mut self, seq: i64, len: u64, fin: bool, size: u64, now: Instant) -> Text {
        let end = seq + len as i64;
        if let Some(at) = u64::try_from(end).ok().filter(|_| fin) {
            let contradicts = (at..self.here.len() as u64).any(|behind| self.has(behind));
            // The FIN takes no room in the buffer, so it may stand right at the edge: a departure.
            if self.fin.is_none() && self.nxt <= at && at <= self.edge && !contradicts {
                self.fin = Some(at);
            }
        }
        self.mss = self.mss.max(size);
        let text = if len == 0 { Text::None } else { self.text(seq, end, size, now) };
        // One that was ahead of its turn closes the gap with this text: RFC 5681 section 4.2.
        let completes = self.fin == Some(self.nxt);
        if completes {
            self.nxt += 1;
        }
        if fin || completes {
            // "Send an acknowledgment for the FIN."
            self.acks.at_once();
        }
        text
    }

    /// Segments acknowledged one by one: 16, or half of the window, but 2 at least.
    fn quick(&self) -> u64 {
        (self.edge.saturating_sub(self.nxt) / self.mss / 2).clamp(2, 16)
    }

    fn text(&mut self, seq: i64, end: i64, size: u64, now: Instant) -> Text {
        // "Segments are trimmed to fit the window"; behind the FIN there is nothing.
        let fits = |at: &u64| *at >= self.nxt && *at < self.edge && self.fin.is_none_or(|fin| *at < fin);
        let fresh: Vec<u64> = (seq..end).filter_map(|at| u64::try_from(at).ok()).filter(fits).collect();
        let Some(first) = fresh.first().copied() else {
            self.duplicates += 1;
            self.acks.at_once();
            self.acks.trouble(self.quick());
            return Text::Duplicate;
        };
        let last = first + fresh.len() as u64 - 1;
        let ahead = self.ahead();
        if first != self.nxt {
            // SHLD-31: it is queued, while there are few gaps.
            self.out_of_order += 1;
            self.acks.one_more();
            self.acks.trouble(self.quick());
            let joins = ahead.iter().any(|(start, end)| *start <= last + 1 && first <= *end);
            if ahead.len() >= RANGES && !joins {
                return Text::NoMemory;
            }
        }
        self.here.resize(self.here.len().max(last as usize + 1), false);
        fresh.iter().for_each(|at| self.here[*at as usize] = true);
        if first != self.nxt {
            return Text::Ahead;
        }
        while self.has(self.nxt) {
            self.nxt += 1;
        }
        self.tune.received(RcvPos::at(self.nxt), RcvPos::at(self.edge), now);
        // RFC 5681 section 4.2: every second full-sized segment, no later than the delay; when a gap is filled at once.
        if self.acks.last_text.is_none_or(|last| now.since(last) > Duration::from_millis(240)) {
            self.acks.quick = self.acks.quick.max(self.quick());
        }
        self.acks.last_text = Some(now);
        self.acks.unacknowledged += fresh.len() as u64;
        let is_full = fresh.len() as u64 >= self.mss;
        let is_quick = is_full && self.acks.quick > 0 && !self.acks.interactive;
        if self.acks.unacknowledged >= 2 * self.mss || is_quick {
            self.acks.count = self.acks.count.max(1);
        }
        self.acks.quick = self.acks.quick.saturating_sub((fresh.len() as u64).div_ceil(size));
        self.acks.since = self.acks.since.or(Some(now));
        if !ahead.is_empty() {
            self.acks.at_once();
            self.acks.trouble(self.quick());
        }
        Text::InOrder
    }

    fn fin_received(&self) -> bool {
        self.fin.is_some_and(|fin| fin < self.nxt)
    }

    fn end_of_text(&self) -> u64 {
        if self.fin_received() { self.nxt - 1 } else { self.nxt }
    }

    fn readable(&self) -> u64 {
        let end = self.end_of_text();
        self.discards_from.map_or(end, |from| from.min(end)) - self.read
    }

    /// Where the buffer ends: text that is thrown away takes no room.
    fn possible(&self) -> u64 {
        self.tune.size() + if self.discards_from.is_some() { self.nxt } else { self.read }
    }

    /// Section 3.8.6.2.2: "keep RCV.NXT+RCV.WND fixed until RCV.BUFF - RCV.USER - RCV.WND >= min(Fr * RCV.BUFF,
    /// Eff.snd.MSS)", with Fr = 1/2.
    fn wanted(&self) -> u64 {
        let reduction = self.possible().saturating_sub(self.edge);
        let enough = self.mss.min(self.tune.size() / 2).max(1);
        if reduction >= enough { self.possible() } else { self.edge }
    }

    /// What was read may have opened the window so far that the peer has to hear of it.
    fn read_has_opened(&mut self) {
        let could = self.wanted().min(self.nxt + (65_535 << self.scale)).saturating_sub(self.nxt);
        let can = self.edge.saturating_sub(self.nxt);
        if could > can && can <= could / 2 && !self.fin_received() {
            self.acks.at_once();
        }
    }

    /// A segment goes out with a window field of `field`.
    fn tells(&mut self, field: u16, with_text: bool, now: Instant) {
        let unit = 1 << self.scale;
        let told = self.nxt + u64::from(field) * unit;
        // SHLD-14, RFC 7323 section 2.4: only by rounding may it look as if the edge were pulled back, and only if the
        // next unit would not fit.
        let is_all = field == u16::MAX;
        assert!(told + unit > self.edge || is_all, "the window shrinks: {told} after {}", self.edge);
        assert!(told >= self.edge || told + unit > self.possible() + unit || is_all, "needlessly small");
        // MUST-39: it opens by much or not at all. (Nothing is offered beyond a FIN that stood right at the edge.)
        let is_none = field == 0;
        assert!(told < self.edge + unit || self.wanted() > self.edge || is_none, "a silly window");
        assert!(told <= self.wanted() || told < self.edge + unit || is_none, "more than is wanted");
        assert!(told <= self.possible().max(self.edge) + unit, "more than the buffer takes");
        assert!(told + unit > self.wanted() || is_all, "a window that does not open");
        self.edge = self.edge.max(told);
        self.acks.sent(with_text, now);
    }
}

#[derive(Clone, Copy, Debug)]
enum Anchor {
    Nxt,
    Edge,
    Read,
    /// Where a stretch that came ahead begins or ends.
    Ahead(usize, bool),
    Fin,
}

#[derive(Clone, Debug)]
enum Op {
    Segment {
        from: (Anchor, i64),
        /// The length, or how far behind a place it ends.
        to: Result<u64, (Anchor, i64)>,
        fin: bool,
    },
    Urgent(Anchor, i64),
    /// So many thousandths of what can be read, and an octet more.
    Read(u64),
    Discard,
    /// By a segment with text, or without.
    Acknowledge(bool),
    Wait(u64),
}

fn anchor() -> impl Strategy<Value = Anchor> {
    prop_oneof![
        6 => Just(Anchor::Nxt),
        3 => Just(Anchor::Edge),
        1 => Just(Anchor::Read),
        4 => (0_usize..RANGES, any::<bool>()).prop_map(|(nth, end)| Anchor::Ahead(nth, end)),
        1 => Just(Anchor::Fin),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let near = || prop_oneof![4 => Just(0_i64), 4 => -3_i64..4, 4 => -60_i64..60, 2 => -500_i64..900];
    let place = move || (anchor(), near());
    let full = prop::sample::select(&[536_u64, 536, 1072, 1460, 2920][..]);
    let len = prop_oneof![
        2 => Just(0_u64),
        4 => 1_u64..40,
        6 => 40_u64..700,
        1 => 700_u64..5000,
    ];
    let to = prop_oneof![3 => len.prop_map(Ok), 1 => place().prop_map(Err)];
    let fin = prop::bool::weighted(0.04);
    prop_oneof![
        14 => (place(), to, fin).prop_map(|(from, to, fin)| Op::Segment { from, to, fin }),
        6 => prop_oneof![1_u64..700, full].prop_map(|len| Op::Segment { from: (Anchor::Nxt, 0), to: Ok(len), fin: false }),
        1 => place().prop_map(|(anchor, by)| Op::Urgent(anchor, by)),
        6 => prop_oneof![Just(1000_u64), 0_u64..1000].prop_map(Op::Read),
        1 => (0..6).prop_map(|n| if n == 0 { Op::Discard } else { Op::Acknowledge(false) }),
        8 => prop::bool::weighted(0.2).prop_map(Op::Acknowledge),
        2 => prop_oneof![4 => 0_u64..50, 1 => 0_u64..300].prop_map(Op::Wait),
    ]
}

/// The half beside the model.
struct Pair {
    half: RecvHalf,
    rcv: Rcv,
    first: RcvPos,
    world: World,
    read: Vec<u8>,
}

impl Pair {
    fn new(irs: u32, initial: u64, max: u64, scale: u8) -> Self {
        let first = RcvPos::of_syn(SeqNr(irs)).plus(1);
        let world = World::with(Config {
            reassembly_ranges: RANGES,
            recv_buffer: max as usize,
            recv_buffer_initial: initial as usize,
            ..Config::default()
        });
        // RFC 7323 section 2.2: the window of a SYN is not scaled.
        let offered = initial.min(max).min(65_535);
        let rtt = Some(nanos(Duration::from_millis(20))).filter(|_| irs.is_multiple_of(2));
        let mut tune = AutoTune::new(initial, max, RcvPos::at(0), offered, world.now);
        rtt.into_iter().for_each(|rtt| tune.rtt_sample(rtt));
        let sack = irs.is_multiple_of(3);
        let start = RecvStart { first, offered: offered as u16, scale, rtt, sack };
        Pair {
            half: RecvHalf::new(&world.config, &start, world.now),
            rcv: Rcv::new(tune, offered, scale),
            first,
            world,
            read: vec![],
        }
    }

    fn place(&self, (anchor, by): (Anchor, i64)) -> i64 {
        let rcv = &self.rcv;
        let at = match anchor {
            Anchor::Nxt => rcv.nxt,
            Anchor::Edge => rcv.edge,
            Anchor::Read => rcv.read,
            Anchor::Ahead(nth, end) => {
                rcv.ahead().get(nth).map_or(rcv.nxt, |stretch| if end { stretch.1 } else { stretch.0 })
            }
            Anchor::Fin => rcv.fin.unwrap_or(rcv.edge),
        };
        at as i64 + by
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Segment { from, to, fin } => {
                let seq = self.place(*from);
                // A wide window is seldom filled by small segments.
                let stretch = if self.rcv.tune.size() > 50_000 { 12 } else { 1 };
                let to = to.map(|len| len * stretch);
                let len = to.unwrap_or_else(|end| (self.place(end) - seq).clamp(0, 9000) as u64);
                self.segment(seq, len, *fin);
            }
            Op::Urgent(anchor, by) => {
                let mark = self.place((*anchor, *by));
                let is_news =
                    mark > self.rcv.read as i64 && self.rcv.urgent.is_none_or(|known| mark > known as i64);
                assert_eq!(self.half.note_urgent(self.position(mark)), is_news);
                if is_news {
                    self.rcv.urgent = Some(mark as u64);
                }
            }
            Op::Read(share) => self.read(self.rcv.readable() * share / 1000 + 1),
            Op::Discard => {
                self.half.discard(&mut self.world.pool);
                self.half.tell_window();
                self.rcv.discards_from = self.rcv.discards_from.or(Some(self.rcv.nxt));
                self.rcv.read_has_opened();
            }
            Op::Acknowledge(with_text) => self.acknowledge(*with_text),
            Op::Wait(ms) => self.world.now += core::time::Duration::from_millis(*ms),
        }
    }

    fn position(&self, at: i64) -> RcvPos {
        RcvPos::at(self.first.get().saturating_add_signed(at))
    }

    /// A segment of the peer's, which knows of no FIN once it was taken: a connection gives the half no more then.
    fn segment(&mut self, seq: i64, len: u64, fin: bool) {
        if self.rcv.fin_received() {
            return;
        }
        if len == 0 && !fin {
            // A connection does not even give it such a segment, unless nobody holds it.
            let at = self.position(seq);
            assert_eq!(self.half.segment(self.world.ctx(), at, &[], false, 0), Text::None);
            return;
        }
        let payload: Vec<u8> = (seq..seq + len as i64).map(|at| octet(at as u64)).collect();
        let at = self.position(seq);
        let size = len.min(1460);
        let now = self.world.now;
        let text = self.half.segment(self.world.ctx(), at, &payload, fin, size);
        assert_eq!(text, self.rcv.segment(seq, len, fin, size, now));
    }

    fn read(&mut self, max: u64) {
        let count = self.rcv.readable().min(max);
        let mut out = vec![0; max as usize];
        for _ in 0..2 {
            assert_eq!(self.half.peek(&mut out) as u64, count);
            assert!(out[..count as usize] == octets(self.rcv.read, self.rcv.read + count)[..]);
        }
        assert_eq!(self.half.consume(max as usize, &mut self.world.pool, self.world.now) as u64, count);
        self.read.extend(&out[..count as usize]);
        self.rcv.read += count;
        if count > 0 {
            self.rcv.tune.read(count, self.world.now);
            self.rcv.read_has_opened();
        }
    }

    fn acknowledge(&mut self, with_text: bool) {
        let (field, edge) = self.half.window_field();
        assert_eq!(self.half.window_field(), (field, edge), "to ask for it changes nothing");
        let now = self.world.now;
        self.half.acknowledged(edge, with_text, now);
        self.rcv.tells(field, with_text, now);
    }

    /// Compares all that can be seen.
    fn check(&self) {
        let (half, rcv, now) = (&self.half, &self.rcv, self.world.now);
        half.check_invariants();
        assert_eq!(half.nxt().since(self.first), rcv.nxt);
        assert_eq!(half.wnd(), rcv.edge.saturating_sub(rcv.nxt));
        assert_eq!((half.fin_received(), half.mss()), (rcv.fin_received(), rcv.mss));
        assert_eq!((half.readable(), half.bytes_received()), (rcv.readable(), rcv.end_of_text()));
        assert_eq!((half.duplicates, half.out_of_order), (rcv.duplicates, rcv.out_of_order));
        let unread = rcv.urgent.and_then(|mark| mark.checked_sub(rcv.read)).filter(|unread| *unread > 0);
        assert_eq!(half.urgent_unread(), unread);
        let acks = &rcv.acks;
        let delay = self.world.config.delayed_ack;
        let is_late = acks.since.is_some_and(|since| now.since(since) >= delay);
        assert_eq!(half.ack.is_due(now), acks.count > 0 || is_late);
        assert_eq!(half.ack.deadline(), acks.since.map(|since| since + delay));
        // Less than a quarter of the window, of which some is left.
        let window = half.wnd() + acks.unacknowledged;
        let may_wait = !acks.at_once && !is_late && 4 * acks.unacknowledged < window;
        assert_eq!(half.ack.may_wait(half.wnd(), now), may_wait);
        if rcv.discards_from.is_some() && rcv.readable() == 0 {
            assert_eq!(self.world.pool.in_use(), 0, "pages are kept that nobody will read");
        }
    }

    /// The peer sends all that is missing up to its FIN, and the application reads it.
    fn finish(&mut self, len: u64) {
        let end = self.rcv.fin.unwrap_or_else(|| len.max(self.rcv.here.len() as u64));
        for round in 0.. {
            if self.rcv.fin_received() {
                break;
            }
            assert!(round < 500, "the stream does not come to its end");
            let nxt = self.rcv.nxt;
            let len = (end - nxt).min(self.rcv.edge - nxt);
            self.segment(nxt as i64, len, nxt + len == end);
            self.check();
            self.read(u64::from(u16::MAX));
            self.acknowledge(false);
            self.check();
        }
        assert!(self.half.fin_received() && self.half.bytes_received() == end);
        self.read(u64::from(u16::MAX));
        self.read(u64::from(u16::MAX));
        self.check();
        assert!(self.read == octets(0, self.rcv.discards_from.map_or(end, |from| from.min(end))));
        self.half.clear(&mut self.world.pool);
        assert_eq!(self.world.pool.in_use(), 0);
        self.check_renewed();
    }

    /// The next connection in its memory is as if there had been none.
    fn check_renewed(&mut self) {
        let now = self.world.now + Duration::from_secs(1);
        for sack in [true, false] {
            let first = self.half.nxt().plus(77);
            let start = RecvStart { first, offered: 300, scale: 2, rtt: Some(9), sack };
            self.half.renew(&self.world.config, &start, now);
            let fresh = RecvHalf::new(&self.world.config, &start, now);
            assert_eq!(format!("{:?}", self.half), format!("{fresh:?}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    //= RFC9293 SHLD-14
    //= RFC9293 SHLD-31
    //= RFC9293 MUST-39
    #[test]
    fn the_receiving_half_does_what_its_variables_say(
        irs in prop_oneof![any::<u32>(), Just(u32::MAX - 3000)],
        (capacity, scale) in prop_oneof![
            1 => (1_u64..40, Just(0_u8)),
            4 => (40_u64..3000, Just(0_u8)),
            3 => (3000_u64..9000, 0_u8..7),
            1 => (60_000_u64..90_000, 0_u8..3),
            // More than the field can say to a peer that doesn't scale.
            1 => (100_000_u64..1 << 20, Just(0_u8)),
        ],
        // The buffer is as large from the start, or grows to that.
        share in prop_oneof![2 => Just(1000_u64), 1 => 100_u64..1000],
        ops in prop::collection::vec(op(), 1..70),
    ) {
        let mut pair = Pair::new(irs, (capacity * share / 1000).max(1), capacity, scale);
        pair.check();
        for op in ops {
            pair.apply(&op);
            pair.check();
        }
        pair.finish(2 * capacity.min(90_000));
    }

    /// Where there are few pages, and others take some of them, text may be refused or, if it came ahead, forgotten. What
    /// was acknowledged may not.
    #[test]
    fn no_octet_that_was_acknowledged_is_lost_for_want_of_pages(
        pages in 1_usize..8,
        begins in 0_u32..9000,
        ops in prop::collection::vec((op(), prop::option::of(0_usize..8)), 1..70),
    ) {
        let mut pair = Pair::new(begins, 20_000, 20_000, 0);
        pair.world.pool = Pool::new(pages);
        let mut others = vec![];
        let (mut came, mut read, mut edge) = (vec![false; 200_000], 0, 20_000);
        for (op, lent) in ops {
            match op {
                Op::Segment { from, to, .. } => {
                    pair.rcv.nxt = pair.half.nxt().since(pair.first);
                    pair.rcv.edge = edge;
                    let seq = pair.place(from).max(0) as u64;
                    let end = seq + to.unwrap_or(600);
                    let at = pair.position(seq as i64);
                    pair.half.segment(pair.world.ctx(), at, &octets(seq, end), false, 536);
                    (seq..end.min(edge)).for_each(|at| came[at as usize] = true);
                }
                Op::Read(share) => {
                    let mut out = vec![0; (pair.half.readable() * share / 1000) as usize];
                    let count = pair.half.peek(&mut out);
                    prop_assert_eq!(count, out.len());
                    prop_assert!(out == octets(read, read + count as u64), "not the octets that came");
                    pair.half.consume(count, &mut pair.world.pool, pair.world.now);
                    read += count as u64;
                }
                Op::Acknowledge(with_text) => {
                    let (field, to) = pair.half.window_field();
                    let told = pair.half.nxt().since(pair.first) + u64::from(field);
                    prop_assert!(told >= edge && told == to.since(pair.first), "the window shrinks");
                    pair.half.acknowledged(to, with_text, pair.world.now);
                    edge = told;
                }
                Op::Urgent(..) | Op::Discard | Op::Wait(_) => {}
            }
            let lent = lent.unwrap_or(others.len());
            others.drain(lent.min(others.len())..).for_each(|page| pair.world.pool.give(page));
            others.extend((others.len()..lent).map_while(|_| pair.world.pool.take(0)));
            pair.half.check_invariants();
            let nxt = pair.half.nxt().since(pair.first);
            prop_assert!(came[..nxt as usize].iter().all(|it| *it), "acknowledged what did not come");
            prop_assert_eq!((pair.half.bytes_received(), pair.half.readable()), (nxt, nxt - read));
            prop_assert!(nxt <= edge && pair.world.pool.in_use() <= pages);
        }
        others.into_iter().for_each(|page| pair.world.pool.give(page));
        // With the pages back, the text in order always finds room once what is unread is read.
        for _ in 0..100 {
            let mut out = vec![0; pair.half.readable() as usize];
            pair.half.peek(&mut out);
            prop_assert!(out == octets(read, read + out.len() as u64), "not the octets that came");
            read += pair.half.consume(out.len(), &mut pair.world.pool, pair.world.now) as u64;
            let (_, to) = pair.half.window_field();
            pair.half.acknowledged(to, false, pair.world.now);
            let nxt = pair.half.nxt();
            let seq = nxt.since(pair.first);
            pair.half.segment(pair.world.ctx(), nxt, &octets(seq, seq + 700), false, 536);
            prop_assert!(pair.half.nxt() > nxt, "text in order finds no room");
        }
        pair.half.clear(&mut pair.world.pool);
        prop_assert_eq!(pair.world.pool.in_use(), 0);
    }
}
