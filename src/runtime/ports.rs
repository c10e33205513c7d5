//! The devices as the stack sends to them.
//!
//! Owns them, and the small datagrams that no device has been given yet; what all of them together may take in one go is
//! limited. The stack makes its small datagrams one after the other, and then they are written one after the other. In each
//! write the kernel receives the datagram, with all that its TCP does about it, and what makes the next one would
//! have to be fetched into the nearest cache again: the two in turn take longer than either by itself.

use std::sync::Arc;

use crate::device::{Device, EgressMeta, HEADROOM};
use crate::proto::{DeviceId, Egress, PacketSink, Sent};

/// Datagrams that one holder of the lock sends before it lets go of it: each costs about a microsecond in
/// the kernel, and others wait.
const SEND_BUDGET_PACKETS: usize = 64;
/// The same in bytes, for large datagrams.
const SEND_BUDGET_BYTES: usize = 256 << 10;
/// Datagrams of up to this many bytes wait for each other: every one of a usual Ethernet, be it a request, an acknowledgement or a full
/// segment. They would be copied together for the write anyway.
const SMALL_MAX: usize = 2048;

/// The devices of the stack's interfaces.
#[derive(Default)]
pub(super) struct Ports {
    /// By interface; `None` where the device is gone.
    devices: Vec<Option<Arc<dyn Device>>>,
}

impl Ports {
    pub(super) fn new(devices: &[Arc<dyn Device>]) -> Self {
        Ports { devices: devices.iter().cloned().map(Some).collect() }
    }

    /// The device behind an interface.
    pub(super) fn get(&self, device: DeviceId) -> Option<&dyn Device> {
        self.devices.get(usize::from(device.0))?.as_deref()
    }

    /// Gives a device a datagram. What one is given that is gone is lost, like what a link loses that is down.
    fn send(&self, egress: Egress<'_>) -> Sent {
        self.get(egress.device).map_or(Sent::Taken, |device| device.send(egress))
    }

    /// The same with one that is in one piece, behind headroom.
    fn send_with_headroom(&self, buffer: &mut [u8], meta: EgressMeta) -> Sent {
        self.get(meta.device).map_or(Sent::Taken, |device| device.send_with_headroom(buffer, meta))
    }

    /// Lets a device go.
    pub(super) fn remove(&mut self, device: DeviceId) -> Option<Arc<dyn Device>> {
        self.devices.get_mut(usize::from(device.0))?.take()
    }

    /// Whether no device is left.
    pub(super) fn is_empty(&self) -> bool {
        self.devices.iter().all(Option::is_none)
    }

    pub(super) fn take_all(&mut self) -> Vec<Option<Arc<dyn Device>>> {
        std::mem::take(&mut self.devices)
    }
}

/// Small datagrams that the stack has sent and no device has taken yet.
///
/// There are at most as many for each device as may be sent in one go: once it has had no room, no more are taken for it. They are
/// lost with a device that is gone, like what a link loses that is down.
#[derive(Default)]
pub(super) struct Outgoing {
    /// One behind the other, each behind headroom.
    bytes: Vec<u8>,
    datagrams: Vec<Waiting>,
    /// Devices that had no room when they were offered some of these.
    full: Vec<DeviceId>,
}

/// A datagram among the bytes.
#[derive(Clone, Copy)]
struct Waiting {
    meta: EgressMeta,
    start: usize,
    /// With its headroom.
    len: usize,
}

impl Waiting {
    /// Offers it to its device.
    fn is_taken(&self, bytes: &mut [u8], ports: &Ports) -> bool {
        let buffer = bytes.get_mut(self.start..self.start + self.len).unwrap_or_default();
        ports.send_with_headroom(buffer, self.meta) == Sent::Taken
    }
}

impl Outgoing {
    /// Whether all is with the devices.
    pub(super) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Whether something is left that `device` had no room for.
    pub(super) fn waits_for_room(&self, device: DeviceId) -> bool {
        self.full.contains(&device)
    }

