//! One direction of a path: delay, jitter, rate, and everything that can go wrong on it.

use std::time::Duration;

use tunstack::rng::Rng;
use tunstack::time::Instant;

/// What happens to packets, in parts of a million.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) delay: Duration,
    pub(crate) jitter: Duration,
    /// Bytes a second; 0 is without limit.
    pub(crate) rate: u64,
    /// Bytes that may wait for their turn where there is a rate.
    pub(crate) queue: u64,
    pub(crate) loss: u32,
    pub(crate) duplication: u32,
    pub(crate) corruption: u32,
    /// Packets held back for up to `reorder_by`, so that later ones overtake them.
    pub(crate) reordering: u32,
    pub(crate) reorder_by: Duration,
}

/// One direction of a path.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) faults: Faults,
    rng: Rng,
    free_at: Instant,
    last_arrival: Instant,
}

impl Link {
    pub(crate) fn new(faults: Faults, seed: u64) -> Link {
        Link { faults, rng: Rng::from_number(seed), free_at: Instant::ZERO, last_arrival: Instant::ZERO }
    }

    /// When and how a packet sent at `now` arrives: not at all, once or twice.
    pub(crate) fn carry(&mut self, now: Instant, bytes: Vec<u8>) -> Vec<(Instant, Vec<u8>)> {
        let faults = self.faults.clone();
        if self.rng.chance_ppm(faults.loss) {
            return Vec::new();
        }
        let mut leaves = now;
        if faults.rate > 0 {
            let backlog = (self.free_at - now).as_nanos() as u64 * faults.rate / 1_000_000_000;
            if backlog + bytes.len() as u64 > faults.queue {
                return Vec::new();
            }
            let takes = Duration::from_nanos(bytes.len() as u64 * 1_000_000_000 / faults.rate);
            self.free_at = self.free_at.max(now) + takes;
            leaves = self.free_at;
        }
        let copies = 1 + usize::from(self.rng.chance_ppm(faults.duplication));
        let mut arrivals = Vec::new();
        for _ in 0..copies {
            let mut bytes = bytes.clone();
            if self.rng.chance_ppm(faults.corruption) {
                // A change within one octet is always found by the Internet checksum.
                let at = self.rng.within(0..=bytes.len() as u32 - 1) as usize;
                bytes[at] ^= self.rng.within(1..=255) as u8;
            }
            arrivals.push((self.arrival(leaves, &faults), bytes));
        }
        arrivals
    }

    fn arrival(&mut self, leaves: Instant, faults: &Faults) -> Instant {
        let at = leaves + faults.delay + self.some_of(faults.jitter);
        if self.rng.chance_ppm(faults.reordering) {
            return at + self.some_of(faults.reorder_by);
        }
        // Jitter alone does not reorder.
        self.last_arrival = self.last_arrival.max(at);
        self.last_arrival
    }

    fn some_of(&mut self, most: Duration) -> Duration {
        Duration::from_micros(u64::from(self.rng.within(0..=most.as_micros() as u32)))
    }
}
