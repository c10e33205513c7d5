//! What tests of the layers stand on: a world that lends out a [`Context`], and packets.

use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::{Accepted, Datagram, Part, icmp, input};
use crate::proto::config::{Config, Secrets};
use crate::proto::context::Context;
use crate::proto::counters::DropReason;
use crate::proto::events::Event;
use crate::proto::packet::{DeviceId, Packet};
use crate::proto::udp::Sockets;
use crate::proto::wire::HeaderBuf;
use crate::proto::wire::checksum::Sum;
use crate::proto::wire::icmp::Message;
use crate::proto::wire::ip::{
    IpHeader, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, parse_fixed,
};
use crate::proto::wire::tcp;
use crate::proto::wire::udp::UdpHeader;
use crate::time::Instant;

/// Everything that a layer has to do with.
pub(crate) type World = Context;

/// The interface that [`World::new`] makes.
pub(crate) const TUN: DeviceId = DeviceId(0);

impl World {
    /// A world with one interface of MTU 1500, 10.9.0.2/24 and fd09::2/64.
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    /// The same with other limits.
    pub(crate) fn with(config: Config) -> Self {
        let mut world = Context::of(config, &Secrets::from_number(1), Instant::from_millis(1000));
        let device = world.ip.add_interface(1500);
        assert_eq!(device, TUN);
        for address in ["10.9.0.2/24", "fd09::2/64"] {
            world.ip.add_address(device, address.parse().unwrap()).unwrap();
        }
        world
    }

    /// The context of one verb.
    pub(crate) fn ctx(&mut self) -> &mut Context {
        self
    }

    /// Validates a packet that came by [`TUN`].
    pub(crate) fn input<'p>(&mut self, bytes: &'p [u8]) -> Result<Datagram<'p>, DropReason> {
        self.input_by(TUN, bytes)
    }

    /// Validates a packet.
    pub(crate) fn input_by<'p>(
        &mut self,
        device: DeviceId,
        bytes: &'p [u8],
    ) -> Result<Datagram<'p>, DropReason> {
        let now = self.now;
        match accept(self.ctx(), device, &Packet::plain(bytes, now))? {
            Taken::Local(datagram) => Ok(datagram),
            Taken::Part(_) => Err(DropReason::FragmentRefused),
        }
    }

    /// Takes a packet as far as this layer and UDP go; TCP's end at the door.
    pub(crate) fn receive(
        &mut self,
        udp: &mut Sockets,
        device: DeviceId,
        packet: &Packet<'_>,
    ) -> Result<(), DropReason> {
        let ctx = self.ctx();
        let Taken::Local(datagram) = accept(ctx, device, packet)? else {
            return Err(DropReason::NotOurs);
        };
        match datagram.protocol {
            PROTOCOL_TCP => Ok(()),
            PROTOCOL_UDP => udp.receive(ctx, &datagram),
            PROTOCOL_ICMP | PROTOCOL_ICMPV6 => match icmp::receive(ctx, &datagram)? {
                icmp::Received::Error(error) if error.protocol == PROTOCOL_UDP => udp.icmp_error(ctx, &error),
                icmp::Received::Error(_) | icmp::Received::Reply(_) | icmp::Received::Done => Ok(()),
            },
            _ => {
                icmp::complain(ctx, &datagram, icmp::Complaint::ProtocolUnreachable);
                Err(DropReason::UnknownProtocol)
            }
        }
    }

    /// Takes the oldest datagram that waits to be sent.
    pub(crate) fn sent(&mut self) -> Option<(DeviceId, Vec<u8>)> {
        self.outbox.pop()
    }

    /// Takes the oldest event.
    pub(crate) fn event(&mut self) -> Option<Event> {
        self.events.pop()
    }
}

