//! One ICMP echo socket: its ends, its options, what it has received and what went wrong.

use alloc::collections::VecDeque;
use core::net::IpAddr;

use super::{PingError, PingOptions};
use crate::proto::datagram_queue::DatagramQueue;
use crate::proto::error::Error;
use crate::proto::events::Owner;

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
    /// ICMP errors about its requests, the oldest first; only with [`PingOptions::report_errors`].
    pub(super) errors: VecDeque<PingError>,
    /// What the next verb, or `take_error`, tells; then it is forgotten (SO_ERROR).
    pub(super) error: Option<Error>,
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
            errors: VecDeque::new(),
            error: None,
            is_refused: false,
        }
    }

    /// Whether what comes from there to that address of ours is for it. Who has asked a group or all hosts is
    /// answered by each of them.
    pub(super) fn hears(&self, from: IpAddr, to: IpAddr, peer_is_many: impl FnOnce(IpAddr) -> bool) -> bool {
        let is_here = self.local.is_unspecified() || self.local == to;
        is_here && self.peer.is_none_or(|peer| peer == from || peer_is_many(peer))
    }

    /// Tells the pending error, once.
    pub(super) fn check_error(&mut self) -> Result<(), Error> {
        match self.error.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Takes the oldest error of the queue. As long as others wait behind it, one stays pending (as Linux).
    pub(super) fn next_error(&mut self) -> Option<PingError> {
        let taken = self.errors.pop_front()?;
        self.error = self.errors.front().map(|next| super::errno(next.kind));
        Some(taken)
    }
}
