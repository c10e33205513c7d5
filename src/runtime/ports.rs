//! The devices as the stack sends to them.
//!
//! Owns them, and the small datagrams that no device has been given yet; what all of them together may take in one go is
//! limited. The stack makes its small datagrams one after the other, and then they are written one after the other. In each
//! write the kernel receives the datagram, with all that its TCP does about it, and what makes the next one would
//! have to be fetched into the nearest cache again: the two in turn take longer than either by itself.

use std::sync::Arc;

use crate::device::{Device, EgressMeta, HEADROOM};
use crate::proto::packet::copy_pieces;
use crate::proto::{DeviceId, Egress, PacketSink, Sent};

/// Datagrams that one holder of the lock sends before it lets go of it: each costs about a microsecond in
/// the kernel, and others wait.
const SEND_BUDGET_PACKETS: usize = 64;
/// The same in bytes, for large datagrams.
const SEND_BUDGET_BYTES: usize = 256 << 10;
/// Datagrams of up to this many bytes wait for each other: every one of a usual Ethernet, be it a request, an acknowledgement or a full
/// segment. They would be copied together for the write anyway.
const SMALL_MAX: usize = 2048;
/// Most of them have headers of this length: those of TCP over IPv4, with timestamps.
const USUAL_HEADER: usize = 52;

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
    /// One behind the other, each behind headroom, and then room for more.
    bytes: Vec<u8>,
    /// Where the room for more begins.
    end: usize,
    datagrams: Vec<Waiting>,
    /// Devices that had no room when they were offered some of these.
    full: Vec<DeviceId>,
}

/// A datagram among the bytes.
#[derive(Clone, Copy)]
struct Waiting {
    meta: EgressMeta,
    /// With its headroom.
    len: usize,
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

    /// Copies a datagram, which has this length, behind the others.
    fn push(&mut self, egress: &Egress<'_>, len: usize) {
        match self.room_for(egress, len) {
            Some(room) => copy_whole(egress, room),
            None => {
                self.make_room(len);
                self.push(egress, len);
            }
        }
    }

    /// Where a datagram of this length is to be copied to, which from then on is one of these; `None` if room has to be made
    /// first.
    #[inline(always)]
    fn room_for(&mut self, egress: &Egress<'_>, len: usize) -> Option<&mut [u8]> {
        let len = HEADROOM + len;
        let (room, _) = self.bytes.get_mut(self.end..)?.split_at_mut_checked(len)?;
        if self.datagrams.len() == self.datagrams.capacity() {
            return None;
        }
        self.end += len;
        let meta = EgressMeta { device: egress.device, checksum: egress.checksum };
        self.datagrams.push(Waiting { meta, len });
        Some(&mut room[HEADROOM..])
    }

    #[cold]
    fn make_room(&mut self, len: usize) {
        let end = self.end + HEADROOM + len;
        self.bytes.resize(self.bytes.len().max(end), 0);
        // All that was allocated for that.
        self.bytes.resize(self.bytes.capacity(), 0);
        self.datagrams.reserve(1);
    }

    /// Offers all of them, each device its own in their order, and keeps those for which there is no room.
    #[inline(never)]
    fn offer(&mut self, ports: &Ports) {
        self.full.clear();
        let mut rest = self.bytes.as_mut_slice();
        for (nth, datagram) in self.datagrams.iter().enumerate() {
            let (buffer, behind) = rest.split_at_mut(datagram.len);
            rest = behind;
            if ports.send_with_headroom(buffer, datagram.meta) != Sent::Taken {
                return self.keep_from(nth, ports);
            }
        }
        self.end = 0;
        self.datagrams.clear();
    }

    /// The rest of an offer, from the first datagram on, for which there was no room.
    #[cold]
    fn keep_from(&mut self, first: usize, ports: &Ports) {
        let Outgoing { bytes, end, datagrams, full } = self;
        let mut start = datagrams.drain(..first).map(|taken| taken.len).sum();
        full.extend(datagrams.first().map(|datagram| datagram.meta.device));
        let mut kept = 0;
        datagrams.retain(|&Waiting { meta, len }| {
            let range = start..start + len;
            start += len;
            if !full.contains(&meta.device) {
                if ports.send_with_headroom(&mut bytes[range.clone()], meta) == Sent::Taken {
                    return false;
                }
                full.push(meta.device);
            }
            // So that they take no more room than they need, however long they wait.
            bytes.copy_within(range, kept);
            kept += len;
            true
        });
        *end = kept;
    }
}

