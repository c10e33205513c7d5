//! Small packets waiting for a device: ICMP answers, resets, SYN-ACKs, UDP datagrams. Bounded.
//!
//! TCP's own segments never wait here: they are planned when the device has room. A part of the room is
//! kept for answers, so that an application that sends datagrams faster than the device takes them
//! can't silence the rest of the stack.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::num::NonZeroU16;

use crate::proto::config::Config;
use crate::proto::packet::{DeviceId, Egress, EgressChecksum};

/// A bounded queue of complete datagrams.
#[derive(Debug)]
pub struct Outbox {
    queue: VecDeque<Waiting>,
    bytes: usize,
    packets_max: usize,
    bytes_max: usize,
}

#[derive(Debug)]
struct Waiting {
    device: DeviceId,
    bytes: Vec<u8>,
    /// As in [`Egress`]: what is in transit may be a super-segment.
    gso_size: Option<NonZeroU16>,
    /// As in [`Egress`].
    checksum: EgressChecksum,
}

impl Outbox {
    /// An empty queue with the limits of `config`.
    pub(crate) fn new(config: &Config) -> Self {
        Outbox {
            queue: VecDeque::new(),
            bytes: 0,
            packets_max: config.outbox_packets,
            bytes_max: config.outbox_bytes,
        }
    }

    /// Queues a datagram; `false` if there is no room (nothing happened).
    pub(crate) fn push(&mut self, device: DeviceId, bytes: Vec<u8>) -> bool {
        if !self.has_room_for(1, bytes.len()) {
            return false;
        }
        self.push_checked(device, bytes);
        true
    }

    /// Queues a part of a datagram, for all of which [`has_room_for`](Self::has_room_for) has found room.
    pub(crate) fn push_part(&mut self, device: DeviceId, bytes: &[u8]) {
        self.push_checked(device, bytes.to_vec());
    }

    fn push_checked(&mut self, device: DeviceId, bytes: Vec<u8>) {
        self.bytes += bytes.len();
        let (gso_size, checksum) = (None, EgressChecksum::Complete);
        self.queue.push_back(Waiting { device, bytes, gso_size, checksum });
    }

    /// Copies and queues a packet on its way to somebody else; `false` if there is no room (nothing happened).
    pub(crate) fn push_transit(&mut self, egress: &Egress<'_>) -> bool {
        let Egress { device, gso_size, checksum, .. } = *egress;
        // Half of the queue is left to what is our own.
        let (packets_max, bytes_max) = (self.packets_max / 2, self.bytes_max / 2);
        if !self.fits(1, egress.len(), packets_max, bytes_max) {
            return false;
        }
        let mut bytes = Vec::new();
        egress.copy_to(&mut bytes);
        self.bytes += bytes.len();
        self.queue.push_back(Waiting { device, bytes, gso_size, checksum });
        true
    }

    /// Whether something waits for the device: who sends by another way would overtake it.
    pub(crate) fn has_waiting(&self, device: DeviceId) -> bool {
        !self.queue.is_empty() && self.queue.iter().any(|waiting| waiting.device == device)
    }

    /// Calls `send` with the oldest datagram.
    pub(crate) fn offer_front<T>(&self, send: impl FnOnce(Egress<'_>) -> T) -> Option<T> {
        let Waiting { device, ref bytes, gso_size, checksum } = *self.queue.front()?;
        Some(send(Egress { device, header: bytes, payload: &[], gso_size, checksum }))
    }

    /// Removes the oldest datagram.
    pub(crate) fn pop(&mut self) -> Option<(DeviceId, Vec<u8>)> {
        let Waiting { device, bytes, .. } = self.queue.pop_front()?;
        self.bytes -= bytes.len();
        Some((device, bytes))
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether so many packets of so many bytes together would find room.
    pub(crate) fn has_room_for(&self, packets: usize, bytes: usize) -> bool {
        self.fits(packets, bytes, self.packets_max, self.bytes_max)
    }

    /// Whether an application's packets would find room: a quarter of the queue is kept for the stack's own
    /// answers.
    pub(crate) fn has_room_for_application(&self, packets: usize, bytes: usize) -> bool {
        let (packets_max, bytes_max) = (self.packets_max, self.bytes_max);
        self.fits(packets, bytes, packets_max - packets_max / 4, bytes_max - bytes_max / 4)
    }

    /// Whether no more than half of the queue is taken: room enough to tell those who wait for it.
    pub(crate) fn is_half_empty(&self) -> bool {
        self.queue.len() <= self.packets_max / 2 && self.bytes <= self.bytes_max / 2
    }

    fn fits(&self, packets: usize, bytes: usize, packets_max: usize, bytes_max: usize) -> bool {
        // One datagram finds room whatever the limits: else a large one could never be sent.
        let fits = self.queue.len().saturating_add(packets) <= packets_max
            && self.bytes.saturating_add(bytes) <= bytes_max;
        fits || self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn outbox(packets: usize, bytes: usize) -> Outbox {
        Outbox::new(&Config { outbox_packets: packets, outbox_bytes: bytes, ..Config::default() })
    }

    #[test]
    fn datagrams_leave_in_the_order_they_came() {
        let mut outbox = outbox(4, 100);
        assert!(outbox.push(DeviceId(0), vec![1]));
        assert!(outbox.push(DeviceId(1), vec![2, 3]));
        assert_eq!(outbox.offer_front(|egress| egress.header.to_vec()), Some(vec![1]));
        assert_eq!(outbox.pop(), Some((DeviceId(0), vec![1])));
        assert_eq!(outbox.pop(), Some((DeviceId(1), vec![2, 3])));
        assert_eq!(outbox.pop(), None);
        assert!(outbox.is_empty());
    }

    #[test]
    fn packets_and_bytes_are_both_limited_and_room_returns() {
        let mut outbox = outbox(2, 10);
        assert!(outbox.push(DeviceId(0), vec![0; 6]));
        assert!(!outbox.push(DeviceId(0), vec![0; 5]));
        assert!(outbox.push(DeviceId(0), vec![0; 4]));
        assert!(!outbox.has_room_for(1, 0));
        outbox.pop();
        assert!(outbox.has_room_for(1, 6) && !outbox.has_room_for(1, 7));
    }

    #[test]
    fn an_application_leaves_a_quarter_to_the_stack() {
        let mut outbox = outbox(8, 80);
        for _ in 0..6 {
            assert!(outbox.has_room_for_application(1, 1));
            assert!(outbox.push(DeviceId(0), vec![0]));
        }
        assert!(!outbox.has_room_for_application(1, 1));
        assert!(outbox.has_room_for(1, 1));
    }
}
