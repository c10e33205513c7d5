//! One raw socket: its ends, its options, its queue of datagrams and its errors.

use core::net::IpAddr;

use super::{RawOptions, is_icmp};
use crate::proto::datagram_queue::DatagramQueue;
use crate::proto::error::Error;
use crate::proto::events::Owner;
use crate::proto::socket_errors::{Listening, SocketErrors};

/// A socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) owner: Owner,
    pub(super) protocol: u8,
    /// Where it was bound by the application; a wildcard address stays one here.
    pub(super) bound: IpAddr,
    /// Where it listens: `bound`, or once connected the source that leads to the peer.
    pub(super) local: IpAddr,
    pub(super) peer: Option<IpAddr>,
    pub(super) options: RawOptions,
    pub(super) queue: DatagramQueue,
    pub(super) errors: SocketErrors,
    /// A send was refused for want of room, and no event has yet told that there is some.
    pub(super) is_refused: bool,
}

impl Socket {
    pub(super) fn new(owner: Owner, local: IpAddr, protocol: u8, options: RawOptions) -> Self {
        Socket {
            owner,
            protocol,
            bound: local,
            local,
            peer: None,
            options,
            queue: DatagramQueue::default(),
            errors: SocketErrors::default(),
            is_refused: false,
        }
    }

    /// Whether it wants what comes from there to here.
    pub(super) fn hears(&self, from: IpAddr, to: IpAddr) -> bool {
        (self.local.is_unspecified() || self.local == to) && self.peer.is_none_or(|peer| peer == from)
    }

    /// Whether its filter lets an ICMP message pass; other protocols have none.
    pub(super) fn lets_pass(&self, message: &[u8]) -> bool {
        let is_icmp = is_icmp(self.bound.is_ipv4(), self.protocol);
        !is_icmp || message.first().is_none_or(|kind| self.options.filter.passes(*kind))
    }

    /// Which errors it is to be told of.
    pub(super) fn listening(&self) -> Listening {
        Listening {
            is_connected: self.peer.is_some(),
            report_errors: self.options.report_errors,
            mtu_discover: self.options.mtu_discover,
        }
    }

    pub(super) fn check_family(&self, remote: IpAddr) -> Result<(), Error> {
        if remote.is_ipv4() == self.bound.is_ipv4() { Ok(()) } else { Err(Error::InvalidInput) }
    }
}
