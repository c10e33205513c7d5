//! The tail loss probe: when acknowledgements stop coming, one segment more is sent long before the time-out, so that its
//! acknowledgement tells what is lost (RFC 8985 section 7).
//!
//! Owns the probe that is on its way, and whether there may be another. When it is due is the timer's to know.

use crate::proto::tcp::seq::SndPos;
use core::ops::Range;

/// How long a receiver may delay its acknowledgement of a lone segment (TLP.max_ack_delay; Linux's): this and what follows in
/// nanoseconds.
const ACK_DELAY_MAX: u64 = 200_000_000;

/// What a machine's timers and a peer's scheduling may add to two short round trips (Linux: two ticks).
const SLACK: u64 = 2_000_000;

/// Before the first measurement.
const UNMEASURED: u64 = 1_000_000_000;

/// The state of the probe.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LossProbe {
    /// TLP.end_seq and TLP.is_retrans.
    probe: Option<(SndPos, Repeats)>,
    /// No round trip was measured since the last probe.
    is_stale: bool,
}

/// Whether a probe has been sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// It is new.
    New,
    /// It repeats what was sent last.
    Last,
}

impl LossProbe {
    /// PTO: how long after the last transmission or acknowledgement the probe is due.
    //= RFC8985 7.2 two SRTT, 7.2 delayed ACK
    pub(crate) fn timeout(srtt: Option<u64>, is_alone: bool) -> u64 {
        let Some(srtt) = srtt else { return UNMEASURED };
        let delayed = if is_alone { ACK_DELAY_MAX } else { SLACK };
        srtt.saturating_mul(2).saturating_add(delayed)
    }

    /// Whether a probe may be sent.
    //= RFC8985 7.3 both
    pub(crate) fn may_probe(&self) -> bool {
        self.probe.is_none() && !self.is_stale
    }

    /// One was; SND.NXT is `nxt` now.
    pub(crate) fn sent(&mut self, nxt: SndPos, repeats: Repeats) {
        self.probe = Some((nxt, repeats));
        self.is_stale = true;
    }

    /// A round trip was measured.
    pub(crate) fn measured(&mut self) {
        self.is_stale = false;
    }

    /// A recovery begins.
    //= RFC8985 7.1 reset
    pub(crate) fn reset(&mut self) {
        self.probe = None;
    }

    /// An acknowledgement has come. True if it shows that the probe made good for a loss: congestion control has to hear of it.
    //= RFC8985 7.4.2 loss assumed, 7.4.2 response
    pub(crate) fn acknowledged(
        &mut self,
        ack: SndPos,
        duplicate: Option<&Range<u64>>,
        is_bare_duplicate: bool,
    ) -> bool {
        let Some((end, repeats)) = self.probe.filter(|(end, _)| ack >= *end) else { return false };
        let came_twice = duplicate.is_some_and(|range| range.end == end.get());
        let (is_over, repaired) = match repeats {
            Repeats::New => (true, false),
            Repeats::Last if came_twice || (ack == end && is_bare_duplicate) => (true, false),
            Repeats::Last => (ack > end, ack > end),
        };
        if is_over {
            self.probe = None;
        }
        repaired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(repeats: Repeats) -> LossProbe {
        let mut probe = LossProbe::default();
        assert!(probe.may_probe());
        probe.sent(SndPos::at(1_000), repeats);
        probe
    }

    #[test]
    fn a_probe_waits_for_two_round_trips_and_for_a_delayed_acknowledgement() {
        //= RFC8985 7.2 two SRTT, 7.2 delayed ACK
        let ms = |millis: u64| millis * 1_000_000;
        assert_eq!(LossProbe::timeout(None, true), ms(1_000));
        assert_eq!(LossProbe::timeout(Some(ms(50)), false), ms(102));
        assert_eq!(LossProbe::timeout(Some(ms(50)), true), ms(300));
    }

    #[test]
    fn there_is_one_probe_a_round_trip() {
        //= RFC8985 7.3 both
        let mut probe = sent(Repeats::New);
        assert!(!probe.may_probe());
        assert!(!probe.acknowledged(SndPos::at(1_000), None, false));
        assert!(!probe.may_probe(), "nothing was measured");
        probe.measured();
        assert!(probe.may_probe());
    }

    #[test]
    fn a_probe_that_made_good_for_a_loss_is_told_of() {
        //= RFC8985 7.4.2 loss assumed, 7.4.2 response
        let end = SndPos::at(1_000);
        // Below it, nothing is known.
        assert!(!sent(Repeats::Last).acknowledged(SndPos::at(999), None, false));
        // It was needless: a D-SACK, or a duplicate acknowledgement without SACK.
        let mut probe = sent(Repeats::Last);
        assert!(!probe.acknowledged(end, Some(&(900..1_000)), true));
        assert!(!probe.acknowledged(SndPos::at(2_000), None, false));
        let mut probe = sent(Repeats::Last);
        assert!(!probe.acknowledged(end, None, false), "the original, or the probe");
        assert!(!probe.acknowledged(end, None, true));
        assert!(!probe.acknowledged(SndPos::at(2_000), None, false));
        // Nothing says that both came.
        let mut probe = sent(Repeats::Last);
        assert!(!probe.acknowledged(end, None, false));
        assert!(probe.acknowledged(SndPos::at(2_000), None, false));
        // What was new when it was sent tells of no loss.
        assert!(!sent(Repeats::New).acknowledged(SndPos::at(2_000), None, false));
    }
}
