//! The shard: a stack, its devices, and everything else that the lock protects.
//!
//! Threads of the application come in through [`Shared::block_on`] and [`Shared::call`]: they use the stack
//! under the lock, send what this caused from their own context, and wake the loop only if it would sleep
//! too long otherwise.

use std::collections::HashSet;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::ports::{Budgeted, Outgoing, Ports};
use super::service::Service;
use super::to_drop::ToDrop;
use super::waiting::{Side, Waiting, Wake};
use super::{ShutdownReport, Stopped, clock};
use crate::device::Device;
use crate::proto::events::Events;
use crate::proto::stack::Progress;
use crate::proto::{DeviceId, Error, Event, ListenerId, Owner, SocketId, Stack};
use crate::time::{Instant, nanos};

/// Events that one holder of the lock handles before it lets go of it.
const EVENT_BUDGET: usize = 256;

/// How long a clock that was set may go unnoticed. Nothing wakes a sleeping loop for this.
const TIME_OF_DAY_INTERVAL: Duration = Duration::from_secs(1);

/// What the loop's thread and the application's threads share.
pub(crate) struct Shared {
    shard: Mutex<Shard>,
    /// Threads that are about to take the lock: the loop lets them pass.
    pub(super) wanting: AtomicUsize,
    /// Wakes the loop.
    pub(super) bell: OwnedFd,
    /// The bell was rung, for a loop that looks at this instead of sleeping.
    rung: AtomicBool,
    /// Signalled when the stack has stopped.
    stopped: Condvar,
    pub(super) loop_thread: OnceLock<ThreadId>,
    /// The loop runs, or is about to: somebody answers who waits for it.
    runs: AtomicBool,
    /// The loop has run.
    is_over: AtomicBool,
    /// Within how many nanoseconds somebody on the loop's thread wants the stack to end; `u64::MAX` if nobody does.
    end_wanted_within: AtomicU64,
}

/// What the lock protects.
pub(crate) struct Shard {
    pub(crate) stack: Stack,
    pub(super) ports: Ports,
    pub(super) outgoing: Outgoing,
    /// Something was sent since the loop's turn began.
    pub(super) has_sent: bool,
    waiting: Waiting,
    /// By owner, less one.
    services: Vec<Box<dyn Service>>,
    /// Events that a thread of the application found and the loop is to hand on.
    service_events: Events,
    /// Listeners of the application, which a shutdown closes.
    pub(crate) listeners: HashSet<ListenerId>,
    /// How many connections the application holds a handle of: a shutdown doesn't wait for what becomes of
    /// them.
    pub(crate) handles: usize,
    /// Until when the loop sleeps; [`Instant::ZERO`] while it doesn't.
    pub(super) sleeping_until: Instant,
    /// The latest time that the core was told: it never hears of an earlier one.
    latest: Instant,
    /// When the core is to be told the time of day again.
    time_of_day_due: Instant,
    pub(super) closing: Option<Closing>,
    pub(super) stopped: Option<Stopped>,
}

/// A shutdown under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    pub(super) since: Instant,
    pub(super) until: Instant,
    /// Connections there were at the beginning; `None` until listeners are closed.
    pub(super) connections: Option<usize>,
    /// Since when everything that was written is acknowledged.
    pub(super) drained_since: Option<Instant>,
}

/// How far a holder of the lock came with what there was to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// All is done until the next packet or the next deadline.
    Idle,
    /// What is left waits for devices that have no room.
    DeviceBusy,
    /// There is more to do.
    More,
}

impl Shared {
    /// The devices are those of the stack's interfaces, in the order in which they were added.
    pub(crate) fn new(mut stack: Stack, devices: &[Arc<dyn Device>]) -> io::Result<Self> {
        stack.keep_released();
        Ok(Shared {
            shard: Mutex::new(Shard {
                stack,
                ports: Ports::new(devices),
                outgoing: Outgoing::default(),
                has_sent: false,
                waiting: Waiting::default(),
                services: Vec::new(),
                service_events: Events::default(),
                listeners: HashSet::new(),
                handles: 0,
                sleeping_until: Instant::ZERO,
                latest: Instant::ZERO,
                time_of_day_due: Instant::ZERO,
                closing: None,
                stopped: None,
            }),
            wanting: AtomicUsize::new(0),
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            rung: AtomicBool::new(false),
            stopped: Condvar::new(),
            loop_thread: OnceLock::new(),
            runs: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            end_wanted_within: AtomicU64::new(u64::MAX),
        })
    }

