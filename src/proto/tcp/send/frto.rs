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
                    //= RFC5682 2.1 duplicate, 3.1 two segments
                    let says_all = heard.una >= heard.nxt || heard.una < end;
                    //= RFC5682 2.1 new data, 2.1 none, 3.1 steps
                    *self = match says_all || !heard.can_send_new {
                        true => Frto::Off,
                        false => Frto::SentNew { recover: heard.nxt, allowance: 2 * mss },
                    };
                //= RFC5682 2.1 duplicate, 3.1 steps: with SACK it is waited for one that moves SND.UNA.
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
            //= RFC5682 2.1 spurious
            false if heard.advances => Verdict::Spurious,
            //= RFC5682 2.1 second duplicate
            false if heard.is_duplicate => Verdict::Genuine,
            //= RFC5682 2.1 ignored
            false => return Verdict::Undecided,
            //= RFC5682 3.1 SACK, 3.1 beyond
            true if heard.highest > recover => Verdict::Genuine,
            //= RFC5682 3.1 spurious
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

#[cfg(test)]
mod tests {
    use super::*;

    fn at(position: u64) -> SndPos {
        SndPos::at(position)
    }

    /// Ten segments of 1000 are on their way, and the first has been sent again.
    fn heard(una: u64, nxt: u64, sack: bool) -> Heard {
        Heard {
            una: at(una),
            nxt: at(nxt),
            advances: false,
            is_duplicate: false,
            highest: at(una),
            any_new: false,
            sack,
            can_send_new: true,
        }
    }

    /// Step 2 has come to an end: two new segments have been sent.
    fn sent_new(sack: bool) -> Frto {
        let mut frto = Frto::SentFirst(at(1_000));
        let advances = Heard { advances: true, any_new: true, ..heard(1_000, 10_000, sack) };
        assert_eq!(frto.acknowledged(&advances, 1_000), Verdict::Undecided);
        assert_eq!(frto.new_only(), Some(2_000));
        frto.sent_new(1_000);
        frto.sent_new(1_000);
        assert_eq!(frto.new_only(), Some(0));
        frto
    }

    #[test]
    fn what_is_neither_new_nor_a_duplicate_is_ignored() {
        //= RFC5682 2.1 ignored
        for sack in [false, true] {
            let mut frto = Frto::SentFirst(at(1_000));
            assert_eq!(frto.acknowledged(&heard(0, 10_000, sack), 1_000), Verdict::Undecided);
            assert_eq!(frto, Frto::SentFirst(at(1_000)));
            let (mut frto, before) = (sent_new(sack), sent_new(sack));
            assert_eq!(frto.acknowledged(&heard(1_000, 12_000, sack), 1_000), Verdict::Undecided);
            assert_eq!(frto, before);
        }
    }

    #[test]
    fn the_first_acknowledgement_ends_the_question_or_has_something_new_sent() {
        //= RFC5682 2.1 steps, 2.1 duplicate, 2.1 none, 3.1 steps, 3.1 two segments
        let first = |heard: &Heard| {
            let mut frto = Frto::SentFirst(at(1_000));
            assert_eq!(frto.acknowledged(heard, 1_000), Verdict::Undecided);
            frto
        };
        for sack in [false, true] {
            let advances = |una| Heard { advances: true, any_new: true, ..heard(una, 10_000, sack) };
            assert_eq!(first(&advances(10_000)), Frto::Off, "all of it");
            assert_eq!(first(&advances(999)), Frto::Off, "a part of what was sent again");
            assert_eq!(first(&Heard { can_send_new: false, ..advances(1_000) }), Frto::Off);
            assert_ne!(first(&advances(9_999)), Frto::Off);
            let duplicate = Heard { is_duplicate: true, any_new: sack, ..heard(0, 10_000, sack) };
            assert_eq!(first(&duplicate) == Frto::Off, !sack, "with SACK it is waited on");
        }
    }

    #[test]
    fn the_second_decides() {
        //= RFC5682 2.1 spurious, 2.1 second duplicate, 3.1 spurious, 3.1 beyond
        let second = |sack, heard: &Heard| {
            let mut frto = sent_new(sack);
            let verdict = frto.acknowledged(heard, 1_000);
            assert_eq!(frto, Frto::Off);
            verdict
        };
        let advances = |sack| Heard { advances: true, any_new: true, ..heard(2_000, 12_000, sack) };
        assert_eq!(second(false, &advances(false)), Verdict::Spurious);
        let duplicate = |sack| Heard { is_duplicate: true, ..heard(1_000, 12_000, sack) };
        assert_eq!(second(false, &duplicate(false)), Verdict::Genuine);
        assert_eq!(second(true, &advances(true)), Verdict::Spurious);
        // A duplicate that reports an original that overtook others.
        let old = Heard { any_new: true, highest: at(6_000), ..duplicate(true) };
        assert_eq!(second(true, &old), Verdict::Spurious);
        // One that reports what was sent after the time-out, or nothing.
        let new = Heard { any_new: true, highest: at(11_000), ..duplicate(true) };
        assert_eq!(second(true, &new), Verdict::Genuine);
        assert_eq!(second(true, &duplicate(true)), Verdict::Genuine);
    }
}
