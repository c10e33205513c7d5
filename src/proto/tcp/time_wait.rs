//! TIME-WAIT: a compact table of connections that are over but must be remembered for 2 MSL (RFC 9293
//! sections 3.4.3, 3.6.1 and 3.10.7.4; RFC 1337).
//!
//! Owns the entries, their order and the one timer that they have together: all wait equally long, so whose wait began first
//! is over first. A socket's handle has nothing to do with its entry.

use slotmap::SlotMap;

use super::challenge::GlobalChallengeLimit;
use super::demux::Located;
use super::emit::{self, Marks, Says};
use super::timestamps::{Order, Timestamps};
use super::wait_order::WaitOrder;
use super::way::KnownWay;
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::ids::{TcpTimer, TimeWaitId};
use crate::proto::reuse::BindOptions;
use crate::proto::wire::tcp::{Control, Segment, SeqNr};
use crate::proto::wire::tcp_options::TcpOptions;
use crate::time::Instant;

/// An entry.
#[derive(Debug)]
pub(crate) struct TimeWait {
    pub(crate) at: Located,
    pub(crate) snd_nxt: SeqNr,
    pub(crate) rcv_nxt: SeqNr,
    pub(crate) window: u16,
    pub(crate) marks: Marks,
    /// Its timestamps, if it had any (RFC 6191).
    pub(crate) timestamps: Option<Timestamps>,
    /// What its connection let others do with its port.
    pub(crate) bind_options: BindOptions,
}

/// What a segment did to an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing, or it was answered.
    Dropped(DropReason),
    /// Their FIN came again: it was acknowledged and the wait begins anew.
    Restarted,
    /// A SYN that may open the connection anew (RFC 9293 MAY-2); the number our old side had come to.
    Reopens(SeqNr),
}

/// An entry, and when its wait is over.
#[derive(Debug)]
pub(crate) struct Waiting {
    entry: TimeWait,
    until: Instant,
}

/// The table.
#[derive(Debug)]
pub(crate) struct TimeWaitTable {
    entries: SlotMap<TimeWaitId, Waiting>,
    order: WaitOrder<TimeWaitId>,
}

