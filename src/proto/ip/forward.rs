//! Forwarding: datagrams on their way to somebody else (RFC 1812 section 5, RFC 8200).
//!
//! Owns whether a packet may go on, by which interface, and what is changed in it on the way: the time to live,
//! and no more than that decides whether anything is (RFC 1812 section 5.2.1.2). Owns not which packets are in
//! transit, which [`input`](super::input) says, nor the routes, which are [`Layer`](super::Layer)'s.
//!
//! A packet goes through here without being copied: its changed header is built on the stack, the rest is
//! handed on as it lies in the receive buffer. Only if the device is busy the whole is copied to wait.
//!
//! No redirects are sent, even for what leaves by where it came in (RFC 1812 section 4.3.3.2 has routers send
//! them to hosts on a shared link, which a TUN is not).

use core::net::IpAddr;

use arrayvec::ArrayVec;

use super::datagram::Transit;
use super::icmp::{self, Complaint};
use super::layer::{Hop, NoHop};
use super::{Layer, fragment};
use crate::proto::config::ReversePath;
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::packet::{DeviceId, Egress, PacketSink, Sent};

/// Sends a datagram on its way: by `sink` at once, or if that takes nothing by the outbox.
pub(crate) fn forward(
    ctx: &mut Context<'_>,
    transit: &Transit<'_>,
    sink: &mut dyn PacketSink,
) -> Result<(), DropReason> {
    check_scope(transit)?;
    check_reverse_path(ctx, transit)?;
    let hop = find_hop(ctx, transit)?;
    check_hop_limit(ctx, transit)?;
    let header = Header::one_hop_on(transit);
    if transit.parsed.whole.len() <= hop.mtu {
        let (device, rest) = (hop.device, header.rest_of(transit));
        hand_over(ctx, &Egress::plain(device, &header.bytes, &[rest]), sink)
    } else {
        send_in_parts(ctx, transit, &header, hop, sink)
    }
}

