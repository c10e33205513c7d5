//! ICMP and ICMPv6: echo answered, errors sent (rate-limited) and received.

use core::net::SocketAddr;

use super::Datagram;
use crate::proto::context::Context;
use crate::proto::counters::DropReason;

/// What an ICMP error says, in one vocabulary for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpErrorKind {
    /// Unreachable, code 0 (or 6, 11), ICMPv6 1/0.
    NetworkUnreachable,
    /// Unreachable, code 1 (or 5, 7, 8, 12), ICMPv6 1/2, 1/3.
    HostUnreachable,
    /// Unreachable, code 2; ICMPv6 4/1.
    ProtocolUnreachable,
    /// Unreachable, code 3; ICMPv6 1/4.
    PortUnreachable,
    /// Unreachable, code 9, 10, 13; ICMPv6 1/1, 1/5, 1/6.
    Prohibited,
    /// Unreachable code 4 with the next hop's MTU; ICMPv6 type 2.
    PacketTooBig(u32),
    /// Time exceeded.
    TimeExceeded,
    /// Parameter problem (ICMPv6 4/1 is ProtocolUnreachable).
    ParameterProblem,
    /// Source quench (deprecated by RFC 6633).
    SourceQuench,
}

/// An ICMP error about a TCP or UDP packet of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// What it says.
    pub kind: IcmpErrorKind,
    /// Transport protocol of the quoted packet.
    pub protocol: u8,
    /// Source of the quoted packet: our side.
    pub local: SocketAddr,
    /// Destination of the quoted packet.
    pub remote: SocketAddr,
    /// For TCP: the sequence number of the quoted segment.
    pub seq: Option<u32>,
}

/// Handles an ICMP or ICMPv6 message. An error about one of our packets is returned for its transport.
pub(crate) fn receive(ctx: &mut Context<'_>, datagram: &Datagram<'_>) -> Result<Option<IcmpError>, DropReason> { todo!() }

/// Answers a datagram whose protocol nobody speaks.
pub(crate) fn send_protocol_unreachable(ctx: &mut Context<'_>, datagram: &Datagram<'_>) { todo!() }

/// Answers a UDP datagram for a port nobody listens on.
pub(crate) fn send_port_unreachable(ctx: &mut Context<'_>, datagram: &Datagram<'_>) { todo!() }
