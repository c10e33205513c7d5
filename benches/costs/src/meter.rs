//! The meter: what lies inside it counts, and what lies outside does not.

use std::time::{Duration, Instant};

/// How much is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Little, since it runs under callgrind: a count is exact after few.
    Counted,
    /// Much, since clocks are not.
    Timed,
}

/// Counts how often something was done, and how long it took.
pub(crate) struct Meter {
    scale: Scale,
    times: u64,
    elapsed: Duration,
}

impl Meter {
    pub(crate) fn new(scale: Scale) -> Self {
        Meter { scale, times: 0, elapsed: Duration::ZERO }
    }

    /// The one or the other, as the scale is.
    pub(crate) fn scaled<T>(&self, counted: T, timed: T) -> T {
        match self.scale {
            Scale::Counted => counted,
            Scale::Timed => timed,
        }
    }

    /// Does something that counts, as so many times of what is measured.
    pub(crate) fn count<T>(&mut self, times: usize, work: impl FnOnce() -> T) -> T {
        let (mut work, mut done) = (Some(work), None);
        let began = Instant::now();
        counted(&mut || done = work.take().map(|work| work()));
        self.elapsed += began.elapsed();
        self.times += times as u64;
        done.expect("the work was done")
    }

    pub(crate) fn times(&self) -> u64 {
        self.times
    }

    pub(crate) fn nanoseconds_each(&self) -> f64 {
        self.elapsed.as_nanos() as f64 / self.times as f64
    }
}

/// Callgrind is told to collect from where this is entered to where it is left.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
}
