//! Requests answered (echo, timestamp), and what is neither request, reply nor error.

use core::net::IpAddr;

use super::send_with_options;
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::ip::{Cast, Datagram, address, fragmentable, options};
use crate::proto::wire::icmp::{Echo, Message, Other, v4, v6};
use crate::proto::wire::ip::IpHeader;

/// The same data goes back, from the address that was pinged (RFC 1122 section 3.2.2.6, RFC 4443 section 4.2), in
/// parts if it came in parts. "The type code is changed" (RFC 792): the code is not, which is what Linux makes
/// of it over both families.
pub(super) fn echo(ctx: &mut Context, datagram: &Datagram<'_>, echo: Echo<'_>) -> Result<(), DropReason> {
    let source = reply_source(ctx, datagram).ok_or(DropReason::IcmpRequestToMany)?;
    let kind = if source.is_ipv4() { v4::TYPE_ECHO_REPLY } else { v6::TYPE_ECHO_REPLY };
    let code = datagram.payload.get(1).copied().unwrap_or_default();
    //= RFC1122 3.2.2.6 data
    //= RFC792 echo
    //= RFC1812 4.3.3.6 echo
    //= RFC4443 4.2 data
    let reply = Message::Other(Other { kind, code, word: echo.word(), body: echo.data });
    if send_reply(ctx, datagram, source, reply) {
        ctx.counters.icmp_echo_replies += 1;
    }
    Ok(())
}

/// Answers a timestamp request with the time of day, as far as it is known, and what else is neither echo nor error
/// not at all.
pub(super) fn other(
    ctx: &mut Context,
    datagram: &Datagram<'_>,
    message: &Other<'_>,
) -> Result<(), DropReason> {
    match (datagram.src, message.kind) {
        //= RFC1122 3.2.2.8 timestamp
        //= RFC1812 4.3.3.8 timestamp
        (IpAddr::V4(_), v4::TYPE_TIMESTAMP) => timestamp(ctx, datagram, message),
        (IpAddr::V4(_) | IpAddr::V6(_), kind) => Err(ignored(datagram.src, kind)),
    }
}

/// RFC 792: the times of receiving and of sending beside that which came. Linux answers with one and the same.
// RFC 1122 section 3.2.2.8: a host MAY implement timestamp and timestamp reply; if so, the reply comes from the
// address that was asked, and a request to a broadcast or multicast address MAY be discarded.
fn timestamp(ctx: &mut Context, datagram: &Datagram<'_>, request: &Other<'_>) -> Result<(), DropReason> {
    let source = reply_source(ctx, datagram).ok_or(DropReason::IcmpRequestToMany)?;
    // As Linux: the time of origin is all that a request needs.
    let &[a, b, c, d] = request.body.first_chunk().ok_or(DropReason::IcmpMalformed)?;
    let [e, f, g, h] = ctx.ip.wall_clock.timestamp(datagram.at).to_be_bytes();
    let body = &[a, b, c, d, e, f, g, h, e, f, g, h];
    let reply = Message::Other(Other { kind: v4::TYPE_TIMESTAMP_REPLY, code: 0, word: request.word, body });
    if send_reply(ctx, datagram, source, reply) {
        ctx.counters.icmp_timestamp_replies += 1;
    }
    Ok(())
}

/// Sends the answer to a request. `false` if it was lost.
fn send_reply(ctx: &mut Context, request: &Datagram<'_>, source: IpAddr, reply: Message<'_>) -> bool {
    // The whole octet is reflected, ECN bits included, as Linux does (RFC 1122 section 3.2.2.6 wants no less).
    //= RFC1812 4.3.2.5 precedence
    let header = IpHeader { tos: request.tos, ..fragmentable(ctx, source, request.src, request.protocol) };
    let options = options::answer(&ctx.ip, request, source);
    send_with_options(ctx, &header, &options, reply)
}

/// Why a message that is neither echo nor error is not acted upon.
fn ignored(family: IpAddr, kind: u8) -> DropReason {
    match (family, kind) {
        // Router advertisement and solicitation (RFC 1256).
        (IpAddr::V4(_), v4::TYPE_ROUTER_ADVERTISEMENT | v4::TYPE_ROUTER_SOLICITATION) => {
            DropReason::IcmpDiscovery
        }
        //= RFC1122 3.2.2.7 information: a host SHOULD NOT implement information request and reply.
        //= RFC6918 section 2: these types are deprecated, 15 to 18 (information, address mask) among them.
        //= RFC1122 3.2.2.9 mask
        (IpAddr::V4(_), 6 | 15..=18 | 30..=39) => DropReason::IcmpDeprecated,
        // Router and neighbour discovery (RFC 4861), the inverse (RFC 3122) and the secure (RFC 3971) kind.
        (IpAddr::V6(_), v6::TYPE_REDIRECT_MESSAGE) => DropReason::IcmpRedirect,
        (IpAddr::V6(_), 133..=136 | 141 | 142 | 148 | 149) => DropReason::IcmpDiscovery,
        // Listener queries, reports and dones (RFC 2710, RFC 3810), multicast routers (RFC 4286).
        (IpAddr::V6(_), 130..=132 | 143 | 151..=153) => DropReason::IcmpGroups,
        //= RFC1122 3.2.2 unknown type
        //= RFC4443 2.4 b unknown
        (IpAddr::V4(_) | IpAddr::V6(_), _) => DropReason::IcmpIgnored,
    }
}

/// The address to answer a request from; `None` if it is not to be answered.
fn reply_source(ctx: &Context, datagram: &Datagram<'_>) -> Option<IpAddr> {
    if !address::is_single_host(datagram.src) {
        return None;
    }
    match (datagram.cast, datagram.src) {
        //= RFC1122 3.2.2.6 source, 3.3.4.2 source
        //= RFC4443 2.2 source, 4.2 source
        (Cast::Unicast, _) => Some(datagram.dst),
        // RFC 1122 section 3.2.2.6: a request to a broadcast or multicast address MAY be discarded. It is: one
        // forged packet would make every host of the network answer. (Section 3.2.2.8: timestamps as well.)
        (Cast::Broadcast | Cast::Multicast, IpAddr::V4(_)) => None,
        //= RFC4443 4.2 multicast: a reply SHOULD be sent to a request to a multicast address, from a unicast
        //# address of the interface on which the request came.
        (Cast::Broadcast | Cast::Multicast, IpAddr::V6(_)) => {
            ctx.ip.interfaces.source_for(datagram.device, datagram.src)
        }
    }
}
