//! Forwarding: datagrams on their way to somebody else (RFC 1812 section 5, RFC 8200).
//!
//! Owns whether a packet may go on, by which interface, and what is changed in it on the way: the time to live,
//! and options of IPv4 that ask for it. Owns not which packets are in transit, which [`input`](super::input)
//! says, nor the routes, which are [`Layer`](super::Layer)'s.
//!
//! A packet goes through here without being copied: its changed header is built on the stack, the rest is
//! handed on as it lies in the receive buffer. Only if the device is busy the whole is copied to wait. So with
//! super-segments and unfinished checksums, where the device takes them; else `segment` makes packets of them
//! that any link carries.
//!
//! The order is that of RFC 1812 section 5.2.1.2. A packet filter would have three places to stand: at the
//! ingress, between [`input`](super::input)'s check of the addresses and the question whom a packet is for; on
//! the way, between [`decide`] and what follows it; at the egress, in [`hand_over`].
//!
//! No redirects are sent, even for what leaves by where it came in: routers send them to hosts on a link that is
//! shared (RFC 1812 section 5.2.7.2), which a TUN is not.

use core::net::{IpAddr, Ipv4Addr};
use core::num::NonZeroU16;

use arrayvec::ArrayVec;
use ipnet::IpNet;

use super::datagram::Transit;
use super::fragment;
use super::icmp::{self, Complaint};
use super::layer::{Hop, NoHop};
use super::options::{self, Here};
use super::segment::Unfinished;
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::packet::{ChecksumState, Egress, EgressChecksum, Offloads, PacketSink, Sent};
use crate::proto::wire::checksum;

/// Sends a datagram on its way: by `sink` at once, or if that takes nothing by the outbox.
pub(crate) fn forward(
    ctx: &mut Context,
    transit: &Transit<'_, '_>,
    sink: &mut dyn PacketSink,
) -> Result<(), DropReason> {
    let hop = decide(ctx, transit)?;
    let mut header = Header::of(transit);
    header.decrement();
    if header.has_options() {
        write_options(ctx, transit, hop, &mut header);
    }
    let way = Way { hop, header: &header, transit };
    if transit.gso_size.is_some() || transit.checksum == ChecksumState::Partial {
        way.send_unfinished(ctx, sink)
    } else if transit.parsed.whole.len() <= hop.mtu {
        hand_over(ctx, &Egress::plain(hop.device, &header.bytes, &[way.rest()]), sink)
    } else {
        way.send_in_parts(ctx, None, sink)
    }
}

/// Whether a packet goes on, and where to (RFC 1812 section 5.2.1.2, steps 5 to 7).
fn decide(ctx: &mut Context, transit: &Transit<'_, '_>) -> Result<Hop, DropReason> {
    check_scope(ctx, transit)?;
    check_reverse_path(ctx, transit)?;
    let hop = find_hop(ctx, transit)?;
    check_hop_limit(ctx, transit)?;
    Ok(hop)
}

