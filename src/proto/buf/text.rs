//! Bytes on their way to a peer: those that were copied stand in a [`Ring`], those that are shared with the application stay where
//! they are.
//!
//! Owns both, and knows at which positions what is shared stands; the ring has a gap there. Whatever is shared is held until all
//! of it is forgotten, and then released.
//!
//! ```text
//!      copied       shared            shared         copied
//!   ┌───────────┬───────────────┬──────────────────┬─────────┐
//!   │ ring      │ Bytes         │ Bytes            │ ring    │
//!   └───────────┴───────────────┴──────────────────┴─────────┘
//! ```

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use bytes::Bytes;

use super::pages::{PAGE_SIZE, Pool};
use super::ring::Ring;

/// Bytes at positions, copied or shared.
///
/// Who goes away calls [`clear`](Self::clear) first, as for a [`Ring`].
///
/// ```
/// use bytes::Bytes;
/// use tunstack::proto::buf::pages::Pool;
/// use tunstack::proto::buf::text::Text;
///
/// let mut pool = Pool::new(16);
/// let mut text = Text::new(1_000);
/// text.write_at(1_000, b"hello, ", &mut pool);
/// text.share_at(1_007, Bytes::from_static(b"world"));
/// let mut pieces = Vec::<&[u8]>::new();
/// text.pieces(1_000, 12, &mut pieces);
/// assert_eq!(pieces, [b"hello, ".as_slice(), b"world"]);
/// text.advance(1_012, &mut pool);
/// assert!(text.is_empty());
/// ```
#[derive(Debug)]
pub struct Text {
    ring: Ring,
    /// Made when the first is shared: most connections never share any.
    shared: Option<Box<Shares>>,
}

/// What is shared, in the order of positions.
type Shares = VecDeque<Share>;

#[derive(Debug)]
struct Share {
    at: u64,
    bytes: Bytes,
}

impl Share {
    fn end(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }
}

/// What stands at a position, and behind it.
enum Stretch<'a> {
    /// These bytes.
    Shared(&'a [u8]),
    /// What was copied, up to this position.
    Copied { to: u64 },
}

impl Text {
    /// What is shorter than this is worth no place among what is shared. It also bounds the pieces that a segment lies in.
    pub const SHARE_MIN: usize = 4 * PAGE_SIZE;

    /// Pieces in which 64 KiB lie at most if nothing that is shared is shorter than [`SHARE_MIN`](Self::SHARE_MIN): pages, of which
    /// one more is begun than would fit, between the last of one share and the first of another. (A share among them takes the place
    /// of more pages than it adds.)
    pub const PIECES_MAX: usize = (1 << 16) / PAGE_SIZE + 3;

    /// Nothing yet, and what comes will begin at position `at`.
    pub const fn new(at: u64) -> Self {
        Text { ring: Ring::new(at), shared: None }
    }

    /// As a new one, where all pages are given back: the first byte will stand at position `at`.
    pub(crate) fn renew(&mut self, at: u64) {
        debug_assert!(self.shared.is_none(), "it was cleared");
        self.ring.renew(at);
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.ring.pages() == 0 && self.shared.as_ref().is_none_or(|shared| shared.is_empty())
    }

    /// Copies `data` to positions `at..`, behind all that there is. Returns how many bytes were stored, from the first on: fewer than
    /// all only when the pool lends no more.
    #[inline]
    pub fn write_at(&mut self, at: u64, data: &[u8], pool: &mut Pool) -> usize {
        self.ring.write_at(at, data, pool)
    }

    /// Lends `fill` room for bytes at positions `at..`, behind all that there is, as [`Ring::write_in_place`].
    #[inline]
    pub fn write_in_place(
        &mut self,
        at: u64,
        max: usize,
        pool: &mut Pool,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> Option<usize> {
        self.ring.write_in_place(at, max, pool, fill)
    }

    /// Has `bytes` stand at positions `at..`, behind all that there is, without copying them.
    pub fn share_at(&mut self, at: u64, bytes: Bytes) {
        debug_assert!(self.shared.iter().flat_map(|shared| shared.back()).all(|last| last.end() <= at));
        if !bytes.is_empty() {
            self.shared.get_or_insert_default().push_back(Share { at, bytes });
        }
    }

    /// Adds the pieces that hold positions `from..from + len` to `out`, in order. All of them must have been written.
    ///
    /// # Panics
    /// If they can't have been written.
    #[inline]
    pub fn pieces<'a>(&'a self, from: u64, len: usize, out: &mut impl Extend<&'a [u8]>) {
        match &self.shared {
            None => out.extend(self.ring.pieces(from, len)),
            Some(shared) => self.pieces_among(shared, from, len, out),
        }
    }

