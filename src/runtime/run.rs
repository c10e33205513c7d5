//! The loop itself: what the stack's own thread does.

use std::any::Any;
use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use arrayvec::ArrayVec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{self, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::clock::{now, timespec};
use super::shard::{Closing, Settled, Shard, Shared};
use super::waiting::Wake;
use super::{ShutdownReport, Stopped, lines};
use crate::device::{Device, Received, Room};
use crate::proto::{ChecksumState, Packet};
use crate::time::Instant;

/// Datagrams read before the stack is told of them: enough to make the lock cheap, few enough that they are still
/// in the nearest cache when the stack looks at them, and that answers don't come late (reading until nothing is
/// left makes a TUN's queue overflow).
const BATCH_PACKETS: usize = 32;
/// The largest datagram that IP knows.
const DATAGRAM_MAX: usize = 65_535;
/// Room for a batch of datagrams of the usual size, and one of the largest.
const BATCH_BYTES: usize = BATCH_PACKETS * 2048 + DATAGRAM_MAX;
/// Datagrams in a batch start at multiples of this: a cache line.
const ALIGN: usize = 64;
/// How often the loop yields to a thread that wants the lock. A woken thread needs some tens of
/// microseconds to come.
const GIVE_WAY_MAX: usize = 64;
/// How long a shutdown that has nothing more to send waits for peers to close their side, too: soon enough
/// for those that close when we do, and they then see an end instead of a reset.
const FIN_GRACE: Duration = Duration::from_millis(250);
/// How often the last resets are offered to a device that has no room.
const LAST_OFFERS: usize = 16;

/// The loop, before and while it runs.
pub(crate) struct Runner {
    shared: Arc<Shared>,
    device: Arc<dyn Device>,
    sleeper: Sleeper,
    batch: Batch,
    wakes: Vec<Wake>,
    mtu: usize,
}

/// What the loop does after a turn.
enum Next {
    /// Another turn at once.
    Again,
    /// Sleep until then, or until the device has room.
    Sleep { until: Instant, for_room: bool },
    /// End.
    Stop(Stopped),
}

impl Runner {
    pub(crate) fn new(shared: Arc<Shared>, device: Arc<dyn Device>) -> io::Result<Self> {
        let sleeper = Sleeper::new(&shared, &device)?;
        let mtu = device.mtu();
        Ok(Runner { shared, device, sleeper, batch: Batch::new(), wakes: Vec::new(), mtu })
    }

    /// Starts the loop on a thread of its own.
    pub(crate) fn spawn(mut self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name(format!("tunstack {}", self.device.name())).spawn(move || {
            let shared = Arc::clone(&self.shared);
            let _ = shared.loop_thread.set(thread::current().id());
            let end = catch_unwind(AssertUnwindSafe(|| self.run()));
            // One of the two who hold the device.
            drop(self);
            shared.stop(end.unwrap_or_else(|panic| Stopped::Failed { cause: message(&*panic) }));
        })
    }

    fn run(&mut self) -> Stopped {
        let mut readable = true;
        loop {
            let intake = if readable { self.batch.fill(&*self.device) } else { Intake::Drained };
            match self.turn(intake) {
                Next::Again => {
                    self.give_way();
                    // Whatever else there is to do, and however long it lasts, the device has its turn, too.
                    readable = true;
                }
                Next::Sleep { until, for_room } => match self.sleeper.sleep(until, for_room) {
                    Ok(woken) => {
                        readable = woken.device;
                        if woken.control {
                            self.device.control();
                        }
                    }
                    Err(error) => {
                        return Stopped::Failed { cause: format!("can't wait for events: {error}") };
                    }
                },
                Next::Stop(stopped) => return stopped,
            }
        }
    }

    /// One turn: everything that has to be done under the lock.
    fn turn(&mut self, intake: Intake) -> Next {
        let arrived = now();
        let Ok(mut shard) = self.shared.lock_for_loop() else {
            return Next::Stop(Stopped::Failed { cause: "a thread panicked inside the stack".to_owned() });
        };
        shard.sleeping_until = Instant::ZERO;
        let arrived = shard.not_before(arrived);
        let device_id = shard.device_id;
        let mtu = self.device.mtu();
        if mtu != self.mtu {
            self.mtu = mtu;
            shard.stack.set_mtu(device_id, mtu);
        }
        self.batch.take_packets(arrived, |packet| shard.stack.receive(device_id, &packet));
        let now = shard.now();
        let settled = shard.turn(now, &mut self.wakes, intake == Intake::Full);
        self.shared.heed_services(&mut shard);
        let next = self.next(&mut shard, intake, settled, now);
        if let Next::Sleep { until, .. } = next {
            shard.sleeping_until = until;
        }
        let records = (!shard.stack.trace().is_empty()).then(|| shard.stack.trace().take());
        drop(shard);
        self.wakes.drain(..).for_each(|wake| wake.notify_one());
        if let Some((records, lost)) = records {
            lines::write(records, lost);
        }
        next
    }

    fn next(&self, shard: &mut Shard, intake: Intake, settled: Settled, now: Instant) -> Next {
        if intake == Intake::Gone {
            shard.stack.tcp_abort_all(now);
            return Next::Stop(Stopped::DeviceGone { name: self.device.name().to_owned() });
        }
        let mut until = shard.stack.deadline().unwrap_or(Instant::MAX);
        if let Some(closing) = shard.closing {
            let Some(connections) = closing.connections else {
                let connections = shard.stack.tcp_census().sockets;
                shard.begin_closing(now);
                shard.closing = Some(Closing { connections: Some(connections), ..closing });
                return Next::Again;
            };
            let limit = closing_limit(shard, closing, settled, now);
            if now >= limit {
                return Next::Stop(Stopped::Shutdown(end(shard, closing.since, connections, now)));
            }
            until = until.min(limit);
        }
        if intake == Intake::Full || settled == Settled::More || until <= now {
            return Next::Again;
        }
        Next::Sleep { until, for_room: settled == Settled::DeviceBusy }
    }

    /// Lets a thread that waits for the lock have it: the loop, which hardly ever sleeps under load, would
    /// otherwise win it every time.
    fn give_way(&self) {
        let wanting = self.shared.wanting.load(Ordering::Relaxed);
        if wanting == 0 {
            return;
        }
        for _ in 0..GIVE_WAY_MAX {
            thread::yield_now();
            if self.shared.wanting.load(Ordering::Relaxed) != wanting {
                return;
            }
        }
    }
}

/// Until when a shutdown waits, as things stand now.
fn closing_limit(shard: &mut Shard, closing: Closing, settled: Settled, now: Instant) -> Instant {
    let drained = settled == Settled::Idle && shard.stack.tcp_unfinished() == 0;
    let drained_since = drained.then(|| closing.drained_since.unwrap_or(now));
    shard.closing = Some(Closing { drained_since, ..closing });
    let Some(since) = drained_since else { return closing.until };
    if shard.stack.tcp_census().sockets <= shard.handles {
        return now;
    }
    closing.until.min(since + FIN_GRACE)
}

/// The stack's last act: what is still there is reset.
fn end(shard: &mut Shard, since: Instant, connections: usize, now: Instant) -> ShutdownReport {
    let drained = shard.stack.tcp_unfinished() == 0 && !shard.stack.wants_transmit();
    let resets = |shard: &Shard| shard.stack.counters().tcp_resets_out;
    let before = resets(shard);
    shard.stack.tcp_abort_all(now);
    for _ in 0..LAST_OFFERS {
        while shard.transmit(now) == Settled::More {}
        if !shard.stack.wants_transmit() {
            break;
        }
        thread::yield_now();
    }
    let reset = usize::try_from(resets(shard) - before).unwrap_or(usize::MAX);
    ShutdownReport { finished: connections.saturating_sub(reset), reset, drained, took: now - since }
}

/// How the reading of a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Intake {
    /// The device has no more.
    Drained,
    /// The batch is full.
    Full,
    /// The device is gone.
    Gone,
}

