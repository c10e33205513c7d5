//! Answers for 65,536 neighbours, of which long runs have the same.
//!
//! Two runs that have an answer, all else having none, are kept in place: most blocks of IPv6 hold a network or
//! two. More are kept as one array: where each begins, then its answer, so that all is read in one or two lines of
//! cache. Where they are more than fit there, a table tells for each of 256 parts at which run it begins.
//! What a block is made of depends on the answers alone, not on the order in which they came.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hint::select_unpredictable;

use super::slot::{Change, Packed};

/// So many beginnings fill a line of cache.
const FEW: usize = 32;

/// A word for each of the parts.
const PARTS: usize = 256;

/// Answers for every number from 0 to 65,535.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Runs {
    /// These are all that have answers, in their order; those that are not needed come last.
    Few([Run; 2]),
    /// For each run where it begins, then for each the halves of its answer; no two that follow one another have
    /// the same. If they are more than [`FEW`], there is before them for each of [`PARTS`] the run in which it
    /// begins.
    Many(Box<[u16]>),
}

/// Numbers with the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    first: u16,
    /// The last that belongs to it.
    last: u16,
    /// Empty if there is no such run.
    answer: Packed,
}

impl Run {
    const NONE: Run = Run { first: 0, last: 0, answer: Packed::EMPTY };

    #[inline]
    fn holds(self, at: u16) -> bool {
        at.wrapping_sub(self.first) <= self.last - self.first
    }
}

impl Runs {
    /// No answers.
    pub(super) const NONE: Runs = Runs::Few([Run::NONE; 2]);

    /// Whether there is no answer at all.
    #[inline]
    pub(super) fn is_none(&self) -> bool {
        matches!(self, Runs::Few([Run { answer: Packed::EMPTY, .. }, _]))
    }

    /// The answer for a number.
    #[inline]
    pub(super) fn get(&self, at: u16) -> Packed {
        match self {
            // One that is none holds 0, and says no more of it than would be said without.
            Runs::Few([one, other]) => {
                let other = select_unpredictable(other.holds(at), other.answer, Packed::EMPTY);
                select_unpredictable(one.holds(at), one.answer, other)
            }
            Runs::Many(words) => find(words, at),
        }
    }

    /// Makes the change in all from `first` to `last`, both included.
    pub(super) fn change(&mut self, first: u16, last: u16, change: Change) {
        let runs = self.list();
        let mut made = Vec::with_capacity(runs.len() + 2);
        for (index, (begin, answer)) in runs.iter().enumerate() {
            let end = runs.get(index + 1).map_or(u16::MAX, |(next, _)| next - 1);
            if *begin < first {
                add(&mut made, *begin, *answer);
            }
            if *begin <= last && first <= end {
                add(&mut made, first.max(*begin), change.of(*answer));
            }
            if last < end {
                add(&mut made, (*begin).max(last + 1), *answer);
            }
        }
        *self = Runs::of(&made);
    }

    /// How many bytes it takes, itself not counted.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Runs::Few(_) => 0,
            Runs::Many(words) => size_of_val(&**words),
        }
    }

    /// Of a list of all runs, each with where it begins, of which neighbours differ.
    fn of(list: &[(u16, Packed)]) -> Self {
        let end_of = |index: usize| list.get(index + 1).map_or(u16::MAX, |(next, _)| next - 1);
        let all = list.iter().enumerate();
        let mut with_answer = all
            .filter(|(_, (_, answer))| *answer != Packed::EMPTY)
            .map(|(index, (first, answer))| Run { first: *first, last: end_of(index), answer: *answer });
        let few = [(); 2].map(|()| with_answer.next().unwrap_or(Run::NONE));
        if with_answer.next().is_some() { Runs::Many(words_of(list)) } else { Runs::Few(few) }
    }

    /// All runs, each with where it begins.
    fn list(&self) -> Vec<(u16, Packed)> {
        match self {
            Runs::Few(runs) => {
                let (mut list, mut next) = (Vec::with_capacity(5), Some(0));
                for Run { first, last, answer } in runs.iter().filter(|run| run.answer != Packed::EMPTY) {
                    next.filter(|next| next < first).inspect(|next| add(&mut list, *next, Packed::EMPTY));
                    add(&mut list, *first, *answer);
                    next = last.checked_add(1);
                }
                next.inspect(|next| add(&mut list, *next, Packed::EMPTY));
                list
            }
            Runs::Many(words) => {
                let (_, begins, answers) = parts_of(words);
                let answer = |index| answer_at(answers, index);
                begins.iter().enumerate().map(|(index, begin)| (*begin, answer(index))).collect()
            }
        }
    }
}

fn add(list: &mut Vec<(u16, Packed)>, begin: u16, answer: Packed) {
    if list.last().is_none_or(|(_, last)| *last != answer) {
        list.push((begin, answer));
    }
}

