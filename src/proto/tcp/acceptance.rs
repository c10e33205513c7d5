//! A segment arrives for a synchronised connection: the checks of RFC 9293 section 3.10.7.4 in their order,
//! one short function each, with those of RFC 5961.

use core::ops::ControlFlow;

use super::challenge::GlobalChallengeLimit;
use super::closing::{OurSide, State, TheirSide};
use super::connection::{Connection, Ending};
use super::recv::Text;
use super::send::acked::Acknowledgement;
use super::send::scoreboard::SackBlocks;
use super::seq::{RcvPos, SndPos};
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::events::Readiness;
use crate::proto::wire::tcp::{Control, Segment};
use crate::time::Instant;

/// What became of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was of use.
    Accepted,
    /// It was not.
    Dropped(DropReason),
    /// It ends the connection.
    Ended(Ending),
}

/// A segment on its way through the checks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) segment: &'a Segment<'a>,
    /// SEG.SEQ, unwrapped.
    pub(crate) seq: RcvPos,
    /// SEG.LEN.
    pub(crate) len: u64,
    /// Size of the packets it stands for.
    pub(crate) segment_size: u64,
    /// Type of service of its datagram.
    pub(crate) tos: u8,
}

impl Arrival<'_> {
    /// Whether it has neither text nor a control bit that counts.
    fn is_bare(&self) -> bool {
        self.len == 0
    }
}

type Check = ControlFlow<Verdict>;

impl Connection {
    /// Takes a segment.
    pub(crate) fn segment_arrives(
        &mut self,
        ctx: &mut Context,
        global: &mut GlobalChallengeLimit,
        arrival: &Arrival<'_>,
    ) -> Verdict {
        match self.checks(ctx, global, arrival) {
            ControlFlow::Continue(()) => Verdict::Accepted,
            ControlFlow::Break(verdict) => verdict,
        }
    }

    /// Takes the ACK that has opened it just now, if that says
    /// [no more](super::handshake::PeerSyn::hears_no_more_than_an_ack): what [`segment_arrives`](Self::segment_arrives) would ask, the
    /// half-open connection has asked.
    pub(crate) fn opened_by(&mut self, segment: &Segment<'_>, tos: u8, now: Instant) {
        //= RFC7323 2.3 incoming
        self.snd.first_window(self.rcv.nxt(), u64::from(segment.window) << self.snd.scale());
        if let (Some(timestamps), Some((value, _))) = (&mut self.timestamps, segment.options.timestamps) {
            timestamps.take(value, now);
        }
        //= RFC9293 MAY-9
        self.received_tos = tos;
    }

    /// Takes text and FIN of the SYN-ACK that finished an active handshake: its other fields are done with.
    /// `arrival.seq` is the position after the SYN.
    pub(crate) fn first_text(&mut self, ctx: &mut Context, arrival: &Arrival<'_>) -> Verdict {
        match self.take_text(ctx, arrival) {
            ControlFlow::Continue(()) => Verdict::Accepted,
            ControlFlow::Break(verdict) => verdict,
        }
    }

    fn checks(
        &mut self,
        ctx: &mut Context,
        global: &mut GlobalChallengeLimit,
        arrival: &Arrival<'_>,
    ) -> Check {
        //= RFC7323 5.3 before, 5.3 when it comes
        self.check_timestamp(ctx, arrival)?;
        self.check_sequence(ctx, global, arrival)?;
        self.check_reset(ctx, global, arrival)?;
        self.check_syn(ctx, global, arrival)?;
        self.check_ack(ctx, global, arrival)?;
        self.hear_timestamp(ctx, arrival);
        self.keepalive.heard(ctx.now);
        //= RFC9293 MAY-9
        self.received_tos = arrival.tos;
        self.check_urgent(arrival);
        self.take_text(ctx, arrival)
    }

