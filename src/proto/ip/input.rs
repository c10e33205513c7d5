//! What comes in: validation of IPv4 and IPv6, in the order of the headers.
//!
//! Owns the checks that need to know our addresses; whether the headers hold together is
//! [`wire::ip`](crate::proto::wire::ip)'s to say. RFC 791, RFC 1122 section 3.2.1, RFC 1812 section 5.3.7
//! (martians), RFC 4291, RFC 8200 section 4.
//!
//! Time to live and hop limit are looked at nowhere: a datagram that has reached us has arrived, with
//! whatever is left of them (RFC 1122 section 3.2.1.7).

use core::net::{IpAddr, Ipv4Addr};

use super::datagram::{Accepted, Part, Transit};
use super::{Cast, Datagram, Layer, address, icmp};
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::packet::{ChecksumState, DeviceId, Packet};
use crate::proto::wire::ip::{self as wire, PROTOCOL_NO_NEXT_HEADER, Parsed};

/// The datagram that a packet of IPv4 is, if it is one as nearly all are that come for us: whole and without options, by a device,
/// from another host to an address of ours. `None` is no verdict: [`cast`] and [`receive`] give one.
#[inline(always)]
pub(crate) fn usual_v4<'p>(layer: &Layer, device: DeviceId, packet: &Packet<'p>) -> Option<Datagram<'p>> {
    usual(layer, device, packet, wire::parse_usual_v4(packet.bytes)?)
}

/// The same of IPv6.
#[inline(always)]
pub(crate) fn usual_v6<'p>(layer: &Layer, device: DeviceId, packet: &Packet<'p>) -> Option<Datagram<'p>> {
    usual(layer, device, packet, wire::parse_usual_v6(packet.bytes)?)
}

#[inline(always)]
fn usual<'p>(
    layer: &Layer,
    device: DeviceId,
    packet: &Packet<'p>,
    read: wire::Usual<'p>,
) -> Option<Datagram<'p>> {
    let wire::Usual { src, dst, protocol, hop_limit, tos, whole, payload } = read;
    // What is given to one of our interfaces is no martian.
    let is_for_us = device != DeviceId::LOOPBACK && layer.is_of_interface(dst) && is_another_host(layer, src);
    let Packet { checksum, at, gso_size, .. } = *packet;
    let cast = Cast::Unicast;
    is_for_us.then_some(Datagram {
        device,
        src,
        dst,
        cast,
        protocol,
        hop_limit,
        tos,
        payload,
        whole,
        checksum,
        at,
        gso_size,
    })
}

/// Whom a packet is for, whose fixed header has been read: how it is addressed to us, or `None` if it is for somebody
/// else and forwarding is on.
///
/// A packet filter of the ingress would stand between [`check_addresses`] and this question.
pub(crate) fn cast(ctx: &Context, device: DeviceId, parsed: &Parsed<'_>) -> Result<Option<Cast>, DropReason> {
    check_addresses(&ctx.ip, device, parsed)?;
    let cast = ctx.ip.cast(parsed.dst);
    //= RFC1122 3.1 several interfaces
    let may_pass = ctx.config.forwarding && device != DeviceId::LOOPBACK;
    //= RFC1122 3.1 no gateway, 3.2.1.3 destination
    //= RFC8200 3 destination
    if cast.is_some() || may_pass { Ok(cast) } else { Err(DropReason::NotOurs) }
}

/// What can be told from the fixed header, whomever the packet is for.
#[inline]
fn check_addresses(layer: &Layer, device: DeviceId, parsed: &Parsed<'_>) -> Result<(), DropReason> {
    check_source_route(parsed)?;
    check_source(layer, device, parsed)?;
    check_destination(device, parsed)
}

