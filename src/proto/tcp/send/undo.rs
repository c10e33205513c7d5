//! Whether a recovery was needless, and what congestion control goes back to then.
//!
//! Owns the window and threshold from before a reduction, and what was sent again since. A recovery was needless if an
//! acknowledgement echoes a timestamp from before the first retransmission (Eifel, RFC 3522), or if all that was sent again
//! is reported to have come twice (D-SACK, RFC 3708). F-RTO (`frto`) finds a third kind. What follows is RFC 4015's
//! response: the window and the threshold are what they were.

use core::ops::Range;

use crate::proto::buf::ranges::Ranges;
use crate::proto::tcp::timestamps::is_before;

/// Pieces of what was sent again that are kept apart. A peer chooses where the holes are that it has us fill, and what of
/// them it reports to have come twice; beyond this, a needless recovery is not undone for that.
const PIECES_MAX: usize = 1024;

/// One reduction of the window.
#[derive(Clone, Debug)]
pub(crate) struct Undo {
    pub(crate) cwnd: u64,
    pub(crate) ssthresh: u64,
    /// TSval of the first retransmission.
    stamp: Option<u32>,
    /// What was sent again and not reported to have come twice; not kept if there are too many pieces of it.
    unexplained: Option<Ranges>,
    /// Whether anything was sent again.
    any: bool,
}

/// What showed that a recovery was needless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// A timestamp from before the first retransmission.
    Timestamp,
    /// All that was sent again came twice.
    Duplicates,
    /// What was sent before the time-out, and not again, has arrived (RFC 5682).
    Originals,
}

impl Undo {
    /// Remembers how things stand before the window is reduced.
    pub(crate) fn new(cwnd: u64, ssthresh: u64) -> Self {
        Undo { cwnd, ssthresh, stamp: None, unexplained: Some(Ranges::new()), any: false }
    }

    /// Something was sent again, with this TSval.
    pub(crate) fn sent_again(&mut self, range: Range<u64>, stamp: Option<u32>) {
        //= RFC3522 3.2 timestamp
        if !self.any {
            self.stamp = stamp;
        }
        self.any = true;
        self.change(|pieces| pieces.insert(range));
    }

    /// Something was reported to have come twice.
    pub(crate) fn came_twice(&mut self, range: Range<u64>) {
        self.change(|pieces| pieces.remove(range));
    }

    fn change(&mut self, change: impl FnOnce(&mut Ranges)) {
        let mut pieces = self.unexplained.take();
        pieces.as_mut().map(change);
        self.unexplained = pieces.filter(|pieces| pieces.len() <= PIECES_MAX);
    }

    /// Whether all that was sent again came twice.
    pub(crate) fn all_came_twice(&self) -> bool {
        self.any && self.unexplained.as_ref().is_some_and(Ranges::is_empty)
    }

    /// Whether an acknowledgement that moves SND.UNA answers a segment from before the first retransmission.
    //= RFC3522 3.2 older echo
    pub(crate) fn answers_original(&self, echo: Option<u32>) -> bool {
        matches!((self.stamp, echo), (Some(stamp), Some(echo)) if is_before(echo, stamp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_from_before_the_first_retransmission_shows_that_it_was_needless() {
        //= RFC3522 3.2 older echo
        let mut undo = Undo::new(10, 20);
        assert!(!undo.answers_original(Some(5)), "nothing was sent again");
        undo.sent_again(0..10, Some(100));
        undo.sent_again(10..20, Some(200));
        assert!(undo.answers_original(Some(99)));
        assert!(!undo.answers_original(Some(100)) && !undo.answers_original(Some(150)));
        assert!(!undo.answers_original(None));
    }

    #[test]
    fn a_peer_that_has_every_other_octet_sent_again_is_kept_in_mind_up_to_a_limit() {
        let mut undo = Undo::new(10, 20);
        for octet in (0..100_000).step_by(2) {
            undo.sent_again(octet..octet + 1, None);
            assert!(undo.unexplained.as_ref().is_none_or(|pieces| pieces.len() <= PIECES_MAX));
        }
        undo.came_twice(0..100_000);
        assert!(!undo.all_came_twice(), "what is not known is not explained");
        // Nor are many pieces of one that came twice.
        let mut undo = Undo::new(10, 20);
        undo.sent_again(0..100_000, None);
        for octet in (0..100_000).step_by(2) {
            undo.came_twice(octet..octet + 1);
            assert!(undo.unexplained.as_ref().is_none_or(|pieces| pieces.len() <= PIECES_MAX));
        }
    }

    #[test]
    fn all_must_have_come_twice() {
        let mut undo = Undo::new(10, 20);
        undo.came_twice(0..100);
        assert!(!undo.all_came_twice(), "nothing was sent again");
        undo.sent_again(0..10, None);
        undo.sent_again(30..40, None);
        undo.came_twice(0..10);
        assert!(!undo.all_came_twice());
        undo.came_twice(25..50);
        assert!(undo.all_came_twice());
    }
}
