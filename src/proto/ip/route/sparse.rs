//! An array of 256 places of which only those in use take room.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// At most one item for each number from 0 to 255, packed in their order: a bit tells whether there is one, the
/// count of bits before it where.
#[derive(Debug)]
pub(super) struct Sparse<T> {
    /// Bit `i % 64` of word `i / 64`: whether there is an item for `i`.
    used: [u64; 4],
    /// How many items stand before each word: sparing three counts of bits a lookup, which are dear where the
    /// processor has no instruction for them that may be relied on.
    before: [u8; 4],
    /// Exactly as long as there are items: most nodes have few, and there are many nodes.
    items: Box<[T]>,
}

impl<T> Default for Sparse<T> {
    fn default() -> Self {
        Sparse { used: [0; 4], before: [0; 4], items: Box::default() }
    }
}

impl<T> Sparse<T> {
    /// How many items there are.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// The item for `place`.
    #[inline]
    pub(super) fn get(&self, place: u8) -> Option<&T> {
        let index = self.index_of(place)?;
        self.items.get(index)
    }

    /// The same, to be changed.
    pub(super) fn get_mut(&mut self, place: u8) -> Option<&mut T> {
        let index = self.index_of(place)?;
        self.items.get_mut(index)
    }

    /// Puts an item into its place, and gives back what was there.
    pub(super) fn insert(&mut self, place: u8, item: T) -> Option<T> {
        if let Some(there) = self.get_mut(place) {
            return Some(core::mem::replace(there, item));
        }
        let index = self.rank(place);
        self.change(|items| {
            items.reserve_exact(1);
            items.insert(index, item);
        });
        self.flip(place);
        None
    }

    /// Takes an item out of its place.
    pub(super) fn remove(&mut self, place: u8) -> Option<T> {
        let index = self.index_of(place)?;
        let mut removed = None;
        self.change(|items| removed = Some(items.remove(index)));
        self.flip(place);
        removed
    }

    /// The only item with its place; `None` if there are more or none.
    pub(super) fn only(&self) -> Option<(u8, &T)> {
        let [item] = &*self.items else { return None };
        let word = (0..4_u8).find(|word| self.used[usize::from(*word)] != 0)?;
        let bit = self.used[usize::from(word)].trailing_zeros();
        Some((word << 6 | bit as u8, item))
    }

    /// All items, in the order of their places.
    pub(super) fn items(&self) -> &[T] {
        &self.items
    }

    /// The highest place in use among those that `places` names: one in each of the upper two thirds, and any in
    /// the lowest quarter. (A node keeps a prefix at `2^len | its bits`, so these are the prefixes of an octet.)
    #[inline]
    pub(super) fn highest_of(&self, places: Places) -> Option<u8> {
        if self.is_used(places.upper) {
            return Some(places.upper);
        }
        if self.is_used(places.middle) {
            return Some(places.middle);
        }
        let lower = self.used[0] & places.lower;
        (lower != 0).then(|| 63 - lower.leading_zeros() as u8)
    }

    #[inline]
    fn is_used(&self, place: u8) -> bool {
        self.used[usize::from(place >> 6)] & (1 << (place & 63)) != 0
    }

    #[inline]
    fn index_of(&self, place: u8) -> Option<usize> {
        self.is_used(place).then(|| self.rank(place))
    }

    /// How many items stand before `place`.
    #[inline]
    fn rank(&self, place: u8) -> usize {
        let word = usize::from(place >> 6);
        let in_word = self.used[word] & ((1 << (place & 63)) - 1);
        usize::from(self.before[word]) + in_word.count_ones() as usize
    }

    fn flip(&mut self, place: u8) {
        self.used[usize::from(place >> 6)] ^= 1 << (place & 63);
        let mut sum = 0;
        for (before, word) in self.before.iter_mut().zip(self.used) {
            *before = sum;
            // Not read before the last word has been counted, 192 at most.
            sum = sum.wrapping_add(word.count_ones() as u8);
        }
    }

    fn change(&mut self, how: impl FnOnce(&mut Vec<T>)) {
        let mut items = core::mem::take(&mut self.items).into_vec();
        how(&mut items);
        self.items = items.into_boxed_slice();
    }
}

/// Places to be looked for from the highest to the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// One from 128 to 255.
    pub(super) upper: u8,
    /// One from 64 to 127.
    pub(super) middle: u8,
    /// Any below 64, a bit each.
    pub(super) lower: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_agrees_with_an_ordered_map(steps in prop::collection::vec((any::<bool>(), any::<u8>(), any::<u16>()), 0..600)) {
            let (mut sparse, mut model) = (Sparse::default(), BTreeMap::new());
            for (is_insert, place, item) in steps {
                if is_insert {
                    prop_assert_eq!(sparse.insert(place, item), model.insert(place, item));
                } else {
                    prop_assert_eq!(sparse.remove(place), model.remove(&place));
                }
                prop_assert_eq!(sparse.len(), model.len());
                let only = model.first_key_value().filter(|_| model.len() == 1);
                prop_assert_eq!(sparse.only(), only.map(|(place, item)| (*place, item)));
            }
            for place in 0..=255 {
                prop_assert_eq!(sparse.get(place), model.get(&place));
            }
            prop_assert!(sparse.items().iter().eq(model.values()));
        }
    }

    #[test]
    fn all_256_places_can_be_in_use() {
        let mut sparse = Sparse::default();
        for place in (0..=255).rev() {
            assert_eq!(sparse.insert(place, place), None);
        }
        assert!((0..=255).all(|place| sparse.get(place) == Some(&place)));
        assert!((0..=255).all(|place| sparse.remove(place) == Some(place)));
        assert!(sparse.len() == 0);
    }
}
