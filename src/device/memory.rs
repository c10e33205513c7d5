//! Joins two stacks in one process: a pair of devices with a bounded queue each way.
//!
//! What one end sends the other receives, in order and without loss. A full queue answers
//! [`Sent::Busy`], as a real device may and a TUN practically never does; an end can also be told to be
//! busy, to lose what it is given, or to vanish, so that tests reach these paths.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

use super::{Device, Received, Room};
use crate::proto::{ChecksumState, Egress, EgressChecksum, Offloads, Sent};

/// Packets that wait in one direction at most, as many as on a TUN device by default.
const QUEUE_PACKETS: usize = 500;
/// Buffers kept for reuse in one direction.
const SPARE_BUFFERS: usize = 64;

/// One end of a pair.
///
/// ```
/// use tunstack::device::{Device, MemoryDevice, Received};
/// use tunstack::proto::{DeviceId, Egress, Sent};
///
/// let (left, right) = MemoryDevice::pair(1500).unwrap();
/// let sent = left.send(Egress::plain(DeviceId(0), b"head", &[b"er"]));
/// assert_eq!(sent, Sent::Taken);
/// let mut buffer = [0; 1500];
/// assert!(matches!(right.recv(&mut buffer), Received::Packet { len: 6, .. }));
/// assert_eq!(&buffer[..6], b"header");
/// assert_eq!(right.recv(&mut buffer), Received::Empty);
/// ```
#[derive(Debug)]
pub struct MemoryDevice {
    name: String,
    inbox: Arc<Queue>,
    outbox: Arc<Queue>,
    shared: Arc<End>,
    offloads: Offloads,
}

impl MemoryDevice {
    /// Two ends that are joined, with the same MTU in bytes.
    ///
    /// # Errors
    /// When the process may not open another file descriptor.
    pub fn pair(mtu: usize) -> io::Result<(MemoryDevice, MemoryDevice)> {
        let (left, right) = (End::new(mtu)?, End::new(mtu)?);
        let rightward = Arc::new(Queue::new(Arc::clone(&left), Arc::clone(&right)));
        let leftward = Arc::new(Queue::new(Arc::clone(&right), Arc::clone(&left)));
        let end = |name: &str, inbox: &Arc<Queue>, outbox: &Arc<Queue>, shared: Arc<End>| MemoryDevice {
            name: name.to_owned(),
            inbox: Arc::clone(inbox),
            outbox: Arc::clone(outbox),
            shared,
            offloads: Offloads::default(),
        };
        Ok((end("mem0", &leftward, &rightward, left), end("mem1", &rightward, &leftward, right)))
    }

    /// The same end under another name (the first is `mem0` or `mem1`): the thread of a stack that runs on it
    /// is called after it.
    pub fn named(self, name: impl Into<String>) -> Self {
        MemoryDevice { name: name.into(), ..self }
    }

    /// The same end, which says that it takes these off a stack's hands: the other end gets super-segments as they are sent.
    pub fn with_offloads(self, offloads: Offloads) -> Self {
        MemoryDevice { offloads, ..self }
    }

    /// A handle that goes on working after the device was given to a stack.
    pub fn switches(&self) -> Switches {
        Switches { end: Arc::clone(&self.shared) }
    }
}

impl Device for MemoryDevice {
    fn name(&self) -> &str {
        &self.name
    }

    fn mtu(&self) -> usize {
        self.shared.mtu.load(Ordering::Relaxed)
    }

    fn recv(&self, buffer: &mut [u8]) -> Received {
        let received = self.inbox.pop(buffer);
        // Asked last: what was read in vain has hushed the bell that tells of the end.
        if self.shared.gone.load(Ordering::Acquire) { Received::Gone } else { received }
    }

    fn send(&self, egress: Egress<'_>) -> Sent {
        if self.shared.gone.load(Ordering::Acquire) || self.shared.losing.load(Ordering::Acquire) {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
            return Sent::Taken;
        }
        self.outbox.push(egress)
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }

    fn poll_fd(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }

    fn room(&self) -> Room {
        Room::Readable
    }

    fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

/// Makes one end of a pair misbehave, or behave again.
#[derive(Clone, Debug)]
pub struct Switches {
    end: Arc<End>,
}

impl Switches {
    /// While on, the end takes no packet and answers [`Sent::Busy`].
    pub fn set_busy(&self, busy: bool) {
        self.end.busy.store(busy, Ordering::Release);
        self.end.ring();
    }

    /// While on, the end takes packets and loses them, as a TUN whose link is down does.
    pub fn set_losing(&self, losing: bool) {
        self.end.losing.store(losing, Ordering::Release);
    }

    /// Changes the end's MTU.
    pub fn set_mtu(&self, mtu: usize) {
        self.end.mtu.store(mtu, Ordering::Relaxed);
        self.end.ring();
    }

    /// The device vanishes, as a TUN that is deleted does.
    pub fn vanish(&self) {
        self.end.gone.store(true, Ordering::Release);
        self.end.ring();
    }
}

/// What is an end's own.
#[derive(Debug)]
struct End {
    /// Readable when a packet waits, when there is room again, and when a switch was turned.
    bell: OwnedFd,
    mtu: AtomicUsize,
    lost: AtomicU64,
    busy: AtomicBool,
    losing: AtomicBool,
    gone: AtomicBool,
}

impl End {
    fn new(mtu: usize) -> io::Result<Arc<End>> {
        Ok(Arc::new(End {
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            mtu: AtomicUsize::new(mtu),
            lost: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            losing: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        }))
    }

    fn ring(&self) {
        // Only a counter that is about to overflow makes this fail, and then the bell has long rung.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn hush(&self) {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
    }
}

/// One direction.
#[derive(Debug)]
struct Queue {
    sender: Arc<End>,
    receiver: Arc<End>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    packets: VecDeque<(Vec<u8>, Option<NonZeroU16>, ChecksumState)>,
    spare: Vec<Vec<u8>>,
    /// The sender was told that there is no room, and waits to hear that there is.
    refused: bool,
}

impl Queue {
    fn new(sender: Arc<End>, receiver: Arc<End>) -> Self {
        Queue { sender, receiver, state: Mutex::default() }
    }

    /// A sender that panicked left the queue whole: each change is one call.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, egress: Egress<'_>) -> Sent {
        let mut state = self.state();
        if state.packets.len() >= QUEUE_PACKETS || self.sender.busy.load(Ordering::Acquire) {
            state.refused = true;
            return Sent::Busy;
        }
        let mut bytes = state.spare.pop().unwrap_or_default();
        egress.copy_to(&mut bytes);
        let checksum = match egress.checksum {
            EgressChecksum::Complete => ChecksumState::Unverified,
            EgressChecksum::Partial { .. } => ChecksumState::Partial,
        };
        state.packets.push_back((bytes, egress.gso_size, checksum));
        if state.packets.len() == 1 {
            self.receiver.ring();
        }
        Sent::Taken
    }

    fn pop(&self, buffer: &mut [u8]) -> Received {
        let mut state = self.state();
        let Some((mut bytes, gso_size, checksum)) = state.packets.pop_front() else {
            // Under the lock, so that a packet pushed now rings again.
            self.receiver.hush();
            return Received::Empty;
        };
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        if state.spare.len() < SPARE_BUFFERS {
            bytes.clear();
            state.spare.push(bytes);
        }
        // Half empty before the sender is woken: it then has something worth waking for.
        if state.refused && state.packets.len() <= QUEUE_PACKETS / 2 {
            state.refused = false;
            self.sender.ring();
        }
        Received::Packet { len, checksum, gso_size }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;
    use crate::proto::DeviceId;

    fn packet(bytes: &[u8]) -> Egress<'_> {
        Egress::plain(DeviceId(0), bytes, &[])
    }

