//! Half-open connections of listeners: SYN-RECEIVED after a passive open (RFC 9293 section 3.10.7.4).
//!
//! An entry owns no buffers and costs about a hundred bytes, so that a SYN flood is cheap to bear. All whose first SYN-ACK is under
//! way have one timer together, as those in TIME-WAIT do: most of them are answered long before it fires.

use core::time::Duration;

use slotmap::SlotMap;

use super::challenge::GlobalChallengeLimit;
use super::connection::{Settled, mss_for};
use super::demux::{FourTuple, Located};
use super::emit::{self, Marks, Says};
use super::handshake::PeerSyn;
use super::recent::Recent;
use super::timestamps::TimestampClock;
use super::wait_order::WaitOrder;
use super::way::KnownWay;
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::ids::{HalfOpenId, ListenerId, TcpTimer, TimerKey};
use crate::proto::ip::Route;
use crate::proto::timer_wheel::TimerId;
use crate::proto::wire::tcp::{Control, Segment, SeqNr};
use crate::time::Instant;

/// All half-open connections; `Demux` finds them, by a keyed hash.
//= RFC4987 3.5 cache
#[derive(Debug)]
pub(crate) struct SynQueue {
    entries: SlotMap<HalfOpenId, HalfOpen>,
    /// The latest of them: mostly the next segment that is for any is for one of these.
    recent: Recent<HalfOpenId>,
    /// Until when the first SYN-ACK of each may be answered: all have as much time, and most are answered long before.
    order: WaitOrder<HalfOpenId>,
}

