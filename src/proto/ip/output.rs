//! What goes out: datagrams built and queued. (TCP's text goes to the device without a queue, see `tcp/emit`.)

use alloc::vec::Vec;
use core::net::IpAddr;
use core::num::NonZeroU16;

use arrayvec::ArrayVec;

use super::outbox::Unsummed;
use super::{Route, fragment, pmtu};
use crate::proto::context::Context;
use crate::proto::packet::{DeviceId, Offloads, len_of};
use crate::proto::wire::HeaderBuf;
use crate::proto::wire::ip::{IpHeader, PROTOCOL_TCP, Parsed, parse};

/// Builds a datagram from `header` and `payload`, cuts it if it is larger than `route.mtu`, and queues it. Counts
/// it as lost if the queue is full, or if it is too large and not to be cut (`header.dont_fragment`, which over IPv6
/// means no more than that).
pub(crate) fn send(ctx: &mut Context, route: &Route, header: &IpHeader, payload: &[&[u8]]) {
    let _ = try_send(ctx, route, header, payload);
}

/// Like [`send`], and tells whether the datagram is on its way.
pub(crate) fn try_send(ctx: &mut Context, route: &Route, header: &IpHeader, payload: &[&[u8]]) -> bool {
    let payload_len = len_of(payload);
    let sent = room_needed(route, header, payload_len)
        .filter(|&(packets, bytes)| ctx.outbox.has_room_for(route.device, packets, bytes))
        .is_some_and(|_| send_admitted(ctx, route, header, payload));
    if !sent {
        ctx.counters.replies_lost += 1;
    }
    sent
}

/// Like [`try_send`] over IPv4, with options in the header.
pub(crate) fn try_send_with_options(
    ctx: &mut Context,
    route: &Route,
    header: &IpHeader,
    options: &[u8],
    payload: &[&[u8]],
) -> bool {
    let payload_len = len_of(payload);
    let mut parts = Vec::new();
    if header.len() + options.len() + payload_len <= usize::from(u16::MAX) {
        let mut written = HeaderBuf::new();
        header.write_with_options(options, payload_len, &mut written);
        let whole = [&[&written[..]], payload].concat().concat();
        fragment::split(&whole, route.mtu, 0, |part| {
            parts.push(part.to_vec());
            true
        });
    }
    let bytes = parts.iter().map(Vec::len).sum();
    let fits = parts.len() == 1 || !header.dont_fragment;
    let sent = !parts.is_empty() && fits && ctx.outbox.has_room_for(route.device, parts.len(), bytes);
    if sent {
        for part in &parts {
            ctx.outbox.push(route.device, &[part]);
        }
    } else {
        ctx.counters.replies_lost += 1;
    }
    sent
}

/// Whether an application's datagram of `payload_len` bytes behind its IP header finds room, with all its parts.
pub(crate) fn room_for_application(
    ctx: &mut Context,
    route: &Route,
    header: &IpHeader,
    payload_len: usize,
) -> Room {
    room_for_all(ctx, route, header, payload_len, 1)
}

/// The same of so many datagrams at once, each of which could be sent alone.
pub(crate) fn room_for_all(
    ctx: &mut Context,
    route: &Route,
    header: &IpHeader,
    payload_len: usize,
    count: usize,
) -> Room {
    match room_needed(route, header, payload_len) {
        None => Room::Never,
        Some((packets, bytes))
            if ctx.outbox.has_room_for_application(route.device, count * packets, count * bytes) =>
        {
            Room::Now
        }
        Some(_) => Room::Later,
    }
}

/// The same of a super-datagram that the [device takes](LeftToDevice::SumAndCut): it waits in one piece.
pub(crate) fn room_for_super(
    ctx: &mut Context,
    route: &Route,
    header: &IpHeader,
    payload_len: usize,
) -> Room {
    let has_room = ctx.outbox.has_room_for_application(route.device, 1, header.len() + payload_len);
    if has_room { Room::Now } else { Room::Later }
}

/// When a datagram may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// At once.
    Now,
    /// Once others have left.
    Later,
    /// It is too large for the route and not to be cut, or for any.
    Never,
}

/// Packets and bytes that a datagram becomes; `None` if it can't be sent by this route at all.
fn room_needed(route: &Route, header: &IpHeader, payload_len: usize) -> Option<(usize, usize)> {
    let payload_max = match header.src {
        IpAddr::V4(_) => usize::from(u16::MAX) - header.len(),
        IpAddr::V6(_) => usize::from(u16::MAX),
    };
    if payload_len > payload_max {
        return None;
    }
    let (packets, bytes) = fragment::parts_of(header.src.is_ipv4(), payload_len, route.mtu)?;
    //= RFC1122 3.3.3 no larger
    (packets == 1 || !header.dont_fragment).then_some((packets, bytes))
}

