//! Raw sockets (RFC 3542 section 3; Linux: SOCK_RAW): datagrams of one protocol, as the network layer has them.
//!
//! Owns the sockets, which datagrams each gets a copy of, and what it adds to what they send. Owns not the transports
//! that get the same datagrams after them, nor how datagrams go out (`ip`).
//!
//! As on Linux: a socket gets a copy of every datagram for this stack that is of its protocol, reassembled, and over IPv4
//! with its header, whatever becomes of it later; a protocol that nobody but a raw socket speaks isn't unreachable;
//! what is sent gets a header, unless it is to have one of its own (IP_HDRINCL), and ICMPv6 its checksum.
//! What differs: the header of one's own is for IPv4 alone, and a connected socket may be connected again.

mod filter;
mod header;
mod socket;

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use slotmap::SlotMap;

use super::context::Context;
use super::counters::DropReason;
use super::datagram_queue::{Arrival, Queued, Received};
use super::error::Error;
use super::events::{Owner, Readiness, SocketId};
use super::hash::Keyed;
use super::ids::RawId;
use super::ip::icmp::IcmpError;
use super::ip::{self, Datagram, Layer};
use super::packet::ChecksumState;
use super::sending::{self, Manner, MtuDiscover, Outgoing, Refusal, Refused, SendOptions};
use super::socket_errors::ErrorReport;
use super::wire::checksum::Sum;
use super::wire::ip::{IpHeader, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_UDP};
pub use filter::IcmpFilter;
use socket::Socket;

/// Options of a raw socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawOptions {
    /// Time to live, hop limit of datagrams to one host. Those to groups don't leave the link.
    pub ttl: u8,
    /// Type of service, traffic class; the lower two bits are those of ECN (RFC 3168).
    pub tos: u8,
    /// Whether datagrams to broadcast addresses may be sent.
    pub broadcast: bool,
    /// What becomes of datagrams that are larger than their path's MTU.
    pub mtu_discover: MtuDiscover,
    /// Every error about a datagram is kept for [`Stack::raw_recv_error`](super::Stack::raw_recv_error), and is the
    /// pending error too, whether the socket is connected or not (IP_RECVERR).
    pub report_errors: bool,
    /// What is sent begins with an IPv4 header (IP_HDRINCL). Its total length and checksum are filled in, and
    /// identification and source if they are zero. It is not fragmented.
    pub header_included: bool,
    /// Where in a datagram of IPv6 its checksum stands, in bytes from its begin, an even number: filled in when it is
    /// sent, and verified when one is received (IPV6_CHECKSUM). ICMPv6's is always at 2.
    pub checksum_at: Option<u16>,
    /// Which ICMP messages are received.
    pub filter: IcmpFilter,
}

/// All raw sockets.
#[derive(Debug)]
pub struct Sockets {
    sockets: SlotMap<RawId, Socket>,
    /// By family (`true`: IPv4) and protocol.
    protocols: HashMap<(bool, u8), Vec<RawId>, Keyed>,
    refused: Refused<RawId>,
}

impl RawOptions {
    fn manner(&self) -> Manner {
        let RawOptions { ttl, tos, broadcast, mtu_discover, .. } = *self;
        Manner { ttl, tos, broadcast, mtu_discover }
    }

    /// Refuses what the family or the protocol doesn't know.
    fn check(&self, is_v4: bool, protocol: u8) -> Result<(), Error> {
        let is_possible = self.ttl > 0
            && (is_v4 || !self.header_included)
            && self.checksum_at.is_none_or(|at| !is_v4 && at % 2 == 0)
            && (is_v4 || protocol != PROTOCOL_ICMPV6 || self.checksum_at == Some(ICMPV6_CHECKSUM_AT));
        if is_possible { Ok(()) } else { Err(Error::InvalidInput) }
    }
}

const ICMPV6_CHECKSUM_AT: u16 = 2;

/// The verbs of sockets.
impl Sockets {
    /// No sockets. `table_key` keys the table that protocols are looked up in.
    pub(crate) fn new(table_key: [u8; 16]) -> Self {
        let protocols = HashMap::with_hasher(Keyed::new(table_key));
        Sockets { sockets: SlotMap::with_key(), protocols, refused: Refused::new() }
    }

    pub(crate) fn bind(
        &mut self,
        ctx: &mut Context,
        local: IpAddr,
        protocol: u8,
        owner: Owner,
    ) -> Result<RawId, Error> {
        if self.sockets.len() >= ctx.config.raw_sockets {
            return Err(Error::NoBufferSpace);
        }
        if protocol == 0 {
            return Err(Error::InvalidInput);
        }
        if !sending::is_bindable(&ctx.ip, local) {
            return Err(Error::AddrNotAvailable);
        }
        let is_v4 = local.is_ipv4();
        let options = RawOptions {
            ttl: ctx.config.ttl,
            tos: 0,
            broadcast: false,
            mtu_discover: MtuDiscover::default(),
            report_errors: false,
            header_included: false,
            checksum_at: (!is_v4 && protocol == PROTOCOL_ICMPV6).then_some(ICMPV6_CHECKSUM_AT),
            filter: IcmpFilter::PASS_ALL,
        };
        let id = self.sockets.insert(Socket::new(owner, local, protocol, options));
        self.protocols.entry((is_v4, protocol)).or_default().push(id);
        Ok(id)
    }