/// Addresses that mean something on one link only, and those of many hosts, lead nowhere else.
fn check_scope(transit: &Transit<'_>) -> Result<(), DropReason> {
    let (src, dst) = (transit.parsed.src, transit.parsed.dst);
    //= RFC1812 section 5.3.5.1: limited broadcasts MUST NOT be forwarded.
    if dst.is_multicast() || matches!(dst, IpAddr::V4(v4) if v4.is_broadcast()) {
        return Err(DropReason::ForwardNotUnicast);
    }
    //= RFC1812 section 5.3.7: a class E address (except 255.255.255.255) is an invalid destination.
    if matches!(dst, IpAddr::V4(v4) if v4.octets()[0] >= 240) {
        return Err(DropReason::MartianDestination);
    }
    //= RFC4291 section 2.5.6: routers must not forward any packets with link-local source or destination
    //# addresses to other links.
    if is_link_local(src) || is_link_local(dst) || src.is_unspecified() {
        return Err(DropReason::ForwardScope);
    }
    Ok(())
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        //= RFC3927 section 2.7: a router MUST NOT forward a packet with an IPv4 link-local source or
        //# destination address.
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

//= RFC1812 section 5.3.8: if this filtering is enabled, the router MUST silently discard a packet if the
//# interface on which the packet was received is not the interface on which a packet would be forwarded to reach
//# the address contained in the source address.
fn check_reverse_path(ctx: &Context<'_>, transit: &Transit<'_>) -> Result<(), DropReason> {
    let how = ctx.config.reverse_path;
    if how == ReversePath::Off || is_reachable_by(ctx.ip, transit.parsed.src, transit.device, how) {
        Ok(())
    } else {
        Err(DropReason::ReversePath)
    }
}

fn is_reachable_by(layer: &Layer, source: IpAddr, device: DeviceId, how: ReversePath) -> bool {
    match (how, layer.next_hop(source)) {
        (ReversePath::Off, _) | (ReversePath::Loose, Ok(_)) => true,
        (ReversePath::Strict, Ok(hop)) => hop.device == device,
        (ReversePath::Loose | ReversePath::Strict, Err(_)) => false,
    }
}

/// The next hop; if there is none, the source hears why (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1).
fn find_hop(ctx: &mut Context<'_>, transit: &Transit<'_>) -> Result<Hop, DropReason> {
    let no_hop = match ctx.ip.next_hop(transit.parsed.dst) {
        Ok(hop) => return Ok(hop),
        Err(no_hop) => no_hop,
    };
    let (complaint, reason) = match no_hop {
        NoHop::NoRoute => (Some(Complaint::NetworkUnreachable), DropReason::NoRoute),
        NoHop::Blackhole => (None, DropReason::RouteBlackhole),
        NoHop::Unreachable => (Some(Complaint::HostUnreachable), DropReason::RouteUnreachable),
        NoHop::Prohibited => (Some(Complaint::Prohibited), DropReason::RouteProhibited),
    };
    if let Some(complaint) = complaint {
        icmp::complain(ctx, transit, complaint);
    }
    Err(reason)
}

//= RFC1812 section 5.3.1: if the TTL is reduced to zero (or less), the packet MUST be discarded, and the router
//# MUST send an ICMP time exceeded message, code 0.
fn check_hop_limit(ctx: &mut Context<'_>, transit: &Transit<'_>) -> Result<(), DropReason> {
    if transit.parsed.hop_limit > 1 {
        return Ok(());
    }
    icmp::complain(ctx, transit, Complaint::HopLimitExceeded);
    Err(DropReason::HopLimit)
}

/// A datagram that is larger than the next link takes.
#[cold]
fn send_in_parts(
    ctx: &mut Context<'_>,
    transit: &Transit<'_>,
    header: &Header,
    hop: Hop,
    sink: &mut dyn PacketSink,
) -> Result<(), DropReason> {
    if transit.parsed.dont_fragment {
        icmp::complain(ctx, transit, Complaint::TooBig { mtu: hop.mtu as u32 });
        return Err(DropReason::ForwardTooBig);
    }
    let whole = [&header.bytes, header.rest_of(transit)].concat();
    let mut result = Ok(());
    let parts = fragment::split(&whole, hop.mtu, 0, |part| {
        if result.is_ok() {
            result = hand_over(ctx, &Egress::plain(hop.device, part, &[]), sink);
        }
    });
    if parts == 0 { Err(DropReason::ForwardTooBig) } else { result }
}

/// Gives a packet to the device, or to the queue for it.
///
/// A packet filter of the egress would stand here, for what is forwarded.
fn hand_over(
    ctx: &mut Context<'_>,
    egress: &Egress<'_>,
    sink: &mut dyn PacketSink,
) -> Result<(), DropReason> {
    // What waits already came earlier: nothing may overtake it.
    if !ctx.outbox.has_waiting(egress.device) && sink.send(*egress) == Sent::Taken {
        ctx.counters.packets_out += 1;
        ctx.counters.bytes_out += egress.len() as u64;
        return Ok(());
    }
    if ctx.outbox.push_transit(egress) { Ok(()) } else { Err(DropReason::ForwardQueueFull) }
}

/// The header of a packet, as it goes on.
struct Header {
    bytes: ArrayVec<u8, HEADER_MAX>,
}

/// The longest header of IPv4; IPv6's has 40 bytes.
const HEADER_MAX: usize = 60;

impl Header {
    /// The header as it came, but for the time to live.
    fn one_hop_on(transit: &Transit<'_>) -> Self {
        let whole = transit.parsed.whole;
        let mut bytes = ArrayVec::new();
        let len = if transit.parsed.src.is_ipv4() { transit.parsed.header_len } else { 40 };
        // The header has been parsed, so it is there and no longer than this.
        let _ = bytes.try_extend_from_slice(whole.get(..len).unwrap_or_default());
        let mut header = Header { bytes };
        header.decrement();
        header
    }

    /// What follows the header.
    fn rest_of<'a>(&self, transit: &Transit<'a>) -> &'a [u8] {
        transit.parsed.whole.get(self.bytes.len()..).unwrap_or_default()
    }

    //= RFC1812 section 5.3.1: when a router forwards a packet, it MUST reduce the TTL by at least one.
    fn decrement(&mut self) {
        match *self.bytes.as_mut_slice() {
            [version, _, _, _, _, _, _, _, ref mut ttl, protocol, ref mut high, ref mut low, ..]
                if version >> 4 == 4 =>
            {
                let before = u16::from_be_bytes([*ttl, protocol]);
                *ttl = ttl.saturating_sub(1);
                let after = u16::from_be_bytes([*ttl, protocol]);
                let checksum = u16::from_be_bytes([*high, *low]);
                [*high, *low] = updated(checksum, before, after).to_be_bytes();
            }
            [_, _, _, _, _, _, _, ref mut hop_limit, ..] => *hop_limit = hop_limit.saturating_sub(1),
            _ => {}
        }
    }
}

/// A checksum after one of the words it is of has changed (RFC 1624 section 3, equation 3).
fn updated(checksum: u16, before: u16, after: u16) -> u16 {
    let sum = u32::from(!checksum) + u32::from(!before) + u32::from(after);
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests;
