//! All that the protocol core and the devices share: packets in, packets out.

use core::num::NonZeroU16;

use crate::time::Instant;

/// Names a network interface of the stack; given by [`Stack::add_interface`](super::Stack::add_interface).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(pub u16);

impl DeviceId {
    /// The way from the stack to itself; no device stands behind it.
    pub const LOOPBACK: DeviceId = DeviceId(u16::MAX);
}

/// What is known of a received packet's transport checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChecksumState {
    /// Nothing: the stack verifies it.
    Unverified,
    /// The device vouches for the payload, and the checksum field is right (hardware has checked it).
    Trusted,
    /// The device vouches for the payload, which never left this machine: the checksum field holds only the
    /// pseudo-header's sum, and whoever sends the packet to a link that knows no such thing has to complete it.
    Partial,
}

/// What an outgoing packet's transport checksum field holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum EgressChecksum {
    /// The checksum.
    #[default]
    Complete,
    /// The pseudo-header's folded sum: the device (or whoever is behind it) sums from `start` to the end, and
    /// stores the complement at `start + offset`. Super-segments always are like this.
    Partial {
        /// Where the transport header begins, in bytes from the IP header's first.
        start: u16,
        /// Where the checksum field lies in the transport header.
        offset: u16,
    },
}

/// What a device takes off the stack's hands (`virtio_net_hdr` as Linux's TUN knows it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Offloads {
    /// Packets whose checksum is [`EgressChecksum::Partial`]. The others need it.
    pub checksum: bool,
    /// Super-segments of TCP over IPv4.
    pub tso4: bool,
    /// Super-segments of TCP over IPv6.
    pub tso6: bool,
    /// Super-datagrams of UDP, over both families.
    pub uso: bool,
}

/// One received IP datagram.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// The datagram, from the first byte of its IP header; bytes past the IP length are padding.
    pub bytes: &'a [u8],
    /// When it arrived; round-trip times are taken from this.
    pub at: Instant,
    /// What is known of its transport checksum.
    pub checksum: ChecksumState,
    /// Set if this is a super-segment: a TCP (or UDP) payload that stands for several packets of this
    /// many bytes each.
    pub gso_size: Option<NonZeroU16>,
}

impl<'a> Packet<'a> {
    /// A plain packet: its checksum is to be verified and it stands for itself alone.
    pub fn plain(bytes: &'a [u8], at: Instant) -> Self {
        Packet { bytes, at, checksum: ChecksumState::Unverified, gso_size: None }
    }
}

/// One IP datagram to be sent, in pieces that lie in different places.
#[derive(Clone, Copy, Debug)]
pub struct Egress<'a> {
    /// The interface it leaves by.
    pub device: DeviceId,
    /// IP and transport headers (or, for small packets, the whole datagram).
    pub header: &'a [u8],
    /// The payload, in order.
    pub payload: &'a [&'a [u8]],
    /// Set if the payload is to be cut into packets of this many bytes by the device.
    pub gso_size: Option<NonZeroU16>,
    /// What the transport checksum field holds.
    pub checksum: EgressChecksum,
}

impl<'a> Egress<'a> {
    /// A packet that stands for itself alone, with its checksum in place.
    pub fn plain(device: DeviceId, header: &'a [u8], payload: &'a [&'a [u8]]) -> Self {
        Egress { device, header, payload, gso_size: None, checksum: EgressChecksum::Complete }
    }

    /// Length of the whole datagram in bytes.
    pub fn len(&self) -> usize {
        self.header.len() + len_of(self.payload)
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends the whole datagram to `out`.
    pub fn copy_to(&self, out: &mut alloc::vec::Vec<u8>) {
        out.reserve(self.len());
        out.extend_from_slice(self.header);
        for piece in self.payload {
            out.extend_from_slice(piece);
            #[cfg(test)]
            super::buf::copies::count(piece.len());
        }
    }
}

/// Bytes in all the pieces.
#[inline]
pub(super) fn len_of(pieces: &[&[u8]]) -> usize {
    match pieces {
        // So it mostly is, and the loop's preparations cost more than the answer.
        [] => 0,
        [piece] => piece.len(),
        pieces => pieces.iter().map(|piece| piece.len()).sum(),
    }
}

/// Copies all the pieces, one behind the other, to `room`, which has their length.
#[inline(never)]
pub(crate) fn copy_pieces(pieces: &[&[u8]], room: &mut [u8]) {
    let mut rest = room;
    for piece in pieces {
        let (here, behind) = rest.split_at_mut(piece.len());
        here.copy_from_slice(piece);
        rest = behind;
    }
}

/// What became of a packet handed to a [`PacketSink`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Sent {
    /// The device took it, or lost it on its own account (a link that is down): state advances.
    Taken,
    /// The device has no room now: nothing happened, offer it again later. Other devices may have room.
    Busy,
    /// The sink takes no more now, for whatever device: nothing happened, come again.
    Enough,
}

/// How far [`Stack::transmit`](super::Stack::transmit) came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// Nothing is left to send now.
    Idle,
    /// All that is left waits for devices that have no room, which [`Stack::waits_for_room`](super::Stack::waits_for_room) names; go on when
    /// one of them has.
    Busy,
    /// The budget or the sink's patience is used up; call again after looking at what came in.
    More,
}

impl Progress {
    /// How far both together came.
    pub(super) fn and(self, other: Progress) -> Progress {
        match (self, other) {
            (Progress::More, _) | (_, Progress::More) => Progress::More,
            (Progress::Busy, _) | (_, Progress::Busy) => Progress::Busy,
            (Progress::Idle, Progress::Idle) => Progress::Idle,
        }
    }
}

/// Where the stack's packets go: one or more devices.
pub trait PacketSink {
    /// Sends one datagram.
    fn send(&mut self, egress: Egress<'_>) -> Sent;
}

impl<F: FnMut(Egress<'_>) -> Sent> PacketSink for F {
    fn send(&mut self, egress: Egress<'_>) -> Sent {
        self(egress)
    }
}
