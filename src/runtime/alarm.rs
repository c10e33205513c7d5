//! A timer that a loop can sleep on: a `timerfd`, since the milliseconds of `epoll` are too coarse, and the time-out of
//! `poll` may be late by the timer slack of the thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::clock::timespec;
use crate::time::Instant;

/// Becomes readable at a point in time.
pub(super) struct Alarm {
    timer: OwnedFd,
    /// When the timer fires; [`Instant::MAX`] if it doesn't.
    armed: Instant,
}

impl Alarm {
    /// One that isn't set.
    pub(super) fn new() -> Result<Self, Errno> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Alarm { timer: timerfd_create(TimerfdClockId::Monotonic, flags)?, armed: Instant::MAX })
    }

    /// Readable from the point in time on for which it is set.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// Sets it; [`Instant::MAX`] is never.
    pub(super) fn set(&mut self, until: Instant) -> Result<(), Errno> {
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

    /// It was readable: it no longer is, and is set for no time.
    pub(super) fn rang(&mut self) {
        drain(&self.timer);
        self.armed = Instant::MAX;
    }
}

/// Takes what makes an eventfd or timerfd readable.
pub(super) fn drain(fd: &OwnedFd) {
    let _ = rustix::io::read(fd, &mut [0; 8]);
}
