//! ICMP and ICMPv6: echo answered, errors sent (rate-limited) and received.
//!
//! Owns which messages are answered and believed (RFC 792, RFC 1122 section 3.2.2, RFC 1812 section 4.3,
//! RFC 4443). Owns not their shape, which is [`wire::icmp`](crate::proto::wire::icmp)'s, nor what a
//! transport does about an error.
//!
//! Not acted upon: redirects (there is one next hop), source quench (RFC 6633), timestamps and address masks
//! (RFC 6918, and MAY in RFC 1122), router and neighbour discovery (a TUN has no link layer).

use core::net::{IpAddr, SocketAddr};

use super::datagram::Transit;
use super::{Cast, Datagram, address, fragmentable};
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::packet::DeviceId;
use crate::proto::wire::HeaderBuf;
use crate::proto::wire::icmp::{self as wire, Echo, ErrorMessage, Message, v4, v6};
use crate::proto::wire::ip::{IpHeader, PROTOCOL_ICMP, PROTOCOL_ICMPV6, Parsed};

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

/// Handles an ICMP or ICMPv6 message. An error about one of our packets is returned for its transport.
pub(crate) fn receive<'a>(
    ctx: &mut Context<'_>,
    datagram: &Datagram<'a>,
) -> Result<Option<IcmpError<'a>>, DropReason> {
    if !is_icmp(datagram.src, datagram.protocol) {
        // ICMP over IPv6, or ICMPv6 over IPv4.
        complain(ctx, datagram, Complaint::ProtocolUnreachable);
        return Err(DropReason::UnknownProtocol);
    }
    match wire::parse(datagram.payload, datagram.src, datagram.dst, datagram.checksum)? {
        Message::EchoRequest(echo) => answer_echo(ctx, datagram, echo).map(|()| None),
        Message::Error(error) => read_error(datagram, &error).map(Some),
        Message::EchoReply(_) | Message::Other(_) => Err(DropReason::IcmpIgnored),
    }
}

/// What an error message can be about: a datagram for us, or one on its way to somebody else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    /// The interface it came by.
    pub(crate) device: DeviceId,
    /// Its source: whom to tell.
    pub(crate) src: IpAddr,
    /// Its destination.
    pub(crate) dst: IpAddr,
    /// How it was addressed to us; `None` if it wasn't.
    pub(crate) cast: Option<Cast>,
    /// Type of service, traffic class.
    pub(crate) tos: u8,
    /// The datagram from its IP header on.
    pub(crate) whole: &'a [u8],
}

impl<'a> From<&Datagram<'a>> for Subject<'a> {
    fn from(datagram: &Datagram<'a>) -> Self {
        let Datagram { device, src, dst, cast, tos, whole, .. } = *datagram;
        Subject { device, src, dst, cast: Some(cast), tos, whole }
    }
}

impl<'a> From<&Transit<'a>> for Subject<'a> {
    fn from(transit: &Transit<'a>) -> Self {
        let Parsed { src, dst, tos, whole, .. } = transit.parsed;
        Subject { device: transit.device, src, dst, cast: None, tos, whole }
    }
}

/// What an error message says, in one vocabulary for both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// Nobody here speaks the protocol.
    ProtocolUnreachable,
    /// Nobody listens on the port.
    PortUnreachable,
    /// No route leads to the destination's network (RFC 4443: no route to destination).
    NetworkUnreachable,
    /// The destination can't be reached (RFC 4443: address unreachable).
    HostUnreachable,
    /// The way there is closed by a decision of somebody's.
    Prohibited,
    /// It is larger than the next link takes and may not be fragmented.
    TooBig {
        /// The largest datagram that the link takes, in bytes.
        mtu: u32,
    },
    /// Its time to live, its hop limit, was used up on the way.
    HopLimitExceeded,
    /// Its other parts did not come in time.
    ReassemblyTimeExceeded,
    /// Something in its headers can't be understood.
    ParameterProblem {
        /// The code, as the family has it.
        code: u8,
        /// Where the trouble is, in bytes from the first of the IP header.
        pointer: u32,
    },
}

