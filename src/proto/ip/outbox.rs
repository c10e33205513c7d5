//! Small packets waiting for a device: ICMP answers, resets, SYN-ACKs, datagrams, and packets for others that
//! found their device busy. One bounded queue for each device.
//!
//! TCP's own segments never wait here: they are planned when the device has room. A part of the room is
//! kept for answers, so that an application that sends datagrams faster than the device takes them
//! can't silence the rest of the stack; packets for others have room of their own and take none from either.
//!
//! What waits is finished, or left to the device to finish as it was when it was queued; if the device has become another
//! meanwhile, it is finished here.

use alloc::vec::Vec;
use core::num::NonZeroU16;

use super::burst::{self, Burst};
use super::segment::{Unfinishable, Unfinished};
use crate::proto::buf::records::{Kept, Records};
use crate::proto::config::Config;
use crate::proto::packet::{
    ChecksumState, DeviceId, Egress, EgressChecksum, Offloads, Packet, PacketSink, Progress, Sent,
};
use crate::proto::wire::udp;
use crate::time::Instant;

/// A bounded queue of complete datagrams for each device.
#[derive(Debug)]
pub struct Outbox {
    /// The loopback's first, then the devices' in the order of their ids.
    queues: Vec<Queue>,
    /// For what comes from this stack.
    own_max: Load,
    /// For what comes from others.
    transit_max: Load,
    /// Datagrams in all queues.
    waiting: usize,
    /// The queue that is drained first next time.
    first: usize,
    /// An application that found no room would find some now.
    is_relieved: bool,
}

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    packets: usize,
    bytes: usize,
}

/// What waits for one device.
#[derive(Debug)]
struct Queue {
    packets: Records<Waiting>,
    own: Load,
    transit: Load,
    /// An application found no room.
    has_refused: bool,
}

/// What is known of a datagram that waits.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    is_transit: bool,
    /// As in [`Egress`]: it may be a super-segment.
    gso_size: Option<NonZeroU16>,
    /// As in [`Egress`].
    checksum: EgressChecksum,
    /// Set as long as others may join it.
    burst: Option<Burst>,
}

/// A datagram of UDP in its pieces, without its checksum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsummed<'a> {
    pub(crate) ip: &'a [u8],
    /// Its checksum field holds the sum of the pseudo-header.
    pub(crate) udp: &'a [u8],
    pub(crate) data: &'a [u8],
}

/// What an empty queue keeps, if it ever needed that: enough for one super-datagram of the largest behind some answers. There is
/// a queue for each device.
const KEPT: Kept = Kept { bytes: 72 << 10, records: 64 };

impl Queue {
    fn new() -> Self {
        let (own, transit) = Default::default();
        Queue { packets: Records::new(KEPT), own, transit, has_refused: false }
    }

    /// Forgets the oldest datagram, if there is one.
    #[inline]
    fn pop(&mut self) {
        let Some((Waiting { is_transit, .. }, len)) = self.packets.pop() else { return };
        let load = if is_transit { &mut self.transit } else { &mut self.own };
        load.packets -= 1;
        load.bytes -= len;
    }

    /// Whether an application that found no room would find some now, so much that it is worth telling. Says so once.
    #[inline]
    fn take_relief(&mut self, own_max: Load) -> bool {
        let is_relieved = self.has_refused && self.own.is_half_of(own_max);
        self.has_refused &= !is_relieved;
        is_relieved
    }
}

impl Waiting {
    /// A datagram of our own.
    const OWN: Waiting =
        Waiting { is_transit: false, gso_size: None, checksum: EgressChecksum::Complete, burst: None };

    fn egress<'a>(&self, device: DeviceId, bytes: &'a [u8]) -> Egress<'a> {
        let Waiting { gso_size, checksum, .. } = *self;
        Egress { device, header: bytes, payload: &[], gso_size, checksum }
    }
}

