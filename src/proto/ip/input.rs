//! What comes in: validation of IPv4 and IPv6, in the order of the headers.
//!
//! Owns the checks that need to know our addresses; whether the headers hold together is
//! [`wire::ip`](crate::proto::wire::ip)'s to say. RFC 791, RFC 1122 section 3.2.1, RFC 1812 section 5.3.7
//! (martians), RFC 4291, RFC 8200 section 4.
//!
//! Time to live and hop limit are looked at nowhere: a datagram that has reached us has arrived, with
//! whatever is left of them (RFC 1122 section 3.2.1.7).

use core::net::{IpAddr, Ipv4Addr};

use super::{Cast, Datagram, Layer, address, icmp};
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::packet::{DeviceId, Packet};
use crate::proto::wire::ip::{self as wire, PROTOCOL_NO_NEXT_HEADER, Parsed};

/// Validates a packet. Errors that deserve an ICMP answer have been answered through `ctx`.
pub(crate) fn receive<'p>(
    ctx: &mut Context<'_>,
    device: DeviceId,
    packet: &Packet<'p>,
) -> Result<Datagram<'p>, DropReason> {
    let parsed = wire::parse(packet.bytes)?;
    check_source_route(&parsed)?;
    check_source(ctx.ip, device, &parsed)?;
    check_destination(device, &parsed)?;
    let cast = ctx.ip.cast(parsed.dst).ok_or(DropReason::NotOurs)?;
    let datagram = Datagram {
        device,
        src: parsed.src,
        dst: parsed.dst,
        cast,
        protocol: parsed.protocol,
        hop_limit: parsed.hop_limit,
        tos: parsed.tos,
        payload: parsed.payload,
        whole: parsed.whole,
        checksum: packet.checksum,
        at: packet.at,
        gso_size: packet.gso_size,
    };
    check_extensions(ctx, &parsed, &datagram)?;
    check_whole(&parsed)?;
    check_something_follows(&parsed)?;
    Ok(datagram)
}

/// Source routes let a stranger choose the way of our answers: refused, as RFC 7126 sections 4.3 and 4.4
/// advise. (IPv6's are an extension header.)
fn check_source_route(parsed: &Parsed<'_>) -> Result<(), DropReason> {
    if parsed.source_routed { Err(DropReason::SourceRouted) } else { Ok(()) }
}

/// A source must be a single host, and not this one.
fn check_source(layer: &Layer, device: DeviceId, parsed: &Parsed<'_>) -> Result<(), DropReason> {
    let src = parsed.src;
    let is_plausible = if device == DeviceId::LOOPBACK {
        layer.is_local(src)
    } else if asks_for_its_address(parsed) {
        true
    } else {
        //= RFC1122 section 3.2.1.3: a host MUST silently discard a datagram whose source address is invalid
        //# by the rules of the section.
        address::is_single_host(src) && !layer.is_broadcast(src) && !layer.is_local(src)
    };
    if is_plausible { Ok(()) } else { Err(DropReason::MartianSource) }
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
        IpAddr::V4(v4) => v4.octets()[0] == 0 || (from_outside && v4.is_loopback()),
        IpAddr::V6(v6) => {
            v6.is_unspecified()
                || address::is_mapped(v6)
                || (from_outside && (v6.is_loopback() || address::is_multicast_of_one_node(v6)))
        }
    };
    if is_martian { Err(DropReason::MartianDestination) } else { Ok(()) }
}

/// Extension headers that forbid to go on are answered as RFC 8200 section 4 says.
fn check_extensions(
    ctx: &mut Context<'_>,
    parsed: &Parsed<'_>,
    datagram: &Datagram<'_>,
) -> Result<(), DropReason> {
    let Some(problem) = parsed.problem else { return Ok(()) };
    if let Some((code, pointer)) = problem.answer(datagram.cast != Cast::Unicast) {
        icmp::send_parameter_problem(ctx, datagram, code, pointer);
    }
    Err(problem.drop_reason())
}

/// The place of reassembly: a part of a datagram goes there.
fn check_whole(parsed: &Parsed<'_>) -> Result<(), DropReason> {
    if parsed.fragment.is_some() { Err(DropReason::Fragment) } else { Ok(()) }
}

/// What follows "no next header" is to be ignored (RFC 8200 section 4.7), not called unknown.
fn check_something_follows(parsed: &Parsed<'_>) -> Result<(), DropReason> {
    let nothing = parsed.src.is_ipv6() && parsed.protocol == PROTOCOL_NO_NEXT_HEADER;
    if nothing { Err(DropReason::UnknownProtocol) } else { Ok(()) }
}
