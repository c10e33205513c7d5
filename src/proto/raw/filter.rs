//! Which types of ICMP messages a raw socket receives (Linux: ICMP_FILTER; RFC 3542 section 3.2: ICMP6_FILTER).

/// A set of ICMP or ICMPv6 types that pass. Without it a program that waits for echo replies gets a copy of every
/// request and every neighbour's chatter, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpFilter {
    /// A bit for each type, set if it doesn't pass.
    blocked: [u64; 4],
}

impl IcmpFilter {
    /// All types pass (ICMP6_FILTER_SETPASSALL).
    pub const PASS_ALL: IcmpFilter = IcmpFilter { blocked: [0; 4] };
    /// None does (ICMP6_FILTER_SETBLOCKALL).
    pub const BLOCK_ALL: IcmpFilter = IcmpFilter { blocked: [u64::MAX; 4] };

    /// The same, and this type passes.
    pub const fn pass(mut self, kind: u8) -> Self {
        self.blocked[kind as usize / 64] &= !(1 << (kind % 64));
        self
    }

    /// The same, and this type doesn't pass.
    pub const fn block(mut self, kind: u8) -> Self {
        self.blocked[kind as usize / 64] |= 1 << (kind % 64);
        self
    }

    /// Whether a type passes.
    pub const fn passes(&self, kind: u8) -> bool {
        self.blocked[kind as usize / 64] & (1 << (kind % 64)) == 0
    }
}

impl Default for IcmpFilter {
    fn default() -> Self {
        IcmpFilter::PASS_ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_filter_agrees_with_a_set(
            start in any::<bool>(),
            steps in prop::collection::vec(any::<(u8, bool)>(), 0..50),
        ) {
            let mut filter = if start { IcmpFilter::PASS_ALL } else { IcmpFilter::BLOCK_ALL };
            let mut model: BTreeSet<u8> = (0..=255).filter(|_| start).collect();
            for (kind, pass) in steps {
                filter = if pass { filter.pass(kind) } else { filter.block(kind) };
                if pass { model.insert(kind); } else { model.remove(&kind); }
            }
            for kind in 0..=255 {
                prop_assert_eq!(filter.passes(kind), model.contains(&kind));
            }
        }
    }
}
