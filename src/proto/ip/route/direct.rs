//! A second index of a large IPv4 table: the answer for each /24, two reads away.
//!
//! A trie of a million prefixes is larger than any cache near the processor, and a look-up waits for memory at
//! each of its nodes. Here the first 16 bits of an address pick a chunk, the next 8 a slot of it, and that is the
//! answer. The trie stays the truth: what is removed here is replaced by what it says is next, and addresses
//! whose /24 is divided further are looked up there.
//!
//! Each slot knows how long the prefix is that fills it, so that a longer one stays when a shorter one comes. No
//! slot of a chunk is filled by a prefix of 16 bits or less (an empty slot sends the look-up to the answer for
//! the first 16 bits): so a change writes 65,536 slots at most, and that only for a default route.

use alloc::boxed::Box;
use alloc::vec;

use super::choices::ChoiceId;
use super::trie::{Prefix, PrefixMap};

/// Answers for each /16 and, where prefixes are longer, for each /24.
#[derive(Debug)]
pub(super) struct Direct {
    /// By the first 16 bits: the longest prefix of 16 bits at most.
    first: Box<[Packed]>,
    /// By the first 16 bits: the longest prefixes of 17 to 24 bits.
    chunks: Box<[Option<Box<[Packed; 256]>>]>,
}

/// What is known of the addresses that share a slot.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot {
    /// No prefix of a length that belongs here.
    Empty,
    /// The prefix that holds them all.
    Held {
        /// Its length.
        len: u8,
        /// Its value.
        value: ChoiceId,
    },
    /// They have not all the same answer.
    Divided,
}

impl Direct {
    /// The index of a table.
    pub(super) fn of(table: &PrefixMap<u32, ChoiceId>) -> Self {
        let first = vec![Packed::EMPTY; 1 << 16].into_boxed_slice();
        let mut direct = Direct { first, chunks: (0..1 << 16).map(|_| None).collect() };
        for (prefix, value) in table.iter() {
            direct.insert(prefix, value);
        }
        direct
    }

    /// What is known of the address: [`Slot::Divided`] if the table has to be asked.
    #[inline]
    pub(super) fn lookup(&self, address: u32) -> Slot {
        let high = (address >> 16) as usize;
        if let Some(Some(chunk)) = self.chunks.get(high) {
            let slot = chunk[usize::from((address >> 8) as u8)];
            if slot != Packed::EMPTY {
                return slot.get();
            }
        }
        self.first.get(high).map_or(Slot::Empty, |slot| slot.get())
    }

    /// Follows an insertion into the table.
    pub(super) fn insert(&mut self, prefix: Prefix<u32>, value: ChoiceId) {
        let len = prefix.len;
        let slot = if len > 24 { Slot::Divided } else { Slot::Held { len, value } };
        for there in self.slots(prefix) {
            let gives_way = match there.get() {
                Slot::Empty => true,
                Slot::Held { len: held, .. } => held <= len,
                Slot::Divided => false,
            };
            if gives_way {
                *there = Packed::new(slot);
            }
        }
    }

    /// Follows a removal from the table, which tells what is next.
    pub(super) fn remove(&mut self, prefix: Prefix<u32>, table: &PrefixMap<u32, ChoiceId>) {
        let is_of_chunk = prefix.len > 16;
        let is_divided = prefix.len > 24;
        if is_divided && table.has_longer(Prefix { bits: prefix.bits & 0xffff_ff00, len: 24 }) {
            return;
        }
        let mut next = Slot::Empty;
        table.for_each_prefix_of(prefix.bits, |len, value| {
            if len < prefix.len && len <= 24 && (len > 16) == is_of_chunk {
                next = Slot::Held { len, value };
            }
        });
        for there in self.slots(prefix) {
            let was_its_own = match there.get() {
                Slot::Empty => false,
                Slot::Held { len, .. } => len == prefix.len,
                Slot::Divided => is_divided,
            };
            if was_its_own {
                *there = Packed::new(next);
            }
        }
        if is_of_chunk {
            self.drop_if_empty((prefix.bits >> 16) as usize);
        }
    }

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

    /// How many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let chunks = self.chunks.iter().flatten().count();
        size_of_val(&*self.first) + size_of_val(&*self.chunks) + chunks * size_of::<[Packed; 256]>()
    }
}

/// A [`Slot`] in four bytes: the value's number plus one above five bits of length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packed(u32);

impl Packed {
    const EMPTY: Packed = Packed(0);
    const DIVIDED: Packed = Packed(u32::MAX);

    fn new(slot: Slot) -> Self {
        match slot {
            Slot::Empty => Packed::EMPTY,
            Slot::Held { len, value } => Packed((value.0 + 1) << 5 | u32::from(len)),
            Slot::Divided => Packed::DIVIDED,
        }
    }

    #[inline]
    fn get(self) -> Slot {
        match self {
            Packed::EMPTY => Slot::Empty,
            Packed::DIVIDED => Slot::Divided,
            Packed(packed) => Slot::Held { len: (packed & 31) as u8, value: ChoiceId((packed >> 5) - 1) },
        }
    }
}
