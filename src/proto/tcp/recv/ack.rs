//! When to acknowledge: at once, after every second segment, or a little later (RFC 5681 section 4.2, RFC
//! 9293 section 3.8.6.3).
//!
//! An intent, not a packet: the transmit path turns it into a pure ACK unless a segment with text goes
//! first and carries it (RFC 9293 MUST-58). A batch of in-order segments thus draws one ACK, but each
//! segment that must draw a duplicate ACK draws its own, since a sender without SACK counts them.

use core::time::Duration;

use crate::time::Instant;

/// The acknowledgement we owe.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AckIntent {
    /// One is due now.
    now: bool,
    /// One is due, too, but may be merged with those of packets that have arrived and not been looked at.
    mergeable: bool,
    /// One is due at this time.
    delayed: Option<Instant>,
    /// Bytes received in order since the last acknowledgement.
    unacknowledged: u64,
    /// Duplicate ACKs due beside it.
    duplicates: u8,
}

impl AckIntent {
    /// In-order text of `len` bytes has come. `mss` is the peer's segment size as far as we know.
    pub(crate) fn text(&mut self, len: u64, mss: u64, now: Instant, delay: Duration) {
        self.unacknowledged += len;
        //= RFC9293 SHLD-19: at least every second full-sized segment.
        if self.unacknowledged >= 2 * mss {
            self.mergeable = true;
        }
        //= RFC9293 SHLD-18
        //= RFC9293 MUST-40
        self.delayed.get_or_insert(now + delay);
    }

    /// Something came that must be acknowledged without delay.
    pub(crate) fn at_once(&mut self) {
        self.now = true;
    }

    /// A segment ahead of its turn came: it draws a duplicate ACK of its own.
    pub(crate) fn duplicate(&mut self) {
        if self.now || self.mergeable {
            self.duplicates = self.duplicates.saturating_add(1);
        }
        self.now = true;
    }

    /// Whether a pure ACK is due at `now`.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.now || self.mergeable || self.delayed.is_some_and(|at| at <= now)
    }

    /// Whether the one that is due may wait for packets known to have arrived: it only counts segments, and
    /// less than a quarter of the window, of which `wnd` is left, is unacknowledged, so that the sender does
    /// not run dry (RFC 9293 MUST-58: acknowledgements are merged wherever possible).
    pub(crate) fn may_wait(&self, wnd: u64, now: Instant) -> bool {
        let is_late = self.delayed.is_some_and(|at| at <= now);
        !self.now && !is_late && 4 * self.unacknowledged < self.unacknowledged + wnd
    }

    /// Whether one waits for its time alone.
    pub(crate) fn is_delayed(&self) -> bool {
        self.delayed.is_some() && !self.now && !self.mergeable
    }

    /// When one will be due, if none is yet.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.delayed
    }

    /// A segment with an acknowledgement has gone out.
    pub(crate) fn sent(&mut self) {
        let duplicates = self.duplicates.saturating_sub(1);
        *self = AckIntent { now: self.duplicates > 0, duplicates, ..AckIntent::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_millis(40);

    //= RFC9293 SHLD-19
    #[test]
    fn the_second_full_sized_segment_is_acknowledged_at_once() {
        let mut ack = AckIntent::default();
        ack.text(1460, 1460, Instant::ZERO, DELAY);
        assert!(!ack.is_due(Instant::ZERO));
        ack.text(1460, 1460, Instant::ZERO, DELAY);
        assert!(ack.is_due(Instant::ZERO));
    }

    //= RFC9293 MUST-58
    #[test]
    fn in_order_text_may_wait_for_company_until_a_quarter_of_the_window_is_unacknowledged() {
        let mut ack = AckIntent::default();
        let mut wnd = 16 * 1460;
        for _ in 0..3 {
            ack.text(1460, 1460, Instant::ZERO, DELAY);
            wnd -= 1460;
            assert!(ack.may_wait(wnd, Instant::ZERO));
        }
        assert!(!ack.may_wait(wnd, Instant::ZERO + DELAY), "no longer than the delay");
        ack.text(1460, 1460, Instant::ZERO, DELAY);
        assert!(!ack.may_wait(wnd - 1460, Instant::ZERO));
    }

    #[test]
    fn nothing_but_in_order_text_may_wait() {
        let mut ack = AckIntent::default();
        ack.text(1460, 1460, Instant::ZERO, DELAY);
        ack.at_once();
        assert!(!ack.may_wait(1 << 20, Instant::ZERO));
    }

    //= RFC9293 SHLD-18
    //= RFC9293 MUST-40
    #[test]
    fn a_lone_segment_is_acknowledged_after_the_delay() {
        let mut ack = AckIntent::default();
        ack.text(10, 1460, Instant::ZERO, DELAY);
        ack.text(10, 1460, Instant::from_millis(30), DELAY);
        assert_eq!(ack.deadline(), Some(Instant::from_millis(40)));
        assert!(ack.is_due(Instant::from_millis(40)));
        ack.sent();
        assert_eq!(ack.deadline(), None);
        assert!(!ack.is_due(Instant::MAX));
    }

    #[test]
    fn each_segment_out_of_order_draws_an_ack_of_its_own() {
        let mut ack = AckIntent::default();
        ack.duplicate();
        ack.duplicate();
        ack.duplicate();
        let mut sent = 0;
        while ack.is_due(Instant::ZERO) {
            ack.sent();
            sent += 1;
        }
        assert_eq!(sent, 3);
    }
}