/// Like [`try_send`], of what is known to find room.
pub(crate) fn send_admitted(ctx: &mut Context, route: &Route, header: &IpHeader, payload: &[&[u8]]) -> bool {
    let payload_len = len_of(payload);
    let mut written = HeaderBuf::new();
    header.write(payload_len, &mut written);
    let IpHeader { src, dst, protocol, .. } = *header;
    let len = written.len() + payload_len;
    match payload {
        [transport, ..] if transport.len() >= QUOTED => {
            note(ctx, route, &pmtu::Sent { src, dst, protocol, transport, len });
        }
        pieces => {
            let transport: ArrayVec<u8, QUOTED> =
                pieces.iter().copied().flatten().copied().take(QUOTED).collect();
            note(ctx, route, &pmtu::Sent { src, dst, protocol, transport: &transport, len });
        }
    }
    if len <= route.mtu {
        match payload {
            [piece] => ctx.outbox.push(route.device, &[&written, piece]),
            [first, second] => ctx.outbox.push(route.device, &[&written, first, second]),
            pieces => ctx.outbox.push(route.device, &[&[&written[..]], pieces].concat()),
        }
        return true;
    }
    let bytes = [&[&written[..]], payload].concat().concat();
    let ident = if src.is_ipv6() { ctx.ip.next_ident_v6(&mut ctx.rng, src, dst) } else { 0 };
    let outbox = &mut ctx.outbox;
    let parts = fragment::split(&bytes, route.mtu, ident, |part| {
        outbox.push(route.device, &[part]);
        true
    });
    ctx.counters.fragmented += 1;
    ctx.counters.fragments_out += parts as u64;
    parts > 0
}

/// What of a datagram of UDP is left to the device that it leaves by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeftToDevice {
    /// The device does nothing, or somebody has to cut the datagram before it could.
    Nothing,
    /// The checksum.
    Sum,
    /// The checksum, and to cut it out of a super-datagram.
    SumAndCut,
}

impl LeftToDevice {
    /// Of a datagram with so many bytes behind its IP header.
    pub(crate) fn of(ctx: &Context, route: &Route, header: &IpHeader, payload_len: usize) -> Self {
        let Offloads { checksum, uso, .. } = ctx.ip.interfaces.offloads(route.device);
        if !checksum || header.len() + payload_len > route.mtu {
            LeftToDevice::Nothing
        } else if !uso || !header.dont_fragment {
            // The parts of each that is cut on the way would need an identification of their own.
            LeftToDevice::Sum
        } else {
            LeftToDevice::SumAndCut
        }
    }
}

/// Queues a datagram whose checksum is [left to the device](LeftToDevice::Sum), which has room. If cutting is, too, it
/// may become part of a super-datagram. `udp` holds the pseudo-header's sum.
pub(crate) fn send_unsummed(
    ctx: &mut Context,
    route: &Route,
    header: &IpHeader,
    udp: &[u8],
    data: &[u8],
    left: LeftToDevice,
) {
    let mut ip = HeaderBuf::new();
    header.write(udp.len() + data.len(), &mut ip);
    note_sent(ctx, route, header, udp, data.len());
    let datagram = Unsummed { ip: &ip, udp, data };
    match left {
        LeftToDevice::Nothing | LeftToDevice::Sum => ctx.outbox.push_unsummed(route.device, datagram, None),
        LeftToDevice::SumAndCut => {
            if let Some(udp) = ctx.outbox.join(route.device, datagram) {
                // Whoever complains before it is cut quotes all of it.
                note_sent(ctx, route, header, &udp, data.len());
            }
        }
    }
}

/// Queues a super-datagram, to be [cut](LeftToDevice::SumAndCut) into datagrams with `size` bytes of data, which has room.
pub(crate) fn send_super_datagram(
    ctx: &mut Context,
    route: &Route,
    header: &IpHeader,
    udp: &[u8],
    data: &[u8],
    size: NonZeroU16,
) {
    let mut ip = HeaderBuf::new();
    header.write(udp.len() + data.len(), &mut ip);
    note_sent(ctx, route, header, udp, data.len());
    ctx.outbox.push_unsummed(route.device, Unsummed { ip: &ip, udp, data }, Some(size));
}

