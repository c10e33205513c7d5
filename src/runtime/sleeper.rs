//! What the loop sleeps on: the devices, and in an `epoll` all that seldom happens.
//!
//! The devices are not in the `epoll`: a descriptor that is costs a callback for every packet that arrives, though
//! under load nobody sleeps.

use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::{io, iter};

use arrayvec::ArrayVec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{self, PollFd, PollFlags};
use rustix::io::Errno;

use super::alarm::{Alarm, drain};
use super::clock::timespec;
use super::line::{Line, Port};
use super::shard::Shared;
use crate::device::{Device, Room};
use crate::time::Instant;

/// From so many devices on, asking which of them have something costs less than to read them all.
const ASK_FROM: usize = 5;
/// Seldom events that are taken at once; the others wait for the next time.
const SELDOM_MAX: usize = 8;

const BELL: u64 = 1 << 32;
const TIMER: u64 = 2 << 32;
/// And from here on what else is watched, in its order.
const ALSO: u64 = 3 << 32;

/// Descriptors that are asked without a list made for it: those of a stack with a device or a few.
const FEW: usize = 4;

/// Puts the loop to sleep.
pub(super) struct Sleeper {
    epoll: OwnedFd,
    alarm: Alarm,
    shared: Arc<Shared>,
    /// What else is watched.
    also: Also,
    /// What `poll` is told of each descriptor; kept for its memory.
    happened: Vec<bool>,
}

