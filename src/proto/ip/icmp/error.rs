//! Errors received: what they say, and which of them are believed (RFC 5927).

use core::net::{IpAddr, SocketAddr};

use crate::proto::counters::DropReason;
use crate::proto::ip::{Cast, Datagram};
use crate::proto::wire::icmp::{self as wire, ErrorMessage, v4, v6};
use crate::proto::wire::ip::{PROTOCOL_TCP, PROTOCOL_UDP};

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
    /// Unreachable, code 9, 10, 13 (or 14, 15); ICMPv6 1/1, 1/5, 1/6.
    Prohibited,
    /// Unreachable code 4 with the next hop's MTU (0 from a router older than RFC 1191); ICMPv6 type 2.
    PacketTooBig(u32),
    /// Time exceeded.
    TimeExceeded,
    /// Parameter problem (ICMPv6 4/1 is ProtocolUnreachable).
    ParameterProblem,
    /// An ICMPv6 error of a type or code that nobody here knows (RFC 4443 section 2.4 a): its numbers are all that
    /// can be told.
    Other,
    /// Source quench (deprecated by RFC 6633). Never handed to a transport.
    SourceQuench,
}

/// An ICMP error about a packet of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError<'a> {
    /// What it says.
    pub kind: IcmpErrorKind,
    /// Its type and code on the wire.
    pub type_code: (u8, u8),
    /// Who says so: a router on the way, or the destination.
    pub offender: IpAddr,
    /// Transport protocol of the quoted packet.
    pub protocol: u8,
    /// Source of the quoted packet: our side. Port 0 if the protocol has no ports.
    pub local: SocketAddr,
    /// Destination of the quoted packet.
    pub remote: SocketAddr,
    /// For TCP: the sequence number of the quoted segment.
    pub seq: Option<u32>,
    /// What is quoted of the packet's transport header and payload.
    pub transport: &'a [u8],
}

/// Reads an error that came in, and believes it if it quotes a packet that we can have sent.
pub(super) fn read<'a>(
    datagram: &Datagram<'_>,
    error: &ErrorMessage<'a>,
) -> Result<IcmpError<'a>, DropReason> {
    let kind = match datagram.src {
        IpAddr::V4(_) => classify_v4(error),
        IpAddr::V6(_) => Some(classify_v6(error)),
    };
    let kind = kind.ok_or(match (datagram.src, error.kind) {
        // RFC 1122 section 3.2.2.2: a redirect SHOULD be believed by a host that has a choice of gateways. This one
        // has been told its routes; whoever could change them from outside would take them over (RFC 6274 3.3).
        (IpAddr::V4(_), v4::TYPE_REDIRECT) => DropReason::IcmpRedirect,
        //= RFC6633 section 3: a host MUST silently discard source quench messages.
        (IpAddr::V4(_), v4::TYPE_SOURCE_QUENCH) => DropReason::IcmpDeprecated,
        (IpAddr::V4(_) | IpAddr::V6(_), _) => DropReason::IcmpIgnored,
    })?;
    //= RFC4443 2.4 d upper layer
    let quoted = wire::quoted(error.quoted).ok_or(DropReason::IcmpMalformed)?;
    // An error goes to the source of what it is about. So that is the address where this one came to, and
    // ours alone.
    if datagram.cast != Cast::Unicast || quoted.src != datagram.dst {
        return Err(DropReason::IcmpUnrelated);
    }
    let (src_port, dst_port) = match quoted.protocol {
        PROTOCOL_TCP | PROTOCOL_UDP => quoted.ports().ok_or(DropReason::IcmpUnrelated)?,
        _ => (0, 0),
    };
    Ok(IcmpError {
        kind,
        type_code: (error.kind, error.code),
        offender: datagram.src,
        protocol: quoted.protocol,
        local: SocketAddr::new(quoted.src, src_port),
        remote: SocketAddr::new(quoted.dst, dst_port),
        seq: quoted.tcp_seq(),
        //= RFC1122 3.4 quotation
        transport: quoted.transport,
    })
}

/// RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1. `None` for what is not acted upon: redirects,
/// source quench (//= RFC9293 MUST-55: silently discarded), codes nobody has defined.
pub(super) fn classify_v4(error: &ErrorMessage<'_>) -> Option<IcmpErrorKind> {
    match (error.kind, error.code) {
        (v4::TYPE_DEST_UNREACH, 0 | 6 | 11) => Some(IcmpErrorKind::NetworkUnreachable),
        (v4::TYPE_DEST_UNREACH, 1 | 5 | 7 | 8 | 12) => Some(IcmpErrorKind::HostUnreachable),
        (v4::TYPE_DEST_UNREACH, 2) => Some(IcmpErrorKind::ProtocolUnreachable),
        (v4::TYPE_DEST_UNREACH, 3) => Some(IcmpErrorKind::PortUnreachable),
        //= RFC792 unused received
        (v4::TYPE_DEST_UNREACH, 4) => Some(IcmpErrorKind::PacketTooBig(error.word & 0xffff)),
        (v4::TYPE_DEST_UNREACH, 9 | 10 | 13 | 14 | 15) => Some(IcmpErrorKind::Prohibited),
        //= RFC1122 3.2.2.4 pass up
        (v4::TYPE_TIME_EXCEEDED, 0 | 1) => Some(IcmpErrorKind::TimeExceeded),
        //= RFC1122 3.2.2.5 pass up
        (v4::TYPE_PARAMETER_PROBLEM, _) => Some(IcmpErrorKind::ParameterProblem),
        _ => None,
    }
}

/// RFC 4443 section 3.
// RFC 4443 section 2.4: (a) an ICMPv6 error of unknown type MUST be passed to the upper-layer process that
// originated the packet that caused it.
pub(super) fn classify_v6(error: &ErrorMessage<'_>) -> IcmpErrorKind {
    match (error.kind, error.code) {
        (v6::TYPE_DST_UNREACH, 0) => IcmpErrorKind::NetworkUnreachable,
        (v6::TYPE_DST_UNREACH, 2 | 3) => IcmpErrorKind::HostUnreachable,
        //= RFC4443 3.1 pass up
        (v6::TYPE_DST_UNREACH, 4) => IcmpErrorKind::PortUnreachable,
        (v6::TYPE_DST_UNREACH, 1 | 5 | 6) => IcmpErrorKind::Prohibited,
        //= RFC4443 3.2 pass up
        (v6::TYPE_PACKET_TOO_BIG, _) => IcmpErrorKind::PacketTooBig(error.word),
        //= RFC4443 3.3 pass up
        (v6::TYPE_TIME_EXCEEDED, 0 | 1) => IcmpErrorKind::TimeExceeded,
        (v6::TYPE_PARAMETER_PROBLEM, 1) => IcmpErrorKind::ProtocolUnreachable,
        //= RFC4443 3.4 pass up
        (v6::TYPE_PARAMETER_PROBLEM, _) => IcmpErrorKind::ParameterProblem,
        //= RFC4443 2.4 a unknown
        (_, _) => IcmpErrorKind::Other,
    }
}
