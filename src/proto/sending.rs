//! What sockets that send datagrams have in common: whence and how these go, how they keep to their path's MTU, and
//! who waits for room in the outbox.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::context::Context;
use super::error::Error;
use super::ip::{self, Layer, Route};
use super::wire::ip::IpHeader;

/// What one datagram asks for; what it leaves open is as the socket's options have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// The address of ours to send it from (IP_PKTINFO); `None` leaves it to the socket's binding and the route (RFC
    /// 1122 section 4.1.3.5).
    pub source: Option<IpAddr>,
    /// Time to live, hop limit, also to groups.
    pub ttl: Option<u8>,
    /// Type of service, traffic class; the lower two bits are those of ECN (RFC 3168).
    pub tos: Option<u8>,
}

/// What becomes of a datagram that is larger than its path's MTU, and whether routers may fragment one
/// (RFC 1191, RFC 8201; Linux: IP_MTU_DISCOVER).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MtuDiscover {
    /// Datagrams that fit the path are not to be fragmented on the way, so that its MTU is learnt; larger ones are
    /// fragmented here (IP_PMTUDISC_WANT).
    #[default]
    Want,
    /// Larger ones are refused with `MessageTooLong`; none is fragmented anywhere (IP_PMTUDISC_DO).
    Do,
    /// Larger ones are fragmented here, and over IPv4 routers may fragment all of them (IP_PMTUDISC_DONT).
    Dont,
    /// Like `Do`, but what has been learnt of the path is not heeded: only those larger than the link's MTU are
    /// refused. For programs that look for the MTU themselves (RFC 4821; IP_PMTUDISC_PROBE).
    Probe,
}

impl MtuDiscover {
    /// Prepares route and header of a datagram with `payload_len` bytes behind its IP header.
    pub(crate) fn apply(self, ctx: &Context, route: &mut Route, header: &mut IpHeader, payload_len: usize) {
        header.dont_fragment = match self {
            // Where the path is narrower than may be believed, somebody has to cut what was to fit.
            MtuDiscover::Want => {
                let fits = header.len() + payload_len <= route.mtu;
                fits && !ctx.ip.path_mtu.needs_cutting(&header.dst)
            }
            MtuDiscover::Do => true,
            MtuDiscover::Dont => false,
            MtuDiscover::Probe => {
                route.mtu = ctx.ip.mtu(route.device).unwrap_or(route.mtu);
                true
            }
        };
    }
}

/// How a socket sends, as far as that is the same in all protocols.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) broadcast: bool,
    pub(crate) mtu_discover: MtuDiscover,
}

/// A datagram that may be sent, and has room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outgoing {
    pub(crate) route: Route,
    pub(crate) header: IpHeader,
}

/// Why one may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It never will be, as it is.
    Error(Error),
    /// It is too large for what is known of its path.
    TooLong {
        /// What would fit, in bytes of the whole datagram.
        mtu: usize,
    },
    /// There is no room for it now.
    NoRoom,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal::Error(error)
    }
}

impl Manner {
    /// Decides by which route and under which header a datagram goes. `local` is where the socket listens,
    /// `payload_len` what is to follow the IP header, in bytes.
    pub(crate) fn prepare(
        self,
        ctx: &mut Context,
        with: SendOptions,
        local: IpAddr,
        to: IpAddr,
        protocol: u8,
        payload_len: usize,
    ) -> Result<Outgoing, Refusal> {
        //= RFC1122 3.2.1.7 send
        if with.ttl == Some(0) {
            return Err(Error::InvalidInput.into());
        }
        let mut route = self.route(ctx, with.source, local, to)?;
        let payload_max = if to.is_ipv4() { PAYLOAD_MAX_V4 } else { PAYLOAD_MAX_V6 };
        if payload_len > payload_max {
            return Err(Refusal::TooLong { mtu: route.mtu });
        }
        // To groups, no farther than the link unless told otherwise (RFC 1112 section 6.1).
        let default_ttl = if to.is_multicast() { 1 } else { self.ttl };
        let mut header = IpHeader {
            src: route.source,
            dst: to,
            protocol,
            //= RFC1122 3.2.1.7 set
            hop_limit: with.ttl.unwrap_or(default_ttl),
            //= RFC1122 3.2.1.6 set
            //= RFC8200 7 traffic class
            //= RFC8504 5.12 ECN
            tos: with.tos.unwrap_or(self.tos),
            ident: 0,
            dont_fragment: false,
            flow_label: 0,
        };
        self.mtu_discover.apply(ctx, &mut route, &mut header, payload_len);
        match ip::room_for_application(ctx, &route, &header, payload_len) {
            ip::Room::Now => {
                header.ident = ip::ident_of(ctx, &header);
                Ok(Outgoing { route, header })
            }
            ip::Room::Later => Err(Refusal::NoRoom),
            ip::Room::Never => Err(Refusal::TooLong { mtu: route.mtu }),
        }
    }

    /// The way to a host, a group, or (on purpose only: SO_BROADCAST) to all.
    pub(crate) fn route(
        self,
        ctx: &Context,
        source: Option<IpAddr>,
        local: IpAddr,
        to: IpAddr,
    ) -> Result<Route, Error> {
        //= RFC1122 4.1.3.5 choice
        let route = ctx.ip.route(to, source.or_else(|| own_source(&ctx.ip, local)))?;
        if ctx.ip.is_broadcast(to) && !self.broadcast {
            return Err(Error::PermissionDenied);
        }
        Ok(route)
    }
}

/// The MTU of the path between where a socket listens and its peer.
pub(crate) fn path_mtu(layer: &Layer, local: IpAddr, peer: IpAddr) -> Result<usize, Error> {
    Ok(layer.route(peer, own_source(layer, local))?.mtu)
}

/// Whether a socket may be bound there: to an address of ours or to all of them, and also to a broadcast address or a
/// group, to hear what is sent there alone.
pub(crate) fn is_bindable(layer: &Layer, address: IpAddr) -> bool {
    address.is_unspecified() || layer.is_local(address) || layer.is_broadcast_or_multicast(address)
}

/// The source that a binding asks for; one to the wildcard, a broadcast address or a group leaves it to the route.
fn own_source(layer: &Layer, local: IpAddr) -> Option<IpAddr> {
    Some(local).filter(|local| layer.is_local(*local))
}

/// What fits behind the header of one datagram: the length fields have 16 bits.
const PAYLOAD_MAX_V4: usize = 65_535 - 20;
const PAYLOAD_MAX_V6: usize = 65_535;

/// Sockets whose last send found no room, to be told when there is some.
#[derive(Debug)]
pub(crate) struct Refused<Id>(Vec<Id>);

impl<Id: Copy + PartialEq> Refused<Id> {
    /// Nobody waits.
    pub(crate) fn new() -> Self {
        Refused(Vec::new())
    }

    /// A socket waits, unless it does so already, which is what its flag tells.
    pub(crate) fn add(&mut self, id: Id, is_refused: &mut bool) {
        if !core::mem::replace(is_refused, true) {
            self.0.push(id);
        }
    }

    /// A socket is gone.
    pub(crate) fn remove(&mut self, id: Id, is_refused: bool) {
        if is_refused {
            self.0.retain(|refused| *refused != id);
        }
    }

    /// Those to be told, now that there is room; each has to clear its flag.
    pub(crate) fn served(&mut self) -> impl Iterator<Item = Id> + use<'_, Id> {
        self.0.drain(..)
    }

    #[cfg(test)]
    pub(crate) fn waiting(&self) -> &[Id] {
        &self.0
    }
}
