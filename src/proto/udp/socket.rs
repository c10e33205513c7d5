//! One UDP socket: its ends, its options, its queue of datagrams and its errors.

use core::net::SocketAddr;

use super::UdpOptions;
use super::bindings::Standing;
use crate::proto::datagram_queue::DatagramQueue;
use crate::proto::events::Owner;
use crate::proto::ids::UdpId;
use crate::proto::reuse::BindOptions;
use crate::proto::socket_errors::{Listening, SocketErrors};

/// A socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) owner: Owner,
    pub(super) bind_options: BindOptions,
    /// Where it was bound by the application; a wildcard address stays one here.
    pub(super) bound: SocketAddr,
    /// Where it listens: `bound`, or once connected the source that leads to the peer.
    pub(super) local: SocketAddr,
    pub(super) peer: Option<SocketAddr>,
    pub(super) options: UdpOptions,
    pub(super) queue: DatagramQueue,
    pub(super) errors: SocketErrors,
    /// A send was refused for want of room, and no event has yet told that there is some.
    pub(super) is_refused: bool,
}

impl Socket {
    pub(super) fn new(
        owner: Owner,
        local: SocketAddr,
        bind_options: BindOptions,
        options: UdpOptions,
    ) -> Self {
        Socket {
            owner,
            bind_options,
            bound: local,
            local,
            peer: None,
            options,
            queue: DatagramQueue::default(),
            errors: SocketErrors::default(),
            is_refused: false,
        }
    }

    /// How it stands in the tables, under the name that it has.
    pub(super) fn standing(&self, id: UdpId) -> Standing {
        Standing { id, local: self.local, peer: self.peer, options: self.bind_options }
    }

    /// Which errors it is to be told of.
    pub(super) fn listening(&self) -> Listening {
        Listening {
            is_connected: self.peer.is_some(),
            report_errors: self.options.report_errors,
            mtu_discover: self.options.mtu_discover,
        }
    }
}