/// Validates a packet for us, reading on in `parsed`, and tells what it is. Errors that deserve an ICMP answer have been
/// answered through `ctx`. What has been read stays where it is: to move it about would cost as much as to look at it.
pub(crate) fn receive<'p>(
    ctx: &mut Context,
    device: DeviceId,
    packet: &Packet<'p>,
    parsed: &mut Parsed<'p>,
    cast: Cast,
) -> Result<Accepted, DropReason> {
    parsed.follow_extensions()?;
    if parsed.problem.is_some() {
        check_problem(ctx, parsed, &Datagram::of(device, packet, parsed, cast))?;
    }
    if parsed.fragment.is_some() {
        return Ok(Accepted::Part);
    }
    check_something_follows(parsed)?;
    //= RFC1122 3.2.1.7 receive
    //= RFC1812 4.2.2.9 time to live read
    //= RFC8200 3 hop limit
    Ok(Accepted::Local)
}

/// Validates a packet for somebody else, likewise.
// RFC 8200 section 4: extension headers, but for hop-by-hop options, are not examined or processed by any node
// along a packet's delivery path, until it reaches the node identified in the destination address field.
pub(crate) fn receive_transit<'a, 'p>(
    ctx: &mut Context,
    device: DeviceId,
    packet: &Packet<'p>,
    parsed: &'a mut Parsed<'p>,
) -> Result<Transit<'a, 'p>, DropReason> {
    //= RFC8200 4 in transit
    //= RFC8504 5.2 forwarded
    parsed.follow_hop_by_hop()?;
    let Packet { checksum, at, gso_size, .. } = *packet;
    let transit = Transit { device, parsed, checksum, at, gso_size };
    check_problem(ctx, parsed, &transit)?;
    Ok(transit)
}

/// Validates a datagram that has been put together of parts, of which `last` was the last to come.
pub(crate) fn reassembled<'p>(
    ctx: &mut Context,
    last: &Part<'_>,
    whole: &'p [u8],
) -> Result<Datagram<'p>, DropReason> {
    let Part { device, cast, at, .. } = *last;
    // What a device says of a fragment says nothing of the checksum over all of them.
    let checksum = ChecksumState::Unverified;
    let mut parsed = wire::parse(whole)?;
    parsed.refuse_fragment();
    let datagram = Part { device, cast, parsed, checksum, at }.datagram();
    check_problem(ctx, &parsed, &datagram)?;
    check_something_follows(&parsed)?;
    Ok(datagram)
}

/// Source routes let a stranger choose the way of our answers: refused, as RFC 7126 sections 4.3 and 4.4
/// advise. (IPv6's are an extension header.)
fn check_source_route(parsed: &Parsed<'_>) -> Result<(), DropReason> {
    if parsed.source_routed { Err(DropReason::SourceRouted) } else { Ok(()) }
}

/// A source must be a single host, and not this one.
//= RFC9293 MUST-63
fn check_source(layer: &Layer, device: DeviceId, parsed: &Parsed<'_>) -> Result<(), DropReason> {
    let src = parsed.src;
    let is_plausible = if device == DeviceId::LOOPBACK {
        layer.is_local(src)
    } else {
        //= RFC1122 3.2.1.3 source: a host MUST silently discard a datagram whose source address is invalid by
        //# the rules of the section.
        //= RFC1812 4.2.2.11 sources
        is_another_host(layer, src) || asks_for_its_address(parsed)
    };
    //= RFC1122 4.1.3.6 invalid addresses
    if is_plausible { Ok(()) } else { Err(DropReason::MartianSource) }
}

#[inline(always)]
fn is_another_host(layer: &Layer, src: IpAddr) -> bool {
    address::is_single_host(src) && !layer.is_broadcast(src) && !layer.is_local(src)
}

/// A host that has no address yet may have none as its source, as long as it speaks to all (RFC 1122
/// section 3.2.1.3 a, RFC 4291 section 2.5.2).
fn asks_for_its_address(parsed: &Parsed<'_>) -> bool {
    match (parsed.src, parsed.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => src.is_unspecified() && dst == Ipv4Addr::BROADCAST,
        (src, dst) => src.is_unspecified() && dst.is_ipv6() && dst.is_multicast(),
    }
}

