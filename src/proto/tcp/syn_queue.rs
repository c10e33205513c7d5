//! Half-open connections of listeners: SYN-RECEIVED after a passive open (RFC 9293 section 3.10.7.4).
//!
//! An entry owns no buffers and costs about a hundred bytes, so that a SYN flood is cheap to bear.

use core::time::Duration;

use slotmap::SlotMap;

use super::challenge::GlobalChallengeLimit;
use super::connection::{Settled, mss_for};
use super::demux::FourTuple;
use super::emit::{self, Marks, Says};
use super::handshake::PeerSyn;
use super::timestamps::TimestampClock;
use super::way::KnownWay;
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::ids::{HalfOpenId, ListenerId};
use crate::proto::ids::{TcpTimer, TimerKey};
use crate::proto::ip::Route;
use crate::proto::timer_wheel::TimerId;
use crate::proto::wire::tcp::{Control, Segment, SeqNr};
use crate::time::Instant;

/// All half-open connections; `Demux` finds them, by a keyed hash.
//= RFC4987 3.5 cache
pub(crate) type SynQueue = SlotMap<HalfOpenId, HalfOpen>;

/// A half-open connection: SYN-RECEIVED after a passive open. After an active one it is a `Handshake` (RFC 9293 MUST-11).
#[derive(Debug)]
pub(crate) struct HalfOpen {
    pub(crate) tuple: FourTuple,
    pub(crate) listener: ListenerId,
    ours: Ours,
    peer: PeerSyn,
    marks: Marks,
    /// The SYN-ACK's, and the first that the connection takes.
    pub(crate) way: KnownWay,
    retransmissions: u8,
    /// Sent again before its timer expired: the peer's SYN came once more.
    sent_twice: bool,
    first_sent: Instant,
    timer: Option<TimerId>,
}

/// Our side's numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ours {
    pub(crate) iss: SeqNr,
    pub(crate) clock: TimestampClock,
}

/// What a segment did to a half-open connection.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing, or it was answered.
    Dropped(DropReason),
    /// Something was sent; the handshake goes on.
    Continues,
    /// It acknowledges what the entry has not sent. A cookie may have been sent before there was an entry.
    BadAck,
    /// The entry is to be forgotten: back to LISTEN.
    Forget,
    /// The peer's last ACK: the connection is open once there is room for it, with what is [settled](HalfOpen::settle) then. What
    /// else the segment says is still to be processed, if it may say anything.
    Established { only_opens: bool },
}

impl HalfOpen {
    /// An entry for a SYN that has just come.
    pub(crate) fn new(
        tuple: FourTuple,
        listener: ListenerId,
        ours: Ours,
        peer: PeerSyn,
        marks: Marks,
        way: KnownWay,
        now: Instant,
    ) -> Self {
        HalfOpen {
            tuple,
            listener,
            ours,
            peer,
            marks,
            way,
            retransmissions: 0,
            sent_twice: false,
            first_sent: now,
            timer: None,
        }
    }

    /// Sends the SYN-ACK by `route` and arms its timer.
    pub(crate) fn begin(&mut self, ctx: &mut Context<'_>, id: HalfOpenId, route: &Route) {
        self.timer =
            Some(ctx.timers.insert(TimerKey::Tcp(TcpTimer::HalfOpen(id)), ctx.now + ctx.config.rto_initial));
        let says = self.syn_ack(ctx);
        emit::queue_by(ctx, route, &self.tuple, self.marks, &says);
    }

    /// The timer has fired (and is disarmed): retransmits the SYN-ACK, or gives up with `false`.
    pub(crate) fn timer(&mut self, ctx: &mut Context<'_>, id: HalfOpenId) -> bool {
        self.timer = None;
        if u32::from(self.retransmissions) >= ctx.config.syn_ack_retransmits {
            return false;
        }
        //= RFC4987 4 retransmitted
        self.retransmissions += 1;
        let at = ctx.now + self.timeout(ctx);
        self.timer = Some(ctx.timers.insert(TimerKey::Tcp(TcpTimer::HalfOpen(id)), at));
        ctx.counters.tcp_retransmits += 1;
        self.send_syn_ack(ctx);
        true
    }

    /// Disarms the timer of an entry that is going.
    pub(crate) fn disarm(&mut self, ctx: &mut Context<'_>) {
        if let Some(timer) = self.timer.take() {
            ctx.timers.remove(timer);
        }
    }