    /// Looks at the shard, whatever has happened to it.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Shard) -> T) -> T {
        let _alarm = Alarm(self);
        look(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A device's MTU now; 0 once it is gone or the stack has stopped.
    pub(crate) fn mtu(&self, device: DeviceId) -> usize {
        self.look(|shard| shard.ports.get(device).map_or(0, |device| device.mtu()))
    }

    /// Datagrams that a device lost on its own account, until it is gone or the stack stops.
    pub(crate) fn device_lost(&self, device: DeviceId) -> u64 {
        self.look(|shard| shard.ports.get(device).map_or(0, |device| device.lost()))
    }

    /// Asks the stack for something, without changing it.
    pub(crate) fn ask<T>(&self, question: impl FnOnce(&Stack) -> Result<T, Error>) -> io::Result<T> {
        let shard = self.enter()?;
        question(&shard.stack).map_err(|error| shard.explain(error))
    }

    /// Uses the stack for something that only a running one can do, such as opening a socket.
    ///
    /// # Errors
    /// Whatever `verb` answers; `NetworkDown` with [`Stopped`] inside if the stack is ending or has ended.
    pub(crate) fn open<T>(
        &self,
        verb: impl FnOnce(&mut Shard, Instant) -> Result<T, Error>,
    ) -> io::Result<T> {
        let _alarm = Alarm(self);
        let shard = self.enter()?;
        shard.running().map_err(|stopped| stopped.to_io())?;
        self.use_and_leave(shard, verb)
    }

    /// Uses the stack, then sends what this caused.
    ///
    /// # Errors
    /// Whatever `verb` answers.
    pub(crate) fn call<T>(
        &self,
        verb: impl FnOnce(&mut Shard, Instant) -> Result<T, Error>,
    ) -> io::Result<T> {
        let _alarm = Alarm(self);
        let shard = self.enter()?;
        self.use_and_leave(shard, verb)
    }

    /// Uses the stack until it answers something else than [`Error::WouldBlock`], sleeping meanwhile.
    ///
    /// # Errors
    /// Whatever `verb` answers; `WouldBlock` when the time is over (at once for [`Patience::None`], and on
    /// the loop's own thread, where owners of shared bytes may come in);
    /// `NetworkDown` with [`Stopped`] inside if the stack stops.
    pub(crate) fn block_on<T>(
        &self,
        socket: SocketId,
        side: Side,
        patience: Patience,
        mut verb: impl FnMut(&mut Shard, Instant) -> Result<T, Error>,
    ) -> io::Result<T> {
        let _alarm = Alarm(self);
        let mut shard = self.enter()?;
        if let (Side::Write, Some(stopped)) = (side, &shard.stopped) {
            return Err(stopped.to_io());
        }
        let began = shard.now();
        let mut now = began;
        loop {
            match verb(&mut shard, now) {
                Err(Error::WouldBlock) => {}
                result => {
                    let result = result.map_err(|error| shard.explain(error));
                    let next = shard.waiting.next(socket, side);
                    self.settle_and_leave(shard, next);
                    return result;
                }
            }
            let limit = match patience {
                Patience::None => Some(Duration::ZERO),
                // Everything that it could wait for would wait for it.
                _ if self.is_loop() => Some(Duration::ZERO),
                Patience::For(limit) => Some(limit.saturating_sub(now - began)),
                Patience::Forever => None,
            };
            let end = match &shard.stopped {
                Some(stopped) => Some(stopped.to_io()),
                None => (limit == Some(Duration::ZERO)).then(|| Error::WouldBlock.into()),
            };
            if let Some(error) = end {
                let next = shard.waiting.next(socket, side);
                self.settle_and_leave(shard, next);
                return Err(error);
            }
            shard = self.sleep(shard, socket, side, limit)?;
            now = shard.now();
        }
    }

    /// Sleeps until something happens to the socket. What the caller did before is sent first.
    fn sleep<'a>(
        &'a self,
        mut shard: MutexGuard<'a, Shard>,
        socket: SocketId,
        side: Side,
        limit: Option<Duration>,
    ) -> io::Result<MutexGuard<'a, Shard>> {
        // In the queue before anything is sent: what the sending causes (on a connection to the stack itself,
        // say) must not be missed.
        let (wake, seen) = shard.waiting.enter(socket, side);
        let mut wakes = Vec::new();
        if shard.settle(&mut wakes) {
            self.ring();
        }
        wakes.drain(..).for_each(|wake| wake.notify_one());
        let mut to_drop = ToDrop::default();
        to_drop.take(&mut shard.stack);
        if !to_drop.is_empty() {
            // Nobody may come in for long who would take them along.
            drop(shard);
            to_drop.let_go();
            shard = self.enter()?;
        }
        if shard.waiting.events(socket, side) == seen {
            shard = match limit {
                None => wake.wait(shard).map_err(|_| poisoned())?,
                Some(limit) => wake.wait_timeout(shard, limit).map_err(|_| poisoned())?.0,
            };
        }
        shard.waiting.leave(socket, side);
        Ok(shard)
    }

    /// Wakes every thread that waits for the socket: its state was changed from this side.
    pub(crate) fn wake_socket(&self, socket: SocketId) {
        self.look(|shard| shard.waiting.wake_socket(socket));
    }

    /// Adds a service and starts it.
    pub(crate) fn add_service(&self, mut service: Box<dyn Service>) -> io::Result<()> {
        let _alarm = Alarm(self);
        let mut shard = self.enter()?;
        shard.running().map_err(|stopped| stopped.to_io())?;
        // Owner 0 is the application.
        let owner = Owner(u32::try_from(shard.services.len() + 1).map_err(|_| io::ErrorKind::InvalidInput)?);
        let now = shard.now();
        let result = service.start(&mut shard.stack, owner, now);
        if result.is_ok() {
            shard.services.push(service);
        }
        self.settle_and_leave(shard, None);
        result
    }

    /// The loop is about to run.
    pub(super) fn will_run(&self) {
        self.runs.store(true, Ordering::Relaxed);
    }

    /// The loop's thread runs it no more, and may wait.
    pub(super) fn loop_is_over(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// As [`shut_down`](Self::shut_down), but only asks where nobody runs the loop: whoever does some day ends at once.
    pub(crate) fn abandon(&self, timeout: Duration) {
        if self.runs.load(Ordering::Relaxed) {
            self.shut_down(timeout);
        } else {
            self.ask_for_end(timeout);
        }
    }

    /// Asks the loop to end the stack within `timeout`, and waits until it has; on the loop's own thread, where that
    /// would be for ever, it only asks.
    pub(crate) fn shut_down(&self, timeout: Duration) -> Stopped {
        self.ask_for_end(timeout);
        self.wait_stopped()
    }

    fn ask_for_end(&self, timeout: Duration) {
        if self.is_loop() {
            // The largest number stands for nobody who wants it.
            self.end_wanted_within.fetch_min(nanos(timeout).min(u64::MAX - 1), Ordering::Relaxed);
        } else {
            self.lock().unwrap_or_else(PoisonError::into_inner).close_within(timeout);
        }
        // It may sleep by now, or be about to: between a turn and the sleep after it, it hears of nothing else.
        self.ring();
    }

    /// Begins the end that a service has asked for. It runs under the lock, and could not take it again.
    pub(super) fn heed_services(&self, shard: &mut Shard) {
        // Only services ask, and what is watched besides, on this thread.
        if self.end_wanted_within.load(Ordering::Relaxed) != u64::MAX {
            let nanos = self.end_wanted_within.swap(u64::MAX, Ordering::Relaxed);
            shard.close_within(Duration::from_nanos(nanos));
        }
    }

    /// Waits until the stack has stopped. On the loop's own thread, where that would be for ever, it says that
    /// nothing was finished.
    pub(crate) fn wait_stopped(&self) -> Stopped {
        if self.is_loop() {
            return Stopped::Shutdown(ShutdownReport::default());
        }
        let mut shard = self.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(stopped) = &shard.stopped {
                return stopped.clone();
            }
            shard = self.stopped.wait(shard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The loop's last act: the devices are let go, and then nobody waits any longer.
    pub(super) fn stop(&self, stopped: Stopped) {
        // Whoever hears of the end may want the devices for another stack.
        self.look(|shard| shard.ports.take_all()).into_iter().for_each(let_go);
        let services = self.look(|shard| {
            shard.stopped.get_or_insert(stopped);
            shard.waiting.wake_all();
            std::mem::take(&mut shard.services)
        });
        self.stopped.notify_all();
        services.into_iter().for_each(let_go);
    }

    /// Whether this is the loop's own thread.
    pub(crate) fn is_loop(&self) -> bool {
        self.loop_thread.get() == Some(&std::thread::current().id()) && !self.is_over.load(Ordering::Relaxed)
    }

    /// Wakes the loop.
    pub(super) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        // Only a counter that is about to overflow makes this fail, and then the bell has long rung.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// Whether the bell was rung since this was asked last. A turn has to follow: whoever rings has done under the lock what
    /// the loop is to see.
    pub(super) fn take_ring(&self) -> bool {
        self.rung.load(Ordering::Relaxed) && self.rung.swap(false, Ordering::Acquire)
    }

    /// Takes the lock for a thread of the application.
    fn enter(&self) -> io::Result<MutexGuard<'_, Shard>> {
        self.lock().map_err(|_| poisoned())
    }

    fn lock(&self) -> Result<MutexGuard<'_, Shard>, PoisonError<MutexGuard<'_, Shard>>> {
        self.wanting.fetch_add(1, Ordering::Relaxed);
        let shard = self.shard.lock();
        self.wanting.fetch_sub(1, Ordering::Relaxed);
        shard
    }

    /// Takes the lock for the loop, which doesn't let itself pass.
    pub(super) fn lock_for_loop(&self) -> Result<MutexGuard<'_, Shard>, PoisonError<MutexGuard<'_, Shard>>> {
        self.shard.lock()
    }

    fn use_and_leave<T>(
        &self,
        mut shard: MutexGuard<'_, Shard>,
        verb: impl FnOnce(&mut Shard, Instant) -> Result<T, Error>,
    ) -> io::Result<T> {
        let now = shard.now();
        let result = verb(&mut shard, now).map_err(|error| shard.explain(error));
        self.settle_and_leave(shard, None);
        result
    }

    /// Sends what there is to send, lets go of the lock, and wakes whom it concerns.
    fn settle_and_leave(&self, mut shard: MutexGuard<'_, Shard>, also: Option<Wake>) {
        let (mut wakes, mut to_drop) = (Vec::new(), ToDrop::default());
        let ring = shard.settle(&mut wakes);
        to_drop.take(&mut shard.stack);
        drop(shard);
        if ring {
            self.ring();
        }
        wakes.into_iter().chain(also).for_each(|wake| wake.notify_one());
        to_drop.let_go();
    }
}

/// How long a thread is ready to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not at all.
    None,
    /// For so long.
    For(Duration),
    /// As long as it takes.
    Forever,
}

