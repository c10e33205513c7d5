//! The destinations of one family: the trie that knows them all, and while there are many an index beside it.
//!
//! A trie of a hundred thousand prefixes is larger than any cache near the processor, and a look-up waits for
//! memory at each of its nodes. An index has the answer for nearly every address one or two reads away. The trie
//! stays the truth: what is removed from the index is replaced by what the trie says is next, and addresses that
//! the index does not tell apart are looked up there.

use super::bits::Bits;
use super::choices::ChoiceId;
use super::slot::{Change, Slot, Tier};
use super::trie::{Footprint, Prefix, PrefixMap};

/// With so many prefixes their trie takes half a megabyte, as much as an index at the least.
#[cfg(not(test))]
const INDEX_FROM: usize = 1 << 14;
/// Few, so that tests cross the border both ways.
#[cfg(test)]
const INDEX_FROM: usize = 8;

/// Answers for what the first bits of an address are.
pub(super) trait Index<K> {
    /// The lengths of prefixes at which its tiers end (see [`Tier::of`]), multiples of eight.
    const TIERS: &'static [u8];

    /// The index of an empty table.
    fn new() -> Self;

    /// What is known of the address: [`Slot::Divided`] if the table has to be asked.
    fn lookup(&self, address: K) -> Slot;

    /// Follows a change of the table that concerns a prefix.
    fn change(&mut self, prefix: Prefix<K>, change: Change);

    /// How many bytes it takes.
    fn bytes(&self) -> usize;
}

/// The prefixes of one family and what leads there.
#[derive(Debug)]
pub(super) struct Family<K, I> {
    trie: PrefixMap<K, ChoiceId>,
    /// There while the prefixes are many.
    index: Option<I>,
}

impl<K: Bits, I: Index<K>> Family<K, I> {
    /// No prefixes.
    pub(super) fn new() -> Self {
        Family { trie: PrefixMap::new(), index: None }
    }

    /// The prefixes themselves.
    pub(super) fn trie(&self) -> &PrefixMap<K, ChoiceId> {
        &self.trie
    }

    /// What the longest prefix of `address` leads to.
    #[inline]
    pub(super) fn lookup(&self, address: K) -> Option<ChoiceId> {
        match self.index.as_ref().map(|index| index.lookup(address)) {
            Some(Slot::Held { value, .. }) => Some(value),
            Some(Slot::Empty) => None,
            Some(Slot::Divided) | None => self.trie.lookup(address),
        }
    }

    /// Lets a prefix lead somewhere.
    pub(super) fn insert(&mut self, prefix: Prefix<K>, choice: ChoiceId) {
        self.trie.insert(prefix, choice);
        match &mut self.index {
            Some(index) => insert_into(index, prefix, choice),
            None if self.trie.len() >= INDEX_FROM => {
                let mut index = I::new();
                self.trie.iter().for_each(|(prefix, choice)| insert_into(&mut index, prefix, choice));
                self.index = Some(index);
            }
            None => {}
        }
    }

    /// Forgets a prefix.
    pub(super) fn remove(&mut self, prefix: Prefix<K>) {
        if self.trie.remove(prefix).is_none() {
            return;
        }
        // Well below the number that brings it, or a change there and back would cost much each time.
        self.index.take_if(|_| self.trie.len() < INDEX_FROM / 2);
        if let Some(index) = &mut self.index
            && let Some(change) = Change::removal(prefix, Tier::of(prefix.len, I::TIERS), &self.trie)
        {
            index.change(prefix, change);
        }
    }

    /// How much room it takes.
    pub(super) fn footprint(&self) -> Footprint {
        let Footprint { nodes, bytes } = self.trie.footprint();
        Footprint { nodes, bytes: bytes + self.index.as_ref().map_or(0, I::bytes) }
    }

    /// The index, if there is one.
    #[cfg(test)]
    pub(super) fn index(&self) -> Option<&I> {
        self.index.as_ref()
    }
}

fn insert_into<K, I: Index<K>>(index: &mut I, prefix: Prefix<K>, choice: ChoiceId) {
    let change = Change::insertion(prefix.len, choice, Tier::of(prefix.len, I::TIERS));
    index.change(prefix, change);
}