/// Destinations that may not be on a wire, or not on one that leads outside.
fn check_destination(device: DeviceId, parsed: &Parsed<'_>) -> Result<(), DropReason> {
    let from_outside = device != DeviceId::LOOPBACK;
    let is_martian = match parsed.dst {
        //= RFC1122 3.2.1.3 loopback
        //= RFC1812 4.2.3.1 obsolete broadcasts
        IpAddr::V4(v4) => v4.octets()[0] == 0 || (from_outside && v4.is_loopback()),
        IpAddr::V6(v6) => {
            v6.is_unspecified()
                || address::is_mapped(v6)
                || (from_outside && (v6.is_loopback() || address::is_multicast_of_one_node(v6)))
        }
    };
    if is_martian { Err(DropReason::MartianDestination) } else { Ok(()) }
}

/// Headers that forbid to go on are answered as RFC 8200 section 4 and RFC 1122 section 3.2.2.5 say.
fn check_problem<'a>(
    ctx: &mut Context,
    parsed: &Parsed<'_>,
    about: impl Into<icmp::Subject<'a>>,
) -> Result<(), DropReason> {
    let Some(problem) = parsed.problem else { return Ok(()) };
    let about = about.into();
    let to_multicast = about.cast.map_or(parsed.dst.is_multicast(), |cast| cast != Cast::Unicast);
    if let Some((code, pointer)) = problem.answer(to_multicast) {
        //= RFC1122 3.2.2.5 parameter problem
        //= RFC1812 4.3.3.5 parameter problem
        icmp::complain(ctx, about, icmp::Complaint::ParameterProblem { code, pointer });
    }
    //= RFC4443 3.4 discard
    Err(problem.drop_reason())
}