impl Outbox {
    /// Empty queues with the limits of `config`.
    pub(crate) fn new(config: &Config) -> Self {
        Outbox {
            queues: Vec::new(),
            own_max: Load { packets: config.outbox_packets, bytes: config.outbox_bytes },
            transit_max: Load { packets: config.transit_packets, bytes: config.transit_bytes },
            waiting: 0,
            first: 0,
            is_relieved: false,
        }
    }

    /// Queues a datagram of this stack's, which comes in pieces, for which [`has_room_for`](Self::has_room_for) has
    /// found room.
    pub(crate) fn push(&mut self, device: DeviceId, pieces: &[&[u8]]) {
        self.append(device, Waiting::OWN, pieces);
    }

    /// Queues a segment of this stack's that is all headers; `false` if there is no room (nothing happened).
    pub(crate) fn push_headers(
        &mut self,
        device: DeviceId,
        headers: &[u8],
        checksum: EgressChecksum,
    ) -> bool {
        let own_max = self.own_max;
        let Some(queue) = self.queue_for(device).filter(|queue| queue.own.admits(1, headers.len(), own_max))
        else {
            return false;
        };
        queue.own.packets += 1;
        queue.own.bytes += headers.len();
        queue.packets.push_one(Waiting { checksum, ..Waiting::OWN }, headers);
        self.waiting += 1;
        true
    }

    /// Like [`push`](Self::push), of a datagram of UDP whose checksum the device completes. With `gso_size` it is a
    /// super-datagram.
    pub(crate) fn push_unsummed(
        &mut self,
        device: DeviceId,
        datagram: Unsummed<'_>,
        gso_size: Option<NonZeroU16>,
    ) {
        self.append_unsummed(device, datagram, gso_size, None);
    }

    /// Like [`push_unsummed`](Self::push_unsummed), for a device that cuts super-datagrams: it may join the one that was
    /// queued last, and others may join it. Returns the header of UDP of the super-datagram that came of it, if one did.
    pub(crate) fn join(&mut self, device: DeviceId, datagram: Unsummed<'_>) -> Option<[u8; udp::HEADER_LEN]> {
        let joined = self.try_join(device, datagram);
        if joined.is_none() {
            self.append_unsummed(device, datagram, None, Burst::of_one(datagram.data.len()));
        }
        joined
    }

    /// Copies and queues a packet on its way to somebody else; `false` if there is no room (nothing happened).
    pub(crate) fn push_transit(&mut self, egress: &Egress<'_>) -> bool {
        let Egress { device, header, payload, gso_size, checksum } = *egress;
        let has_room = self.has_room_for_transit(device, egress.len());
        if has_room {
            let waiting = Waiting { is_transit: true, gso_size, checksum, ..Waiting::OWN };
            match payload {
                [] => self.append(device, waiting, &[header]),
                [piece] => self.append(device, waiting, &[header, piece]),
                pieces => self.append(device, waiting, &[&[header], pieces].concat()),
            }
        }
        has_room
    }

    /// Whether nothing waits for any device.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Whether something waits for this device: whatever goes straight to it would overtake.
    pub(crate) fn has_waiting(&self, device: DeviceId) -> bool {
        self.waiting > 0 && self.queue(device).is_some_and(|queue| !queue.packets.is_empty())
    }

    /// Whether an answer of so many packets, of so many bytes together, would find room.
    pub(crate) fn has_room_for(&self, device: DeviceId, packets: usize, bytes: usize) -> bool {
        self.queue(device).is_none_or(|queue| queue.own.admits(packets, bytes, self.own_max))
    }

    /// Whether a datagram for somebody else would find room.
    pub(crate) fn has_room_for_transit(&self, device: DeviceId, len: usize) -> bool {
        self.queue(device).is_none_or(|queue| queue.transit.admits(1, len, self.transit_max))
    }

