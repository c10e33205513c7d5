//! When to acknowledge: at once, after every second segment, or a little later (RFC 5681 section 4.2, RFC
//! 9293 section 3.8.6.3).
//!
//! An intent, not a packet: the transmit path turns it into a pure ACK unless a segment with text goes
//! first and carries it (RFC 9293 MUST-58). A batch of in-order segments thus draws one ACK, but each
//! segment that must draw a duplicate ACK draws its own, since a sender without SACK counts them.
//!
//! A sender that begins, or begins again, has a small window that only acknowledgements open; so its first full-sized
//! segments are acknowledged one by one, and the last of a flight with an odd number does not wait for the delay (as
//! Linux: quick ACKs). Not so where the application answers what comes, as long as it does so in time: there the answer
//! carries the acknowledgement (Linux: ping-pong). And, other than on Linux, not for a segment that is not full: it is most
//! likely a request, and no window waits for it.

use crate::proto::config::Config;
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
    /// Segments to come that are acknowledged one by one if they are full.
    quick: u32,
    /// Text of ours has lately gone out while an acknowledgement could have waited for it.
    interactive: bool,
    /// Until when an acknowledgement of the last text can wait.
    answer_by: Option<Instant>,
}

/// In-order text that has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrived {
    pub(crate) len: u64,
    /// Size of the packets it stands for.
    pub(crate) segment_size: u64,
    /// The peer's segment size as far as we know.
    pub(crate) mss: u64,
    pub(crate) at: Instant,
}

impl AckIntent {
    /// In-order text has come. `quick` tells how many segments a sender that begins is acknowledged one by one. Tells whether
    /// this is one of them.
    pub(crate) fn text(&mut self, arrived: &Arrived, quick: impl FnOnce() -> u32, config: &Config) -> bool {
        let Arrived { len, segment_size, mss, at } = *arrived;
        // After a pause as long as a retransmission time-out a sender begins again (RFC 5681 section 4.1); it may have had to
        // wait for our last acknowledgement.
        let begins_again = |answer_by| at > answer_by && at > answer_by + config.rto_min;
        if self.answer_by.is_none_or(begins_again) {
            self.quicken(quick());
        }
        let latest = at + config.delayed_ack;
        self.answer_by = Some(latest);
        self.unacknowledged += len;
        let is_quick = self.quick > 0 && !self.interactive && len >= mss;
        //= RFC9293 SHLD-19: at least every second full-sized segment.
        if self.unacknowledged >= 2 * mss || is_quick {
            self.mergeable = true;
        }
        // Mostly there are none left, and nothing has to be divided.
        if self.quick > 0 {
            let segments = len.div_ceil(segment_size.max(1)).min(u32::MAX.into()) as u32;
            self.quick = self.quick.saturating_sub(segments);
        }
        //= RFC9293 SHLD-18
        //= RFC9293 MUST-40
        self.delayed.get_or_insert(latest);
        is_quick
    }

    /// Something came that must be acknowledged without delay.
    pub(crate) fn at_once(&mut self) {
        self.now = true;
    }

    /// Something came that tells of a loss, or of an acknowledgement that is missed.
    pub(crate) fn trouble(&mut self, quick: u32) {
        self.at_once();
        self.quicken(quick);
        self.interactive = false;
    }

    /// A segment ahead of its turn came: it draws a duplicate ACK of its own, and what follows is acknowledged quickly.
    pub(crate) fn duplicate_for(&mut self, quick: u32) {
        self.duplicate();
        self.quicken(quick);
        self.interactive = false;
    }

    /// A duplicate ACK is due, beside what is due already.
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

    /// Whether the application answers what comes, as long as it does so in time.
    pub(crate) fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Duplicate ACKs due behind the next.
    pub(crate) fn waiting(&self) -> usize {
        self.duplicates.into()
    }