/// What follows "no next header" is to be ignored (RFC 8200 section 4.7), not called unknown.
fn check_something_follows(parsed: &Parsed<'_>) -> Result<(), DropReason> {
    let nothing = parsed.src.is_ipv6() && parsed.protocol == PROTOCOL_NO_NEXT_HEADER;
    //= RFC8200 4.7 no next header
    if nothing { Err(DropReason::UnknownProtocol) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::ip::testing::{self, TUN, World, datagram, header, ip, udp};
    use crate::proto::stack::{Progress, Stack};
    use crate::proto::udp::Sockets;
    use crate::proto::wire::checksum::Sum;
    use crate::proto::wire::icmp::{self as wire_icmp, Message, v6};
    use crate::proto::{Config, Egress, Secrets, Sent};
    use crate::time::Instant;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn verdict(world: &mut World, src: &str, dst: &str) -> Result<Cast, DropReason> {
        world.input(&datagram(&header(src, dst, 6), b"text")).map(|datagram| datagram.cast)
    }

    //= RFC1122 3.2.1.6 receive
    #[test]
    fn a_datagram_to_us_is_ours() {
        let mut world = World::new();
        let sent = header("10.9.0.1", "10.9.0.2", 6);
        let bytes = datagram(&testing_tos(sent), b"text");
        let read = world.input(&bytes).unwrap();
        assert_eq!((read.src, read.dst, read.cast), (sent.src, sent.dst, Cast::Unicast));
        assert_eq!((read.protocol, read.tos, read.payload, read.whole), (6, 0xb8, &b"text"[..], &bytes[..]));
    }

    fn testing_tos(header: crate::proto::wire::ip::IpHeader) -> crate::proto::wire::ip::IpHeader {
        crate::proto::wire::ip::IpHeader { tos: 0xb8, ..header }
    }

    //= RFC1812 4.2.2.9 time to live read
    //= RFC8200 3 hop limit
    #[test]
    fn no_time_to_live_is_too_short_to_have_arrived() {
        //= RFC1122 3.2.1.7 receive: a host MUST NOT discard a datagram just because it was received with TTL
        //# less than 2.
        let mut world = World::new();
        for (src, dst) in [("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")] {
            for hop_limit in [0, 1] {
                let header = crate::proto::wire::ip::IpHeader { hop_limit, ..header(src, dst, 6) };
                assert_eq!(world.input(&datagram(&header, &[])).unwrap().hop_limit, hop_limit);
            }
        }
    }

    //= RFC1122 3.2.1.3 source, 4.1.3.6 invalid addresses
    #[test]
    fn sources_that_no_host_may_have_are_martians() {
        let mut world = World::new();
        for src in [
            "0.0.0.0",
            "0.0.0.9",
            "127.0.0.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "10.9.0.255",
            "10.9.0.0",
            "10.9.0.2",
        ] {
            assert_eq!(verdict(&mut world, src, "10.9.0.2"), Err(DropReason::MartianSource), "{src}");
        }
        for src in ["::", "::1", "ff02::1", "fd09::2", "::ffff:10.9.0.1"] {
            assert_eq!(verdict(&mut world, src, "fd09::2"), Err(DropReason::MartianSource), "{src}");
        }
    }

    #[test]
    fn link_local_sources_are_not_martians() {
        let mut world = World::new();
        assert_eq!(verdict(&mut world, "169.254.3.4", "10.9.0.2"), Ok(Cast::Unicast));
        assert_eq!(verdict(&mut world, "fe80::1", "fd09::2"), Ok(Cast::Unicast));
    }

    #[test]
    fn a_host_without_an_address_may_speak_to_all() {
        let mut world = World::new();
        assert_eq!(verdict(&mut world, "0.0.0.0", "255.255.255.255"), Ok(Cast::Broadcast));
        assert_eq!(verdict(&mut world, "0.0.0.0", "10.9.0.255"), Err(DropReason::MartianSource));
        assert_eq!(verdict(&mut world, "::", "ff02::1:ff00:2"), Ok(Cast::Multicast));
    }

    //= RFC1122 3.2.1.3 destination, 3.2.1.3 loopback, 3.3.6 broadcast
    //= RFC1812 4.2.3.1 obsolete broadcasts, 5.2.3 local or not
    //= RFC8200 3 destination
    #[test]
    fn destinations_are_ours_everybodys_or_nobodys() {
        let mut world = World::new();
        for (dst, expected) in [
            ("10.9.0.2", Ok(Cast::Unicast)),
            ("10.9.0.255", Ok(Cast::Broadcast)),
            ("10.9.0.0", Ok(Cast::Broadcast)),
            ("255.255.255.255", Ok(Cast::Broadcast)),
            ("224.0.0.1", Ok(Cast::Multicast)),
            ("224.0.0.251", Err(DropReason::NotOurs)),
            ("10.9.0.3", Err(DropReason::NotOurs)),
            ("127.0.0.1", Err(DropReason::MartianDestination)),
            ("0.0.0.0", Err(DropReason::MartianDestination)),
        ] {
            assert_eq!(verdict(&mut world, "10.9.0.1", dst), expected, "{dst}");
        }
        for (dst, expected) in [
            ("fd09::2", Ok(Cast::Unicast)),
            ("ff02::1", Ok(Cast::Multicast)),
            ("ff02::1:ff00:2", Ok(Cast::Multicast)),
            ("ff02::fb", Err(DropReason::NotOurs)),
            ("fd09::3", Err(DropReason::NotOurs)),
            ("::1", Err(DropReason::MartianDestination)),
            ("::", Err(DropReason::MartianDestination)),
            ("ff01::1", Err(DropReason::MartianDestination)),
            ("::ffff:10.9.0.2", Err(DropReason::MartianDestination)),
        ] {
            assert_eq!(verdict(&mut world, "fd09::1", dst), expected, "{dst}");
        }
    }

    #[test]
    fn an_address_of_ours_is_ours_on_every_interface() {
        let mut world = World::new();
        let other = world.ip.add_interface(1500);
        let bytes = datagram(&header("192.168.7.7", "10.9.0.2", 6), &[]);
        assert!(world.input_by(other, &bytes).is_ok());
    }

    #[test]
    fn by_the_loopback_only_our_own_packets_come() {
        let mut world = World::new();
        let mut by_loopback = |src, dst| {
            world.input_by(DeviceId::LOOPBACK, &datagram(&header(src, dst, 6), &[])).map(|read| read.cast)
        };
        assert_eq!(by_loopback("127.0.0.1", "127.0.0.1"), Ok(Cast::Unicast));
        assert_eq!(by_loopback("10.9.0.2", "10.9.0.2"), Ok(Cast::Unicast));
        assert_eq!(by_loopback("::1", "::1"), Ok(Cast::Unicast));
        assert_eq!(by_loopback("fd09::2", "ff01::1"), Ok(Cast::Multicast));
        assert_eq!(by_loopback("10.9.0.1", "10.9.0.2"), Err(DropReason::MartianSource));
    }

    /// An IPv4 datagram with options, and its checksum made good.
    fn with_options(options: &[u8]) -> Vec<u8> {
        let mut bytes = datagram(&header("10.9.0.1", "10.9.0.2", 6), &[options, b"text"].concat());
        bytes[0] = 0x40 | (5 + options.len() / 4) as u8;
        fix_checksum(&mut bytes);
        bytes
    }

    fn fix_checksum(bytes: &mut [u8]) {
        let header_len = usize::from(bytes[0] & 15) * 4;
        bytes[10..12].fill(0);
        if let Some(header) = bytes.get(..header_len) {
            let mut sum = Sum::new();
            sum.add(header);
            let sum = sum.finish().to_be_bytes();
            bytes[10..12].copy_from_slice(&sum);
        }
    }

    #[test]
    fn options_are_skipped_and_source_routes_refused() {
        let mut world = World::new();
        assert_eq!(world.input(&with_options(&[1, 1, 1, 0])).map(|read| read.payload), Ok(&b"text"[..]));
        // Router alert.
        assert!(world.input(&with_options(&[148, 4, 0, 0])).is_ok());
        for kind in [131, 137] {
            let options = [kind, 7, 4, 10, 9, 0, 7, 0];
            assert_eq!(world.input(&with_options(&options)).err(), Some(DropReason::SourceRouted));
        }
        assert_eq!(world.input(&with_options(&[7, 1, 0, 0])).err(), Some(DropReason::IpOption));
    }

    #[test]
    fn parts_of_datagrams_are_not_taken_for_whole_ones() {
        let mut world = World::new();
        for (flags, offset) in [(0x20, 0), (0x20, 1), (0, 1)] {
            let mut bytes = datagram(&header("10.9.0.1", "10.9.0.2", 6), &[0; 16]);
            (bytes[6], bytes[7]) = (flags, offset);
            fix_checksum(&mut bytes);
            assert_eq!(world.input(&bytes).err(), Some(DropReason::FragmentRefused));
        }
        assert!(world.sent().is_none());
    }

    /// An IPv6 datagram whose payload begins with an extension header.
    fn v6_with(dst: &str, next_header: u8, payload: &[u8]) -> Vec<u8> {
        datagram(&header("fd09::1", dst, next_header), payload)
    }

    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION_OPTIONS: u8 = 60;

    /// Code and pointer of the parameter problem that was sent, which must quote `about`.
    fn parameter_problem(world: &mut World, about: &[u8]) -> Option<(u8, u32)> {
        let (_, bytes) = world.sent()?;
        let read = crate::proto::wire::ip::parse(&bytes).unwrap();
        let message = wire_icmp::parse(read.payload, read.src, read.dst, ChecksumState::Unverified);
        let Ok(Message::Error(error)) = message else { panic!("not an error: {message:?}") };
        assert_eq!((error.kind, read.dst, error.quoted), (v6::TYPE_PARAMETER_PROBLEM, ip("fd09::1"), about));
        Some((error.code, error.word))
    }

    #[test]
    fn extension_headers_are_skipped() {
        let mut world = World::new();
        let destination_options = [6, 0, 1, 4, 0, 0, 0, 0];
        let routing_used_up = [6, 0, 0, 0, 0, 0, 0, 0];
        let atomic_fragment = [6, 0, 0, 0, 0, 0, 0, 7];
        for (kind, extension) in [
            (HOP_BY_HOP, destination_options),
            (DESTINATION_OPTIONS, destination_options),
            (ROUTING, routing_used_up),
            (FRAGMENT, atomic_fragment),
        ] {
            let bytes = v6_with("fd09::2", kind, &[&extension[..], b"text"].concat());
            let read = world.input(&bytes).unwrap();
            assert_eq!((read.protocol, read.payload), (6, &b"text"[..]), "{kind}");
        }
    }

    #[test]
    fn a_fragment_of_ipv6_is_dropped_without_an_answer() {
        let mut world = World::new();
        let bytes = v6_with("fd09::2", FRAGMENT, &[6, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(world.input(&bytes).err(), Some(DropReason::FragmentRefused));
        assert!(world.sent().is_none());
    }

    //= RFC4443 3.4 discard, 3.4 pointer
    //= RFC8200 4.4 segments left
    //= RFC8504 5.2 routing type 0
    #[test]
    fn a_routing_header_with_segments_left_draws_a_parameter_problem() {
        //= RFC5095 section 3
        let mut world = World::new();
        let bytes = v6_with(
            "fd09::2",
            ROUTING,
            &[6, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        );
        assert_eq!(world.input(&bytes).err(), Some(DropReason::SourceRouted));
        assert_eq!(parameter_problem(&mut world, &bytes), Some((0, 42)));
    }

    //= RFC4443 3.4 discard
    //= RFC8504 5.2 extension headers
    #[test]
    fn an_unknown_option_is_answered_as_its_type_asks() {
        //= RFC8200 4.2 00, 4.2 01, 4.2 10, 4.2 11
        let option = |kind: u8| [6, 0, kind, 4, 0, 0, 0, 0];
        for (kind, dst, reason, answer) in [
            (0x3e, "fd09::2", None, None),
            (0x7e, "fd09::2", Some(DropReason::ExtensionHeader), None),
            (0xbe, "fd09::2", Some(DropReason::ExtensionHeader), Some((2, 42))),
            (0xbe, "ff02::1", Some(DropReason::ExtensionHeader), Some((2, 42))),
            (0xfe, "fd09::2", Some(DropReason::ExtensionHeader), Some((2, 42))),
            (0xfe, "ff02::1", Some(DropReason::ExtensionHeader), None),
        ] {
            let mut world = World::new();
            let bytes = v6_with(dst, DESTINATION_OPTIONS, &option(kind));
            assert_eq!(world.input(&bytes).err(), reason, "{kind:#x} {dst}");
            assert_eq!(parameter_problem(&mut world, &bytes), answer, "{kind:#x} {dst}");
        }
    }

    #[test]
    fn a_sender_without_an_address_is_not_answered() {
        let mut world = World::new();
        let options = [6, 0, 0xbe, 4, 0, 0, 0, 0];
        let bytes = datagram(&header("::", "ff02::1", DESTINATION_OPTIONS), &options);
        assert_eq!(world.input(&bytes).err(), Some(DropReason::ExtensionHeader));
        assert!(world.sent().is_none());
        assert_eq!(world.counters.replies_lost, 0, "it should not even be tried");
    }

    //= RFC8200 4 hop-by-hop
    #[test]
    fn hop_by_hop_options_out_of_place_are_an_unknown_header() {
        let mut world = World::new();
        let bytes = v6_with(
            "fd09::2",
            DESTINATION_OPTIONS,
            &[[HOP_BY_HOP, 0, 1, 4, 0, 0, 0, 0], [6, 0, 1, 4, 0, 0, 0, 0]].concat(),
        );
        assert_eq!(world.input(&bytes).err(), Some(DropReason::ExtensionHeader));
        assert_eq!(parameter_problem(&mut world, &bytes), Some((1, 40)));
    }

    #[test]
    fn an_icmp_error_behind_a_bad_extension_header_draws_no_error() {
        let mut world = World::new();
        let mut payload = [58, 0, 0xbe, 4, 0, 0, 0, 0].to_vec();
        payload.extend([1, 4, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            world.input(&v6_with("fd09::2", DESTINATION_OPTIONS, &payload)).err(),
            Some(DropReason::ExtensionHeader)
        );
        assert!(world.sent().is_none());
        let echo = payload.len() - 8;
        payload[echo] = 128;
        assert!(world.input(&v6_with("fd09::2", DESTINATION_OPTIONS, &payload)).is_err());
        assert!(world.sent().is_some());
    }

    //= RFC8200 4.7 no next header
    #[test]
    fn nothing_that_follows_draws_no_answer() {
        let mut world = World::new();
        assert_eq!(world.input(&v6_with("fd09::2", 59, b"junk")).err(), Some(DropReason::UnknownProtocol));
        assert!(world.sent().is_none());
    }

    /// Packets of every kind that the layer knows, to be damaged.
    fn packet() -> impl Strategy<Value = Vec<u8>> {
        let protocol = prop_oneof![
            Just(1_u8),
            Just(6),
            Just(17),
            Just(58),
            Just(0),
            Just(43),
            Just(44),
            Just(60),
            Just(132),
            any::<u8>()
        ];
        let v4 = (
            r"10\.9\.0\.[1-4]|10\.9\.0\.255|127\.0\.0\.1|224\.0\.0\.1|0\.0\.0\.0",
            r"10\.9\.0\.[23]|10\.9\.0\.255|127\.0\.0\.1|224\.0\.0\.1",
        );
        let v6 = ("fd09::[1-4]|fe80::1|::1|::|ff02::1", "fd09::[23]|ff02::1|::1");
        let ends = prop_oneof![v4, v6];
        let payload = prop_oneof![
            prop::collection::vec(any::<u8>(), 0..120),
            prop::collection::vec(0_u8..4, 0..60),
            Just([&[8, 0, 0, 0][..], b"ping"].concat()),
            Just([&[128, 0, 0, 0][..], b"ping"].concat()),
            Just([0, 9, 0, 7, 0, 10, 0, 0, b'h', b'i'].to_vec()),
            Just(udp("10.9.0.2:9", "10.9.0.1:7", b"quoted")).prop_map(|quoted| [
                &[3, 3, 0, 0, 0, 0, 0, 0][..],
                &quoted
            ]
            .concat()),
        ];
        let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
        (ends, protocol, payload, damage, any::<bool>()).prop_map(
            |((src, dst), protocol, payload, damage, fix)| {
                let mut bytes = datagram(&header(&src, &dst, protocol), &payload);
                for (at, value) in damage {
                    let at = at.index(bytes.len());
                    bytes[at] = value;
                }
                if fix && bytes[0] >> 4 == 4 {
                    fix_checksum(&mut bytes);
                }
                bytes
            },
        )
    }

    /// Gives a packet to the layers and checks what holds for every packet.
    fn survive(world: &mut World, sockets: &mut Sockets, device: DeviceId, bytes: &[u8], trusted: bool) {
        let mut packet = Packet::plain(bytes, world.now);
        if trusted {
            packet.checksum = ChecksumState::Trusted;
        }
        let verdict = world.receive(sockets, device, &packet);
        let answer = world.sent();
        assert!(world.sent().is_none(), "two answers to one packet");
        let Some((_, answer)) = answer else { return };
        let answered = crate::proto::wire::ip::parse(&answer).expect("an answer is a good packet");
        let asked = crate::proto::wire::ip::parse(bytes).expect("only good packets are answered");
        assert_eq!(answered.dst, asked.src);
        assert!(address::is_single_host(answered.dst) && world.ip.is_local(answered.src));
        assert!(answer.len() <= bytes.len().max(1280), "an answer that multiplies what it answers");
        let unicast = world.ip.is_local(asked.dst);
        let message =
            wire_icmp::parse(answered.payload, answered.src, answered.dst, ChecksumState::Unverified)
                .expect("an answer's checksum is good");
        match message {
            Message::EchoReply(_) => assert!(verdict.is_ok() && (unicast || answered.src.is_ipv6())),
            Message::Error(error) => {
                assert!(verdict.is_err() && bytes.starts_with(error.quoted) && asked.fragment.is_none());
                assert!(unicast || (error.kind, error.code) == (v6::TYPE_PARAMETER_PROBLEM, 2));
            }
            Message::EchoRequest(_) | Message::Other(_) => panic!("an answer that asks: {message:?}"),
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_the_short_way_is_what_it_is_the_long_way(
            (src, dst) in prop_oneof![
                (r"10\.9\.0\.[0-3]|10\.9\.0\.255|127\.0\.0\.1|224\.0\.0\.1|0\.0\.0\.0", r"10\.9\.0\.[23]"),
                (r"fd09::[1-3]|fe80::1|::1|::|ff02::1|::ffff:10\.9\.0\.1", "fd09::[23]|ff02::1"),
            ],
            octets in prop::collection::vec((0_usize..20, any::<u8>()), 0..3),
            protocol in prop_oneof![any::<u8>(), prop::sample::select(vec![0, 43, 44, 59, 60])],
            (padding, is_sealed) in (0_usize..8, prop::bool::weighted(0.9)),
            by_loopback in prop::bool::weighted(0.1),
        ) {
            let mut world = World::new();
            let goes_on = src.contains(':') && [0, 43, 44, 59, 60].contains(&protocol);
            let is_to_us = [("10.9.0.1", "10.9.0.2"), ("fd09::1", "fd09::2")].contains(&(&*src, &*dst));
            let is_usual = is_to_us && octets.is_empty() && !by_loopback && !goes_on;
            let mut bytes = datagram(&header(&src, &dst, protocol), b"some text, of a few octets, that is read");
            bytes.extend(core::iter::repeat_n(0, padding));
            octets.into_iter().for_each(|(at, octet)| bytes[at] = octet);
            if is_sealed && src.contains('.') && !src.contains(':') {
                fix_checksum(&mut bytes);
            }
            let device = if by_loopback { DeviceId::LOOPBACK } else { TUN };
            let packet = Packet::plain(&bytes, world.now);
            let usual =
                usual_v4(&world.ip, device, &packet).or_else(|| usual_v6(&world.ip, device, &packet));
            prop_assert!(usual.is_some() || !is_usual);
            // Compares it with what it is the short way.
            let _ = world.input_by(device, &bytes);
        }

        #[test]
        fn no_bytes_make_the_layer_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), trusted: bool) {
            let mut sockets = Sockets::new([1; 16]);
            survive(&mut World::new(), &mut sockets, TUN, &bytes, trusted);
        }

        #[test]
        fn every_packet_is_delivered_or_dropped_and_answered_by_the_rules(
            packets in prop::collection::vec((packet(), any::<bool>(), any::<bool>()), 1..8),
        ) {
            let mut world = World::new();
            let mut sockets = Sockets::new([1; 16]);
            for local in ["0.0.0.0:7", "[fd09::2]:3"] {
                sockets
                    .bind(world.ctx(), local.parse().unwrap(), Default::default(), Default::default())
                    .unwrap();
            }
            for (bytes, trusted, by_loopback) in packets {
                let device = if by_loopback { DeviceId::LOOPBACK } else { testing::TUN };
                survive(&mut world, &mut sockets, device, &bytes, trusted);
            }
        }

        //= RFC1122 3.1 counted
        #[test]
        fn the_stack_counts_every_packet_once(
            packets in prop::collection::vec((packet(), any::<bool>()), 1..12),
        ) {
            let now = Instant::ZERO;
            let mut stack = Stack::new(Config::default(), &Secrets::from_number(1), now);
            let tun = stack.add_interface(1500);
            stack.add_address(tun, "10.9.0.2/24".parse().unwrap()).unwrap();
            stack.add_address(tun, "fd09::2/64".parse().unwrap()).unwrap();
            stack.udp_bind(now, "0.0.0.0:7".parse().unwrap(), Default::default()).unwrap();
            stack.tcp_listen(now, "[fd09::2]:3".parse().unwrap(), None, Default::default()).unwrap();
            for (bytes, trusted) in packets {
                let mut packet = Packet::plain(&bytes, now);
                if trusted {
                    packet.checksum = ChecksumState::Trusted;
                }
                stack.receive(tun, &packet);
                let progress = stack.transmit(now, &mut |_egress: Egress<'_>| Sent::Taken);
                prop_assert_eq!(progress, Progress::Idle);
            }
            let counters = stack.counters();
            prop_assert_eq!(counters.packets_in, counters.packets_delivered + counters.dropped_total());
        }
    }
}
