//! What the layers share while one verb runs: lent by the stack, owned by nobody below it.

use super::buf::pages::Pool;
use super::config::Config;
use super::counters::Counters;
use super::events::Events;
use super::ids::TimerKey;
use super::ip::Layer;
use super::ip::outbox::Outbox;
use super::timer_wheel::TimerWheel;
use super::trace::Trace;
use crate::rng::Rng;
use crate::time::Instant;

/// Everything that is shared, for the time of one verb.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a Config,
    pub(crate) counters: &'a mut Counters,
    pub(crate) ip: &'a mut Layer,
    pub(crate) outbox: &'a mut Outbox,
    pub(crate) events: &'a mut Events,
    pub(crate) trace: &'a mut Trace,
    pub(crate) rng: &'a mut Rng,
    pub(crate) pool: &'a mut Pool,
    pub(crate) timers: &'a mut TimerWheel<TimerKey>,
}
