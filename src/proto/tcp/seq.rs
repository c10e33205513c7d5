//! Positions: sequence numbers unwrapped to 64 bits at the border (RFC 9293 section 3.4).
//!
//! A position's low 32 bits are the number on the wire and the SYN stands at 2^32 + ISN, so nothing before
//! it underflows and order is plain `<`. Unwrapping takes the position nearest to a reference: `rcv.nxt` for
//! SEG.SEQ, `snd.una` for SEG.ACK. [`SndPos`] and [`RcvPos`] are distinct types, so that the two sequence
//! spaces can't be mixed.

use core::fmt;
use core::marker::PhantomData;

use crate::proto::wire::seq_nr::SeqNr;

/// A position in a sequence space. Generic, not made by a macro, so that mutation testing sees its arithmetic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position<Space>(u64, PhantomData<Space>);

/// The space of what we send.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Ours {}

/// The space of what we receive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Theirs {}

/// A position in the stream we send.
pub(crate) type SndPos = Position<Ours>;

/// A position in the stream we receive.
pub(crate) type RcvPos = Position<Theirs>;

impl<Space: Copy> Position<Space> {
    /// The position of a SYN that carries `isn`.
    pub(crate) fn of_syn(isn: SeqNr) -> Self {
        Self::at((1 << 32) + u64::from(isn.0))
    }

    /// The position nearest to `self` whose wire number is `nr`.
    pub(crate) fn unwrap(self, nr: SeqNr) -> Self {
        let distance = nr.minus(self.wire());
        // Positions begin at 2^32, and it is 2^31 at most.
        Self::at(self.0.wrapping_add_signed(i64::from(distance)))
    }

    /// The number on the wire.
    pub(crate) fn wire(self) -> SeqNr {
        SeqNr(self.0 as u32)
    }

    /// The bare position, for rings and ranges.
    pub(crate) fn get(self) -> u64 {
        self.0
    }

    /// From a bare position out of a ring or range.
    pub(crate) fn at(position: u64) -> Self {
        Position(position, PhantomData)
    }

    /// `count` further on.
    pub(crate) fn plus(self, count: u64) -> Self {
        Self::at(self.0 + count)
    }

    /// Distance from `earlier`; zero if that is in fact later.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl<Space> fmt::Debug for Position<Space> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_just_before_the_syn_unwraps_below_it() {
        let syn = SndPos::of_syn(SeqNr(0));
        assert!(syn.unwrap(SeqNr(u32::MAX)) < syn);
        assert_eq!(syn.unwrap(SeqNr(u32::MAX)).wire(), SeqNr(u32::MAX));
    }

    proptest! {
        #[test]
        fn unwrapping_inverts_wrapping_within_two_gibibytes(isn: u32, ahead in 0u64..1 << 40, near in -0x8000_0000i64..0x7fff_ffff) {
            let reference = RcvPos::of_syn(SeqNr(isn)).plus(ahead);
            let target = RcvPos::at(reference.get().saturating_add_signed(near));
            prop_assert_eq!(reference.unwrap(target.wire()), target);
        }
    }
}
