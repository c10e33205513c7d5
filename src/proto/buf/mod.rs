//! Memory for stream data: pages from one bounded pool, rings made of pages, and sets of ranges. Memory for datagrams:
//! records.
//!
//! [`pages::Pool`] owns the limit, [`ring::Ring`] owns bytes at positions, and [`text::Text`] those that are shared with the
//! application beside them; [`ranges::Ranges`] knows which
//! positions something is true of (received, acknowledged, lost), [`records::Records`] owns bytes in the order in which
//! they came, and `trail::Trail` what is mostly one thing at a time. None of them knows a sequence number, a window or a peer.

pub mod pages;
pub mod ranges;
pub mod records;
pub mod ring;
pub mod text;
pub(crate) mod trail;

/// Counts the bytes of text that are copied from one buffer to another, on each thread for itself: tests hold the core to
/// the copies that it may make.
#[cfg(test)]
pub(crate) mod copies {
    use std::cell::Cell;

    std::thread_local! {
        static COPIED: Cell<u64> = const { Cell::new(0) };
    }

    /// Notes a copy.
    pub(crate) fn count(bytes: usize) {
        COPIED.set(COPIED.get() + bytes as u64);
    }

    /// All that was noted on this thread so far.
    pub(crate) fn counted() -> u64 {
        COPIED.get()
    }
}
