//! UDP (RFC 768, RFC 1122 section 4.1): sockets with a bounded queue of datagrams.
//!
//! Owns the sockets, who listens where, and what they have received. Owns not the shape of a datagram
//! (`wire::udp`) nor its way out (`ip`).
//!
//! What follows Linux where RFCs leave it open: who may be bound beside whom (`bindings`), that a socket
//! bound to the wildcard takes on the source that leads to its peer when it is connected, and that ICMP
//! errors are told to connected sockets alone and only if they are final (see `icmp_error`).
//! What doesn't: a socket bound to `[::]` speaks IPv6 only, and one that is connected again chooses its
//! source again.

mod bindings;
mod socket;

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use slotmap::SlotMap;

use super::context::Context;
use super::counters::DropReason;
use super::datagram_queue::{Arrival, Queued, Received};
use super::error::Error;
use super::events::{Owner, Readiness, SocketId};
use super::ids::UdpId;
use super::ip::icmp::{self, IcmpError, IcmpErrorKind};
use super::ip::{self, Cast, Datagram, Route};
use super::wire::HeaderBuf;
use super::wire::ip::{IpHeader, PROTOCOL_UDP};
use super::wire::udp::{self as wire, UdpHeader};
use bindings::Bindings;
use socket::Socket;

/// Options of a UDP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// Time to live, hop limit of datagrams to one host. Those to groups don't leave the link (RFC 1112
    /// section 6.1).
    pub ttl: u8,
    /// Type of service, traffic class.
    pub tos: u8,
    /// Whether datagrams to broadcast addresses may be sent.
    pub broadcast: bool,
}

/// All UDP sockets.
#[derive(Debug)]
pub struct Sockets {
    sockets: SlotMap<UdpId, Socket>,
    bindings: Bindings,
    /// Sockets whose last send found no room, to be told when there is some.
    refused: Vec<UdpId>,
}

/// The largest UDP datagram's data over IPv4 and IPv6: the length fields have 16 bits.
const DATA_MAX_V4: usize = 65_535 - 20 - wire::HEADER_LEN;
const DATA_MAX_V6: usize = 65_535 - wire::HEADER_LEN;

/// The verbs of sockets.
impl Sockets {
    /// No sockets. `table_key` keys the table that peers' addresses are looked up in.
    pub(crate) fn new(table_key: [u8; 16]) -> Self {
        Sockets { sockets: SlotMap::with_key(), bindings: Bindings::new(table_key), refused: Vec::new() }
    }

    pub(crate) fn bind(
        &mut self,
        ctx: &mut Context<'_>,
        local: SocketAddr,
        owner: Owner,
    ) -> Result<UdpId, Error> {
        if self.sockets.len() >= ctx.config.udp_sockets {
            return Err(Error::NoBufferSpace);
        }
        if !local.ip().is_unspecified() && !ctx.ip.is_local(local.ip()) {
            return Err(Error::AddrNotAvailable);
        }
        let port = match local.port() {
            0 => self.bindings.choose_port(local.ip(), &ctx.config.ephemeral_ports, ctx.rng),
            port => self.bindings.is_free(local.ip(), port).then_some(port),
        };
        let local = SocketAddr::new(local.ip(), port.ok_or(Error::AddrInUse)?);
        let options = UdpOptions { ttl: ctx.config.ttl, tos: 0, broadcast: false };
        let id = self.sockets.insert(Socket::new(owner, local, options));
        self.bindings.insert(local, id);
        Ok(id)
    }