    fn push(&mut self, egress: &Egress<'_>) {
        let Egress { device, checksum, .. } = *egress;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADROOM]);
        egress.copy_to(&mut self.bytes);
        let meta = EgressMeta { device, checksum };
        self.datagrams.push(Waiting { meta, start, len: self.bytes.len() - start });
    }

    /// Offers all of them, each device its own in their order, and keeps those for which there is no room.
    #[inline(never)]
    fn offer(&mut self, ports: &Ports) {
        self.full.clear();
        let Outgoing { bytes, datagrams, .. } = self;
        let refused = datagrams.iter().position(|datagram| !datagram.is_taken(bytes, ports));
        match refused {
            None => {
                bytes.clear();
                datagrams.clear();
            }
            Some(first) => self.keep_from(first, ports),
        }
    }

    /// The rest of an offer, from the first datagram on for which there was no room.
    #[cold]
    fn keep_from(&mut self, first: usize, ports: &Ports) {
        let Outgoing { bytes, datagrams, full } = self;
        datagrams.drain(..first);
        full.extend(datagrams.first().map(|datagram| datagram.meta.device));
        let mut kept = 0;
        datagrams.retain_mut(|datagram| {
            let device = datagram.meta.device;
            if !full.contains(&device) {
                if datagram.is_taken(bytes, ports) {
                    return false;
                }
                full.push(device);
            }
            let Waiting { start, len, .. } = datagram;
            let range = *start..*start + *len;
            // So that they take no more room than they need, however long they wait.
            bytes.copy_within(range, kept);
            *start = kept;
            kept += *len;
            true
        });
        bytes.truncate(kept);
    }
}

/// The devices, as long as the budget lasts. What is small is offered to them when this is dropped, or before something
/// else is.
pub(super) struct Budgeted<'a> {
    ports: &'a Ports,
    outgoing: &'a mut Outgoing,
    packets: usize,
    bytes: usize,
    /// Something was added to what is small.
    has_more: bool,
}

impl<'a> Budgeted<'a> {
    /// What is left from before is offered again, ahead of all else.
    pub(super) fn new(ports: &'a Ports, outgoing: &'a mut Outgoing) -> Self {
        if !outgoing.is_empty() {
            outgoing.offer(ports);
        }
        Budgeted { ports, outgoing, packets: SEND_BUDGET_PACKETS, bytes: SEND_BUDGET_BYTES, has_more: false }
    }

    /// Offers a datagram of this length.
    fn offer(&mut self, egress: &Egress<'_>, len: usize) -> Sent {
        if self.outgoing.waits_for_room(egress.device) {
            return Sent::Busy;
        }
        if len <= SMALL_MAX && egress.gso_size.is_none() {
            self.outgoing.push(egress);
            self.has_more = true;
            return Sent::Taken;
        }
        // Nothing overtakes what was sent before.
        if !self.outgoing.is_empty() {
            self.outgoing.offer(self.ports);
            if self.outgoing.waits_for_room(egress.device) {
                return Sent::Busy;
            }
        }
        self.ports.send(*egress)
    }
}

impl PacketSink for Budgeted<'_> {
    fn send(&mut self, egress: Egress<'_>) -> Sent {
        if self.packets == 0 || self.bytes == 0 {
            return Sent::Enough;
        }
        let len = egress.len();
        let sent = self.offer(&egress, len);
        if sent == Sent::Taken {
            self.packets -= 1;
            self.bytes = self.bytes.saturating_sub(len);
        }
        sent
    }
}