impl Shard {
    /// The time now.
    pub(super) fn now(&mut self) -> Instant {
        self.not_before(clock::now())
    }

    /// `at`, or the latest time that the core was told.
    pub(super) fn not_before(&mut self, at: Instant) -> Instant {
        self.latest = self.latest.max(at);
        self.latest
    }

    /// What a thread of the application does before it lets go of the lock: sends what there is to send, and
    /// says whether the loop has to be woken.
    fn settle(&mut self, wakes: &mut Vec<Wake>) -> bool {
        let now = self.now();
        let settled = self.transmit(now);
        self.hand_out_events(wakes);
        let deadline = self.stack.deadline().unwrap_or(Instant::MAX);
        let wanted = settled != Settled::Idle
            || !self.service_events.is_empty()
            || !self.stack.trace().is_empty()
            || deadline < self.sleeping_until;
        // While the loop is awake it looks at all this before it sleeps.
        let ring = wanted && self.sleeping_until != Instant::ZERO;
        if ring {
            self.sleeping_until = Instant::ZERO;
        }
        ring
    }

    /// Tells the core the time of day, now and then: the clock may be set while the stack runs.
    pub(super) fn follow_time_of_day(&mut self, now: Instant) {
        if now >= self.time_of_day_due {
            self.tell_time_of_day(now);
        }
    }

