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
use crate::proto::wire::ip::{IpHeader, PROTOCOL_ICMP, PROTOCOL_ICMPV6, Parsed, QuotedPart};

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

impl<'p> From<&Transit<'_, 'p>> for Subject<'p> {
    fn from(transit: &Transit<'_, 'p>) -> Self {
        let Parsed { src, dst, tos, whole, .. } = *transit.parsed;
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
    /// It would leave the link that its source address belongs to (RFC 4443: beyond scope of source address). Over
    /// IPv4 there is no such error.
    BeyondScope,
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
pub(crate) fn complain<'a>(ctx: &mut Context, about: impl Into<Subject<'a>>, complaint: Complaint) {
    let about = about.into();
    let Some((kind, code, word)) = on_the_wire(&about, complaint) else { return };
    //= RFC1122 3.3.8 report
    if may_be_about(&about, complaint) && may_draw_an_error(ctx, &about) {
        let price = match complaint {
            Complaint::TooBig { .. } => Price::TooBig,
            Complaint::ProtocolUnreachable
            | Complaint::PortUnreachable
            | Complaint::NetworkUnreachable
            | Complaint::HostUnreachable
            | Complaint::Prohibited
            | Complaint::BeyondScope
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
        //= RFC792 unused
        IpAddr::V4(_) => (v4::TYPE_DEST_UNREACH, code_v4, 0),
        //= RFC4443 3.1 code, 3.1 unused
        IpAddr::V6(_) => (v6::TYPE_DST_UNREACH, code_v6, 0),
    };
    let time_exceeded = |code| match about.src {
        //= RFC792 unused
        IpAddr::V4(_) => (v4::TYPE_TIME_EXCEEDED, code, 0),
        //= RFC4443 3.1 unused
        IpAddr::V6(_) => (v6::TYPE_TIME_EXCEEDED, code, 0),
    };
    Some(match complaint {
        Complaint::ProtocolUnreachable if is_v4 => (v4::TYPE_DEST_UNREACH, v4::CODE_DST_UNREACH_PROTOCOL, 0),
        //= RFC8200 4 next header: an unrecognised next header draws parameter problem, code 1, with the pointer
        //# at the unrecognised value.
        Complaint::ProtocolUnreachable => {
            let pointer = crate::proto::wire::ip::parse(about.whole).ok()?.protocol_at as u32;
            (v6::TYPE_PARAMETER_PROBLEM, v6::CODE_PARAM_PROBLEM_UNRECOG_NEXT_HEADER, pointer)
        }
        Complaint::PortUnreachable => unreachable(v4::CODE_DST_UNREACH_PORT, v6::CODE_DST_UNREACH_PORT),
        Complaint::NetworkUnreachable => unreachable(0, 0),
        Complaint::HostUnreachable => unreachable(1, 3),
        Complaint::Prohibited => unreachable(13, 1),
        Complaint::BeyondScope if is_v4 => return None,
        Complaint::BeyondScope => (v6::TYPE_DST_UNREACH, v6::CODE_DST_UNREACH_BEYOND_SCOPE, 0),
        Complaint::TooBig { mtu } if is_v4 => (v4::TYPE_DEST_UNREACH, 4, mtu & 0xffff),
        //= RFC4443 3.2 too big
        Complaint::TooBig { mtu } => (v6::TYPE_PACKET_TOO_BIG, 0, mtu),
        Complaint::HopLimitExceeded => time_exceeded(0),
        Complaint::ReassemblyTimeExceeded => time_exceeded(1),
        Complaint::ParameterProblem { code, pointer } if is_v4 => {
            //= RFC1812 4.3.3.5 parameter problem
            (v4::TYPE_PARAMETER_PROBLEM, code, pointer << 24)
        }
        //= RFC4443 3.4 pointer
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
            let is_exempt = matches!(
                complaint,
                Complaint::TooBig { .. }
                    | Complaint::ParameterProblem { code: v6::CODE_PARAM_PROBLEM_UNRECOG_IPV6_OPTION, .. }
            );
            //= RFC1122 3.2.2 no error about many
            //= RFC1812 4.3.2.7 about many
            //= RFC4443 2.4 e.3 multicast
            about.src.is_ipv6() && is_exempt
        }
    }
}

fn send_error(ctx: &mut Context, about: &Subject<'_>, price: Price, message: ErrorMessage<'_>) {
    let Some(source) = error_source(ctx, about) else { return };
    // Who tells himself does so at no one's cost (as Linux).
    let is_free = about.device == DeviceId::LOOPBACK;
    //= RFC1812 4.3.2.8 rate
    //= RFC4443 2.4 f rate
    if !is_free && !ctx.ip.icmp_errors.allow(ctx.now, &mut ctx.rng, about.src, price) {
        ctx.counters.icmp_errors_limited += 1;
        return;
    }
    let (protocol, tos) = match about.src {
        //= RFC1812 4.3.2.5 precedence of errors: the type of service of what the error is about, at the
        //# precedence of internetwork control. Its ECN bits say nothing about this packet (RFC 3168) and are
        //# left out.
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
fn error_source(ctx: &Context, about: &Subject<'_>) -> Option<IpAddr> {
    match about.cast {
        //= RFC4443 2.2 source: in response to a message sent to one of the node's unicast addresses, the source
        //# MUST be that address. (So does Linux over IPv4, and RFC 1122 section 3.2.2 has no other in mind.)
        Some(Cast::Unicast) => Some(about.dst),
        //= RFC1812 4.3.2.4 source: the source MUST be an address of the interface over which the error is sent.
        //= RFC4443 2.2 other source: else chosen as for any other packet to that destination.
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
fn may_draw_an_error(ctx: &Context, about: &Subject<'_>) -> bool {
    //= RFC1122 3.2.2 no error to no host: an ICMP error MUST NOT be sent about a datagram whose source address
    //# does not define a single host: a zero, loopback, broadcast, multicast or class E address.
    //= RFC4443 2.4 e.6 source: nor (e.6) about a packet whose source does not uniquely identify a single node.
    //= RFC1812 4.3.2.7 to no host
    let is_one_host = address::is_single_host(about.src) && !ctx.ip.is_broadcast(about.src);
    // Loopback addresses name one host only where they belong.
    let is_here = !about.src.is_loopback() || about.device == DeviceId::LOOPBACK;
    is_one_host && is_here && !is_later_fragment_v4(about.whole) && !is_icmp_error(about.whole)
}

/// Whether it is a fragment of IPv4 that is not the first.
//= RFC1122 3.2.2 no error about fragments: an ICMP error MUST NOT be sent about a non-initial fragment. (Nor
//# RFC1812 4.3.2.7. RFC 4443 does not ask that of IPv6, where "packet too big" has to be sent about any
//# fragment.)
fn is_later_fragment_v4(whole: &[u8]) -> bool {
    match whole {
        //= RFC792 first fragment
        //= RFC1812 4.3.2.7 about fragments
        [first, _, _, _, _, _, high, low, ..] if first >> 4 == 4 => high & 0x1f != 0 || *low != 0,
        _ => false,
    }
}

/// Whether the datagram is an ICMP error, or one too short to tell.
// RFC 4443 section 2.4: not (e.1) about an ICMPv6 error, nor (e.2) about a redirect.
fn is_icmp_error(whole: &[u8]) -> bool {
    match wire::quoted(whole) {
        // No error is long enough to be cut into parts: what follows a first part was never one.
        Some(read) if read.part == QuotedPart::Later => false,
        // Nor is it one of which nothing has come; that its headers are cut off is what the error says (RFC 8200 section
        // 4.5; as Linux).
        Some(read) if read.part == QuotedPart::First && read.src.is_ipv6() && read.transport.is_empty() => {
            false
        }
        //= RFC1122 3.2.2 no error about errors
        //= RFC792 no message about messages
        //= RFC1812 4.3.2.7 about errors
        //= RFC4443 2.4 e.1 errors
        Some(read) => is_icmp(read.src, read.protocol) && wire::is_error(read.src, read.transport),
        // The same, with extension headers that end in the void.
        None => false,
    }
}

/// As much of the datagram as lets the error fit into what every host takes: 576 bytes (RFC 1812 section
/// 4.3.2.3) or the minimum MTU of IPv6 (RFC 4443 section 2.4 c).
fn quote<'a>(about: &Subject<'a>) -> &'a [u8] {
    let room = match about.src {
        //= RFC1812 4.3.2.3 quote
        IpAddr::V4(_) => 576 - 20 - wire::HEADER_LEN,
        //= RFC4443 2.4 c quote
        IpAddr::V6(_) => 1280 - 40 - wire::HEADER_LEN,
    };
    //= RFC1122 3.2.2 quote
    about.whole.get(..room).unwrap_or(about.whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::config::Config;
    use crate::proto::ip::testing::{TUN, World, datagram, header, icmp_message, ip, udp};
    use crate::proto::packet::ChecksumState;
    use crate::proto::wire::icmp::{Echo, Other};
    use alloc::vec::Vec;

    /// Errors of every kind.
    const ALL: [Complaint; 9] = [
        Complaint::ProtocolUnreachable,
        Complaint::PortUnreachable,
        Complaint::NetworkUnreachable,
        Complaint::HostUnreachable,
        Complaint::Prohibited,
        Complaint::TooBig { mtu: 1400 },
        Complaint::HopLimitExceeded,
        Complaint::ReassemblyTimeExceeded,
        Complaint::ParameterProblem { code: 0, pointer: 8 },
    ];

    /// Something that came by `device`, and as what.
    fn came<'a>(device: DeviceId, cast: Option<Cast>, whole: &'a [u8]) -> Subject<'a> {
        let parsed = crate::proto::wire::ip::parse(whole).unwrap();
        Subject { device, src: parsed.src, dst: parsed.dst, cast, tos: parsed.tos, whole }
    }

    /// Type, code and second word of an error; and the addresses it goes between.
    type Told = ((u8, u8, u32), (IpAddr, IpAddr));

    /// The error that is sent, if one is.
    fn told(world: &mut World, about: Subject<'_>, what: Complaint) -> Option<Told> {
        complain(world.ctx(), about, what);
        let (_, bytes) = world.sent()?;
        assert!(world.sent().is_none());
        let parsed = crate::proto::wire::ip::parse(&bytes).unwrap();
        let message = wire::parse(parsed.payload, parsed.src, parsed.dst, ChecksumState::Unverified);
        let Ok(Message::Error(error)) = message else { panic!("{message:?}") };
        assert!(about.whole.starts_with(error.quoted));
        Some(((error.kind, error.code, error.word), (parsed.src, parsed.dst)))
    }

    fn silent(world: &mut World, about: Subject<'_>) -> bool {
        ALL.iter().all(|complaint| told(world, about, *complaint).is_none())
    }

    //= RFC1122 3.3.8 report
    //= RFC792 unused
    //= RFC1812 4.3.3.5 parameter problem
    //= RFC4443 3.1 unused, 3.4 pointer
    #[test]
    fn everything_has_its_type_and_code() {
        let mut world = World::with(Config { icmp_peer_errors_burst: 100, ..Config::default() });
        let v4 = udp("10.9.0.1:9", "192.0.2.1:7", b"text");
        let v6 = udp("[fd09::1]:9", "[fd99::1]:7", b"text");
        for (complaint, over_v4, over_v6) in ALL
            .into_iter()
            .zip([
                ((3, 2, 0), (4, 1, 6)),
                ((3, 3, 0), (1, 4, 0)),
                ((3, 0, 0), (1, 0, 0)),
                ((3, 1, 0), (1, 3, 0)),
                ((3, 13, 0), (1, 1, 0)),
                ((3, 4, 1400), (2, 0, 1400)),
                ((11, 0, 0), (3, 0, 0)),
                ((11, 1, 0), (3, 1, 0)),
                ((12, 0, 8 << 24), (4, 0, 8)),
            ])
            .map(|(complaint, (v4, v6))| (complaint, v4, v6))
        {
            let seen = told(&mut world, came(TUN, None, &v4), complaint).unwrap();
            assert_eq!(seen, (over_v4, (ip("10.9.0.2"), ip("10.9.0.1"))), "{complaint:?}");
            let seen = told(&mut world, came(TUN, None, &v6), complaint).unwrap();
            assert_eq!(seen, (over_v6, (ip("fd09::2"), ip("fd09::1"))), "{complaint:?}");
        }
    }

    //= RFC792 no message about messages
    //= RFC1812 4.3.2.7 about errors
    //= RFC4443 2.4 e.1 errors, 2.4 e.2 redirects
    #[test]
    fn no_error_is_about_an_error_or_a_redirect() {
        //= RFC1122 3.2.2 no error about errors: an ICMP error message MUST NOT be sent as the result of
        //# receiving an ICMP error message. RFC4443 section 2.4: nor (e.1, e.2) about an ICMPv6 error or
        //# redirect.
        let mut world = World::new();
        let inner = udp("10.9.0.2:9", "10.9.0.1:7", b"text");
        let error = |kind| Message::Error(ErrorMessage { kind, code: 0, word: 0, quoted: &inner });
        for kind in [3, 4, 5, 11, 12] {
            let bytes = icmp_message("10.9.0.1", "192.0.2.1", error(kind));
            assert!(silent(&mut world, came(TUN, None, &bytes)), "{kind}");
        }
        let redirect = Message::Other(Other { kind: 137, code: 0, word: 0, body: &[] });
        for message in [error(1), error(2), error(3), error(4), error(100), redirect] {
            let bytes = icmp_message("fd09::1", "fd99::1", message);
            assert!(silent(&mut world, came(TUN, None, &bytes)), "{message:?}");
        }
        let echo = Message::EchoRequest(Echo { ident: 1, seq: 1, data: b"" });
        for (src, dst) in [("10.9.0.1", "192.0.2.1"), ("fd09::1", "fd99::1")] {
            let bytes = icmp_message(src, dst, echo);
            assert!(told(&mut world, came(TUN, None, &bytes), Complaint::HopLimitExceeded).is_some());
        }
    }

    //= RFC1122 3.2.2 no error to no host
    //= RFC1812 4.3.2.7 to no host
    //= RFC4443 2.4 e.6 source
    #[test]
    fn no_error_goes_to_what_is_not_one_host() {
        let mut world = World::new();
        for src in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "10.9.0.255",
            "10.9.0.0",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
        ] {
            let bytes = datagram(&header(src, "192.0.2.1", 17), &[0; 8]);
            assert!(silent(&mut world, came(TUN, None, &bytes)), "{src}");
        }
        for src in ["::", "::1", "ff02::1", "::ffff:10.9.0.1"] {
            let bytes = datagram(&header(src, "fd99::1", 17), &[0; 8]);
            assert!(silent(&mut world, came(TUN, None, &bytes)), "{src}");
        }
    }

    //= RFC1122 3.2.2 no error about fragments
    //= RFC792 first fragment
    //= RFC1812 4.3.2.7 about fragments
    #[test]
    fn over_ipv4_only_the_first_fragment_draws_an_error() {
        let mut world = World::new();
        let mut bytes = udp("10.9.0.1:9", "192.0.2.1:7", b"text");
        for (offset, draws) in [([0x20, 0], true), ([0x20, 1], false), ([0, 1], false), ([0x1f, 0], false)] {
            bytes[6..8].copy_from_slice(&offset);
            let about = Subject {
                device: TUN,
                src: ip("10.9.0.1"),
                dst: ip("192.0.2.1"),
                cast: None,
                tos: 0,
                whole: &bytes,
            };
            assert_eq!(told(&mut world, about, Complaint::HopLimitExceeded).is_some(), draws, "{offset:?}");
        }
    }

    #[test]
    fn over_ipv6_every_fragment_may_be_too_big() {
        let mut world = World::new();
        // The second part of a large echo request (next header 58).
        let bytes = datagram(&header("fd09::1", "fd99::1", 44), &[58, 0, 0x05, 0xa8, 0, 0, 0, 1, 3, 3, 3, 3]);
        let seen = told(&mut world, came(TUN, None, &bytes), Complaint::TooBig { mtu: 1300 });
        assert_eq!(seen.map(|(error, _)| error), Some((2, 0, 1300)));
        // The first part of what claims to be an error.
        let bytes = datagram(&header("fd09::1", "fd99::1", 44), &[58, 0, 0, 1, 0, 0, 0, 1, 3, 3, 3, 3]);
        assert!(silent(&mut world, came(TUN, None, &bytes)));
    }

    #[test]
    fn a_chain_of_headers_that_ends_in_the_void_can_be_complained_about() {
        let mut world = World::new();
        let cut_within = [60, 0, 0, 1, 0, 0, 0, 9, 17, 3, 1, 4, 0, 0, 0, 0];
        // What would tell whether it is an error lies in another fragment.
        let cut_behind = [60, 0, 0, 1, 0, 0, 0, 9, 58, 0, 1, 4, 0, 0, 0, 0];
        for cut in [cut_within, cut_behind] {
            let bytes = datagram(&header("fd09::1", "fd09::2", 44), &cut);
            let about = came(TUN, Some(Cast::Unicast), &bytes);
            let seen = told(&mut world, about, Complaint::ParameterProblem { code: 3, pointer: 0 });
            assert_eq!(seen.map(|(error, _)| error), Some((4, 3, 0)));
        }
    }

    //= RFC1812 4.3.2.7 about many
    //= RFC4443 3.2 too big
    #[test]
    fn what_came_to_many_draws_only_what_ipv6_needs() {
        //= RFC1122 3.2.2 no error about many: an ICMP error MUST NOT be sent about a datagram to a broadcast or
        //# multicast address.
        //= RFC4443 2.4 e.3 multicast: (e.3) with two exceptions: packet too big, and parameter problem code 2.
        let mut world = World::new();
        for (dst, cast) in [("10.9.0.255", Cast::Broadcast), ("224.0.0.1", Cast::Multicast)] {
            let bytes = datagram(&header("10.9.0.1", dst, 17), &[0; 8]);
            assert!(silent(&mut world, came(TUN, Some(cast), &bytes)), "{dst}");
        }
        let bytes = datagram(&header("fd09::1", "ff02::1", 17), &[0; 8]);
        let about = came(TUN, Some(Cast::Multicast), &bytes);
        let unknown_option = Complaint::ParameterProblem { code: 2, pointer: 42 };
        let seen: Vec<_> = ALL
            .into_iter()
            .chain([unknown_option])
            .filter_map(|complaint| told(&mut world, about, complaint).map(|(error, _)| error))
            .collect();
        assert_eq!(seen, [(2, 0, 1400), (4, 2, 42)]);
        // And on its way to a group, nothing of IPv4.
        let bytes = datagram(&header("10.9.0.1", "239.1.1.1", 17), &[0; 8]);
        assert!(silent(&mut world, came(TUN, None, &bytes)));
    }

    //= RFC1812 4.3.2.4 source
    //= RFC4443 2.2 source, 2.2 other source
    #[test]
    fn an_error_comes_from_the_address_it_is_about_or_from_the_interface_it_leaves_by() {
        let mut world = World::new();
        let other = world.ip.add_interface(1500);
        for address in ["10.8.0.2/24", "fd08::2/64", "fe80::2/64"] {
            world.ip.add_address(other, address.parse().unwrap()).unwrap();
        }
        let source = |world: &mut World, device, cast, bytes: &[u8]| {
            told(world, came(device, cast, bytes), Complaint::HopLimitExceeded).map(|(_, (source, _))| source)
        };
        // What was sent to us, wherever it came by.
        for (src, dst) in [("10.9.0.1:1", "10.8.0.2:7"), ("[fd09::1]:1", "[fd08::2]:7")] {
            let bytes = udp(src, dst, b"");
            let dst: core::net::SocketAddr = dst.parse().unwrap();
            assert_eq!(source(&mut world, TUN, Some(Cast::Unicast), &bytes), Some(dst.ip()));
        }
        for (src, expected) in [("10.9.0.1:1", "10.9.0.2"), ("10.8.0.1:1", "10.8.0.2")] {
            for device in [TUN, other] {
                let bytes = udp(src, "192.0.2.1:7", b"");
                assert_eq!(source(&mut world, device, None, &bytes), Some(ip(expected)));
            }
        }
        // A link-local source is told by the link it is on.
        let bytes = udp("[fe80::1]:1", "[fd99::1]:7", b"");
        assert_eq!(source(&mut world, other, None, &bytes), Some(ip("fe80::2")));
        // Whom no route leads to is told nothing.
        let bytes = udp("198.51.100.1:1", "192.0.2.1:7", b"");
        assert_eq!(source(&mut world, TUN, None, &bytes), None);
    }

    #[test]
    fn the_type_of_service_comes_back_at_the_precedence_of_internetwork_control() {
        //= RFC1812 4.3.2.5 precedence of errors
        let mut world = World::new();
        let sent = IpHeader { tos: 0x5d, ..header("10.9.0.1", "192.0.2.1", 17) };
        complain(world.ctx(), came(TUN, None, &datagram(&sent, &[0; 8])), Complaint::HopLimitExceeded);
        let (_, bytes) = world.sent().unwrap();
        assert_eq!(bytes[1], 0xdc);
    }

    //= RFC1812 4.3.2.8 rate
    //= RFC4443 2.4 f rate
    #[test]
    fn each_peer_has_errors_of_its_own_and_what_is_too_big_is_told_all_the_same() {
        let config = Config { icmp_peer_errors_burst: 3, icmp_errors_burst: 100, ..Config::default() };
        let mut world = World::with(config);
        let mut count = |src: &str, complaint| {
            let bytes = udp(src, "192.0.2.1:7", b"");
            (0..20).filter(|_| told(&mut world, came(TUN, None, &bytes), complaint).is_some()).count()
        };
        let expired = Complaint::HopLimitExceeded;
        assert_eq!((count("10.9.0.1:9", expired), count("10.9.0.3:9", expired)), (3, 3));
        assert_eq!(count("10.9.0.1:9", Complaint::TooBig { mtu: 1400 }), 20);
        assert_eq!(count("10.9.0.1:9", expired), 0);
        assert_eq!((world.counters.icmp_errors_out, world.counters.icmp_errors_limited), (26, 54));
    }

    #[test]
    fn what_we_tell_ourselves_costs_nothing() {
        let mut world = World::with(Config { icmp_errors_burst: 0, ..Config::default() });
        let bytes = udp("127.0.0.1:9", "127.0.0.1:7", b"");
        let about = came(DeviceId::LOOPBACK, Some(Cast::Unicast), &bytes);
        assert!(told(&mut world, about, Complaint::PortUnreachable).is_some());
    }
}
