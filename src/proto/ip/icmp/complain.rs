//! Errors sent: what they may be about, from which address, how often.
//!
//! RFC 792, RFC 1122 section 3.2.2, RFC 1812 sections 4.3.2 and 5.2.7, RFC 4443 sections 2 and 3.

use core::net::IpAddr;

use super::{is_icmp, send_message};
use crate::proto::context::Context;
use crate::proto::ip::datagram::Transit;
use crate::proto::ip::limiter::Price;
use crate::proto::ip::{Cast, Datagram, address, fragmentable};
use crate::proto::packet::DeviceId;
use crate::proto::wire::icmp::{self as wire, ErrorMessage, Message, v4, v6};
use crate::proto::wire::ip::{IpHeader, PROTOCOL_ICMP, PROTOCOL_ICMPV6, Parsed};

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

/// Answers a datagram with an error, if the rules allow it (RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7,
/// RFC 4443 section 2.4 e): never about an error or a redirect, never about a fragment that isn't the first, never
/// to a source that isn't one host, not about what came to many (but for `TooBig` and unknown options in IPv6), and
/// no more often than the rate limits say.
pub(crate) fn complain<'a>(ctx: &mut Context<'_>, about: impl Into<Subject<'a>>, complaint: Complaint) {
    let about = about.into();
    let Some((kind, code, word)) = on_the_wire(&about, complaint) else { return };
    if may_be_about(&about, complaint) && may_draw_an_error(ctx, &about) {
        let price = match complaint {
            Complaint::TooBig { .. } => Price::TooBig,
            Complaint::ProtocolUnreachable
            | Complaint::PortUnreachable
            | Complaint::NetworkUnreachable
            | Complaint::HostUnreachable
            | Complaint::Prohibited
            | Complaint::HopLimitExceeded
            | Complaint::ReassemblyTimeExceeded
            | Complaint::ParameterProblem { .. } => Price::Ordinary,
        };
        send_error(ctx, &about, price, ErrorMessage { kind, code, word, quoted: quote(&about) });
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

fn send_error(ctx: &mut Context<'_>, about: &Subject<'_>, price: Price, message: ErrorMessage<'_>) {
    let Some(source) = error_source(ctx, about) else { return };
    // Who tells himself does so at no one's cost (as Linux).
    let is_free = about.device == DeviceId::LOOPBACK;
    if !is_free && !ctx.ip.icmp_errors.allow(ctx.now, ctx.rng, about.src, price) {
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

/// The address that the error comes from. It is what `traceroute` shows of a router.
fn error_source(ctx: &Context<'_>, about: &Subject<'_>) -> Option<IpAddr> {
    match about.cast {
        //= RFC4443 section 2.2: in response to a message sent to one of the node's unicast addresses, the source MUST
        //# be that address. (So does Linux over IPv4, and RFC 1122 section 3.2.2 has no other in mind.)
        Some(Cast::Unicast) => Some(about.dst),
        //= RFC1812 section 4.3.2.4: the source MUST be an address of the interface over which the error is sent.
        //= RFC4443 section 2.2: else chosen as for any other packet to that destination.
        Some(Cast::Broadcast | Cast::Multicast) | None if !address::is_link_scoped(about.src) => {
            ctx.ip.route(about.src, None).ok().map(|route| route.source)
        }
        // The way back to a link-local source is the way it came.
        Some(Cast::Broadcast | Cast::Multicast) | None => {
            ctx.ip.interfaces.source_for(about.device, about.src)
        }
    }
}

/// The rules that hold for every error, whatever it says.
fn may_draw_an_error(ctx: &Context<'_>, about: &Subject<'_>) -> bool {
    //= RFC1122 section 3.2.2: an ICMP error MUST NOT be sent about a datagram whose source address does not define
    //# a single host: a zero, loopback, broadcast, multicast or class E address.
    //= RFC4443 section 2.4: nor (e.6) about a packet whose source does not uniquely identify a single node.
    let is_one_host = address::is_single_host(about.src) && !ctx.ip.is_broadcast(about.src);
    // Loopback addresses name one host only where they belong.
    let is_here = !about.src.is_loopback() || about.device == DeviceId::LOOPBACK;
    is_one_host && is_here && !is_later_fragment_v4(about.whole) && !is_icmp_error(about.whole)
}

/// Whether it is a fragment of IPv4 that is not the first.
//= RFC1122 section 3.2.2: an ICMP error MUST NOT be sent about a non-initial fragment. (Nor RFC1812 4.3.2.7. RFC 4443
//# does not ask that of IPv6, where "packet too big" has to be sent about any fragment.)
fn is_later_fragment_v4(whole: &[u8]) -> bool {
    match whole {
        [first, _, _, _, _, _, high, low, ..] if first >> 4 == 4 => high & 0x1f != 0 || *low != 0,
        _ => false,
    }
}

/// Whether the datagram is an ICMP error, or can't be told not to be one.
fn is_icmp_error(whole: &[u8]) -> bool {
    //= RFC4443 section 2.4: not (e.1) about an ICMPv6 error, nor (e.2) about a redirect.
    // A packet whose extension headers were found wanting has not been read to its end.
    match wire::quoted(whole) {
        // No error is long enough to be cut into parts: what follows a first part was never one.
        Some(read) if read.is_later_fragment => false,
        Some(read) => is_icmp(read.src, read.protocol) && wire::is_error(read.src, read.transport),
        None => true,
    }
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
