//! Sending: connections with something to send take turns.

use super::*;
use crate::proto::buf::pages::Pool;
use crate::proto::events::Readiness;
use crate::proto::packet::{DeviceId, PacketSink, Sent};
use crate::proto::stack::Progress;

/// How one connection's turn ended.
enum Turn {
    /// It has nothing left to send.
    Done,
    /// Its quantum is used up.
    More,
    /// What it has to send may wait for the rest of the batch.
    Waits,
    /// The device has no room.
    Busy,
}

impl Endpoint {
    /// Whether [`transmit`](Self::transmit) has something to do.
    pub(crate) fn wants_transmit(&self, pool: &Pool) -> bool {
        !self.ready.is_empty() || self.can_wake_starved(pool)
    }

    /// Gives each ready connection its turns, up to a budget of packets. With `more_to_come`, acknowledgements
    /// that those packets may share stay behind.
    pub(crate) fn transmit(
        &mut self,
        ctx: &mut Context<'_>,
        sink: &mut dyn PacketSink,
        more_to_come: bool,
    ) -> Progress {
        self.wake_starved(ctx);
        let mut waiting = Vec::new();
        let progress = self.take_turns(ctx, sink, more_to_come, &mut waiting);
        self.ready.extend(waiting);
        progress
    }

    fn take_turns(
        &mut self,
        ctx: &mut Context<'_>,
        sink: &mut dyn PacketSink,
        more_to_come: bool,
        waiting: &mut Vec<TcpId>,
    ) -> Progress {
        let mut budget = ctx.config.transmit_budget;
        while let Some(id) = self.ready.pop_front() {
            let Some(socket) = self.sockets.get_mut(id) else { continue };
            let quantum = ctx.config.transmit_quantum.min(budget);
            let (turn, sent) = socket.take_turn(ctx, sink, quantum, more_to_come);
            budget -= sent;
            match turn {
                Turn::Done => socket.is_ready = false,
                Turn::More => self.ready.push_back(id),
                Turn::Busy => self.ready.push_front(id),
                Turn::Waits => waiting.push(id),
            }
            socket.rearm(ctx, id);
            match turn {
                Turn::Busy => return Progress::Busy,
                Turn::Done | Turn::More | Turn::Waits if budget == 0 => return Progress::More,
                Turn::Done | Turn::More | Turn::Waits => {}
            }
        }
        Progress::Idle
    }

    /// Lets sockets try again that found the page pool empty.
    fn wake_starved(&mut self, ctx: &mut Context<'_>) {
        if self.can_wake_starved(ctx.pool) {
            for id in core::mem::take(&mut self.starved) {
                if let Some(socket) = self.sockets.get_mut(id) {
                    socket.is_starved = false;
                    socket.raise(ctx, id, Readiness::WRITABLE);
                }
            }
        }
    }

    fn can_wake_starved(&self, pool: &Pool) -> bool {
        !self.starved.is_empty() && pool.available() > 0
    }
}

impl Socket {
    fn take_turn(
        &mut self,
        ctx: &mut Context<'_>,
        sink: &mut dyn PacketSink,
        quantum: usize,
        more_to_come: bool,
    ) -> (Turn, usize) {
        let Phase::Synchronised(connection) = &mut self.phase else { return (Turn::Done, 0) };
        if more_to_come && connection.may_wait(&self.options, ctx.now) {
            return (Turn::Waits, 0);
        }
        // Without a route the segments are lost on the way, like any that a network loses.
        let route = ctx.ip.route(self.tuple.remote, Some(self.tuple.local)).ok();
        let device = route.map_or(DeviceId::LOOPBACK, |route| route.device);
        if let Some(route) = route {
            connection.follow_mtu(route.mtu, self.tuple.local.is_ipv4());
        }
        let mut nowhere = |_: crate::proto::packet::Egress<'_>| Sent::Taken;
        let sink: &mut dyn PacketSink = if route.is_some() { sink } else { &mut nowhere };
        for sent in 0..quantum {
            match connection.transmit(ctx, sink, device, &self.tuple, &self.options) {
                Some(Sent::Taken) => {}
                Some(Sent::Busy | Sent::Enough) => return (Turn::Busy, sent),
                None => return (Turn::Done, sent),
            }
        }
        (Turn::More, quantum)
    }
}
