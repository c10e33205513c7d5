//! What the loop has read from a device and not yet told the stack.
//!
//! Owns the buffer and where in it each datagram stands, and how much is read at once. All that it asks of what is in a datagram is
//! whether somebody waits for its answer.

use std::num::NonZeroU16;

use arrayvec::ArrayVec;

use super::singles::Singles;
use crate::device::{Device, HEADROOM, Received};
use crate::proto::wire::opens_connection;
use crate::proto::{ChecksumState, Packet};
use crate::time::Instant;

/// Datagrams read before the stack is told of them: enough to make the lock cheap, and to read many and then answer many, which
/// the caches like better than to do both in turn; few enough that answers don't come late (reading until nothing is left makes
/// a TUN's queue overflow). As many as may be sent in one go (`ports.rs`).
const PACKETS_MAX: usize = 64;
/// Bytes of single datagrams after which a batch is full, so that it is still in the nearest cache (of 32 KiB on many
/// machines) when the stack looks at it, or sends it on.
const SINGLES_FILL: usize = 24 << 10;
/// Bytes after which a batch is full, super-segments included: three of the largest. Their text is copied once and
/// never looked at, so that the second cache will do (of 256 KiB on old machines, of 1 MiB and more on others), and a turn of
/// the loop for each would cost more than the nearest cache gains.
const FILL: usize = 128 << 10;
/// The largest datagram that IP knows.
const DATAGRAM_MAX: usize = 65_535;
/// Datagrams start at multiples of this: a cache line.
const ALIGN: usize = 64;
/// The first datagram starts at such a multiple, and the last may be of the largest.
const BUFFER_LEN: usize = ALIGN + FILL.next_multiple_of(ALIGN) + HEADROOM + DATAGRAM_MAX;

/// How the reading of a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Intake {
    /// The device has no more.
    Drained,
    /// The batch is full.
    Full,
    /// There is one datagram, and who sent it does nothing before it is answered. Whether there are more wasn't asked.
    Urgent,
    /// There is the one datagram that was expected. Whether there are more wasn't asked.
    One,
    /// The device is gone.
    Gone,
}

/// Datagrams, one behind the other.
pub(super) struct Batch {
    /// Never grows, so that it stays where it is. So large a piece comes zeroed from the system, which gives each page when it
    /// is touched first: a stack pays for the largest batch that it ever read, a page or two if that was a few small packets.
    buffer: Vec<u8>,
    /// Where the room for the first datagram begins.
    origin: usize,
    packets: ArrayVec<Slot, PACKETS_MAX>,
}

struct Slot {
    start: usize,
    len: usize,
    checksum: ChecksumState,
    gso_size: Option<NonZeroU16>,
}

impl Batch {
    pub(super) fn new() -> Self {
        let buffer = vec![0; BUFFER_LEN];
        let origin = buffer.as_ptr().wrapping_add(HEADROOM).align_offset(ALIGN).min(ALIGN);
        Batch { buffer, origin, packets: ArrayVec::new() }
    }

    /// Reads from the device until the batch is full, which is empty now, or only the one datagram that is expected; or one that opens a
    /// connection. Whoever sent that waits for the answer, which goes out before what stands behind it is read, and what stands behind it
    /// is looked at while the answer is on its way. Not twice in a row: where many open connections at once, they are many.
    pub(super) fn fill(&mut self, device: &dyn Device, singles: &mut Singles) -> Intake {
        let intake = if singles.expects_one() {
            self.read_one(device)
        } else {
            self.read(device, !singles.was_urgent())
        };
        match intake {
            Intake::Drained => singles.drained(self.packets.len()),
            Intake::One => singles.read_one(),
            Intake::Urgent => singles.read_urgent(),
            Intake::Full | Intake::Gone => singles.found_many(),
        }
        intake
    }

    fn read_one(&mut self, device: &dyn Device) -> Intake {
        match self.read_to(self.origin, device) {
            Ok(slot) => {
                self.packets.push(slot);
                Intake::One
            }
            Err(intake) => intake,
        }
    }

    /// The first may be urgent, if `heeds_urgent`.
    #[inline(never)]
    fn read(&mut self, device: &dyn Device, heeds_urgent: bool) -> Intake {
        let mut at = self.origin;
        let mut singles = 0;
        while !self.packets.is_full() && singles < SINGLES_FILL && at - self.origin < FILL {
            let slot = match self.read_to(at, device) {
                Ok(slot) => slot,
                Err(intake) => return intake,
            };
            // A device may claim more than it was given.
            let end = slot.start + slot.len.min(self.buffer.len() - slot.start);
            let next = self.origin + (end - self.origin).next_multiple_of(ALIGN);
            if slot.gso_size.is_none() {
                singles += next - at;
            }
            at = next;
            let is_first = self.packets.is_empty();
            let is_urgent = is_first && heeds_urgent && opens_connection(&self.buffer[slot.start..end]);
            self.packets.push(slot);
            if is_urgent {
                return Intake::Urgent;
            }
        }
        Intake::Full
    }