/// Remembers a datagram with so many bytes of data, or one that is cut out of what is sent.
pub(crate) fn note_sent(
    ctx: &mut Context,
    route: &Route,
    header: &IpHeader,
    transport: &[u8],
    data_len: usize,
) {
    let IpHeader { src, dst, protocol, .. } = *header;
    let len = header.len() + transport.len() + data_len;
    note(ctx, route, &pmtu::Sent { src, dst, protocol, transport, len });
}

/// Queues a datagram as a program has made it, however odd; it must be no larger than the link takes. Counts it as
/// lost if the queue is full.
pub(crate) fn send_whole(ctx: &mut Context, route: &Route, whole: Vec<u8>) {
    if let Ok(parsed) = parse(&whole) {
        let Parsed { src, dst, protocol, payload: transport, .. } = parsed;
        note(ctx, route, &pmtu::Sent { src, dst, protocol, transport, len: whole.len() });
    }
    if ctx.outbox.has_room_for(route.device, 1, whole.len()) {
        ctx.outbox.push(route.device, &[&whole]);
    } else {
        ctx.counters.replies_lost += 1;
    }
}

/// Bytes of a transport header that every quotation holds (RFC 792).
const QUOTED: usize = 8;

/// Remembers what may be quoted to us. TCP tells by its sequence numbers, and nobody is between us and ourselves.
fn note(ctx: &mut Context, route: &Route, sent: &pmtu::Sent<'_>) {
    if sent.protocol != PROTOCOL_TCP && route.device != DeviceId::LOOPBACK {
        ctx.ip.path_mtu.note_sent(&mut ctx.rng, sent);
    }
}

/// The header of a datagram that routers may fragment: what the stack itself answers.
pub(crate) fn fragmentable(ctx: &mut Context, src: IpAddr, dst: IpAddr, protocol: u8) -> IpHeader {
    //= RFC1122 3.2.1.7 configurable
    //= RFC1812 4.3.2.2 time to live
    let hop_limit = ctx.config.ttl;
    let header =
        IpHeader { src, dst, protocol, hop_limit, tos: 0, ident: 0, dont_fragment: false, flow_label: 0 };
    IpHeader { ident: ident_of(ctx, &header), ..header }
}

