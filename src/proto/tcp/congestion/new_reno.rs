//! NewReno: RFC 5681 with RFC 6582's fast recovery, RFC 6928's initial window, and RFC 9406's end of slow start.

use super::hystart::{HyStart, Pace};
use super::{Controller, Progress};

/// In conservative slow start the window grows by a fourth of what is acknowledged.
//= RFC9406 4.3 constants
const CONSERVATIVE_DIVISOR: u64 = 4;

/// The NewReno controller.
#[derive(Clone, Debug)]
pub struct NewReno {
    cwnd: u64,
    ssthresh: u64,
    mss: u64,
    initial_window: u64,
    /// Bytes acknowledged in congestion avoidance since the window last grew (RFC 3465).
    acked_since_growth: u64,
    hystart: HyStart,
}

impl NewReno {
    /// A controller with the initial window of RFC 6928: `segments` of `mss` bytes, but no more than 14,600
    /// bytes unless two segments are larger than that.
    pub fn new(mss: u64, segments: u64) -> Self {
        //= RFC5681 3.1 initial window
        let initial_window = (segments * mss).min((2 * mss).max(14_600));
        NewReno {
            cwnd: initial_window,
            ssthresh: u64::MAX,
            mss,
            initial_window,
            acked_since_growth: 0,
            hystart: HyStart::default(),
        }
    }

    /// After a lost SYN or SYN-ACK the window starts at one segment.
    //= RFC5681 3.1 lost SYN
    pub fn start_small(&mut self) {
        self.cwnd = self.mss;
    }

    /// Grows until losses or round trips tell that it is enough.
    fn first_slow_start(&mut self, ack: &Progress) {
        let pace = self.hystart.on_ack(ack);
        //= RFC9406 4.2 growth
        let growth = match pace {
            Pace::Standard => ack.acked,
            Pace::Conservative => ack.acked / CONSERVATIVE_DIVISOR,
            Pace::Over => {
                //= RFC9406 4.2 end
                self.ssthresh = self.cwnd;
                0
            }
        };
        if ack.cwnd_limited {
            self.cwnd += growth;
        }
    }

    /// Slow start up to the threshold, then congestion avoidance.
    fn grow(&mut self, acked: u64) {
        if self.cwnd < self.ssthresh {
            //= RFC5681 3.1 slow start
            // Appropriate byte counting without RFC 3465's limit L: receivers acknowledge whole batches,
            // and a limit per ACK would turn slow start into a crawl.
            self.cwnd = (self.cwnd + acked).min(self.ssthresh.max(self.cwnd + self.mss));
            return;
        }
        //= RFC5681 3.1 congestion avoidance
        self.acked_since_growth += acked;
        if self.acked_since_growth >= self.cwnd {
            self.acked_since_growth -= self.cwnd;
            self.cwnd += self.mss;
        }
    }

    //= RFC5681 3.1 RTO ssthresh
    fn half(&self, flight: u64) -> u64 {
        (flight / 2).max(2 * self.mss)
    }
}

impl Controller for NewReno {
    fn cwnd(&self) -> u64 {
        self.cwnd
    }

    fn ssthresh(&self) -> u64 {
        self.ssthresh
    }

    //= RFC9293 MUST-19: slow start and congestion avoidance.
    #[inline]
    fn on_ack(&mut self, ack: &Progress) {
        //= RFC9406 4.3 initial: the threshold has never been found out.
        if self.ssthresh == u64::MAX {
            self.first_slow_start(ack);
        } else if ack.cwnd_limited {
            self.grow(ack.acked);
        }
    }

    fn on_ack_after_timeout(&mut self, acked: u64) {
        self.grow(acked);
    }

    fn on_loss(&mut self, flight: u64) {
        self.ssthresh = self.half(flight);
        self.cwnd = self.ssthresh;
        self.acked_since_growth = 0;
    }

    fn undo(&mut self, cwnd: u64, ssthresh: u64) {
        self.cwnd = self.cwnd.max(cwnd);
        self.ssthresh = self.ssthresh.max(ssthresh);
    }

    fn set_cwnd(&mut self, cwnd: u64) {
        self.cwnd = cwnd;
    }

    fn on_enter_recovery(&mut self, flight: u64) {
        self.ssthresh = self.half(flight);
        // Three duplicate ACKs: three segments have left the network.
        self.cwnd = self.ssthresh + 3 * self.mss;
        self.acked_since_growth = 0;
    }

    //= RFC5681 3.2 inflation
    fn on_duplicate_ack(&mut self) {
        self.cwnd += self.mss;
    }

    //= RFC6582 3.2 partial deflation
    fn on_partial_ack(&mut self, acked: u64) {
        self.cwnd = self.cwnd.saturating_sub(acked);
        if acked >= self.mss {
            self.cwnd += self.mss;
        }
        self.cwnd = self.cwnd.max(self.mss);
    }

    fn on_exit_recovery(&mut self, flight: u64) {
        //= RFC5681 3.2 deflation
        //= RFC6582 3.2 full ACK, 3.2 burst: option 1 of step 3.
        // Segments may have become larger than the threshold meanwhile (RFC 4821).
        self.cwnd = self.ssthresh.min(flight.max(self.mss) + self.mss).max(self.mss);
    }

