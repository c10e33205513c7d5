//! A timer that a loop can sleep on: a `timerfd`, since the milliseconds of `epoll` are too coarse, and the time-out of
//! `poll` may be late by the timer slack of the thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::clock::timespec;
use crate::time::Instant;

/// Becomes readable at a point in time, and perhaps once for nothing before.
///
/// It is brought forward, and never put off: most points in time that are waited for move on with every packet, and each
/// move would cost a system call. Who finds nothing to do when it has rung sets it again, for what is then the right time.
pub(super) struct Alarm {
    timer: OwnedFd,
    /// When the timer fires, or has fired; [`Instant::MAX`] if it doesn't.
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

    /// Sets it for then, unless it is set for an earlier time; [`Instant::MAX`] is never.
    pub(super) fn set(&mut self, until: Instant) -> Result<(), Errno> {
        if until < self.armed { self.arm(until) } else { Ok(()) }
    }

    #[cold]
    fn arm(&mut self, until: Instant) -> Result<(), Errno> {
        // Zero would disarm the timer: the origin of time has passed in any case.
        let at = until.max(Instant::from_nanos(1));
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::time::timerfd_gettime;

    use super::super::clock::now;
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// In how many seconds the kernel will have it ring; `None` if it won't.
    fn left(alarm: &Alarm) -> Option<i64> {
        let left = timerfd_gettime(&alarm.timer).expect("a timer").it_value;
        (left.tv_sec != 0 || left.tv_nsec != 0).then_some(left.tv_sec)
    }

    fn rings_within(alarm: &Alarm, limit: Duration) -> bool {
        let limit = timespec(Instant::ZERO + limit);
        poll(&mut [PollFd::from_borrowed_fd(alarm.fd(), PollFlags::IN)], Some(&limit)).expect("poll") == 1
    }

    #[test]
    fn it_is_brought_forward_and_never_put_off() {
        let mut alarm = Alarm::new().expect("a timer");
        alarm.set(Instant::MAX).expect("never");
        assert_eq!(left(&alarm), None);
        let start = now();
        alarm.set(start + 2 * HOUR).expect("a time");
        for later in [start + 2 * HOUR, start + 3 * HOUR, Instant::MAX] {
            alarm.set(later).expect("a time");
            assert!(left(&alarm).is_some_and(|left| (3601..7200).contains(&left)), "{later:?}");
        }
        alarm.set(start + HOUR).expect("a time");
        assert!(left(&alarm).is_some_and(|left| left < 3600));
        alarm.set(Instant::ZERO).expect("a time");
        assert!(rings_within(&alarm, HOUR));
    }

    #[test]
    fn it_rings_once_at_the_earlier_time_and_then_at_the_right_one() {
        let mut alarm = Alarm::new().expect("a timer");
        let (early, right) = (now() + Duration::from_millis(5), now() + Duration::from_millis(30));
        alarm.set(early).expect("a time");
        alarm.set(right).expect("a time");
        for at in [early, right] {
            assert!(rings_within(&alarm, HOUR) && now() >= at);
            // However often it is set meanwhile, it is heard until it is taken notice of.
            alarm.set(Instant::MAX).expect("never");
            assert!(rings_within(&alarm, HOUR));
            alarm.rang();
            assert!(left(&alarm).is_none() && !rings_within(&alarm, Duration::ZERO));
            alarm.set(right).expect("a time");
        }
    }

    #[test]
    fn once_it_has_rung_and_nobody_waits_for_anything_it_rings_no_more() {
        let mut alarm = Alarm::new().expect("a timer");
        alarm.set(now() + Duration::from_millis(5)).expect("a time");
        alarm.set(Instant::MAX).expect("never");
        assert!(rings_within(&alarm, HOUR));
        alarm.rang();
        alarm.set(Instant::MAX).expect("never");
        assert!(left(&alarm).is_none() && !rings_within(&alarm, Duration::ZERO));
    }
}