    /// A segment has come.
    pub(crate) fn segment_arrives(
        &mut self,
        ctx: &mut Context<'_>,
        global: &mut GlobalChallengeLimit,
        segment: &Segment<'_>,
    ) -> Outcome {
        if self.peer.is_repeated_by(segment) {
            // Our SYN-ACK was lost, or is late. This one has as much time as the last (as Linux gives it), or a peer that
            // hears it at last finds the half-open connection forgotten.
            self.sent_twice = true;
            self.peer.heard_again(segment);
            if let Some(timer) = self.timer {
                ctx.timers.reschedule(timer, ctx.now + self.timeout(ctx));
            }
            self.send_syn_ack(ctx);
            return Outcome::Continues;
        }
        if !self.peer.accepts(segment) {
            if segment.control != Control::Rst && global.allows(ctx) {
                self.send_ack(ctx);
            }
            return Outcome::Dropped(DropReason::TcpOutOfWindow);
        }
        if let Some(reason) = self.peer.refuses_age(self.ours.clock, segment, ctx.now) {
            if reason == DropReason::TcpOldTimestamp && global.allows(ctx) {
                self.send_ack(ctx);
            }
            return Outcome::Dropped(reason);
        }
        let acks_our_syn = segment.ack == Some(self.ours.iss.plus(1));
        match (segment.control, segment.ack) {
            (Control::Rst, _) if segment.seq == self.peer.rcv_nxt() => {
                ctx.counters.tcp_resets_in += 1;
                Outcome::Forget
            }
            (Control::Rst, _) => {
                if global.allows(ctx) {
                    self.send_ack(ctx);
                }
                Outcome::Dropped(DropReason::TcpChallenged)
            }
            // RFC 9293 section 3.10.7.4, fourth check: a passive open returns to LISTEN.
            (Control::Syn, _) => Outcome::Forget,
            (Control::None | Control::Fin, None) => Outcome::Dropped(DropReason::TcpUnexpected),
            (Control::None | Control::Fin, Some(_)) if acks_our_syn => {
                Outcome::Established { only_opens: self.peer.hears_no_more_than_an_ack(segment) }
            }
            (Control::None | Control::Fin, Some(_)) => Outcome::BadAck,
        }
    }

    /// The path's MTU when the SYN came.
    fn mtu(&self) -> usize {
        self.way.mtu().min(u16::MAX.into())
    }

    /// How long the SYN-ACK that was sent last is given.
    fn timeout(&self, ctx: &Context<'_>) -> Duration {
        let doubled = 1u32.checked_shl(self.retransmissions.into()).unwrap_or(u32::MAX);
        ctx.config.rto_initial.saturating_mul(doubled).min(ctx.config.rto_max)
    }

    /// What the handshake has settled, of which the segment is the last.
    pub(crate) fn settle(&self, ctx: &Context<'_>, segment: &Segment<'_>) -> Settled {
        // Karn's rule: a SYN-ACK that was sent twice measures nothing, unless the echo tells that the first was answered.
        let sent_once = self.retransmissions == 0 && !self.sent_twice;
        let first_answered = self.peer.echo(segment) == Some(self.ours.clock.at(self.first_sent));
        let rtt = (sent_once || first_answered).then(|| ctx.now.nanos_since(self.first_sent));
        let mss_max = mss_for(self.mtu(), self.tuple.local.is_ipv4());
        self.peer.settle(ctx, self.ours.iss, rtt, self.ours.clock, mss_max)
    }

    fn send_syn_ack(&self, ctx: &mut Context<'_>) {
        let says = self.syn_ack(ctx);
        emit::queue(ctx, &self.tuple, self.marks, &says);
    }

    fn syn_ack(&self, ctx: &Context<'_>) -> Says {
        let is_ipv4 = self.tuple.local.is_ipv4();
        let stamp = self.ours.clock.at(ctx.now);
        let options = PeerSyn::our_options(ctx.config, self.mtu(), is_ipv4, Some(&self.peer), stamp);
        Says::syn(self.ours.iss, Some(self.peer.rcv_nxt()), self.peer.offered(), options)
    }

    fn send_ack(&self, ctx: &mut Context<'_>) {
        let window = self.peer.ack_window(ctx.config);
        let says = Says::ack(self.ours.iss.plus(1), self.peer.rcv_nxt(), window);
        let says = says.with(self.peer.ack_options(self.ours.clock, ctx.now));
        emit::queue(ctx, &self.tuple, self.marks, &says);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= RFC4987 3.5 cache
    #[test]
    fn a_half_open_connection_takes_little_memory() {
        let entry = size_of::<HalfOpen>();
        assert!(entry <= 160, "{entry} bytes");
    }
}
