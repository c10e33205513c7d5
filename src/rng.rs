//! Randomness for the core: one seeded, deterministic source, so that a run is a seed plus a commit.
//!
//! The generator is ChaCha8, so outputs seen on the wire (ports, identifiers, jitter) do not reveal later
//! ones as long as the seed is secret. The run loop seeds it from the kernel, a simulation from a number.

use core::ops::RangeInclusive;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// A seeded source of randomness.
///
/// ```
/// use tunstack::rng::Rng;
///
/// let (mut a, mut b) = (Rng::from_seed([7; 32]), Rng::from_seed([7; 32]));
/// assert_eq!(a.next_u64(), b.next_u64());
/// ```
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// A source whose whole output is determined by `seed`.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Rng(ChaCha8Rng::from_seed(seed))
    }

    /// A source for tests and simulations, seeded from a number that fits on a command line.
    pub fn from_number(seed: u64) -> Self {
        Rng(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from `range`, both ends included, with a bias below 2^-32 for ranges below 2^32.
    pub fn within(&mut self, range: RangeInclusive<u32>) -> u32 {
        let (low, high) = (*range.start(), *range.end());
        let width = u64::from(high.saturating_sub(low)) + 1;
        // The high half of a 64-bit product maps uniformly without a division (Lemire's reduction).
        let scaled = (u128::from(self.next_u64()) * u128::from(width)) >> 64;
        low + u32::try_from(scaled).unwrap_or(0)
    }

    /// True with a probability of `parts` in a million.
    pub fn chance_ppm(&mut self, parts: u32) -> bool {
        parts != 0 && self.within(0..=999_999) < parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_keeps_to_its_range_and_reaches_both_ends() {
        let mut rng = Rng::from_number(1);
        let mut seen = [false; 3];
        for _ in 0..200 {
            seen[rng.within(5..=7) as usize - 5] = true;
        }
        assert_eq!(seen, [true; 3]);
        assert_eq!(rng.within(9..=9), 9);
    }
}
