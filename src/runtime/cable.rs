//! A cable between two devices, in real time: what one device is given comes out of the other, after what the two
//! directions of a path ([`Link`]) do to it.
//!
//! Devices may have offloads: what they give unfinished passes whole where the way has nothing but delay and the other
//! device takes it; everywhere else [`Link::take`] makes packets of a wire of it first.
//!
//! Owns the loop and both [`Link`]s. It sleeps until a device has a packet or the next packet arrives, to better than
//! 100 microseconds, and not at all otherwise: an idle cable uses no CPU. A turn of the loop reads up to 32 packets
//! of each device, or as many as these are cut into, and delivers as many as are due, so that neither direction starves the other. Where a device has
//! no room, the packet that is due waits, and those behind it stay in the link, which drops and counts what exceeds
//! its bounds: order is kept, and nothing is lost without a counter.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrayvec::ArrayVec;
use rustix::event::{self, EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::io::Errno;

use super::alarm::{Alarm, drain};
use super::clock::{now, timespec};
use crate::device::{Device, HEADROOM, Received, Room};
use crate::proto::{DeviceId, Offloads, Packet, Sent};
use crate::sim::{Frame, Link, LinkCounters};
use crate::time::Instant;

/// Packets that enter the link in one turn; the last that is read may be cut into more.
const BATCH_PACKETS: u64 = 32;
/// Packets that are delivered to a device in one turn, and twice as many as have entered if that is more: what has piled up
/// goes down.
const DELIVER_PACKETS: u64 = 64;
/// The largest datagram that IP knows.
const DATAGRAM_MAX: usize = 65_535;

/// Two devices that are joined, before and while the loop runs.
///
/// ```
/// use std::sync::Arc;
/// use tunstack::device::{Device, MemoryDevice};
/// use tunstack::runtime::cable::Cable;
/// use tunstack::sim::{Link, LinkConfig};
///
/// # fn main() -> std::io::Result<()> {
/// // Two pairs: the cable joins the inner ends of both.
/// let ((_left, one), (other, _right)) = (MemoryDevice::pair(1500)?, MemoryDevice::pair(1500)?);
/// let link = |seed| Link::new(LinkConfig::default(), seed);
/// let cable = Cable::new([Arc::new(one), Arc::new(other)], [link(1), link(2)])?;
/// let control = cable.control();
/// let running = std::thread::spawn(|| cable.run());
/// control.unplug();
/// running.join().unwrap().unwrap();
/// assert_eq!(control.counters()[0].link.sent, 0);
/// # Ok(())
/// # }
/// ```
pub struct Cable {
    /// What is read of the first goes to the second, and the other way round.
    ends: [End; 2],
    buffer: Vec<u8>,
    alarm: Alarm,
    shared: Arc<Shared>,
}

/// A device, with the direction that begins at it.
struct End {
    device: Arc<dyn Device>,
    /// It may have something to read.
    readable: bool,
    link: Link<Frame>,
    /// Packets that have entered the link in this turn.
    entered: u64,
    /// Has arrived, and the device at the other end has no room for it.
    held: Option<Frame>,
    unfinished: u64,
}

/// What has happened in one direction so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Passage {
    /// What befell the packets on the way. One that has arrived may still wait for room at the device.
    pub link: LinkCounters,
    /// Packets that are on the way now.
    pub under_way: u64,
    /// Packets that have arrived and wait until the device has room: one at most.
    pub held: u64,
    /// Packets that arrived and were lost by the device, whose link is down.
    pub lost_by_device: u64,
    /// Packets that came in as super-segments or without their checksum, and that nobody knows how to finish, being neither
    /// TCP nor UDP. They go no further.
    pub unfinished: u64,
}

/// Why a cable carries nothing more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// A device was deleted.
    #[error("the device {name} is gone")]
    DeviceGone {
        /// The device's name.
        name: String,
    },
    /// A system call failed that never does.
    #[error("can't wait for events: {0}")]
    Failed(Errno),
}

/// Asks a running cable, and ends it.
#[derive(Clone)]
pub struct Control(Arc<Shared>);

struct Shared {
    passages: Mutex<[Passage; 2]>,
    unplugged: AtomicBool,
    bell: OwnedFd,
}

impl Control {
    /// What has happened so far: from the first device to the second, and the other way.
    pub fn counters(&self) -> [Passage; 2] {
        *self.0.passages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends [`Cable::run`] soon. What is under way is not waited for.
    pub fn unplug(&self) {
        self.0.unplugged.store(true, Ordering::Release);
        // Only a counter that is about to overflow makes this fail, and then the bell has long rung.
        let _ = rustix::io::write(&self.0.bell, &1u64.to_ne_bytes());
    }
}

impl Cable {
    /// The first link is that from the first device to the second.
    ///
    /// # Errors
    /// When the process may not open another file descriptor.
    pub fn new(devices: [Arc<dyn Device>; 2], links: [Link<Frame>; 2]) -> io::Result<Cable> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let ([one, other], [there, back]) = (devices, links);
        let end = |device, link| End { device, readable: true, link, entered: 0, held: None, unfinished: 0 };
        Ok(Cable {
            ends: [end(one, there), end(other, back)],
            buffer: vec![0; HEADROOM + DATAGRAM_MAX],
            alarm: Alarm::new()?,
            shared: Arc::new(Shared { passages: Mutex::default(), unplugged: AtomicBool::new(false), bell }),
        })
    }

