//! Timestamps (RFC 7323 sections 3 to 5): our clock, what the peer's said last, and which segments come from the past.
//!
//! Owns TS.Recent and a connection's clock, the offset of which is chosen in `isn`. What a timestamp echoed by the peer says of a round trip
//! or of a retransmission is for `send` to know.

use core::time::Duration;

use super::seq::RcvPos;
use crate::proto::counters::DropReason;
use crate::proto::wire::tcp::{Control, Segment};
use crate::time::Instant;

/// One connection's clock: one tick a millisecond (RFC 7323 section 5.4), from an offset of its own, so that a peer learns
/// neither how long we have been up nor which connections are the same host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimestampClock {
    offset: u32,
}

impl TimestampClock {
    /// One that begins at `offset`.
    pub(crate) const fn ahead_by(offset: u32) -> Self {
        TimestampClock { offset }
    }

    /// What it shows at `now`.
    //= RFC7323 4.1 clock, 5.4 monotonic
    pub(crate) fn at(self, now: Instant) -> u32 {
        self.offset.wrapping_add((now.as_micros() / 1000) as u32)
    }

    /// How long ago it showed `value`, to a millisecond; `None` if it has not shown that in the last 24 days.
    pub(crate) fn since(self, value: u32, now: Instant) -> Option<Duration> {
        let ticks = self.at(now).wrapping_sub(value);
        (ticks < 1 << 31).then(|| Duration::from_millis(ticks.into()))
    }
}

/// The timestamps of a synchronised connection that uses them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamps {
    pub(crate) clock: TimestampClock,
    /// TS.Recent.
    //= RFC7323 4.3 one
    recent: u32,
    /// When it was heard.
    recent_at: Instant,
}

impl Timestamps {
    /// TS.Recent says nothing any more after this long: the peer's clock may have come halfway round (RFC 7323 section 5.5).
    const RECENT_FOR: Duration = Duration::from_secs(24 * 24 * 3600);

    /// Bytes of the option, brought to a whole number of words.
    pub(crate) const OPTION_LEN: u64 = 12;

    /// With what the peer's SYN said.
    pub(crate) fn new(clock: TimestampClock, syn_value: u32, now: Instant) -> Self {
        Timestamps { clock, recent: syn_value, recent_at: now }
    }

    /// TSval and TSecr of a segment sent now.
    //= RFC7323 4.3 echo
    pub(crate) fn option(&self, now: Instant) -> (u32, u32) {
        (self.clock.at(now), self.recent)
    }

    /// PAWS: why a segment is dropped for its timestamp, if it is: it comes from before what has come, or has none.
    pub(crate) fn refuses(&self, segment: &Segment<'_>, now: Instant) -> Option<DropReason> {
        //= RFC7323 3.2 reset
        // A SYN is challenged, wherever it stands and whatever it says.
        if matches!(segment.control, Control::Rst | Control::Syn) {
            return None;
        }
        match segment.options.timestamps {
            //= RFC7323 3.2 missing
            None => Some(DropReason::TcpNoTimestamp),
            //= RFC7323 5.3 PAWS
            Some((value, _)) => {
                (self.order(value, now) == Order::Older).then_some(DropReason::TcpOldTimestamp)
            }
        }
    }

    /// How `value` stands to TS.Recent.
    pub(crate) fn order(&self, value: u32, now: Instant) -> Order {
        //= RFC7323 5.5 outdated
        if now > self.recent_at + Self::RECENT_FOR {
            return Order::Newer;
        }
        match value {
            _ if value == self.recent => Order::Same,
            _ if is_before(value, self.recent) => Order::Older,
            _ => Order::Newer,
        }
    }

    /// Whether the peer's clock has gone on by now, however slowly it ticks (RFC 7323 section 5.4: once a second at least).
    pub(crate) fn has_rested(&self, now: Instant) -> bool {
        now.since(self.recent_at) >= Duration::from_secs(1)
    }

