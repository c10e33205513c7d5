//! The clock: `CLOCK_MONOTONIC`, as the core counts time.

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::time::Instant;

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// The time now.
pub(crate) fn now() -> Instant {
    let time = clock_gettime(ClockId::Monotonic);
    // Neither part of a monotonic time is negative, and both together last for centuries from the machine's start.
    let (secs, nanos) = (time.tv_sec.cast_unsigned(), u64::try_from(time.tv_nsec).unwrap_or(0));
    Instant::from_nanos(secs * NANOS_PER_SEC + nanos)
}

/// How many nanoseconds of processor time this thread has used.
pub(super) fn thread_cpu() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec.cast_unsigned() * NANOS_PER_SEC + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// The time of day at [`Instant::ZERO`], in nanoseconds from 1970 (UT): it changes whenever the clock is set.
pub(crate) fn utc_offset() -> u64 {
    let nanos = |id| {
        let time = clock_gettime(id);
        i128::from(time.tv_sec) * i128::from(NANOS_PER_SEC) + i128::from(time.tv_nsec)
    };
    let offset = nanos(ClockId::Realtime) - nanos(ClockId::Monotonic);
    u64::try_from(offset.max(0)).unwrap_or(u64::MAX)
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
    fn the_time_of_day_is_what_the_system_says() {
        let system = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let ours = std::time::Duration::from_nanos(utc_offset() + now().as_nanos());
        assert!(ours.abs_diff(system) < std::time::Duration::from_secs(5), "{ours:?} {system:?}");
    }

    #[test]
    fn a_thread_that_computes_uses_processor_time_and_one_that_sleeps_does_not() {
        let begun = (now(), thread_cpu());
        while thread_cpu() < begun.1 + 2_000_000 {}
        // Others may have had the processor meanwhile.
        assert!((now() - begun.0).as_nanos() >= 1_900_000);
        let used = thread_cpu();
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(thread_cpu() - used < 10_000_000);
    }

    #[test]
    fn the_clock_does_not_go_backwards() {
        let first = now();
        assert!(now() >= first);
    }
}