fn words_of(list: &[(u16, Packed)]) -> Box<[u16]> {
    let table = if list.len() > FEW { PARTS } else { 0 };
    let mut words = Vec::with_capacity(table + list.len() * 3);
    for part in 0..table {
        let run = list.partition_point(|(begin, _)| usize::from(*begin) <= part * (65_536 / PARTS)) - 1;
        words.push(run as u16);
    }
    words.extend(list.iter().map(|(begin, _)| *begin));
    words.extend(list.iter().flat_map(|(_, answer)| answer.halves()));
    words.into_boxed_slice()
}

/// The table of parts, where runs begin, their answers.
#[inline]
fn parts_of(words: &[u16]) -> (&[u16], &[u16], &[u16]) {
    let table = if words.len() > FEW * 3 { PARTS } else { 0 };
    let (table, runs) = words.split_at_checked(table).unwrap_or_default();
    let (begins, answers) = runs.split_at(runs.len() / 3);
    (table, begins, answers)
}

#[inline]
fn answer_at(answers: &[u16], index: usize) -> Packed {
    match answers.get(index * 2..) {
        Some([upper, lower, ..]) => Packed::of_halves([*upper, *lower]),
        Some(_) | None => Packed::EMPTY,
    }
}

#[inline]
fn find(words: &[u16], at: u16) -> Packed {
    let (table, begins, answers) = parts_of(words);
    let (low, high) = if table.is_empty() {
        (0, begins.len())
    } else {
        let part = usize::from(at >> 8);
        let run = |part: usize| table.get(part).map(|run| usize::from(*run));
        // A part ends in the run in which the next begins, or the run before that.
        (run(part).unwrap_or(0), run(part + 1).map_or(begins.len(), |run| run + 1))
    };
    let among = begins.get(low..high).unwrap_or_default();
    let before = low + among.partition_point(|begin| *begin <= at);
    answer_at(answers, before.wrapping_sub(1))
}

#[cfg(test)]
mod tests {
    use super::super::choices::ChoiceId;
    use super::super::slot::{Tier, Was};
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    const ENDS: &[u8] = &[32, 48];

    fn held(len: u8, value: u32) -> Change {
        Change::insertion(len, ChoiceId(value), Tier::of(len, ENDS))
    }

    /// What a prefix of 33 to 50 bits that comes or goes does to which of the numbers. Close to one another, so that
    /// they nest, or anywhere.
    fn change() -> impl Strategy<Value = (u16, u16, Change)> {
        let length = prop_oneof![33_u8..=50, 45_u8..=48];
        (length, any::<u16>(), any::<bool>(), 0_u32..3, any::<bool>()).prop_map(
            |(len, at, near, value, comes)| {
                let at = if near { at & 0x00ff } else { at };
                let host = u16::MAX.unbounded_shr(u32::from(len) - 32);
                let change = if comes {
                    held(len, value)
                } else {
                    let was = if len > 48 { Was::Divided } else { Was::Held(len) };
                    let next = if value == 0 { Packed::EMPTY } else { held(33, value).of(Packed::EMPTY) };
                    Change::Removal { was, next }
                };
                (at & !host, at | host, change)
            },
        )
    }

    proptest! {
        #[test]
        fn it_agrees_with_an_array_and_depends_on_the_answers_alone(changes in prop::collection::vec(change(), 0..150)) {
            let (mut runs, mut model) = (Runs::NONE, vec![Packed::EMPTY; 1 << 16]);
            for (first, last, change) in changes {
                runs.change(first, last, change);
                for there in &mut model[usize::from(first)..=usize::from(last)] {
                    *there = change.of(*there);
                }
            }
            for (at, answer) in (0..=u16::MAX).zip(&model) {
                prop_assert_eq!(runs.get(at), *answer, "{}", at);
            }
            let mut list = Vec::new();
            (0..=u16::MAX).zip(&model).for_each(|(at, answer)| add(&mut list, at, *answer));
            prop_assert_eq!(&runs, &Runs::of(&list));
            prop_assert_eq!(runs.is_none(), model.iter().all(|answer| *answer == Packed::EMPTY));
        }
    }

    #[test]
    fn every_number_can_have_an_answer_of_its_own() {
        let list: Vec<_> = (0..=u16::MAX).map(|at| (at, held(48, at.into()).of(Packed::EMPTY))).collect();
        let mut runs = Runs::of(&list);
        assert!(list.iter().all(|(at, answer)| runs.get(*at) == *answer));
        for at in 0..3 {
            runs.change(at, at, held(49, 0));
        }
        runs.change(0, u16::MAX, Change::Removal { was: Was::Held(48), next: Packed::EMPTY });
        assert!(matches!(runs, Runs::Few([Run { first: 0, last: 2, .. }, Run::NONE])));
        runs.change(0, 2, Change::Removal { was: Was::Divided, next: Packed::EMPTY });
        assert_eq!(runs, Runs::NONE);
    }
}
