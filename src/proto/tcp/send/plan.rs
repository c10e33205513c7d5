//! What to send next: lost bytes first, then new ones, as windows, Nagle and silly-window avoidance allow.
//!
//! A plan is one segment or, where a device cuts them, a super-segment: what it is cut into are exactly the segments that
//! would have gone one after another at the same instant, so nobody else has to know. No loop tells how many they are. All
//! rules are asked what they would say behind so many bytes; full segments may go as long as no rule stops them, and the one
//! behind those is asked for by itself. Where that would not do, a super-segment ends early, and the next plan goes on.
//!
//! RFC 9293 sections 3.7.4, 3.8.6.2.1 and 3.8.6.1.

use core::ops::Range;

use super::SendHalf;
use super::path::ProbeTurn;
use crate::proto::tcp::seq::SndPos;
use crate::time::Instant;

/// Why a segment is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Bytes that were never sent.
    New,
    /// Bytes that were marked lost.
    Retransmission,
    /// The byte at SND.UNA, in spite of a window of zero.
    Probe,
    /// What was sent last, again: no acknowledgement comes (RFC 8985 section 7).
    LossProbe,
    /// Bytes that were never sent, in a segment larger than the path is known to let through (RFC 4821).
    PathProbe,
}

/// One segment with text or FIN, or a super-segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TextPlan {
    pub(crate) kind: Kind,
    pub(crate) start: SndPos,
    /// Bytes of text.
    pub(crate) len: u64,
    /// Bytes of text in each segment on the wire; the last may have less. As many as `len` if there is only one.
    pub(crate) size: u64,
    /// FIN follows the text.
    pub(crate) fin: bool,
    /// It empties the send queue (RFC 9293 MUST-61).
    pub(crate) psh: bool,
    /// Urgent pointer (RFC 9293 MUST-62).
    pub(crate) urgent: Option<u16>,
}

impl TextPlan {
    /// One past the last position it occupies.
    pub(crate) fn end(&self) -> SndPos {
        self.start.plus(self.len + u64::from(self.fin))
    }

    /// Whether it stands for more than one segment.
    pub(crate) fn is_super(&self) -> bool {
        self.len > self.size
    }

    /// Segments on the wire.
    pub(crate) fn segments(&self) -> u64 {
        if self.is_super() { self.len.div_ceil(self.size) } else { 1 }
    }

    /// Where the first segment ends.
    fn first_end(&self) -> SndPos {
        if self.is_super() { self.start.plus(self.size) } else { self.end() }
    }

    /// Where the last segment begins.
    pub(super) fn last(&self) -> SndPos {
        self.start.plus((self.segments() - 1) * self.size)
    }

    /// The segments that it is cut into.
    #[cfg(test)]
    pub(crate) fn cut(self) -> impl Iterator<Item = TextPlan> {
        (0..self.segments()).map(move |nth| {
            let start = self.start.plus(nth * self.size);
            let len = self.size.min(self.len - nth * self.size);
            let is_last = nth + 1 == self.segments();
            let (fin, psh) = (self.fin && is_last, self.psh && is_last);
            TextPlan { start, len, size: len, fin, psh, ..self }
        })
    }
}

/// What one segment takes.
#[derive(Clone, Copy, Debug, Default)]
struct Piece {
    text: u64,
    fin: bool,
}

/// How far a run of full segments may go.
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Bytes of text in a full segment.
    size: u64,
    /// As far as segments are full whatever a rule may add.
    full: u64,
    /// The most text that may be planned at once.
    most: u64,
}

/// What is known of a segment that is not full.
#[derive(Clone, Copy, Debug)]
struct Small {
    /// Nothing waits for an acknowledgement, or nobody cares.
    may_go: bool,
    /// The override of silly-window avoidance is due.
    has_waited: bool,
}

impl SendHalf {
    /// The next segment, if any may go now. Changes nothing. `options_len` is the room in it that options take which not
    /// every segment has. Of what goes in full segments up to `most` bytes of text may be planned at once, as a super-segment.
    pub(crate) fn plan(&self, nodelay: bool, options_len: u64, most: u64) -> Option<TextPlan> {
        let mss = self.mss_beside(options_len);
        if self.timer.probe_is_due() {
            return self.plan_probe();
        }
        if self.timer.loss_probe_is_due() {
            return self.plan_loss_probe(mss);
        }
        // Mostly there is nothing.
        if !self.has_something_unsent() {
            return None;
        }
        if let Some(allowance) = self.recovery.frto.new_only() {
            // Whether anything is lost is just being found out.
            //= RFC5682 2.1 new data, 2.1 Nagle
            return self.plan_anything_new(mss.min(allowance).min(self.cwnd_room(0)));
        }
        // What is lost has left the network, so it waits for nothing that new text would not wait for, too.
        match self.lost.first() {
            None => self.plan_new(nodelay, mss, most),
            Some(lost) => self.plan_retransmission(&lost, mss, most),
        }
    }

