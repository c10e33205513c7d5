//! One direction of a path.

use alloc::collections::BinaryHeap;
use alloc::vec::Vec;
use core::cmp::{Ordering, Reverse};
use core::num::NonZeroU64;
use core::time::Duration;

use super::loss::{Loss, LossModel, Ppm};
use super::mark;
use crate::rng::Rng;
use crate::time::Instant;

/// What happens to packets on one direction of a path. Nothing, by default: they arrive at once.
///
/// A packet meets, in this order: an interruption, the path's MTU, loss, the queue and the rate, delay and jitter, then
/// duplication, corruption and reordering.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// How long every packet takes.
    pub delay: Duration,
    /// Up to how much longer it may take, evenly. Jitter alone reorders nothing.
    pub jitter: Duration,
    /// Bits a second of whole IP packets; `None` is without limit.
    pub rate: Option<NonZeroU64>,
    /// Where there is a rate: bytes that may wait for their turn, the packet that is being sent included. What comes when
    /// there is no room is dropped (tail drop); a single packet always has room.
    pub queue: u64,
    /// Where there is a rate: with so many bytes waiting, packets that can be marked are (RFC 3168).
    pub ecn_threshold: Option<u64>,
    /// Which packets are lost.
    pub loss: Loss,
    /// Packets that arrive twice.
    pub duplicate: Ppm,
    /// Packets in which one octet is changed: the Internet checksum always finds that.
    pub corrupt: Ppm,
    /// Packets that are held back by `reorder_by`, so that later ones overtake them.
    pub reorder: Ppm,
    /// How long those are held back, half of it at least.
    pub reorder_by: Duration,
    /// Larger packets vanish without a word: a black hole of path MTU discovery (RFC 2923 section 2.1).
    pub mtu: Option<usize>,
    /// Bytes that may be under way, whatever the delay: what comes beyond is dropped. Bounds the memory taken.
    pub under_way_max: u64,
}

impl Default for LinkConfig {
    fn default() -> Self {
        LinkConfig {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            rate: None,
            queue: 256 << 10,
            ecn_threshold: None,
            loss: Loss::None,
            duplicate: Ppm::NEVER,
            corrupt: Ppm::NEVER,
            reorder: Ppm::NEVER,
            reorder_by: Duration::from_millis(10),
            mtu: None,
            under_way_max: 256 << 20,
        }
    }
}

impl LinkConfig {
    /// Whether all that happens is that packets take some time, the same for all.
    pub fn is_only_delay(&self) -> bool {
        let chances = [self.duplicate, self.corrupt, self.reorder];
        self.rate.is_none()
            && self.jitter.is_zero()
            && self.loss == Loss::None
            && self.mtu.is_none()
            && chances.iter().all(|chance| *chance == Ppm::NEVER)
    }
}

/// What has happened on a link so far: packets, each under what befell it. A super-segment that passes whole is one packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LinkCounters {
    /// Packets that were sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Packets that have arrived, duplicates included.
    pub arrived: u64,
    /// Their bytes.
    pub arrived_bytes: u64,
    /// Lost by chance (or every so manieth).
    pub lost: u64,
    /// Dropped because the queue was full.
    pub overflowed: u64,
    /// Dropped because they were larger than the path takes.
    pub too_large: u64,
    /// Dropped while the link was interrupted.
    pub interrupted: u64,
    /// Arrived, or will, twice.
    pub duplicated: u64,
    /// Changed on the way.
    pub corrupted: u64,
    /// Held back.
    pub reordered: u64,
    /// Marked "congestion experienced".
    pub marked: u64,
    /// Super-segments among those sent: they pass whole.
    pub whole: u64,
    /// Super-segments that were cut before a fault could meet them: not they were sent, but what they were cut into.
    pub cut: u64,
}

/// One direction of a path: packets go in, and come out when it is time.
///
/// It carries whatever has bytes, which are all that it looks at: by itself, packets of a wire. A link of [`Frame`]s carries
/// super-segments, too, and says itself [which of them pass whole](Self::take).
///
/// [`Frame`]: super::Frame
///
/// ```
/// use core::time::Duration;
/// use tunstack::sim::{Link, LinkConfig};
/// use tunstack::time::Instant;
///
/// let config = LinkConfig { delay: Duration::from_millis(33), ..LinkConfig::default() };
/// let mut link = Link::new(config, 1);
/// let sent = Instant::from_millis(5);
/// link.send(sent, b"a packet".to_vec());
/// assert_eq!(link.deadline(), Some(Instant::from_millis(38)));
/// assert_eq!(link.receive(Instant::from_millis(37)), None);
/// assert_eq!(link.receive(Instant::from_millis(38)), Some(b"a packet".to_vec()));
/// ```
#[derive(Debug)]
pub struct Link<P = Vec<u8>> {
    config: LinkConfig,
    loss: LossModel,
    rng: Rng,
    is_up: bool,
    /// When the last byte of what has been sent leaves.
    free_at: Instant,
    /// The arrival that no packet but a reordered one may precede.
    last_arrival: Instant,
    under_way: BinaryHeap<Reverse<UnderWay<P>>>,
    under_way_bytes: u64,
    order: u64,
    pub(super) counters: LinkCounters,
}

/// A packet on its way: first by arrival, then by the order of sending.
#[derive(Debug)]
struct UnderWay<P> {
    at: Instant,
    order: u64,
    packet: P,
}

impl<P> UnderWay<P> {
    /// No two on one link have the same.
    fn rank(&self) -> (Instant, u64) {
        (self.at, self.order)
    }
}