    fn on_timeout(&mut self, flight: u64, first: bool) {
        //= RFC5681 3.1 lost again
        if first {
            self.ssthresh = self.half(flight);
        }
        //= RFC5681 3.1 loss window
        self.cwnd = self.mss;
        self.acked_since_growth = 0;
    }

    fn on_idle(&mut self) {
        //= RFC5681 4.1 idle
        self.cwnd = self.cwnd.min(self.initial_window);
    }

    fn on_mss(&mut self, mss: u64) {
        self.mss = mss;
        self.cwnd = self.cwnd.max(mss);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acked(acked: u64, cwnd_limited: bool) -> Progress {
        let at = crate::time::Instant::ZERO;
        Progress { at, acked, cwnd_limited, una: 0, nxt: 1, rtt: None, min_rtt: None }
    }

    #[test]
    fn the_initial_window_is_that_of_rfc_6928() {
        //= RFC5681 3.1 initial window
        assert_eq!(NewReno::new(1460, 10).cwnd(), 14_600);
        assert_eq!(NewReno::new(536, 10).cwnd(), 5_360);
        assert_eq!(NewReno::new(9000, 10).cwnd(), 18_000);
    }

    //= RFC9293 MUST-19
    #[test]
    fn slow_start_doubles_and_congestion_avoidance_adds_a_segment_per_window() {
        //= RFC5681 3.1 slow start, 3.1 congestion avoidance, 3.1 loss window, 3.1 RTO ssthresh
        let mut cc = NewReno::new(1000, 10);
        cc.on_ack(&acked(10_000, true));
        assert_eq!(cc.cwnd(), 20_000);
        cc.on_timeout(20_000, true);
        assert_eq!((cc.cwnd(), cc.ssthresh()), (1000, 10_000));
        for _ in 0..9 {
            cc.on_ack(&acked(1000, true));
        }
        assert_eq!(cc.cwnd(), 10_000);
        for _ in 0..10 {
            cc.on_ack(&acked(1000, true));
        }
        assert_eq!(cc.cwnd(), 11_000);
    }

    #[test]
    fn the_first_slow_start_ends_when_round_trips_grow_and_others_end_at_the_threshold() {
        //= RFC9406 4.2 growth, 4.2 end, 4.3 initial
        let ack = |n: u64, rtt_ms: u64| {
            let at = crate::time::Instant::from_millis(n);
            let rtt = Some(rtt_ms * 1_000_000);
            // Twenty acknowledgements a round.
            Progress { at, acked: 1000, cwnd_limited: true, una: n, nxt: n + 19, rtt, min_rtt: None }
        };
        let mut cc = NewReno::new(1000, 10);
        for n in 1..=20 {
            cc.on_ack(&ack(n, 80));
        }
        assert_eq!(cc.cwnd(), 30_000);
        // Seven of the round go by before it is known, then a fourth of what they would have added is added by the rest.
        for n in 21..=40 {
            cc.on_ack(&ack(n, 100));
        }
        assert_eq!((cc.cwnd(), cc.ssthresh()), (37_000 + 13 * 250, u64::MAX));
        for n in 41..=60 {
            cc.on_ack(&ack(n, 120));
        }
        assert_eq!(cc.cwnd(), cc.ssthresh());
        cc.on_timeout(20_000, true);
        for n in 61..=69 {
            cc.on_ack(&ack(n, 80 * (n - 60)));
        }
        assert_eq!((cc.cwnd(), cc.ssthresh()), (10_000, 10_000));
    }

    #[test]
    fn a_window_that_was_not_used_does_not_grow() {
        let mut cc = NewReno::new(1000, 10);
        cc.on_ack(&acked(5000, false));
        assert_eq!(cc.cwnd(), 10_000);
    }

    #[test]
    fn fast_recovery_inflates_deflates_and_ends_at_half() {
        //= RFC5681 3.2 inflation, 3.2 deflation
        //= RFC6582 3.2 partial deflation, 3.2 full ACK, 3.2 burst
        let mut cc = NewReno::new(1000, 10);
        cc.on_enter_recovery(10_000);
        assert_eq!((cc.cwnd(), cc.ssthresh()), (8000, 5000));
        cc.on_duplicate_ack();
        assert_eq!(cc.cwnd(), 9000);
        cc.on_partial_ack(3000);
        assert_eq!(cc.cwnd(), 7000);
        cc.on_exit_recovery(10_000);
        assert_eq!(cc.cwnd(), 5000);
        cc.on_exit_recovery(1000);
        assert_eq!(cc.cwnd(), 2000);
    }

    #[test]
    fn a_recovery_during_which_segments_have_grown_ends_with_one_of_them() {
        let mut cc = NewReno::new(1000, 10);
        cc.on_enter_recovery(10_000);
        cc.on_mss(8000);
        cc.on_exit_recovery(3000);
        assert_eq!((cc.cwnd(), cc.ssthresh()), (8000, 5000));
    }

    #[test]
    fn a_retransmission_lost_again_leaves_ssthresh_alone() {
        //= RFC5681 3.1 lost again
        let mut cc = NewReno::new(1000, 10);
        cc.on_timeout(10_000, true);
        cc.on_timeout(1000, false);
        assert_eq!(cc.ssthresh(), 5000);
    }
}