/// What a packet for us holds.
pub(crate) enum Taken<'p> {
    Local(Datagram<'p>),
    Part(Part<'p>),
}

/// Validates a packet, which has to be for us; and if it is as nearly all are, it has to be the same the short way.
pub(crate) fn accept<'p>(
    ctx: &mut Context,
    device: DeviceId,
    packet: &Packet<'p>,
) -> Result<Taken<'p>, DropReason> {
    let usual = input::usual_v4(&ctx.ip, device, packet);
    let usual = usual.or_else(|| input::usual_v6(&ctx.ip, device, packet));
    let taken = accept_any(ctx, device, packet);
    if let Some(usual) = usual {
        let Ok(Taken::Local(datagram)) = &taken else { panic!("{usual:?} is not taken") };
        assert_eq!(format!("{usual:?}"), format!("{datagram:?}"));
    }
    taken
}

/// The same, whatever it is.
fn accept_any<'p>(ctx: &mut Context, device: DeviceId, packet: &Packet<'p>) -> Result<Taken<'p>, DropReason> {
    let mut parsed = parse_fixed(packet.bytes)?;
    let cast = input::cast(ctx, device, &parsed)?.ok_or(DropReason::NotOurs)?;
    Ok(match input::receive(ctx, device, packet, &mut parsed, cast)? {
        Accepted::Local => Taken::Local(Datagram::of(device, packet, &parsed, cast)),
        Accepted::Part => Taken::Part(Part::of(device, packet, &parsed, cast)),
    })
}

/// Shorthand for an address in a test.
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A header between two hosts.
pub(crate) fn header(src: &str, dst: &str, protocol: u8) -> IpHeader {
    IpHeader {
        src: ip(src),
        dst: ip(dst),
        protocol,
        hop_limit: 64,
        tos: 0,
        ident: 1,
        dont_fragment: false,
        flow_label: 0,
    }
}

/// A whole datagram.
pub(crate) fn datagram(header: &IpHeader, payload: &[u8]) -> Vec<u8> {
    let mut written = HeaderBuf::new();
    header.write(payload.len(), &mut written);
    [&written[..], payload].concat()
}

/// A whole UDP datagram between two sockets.
pub(crate) fn udp(src: &str, dst: &str, data: &[u8]) -> Vec<u8> {
    let (src, dst): (core::net::SocketAddr, core::net::SocketAddr) =
        (src.parse().unwrap(), dst.parse().unwrap());
    let mut written = HeaderBuf::new();
    let ports = UdpHeader { src_port: src.port(), dst_port: dst.port() };
    ports.write(src.ip(), dst.ip(), &[data], &mut written);
    let header = IpHeader { src: src.ip(), dst: dst.ip(), ..header("::", "::", PROTOCOL_UDP) };
    datagram(&header, &[&written[..], data].concat())
}

/// A TCP segment that is a header and flags, and nothing else.
pub(crate) fn bare_segment(src: &str, dst: &str, flags: u8) -> Vec<u8> {
    let mut bytes = [0; tcp::HEADER_LEN];
    (bytes[12], bytes[13]) = (5 << 4, flags);
    datagram(&header(src, dst, PROTOCOL_TCP), &bytes)
}

/// A whole ICMP or ICMPv6 datagram.
pub(crate) fn icmp_message(src: &str, dst: &str, message: Message<'_>) -> Vec<u8> {
    let protocol = if ip(src).is_ipv4() { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 };
    let mut written = HeaderBuf::new();
    message.write_header(ip(src), ip(dst), &mut written);
    datagram(&header(src, dst, protocol), &[&written[..], message.body()].concat())
}

/// Makes the checksum of an IPv4 header good.
pub(crate) fn seal(bytes: &mut [u8]) {
    let len = usize::from(bytes[0] & 15) * 4;
    bytes[10..12].fill(0);
    let mut sum = Sum::new();
    sum.add(&bytes[..len]);
    let sum = sum.finish().to_be_bytes();
    bytes[10..12].copy_from_slice(&sum);
}