    /// The same for one segment of text that was never sent, where there is [nothing else](Self::has_only_new_text) to plan.
    // As mostly it is. Inlined, the sender is laid out for what is known of it.
    #[inline(always)]
    pub(crate) fn plan_one_of_new(&self, nodelay: bool) -> Option<TextPlan> {
        let piece = self.new_piece(nodelay, self.mss_beside(0), 0);
        let plan = piece.map(|piece| self.segment(Kind::New, self.nxt, piece.text, piece.fin));
        debug_assert_eq!(plan, self.plan(nodelay, 0, 0), "the short way is the long one");
        plan
    }

    /// Whether all that [`plan`](Self::plan) may have to decide about is text that was never sent, as usual.
    pub(crate) fn has_only_new_text(&self) -> bool {
        !self.timer.asks_for_probe()
            && self.lost.is_empty()
            && self.recovery.frto.new_only().is_none()
            && !self.may_probe_path()
    }

    /// The text of a segment with so many bytes of options that not every segment has.
    fn mss_beside(&self, options_len: u64) -> u64 {
        self.mss.saturating_sub(options_len).max(1)
    }

    /// Whether there is anything that [`plan`](Self::plan) has to decide about. Asked after every packet.
    pub(crate) fn has_something_to_plan(&self) -> bool {
        self.has_something_unsent() || self.timer.asks_for_probe()
    }

    /// Whether something was never sent, or has to be sent again.
    fn has_something_unsent(&self) -> bool {
        self.nxt != self.end_with_fin() || !self.lost.is_empty()
    }

    /// The device has taken the planned segment.
    #[inline(always)]
    pub(crate) fn commit(&mut self, plan: &TextPlan, now: Instant) {
        match plan.kind {
            Kind::New | Kind::PathProbe => self.commit_new(plan, now),
            Kind::Retransmission | Kind::Probe | Kind::LossProbe => self.commit_again(plan, now),
        }
        let end = plan.end();
        if let Some(prr) = self.selective.as_mut().and_then(|selective| selective.prr.as_mut()) {
            prr.sent(end.since(plan.start));
        }
        self.path_sent(plan);
        self.nxt = self.nxt.max(end);
        self.last_sent = now;
        self.recovery.segment_sent();
        self.timer_after_sending(plan, now);
    }

    /// What is known of a segment that was never sent before.
    #[inline(always)]
    fn commit_new(&mut self, plan: &TextPlan, now: Instant) {
        //= RFC6298 3 each round trip
        //= RFC7323 4.2 history: one for a round trip, whatever timestamps would tell.
        self.timed.get_or_insert((plan.first_end(), now));
        self.tail = plan.last();
        self.recovery.frto.sent_new(plan.len);
        if let Some(selective) = &mut self.selective {
            //= RFC8985 6.1 recorded
            selective.flight.sent(plan.start.get()..plan.end().get(), now);
        }
    }

    /// What is known of one that was, or may have been.
    #[inline(never)]
    fn commit_again(&mut self, plan: &TextPlan, now: Instant) {
        let range = plan.start.get()..plan.end().get();
        self.lost.remove(range.clone());
        self.retransmits += if plan.start < self.nxt { plan.segments() } else { 0 };
        //= RFC6298 3 Karn: what was sent twice measures nothing.
        self.timed = self.timed.filter(|(timed_end, _)| *timed_end <= plan.start);
        if let Some(selective) = &mut self.selective {
            //= RFC8985 7.3 transmission: and what is lost is in the log no more.
            if plan.kind != Kind::Retransmission {
                selective.flight.forget(&range);
            }
            selective.sent_again(range.clone(), now);
        }
        if self.in_recovery() && plan.kind == Kind::Retransmission {
            let stamp = self.clock.map(|clock| clock.at(now));
            self.recovery.sent_again(range.start..range.end.min(self.nxt.get()), stamp);
        }
        self.path_sent_again(plan, now);
    }

    // What is rare stands by itself, so that the rest is short.
    /// Up to `most` bytes of new text, whatever the congestion window and Nagle say: its acknowledgement tells something.
    #[cold]
    fn plan_anything_new(&self, most: u64) -> Option<TextPlan> {
        let unsent = self.end.since(self.nxt);
        let window_room = self.right_edge().since(self.nxt);
        let text = unsent.min(most).min(window_room);
        let fin = self.fin && text == unsent && text < window_room;
        (text > 0).then(|| self.segment(Kind::New, self.nxt, text, fin))
    }