/// Addresses that mean something on one link only, and those of many hosts, lead nowhere else.
fn check_scope(ctx: &mut Context, transit: &Transit<'_, '_>) -> Result<(), DropReason> {
    let (src, dst) = (transit.parsed.src, transit.parsed.dst);
    //= RFC2644 section 3: a router must not forward directed broadcasts unless told to. Those of our networks are
    //# for us, and never in transit; groups are joined for nobody but us.
    if dst.is_multicast() {
        return Err(DropReason::ForwardNotUnicast);
    }
    //= RFC1812 5.3.7 martians: a class E address (except 255.255.255.255) is an invalid destination.
    if matches!(dst, IpAddr::V4(v4) if v4.octets()[0] >= 240) {
        return Err(DropReason::MartianDestination);
    }
    //= RFC4291 section 2.5.6: routers must not forward any packets with link-local source or destination
    //# addresses to other links.
    if is_link_local(dst) || src.is_unspecified() {
        return Err(DropReason::ForwardScope);
    }
    if is_link_local(src) {
        //= RFC4443 3.1 beyond scope: if the reason for the failure to deliver is that the destination is beyond
        //# the scope of the source address, the code field is set to 2.
        icmp::complain(ctx, transit, Complaint::BeyondScope);
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

//= RFC1812 5.3.8 silently: if this filtering is enabled, the router MUST silently discard a packet if the
//# interface on which the packet was received is not the interface on which a packet would be forwarded to
//# reach the address contained in the source address.
fn check_reverse_path(ctx: &Context, transit: &Transit<'_, '_>) -> Result<(), DropReason> {
    let how = ctx.config.reverse_path;
    if ctx.ip.is_reachable_by(transit.parsed.src, transit.device, how) {
        Ok(())
    } else {
        Err(DropReason::ReversePath)
    }
}

/// The next hop; if there is none, the source hears why (RFC 1812 section 5.2.7.1, RFC 4443 section 3.1).
fn find_hop(ctx: &mut Context, transit: &Transit<'_, '_>) -> Result<Hop, DropReason> {
    let no_hop = match ctx.ip.next_hop(transit.parsed.dst) {
        //= RFC4443 3.1 back onto the link
        Ok(hop) if goes_to_and_fro(ctx, transit, hop) => NoHop::Unreachable,
        Ok(hop) => return Ok(hop),
        Err(no_hop) => no_hop,
    };
    let (complaint, reason) = match no_hop {
        //= RFC1812 4.3.3.1 no route
        NoHop::NoRoute => (Some(Complaint::NetworkUnreachable), DropReason::NoRoute),
        NoHop::Blackhole => (None, DropReason::RouteBlackhole),
        //= RFC1812 4.3.3.1 no host
        NoHop::Unreachable => (Some(Complaint::HostUnreachable), DropReason::RouteUnreachable),
        //= RFC1812 5.2.7.1 prohibited
        NoHop::Prohibited => (Some(Complaint::Prohibited), DropReason::RouteProhibited),
    };
    if let Some(complaint) = complaint {
        //= RFC1812 5.2.7.1 code
        icmp::complain(ctx, transit, complaint);
    }
    Err(reason)
}

/// Whether the packet would go back to where it came from and come again: it is for the very network of the link, so
/// both ends would take the other for the way there. (Over IPv4 it goes, as on Linux: hubs of tunnels live on it.)
// RFC 4443 section 3.1: a packet received on a point-to-point link and destined to an address within a subnet
// assigned to that same link MUST NOT be forwarded back onto the arrival link.
fn goes_to_and_fro(ctx: &Context, transit: &Transit<'_, '_>, hop: Hop) -> bool {
    let dst = transit.parsed.dst;
    let is_of_the_link = |net: &IpNet| net.contains(&dst);
    hop.device == transit.device
        && dst.is_ipv6()
        && ctx.ip.interfaces.addresses_of(hop.device).iter().any(is_of_the_link)
}

//= RFC1812 5.3.1 no foresight: if the TTL is reduced to zero (or less), the packet MUST be discarded, and the
//# router MUST send an ICMP time exceeded message, code 0.
fn check_hop_limit(ctx: &mut Context, transit: &Transit<'_, '_>) -> Result<(), DropReason> {
    //= RFC791 3.1 time to live
    //= RFC1812 4.2.2.9 time to live of zero
    if transit.parsed.hop_limit > 1 {
        return Ok(());
    }
    //= RFC1812 5.2.7.3 time exceeded
    //= RFC4443 3.3 hop limit
    icmp::complain(ctx, transit, Complaint::HopLimitExceeded);
    Err(DropReason::HopLimit)
}

/// Record route and timestamp (RFC 1812 section 5.2.1.2, step 8).
#[cold]
fn write_options(ctx: &Context, transit: &Transit<'_, '_>, hop: Hop, header: &mut Header) {
    let address_on = |device, towards| match ctx.ip.interfaces.source_for(device, towards) {
        Some(IpAddr::V4(address)) => address,
        Some(IpAddr::V6(_)) | None => Ipv4Addr::UNSPECIFIED,
    };
    let here = Here {
        //= RFC1812 4.2.2.2 address in options
        route_address: address_on(hop.device, transit.parsed.dst),
        time_address: address_on(transit.device, transit.parsed.src),
        is_ours: &|address| ctx.ip.is_local(IpAddr::V4(address)),
        time: ctx.ip.wall_clock.timestamp(transit.at),
    };
    options::forward(header.options_mut(), &here);
    header.seal();
}

/// A packet that goes on: where to, and how its header looks then.
struct Way<'a> {
    hop: Hop,
    header: &'a Header,
    transit: &'a Transit<'a, 'a>,
}

impl<'a> Way<'a> {
    /// What follows the header.
    fn rest(&self) -> &'a [u8] {
        //= RFC8200 4.7 no next header in transit
        self.transit.parsed.whole.get(self.header.bytes.len()..).unwrap_or_default()
    }

    /// A packet whose checksum is to be completed, or that is to be cut, by somebody from here on.
    fn send_unfinished(&self, ctx: &mut Context, sink: &mut dyn PacketSink) -> Result<(), DropReason> {
        let unfinished = Unfinished::in_transit(self.transit).ok_or(DropReason::ForwardOffload)?;
        let offloads = ctx.ip.interfaces.offloads(self.hop.device);
        match unfinished.gso_size() {
            Some(size) => self.send_super(ctx, &unfinished, size, offloads, sink),
            None => self.send_unsummed(ctx, &unfinished, offloads, sink),
        }
    }

    /// A super-segment. What has to fit is each of the packets that it stands for.
    fn send_super(
        &self,
        ctx: &mut Context,
        unfinished: &Unfinished<'_>,
        size: NonZeroU16,
        offloads: Offloads,
        sink: &mut dyn PacketSink,
    ) -> Result<(), DropReason> {
        let fits = unfinished.data_at() + usize::from(size.get()) <= self.hop.mtu;
        if !fits {
            self.check_may_be_cut(ctx)?;
        }
        let headers = self.headers_of_super(unfinished);
        if let Some(headers) = headers.filter(|_| fits && unfinished.is_taken_by(offloads)) {
            let egress = Egress {
                device: self.hop.device,
                header: &headers,
                payload: &[unfinished.data()],
                gso_size: Some(size),
                checksum: unfinished.egress_checksum(),
            };
            return hand_over(ctx, &egress, sink);
        }
        let mut result = Ok(());
        unfinished.split(&self.header.bytes, size, |headers, data| {
            result = if headers.len() + data.len() <= self.hop.mtu {
                hand_over(ctx, &Egress::plain(self.hop.device, headers, &[data]), sink)
            } else {
                self.split(ctx, &[headers, data].concat(), sink)
            };
            result.is_ok()
        });
        result
    }

    /// All headers of a super-segment as they go on, with the pseudo-header's sum in the checksum field. `None` if
    /// they are longer than any that we have seen.
    fn headers_of_super(&self, unfinished: &Unfinished<'_>) -> Option<ArrayVec<u8, SUPER_HEADERS_MAX>> {
        let mut headers = ArrayVec::new();
        headers.try_extend_from_slice(&self.header.bytes).ok()?;
        let others = self.transit.parsed.whole.get(headers.len()..unfinished.data_at())?;
        headers.try_extend_from_slice(others).ok()?;
        unfinished.seed(&mut headers);
        Some(headers)
    }

    /// A packet that stands for itself alone.
    fn send_unsummed(
        &self,
        ctx: &mut Context,
        unfinished: &Unfinished<'_>,
        offloads: Offloads,
        sink: &mut dyn PacketSink,
    ) -> Result<(), DropReason> {
        let (device, rest, header) = (self.hop.device, self.rest(), &self.header.bytes);
        let fits = self.transit.parsed.whole.len() <= self.hop.mtu;
        let lacks_sum = unfinished.lacks_sum();
        if fits && (!lacks_sum || unfinished.is_taken_by(offloads)) {
            let checksum = if lacks_sum { unfinished.egress_checksum() } else { EgressChecksum::Complete };
            return hand_over(ctx, &Egress { checksum, ..Egress::plain(device, header, &[rest]) }, sink);
        }
        let at = unfinished.checksum_at() - header.len();
        let sum = lacks_sum.then(|| Sum { at, value: unfinished.sum() });
        match (fits, sum, rest.get(..at), rest.get(at + 2..)) {
            (true, Some(Sum { value, .. }), Some(before), Some(behind)) => {
                hand_over(ctx, &Egress::plain(device, header, &[before, &value, behind]), sink)
            }
            (_, sum, _, _) => self.send_in_parts(ctx, sum, sink),
        }
    }

    /// A datagram that is larger than the next link takes.
    #[cold]
    fn send_in_parts(
        &self,
        ctx: &mut Context,
        sum: Option<Sum>,
        sink: &mut dyn PacketSink,
    ) -> Result<(), DropReason> {
        self.check_may_be_cut(ctx)?;
        let mut whole = [&self.header.bytes, self.rest()].concat();
        if let Some(Sum { at, value }) = sum
            && let Some(field) =
                whole.get_mut(self.header.bytes.len() + at..).and_then(|rest| rest.get_mut(..2))
        {
            field.copy_from_slice(&value);
        }
        self.split(ctx, &whole, sink)
    }

    //= RFC1191 4 router: a router that would have to fragment a datagram with DF set MUST say with the error
    //# what the MTU of the next hop is.
    // RFC 8200 section 5: over IPv6 nobody fragments on the way.
    fn check_may_be_cut(&self, ctx: &mut Context) -> Result<(), DropReason> {
        //= RFC791 2.3 don't fragment, 3.1 flags
        if !self.transit.parsed.dont_fragment {
            return Ok(());
        }
        //= RFC1812 5.2.7.1 too big
        icmp::complain(ctx, self.transit, Complaint::TooBig { mtu: self.hop.mtu as u32 });
        Err(DropReason::ForwardTooBig)
    }

    fn split(&self, ctx: &mut Context, whole: &[u8], sink: &mut dyn PacketSink) -> Result<(), DropReason> {
        let mut result = Ok(());
        //= RFC1812 4.2.2.7 fragment
        let parts = fragment::split(whole, self.hop.mtu, 0, |part| {
            result = hand_over(ctx, &Egress::plain(self.hop.device, part, &[]), sink);
            // Once one part is lost the others are of no use.
            result.is_ok()
        });
        if parts == 0 { Err(DropReason::ForwardTooBig) } else { result }
    }
}

