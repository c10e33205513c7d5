//! What goes out: datagrams built and queued. (TCP's text goes to the device without a queue, see `tcp/emit`.)

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::proto::context::Context;
use crate::proto::packet::DeviceId;
use crate::proto::wire::HeaderBuf;
use crate::proto::wire::ip::IpHeader;

/// Builds a datagram from `header` and `payload` and queues it. Counts it as lost if the queue is full or
/// the interface can't take a datagram of that size.
pub(crate) fn send(ctx: &mut Context<'_>, device: DeviceId, header: &IpHeader, payload: &[&[u8]]) {
    let _ = try_send(ctx, device, header, payload);
}

/// Like [`send`], and tells whether the datagram is on its way.
pub(crate) fn try_send(
    ctx: &mut Context<'_>,
    device: DeviceId,
    header: &IpHeader,
    payload: &[&[u8]],
) -> bool {
    let payload_len: usize = payload.iter().map(|piece| piece.len()).sum();
    let len = header.len() + payload_len;
    let fits = ctx.ip.mtu(device).is_some_and(|mtu| len <= mtu);
    if !fits || !ctx.outbox.has_room(device, len) {
        ctx.counters.replies_lost += 1;
        return false;
    }
    let mut written = HeaderBuf::new();
    header.write(payload_len, &mut written);
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&written);
    for piece in payload {
        bytes.extend_from_slice(piece);
    }
    ctx.outbox.push(device, bytes)
}

/// The header of a datagram that routers may fragment: all but TCP's, which follows the path's MTU.
///
/// A datagram of IPv4 without DF is not atomic, so its identification has to be unique (RFC 6864 section
/// 4.3).
pub(crate) fn fragmentable(ctx: &mut Context<'_>, src: IpAddr, dst: IpAddr, protocol: u8) -> IpHeader {
    let ident = if src.is_ipv4() { ctx.ip.next_ident(ctx.rng, src, dst, protocol) } else { 0 };
    IpHeader { src, dst, protocol, hop_limit: ctx.config.ttl, tos: 0, ident, dont_fragment: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::config::Config;
    use crate::proto::ip::testing::{TUN, World, header};
    use crate::proto::wire;

    #[test]
    fn what_is_sent_reads_back_and_what_finds_no_room_is_counted() {
        let mut world = World::new();
        let sent = header("10.9.0.2", "10.9.0.1", 99);
        send(&mut world.ctx(), TUN, &sent, &[b"he", b"", b"llo"]);
        let (device, bytes) = world.sent().unwrap();
        let read = wire::ip::parse(&bytes).unwrap();
        assert_eq!((device, read.src, read.dst, read.payload), (TUN, sent.src, sent.dst, &b"hello"[..]));
        send(&mut world.ctx(), TUN, &sent, &[&[0; 1481]]);
        send(&mut world.ctx(), DeviceId(9), &sent, &[b"nowhere"]);
        assert!(world.sent().is_none());
        assert_eq!(world.counters.replies_lost, 2);
    }

    #[test]
    fn a_full_outbox_loses_the_newest() {
        let mut world = World::with(Config { outbox_packets: 1, ..Config::default() });
        for _ in 0..3 {
            send(&mut world.ctx(), TUN, &header("10.9.0.2", "10.9.0.1", 99), &[]);
        }
        assert_eq!(world.counters.replies_lost, 2);
    }
}