    pub(crate) fn connect(
        &mut self,
        ctx: &mut Context<'_>,
        id: UdpId,
        remote: SocketAddr,
    ) -> Result<(), Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        let remote = check_remote(socket, remote)?;
        let route = route(ctx, socket.bound.ip(), remote.ip())?;
        check_permission(ctx, socket.options, remote.ip())?;
        let local = SocketAddr::new(route.source, socket.bound.port());
        // A wildcard binding would be in its own way.
        self.bindings.remove(socket.local);
        if !self.bindings.is_free(local.ip(), local.port()) {
            self.bindings.insert(socket.local, id);
            return Err(Error::AddrInUse);
        }
        self.bindings.insert(local, id);
        socket.local = local;
        socket.peer = Some(remote);
        Ok(())
    }

    /// Sends one datagram. `source` is the address to send it from, which must be ours; `None` leaves it to
    /// the socket's binding and the route (RFC 1122 section 4.1.3.5).
    pub(crate) fn send_to(
        &mut self,
        ctx: &mut Context<'_>,
        id: UdpId,
        data: &[u8],
        to: Option<SocketAddr>,
        source: Option<IpAddr>,
    ) -> Result<usize, Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        socket.check_error()?;
        let to = to.or(socket.peer).ok_or(Error::DestinationRequired)?;
        let to = check_remote(socket, to)?;
        let data_max = if to.is_ipv4() { DATA_MAX_V4 } else { DATA_MAX_V6 };
        if data.len() > data_max {
            return Err(Error::MessageTooLong);
        }
        let route = route(ctx, source.unwrap_or(socket.local.ip()), to.ip())?;
        check_permission(ctx, socket.options, to.ip())?;
        let header = header(ctx, socket.options, route.source, to.ip());
        match ip::room_for_application(ctx, &route, &header, wire::HEADER_LEN + data.len()) {
            ip::Room::Now => {}
            ip::Room::Later => {
                if !core::mem::replace(&mut socket.is_refused, true) {
                    self.refused.push(id);
                }
                return Err(Error::WouldBlock);
            }
            ip::Room::Never => return Err(Error::MessageTooLong),
        }
        let mut written = HeaderBuf::new();
        let ports = UdpHeader { src_port: socket.local.port(), dst_port: to.port() };
        ports.write(header.src, header.dst, &[data], &mut written);
        ip::send(ctx, &route, &header, &[&written, data]);
        ctx.counters.udp_out += 1;
        Ok(data.len())
    }

    pub(crate) fn recv_from(&mut self, id: UdpId, out: &mut [u8], peek: bool) -> Result<Received, Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        socket.check_error()?;
        socket.queue.take(out, peek).ok_or(Error::WouldBlock)
    }

    pub(crate) fn close(&mut self, ctx: &mut Context<'_>, id: UdpId) {
        let Some(socket) = self.sockets.remove(id) else { return };
        self.bindings.remove(socket.local);
        if socket.is_refused {
            self.refused.retain(|refused| *refused != id);
        }
        ctx.events.forget(SocketId::Udp(id));
    }

    pub(crate) fn local_addr(&self, id: UdpId) -> Result<SocketAddr, Error> {
        Ok(self.get(id)?.local)
    }

    pub(crate) fn peer_addr(&self, id: UdpId) -> Result<SocketAddr, Error> {
        self.get(id)?.peer.ok_or(Error::NotConnected)
    }

    pub(crate) fn options(&self, id: UdpId) -> Result<UdpOptions, Error> {
        Ok(self.get(id)?.options)
    }

    pub(crate) fn set_options(&mut self, id: UdpId, options: UdpOptions) -> Result<(), Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        if options.ttl == 0 {
            return Err(Error::InvalidInput);
        }
        socket.options = options;
        Ok(())
    }

    pub(crate) fn take_error(&mut self, id: UdpId) -> Result<Option<Error>, Error> {
        Ok(self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?.error.take())
    }

    /// Sockets open now.
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    fn get(&self, id: UdpId) -> Result<&Socket, Error> {
        self.sockets.get(id).ok_or(Error::NoSuchSocket)
    }
}