    /// Whether an application's packets would find room: a quarter of the queue is kept for the stack's own
    /// answers. If not, [`take_relief`](Self::take_relief) will tell when.
    pub(crate) fn has_room_for_application(
        &mut self,
        device: DeviceId,
        packets: usize,
        bytes: usize,
    ) -> bool {
        let max = self.own_max.less_a_quarter();
        let Some(queue) = self.queues.get_mut(index(device)) else { return true };
        let has_room = queue.own.admits(packets, bytes, max);
        queue.has_refused |= !has_room;
        has_room
    }

    /// Whether a queue that had no room for an application's datagram is half empty since the last call: room
    /// enough to tell those who wait for it.
    pub(crate) fn take_relief(&mut self) -> bool {
        core::mem::take(&mut self.is_relieved)
    }

    /// Whether [`take_relief`](Self::take_relief) has something to tell.
    pub(crate) fn has_relief(&self) -> bool {
        self.is_relieved
    }

    /// Offers what waits to the sink, each device's oldest first. A device that has no room holds up no other.
    pub(crate) fn drain(&mut self, sink: &mut dyn PacketSink) -> Progress {
        let mut progress = Progress::Idle;
        let count = self.queues.len();
        for step in 0..count {
            if self.waiting == 0 {
                break;
            }
            let at = self.first + step;
            let at = if at < count { at } else { at - count };
            match self.drain_one(at, sink) {
                Sent::Taken => {}
                Sent::Busy => progress = Progress::Busy,
                Sent::Enough => {
                    // Whoever used the budget up is the last to have the next.
                    self.first = (at + 1) % count;
                    return Progress::More;
                }
            }
        }
        progress
    }

    /// Finishes what waits for a device that doesn't do so any more.
    pub(crate) fn follow_offloads(&mut self, device: DeviceId, offloads: Offloads) {
        let Some(queue) = self.queues.get_mut(index(device)) else { return };
        let has_refused = queue.has_refused;
        let mut before = core::mem::replace(queue, Queue { has_refused, ..Queue::new() }).packets;
        self.waiting -= before.len();
        while let Some((&waiting, bytes)) = before.front() {
            let Waiting { gso_size, checksum, .. } = waiting;
            let state = match checksum {
                EgressChecksum::Partial { .. } => ChecksumState::Partial,
                EgressChecksum::Complete => ChecksumState::Trusted,
            };
            let packet = Packet { checksum: state, gso_size, ..Packet::plain(bytes, Instant::ZERO) };
            match Unfinished::of(&packet) {
                Ok(Some(unfinished)) if !unfinished.is_taken_by(offloads) => {
                    let plain = Waiting { is_transit: waiting.is_transit, ..Waiting::OWN };
                    unfinished.finish(|headers, data| self.append(device, plain, &[headers, data]));
                }
                Ok(_) | Err(Unfinishable) => self.append(device, waiting, &[bytes]),
            }
            before.pop();
        }
    }

    /// Forgets what waits for a device that is gone.
    pub(crate) fn forget(&mut self, device: DeviceId) {
        let Some(queue) = self.queues.get_mut(index(device)).filter(|queue| !queue.packets.is_empty()) else {
            return;
        };
        self.waiting -= queue.packets.len();
        let has_refused = core::mem::replace(queue, Queue::new()).has_refused;
        self.is_relieved |= has_refused;
    }

    /// Takes the oldest datagram of the first device that has one.
    #[cfg(test)]
    pub(crate) fn pop(&mut self) -> Option<(DeviceId, Vec<u8>)> {
        let at = self.queues.iter().position(|queue| !queue.packets.is_empty())?;
        let bytes = self.queues[at].packets.front().map(|(_, bytes)| bytes.to_vec())?;
        self.queues[at].pop();
        self.waiting -= 1;
        self.is_relieved |= self.queues[at].take_relief(self.own_max);
        Some((device_at(at), bytes))
    }

