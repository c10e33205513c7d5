//! ICMP and ICMPv6: requests answered, errors sent (rate-limited) and received.
//!
//! Owns which messages are answered and believed (RFC 792, RFC 1122 section 3.2.2, RFC 1812 section 4.3,
//! RFC 4443). Owns not their shape, which is [`wire::icmp`](crate::proto::wire::icmp)'s, nor what a
//! transport or an echo socket does about what it is handed.
//!
//! | file | holds |
//! |---|---|
//! | `answer` | echo and timestamp requests; what is ignored, and under which name it is counted |
//! | `complain` | errors sent: about what, to whom, from where, how often |
//! | `error` | errors received: what they say, and whether they can be about a packet of ours |
//! | `too_big` | who is believed about the MTU of a path |
//!
//! Not acted upon: redirects (routes are what this stack was told), source quench (RFC 6633), information and
//! address mask requests (RFC 6918), router and neighbour discovery (a TUN has no link layer), multicast listeners.

mod answer;
mod complain;
mod error;
mod too_big;

use core::net::IpAddr;

use super::{Cast, Datagram};
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::wire::HeaderBuf;
use crate::proto::wire::icmp::{self as wire, Echo, Message};
use crate::proto::wire::ip::{IpHeader, PROTOCOL_ICMP, PROTOCOL_ICMPV6};

pub(crate) use complain::{Complaint, Subject, complain};
pub use error::{IcmpError, IcmpErrorKind};
pub(crate) use too_big::learn;

/// What of a message is for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received<'a> {
    /// Nothing: it has been dealt with.
    Done,
    /// An echo reply, for the echo socket that has asked.
    Reply(Echo<'a>),
    /// An error about one of our packets, for its transport.
    Error(IcmpError<'a>),
}

/// Handles an ICMP or ICMPv6 message, and tells what of it is for a socket.
pub(crate) fn receive<'a>(ctx: &mut Context, datagram: &Datagram<'a>) -> Result<Received<'a>, DropReason> {
    if !is_icmp(datagram.src, datagram.protocol) {
        // ICMP over IPv6, or ICMPv6 over IPv4.
        complain(ctx, datagram, Complaint::ProtocolUnreachable);
        return Err(DropReason::UnknownProtocol);
    }
    match wire::parse(datagram.payload, datagram.src, datagram.dst, datagram.checksum)? {
        //= RFC1122 3.2.2.6 echo
        //= RFC4443 4.2 echo
        Message::EchoRequest(echo) => answer::echo(ctx, datagram, echo).map(|()| Received::Done),
        Message::Error(error) => {
            let mut read = error::read(datagram, &error)?;
            too_big::packet_too_big(ctx, &mut read, error.quoted)?;
            Ok(Received::Error(read))
        }
        // Nobody here asks groups for their answer in the group.
        Message::EchoReply(_) if datagram.cast != Cast::Unicast => Err(DropReason::IcmpIgnored),
        //= RFC1122 3.2.2.6 replies
        //= RFC4443 4.2 replies
        Message::EchoReply(echo) => Ok(Received::Reply(echo)),
        Message::Other(other) => answer::other(ctx, datagram, &other).map(|()| Received::Done),
    }
}

/// Routes a message and queues it; `false` if it was lost.
fn send_message(ctx: &mut Context, header: &IpHeader, message: Message<'_>) -> bool {
    send_with_options(ctx, header, &[], message)
}

/// The same with options of IPv4.
fn send_with_options(ctx: &mut Context, header: &IpHeader, options: &[u8], message: Message<'_>) -> bool {
    let Ok(route) = ctx.ip.route(header.dst, Some(header.src)) else {
        ctx.counters.replies_lost += 1;
        return false;
    };
    let mut written = HeaderBuf::new();
    message.write_header(header.src, header.dst, &mut written);
    let payload = [&written[..], message.body()];
    match options {
        [] => super::try_send(ctx, &route, header, &payload),
        options => super::try_send_with_options(ctx, &route, header, options, &payload),
    }
}

fn is_icmp(family: IpAddr, protocol: u8) -> bool {
    protocol == if family.is_ipv4() { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 }
}

#[cfg(test)]
mod tests;