    /// Before all: does it come from the past? Then it draws an ACK, unless it is a reset (RFC 7323 section 5.3 R1).
    fn check_timestamp(&mut self, ctx: &mut Context, arrival: &Arrival<'_>) -> Check {
        //= RFC7323 3.2 not agreed
        let timestamps = self.timestamps.as_ref();
        let Some(reason) = timestamps.and_then(|stamps| stamps.refuses(arrival.segment, ctx.now)) else {
            return ControlFlow::Continue(());
        };
        //= RFC7323 5.3 PAWS
        if reason == DropReason::TcpOldTimestamp {
            //= RFC2883 4.3 PAWS
            self.answer_unacceptable(ctx, arrival);
        }
        //= RFC7323 3.2 no abort
        ControlFlow::Break(Verdict::Dropped(reason))
    }

    /// Takes over the timestamp of a segment that is acceptable, its acknowledgement as well: who can't see our segments
    /// shall not be able to make the peer's seem old.
    fn hear_timestamp(&mut self, ctx: &Context, arrival: &Arrival<'_>) {
        if let (Some(timestamps), Some((value, _))) =
            (&mut self.timestamps, arrival.segment.options.timestamps)
        {
            timestamps.heard(value, arrival.seq, self.rcv.last_ack_sent(), ctx.now);
        }
    }

    /// First: is any of it in the window? Otherwise it draws an ACK, unless it is a reset.
    fn check_sequence(
        &mut self,
        ctx: &mut Context,
        global: &mut GlobalChallengeLimit,
        arrival: &Arrival<'_>,
    ) -> Check {
        if self.is_acceptable(arrival) {
            return ControlFlow::Continue(());
        }
        match arrival.segment.control {
            //= RFC5961 3.2 outside
            Control::Rst => return ControlFlow::Break(Verdict::Dropped(DropReason::TcpOutOfWindow)),
            //= RFC5961 4.2: wherever it stands.
            Control::Syn => return self.challenge(ctx, global, DropReason::TcpChallenged),
            Control::None | Control::Fin => {}
        }
        self.answer_unacceptable(ctx, arrival);
        self.keepalive.heard(ctx.now);
        if self.is_right_before(arrival) {
            self.check_ack_of_refused(ctx, global, arrival)?;
        }
        ControlFlow::Break(Verdict::Dropped(DropReason::TcpOutOfWindow))
    }

    /// A segment that is not acceptable draws an ACK. Two stacks that answer each other's bare ACKs must not do so for
    /// ever. Whatever has text or FIN can't be part of such a loop, and its sender needs the answer.
    fn answer_unacceptable(&mut self, ctx: &mut Context, arrival: &Arrival<'_>) {
        if !arrival.is_bare() {
            self.rcv.duplicates += 1;
            ctx.counters.tcp_duplicates += 1;
            self.rcv.note_duplicate(arrival.seq, arrival.seq.plus(arrival.segment.payload.len() as u64));
            self.rcv.ack.at_once();
        } else if self.challenge.allows_answer(ctx) {
            self.rcv.ack.at_once();
        }
    }

    /// Whether a bare segment stands right before what is expected. So do all of a peer that has probed our window and
    /// does not know that the octet was taken; if it has taken one of ours in the same way, neither end would ever hear
    /// of it unless they looked at each other's acknowledgements (draft-gont-tcpm-tcp-seq-validation; ADR 7).
    fn is_right_before(&self, arrival: &Arrival<'_>) -> bool {
        arrival.is_bare() && arrival.seq.plus(1) == self.rcv.nxt()
    }

    fn is_acceptable(&self, arrival: &Arrival<'_>) -> bool {
        let (nxt, edge) = (self.rcv.nxt(), self.rcv.window.edge());
        let (start, end) = (arrival.seq, arrival.seq.plus(arrival.len));
        if arrival.is_bare() {
            // RFC 9293 wants a bare segment strictly below the edge. A sender that has filled our window and
            // lost a segment of it sends its ACKs from the edge itself; like Linux we take them.
            nxt <= start && start <= edge
        } else {
            //= RFC9293 MUST-66: with a window of zero, what stands at RCV.NXT is looked at, but for its text.
            //= RFC7323 2.4 retraction: the edge is the highest that was told.
            start == nxt || (start < edge && nxt < end)
        }
    }

