//! A map from prefixes to values that finds the longest prefix of an address.
//!
//! A trie of eight bits a step. Each node keeps the prefixes that end with its octet by that octet, those that end
//! within it as a heap numbers its places (`2^len | bits`), and a child for each octet under which there are
//! longer ones; all as [`Sparse`] arrays, so that room is taken for what is there. A prefix that is alone under an
//! octet is kept in the child's place itself, however many octets it goes on for: that is what keeps the trie
//! shallow. So
//!
//! - a node other than the root exists if and only if it holds at least two prefixes, whatever the order in which
//!   they came: removing what was inserted gives back every byte;
//! - a lookup reads one node for each octet that is shared with another prefix, at most 4 or 16. The many
//!   prefixes of 16 and 24 bits, or 32 and 48, take four bytes each beside the node.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::bits::Bits;
use super::sparse::{Places, Sparse};

/// Prefixes of one family, each with a value.
#[derive(Debug)]
pub(super) struct PrefixMap<K, V> {
    root: Node<K, V>,
    len: usize,
}

/// The first `len` bits of an address; the others are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix<K> {
    pub(super) bits: K,
    pub(super) len: u8,
}

impl<K: Bits, V: Copy> PrefixMap<K, V> {
    /// An empty map.
    pub(super) fn new() -> Self {
        PrefixMap { root: Node::new(), len: 0 }
    }

    /// How many prefixes there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Gives a prefix a value, and gives back the one it had.
    pub(super) fn insert(&mut self, prefix: Prefix<K>, value: V) -> Option<V> {
        let replaced = self.root.insert(0, prefix, value);
        self.len += usize::from(replaced.is_none());
        replaced
    }

    /// Forgets a prefix, and gives back its value.
    pub(super) fn remove(&mut self, prefix: Prefix<K>) -> Option<V> {
        let removed = self.root.remove(0, prefix);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The value of exactly this prefix.
    pub(super) fn get(&self, prefix: Prefix<K>) -> Option<V> {
        let (mut node, mut depth) = (&self.root, 0);
        loop {
            match place_in(depth, prefix) {
                Place::Within(place) => return node.within.get(place).copied(),
                Place::Whole(octet) => return node.whole.get(octet).copied(),
                Place::Below(octet) => match node.children.get(octet)? {
                    Child::Node(below) => node = below,
                    Child::Leaf(leaf) => return (leaf.prefix() == prefix).then_some(leaf.value),
                },
            }
            depth += 1;
        }
    }

    /// The value of the longest prefix of `address`.
    #[inline]
    pub(super) fn lookup(&self, address: K) -> Option<V> {
        self.root.lookup(0, address)
    }

    /// Length and value of all prefixes of `address`, the shortest first.
    pub(super) fn for_each_prefix_of(&self, address: K, mut visit: impl FnMut(u8, V)) {
        let (mut node, mut depth) = (&self.root, 0);
        loop {
            let octet = address.octet(depth);
            for len in 0..=8 {
                let value = if len < 8 { node.within.get(place(octet, len)) } else { node.whole.get(octet) };
                if let Some(value) = value {
                    visit((depth * 8) as u8 + len, *value);
                }
            }
            match node.children.get(octet) {
                Some(Child::Node(below)) => node = below,
                Some(Child::Leaf(leaf)) => {
                    if leaf.bits.common(address) >= leaf.len {
                        visit(leaf.len, leaf.value);
                    }
                    return;
                }
                None => return,
            }
            depth += 1;
        }
    }

    /// Whether there are longer prefixes that begin with this one, whose length is a multiple of eight but not 0.
    pub(super) fn has_longer(&self, prefix: Prefix<K>) -> bool {
        let (mut node, mut depth) = (&self.root, 0);
        loop {
            let is_last = usize::from(prefix.len) <= (depth + 1) * 8;
            match node.children.get(prefix.bits.octet(depth)) {
                Some(Child::Node(_)) if is_last => return true,
                Some(Child::Node(below)) => node = below,
                Some(Child::Leaf(leaf)) => {
                    return leaf.len > prefix.len && leaf.bits.common(prefix.bits) >= prefix.len;
                }
                None => return false,
            }
            depth += 1;
        }
    }

    /// All prefixes with their values, in the order of their addresses; of those that begin alike the shortest
    /// first.
    pub(super) fn iter(&self) -> Iter<'_, K, V> {
        Iter { path: Vec::from([Step { node: &self.root, bits: K::ZERO, octet: 0, len: 0 }]) }
    }

    /// How many nodes there are, the root not counted, and how many bytes they take (what the allocator adds to
    /// each is its own).
    pub(super) fn footprint(&self) -> Footprint {
        let mut sum = Footprint::default();
        let mut pending = Vec::from([&self.root]);
        while let Some(node) = pending.pop() {
            sum.bytes += node.children.len() * size_of::<Child<K, V>>();
            sum.bytes += (node.whole.len() + node.within.len()) * size_of::<V>();
            for child in node.children.items() {
                if let Child::Node(below) = child {
                    sum.nodes += 1;
                    sum.bytes += size_of::<Node<K, V>>();
                    pending.push(below);
                }
            }
        }
        sum
    }
}

