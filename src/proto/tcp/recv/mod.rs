//! The receiving half of a synchronised connection: their bytes, up to where the application reads.
//!
//! ```text
//!        read            nxt                     edge
//!   ──────┼───────────────┼───────────────────────┼──────────▶ positions (RcvPos)
//!   given │    unread     │  acceptable:          │  outside
//!   to the│  in the ring, │  out-of-order text is │  the window
//!   app   │  acknowledged │  kept here (`ahead`)  │
//!         └──────── capacity ─────────────────────┘
//! ```
//!
//! Owns the receive ring and how large it may be, reassembly, the window we offer, the acknowledgement we owe and the
//! urgent mark.
//! Does not own the decision whether a segment is acceptable (`acceptance`), nor the sending of anything.
//! RFC 9293 sections 3.4, 3.8.5, 3.8.6 and 3.10.7.4.

pub(crate) mod ack;
pub(crate) mod autotune;
pub(crate) mod sack;
pub(crate) mod window;

use crate::proto::buf::pages::{PAGE_SIZE, Pool};
use crate::proto::buf::ranges::Ranges;
use crate::proto::buf::ring::Ring;
use crate::proto::config::Config;
use crate::proto::context::Context;
use crate::proto::tcp::seq::RcvPos;
use crate::time::Instant;

use ack::{AckIntent, Arrived};
use autotune::AutoTune;
use sack::{Blocks, SackReport};
use window::Window;

/// What the handshake settled about their direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecvStart {
    /// The position after the peer's SYN.
    pub(crate) first: RcvPos,
    /// The window that our SYN offered.
    pub(crate) offered: u16,
    /// The shift of the windows we send.
    pub(crate) scale: u8,
    /// Round-trip time of the handshake in nanoseconds, if nothing in it was sent twice.
    pub(crate) rtt: Option<u64>,
    /// The peer has said that it understands selective acknowledgements.
    pub(crate) sack: bool,
}

/// The window that a SYN offers now: what a buffer starts with, as far as there is memory.
pub(crate) fn syn_window(ctx: &Context) -> u16 {
    let initial = ctx.config.recv_buffer_initial.min(ctx.config.recv_buffer) as u64;
    // Where there is plenty, the share need not be known.
    if initial <= bytes_of_share(Pool::SHARE_WHEN_PLENTY) && ctx.pool.has_plenty(0) {
        debug_assert!(initial <= bytes_of_share(ctx.pool.share(0)));
        return Window::syn_field(initial);
    }
    Window::syn_field(initial.min(bytes_of_share(ctx.pool.share(0))))
}

/// The window of a SYN-ACK that is not remembered: the same at any time, so that it is known again when the answer comes.
pub(crate) fn cookie_window(config: &Config) -> u16 {
    Window::syn_field(config.recv_buffer_initial.min(config.recv_buffer) as u64)
}

/// The buffer to begin with, and the window of it that our SYN has offered.
#[inline(always)]
fn offered(config: &Config, start: &RecvStart, now: Instant) -> (AutoTune, Window) {
    let RecvStart { first, offered, scale, rtt, .. } = *start;
    let (initial, max) = (config.recv_buffer_initial as u64, config.recv_buffer as u64);
    let mut tune = AutoTune::new(initial, max, first, offered.into(), now);
    rtt.into_iter().for_each(|rtt| tune.rtt_sample(rtt));
    let mut window = Window::new(first, offered.into(), scale);
    window.resize(tune.size());
    (tune, window)
}

/// The window that a share of the pool can keep, wherever in a page it begins.
fn bytes_of_share(pages: usize) -> u64 {
    (pages.saturating_sub(1) as u64).saturating_mul(PAGE_SIZE as u64)
}

/// What became of a segment's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    /// There was none.
    None,
    /// RCV.NXT moved.
    InOrder,
    /// Kept for later.
    Ahead,
    /// All of it was here already.
    Duplicate,
    /// No page, or no range, was left for (the rest of) it.
    NoMemory,
}