impl Sleeper {
    pub(super) fn new(shared: &Arc<Shared>, line: &Line) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let alarm = Alarm::new()?;
        let add = |fd: BorrowedFd<'_>, id| epoll::add(&epoll, fd, EventData::new_u64(id), EventFlags::IN);
        add(shared.bell.as_fd(), BELL)?;
        add(alarm.fd(), TIMER)?;
        for port in line.ports() {
            if let Some(control) = port.device.control_fd() {
                add(control, u64::from(port.id.0))?;
            }
        }
        Ok(Sleeper { epoll, alarm, shared: Arc::clone(shared), also: Also::default(), happened: Vec::new() })
    }

    /// Has `react` called whenever `source` has something to read, until that was read or it says `Break`.
    pub(super) fn watch_also<S: AsFd + Send + 'static>(
        &mut self,
        source: S,
        react: impl FnMut(&mut S) -> ControlFlow<()> + Send + 'static,
    ) -> io::Result<()> {
        let id = ALSO + self.also.len() as u64;
        let watch = Box::new(Watch { source, react });
        let added = epoll::add(&self.epoll, watch.fd(), EventData::new_u64(id), EventFlags::IN);
        // What can't be watched is kept, too: it is dropped when the end was told, which it may wait for.
        self.also.push(Some(watch));
        Ok(added?)
    }

    /// What is watched besides, which is so no longer: its owner's code, which runs when it is dropped.
    pub(super) fn take_also(&mut self) -> Also {
        std::mem::take(&mut self.also)
    }

    /// Tells whom it concerns, and watches no longer what they are done with.
    fn tell(&mut self, nth: u64) {
        let Some(slot) = usize::try_from(nth).ok().and_then(|nth| self.also.get_mut(nth)) else { return };
        if slot.as_mut().is_some_and(|watched| watched.react().is_break())
            && let Some(watched) = slot.take()
        {
            // That it isn't there is all that can go wrong.
            let _ = epoll::delete(&self.epoll, watched.fd());
        }
    }

    /// Sleeps until then, or until there is something to do, and notes which devices may have something to read.
    pub(super) fn sleep(&mut self, line: &mut Line, until: Instant) -> Result<(), Errno> {
        self.alarm.set(until)?;
        if self.poll(line, None)? {
            self.take_seldom(line)?;
        }
        Ok(())
    }

    /// Notes which devices may have something to read, without sleeping.
    pub(super) fn look(&mut self, line: &mut Line) -> Result<(), Errno> {
        if line.ports().len() < ASK_FROM {
            for port in line.ports_mut() {
                port.readable = true;
                port.singles.looked_for();
            }
            return Ok(());
        }
        self.poll(line, Some(Instant::ZERO)).map(drop)
    }

    /// Forgets a device.
    pub(super) fn forget(&self, device: &dyn Device) {
        if let Some(control) = device.control_fd() {
            // That it isn't there is all that can go wrong.
            let _ = epoll::delete(&self.epoll, control);
        }
    }

    /// Tells whether something seldom happened.
    fn poll(&mut self, line: &mut Line, timeout: Option<Instant>) -> Result<bool, Errno> {
        if let [port] = line.ports_mut() {
            // The device first: if it has something, the kernel gets ready for no sleep on what stands behind it.
            let mut fds = [poll_fd(port), PollFd::new(&self.epoll, PollFlags::IN)];
            poll(&mut fds, timeout)?;
            let [happened, seldom] = fds.map(|fd| !fd.revents().is_empty());
            port.readable |= happened;
            return Ok(seldom);
        }
        self.poll_several(line, timeout)
    }

    #[inline(never)]
    fn poll_several(&mut self, line: &mut Line, timeout: Option<Instant>) -> Result<bool, Errno> {
        let (mut few, mut many) = (ArrayVec::<PollFd<'_>, FEW>::new(), Vec::new());
        let all = line.ports().iter().map(poll_fd).chain(iter::once(PollFd::new(&self.epoll, PollFlags::IN)));
        let fds: &mut [PollFd<'_>] = if line.ports().len() < FEW {
            few.extend(all);
            &mut few
        } else {
            many.extend(all);
            &mut many
        };
        poll(fds, timeout)?;
        self.happened.clear();
        self.happened.extend(fds.iter().map(|fd| !fd.revents().is_empty()));
        drop((few, many));
        let (seldom, ports) = self.happened.split_last().unwrap_or((&false, &[]));
        for (port, happened) in line.ports_mut().iter_mut().zip(ports) {
            port.readable |= happened;
        }
        Ok(*seldom)
    }

    /// Takes notice of what seldom happens, if it has, and tells whether somebody else than the loop was told of it.
    pub(super) fn take_seldom(&mut self, line: &mut Line) -> Result<bool, Errno> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); SELDOM_MAX];
        let at_once = timespec(Instant::ZERO);
        let events = match epoll::wait(&self.epoll, &mut events, Some(&at_once)) {
            Ok((events, _)) => events,
            Err(Errno::INTR) => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut told = false;
        for event in events {
            match event.data.u64() {
                BELL => drain(&self.shared.bell),
                TIMER => self.alarm.rang(),
                also @ ALSO.. => {
                    self.tell(also - ALSO);
                    told = true;
                }
                device => {
                    let changed = |port: &&mut Port| u64::from(port.id.0) == device;
                    for port in line.ports_mut().iter_mut().filter(changed) {
                        port.device.control();
                        // The change may be its end, which a read finds out.
                        port.readable = true;
                    }
                }
            }
        }
        Ok(told)
    }
}

/// What else is watched, in the order of its ids; `None` where it is so no longer.
pub(super) type Also = Vec<Option<Box<dyn Watched>>>;

/// Something that is watched besides the devices.
pub(super) trait Watched: Send {
    fn fd(&self) -> BorrowedFd<'_>;

    /// It has something to read. `Break` if it is to be watched no longer.
    fn react(&mut self) -> ControlFlow<()>;
}

struct Watch<S, F> {
    source: S,
    react: F,
}

impl<S: AsFd + Send, F: FnMut(&mut S) -> ControlFlow<()> + Send> Watched for Watch<S, F> {
    fn fd(&self) -> BorrowedFd<'_> {
        self.source.as_fd()
    }

    fn react(&mut self) -> ControlFlow<()> {
        (self.react)(&mut self.source)
    }
}

/// Waits until one of them has something, or a signal comes.
fn poll(fds: &mut [PollFd<'_>], timeout: Option<Instant>) -> Result<(), Errno> {
    match event::poll(fds, timeout.map(timespec).as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

fn poll_fd(port: &Port) -> PollFd<'_> {
    let mut wanted = PollFlags::IN;
    wanted.set(PollFlags::OUT, port.wants_room && port.device.room() == Room::Writable);
    PollFd::from_borrowed_fd(port.device.poll_fd(), wanted)
}