    fn rings(device: &MemoryDevice) -> bool {
        let mut fds = [PollFd::from_borrowed_fd(device.poll_fd(), PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() == 1
    }

    #[test]
    fn the_bell_rings_from_the_first_packet_until_the_queue_is_seen_empty() {
        let (left, right) = MemoryDevice::pair(1500).unwrap();
        let mut buffer = [0; 10];
        assert!(!rings(&right));
        assert_eq!(left.send(packet(b"a")), Sent::Taken);
        assert_eq!(left.send(packet(b"b")), Sent::Taken);
        assert!(rings(&right) && !rings(&left));
        for _ in 0..2 {
            assert!(matches!(right.recv(&mut buffer), Received::Packet { len: 1, .. }));
        }
        assert_eq!(right.recv(&mut buffer), Received::Empty);
        assert!(!rings(&right));
    }

    #[test]
    fn an_end_that_comes_while_it_is_read_in_vain_is_heard_of() {
        let (_left, right) = MemoryDevice::pair(1500).unwrap();
        let (switches, inbox) = (right.switches(), Arc::clone(&right.inbox));
        // Whoever reads waits for this.
        let state = inbox.state();
        let reader = std::thread::spawn(move || (right.recv(&mut [0; 10]), rings(&right)));
        std::thread::sleep(std::time::Duration::from_millis(50));
        switches.vanish();
        drop(state);
        let (received, rings) = reader.join().unwrap();
        assert!(received == Received::Gone || rings, "{received:?}, and the bell is hushed");
    }

    #[test]
    fn a_full_queue_is_busy_and_rings_when_it_has_room_again() {
        let (left, right) = MemoryDevice::pair(1500).unwrap();
        let mut buffer = [0; 10];
        for _ in 0..QUEUE_PACKETS {
            assert_eq!(left.send(packet(b"x")), Sent::Taken);
        }
        assert_eq!(left.send(packet(b"y")), Sent::Busy);
        assert!(!rings(&left));
        for _ in 0..QUEUE_PACKETS / 2 {
            assert!(matches!(right.recv(&mut buffer), Received::Packet { .. }));
        }
        assert!(rings(&left));
        assert_eq!(left.send(packet(b"y")), Sent::Taken);
    }

    #[test]
    fn an_end_told_to_be_busy_rings_when_it_no_longer_is() {
        let (left, right) = MemoryDevice::pair(1500).unwrap();
        left.switches().set_busy(true);
        assert_eq!(left.recv(&mut [0; 10]), Received::Empty);
        assert_eq!(left.send(packet(b"x")), Sent::Busy);
        assert_eq!(right.send(packet(b"x")), Sent::Taken, "the other end is not concerned");
        left.recv(&mut [0; 10]);
        left.recv(&mut [0; 10]);
        assert!(!rings(&left));
        left.switches().set_busy(false);
        assert!(rings(&left));
        assert_eq!(left.send(packet(b"x")), Sent::Taken);
    }

    #[test]
    fn an_end_that_vanished_says_so_and_loses_what_it_is_given() {
        let (left, right) = MemoryDevice::pair(1500).unwrap();
        left.switches().vanish();
        assert!(rings(&left));
        assert_eq!(left.recv(&mut [0; 10]), Received::Gone);
        assert_eq!(left.send(packet(b"x")), Sent::Taken);
        assert_eq!(left.lost(), 1);
        assert_eq!(right.recv(&mut [0; 10]), Received::Empty);
    }

    proptest! {
        #[test]
        fn packets_come_out_as_a_plain_queue_would_give_them(
            steps in proptest::collection::vec((any::<bool>(), 0..40u8, 0..30usize), 1..60),
        ) {
            let (left, right) = MemoryDevice::pair(1500).unwrap();
            let mut model: VecDeque<Vec<u8>> = VecDeque::new();
            for (sends, byte, count) in steps {
                for _ in 0..count {
                    if sends {
                        let bytes = vec![byte; usize::from(byte) + 1];
                        let expected = if model.len() < QUEUE_PACKETS { Sent::Taken } else { Sent::Busy };
                        prop_assert_eq!(left.send(packet(&bytes)), expected);
                        if expected == Sent::Taken {
                            model.push_back(bytes);
                        }
                    } else {
                        let mut buffer = [0; 64];
                        let received = match right.recv(&mut buffer) {
                            Received::Packet { len, .. } => Some(buffer[..len].to_vec()),
                            Received::Empty | Received::Gone => None,
                        };
                        prop_assert_eq!(received, model.pop_front());
                    }
                }
                prop_assert!(rings(&right) || model.is_empty(), "packets wait and nobody is told");
            }
        }
    }
}
