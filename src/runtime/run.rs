//! The loop itself: what the thread does that runs the stack.

use std::any::Any;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::io::Errno;

use super::answers::Answers;
use super::batch::{Batch, Intake};
use super::busy::{Busy, BusyPoll};
use super::clock::{now, thread_cpu};
use super::line::{Line, Port};
use super::ports::Budgeted;
use super::shard::{Closing, Settled, Shard, Shared, let_go};
use super::sleeper::Sleeper;
use super::to_drop::ToDrop;
use super::waiting::Wake;
use super::{ShutdownReport, Stopped, lines};
use crate::device::Device;
use crate::time::Instant;

/// How often the loop yields to a thread that wants the lock. A woken thread needs some tens of
/// microseconds to come.
const GIVE_WAY_MAX: usize = 64;
/// How long a shutdown that has nothing more to send waits for peers to close their side, too: soon enough
/// for those that close when we do, and they then see an end instead of a reset.
const FIN_GRACE: Duration = Duration::from_millis(250);
/// After so many turns without sleep the loop asks what has seldom happened, which it hears of when it sleeps otherwise. Under
/// load a turn takes some tens of microseconds.
const SLEEPLESS_MAX: u32 = 64;
/// How often the last resets are offered to a device that has no room.
const LAST_OFFERS: usize = 16;

/// The loop, before and while it runs.
pub(crate) struct Runner {
    shared: Arc<Shared>,
    line: Line,
    sleeper: Sleeper,
    batch: Batch,
    busy: Busy,
    answers: Answers,
    /// Something was sent in the latest turn, and no answer looked for yet.
    has_sent: bool,
    /// Turns since it slept last.
    sleepless: u32,
    /// Since when the loop waits, if it does.
    waits_since: Option<Instant>,
    wakes: Vec<Wake>,
    to_drop: ToDrop,
}

/// From whom a batch was read, and how that ended.
type Read = Option<(usize, Intake)>;

/// What the loop does after a turn.
enum Next {
    /// Another turn at once.
    Again,
    /// Sleep until then.
    Sleep { until: Instant },
    /// End.
    Stop(Stopped),
}

impl Runner {
    /// The devices are those that `shared` was made with. As `busy_poll` says they are looked at again and again before the loop
    /// sleeps.
    pub(crate) fn new(
        shared: Arc<Shared>,
        devices: &[Arc<dyn Device>],
        busy_poll: BusyPoll,
    ) -> io::Result<Self> {
        let line = Line::new(devices);
        let sleeper = Sleeper::new(&shared, &line)?;
        Ok(Runner {
            shared,
            line,
            sleeper,
            batch: Batch::new(),
            busy: Busy::new(busy_poll),
            answers: Answers::default(),
            has_sent: false,
            sleepless: 0,
            waits_since: None,
            wakes: Vec::new(),
            to_drop: ToDrop::default(),
        })
    }