    #[cold]
    fn tell_time_of_day(&mut self, now: Instant) {
        self.time_of_day_due = now + TIME_OF_DAY_INTERVAL;
        self.stack.set_utc_offset(clock::utc_offset());
    }

    /// What the loop does under the lock, after packets came in: timers, events, services, sending.
    /// `more_to_come` says that the device has more of them.
    pub(super) fn turn(&mut self, now: Instant, wakes: &mut Vec<Wake>, more_to_come: bool) -> Settled {
        self.stack.advance(now);
        self.serve(now, wakes);
        let settled = self.transmit_in(now, more_to_come);
        // Sending to the stack itself causes events, and so does room in a send buffer.
        self.hand_out_events(wakes);
        if self.service_events.is_empty() { settled } else { Settled::More }
    }

    /// Sends what there is to send, up to the budget.
    pub(super) fn transmit(&mut self, now: Instant) -> Settled {
        self.transmit_in(now, false)
    }

    fn transmit_in(&mut self, now: Instant, more_to_come: bool) -> Settled {
        let has_nothing = !self.stack.wants_transmit() && self.outgoing.is_empty();
        if has_nothing || self.ports.is_empty() {
            return Settled::Idle;
        }
        let mut sink = Budgeted::new(&self.ports, &mut self.outgoing);
        let progress = if more_to_come {
            self.stack.transmit_mid_batch(now, &mut sink)
        } else {
            self.stack.transmit(now, &mut sink)
        };
        self.has_sent |= sink.has_sent();
        drop(sink);
        match progress {
            Progress::Idle if self.outgoing.is_empty() => Settled::Idle,
            Progress::Idle | Progress::Busy => Settled::DeviceBusy,
            Progress::More => Settled::More,
        }
    }

