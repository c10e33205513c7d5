//! The index of IPv6: what is known of each block of 32 bits, as registries give them to those who hold networks.
//!
//! Three questions, none of which waits for the answer of another: a hash table tells what is known of the block, of
//! prefixes of 25 to 32 bits and of those of 33 to 48; a [`Direct`] for the first 24 bits, which is small, as
//! few of them are in use, the shorter ones. Addresses whose /48 is divided further are looked up in the trie.
//!
//! One change writes at most 65,536 answers for a prefix of up to 16 bits, 256 for one of up to 24, 128 blocks for
//! one of up to 32, and for a longer one it copies one block, 65,536 runs at the very most.

use core::hint::select_unpredictable;

use super::bits::Wide;
use super::cells::Cells;
use super::direct::Direct;
use super::family::Index;
use super::slot::{Change, Packed, Slot};
use super::trie::Prefix;

/// Answers for each /48.
#[derive(Debug)]
pub(super) struct Blocks {
    /// By the first 24 bits: prefixes of 24 bits at most.
    short: Direct,
    /// By the first 32 bits: those that are longer.
    cells: Cells,
}

impl Index<Wide> for Blocks {
    const TIERS: &'static [u8] = &[16, 24, 32, 48];

    fn new() -> Self {
        Blocks { short: Direct::new(), cells: Cells::default() }
    }

    #[inline]
    fn lookup(&self, address: Wide) -> Slot {
        if let Some(cell) = self.cells.get(address.block()) {
            let inside = cell.inside.get(address.in_block());
            let found = select_unpredictable(inside == Packed::EMPTY, cell.whole, inside);
            if found != Packed::EMPTY {
                return found.get();
            }
        }
        self.short.lookup(address.block())
    }

    fn change(&mut self, prefix: Prefix<Wide>, change: Change) {
        let (block, in_block) = (prefix.bits.block(), prefix.bits.in_block());
        match prefix.len {
            len @ 0..=24 => self.short.change(Prefix { bits: block, len }, change),
            len @ 25..=32 => {
                for block in block..=block | u32::MAX.unbounded_shr(len.into()) {
                    self.cells.change(block, |cell| cell.whole = change.of(cell.whole));
                }
            }
            len => {
                let last = in_block | u16::MAX.unbounded_shr(u32::from(len) - 32);
                self.cells.change(block, |cell| cell.inside.change(in_block, last, change));
            }
        }
    }

    fn bytes(&self) -> usize {
        self.short.bytes() + self.cells.bytes()
    }
}

#[cfg(test)]
impl Blocks {
    /// For how many blocks there is room.
    pub(super) fn room(&self) -> usize {
        self.cells.room()
    }
}
