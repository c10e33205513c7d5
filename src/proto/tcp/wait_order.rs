//! Those who all wait equally long, with one timer for all of them.
//!
//! Owns the order in which their waits are over, which is that in which they began, and the timer. Who it is that waits, and whether
//! he still does, is for those to say who have the order: places of whoever has gone, or waits otherwise since, are skipped, and
//! swept when they prevail.

use alloc::collections::VecDeque;

use crate::proto::context::Context;
use crate::proto::ids::{TcpTimer, TimerKey};
use crate::proto::timer_wheel::TimerId;
use crate::time::Instant;

/// Who waits, and until when.
#[derive(Debug)]
pub(crate) struct WaitOrder<K> {
    /// The earliest first.
    places: VecDeque<(Instant, K)>,
    /// Armed while anybody waits, for no later than the first.
    timer: Option<TimerId>,
    /// What fires.
    key: TcpTimer,
}

impl<K: Copy> WaitOrder<K> {
    /// Nobody waits; for whoever will, `key` fires.
    pub(crate) const fn new(key: TcpTimer) -> Self {
        WaitOrder { places: VecDeque::new(), timer: None, key }
    }

    /// `id`, one of `waiting`, waits until then, which is no earlier than anybody before.
    #[inline]
    pub(crate) fn push(
        &mut self,
        ctx: &mut Context,
        (until, id): (Instant, K),
        waiting: usize,
        is_current: impl Fn(Instant, K) -> bool,
    ) {
        self.places.push_back((until, id));
        if self.timer.is_none() {
            self.arm(ctx, until);
        }
        if self.places.len() > 2 * waiting + 16 {
            self.sweep(is_current);
        }
    }

    /// Takes out whose wait is over first, be it now or later.
    pub(crate) fn pop(&mut self, is_current: impl Fn(Instant, K) -> bool) -> Option<K> {
        while let Some((until, id)) = self.places.pop_front() {
            if is_current(until, id) {
                return Some(id);
            }
        }
        None
    }

    /// The timer has fired, and is disarmed: [`pop_due`](Self::pop_due) is to be asked until there is nobody more.
    pub(crate) fn fired(&mut self) {
        self.timer = None;
    }

    /// Takes out one whose wait is over by now. If there is none, the timer is armed for the next.
    pub(crate) fn pop_due(
        &mut self,
        ctx: &mut Context,
        is_current: impl Fn(Instant, K) -> bool,
    ) -> Option<K> {
        while let Some((until, id)) = self.places.front().copied() {
            let waits = is_current(until, id);
            if waits && until > ctx.now {
                self.arm(ctx, until);
                return None;
            }
            self.places.pop_front();
            if waits {
                return Some(id);
            }
        }
        None
    }

    /// Nobody waits any more, and nothing is to wake us.
    pub(crate) fn clear(&mut self, ctx: &mut Context) {
        self.places.clear();
        if let Some(timer) = self.timer.take() {
            ctx.timers.remove(timer);
        }
    }

    /// Places, of whomever.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    #[inline(never)]
    fn arm(&mut self, ctx: &mut Context, at: Instant) {
        self.timer = Some(ctx.timers.insert(TimerKey::Tcp(self.key), at));
    }

    #[inline(never)]
    fn sweep(&mut self, is_current: impl Fn(Instant, K) -> bool) {
        self.places.retain(|(until, id)| is_current(*until, *id));
    }
}