    /// Lets go of a device that is gone. Routes through it lead nowhere from now on.
    pub(super) fn lose_device(&mut self, device: DeviceId) {
        // The loop still holds it, and drops it without the lock.
        drop(self.ports.remove(device));
        self.stack.set_down(device);
    }

    /// Whether something is left that a device had no room for.
    pub(super) fn waits_for_room(&self, device: DeviceId) -> bool {
        self.stack.waits_for_room(device) || self.outgoing.waits_for_room(device)
    }

    /// Whether all that there was to send is with the devices.
    pub(super) fn has_sent_all(&self) -> bool {
        !self.stack.wants_transmit() && self.outgoing.is_empty()
    }

    /// Asks for the end, or brings one that was asked for nearer.
    #[cold]
    fn close_within(&mut self, timeout: Duration) {
        let now = clock::now();
        let until = now + timeout;
        let asked = Closing { since: now, until, connections: None, drained_since: None };
        let closing = self.closing.get_or_insert(asked);
        closing.until = closing.until.min(until);
    }

    /// Starts what a shutdown starts with.
    pub(super) fn begin_closing(&mut self, now: Instant) {
        for service in &mut self.services {
            service.on_closing(&mut self.stack, now);
        }
        for listener in std::mem::take(&mut self.listeners) {
            self.stack.tcp_close_listener(now, listener);
            self.waiting.wake_socket(SocketId::Listener(listener));
        }
    }

    /// Events of the application wake threads, those of services wait for the loop.
    fn hand_out_events(&mut self, wakes: &mut Vec<Wake>) {
        while let Some(event) = self.stack.next_event() {
            self.hand_out(event, wakes);
        }
    }

    // Apart, since mostly there is none left.
    #[inline(never)]
    fn hand_out(&mut self, event: Event, wakes: &mut Vec<Wake>) {
        if event.owner == Owner::APPLICATION {
            self.waiting.happened(event.socket, event.readiness, wakes);
        } else {
            self.service_events.raise(event.socket, event.owner, event.readiness);
        }
    }

    /// The loop's part: events of services are handled, beginning with those that were left to it.
    fn serve(&mut self, now: Instant, wakes: &mut Vec<Wake>) {
        let left_over = if self.service_events.is_empty() { 0 } else { self.serve_left_over(now, wakes) };
        for _ in left_over..EVENT_BUDGET {
            let Some(event) = self.stack.next_event() else { return };
            self.handle(event, now, wakes);
        }
    }

    /// Handles those events that were left to the loop, and tells how many there were.
    #[cold]
    fn serve_left_over(&mut self, now: Instant, wakes: &mut Vec<Wake>) -> usize {
        let mut handled = 0;
        while handled < EVENT_BUDGET
            && let Some(event) = self.service_events.pop()
        {
            self.handle(event, now, wakes);
            handled += 1;
        }
        handled
    }