    fn drain_one(&mut self, at: usize, sink: &mut dyn PacketSink) -> Sent {
        let device = device_at(at);
        let Some(queue) = self.queues.get_mut(at) else { return Sent::Taken };
        while let Some((waiting, bytes)) = queue.packets.front() {
            match sink.send(waiting.egress(device, bytes)) {
                Sent::Taken => queue.pop(),
                refused @ (Sent::Busy | Sent::Enough) => return refused,
            };
            self.waiting -= 1;
            self.is_relieved |= queue.take_relief(self.own_max);
        }
        Sent::Taken
    }

    // In one place, and all of it.
    #[inline(never)]
    fn append(&mut self, device: DeviceId, waiting: Waiting, pieces: &[&[u8]]) {
        let Some(queue) = self.queue_for(device) else { return };
        let load = if waiting.is_transit { &mut queue.transit } else { &mut queue.own };
        load.packets += 1;
        load.bytes += queue.packets.push(waiting, pieces);
        self.waiting += 1;
    }

    fn append_unsummed(
        &mut self,
        device: DeviceId,
        datagram: Unsummed<'_>,
        gso_size: Option<NonZeroU16>,
        burst: Option<Burst>,
    ) {
        let Unsummed { ip, udp, data } = datagram;
        // No header of IP is that long.
        let checksum = EgressChecksum::Partial { start: ip.len() as u16, offset: udp::CHECKSUM_AT };
        self.append(device, Waiting { gso_size, checksum, burst, ..Waiting::OWN }, &[ip, udp, data]);
    }

    fn try_join(&mut self, device: DeviceId, datagram: Unsummed<'_>) -> Option<[u8; udp::HEADER_LEN]> {
        let Unsummed { ip, udp, data } = datagram;
        let queue = self.queues.get_mut(index(device))?;
        let (waiting, bytes) = queue.packets.back_mut()?;
        let burst = waiting.burst.filter(|burst| burst.may_be_joined(bytes, ip, udp, data.len()))?;
        if !queue.packets.extend_back(data) {
            return None;
        }
        queue.own.bytes += data.len();
        let (waiting, bytes) = queue.packets.back_mut()?;
        waiting.gso_size = NonZeroU16::new(burst.size);
        waiting.burst = burst.joined(data.len());
        burst::lengthen(bytes, ip.len(), data.len())
    }

    fn queue(&self, device: DeviceId) -> Option<&Queue> {
        self.queues.get(index(device))
    }

    /// The same, made if it isn't there yet.
    #[inline]
    fn queue_for(&mut self, device: DeviceId) -> Option<&mut Queue> {
        let index = index(device);
        if self.queues.len() <= index {
            self.add_queues_to(index);
        }
        self.queues.get_mut(index)
    }

    #[cold]
    fn add_queues_to(&mut self, index: usize) {
        self.queues.resize_with(index + 1, Queue::new);
    }
}

impl Load {
    /// One datagram finds room whatever the limits: else a large one could never be sent.
    fn admits(self, packets: usize, bytes: usize, max: Load) -> bool {
        let fits = self.packets.saturating_add(packets) <= max.packets
            && self.bytes.saturating_add(bytes) <= max.bytes;
        fits || self.packets == 0
    }

    fn is_half_of(self, max: Load) -> bool {
        self.packets <= max.packets / 2 && self.bytes <= max.bytes / 2
    }

    fn less_a_quarter(self) -> Load {
        Load { packets: self.packets - self.packets / 4, bytes: self.bytes - self.bytes / 4 }
    }
}

/// The loopback's id is the largest, which would make a long table.
fn index(device: DeviceId) -> usize {
    if device == DeviceId::LOOPBACK { 0 } else { usize::from(device.0) + 1 }
}