/// Datagrams read from the device and not yet told to the stack, one behind the other.
struct Batch {
    buffer: Vec<u8>,
    packets: ArrayVec<Slot, BATCH_PACKETS>,
}

struct Slot {
    start: usize,
    len: usize,
    checksum: ChecksumState,
    gso_size: Option<NonZeroU16>,
}

impl Batch {
    fn new() -> Self {
        Batch { buffer: vec![0; BATCH_BYTES], packets: ArrayVec::new() }
    }

    fn fill(&mut self, device: &dyn Device) -> Intake {
        let mut start = 0;
        while !self.packets.is_full() && self.buffer.len() - start >= DATAGRAM_MAX {
            match device.recv(&mut self.buffer[start..]) {
                Received::Packet { len, checksum, gso_size } => {
                    self.packets.push(Slot { start, len, checksum, gso_size });
                    // A device may claim more than it was given.
                    let end = start + len.min(self.buffer.len() - start);
                    start = end.next_multiple_of(ALIGN).min(self.buffer.len());
                }
                Received::Empty => return Intake::Drained,
                Received::Gone => return Intake::Gone,
            }
        }
        Intake::Full
    }

    fn take_packets(&mut self, at: Instant, mut each: impl FnMut(Packet<'_>)) {
        for Slot { start, len, checksum, gso_size } in self.packets.drain(..) {
            // A device that claims more than it was given has nothing to say.
            let Some(bytes) = self.buffer.get(start..start.saturating_add(len)) else { continue };
            each(Packet { bytes, at, checksum, gso_size });
        }
    }
}

/// What the loop sleeps on: the device, and in an `epoll` all that seldom happens.
///
/// The device is not in the `epoll`: a descriptor that is costs a callback for every packet that arrives, though
/// under load nobody sleeps.
struct Sleeper {
    epoll: OwnedFd,
    timer: OwnedFd,
    /// When the timer fires; [`Instant::MAX`] if it doesn't.
    armed: Instant,
    shared: Arc<Shared>,
    device: Arc<dyn Device>,
}

/// Who woke the loop.
#[derive(Clone, Copy, Debug, Default)]
struct Woken {
    device: bool,
    control: bool,
}

const CONTROL: u64 = 0;
const BELL: u64 = 1;
const TIMER: u64 = 2;

impl Sleeper {
    fn new(shared: &Arc<Shared>, device: &Arc<dyn Device>) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let add = |fd: BorrowedFd<'_>, id| epoll::add(&epoll, fd, EventData::new_u64(id), EventFlags::IN);
        add(shared.bell.as_fd(), BELL)?;
        add(timer.as_fd(), TIMER)?;
        if let Some(control) = device.control_fd() {
            add(control, CONTROL)?;
        }
        let (shared, device) = (Arc::clone(shared), Arc::clone(device));
        Ok(Sleeper { epoll, timer, armed: Instant::MAX, shared, device })
    }