/// The identification that a datagram needs: over IPv4 without DF it is not atomic, and has to have one of its own (RFC
/// 6864 section 4.3). Nobody looks at others', which are 0, as on Linux.
pub(crate) fn ident_of(ctx: &mut Context, header: &IpHeader) -> u16 {
    let IpHeader { src, dst, protocol, dont_fragment, .. } = *header;
    if src.is_ipv4() && !dont_fragment { ctx.ip.next_ident(&mut ctx.rng, src, dst, protocol) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::config::Config;
    use crate::proto::ip::testing::{self, TUN, World, header};
    use crate::proto::wire;

    fn by(device: DeviceId) -> Route {
        Route { device, source: testing::ip("10.9.0.2"), mtu: 1500, link_mtu: 1500 }
    }

    #[test]
    fn what_is_sent_reads_back_and_what_finds_no_room_is_counted() {
        let mut world = World::new();
        let sent = header("10.9.0.2", "10.9.0.1", 99);
        send(world.ctx(), &by(TUN), &sent, &[b"he", b"", b"llo"]);
        let (device, bytes) = world.sent().unwrap();
        let read = wire::ip::parse(&bytes).unwrap();
        assert_eq!((device, read.src, read.dst, read.payload), (TUN, sent.src, sent.dst, &b"hello"[..]));
        let whole = IpHeader { dont_fragment: true, ..sent };
        send(world.ctx(), &by(TUN), &whole, &[&[0; 1481]]);
        send(world.ctx(), &by(TUN), &sent, &[&[0; 65_516]]);
        assert!(world.sent().is_none());
        assert_eq!(world.counters.replies_lost, 2);
    }

    fn all_sent(world: &mut World) -> Vec<Vec<u8>> {
        core::iter::from_fn(|| world.sent()).map(|(_, bytes)| bytes).collect()
    }

    //= RFC1122 3.3.3 no larger
    #[test]
    fn the_largest_datagrams_go_in_parts_and_larger_ones_do_not_go() {
        for (src, dst, max, parts) in
            [("10.9.0.2", "10.9.0.1", 65_515, 45), ("fd09::2", "fd09::1", 65_535, 46)]
        {
            let mut world = World::new();
            let route = by(TUN);
            let sent = header(src, dst, 99);
            assert!(try_send(world.ctx(), &route, &sent, &[&[1; 40_000], &alloc::vec![2; max - 40_000]]));
            let left = all_sent(&mut world);
            assert_eq!(left.len(), parts);
            assert!(left.iter().all(|part| part.len() <= 1500));
            let read: Vec<_> = left.iter().map(|part| wire::ip::parse(part).unwrap()).collect();
            assert_eq!(read.iter().map(|part| part.payload.len()).sum::<usize>(), max);
            let idents: Vec<_> = read.iter().map(|part| part.fragment.unwrap().ident).collect();
            assert!(idents.iter().all(|ident| *ident == idents[0]));
            assert_eq!((world.counters.fragmented, world.counters.fragments_out), (1, parts as u64));
            assert!(!try_send(world.ctx(), &route, &sent, &[&alloc::vec![0; max + 1]]));
            assert_eq!(world.counters.replies_lost, 1);
        }
    }

    #[test]
    fn what_may_be_quoted_is_remembered_however_many_pieces_it_comes_in() {
        let mut world = World::new();
        let sent = header("fd09::2", "fd09::1", 99);
        send(world.ctx(), &by(TUN), &sent, &[b"ab", b"", b"cd", b"efghij", &[0; 1300]]);
        let has_sent = |world: &World, text: &[u8]| world.ip.path_mtu.has_sent(sent.src, sent.dst, 99, text);
        assert!(has_sent(&world, b"abcdefgh") && !has_sent(&world, b"abcdefgi"));
        send(world.ctx(), &by(TUN), &sent, &[b"12345678", b"9", &[0; 1300]]);
        assert!(has_sent(&world, b"12345678"));
    }

    #[test]
    fn two_datagrams_that_were_cut_have_two_names() {
        for (src, dst) in [("10.9.0.2", "10.9.0.1"), ("fd09::2", "fd09::1")] {
            let mut world = World::new();
            for _ in 0..2 {
                let sent = fragmentable(world.ctx(), testing::ip(src), testing::ip(dst), 99);
                send(world.ctx(), &by(TUN), &sent, &[&[0; 2000]]);
            }
            let ident = |bytes: &[u8]| wire::ip::parse(bytes).unwrap().fragment.unwrap().ident;
            let idents: Vec<_> = all_sent(&mut world).iter().map(|part| ident(part)).collect();
            assert!(idents[0] == idents[1] && idents[2] == idents[3] && idents[0] != idents[2], "{idents:?}");
        }
    }

    #[test]
    fn all_parts_find_room_or_none_leaves() {
        let mut world = World::with(Config { outbox_packets: 47, ..Config::default() });
        let sent = header("10.9.0.2", "10.9.0.1", 99);
        for (len, fits) in [(0, true), (0, true), (0, true), (65_515, false), (0, true), (64_000, false)] {
            assert_eq!(try_send(world.ctx(), &by(TUN), &sent, &[&alloc::vec![0; len]]), fits, "{len}");
        }
        assert_eq!((all_sent(&mut world).len(), world.counters.replies_lost), (4, 2));
        assert_eq!(world.counters.fragmented, 0);
    }

    #[test]
    fn an_application_is_told_to_wait_only_for_room_that_there_will_be() {
        let mut world = World::with(Config { outbox_packets: 40, ..Config::default() });
        let sent = header("10.9.0.2", "10.9.0.1", 99);
        let room = |world: &mut World, header: &IpHeader, len| {
            room_for_application(world.ctx(), &by(TUN), header, len)
        };
        assert_eq!(room(&mut world, &sent, 65_515), Room::Now);
        send(world.ctx(), &by(TUN), &sent, &[]);
        // 45 parts find room only in an empty queue.
        assert_eq!(room(&mut world, &sent, 65_515), Room::Later);
        assert_eq!(room(&mut world, &sent, 29 * 1480), Room::Now);
        assert_eq!(room(&mut world, &sent, 65_516), Room::Never);
        let whole = IpHeader { dont_fragment: true, ..sent };
        assert_eq!(
            (room(&mut world, &whole, 1480), room(&mut world, &whole, 1481)),
            (Room::Now, Room::Never)
        );
    }

    #[test]
    fn a_full_outbox_loses_the_newest() {
        let mut world = World::with(Config { outbox_packets: 1, ..Config::default() });
        for _ in 0..3 {
            send(world.ctx(), &by(TUN), &header("10.9.0.2", "10.9.0.1", 99), &[]);
        }
        assert_eq!(world.counters.replies_lost, 2);
    }
}
