//! Whether answers are there as soon as something was sent.
//!
//! The kernel's own TCP answers much of what it is given in the very system call that gives it: who then reads at once spares the
//! question whether there is something to read, which costs more than a read in vain (but not more than one of each of several
//! devices). Of other answers, such as those that a program has to be woken for, nothing would be found. It is tried now and then.

/// A read that finds something counts so much for the next one, and a read in vain so much against it: half as much, as it costs
/// half of what the other spares.
const FOUND: u8 = 2;
const IN_VAIN: u8 = 1;
/// From here on answers are expected.
const EXPECTED_FROM: u8 = 8;
const MAX: u8 = 2 * EXPECTED_FROM;
/// Of so many turns that send something and expect no answer, one looks whether there is one. A prime number: who sends the same again and
/// again should not be looked at at the same point each time.
const TRY_EVERY: u8 = 17;

/// After so many reads in a row that found something the loop asks all the same, so that it hears of what seldom happens.
const IN_A_ROW_MAX: u8 = 32;

/// What the latest reads after something was sent have found.
#[derive(Debug, Default)]
pub(super) struct Answers {
    score: u8,
    /// Turns that sent something since this was tried.
    untried: u8,
    /// Reads that found something, since the loop asked.
    in_a_row: u8,
}

impl Answers {
    /// Something was sent: whether to read at once.
    pub(super) fn are_expected(&mut self) -> bool {
        if self.in_a_row >= IN_A_ROW_MAX {
            return false;
        }
        if self.score >= EXPECTED_FROM {
            return true;
        }
        self.untried = (self.untried + 1) % TRY_EVERY;
        self.untried == 0
    }

    /// It was read at once, and there was something or not.
    pub(super) fn read(&mut self, found: bool) {
        if found {
            self.score = (self.score + FOUND).min(MAX);
            self.in_a_row += 1;
        } else {
            self.score = self.score.saturating_sub(IN_VAIN);
        }
    }

    /// The loop has asked whether there is something to read, and heard of what seldom happens.
    pub(super) fn asked(&mut self) {
        self.in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it is read at once in so many turns, each of which sends something.
    fn reads(answers: &mut Answers, turns: usize, is_there: impl Fn(usize) -> bool) -> usize {
        let mut reads = 0;
        for turn in 0..turns {
            let reads_at_once = answers.are_expected();
            let found = reads_at_once && is_there(turn);
            if reads_at_once {
                answers.read(found);
                reads += 1;
            }
            if !found {
                answers.asked();
            }
        }
        reads
    }

    #[test]
    fn answers_that_are_there_at_once_are_soon_expected() {
        let mut answers = Answers::default();
        assert_eq!(reads(&mut answers, 68, |_| true), 4);
        assert_eq!(reads(&mut answers, 28, |_| true), 28);
        assert_eq!(reads(&mut answers, 66, |_| true), 64, "now and then the loop asks all the same");
    }

    #[test]
    fn answers_that_come_later_are_looked_for_now_and_then() {
        let mut answers = Answers::default();
        assert_eq!(reads(&mut answers, 1_700, |_| false), 100);
        reads(&mut answers, 1_000, |_| true);
        assert_eq!(reads(&mut answers, 9 + 1_700, |_| false), 9 + 100);
    }

    #[test]
    fn answers_that_are_there_every_other_time_are_expected_and_rarer_ones_are_not() {
        assert!(reads(&mut Answers::default(), 10_000, |turn| turn % 2 == 0) > 9_700);
        assert!(reads(&mut Answers::default(), 10_000, |turn| turn % 4 == 0) < 1_500);
    }
}