    fn handle(&mut self, event: Event, now: Instant, wakes: &mut Vec<Wake>) {
        let Some(index) = (event.owner.0 as usize).checked_sub(1) else {
            self.waiting.happened(event.socket, event.readiness, wakes);
            return;
        };
        if let Some(service) = self.services.get_mut(index) {
            service.on_event(&mut self.stack, event, now);
        }
    }

    /// A handle that the stack doesn't know (any more) was closed by a shutdown.
    fn explain(&self, error: Error) -> io::Error {
        match (error, &self.stopped, &self.closing) {
            (Error::NoSuchSocket, Some(stopped), _) => stopped.to_io(),
            (Error::NoSuchSocket, None, Some(_)) => Stopped::Shutdown(ShutdownReport::default()).to_io(),
            (error, _, _) => error.into(),
        }
    }

    /// Has the next thread that waits for a socket look at it: somebody has used what it may have been woken for.
    pub(crate) fn wake_next(&mut self, socket: SocketId, side: Side) {
        if let Some(wake) = self.waiting.next(socket, side) {
            wake.notify_one();
        }
    }

    /// Why the stack has stopped, if it has.
    pub(crate) fn stopped(&self) -> Option<&Stopped> {
        self.stopped.as_ref()
    }

    /// Whether the stack is neither ending nor has ended.
    fn running(&self) -> Result<(), Stopped> {
        match (&self.stopped, &self.closing) {
            (Some(stopped), _) => Err(stopped.clone()),
            (None, Some(_)) => Err(Stopped::Shutdown(ShutdownReport::default())),
            (None, None) => Ok(()),
        }
    }
}

/// Wakes the loop if a thread of the application panics under the lock: the loop finds the lock poisoned and
/// ends the stack, where other threads would wait for ever.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.ring();
        }
    }
}

/// Drops what is of other people's making. It may panic, and nobody must wait for ever for that.
pub(super) fn let_go<T>(what: T) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(what)));
}

fn poisoned() -> io::Error {
    Stopped::Failed { cause: "a thread panicked inside the stack".to_owned() }.to_io()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::MemoryDevice;
    use crate::proto::{Config, Secrets};
    use bytes::Bytes;

    /// Bytes whose owner tells of its end.
    struct Owned(Arc<AtomicBool>);

    impl AsRef<[u8]> for Owned {
        fn as_ref(&self) -> &[u8] {
            &[7; 20_000]
        }
    }

    impl Drop for Owned {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_falls_asleep_leaves_nothing_that_was_released() {
        let (device, _peer) = MemoryDevice::pair(1500).expect("a pair of devices");
        let mut stack = Stack::new(Config::default(), &Secrets::from_number(1), clock::now());
        stack.add_interface(1500);
        let shared = Shared::new(stack, &[Arc::new(device)]).expect("a shard");
        let local = "127.0.0.1:7".parse().expect("an address");
        let open = |shard: &mut Shard, now| {
            let listener = shard.stack.tcp_listen(now, local, None, Owner::APPLICATION)?;
            let client = shard.stack.tcp_connect(now, None, local, None, Owner::APPLICATION)?;
            Ok((listener, client))
        };
        let (listener, client) = shared.call(open).expect("a listener and a connection");
        shared.call(|shard, now| shard.stack.tcp_accept(now, listener)).expect("the other end");
        let is_over = Arc::new(AtomicBool::new(false));
        let mut bytes = Bytes::from_owner(Owned(Arc::clone(&is_over)));
        // There is no loop that would come later.
        let patience = Patience::For(Duration::from_millis(10));
        let woken = shared.block_on(SocketId::Listener(listener), Side::Read, patience, |shard, now| {
            if !bytes.is_empty() {
                shard.stack.tcp_write_bytes(now, client, &mut bytes)?;
                return Err(Error::WouldBlock);
            }
            assert!(shard.stack.tcp_info(client).is_ok_and(|info| info.bytes_acked == 20_000));
            assert!(is_over.load(Ordering::Relaxed), "it is held though nobody needs it");
            Ok(())
        });
        woken.expect("the assertions");
    }
}
