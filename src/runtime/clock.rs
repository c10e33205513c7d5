//! The clock: `CLOCK_MONOTONIC`, as the core counts time.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::time::Instant;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// The time now.
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    // Neither part of a monotonic time is negative.
    let (secs, nanos) = (time.tv_sec.unsigned_abs(), u64::try_from(time.tv_nsec).unwrap_or(0));
    Instant::from_nanos(secs.saturating_mul(NANOS_PER_SEC).saturating_add(nanos))
}

/// The same point on the kernel's terms.
pub(super) fn timespec(at: Instant) -> Timespec {
    let (secs, nanos) = (at.as_nanos() / NANOS_PER_SEC, at.as_nanos() % NANOS_PER_SEC);
    Timespec {
        tv_sec: i64::try_from(secs).unwrap_or(i64::MAX),
        // Less than 10^9, which fits wherever the field's type is.
        tv_nsec: i64::try_from(nanos).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_time_keeps_its_nanoseconds() {
        let time = timespec(Instant::from_nanos(3_000_000_007));
        assert_eq!((time.tv_sec, time.tv_nsec), (3, 7));
    }

    #[test]
    fn the_clock_does_not_go_backwards() {
        let first = now();
        assert!(now() >= first);
    }
}