/// The receiving half.
#[derive(Debug)]
pub(crate) struct RecvHalf {
    nxt: RcvPos,
    read: RcvPos,
    ring: Ring,
    /// Text beyond `nxt` that is in the ring.
    ahead: Ranges,
    /// What the peer is told of that, if it wants to hear it.
    sack: Option<SackReport>,
    /// Where their FIN stands, once one was seen.
    fin: Option<RcvPos>,
    tune: AutoTune,
    /// When text came, or was read, last.
    active: Instant,
    /// More may come than memory is promised for, since for long nothing came.
    lapsed: bool,
    pub(crate) window: Window,
    pub(crate) ack: AckIntent,
    /// The position after the last urgent byte (RFC 9293 MUST-62).
    urgent: Option<RcvPos>,
    /// The largest segment the peer has sent, at least [`Self::MSS_FLOOR`].
    mss: u64,
    /// Nobody will read from here on: text is acknowledged and thrown away.
    discard_from: Option<RcvPos>,
    /// Nothing more will come: no memory is promised for it.
    is_over: bool,
    first: RcvPos,
    last_ack_sent: RcvPos,
    pub(crate) duplicates: u64,
    pub(crate) out_of_order: u64,
}

impl RecvHalf {
    /// Peers that send only small segments are acknowledged as if these were full-sized.
    const MSS_FLOOR: u64 = 536;

    pub(crate) fn new(config: &Config, start: &RecvStart, now: Instant) -> Self {
        let (tune, window) = offered(config, start, now);
        let first = start.first;
        RecvHalf {
            nxt: first,
            read: first,
            ring: Ring::new(first.get()),
            ahead: Ranges::new(),
            sack: start.sack.then(SackReport::default),
            fin: None,
            tune,
            active: now,
            lapsed: false,
            window,
            ack: AckIntent::default(),
            urgent: None,
            mss: Self::MSS_FLOOR,
            discard_from: None,
            is_over: false,
            first,
            last_ack_sent: first,
            duplicates: 0,
            out_of_order: 0,
        }
    }

    /// Another connection's in the memory of one that is over, and was [cleared](Self::clear).
    // Field by field: as a whole, the old one would be dropped.
    #[inline(always)]
    pub(crate) fn renew(&mut self, config: &Config, start: &RecvStart, now: Instant) {
        let at = start.first;
        let RecvHalf {
            nxt,
            read,
            ring,
            ahead,
            sack,
            fin,
            tune,
            active,
            lapsed,
            window,
            ack,
            urgent,
            mss,
            discard_from,
            is_over,
            first,
            last_ack_sent,
            duplicates,
            out_of_order,
        } = self;
        debug_assert!(ahead.is_empty(), "it was cleared");
        (*nxt, *read, *first, *last_ack_sent) = (at, at, at, at);
        ring.renew(at.get());
        match sack {
            Some(report) if start.sack => report.renew(),
            Some(_) | None => *sack = start.sack.then(SackReport::default),
        }
        (*fin, *urgent, *discard_from) = (None, None, None);
        (*tune, *window) = offered(config, start, now);
        *active = now;
        (*lapsed, *is_over) = (false, false);
        *ack = AckIntent::default();
        *mss = Self::MSS_FLOOR;
        (*duplicates, *out_of_order) = (0, 0);
    }

    /// RCV.NXT.
    pub(crate) fn nxt(&self) -> RcvPos {
        self.nxt
    }

    /// RCV.WND.
    pub(crate) fn wnd(&self) -> u64 {
        self.window.size(self.nxt)
    }

    /// The largest segment seen, or an assumption.
    pub(crate) fn mss(&self) -> u64 {
        self.mss
    }

    /// Whether their FIN has come, and everything before it.
    pub(crate) fn fin_received(&self) -> bool {
        self.fin.is_some_and(|fin| self.nxt > fin)
    }

    /// Bytes that can be read now.
    pub(crate) fn readable(&self) -> u64 {
        let end = self.end_of_text();
        self.discard_from.map_or(end, |from| from.min(end)).since(self.read)
    }

    /// Bytes of text received in order so far.
    pub(crate) fn bytes_received(&self) -> u64 {
        self.end_of_text().since(self.first)
    }

    /// Unread bytes before the urgent mark, while it lies ahead.
    //= RFC9293 MUST-33
    pub(crate) fn urgent_unread(&self) -> Option<u64> {
        self.urgent.filter(|mark| *mark > self.read).map(|mark| mark.since(self.read))
    }

    /// Whether what comes is thrown away.
    pub(crate) fn discards(&self) -> bool {
        self.discard_from.is_some()
    }

