//! What the layers share: owned by the stack, lent to one of them while one verb runs.

use super::buf::pages::Pool;
use super::config::{Config, Secrets};
use super::counters::Counters;
use super::events::Events;
use super::ids::TimerKey;
use super::ip::Layer;
use super::ip::outbox::Outbox;
use super::timer_wheel::TimerWheel;
use super::trace::Trace;
use crate::rng::Rng;
use crate::time::Instant;

/// Everything that is shared.
// In one place, and not a reference to each: those would be gathered anew for every verb and every packet.
#[derive(Debug)]
pub(crate) struct Context {
    /// First, so that it is dropped first: debug builds call pages a leak while their pool still lives.
    pub(crate) pool: Pool,
    /// The time of the verb that runs.
    pub(crate) now: Instant,
    pub(crate) config: Config,
    pub(crate) counters: Counters,
    pub(crate) ip: Layer,
    pub(crate) outbox: Outbox,
    pub(crate) events: Events,
    pub(crate) trace: Trace,
    pub(crate) rng: Rng,
    pub(crate) timers: TimerWheel<TimerKey>,
}

impl Context {
    pub(crate) fn of(config: Config, secrets: &Secrets, now: Instant) -> Self {
        Context {
            pool: Pool::new(config.pages),
            now,
            counters: Counters::default(),
            ip: Layer::new(&config, secrets, now),
            outbox: Outbox::new(&config),
            events: Events::default(),
            trace: Trace::default(),
            rng: Rng::from_seed(secrets.rng),
            timers: TimerWheel::new(now),
            config,
        }
    }

    /// For a verb that runs now.
    #[inline(always)]
    pub(crate) fn at(&mut self, now: Instant) -> &mut Self {
        self.now = now;
        self
    }
}