/// How much room a table takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Nodes of the tries, the roots not counted.
    pub nodes: usize,
    /// Bytes on the heap, without what the allocator adds.
    pub bytes: usize,
}

#[derive(Debug)]
struct Node<K, V> {
    /// What lies below each octet.
    children: Sparse<Child<K, V>>,
    /// Values of prefixes that end with this octet.
    whole: Sparse<V>,
    /// Values of prefixes that end before this octet does, by [`place`].
    within: Sparse<V>,
}

#[derive(Debug)]
enum Child<K, V> {
    /// Two prefixes or more.
    Node(Box<Node<K, V>>),
    /// One prefix.
    Leaf(Leaf<K, V>),
}

#[derive(Clone, Copy, Debug)]
struct Leaf<K, V> {
    bits: K,
    value: V,
    len: u8,
}

impl<K: Bits, V: Copy> Leaf<K, V> {
    fn prefix(&self) -> Prefix<K> {
        Prefix { bits: self.bits, len: self.len }
    }
}

impl<K: Bits, V: Copy> Node<K, V> {
    fn new() -> Self {
        Node { children: Sparse::default(), whole: Sparse::default(), within: Sparse::default() }
    }

    fn insert(&mut self, mut depth: usize, prefix: Prefix<K>, value: V) -> Option<V> {
        let mut node = self;
        loop {
            let octet = match place_in(depth, prefix) {
                Place::Within(place) => return node.within.insert(place, value),
                Place::Whole(octet) => return node.whole.insert(octet, value),
                Place::Below(octet) => octet,
            };
            let leaf = Leaf { bits: prefix.bits, len: prefix.len, value };
            if node.children.get(octet).is_none() {
                node.children.insert(octet, Child::Leaf(leaf));
                return None;
            }
            depth += 1;
            node = match node.children.get_mut(octet)? {
                Child::Leaf(there) if there.prefix() == prefix => {
                    return Some(core::mem::replace(&mut there.value, value));
                }
                child => child.as_node(depth),
            };
        }
    }

    /// The longest is sought first: what is shorter need not be read if there is an answer. Calls itself as deep
    /// as there are octets.
    #[inline]
    fn lookup(&self, depth: usize, address: K) -> Option<V> {
        let octet = address.octet(depth);
        let below = match self.children.get(octet) {
            Some(Child::Node(below)) => below.lookup(depth + 1, address),
            Some(Child::Leaf(leaf)) => (leaf.bits.common(address) >= leaf.len).then_some(leaf.value),
            None => None,
        };
        let here = || self.whole.get(octet).copied();
        let within = || self.within.get(self.within.highest_of(places_of(octet))?).copied();
        //= RFC1122 3.2.1.3 subnets
        //= RFC1812 4.2.3.4 prefixes, 5.2.4.3 longest match
        //= RFC8504 14.4 prefixes
        below.or_else(here).or_else(within)
    }

    /// Calls itself as deep as there are octets.
    fn remove(&mut self, depth: usize, prefix: Prefix<K>) -> Option<V> {
        let octet = match place_in(depth, prefix) {
            Place::Within(place) => return self.within.remove(place),
            Place::Whole(octet) => return self.whole.remove(octet),
            Place::Below(octet) => octet,
        };
        let child = self.children.get_mut(octet)?;
        match child {
            Child::Leaf(leaf) if leaf.prefix() == prefix => {
                let value = leaf.value;
                self.children.remove(octet);
                Some(value)
            }
            Child::Leaf(_) => None,
            Child::Node(below) => {
                let removed = below.remove(depth + 1, prefix)?;
                let path = cut(prefix.bits, depth + 1);
                if let Some(leaf) = below.last_one(depth + 1, path) {
                    *child = Child::Leaf(leaf);
                }
                Some(removed)
            }
        }
    }

    /// The prefix that is left, if there is but one.
    fn last_one(&self, depth: usize, path: K) -> Option<Leaf<K, V>> {
        if self.children.len() + self.whole.len() + self.within.len() != 1 {
            return None;
        }
        if let Some((_, child)) = self.children.only() {
            return match child {
                Child::Leaf(leaf) => Some(*leaf),
                Child::Node(_) => None,
            };
        }
        let (prefix, value) = match self.whole.only() {
            Some((octet, value)) => (prefix_with(depth, path, octet), value),
            None => {
                let (place, value) = self.within.only()?;
                (prefix_at(depth, path, place), value)
            }
        };
        Some(Leaf { bits: prefix.bits, len: prefix.len, value: *value })
    }
}

