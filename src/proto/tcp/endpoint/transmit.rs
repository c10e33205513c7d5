//! Sending: connections with something to send take turns.
//!
//! A connection whose device has no room is parked with the others that wait for the same device. From then on one
//! of them alone tries in each call, and when it gets through, all of them are ready again: a device that stays busy
//! costs one attempt a call, however many connections wait for it, and holds up no other device.

use super::*;
use crate::proto::buf::pages::Pool;
use crate::proto::events::Readiness;
use crate::proto::ip::Route;
use crate::proto::packet::{PacketSink, Progress, Sent};
use crate::proto::tcp::emit::Way;

/// How one connection's turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It has nothing left to send.
    Done,
    /// Its quantum is used up.
    More,
    /// What it has to send may wait for the rest of the batch.
    Waits,
    /// Its device has no room.
    Busy(DeviceId),
    /// The sink takes nothing more.
    Enough,
}

/// Whether a connection believes that a device others wait for has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KnowsBusy {
    /// It does, and doesn't try.
    All,
    /// It tries.
    None,
}

/// Connections that ended while they were parked, beyond which they are looked for.
const PARKED_DEAD_MAX: usize = 64;

/// One call of [`Endpoint::transmit`].
struct Round<'s> {
    sink: &'s mut dyn PacketSink,
    /// Segments that may still be sent.
    budget: usize,
}

impl Endpoint {
    /// Whether [`transmit`](Self::transmit) has something to do.
    pub(crate) fn wants_transmit(&self, pool: &Pool) -> bool {
        !self.ready.is_empty() || self.any_parked() || self.can_wake_starved(pool)
    }

    /// Whether a connection waits until `device` has room.
    pub(crate) fn waits_for_room(&self, device: DeviceId) -> bool {
        is_waited_for(&self.parked, device)
    }

    /// Lets connections that wait for a device try at once: they may have another now.
    pub(crate) fn unpark(&mut self) {
        for mut parked in self.parked.drain(..) {
            self.ready.append(&mut parked.queue);
        }
    }

    /// Gives each ready connection its turns, up to a budget of packets. With `more_to_come`, acknowledgements
    /// that those packets may share stay behind.
    pub(crate) fn transmit(
        &mut self,
        ctx: &mut Context,
        sink: &mut dyn PacketSink,
        more_to_come: bool,
    ) -> Progress {
        if self.can_wake_starved(&ctx.pool) {
            self.wake_starved(ctx);
        }
        let mut round = Round { sink, budget: ctx.config.transmit_budget };
        // Mostly no device is busy.
        let all_had_turns = (self.parked.is_empty() || self.try_parked(ctx, &mut round))
            && self.take_turns(ctx, &mut round, more_to_come);
        if !self.waiting.is_empty() {
            self.ready.extend(self.waiting.drain(..));
        }
        if !all_had_turns {
            Progress::More
        } else if self.any_parked() {
            Progress::Busy
        } else {
            Progress::Idle
        }
    }

    /// Sends one of those that wait for each device ahead. Tells whether the round goes on.
    #[inline(never)]
    fn try_parked(&mut self, ctx: &mut Context, round: &mut Round<'_>) -> bool {
        for index in 0..self.parked.len() {
            while let Some(id) = self.parked.get_mut(index).and_then(|parked| parked.queue.pop_front()) {
                // It would not have been parked for an acknowledgement that may wait.
                let budget = round.budget;
                let turn = self.take_turn(ctx, round, id, false, KnowsBusy::None);
                if round.is_over(turn) {
                    return false;
                }
                if matches!(turn, Turn::Busy(_)) {
                    break;
                }
                if round.budget < budget
                    && let Some(parked) = self.parked.get_mut(index)
                {
                    self.ready.append(&mut parked.queue);
                }
            }
        }
        true
    }

    /// Tells whether all had their turns.
    fn take_turns(&mut self, ctx: &mut Context, round: &mut Round<'_>, more_to_come: bool) -> bool {
        while let Some(id) = self.ready.pop_front() {
            let turn = self.take_turn(ctx, round, id, more_to_come, KnowsBusy::All);
            if round.is_over(turn) {
                return self.ready.is_empty() && turn != Turn::Enough;
            }
        }
        true
    }

    /// Gives one connection its turn, and a place according to how it ended.
    fn take_turn(
        &mut self,
        ctx: &mut Context,
        round: &mut Round<'_>,
        id: TcpId,
        more_to_come: bool,
        knows_busy: KnowsBusy,
    ) -> Turn {
        let Some(socket) = self.sockets.get_mut(id) else { return Turn::Done };
        let is_busy = |device| {
            !self.parked.is_empty() && knows_busy == KnowsBusy::All && is_waited_for(&self.parked, device)
        };
        let (turn, sent) = socket.take_turn(ctx, round, is_busy, more_to_come);
        // The last may have been a super-segment.
        round.budget = round.budget.saturating_sub(sent);
        socket.is_ready = turn != Turn::Done;
        socket.is_parked = matches!(turn, Turn::Busy(_));
        socket.rearm(ctx, id);
        if sent > 0 {
            socket.note_room(ctx, id);
        }
        if turn != Turn::Done {
            self.line_up(id, turn);
        }
        turn
    }