/// A transport checksum, and where it belongs behind the first header.
#[derive(Clone, Copy)]
struct Sum {
    at: usize,
    value: [u8; 2],
}

/// Both headers of IPv4 and TCP with all their options; over IPv6 there is room for some extension headers.
const SUPER_HEADERS_MAX: usize = 128;

/// Gives a packet to the device, or to the queue for it.
fn hand_over(ctx: &mut Context, egress: &Egress<'_>, sink: &mut dyn PacketSink) -> Result<(), DropReason> {
    // What waits already came earlier: nothing may overtake it.
    if !ctx.outbox.has_waiting(egress.device) && sink.send(*egress) == Sent::Taken {
        ctx.counters.packets_out += 1;
        ctx.counters.bytes_out += egress.len() as u64;
        return Ok(());
    }
    //= RFC4443 3.1 congestion
    if ctx.outbox.push_transit(egress) { Ok(()) } else { Err(DropReason::ForwardQueueFull) }
}

/// The header of a packet, as it goes on.
struct Header {
    bytes: ArrayVec<u8, HEADER_MAX>,
}

/// The longest header of IPv4; IPv6's has 40 bytes.
const HEADER_MAX: usize = 60;
const V4_HEADER: usize = 20;
const V6_HEADER: usize = 40;

impl Header {
    /// The header as it came.
    fn of(transit: &Transit<'_, '_>) -> Self {
        let whole = transit.parsed.whole;
        let len = if transit.parsed.src.is_ipv4() { transit.parsed.header_len } else { V6_HEADER };
        let mut header = Header { bytes: ArrayVec::new() };
        // The header has been parsed, so it is there and no longer than this.
        //= RFC1812 5.3.3.3 precedence
        //= RFC8200 6 label unchanged
        let _ = header.bytes.try_extend_from_slice(whole.get(..len).unwrap_or_default());
        header
    }

