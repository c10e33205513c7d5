//! Memory for stream data: pages from one bounded pool, rings made of pages, and sets of ranges. Memory for datagrams:
//! records.
//!
//! [`pages::Pool`] owns the limit, [`ring::Ring`] owns bytes at positions, [`ranges::Ranges`] knows which
//! positions something is true of (received, acknowledged, lost), [`records::Records`] owns bytes in the order in which
//! they came. None of them knows a sequence number, a window or a peer.

pub mod pages;
pub mod ranges;
pub mod records;
pub mod ring;
