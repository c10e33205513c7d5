//! The page pool: the one place that stream data takes memory from, with a hard limit.

use alloc::boxed::Box;

/// Bytes in a page.
pub const PAGE_SIZE: usize = 4096;

/// One page.
pub type Page = Box<[u8; PAGE_SIZE]>;

/// A bounded supply of pages.
#[derive(Debug)]
pub struct Pool {}

impl Pool {
    /// A pool that lends out at most `limit` pages.
    pub fn new(limit: usize) -> Self { todo!() }
    /// Borrows a page, or `None` at the limit. Its contents are arbitrary.
    pub fn take(&mut self) -> Option<Page> { todo!() }
    /// Takes a page back.
    pub fn give(&mut self, page: Page) { todo!() }
    /// Pages lent out now.
    pub fn in_use(&self) -> usize { todo!() }
}
