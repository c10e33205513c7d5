//! Whether a device's datagrams come one at a time, each after the answer to the one before; and whether the latest was read by itself
//! because it was urgent.
//!
//! Then the read that finds nothing more is spared: the loop looks at the device before it sleeps anyhow. It is tried now and
//! then, as more may come at a time, and each would have a look of its own.

/// After so many reads that found one datagram and nothing behind it, the next is expected to be alone, too.
const BELIEVED_FROM: u8 = 8;
/// So many are read without asking what is behind them, and then one is read as if nothing were known.
const BELIEVED_FOR: u8 = 16;

/// What the latest reads of a device have found.
#[derive(Debug, Default)]
pub(super) struct Singles {
    /// How many in a row have come alone, as far as was asked.
    alone: u8,
    /// After the latest, it was not asked whether there was another.
    unasked: bool,
    /// The latest read ended for one that was urgent.
    was_urgent: bool,
}

impl Singles {
    /// Whether the next datagram is expected to have nothing behind it.
    pub(super) fn expects_one(&self) -> bool {
        self.alone >= BELIEVED_FROM
    }

    /// So many datagrams were found, and nothing behind them.
    pub(super) fn drained(&mut self, datagrams: usize) {
        let unasked = std::mem::take(&mut self.unasked);
        self.was_urgent = false;
        match datagrams {
            // This device says that it has something until it is read once more: nothing is gained.
            0 if unasked => self.alone = 0,
            // Somebody else has woken the loop.
            0 => {}
            1 => self.alone = self.alone.saturating_add(1).min(BELIEVED_FROM),
            _ => self.alone = 0,
        }
    }

    /// The next read is to find out whether there is something, and nobody has said that there is.
    pub(super) fn looked_for(&mut self) {
        self.unasked = false;
    }

    /// One was read, and it was not asked whether there is something behind it.
    pub(super) fn read_one(&mut self) {
        (self.unasked, self.was_urgent) = (true, false);
        self.alone += 1;
        if self.alone >= BELIEVED_FROM + BELIEVED_FOR {
            self.alone = BELIEVED_FROM - 1;
        }
    }

    /// One was read that was urgent, whatever is behind it.
    pub(super) fn read_urgent(&mut self) {
        (self.unasked, self.was_urgent) = (false, true);
    }

    /// Whether the latest read found one that was urgent.
    pub(super) fn was_urgent(&self) -> bool {
        self.was_urgent
    }

    /// There may have been more than one read can hold.
    pub(super) fn found_many(&mut self) {
        *self = Singles::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked of a device whose datagrams come one at a time: where `true` stands, only the datagram.
    fn asked(singles: &mut Singles, reads: usize) -> Vec<bool> {
        let read = |_| {
            let expects_one = singles.expects_one();
            if expects_one {
                singles.read_one()
            } else {
                singles.drained(1)
            }
            expects_one
        };
        (0..reads).map(read).collect()
    }

    #[test]
    fn datagrams_that_come_one_at_a_time_are_expected_to_go_on_so_but_for_a_try_now_and_then() {
        let asked = asked(&mut Singles::default(), 8 + 2 * 17);
        let expected: Vec<bool> = (0..8 + 2 * 17).map(|nth| nth >= 8 && (nth - 8) % 17 != 16).collect();
        assert_eq!(asked, expected);
    }

    #[test]
    fn two_at_a_time_end_it_and_so_does_a_full_read() {
        for end in [|singles: &mut Singles| singles.drained(2), |singles: &mut Singles| singles.found_many()]
        {
            let mut singles = Singles::default();
            assert!(asked(&mut singles, 9)[8]);
            end(&mut singles);
            assert_eq!(asked(&mut singles, 9), [vec![false; 8], vec![true]].concat());
        }
    }

    #[test]
    fn a_read_that_finds_nothing_says_nothing() {
        let mut singles = Singles::default();
        singles.drained(0);
        assert_eq!(asked(&mut singles, 8), [false; 8]);
        singles.drained(0);
        assert!(singles.expects_one());
    }

    #[test]
    fn a_look_in_vain_at_a_device_that_says_nothing_is_no_such_read() {
        let mut singles = Singles::default();
        assert!(asked(&mut singles, 9)[8]);
        singles.looked_for();
        singles.drained(0);
        assert!(singles.expects_one());
    }

    #[test]
    fn a_device_that_is_readable_until_it_has_been_read_in_vain_is_read_in_vain_at_once() {
        let mut singles = Singles::default();
        assert!(asked(&mut singles, 9)[8]);
        singles.drained(0);
        assert_eq!(asked(&mut singles, 8), [false; 8]);
    }
}
