//! A validated datagram, as the transports see it.

use core::net::IpAddr;

use crate::proto::packet::{ChecksumState, DeviceId};
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
