//! Loss recovery without SACK: duplicate ACKs (RFC 5681 section 3.2) and NewReno (RFC 6582).
//!
//! Owns the count of duplicate ACKs and what recovery is under way. What to do about it stands in `acked`
//! (an acknowledgement came) and `timer` (none came).

use crate::proto::tcp::seq::SndPos;

/// Duplicate ACKs that make a segment lost.
const DUPLICATE_THRESHOLD: u32 = 3;

/// Which recovery is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// None.
    Open,
    /// Fast recovery, until everything below `recover` is acknowledged.
    Fast {
        /// SND.NXT when it began.
        recover: SndPos,
    },
    /// Slow start after a time-out, until everything below `recover` is acknowledged.
    Timeout {
        /// SND.NXT when it began.
        recover: SndPos,
    },
}

/// The state of loss recovery.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    phase: Phase,
    duplicates: u32,
    /// RFC 6582's `recover`: duplicate ACKs for anything below it may be echoes of the last recovery.
    guard: Option<SndPos>,
    /// The next retransmission may go whatever the congestion window says (RFC 5681 section 3.2 step 3).
    regardless: bool,
}

impl Recovery {
    pub(crate) fn new() -> Self {
        Recovery { phase: Phase::Open, duplicates: 0, guard: None, regardless: false }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn retransmit_regardless(&self) -> bool {
        self.regardless
    }

    pub(crate) fn segment_sent(&mut self) {
        self.regardless = false;
    }

    /// A duplicate ACK for `una` has come; true if it is the one that starts fast recovery.
    pub(crate) fn duplicate_ack(&mut self, una: SndPos, nxt: SndPos) -> bool {
        if self.phase != Phase::Open {
            return false;
        }
        self.duplicates += 1;
        //= RFC5681 3.2 fast retransmit
        let starts = self.duplicates == DUPLICATE_THRESHOLD && self.guard.is_none_or(|guard| una > guard);
        if starts {
            self.phase = Phase::Fast { recover: nxt };
            self.guard = Some(nxt);
            self.regardless = true;
        }
        starts
    }

    /// The retransmission timer has expired.
    pub(crate) fn timeout(&mut self, nxt: SndPos) {
        self.phase = Phase::Timeout { recover: nxt };
        self.guard = Some(nxt);
        self.duplicates = 0;
        self.regardless = true;
    }

    /// A partial ACK: the next hole is retransmitted at once.
    pub(crate) fn partial_ack(&mut self) {
        self.regardless = true;
    }

    /// What is lost of all below `nxt` is known already, and not for congestion: duplicate ACKs for it start nothing.
    pub(crate) fn losses_are_known(&mut self, nxt: SndPos) {
        if self.phase == Phase::Open {
            self.guard = Some(nxt);
            self.duplicates = 0;
        }
    }

    /// SND.UNA has moved.
    pub(crate) fn progress(&mut self) {
        self.duplicates = 0;
    }

    /// Recovery is over.
    pub(crate) fn end(&mut self) {
        self.phase = Phase::Open;
        self.regardless = false;
    }
}
