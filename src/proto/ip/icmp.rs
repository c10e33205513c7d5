//! ICMP and ICMPv6: echo answered, errors sent (rate-limited) and received.
//!
//! Owns which messages are answered and believed (RFC 792, RFC 1122 section 3.2.2, RFC 1812 section 4.3,
//! RFC 4443). Owns not their shape, which is [`wire::icmp`](crate::proto::wire::icmp)'s, nor what a
//! transport does about an error.
//!
//! Not acted upon: redirects (there is one next hop), source quench (RFC 6633), timestamps and address masks
//! (RFC 6918, and MAY in RFC 1122), router and neighbour discovery (a TUN has no link layer).

use core::net::{IpAddr, SocketAddr};

use super::{Cast, Datagram, address, fragmentable};
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::wire::HeaderBuf;
use crate::proto::wire::icmp::{self as wire, Echo, ErrorMessage, Message, v4, v6};
use crate::proto::wire::ip::{IpHeader, PROTOCOL_ICMP, PROTOCOL_ICMPV6};

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
    /// Source quench (deprecated by RFC 6633). Never handed to a transport.
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
pub(crate) fn receive(
    ctx: &mut Context<'_>,
    datagram: &Datagram<'_>,
) -> Result<Option<IcmpError>, DropReason> {
    if !is_icmp(datagram.src, datagram.protocol) {
        // ICMP over IPv6, or ICMPv6 over IPv4.
        send_protocol_unreachable(ctx, datagram);
        return Err(DropReason::UnknownProtocol);
    }
    match wire::parse(datagram.payload, datagram.src, datagram.dst, datagram.checksum)? {
        Message::EchoRequest(echo) => answer_echo(ctx, datagram, echo).map(|()| None),
        Message::Error(error) => read_error(ctx, datagram, &error).map(Some),
        Message::EchoReply(_) | Message::Other(_) => Err(DropReason::IcmpIgnored),
    }
}

/// Answers a datagram whose protocol nobody speaks.
pub(crate) fn send_protocol_unreachable(ctx: &mut Context<'_>, datagram: &Datagram<'_>) {
    let complaint = match datagram.src {
        IpAddr::V4(_) => {
            Complaint { kind: v4::TYPE_DEST_UNREACH, code: v4::CODE_DST_UNREACH_PROTOCOL, word: 0 }
        }
        //= RFC8200 section 4: an unrecognised next header draws parameter problem, code 1, with the pointer
        //# at the unrecognised value.
        IpAddr::V6(_) => {
            let Ok(parsed) = crate::proto::wire::ip::parse(datagram.whole) else { return };
            Complaint {
                kind: v6::TYPE_PARAMETER_PROBLEM,
                code: v6::CODE_PARAM_PROBLEM_UNRECOG_NEXT_HEADER,
                word: parsed.protocol_at as u32,
            }
        }
    };
    send_if_to_us_alone(ctx, datagram, complaint);
}

/// Answers a UDP datagram for a port nobody listens on.
pub(crate) fn send_port_unreachable(ctx: &mut Context<'_>, datagram: &Datagram<'_>) {
    let (kind, code) = match datagram.src {
        IpAddr::V4(_) => (v4::TYPE_DEST_UNREACH, v4::CODE_DST_UNREACH_PORT),
        IpAddr::V6(_) => (v6::TYPE_DST_UNREACH, v6::CODE_DST_UNREACH_PORT),
    };
    send_if_to_us_alone(ctx, datagram, Complaint { kind, code, word: 0 });
}

/// Answers an IPv6 datagram with an extension header that can't be processed. Whether that may be answered
/// when it came to a group is the caller's to know (RFC 4443 section 2.4 e.3: code 2 may).
pub(crate) fn send_parameter_problem(ctx: &mut Context<'_>, datagram: &Datagram<'_>, code: u8, pointer: u32) {
    send_error(ctx, datagram, Complaint { kind: v6::TYPE_PARAMETER_PROBLEM, code, word: pointer });
}

/// The same data goes back, from the address that was pinged (RFC 1122 section 3.2.2.6, RFC 4443 section 4.2).
fn answer_echo(ctx: &mut Context<'_>, datagram: &Datagram<'_>, echo: Echo<'_>) -> Result<(), DropReason> {
    let source = echo_source(ctx, datagram).ok_or(DropReason::IcmpIgnored)?;
    let protocol = datagram.protocol;
    // The whole octet is reflected, ECN bits included, as Linux does (RFC 1122 section 3.2.2.6 wants no less).
    let header = IpHeader { tos: datagram.tos, ..fragmentable(ctx, source, datagram.src, protocol) };
    if send_message(ctx, &header, Message::EchoReply(echo)) {
        ctx.counters.icmp_echo_replies += 1;
    }
    Ok(())
}