    fn sleep(&mut self, until: Instant, for_room: bool) -> Result<Woken, Errno> {
        self.arm(until)?;
        let mut wanted = PollFlags::IN;
        wanted.set(PollFlags::OUT, for_room && self.device.room() == Room::Writable);
        let poll_fd = self.device.poll_fd();
        let mut fds = [PollFd::from_borrowed_fd(poll_fd, wanted), PollFd::new(&self.epoll, PollFlags::IN)];
        match event::poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let [device, seldom] = fds.map(|fd| !fd.revents().is_empty());
        let mut woken = Woken { device, control: false };
        if seldom {
            self.take_seldom(&mut woken)?;
        }
        // A change of the device may be its end, which a read finds out.
        woken.device |= woken.control;
        Ok(woken)
    }

    fn take_seldom(&mut self, woken: &mut Woken) -> Result<(), Errno> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 3];
        let at_once = timespec(Instant::ZERO);
        let events = match epoll::wait(&self.epoll, &mut events, Some(&at_once)) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(()),
            Err(error) => return Err(error),
        };
        for event in events {
            match event.data.u64() {
                CONTROL => woken.control = true,
                BELL => drain(&self.shared.bell),
                _ => {
                    drain(&self.timer);
                    self.armed = Instant::MAX;
                }
            }
        }
        Ok(())
    }

    fn arm(&mut self, until: Instant) -> Result<(), Errno> {
        if self.armed == until {
            return Ok(());
        }
        // Zero would disarm the timer: the origin of time has passed in any case.
        let at = if until == Instant::MAX { Instant::ZERO } else { until.max(Instant::from_nanos(1)) };
        let once = Itimerspec { it_interval: timespec(Instant::ZERO), it_value: timespec(at) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &once)?;
        self.armed = until;
        Ok(())
    }
}

/// Takes what makes an eventfd or timerfd readable.
fn drain(fd: &OwnedFd) {
    let _ = rustix::io::read(fd, &mut [0; 8]);
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic").to_owned()
}
