//! Answers for each string of 24 bits, two reads away.
//!
//! The first 16 bits pick a chunk, the next 8 a slot of it, and that is the answer. Each slot knows how long the
//! prefix is that fills it, so that a longer one stays when a shorter one comes. No slot of a chunk is filled by a
//! prefix of 16 bits or less (an empty slot sends the look-up to the answer for the first 16 bits): so a change
//! writes 65,536 slots at most, and that only for a default route.
//!
//! By itself it is the index of IPv4: addresses whose /24 is divided further are looked up in the trie.

use alloc::boxed::Box;
use alloc::vec;

use super::family::Index;
use super::slot::{Change, Packed, Slot};
use super::trie::Prefix;

/// Answers for each /16 and, where prefixes are longer, for each /24.
#[derive(Debug)]
pub(super) struct Direct {
    /// By the first 16 bits: the longest prefix of 16 bits at most.
    first: Box<[Packed]>,
    /// By the first 16 bits: the longest prefixes of 17 to 24 bits.
    chunks: Box<[Option<Box<[Packed; 256]>>]>,
}

impl Index<u32> for Direct {
    const TIERS: &'static [u8] = &[16, 24];

    fn new() -> Self {
        let first = vec![Packed::EMPTY; 1 << 16].into_boxed_slice();
        Direct { first, chunks: (0..1 << 16).map(|_| None).collect() }
    }

    #[inline]
    fn lookup(&self, address: u32) -> Slot {
        let high = (address >> 16) as usize;
        if let Some(Some(chunk)) = self.chunks.get(high) {
            let slot = chunk[usize::from((address >> 8) as u8)];
            if slot != Packed::EMPTY {
                return slot.get();
            }
        }
        self.first.get(high).map_or(Slot::Empty, |slot| slot.get())
    }

    fn change(&mut self, prefix: Prefix<u32>, change: Change) {
        for there in self.slots(prefix) {
            *there = change.of(*there);
        }
        if !change.is_insertion() && prefix.len > 16 {
            self.drop_if_empty((prefix.bits >> 16) as usize);
        }
    }

    fn bytes(&self) -> usize {
        let chunks = self.chunks.iter().flatten().count();
        size_of_val(&*self.first) + size_of_val(&*self.chunks) + chunks * size_of::<[Packed; 256]>()
    }
}

impl Direct {
    /// The slots whose addresses a prefix holds, or which hold the prefix.
    fn slots(&mut self, prefix: Prefix<u32>) -> &mut [Packed] {
        let high = (prefix.bits >> 16) as usize;
        if prefix.len <= 16 {
            let count = 1 << (16 - prefix.len);
            return self.first.get_mut(high..high + count).unwrap_or_default();
        }
        let Some(chunk) = self.chunks.get_mut(high) else { return &mut [] };
        let chunk = chunk.get_or_insert_with(|| Box::new([Packed::EMPTY; 256]));
        let first = usize::from((prefix.bits >> 8) as u8);
        let count = 1 << (24_u8.saturating_sub(prefix.len));
        chunk.get_mut(first..first + count).unwrap_or_default()
    }

    fn drop_if_empty(&mut self, high: usize) {
        if let Some(chunk) = self.chunks.get_mut(high)
            && chunk.iter().flat_map(|chunk| chunk.iter()).all(|slot| *slot == Packed::EMPTY)
        {
            *chunk = None;
        }
    }
}
