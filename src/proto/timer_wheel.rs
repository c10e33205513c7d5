//! A hierarchical timer wheel: O(1) to arm, move and disarm, exact next deadline.

use crate::time::Instant;

/// Names an armed timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId(u32);

/// Timers, each with a key of type `K`.
#[derive(Debug)]
pub struct TimerWheel<K> { _k: core::marker::PhantomData<K> }

impl<K: Copy> TimerWheel<K> {
    /// An empty wheel that starts turning at `now`.
    pub fn new(now: Instant) -> Self { todo!() }
    /// Arms a timer.
    pub fn insert(&mut self, key: K, at: Instant) -> TimerId { todo!() }
    /// Moves an armed timer.
    pub fn reschedule(&mut self, id: TimerId, at: Instant) { todo!() }
    /// Disarms a timer. Its id may be given to another one afterwards.
    pub fn remove(&mut self, id: TimerId) { todo!() }
    /// Takes one timer that is due at `now`, disarming it. Timers never fire early; call until `None`.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> { todo!() }
    /// When the next timer is due (a lower bound that is at most one tick early is allowed only for
    /// timers more than a minute away).
    pub fn next_deadline(&self) -> Option<Instant> { todo!() }
    /// Armed timers.
    pub fn len(&self) -> usize { todo!() }
    /// Whether none is armed.
    pub fn is_empty(&self) -> bool { todo!() }
}