    pub(crate) fn connect(&mut self, ctx: &mut Context, id: RawId, remote: IpAddr) -> Result<(), Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        socket.check_family(remote)?;
        let route = socket.options.manner().route(ctx, None, socket.bound, remote)?;
        socket.local = if socket.bound.is_unspecified() { route.source } else { socket.bound };
        socket.peer = Some(remote);
        Ok(())
    }

    /// Sends one datagram, to the peer unless told where.
    pub(crate) fn send_to(
        &mut self,
        ctx: &mut Context,
        id: RawId,
        data: &[u8],
        to: Option<IpAddr>,
        with: SendOptions,
    ) -> Result<usize, Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        socket.errors.check()?;
        let to = to.or(socket.peer).ok_or(Error::DestinationRequired)?;
        socket.check_family(to)?;
        let sent = match socket.options.header_included {
            true => header::send_included(ctx, socket, data, to, with),
            false => send(ctx, socket, data, to, with),
        };
        match sent {
            Ok(()) => {
                ctx.counters.raw_out += 1;
                Ok(data.len())
            }
            Err(Refusal::Error(error)) => Err(error),
            Err(Refusal::TooLong { mtu }) => {
                let destination = SocketAddr::new(to, 0);
                Err(socket.errors.too_long(ctx, socket.options.report_errors, destination, mtu))
            }
            Err(Refusal::NoRoom) => {
                self.refused.add(id, &mut socket.is_refused);
                Err(Error::WouldBlock)
            }
        }
    }

    pub(crate) fn recv_from(&mut self, id: RawId, out: &mut [u8], peek: bool) -> Result<Received, Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        socket.errors.check()?;
        socket.queue.take(out, peek).ok_or(Error::WouldBlock)
    }

    pub(crate) fn close(&mut self, ctx: &mut Context, id: RawId) {
        let Some(socket) = self.sockets.remove(id) else { return };
        if let Entry::Occupied(mut ids) = self.protocols.entry((socket.bound.is_ipv4(), socket.protocol)) {
            ids.get_mut().retain(|it| *it != id);
            if ids.get().is_empty() {
                ids.remove();
            }
        }
        self.refused.remove(id, socket.is_refused);
        ctx.events.forget(SocketId::Raw(id));
    }

    pub(crate) fn local_addr(&self, id: RawId) -> Result<IpAddr, Error> {
        Ok(self.get(id)?.local)
    }

    pub(crate) fn peer_addr(&self, id: RawId) -> Result<IpAddr, Error> {
        self.get(id)?.peer.ok_or(Error::NotConnected)
    }

    pub(crate) fn protocol(&self, id: RawId) -> Result<u8, Error> {
        Ok(self.get(id)?.protocol)
    }

    pub(crate) fn options(&self, id: RawId) -> Result<RawOptions, Error> {
        Ok(self.get(id)?.options)
    }

    pub(crate) fn set_options(&mut self, id: RawId, options: RawOptions) -> Result<(), Error> {
        let socket = self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?;
        options.check(socket.bound.is_ipv4(), socket.protocol)?;
        if !options.report_errors {
            socket.errors.forget_reports();
        }
        socket.options = options;
        Ok(())
    }

    pub(crate) fn take_error(&mut self, id: RawId) -> Result<Option<Error>, Error> {
        Ok(self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?.errors.take())
    }

    pub(crate) fn recv_error(&mut self, id: RawId) -> Result<Option<ErrorReport>, Error> {
        Ok(self.sockets.get_mut(id).ok_or(Error::NoSuchSocket)?.errors.next_report())
    }

    /// The MTU of the path to the peer (IP_MTU).
    pub(crate) fn path_mtu(&self, ip: &Layer, id: RawId) -> Result<usize, Error> {
        let socket = self.get(id)?;
        sending::path_mtu(ip, socket.local, socket.peer.ok_or(Error::NotConnected)?)
    }

    /// Sockets open now.
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    fn get(&self, id: RawId) -> Result<&Socket, Error> {
        self.sockets.get(id).ok_or(Error::NoSuchSocket)
    }
}