impl SynQueue {
    pub(crate) fn new() -> Self {
        let order = WaitOrder::new(TcpTimer::SynQueue);
        SynQueue { entries: SlotMap::with_key(), recent: Recent::new(), order }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (HalfOpenId, &HalfOpen)> {
        self.entries.iter()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: HalfOpenId) -> Option<&mut HalfOpen> {
        self.entries.get_mut(id)
    }

    /// The entry that a segment between these ends is for, if it is one of the latest.
    #[inline]
    pub(crate) fn guess(&self, tuple: &FourTuple) -> Option<(HalfOpenId, &HalfOpen)> {
        let id = self.recent.guess(tuple.local_port, tuple.remote_port)?;
        let entry = self.entries.get(id)?;
        (entry.at.tuple == *tuple).then_some((id, entry))
    }

    /// Adds an entry between these ends, whose SYN-ACK goes now.
    #[inline]
    pub(crate) fn insert(
        &mut self,
        ctx: &mut Context,
        tuple: &FourTuple,
        new: impl FnOnce() -> HalfOpen,
    ) -> HalfOpenId {
        let id = self.entries.insert_with_key(|_| new());
        self.recent.note(tuple, id);
        let until = ctx.now + ctx.config.rto_initial;
        let waiting = self.entries.len();
        self.order.push(ctx, (until, id), waiting, |_, id| is_in_order(&self.entries, id));
        id
    }

    /// Removes an entry, and tells whose it was.
    pub(crate) fn remove(&mut self, ctx: &mut Context, id: HalfOpenId) -> Option<ListenerId> {
        let entry = self.entries.remove(id)?;
        if let Some(timer) = entry.timer {
            ctx.timers.remove(timer);
        }
        if self.entries.is_empty() {
            self.order.clear(ctx);
        }
        Some(entry.listener)
    }

    /// The timer that they have together has fired: [`next_late`](Self::next_late) is to be asked.
    pub(crate) fn timer_fired(&mut self) {
        self.order.fired();
    }

    /// An entry whose first SYN-ACK has not been answered in time; to be asked until there is none.
    pub(crate) fn next_late(&mut self, ctx: &mut Context) -> Option<HalfOpenId> {
        self.order.pop_due(ctx, |_, id| is_in_order(&self.entries, id))
    }
}

/// Whether a place in the order is that of an entry, which has no timer of its own since.
fn is_in_order(entries: &SlotMap<HalfOpenId, HalfOpen>, id: HalfOpenId) -> bool {
    entries.get(id).is_some_and(|entry| entry.timer.is_none())
}

/// A half-open connection: SYN-RECEIVED after a passive open. After an active one it is a `Handshake` (RFC 9293 MUST-11).
#[derive(Debug)]
pub(crate) struct HalfOpen {
    pub(crate) at: Located,
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
    /// Of its own. None while nothing was sent again: then it stands in the order of the others.
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
        at: Located,
        listener: ListenerId,
        ours: Ours,
        peer: PeerSyn,
        marks: Marks,
        way: KnownWay,
        now: Instant,
    ) -> Self {
        HalfOpen {
            at,
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

    /// Sends the SYN-ACK by `route`.
    pub(crate) fn begin(&self, ctx: &mut Context, route: &Route) {
        let says = self.syn_ack(ctx);
        emit::queue_by(ctx, route, &self.at.tuple, self.marks, &says);
    }

    /// Its time is over (and its timer disarmed, if it had one of its own): retransmits the SYN-ACK, or gives up with `false`.
    pub(crate) fn timer(&mut self, ctx: &mut Context, id: HalfOpenId) -> bool {
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

    /// A segment has come.
    pub(crate) fn segment_arrives(
        &mut self,
        ctx: &mut Context,
        global: &mut GlobalChallengeLimit,
        id: HalfOpenId,
        segment: &Segment<'_>,
    ) -> Outcome {
        if self.peer.is_repeated_by(segment) {
            // Our SYN-ACK was lost, or is late. This one has as much time as the last (as Linux gives it), or a peer that
            // hears it at last finds the half-open connection forgotten.
            self.sent_twice = true;
            self.peer.heard_again(segment);
            let at = ctx.now + self.timeout(ctx);
            match self.timer {
                Some(timer) => ctx.timers.reschedule(timer, at),
                None => self.timer = Some(ctx.timers.insert(TimerKey::Tcp(TcpTimer::HalfOpen(id)), at)),
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
    fn timeout(&self, ctx: &Context) -> Duration {
        let doubled = 1u32.checked_shl(self.retransmissions.into()).unwrap_or(u32::MAX);
        ctx.config.rto_initial.saturating_mul(doubled).min(ctx.config.rto_max)
    }

    /// What the handshake has settled, of which the segment is the last.
    pub(crate) fn settle(&self, ctx: &Context, segment: &Segment<'_>) -> Settled {
        // Karn's rule: a SYN-ACK that was sent twice measures nothing, unless the echo tells that the first was answered.
        let sent_once = self.retransmissions == 0 && !self.sent_twice;
        let first_answered = self.peer.echo(segment) == Some(self.ours.clock.at(self.first_sent));
        let rtt = (sent_once || first_answered).then(|| ctx.now.nanos_since(self.first_sent));
        let mss_max = mss_for(self.mtu(), self.at.tuple.local.is_ipv4());
        self.peer.settle(ctx, self.ours.iss, rtt, self.ours.clock, mss_max)
    }

    fn send_syn_ack(&self, ctx: &mut Context) {
        let says = self.syn_ack(ctx);
        emit::queue(ctx, &self.at.tuple, self.marks, &says);
    }

    fn syn_ack(&self, ctx: &Context) -> Says {
        let is_ipv4 = self.at.tuple.local.is_ipv4();
        let stamp = self.ours.clock.at(ctx.now);
        let options = PeerSyn::our_options(&ctx.config, self.mtu(), is_ipv4, Some(&self.peer), stamp);
        Says::syn(self.ours.iss, Some(self.peer.rcv_nxt()), self.peer.offered(), options)
    }

    fn send_ack(&self, ctx: &mut Context) {
        let window = self.peer.ack_window(&ctx.config);
        let says = Says::ack(self.ours.iss.plus(1), self.peer.rcv_nxt(), window);
        let says = says.with(self.peer.ack_options(self.ours.clock, ctx.now));
        emit::queue(ctx, &self.at.tuple, self.marks, &says);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::proto::ip::testing::World;
    use crate::proto::tcp::demux::Demux;

    /// A SYN comes.
    fn insert(queue: &mut SynQueue, world: &mut World, port: u16) -> HalfOpenId {
        let tuple = FourTuple::new("10.9.0.2:7".parse().unwrap(), ([10, 9, 0, 1], port).into());
        let ours = Ours { iss: SeqNr(0), clock: TimestampClock::ahead_by(0) };
        let peer = PeerSyn {
            irs: SeqNr(0),
            mss: 1_460,
            scale: None,
            window: 1_000,
            offered: 1_000,
            sack: false,
            timestamp: None,
        };
        let (marks, now) = (Marks { ttl: 64, tos: 0 }, world.now);
        let at = Demux::new([1; 16]).locate(tuple);
        let new = || HalfOpen::new(at, ListenerId::default(), ours, peer, marks, KnownWay::NONE, now);
        queue.insert(world.ctx(), &tuple, new)
    }

    /// Whose time is over by now, in the order in which they are told. To each something is sent again.
    fn late(queue: &mut SynQueue, world: &mut World) -> Vec<HalfOpenId> {
        let mut all = Vec::new();
        while let Some(key) = world.timers.pop_due(world.now) {
            let ctx = world.ctx();
            let mut is_late = |queue: &mut SynQueue, ctx: &mut Context, id| {
                assert!(queue.get_mut(id).unwrap().timer(ctx, id));
                all.push(id);
            };
            match key {
                TimerKey::Tcp(TcpTimer::HalfOpen(id)) => is_late(queue, ctx, id),
                _ => {
                    assert_eq!(key, TimerKey::Tcp(TcpTimer::SynQueue));
                    queue.timer_fired();
                    while let Some(id) = queue.next_late(ctx) {
                        is_late(queue, ctx, id);
                    }
                }
            }
        }
        all
    }

    #[test]
    fn each_has_its_time_whatever_becomes_of_the_others() {
        let (mut world, mut queue) = (World::new(), SynQueue::new());
        let (began, rto) = (world.now, world.config.rto_initial);
        let (step, least) = (Duration::from_millis(100), Duration::from_nanos(1));
        let ids: Vec<_> = (1..=5)
            .map(|port| {
                world.now += step;
                insert(&mut queue, &mut world, port)
            })
            .collect();
        // The first and the third are answered; to the fourth the SYN comes again a little later.
        assert!(queue.remove(world.ctx(), ids[0]).is_some() && queue.remove(world.ctx(), ids[2]).is_some());
        let again = Segment { src_port: 4, control: Control::Syn, ..Segment::BARE };
        world.now += step;
        let entry = queue.get_mut(ids[3]).unwrap();
        let outcome = entry.segment_arrives(world.ctx(), &mut GlobalChallengeLimit::new(), ids[3], &again);
        assert!(matches!(outcome, Outcome::Continues));
        for (at, expected) in [
            (rto + step * 2 - least, &[][..]),
            (rto + step * 2, &ids[1..2]),
            (rto + step * 5 - least, &[]),
            (rto + step * 5, &ids[4..]),
            (rto + step * 6 - least, &[]),
            (rto + step * 6, &ids[3..4]),
            (rto * 3 + step * 2 - least, &[]),
            (rto * 3 + step * 2, &ids[1..2]),
        ] {
            world.now = began + at;
            assert_eq!(late(&mut queue, &mut world), expected, "at {at:?}");
        }
        for id in ids {
            queue.remove(world.ctx(), id);
        }
        assert_eq!((queue.len(), queue.order.len(), world.timers.len()), (0, 0, 0));
    }

    #[test]
    fn those_that_are_answered_leave_no_trail() {
        let (mut world, mut queue) = (World::new(), SynQueue::new());
        let stays = insert(&mut queue, &mut world, 1);
        for port in 2..1_000 {
            let id = insert(&mut queue, &mut world, port);
            assert!(queue.remove(world.ctx(), id).is_some());
            assert!(queue.order.len() <= 2 * 2 + 16, "{}", queue.order.len());
        }
        assert_eq!(world.timers.len(), 1);
        assert!(queue.remove(world.ctx(), stays).is_some());
        world.now += world.config.rto_initial;
        assert_eq!(late(&mut queue, &mut world), []);
        assert_eq!((queue.order.len(), world.timers.len()), (0, 0));
    }

    //= RFC4987 3.5 cache
    #[test]
    fn a_half_open_connection_takes_little_memory() {
        let entry = size_of::<HalfOpen>();
        assert!(entry <= 160, "{entry} bytes");
    }
}