impl Drop for Budgeted<'_> {
    fn drop(&mut self) {
        // A device that panics ends the stack, and a second panic would end the process.
        if self.has_more && !std::thread::panicking() {
            self.outgoing.offer(self.ports);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::sync::Mutex;

    use proptest::prelude::*;
    use rustix::event::{EventfdFlags, eventfd};

    use super::*;
    use crate::device::{Received, Room};

    /// Takes so many datagrams, and then has no room.
    struct Narrow {
        fd: OwnedFd,
        room: Mutex<usize>,
        taken: Mutex<Vec<Vec<u8>>>,
    }

    impl Narrow {
        fn new() -> Arc<Narrow> {
            let fd = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
            Arc::new(Narrow { fd, room: Mutex::new(0), taken: Mutex::default() })
        }

        fn make_room(&self, datagrams: usize) {
            *self.room.lock().unwrap() = datagrams;
        }

        fn taken(&self) -> Vec<Vec<u8>> {
            self.taken.lock().unwrap().clone()
        }
    }

    impl Device for Narrow {
        fn name(&self) -> &str {
            "narrow"
        }

        fn mtu(&self) -> usize {
            1500
        }

        fn recv(&self, _buffer: &mut [u8]) -> Received {
            Received::Empty
        }

        fn send(&self, egress: Egress<'_>) -> Sent {
            let mut room = self.room.lock().unwrap();
            if *room == 0 {
                return Sent::Busy;
            }
            *room -= 1;
            let mut datagram = Vec::new();
            egress.copy_to(&mut datagram);
            self.taken.lock().unwrap().push(datagram);
            Sent::Taken
        }

        /// Makes use of the room, as it may, whether it takes the datagram or not.
        fn send_with_headroom(&self, buffer: &mut [u8], meta: EgressMeta) -> Sent {
            buffer[..HEADROOM].fill(0xee);
            self.send(meta.egress(&buffer[HEADROOM..]))
        }

        fn poll_fd(&self) -> BorrowedFd<'_> {
            self.fd.as_fd()
        }

        fn room(&self) -> Room {
            Room::Writable
        }
    }

    fn datagram(number: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![number as u8; len];
        bytes[..2].copy_from_slice(&(number as u16).to_be_bytes());
        bytes
    }

    fn send(sink: &mut Budgeted<'_>, device: u16, bytes: &[u8]) -> Sent {
        let (header, payload) = bytes.split_at(bytes.len() / 2);
        sink.send(Egress::plain(DeviceId(device), header, &[payload]))
    }

    #[test]
    fn small_datagrams_go_together_and_what_is_large_does_not_overtake_them() {
        let device = Narrow::new();
        device.make_room(10);
        let ports = Ports::new(&[Arc::clone(&device) as Arc<dyn Device>]);
        let mut outgoing = Outgoing::default();
        let mut sink = Budgeted::new(&ports, &mut outgoing);
        let sent = [datagram(0, 40), datagram(1, SMALL_MAX), datagram(2, SMALL_MAX + 1), datagram(3, 40)];
        for bytes in &sent[..2] {
            assert_eq!(send(&mut sink, 0, bytes), Sent::Taken);
        }
        assert!(device.taken().is_empty());
        assert_eq!(send(&mut sink, 0, &sent[2]), Sent::Taken);
        assert_eq!(device.taken(), sent[..3]);
        assert_eq!(send(&mut sink, 0, &sent[3]), Sent::Taken);
        drop(sink);
        assert_eq!(device.taken(), sent);
        assert!(outgoing.is_empty() && outgoing.bytes.is_empty());
    }

    #[test]
    fn what_a_lost_device_was_to_be_given_is_lost_and_hinders_nobody() {
        let (one, other) = (Narrow::new(), Narrow::new());
        other.make_room(10);
        let mut ports = Ports::new(&[Arc::clone(&one) as Arc<dyn Device>, Arc::clone(&other) as _]);
        let mut outgoing = Outgoing::default();
        let mut sink = Budgeted::new(&ports, &mut outgoing);
        assert_eq!(send(&mut sink, 0, &datagram(0, 40)), Sent::Taken);
        assert_eq!(send(&mut sink, 1, &datagram(1, 40)), Sent::Taken);
        drop(sink);
        assert_eq!(other.taken(), [datagram(1, 40)]);
        assert!(outgoing.waits_for_room(DeviceId(0)) && !outgoing.waits_for_room(DeviceId(1)));
        let mut sink = Budgeted::new(&ports, &mut outgoing);
        assert_eq!(send(&mut sink, 0, &datagram(2, 40)), Sent::Busy);
        drop(sink);
        ports.remove(DeviceId(0));
        drop(Budgeted::new(&ports, &mut outgoing));
        assert!(outgoing.is_empty() && !outgoing.waits_for_room(DeviceId(0)));
    }

    proptest! {
        #[test]
        fn each_device_gets_all_that_was_taken_for_it_once_and_in_order(
            rounds in prop::collection::vec(
                (prop::collection::vec((0u16..2, 2usize..2 * SMALL_MAX), 0..100), 0usize..90, 0usize..90), 1..8)
        ) {
            let devices = [Narrow::new(), Narrow::new()];
            let ports = Ports::new(&devices.clone().map(|device| device as Arc<dyn Device>));
            let mut outgoing = Outgoing::default();
            let (mut number, mut expected) = (0, [Vec::new(), Vec::new()]);
            for (sends, one, other) in rounds {
                devices[0].make_room(one);
                devices[1].make_room(other);
                let mut sink = Budgeted::new(&ports, &mut outgoing);
                for (device, len) in sends {
                    let bytes = datagram(number, len);
                    number += 1;
                    if send(&mut sink, device, &bytes) == Sent::Taken {
                        expected[usize::from(device)].push(bytes);
                    }
                }
                drop(sink);
                prop_assert!(outgoing.datagrams.len() <= 2 * SEND_BUDGET_PACKETS);
                let kept: usize = outgoing.datagrams.iter().map(|waiting| waiting.len).sum();
                prop_assert_eq!(outgoing.bytes.len(), kept);
            }
            devices.iter().for_each(|device| device.make_room(usize::MAX));
            drop(Budgeted::new(&ports, &mut outgoing));
            prop_assert!(outgoing.is_empty());
            prop_assert_eq!(devices.map(|device| device.taken()), expected);
        }
    }
}