    /// The probe for a lost tail: something new if there is any, else the last segment again.
    #[cold]
    fn plan_loss_probe(&self, mss: u64) -> Option<TextPlan> {
        //= RFC8985 7.3 new data
        if let Some(new) = self.plan_anything_new(mss) {
            return Some(new);
        }
        // A window that has shrunk may leave out some of what is on its way.
        let limit = self.nxt.min(self.right_edge());
        //= RFC8985 7.3 last segment
        let (fin, text_end) = (self.fin && limit > self.end, self.end.min(limit));
        let least = self.una.max(SndPos::at(text_end.get().saturating_sub(mss))).min(text_end);
        let start = if self.tail < text_end || fin { self.tail.max(least).min(text_end) } else { least };
        Some(self.segment(Kind::LossProbe, start, text_end.since(start), fin))
    }

    //= RFC9293 MUST-36: one byte (or the FIN) at SND.UNA, whatever the window says.
    #[cold]
    fn plan_probe(&self) -> Option<TextPlan> {
        let text = self.end.since(self.una).min(1);
        (self.una < self.end_with_fin()).then(|| self.segment(Kind::Probe, self.una, text, text == 0))
    }

    #[inline(never)]
    fn plan_retransmission(&self, lost: &Range<u64>, mss: u64, most: u64) -> Option<TextPlan> {
        let start = SndPos::at(lost.start);
        let room = self.right_edge().since(start).min(self.cwnd().saturating_sub(self.flight()));
        // Behind it new text has rules of its own.
        let full = (lost.end - lost.start).min(self.end.since(start)).min(room);
        let first = self.lost_piece(lost, mss, 0)?;
        if self.stands_alone(first, start, mss, most) {
            return Some(self.segment(Kind::Retransmission, start, first.text, first.fin));
        }
        self.run(Kind::Retransmission, start, Run { size: mss, full, most }, |ahead| {
            self.lost_piece(lost, mss, ahead)
        })
    }

    /// What goes again of `lost` behind the `ahead` bytes of it that went before, in full segments.
    fn lost_piece(&self, lost: &Range<u64>, mss: u64, ahead: u64) -> Option<Piece> {
        let start = SndPos::at(lost.start).plus(ahead);
        // Where nothing in flight follows, bytes never sent fill the segment up: a probe's byte, or the small
        // last segment before a time-out, would otherwise travel alone and Nagle would hold the rest for it.
        let is_last = lost.end == self.nxt.get();
        let fills_up = is_last && start.get() < lost.end;
        let end = if fills_up { self.end } else { self.end.min(SndPos::at(lost.end)) };
        //= RFC7323 2.4 later retransmissions
        //= RFC9293 SHLD-16: after a shrink, what still fits is retransmitted as usual.
        let room = self.right_edge().since(start);
        let text = end.since(start).min(room).min(mss);
        let fin = self.fin && is_last && start.plus(text) == self.end && text < room;
        //= RFC8985 9.3 congestion control
        let is_first = ahead == 0;
        let fits = text <= self.cwnd_room(ahead) || (is_first && self.recovery.retransmit_regardless());
        ((text > 0 || fin) && fits).then_some(Piece { text, fin })
    }

    fn plan_new(&self, nodelay: bool, mss: u64, most: u64) -> Option<TextPlan> {
        let unsent = self.end.since(self.nxt);
        let window_room = self.right_edge().since(self.nxt);
        // A probe is as large as the datagrams it asks for: it waits while others carry more than text.
        let turn = match mss < self.mss {
            true => ProbeTurn::None,
            false => self.probe_turn(unsent, window_room, || self.cwnd_room(0)),
        };
        match turn {
            ProbeTurn::None => {}
            //= RFC4821 7.5 in-band
            ProbeTurn::Goes(text) => return Some(self.segment(Kind::PathProbe, self.nxt, text, false)),
            //= RFC4821 7.4 delay
            ProbeTurn::Waits => return None,
        }
        let first = self.new_piece(nodelay, mss, 0)?;
        if self.stands_alone(first, self.nxt, mss, most) {
            return Some(self.segment(Kind::New, self.nxt, first.text, first.fin));
        }
        let full = unsent.min(window_room).min(self.new_room(0));
        self.run(Kind::New, self.nxt, Run { size: mss, full, most }, |ahead| {
            self.new_piece(nodelay, mss, ahead)
        })
    }