    /// Has `react` called by the loop, without the lock, whenever `source` has something to read, until that was read or it says
    /// `Break`.
    ///
    /// # Errors
    /// If `source` can't be waited for, as files can't.
    pub(crate) fn watch_also<S: AsFd + Send + 'static>(
        &mut self,
        source: S,
        react: impl FnMut(&mut S) -> ControlFlow<()> + Send + 'static,
    ) -> io::Result<()> {
        self.sleeper.watch_also(source, react)
    }

    /// Starts the loop on a thread of its own.
    pub(crate) fn spawn(self) -> io::Result<JoinHandle<()>> {
        let name = self.line.ports().first().map_or("tunstack", |port| port.device.name());
        self.shared.will_run();
        thread::Builder::new().name(format!("tunstack {name}")).spawn(move || drop(self.run_here()))
    }

    /// Runs the loop on this thread until the stack stops, and tells why it did.
    pub(crate) fn run_here(mut self) -> Stopped {
        let shared = Arc::clone(&self.shared);
        shared.will_run();
        let _ = shared.loop_thread.set(thread::current().id());
        let end = catch_unwind(AssertUnwindSafe(|| self.run()));
        let stopped = end.unwrap_or_else(|panic| Stopped::Failed { cause: message(&*panic) });
        self.end(stopped.clone());
        stopped
    }

    /// Ends the stack though the loop never ran.
    pub(crate) fn give_up(self) {
        self.end(Stopped::Shutdown(ShutdownReport::default()));
    }

    fn end(mut self, stopped: Stopped) {
        let shared = Arc::clone(&self.shared);
        let also = self.sleeper.take_also();
        // One of the two who hold the devices.
        drop(self);
        shared.stop(stopped);
        // From here on this thread is like any other, and hears the truth about the end.
        shared.loop_is_over();
        // Each may wait for somebody who waits for the end.
        also.into_iter().for_each(let_go);
    }

    fn run(&mut self) -> Stopped {
        let mut read = self.read();
        loop {
            let next = match self.turn(read) {
                Next::Again => self.go_on(),
                Next::Sleep { until } => self.wait(until),
                Next::Stop(stopped) => return stopped,
            };
            read = match next {
                Ok(read) => read,
                Err(error) => return Stopped::Failed { cause: format!("can't wait for events: {error}") },
            }
        }
    }

    /// There is more to do at once.
    fn go_on(&mut self) -> Result<Read, Errno> {
        self.give_way();
        self.sleepless += 1;
        if self.sleepless >= SLEEPLESS_MAX {
            self.sleepless = 0;
            self.sleeper.take_seldom(&mut self.line)?;
        }
        // Whatever else there is to do, and however long it lasts, the devices have their turns, too.
        if self.line.is_round_over() {
            self.begin_round()?;
        }
        Ok(self.read())
    }

    /// Reads from the device whose turn it is, passing over those that have nothing: they are not worth the lock.
    fn read(&mut self) -> Read {
        loop {
            let at = self.line.take_next()?;
            let port = self.line.at(at);
            let intake = self.batch.fill(&*port.device, &mut port.singles);
            if self.has_news(at, intake) || self.line.is_round_over() {
                return Some((at, intake));
            }
        }
    }

    /// Whether there is anything in what was read that the stack has to be told.
    fn has_news(&mut self, at: usize, intake: Intake) -> bool {
        let port = self.line.at(at);
        intake != Intake::Drained || !self.batch.is_empty() || port.device.mtu() != port.mtu
    }

    fn begin_round(&mut self) -> Result<(), Errno> {
        self.line.begin_round();
        self.sleeper.look(&mut self.line)
    }

    /// Waits until then, or until there is something to do, and reads.
    fn wait(&mut self, until: Instant) -> Result<Read, Errno> {
        if self.busy.counts_waits() {
            let since = now();
            self.waits_since = Some(since);
            self.busy.waits(since);
        }
        if self.busy.is_used()
            && let Some(read) = self.watch_first(until)?
        {
            return Ok(read);
        }
        if let Some(read) = self.read_answers()? {
            return Ok(Some(read));
        }
        self.line.begin_round();
        self.sleeper.sleep(&mut self.line, until)?;
        self.sleepless = 0;
        self.answers.asked();
        if self.shared.take_ring() {
            self.busy.something_happened(now());
        }
        Ok(self.read())
    }

    /// Reads the devices though nobody has said that they have something. `None` if there is nothing new.
    fn look(&mut self) -> Result<Read, Errno> {
        self.begin_round()?;
        Ok(self.read().filter(|&(from, intake)| self.has_news(from, intake)))
    }

    /// Reads what was answered to what the latest turn has sent, if that is to be expected, and there.
    fn read_answers(&mut self) -> Result<Read, Errno> {
        // Of several devices all would be read, and those behind the one that has answered in a turn of their own.
        let is_alone = self.line.ports().len() == 1;
        if !self.has_sent || !is_alone || self.line.wants_room() || !self.answers.are_expected() {
            return Ok(None);
        }
        let read = self.look()?;
        self.answers.read(read.is_some());
        Ok(read)
    }

    /// What a loop that is to look before it sleeps does before that; `None` if it is time to sleep.
    #[inline(never)]
    fn watch_first(&mut self, until: Instant) -> Result<Option<Read>, Errno> {
        let read = self.watch(until)?;
        // What `watch` took notice of may have been the bell, rung after it had asked for that.
        if read.is_none() && self.shared.take_ring() {
            self.busy.something_happened(now());
            return Ok(Some(None));
        }
        Ok(read)
    }

    /// Looks at the devices again and again instead of sleeping, as long as it is worth the while. `None` if nothing came of
    /// it, and it is time to sleep.
    fn watch(&mut self, until: Instant) -> Result<Option<Read>, Errno> {
        if self.line.wants_room() {
            return Ok(None);
        }
        let mut at = now();
        while at < until {
            if !self.busy.is_worthwhile(at) {
                return Ok(None);
            }
            let rung = self.shared.take_ring();
            let due = rung || self.busy.is_seldom_due(at);
            // Whoever was told of something may have asked for the end.
            let told = due && self.sleeper.take_seldom(&mut self.line)?;
            if rung {
                self.busy.something_happened(at);
            }
            if rung || told {
                return Ok(Some(None));
            }
            if let Some(read) = self.look()? {
                return Ok(Some(Some(read)));
            }
            // It was not answered at once, and comes later.
            self.has_sent = false;
            // Whoever is to send us something may need this very processor.
            thread::yield_now();
            let looked = std::mem::replace(&mut at, now());
            self.busy.yielded(looked, at);
        }
        Ok(Some(None))
    }

    /// One turn: everything that has to be done under the lock. `read` says whose packets are in the batch.
    fn turn(&mut self, read: Read) -> Next {
        let arrived = now();
        let waits_since = self.waits_since.take();
        if !self.batch.is_empty() {
            self.busy.packets_came(self.batch.len(), (waits_since, arrived), thread_cpu);
        }
        let Ok(mut shard) = self.shared.lock_for_loop() else {
            return Next::Stop(Stopped::Failed { cause: "a thread panicked inside the stack".to_owned() });
        };
        (shard.sleeping_until, shard.has_sent) = (Instant::ZERO, false);
        let arrived = shard.not_before(arrived);
        shard.follow_time_of_day(arrived);
        let intake = read.map_or(Intake::Drained, |(_, intake)| intake);
        let mut gone = None;
        if let Some((at, _)) = read {
            hand_over(&mut shard, self.line.at(at), &mut self.batch, arrived, intake);
            if intake == Intake::Gone {
                gone = Some(lose(&mut self.line, at, &mut shard, &self.sleeper));
            }
        }
        let now = shard.now();
        let settled = shard.turn(now, &mut self.wakes, intake == Intake::Full);
        self.has_sent = shard.has_sent;
        self.shared.heed_services(&mut shard);
        let next = what_next(&mut self.line, &mut shard, gone.as_ref(), settled, now);
        if let Next::Sleep { until } = next {
            shard.sleeping_until = until;
        }
        let records = (!shard.stack.trace().is_empty()).then(|| shard.stack.trace().take());
        self.to_drop.take(&mut shard.stack);
        drop(shard);
        self.wakes.drain(..).for_each(|wake| wake.notify_one());
        self.to_drop.let_go();
        if let Some((records, lost)) = records {
            lines::write(records, lost);
        }
        if let Some(gone) = gone {
            tell_of_loss(gone, self.line.ports().len());
        }
        next
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

/// What the loop does after a turn. `gone` is the device that turned out to be gone in it.
fn what_next(
    line: &mut Line,
    shard: &mut Shard,
    gone: Option<&Port>,
    settled: Settled,
    now: Instant,
) -> Next {
    if let Some(gone) = gone.filter(|_| line.ports().is_empty()) {
        return end_without_device(shard, gone, now);
    }
    let mut until = shard.stack.deadline().unwrap_or(Instant::MAX);
    if let Some(closing) = shard.closing {
        match go_on_closing(shard, closing, settled, now) {
            ControlFlow::Continue(limit) => until = until.min(limit),
            ControlFlow::Break(next) => return next,
        }
    }
    if line.has_readable() || settled == Settled::More || until <= now {
        return Next::Again;
    }
    for port in line.ports_mut() {
        // Mostly none did, and none does.
        if port.wants_room || settled == Settled::DeviceBusy {
            port.wants_room = settled == Settled::DeviceBusy && shard.waits_for_room(port.id);
        }
    }
    Next::Sleep { until }
}

/// Lets go of a device that is gone.
#[cold]
fn lose(line: &mut Line, at: usize, shard: &mut Shard, sleeper: &Sleeper) -> Port {
    let gone = line.remove(at);
    shard.lose_device(gone.id);
    sleeper.forget(&*gone.device);
    gone
}

#[cold]
fn tell_of_loss(gone: Port, left: usize) {
    // If it was the last, whoever waits for the stack's end is told why.
    if left > 0 {
        log::warn!("the device {} is gone; the stack has {left} left", gone.device.name());
    }
}

/// Tells the stack of what was read from a device.
fn hand_over(shard: &mut Shard, port: &mut Port, batch: &mut Batch, arrived: Instant, intake: Intake) {
    port.readable = matches!(intake, Intake::Full | Intake::Urgent);
    let mtu = port.device.mtu();
    if mtu != port.mtu {
        port.mtu = mtu;
        shard.stack.set_mtu(port.id, mtu);
    }
    let Shard { stack, ports, outgoing, has_sent, .. } = shard;
    // Packets for others leave at once: most of what a router does ends here.
    let mut sink = Budgeted::new(ports, outgoing);
    batch.take_packets(arrived, |packet| stack.receive_and_forward(port.id, &packet, &mut sink));
    *has_sent |= sink.has_sent();
}

/// The last device is gone.
#[cold]
fn end_without_device(shard: &mut Shard, gone: &Port, now: Instant) -> Next {
    shard.stack.tcp_abort_all(now);
    Next::Stop(Stopped::DeviceGone { name: gone.device.name().to_owned() })
}

/// What comes next in a shutdown, or until when it waits.
#[cold]
fn go_on_closing(
    shard: &mut Shard,
    closing: Closing,
    settled: Settled,
    now: Instant,
) -> ControlFlow<Next, Instant> {
    let Some(connections) = closing.connections else {
        let connections = shard.stack.tcp_census().sockets;
        shard.begin_closing(now);
        shard.closing = Some(Closing { connections: Some(connections), ..closing });
        return ControlFlow::Break(Next::Again);
    };
    let limit = closing_limit(shard, closing, settled, now);
    if now >= limit {
        let report = end(shard, closing.since, connections, now);
        return ControlFlow::Break(Next::Stop(Stopped::Shutdown(report)));
    }
    ControlFlow::Continue(limit)
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
    let drained = shard.stack.tcp_unfinished() == 0 && shard.has_sent_all();
    let resets = |shard: &Shard| shard.stack.counters().tcp_resets_out;
    let before = resets(shard);
    shard.stack.tcp_abort_all(now);
    for _ in 0..LAST_OFFERS {
        while shard.transmit(now) == Settled::More {}
        if shard.has_sent_all() {
            break;
        }
        thread::yield_now();
    }
    let reset = usize::try_from(resets(shard) - before).unwrap_or(usize::MAX);
    ShutdownReport { finished: connections.saturating_sub(reset), reset, drained, took: now - since }
}

/// What a panic says.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic").to_owned()
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::sync::atomic::{AtomicBool, AtomicUsize};
    use std::sync::mpsc;

    use rustix::event::{EventfdFlags, eventfd};

    use super::super::alarm::drain;
    use super::*;
    use crate::device::{MemoryDevice, Received, Room};
    use crate::proto::ip::testing::{bare_segment, icmp_message};
    use crate::proto::wire::icmp::{Echo, Message};
    use crate::proto::wire::tcp::FLAG_SYN;
    use crate::proto::{ChecksumState, Config, DeviceId, Egress, Secrets, Sent, Stack};

    fn runner_of(devices: &[Arc<dyn Device>], poll: BusyPoll) -> Runner {
        let config = Config { forwarding: true, ..Config::default() };
        let mut stack = Stack::new(config, &Secrets::from_number(1), now());
        for nth in 0..devices.len() {
            let device = stack.add_interface(1500);
            let address = format!("10.9.{nth}.2/24").parse().expect("an address");
            stack.add_address(device, address).expect("an address of its own");
        }
        let shared = Arc::new(Shared::new(stack, devices).expect("a shard"));
        Runner::new(shared, devices, poll).expect("a loop")
    }

    /// A loop, and the other ends of its devices.
    fn runner_with<const N: usize>(poll: BusyPoll) -> (Runner, [MemoryDevice; N]) {
        let pairs = [(); N].map(|()| MemoryDevice::pair(1500).expect("a pair of devices"));
        let mut devices: Vec<Arc<dyn Device>> = Vec::new();
        let peers = pairs.map(|(device, peer)| {
            devices.push(Arc::new(device));
            peer
        });
        (runner_of(&devices, poll), peers)
    }

    /// A loop, and the other end of its only device.
    fn runner(poll: BusyPoll) -> (Runner, MemoryDevice) {
        let (runner, [peer]) = runner_with(poll);
        (runner, peer)
    }

    /// From a host beside the first device.
    fn echo_request(to: &str) -> Vec<u8> {
        icmp_message("10.9.0.1", to, Message::EchoRequest(Echo { ident: 7, seq: 9, data: b"odd" }))
    }

    fn give(peer: &MemoryDevice, bytes: &[u8]) {
        assert_eq!(peer.send(Egress::plain(DeviceId(0), bytes, &[])), Sent::Taken);
    }

    /// As if something had been sent, and answers to what was sent before had been there at once.
    fn expect_answers(runner: &mut Runner) {
        runner.has_sent = true;
        while !runner.answers.are_expected() {
            runner.answers.read(true);
        }
    }

    /// A device with a datagram, which never says so.
    struct Secretive {
        silence: OwnedFd,
        /// Readable: it always has news of itself.
        control: OwnedFd,
        has_datagram: AtomicBool,
        /// How often it was asked whether it has something, read, and asked for its news.
        asked: AtomicUsize,
        reads: AtomicUsize,
        controls: AtomicUsize,
        /// How long a read takes.
        read_time: Duration,
    }

    impl Secretive {
        fn new(read_time: Duration) -> Arc<Secretive> {
            let event = |count| eventfd(count, EventfdFlags::CLOEXEC).expect("an eventfd");
            Arc::new(Secretive {
                silence: event(0),
                control: event(1),
                has_datagram: AtomicBool::new(false),
                asked: AtomicUsize::new(0),
                reads: AtomicUsize::new(0),
                controls: AtomicUsize::new(0),
                read_time,
            })
        }
    }

    impl Device for Secretive {
        fn name(&self) -> &str {
            "secretive"
        }

        fn mtu(&self) -> usize {
            1500
        }

        fn recv(&self, buffer: &mut [u8]) -> Received {
            self.reads.fetch_add(1, Ordering::Relaxed);
            thread::sleep(self.read_time);
            if !self.has_datagram.swap(false, Ordering::Relaxed) {
                return Received::Empty;
            }
            buffer[0] = 0;
            Received::Packet { len: 1, checksum: ChecksumState::Trusted, gso_size: None }
        }

        fn send(&self, _: Egress<'_>) -> Sent {
            Sent::Taken
        }

        fn poll_fd(&self) -> BorrowedFd<'_> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.silence.as_fd()
        }

        fn room(&self) -> Room {
            Room::Writable
        }

        fn control_fd(&self) -> Option<BorrowedFd<'_>> {
            Some(self.control.as_fd())
        }

        fn control(&self) {
            self.controls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A loop that doesn't look before it sleeps, and its only device.
    fn with_secretive() -> (Runner, Arc<Secretive>) {
        let device = Secretive::new(Duration::ZERO);
        let runner = runner_of(&[Arc::clone(&device) as Arc<dyn Device>], BusyPoll::For(Duration::ZERO));
        (runner, device)
    }

    /// So many turns, for each of which there is a datagram; tells how often the loop asked for what seldom happens.
    fn turns(runner: &mut Runner, device: &Secretive, count: usize, has_sent: bool) -> usize {
        let before = device.controls.load(Ordering::Relaxed);
        for _ in 0..count {
            device.has_datagram.store(true, Ordering::Relaxed);
            runner.has_sent = has_sent;
            let read = runner.wait(Instant::MAX).expect("no error");
            runner.turn(read);
        }
        device.controls.load(Ordering::Relaxed) - before
    }

    #[test]
    fn answers_that_are_there_at_once_are_read_without_a_question_but_for_one_now_and_then() {
        let (mut runner, device) = with_secretive();
        let asked = turns(&mut runner, &device, 100, false);
        assert_eq!(asked, 100, "nothing was sent, and still it doesn't ask");
        turns(&mut runner, &device, 68, true);
        assert_eq!(turns(&mut runner, &device, 330, true), 10);
    }

    #[test]
    fn who_has_just_asked_need_not_ask_again() {
        let (mut runner, device) = with_secretive();
        turns(&mut runner, &device, 100, true);
        let mut asked = 0;
        for _ in 0..10 {
            asked += turns(&mut runner, &device, 1, false) + turns(&mut runner, &device, 31, true);
        }
        assert_eq!(asked, 10);
    }

    #[test]
    fn a_turn_tells_whether_something_was_sent_in_it() {
        let (mut runner, [peer, _other]) = runner_with(BusyPoll::For(Duration::ZERO));
        let (for_us, for_others) = (echo_request("10.9.0.2"), echo_request("10.9.1.3"));
        for (datagram, sends) in
            [(&for_us[..], true), (b"x", false), (&for_others, true), (b"x", false), (&for_us, true)]
        {
            give(&peer, datagram);
            let read = runner.wait(Instant::MAX).expect("what was sent");
            runner.turn(read);
            assert_eq!(runner.has_sent, sends, "{datagram:02x?}");
        }
    }

    #[test]
    fn the_device_is_read_again_at_once_behind_one_who_is_answered_first() {
        let (mut runner, peer) = runner(BusyPoll::For(Duration::ZERO));
        give(&peer, &bare_segment("10.9.0.1", "10.9.0.2", FLAG_SYN));
        give(&peer, &echo_request("10.9.0.2"));
        let read = runner.wait(Instant::MAX).expect("what was sent");
        assert!(matches!(read, Some((0, Intake::Urgent))));
        assert!(matches!(runner.turn(read), Next::Again));
        let read = runner.go_on().expect("what was sent");
        assert!(matches!(read, Some((0, Intake::Drained))));
        runner.turn(read);
        assert!(runner.has_sent, "the reply to what came behind it");
    }

    #[test]
    fn room_that_comes_after_a_turn_that_has_sent_is_made_use_of() {
        let (device, peer) = MemoryDevice::pair(1500).expect("a pair of devices");
        let switches = device.switches();
        let mut runner = runner_of(&[Arc::new(device)], BusyPoll::For(Duration::ZERO));
        switches.set_busy(true);
        give(&peer, &echo_request("10.9.0.2"));
        let read = runner.wait(Instant::MAX).expect("a request");
        assert!(matches!(runner.turn(read), Next::Sleep { .. }));
        expect_answers(&mut runner);
        // Its descriptor becomes readable.
        switches.set_busy(false);
        let (told, hears) = mpsc::channel();
        thread::spawn(move || {
            let read = runner.wait(Instant::MAX).expect("no error");
            runner.turn(read);
            let _ = told.send(());
        });
        assert_eq!(hears.recv_timeout(Duration::from_secs(5)), Ok(()), "it sleeps though there is room");
        assert!(matches!(peer.recv(&mut [0; 100]), Received::Packet { .. }));
    }

    #[test]
    fn what_was_looked_for_in_vain_is_not_looked_for_again_before_the_loop_sleeps() {
        // One look takes longer than the loop is to look.
        let (time, read_time) = (Duration::from_millis(20), Duration::from_millis(25));
        let device = Secretive::new(read_time);
        let mut runner = runner_of(&[Arc::clone(&device) as Arc<dyn Device>], BusyPoll::For(time));
        expect_answers(&mut runner);
        runner.busy.something_happened(now());
        runner.wait(Instant::MAX).expect("no error");
        // The other is that of a loop that was woken.
        assert_eq!(device.reads.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_look_in_vain_changes_nothing_about_datagrams_that_come_one_at_a_time() {
        let (mut runner, device) = with_secretive();
        turns(&mut runner, &device, 9, false);
        assert!(runner.line.at(0).singles.expects_one());
        expect_answers(&mut runner);
        runner.wait(Instant::MAX).expect("no error");
        assert!(runner.line.at(0).singles.expects_one());
    }

    #[test]
    fn no_turn_is_made_for_a_device_that_has_nothing_where_another_has_answered() {
        let (mut runner, [peer, _other]) = runner_with(BusyPoll::For(Duration::ZERO));
        runner.line.ports_mut().iter_mut().for_each(|port| port.readable = false);
        expect_answers(&mut runner);
        give(&peer, b"x");
        let read = runner.wait(Instant::MAX).expect("what was sent");
        assert!(matches!(runner.turn(read), Next::Sleep { .. }));
    }

    #[test]
    fn many_devices_are_asked_once() {
        let devices = [(); 5].map(|()| Secretive::new(Duration::ZERO));
        let some: Vec<_> = devices.iter().map(|device| Arc::clone(device) as Arc<dyn Device>).collect();
        let mut runner = runner_of(&some, BusyPoll::For(Duration::ZERO));
        expect_answers(&mut runner);
        runner.wait(Instant::MAX).expect("no error");
        assert_eq!(devices.map(|device| device.asked.load(Ordering::Relaxed)), [1; 5]);
    }

    #[test]
    fn a_ring_whose_bell_was_taken_while_the_loop_looked_is_heard_before_it_sleeps() {
        let (mut runner, _peer) = runner(BusyPoll::For(Duration::from_micros(50)));
        runner.shared.ring();
        // As a look at what seldom happens does.
        drain(&runner.shared.bell);
        let (told, hears) = mpsc::channel();
        thread::spawn(move || told.send(runner.wait(Instant::MAX).is_ok()));
        assert_eq!(hears.recv_timeout(Duration::from_secs(5)), Ok(true), "it sleeps though it was rung for");
    }

    #[test]
    fn an_end_that_is_asked_for_on_the_loops_own_thread_is_heard_before_it_sleeps() {
        let (mut runner, _peer) = runner(BusyPoll::For(Duration::ZERO));
        runner.turn(None);
        runner.shared.loop_thread.set(thread::current().id()).expect("the first loop");
        // As an owner of lent bytes may, when it is dropped behind a turn.
        runner.shared.shut_down(Duration::ZERO);
        let (told, hears) = mpsc::channel();
        thread::spawn(move || {
            let read = runner.wait(Instant::MAX).expect("no error");
            let next = runner.turn(read);
            told.send(matches!(next, Next::Again | Next::Stop(Stopped::Shutdown(_))))
        });
        assert_eq!(
            hears.recv_timeout(Duration::from_secs(5)),
            Ok(true),
            "it sleeps though its end was asked for"
        );
    }

    #[test]
    fn looking_is_tried_where_waits_for_packets_are_short_and_only_there() {
        let looked = |delay: u64| {
            let (mut runner, peer) = runner(BusyPoll::Auto);
            // On a busy machine it takes a few more.
            (0..2_000).find(|_| {
                give(&peer, b"x");
                let read = runner.wait(Instant::MAX).expect("what was sent");
                // As if it had come later.
                runner.waits_since =
                    runner.waits_since.map(|since| Instant::from_nanos(since.as_nanos() - delay));
                runner.turn(read);
                runner.busy.is_used()
            })
        };
        assert!(looked(0).is_some_and(|packets| packets >= 127));
        assert_eq!(looked(101_000), None);
    }
}
