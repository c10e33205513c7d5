//! F-RTO: whether a retransmission time-out was needless (RFC 5682).
//!
//! Owns how far the question has come. After a time-out only the first segment is sent again. If its acknowledgement
//! leaves some of the rest open, two segments that were never sent go next; what the following acknowledgement tells of decides.

use crate::proto::tcp::seq::SndPos;

/// How far the question has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Frto {
    /// It is not asked.
    #[default]
    Off,
    /// Step 2: the first segment was sent again, up to here, and nothing else.
    SentFirst(SndPos),
    /// Step 3: new segments may go, so many octets; all below `recover` was sent before them.
    SentNew {
        /// SND.NXT when the acknowledgement of step 2 came.
        recover: SndPos,
        /// What may yet be sent of them.
        allowance: u64,
    },
}

/// What an acknowledgement says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) una: SndPos,
    /// SND.NXT.
    pub(crate) nxt: SndPos,
    /// SND.UNA has moved.
    pub(crate) advances: bool,
    /// It is a duplicate, or reports something that stands beyond SND.UNA.
    pub(crate) is_duplicate: bool,
    /// The highest position that is known to have arrived.
    pub(crate) highest: SndPos,
    /// Something arrived that had not been reported, acknowledged or not.
    pub(crate) any_new: bool,
    /// SACK is in use.
    pub(crate) sack: bool,
    /// There is text that was never sent, and the window has room for it.
    pub(crate) can_send_new: bool,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing yet, or nothing any more.
    Undecided,
    /// The time-out was needless.
    Spurious,
    /// It was not, and new segments are on their way: no more than three segments may be (RFC 5682 section 2.1 step 3a).
    Genuine,
}

impl Frto {
    /// Takes an acknowledgement.
    pub(crate) fn acknowledged(&mut self, heard: &Heard, mss: u64) -> Verdict {
        match *self {
            Frto::Off => Verdict::Undecided,
            Frto::SentFirst(end) => {
                if heard.advances {
                    //= RFC5682 2.1 step 2a
                    //= RFC5682 3.1 step 2a
                    let says_all = heard.una >= heard.nxt || heard.una < end;
                    //= RFC5682 2.1 step 2b
                    //= RFC5682 3.1 step 2b
                    *self = match says_all || !heard.can_send_new {
                        true => Frto::Off,
                        false => Frto::SentNew { recover: heard.nxt, allowance: 2 * mss },
                    };
                } else if heard.is_duplicate && !heard.sack {
                    *self = Frto::Off;
                }
                Verdict::Undecided
            }
            Frto::SentNew { recover, .. } => self.decide(heard, recover),
        }
    }

    fn decide(&mut self, heard: &Heard, recover: SndPos) -> Verdict {
        let verdict = match heard.sack {
            //= RFC5682 2.1 step 3b
            false if heard.advances => Verdict::Spurious,
            //= RFC5682 2.1 step 3a
            false if heard.is_duplicate => Verdict::Genuine,
            false => return Verdict::Undecided,
            //= RFC5682 3.1 step 3a
            true if heard.highest > recover => Verdict::Genuine,
            //= RFC5682 3.1 step 3b
            true if heard.any_new => Verdict::Spurious,
            true if heard.is_duplicate => Verdict::Genuine,
            true => return Verdict::Undecided,
        };
        *self = Frto::Off;
        verdict
    }

    /// Octets that were never sent and may go although others are lost; `None` if those go first as usual.
    pub(crate) fn new_only(&self) -> Option<u64> {
        match self {
            Frto::Off | Frto::SentFirst(_) => None,
            Frto::SentNew { allowance, .. } => Some(*allowance),
        }
    }

    /// Something new has gone out.
    pub(crate) fn sent_new(&mut self, len: u64) {
        if let Frto::SentNew { allowance, .. } = self {
            *allowance = allowance.saturating_sub(len);
        }
    }
}
