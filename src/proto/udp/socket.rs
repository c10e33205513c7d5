//! One UDP socket: its ends, its options, its queue of datagrams and its pending error.

use core::net::SocketAddr;

use super::UdpOptions;
use crate::proto::datagram_queue::DatagramQueue;
use crate::proto::error::Error;
use crate::proto::events::Owner;

/// A socket.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) owner: Owner,
    /// Where it was bound by the application; a wildcard address stays one here.
    pub(super) bound: SocketAddr,
    /// Where it listens: `bound`, or once connected the source that leads to the peer.
    pub(super) local: SocketAddr,
    pub(super) peer: Option<SocketAddr>,
    pub(super) options: UdpOptions,
    pub(super) queue: DatagramQueue,
    /// What the next verb, or `take_error`, tells; then it is forgotten (SO_ERROR).
    pub(super) error: Option<Error>,
    /// A send was refused for want of room, and no event has yet told that there is some.
    pub(super) is_refused: bool,
}

impl Socket {
    pub(super) fn new(owner: Owner, local: SocketAddr, options: UdpOptions) -> Self {
        Socket {
            owner,
            bound: local,
            local,
            peer: None,
            options,
            queue: DatagramQueue::default(),
            error: None,
            is_refused: false,
        }
    }

    /// Whether it wants datagrams from there: everybody's, or once connected its peer's.
    pub(super) fn hears(&self, from: SocketAddr) -> bool {
        self.peer.is_none_or(|peer| peer == from)
    }

    /// Tells the pending error, once.
    pub(super) fn check_error(&mut self) -> Result<(), Error> {
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}