/// The address to answer an echo request from; `None` if it is not to be answered.
fn echo_source(ctx: &Context<'_>, datagram: &Datagram<'_>) -> Option<IpAddr> {
    if !address::is_single_host(datagram.src) {
        return None;
    }
    match (datagram.cast, datagram.src) {
        (Cast::Unicast, _) => Some(datagram.dst),
        //= RFC1122 section 3.2.2.6: a request to a broadcast or multicast address MAY be discarded. It is: one
        //# forged packet would make every host of the network answer.
        (Cast::Broadcast | Cast::Multicast, IpAddr::V4(_)) => None,
        //= RFC4443 section 4.2: a reply SHOULD be sent to a request to a multicast address, from a unicast
        //# address of the interface on which the request came.
        (Cast::Broadcast | Cast::Multicast, IpAddr::V6(_)) => {
            ctx.ip.interfaces.source_for(datagram.device, datagram.src)
        }
    }
}

/// What an error message that we send says.
#[derive(Clone, Copy, Debug)]
struct Complaint {
    kind: u8,
    code: u8,
    word: u32,
}

/// Errors about datagrams that others got too would come from all of them at once (RFC 1122 section 3.2.2,
/// RFC 4443 section 2.4 e.3).
fn send_if_to_us_alone(ctx: &mut Context<'_>, datagram: &Datagram<'_>, complaint: Complaint) {
    match datagram.cast {
        Cast::Unicast => send_error(ctx, datagram, complaint),
        Cast::Broadcast | Cast::Multicast => {}
    }
}

fn send_error(ctx: &mut Context<'_>, datagram: &Datagram<'_>, complaint: Complaint) {
    if !may_draw_an_error(ctx, datagram) {
        return;
    }
    let source = match datagram.cast {
        Cast::Unicast => Some(datagram.dst),
        Cast::Broadcast | Cast::Multicast => ctx.ip.interfaces.source_for(datagram.device, datagram.src),
    };
    let Some(source) = source else { return };
    if !ctx.ip.icmp_errors.allow(ctx.now, ctx.rng) {
        ctx.counters.icmp_errors_limited += 1;
        return;
    }
    let (protocol, tos) = match datagram.src {
        //= RFC1812 section 4.3.2.5: the type of service of what the error is about, at the precedence of
        //# internetwork control. Its ECN bits say nothing about this packet (RFC 3168) and are left out.
        IpAddr::V4(_) => (PROTOCOL_ICMP, PRECEDENCE_INTERNETWORK_CONTROL | (datagram.tos & 0x1c)),
        IpAddr::V6(_) => (PROTOCOL_ICMPV6, 0),
    };
    let header = IpHeader { tos, ..fragmentable(ctx, source, datagram.src, protocol) };
    let Complaint { kind, code, word } = complaint;
    let quoted = quote(datagram);
    if send_message(ctx, &header, Message::Error(ErrorMessage { kind, code, word, quoted })) {
        ctx.counters.icmp_errors_out += 1;
    }
}

const PRECEDENCE_INTERNETWORK_CONTROL: u8 = 0xc0;

/// The rules that hold for every error: never about another error, never to a source that isn't one host
/// (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e.1, e.2, e.6). Fragments that aren't the first never come
/// this far.
fn may_draw_an_error(ctx: &Context<'_>, datagram: &Datagram<'_>) -> bool {
    let is_one_host = address::is_single_host(datagram.src) && !ctx.ip.is_broadcast(datagram.src);
    is_one_host && !is_icmp_error(datagram)
}

/// Whether the datagram is an ICMP error, or can't be told not to be one.
fn is_icmp_error(datagram: &Datagram<'_>) -> bool {
    // A packet whose extension headers were found wanting has not been read to its end.
    match wire::quoted(datagram.whole) {
        Some(read) => is_icmp(read.src, read.protocol) && wire::is_error(read.src, read.transport),
        None => true,
    }
}

fn is_icmp(family: IpAddr, protocol: u8) -> bool {
    protocol == if family.is_ipv4() { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 }
}

/// As much of the datagram as lets the error fit into what every host takes: 576 bytes (RFC 1812 section
/// 4.3.2.3) or the minimum MTU of IPv6 (RFC 4443 section 2.4 c).
fn quote<'a>(datagram: &Datagram<'a>) -> &'a [u8] {
    let room = match datagram.src {
        IpAddr::V4(_) => 576 - 20 - wire::HEADER_LEN,
        IpAddr::V6(_) => 1280 - 40 - wire::HEADER_LEN,
    };
    datagram.whole.get(..room).unwrap_or(datagram.whole)
}

