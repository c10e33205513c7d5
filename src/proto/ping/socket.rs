//! One ICMP echo socket: its ends, its options, what it has received and what went wrong.

use core::net::IpAddr;

use super::PingOptions;
use crate::proto::datagram_queue::DatagramQueue;
use crate::proto::events::Owner;
use crate::proto::socket_errors::{Listening, SocketErrors};

/// A socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) owner: Owner,
    /// Where it was bound by the application; a wildcard address stays one here.
    pub(super) bound: IpAddr,
    /// Where it listens: `bound`, or once connected the source that leads to the peer.
    pub(super) local: IpAddr,
    /// Which replies are its own.
    pub(super) ident: u16,
    pub(super) peer: Option<IpAddr>,
    pub(super) options: PingOptions,
    /// Replies; where others have a port, theirs is the number of the request.
    pub(super) replies: DatagramQueue,
    /// What is to be told of ICMP errors about its requests.
    pub(super) errors: SocketErrors,
    /// A send was refused for want of room, and no event has yet told that there is some.
    pub(super) is_refused: bool,
}

impl Socket {
    pub(super) fn new(owner: Owner, local: IpAddr, ident: u16, options: PingOptions) -> Self {
        Socket {
            owner,
            bound: local,
            local,
            ident,
            peer: None,
            options,
            replies: DatagramQueue::default(),
            errors: SocketErrors::default(),
            is_refused: false,
        }
    }

    /// Whether what comes from there to that address of ours is for it. Who has asked a group or all hosts is
    /// answered by each of them.
    pub(super) fn hears(&self, from: IpAddr, to: IpAddr, peer_is_many: impl FnOnce(IpAddr) -> bool) -> bool {
        let is_here = self.local.is_unspecified() || self.local == to;
        is_here && self.peer.is_none_or(|peer| peer == from || peer_is_many(peer))
    }

    /// What decides which errors it is told.
    pub(super) fn listening(&self) -> Listening {
        let PingOptions { report_errors, .. } = self.options;
        let mtu_discover = self.options.mtu_discover;
        Listening { is_connected: self.peer.is_some(), report_errors, mtu_discover }
    }
}