impl TimeWaitTable {
    pub(crate) fn new() -> Self {
        TimeWaitTable { entries: SlotMap::with_key(), order: WaitOrder::new(TcpTimer::TimeWait) }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// An entry.
    pub(crate) fn get(&self, id: TimeWaitId) -> Option<&TimeWait> {
        self.entries.get(id).map(|waiting| &waiting.entry)
    }

    /// Adds an entry. If the table is full, the one whose wait is over first goes for it: `forget` is told which, and where it stood.
    pub(crate) fn insert(
        &mut self,
        ctx: &mut Context,
        forget: impl FnOnce(TimeWaitId, &Located),
        new: impl FnOnce() -> TimeWait,
    ) -> TimeWaitId {
        if self.entries.len() >= ctx.config.time_wait_entries
            && let Some((id, at)) = self.evict(ctx)
        {
            forget(id, &at);
        }
        //= RFC9293 MUST-13
        let until = ctx.now + ctx.config.time_wait();
        let id = self.entries.insert_with_key(|_| Waiting { entry: new(), until });
        self.append(ctx, until, id);
        id
    }

    /// Removes an entry that makes room for a new connection.
    pub(crate) fn remove(&mut self, ctx: &mut Context, id: TimeWaitId) -> Option<Located> {
        let removed = self.entries.remove(id)?;
        if self.entries.is_empty() {
            self.order.clear(ctx);
        }
        Some(removed.entry.at)
    }

    /// The timer has fired: removes the entries whose wait is over, telling `forget` of each.
    pub(crate) fn timer(&mut self, ctx: &mut Context, mut forget: impl FnMut(TimeWaitId, &Located)) {
        self.order.fired();
        while let Some(id) = self.order.pop_due(ctx, |until, id| is_current(&self.entries, until, id)) {
            if let Some(waiting) = self.entries.remove(id) {
                forget(id, &waiting.entry.at);
            }
        }
    }

    fn append(&mut self, ctx: &mut Context, until: Instant, id: TimeWaitId) {
        let waiting = self.entries.len();
        self.order.push(ctx, (until, id), waiting, |until, id| is_current(&self.entries, until, id));
    }

    /// A segment has come for an entry.
    pub(crate) fn segment_arrives(
        &mut self,
        ctx: &mut Context,
        global: &mut GlobalChallengeLimit,
        id: TimeWaitId,
        segment: &Segment<'_>,
    ) -> Outcome {
        let Some(Waiting { entry, until }) = self.entries.get_mut(id) else {
            return Outcome::Dropped(DropReason::TcpNoSocket);
        };
        if let Some(reason) = entry.timestamps.and_then(|stamps| stamps.refuses(segment, ctx.now)) {
            if reason == DropReason::TcpOldTimestamp && (!segment.is_empty() || global.allows(ctx)) {
                entry.acknowledge(ctx);
            }
            return Outcome::Dropped(reason);
        }
        let from_nxt = segment.seq.minus(entry.rcv_nxt);
        match segment.control {
            // RFC 1337: believing it would let an old duplicate end the wait.
            Control::Rst => Outcome::Dropped(DropReason::TcpTimeWaitReset),
            Control::Syn
                if segment.ack.is_none() && !segment.fin_with_syn && entry.gives_way_to(ctx, segment) =>
            {
                Outcome::Reopens(entry.snd_nxt)
            }
            Control::Fin if segment.seq.plus(segment.len()) == entry.rcv_nxt => {
                entry.acknowledge(ctx);
                let anew = ctx.now + ctx.config.time_wait();
                if anew > *until {
                    *until = anew;
                    self.append(ctx, anew, id);
                }
                Outcome::Restarted
            }
            Control::Syn | Control::Fin | Control::None => {
                // Whatever is out of sequence draws an ACK, as in any other state; a bare segment that is in
                // sequence says nothing new, and one that is not may be part of a loop.
                if !segment.is_empty() || (from_nxt != 0 && global.allows(ctx)) {
                    entry.acknowledge(ctx);
                }
                if from_nxt == 0 && segment.is_empty() && segment.ack == Some(entry.snd_nxt) {
                    entry.hear_timestamp(ctx, segment);
                }
                Outcome::Dropped(DropReason::TcpOutOfWindow)
            }
        }
    }

    /// Answers a segment that turned out to change nothing.
    pub(crate) fn acknowledge(&self, ctx: &mut Context, id: TimeWaitId) {
        if let Some(entry) = self.get(id) {
            entry.acknowledge(ctx);
        }
    }

    /// Removes the entry whose wait is over first, and tells where it stood.
    #[cold]
    fn evict(&mut self, ctx: &mut Context) -> Option<(TimeWaitId, Located)> {
        let id = self.order.pop(|until, id| is_current(&self.entries, until, id))?;
        ctx.counters.tcp_time_wait_overflow += 1;
        self.remove(ctx, id).map(|at| (id, at))
    }
}

/// Whether a place in the order is that of an entry, whose wait has not begun anew since.
fn is_current(entries: &SlotMap<TimeWaitId, Waiting>, until: Instant, id: TimeWaitId) -> bool {
    entries.get(id).is_some_and(|waiting| waiting.until == until)
}

impl TimeWait {
    /// Whether a SYN is no old duplicate: a later timestamp than the last says so, and where it is the same or either
    /// connection has none, a number beyond their FIN (RFC 6191 section 2).
    fn gives_way_to(&self, ctx: &Context, syn: &Segment<'_>) -> bool {
        //= RFC6191 2 last number
        let is_beyond = syn.seq.minus(self.rcv_nxt) >= 0;
        let stamp = syn.options.timestamps.filter(|_| ctx.config.timestamps);
        match (self.timestamps, stamp) {
            (Some(stamps), Some((value, _))) => match stamps.order(value, ctx.now) {
                //= RFC6191 2 newer timestamp
                //= RFC9293 SHLD-4
                Order::Newer => true,
                //= RFC6191 2 same timestamp
                Order::Same => is_beyond,
                Order::Older => false,
            },
            //= RFC6191 2 no longer timestamps
            (Some(_), None) => is_beyond,
            //= RFC6191 2 first timestamps
            (None, Some(_)) => true,
            //= RFC6191 2 never timestamps
            //= RFC9293 MAY-2
            (None, None) => is_beyond,
        }
    }

    fn hear_timestamp(&mut self, ctx: &Context, segment: &Segment<'_>) {
        if let (Some(stamps), Some((value, _))) = (&mut self.timestamps, segment.options.timestamps) {
            stamps.take(value, ctx.now);
        }
    }

    /// Whether an open of ours may take the place. Its timestamps will be later than all that the peer has seen, so that
    /// the peer, should it remember the old connection, can tell the two apart (RFC 6191; ADR 22).
    pub(crate) fn gives_way_to_us(&self, now: Instant) -> bool {
        self.timestamps.is_some_and(|stamps| stamps.has_rested(now))
    }

    /// Acknowledges all that came, their FIN included.
    pub(crate) fn acknowledge(&self, ctx: &mut Context) {
        emit::queue(ctx, &self.at.tuple, self.marks, &self.says(ctx.now));
    }

    /// The same by the way that its connection knows.
    pub(crate) fn acknowledge_by(&self, ctx: &mut Context, way: &mut KnownWay) {
        match way.find(ctx, &self.at.tuple) {
            Some(route) => emit::queue_by(ctx, &route, &self.at.tuple, self.marks, &self.says(ctx.now)),
            None => ctx.counters.replies_lost += 1,
        }
    }