/// What the stack tells the sockets.
impl Sockets {
    /// Delivers a datagram, or answers port unreachable.
    pub(crate) fn receive(
        &mut self,
        ctx: &mut Context<'_>,
        datagram: &Datagram<'_>,
    ) -> Result<(), DropReason> {
        let read = wire::parse(datagram.payload, datagram.src, datagram.dst, datagram.checksum)?;
        let arrival = Arrival::of(datagram, read.src_port);
        let from = arrival.from;
        let id = match datagram.cast {
            Cast::Unicast => self.bindings.lookup(datagram.dst, read.dst_port),
            Cast::Broadcast | Cast::Multicast => self.bindings.lookup_wildcard(datagram.dst, read.dst_port),
        };
        let listener = id.and_then(|id| Some((id, self.sockets.get_mut(id).filter(|it| it.hears(from))?)));
        let Some((id, socket)) = listener else {
            //= RFC1122 section 4.1.3.1: a datagram for a port without a listener SHOULD draw port unreachable.
            icmp::complain(ctx, datagram, icmp::Complaint::PortUnreachable);
            return Err(DropReason::UdpNoSocket);
        };
        // A super-datagram stands for several, each of which is a message of its own.
        let one = datagram.gso_size.map_or(usize::MAX, |size| size.get().into());
        let mut rest = read.payload;
        loop {
            let (message, behind) = rest.split_at_checked(one).unwrap_or((rest, &[]));
            match socket.queue.push(arrival, message, ctx.config.udp_recv_buffer) {
                Queued::First => ctx.events.raise(SocketId::Udp(id), socket.owner, Readiness::READABLE),
                Queued::Behind => {}
                Queued::Full => return Err(DropReason::UdpQueueFull),
            }
            ctx.counters.udp_in += 1;
            rest = behind;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Reports an ICMP error to the socket it concerns (connected sockets only, as Linux).
    ///
    /// Errors that may pass (network or host unreachable, time exceeded) are not told, since the next
    /// datagram may well arrive; nor is a parameter problem, which no application can mend. (RFC 1122 section
    /// 4.1.3.3 asks to pass all of them on; Linux does so for those who set IP_RECVERR, which is a room
    /// left empty here.)
    pub(crate) fn icmp_error(
        &mut self,
        ctx: &mut Context<'_>,
        error: &IcmpError<'_>,
    ) -> Result<(), DropReason> {
        let id = self.bindings.lookup(error.local.ip(), error.local.port());
        let Some((id, socket)) = id.and_then(|id| Some((id, self.sockets.get_mut(id)?))) else {
            return Err(DropReason::IcmpUnrelated);
        };
        if !socket.hears(error.remote) {
            return Err(DropReason::IcmpUnrelated);
        }
        let told = final_error(error).filter(|_| socket.peer.is_some()).ok_or(DropReason::IcmpIgnored)?;
        socket.error = Some(told);
        ctx.counters.icmp_errors_in += 1;
        let readiness = Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE;
        ctx.events.raise(SocketId::Udp(id), socket.owner, readiness);
        Ok(())
    }

    /// Tells the sockets that were refused for want of room that there is some again.
    pub(crate) fn outbox_relieved(&mut self, ctx: &mut Context<'_>) {
        for id in self.refused.drain(..) {
            let Some(socket) = self.sockets.get_mut(id) else { continue };
            socket.is_refused = false;
            ctx.events.raise(SocketId::Udp(id), socket.owner, Readiness::WRITABLE);
        }
    }
}

/// A peer's address as it is kept: of the socket's family, with a port, and without scope and flow label
/// (they are not on the wire, so what comes back could not be compared with them).
fn check_remote(socket: &Socket, remote: SocketAddr) -> Result<SocketAddr, Error> {
    if remote.is_ipv4() != socket.local.is_ipv4() || remote.port() == 0 {
        return Err(Error::InvalidInput);
    }
    Ok(SocketAddr::new(remote.ip(), remote.port()))
}

/// Sending to all takes the intention to (SO_BROADCAST).
fn check_permission(ctx: &Context<'_>, options: UdpOptions, to: IpAddr) -> Result<(), Error> {
    if ctx.ip.is_broadcast(to) && !options.broadcast {
        return Err(Error::PermissionDenied);
    }
    Ok(())
}

fn route(ctx: &Context<'_>, local: IpAddr, to: IpAddr) -> Result<Route, Error> {
    ctx.ip.route(to, Some(local).filter(|local| !local.is_unspecified()))
}

fn header(ctx: &mut Context<'_>, options: UdpOptions, source: IpAddr, to: IpAddr) -> IpHeader {
    let hop_limit = if to.is_multicast() { 1 } else { options.ttl };
    IpHeader { hop_limit, tos: options.tos, ..ip::fragmentable(ctx, source, to, PROTOCOL_UDP) }
}

/// The errors after which no datagram will arrive, as Linux tells them from the others.
fn final_error(error: &IcmpError<'_>) -> Option<Error> {
    match error.kind {
        IcmpErrorKind::PortUnreachable => Some(Error::ConnectionRefused),
        IcmpErrorKind::ProtocolUnreachable => Some(Error::ProtocolUnreachable),
        IcmpErrorKind::Prohibited if error.remote.is_ipv6() => Some(Error::PermissionDenied),
        IcmpErrorKind::Prohibited => Some(Error::HostUnreachable),
        // Over IPv4 routers fragment what we send; over IPv6 nobody does it for us.
        IcmpErrorKind::PacketTooBig(_) if error.remote.is_ipv6() => Some(Error::MessageTooLong),
        IcmpErrorKind::PacketTooBig(_)
        | IcmpErrorKind::NetworkUnreachable
        | IcmpErrorKind::HostUnreachable
        | IcmpErrorKind::TimeExceeded
        | IcmpErrorKind::ParameterProblem
        | IcmpErrorKind::SourceQuench => None,
    }
}

#[cfg(test)]
mod tests;
