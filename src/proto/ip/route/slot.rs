//! What an index knows of addresses that it does not tell apart, and what a change of the table makes of it.
//!
//! An index is made of tiers: each keeps, for every string of so many bits, the longest of the prefixes whose
//! length belongs to it. No tier repeats what a shorter one says, so that a short prefix that comes or goes
//! writes but the few slots of its own tier.

use super::bits::Bits;
use super::choices::ChoiceId;
use super::trie::{Prefix, PrefixMap, cut};

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

/// A [`Slot`] in four bytes: the value's number plus one above six bits of length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packed(u32);

impl Packed {
    pub(super) const EMPTY: Packed = Packed(0);
    const DIVIDED: Packed = Packed(u32::MAX);

    fn new(slot: Slot) -> Self {
        match slot {
            Slot::Empty => Packed::EMPTY,
            Slot::Held { len, value } => Packed((value.0 + 1) << 6 | u32::from(len)),
            Slot::Divided => Packed::DIVIDED,
        }
    }

    #[inline]
    pub(super) fn get(self) -> Slot {
        match self {
            Packed::EMPTY => Slot::Empty,
            Packed::DIVIDED => Slot::Divided,
            Packed(packed) => Slot::Held { len: (packed & 63) as u8, value: ChoiceId((packed >> 6) - 1) },
        }
    }

    /// In two halves, the upper first.
    pub(super) fn halves(self) -> [u16; 2] {
        [(self.0 >> 16) as u16, self.0 as u16]
    }

    /// Of the two halves.
    #[inline]
    pub(super) fn of_halves(halves: [u16; 2]) -> Self {
        let [upper, lower] = halves;
        Packed(u32::from(upper) << 16 | u32::from(lower))
    }
}

/// Which lengths of prefixes belong to one tier. What is longer than the last tier's belongs to that too, but
/// divides its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tier {
    /// Only longer ones.
    above: Option<u8>,
    /// The longest that fill slots.
    end: u8,
}

impl Tier {
    /// The tier of a prefix, if these are the lengths at which they end, the shortest first.
    pub(super) fn of(len: u8, ends: &[u8]) -> Self {
        let mut tier = Tier { above: None, end: 0 };
        for (index, end) in ends.iter().enumerate() {
            if index == 0 || tier.end < len {
                tier = Tier { above: (index > 0).then_some(tier.end), end: *end };
            }
        }
        tier
    }

    fn holds(self, len: u8) -> bool {
        self.above.is_none_or(|above| len > above) && len <= self.end
    }
}

/// What a change of the table makes of the slots that the prefix holds, or that hold the prefix.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// They are its own, but where there is a longer one.
    Insertion { len: u8, new: Packed },
    /// Those that were its own are the next one's.
    Removal { was: Was, next: Packed },
}

/// Of which slots a removal says something.
#[derive(Clone, Copy, Debug)]
pub(super) enum Was {
    /// Those that a prefix of this length holds.
    Held(u8),
    /// Those that longer prefixes divide.
    Divided,
}

impl Change {
    /// A prefix of this length came or has a new value.
    pub(super) fn insertion(len: u8, value: ChoiceId, tier: Tier) -> Self {
        let slot = if len > tier.end { Slot::Divided } else { Slot::Held { len, value } };
        Change::Insertion { len, new: Packed::new(slot) }
    }

    /// A prefix went from the table, which tells what is next; `None` if nothing changes, since others divide the
    /// slot as well.
    pub(super) fn removal<K: Bits>(
        prefix: Prefix<K>,
        tier: Tier,
        table: &PrefixMap<K, ChoiceId>,
    ) -> Option<Self> {
        let is_divided = prefix.len > tier.end;
        let slot = Prefix { bits: cut(prefix.bits, usize::from(tier.end / 8)), len: tier.end };
        if is_divided && table.has_longer(slot) {
            return None;
        }
        let mut next = Slot::Empty;
        table.for_each_prefix_of(prefix.bits, |len, value| {
            if len < prefix.len && tier.holds(len) {
                next = Slot::Held { len, value };
            }
        });
        let was = if is_divided { Was::Divided } else { Was::Held(prefix.len) };
        Some(Change::Removal { was, next: Packed::new(next) })
    }

    /// Whether slots may be filled that were not.
    pub(super) fn is_insertion(self) -> bool {
        matches!(self, Change::Insertion { .. })
    }

    /// What it makes of a slot.
    pub(super) fn of(self, there: Packed) -> Packed {
        match self {
            Change::Insertion { len, new } => {
                let gives_way = match there.get() {
                    Slot::Empty => true,
                    Slot::Held { len: held, .. } => held <= len,
                    Slot::Divided => false,
                };
                if gives_way { new } else { there }
            }
            Change::Removal { was, next } => {
                let is_its_own = match (there.get(), was) {
                    (Slot::Held { len, .. }, Was::Held(removed)) => len == removed,
                    (Slot::Divided, Was::Divided) => true,
                    (Slot::Empty | Slot::Held { .. } | Slot::Divided, Was::Held(_) | Was::Divided) => false,
                };
                if is_its_own { next } else { there }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_survives_its_packing() {
        let last = ChoiceId(super::super::LIMIT_MAX as u32);
        for (len, value) in [(0, ChoiceId(0)), (48, ChoiceId(7)), (63, last)] {
            let packed = Packed::new(Slot::Held { len, value });
            assert!(matches!(packed.get(), Slot::Held { len: l, value: v } if (l, v) == (len, value)));
            assert_eq!(Packed::of_halves(packed.halves()), packed);
        }
        assert!(matches!(Packed::new(Slot::Divided).get(), Slot::Divided));
        assert!(matches!(Packed::new(Slot::Empty).get(), Slot::Empty));
    }

    #[test]
    fn each_length_belongs_to_one_tier_and_the_longest_to_the_last() {
        let ends = [16, 24, 32];
        let tier = |above, end| Tier { above, end };
        let expected = [
            (0, tier(None, 16)),
            (16, tier(None, 16)),
            (17, tier(Some(16), 24)),
            (24, tier(Some(16), 24)),
            (32, tier(Some(24), 32)),
            (33, tier(Some(24), 32)),
        ];
        for (len, tier) in expected {
            assert_eq!(Tier::of(len, &ends), tier, "{len}");
        }
    }
}