    /// Second: a reset must hit RCV.NXT exactly (RFC 5961 section 3.2).
    fn check_reset(
        &mut self,
        ctx: &mut Context,
        global: &mut GlobalChallengeLimit,
        arrival: &Arrival<'_>,
    ) -> Check {
        if arrival.segment.control != Control::Rst {
            return ControlFlow::Continue(());
        }
        //= RFC5961 3.2 exact
        //= RFC5961 3.2 in window
        if arrival.seq != self.rcv.nxt() {
            return self.challenge(ctx, global, DropReason::TcpChallenged);
        }
        //= RFC9293 SHLD-2: text in a reset is not looked at.
        ctx.counters.tcp_resets_in += 1;
        let ending = match self.state() {
            State::Closing | State::LastAck => Ending::ResetWhenDone,
            State::CloseWait => Ending::ResetAfterFin,
            State::Closed
            | State::Listen
            | State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::TimeWait => Ending::ResetByPeer,
        };
        ControlFlow::Break(Verdict::Ended(ending))
    }

    /// Fourth (there is no third: no security compartments): a SYN is challenged (RFC 5961 section 4.2).
    fn check_syn(
        &mut self,
        ctx: &mut Context,
        global: &mut GlobalChallengeLimit,
        arrival: &Arrival<'_>,
    ) -> Check {
        //= RFC5961 4.2
        if arrival.segment.control == Control::Syn {
            return self.challenge(ctx, global, DropReason::TcpChallenged);
        }
        ControlFlow::Continue(())
    }

    // Apart, so that the check stands where nearly all segments come along.
    #[cold]
    #[inline(never)]
    fn check_ack_of_refused(
        &mut self,
        ctx: &mut Context,
        global: &mut GlobalChallengeLimit,
        arrival: &Arrival<'_>,
    ) -> Check {
        self.check_ack(ctx, global, arrival)
    }

    /// Fifth: the acknowledgement.
    #[inline(always)]
    fn check_ack(
        &mut self,
        ctx: &mut Context,
        global: &mut GlobalChallengeLimit,
        arrival: &Arrival<'_>,
    ) -> Check {
        let Some(ack) = arrival.segment.ack else {
            return ControlFlow::Break(Verdict::Dropped(DropReason::TcpUnexpected));
        };
        let ack = self.snd.una().unwrap(ack);
        //= RFC9293 MAY-12
        //= RFC5961 5.2 range: as strict as it may be.
        let is_too_old = self.snd.una().since(ack) > self.snd.max_wnd();
        if ack > self.snd.nxt() || is_too_old {
            return self.challenge(ctx, global, DropReason::TcpBadAck);
        }
        //= RFC5961 5.2 duplicate: an older one says nothing, and its text is looked at.
        if ack >= self.snd.una() {
            self.hear_acknowledgement(ctx, arrival, ack);
            self.after_acknowledgement(ctx);
        }
        ControlFlow::Continue(())
    }

    #[inline(always)]
    fn hear_acknowledgement(&mut self, ctx: &mut Context, arrival: &Arrival<'_>, ack: SndPos) {
        let segment = arrival.segment;
        //= RFC9293 MUST-1
        //= RFC9293 REC-1: 64 bits hold what 32 do.
        //= RFC7323 2.3 incoming
        let wnd = u64::from(segment.window) << self.snd.scale();
        let reports_nothing = segment.options.sack.is_empty();
        if reports_nothing && self.snd.is_at_rest() {
            return self.snd.hear_window(arrival.seq, wnd);
        }
        if reports_nothing && self.ends_with_our_fin() && self.snd.is_fin_alone(ack) {
            return self.snd.finish();
        }
        let mut acknowledgement = Acknowledgement {
            ack,
            seq: arrival.seq,
            wnd,
            is_bare: arrival.is_bare(),
            at: ctx.now,
            sack: SackBlocks::new(),
            echo: self.timestamps.and(segment.options.timestamps).map(|(_, echo)| echo),
        };
        if !reports_nothing {
            self.read_sack_blocks(arrival, &mut acknowledgement.sack);
        }
        self.snd.acknowledge(&acknowledgement, &mut ctx.pool, &mut ctx.counters);
    }

