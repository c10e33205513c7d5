//! One ICMP echo socket: its ends, its options, what it has received and what went wrong.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use core::net::IpAddr;

use super::{PingError, PingOptions, PingReceived};
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
    pub(super) replies: Replies,
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
            replies: Replies::default(),
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

/// Whether a reply found room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queued {
    /// It did, and was the only one.
    First,
    /// It did, behind others.
    Behind,
    /// It didn't.
    Full,
}

/// Replies received and not read yet, bounded by the memory they take.
#[derive(Debug, Default)]
pub(super) struct Replies {
    queue: VecDeque<(PingReceived, Box<[u8]>)>,
    cost: usize,
}

/// What a reply costs beyond its data: its place in the queue (which grows by doubling) and the allocator's own
/// book-keeping.
const OVERHEAD: usize = 2 * size_of::<(PingReceived, Box<[u8]>)>() + 16;

/// Places that an emptied queue keeps, so that a burst long past does not cost an idle socket its memory.
const PLACES_KEPT: usize = 32;

impl Replies {
    /// Copies a reply to the end, unless all together would cost more than `limit`. The first is always taken,
    /// however small the limit.
    pub(super) fn push(&mut self, reply: PingReceived, data: &[u8], limit: usize) -> Queued {
        let cost = OVERHEAD + data.len();
        let is_first = self.queue.is_empty();
        if !is_first && self.cost + cost > limit {
            return Queued::Full;
        }
        self.queue.push_back((reply, data.into()));
        self.cost += cost;
        if is_first { Queued::First } else { Queued::Behind }
    }

    /// Copies the oldest reply's data, as much of it as fits.
    pub(super) fn peek(&self, out: &mut [u8]) -> Option<PingReceived> {
        let (reply, data) = self.queue.front()?;
        let len = data.len().min(out.len());
        out[..len].copy_from_slice(&data[..len]);
        Some(PingReceived { len, sent_len: data.len(), ..*reply })
    }

    /// Forgets the oldest reply.
    pub(super) fn pop(&mut self) {
        let Some((_, data)) = self.queue.pop_front() else { return };
        self.cost -= OVERHEAD + data.len();
        if self.queue.is_empty() && self.queue.capacity() > 2 * PLACES_KEPT {
            self.queue.shrink_to(PLACES_KEPT);
        }
    }
}