/// Copies a whole datagram into `room`, which has its length.
fn copy_whole(egress: &Egress<'_>, room: &mut [u8]) {
    let (place, rest) = room.split_at_mut(egress.header.len());
    place.copy_from_slice(egress.header);
    copy_pieces(egress.payload, rest);
}

/// What one holder of the lock may still send.
struct Budget {
    packets: usize,
    /// But for the last datagram, which may be longer.
    bytes: usize,
}

impl Budget {
    const FULL: Budget = Budget { packets: SEND_BUDGET_PACKETS, bytes: SEND_BUDGET_BYTES };

    fn is_used_up(&self) -> bool {
        self.packets == 0
    }

    /// A datagram of this length was taken.
    fn spend(&mut self, len: usize) {
        // Where no bytes are left no packets are, so that one question does for both.
        self.packets = if len < self.bytes { self.packets - 1 } else { 0 };
        self.bytes = self.bytes.wrapping_sub(len);
    }
}

/// The devices, as long as the budget lasts. What is small is offered to them when this is dropped, or before something
/// else is.
pub(super) struct Budgeted<'a> {
    ports: &'a Ports,
    outgoing: &'a mut Outgoing,
    budget: Budget,
    /// Something was added to what is small.
    has_more: bool,
}

impl<'a> Budgeted<'a> {
    /// What is left from before is offered again, ahead of all else.
    pub(super) fn new(ports: &'a Ports, outgoing: &'a mut Outgoing) -> Self {
        if !outgoing.is_empty() {
            outgoing.offer(ports);
        }
        Budgeted { ports, outgoing, budget: Budget::FULL, has_more: false }
    }

    /// Whether something was sent.
    pub(super) fn has_sent(&self) -> bool {
        self.budget.packets < SEND_BUDGET_PACKETS
    }

    /// Sends a datagram as nearly all are, if nothing is in its way: a small one, with text in one piece or none. Tells whether it
    /// did.
    #[inline(always)]
    fn send_usual(&mut self, egress: &Egress<'_>) -> bool {
        let &Egress { header, payload, gso_size: None, .. } = egress else { return false };
        let text: &[u8] = match payload {
            [] => &[],
            [text] => text,
            _ => return false,
        };
        let len = header.len() + text.len();
        if len > SMALL_MAX || !self.outgoing.full.is_empty() {
            return false;
        }
        let Some(room) = self.outgoing.room_for(egress, len) else { return false };
        self.budget.spend(len);
        self.has_more = true;
        let (place, rest) = room.split_at_mut(header.len());
        if header.len() == USUAL_HEADER {
            // The length is known when this is compiled.
            place[..USUAL_HEADER].copy_from_slice(&header[..USUAL_HEADER]);
        } else {
            place.copy_from_slice(header);
        }
        if !text.is_empty() {
            rest.copy_from_slice(text);
        }
        true
    }

    /// Sends any datagram.
    #[inline(never)]
    fn send_any(&mut self, egress: &Egress<'_>) -> Sent {
        if self.outgoing.waits_for_room(egress.device) {
            return Sent::Busy;
        }
        let len = egress.len();
        if len <= SMALL_MAX && egress.gso_size.is_none() {
            self.outgoing.push(egress, len);
            self.has_more = true;
        } else {
            let sent = self.send_at_once(egress);
            if sent != Sent::Taken {
                return sent;
            }
        }
        self.budget.spend(len);
        Sent::Taken
    }

    /// Sends a datagram that doesn't wait for others.
    fn send_at_once(&mut self, egress: &Egress<'_>) -> Sent {
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
        if self.budget.is_used_up() {
            return Sent::Enough;
        }
        if self.send_usual(&egress) { Sent::Taken } else { self.send_any(&egress) }
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

    /// In pieces that differ from one number to the next.
    fn send(sink: &mut Budgeted<'_>, device: u16, bytes: &[u8]) -> Sent {
        let (number, len) = (bytes[1], bytes.len());
        let (header, text) = bytes.split_at([len, len / 2, USUAL_HEADER.min(len)][usize::from(number % 3)]);
        let (text, more) = text.split_at(if number % 5 == 0 { text.len() / 2 } else { text.len() });
        let payload: Vec<&[u8]> = [text, more].into_iter().filter(|piece| !piece.is_empty()).collect();
        sink.send(Egress::plain(DeviceId(device), header, &payload))
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
        assert!(outgoing.is_empty() && outgoing.end == 0);
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
                prop_assert_eq!(outgoing.end, kept);
            }
            devices.iter().for_each(|device| device.make_room(usize::MAX));
            drop(Budgeted::new(&ports, &mut outgoing));
            prop_assert!(outgoing.is_empty());
            prop_assert_eq!(devices.map(|device| device.taken()), expected);
        }
    }
}