impl<P> PartialEq for UnderWay<P> {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl<P> Eq for UnderWay<P> {}

impl<P> PartialOrd for UnderWay<P> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<P> Ord for UnderWay<P> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl<P: AsRef<[u8]> + AsMut<[u8]> + Clone> Link<P> {
    /// A link that is up, whose chances follow from `seed`.
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Link {
            loss: LossModel::new(config.loss),
            config,
            rng: Rng::from_number(seed),
            is_up: true,
            free_at: Instant::ZERO,
            last_arrival: Instant::ZERO,
            under_way: BinaryHeap::new(),
            under_way_bytes: 0,
            order: 0,
            counters: LinkCounters::default(),
        }
    }

    /// What happens to packets.
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Other things happen to packets from now on; those under way arrive as they would have.
    pub fn configure(&mut self, config: LinkConfig) {
        if config.loss != self.config.loss {
            self.loss = LossModel::new(config.loss);
        }
        self.config = config;
    }

    /// Interrupts the link, or mends it. What is under way arrives all the same.
    pub fn set_up(&mut self, is_up: bool) {
        self.is_up = is_up;
    }

    /// What has happened so far.
    pub fn counters(&self) -> LinkCounters {
        self.counters
    }

    /// Packets on their way, each copy of a duplicated one counted.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// A packet enters at `now`, which never goes back.
    pub fn send(&mut self, now: Instant, mut packet: P) {
        let len = packet.as_ref().len();
        self.counters.sent += 1;
        self.counters.sent_bytes += len as u64;
        if !self.is_up {
            self.counters.interrupted += 1;
        } else if self.config.mtu.is_some_and(|mtu| len > mtu) {
            self.counters.too_large += 1;
        } else if self.loss.loses(&mut self.rng) {
            self.counters.lost += 1;
        } else if let Some(leaves) = self.queue(now, packet.as_mut()) {
            if self.config.duplicate.happens(&mut self.rng) {
                self.counters.duplicated += 1;
                self.carry(leaves, packet.clone());
            }
            self.carry(leaves, packet);
        } else {
            self.counters.overflowed += 1;
        }
    }

    /// When the next packet arrives; `None` if none is under way.
    pub fn deadline(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse(next)| next.at)
    }

    /// A packet that has arrived by `now`.
    pub fn receive(&mut self, now: Instant) -> Option<P> {
        self.deadline().filter(|at| *at <= now)?;
        let Reverse(UnderWay { packet, .. }) = self.under_way.pop()?;
        let len = packet.as_ref().len() as u64;
        self.under_way_bytes -= len;
        self.counters.arrived += 1;
        self.counters.arrived_bytes += len;
        Some(packet)
    }

    /// When the packet's last byte leaves; `None` if there is no room for it.
    fn queue(&mut self, now: Instant, bytes: &mut [u8]) -> Option<Instant> {
        let len = bytes.len() as u64;
        if self.under_way_bytes + len > self.config.under_way_max {
            return None;
        }
        let Some(rate) = self.config.rate else { return Some(now) };
        let waiting = bytes_in(self.free_at - now, rate);
        if waiting > 0 && waiting + len > self.config.queue {
            return None;
        }
        if self.config.ecn_threshold.is_some_and(|threshold| waiting >= threshold) && mark::congestion(bytes)
        {
            self.counters.marked += 1;
        }
        self.free_at = self.free_at.max(now) + time_for(len, rate);
        Some(self.free_at)
    }

    /// Delay, and what happens to a packet behind the queue.
    fn carry(&mut self, leaves: Instant, mut packet: P) {
        let bytes = packet.as_mut();
        let len = bytes.len() as u64;
        if self.config.corrupt.happens(&mut self.rng) && !bytes.is_empty() {
            self.counters.corrupted += 1;
            let last = u32::try_from(bytes.len() - 1).unwrap_or(u32::MAX);
            let (place, change) = (self.rng.within(0..=last), self.rng.within(1..=255));
            if let Some(octet) = bytes.get_mut(place as usize) {
                *octet ^= change as u8;
            }
        }
        let mut at = leaves + self.config.delay + self.up_to(self.config.jitter);
        if self.config.reorder.happens(&mut self.rng) {
            self.counters.reordered += 1;
            let half = self.config.reorder_by / 2;
            at = at + half + self.up_to(half);
        } else {
            at = at.max(self.last_arrival);
            self.last_arrival = at;
        }
        self.order += 1;
        self.under_way_bytes += len;
        self.under_way.push(Reverse(UnderWay { at, order: self.order, packet }));
    }

    /// Some time from zero to `most`.
    fn up_to(&mut self, most: Duration) -> Duration {
        if most.is_zero() {
            return Duration::ZERO;
        }
        let nanos = most.as_nanos().saturating_add(1);
        let scaled = u128::from(self.rng.next_u64()).saturating_mul(nanos) >> 64;
        Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX))
    }
}

const BITS: u128 = 8;
const NANOS: u128 = 1_000_000_000;

/// How long so many bytes take.
fn time_for(bytes: u64, rate: NonZeroU64) -> Duration {
    let nanos = (u128::from(bytes) * BITS * NANOS).div_ceil(u128::from(rate.get()));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// How many bytes take so long.
fn bytes_in(time: Duration, rate: NonZeroU64) -> u64 {
    let bytes = time.as_nanos().saturating_mul(u128::from(rate.get())) / (BITS * NANOS);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