/// Answers a datagram with an error, if the rules allow it (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e): never
/// about an error, never to a source that isn't one host, not about what came to many (but for `TooBig` and
/// unknown options in IPv6), and no more often than the rate limit says.
pub(crate) fn complain<'a>(ctx: &mut Context<'_>, about: impl Into<Subject<'a>>, complaint: Complaint) {
    let about = about.into();
    let Some((kind, code, word)) = on_the_wire(&about, complaint) else { return };
    if may_be_about(&about, complaint) && may_draw_an_error(ctx, &about) {
        send_error(ctx, &about, ErrorMessage { kind, code, word, quoted: quote(&about) });
    }
}

/// Type, code and second word (RFC 792, RFC 1191, RFC 1812 section 5.2.7, RFC 4443 section 3).
fn on_the_wire(about: &Subject<'_>, complaint: Complaint) -> Option<(u8, u8, u32)> {
    let is_v4 = about.src.is_ipv4();
    let unreachable = |code_v4, code_v6| match about.src {
        IpAddr::V4(_) => (v4::TYPE_DEST_UNREACH, code_v4, 0),
        IpAddr::V6(_) => (v6::TYPE_DST_UNREACH, code_v6, 0),
    };
    let time_exceeded = |code| match about.src {
        IpAddr::V4(_) => (v4::TYPE_TIME_EXCEEDED, code, 0),
        IpAddr::V6(_) => (v6::TYPE_TIME_EXCEEDED, code, 0),
    };
    Some(match complaint {
        Complaint::ProtocolUnreachable if is_v4 => (v4::TYPE_DEST_UNREACH, v4::CODE_DST_UNREACH_PROTOCOL, 0),
        //= RFC8200 section 4: an unrecognised next header draws parameter problem, code 1, with the pointer
        //# at the unrecognised value.
        Complaint::ProtocolUnreachable => {
            let pointer = crate::proto::wire::ip::parse(about.whole).ok()?.protocol_at as u32;
            (v6::TYPE_PARAMETER_PROBLEM, v6::CODE_PARAM_PROBLEM_UNRECOG_NEXT_HEADER, pointer)
        }
        Complaint::PortUnreachable => unreachable(v4::CODE_DST_UNREACH_PORT, v6::CODE_DST_UNREACH_PORT),
        Complaint::NetworkUnreachable => unreachable(0, 0),
        Complaint::HostUnreachable => unreachable(1, 3),
        Complaint::Prohibited => unreachable(13, 1),
        Complaint::TooBig { mtu } if is_v4 => (v4::TYPE_DEST_UNREACH, 4, mtu & 0xffff),
        Complaint::TooBig { mtu } => (v6::TYPE_PACKET_TOO_BIG, 0, mtu),
        Complaint::HopLimitExceeded => time_exceeded(0),
        Complaint::ReassemblyTimeExceeded => time_exceeded(1),
        Complaint::ParameterProblem { code, pointer } if is_v4 => {
            (v4::TYPE_PARAMETER_PROBLEM, code, pointer << 24)
        }
        Complaint::ParameterProblem { code, pointer } => (v6::TYPE_PARAMETER_PROBLEM, code, pointer),
    })
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

/// Errors about datagrams that others got too would come from all of them at once (RFC 1122 section 3.2.2,
/// RFC 4443 section 2.4 e.3). Whether an option of IPv6 may be complained about all the same is its own to say.
fn may_be_about(about: &Subject<'_>, complaint: Complaint) -> bool {
    match about.cast {
        Some(Cast::Unicast) => true,
        None if !about.dst.is_multicast() => true,
        Some(Cast::Broadcast | Cast::Multicast) | None => {
            let is_exempt =
                matches!(complaint, Complaint::TooBig { .. } | Complaint::ParameterProblem { .. });
            about.src.is_ipv6() && is_exempt
        }
    }
}

fn send_error(ctx: &mut Context<'_>, about: &Subject<'_>, message: ErrorMessage<'_>) {
    let source = match about.cast {
        Some(Cast::Unicast) => Some(about.dst),
        Some(Cast::Broadcast | Cast::Multicast) | None => {
            ctx.ip.interfaces.source_for(about.device, about.src)
        }
    };
    let Some(source) = source else { return };
    if !ctx.ip.icmp_errors.allow(ctx.now, ctx.rng) {
        ctx.counters.icmp_errors_limited += 1;
        return;
    }
    let (protocol, tos) = match about.src {
        //= RFC1812 section 4.3.2.5: the type of service of what the error is about, at the precedence of
        //# internetwork control. Its ECN bits say nothing about this packet (RFC 3168) and are left out.
        IpAddr::V4(_) => (PROTOCOL_ICMP, PRECEDENCE_INTERNETWORK_CONTROL | (about.tos & 0x1c)),
        IpAddr::V6(_) => (PROTOCOL_ICMPV6, 0),
    };
    let header = IpHeader { tos, ..fragmentable(ctx, source, about.src, protocol) };
    if send_message(ctx, &header, Message::Error(message)) {
        ctx.counters.icmp_errors_out += 1;
    }
}

const PRECEDENCE_INTERNETWORK_CONTROL: u8 = 0xc0;

/// The rules that hold for every error: never about another error, never to a source that isn't one host
/// (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e.1, e.2, e.6). Fragments that aren't the first never come
/// this far.
fn may_draw_an_error(ctx: &Context<'_>, about: &Subject<'_>) -> bool {
    let is_one_host = address::is_single_host(about.src) && !ctx.ip.is_broadcast(about.src);
    is_one_host && !is_icmp_error(about.whole)
}

/// Whether the datagram is an ICMP error, or can't be told not to be one.
fn is_icmp_error(whole: &[u8]) -> bool {
    // A packet whose extension headers were found wanting has not been read to its end.
    match wire::quoted(whole) {
        Some(read) => is_icmp(read.src, read.protocol) && wire::is_error(read.src, read.transport),
        None => true,
    }
}

fn is_icmp(family: IpAddr, protocol: u8) -> bool {
    protocol == if family.is_ipv4() { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 }
}

/// As much of the datagram as lets the error fit into what every host takes: 576 bytes (RFC 1812 section
/// 4.3.2.3) or the minimum MTU of IPv6 (RFC 4443 section 2.4 c).
fn quote<'a>(about: &Subject<'a>) -> &'a [u8] {
    let room = match about.src {
        IpAddr::V4(_) => 576 - 20 - wire::HEADER_LEN,
        IpAddr::V6(_) => 1280 - 40 - wire::HEADER_LEN,
    };
    about.whole.get(..room).unwrap_or(about.whole)
}

