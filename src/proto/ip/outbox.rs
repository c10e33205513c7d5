//! Small packets waiting for a device: ICMP answers, resets, SYN-ACKs, UDP datagrams. Bounded.

use alloc::vec::Vec;
use crate::proto::config::Config;
use crate::proto::packet::DeviceId;

/// A bounded queue of complete datagrams.
#[derive(Debug)]
pub struct Outbox {}

impl Outbox {
    pub(crate) fn new(config: &Config) -> Self { todo!() }
    /// Queues a datagram; `false` if there is no room (nothing happened).
    pub(crate) fn push(&mut self, device: DeviceId, bytes: Vec<u8>) -> bool { todo!() }
    /// The oldest datagram.
    pub(crate) fn front(&self) -> Option<(DeviceId, &[u8])> { todo!() }
    /// Removes the oldest datagram.
    pub(crate) fn pop(&mut self) -> Option<(DeviceId, Vec<u8>)> { todo!() }
    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool { todo!() }
    /// Whether a datagram of `len` bytes would find room.
    pub(crate) fn has_room(&self, len: usize) -> bool { todo!() }
}
