//! Proportional rate reduction: how much may be sent while what was lost is recovered (RFC 9937).
//!
//! Owns the window of one recovery. It leads from what was in flight to the slow-start threshold that congestion control
//! has chosen, in step with what arrives. What is sent, and which of it first, is not decided here.

/// One recovery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Prr {
    ssthresh: u64,
    /// RecoverFS: what may yet arrive of what was sent before. Never 0.
    recover_fs: u64,
    /// prr_delivered.
    delivered: u64,
    /// prr_out.
    out: u64,
    cwnd: u64,
}

/// What an acknowledgement means to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// DeliveredData, in octets.
    pub(crate) delivered: u64,
    /// What is in flight now.
    pub(crate) inflight: u64,
    /// SafeACK: SND.UNA has moved, and nothing more turned out to be lost.
    pub(crate) is_safe: bool,
}

impl Prr {
    /// Begins with `recover_fs` octets that may still arrive, those of the acknowledgement that tells of the loss included.
    //= RFC9937 6.1 initialised
    pub(crate) fn new(ssthresh: u64, recover_fs: u64, inflight: u64) -> Self {
        Prr { ssthresh, recover_fs: recover_fs.max(1), delivered: 0, out: 0, cwnd: inflight }
    }

    /// An acknowledgement has come, which does not end the recovery.
    //= RFC9937 6.2 delivered
    pub(crate) fn acknowledged(&mut self, progress: Progress, mss: u64) {
        let Progress { delivered, inflight, is_safe } = progress;
        if delivered == 0 {
            return;
        }
        self.delivered += delivered;
        let mut count = if inflight > self.ssthresh {
            //= RFC9937 6.2 proportional
            let product = u128::from(self.delivered) * u128::from(self.ssthresh);
            let out = product.div_ceil(u128::from(self.recover_fs)) as u64;
            out.saturating_sub(self.out)
        } else {
            //= RFC9937 6.2 conservative bound
            let bound = self.delivered.saturating_sub(self.out).max(delivered);
            //= RFC9937 6.2 slow start bound
            //= RFC9937 13 octets: no more than arrives, or who acknowledges octet by octet would get a segment for each.
            let bound = if is_safe { bound + mss.min(delivered) } else { bound };
            bound.min(self.ssthresh - inflight)
        };
        //= RFC9937 6.2 forced
        if self.out == 0 {
            count = count.max(mss);
        }
        //= RFC9937 6.2 window
        self.cwnd = inflight + count;
    }

    /// `len` octets have gone out.
    //= RFC9937 6.3 counted
    pub(crate) fn sent(&mut self, len: u64) {
        self.out += len;
    }

    /// Whether, when `ahead` octets more are out, a whole segment may go where the window has room for a part of one. Only if
    /// less was sent than has arrived: the octets that a segment is ahead of the window come off the next one.
    //= RFC9937 13 octets
    pub(crate) fn may_round_up(&self, ahead: u64) -> bool {
        self.out + ahead < self.delivered
    }

    /// The congestion window.
    pub(crate) fn cwnd(&self) -> u64 {
        self.cwnd
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    /// RFC 9937 section 8: 20 segments are in flight and the window is halved. The first two duplicates have had two more sent;
    /// of the 22, `lost` at the front are. Tells for each acknowledgement from the third on what is sent: a
    /// retransmission, something new, or nothing.
    fn example(lost: u64, acks: u64) -> String {
        let (mut unsent_losses, mut inflight) = (lost, 22 - lost - 3);
        let mut prr = Prr::new(10, 22 - 3 + 1, inflight);
        let mut sent = String::new();
        for _ in 0..acks {
            prr.acknowledged(Progress { delivered: 1, inflight, is_safe: false }, 1);
            let before = sent.len();
            while inflight < prr.cwnd() {
                sent.push(if unsent_losses > 0 { 'R' } else { 'N' });
                unsent_losses = unsent_losses.saturating_sub(1);
                inflight += 1;
                prr.sent(1);
            }
            if sent.len() == before {
                sent.push('-');
            }
            inflight -= 1;
        }
        sent
    }

    #[test]
    fn one_loss_has_something_sent_for_every_second_segment_that_arrives() {
        //= RFC9937 6.1 initialised, 6.2 delivered, 6.2 proportional, 6.2 window, 6.3 counted
        // Until no more is in flight than the threshold: then one goes for each that arrives.
        assert_eq!(example(1, 20), "R-N-N-N-N-N-N-N--NNN");
    }

    #[test]
    fn many_losses_have_as_much_sent_as_arrives() {
        //= RFC9937 6.2 conservative bound
        assert_eq!(example(15, 3), "RRR");
    }

    #[test]
    fn while_nothing_more_is_lost_a_segment_more_goes_than_arrives() {
        //= RFC9937 6.2 slow start bound
        let mut prr = Prr::new(10_000, 20_000, 1_000);
        let progress = |inflight, is_safe| Progress { delivered: 1_000, inflight, is_safe };
        prr.acknowledged(progress(1_000, false), 1_000);
        assert_eq!(prr.cwnd(), 2_000);
        prr.sent(1_000);
        prr.acknowledged(progress(1_000, true), 1_000);
        assert_eq!(prr.cwnd(), 3_000);
        // But no further than to the threshold.
        prr.sent(2_000);
        prr.acknowledged(progress(9_500, true), 1_000);
        assert_eq!(prr.cwnd(), 10_000);
    }

    #[test]
    fn the_first_retransmission_goes_whatever_the_proportion_says() {
        //= RFC9937 6.2 forced
        let mut prr = Prr::new(10_000, 1_000_000, 900_000);
        prr.acknowledged(Progress { delivered: 100, inflight: 900_000, is_safe: false }, 1_000);
        assert_eq!(prr.cwnd(), 901_000);
        prr.sent(1_000);
        prr.acknowledged(Progress { delivered: 100, inflight: 900_000, is_safe: false }, 1_000);
        assert_eq!(prr.cwnd(), 900_000);
    }
}