    /// Takes a segment's text and FIN. `segment_size` is the size of the packets it stands for.
    #[inline(always)]
    pub(crate) fn segment(
        &mut self,
        ctx: &mut Context,
        seq: RcvPos,
        payload: &[u8],
        fin: bool,
        segment_size: u64,
    ) -> Text {
        if fin {
            self.note_fin(seq.plus(payload.len() as u64));
        }
        self.mss = self.mss.max(segment_size);
        //= RFC5681 4.2 out of order: a bare acknowledgement or a new window draws nothing.
        let text = if payload.is_empty() { Text::None } else { self.text(ctx, seq, payload, segment_size) };
        let completes = self.fin == Some(self.nxt);
        if completes {
            self.nxt = self.nxt.plus(1);
        }
        // Their end of the stream is the last that comes: there is no company to wait for.
        if fin || completes {
            self.ack.at_once();
        }
        text
    }

    /// Notes the urgent pointer of a segment (RFC 9293 section 3.8.5). True if the mark is news.
    pub(crate) fn note_urgent(&mut self, mark: RcvPos) -> bool {
        let is_news = mark > self.read && self.urgent.is_none_or(|known| mark > known);
        if is_news {
            self.urgent = Some(mark);
        }
        is_news
    }

    /// Copies unread bytes to `out`, leaving them unread, and returns how many.
    pub(crate) fn peek(&self, out: &mut [u8]) -> usize {
        let count = self.readable().min(out.len() as u64) as usize;
        self.ring.read_at(self.read.get(), &mut out[..count]);
        count
    }

    /// Up to `max` unread bytes, in pieces.
    pub(crate) fn unread(&self, max: usize) -> impl Iterator<Item = &[u8]> {
        self.ring.pieces(self.read.get(), self.readable().min(max as u64) as usize)
    }

    /// So many unread bytes, which are there, as one piece; if they stand in the first page, as what is small and soon read does.
    #[inline]
    pub(crate) fn unread_in_one(&self, count: u64) -> Option<&[u8]> {
        debug_assert!(count <= self.readable(), "{count} of {}", self.readable());
        self.ring.piece(self.read.get(), count as usize)
    }

    /// Moves unread bytes to `out` and returns how many.
    pub(crate) fn read(&mut self, out: &mut [u8], pool: &mut Pool, now: Instant) -> usize {
        let count = self.readable().min(out.len() as u64) as usize;
        if count > 0 {
            self.ring.take(self.read.get(), &mut out[..count], pool);
            self.after_reading(count as u64, pool, now);
        }
        count
    }

    /// Counts up to `max` unread bytes as read and returns how many.
    pub(crate) fn consume(&mut self, max: usize, pool: &mut Pool, now: Instant) -> usize {
        let count = self.readable().min(max as u64);
        self.skip(count, pool, now);
        count as usize
    }

    /// Counts so many unread bytes, which are there, as read.
    #[inline]
    pub(crate) fn skip(&mut self, count: u64, pool: &mut Pool, now: Instant) {
        debug_assert!(count <= self.readable(), "{count} of {}", self.readable());
        if count > 0 {
            self.ring.advance(self.read.plus(count).get(), pool);
            self.after_reading(count, pool, now);
        }
    }

    fn after_reading(&mut self, count: u64, pool: &mut Pool, now: Instant) {
        self.read = self.read.plus(count);
        self.clear_discarded(pool);
        self.active = now;
        self.tune.read(count, now);
        if !self.is_over {
            self.follow_memory(pool);
        }
        self.tell_window();
    }

    /// From now on text is thrown away; what is unread stays readable.
    pub(crate) fn discard(&mut self, pool: &mut Pool) {
        self.discard_from.get_or_insert(self.nxt);
        self.ring.promise(0, pool);
        self.clear_discarded(pool);
    }

    /// Tells the peer of a window that has opened.
    pub(crate) fn tell_window(&mut self) {
        let is_due = self.window.update_is_due(self.nxt, self.first_kept(), self.mss);
        if is_due && !self.fin_received() {
            self.ack.at_once();
        }
    }

    /// The window field for a segment sent now, and the edge it advertises.
    pub(crate) fn window_field(&self) -> (u16, RcvPos) {
        self.window.field(self.nxt, self.first_kept(), self.mss)
    }

    /// The blocks that an acknowledgement reports, at most `room` (RFC 2018).
    pub(crate) fn sack_blocks(&self, room: usize) -> Blocks {
        self.sack.as_ref().map_or_else(Blocks::new, |sack| sack.blocks(&self.ahead, room, self.ack.waiting()))
    }

    /// Whether there is anything to report in such blocks.
    pub(crate) fn has_sack_blocks(&self) -> bool {
        self.sack.as_ref().is_some_and(|sack| !sack.is_empty(&self.ahead))
    }