    /// Finds a place for one that is not done.
    #[inline(never)]
    fn line_up(&mut self, id: TcpId, turn: Turn) {
        match turn {
            Turn::Done => {}
            Turn::More => self.ready.push_back(id),
            Turn::Enough => self.ready.push_front(id),
            Turn::Waits => self.waiting.push(id),
            Turn::Busy(device) => self.park(device, id),
        }
    }

    fn park(&mut self, device: DeviceId, id: TcpId) {
        let index = self.parked.iter().position(|parked| parked.device == device).unwrap_or_else(|| {
            self.parked.push(Parked { device, queue: VecDeque::new() });
            self.parked.len() - 1
        });
        let Some(parked) = self.parked.get_mut(index) else { return };
        parked.queue.push_back(id);
        // Connections may end while they wait, for as long as the device stays busy.
        if parked.queue.len() > 2 * self.sockets.len() + PARKED_DEAD_MAX {
            parked.queue.retain(|id| self.sockets.contains_key(*id));
        }
    }

    fn any_parked(&self) -> bool {
        !self.parked.is_empty() && self.parked.iter().any(|parked| !parked.queue.is_empty())
    }

    /// Lets sockets try again that found the page pool empty.
    #[cold]
    fn wake_starved(&mut self, ctx: &mut Context) {
        for id in core::mem::take(&mut self.starved) {
            if let Some(socket) = self.sockets.get_mut(id) {
                socket.is_starved = false;
                socket.raise(ctx, id, Readiness::WRITABLE);
            }
        }
    }

    fn can_wake_starved(&self, pool: &Pool) -> bool {
        !self.starved.is_empty() && pool.can_lend()
    }
}

/// Whether a connection waits until `device` has room.
#[inline(never)]
fn is_waited_for(parked: &[Parked], device: DeviceId) -> bool {
    parked.iter().any(|parked| parked.device == device && !parked.queue.is_empty())
}

impl Round<'_> {
    fn is_over(&self, turn: Turn) -> bool {
        turn == Turn::Enough || self.budget == 0
    }
}

impl Socket {
    /// Something was sent: what waits has become less, and there may be a writer who waited for that.
    fn note_room(&mut self, ctx: &mut Context, id: TcpId) {
        if let Some(connection) = self.connection() {
            connection.note_room();
            let signals = self.take_signals();
            if !signals.is_empty() {
                self.raise(ctx, id, signals);
            }
        }
    }

    fn take_turn(
        &mut self,
        ctx: &mut Context,
        round: &mut Round<'_>,
        is_busy: impl FnOnce(DeviceId) -> bool,
        more_to_come: bool,
    ) -> (Turn, usize) {
        let Phase::Synchronised(connection) = &mut self.phase else { return (Turn::Done, 0) };
        if more_to_come && connection.may_wait(&self.options, ctx.now) {
            return (Turn::Waits, 0);
        }
        if self.way.is_outdated(ctx) {
            connection.snd.begin_path_anew();
        }
        // Without a route the segments are lost on the way, like any that a network loses.
        let route = self.way.find(ctx, &self.tuple);
        let device = route.map_or(DeviceId::LOOPBACK, |route| route.device);
        if let Some(route) = route {
            if is_busy(device) {
                return (Turn::Busy(device), 0);
            }
            if connection.has_followed_path(&route) {
                connection.snd.path().probe.go_on();
            } else {
                follow_path(ctx, connection, &mut self.way, route, &self.tuple);
            }
        }
        let mut nowhere = |_: crate::proto::packet::Egress<'_>| Sent::Taken;
        let sink: &mut dyn PacketSink = if route.is_some() { &mut *round.sink } else { &mut nowhere };
        let way = Way { device, tuple: &self.tuple, marks: Marks::of(&self.options) };
        let quantum = ctx.config.transmit_quantum.min(round.budget);
        let mut segments = 0;
        while segments < quantum {
            let Some(attempt) = connection.transmit(ctx, sink, &way, self.options.nodelay) else {
                return (Turn::Done, segments);
            };
            match attempt.sent {
                Sent::Taken => segments += attempt.segments,
                Sent::Busy => return (Turn::Busy(device), segments),
                Sent::Enough => return (Turn::Enough, segments),
            }
        }
        (Turn::More, segments)
    }
}

/// What this connection and others have found out about the path is told to each other.
#[inline(never)]
fn follow_path(
    ctx: &mut Context,
    connection: &mut Connection,
    way: &mut KnownWay,
    route: Route,
    tuple: &FourTuple,
) {
    let has_news = connection.snd.has_path_news() && connection.tell_path(ctx, &route, tuple.remote);
    let route = if has_news { way.find(ctx, tuple).unwrap_or(route) } else { route };
    connection.follow_path(ctx, &route, tuple.remote);
}