fn device_at(index: usize) -> DeviceId {
    let device = index.checked_sub(1).and_then(|number| u16::try_from(number).ok());
    device.map_or(DeviceId::LOOPBACK, DeviceId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use alloc::vec;
    use proptest::prelude::*;

    const A: DeviceId = DeviceId(0);
    const B: DeviceId = DeviceId(1);

    fn outbox(packets: usize, bytes: usize) -> Outbox {
        let config = Config {
            outbox_packets: packets,
            outbox_bytes: bytes,
            transit_packets: 2,
            transit_bytes: 20,
            ..Config::default()
        };
        Outbox::new(&config)
    }

    /// Queues a datagram if there is room for it.
    fn push(outbox: &mut Outbox, device: DeviceId, bytes: &[u8]) -> bool {
        let has_room = outbox.has_room_for(device, 1, bytes.len());
        if has_room {
            outbox.push(device, &[bytes]);
        }
        has_room
    }

    /// Drains into a list, with some devices busy and room for so many in all.
    fn drain(outbox: &mut Outbox, busy: &[DeviceId], mut budget: usize) -> (Vec<(DeviceId, u8)>, Progress) {
        let mut sent = Vec::new();
        let progress = outbox.drain(&mut |egress: Egress<'_>| {
            if busy.contains(&egress.device) {
                return Sent::Busy;
            }
            if budget == 0 {
                return Sent::Enough;
            }
            budget -= 1;
            sent.push((egress.device, egress.header[0]));
            Sent::Taken
        });
        (sent, progress)
    }

    #[test]
    fn datagrams_leave_in_the_order_they_came() {
        let mut outbox = outbox(4, 100);
        assert!(push(&mut outbox, A, &[1]));
        assert!(outbox.push_transit(&Egress::plain(A, &[2, 3], &[])));
        assert!(push(&mut outbox, A, &[4]));
        let (sent, progress) = drain(&mut outbox, &[], 9);
        assert_eq!((sent, progress), (vec![(A, 1), (A, 2), (A, 4)], Progress::Idle));
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_busy_device_holds_up_no_other_and_not_the_loopback() {
        let mut outbox = outbox(4, 100);
        for device in [A, DeviceId::LOOPBACK, B] {
            assert!(push(&mut outbox, device, &[7]));
        }
        let (sent, progress) = drain(&mut outbox, &[A], 9);
        assert_eq!((sent, progress), (vec![(DeviceId::LOOPBACK, 7), (B, 7)], Progress::Busy));
        assert!(outbox.has_waiting(A) && !outbox.has_waiting(B));
        assert_eq!(drain(&mut outbox, &[], 9), (vec![(A, 7)], Progress::Idle));
    }

    #[test]
    fn who_used_the_budget_up_is_the_last_to_have_the_next() {
        let mut outbox = outbox(4, 100);
        for byte in 0..3 {
            assert!(push(&mut outbox, A, &[byte]) && push(&mut outbox, B, &[byte]));
        }
        assert_eq!(drain(&mut outbox, &[], 2), (vec![(A, 0), (A, 1)], Progress::More));
        assert_eq!(drain(&mut outbox, &[], 2), (vec![(B, 0), (B, 1)], Progress::More));
        assert_eq!(drain(&mut outbox, &[], 2), (vec![(A, 2), (B, 2)], Progress::Idle));
    }

    #[test]
    fn packets_and_bytes_are_both_limited_for_each_device_and_room_returns() {
        let mut outbox = outbox(2, 10);
        assert!(push(&mut outbox, A, &[0; 6]));
        assert!(!push(&mut outbox, A, &[0; 5]));
        assert!(push(&mut outbox, A, &[0; 4]));
        assert!(!outbox.has_room_for(A, 1, 0));
        assert!(outbox.has_room_for(B, 1, 10));
        outbox.pop();
        assert!(outbox.has_room_for(A, 1, 6) && !outbox.has_room_for(A, 1, 7));
    }

    #[test]
    fn an_application_leaves_a_quarter_to_the_stack() {
        let mut outbox = outbox(8, 80);
        for _ in 0..6 {
            assert!(outbox.has_room_for_application(A, 1, 1));
            assert!(push(&mut outbox, A, &[0]));
        }
        assert!(!outbox.has_room_for_application(A, 1, 1));
        assert!(outbox.has_room_for_application(B, 1, 1));
        assert!(outbox.has_room_for(A, 1, 1));
    }

    #[test]
    fn an_application_without_room_hears_when_its_device_has_taken_half() {
        let mut outbox = outbox(4, 80);
        for device in [A, A, A, B] {
            assert!(push(&mut outbox, device, &[0]));
        }
        assert!(!outbox.has_room_for_application(A, 1, 1));
        let _ = drain(&mut outbox, &[A], 9);
        assert!(!outbox.take_relief(), "another device's room is of no use");
        let _ = drain(&mut outbox, &[], 1);
        assert!(outbox.take_relief());
        let _ = drain(&mut outbox, &[], 9);
        assert!(!outbox.take_relief(), "told once");
    }

    #[test]
    fn packets_for_others_take_no_room_from_our_own_nor_ours_from_theirs() {
        let mut outbox = outbox(2, 10);
        assert!(
            outbox.push_transit(&Egress::plain(A, &[0; 1], &[]))
                && outbox.push_transit(&Egress::plain(A, &[0; 1], &[]))
        );
        assert!(!outbox.push_transit(&Egress::plain(A, &[0; 1], &[])));
        assert!(push(&mut outbox, A, &[0; 1]) && push(&mut outbox, A, &[0; 1]));
        assert!(!push(&mut outbox, A, &[0; 1]));
        assert!(outbox.push_transit(&Egress::plain(B, &[0; 21], &[])), "the first, whatever its size");
    }

    #[test]
    fn a_device_that_is_gone_leaves_nothing_behind() {
        let mut outbox = outbox(4, 80);
        for device in [A, A, A, B] {
            assert!(push(&mut outbox, device, &[0]));
        }
        assert!(!outbox.has_room_for_application(A, 1, 80));
        outbox.forget(A);
        assert!(outbox.has_relief() && outbox.take_relief() && !outbox.has_relief());
        assert!(!outbox.has_waiting(A));
        assert_eq!(drain(&mut outbox, &[], 9), (vec![(B, 0)], Progress::Idle));
    }

    proptest! {
        #[test]
        fn the_queues_agree_with_a_list_of_lists(
            steps in proptest::collection::vec((0..4_u8, 0..3_u16, any::<bool>(), 0..12_usize), 1..80),
        ) {
            let mut outbox = outbox(4, 30);
            let mut model: [VecDeque<(usize, bool)>; 3] = Default::default();
            for (action, device, transit, number) in steps {
                let id = device_at(usize::from(device));
                let queue = &mut model[usize::from(device)];
                match action {
                    0 | 1 => {
                        let same = queue.iter().filter(|(_, is)| *is == transit);
                        let (packets, bytes) = same.fold((0, 0), |(p, b), (len, _)| (p + 1, b + len));
                        let (packets_max, bytes_max) = if transit { (2, 20) } else { (4, 30) };
                        let fits = packets == 0 || (packets < packets_max && bytes + number < bytes_max);
                        // Not empty, so that the sink has a byte to look at.
                        let bytes = vec![0; number + 1];
                        let taken =
                            if transit { outbox.push_transit(&Egress::plain(id, &bytes, &[])) } else { push(&mut outbox, id, &bytes) };
                        prop_assert_eq!(taken, fits);
                        if fits {
                            queue.push_back((number + 1, transit));
                        }
                    }
                    2 => {
                        outbox.forget(id);
                        queue.clear();
                    }
                    _ => {
                        let (sent, _) = drain(&mut outbox, &[id], number);
                        for (device, _) in sent {
                            prop_assert!(model[index(device)].pop_front().is_some());
                        }
                    }
                }
                let left: usize = model.iter().map(VecDeque::len).sum();
                prop_assert_eq!(outbox.waiting, left);
                prop_assert_eq!(outbox.is_empty(), left == 0);
            }
        }
    }
}
