//! How much an application may write ahead: twice the congestion window, so that what is acknowledged is replaced in time
//! (as Linux does).
//!
//! Owns the size. Does not own the bytes, nor the memory that there is for them (`Pool::share`). One window is in flight and
//! has to be kept until it is acknowledged; the next is written meanwhile. A window that has shrunk leaves the size as it
//! is: the application has filled it, and the window will be back.

use crate::proto::buf::ring::Ring;

/// The size of the send buffer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SendBuffer {
    size: u64,
    max: u64,
    /// How much of it may be unsent.
    unsent_max: u64,
}

impl SendBuffer {
    /// Writers take about as long to fill this as it takes to wake them, at any rate that one can reach.
    const WAKE_MAX: u64 = 256 << 10;

    /// A buffer of `initial` bytes that may grow to `max`; one that may not never changes. None is larger than the text that a
    /// ring can hold: what is shared takes no pages, of which there would be too few before that.
    pub(crate) fn new(initial: u64, max: u64) -> Self {
        let max = max.min(Ring::SPAN_MAX);
        SendBuffer { size: initial.min(max), max, unsent_max: u64::MAX }
    }

    /// The size, in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Not more than so many bytes may be unsent, or as many as there is room for.
    pub(crate) fn limit_unsent(&mut self, most: Option<u32>) {
        self.unsent_max = most.map_or(u64::MAX, |most| u64::from(most).max(1));
    }

    /// Bytes that can be written while it holds `held`, `unsent` among them.
    pub(crate) fn room(&self, held: u64, unsent: u64) -> u64 {
        self.size.saturating_sub(held).min(self.unsent_max.saturating_sub(unsent))
    }

    /// Room for which a writer that was told of none is woken: more than a few bytes, and less than a long path would miss.
    pub(crate) fn worth_waking(&self) -> u64 {
        (self.size / 3).min(Self::WAKE_MAX).min(self.unsent_max.div_ceil(2))
    }

    /// The congestion window is `cwnd` now.
    pub(crate) fn follow(&mut self, cwnd: u64) {
        self.size = self.size.max(cwnd.saturating_mul(2).min(self.max));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_with_the_window_up_to_its_maximum_and_does_not_shrink() {
        let mut buffer = SendBuffer::new(64 << 10, 1 << 20);
        buffer.follow(14_600);
        assert_eq!(buffer.size(), 64 << 10);
        buffer.follow(100_000);
        assert_eq!(buffer.size(), 200_000);
        buffer.follow(1_460);
        assert_eq!(buffer.size(), 200_000);
        buffer.follow(u64::MAX);
        assert_eq!(buffer.size(), 1 << 20);
    }

    #[test]
    fn a_writer_is_woken_for_a_third_of_the_buffer_or_for_much() {
        assert_eq!(SendBuffer::new(9_000, 9_000).worth_waking(), 3_000);
        assert_eq!(SendBuffer::new(6 << 20, 6 << 20).worth_waking(), 256 << 10);
    }

    #[test]
    fn what_may_be_unsent_bounds_the_room_and_what_a_writer_is_woken_for() {
        let mut buffer = SendBuffer::new(9_000, 9_000);
        assert_eq!((buffer.room(2_000, 1_500), buffer.room(9_500, 0)), (7_000, 0));
        buffer.limit_unsent(Some(2_000));
        assert_eq!(
            (buffer.room(2_000, 1_500), buffer.room(2_000, 2_500), buffer.room(8_500, 0)),
            (500, 0, 500)
        );
        assert_eq!(buffer.worth_waking(), 1_000);
        // Nobody would ever write.
        buffer.limit_unsent(Some(0));
        assert_eq!((buffer.room(0, 0), buffer.worth_waking()), (1, 1));
        buffer.limit_unsent(None);
        assert_eq!((buffer.room(2_000, 1_500), buffer.worth_waking()), (7_000, 3_000));
    }

    #[test]
    fn a_fixed_size_is_fixed() {
        let mut buffer = SendBuffer::new(64 << 10, 5_000);
        buffer.follow(1 << 20);
        assert_eq!(buffer.size(), 5_000);
    }
}
