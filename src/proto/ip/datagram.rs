//! A validated datagram, as the transports see it.

use core::net::IpAddr;

use crate::proto::packet::{ChecksumState, DeviceId, Packet};
use crate::proto::wire::ip::Parsed;
use crate::time::Instant;

/// How a datagram was addressed to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cast {
    /// To an address of ours.
    Unicast,
    /// To a broadcast address.
    Broadcast,
    /// To a multicast group.
    Multicast,
}

/// What it is that has come for us and passed validation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Accepted {
    /// A datagram: see [`Datagram::of`].
    Local,
    /// A part of one: see [`Part::of`].
    Part,
}

/// A fragment of a datagram for this stack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part<'a> {
    /// The interface it came by.
    pub(crate) device: DeviceId,
    /// How the datagram is addressed to us.
    pub(crate) cast: Cast,
    /// The headers, and which part it is (`parsed.fragment` is set).
    pub(crate) parsed: Parsed<'a>,
    /// What is known of transport checksums.
    pub(crate) checksum: ChecksumState,
    /// When it arrived.
    pub(crate) at: Instant,
}

impl<'a> Part<'a> {
    /// The fragment that a packet is.
    pub(crate) fn of(device: DeviceId, packet: &Packet<'a>, parsed: &Parsed<'a>, cast: Cast) -> Self {
        let Packet { checksum, at, .. } = *packet;
        Part { device, cast, parsed: *parsed, checksum, at }
    }

    /// The datagram, as far as this part of it (or all of it) tells.
    pub(crate) fn datagram(&self) -> Datagram<'a> {
        let Part { device, cast, ref parsed, checksum, at } = *self;
        let packet = Packet { checksum, ..Packet::plain(parsed.whole, at) };
        Datagram::of(device, &packet, parsed, cast)
    }
}

/// A datagram for somebody else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transit<'a, 'p> {
    /// The interface it came by.
    pub(crate) device: DeviceId,
    /// The headers.
    pub(crate) parsed: &'a Parsed<'p>,
    /// What is known of the transport checksum.
    pub(crate) checksum: ChecksumState,
    /// When it arrived.
    pub(crate) at: Instant,
    /// As in [`Packet`](crate::proto::Packet).
    pub(crate) gso_size: Option<core::num::NonZeroU16>,
}

/// A validated datagram for this stack.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// The interface it came by.
    pub device: DeviceId,
    /// Source address.
    pub src: IpAddr,
    /// Destination address: ours, or a group.
    pub dst: IpAddr,
    /// How it was addressed.
    pub cast: Cast,
    /// Transport protocol, after all extension headers.
    pub protocol: u8,
    /// Time to live, hop limit, as received.
    pub hop_limit: u8,
    /// Type of service, traffic class.
    pub tos: u8,
    /// Transport header and payload.
    pub payload: &'a [u8],
    /// The whole datagram from its IP header (what an ICMP error quotes).
    pub whole: &'a [u8],
    /// What is known of the transport checksum.
    pub checksum: ChecksumState,
    /// When it arrived.
    pub at: Instant,
    /// As in [`Packet`](crate::proto::Packet).
    pub gso_size: Option<core::num::NonZeroU16>,
}

impl<'a> Datagram<'a> {
    /// The datagram that a packet is.
    #[inline]
    pub(crate) fn of(device: DeviceId, packet: &Packet<'a>, parsed: &Parsed<'a>, cast: Cast) -> Self {
        Datagram {
            device,
            src: parsed.src,
            dst: parsed.dst,
            cast,
            protocol: parsed.protocol,
            hop_limit: parsed.hop_limit,
            //= RFC1122 3.2.1.6 receive
            tos: parsed.tos,
            payload: parsed.payload,
            whole: parsed.whole,
            checksum: packet.checksum,
            at: packet.at,
            gso_size: packet.gso_size,
        }
    }
}
