//! UDP (RFC 768, RFC 1122 section 4.1): sockets with a bounded queue of datagrams.

use core::net::SocketAddr;

use super::context::Context;
use super::counters::DropReason;
use super::error::Error;
use super::events::Owner;
use super::ip::Datagram;
use super::ip::icmp::IcmpError;

slotmap::new_key_type! {
    /// Names a UDP socket.
    pub struct UdpId;
}

/// Options of a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// Time to live, hop limit.
    pub ttl: u8,
    /// Type of service, traffic class.
    pub tos: u8,
    /// Whether datagrams to broadcast addresses may be sent.
    pub broadcast: bool,
}

/// All UDP sockets.
#[derive(Debug)]
pub struct Sockets {}

impl Sockets {
    pub(crate) fn new(table_key: [u8; 16], port_key: [u8; 16]) -> Self { todo!() }
    pub(crate) fn bind(&mut self, ctx: &mut Context<'_>, local: SocketAddr, owner: Owner) -> Result<UdpId, Error> { todo!() }
    pub(crate) fn connect(&mut self, ctx: &mut Context<'_>, id: UdpId, remote: SocketAddr) -> Result<(), Error> { todo!() }
    pub(crate) fn send_to(&mut self, ctx: &mut Context<'_>, id: UdpId, data: &[u8], to: Option<SocketAddr>) -> Result<usize, Error> { todo!() }
    pub(crate) fn recv_from(&mut self, id: UdpId, out: &mut [u8], peek: bool) -> Result<(usize, SocketAddr), Error> { todo!() }
    pub(crate) fn close(&mut self, ctx: &mut Context<'_>, id: UdpId) { todo!() }
    pub(crate) fn local_addr(&self, id: UdpId) -> Result<SocketAddr, Error> { todo!() }
    pub(crate) fn peer_addr(&self, id: UdpId) -> Result<SocketAddr, Error> { todo!() }
    pub(crate) fn options(&self, id: UdpId) -> Result<UdpOptions, Error> { todo!() }
    pub(crate) fn set_options(&mut self, id: UdpId, options: UdpOptions) -> Result<(), Error> { todo!() }
    pub(crate) fn take_error(&mut self, id: UdpId) -> Result<Option<Error>, Error> { todo!() }
    /// Sockets open now.
    pub(crate) fn len(&self) -> usize { todo!() }
    /// Delivers a datagram, or answers port unreachable.
    pub(crate) fn receive(&mut self, ctx: &mut Context<'_>, datagram: &Datagram<'_>) -> Result<(), DropReason> { todo!() }
    /// Reports an ICMP error to the socket it concerns (connected sockets only, as Linux).
    pub(crate) fn icmp_error(&mut self, ctx: &mut Context<'_>, error: &IcmpError) -> Result<(), DropReason> { todo!() }
}
