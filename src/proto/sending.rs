//! What sockets that send datagrams have in common: how these keep to their path's MTU, what can be said of one of
//! them alone, and who waits for room in the outbox.

use alloc::vec::Vec;
use core::net::IpAddr;

use super::context::Context;
use super::ip::Route;
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
    pub(crate) fn apply(
        self,
        ctx: &Context<'_>,
        route: &mut Route,
        header: &mut IpHeader,
        payload_len: usize,
    ) {
        header.dont_fragment = match self {
            // A path that is too narrow to be believed lets nothing through unless routers may cut it.
            MtuDiscover::Want => {
                header.len() + payload_len <= route.mtu && !ctx.ip.path_mtu.needs_cutting(header.dst)
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