    /// Whether the acknowledgement of our FIN is the last that is waited for, and nobody is left to ask what it tells of the path.
    fn ends_with_our_fin(&self) -> bool {
        self.orphan && self.sides.theirs() == TheirSide::Closed
    }

    /// The blocks that a segment reports, unwrapped: put where they are to stand, which most segments have no use for.
    #[inline(never)]
    fn read_sack_blocks(&self, arrival: &Arrival<'_>, blocks: &mut SackBlocks) {
        let place = |nr| self.snd.una().unwrap(nr).get();
        blocks.extend(arrival.segment.options.sack.iter().map(|(left, right)| place(*left)..place(*right)));
    }

    #[inline(always)]
    fn after_acknowledgement(&mut self, ctx: &mut Context) {
        self.soft_error = None;
        if self.sides.ours() == OurSide::Closing && self.snd.fin_acknowledged() {
            self.sides.our_fin_acknowledged();
            self.signals |= Readiness::WRITABLE;
            self.watch_fin_wait2(ctx);
        }
        self.note_room();
    }

    /// Sixth: the urgent pointer.
    fn check_urgent(&mut self, arrival: &Arrival<'_>) {
        if let Some(pointer) = arrival.segment.urgent.filter(|_| self.sides.theirs() == TheirSide::Open)
            && self.rcv.note_urgent(arrival.seq.plus(pointer.into()))
        {
            //= RFC9293 MUST-30
            //= RFC9293 MUST-32
            self.signals |= Readiness::URGENT;
        }
    }

    /// Seventh and eighth: text and FIN.
    #[inline(always)]
    fn take_text(&mut self, ctx: &mut Context, arrival: &Arrival<'_>) -> Check {
        let segment = arrival.segment;
        let has_neither = arrival.is_bare() && !self.orphan;
        if has_neither || self.sides.theirs() == TheirSide::Closed {
            return ControlFlow::Continue(());
        }
        let text_end = arrival.seq.plus(segment.payload.len() as u64);
        //= RFC9293 SHLD-3: text for a reader who is gone.
        if self.orphan && text_end > self.rcv.nxt() {
            return ControlFlow::Break(Verdict::Ended(Ending::Aborted));
        }
        let before = self.rcv.nxt();
        let fin = segment.control == Control::Fin;
        let text = self.rcv.segment(ctx, arrival.seq, segment.payload, fin, arrival.segment_size);
        if self.rcv.nxt() > before && !self.rcv.discards() {
            self.signals |= Readiness::READABLE;
        }
        if self.rcv.fin_received() {
            self.sides.their_fin_received();
            self.signals |= Readiness::READABLE;
        }
        match text {
            Text::None | Text::InOrder | Text::Ahead | Text::Duplicate => ControlFlow::Continue(()),
            Text::NoMemory => ControlFlow::Break(Verdict::Dropped(DropReason::NoMemory)),
        }
    }