    #[inline(never)]
    fn pieces_among<'a>(
        &'a self,
        shared: &'a Shares,
        from: u64,
        len: usize,
        out: &mut impl Extend<&'a [u8]>,
    ) {
        let (mut from, mut left) = (from, len);
        while left > 0 {
            let len = match stretch_at(shared, from) {
                Stretch::Shared(bytes) => {
                    let piece = bytes.get(..left).unwrap_or(bytes);
                    out.extend([piece]);
                    piece.len()
                }
                Stretch::Copied { to } => {
                    let len = left.min((to - from) as usize);
                    out.extend(self.ring.pieces(from, len));
                    len
                }
            };
            from += len as u64;
            left -= len;
        }
    }

    /// The same as one piece, if it is one that is found at once.
    ///
    /// # Panics
    /// As [`pieces`](Self::pieces).
    #[inline]
    pub fn piece(&self, from: u64, len: usize) -> Option<&[u8]> {
        match &self.shared {
            None => self.ring.piece(from, len),
            Some(shared) => self.piece_among(shared, from, len),
        }
    }

    #[inline(never)]
    fn piece_among<'a>(&'a self, shared: &'a Shares, from: u64, len: usize) -> Option<&'a [u8]> {
        match stretch_at(shared, from) {
            Stretch::Shared(bytes) => bytes.get(..len),
            Stretch::Copied { to } if from.saturating_add(len as u64) <= to => self.ring.piece(from, len),
            Stretch::Copied { .. } => None,
        }
    }

    /// Forgets everything below `to`: pages go back, and what is shared is released if it ends there or before.
    #[inline]
    pub fn advance(&mut self, to: u64, pool: &mut Pool) {
        if let Some(shared) = &mut self.shared {
            release_below(shared, to, pool);
        }
        self.ring.advance(to, pool);
    }

    /// Forgets everything.
    #[inline]
    pub fn clear(&mut self, pool: &mut Pool) {
        if let Some(mut shared) = self.shared.take() {
            release_below(&mut shared, u64::MAX, pool);
        }
        self.ring.clear(pool);
    }
}

#[inline(never)]
fn release_below(shared: &mut Shares, to: u64, pool: &mut Pool) {
    while shared.front().is_some_and(|share| share.end() <= to) {
        shared.pop_front().into_iter().for_each(|share| pool.released.add(share.bytes));
    }
}

/// What stands at position `at`. Whatever was not shared was copied.
fn stretch_at(shared: &Shares, at: u64) -> Stretch<'_> {
    let next = shared.partition_point(|share| share.end() <= at);
    match shared.get(next) {
        Some(share) if share.at <= at => {
            let from = (at - share.at) as usize;
            Stretch::Shared(share.bytes.get(from..).unwrap_or_default())
        }
        Some(share) => Stretch::Copied { to: share.at },
        None => Stretch::Copied { to: u64::MAX },
    }
}

/// What was shared and is needed no more. To drop it may run code of the application's ([`Bytes::from_owner`]), which may want
/// whatever lock the stack is under: who drives the stack so [keeps](Self::keep) it, and drops it later.
#[derive(Debug, Default)]
pub(crate) struct Released {
    /// `None` if it is dropped at once.
    kept: Option<Vec<Bytes>>,
}

impl Released {
    /// From now on, it is kept until it is [taken](Self::take).
    pub(crate) fn keep(&mut self) {
        self.kept.get_or_insert_default();
    }

    /// Exchanges what was kept for an empty list.
    pub(crate) fn take(&mut self, list: &mut Vec<Bytes>) {
        debug_assert!(list.is_empty());
        if let Some(kept) = &mut self.kept
            && !kept.is_empty()
        {
            core::mem::swap(kept, list);
        }
    }

    fn add(&mut self, bytes: Bytes) {
        if let Some(kept) = &mut self.kept {
            kept.push(bytes);
        }
    }
}

#[cfg(test)]
mod model;