/// Routes a message and queues it; `false` if it was lost.
fn send_message(ctx: &mut Context<'_>, header: &IpHeader, message: Message<'_>) -> bool {
    let Ok(route) = ctx.ip.route(header.dst, Some(header.src)) else {
        ctx.counters.replies_lost += 1;
        return false;
    };
    let mut written = HeaderBuf::new();
    message.write_header(header.src, header.dst, &mut written);
    super::try_send(ctx, &route, header, &[&written, message.body()])
}

/// Reads an error that came in, and believes it if it quotes a packet that we can have sent.
fn read_error<'a>(datagram: &Datagram<'_>, error: &ErrorMessage<'a>) -> Result<IcmpError<'a>, DropReason> {
    let kind = match datagram.src {
        IpAddr::V4(_) => classify_v4(error),
        IpAddr::V6(_) => classify_v6(error),
    };
    let kind = kind.ok_or(DropReason::IcmpIgnored)?;
    let quoted = wire::quoted(error.quoted).ok_or(DropReason::IcmpMalformed)?;
    // An error goes to the source of what it is about. So that is the address where this one came to, and
    // ours alone.
    if datagram.cast != Cast::Unicast || quoted.src != datagram.dst {
        return Err(DropReason::IcmpUnrelated);
    }
    let (src_port, dst_port) = quoted.ports().ok_or(DropReason::IcmpUnrelated)?;
    Ok(IcmpError {
        kind,
        type_code: (error.kind, error.code),
        offender: datagram.src,
        protocol: quoted.protocol,
        local: SocketAddr::new(quoted.src, src_port),
        remote: SocketAddr::new(quoted.dst, dst_port),
        seq: quoted.tcp_seq(),
        transport: quoted.transport,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::config::Config;
    use crate::proto::ip::testing::{TUN, World, datagram, header, icmp_message, ip, udp};
    use crate::proto::packet::{ChecksumState, DeviceId, Packet};
    use crate::proto::udp::Sockets;
    use crate::proto::wire::ip::{self as wire_ip, PROTOCOL_TCP};
    use alloc::vec::Vec;

    fn give(world: &mut World, bytes: &[u8]) -> Result<(), DropReason> {
        let packet = Packet::plain(bytes, world.now);
        world.receive(&mut Sockets::new([0; 16]), TUN, &packet)
    }

    fn echo_request(src: &str, dst: &str) -> Vec<u8> {
        icmp_message(src, dst, Message::EchoRequest(Echo { ident: 7, seq: 9, data: b"odd" }))
    }

    /// Headers of the datagram that was sent, and its message taken apart.
    fn answer<R>(world: &mut World, read: impl FnOnce(&wire_ip::Parsed<'_>, Message<'_>) -> R) -> Option<R> {
        let (device, bytes) = world.sent()?;
        assert_eq!(device, TUN);
        let parsed = wire_ip::parse(&bytes).unwrap();
        let message = wire::parse(parsed.payload, parsed.src, parsed.dst, ChecksumState::Unverified).unwrap();
        Some(read(&parsed, message))
    }

    #[test]
    fn a_ping_is_answered_from_the_address_that_was_pinged() {
        let mut world = World::new();
        world.ip.add_address(TUN, "10.9.0.5/24".parse().unwrap()).unwrap();
        for (src, dst) in [("10.9.0.1", "10.9.0.2"), ("10.9.0.1", "10.9.0.5"), ("fd09::1", "fd09::2")] {
            assert_eq!(give(&mut world, &echo_request(src, dst)), Ok(()));
            let seen = answer(&mut world, |parsed, message| {
                assert_eq!(message, Message::EchoReply(Echo { ident: 7, seq: 9, data: b"odd" }));
                assert_eq!(parsed.hop_limit, 64);
                (parsed.src, parsed.dst)
            });
            assert_eq!(seen, Some((ip(dst), ip(src))));
        }
        assert_eq!(world.counters.icmp_echo_replies, 3);
    }

    #[test]
    fn the_type_of_service_of_a_ping_comes_back() {
        let mut world = World::new();
        let mut bytes = echo_request("fd09::1", "fd09::2");
        // Traffic class 0xb9 lies across the first two octets.
        (bytes[0], bytes[1]) = (0x6b, 0x90);
        give(&mut world, &bytes).unwrap();
        assert_eq!(answer(&mut world, |parsed, _| parsed.tos), Some(0xb9));
    }

    #[test]
    fn a_ping_to_all_is_answered_over_ipv6_only() {
        let mut world = World::new();
        for dst in ["10.9.0.255", "255.255.255.255", "224.0.0.1"] {
            assert_eq!(give(&mut world, &echo_request("10.9.0.1", dst)), Err(DropReason::IcmpIgnored));
            assert!(world.sent().is_none());
        }
        assert_eq!(give(&mut world, &echo_request("fd09::1", "ff02::1")), Ok(()));
        assert_eq!(answer(&mut world, |parsed, _| parsed.src), Some(ip("fd09::2")));
        assert_eq!(give(&mut world, &echo_request("::", "ff02::1")), Err(DropReason::IcmpIgnored));
        assert!(world.sent().is_none());
    }

    #[test]
    fn a_link_local_ping_goes_back_by_the_interface_it_came_by() {
        let mut world = World::new();
        let other = world.ip.add_interface(1500);
        world.ip.add_address(TUN, "fe80::1/64".parse().unwrap()).unwrap();
        world.ip.add_address(other, "fe80::2/64".parse().unwrap()).unwrap();
        let packet = echo_request("fe80::9", "fe80::2");
        let packet = Packet::plain(&packet, world.now);
        assert_eq!(world.receive(&mut Sockets::new([0; 16]), other, &packet), Ok(()));
        assert_eq!(world.sent().map(|(device, _)| device), Some(other));
    }

    #[test]
    fn a_ping_to_ourselves_stays_inside() {
        let mut world = World::new();
        let bytes = echo_request("127.0.0.1", "127.0.0.1");
        let packet = Packet::plain(&bytes, world.now);
        assert_eq!(world.receive(&mut Sockets::new([0; 16]), DeviceId::LOOPBACK, &packet), Ok(()));
        assert_eq!(world.sent().map(|(device, _)| device), Some(DeviceId::LOOPBACK));
    }

    #[test]
    fn an_answer_that_finds_no_way_is_counted_as_lost() {
        let mut world = World::with(Config { outbox_packets: 2, ..Config::default() });
        assert_eq!(give(&mut world, &echo_request("8.8.8.8", "10.9.0.2")), Ok(()));
        assert_eq!(give(&mut world, &echo_request("10.9.0.1", "10.9.0.2")), Ok(()));
        let data = &[0; 1472];
        let large =
            icmp_message("10.9.0.1", "10.9.0.2", Message::EchoRequest(Echo { ident: 1, seq: 1, data }));
        // Two parts, and room for one.
        world.ip.set_mtu(TUN, 1000);
        assert_eq!(give(&mut world, &large), Ok(()));
        assert_eq!((world.counters.replies_lost, world.counters.icmp_echo_replies), (2, 1));
    }

    #[test]
    fn other_messages_are_ignored() {
        let mut world = World::new();
        let other = |kind| Message::Other(wire::Other { kind, code: 0, word: 0, body: &[] });
        // Timestamp, router solicitation; neighbour solicitation, redirect.
        for message in [other(13), other(10)] {
            let bytes = icmp_message("10.9.0.1", "10.9.0.2", message);
            assert_eq!(give(&mut world, &bytes), Err(DropReason::IcmpIgnored));
        }
        for message in [other(135), other(137), other(200)] {
            let bytes = icmp_message("fd09::1", "fd09::2", message);
            assert_eq!(give(&mut world, &bytes), Err(DropReason::IcmpIgnored));
        }
        assert!(world.sent().is_none());
    }

    #[test]
    fn a_message_with_a_wrong_checksum_is_dropped() {
        let mut world = World::new();
        let mut bytes = echo_request("10.9.0.1", "10.9.0.2");
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(give(&mut world, &bytes), Err(DropReason::IcmpChecksum));
    }

    #[test]
    fn a_port_without_a_listener_is_unreachable() {
        let mut world = World::new();
        for (src, dst, expected) in
            [("10.9.0.1:9", "10.9.0.2:7", (3, 3)), ("[fd09::1]:9", "[fd09::2]:7", (1, 4))]
        {
            let bytes = udp(src, dst, b"text");
            assert_eq!(give(&mut world, &bytes), Err(DropReason::UdpNoSocket));
            let seen = answer(&mut world, |parsed, message| {
                let Message::Error(error) = message else { panic!("{message:?}") };
                assert_eq!((error.quoted, error.word), (&bytes[..], 0));
                assert_eq!(parsed.tos, if parsed.src.is_ipv4() { 0xc0 } else { 0 });
                (error.kind, error.code)
            });
            assert_eq!(seen, Some(expected));
        }
        assert_eq!(world.counters.icmp_errors_out, 2);
    }

    #[test]
    fn a_protocol_nobody_speaks_is_unreachable() {
        let mut world = World::new();
        let seen = |world: &mut World| {
            answer(world, |_, message| match message {
                Message::Error(error) => (error.kind, error.code, error.word),
                _ => panic!("{message:?}"),
            })
        };
        for (src, dst, protocol, expected) in [
            ("10.9.0.1", "10.9.0.2", 132, (3, 2, 0)),
            ("10.9.0.1", "10.9.0.2", PROTOCOL_ICMPV6, (3, 2, 0)),
            ("fd09::1", "fd09::2", 132, (4, 1, 6)),
            ("fd09::1", "fd09::2", PROTOCOL_ICMP, (4, 1, 6)),
        ] {
            let bytes = datagram(&header(src, dst, protocol), &[3; 8]);
            assert_eq!(give(&mut world, &bytes), Err(DropReason::UnknownProtocol));
            assert_eq!(seen(&mut world), Some(expected));
        }
        // Behind destination options the pointer is at the options' next header octet.
        let bytes = datagram(&header("fd09::1", "fd09::2", 60), &[132, 0, 1, 4, 0, 0, 0, 0]);
        assert_eq!(give(&mut world, &bytes), Err(DropReason::UnknownProtocol));
        assert_eq!(seen(&mut world), Some((4, 1, 40)));
    }

    #[test]
    fn nothing_that_was_sent_to_all_draws_an_error() {
        let mut world = World::new();
        for dst in ["10.9.0.255:7", "255.255.255.255:7", "224.0.0.1:7"] {
            assert_eq!(give(&mut world, &udp("10.9.0.1:9", dst, b"")), Err(DropReason::UdpNoSocket));
        }
        assert_eq!(give(&mut world, &udp("[fd09::1]:9", "[ff02::1]:7", b"")), Err(DropReason::UdpNoSocket));
        for (src, dst) in [("10.9.0.1", "10.9.0.255"), ("fd09::1", "ff02::1")] {
            let bytes = datagram(&header(src, dst, 132), &[]);
            assert_eq!(give(&mut world, &bytes), Err(DropReason::UnknownProtocol));
        }
        assert!(world.sent().is_none());
    }

    #[test]
    fn an_error_quotes_as_much_as_every_host_can_take() {
        let mut world = World::new();
        for (src, dst, len) in [("10.9.0.1:9", "10.9.0.2:7", 576), ("[fd09::1]:9", "[fd09::2]:7", 1280)] {
            assert!(give(&mut world, &udp(src, dst, &[0; 1400])).is_err());
            assert_eq!(world.sent().map(|(_, bytes)| bytes.len()), Some(len));
        }
    }

    #[test]
    fn errors_are_limited_and_echo_replies_are_not() {
        let config = Config { icmp_errors_burst: 4, icmp_errors_per_second: 1, ..Config::default() };
        let mut world = World::with(config);
        for _ in 0..100 {
            assert!(give(&mut world, &udp("10.9.0.1:9", "10.9.0.2:7", b"")).is_err());
            assert!(give(&mut world, &echo_request("10.9.0.1", "10.9.0.2")).is_ok());
        }
        let counters = &world.counters;
        assert!((1..=10).contains(&counters.icmp_errors_out), "{}", counters.icmp_errors_out);
        assert_eq!(counters.icmp_errors_out + counters.icmp_errors_limited, 100);
        assert_eq!(counters.icmp_echo_replies, 100);
    }

    /// The start of a TCP segment that we may have sent.
    fn quoted_segment(src: &str, dst: &str) -> Vec<u8> {
        datagram(&header(src, dst, PROTOCOL_TCP), &[0, 80, 0x30, 0x39, 1, 2, 3, 4])
    }

    fn error<'a>(kind: u8, code: u8, word: u32, quoted: &'a [u8]) -> Message<'a> {
        Message::Error(ErrorMessage { kind, code, word, quoted })
    }

    fn received<'a>(world: &mut World, bytes: &'a [u8]) -> Result<Option<IcmpError<'a>>, DropReason> {
        let datagram = world.input(bytes)?;
        receive(&mut world.ctx(), &datagram)
    }

    #[test]
    fn an_error_about_a_packet_of_ours_is_passed_on() {
        let mut world = World::new();
        let quoted = quoted_segment("10.9.0.2", "10.9.0.1");
        // It comes from a router, not from the host that the packet was for.
        let bytes = icmp_message("172.16.0.1", "10.9.0.2", error(3, 4, 0xffff_0514, &quoted));
        let expected = IcmpError {
            kind: IcmpErrorKind::PacketTooBig(1300),
            type_code: (3, 4),
            offender: ip("172.16.0.1"),
            protocol: PROTOCOL_TCP,
            local: "10.9.0.2:80".parse().unwrap(),
            remote: "10.9.0.1:12345".parse().unwrap(),
            seq: Some(0x0102_0304),
            transport: &quoted[20..],
        };
        assert_eq!(received(&mut world, &bytes), Ok(Some(expected)));
        let quoted = quoted_segment("fd09::2", "fd09::1");
        let bytes = icmp_message("fd09::1", "fd09::2", error(2, 0, 1280, &quoted));
        let read = received(&mut world, &bytes).unwrap().unwrap();
        assert_eq!((read.kind, read.seq), (IcmpErrorKind::PacketTooBig(1280), Some(0x0102_0304)));
    }

    #[test]
    fn errors_about_packets_that_we_cannot_have_sent_are_not_believed() {
        let mut world = World::new();
        world.ip.add_address(TUN, "10.9.0.5/24".parse().unwrap()).unwrap();
        for (dst, quoted) in [
            ("10.9.0.2", quoted_segment("10.9.0.77", "10.9.0.1")),
            ("10.9.0.2", quoted_segment("10.9.0.5", "10.9.0.1")),
            ("10.9.0.255", quoted_segment("10.9.0.255", "10.9.0.1")),
            // Ports missing, or a protocol without them.
            ("10.9.0.2", datagram(&header("10.9.0.2", "10.9.0.1", PROTOCOL_TCP), &[0, 80])),
            ("10.9.0.2", echo_request("10.9.0.2", "10.9.0.1")),
        ] {
            let bytes = icmp_message("10.9.0.1", dst, error(3, 3, 0, &quoted));
            assert_eq!(received(&mut world, &bytes), Err(DropReason::IcmpUnrelated));
        }
        let bytes = icmp_message("10.9.0.1", "10.9.0.2", error(3, 3, 0, &[0x45, 0]));
        assert_eq!(received(&mut world, &bytes), Err(DropReason::IcmpMalformed));
    }

    #[test]
    fn no_error_draws_an_error() {
        let mut world = World::new();
        for (src, dst, quoted) in [
            ("10.9.0.1", "10.9.0.2", quoted_segment("10.9.0.77", "10.9.0.1")),
            ("fd09::1", "fd09::2", quoted_segment("fd09::77", "fd09::1")),
        ] {
            assert!(give(&mut world, &icmp_message(src, dst, error(3, 3, 0, &quoted))).is_err());
        }
        assert!(world.sent().is_none());
    }

    #[test]
    fn every_code_has_its_meaning() {
        use IcmpErrorKind::*;
        let v4 = |kind, code| classify_v4(&ErrorMessage { kind, code, word: 9, quoted: &[] });
        let v6 = |kind, code| classify_v6(&ErrorMessage { kind, code, word: 9, quoted: &[] });
        for (code, expected) in (0..16).zip([
            NetworkUnreachable,
            HostUnreachable,
            ProtocolUnreachable,
            PortUnreachable,
            PacketTooBig(9),
            HostUnreachable,
            NetworkUnreachable,
            HostUnreachable,
            HostUnreachable,
            Prohibited,
            Prohibited,
            NetworkUnreachable,
            HostUnreachable,
            Prohibited,
            Prohibited,
            Prohibited,
        ]) {
            assert_eq!(v4(3, code), Some(expected), "{code}");
        }
        assert_eq!((v4(3, 16), v4(11, 2)), (None, None));
        assert_eq!((v4(11, 0), v4(12, 0)), (Some(TimeExceeded), Some(ParameterProblem)));
        // Source quench (RFC 9293 MUST-55) and redirect.
        assert_eq!((v4(4, 0), v4(5, 0)), (None, None));
        for (code, expected) in (0..7).zip([
            NetworkUnreachable,
            Prohibited,
            HostUnreachable,
            HostUnreachable,
            PortUnreachable,
            Prohibited,
            Prohibited,
        ]) {
            assert_eq!(v6(1, code), Some(expected), "{code}");
        }
        assert_eq!((v6(1, 7), v6(5, 0), v6(127, 0)), (None, None, None));
        assert_eq!((v6(2, 0), v6(3, 1)), (Some(PacketTooBig(9)), Some(TimeExceeded)));
        assert_eq!((v6(4, 0), v6(4, 1)), (Some(ParameterProblem), Some(ProtocolUnreachable)));
    }
}
