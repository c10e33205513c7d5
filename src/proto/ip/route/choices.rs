//! Which ways lead to a destination, the best first: each such list is kept once, however many destinations
//! share it.
//!
//! A table of a million routes knows a handful of ways. So the trie holds numbers of four bytes, and what they
//! stand for stays in the processor's cache.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::HashTable;

use super::Way;
use crate::proto::hash::Keyed;

/// Names a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChoiceId(pub(super) u32);

/// The lists in use.
#[derive(Debug)]
pub(super) struct Choices {
    slots: Vec<Slot>,
    /// Slots that are free.
    free: Vec<ChoiceId>,
    /// Those in use, by what they hold.
    index: HashTable<ChoiceId>,
}

#[derive(Debug)]
struct Slot {
    /// Outside the list, so that the usual question needs one look.
    best: Way,
    rest: Box<[Way]>,
    /// How many destinations share it; 0: the slot is free.
    uses: usize,
}

/// Nobody but whoever configures the stack decides what is hashed, so the key need not be secret.
const HASHING: Keyed = Keyed::new([0; 16]);

impl Choices {
    /// No lists.
    pub(super) fn new() -> Self {
        Choices { slots: Vec::new(), free: Vec::new(), index: HashTable::new() }
    }

    /// How many lists are in use.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// The best of a list.
    #[inline]
    pub(super) fn best(&self, id: ChoiceId) -> Option<&Way> {
        self.slots.get(id.0 as usize).map(|slot| &slot.best)
    }

    /// All of a list, the best first.
    pub(super) fn ways(&self, id: ChoiceId) -> impl Iterator<Item = &Way> {
        self.slots.get(id.0 as usize).into_iter().flat_map(Slot::ways)
    }

    /// Every way of every list in use.
    pub(super) fn all(&self) -> impl Iterator<Item = &Way> {
        self.index.iter().flat_map(|id| self.ways(*id))
    }

    /// The list of these ways for one more destination; `None` for none.
    pub(super) fn take(&mut self, ways: &[Way]) -> Option<ChoiceId> {
        let (best, rest) = ways.split_first()?;
        let hash = hash_of(best, rest);
        let slots = &mut self.slots;
        let is_same = |id: &ChoiceId| {
            slots.get(id.0 as usize).is_some_and(|slot| slot.best == *best && *slot.rest == *rest)
        };
        if let Some(id) = self.index.find(hash, is_same).copied() {
            slots.get_mut(id.0 as usize)?.uses += 1;
            return Some(id);
        }
        let slot = Slot { best: *best, rest: rest.into(), uses: 1 };
        let id = match self.free.pop() {
            Some(id) => {
                *slots.get_mut(id.0 as usize)? = slot;
                id
            }
            None => {
                let id = ChoiceId(u32::try_from(slots.len()).ok()?);
                slots.push(slot);
                id
            }
        };
        let rehash =
            |id: &ChoiceId| slots.get(id.0 as usize).map_or(0, |slot| hash_of(&slot.best, &slot.rest));
        self.index.insert_unique(hash, id, rehash);
        Some(id)
    }

    /// One destination less shares the list.
    pub(super) fn release(&mut self, id: ChoiceId) {
        let Some(slot) = self.slots.get_mut(id.0 as usize) else { return };
        slot.uses = slot.uses.saturating_sub(1);
        if slot.uses > 0 {
            return;
        }
        let hash = hash_of(&slot.best, &slot.rest);
        slot.rest = Box::default();
        if let Ok(entry) = self.index.find_entry(hash, |there| *there == id) {
            entry.remove();
        }
        self.free.push(id);
        self.give_back();
    }

    /// Gives memory back when much of it is unused: when the last list goes, all of it.
    fn give_back(&mut self) {
        if self.index.is_empty() {
            *self = Choices::new();
        } else if self.index.capacity() / 8 > self.index.len().max(8) {
            let slots = &self.slots;
            let hash =
                |id: &ChoiceId| slots.get(id.0 as usize).map_or(0, |slot| hash_of(&slot.best, &slot.rest));
            self.index.shrink_to(self.index.len() * 2, hash);
        }
    }
}

impl Slot {
    fn ways(&self) -> impl Iterator<Item = &Way> {
        core::iter::once(&self.best).chain(&self.rest)
    }
}

fn hash_of(best: &Way, rest: &[Way]) -> u64 {
    HASHING.hash_one((best, rest))
}
