//! The network layer: interfaces, addresses, routes; what comes in is validated, what goes out is routed.

pub mod icmp;
pub mod input;
pub mod outbox;
pub mod route;

use core::net::IpAddr;
use ipnet::IpNet;

use super::config::Config;
use super::context::Context;
use super::error::Error;
use super::packet::{ChecksumState, DeviceId};
use super::wire::ip::IpHeader;
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
    /// As in [`Packet`](super::Packet).
    pub gso_size: Option<core::num::NonZeroU16>,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The interface; [`DeviceId::LOOPBACK`] for ourselves.
    pub device: DeviceId,
    /// The source address to use.
    pub source: IpAddr,
    /// The largest datagram that fits, in bytes.
    pub mtu: usize,
}

/// Interfaces, addresses and routes.
#[derive(Debug)]
pub struct Layer {}

impl Layer {
    pub(crate) fn new(config: &Config, now: Instant) -> Self { todo!() }
    /// Adds an interface.
    pub fn add_interface(&mut self, mtu: usize) -> DeviceId { todo!() }
    /// Follows a change of an interface's MTU.
    pub fn set_mtu(&mut self, device: DeviceId, mtu: usize) { todo!() }
    /// Gives an interface an address, and the table the connected route.
    pub fn add_address(&mut self, device: DeviceId, address: IpNet) -> Result<(), Error> { todo!() }
    /// Adds a route (e.g. a default route) through an interface.
    pub fn add_route(&mut self, destination: IpNet, device: DeviceId) -> Result<(), Error> { todo!() }
    /// Whether the address is one of this stack's own (127.0.0.0/8 and ::1 included).
    pub fn is_local(&self, address: IpAddr) -> bool { todo!() }
    /// Whether the address is a broadcast address of one of our networks, or 255.255.255.255, or multicast.
    pub fn is_broadcast_or_multicast(&self, address: IpAddr) -> bool { todo!() }
    /// Chooses interface and source for a destination; `source` is kept if given (it must be local).
    pub fn route(&self, destination: IpAddr, source: Option<IpAddr>) -> Result<Route, Error> { todo!() }
    /// Notes that the first hop towards `destination` may be dead (RFC 9293 MUST-20, RFC 1122 3.3.1.4).
    pub fn negative_advice(&mut self, destination: IpAddr) {}
}

/// Builds a datagram from `header` and `payload` and queues it. Counts it as lost if the queue is full.
pub(crate) fn send(ctx: &mut Context<'_>, device: DeviceId, header: &IpHeader, payload: &[&[u8]]) { todo!() }
