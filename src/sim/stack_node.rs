//! A stack of ours as a node of a network.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::coalesce;
use super::loss::Ppm;
use super::network::Node;
use crate::proto::ip::segment::{Unfinishable, Unfinished};
use crate::proto::stack::Progress;
use crate::proto::{ChecksumState, DeviceId, Egress, EgressChecksum, Packet, Sent, Stack};
use crate::rng::Rng;
use crate::time::Instant;

/// A stack whose interfaces are the node's ports, in the order they were added.
///
/// ```
/// use tunstack::proto::{Config, Secrets, Stack};
/// use tunstack::sim::{Node, StackNode};
/// use tunstack::time::Instant;
///
/// let mut stack = Stack::new(Config::default(), &Secrets::from_number(1), Instant::ZERO);
/// let device = stack.add_interface(1500);
/// stack.add_address(device, "10.9.0.2/24".parse().unwrap()).unwrap();
/// let mut node = StackNode::new(stack, 1);
/// node.receive(Instant::ZERO, 0, b"not a packet");
/// node.poll(Instant::ZERO, &mut Vec::new());
/// assert_eq!(node.stack.counters().dropped_total(), 1);
/// ```
#[derive(Debug)]
pub struct StackNode {
    /// The stack. Its events are its user's to take.
    pub stack: Stack,
    /// How often a device has no room for a packet; it is asked again 300 microseconds later.
    pub busy: Ppm,
    /// What arrives within this time is handed to the stack in one batch.
    pub batch: Duration,
    /// Whether segments of one batch are merged into super-segments before the stack sees them.
    pub coalesces: bool,
    ports: Vec<DeviceId>,
    inbox: VecDeque<(usize, Vec<u8>)>,
    read_at: Option<Instant>,
    busy_until: Option<Instant>,
    rng: Rng,
    taken: u64,
    refused: u64,
    super_segments: [u64; 2],
}

const BUSY_FOR: Duration = Duration::from_micros(300);

impl StackNode {
    /// A node whose devices are never busy and hand over each packet by itself; see the fields to change that.
    pub fn new(stack: Stack, seed: u64) -> Self {
        StackNode {
            ports: stack.interfaces().map(|interface| interface.device).collect(),
            stack,
            busy: Ppm::NEVER,
            batch: Duration::ZERO,
            coalesces: false,
            inbox: VecDeque::new(),
            read_at: None,
            busy_until: None,
            rng: Rng::from_number(seed),
            taken: 0,
            refused: 0,
            super_segments: [0; 2],
        }
    }

    /// The interface behind a port.
    pub fn device(&self, port: usize) -> Option<DeviceId> {
        self.ports.get(port).copied()
    }

    /// How many packets the devices have taken, a super-segment counted once.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// How often a device had no room.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// How many super-segments the stack has been given, and how many it has sent.
    pub fn super_segments(&self) -> [u64; 2] {
        self.super_segments
    }

    /// Hands over what has come. `true` if that was anything.
    fn read(&mut self, now: Instant) -> bool {
        if self.read_at.is_none_or(|at| at > now) {
            return false;
        }
        self.read_at = None;
        while let Some((port, _)) = self.inbox.front() {
            let port = *port;
            let run = self.inbox.iter().take_while(|(other, _)| *other == port).count();
            let packets = self.inbox.drain(..run).map(|(_, bytes)| bytes);
            let Some(device) = self.ports.get(port).copied() else { continue };
            if !self.coalesces {
                packets.for_each(|bytes| self.stack.receive(device, &Packet::plain(&bytes, now)));
                continue;
            }
            for arrival in coalesce::merge(packets) {
                let coalesce::Arrival { bytes, checksum, gso_size } = &arrival;
                self.super_segments[0] += u64::from(gso_size.is_some());
                let packet = Packet { bytes, at: now, checksum: *checksum, gso_size: *gso_size };
                self.stack.receive(device, &packet);
            }
        }
        true
    }

    /// Sends what the devices have room for. `true` if that was anything.
    fn send(&mut self, now: Instant, out: &mut Vec<(usize, Vec<u8>)>) -> bool {
        if self.busy_until.is_some_and(|until| now < until) {
            return false;
        }
        self.busy_until = None;
        let before = self.taken;
        let Self { stack, ports, busy, rng, taken, refused, super_segments, .. } = self;
        let mut sink = |egress: Egress<'_>| {
            if busy.happens(rng) {
                *refused += 1;
                return Sent::Busy;
            }
            *taken += 1;
            super_segments[1] += u64::from(egress.gso_size.is_some());
            if let Some(port) = ports.iter().position(|device| *device == egress.device) {
                on_the_wire(&egress, |packet| out.push((port, packet)));
            }
            Sent::Taken
        };
        loop {
            match stack.transmit(now, &mut sink) {
                Progress::More => {}
                Progress::Idle => break,
                Progress::Busy => {
                    self.busy_until = Some(now + BUSY_FOR);
                    break;
                }
            }
        }
        self.taken > before
    }
}

/// What a device puts on the wire for a packet that it has taken.
fn on_the_wire(egress: &Egress<'_>, mut each: impl FnMut(Vec<u8>)) {
    let mut bytes = Vec::new();
    egress.copy_to(&mut bytes);
    let checksum = match egress.checksum {
        EgressChecksum::Complete => return each(bytes),
        EgressChecksum::Partial { .. } => ChecksumState::Partial,
    };
    let packet = Packet { bytes: &bytes, at: Instant::ZERO, checksum, gso_size: egress.gso_size };
    match Unfinished::of(&packet) {
        Ok(Some(unfinished)) => unfinished.finish(|headers, data| each([headers, data].concat())),
        Ok(None) | Err(Unfinishable) => debug_assert!(false, "a device can't make packets of this"),
    }
}

impl Node for StackNode {
    fn receive(&mut self, now: Instant, port: usize, packet: &[u8]) {
        self.inbox.push_back((port, packet.to_vec()));
        self.read_at.get_or_insert(now + self.batch);
    }

    fn poll(&mut self, now: Instant, out: &mut Vec<(usize, Vec<u8>)>) -> bool {
        let read = self.read(now);
        self.stack.advance(now);
        // Else the driver would never sleep.
        debug_assert!(self.stack.deadline().is_none_or(|at| at > now), "a deadline that has passed");
        let sent = self.send(now, out);
        debug_assert!(
            self.busy_until.is_some() || !self.stack.wants_transmit(),
            "something to send after transmit came to Idle"
        );
        read || sent
    }

    fn deadline(&mut self, _now: Instant) -> Option<Instant> {
        [self.stack.deadline(), self.busy_until, self.read_at].into_iter().flatten().min()
    }
}
