//! Threads that wait for a socket: each socket has its own queue for readers and for writers.
//!
//! Owns who waits for what; lives inside the shard, under its lock. Nothing is kept for sockets that nobody
//! waits for. An event wakes one thread of those it concerns, and every thread that leaves wakes the next:
//! ten threads that accept from one listener don't all wake for one connection.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Condvar};

use crate::proto::{Readiness, SocketId};

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Something to read or accept.
    Read,
    /// Room to write, or the end of a connection attempt.
    Write,
}

/// A queue of threads to be woken: to be notified once, and better after the lock was let go.
pub(super) type Wake = Arc<Condvar>;

/// The threads that wait, by socket.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    sockets: HashMap<SocketId, [Queue; 2]>,
}

#[derive(Debug, Default)]
struct Queue {
    threads: usize,
    /// Counts events; a thread sleeps while this is what it was when the thread came.
    events: u64,
    wake: Wake,
}

impl Waiting {
    /// A thread is about to wait. Returns what it sleeps on and the count of events that it has seen.
    pub(super) fn enter(&mut self, socket: SocketId, side: Side) -> (Wake, u64) {
        let queue = &mut self.sockets.entry(socket).or_default()[side as usize];
        queue.threads += 1;
        (Arc::clone(&queue.wake), queue.events)
    }

    /// How many events a queue has seen.
    pub(super) fn events(&self, socket: SocketId, side: Side) -> u64 {
        self.sockets.get(&socket).map_or(0, |queues| queues[side as usize].events)
    }

    /// A thread waits no more.
    pub(super) fn leave(&mut self, socket: SocketId, side: Side) {
        let Entry::Occupied(mut entry) = self.sockets.entry(socket) else { return };
        entry.get_mut()[side as usize].threads -= 1;
        if entry.get().iter().all(|queue| queue.threads == 0) {
            entry.remove();
        }
    }

    /// Something happened to a socket: adds the queues to be woken to `wakes`.
    pub(super) fn happened(&mut self, socket: SocketId, readiness: Readiness, wakes: &mut Vec<Wake>) {
        let Some(queues) = self.sockets.get_mut(&socket) else { return };
        let both = Readiness::ERROR | Readiness::SOFT_ERROR;
        let concerned = [Readiness::READABLE | Readiness::URGENT | both, Readiness::WRITABLE | both];
        for (queue, concern) in queues.iter_mut().zip(concerned) {
            if queue.threads > 0 && readiness.intersects(concern) {
                queue.events += 1;
                wakes.push(Arc::clone(&queue.wake));
            }
        }
    }

    /// Whom a thread that was served wakes: there may be more of what it took.
    pub(super) fn next(&mut self, socket: SocketId, side: Side) -> Option<Wake> {
        let queue = &mut self.sockets.get_mut(&socket)?[side as usize];
        if queue.threads == 0 {
            return None;
        }
        queue.events += 1;
        Some(Arc::clone(&queue.wake))
    }

    /// Wakes every thread, on all sockets.
    pub(super) fn wake_all(&mut self) {
        for queue in self.sockets.values_mut().flatten() {
            queue.events += 1;
            queue.wake.notify_all();
        }
    }

    /// Wakes every thread on one socket.
    pub(super) fn wake_socket(&mut self, socket: SocketId) {
        for queue in self.sockets.get_mut(&socket).into_iter().flatten() {
            queue.events += 1;
            queue.wake.notify_all();
        }
    }

    /// How many threads wait.
    #[cfg(test)]
    fn threads(&self) -> usize {
        self.sockets.values().flatten().map(|queue| queue.threads).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slotmap::KeyData;

    use super::*;
    use crate::proto::TcpId;

    const SOCKET: fn() -> SocketId = || SocketId::Tcp(TcpId::default());

    /// What a thread that waits knows: whom it waits for, and the count of events when it came.
    struct Waiter {
        socket: SocketId,
        side: Side,
        seen: u64,
        /// Whether something has happened since, as the model has it.
        called: bool,
    }

    fn step(waiting: &mut Waiting, model: &mut Vec<Waiter>, step: (u8, u64, bool, u8)) {
        let (action, socket, write, bits) = step;
        let socket = SocketId::Tcp(TcpId::from(KeyData::from_ffi(socket)));
        let side = if write { Side::Write } else { Side::Read };
        let same = |waiter: &Waiter| waiter.socket == socket && waiter.side == side;
        match action {
            0 | 1 => {
                let (_, seen) = waiting.enter(socket, side);
                model.push(Waiter { socket, side, seen, called: false });
            }
            2 => {
                if let Some(index) = model.iter().position(same) {
                    model.remove(index);
                    waiting.leave(socket, side);
                }
            }
            3 => {
                let next = waiting.next(socket, side);
                assert_eq!(next.is_some(), model.iter().any(same));
                model.iter_mut().filter(|waiter| same(waiter)).for_each(|waiter| waiter.called = true);
            }
            _ => {
                let readiness = Readiness::from_bits_truncate(bits);
                let read = Readiness::READABLE | Readiness::URGENT | Readiness::ERROR | Readiness::SOFT_ERROR;
                let write = Readiness::WRITABLE | Readiness::ERROR | Readiness::SOFT_ERROR;
                waiting.happened(socket, readiness, &mut Vec::new());
                for waiter in model.iter_mut().filter(|waiter| waiter.socket == socket) {
                    let concern = if waiter.side == Side::Read { read } else { write };
                    waiter.called |= readiness.intersects(concern);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_thread_that_waits_and_is_concerned_hears_of_an_event(
            steps in proptest::collection::vec((0..6u8, 1..4u64, any::<bool>(), 0..32u8), 0..200),
        ) {
            let (mut waiting, mut model) = (Waiting::default(), Vec::new());
            for taken in steps {
                step(&mut waiting, &mut model, taken);
                prop_assert_eq!(waiting.threads(), model.len());
                for Waiter { socket, side, seen, called } in &model {
                    prop_assert_eq!(waiting.events(*socket, *side) != *seen, *called);
                }
            }
        }
    }

    #[test]
    fn nothing_is_kept_for_a_socket_that_nobody_waits_for() {
        let mut waiting = Waiting::default();
        let mut wakes = Vec::new();
        waiting.happened(SOCKET(), Readiness::all(), &mut wakes);
        assert!(wakes.is_empty() && waiting.sockets.is_empty());
        waiting.enter(SOCKET(), Side::Read);
        waiting.enter(SOCKET(), Side::Write);
        waiting.leave(SOCKET(), Side::Read);
        assert_eq!(waiting.threads(), 1);
        waiting.leave(SOCKET(), Side::Write);
        assert!(waiting.sockets.is_empty());
    }

    #[test]
    fn an_event_wakes_the_side_that_it_concerns_and_an_error_wakes_both() {
        let mut waiting = Waiting::default();
        let mut wakes = Vec::new();
        let (_, read) = waiting.enter(SOCKET(), Side::Read);
        let (_, write) = waiting.enter(SOCKET(), Side::Write);
        waiting.happened(SOCKET(), Readiness::READABLE, &mut wakes);
        assert_eq!(wakes.len(), 1);
        assert_ne!(waiting.events(SOCKET(), Side::Read), read);
        assert_eq!(waiting.events(SOCKET(), Side::Write), write);
        wakes.clear();
        waiting.happened(SOCKET(), Readiness::ERROR, &mut wakes);
        assert_eq!(wakes.len(), 2);
    }
}