    /// Whether they begin with what came twice.
    pub(crate) fn reports_duplicate(&self) -> bool {
        self.sack.as_ref().is_some_and(SackReport::has_duplicate)
    }

    /// Whether the buffer is larger than it was at first.
    pub(crate) fn buffer_has_grown(&self, config: &Config) -> bool {
        self.tune.size() > config.recv_buffer_initial as u64
    }

    /// All of a segment that stands before RCV.NXT has come before.
    pub(crate) fn note_duplicate(&mut self, seq: RcvPos, end: RcvPos) {
        //= RFC2883 4 duplicate, 4 edges
        if let Some(sack) = &mut self.sack {
            sack.came_twice(seq.max(self.first).get()..end.min(self.nxt).get());
        }
    }

    /// A segment that carried the acknowledgement and `edge`, and text of ours or not, has gone out, with a report if
    /// there was one.
    pub(crate) fn acknowledged(&mut self, edge: RcvPos, with_text: bool, now: Instant) {
        self.window.advertised(edge);
        let waiting = self.ack.waiting();
        self.ack.sent(with_text, now);
        self.last_ack_sent = self.nxt;
        if let Some(sack) = &mut self.sack {
            sack.sent(waiting);
        }
    }

    /// Last.ACK.sent (RFC 7323 section 4.3).
    pub(crate) fn last_ack_sent(&self) -> RcvPos {
        self.last_ack_sent
    }

    /// Gives all pages back; unread bytes are lost.
    pub(crate) fn clear(&mut self, pool: &mut Pool) {
        self.ring.promise(0, pool);
        self.read = self.end_of_text();
        self.clear_stretches();
        self.ring.clear(pool);
    }

    /// Gives all pages back but those of unread bytes: nothing more will come.
    pub(crate) fn clear_ahead(&mut self, pool: &mut Pool) {
        self.is_over = true;
        self.ring.promise(0, pool);
        self.clear_stretches();
        match self.readable() {
            0 => self.ring.clear(pool),
            unread => self.ring.truncate(self.read.plus(unread).get(), pool),
        }
    }

    /// All was read, and nobody will read more: gives all pages back, and from now on text is thrown away.
    pub(crate) fn close(&mut self, pool: &mut Pool) {
        debug_assert_eq!(self.readable(), 0);
        self.is_over = true;
        self.discard_from.get_or_insert(self.nxt);
        self.clear(pool);
    }

