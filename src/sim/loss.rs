//! Which packets are lost.

use crate::rng::Rng;

/// A probability, in parts of a million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ppm(pub u32);

impl Ppm {
    /// What happens never.
    pub const NEVER: Ppm = Ppm(0);
    /// What happens always.
    pub const ALWAYS: Ppm = Ppm(1_000_000);

    /// So many of a hundred.
    pub const fn percent(percent: u32) -> Self {
        Ppm(percent.saturating_mul(10_000))
    }

    /// Whether it happens this time.
    pub(super) fn happens(self, rng: &mut Rng) -> bool {
        rng.chance_ppm(self.0)
    }
}

/// How packets are lost.
///
/// ```
/// use tunstack::sim::{GilbertElliott, Loss, Ppm};
///
/// let one_in_a_hundred = Loss::Random(Ppm::percent(1));
/// // Bursts of five packets on average, one burst in a thousand packets.
/// let bursts = Loss::Bursts(GilbertElliott::bursts(Ppm(1_000), 5));
/// # let _ = (one_in_a_hundred, bursts);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loss {
    /// Not at all.
    #[default]
    None,
    /// Each by itself.
    Random(Ppm),
    /// In bursts.
    Bursts(GilbertElliott),
    /// Every so manieth packet, from the first: 10 loses the tenth, the twentieth ... 0 loses none.
    Every(u64),
    /// The packet of this number alone, counted from 1.
    Only(u64),
}

/// A path that is in one of two states, good and bad, and changes between them by chance at every packet (E. N. Gilbert,
/// "Capacity of a burst-noise channel", 1960; E. O. Elliott, "Estimates of error rates for codes on burst-noise channels",
/// 1963).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GilbertElliott {
    /// From good to bad.
    pub to_bad: Ppm,
    /// From bad to good.
    pub to_good: Ppm,
    /// Losses while it is good.
    pub loss_good: Ppm,
    /// Losses while it is bad.
    pub loss_bad: Ppm,
}

impl GilbertElliott {
    /// Bursts that begin with probability `begin` at a packet, and lose `length` packets on average (1 at least).
    pub const fn bursts(begin: Ppm, length: u32) -> Self {
        let length = if length == 0 { 1 } else { length };
        GilbertElliott {
            to_bad: begin,
            to_good: Ppm(1_000_000 / length),
            loss_good: Ppm::NEVER,
            loss_bad: Ppm::ALWAYS,
        }
    }
}

/// A way of losing packets, with what it remembers from one to the next.
#[derive(Clone, Debug, Default)]
pub struct LossModel {
    loss: Loss,
    is_bad: bool,
    seen: u64,
}

impl LossModel {
    /// Begins in the good state.
    pub fn new(loss: Loss) -> Self {
        LossModel { loss, is_bad: false, seen: 0 }
    }

    /// Whether the next packet is lost.
    pub fn loses(&mut self, rng: &mut Rng) -> bool {
        self.seen += 1;
        match self.loss {
            Loss::None => false,
            Loss::Random(chance) => chance.happens(rng),
            Loss::Only(number) => self.seen == number,
            Loss::Every(count) => count != 0 && self.seen.is_multiple_of(count),
            Loss::Bursts(bursts) => {
                let change = if self.is_bad { bursts.to_good } else { bursts.to_bad };
                self.is_bad ^= change.happens(rng);
                let chance = if self.is_bad { bursts.loss_bad } else { bursts.loss_good };
                chance.happens(rng)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn pattern(loss: Loss, packets: usize) -> Vec<bool> {
        let (mut model, mut rng) = (LossModel::new(loss), Rng::from_number(1));
        (0..packets).map(|_| model.loses(&mut rng)).collect()
    }

    fn lost(pattern: &[bool]) -> usize {
        pattern.iter().filter(|lost| **lost).count()
    }

    #[test]
    fn random_losses_come_as_often_as_said() {
        // 1 % of 100,000: 1,000, with a standard deviation of 31.
        let count = lost(&pattern(Loss::Random(Ppm::percent(1)), 100_000));
        assert!((850..1150).contains(&count), "{count}");
        assert_eq!(lost(&pattern(Loss::Random(Ppm::ALWAYS), 100)), 100);
        assert_eq!(lost(&pattern(Loss::None, 1000)), 0);
    }

    #[test]
    fn every_nth_packet_is_lost() {
        let pattern = pattern(Loss::Every(3), 9);
        assert_eq!(pattern, [false, false, true, false, false, true, false, false, true]);
        assert_eq!(lost(&self::pattern(Loss::Every(0), 100)), 0);
    }

    #[test]
    fn bursts_begin_as_often_and_last_as_long_as_said() {
        let pattern = pattern(Loss::Bursts(GilbertElliott::bursts(Ppm(1_000), 5)), 1_000_000);
        let begun = pattern.windows(2).filter(|pair| *pair == [false, true]).count();
        let average = lost(&pattern) as f64 / begun as f64;
        // A thousand bursts, less those that would have begun within another.
        assert!((850..1150).contains(&begun), "{begun} bursts");
        assert!((4.5..5.5).contains(&average), "bursts of {average} packets");
    }
}
