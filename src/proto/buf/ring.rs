//! A paged ring addressed by position: stream bytes at absolute `u64` positions.

use super::pages::Pool;

/// Bytes at positions; owns pages only where bytes were written. `start` is the lowest position kept.
#[derive(Debug)]
pub struct Ring {}

impl Ring {
    /// An empty ring whose first byte will stand at position `at`. Owns no page.
    pub fn new(at: u64) -> Self { todo!() }
    /// The lowest position kept.
    pub fn start(&self) -> u64 { todo!() }
    /// Copies `data` to positions `at..`, taking pages as needed; gaps are allowed (out-of-order data).
    /// Returns how many bytes were stored: fewer than all only when the pool is empty.
    /// `at` must not lie below `start`.
    pub fn write_at(&mut self, at: u64, data: &[u8], pool: &mut Pool) -> usize { todo!() }
    /// Copies bytes from positions `from..` into `out`. They must have been written.
    pub fn read_at(&self, from: u64, out: &mut [u8]) { todo!() }
    /// The pieces that hold positions `from..from + len`, in order. They must have been written.
    pub fn pieces(&self, from: u64, len: usize) -> impl Iterator<Item = &[u8]> { core::iter::empty() }
    /// Forgets everything below `to` and gives emptied pages back. `to` may lie past all data.
    pub fn advance(&mut self, to: u64, pool: &mut Pool) { todo!() }
    /// Gives all pages back.
    pub fn clear(&mut self, pool: &mut Pool) { todo!() }
    /// Pages owned.
    pub fn pages(&self) -> usize { todo!() }
}