impl<K: Bits, V: Copy> Child<K, V> {
    /// The node; made of the leaf, if it was one, which then goes on from `depth`.
    fn as_node(&mut self, depth: usize) -> &mut Node<K, V> {
        if let Child::Leaf(leaf) = *self {
            let mut node = Box::new(Node::new());
            node.insert(depth, leaf.prefix(), leaf.value);
            *self = Child::Node(node);
        }
        match self {
            Child::Node(node) => node,
            Child::Leaf(_) => unreachable!("it has been made a node"),
        }
    }
}

/// Where a node keeps the prefix of `len` bits (0 to 7) of an octet.
fn place(octet: u8, len: u8) -> u8 {
    1 << len | (u16::from(octet) >> (8 - len)) as u8
}

/// Where a node keeps a prefix.
enum Place {
    /// Among those that end before its octet does.
    Within(u8),
    /// Among those that end with it.
    Whole(u8),
    /// In the child for this octet.
    Below(u8),
}

/// Where the node at `depth` keeps a prefix.
fn place_in<K: Bits>(depth: usize, prefix: Prefix<K>) -> Place {
    let octet = prefix.bits.octet(depth);
    match usize::from(prefix.len).saturating_sub(depth * 8) {
        len @ 0..8 => Place::Within(place(octet, len as u8)),
        8 => Place::Whole(octet),
        _ => Place::Below(octet),
    }
}

/// The prefix that the node at `depth`, to which `path` leads, keeps in a place of its heap.
fn prefix_at<K: Bits>(depth: usize, path: K, place: u8) -> Prefix<K> {
    let len = 7 - place.leading_zeros() as u8;
    let octet = u16::from(place) << (8 - len);
    Prefix { bits: path.with_octet(depth, octet as u8), len: (depth * 8) as u8 + len }
}

/// The prefix that it keeps for an octet.
fn prefix_with<K: Bits>(depth: usize, path: K, octet: u8) -> Prefix<K> {
    Prefix { bits: path.with_octet(depth, octet), len: (depth * 8) as u8 + 8 }
}

/// The first octets.
pub(super) fn cut<K: Bits>(bits: K, octets: usize) -> K {
    (0..octets).fold(K::ZERO, |sum, place| sum.with_octet(place, bits.octet(place)))
}

/// Where a node keeps the prefixes of an octet.
#[inline]
fn places_of(octet: u8) -> Places {
    let lower = LOWER[usize::from(octet >> 3)];
    Places { upper: 1 << 7 | octet >> 1, middle: 1 << 6 | octet >> 2, lower }
}

/// For the first five bits of an octet: the places of its prefixes of 0 to 5 bits, a bit each.
const LOWER: [u64; 32] = {
    let mut table = [0; 32];
    let mut first = 0;
    while first < 32 {
        let mut place = 1 << 5 | first;
        while place > 0 {
            table[first] |= 1 << place;
            place >>= 1;
        }
        first += 1;
    }
    table
};

/// See [`PrefixMap::iter`].
pub(super) struct Iter<'a, K, V> {
    /// From the root to the node that is being read.
    path: Vec<Step<'a, K, V>>,
}

/// A node that is being read, and what is to be read of it next.
struct Step<'a, K, V> {
    node: &'a Node<K, V>,
    /// The octets that lead to it.
    bits: K,
    /// 256: all has been read.
    octet: u16,
    /// 0 to 8: the prefix of that length which begins at the octet; 9: what lies below it.
    len: u8,
}

impl<'a, K: Bits, V: Copy> Iterator for Iter<'a, K, V> {
    type Item = (Prefix<K>, V);

    fn next(&mut self) -> Option<(Prefix<K>, V)> {
        loop {
            let depth = self.path.len().checked_sub(1)?;
            let step = self.path.last_mut()?;
            let Ok(octet) = u8::try_from(step.octet) else {
                self.path.pop();
                continue;
            };
            let (node, bits, len) = (step.node, step.bits, step.len);
            step.go_on();
            if len <= 8 {
                let kept = if len == 8 {
                    node.whole.get(octet).map(|value| (prefix_with(depth, bits, octet), *value))
                } else {
                    let place = place(octet, len);
                    node.within.get(place).map(|value| (prefix_at(depth, bits, place), *value))
                };
                if kept.is_some() {
                    return kept;
                }
                continue;
            }
            match node.children.get(octet) {
                Some(Child::Leaf(leaf)) => return Some((leaf.prefix(), leaf.value)),
                Some(Child::Node(node)) => {
                    let bits = bits.with_octet(depth, octet);
                    self.path.push(Step { node, bits, octet: 0, len: 0 });
                }
                None => {}
            }
        }
    }
}

impl<K, V> Step<'_, K, V> {
    fn go_on(&mut self) {
        if self.len <= 8 {
            self.len += 1;
        } else {
            self.octet += 1;
            // A prefix begins at an octet whose other bits are zero.
            self.len = 8 - self.octet.trailing_zeros().min(8) as u8;
        }
    }
}
