//! Requests answered: echo.

use core::net::IpAddr;

use super::send_message;
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::ip::{Cast, Datagram, address, fragmentable};
use crate::proto::wire::icmp::{Echo, Message};
use crate::proto::wire::ip::IpHeader;

/// The same data goes back, from the address that was pinged (RFC 1122 section 3.2.2.6, RFC 4443 section 4.2).
pub(super) fn echo(ctx: &mut Context<'_>, datagram: &Datagram<'_>, echo: Echo<'_>) -> Result<(), DropReason> {
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