    /// When one will be due, if none is yet.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.delayed
    }

    /// A segment with an acknowledgement has gone out, and with text of ours or not.
    pub(crate) fn sent(&mut self, with_text: bool, now: Instant) {
        let is_answer = with_text && self.answer_by.is_some_and(|answer_by| now <= answer_by);
        let is_late = !with_text && self.is_delayed() && self.delayed.is_some_and(|at| at <= now);
        let interactive = is_answer || (self.interactive && !is_late);
        *self = AckIntent {
            now: self.duplicates > 0,
            duplicates: self.duplicates.saturating_sub(1),
            interactive,
            quick: self.quick,
            answer_by: self.answer_by,
            ..AckIntent::default()
        };
    }

    fn quicken(&mut self, quick: u32) {
        self.quick = self.quick.max(quick);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use core::time::Duration;

    const DELAY: Duration = Duration::from_millis(40);

    fn arrives(ack: &mut AckIntent, len: u64, at: Instant, quick: u32) {
        let arrived = Arrived { len, segment_size: len.min(1460), mss: 1460, at };
        ack.text(&arrived, || quick, &Config { delayed_ack: DELAY, ..Config::default() });
    }

    //= RFC9293 SHLD-19
    #[test]
    fn the_second_full_sized_segment_is_acknowledged_at_once() {
        let mut ack = AckIntent::default();
        arrives(&mut ack, 1460, Instant::ZERO, 0);
        assert!(!ack.is_due(Instant::ZERO));
        arrives(&mut ack, 1460, Instant::ZERO, 0);
        assert!(ack.is_due(Instant::ZERO));
    }

    //= RFC9293 MUST-58
    #[test]
    fn in_order_text_may_wait_for_company_until_a_quarter_of_the_window_is_unacknowledged() {
        let mut ack = AckIntent::default();
        let mut wnd = 16 * 1460;
        for _ in 0..3 {
            arrives(&mut ack, 1460, Instant::ZERO, 0);
            wnd -= 1460;
            assert!(ack.may_wait(wnd, Instant::ZERO));
        }
        assert!(!ack.may_wait(wnd, Instant::ZERO + DELAY), "no longer than the delay");
        arrives(&mut ack, 1460, Instant::ZERO, 0);
        assert!(!ack.may_wait(wnd - 1460, Instant::ZERO));
    }

    #[test]
    fn nothing_but_in_order_text_may_wait() {
        let mut ack = AckIntent::default();
        arrives(&mut ack, 1460, Instant::ZERO, 0);
        ack.at_once();
        assert!(!ack.may_wait(1 << 20, Instant::ZERO));
    }

    //= RFC9293 SHLD-18
    //= RFC9293 MUST-40
    #[test]
    fn a_lone_segment_is_acknowledged_after_the_delay() {
        let mut ack = AckIntent::default();
        arrives(&mut ack, 10, Instant::ZERO, 0);
        arrives(&mut ack, 10, Instant::from_millis(30), 0);
        assert_eq!(ack.deadline(), Some(Instant::from_millis(40)));
        assert!(ack.is_due(Instant::from_millis(40)));
        ack.sent(false, Instant::ZERO);
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
            ack.sent(false, Instant::ZERO);
            sent += 1;
        }
        assert_eq!(sent, 3);
    }

    /// How many of so many full segments, one millisecond apart, are acknowledged as soon as they come.
    fn acknowledged_at_once(ack: &mut AckIntent, from: u64, segments: u64, quick: u32) -> Vec<u64> {
        let mut at_once = Vec::new();
        for nth in 0..segments {
            let now = Instant::from_millis(from + nth);
            arrives(ack, 1460, now, quick);
            if ack.is_due(now) {
                at_once.push(nth);
                ack.sent(false, now);
            }
        }
        at_once
    }

    #[test]
    fn a_sender_that_begins_is_acknowledged_segment_by_segment() {
        let mut ack = AckIntent::default();
        assert_eq!(acknowledged_at_once(&mut ack, 0, 8, 4), [0, 1, 2, 3, 5, 7]);
        assert_eq!(acknowledged_at_once(&mut ack, 247, 4, 4), [1, 3], "it goes on");
        assert_eq!(acknowledged_at_once(&mut ack, 491, 8, 4), [0, 1, 2, 3, 5, 7], "it begins again");
    }

    #[test]
    fn so_is_one_that_has_lost_something_or_missed_an_acknowledgement() {
        for what in [AckIntent::trouble, AckIntent::duplicate_for] {
            let mut ack = AckIntent::default();
            assert_eq!(acknowledged_at_once(&mut ack, 0, 2, 0), [1]);
            what(&mut ack, 2);
            assert!(ack.is_due(Instant::ZERO));
            ack.sent(false, Instant::ZERO);
            assert_eq!(acknowledged_at_once(&mut ack, 10, 6, 0), [0, 1, 3, 5]);
        }
    }

    #[test]
    fn a_super_segment_counts_as_many_as_it_stands_for() {
        let mut ack = AckIntent::default();
        arrives(&mut ack, 5 * 1460, Instant::ZERO, 7);
        ack.sent(false, Instant::ZERO);
        assert_eq!(acknowledged_at_once(&mut ack, 1, 4, 7), [0, 1, 3]);
    }

    #[test]
    fn a_segment_that_is_not_full_waits_for_company_even_at_the_beginning() {
        let mut ack = AckIntent::default();
        arrives(&mut ack, 1459, Instant::ZERO, 16);
        assert!(!ack.is_due(Instant::ZERO));
        assert_eq!(ack.deadline(), Some(Instant::ZERO + DELAY));
    }

    #[test]
    fn where_the_application_answers_in_time_acknowledgements_wait_for_its_answers() {
        let mut ack = AckIntent::default();
        let exchange = |ack: &mut AckIntent, from: u64| {
            arrives(ack, 1460, Instant::from_millis(from), 16);
            let is_quick = ack.is_due(Instant::from_millis(from));
            ack.sent(true, Instant::from_millis(from + 1));
            is_quick
        };
        assert!(exchange(&mut ack, 0), "who knows whether it will");
        assert!(!exchange(&mut ack, 10));
        assert!(!exchange(&mut ack, 10_000), "and however seldom");
        // Once it did not.
        arrives(&mut ack, 1460, Instant::from_millis(20_000), 16);
        assert!(!ack.is_due(Instant::from_millis(20_039)));
        ack.sent(false, Instant::from_millis(20_040));
        assert!(exchange(&mut ack, 30_000));
        // A loss ends it, too.
        assert!(!exchange(&mut ack, 40_000));
        ack.trouble(16);
        ack.sent(false, Instant::from_millis(40_001));
        assert!(exchange(&mut ack, 40_002));
    }
}
