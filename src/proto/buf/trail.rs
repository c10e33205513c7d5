//! A queue that mostly holds one entry.
//!
//! Owns entries in the order in which they came. The newest stands by itself: as long as there is one at a time, as in what
//! is soon answered, nothing is allocated, and neither putting it there nor taking it away has to find its place.

use alloc::collections::VecDeque;

/// Entries, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Trail<T> {
    /// All but the newest.
    older: VecDeque<T>,
    /// `None` if there is none at all.
    newest: Option<T>,
}

impl<T> Trail<T> {
    /// Nothing.
    pub(crate) const fn new() -> Self {
        Trail { older: VecDeque::new(), newest: None }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.older.len() + usize::from(self.newest.is_some())
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.newest.is_none()
    }

    /// The oldest.
    #[inline]
    pub(crate) fn front(&self) -> Option<&T> {
        self.older.front().or(self.newest.as_ref())
    }

    /// The same, to be changed.
    #[inline]
    pub(crate) fn front_mut(&mut self) -> Option<&mut T> {
        self.older.front_mut().or(self.newest.as_mut())
    }

    /// The newest, to be changed.
    #[inline]
    pub(crate) fn back_mut(&mut self) -> Option<&mut T> {
        self.newest.as_mut()
    }

    /// The newest, if there is no other.
    #[inline]
    pub(crate) fn only(&self) -> Option<&T> {
        self.newest.as_ref().filter(|_| self.older.is_empty())
    }

    /// Adds one that is newer than all.
    #[inline]
    pub(crate) fn push_back(&mut self, entry: T) {
        match &mut self.newest {
            // Nothing is to be moved out of the way.
            None => self.newest = Some(entry),
            Some(newest) => self.older.push_back(core::mem::replace(newest, entry)),
        }
    }

    /// Takes the oldest away.
    #[inline]
    pub(crate) fn pop_front(&mut self) -> Option<T> {
        self.older.pop_front().or_else(|| self.newest.take())
    }

    /// How many there are from the oldest on of which all `are_so`, as none is behind them.
    pub(crate) fn partition_point(&self, mut are_so: impl FnMut(&T) -> bool) -> usize {
        let point = self.older.partition_point(&mut are_so);
        let all_are = point == self.older.len() && self.newest.as_ref().is_some_and(are_so);
        point + usize::from(all_are)
    }

    /// The one before which there are so many.
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        if index == self.older.len() { self.newest.as_ref() } else { self.older.get(index) }
    }

    /// All.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.older.iter().chain(&self.newest)
    }

    /// All but so many of the oldest.
    pub(crate) fn iter_from(&self, first: usize) -> impl Iterator<Item = &T> {
        let older = self.older.len();
        self.older.range(first.min(older)..).chain(self.newest.as_ref().filter(|_| first <= older))
    }

    /// Has `change` change any of them.
    pub(crate) fn change<R>(&mut self, change: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
        self.older.extend(self.newest.take());
        let result = change(&mut self.older);
        self.newest = self.older.pop_back();
        result
    }

    /// Forgets all, and gives the memory back if it has room for more than `kept`.
    #[inline]
    pub(crate) fn empty(&mut self, kept: usize) {
        self.newest = None;
        // Mostly there never was another.
        if self.older.capacity() > 0 {
            self.empty_older(kept);
        }
    }

    #[inline(never)]
    fn empty_older(&mut self, kept: usize) {
        if self.older.capacity() > kept {
            self.older = VecDeque::new();
        }
        self.older.clear();
    }

    /// What there is memory for beside the newest.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.older.capacity()
    }
}

impl<T> Default for Trail<T> {
    fn default() -> Self {
        Trail::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        /// The naive model: a deque.
        #[test]
        fn it_is_a_deque(steps in prop::collection::vec((0..6_u8, 0..8_usize), 1..60)) {
            let (mut trail, mut model) = (Trail::new(), VecDeque::new());
            for (number, (what, index)) in steps.into_iter().enumerate() {
                match what {
                    0 | 1 => {
                        trail.push_back(number);
                        model.push_back(number);
                    }
                    2 => prop_assert_eq!(trail.pop_front(), model.pop_front()),
                    3 => {
                        let change = |all: &mut VecDeque<usize>| {
                            all.drain(..index.min(all.len()) / 2);
                            all.truncate(2 * index);
                            all.len()
                        };
                        prop_assert_eq!(trail.change(change), change(&mut model));
                    }
                    4 if index == 0 => {
                        trail.empty(2);
                        prop_assert!(trail.capacity() <= 2);
                        model.clear();
                    }
                    _ => {
                        let changed = trail.front_mut().map(|oldest| *oldest /= 2);
                        prop_assert_eq!(changed, model.front_mut().map(|oldest| *oldest /= 2));
                        let changed = trail.back_mut().map(|newest| *newest += 1);
                        prop_assert_eq!(changed, model.back_mut().map(|newest| *newest += 1));
                    }
                }
                prop_assert_eq!((trail.len(), trail.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!((trail.front(), trail.get(index)), (model.front(), model.get(index)));
                prop_assert_eq!(trail.only(), model.front().filter(|_| model.len() == 1));
                let all: Vec<usize> = trail.iter().copied().collect();
                prop_assert!(all.iter().eq(&model));
                prop_assert!(trail.iter_from(index).eq(model.iter().skip(index)));
                let point = trail.partition_point(|entry| *entry < 4 * index);
                prop_assert_eq!(point, model.partition_point(|entry| *entry < 4 * index));
            }
        }
    }
}