    fn challenge(
        &mut self,
        ctx: &mut Context,
        global: &mut GlobalChallengeLimit,
        reason: DropReason,
    ) -> Check {
        //= RFC5961 3.2 challenge: an ACK like any other.
        if self.challenge.allows(ctx, global) {
            self.rcv.ack.duplicate();
        }
        ControlFlow::Break(Verdict::Dropped(reason))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;
    use core::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::proto::ip::testing::World;
    use crate::proto::tcp::handshake::PeerSyn;
    use crate::proto::tcp::timestamps::TimestampClock;
    use crate::proto::wire::tcp::SeqNr;
    use crate::proto::wire::tcp_options::TcpOptions;

    proptest! {
        #[test]
        fn an_ack_that_only_opens_does_what_it_would_by_the_way_of_all_segments(
            numbers in any::<[u32; 3]>(),
            windows in any::<[u16; 3]>(),
            scale in prop::option::of(0_u8..=14),
            sack in any::<bool>(),
            timestamp in prop::option::of((any::<u32>(), 0_u32..2_000, any::<u32>())),
            rtt_ms in prop::option::of(0_u64..3_000),
            tos in any::<u8>(),
        ) {
            let mut world = World::new();
            let ([irs, iss, offset], [syn_window, window, offered]) = (numbers.map(SeqNr), windows);
            let peer = PeerSyn {
                irs,
                mss: 1460,
                scale,
                window: syn_window,
                offered,
                sack,
                timestamp: timestamp.map(|(value, ..)| value),
            };
            let segment = Segment {
                seq: peer.rcv_nxt(),
                ack: Some(iss.plus(1)),
                window,
                options: TcpOptions {
                    timestamps: timestamp.map(|(value, later, echo)| (value.wrapping_add(later), echo)),
                    ..TcpOptions::NONE
                },
                ..Segment::BARE
            };
            let clock = TimestampClock::ahead_by(offset.0);
            prop_assert!(peer.hears_no_more_than_an_ack(&segment));
            prop_assert!(peer.accepts(&segment) && peer.refuses_age(clock, &segment, world.now).is_none());
            let ctx = world.ctx();
            let settled = peer.settle(ctx, iss, rtt_ms.map(|millis: u64| 1_000_000 * millis), clock, 1460);
            let begun = |ctx: &Context| {
                let mut connection = Connection::new(&ctx.config, &settled, ctx.now);
                connection.limit_unsent(None);
                connection
            };
            let (mut short, mut long) = (begun(ctx), begun(ctx));
            short.opened_by(&segment, tos, ctx.now);
            let seq = long.rcv.nxt().unwrap(segment.seq);
            let arrival = Arrival { segment: &segment, seq, len: 0, segment_size: 0, tos };
            let verdict = long.segment_arrives(ctx, &mut GlobalChallengeLimit::new(), &arrival);
            prop_assert_eq!(verdict, Verdict::Accepted);
            prop_assert_eq!(format!("{short:?}"), format!("{long:?}"));
        }

        #[test]
        fn the_last_acknowledgement_ends_what_nobody_holds_as_if_all_that_it_tells_were_heard(
            numbers in any::<[u32; 2]>(),
            sack in any::<bool>(),
            syn_was_lost in any::<bool>(),
            text in 0_usize..5_000,
            text_waits in any::<bool>(),
            we_close_first in any::<bool>(),
            window_shuts in any::<bool>(),
            later in 0_u64..3_000,
        ) {
            let numbers = numbers.map(SeqNr);
            let last =
                Last { numbers, sack, syn_was_lost, text, text_waits, we_close_first, window_shuts, later };
            prop_assert_eq!(last.comes(false), last.comes(true));
        }
    }

    /// How a connection comes to its last acknowledgement.
    struct Last {
        numbers: [SeqNr; 2],
        sack: bool,
        /// Congestion control begins with a small window.
        syn_was_lost: bool,
        text: usize,
        /// The text is acknowledged with the FIN, not before.
        text_waits: bool,
        we_close_first: bool,
        /// Their FIN shuts the window on what is on its way, and the last acknowledgement opens it.
        window_shuts: bool,
        later: u64,
    }

    impl Last {
        /// A connection that has sent its text, and closes.
        fn closing(&self, ctx: &mut Context) -> Connection {
            let [irs, iss] = self.numbers;
            let peer = PeerSyn {
                irs,
                mss: 1460,
                scale: Some(7),
                window: 64_000,
                offered: 64_000,
                sack: self.sack,
                timestamp: None,
            };
            let rtt = (!self.syn_was_lost).then_some(10_000_000);
            let settled = peer.settle(ctx, iss, rtt, TimestampClock::ahead_by(1), 1460);
            let mut connection = Connection::new(&ctx.config, &settled, ctx.now);
            connection.rcv.follow_memory(&mut ctx.pool);
            let written = connection.snd.write(&alloc::vec![7; self.text], &mut ctx.pool, ctx.now);
            assert_eq!(written, self.text);
            send(&mut connection, ctx);
            ctx.now += Duration::from_micros(self.later);
            if !self.text_waits {
                hear(&mut connection, ctx, Control::None);
            }
            if self.we_close_first {
                assert_eq!(connection.close(ctx, None), None);
                send(&mut connection, ctx);
                let una = connection.snd.una();
                let window = if self.window_shuts { 0 } else { 64_000 };
                let fin = Segment { window, ..segment(&connection, una, Control::Fin) };
                take(&mut connection, ctx, &fin);
            } else {
                let una = connection.snd.una();
                let fin = segment(&connection, una, Control::Fin);
                take(&mut connection, ctx, &fin);
                assert_eq!(connection.close(ctx, None), None);
                send(&mut connection, ctx);
            }
            connection
        }

        /// What can be told of the connection after it.
        fn comes(&self, the_long_way: bool) -> String {
            let mut world = World::new();
            let ctx = world.ctx();
            let mut connection = self.closing(ctx);
            ctx.now += Duration::from_micros(self.later);
            let ack = connection.snd.nxt();
            let is_alone = self.sack && connection.snd.outstanding() == 1 && connection.snd.cwnd() > 1460;
            assert_eq!(connection.snd.is_fin_alone(ack), is_alone);
            if the_long_way {
                let acknowledgement = Acknowledgement {
                    ack,
                    seq: connection.rcv.nxt(),
                    wnd: 64_000 << 7,
                    is_bare: true,
                    at: ctx.now,
                    sack: SackBlocks::new(),
                    echo: None,
                };
                connection.snd.acknowledge_the_long_way(&acknowledgement, &mut ctx.pool, &mut ctx.counters);
                connection.after_acknowledgement(ctx);
            } else {
                hear(&mut connection, ctx, Control::None);
            }
            connection.check_invariants();
            let told = (connection.ending(), connection.state(), connection.signals, connection.snd.una());
            connection.release(ctx);
            let left = (connection.snd.bytes_acked(), ctx.pool.in_use(), ctx.pool.committed());
            format!("{told:?} {left:?} {:?}", ctx.counters)
        }
    }

    /// Sends all that there is.
    fn send(connection: &mut Connection, ctx: &mut Context) {
        while let Some(plan) = connection.snd.plan(true, 0, u64::MAX) {
            connection.snd.commit(&plan, ctx.now);
        }
    }

    /// The next segment of the peer.
    fn segment(connection: &Connection, ack: SndPos, control: Control) -> Segment<'static> {
        Segment {
            seq: connection.rcv.nxt().wire(),
            ack: Some(ack.wire()),
            control,
            window: 64_000,
            ..Segment::BARE
        }
    }

    fn take(connection: &mut Connection, ctx: &mut Context, segment: &Segment<'_>) {
        let seq = connection.rcv.nxt().unwrap(segment.seq);
        let arrival = Arrival { segment, seq, len: segment.len().into(), segment_size: 0, tos: 0 };
        let verdict = connection.segment_arrives(ctx, &mut GlobalChallengeLimit::new(), &arrival);
        assert_eq!(verdict, Verdict::Accepted);
    }

    /// Takes one that acknowledges all that was sent.
    fn hear(connection: &mut Connection, ctx: &mut Context, control: Control) {
        let segment = segment(connection, connection.snd.nxt(), control);
        take(connection, ctx, &segment);
    }
}