/// Routes a message and queues it; `false` if it was lost.
fn send_message(ctx: &mut Context<'_>, header: &IpHeader, message: Message<'_>) -> bool {
    let Ok(route) = ctx.ip.route(header.dst, Some(header.src)) else {
        ctx.counters.replies_lost += 1;
        return false;
    };
    let mut written = HeaderBuf::new();
    message.write_header(header.src, header.dst, &mut written);
    super::try_send(ctx, route.device, header, &[&written, message.body()])
}

/// Reads an error that came in, and believes it if it quotes a packet that we can have sent.
fn read_error(
    ctx: &Context<'_>,
    datagram: &Datagram<'_>,
    error: &ErrorMessage<'_>,
) -> Result<IcmpError, DropReason> {
    let kind = match datagram.src {
        IpAddr::V4(_) => classify_v4(error),
        IpAddr::V6(_) => classify_v6(error),
    };
    let kind = kind.ok_or(DropReason::IcmpIgnored)?;
    let quoted = wire::quoted(error.quoted).ok_or(DropReason::IcmpMalformed)?;
    // An error goes to the source of what it is about, so that must be where it came to.
    if datagram.cast != Cast::Unicast || quoted.src != datagram.dst || !ctx.ip.is_local(quoted.src) {
        return Err(DropReason::IcmpUnrelated);
    }
    let (src_port, dst_port) = quoted.ports().ok_or(DropReason::IcmpUnrelated)?;
    Ok(IcmpError {
        kind,
        protocol: quoted.protocol,
        local: SocketAddr::new(quoted.src, src_port),
        remote: SocketAddr::new(quoted.dst, dst_port),
        seq: quoted.tcp_seq(),
    })
}

/// RFC 792, RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1. `None` for what is not acted upon: redirects,
/// source quench (//= RFC9293 MUST-55: silently discarded), codes nobody has defined.
fn classify_v4(error: &ErrorMessage<'_>) -> Option<IcmpErrorKind> {
    match (error.kind, error.code) {
        (v4::TYPE_DEST_UNREACH, 0 | 6 | 11) => Some(IcmpErrorKind::NetworkUnreachable),
        (v4::TYPE_DEST_UNREACH, 1 | 5 | 7 | 8 | 12) => Some(IcmpErrorKind::HostUnreachable),
        (v4::TYPE_DEST_UNREACH, 2) => Some(IcmpErrorKind::ProtocolUnreachable),
        (v4::TYPE_DEST_UNREACH, 3) => Some(IcmpErrorKind::PortUnreachable),
        (v4::TYPE_DEST_UNREACH, 4) => Some(IcmpErrorKind::PacketTooBig(error.word & 0xffff)),
        (v4::TYPE_DEST_UNREACH, 9 | 10 | 13 | 14 | 15) => Some(IcmpErrorKind::Prohibited),
        (v4::TYPE_TIME_EXCEEDED, 0 | 1) => Some(IcmpErrorKind::TimeExceeded),
        (v4::TYPE_PARAMETER_PROBLEM, _) => Some(IcmpErrorKind::ParameterProblem),
        _ => None,
    }
}

/// RFC 4443 section 3. Error types unknown to it have no name that could be passed on (section 2.4 a asks
/// to pass them to the transport; none has a use for them).
fn classify_v6(error: &ErrorMessage<'_>) -> Option<IcmpErrorKind> {
    match (error.kind, error.code) {
        (v6::TYPE_DST_UNREACH, 0) => Some(IcmpErrorKind::NetworkUnreachable),
        (v6::TYPE_DST_UNREACH, 2 | 3) => Some(IcmpErrorKind::HostUnreachable),
        (v6::TYPE_DST_UNREACH, 4) => Some(IcmpErrorKind::PortUnreachable),
        (v6::TYPE_DST_UNREACH, 1 | 5 | 6) => Some(IcmpErrorKind::Prohibited),
        (v6::TYPE_PACKET_TOO_BIG, _) => Some(IcmpErrorKind::PacketTooBig(error.word)),
        (v6::TYPE_TIME_EXCEEDED, 0 | 1) => Some(IcmpErrorKind::TimeExceeded),
        (v6::TYPE_PARAMETER_PROBLEM, 1) => Some(IcmpErrorKind::ProtocolUnreachable),
        (v6::TYPE_PARAMETER_PROBLEM, _) => Some(IcmpErrorKind::ParameterProblem),
        _ => None,
    }
}