/// What the stack tells the sockets.
impl Sockets {
    /// Whether there is any: what most packets have to ask.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Gives every socket that the datagram is for a copy, and tells whether there is one (even if its queue is full
    /// or its filter let the message not pass).
    // Few have such sockets: this is to be in nobody's way.
    #[cold]
    pub(crate) fn receive(&mut self, ctx: &mut Context, datagram: &Datagram<'_>) -> bool {
        let Datagram { src, dst, protocol, .. } = *datagram;
        let mut is_for_any = false;
        for id in self.protocols.get(&(src.is_ipv4(), protocol)).into_iter().flatten() {
            let Some(socket) = self.sockets.get_mut(*id).filter(|it| it.hears(src, dst)) else { continue };
            is_for_any = true;
            let is_wanted = socket.lets_pass(datagram.payload) && is_intact(socket, datagram);
            if !is_wanted {
                continue;
            }
            // IPv4's header comes with it, IPv6's doesn't (RFC 3542 section 3).
            //= RFC1122 3.2.1.8 pass up
            let data = if src.is_ipv4() { datagram.whole } else { datagram.payload };
            match socket.queue.push(Arrival::of(datagram, 0), data, ctx.config.raw_recv_buffer) {
                Queued::First => ctx.events.raise(SocketId::Raw(*id), socket.owner, Readiness::READABLE),
                Queued::Behind => {}
                Queued::Full => {
                    ctx.counters.raw_queue_full += 1;
                    continue;
                }
            }
            ctx.counters.raw_in += 1;
        }
        is_for_any
    }

    /// Reports an ICMP error to all sockets that can have sent what it is about.
    pub(crate) fn icmp_error(&mut self, ctx: &mut Context, error: &IcmpError<'_>) -> Result<(), DropReason> {
        let (local, remote) = (error.local.ip(), error.remote.ip());
        let error = IcmpError { remote: SocketAddr::new(remote, 0), ..*error };
        let mut told = Err(DropReason::IcmpUnrelated);
        for id in self.protocols.get(&(local.is_ipv4(), error.protocol)).into_iter().flatten() {
            let Some(socket) = self.sockets.get_mut(*id).filter(|it| it.hears(remote, local)) else {
                continue;
            };
            let listening = socket.listening();
            let one = socket.errors.icmp(ctx, &error, listening, error.transport);
            if one.is_ok() {
                ctx.counters.icmp_errors_in += 1;
                let readiness = Readiness::ERROR | Readiness::READABLE | Readiness::WRITABLE;
                ctx.events.raise(SocketId::Raw(*id), socket.owner, readiness);
            }
            told = if told.is_ok() { told } else { one };
        }
        told
    }

    /// Tells the sockets that were refused for want of room that there is some again.
    pub(crate) fn outbox_relieved(&mut self, ctx: &mut Context) {
        for id in self.refused.served() {
            let Some(socket) = self.sockets.get_mut(id) else { continue };
            socket.is_refused = false;
            ctx.events.raise(SocketId::Raw(id), socket.owner, Readiness::WRITABLE);
        }
    }
}

/// Sends what is to get a header.
fn send(
    ctx: &mut Context,
    socket: &Socket,
    data: &[u8],
    to: IpAddr,
    with: SendOptions,
) -> Result<(), Refusal> {
    let manner = socket.options.manner();
    let Outgoing { route, header } =
        manner.prepare(ctx, with, socket.local, to, socket.protocol, data.len())?;
    let Some(at) = socket.options.checksum_at.map(usize::from) else {
        ip::send(ctx, &route, &header, &[data]);
        return Ok(());
    };
    let (before, behind) = data.split_at_checked(at).ok_or(Error::InvalidInput)?;
    let (_, behind) = behind.split_at_checked(2).ok_or(Error::InvalidInput)?;
    let sum = checksum(&header, data.len(), before, behind);
    ip::send(ctx, &route, &header, &[before, &sum, behind]);
    Ok(())
}

/// The checksum of a datagram of IPv6, from what stands before it and behind it.
fn checksum(header: &IpHeader, len: usize, before: &[u8], behind: &[u8]) -> [u8; 2] {
    let mut sum = Sum::pseudo_header(header.src, header.dst, header.protocol, len);
    sum.add(before);
    sum.add(&[0, 0]);
    sum.add(behind);
    match sum.finish() {
        // Zero says "none computed" (RFC 768).
        0 if header.protocol == PROTOCOL_UDP => [0xff, 0xff],
        sum => sum.to_be_bytes(),
    }
}

/// Whether the checksum is right, if the socket wants it verified.
fn is_intact(socket: &Socket, datagram: &Datagram<'_>) -> bool {
    let Some(at) = socket.options.checksum_at.map(usize::from) else { return true };
    let Datagram { src, dst, protocol, payload, .. } = *datagram;
    match datagram.checksum {
        ChecksumState::Trusted | ChecksumState::Partial => true,
        ChecksumState::Unverified => {
            let mut sum = Sum::pseudo_header(src, dst, protocol, payload.len());
            sum.add(payload);
            payload.len() >= at + 2 && sum.is_valid()
        }
    }
}

/// Whether a protocol is ICMP in its family: what a filter is for.
fn is_icmp(is_v4: bool, protocol: u8) -> bool {
    protocol == if is_v4 { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 }
}

#[cfg(test)]
mod tests;