    /// Whether nothing more will come.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether it has no memory of the pool.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.ring.committed() == 0 && self.ahead.is_empty()
    }

    fn clear_stretches(&mut self) {
        self.ahead.clear();
        self.sack.iter_mut().for_each(SackReport::forget_order);
    }

    /// Gives the pages of text back that nobody will read.
    fn clear_discarded(&mut self, pool: &mut Pool) {
        if self.discard_from.is_some() && self.readable() == 0 {
            self.ring.clear(pool);
        }
    }

    /// The position that the window is counted from. Thrown-away text takes no room, so the window of a
    /// half that discards never closes.
    fn first_kept(&self) -> RcvPos {
        if self.discard_from.is_some() { self.nxt } else { self.read }
    }

    pub(crate) fn check_invariants(&self) {
        debug_assert!(self.read <= self.nxt && self.nxt <= self.window.edge().plus(1));
        debug_assert!(self.ahead.first().is_none_or(|range| range.start > self.nxt.get()));
    }

    fn end_of_text(&self) -> RcvPos {
        self.fin.map_or(self.nxt, |fin| fin.min(self.nxt))
    }

    /// Notes where their FIN stands. The first one counts, unless text has already gone past it.
    fn note_fin(&mut self, at: RcvPos) {
        let past_text = self.ahead.iter().next_back().is_none_or(|range| range.end <= at.get());
        // A FIN right at the edge takes no room; one past it will come again when the window has opened.
        let in_window = at >= self.nxt && at <= self.window.edge();
        if self.fin.is_none() && in_window && past_text {
            self.fin = Some(at);
        }
    }

    fn text(&mut self, ctx: &mut Context, seq: RcvPos, payload: &[u8], segment_size: u64) -> Text {
        self.active = ctx.now;
        self.follow_memory(&mut ctx.pool);
        let limit = self.fin.map_or(self.window.edge(), |fin| fin.min(self.window.edge()));
        let start = seq.max(self.nxt);
        let end = seq.plus(payload.len() as u64).min(limit);
        self.report_duplicate(seq, end);
        if start >= end {
            self.duplicates += 1;
            ctx.counters.tcp_duplicates += 1;
            self.ack.trouble(self.quick_acks(ctx));
            return Text::Duplicate;
        }
        let fresh = &payload[start.since(seq) as usize..end.since(seq) as usize];
        if start == self.nxt {
            self.in_order(ctx, fresh, segment_size)
        } else {
            self.out_of_order(ctx, start, fresh)
        }
    }

    fn in_order(&mut self, ctx: &mut Context, fresh: &[u8], segment_size: u64) -> Text {
        let mut stored = self.store(ctx, self.nxt, fresh);
        if stored < fresh.len() && !self.ahead.is_empty() {
            self.forget_ahead(ctx, stored as u64);
            let rest = self.nxt.plus(stored as u64);
            stored += self.store(ctx, rest, &fresh[stored..]);
        }
        self.nxt = self.nxt.plus(stored as u64);
        let had_gap = !self.ahead.is_empty();
        if had_gap {
            self.fill_gap();
        }
        self.tune.received(self.nxt, self.window.edge(), ctx.now);
        let arrived = Arrived { len: stored as u64, segment_size, mss: self.mss, at: ctx.now };
        let wnd = self.wnd();
        let is_quick =
            self.ack.text(&arrived, || Self::quick_acks_of(wnd, arrived.mss, &ctx.config), &ctx.config);
        ctx.counters.tcp_quick_acks += u64::from(is_quick);
        //= RFC5681 3.2 gap
        //= RFC6582 5 immediate
        if had_gap || stored < fresh.len() {
            self.ack.trouble(self.quick_acks(ctx));
        }
        if stored < fresh.len() { Text::NoMemory } else { Text::InOrder }
    }

    /// RCV.NXT has moved, and may have come to text that was ahead of its turn.
    fn fill_gap(&mut self) {
        while let Some(range) = self.ahead.first().filter(|range| range.start <= self.nxt.get()) {
            self.nxt = self.nxt.max(RcvPos::at(range.end));
            self.ahead.remove_below(self.nxt.get());
        }
        if self.ahead.is_empty() {
            self.sack.iter_mut().for_each(SackReport::forget_order);
        }
    }

    /// Text in order found no memory: text that came too early, and was never acknowledged, gives way. Else it
    /// would hold the place of the very text that it waits for. `stored` bytes at RCV.NXT stay.
    fn forget_ahead(&mut self, ctx: &mut Context, stored: u64) {
        self.ahead.clear();
        self.ring.truncate(self.nxt.get() + stored, &mut ctx.pool);
    }

    /// Segments that a sender whose window is to open fast is acknowledged one by one: no more than half of what it may
    /// send, as on Linux.
    fn quick_acks(&self, ctx: &Context) -> u32 {
        Self::quick_acks_of(self.wnd(), self.mss, &ctx.config)
    }

    fn quick_acks_of(wnd: u64, mss: u64, config: &Config) -> u32 {
        let half = (wnd / (2 * mss)).max(2);
        half.min(config.quick_acks.into()) as u32
    }

    /// Offers no more than the pool would lend, and has the pool promise what is or will be offered.
    // Twice for a request, and it mostly finds all as it was: a call would cost a third of that.
    #[inline(always)]
    pub(crate) fn follow_memory(&mut self, pool: &mut Pool) {
        let (size, mine) = (self.tune.size(), self.ring.committed());
        let is_small = size <= bytes_of_share(Pool::SHARE_WHEN_PLENTY) && !self.lapsed;
        // Where a buffer that has not grown finds what it needs, its share need not be known.
        if is_small && self.discard_from.is_none() && pool.has_plenty(mine) {
            debug_assert!(size <= bytes_of_share(pool.share(mine)));
            self.window.resize(size);
            self.ring.promise(self.needed(), pool);
        } else {
            self.follow_share(pool);
        }
    }

    #[inline(never)]
    fn follow_share(&mut self, pool: &mut Pool) {
        if self.discard_from.is_some() {
            // What nobody will read takes no memory.
            self.window.resize(self.tune.size());
            return;
        }
        let share = pool.share(self.ring.committed());
        self.window.resize(self.tune.size().min(bytes_of_share(share)));
        let needed = self.needed();
        let pages = if self.lapsed { needed.min(share) } else { needed };
        self.lapsed = pages < needed;
        self.ring.promise(pages, pool);
    }

    /// Pages that all may take up that is unread, or may come.
    fn needed(&self) -> usize {
        Ring::cover(self.read.get(), self.window.limit(self.read).get())
    }

    /// When [`lapse`](Self::lapse) has something to do.
    pub(crate) fn lapses_at(&self, config: &Config) -> Option<Instant> {
        self.may_lapse().then(|| self.active + config.promise_timeout)
    }

    /// Whether it is to [`lapse`](Self::lapse) some time.
    pub(crate) fn may_lapse(&self) -> bool {
        self.ring.committed() > Pool::SHARE_WHEN_PLENTY && self.readable() == 0
    }

    /// Whether a read has left anything to be done: an acknowledgement to send, or a timer to arm.
    pub(crate) fn wants_settling(&self, now: Instant) -> bool {
        self.ack.is_due(now) || self.may_lapse()
    }

    /// Gives the memory back that was promised for a large window, if nothing has come for long. The window stays, but is
    /// as good as what there is when it is used: the peer may have to send again.
    pub(crate) fn lapse(&mut self, config: &Config, pool: &mut Pool, now: Instant) {
        if self.lapses_at(config).is_some_and(|at| at <= now) {
            self.lapsed = true;
            self.ring.promise(Pool::SHARE_WHEN_PLENTY, pool);
            // Text ahead of its turn may hold more; it counts for what it is.
            self.active = now;
        }
    }

    //= RFC9293 SHLD-31
    fn out_of_order(&mut self, ctx: &mut Context, start: RcvPos, fresh: &[u8]) -> Text {
        self.out_of_order += 1;
        //= RFC9293 MAY-13
        //= RFC5681 3.2 duplicate ACK
        //= RFC2018 4 each segment
        self.ack.duplicate_for(self.quick_acks(ctx));
        let range = start.get()..start.get() + fresh.len() as u64;
        if self.ahead.len() >= ctx.config.reassembly_ranges && self.ahead.would_grow(range) {
            return Text::NoMemory;
        }
        let stored = self.store(ctx, start, fresh);
        ctx.counters.tcp_out_of_order += u64::from(stored > 0);
        let kept = start.get()..start.get() + stored as u64;
        self.ahead.insert(kept);
        if let Some(sack) = &mut self.sack {
            sack.came(start.get(), &self.ahead);
        }
        if stored < fresh.len() { Text::NoMemory } else { Text::Ahead }
    }

    /// Reports the first stretch of a segment's text that was here before, acknowledged or ahead of its turn.
    fn report_duplicate(&mut self, seq: RcvPos, end: RcvPos) {
        //= RFC2883 4.2 partial
        let came = seq.max(self.nxt).get()..end.get();
        if seq < self.nxt {
            self.note_duplicate(seq, end);
        } else if !self.ahead.is_empty()
            && let Some(sack) = &mut self.sack
            && let Some(stretch) = self.ahead.overlapping(came.clone())
        {
            sack.came_twice(stretch.start.max(came.start)..stretch.end.min(came.end));
        }
    }

    fn store(&mut self, ctx: &mut Context, at: RcvPos, fresh: &[u8]) -> usize {
        if self.discard_from.is_some() {
            fresh.len()
        } else {
            self.ring.write_at(at.get(), fresh, &mut ctx.pool)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ip::testing::World;
    use crate::proto::wire::tcp::SeqNr;

    #[test]
    fn when_nothing_more_will_come_only_what_is_unread_takes_memory_and_none_is_promised_by_reading_it() {
        let mut world = World::new();
        let first = RcvPos::of_syn(SeqNr(1_000)).plus(1);
        let start = RecvStart { first, offered: 65_535, scale: 0, rtt: None, sack: false };
        let mut half = RecvHalf::new(&world.config, &start, world.now);
        let ctx = world.ctx();
        assert_eq!(half.segment(ctx, first, b"unread", false, 6), Text::InOrder);
        assert_eq!(half.segment(ctx, first.plus(20_000), b"early", false, 5), Text::Ahead);
        half.clear_ahead(&mut ctx.pool);
        assert_eq!((ctx.pool.in_use(), ctx.pool.committed()), (1, 1));
        assert_eq!(half.consume(4, &mut ctx.pool, ctx.now), 4);
        assert_eq!((ctx.pool.in_use(), ctx.pool.committed()), (1, 1));
        assert_eq!(half.consume(4, &mut ctx.pool, ctx.now), 2);
        assert_eq!((ctx.pool.in_use(), ctx.pool.committed()), (0, 0));
    }
}