    /// What goes of new text behind the `ahead` bytes of it that went before, in full segments.
    #[inline(always)] // So that the first, which mostly is all, knows that it is the first.
    fn new_piece(&self, nodelay: bool, mss: u64, ahead: u64) -> Option<Piece> {
        let start = self.nxt.plus(ahead);
        let unsent = self.end.since(start);
        //= RFC9293 MUST-34: the usable window may be negative; `since` makes that zero.
        //= RFC9293 SHLD-15
        //= RFC7323 2.4 within, 2.4 shrinking
        //= RFC9937 3 receiver's window
        let window_room = self.right_edge().since(start);
        let cwnd_room = self.room_for_new(ahead);
        //= RFC9293 SHLD-27: what several writes have left goes together.
        let text = unsent.min(mss).min(window_room).min(cwnd_room);
        let fin = self.fin && start <= self.end && text == unsent && text < window_room;
        let small = Small {
            //= RFC9293 MUST-17
            may_go: nodelay || self.outstanding() + ahead == 0,
            has_waited: ahead == 0 && self.timer.override_is_due(),
        };
        let worth = fin || (text > 0 && self.is_worth_sending(text, mss, unsent, small));
        worth.then_some(Piece { text, fin })
    }

    /// Whether the first of those segments that go now may have no others with it, in a super-segment.
    fn stands_alone(&self, first: Piece, start: SndPos, size: u64, most: u64) -> bool {
        // Each segment tells how far ahead an urgent mark is; of those that a device makes all would tell the same.
        let is_urgent = || self.urgent.is_some_and(|mark| mark > start);
        first.text < size || first.fin || most <= size || is_urgent()
    }

    /// As many segments of text from `start` on as go at once and may be one super-segment: the first is full, and does not
    /// [stand alone](Self::stands_alone). `next` tells what goes behind so many bytes, all of which are in full segments.
    #[inline(never)]
    fn run(
        &self,
        kind: Kind,
        start: SndPos,
        run: Run,
        next: impl Fn(u64) -> Option<Piece>,
    ) -> Option<TextPlan> {
        let Run { size, full, most } = run;
        // The first is full, whatever room there is.
        let full = (full.min(most) / size).max(1) * size;
        let last = next(full).filter(|last| full + last.text <= most).unwrap_or_default();
        let whole = self.segment(kind, start, full + last.text, last.fin);
        Some(TextPlan { size: size.min(whole.len), ..whole })
    }

    /// What the congestion window lets go behind `ahead` bytes. In a recovery by RFC 9937 that may be a whole segment where
    /// there is room for a part of one: its window moves by octets.
    //= RFC9937 3 congestion window
    fn cwnd_room(&self, ahead: u64) -> u64 {
        let room = self.cwnd().saturating_sub(self.flight() + ahead);
        let prr = self.selective.as_ref().and_then(|selective| selective.prr.as_ref());
        let may_round_up = prr.is_some_and(|prr| prr.may_round_up(ahead));
        if may_round_up && room > 0 { room.max(self.mss) } else { room }
    }

    /// The same for new text, to the octet.
    fn new_room(&self, ahead: u64) -> u64 {
        self.new_room_within(self.cwnd(), ahead)
    }

    fn new_room_within(&self, cwnd: u64, ahead: u64) -> u64 {
        //= RFC3042 2 limited transmit, 2 new reports: with SACK nothing is counted, since what has left the network is known.
        let limited = self.recovery.limited_transmit() * self.mss;
        (cwnd + limited).saturating_sub(self.flight() + ahead)
    }

    /// The larger of both. But for a recovery by RFC 9937 it is the latter.
    fn room_for_new(&self, ahead: u64) -> u64 {
        let has_prr = self.selective.as_ref().is_some_and(|selective| selective.prr.is_some());
        if has_prr { self.room_in_recovery(ahead) } else { self.new_room_within(self.cc.cwnd(), ahead) }
    }

    #[cold]
    fn room_in_recovery(&self, ahead: u64) -> u64 {
        self.new_room(ahead).max(self.cwnd_room(ahead))
    }

    /// Silly-window avoidance and Nagle's algorithm for `text` bytes, all that may go now.
    //= RFC9293 MUST-38
    //= RFC9293 SHLD-7
    //= RFC9293 MAY-16
    fn is_worth_sending(&self, text: u64, mss: u64, unsent: u64, small: Small) -> bool {
        //= RFC9293 SHLD-28
        let is_full = text >= mss;
        let ends_queue = text == unsent && (small.may_go || self.fin || self.urgent.is_some());
        let half_window = 2 * text >= self.max_wnd && small.may_go;
        //= RFC9293 MUST-60
        is_full || ends_queue || half_window || small.has_waited
    }

    fn segment(&self, kind: Kind, start: SndPos, text: u64, fin: bool) -> TextPlan {
        let urgent = self.urgent.filter(|mark| *mark > start);
        TextPlan {
            kind,
            start,
            len: text,
            size: text,
            fin,
            //= RFC9293 MUST-61
            psh: text > 0 && start.plus(text) == self.end,
            //= RFC9293 MUST-62
            //= RFC9293 MUST-31: a mark further ahead than the field can say is told as far as it can.
            urgent: urgent.map(|mark| mark.since(start).min(u16::MAX.into()) as u16),
        }
    }
}

#[cfg(test)]
mod supers;