    fn says(&self, now: Instant) -> Says {
        let timestamps = self.timestamps.map(|stamps| stamps.option(now));
        let options = TcpOptions { timestamps, ..TcpOptions::NONE };
        Says::ack(self.snd_nxt, self.rcv_nxt, self.window).with(options)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::time::Duration;

    use super::*;
    use crate::proto::ids::TimerKey;
    use crate::proto::ip::testing::World;
    use crate::proto::tcp::demux::{Demux, FourTuple};

    fn entry(port: u16) -> TimeWait {
        TimeWait {
            at: Demux::new([1; 16])
                .locate(FourTuple::new("10.9.0.2:7".parse().unwrap(), ([10, 9, 0, 1], port).into())),
            snd_nxt: SeqNr(0),
            rcv_nxt: SeqNr(0),
            window: 0,
            marks: Marks { ttl: 64, tos: 0 },
            timestamps: None,
            bind_options: BindOptions::NONE,
        }
    }

    /// The FIN of an entry's peer comes again.
    fn repeat_fin(world: &mut World, table: &mut TimeWaitTable, id: TimeWaitId) {
        let fin =
            Segment { seq: SeqNr(u32::MAX), ack: Some(SeqNr(0)), control: Control::Fin, ..Segment::BARE };
        let outcome = table.segment_arrives(world.ctx(), &mut GlobalChallengeLimit::new(), id, &fin);
        assert_eq!(outcome, Outcome::Restarted);
    }

    /// Whose wait is over by now, in the order in which they are told.
    fn over(world: &mut World, table: &mut TimeWaitTable) -> Vec<u16> {
        let mut ports = Vec::new();
        while let Some(key) = world.timers.pop_due(world.now) {
            assert_eq!(key, TimerKey::Tcp(TcpTimer::TimeWait));
            table.timer(world.ctx(), |_, at| ports.push(at.tuple.remote_port));
        }
        ports
    }

    #[test]
    fn each_wait_is_as_long_as_the_others_and_one_that_begins_anew_as_long_again() {
        let mut world = World::new();
        let mut table = TimeWaitTable::new();
        let (wait, second) = (world.config.time_wait(), Duration::from_secs(1));
        let began = world.now;
        let ids: Vec<_> = (1..=4)
            .map(|port| {
                world.now += second;
                table.insert(world.ctx(), |_, _| {}, || entry(port))
            })
            .collect();
        // The first begins anew with the last; the second makes room for a connection.
        repeat_fin(&mut world, &mut table, ids[0]);
        table.remove(world.ctx(), ids[1]);
        for (at, expected) in [
            (second, &[][..]),
            (second * 2, &[]),
            (second * 3 - Duration::from_nanos(1), &[]),
            (second * 3, &[3]),
            (second * 4 - Duration::from_nanos(1), &[]),
            (second * 4, &[4, 1]),
        ] {
            world.now = began + wait + at;
            assert_eq!(over(&mut world, &mut table), expected, "at {at:?}");
        }
        assert_eq!((table.len(), table.order.len(), world.timers.len()), (0, 0, 0));
    }

    #[test]
    fn a_fin_that_is_repeated_without_end_leaves_no_trail() {
        let mut world = World::new();
        let mut table = TimeWaitTable::new();
        let id = table.insert(world.ctx(), |_, _| {}, || entry(1));
        for round in 0..1_000 {
            world.now += Duration::from_millis(round % 2);
            repeat_fin(&mut world, &mut table, id);
            assert!(table.order.len() <= 2 + 16, "{}", table.order.len());
        }
        assert_eq!(world.timers.len(), 1);
        table.remove(world.ctx(), id);
        assert_eq!(world.timers.len(), 0);
    }

    #[test]
    fn entries_whose_time_is_over_do_not_pile_up_in_the_order_of_those_that_wait() {
        let mut world = World::new();
        let mut table = TimeWaitTable::new();
        // Ten stay; of the others each is over before the next one comes.
        for port in 0..10 {
            table.insert(world.ctx(), |_, _| {}, || entry(port));
        }
        for port in 10..1_000 {
            let nobody_goes = |id, _: &Located| panic!("there is room, and {id:?} goes");
            let id = table.insert(world.ctx(), nobody_goes, || entry(port));
            assert!(table.remove(world.ctx(), id).is_some());
            assert!(table.order.len() <= 2 * 11 + 16, "{} for {}", table.order.len(), table.entries.len());
        }
        assert_eq!(table.entries.len(), 10);
        // Many wait at once, and all are over before the next one comes.
        let many: Vec<_> =
            (1_000..2_000).map(|port| table.insert(world.ctx(), |_, _| {}, || entry(port))).collect();
        for id in many {
            table.remove(world.ctx(), id);
        }
        table.insert(world.ctx(), |_, _| {}, || entry(2_000));
        assert!(table.order.len() <= 2 * 11 + 16, "{}", table.order.len());
    }
}