    /// Reads one datagram to a place in the buffer, headroom before it; or how the reading of the batch ends, if there is none.
    fn read_to(&mut self, at: usize, device: &dyn Device) -> Result<Slot, Intake> {
        match device.recv_with_headroom(&mut self.buffer[at..]) {
            Received::Packet { len, checksum, gso_size } => {
                Ok(Slot { start: at + HEADROOM, len, checksum, gso_size })
            }
            Received::Empty => Err(Intake::Drained),
            Received::Gone => Err(Intake::Gone),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// How many packets are in it.
    pub(super) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Takes everything out, in the order in which it was read.
    pub(super) fn take_packets(&mut self, at: Instant, mut each: impl FnMut(Packet<'_>)) {
        for &Slot { start, len, checksum, gso_size } in &self.packets {
            // A device that claims more than it was given has nothing to say.
            let Some(bytes) = self.buffer.get(start..start.saturating_add(len)) else { continue };
            each(Packet { bytes, at, checksum, gso_size });
        }
        self.packets.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::sync::Mutex;

    use rustix::event::{EventfdFlags, eventfd};

    use super::*;
    use crate::device::{MemoryDevice, Room};
    use crate::proto::ip::testing::bare_segment;
    use crate::proto::wire::tcp::FLAG_SYN;
    use crate::proto::{DeviceId, Egress, Sent};

    /// A device with datagrams of these lengths, super-segments if so much is in each of their segments; each is full of
    /// its number.
    struct Script {
        bell: OwnedFd,
        left: Mutex<std::vec::IntoIter<(usize, u16)>>,
        /// What it claims beyond what it was given room for.
        boast: usize,
    }

    impl Script {
        fn new(datagrams: &[(usize, u16)]) -> Script {
            let bell = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
            let datagrams = datagrams.to_vec();
            Script { bell, left: Mutex::new(datagrams.into_iter()), boast: 0 }
        }
    }

    impl Device for Script {
        fn name(&self) -> &str {
            "script"
        }

        fn mtu(&self) -> usize {
            1500
        }

        fn recv(&self, buffer: &mut [u8]) -> Received {
            let mut left = self.left.lock().unwrap();
            let Some((len, gso_size)) = left.next() else { return Received::Empty };
            let number = u8::try_from(left.len()).unwrap();
            let room = buffer.len();
            buffer[..len.min(room)].fill(number);
            let checksum = ChecksumState::Trusted;
            let len = if self.boast > 0 { room + self.boast } else { len };
            Received::Packet { len, checksum, gso_size: NonZeroU16::new(gso_size) }
        }

        fn send(&self, _: Egress<'_>) -> Sent {
            Sent::Taken
        }

        fn poll_fd(&self) -> BorrowedFd<'_> {
            self.bell.as_fd()
        }

        fn room(&self) -> Room {
            Room::Readable
        }
    }

    /// The lengths of the datagrams in each batch until the device has no more.
    fn batches(device: &Script) -> Vec<Vec<usize>> {
        let mut batch = Batch::new();
        let mut all = Vec::new();
        loop {
            let intake = batch.fill(device, &mut Singles::default());
            let mut lens = Vec::new();
            batch.take_packets(Instant::ZERO, |packet| {
                assert!(packet.bytes.iter().all(|byte| *byte == packet.bytes[0]), "another lies over it");
                assert_eq!(packet.bytes.as_ptr().align_offset(ALIGN), 0, "not at the start of a cache line");
                lens.push(packet.bytes.len());
            });
            all.push(lens);
            if intake == Intake::Drained {
                return all;
            }
            assert_eq!(intake, Intake::Full);
        }
    }

    fn counts(device: &Script) -> Vec<usize> {
        batches(device).iter().map(Vec::len).collect()
    }

    #[test]
    fn datagrams_stand_apart_each_at_the_start_of_a_cache_line() {
        let lens = [1, 63, 64, 65, 20, 1500, 48, 49, 0x0f, 40];
        let device = Script::new(&lens.map(|len| (len, 0)));
        assert_eq!(batches(&device), [lens.to_vec()]);
    }

    #[test]
    fn single_datagrams_fill_a_batch_by_number_or_by_what_the_nearest_cache_holds() {
        assert_eq!(counts(&Script::new(&[(40, 0); 140])), [64, 64, 12]);
        assert_eq!(counts(&Script::new(&[(1500, 0); 40])), [16, 16, 8]);
        assert_eq!(counts(&Script::new(&[(9000, 0); 7])), [3, 3, 1]);
        assert_eq!(counts(&Script::new(&[(65_535, 0); 3])), [1, 1, 1, 0]);
    }

    #[test]
    fn where_datagrams_have_come_one_at_a_time_one_is_read_and_the_next_left_for_the_next_time() {
        let (mut batch, mut singles) = (Batch::new(), Singles::default());
        let mut fill = |device: &Script| {
            let intake = batch.fill(device, &mut singles);
            let mut lens = Vec::new();
            batch.take_packets(Instant::ZERO, |packet| lens.push(packet.bytes.len()));
            (intake, lens)
        };
        for _ in 0..8 {
            assert_eq!(fill(&Script::new(&[(40, 0)])), (Intake::Drained, vec![40]));
        }
        let two = Script::new(&[(41, 0), (42, 0)]);
        assert_eq!(fill(&two), (Intake::One, vec![41]));
        assert_eq!(fill(&two), (Intake::One, vec![42]));
        // Of many all but the first sixteen go together.
        let many = Script::new(&[(43, 0); 30]);
        let counts: Vec<usize> = (0..15).map(|_| fill(&many).1.len()).collect();
        assert_eq!(counts, [[1; 14].as_slice(), &[16]].concat());
        assert_eq!(fill(&many), (Intake::Drained, vec![]));
    }

    #[test]
    fn who_opens_a_connection_is_answered_before_more_is_read_but_not_twice_in_a_row() {
        let syn = bare_segment("10.9.0.1", "10.9.0.2", FLAG_SYN);
        let (device, peer) = MemoryDevice::pair(1500).unwrap();
        let (mut batch, mut singles) = (Batch::new(), Singles::default());
        let mut fills = |datagrams: &[&[u8]]| {
            for bytes in datagrams {
                assert_eq!(peer.send(Egress::plain(DeviceId(0), bytes, &[])), Sent::Taken);
            }
            let mut all = Vec::new();
            while all.last().is_none_or(|&(intake, _)| intake != Intake::Drained) {
                let intake = batch.fill(&device, &mut singles);
                let mut count = 0;
                batch.take_packets(Instant::ZERO, |_| count += 1);
                all.push((intake, count));
            }
            all
        };
        let other: &[u8] = b"other";
        assert_eq!(fills(&[&syn, other, other]), [(Intake::Urgent, 1), (Intake::Drained, 2)]);
        assert_eq!(fills(&[other, &syn, other]), [(Intake::Drained, 3)]);
        let many = [&syn[..]; 100];
        let expected = [(Intake::Urgent, 1), (Intake::Full, 64), (Intake::Urgent, 1), (Intake::Drained, 34)];
        assert_eq!(fills(&many), expected);
    }

    #[test]
    fn each_device_has_urgent_ones_of_its_own() {
        let (device, peer) = MemoryDevice::pair(1500).unwrap();
        let (idle, _peer) = MemoryDevice::pair(1500).unwrap();
        for _ in 0..100 {
            let syn = bare_segment("10.9.0.1", "10.9.0.2", FLAG_SYN);
            assert_eq!(peer.send(Egress::plain(DeviceId(0), &syn, &[])), Sent::Taken);
        }
        let (mut batch, mut singles) = (Batch::new(), [(); 2].map(|()| Singles::default()));
        let mut counts = [(); 4].map(|()| {
            batch.fill(&device, &mut singles[0]);
            let mut count = 0;
            batch.take_packets(Instant::ZERO, |_| count += 1);
            assert_eq!(batch.fill(&idle, &mut singles[1]), Intake::Drained);
            count
        });
        counts.sort_unstable();
        assert_eq!(counts, [1, 1, 34, 64], "a flood goes in batches");
    }

    #[test]
    fn super_segments_fill_a_batch_by_what_the_second_cache_holds_whatever_else_is_in_it() {
        assert_eq!(counts(&Script::new(&[(65_000, 1448); 6])), [3, 3, 0]);
        assert_eq!(counts(&Script::new(&[(20_000, 1448); 9])), [7, 2]);
        let mixed =
            [(40_000, 1448), (9000, 0), (40_000, 1448), (9000, 0), (9000, 0), (40_000, 1448), (40, 0)];
        assert_eq!(counts(&Script::new(&mixed)), [5, 2]);
    }

    #[test]
    fn a_datagram_of_the_largest_fits_behind_whatever_a_batch_holds() {
        for before in [1, SINGLES_FILL - ALIGN - HEADROOM] {
            assert_eq!(batches(&Script::new(&[(before, 0), (65_535, 0)])), [vec![before, 65_535], vec![]]);
        }
        let before = FILL - ALIGN - HEADROOM;
        assert_eq!(batches(&Script::new(&[(before, 1448), (65_535, 0)])), [vec![before, 65_535], vec![]]);
    }

    #[test]
    fn what_a_device_claims_beyond_its_room_is_nothing() {
        let device = Script { boast: 1, ..Script::new(&[(100, 0); 2]) };
        let mut batch = Batch::new();
        assert_eq!(batch.fill(&device, &mut Singles::default()), Intake::Full);
        batch.take_packets(Instant::ZERO, |packet| panic!("{} bytes", packet.bytes.len()));
        let device = Script { boast: usize::MAX - BUFFER_LEN, ..Script::new(&[(100, 0); 2]) };
        assert_eq!(batch.fill(&device, &mut Singles::default()), Intake::Full);
        batch.take_packets(Instant::ZERO, |packet| panic!("{} bytes", packet.bytes.len()));
    }
}