    /// Takes over the TSval of an acceptable segment that begins at `seq`, and is not [refused](Self::refuses), if it is one that
    /// is to be echoed: with acknowledgements delayed, that of the earliest segment that the next of them covers.
    //= RFC7323 4.3 echo, 4.3 delayed, 4.3 hole, 4.3 filled
    pub(crate) fn heard(&mut self, value: u32, seq: RcvPos, last_ack_sent: RcvPos, now: Instant) {
        debug_assert_ne!(self.order(value, now), Order::Older);
        if seq <= last_ack_sent {
            self.recent = value;
            self.recent_at = now;
        }
    }

    /// Takes over a TSval, unless it is older.
    //= RFC7323 5.2 never older
    pub(crate) fn take(&mut self, value: u32, now: Instant) {
        if self.order(value, now) != Order::Older {
            self.recent = value;
            self.recent_at = now;
        }
    }
}

/// Order of timestamps, which wrap.
pub(crate) fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// How a timestamp stands to the latest that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Older,
    Same,
    Newer,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It wraps soon.
    const CLOCK: TimestampClock = TimestampClock::ahead_by(u32::MAX - 5_100);

    //= RFC7323 4.1 clock
    #[test]
    fn a_clock_ticks_every_millisecond() {
        let now = Instant::from_millis(5_000);
        let shown = CLOCK.at(now);
        assert_eq!(CLOCK.at(Instant::from_millis(5_250)).wrapping_sub(shown), 250);
        assert_eq!(CLOCK.since(shown, Instant::from_millis(5_250)), Some(Duration::from_millis(250)));
        assert_eq!(CLOCK.since(shown, Instant::from_millis(4_999)), None, "not shown yet");
    }

    //= RFC7323 5.3 PAWS
    #[test]
    fn what_is_older_than_the_last_is_old_across_the_wrap() {
        let now = Instant::from_millis(5_000);
        let stamps = Timestamps::new(CLOCK, u32::MAX - 5, now);
        let order = |value| stamps.order(value, now);
        assert_eq!((order(u32::MAX - 6), order(u32::MAX - 5)), (Order::Older, Order::Same));
        assert_eq!((order(3), order(0x7fff_fff9)), (Order::Newer, Order::Newer));
        assert_eq!(order(0x7fff_fffb), Order::Older);
    }

    //= RFC7323 5.5 outdated
    #[test]
    fn after_24_days_of_silence_any_timestamp_is_fresh() {
        let mut stamps = Timestamps::new(CLOCK, 1_000, Instant::ZERO);
        let day = |day: u64| Instant::from_millis(day * 24 * 3_600_000);
        assert_eq!(stamps.order(999, day(24)), Order::Older);
        assert_eq!(stamps.order(999, day(25)), Order::Newer);
        stamps.heard(999, RcvPos::at(5), RcvPos::at(5), day(25));
        assert_eq!(stamps.option(day(25)).1, 999);
        assert_eq!(stamps.order(998, day(25)), Order::Older);
    }

    //= RFC7323 4.3 echo, 4.3 delayed
    #[test]
    fn the_earliest_segment_not_acknowledged_yet_is_echoed() {
        let now = Instant::from_millis(5_000);
        let mut stamps = Timestamps::new(CLOCK, 10, now);
        // Two segments before the next acknowledgement: the first counts. One out of order counts for nothing.
        for (value, seq) in [(11, 100), (12, 200), (13, 900)] {
            stamps.heard(value, RcvPos::at(seq), RcvPos::at(100), now);
        }
        assert_eq!(stamps.option(now).1, 11);
        // One that is older never does.
        stamps.take(9, now);
        assert_eq!(stamps.option(now).1, 11);
        stamps.heard(14, RcvPos::at(300), RcvPos::at(300), now);
        assert_eq!(stamps.option(now), (CLOCK.at(now), 14));
    }
}