    fn has_options(&self) -> bool {
        self.options_at().is_some()
    }

    /// The options; there are none in a header without.
    fn options_mut(&mut self) -> &mut [u8] {
        let at = self.options_at().unwrap_or(self.bytes.len());
        self.bytes.get_mut(at..).unwrap_or_default()
    }

    fn options_at(&self) -> Option<usize> {
        let is_v4 = self.bytes.first().is_some_and(|first| first >> 4 == 4);
        (is_v4 && self.bytes.len() > V4_HEADER).then_some(V4_HEADER)
    }

    /// Computes the checksum of IPv4 anew.
    fn seal(&mut self) {
        let Some(field) = self.bytes.get_mut(10..12) else { return };
        field.fill(0);
        let mut sum = checksum::Sum::new();
        sum.add(&self.bytes);
        if let Some(field) = self.bytes.get_mut(10..12) {
            field.copy_from_slice(&sum.finish().to_be_bytes());
        }
    }

    fn decrement(&mut self) {
        match *self.bytes.as_mut_slice() {
            [version, _, _, _, _, _, _, _, ref mut ttl, protocol, ref mut high, ref mut low, ..]
                if version >> 4 == 4 =>
            {
                let before = u16::from_be_bytes([*ttl, protocol]);
                //= RFC1812 5.3.1 decrement
                *ttl = ttl.saturating_sub(1);
                let after = u16::from_be_bytes([*ttl, protocol]);
                let sum = u16::from_be_bytes([*high, *low]);
                //= RFC791 3.1 checksum anew
                [*high, *low] = checksum::updated(sum, before, after).to_be_bytes();
            }
            [_, _, _, _, _, _, _, ref mut hop_limit, ..] => *hop_limit = hop_limit.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod super_segments;
#[cfg(test)]
mod tests;