    /// A handle that works while the cable runs, and after.
    pub fn control(&self) -> Control {
        Control(Arc::clone(&self.shared))
    }

    /// Carries packets until it is unplugged.
    ///
    /// # Errors
    /// If a device vanishes, or the kernel fails.
    pub fn run(mut self) -> Result<(), Broken> {
        loop {
            let taken_in = self.take_in();
            let until = self.deliver();
            self.publish();
            taken_in?;
            if self.shared.unplugged.load(Ordering::Acquire) {
                return Ok(());
            }
            self.sleep(until).map_err(Broken::Failed)?;
        }
    }

    /// Reads a batch of each device that may have something.
    fn take_in(&mut self) -> Result<(), Broken> {
        let [one, other] = &self.ends;
        let taken_there = [other.device.offloads(), one.device.offloads()];
        for (end, to) in self.ends.iter_mut().zip(taken_there) {
            end.entered = 0;
            let mut left = BATCH_PACKETS;
            while end.readable && end.entered < BATCH_PACKETS && left > 0 {
                left -= 1;
                match end.device.recv_with_headroom(&mut self.buffer) {
                    Received::Packet { len, checksum, gso_size } => {
                        // A device may claim more than it was given.
                        let Some(bytes) = self.buffer.get(HEADROOM..HEADROOM.saturating_add(len)) else {
                            continue;
                        };
                        end.take(&Packet { bytes, at: now(), checksum, gso_size }, to);
                    }
                    Received::Empty => end.readable = false,
                    Received::Gone => {
                        return Err(Broken::DeviceGone { name: end.device.name().to_owned() });
                    }
                }
            }
        }
        Ok(())
    }

    /// Hands over what has arrived; returns until when there is nothing more to do.
    fn deliver(&mut self) -> Instant {
        let [one, other] = &mut self.ends;
        one.deliver(&*other.device).min(other.deliver(&*one.device))
    }

    fn publish(&self) {
        let [one, other] = &self.ends;
        let passages = [one.passage(&*other.device), other.passage(&*one.device)];
        *self.shared.passages.lock().unwrap_or_else(PoisonError::into_inner) = passages;
    }

    /// Sleeps until then, or until a device has something. With something to do at once, only looks.
    fn sleep(&mut self, until: Instant) -> Result<(), Errno> {
        let at_once = timespec(Instant::ZERO);
        let is_busy = until <= now() || self.ends.iter().any(|end| end.readable);
        if !is_busy {
            self.alarm.set(until)?;
        }
        let mut fds = ArrayVec::<PollFd<'_>, 6>::new();
        fds.push(PollFd::from_borrowed_fd(self.alarm.fd(), PollFlags::IN));
        fds.push(PollFd::new(&self.shared.bell, PollFlags::IN));
        let [one, other] = &self.ends;
        for (end, opposite) in [(one, other), (other, one)] {
            let mut wanted = PollFlags::IN;
            let waits = opposite.held.is_some() && end.device.room() == Room::Writable;
            wanted.set(PollFlags::OUT, waits);
            fds.push(PollFd::from_borrowed_fd(end.device.poll_fd(), wanted));
        }
        let controls = self.ends.iter().filter_map(|end| end.device.control_fd());
        fds.extend(controls.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match event::poll(&mut fds, is_busy.then_some(&at_once)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let happened: ArrayVec<bool, 6> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        self.heed(&happened);
        Ok(())
    }

    /// Takes notice of what woke the loop: the alarm, the bell, the devices, and what tells of changes of theirs.
    fn heed(&mut self, happened: &[bool]) {
        let [alarm, bell, first, second, changes @ ..] = happened else { return };
        if *alarm {
            self.alarm.rang();
        }
        if *bell {
            drain(&self.shared.bell);
        }
        for (end, happened) in self.ends.iter_mut().zip([first, second]) {
            end.readable |= *happened;
        }
        if changes.contains(&true) {
            for end in &mut self.ends {
                end.device.control();
                // The change may be its end, which a read finds out.
                end.readable = true;
            }
        }
    }
}

impl End {
    /// A packet came out of the device, on its way to one with these offloads.
    fn take(&mut self, packet: &Packet<'_>, to: Offloads) {
        let before = self.link.counters().sent;
        if self.link.take(packet, to).is_err() {
            self.unfinished += 1;
        }
        self.entered += self.link.counters().sent - before;
    }

    /// Hands what has arrived to the device at the other end; returns when there is something to do again.
    fn deliver(&mut self, to: &dyn Device) -> Instant {
        let now = now();
        for _ in 0..DELIVER_PACKETS.max(2 * self.entered) {
            let Some(frame) = self.held.take().or_else(|| self.link.receive(now)) else { break };
            match to.send(frame.egress(DeviceId(0))) {
                Sent::Taken => {}
                Sent::Busy | Sent::Enough => {
                    self.held = Some(frame);
                    // Its room wakes us, and what arrives meanwhile waits behind it.
                    return Instant::MAX;
                }
            }
        }
        self.link.deadline().unwrap_or(Instant::MAX)
    }

    fn passage(&self, to: &dyn Device) -> Passage {
        Passage {
            link: self.link.counters(),
            under_way: self.link.under_way() as u64,
            held: u64::from(self.held.is_some()),
            lost_by_device: to.lost(),
            unfinished: self.unfinished,
        }
    }
}

#[cfg(test)]
mod tests;
